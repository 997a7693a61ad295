"""Ending what the scheduler has: markers that the runners read, then the scheduler's own command."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from hpcsweep.errors import HpcsweepError, SchedulerUnreachable
from hpcsweep.fold import Fold, TaskView
from hpcsweep.ledger import Array
from hpcsweep.model import Completed
from hpcsweep.runs.run import Run
from hpcsweep.schedulers.base import Command
from hpcsweep.shell import run_command
from hpcsweep.states import FACTS
from hpcsweep.store import mark_cancel

MOST_WORDS = 200
"""Of a command line that is shown."""

_OUT_OF_REACH = re.compile(r"contact|timed out|refused|not connect|cannot resolve|unknown host", re.IGNORECASE)


def mark_tasks(run: Run, fold: Fold, views: Iterable[TaskView]) -> dict[int, list[int] | None]:
    """Leave the markers for tasks; all of them before the scheduler is told, whatever becomes of its commands.

    Returns:
        What to tell the scheduler: array -> elements. What is left of an array is cancelled whole (None), by one marker and
        one command, not by one for each of ten thousand elements. An element that others share is left alone: the marker
        is seen there when the task's turn comes, or by the watcher of one that runs.
    """
    by_array: dict[int, list[TaskView]] = {}
    for view in views:
        if view.array is not None:
            by_array.setdefault(view.array, []).append(view)
    left = [view for view in fold.views if FACTS[view.state].is_live]
    counts = Counter(view.array for view in left)
    told: dict[int, list[int] | None] = {}
    for number, chosen in by_array.items():
        array = run.ledger.arrays[number]
        is_whole = len(chosen) >= counts[number]
        _mark(run, array, None if is_whole else [view.index for view in chosen])
        if is_whole:
            told[number] = None
            continue
        ours = {(view.index, view.attempt) for view in chosen} | run.ledger.cancelled
        shared = {view.element for view in left if view.array == number and (view.index, view.attempt) not in ours}
        elements = sorted({view.element for view in chosen if view.element is not None} - shared)
        if elements:
            told[number] = elements
    return told


def cancel_elements(run: Run, some: Mapping[int, list[int] | None]) -> list[HpcsweepError]:
    """Tell the scheduler, array by array; what it said where it did not take it."""
    errors = []
    for number, elements in some.items():
        array = run.ledger.arrays[number]
        # Without a job it is uncertain: whatever of it starts meets the marker, or finds its claim taken.
        try:
            for job in array.jobs:
                part = array.more_jobs.get(job)
                its = [element for element in elements if element in part] if elements is not None and part else elements
                if its or elements is None:
                    tell(run.scheduler.cancel_cmds(array.tag, job, its))
        except HpcsweepError as error:
            errors.append(error)
    return errors


def tell(commands: Iterable[Command]) -> None:
    """Run commands that change something at the scheduler's.

    Raises:
        SchedulerUnreachable: it is out of reach.
        HpcsweepError: it said no.
    """
    for command in commands:
        completed = run_command(command)
        if completed.returncode != 0:
            raise _refusal(completed)


def _mark(run: Run, array: Array, tasks: list[int] | None) -> None:
    marked = None if tasks is None else [(task, array.attempt_of(task)) for task in tasks]
    events = run.paths.array(array.number).events
    if events.exists():  # where it was deleted there is nothing to claim, and only the scheduler can end what runs
        mark_cancel(events, marked)


def _refusal(completed: Completed) -> HpcsweepError:
    said = completed.stderr.strip() or completed.stdout.strip() or f"exit code {completed.returncode}"
    if completed.returncode is None:
        said = f"no answer within {completed.elapsed_s:.0f} s"
    is_script = completed.argv[:2] == ("/bin/sh", "-c")
    words = " ".join(completed.argv[4:] if is_script else completed.argv)  # the script itself tells a user nothing
    words = words if len(words) < MOST_WORDS else f"{words[:MOST_WORDS]} ..."
    if completed.returncode is None or _OUT_OF_REACH.search(said):
        said = "; ".join(dict.fromkeys(said.splitlines()))
        return SchedulerUnreachable(f"the scheduler is out of reach: {said} ({words})", "try the same command again later")
    return HpcsweepError(f"{words}: {said}")
