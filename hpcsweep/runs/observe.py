"""Observe: the event folders, and at most one live and one history query of the scheduler."""

from __future__ import annotations

import math
import os
import re
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.events import fold_events
from hpcsweep.fold import EventTable, Evidence, Fold, TaskView, gone_elements
from hpcsweep.ledger import Array, Ledger
from hpcsweep.ranges import format_ranges, parse_ranges
from hpcsweep.runs.limits import site_limits
from hpcsweep.runs.run import Run
from hpcsweep.schedulers.base import NoAnswer, Seen
from hpcsweep.shell import run_command
from hpcsweep.states import FACTS, State
from hpcsweep.store import ClaimFacts, EventsGone, cache, list_events, read_claim
from hpcsweep.store.attempts import REVOKED


def observe(run: Run, *, is_hurried: bool = False) -> Fold:
    """Look, and fold what was seen into a state for every task.

    ``is_hurried``: what the scheduler has no trace of counts as forgotten at once, not only after a wait.

    The scheduler is asked only when the tasks' own records leave something open. It is asked *before* the event folders
    are listed again: a task that ends in between is then seen as ended by its own record, never as gone.
    """
    ledger = run.ledger
    lost_after_s = run.scheduler.lost_after_s
    is_held_back = run.paths.held_back.exists()
    evidence = Evidence(
        now=time.time(),
        events={},
        lost_after_s=lost_after_s,
        forgotten_after_s=math.inf if run.is_rehearsal_over else 0.0 if is_hurried else lost_after_s,
        is_held_back=is_held_back,
    )
    evidence = look_into_events(run, evidence, ledger.arrays)
    fold = Fold(ledger, evidence, ledger.total)
    if not _is_open(fold):
        return fold
    evidence = _ask_live(run, evidence)
    fold = Fold(ledger, evidence, ledger.total)
    if evidence.live is None:
        return fold
    gone = gone_elements(fold)
    hidden = _hidden_arrays(run, gone)
    if hidden:
        evidence = _replace(evidence, hidden=hidden)
        gone = {number: elements for number, elements in gone.items() if number not in hidden}
    gone_since = _remember_gone(run, gone, evidence.now)
    asked = {*gone, *hidden, *_unconfirmed(fold)}
    if not asked:
        return fold
    if run.is_rehearsal_over:
        return Fold(ledger, _replace(evidence, gone_since=gone_since), ledger.total)
    evidence = _ask_history(run, _replace(evidence, gone_since=gone_since), sorted(asked))
    return Fold(ledger, evidence, ledger.total)


def _hidden_arrays(run: Run, gone: Iterable[int]) -> frozenset[int]:
    """Which of the arrays that the scheduler does not show are somebody else's, at a site that shows everybody their own alone."""
    others = {number for number in gone if not _is_ours(run.paths.array(number).script)}
    return frozenset(others) if others and site_limits(run).hides_jobs else frozenset()


def _is_ours(path: Path) -> bool:
    try:
        return os.geteuid() in (0, path.stat().st_uid)
    except OSError:
        return True


def _unconfirmed(fold: Fold) -> list[int]:
    """Arrays that nobody has confirmed and that are not in the queue: they may have been accepted, and be over."""
    live = {seen.tag for seen in fold.evidence.live or ()}
    arrays = fold.ledger.arrays.values()
    return [array.number for array in arrays if array.forgotten or (array.is_uncertain and array.tag not in live)]


def list_array_events(run: Run, number: int) -> EventTable:
    """The event folder of one array, read by names only.

    Raises:
        EventsGone: it is not there.
        HpcsweepError: it cannot be listed.
    """
    return fold_events(list_events(run.paths.array(number)))


def look_into_events(run: Run, evidence: Evidence, arrays: Iterable[int]) -> Evidence:
    """The evidence with what the event folders of these arrays say now; of those that cannot be read, why."""
    events, unread = dict(evidence.events), dict(evidence.unread)
    gone = set(evidence.events_gone)
    for number in arrays:
        events.pop(number, None)
        unread.pop(number, None)
        gone.discard(number)
        try:
            events[number] = list_array_events(run, number)
        except HpcsweepError as error:
            unread[number] = error.message
            if isinstance(error, EventsGone):
                gone.add(number)
    return _replace(evidence, events=events, unread=unread, events_gone=frozenset(gone))


def _is_open(fold: Fold) -> bool:
    """Whether the scheduler could tell something that the tasks' own records do not."""
    views = fold.views if fold.finally_view is None else [*fold.views, fold.finally_view]
    return any(FACTS[view.state].is_live or not view.is_final for view in views) or bool(_feeder_tags(fold.ledger))


def _feeder_tags(ledger: Ledger) -> dict[str, tuple[str, ...]]:
    """The newest job that was left to advance the run, while that may be queued: its tag and its id."""
    feeder = ledger.feeder
    if feeder is None or feeder.is_refused or ledger.is_finished:
        return {}
    return {feeder.tag: () if feeder.job is None else (feeder.job,)}


def _replace(evidence: Evidence, **changes: Any) -> Evidence:
    from dataclasses import replace  # noqa: PLC0415

    return replace(evidence, **changes)


def _ask_live(run: Run, evidence: Evidence) -> Evidence:
    arrays = run.ledger.live_arrays()
    tags = tags_of(arrays) | _feeder_tags(run.ledger)
    answer: list[Seen] | NoAnswer
    ends: list[Seen] = []
    if not tags or run.is_rehearsal_over:
        answer = []
    elif run.elsewhere:
        answer = NoAnswer(message=run.elsewhere)
    else:
        command = run.scheduler.live_cmd(tags)
        completed = run_command(command, timeout_s=run.settings.query_timeout_s)
        answer, ends = run.scheduler.parse_live(completed), run.scheduler.parse_live_ends(completed)
    now = time.time()
    if isinstance(answer, NoAnswer):
        last_at, last = _last_live(run)
        return _replace(evidence, now=now, live_message=answer.message, last_live=last, last_live_at=last_at)
    cache.put(run.paths, "live", [_seen_to_json(seen) for seen in answer], now=now)
    evidence = look_into_events(run, evidence, [array.number for array in arrays])
    return _replace(evidence, now=now, live=answer, history=ends or None, owners=_owners(run, answer, evidence.events))


def _owners(run: Run, answer: Sequence[Seen], events: Mapping[int, EventTable]) -> dict[int, dict[int, str]]:
    """Array -> element -> the job whose claim it is, of the arrays that the scheduler has, or may have, twice."""
    jobs: dict[str, set[str]] = {}
    for seen in answer:
        jobs.setdefault(seen.tag, set()).add(seen.job)
    owners: dict[int, dict[int, str]] = {}
    for array in run.ledger.live_arrays():
        if not array.more_jobs and not jobs.get(array.tag, set()) - {array.job}:
            continue
        folder, table = run.paths.array(array.number).events, events.get(array.number, {})
        for position, task in enumerate(array.tasks):
            key = (task, array.attempt_of(task))
            record = table.get(key)
            facts = read_claim(folder, *key) if record is not None and record.claimed else None
            if facts is not None and facts.tag == array.tag and facts.job != REVOKED:
                owners.setdefault(array.number, {})[array.element_of(position)] = facts.job
    return owners


def _ask_history(run: Run, evidence: Evidence, arrays: list[int]) -> Evidence:
    chosen = [run.ledger.arrays[number] for number in arrays]
    command = run.scheduler.history_cmd(tags_of(chosen), min(array.planned_at for array in chosen) - 60)
    if command is None:
        return _replace(evidence, is_history_whole=True)
    answer = run.scheduler.parse_history(run_command(command, timeout_s=run.settings.query_timeout_s))
    if isinstance(answer, NoAnswer):
        return evidence
    return _replace(evidence, history=answer, is_history_whole=run.scheduler.is_history_whole)


def tags_of(arrays: Iterable[Array]) -> dict[str, tuple[str, ...]]:
    """Tag -> the ids under it; none where there may be others than those that are known."""
    return {array.tag: () if array.is_uncertain or array.may_exist else array.jobs for array in arrays}


def _remember_gone(run: Run, gone: Mapping[int, list[int]], now: float) -> dict[int, dict[int, float]]:
    """When each element was first found gone, so that the wait goes on from command to command.

    What was there again in between begins its wait anew. Each host counts by its own clock and for its own view of the
    folders, which lag behind by themselves; who may not write into the run's cache remembers for as long as the command lives.
    """
    key = f"gone-{re.sub(r'[^a-z0-9-]', '-', socket.gethostname().lower())[:50]}"
    known = run.gone_since
    cached = cache.get_with_time(run.paths, key)
    for number, groups in (cached[0] if cached else {}).items():
        for ranges, since in groups:
            known.setdefault(int(number), {}).update(dict.fromkeys(parse_ranges(ranges), since))
    # A clock that was put back must not make the wait longer than it is.
    table = {number: {e: min(now, known.get(number, {}).get(e, now)) for e in elements} for number, elements in gone.items()}
    if table != known:
        cache.put(run.paths, key, {number: _by_time(since) for number, since in table.items()}, now=now)
    known.clear()
    known.update(table)
    return table


def _by_time(since: Mapping[int, float]) -> list[tuple[str, float]]:
    groups: dict[float, list[int]] = {}
    for element, when in since.items():
        groups.setdefault(when, []).append(element)
    return [(format_ranges(elements), when) for when, elements in groups.items()]


def _last_live(run: Run) -> tuple[float, list[Seen]]:
    cached = cache.get_with_time(run.paths, "live")
    return (0.0, []) if cached is None else (cached[1], [_seen_from_json(data) for data in cached[0]])


def _seen_to_json(seen: Seen) -> dict[str, Any]:
    data = asdict(seen)
    data["state"] = seen.state.value
    data["elements"] = None if seen.elements is None else format_ranges(seen.elements)
    return data


def _elements_from_json(text: str) -> range | tuple[int, ...]:
    if match := re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", text, re.ASCII):
        return range(int(match[1]), int(match[2]) + 1)  # however far it goes, it costs nothing
    return tuple(parse_ranges(text))


def _seen_from_json(data: Mapping[str, Any]) -> Seen:
    elements = None if data["elements"] is None else _elements_from_json(data["elements"])
    return Seen(**{**data, "state": State(data["state"]), "elements": elements})


def claim_facts(run: Run, view: TaskView) -> ClaimFacts | None:
    """Read the claim of a task's current attempt; None when it has none, or hpcsweep revoked it."""
    if view.array is None or not view.is_claimed:
        return None
    facts = read_claim(run.paths.array(view.array).events, view.index, view.attempt)
    return None if facts is None or facts.job == REVOKED else facts
