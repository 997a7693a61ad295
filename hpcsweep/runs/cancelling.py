"""Ending what the scheduler has: markers that the runners read, then the scheduler's own command."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from hpcsweep.errors import HpcsweepError, SchedulerUnreachable
from hpcsweep.fold import Fold
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


def mark_elements(run: Run, fold: Fold, by_array: Mapping[int, Iterable[int]]) -> dict[int, list[int] | None]:
    """Leave the markers for elements of arrays; all of them before the scheduler is told, whatever becomes of its commands.

    Returns:
        What to tell the scheduler: array -> elements. What is left of an array is cancelled whole (None), by one marker and
        one command, not by one for each of ten thousand elements.
    """
    left = Counter(view.array for view in fold.views if FACTS[view.state].is_live)
    some = {
        number: None if len(chosen) >= left[number] else chosen
        for number, chosen in ((number, list(elements)) for number, elements in by_array.items())
    }
    for number, elements in some.items():
        _mark(run, run.ledger.arrays[number], elements)
    return some


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


def _mark(run: Run, array: Array, elements: list[int] | None) -> None:
    tasks = [array.tasks[element] for element in elements or ()]
    marked = None if elements is None else [(task, array.attempt_of(task)) for task in tasks]
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
