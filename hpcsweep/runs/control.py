"""What a user does to a run: resubmit, cancel, hold, release, throttle. Each leaves its wish in the journal first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hpcsweep.decide import (
    EndAttempts,
    cancelled_unseen,
    count_failures,
    failed_canaries,
    is_over_limit,
    policy_of,
)
from hpcsweep.errors import HpcsweepError, SchedulerUnreachable
from hpcsweep.events import FINALLY
from hpcsweep.fold import Fold
from hpcsweep.ledger import request_to_json
from hpcsweep.model import Request
from hpcsweep.ranges import format_ranges
from hpcsweep.retry import find_retries
from hpcsweep.runs.cancelling import cancel_elements, mark_tasks, tell
from hpcsweep.runs.endings import end_attempts, names_of
from hpcsweep.runs.feed import live_feeder
from hpcsweep.runs.known import record_what_is_known
from hpcsweep.runs.observe import observe
from hpcsweep.runs.run import Run
from hpcsweep.runs.turn import Turn
from hpcsweep.states import FACTS, State
from hpcsweep.store import write_atomically


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """What ``cancel`` did: tasks by what became of them."""

    withdrawn: list[int] = field(default_factory=list)  # never submitted, and now never will be
    signalled: list[int] = field(default_factory=list)  # the scheduler was told
    ended: list[int] = field(default_factory=list)  # had ended before


def mark_resubmit(turn: Turn, fold: Fold, tasks: Iterable[int], requests: Mapping[int, Request] | None = None) -> None:
    """Write that these tasks shall have another attempt, and with them the command after them, if it has begun already.

    ``requests``: what they ask for, where that is not what they asked for last.
    """
    last = fold.finally_view
    groups: dict[Request | None, list[int]] = {}
    for task in [*tasks, *([FINALLY] if last is not None and last.is_begun else [])]:
        groups.setdefault((requests or {}).get(task), []).append(task)
    turn.write(
        *(
            {"event": "resubmit", **names_of(some), **({} if request is None else {"request": request_to_json(request)})}
            for request, some in groups.items()
        )
    )


def cancel(turn: Turn, fold: Fold, tasks: list[int] | None) -> Cancelled:
    """Cancel all (None) or some tasks: the wish, the markers that the runners read, then the scheduler's command.

    Raises:
        SchedulerUnreachable: the scheduler did not take it; the markers stand, and the command can be given again.
    """
    run = turn.run
    fold = record_what_is_known(turn, fold)  # PBS overwrites how tasks have ended when their array is deleted
    policy = policy_of(run.settings)
    chosen_fold = find_retries(fold, policy.retry, policy.site).fold  # what would run again by itself shall not
    chosen = chosen_fold.views if tasks is None else [chosen_fold.views[task] for task in tasks]
    ended = [view.index for view in chosen if FACTS[view.state].is_ended and not view.is_wanted]
    open_views = [view for view in chosen if view.is_wanted or not FACTS[view.state].is_ended]
    withdrawn = [view.index for view in open_views if not FACTS[view.state].is_live]
    live = [view for view in open_views if FACTS[view.state].is_live]
    last = fold.finally_view
    is_last_live = tasks is None and last is not None and FACTS[last.state].is_live
    is_last_over = last is not None and FACTS[last.state].is_ended and not last.is_wanted
    if open_views or (tasks is None and run.settings.finally_ is not None and not is_last_over):
        event: dict[str, object] = {"event": "cancel", "tasks": format_ranges(view.index for view in open_views)}
        if tasks is None:
            event["finally"] = True
        turn.write(event)
    some = mark_tasks(run, fold, [*live, *([last] if is_last_live and last is not None else [])])
    unseen = cancelled_unseen(Fold(run.ledger, fold.evidence, run.ledger.total))
    end_attempts(turn, fold, EndAttempts(attempts=unseen, leaves_started=True))
    answers = cancel_elements(run, some)
    if tasks is None:
        answers += _cancel_feeder(run, fold)
    for error in answers:
        raise error
    return Cancelled(withdrawn=withdrawn, signalled=[view.index for view in live], ended=ended)


def _cancel_feeder(run: Run, fold: Fold) -> list[HpcsweepError]:
    """There is nothing left to feed: a feeder that stays would find that, too."""
    feeder = live_feeder(fold)
    try:
        tell([] if feeder is None else run.scheduler.cancel_cmds(feeder.tag, feeder.job, None))
    except HpcsweepError as error:
        return [error]
    return []


def set_hold(turn: Turn, action: Literal["hold", "release"]) -> int:
    """Hold or release all that has not started; how many arrays the scheduler was told about."""
    run = turn.run
    fold = observe(run)
    silence = fold.evidence.live_message
    if action == "hold":
        turn.write({"event": "held"})
        if silence:
            raise SchedulerUnreachable(
                f"the scheduler is out of reach: {silence}", "the hold is noted: `hpcsweep advance` tells it when it is back"
            )
    elif silence:
        raise SchedulerUnreachable(
            f"the scheduler is out of reach: {silence}", "nothing is released: give the command again later"
        )
    else:
        fold = record_what_is_known(turn, fold)
        _release(turn, fold)
    pending = {view.array for view in fold.views if view.state is State.PENDING and view.array is not None}
    if fold.finally_view is not None and fold.finally_view.state is State.PENDING and fold.finally_view.array is not None:
        pending.add(fold.finally_view.array)
    for number in sorted(pending):
        array = run.ledger.arrays[number]
        for job in array.awaited_jobs:
            tell(run.scheduler.hold_cmds(array.tag, job, action))
    return len(pending)


def _release(turn: Turn, fold: Fold) -> None:
    """Undo a hold; go on after a failed canary or too many failures, where there was no hold or these have come too."""
    run, policy = turn.run, policy_of(turn.run.settings)
    fold = find_retries(fold, policy.retry, policy.site).fold
    was_held = run.ledger.is_held
    event: dict[str, object] = {"event": "released", "canary": not was_held or bool(failed_canaries(fold, policy))}
    if is_over_limit(fold, policy) or not was_held:
        event["failures"] = count_failures(fold)
    turn.write(event)
    if policy.max_failures is not None and "failures" in event:
        # A crash before this leaves the runners' marker, and with it the run held back: `release` can be given again.
        write_atomically(run.paths.released, f"{event['failures']}\n")
        run.paths.held_back.unlink(missing_ok=True)


def throttle(turn: Turn, at_once: int) -> list[int]:
    """Let ``at_once`` elements of the run be at once from now on (0: no limit).

    The scheduler's own throttle holds for each array. Arrays that wait for one another may each have all of it; those that
    run side by side share it.

    Returns:
        The live arrays that cannot be throttled: single jobs, which the scheduler starts when it likes.
    """
    run = turn.run
    fold = observe(run)
    turn.write({"event": "throttled", "at_once": at_once})
    numbers = {view.array for view in fold.views if FACTS[view.state].is_live and view.array is not None}
    live = [run.ledger.arrays[number] for number in sorted(numbers) if run.ledger.arrays[number].job is not None]
    arrays = [array for array in live if not array.is_single]
    jobs = {job for array in arrays for job in array.jobs}
    side_by_side = [array for array in arrays if jobs.isdisjoint(array.waits_for)]
    for array in arrays:
        share = at_once
        if at_once and array in side_by_side:
            place, parts = side_by_side.index(array), len(side_by_side)
            share = max(1, at_once // parts + (place < at_once % parts))
        for job in array.awaited_jobs:
            tell(run.scheduler.throttle_cmds(array.tag, job, share))
    return [array.number for array in live if array.is_single]
