"""Elements whose shell is killed, by a real SIGKILL, at the n-th call that it makes to the system; strace does it."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from small_runs import NOT_WAITED_FOR_S, Run, await_that

from hpcsweep import localqueue
from hpcsweep.events import Record, fold_events
from hpcsweep.store import give_up_all, revoke_all

CALLS = "%file,%process,read,write,pipe2,dup2,kill,pselect6"
Point = tuple[str, int]  # a call's name, and which one of that name
_numbers = itertools.count(1)


@cache
def has_strace() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], check=False, capture_output=True).returncode == 0


def need_strace() -> None:
    if not has_strace():
        pytest.skip("NO STRACE: it is not installed (tests/run installs it, as root on Debian), or may not trace here")


def sample(points: list[Point], size: int, phase: float = 0.0) -> list[Point]:
    """Some of the points, evenly; all where HPCSWEEP_TEST_EVERY_POINT is set: minutes instead of seconds."""
    step = 1 if os.environ.get("HPCSWEEP_TEST_EVERY_POINT") else max(1, len(points) // size)
    chosen = points[int(phase * step) :: step]
    print(f"{len(chosen)} of {len(points)} points")  # noqa: T201 -- with -s
    return chosen


def new_job() -> str:
    """A job id of its own: what is left of one element must not be taken for another's."""
    return f"{os.getpid()}-{next(_numbers)}"


def script_of(run: Run, array: str = "001") -> list[str]:
    return ["bash", str(run.path / "arrays" / array / "script.sh"), f"tag-{array}", "0"]


def start_traced(run: Run, job: str, *options: str) -> subprocess.Popen:
    """Element 0 under strace. Only its shell is traced, not what that starts."""
    with run.elements_log.open("ab") as log:
        process = subprocess.Popen(
            ["strace", "-qq", "-e", f"trace={CALLS}", *options, *script_of(run)],
            env=os.environ | {"HPCSWEEP_ELEMENT": "0", "HPCSWEEP_JOB": f"{job}_0"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    run.started.append(process)
    return process


def list_points(run: Run, trace: Path) -> list[Point]:
    """All calls of the element's shell since it opened its script."""
    start_traced(run, new_job(), "-o", str(trace)).wait(NOT_WAITED_FOR_S)
    return read_points(trace, "script.sh")


def read_points(trace: Path, first: str) -> list[Point]:
    """The calls of a trace from the one on that names ``first``."""
    counts: Counter[str] = Counter()
    points: list[Point] = []
    for line in trace.read_text(errors="replace").splitlines():
        if match := re.match(r"\w+(?=\()", line):
            counts[match[0]] += 1
            if points or first in line:
                points.append((match[0], counts[match[0]]))
    return points


def kill_shell_at(run: Run, job: str, point: Point) -> bool:
    """Start the element; its shell dies at that point. False: it made fewer calls this time, and ended by itself."""
    inject = f"inject={point[0]}:signal=KILL:when={point[1]}"
    return start_traced(run, job, "-o", "/dev/null", "-e", inject).wait(NOT_WAITED_FOR_S) == -9


@contextmanager
def shell_stopped_at(run: Run, job: str, point: Point, trace: Path) -> Iterator[bool]:
    """The element's shell stands still at that point until the block ends, as on a node that is cut off.

    False: it made fewer calls this time, and ended by itself. What it has started already runs on.
    """
    process = start_traced(run, job, "-o", str(trace), "-e", f"inject={point[0]}:signal=STOP:when={point[1]}")

    def is_stopped() -> bool:
        return trace.exists() and "--- stopped by SIGSTOP ---" in trace.read_text(errors="replace")

    await_that(lambda: process.poll() is not None or is_stopped(), f"the shell stands at {point}")
    pid = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()) if process.poll() is None else None
    try:
        yield pid is not None
    finally:
        if pid is not None:
            os.kill(pid, signal.SIGCONT)
            process.wait(NOT_WAITED_FOR_S)


def kill_all_of(job: str) -> None:
    """As a scheduler's cgroup does it."""
    localqueue.kill_elements(job, [(0, 0)])


def await_nothing_left(job: str) -> None:
    await_that(lambda: not localqueue.find_elements(job), "nothing of the element is left")


def end_for_good(run: Run, task: int = 0, attempt: int = 1) -> str:
    """What hpcsweep does before it lets attempt ``attempt + 1`` exist; returns how this one stands then."""
    events = run.path / "arrays" / "001" / "events"
    key = (task, attempt)
    record = fold_events(run.events()).get(key, Record())
    if record.outcome is not None:
        return "ended"
    if not record.running and not record.lost and revoke_all(events, "tag-001", [key], time.time()):
        return "revoked"
    return give_up_all(events, [key])[key]
