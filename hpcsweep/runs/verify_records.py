"""What is wrong with the tasks' own records and folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from hpcsweep.events import Claim, Late, Lost, Outcome, Token, attempt_name, parse_event
from hpcsweep.fold import Evidence, Fold
from hpcsweep.ledger import Array
from hpcsweep.runs.findings import Finding, names_of, ranges_of
from hpcsweep.runs.observe import look_into_events
from hpcsweep.runs.run import Run
from hpcsweep.store.files import TEMPORARY_PREFIX

_WITHOUT_FOLDER = {"broken", "cancelled", "setup"}
"""Outcomes of tasks that may never have come so far as to have a folder."""


def check_events(array: Array, names: Iterable[str]) -> Iterator[Finding]:
    """The names in one array's events folder, against each other and against the journal."""
    where = f"arrays/{array.number:03d}/events"
    claims: set[tuple[int, int]] = set()
    outcomes: dict[tuple[int, int], list[str]] = {}
    tokens: list[str] = []
    late: list[str] = []
    odd: list[str] = []
    members = set(array.tasks)
    for name in names:
        event = parse_event(name)
        if event is None:
            if not name.startswith(TEMPORARY_PREFIX):
                odd.append(name)
            continue
        if event.task is None or event.attempt is None:
            continue
        key = (event.task, event.attempt)
        if event.task not in members or event.attempt != array.attempt_of(event.task):
            odd.append(name)
        elif isinstance(event, Claim):
            claims.add(key)
        elif isinstance(event, Outcome):
            outcomes.setdefault(key, []).append(name)
        elif isinstance(event, Token):
            tokens.append(name)
        elif isinstance(event, Late):
            late.append(name)
        elif isinstance(event, Lost):
            outcomes.setdefault(key, [])
    twice = [name for some in outcomes.values() if len(some) > 1 for name in sorted(some)]
    if twice:
        yield Finding(
            where=where,
            problem=f"two outcomes of one attempt: {names_of(twice)}",
            trust="the first of them by name is counted, by every command",
            cure="look at the logs of these tasks, and remove the record that is not true",
        )
    unclaimed = [attempt_name(*key) for key in outcomes if key not in claims]
    if unclaimed:
        yield Finding(
            where=where,
            problem=f"records without their claims: {names_of(unclaimed)}",
            trust="the outcomes, which are counted; an attempt without a claim and without an outcome could start again",
            cure="bring the claims back from a backup while jobs of the run are live; afterwards nothing has to be done",
        )
    contradicting = [name for name in tokens if (event := parse_event(name)) and (event.task, event.attempt) in outcomes]
    if contradicting:
        yield Finding(
            where=where,
            problem=f"tokens beside outcomes: {names_of(contradicting)}",
            trust="the outcomes: they count",
            cure="was the folder restored or merged by hand? remove the tokens when nothing of the run is live",
        )
    if array.settled and (live := [name for name in tokens if name not in contradicting]):
        yield Finding(
            where=where,
            problem=f"tokens of running tasks, though the array has ended: {names_of(live)}",
            trust="the journal, which says that it has ended",
            cure="resubmit these tasks by their numbers, if they are to run again",
        )
    if late:
        yield Finding(
            where=where,
            problem=f"ends of incarnations that were cut off: {names_of(late)}",
            trust="all: they are kept aside and never counted",
            cure="nothing has to be done",
            is_damage=False,
        )
    if odd:
        yield Finding(
            where=where,
            problem=f"names that are none of this array's records: {names_of(odd)}",
            trust="all: they are passed over",
            cure="nothing has to be done",
            is_damage=False,
        )


def check_ends(run: Run) -> Iterator[Finding]:
    """Events folders that cannot be read, and ends that were there once."""
    ledger = run.ledger
    evidence = look_into_events(run, Evidence(now=0.0, events={}), ledger.arrays)
    for number, why in sorted(evidence.unread.items()):
        if ledger.arrays[number].submission != "planned":
            yield Finding(
                where=f"arrays/{number:03d}/events",
                problem=why,
                trust="what the tasks wrote into their own folders; their states are unknown, and they are not run again by themselves",
                cure="bring the folder back; without it, `hpcsweep resubmit --tasks` runs those again that you name",
            )
    fold = Fold(ledger, evidence, ledger.total)
    gone = [view.index for view in fold.views if view.is_record_gone and view.array not in evidence.unread]
    if gone:
        yield Finding(
            where="arrays",
            problem=f"the records of tasks {ranges_of(gone)} are gone: they were there when their arrays had ended",
            trust="what these tasks wrote into their own folders; their states are unknown",
            cure="bring the events folders back from a backup, or run these tasks again: hpcsweep resubmit --state unknown",
        )


def check_task_folders(run: Run) -> Iterator[Finding]:
    """The tasks' own folders: whether those that there must be can be read."""
    try:
        with os.scandir(run.paths.tasks_dir) as entries:
            folders = {entry.name: entry.is_dir() for entry in entries}
    except OSError as error:
        yield Finding(
            where="tasks",
            problem=f"it cannot be listed: {error.strerror}",
            trust="the states; logs and results cannot be read",
            cure="bring the folder back, or its permissions",
        )
        return
    closed = sorted(
        name
        for name, is_folder in folders.items()
        if not is_folder or not os.access(run.paths.tasks_dir / name, os.R_OK | os.X_OK)
    )
    if closed:
        yield Finding(
            where="tasks",
            problem=f"folders that cannot be read: {names_of(closed)}",
            trust="the states of these tasks; their logs and results cannot be read",
            cure="bring the folders back, or their permissions",
        )
    evidence = look_into_events(run, Evidence(now=0.0, events={}), run.ledger.arrays)
    begun = {task for table in evidence.events.values() for (task, _), record in table.items() if record.outcome is not None}
    gone = sorted(task for task in begun if 0 <= task < run.ledger.total and run.paths.task(task).name not in folders)
    kinds: dict[int, set[str]] = {}
    for table in evidence.events.values():
        for (task, _attempt), record in table.items():
            if record.outcome is not None:
                kinds.setdefault(task, set()).add(record.outcome.kind)
    ran = [task for task in gone if kinds[task] - _WITHOUT_FOLDER]
    if ran:
        yield Finding(
            where="tasks",
            problem=f"the folders of tasks {ranges_of(ran)} are gone",
            trust="the states of these tasks; their logs and results are lost",
            cure="bring the folders back from a backup, or run these tasks again",
        )
