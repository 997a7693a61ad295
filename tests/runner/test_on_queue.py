"""The task side under this machine's own queue: a whole array, cancel with its marker, and a queue that is killed at any step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dying import Point, need_strace, read_points, sample
from small_runs import NOT_WAITED_FOR_S, await_that, block

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


# ---- the queue itself is killed ----

QUEUE_CALLS = "%file,%process,write,flock,kill,setsid,pipe2,dup2"


def serve_traced(run, *options: str) -> int:
    """The queue's own process under strace, which traces nothing that it starts; returns how that ended."""
    read_fd, ready_fd = os.pipe()
    words = ["serve", "--ready-fd", ready_fd, "--dir", run.path / "local", "--tag", "tag-001", "--size", 3, "--jobs", 2]
    words += ["--script", run.path / "arrays/001/script.sh", "--log", run.elements_log, "--chdir", run.path.parent]
    (run.path / "local").mkdir()
    (run.path / "local" / "jobs").write_text("2\n")
    argv = ["strace", "-qq", "-e", f"trace={QUEUE_CALLS}", *options, sys.executable, "-I", "-S", localqueue.__file__]
    with run.elements_log.open("ab") as log:
        process = subprocess.Popen(
            [*argv, *map(str, words)],
            pass_fds=[ready_fd],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    os.close(ready_fd)
    os.close(read_fd)
    return process.wait(NOT_WAITED_FOR_S)


def ran(run) -> list[str]:
    path = run.path.parent / f"ran-{run.path.name}"
    return sorted(path.read_text().split()) if path.exists() else []


def add_three(run) -> None:
    run.add_array([block(i, f"sleep 0.1; echo $HPCSWEEP_TASK >>ran-{run.path.name}") for i in range(3)], watch_s=50)


def queue_points(make_run, tmp_path) -> list[Point]:
    run = make_run("counted")
    add_three(run)
    assert serve_traced(run, "-o", str(tmp_path / "trace")) == 0
    assert ran(run) == ["0", "1", "2"]
    return sample(read_points(tmp_path / "trace", "job-"), 15)


def test_a_queue_killed_at_any_step_loses_and_repeats_nothing(make_run, tmp_path):
    """What it had started goes on and is seen; what it had not is started by the next; each task runs once."""
    need_strace()
    chosen = queue_points(make_run, tmp_path)
    killed = 0
    for number, (name, which) in enumerate(chosen):
        run = make_run(f"run-{number}")
        add_three(run)
        killed += serve_traced(run, "-o", "/dev/null", "-e", f"inject={name}:signal=KILL:when={which}") == -9
        await_that(lambda run=run: not call(run, "live"), "what it had started has ended")
        assert not [name for name in run.events() if name.endswith(".run")]
        begun = ran(run)
        submit(run, 3)
        await_that(lambda run=run: not call(run, "live"), "all have ended")
        assert ran(run) == ["0", "1", "2"], f"{begun} had run when the queue was killed at {name} {which}"
        assert run.outcomes() == [f"{i}.1.done.0" for i in range(3)]
    assert killed > len(chosen) * 0.7


@pytest.mark.parametrize("is_queue_killed", [False, True])
def test_a_killed_element_is_not_left_running(run, is_queue_killed):
    """Its shell is killed, with its queue or without: nothing of it runs on unseen, and nothing is counted."""
    run.add_array([block(0, "echo begun; sleep 1000; echo not reached")], watch_s=50)
    job = submit(run, 1)
    run.await_log("begun")
    (element,) = [line.split("|") for line in call(run, "live").splitlines()]
    assert element[1:3] == ["0", "RUNNING"]
    if is_queue_killed:
        os.kill(localqueue.pid_of(job), 9)
    claim = run.event("0.1").read_text().split()
    assert claim[1] == f"{job}_0"
    os.kill(int(claim[3]), 9)
    await_that(lambda: not call(run, "live"), "it has ended")
    assert localqueue.find_elements(job) == {}
    assert run.events() == ["0.1", "0.1.r0.run"]
    assert "not reached" not in run.log()
