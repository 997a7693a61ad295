"""The task side under this machine's own queue: a whole array, cancel with its marker, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from small_runs import await_that, block

from hpcsweep import localqueue


def call(run, verb: str, *words: object) -> str:
    argv = [
        sys.executable,
        "-I",
        "-S",
        str(Path(localqueue.__file__)),
        verb,
        "--dir",
        str(run.path / "local"),
        *map(str, words),
    ]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def submit(run, size: int, *words: object) -> str:
    script = run.path / "arrays/001/script.sh"
    return call(
        run,
        "submit",
        "--tag",
        "tag-001",
        "--size",
        size,
        "--script",
        script,
        "--log",
        run.elements_log,
        "--chdir",
        run.path.parent,
        *words,
    )


def test_a_whole_array(run):
    run.chunk_size = 8
    run.add_array([block(i, "exit $((HPCSWEEP_TASK % 3))") for i in range(20)])
    job = submit(run, 20, "--jobs", 3)
    await_that(lambda: not call(run, "live"), "all have ended")
    assert run.outcomes() == sorted(f"{i}.1.done.{i % 3}" for i in range(20))
    assert run.event("7.1").read_text().split()[1] == f"{job}_7"
    assert run.complaints() == ""


def test_cancel_is_recorded_by_the_task(run):
    run.add_array(
        [block(i, "setsid sleep 1000 & trap '' TERM; echo begun; while :; do sleep 1000; done") for i in range(3)],
        kill_wait_s=3,
    )
    job = submit(run, 3, "--jobs", 2)
    run.await_log("begun", 1)
    run.await_log("begun", 0)
    run.event("cancel").touch()
    call(run, "cancel", "--tag", "tag-001", job)
    assert run.outcomes() == ["0.1.cancelled.0", "1.1.cancelled.0"]
    assert localqueue.find_elements(job) == {}
    await_that(lambda: not call(run, "live"), "the queue has seen their ends")
    assert run.complaints() == ""


def test_a_program_that_stays_behind_has_no_slot(run):
    run.add_array([block(0, ["bash", "-c", "setsid sleep 1000 & echo begun"]), block(1, "true")])
    submit(run, 2, "--jobs", 1)
    await_that(lambda: run.outcomes() == ["0.1.done.0", "1.1.done.0"], "the next has run")
    await_that(lambda: not call(run, "live"), "all have ended")
