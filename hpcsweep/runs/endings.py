"""Ending attempts for good, before others take their place."""

from __future__ import annotations

import time
from collections.abc import Iterable

from hpcsweep.decide import EndAttempts
from hpcsweep.events import FINALLY, Record
from hpcsweep.fold import Fold
from hpcsweep.ledger import Array
from hpcsweep.ranges import format_ranges
from hpcsweep.runs.observe import list_array_events
from hpcsweep.runs.turn import Turn
from hpcsweep.store import EventsGone, give_up_all, revoke_all


def end_attempts(turn: Turn, fold: Fold, action: EndAttempts) -> set[int]:
    """Make sure that attempts can never start or count any more.

    Returns:
        The tasks that cannot be said to have ended so: they ended by themselves after ``fold`` was made, or nothing can be
        told of them yet. The next look decides.
    """
    alive: set[int] = set()
    by_array: dict[int, list[tuple[int, int]]] = {}
    for number, task, attempt in action.attempts:
        by_array.setdefault(number, []).append((task, attempt))
    for number, keys in by_array.items():
        alive |= _end_attempts_of(turn, fold, turn.run.ledger.arrays[number], keys, leaves_started=action.leaves_started)
    return alive


def _end_attempts_of(turn: Turn, fold: Fold, array: Array, keys: list[tuple[int, int]], *, leaves_started: bool) -> set[int]:
    run = turn.run
    events = run.paths.array(array.number).events
    known = fold.evidence.events.get(array.number, {})
    try:
        records = list_array_events(run, array.number)
    except EventsGone:
        return set()  # without the folder there is nothing to claim, and no element starts a task
    alive: set[int] = set()
    unclaimed, started = [], []
    for key in keys:
        record = records.get(key, Record())
        if record.outcome is not None:
            if known.get(key, Record()).outcome is None:
                alive.add(key[0])  # its own word came after we had looked: the next turn reads it
        elif record.running:
            started.append(key)
        elif not record.lost and key not in run.ledger.revoked:
            # Also a claim without a token: it may be our own revocation, made just before a crash.
            unclaimed.append(key)
    revoked = revoke_all(events, array.tag, unclaimed, time.time()) if unclaimed else set()
    started += [key for key in unclaimed if key not in revoked]
    if leaves_started:
        alive |= {task for task, _attempt in started}
    elif started:
        alive |= {task for (task, _attempt), answer in give_up_all(events, started).items() if answer != "lost"}
    for attempt in sorted({attempt for _task, attempt in revoked}):
        tasks = [task for task, other in revoked if other == attempt]
        turn.write({"event": "revoked", **names_of(tasks), "attempt": attempt})
    return alive


def names_of(tasks: Iterable[int]) -> dict[str, object]:
    """Tasks as an event names them; the ``finally`` command is no number."""
    numbers = list(tasks)
    names: dict[str, object] = {"tasks": format_ranges(task for task in numbers if task >= 0)}
    return {**names, "finally": True} if FINALLY in numbers else names
