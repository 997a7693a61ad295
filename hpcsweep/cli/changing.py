"""What the commands that change a run share: the lock, one turn of the loop, and what to say of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hpcsweep import output
from hpcsweep.ranges import format_ranges
from hpcsweep.runs.advance import Report
from hpcsweep.runs.control import start_turn
from hpcsweep.runs.advance import Turn
from hpcsweep.runs.run import Run
from hpcsweep.store import acquire


def parse_wait(text: str) -> float:
    """``--wait-lock 90s`` in seconds; ``0`` for not at all."""
    from hpcsweep.sweepfile.units import parse_time  # noqa: PLC0415

    return 0.0 if text == "0" else float(parse_time(text))


@contextmanager
def turn_of(run: Run, wait_lock: str, command: str) -> Iterator[Turn]:
    """Hold the run's lock for one command."""
    with acquire(run.paths, wait_s=parse_wait(wait_lock), command=f"hpcsweep {command}") as lock:
        yield start_turn(run, lock)


def tell_report(run: Run, report: Report) -> None:
    """What ``advance`` did, in a few lines."""
    for number, job, size in report.submitted:
        elements = "1 task" if size == 1 else f"{size} tasks"
        output.say(f"{run.name}: submitted {elements} as job {job} (array {number:03d})")
    for number, refused in report.refused:
        output.note(f"array {number:03d} was refused: {refused.message}")
        if refused.hint:
            output.note(f"hint: {refused.hint}")
    for number, message in report.uncertain:
        output.note(f"array {number:03d} is uncertain: {message}; `hpcsweep advance {run.name}` settles it")
    for line in report.notes:
        output.note(line)
    reasons: dict[str, list[int]] = {}
    for task, reason in report.waiting.items():
        reasons.setdefault(reason, []).append(task)
    for reason, tasks in reasons.items():
        output.say(f"{run.name}: tasks {output.one_line(format_ranges(tasks), 40)} wait: {reason}")
