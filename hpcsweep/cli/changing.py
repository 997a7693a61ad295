"""What the commands that change a run share: the lock, one turn of the loop, and what to say of it."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from hpcsweep import output
from hpcsweep.runs.advance import Report
from hpcsweep.runs.run import Run
from hpcsweep.runs.turn import Turn, open_turn

if TYPE_CHECKING:
    from hpcsweep.space import Expansion
    from hpcsweep.sweepfile import Sweep


def turn_of(run: Run, wait_lock: float, command: str) -> AbstractContextManager[Turn]:
    """Hold the run's lock for one command."""
    return open_turn(run, wait_s=wait_lock, command=command, is_removing=command in ("rm", "archive"))


def tell_rest(run: Run, report: Report, *, is_fed: bool, is_watched: bool) -> None:
    """Who submits what a new run could not submit yet."""
    if not run.scheduler.is_fed_by_jobs:
        if is_fed:
            output.note("--feed: the queue of this machine goes on by itself")
    elif report.is_more_to_come and not is_fed and not is_watched:
        output.note(
            f"the rest is submitted by `hpcsweep advance {run.handle}`, again and again (from cron), or by `hpcsweep wait"
            f" {run.handle}`; with --feed a small job on the cluster does it"
        )
    elif report.may_retry and not is_fed and not is_watched:
        output.note(
            f"what `retry` runs again is submitted by `hpcsweep advance {run.handle}` (from cron, say), or by `hpcsweep wait {run.handle}`;"
            " with --feed a small job on the cluster does it"
        )


def tell_report(run: Run, report: Report) -> None:
    """What ``advance`` did, in a few lines."""
    for number, job, size in report.submitted:
        elements = "1 task" if size == 1 else f"{size} tasks"
        output.say(f"{run.name}: submitted {elements} as job {job} (array {number:03d})")
    for number, refused in report.refused:
        output.note(f"array {number:03d} was refused: {refused.message}" + ("; it is tried again" if refused.curable else ""))
    for line in report.notes:
        output.note(line)
    reasons: dict[str, list[int]] = {}
    for task, reason in report.waiting.items():
        reasons.setdefault(reason, []).append(task)
    for reason, tasks in reasons.items():
        output.say(f"{run.name}: {output.tasks_words(tasks)} {'waits' if len(tasks) == 1 else 'wait'}: {reason}")


def tell_warnings(sweep: Sweep, expansion: Expansion) -> None:
    """What is odd about a sweep but no fault."""
    for warning in sweep.warnings:
        output.note(warning)
    if expansion.dropped:
        which = "; ".join(json.dumps(dict(point), ensure_ascii=False) for point in expansion.examples)
        count = (
            "1 point equal to an earlier one was"
            if expansion.dropped == 1
            else f"{expansion.dropped} points equal to earlier ones were"
        )
        output.note(f"{count} dropped" + (f": {output.one_line(which, 200)}" if which else ""))
