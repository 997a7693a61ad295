"""Which tasks a command means: numbers, ranges, and the scheduler's own ids. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hpcsweep.errors import HpcsweepError
from hpcsweep.fold import Fold
from hpcsweep.jobids import is_same_job
from hpcsweep.ledger import Ledger
from hpcsweep.ranges import parse_ranges
from hpcsweep.states import FACTS, State

_JOB_ID = re.compile(
    r"(?P<job>[A-Za-z0-9.-]+)_(?:(?P<one>\d+)|\[(?P<many>[\d,-]+)\])"
    r"|(?P<number>\d+)\[(?P<some>[\d,-]+)\](?P<server>\.[\w.-]+)?",  # PBS and Torque: 39[3].pbs, 39[3-5]
    re.ASCII,
)
_PARTS = re.compile(r"[^,\[\]\s]+(?:\[[^\[\]]*\][^,\[\]\s]*)?")
_HINT = "tasks are given as 3,17-20, or by a scheduler's id like 4711_3 or 39[3]"


def parse_tasks(text: str, ledger: Ledger) -> list[int]:
    """``"3,17-20,4711_[2-5]"`` -> task indices, ascending. A scheduler's id names the task that runs under it.

    Raises:
        HpcsweepError: for an index out of range, an id that is none of this run's, or something that is neither.
    """
    if _PARTS.sub("", text).strip(", \t\n"):
        raise HpcsweepError(f"{text!r} names no tasks", _HINT)
    tasks: set[int] = set()
    for part in _PARTS.findall(text):
        match = _JOB_ID.fullmatch(part)
        tasks.update(_tasks_of_job(match, part, ledger) if match else _tasks_of_part(part, ledger))
    if not tasks:
        raise HpcsweepError(f"{text!r} names no task", _HINT)
    return sorted(task for task in tasks if task >= 0)


def _tasks_of_part(part: str, ledger: Ledger) -> Iterable[int]:
    """A number is a task's, and only where there is no such task a job's: a single job, or all of an array."""
    try:
        tasks = _numbers_below(ledger.total, part)
        problem = f"there is no task {part}: the run's tasks are 0-{ledger.total - 1}"
    except ValueError as error:
        tasks, problem = None, f"--tasks: {error}"
    if tasks is None:
        arrays = (array for array in ledger.arrays.values() if any(is_same_job(part, job) for job in array.jobs))
        tasks = [task for array in arrays for task in array.tasks]
    if not tasks:
        raise HpcsweepError(problem, _HINT)
    return tasks


def _numbers_below(size: int, ranges: str) -> list[int] | None:
    """The numbers of ``ranges``; None when one is not below ``size`` (a range may name more than a memory holds)."""
    numbers = []
    for number in parse_ranges(ranges):
        if number >= size:
            return None
        numbers.append(number)
    return numbers


def _tasks_of_job(match: re.Match[str], part: str, ledger: Ledger) -> Iterable[int]:
    name = match["job"] or f"{match['number']}[]{match['server'] or ''}"
    arrays = [array for array in ledger.arrays.values() if any(is_same_job(name, job) for job in array.jobs)]
    if not arrays:
        known = ", ".join(sorted({job for array in ledger.arrays.values() for job in array.jobs}))
        raise HpcsweepError(f"{part} is no job of this run", f"its jobs are {known}" if known else "it has no jobs yet")
    array = arrays[-1]  # a scheduler that has lost its memory may give an id twice
    named = match["one"] or match["many"] or match["some"]
    try:
        elements = _numbers_below(array.size, named)
    except ValueError as error:
        raise HpcsweepError(f"{part}: {error}", _HINT) from None
    if elements is None:
        raise HpcsweepError(f"job {name} has no element {named}: its elements are 0-{array.size - 1}")
    return array.tasks_of(elements)


def parse_states(text: str) -> frozenset[State]:
    """``"failed,timeout"`` -> states.

    Raises:
        HpcsweepError: for a word that is no state.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in {state.value for state in State}]
    if unknown or not words:
        names = ", ".join(state.value for state in State)
        raise HpcsweepError(f"there is no state {', '.join(map(repr, unknown)) or repr(text)}", f"the states are {names}")
    return frozenset(State(word) for word in words)


def tasks_to_resubmit(fold: Fold, states: frozenset[State] | None, tasks: list[int] | None) -> list[int]:
    """What ``resubmit`` takes: by default what did not work; never what is done, pending or running, or what nobody knows of.

    A task whose record is gone is taken when its number or its state is named.
    """
    chosen = fold.views if tasks is None else [fold.views[task] for task in tasks]
    if states is None:
        return [
            view.index
            for view in chosen
            if not view.is_wanted
            and (FACTS[view.state].is_failure or (tasks is not None and (view.state is State.CANCELLED or view.is_record_gone)))
        ]
    return [
        view.index
        for view in chosen
        if not view.is_wanted
        and view.state in states
        and ((FACTS[view.state].is_ended and not FACTS[view.state].is_success) or view.is_record_gone)
    ]


def is_finally_to_resubmit(fold: Fold, states: frozenset[State] | None) -> bool:
    """Whether ``resubmit`` takes the command after the tasks: by the same rule, when it has run."""
    view = fold.finally_view
    if view is None or view.is_wanted or not view.is_begun or not FACTS[view.state].is_ended:
        return False
    return FACTS[view.state].is_failure if states is None else view.state in states and not FACTS[view.state].is_success
