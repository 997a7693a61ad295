"""What an observation adds to the journal: what the scheduler alone knows, and may forget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpcsweep.decide import continuations
from hpcsweep.fold import Fold, TaskView
from hpcsweep.jobids import array_id
from hpcsweep.ledger import NOT_HANDED_OVER, Array
from hpcsweep.ranges import format_ranges
from hpcsweep.runs.observe import claim_facts
from hpcsweep.runs.run import Run
from hpcsweep.runs.turn import Turn
from hpcsweep.states import FACTS


def record_what_is_known(turn: Turn, fold: Fold) -> Fold:
    """Keep in the journal what the scheduler alone knows: ids of uncertain arrays, ends without a record, arrays that are over.

    And what follows by itself: that a task which has saved goes on.
    """
    run = turn.run
    known = [
        *_adopted(run, fold),
        *_forgotten(fold),
        *_ends(fold),
        *_returned(fold),
        *_settled(run, fold),
        *going_on(run, fold),
    ]
    if not known:
        return fold
    turn.write(*known)
    return Fold(run.ledger, fold.evidence, run.ledger.total)


def going_on(run: Run, fold: Fold) -> list[dict[str, object]]:
    """Tasks that saved at their time limit, and that `on_timeout` lets go on in another attempt."""
    last = fold.finally_view
    again: dict[str, object] = {"finally": True} if last is not None and last.is_begun else {}
    return [
        {"event": "continued", "tasks": format_ranges(tasks), "attempt": attempt, **again}
        for attempt, tasks in continuations(fold, run.settings.most_continuations).items()
    ]


def _adopted(run: Run, fold: Fold) -> Iterable[dict[str, object]]:
    """All jobs that the scheduler, or the claims, have under an array's tag: one counts, the others are noted.

    Of several the one that owns claims counts; and of an array that has come and gone meanwhile claims may be all there is.
    """
    found: dict[str, dict[str, None]] = {}
    for seen in [*(fold.evidence.live or ()), *(fold.evidence.history or ())]:
        if not seen.is_refusal:
            found.setdefault(seen.tag, {})[seen.job] = None
    live = {seen.job for seen in fold.evidence.live or ()}
    for array in run.ledger.arrays.values():
        jobs = found.get(array.tag, {})
        if not array.is_uncertain and not jobs.keys() - set(array.jobs):
            continue
        if array.part is not None:
            counts = next((job for job in jobs if job not in array.jobs), None)  # the part, which only a new job can hold
        else:
            counts = _job_that_counts(array, jobs, live, _claiming_jobs(run, fold, array))
        if counts is not None and (array.is_uncertain or counts != array.job):
            yield {"event": "submitted", "array": array.number, "job": counts, "adopted": True}
        for job in jobs:
            if job not in (counts, *array.jobs):
                yield {"event": "duplicate", "array": array.number, "job": job}


def _job_that_counts(array: Array, jobs: Iterable[str], live: set[str], claiming: Sequence[str]) -> str | None:
    """The job that owns claims; else one that the scheduler has; else one that it had. What is on record is preferred."""
    for some in (claiming, [job for job in jobs if job in live], list(jobs)):
        if some:
            return array.job if array.job in some else some[0]
    return None if array.is_uncertain else array.job


def _claiming_jobs(run: Run, fold: Fold, array: Array) -> list[str]:
    jobs: dict[str, None] = {}
    for view in _all_views(fold):
        facts = claim_facts(run, view) if view.array == array.number else None
        if facts is not None and facts.tag == array.tag:
            jobs[facts.job if array.is_single else array_id(facts.job)] = None
    return list(jobs)


def _forgotten(fold: Fold) -> Iterable[dict[str, object]]:
    """Elements that were handed over, never started, and of which the scheduler has no trace: they are uncertain again."""
    elements: dict[int, list[int]] = {}
    reasons: dict[int, str] = {}
    for view in _all_views(fold):
        if view.is_forgotten and view.array is not None and view.element is not None:
            elements.setdefault(view.array, []).append(view.element)
            reasons[view.array] = view.reason
    for number, some in elements.items():
        if set(some) - fold.ledger.arrays[number].forgotten:
            yield {"event": "forgotten", "array": number, "elements": format_ranges(some), "message": reasons[number]}


def _ends(fold: Fold) -> Iterable[dict[str, object]]:
    groups: dict[tuple[object, ...], list[int]] = {}
    key: tuple[object, ...]
    for view in _all_views(fold):
        array = fold.ledger.arrays.get(view.array) if view.array is not None else None
        if array is None or view.position in array.seen or view.position is None:
            continue
        if view.source in ("history", "scheduler") and FACTS[view.state].is_ended and view.is_final:
            key = (
                array.number,
                view.state.value,
                view.reason,
                view.source,
                view.node,
                view.exit_code,
                view.signal,
                view.elapsed_s,
            )
            groups.setdefault(key, []).append(view.position)
    names = ("array", "state", "reason", "source", "node", "exit_code", "signal", "elapsed_s")
    for key, positions in groups.items():
        number = int(str(key[0]))
        yield {"event": "seen", **dict(zip(names, key, strict=True)), **named_positions(fold.ledger.arrays[number], positions)}


def _returned(fold: Fold) -> Iterable[dict[str, object]]:
    """Tasks that the runners sent back: kept, because `release` takes their marker away."""
    positions: dict[int, list[int]] = {}
    for view in _all_views(fold):
        if view.is_returned and view.array is not None and view.position is not None:
            positions.setdefault(view.array, []).append(view.position)
    for number, some in positions.items():
        new = set(some) - fold.ledger.arrays[number].returned
        if new:
            yield {"event": "returned", "array": number, **named_positions(fold.ledger.arrays[number], new)}


def named_positions(array: Array, positions: Iterable[int]) -> dict[str, str]:
    """Positions as an event names them; where each has an element of its own, these are named."""
    return {"positions" if array.packing.is_packed else "elements": format_ranges(positions)}


def _settled(run: Run, fold: Fold) -> Iterable[dict[str, object]]:
    """Arrays whose every element has ended for good: the scheduler need not be asked for them again."""
    open_arrays = {
        view.array
        for view in _all_views(fold)
        if view.array is not None and not view.is_returned and not (FACTS[view.state].is_ended and view.is_final)
    }
    for array in run.ledger.arrays.values():
        # Also one that nobody ever confirmed, when its tasks say by themselves that they have ended.
        if array.submission not in NOT_HANDED_OVER and not array.settled and array.number not in open_arrays:
            yield {"event": "settled", "array": array.number}


def _all_views(fold: Fold) -> list[TaskView]:
    return fold.views if fold.finally_view is None else [*fold.views, fold.finally_view]
