"""States + settings + limits -> what to do now. Pure; nothing else in the program decides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hpcsweep.events import FINALLY
from hpcsweep.fold import Fold, TaskView, find_duplicates, is_open, is_over
from hpcsweep.ledger import Array, Ledger
from hpcsweep.model import Request, Retry, Settings
from hpcsweep.packing import ALONE, Packing, choose_packing, shorten
from hpcsweep.retry import Site, find_retries
from hpcsweep.room import Ceiling, Rooms
from hpcsweep.states import FACTS, State

CANCEL_AGAIN_S = 60.0
"""How long what was cancelled is given to end before it is told so once more; more than the longest usual KillWait."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What of the settings and the site bears on decisions. ``at_once``: elements."""

    canary: int = 0
    max_failures: int | None = None
    at_once: int | None = None
    is_finally_wanted: bool = False
    finally_when: Literal["done", "ended"] = "done"
    max_array_size: int = 1001
    as_single_jobs: bool = False
    tasks_per_job: int | Literal["auto"] | None = None
    parallel: int | None = None
    settle_s: float = 360.0
    has_continuations: bool = False  # tasks that have saved at their time limit go on: their jobs may end before they do
    repeats_refused: bool = False  # also what waiting does not cure: somebody may have mended the cause
    ceilings: Sequence[Ceiling] = ()
    retry: Retry | None = None
    site: Site = field(default_factory=Site)
    feeder: Request | None = None  # of a job to be left where something stays to be submitted: it needs room, too


@dataclass(frozen=True, kw_only=True)
class PlanArray:
    """Make a new array of these tasks, all with the same request, and submit it."""

    kind: Literal["tasks", "finally"]
    tasks: tuple[int, ...]
    attempts: Mapping[int, int]
    request: Request
    awaits: int | None = None  # `finally`: how many tasks' records its element has to find; None: it need not look
    packing: Packing = ALONE


@dataclass(frozen=True, kw_only=True)
class SubmitAgain:
    """Submit a planned, refused, forgotten or long-uncertain array under its own number and tag.

    ``elements``: only these, for the scheduler has, or had, the others (None: all).
    """

    array: int
    elements: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class EndAttempts:
    """Make sure that these attempts can never start or count any more, before another one exists."""

    attempts: tuple[tuple[int, int, int], ...]  # (array, task, attempt)
    leaves_started: bool = False  # they may start at this very moment, and then shall go on


@dataclass(frozen=True, kw_only=True)
class CancelDuplicate:
    """Cancel what has not started of a job that came of submitting an array again: another one counts."""

    array: int
    job: str


@dataclass(frozen=True, kw_only=True)
class CancelTasks:
    """Tell once more that these are to end: the `cancel` that asked for it was interrupted, or the scheduler did not take it."""

    tasks: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class HoldArray:
    """Tell the scheduler to hold an array that waits there although the run is held."""

    array: int


Action = PlanArray | SubmitAgain | EndAttempts | CancelDuplicate | CancelTasks | HoldArray


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do now, why what waits is waiting, and whether all is over.

    ``is_more_to_come``: after these actions something stays to be submitted by a later `advance`, without the user's word.
    """

    actions: tuple[Action, ...] = ()
    waiting: Mapping[int, str] = field(default_factory=dict)  # task -> why it is not submitted
    is_finished: bool = False
    is_more_to_come: bool = False
    retries: Mapping[int, str] = field(default_factory=dict)  # task that ended -> how, and that it runs again
    ends: Mapping[int, str] = field(default_factory=dict)  # task that ended -> how, and why it does not run again
    may_retry: bool = False  # somebody has to come back when what is live has ended

    @property
    def is_submitting(self) -> bool:
        """Whether anything is to be submitted now."""
        return any(isinstance(action, PlanArray | SubmitAgain) for action in self.actions)


def policy_of(
    settings: Settings,
    *,
    max_array_size: int = 1001,
    ceilings: Sequence[Ceiling] = (),
    settle_s: float | None = None,
    repeats_refused: bool = False,
) -> Policy:
    """The policy that the settings of a run set, on a site with these limits; ``settle_s`` overrides the setting."""
    return Policy(
        canary=settings.canary,
        max_failures=settings.max_failures,
        at_once=settings.at_once,
        is_finally_wanted=settings.finally_ is not None,
        finally_when=settings.finally_.when if settings.finally_ else "done",
        has_continuations=settings.most_continuations > 0,
        as_single_jobs=settings.array_mode == "jobs",
        tasks_per_job=settings.tasks_per_job,
        parallel=settings.parallel,
        retry=settings.retry,
        max_array_size=max_array_size,
        ceilings=ceilings,
        settle_s=settings.settle_s if settle_s is None else settle_s,
        repeats_refused=repeats_refused,
    )


def decide(fold: Fold, policy: Policy, request_of: Callable[[int], Request], now: float) -> Decision:
    """What `advance` has to do. ``request_of(task)`` resolves a task's resources (-1: those of the ``finally`` command)."""
    ledger = fold.ledger
    retries = find_retries(fold, policy.retry, policy.site)
    fold, request_of = retries.fold, retries.over(request_of)
    ready, waiting = _ready_tasks(fold, policy)
    actions: list[Action] = []
    again = _arrays_to_submit_again(fold, policy, now)
    waiting |= _uncertain_reasons(fold, policy, now)
    still_live = tuple(view.index for view in _cancelled_and_live(fold))
    if still_live and now - ledger.cancelled_at >= min(CANCEL_AGAIN_S, policy.settle_s):
        actions.append(CancelTasks(tasks=still_live))
    actions.extend(CancelDuplicate(array=number, job=job) for number, job in find_duplicates(fold))
    cancelled = cancelled_unseen(fold)
    if cancelled:
        actions.append(EndAttempts(attempts=cancelled, leaves_started=True))
    rooms = Rooms(policy.ceilings)
    if not ledger.is_held:
        actions.extend(again)
        for action in again:
            array = ledger.arrays[action.array]
            rooms.take(array.request, len(action.elements or range(array.size)))
    else:
        actions.extend(HoldArray(array=number) for number in _arrays_to_hold(fold))
    plans = _plan_within(fold, policy, ready, request_of, rooms)
    waiting.update(plans.over)
    planned = {task for plan in plans.actions if isinstance(plan, PlanArray) for task in plan.tasks}
    views_planned = [view for view in fold.views if view.index in planned and view.array is not None]
    if views_planned:
        ended = tuple((view.array, view.index, view.attempt) for view in views_planned if view.array is not None)
        actions.append(EndAttempts(attempts=ended))
    actions.extend(plans.actions)
    # What waits for the user's word (held, a failed canary, too many failures) is not going to move by itself.
    is_finished = not actions and not plans.is_short and not any(is_open(view) for view in _all_views(fold))
    return Decision(
        actions=tuple(actions),
        waiting=waiting,
        is_finished=is_finished,
        is_more_to_come=plans.is_short or _is_waiting_for_tasks(fold, policy, ready),
        retries=retries.words,
        ends=retries.ends,
        may_retry=_may_retry(fold, policy, planned),
    )


def _may_retry(fold: Fold, policy: Policy, planned: Collection[int]) -> bool:
    """Whether something that runs, or is about to, may have to be run again without anybody's word."""
    if policy.retry is None or not policy.retry.rules or fold.ledger.is_held:
        return False
    return bool(planned) or any(is_open(view) for view in fold.views)


@dataclass(frozen=True, kw_only=True)
class _Plans:
    """What fits now. ``over``: the tasks that do not, and why; ``is_short``: these or the ``finally`` command."""

    actions: Sequence[Action]
    over: Mapping[int, str]
    is_short: bool


def _plan_within(
    fold: Fold, policy: Policy, ready: Sequence[int], request_of: Callable[[int], Request], rooms: Rooms
) -> _Plans:
    """Arrays of the ready tasks, in their order, and the ``finally`` command, as far as the site's limits have room for them.

    Where something stays to be submitted a feeder has its place first, but never the only one.
    """
    groups: dict[Request, list[int]] = {}
    for task in ready:
        groups.setdefault(request_of(task), []).append(task)
    grown = {task for task in ready if _has_grown(fold, task, request_of(task))}
    # What asks for more than before has an element to itself: several times as much may be more than any node has.
    packings = {
        request: ALONE if any(task in grown for task in tasks) else packing_of(policy, request, len(tasks))
        for request, tasks in groups.items()
    }
    places = {
        request: min(
            len(tasks), rooms.take(request, packings[request].elements(len(tasks))) * packings[request].tasks_per_element
        )
        for request, tasks in groups.items()
    }
    over = _over(groups, places, rooms)
    last = _finally(fold, policy, [task for task in ready if task not in over], request_of)
    is_finally_short = any(isinstance(action, PlanArray) for action in last) and not rooms.take(request_of(FINALLY), 1)
    is_feeder_wanted = bool(over) or is_finally_short or _is_waiting_for_tasks(fold, policy, ready)
    feeder = policy.feeder if is_feeder_wanted else None
    elements = sum(packings[request].elements(count) for request, count in places.items())
    if feeder is not None and not rooms.take(feeder, 1) and elements > 1:
        given = next((request for request in reversed(groups) if places[request] and rooms.exchange(request, feeder)), None)
        if given is not None:
            places[given] -= (places[given] - 1) % packings[given].tasks_per_element + 1
            over = _over(groups, places, rooms)
            last = []
    if is_finally_short:
        last = []  # it is planned when there is room, or when all have ended
    plans = [
        plan
        for request, tasks in groups.items()
        for plan in _plan(fold, policy, tasks[: places[request]], request, packings[request])
    ]
    return _Plans(actions=[*plans, *last], over=over, is_short=bool(over) or is_finally_short)


def _has_grown(fold: Fold, task: int, request: Request) -> bool:
    """Whether a task asks for more memory or time than its last attempt did."""
    if task not in fold.ledger.current:
        return False
    last = fold.ledger.current[task][0].request
    return (request.memory_bytes or 0) > (last.memory_bytes or 0) or (request.time_limit_s or 0) > (last.time_limit_s or 0)


def _over(groups: Mapping[Request, Sequence[int]], places: Mapping[Request, int], rooms: Rooms) -> dict[int, str]:
    return {task: rooms.reason(request) for request, tasks in groups.items() for task in tasks[places[request] :]}


def _is_waiting_for_tasks(fold: Fold, policy: Policy, ready: Sequence[int]) -> bool:
    """Whether tasks wait for others, or for the end of an attempt, and then go on by themselves."""
    if fold.ledger.is_held or is_over_limit(fold, policy):
        return False
    if _canary_reason(fold, policy) and not failed_canaries(fold, policy):
        return any(view.state is State.NEW and view.index not in ready for view in fold.views[policy.canary :])
    return any(view.is_wanted and not FACTS[view.state].is_ended for view in fold.views)


def _all_views(fold: Fold) -> list[TaskView]:
    return fold.views if fold.finally_view is None else [*fold.views, fold.finally_view]


def _ready_tasks(fold: Fold, policy: Policy) -> tuple[list[int], dict[int, str]]:
    """Tasks to plan now, and those held back with the reason."""
    ready: list[int] = []
    waiting: dict[int, str] = {}
    canary = _canary_reason(fold, policy)
    over_limit = is_over_limit(fold, policy)
    for view in fold.views:
        is_new = view.state is State.NEW and (view.array is None or view.is_returned)
        if not is_new and not (view.is_wanted and FACTS[view.state].is_ended):
            if view.is_wanted:
                waiting[view.index] = "waits for the end of its current attempt"
            elif view.state is State.NEW and view.reason.startswith("refused"):
                waiting[view.index] = view.reason
            continue
        if fold.ledger.is_held:
            waiting[view.index] = "held; `hpcsweep release` lets it start"
        elif over_limit:
            waiting[view.index] = f"held back after {policy.max_failures} failures; `hpcsweep release` goes on"
        elif canary and view.index >= policy.canary:
            waiting[view.index] = canary
        else:
            ready.append(view.index)
    return ready, waiting


def _canary_reason(fold: Fold, policy: Policy) -> str:
    """Why the tasks behind the canary wait, or ''."""
    if not policy.canary or fold.ledger.is_canary_released:
        return ""
    first = fold.views[: policy.canary]
    if all(FACTS[view.state].is_success for view in first):
        return ""
    bad = failed_canaries(fold, policy)
    if bad:
        return f"canary: {bad[0].title} {bad[0].state}; resubmit it, or `hpcsweep release` goes on without it"
    return (
        "canary: waits until the first task is done" if policy.canary == 1 else f"canary: waits for the first {policy.canary}"
    )


def failed_canaries(fold: Fold, policy: Policy) -> list[TaskView]:
    """Those of the first tasks that ended without success."""
    return [view for view in fold.views[: policy.canary] if is_over(view) and not FACTS[view.state].is_success]


def count_failures(fold: Fold) -> int:
    """Tasks that ended without success, cancelled ones not counted, nor those that run again."""
    return sum(FACTS[view.state].is_failure and not view.is_wanted for view in fold.views)


def is_over_limit(fold: Fold, policy: Policy) -> bool:
    """Whether too many tasks have failed; the runners' own marker counts too, for whatever is submitted would come back at once."""
    limit = policy.max_failures
    return limit is not None and (fold.evidence.is_held_back or count_failures(fold) - fold.ledger.released_failures >= limit)


def continuations(fold: Fold, most: int) -> dict[int, list[int]]:
    """Attempt -> tasks of it that saved at their time limit and go on in the next one; ``most``: how often one task may."""
    found: dict[int, list[int]] = {}
    for view in fold.views if most else ():
        before = fold.ledger.continued.get(view.index, ())
        is_cancelled = (view.index, view.attempt) in fold.ledger.cancelled
        if view.is_saved and view.attempt not in before and not view.is_wanted and not is_cancelled and len(before) < most:
            found.setdefault(view.attempt, []).append(view.index)
    return found


def _arrays_to_submit_again(fold: Fold, policy: Policy, now: float) -> list[SubmitAgain]:
    """Planned but never handed over, refused, forgotten, or uncertain for longer than a late acceptance is possible."""
    again = []
    forgotten: dict[int | None, set[int]] = {}
    for view in _all_views(fold):
        if view.is_forgotten and view.element is not None:
            forgotten.setdefault(view.array, set()).add(view.element)
    for array in fold.ledger.arrays.values():
        if array.number in fold.evidence.unread and array.submission != "planned":
            continue  # who cannot read what its tasks did starts nothing of it
        if array.settled:
            continue
        elements = array.part or array.forgotten or frozenset(forgotten.get(array.number, ()))
        match array.submission:
            case "planned":
                is_due = True
            case "refused":
                is_due = array.is_curable or policy.repeats_refused
            case "submitting" | "uncertain":
                is_due = now - array.submitted_at >= policy.settle_s
            case _:
                is_due = bool(elements) and now - array.submitted_at >= policy.settle_s
        tasks = array.tasks_of(sorted(elements)) if elements else array.tasks
        if is_due and any(_is_to_come(fold, array, task) for task in tasks):
            is_whole = not elements or len(elements) == array.size
            again.append(SubmitAgain(array=array.number, elements=None if is_whole else tuple(sorted(elements))))
    return again


def _uncertain_reasons(fold: Fold, policy: Policy, now: float) -> dict[int, str]:
    """Task -> why nobody knows whether the scheduler has it, and when it is submitted again."""
    reasons = {}
    for view in fold.views:
        if view.state is State.SUBMITTING and view.array is not None:
            rest_s = fold.ledger.arrays[view.array].submitted_at + policy.settle_s - now
            when = (
                f"it is looked for, and submitted again in {rest_s:.0f} s (`hpcsweep advance --now`: at once)"
                if rest_s > 0
                else "the next `hpcsweep advance` looks for it, and submits it again when it is not there"
            )
            reasons[view.index] = f"{view.reason}; {when}"
    return reasons


def _cancelled_and_live(fold: Fold) -> list[TaskView]:
    """What the scheduler has although somebody asked for its end."""
    return [
        view
        for view in (_all_views(fold) if fold.ledger.cancelled else ())
        if view.source == "scheduler"
        and view.state in (State.PENDING, State.RUNNING, State.SUSPENDED)
        and (view.index, view.attempt) in fold.ledger.cancelled
    ]


def _arrays_to_hold(fold: Fold) -> list[int]:
    waiting = {
        view.array
        for view in _all_views(fold)
        if view.array is not None and view.state is State.PENDING and view.source == "scheduler" and not view.is_held
    }
    return sorted(number for number in waiting if fold.ledger.arrays[number].submission == "submitted")


def _is_to_come(fold: Fold, array: Array, task: int) -> bool:
    """Whether an array that the scheduler may not have is the one that has to run the task."""
    ledger = fold.ledger
    key = (task, array.attempt_of(task))
    if ledger.current.get(task, (None, 0))[0] is not array or key in ledger.cancelled or key in ledger.revoked:
        return False
    view = fold.view_of(task)
    return view is not None and not view.is_begun


def cancelled_unseen(fold: Fold) -> tuple[tuple[int, int, int], ...]:
    """Cancelled attempts of arrays that the scheduler may not have, and so could not be told of: they are revoked."""
    found = []
    for task, attempt in sorted(fold.ledger.cancelled - fold.ledger.revoked):
        array, _position = fold.ledger.current[task]
        view = fold.view_of(task)
        if array.submission != "submitted" and array.attempt_of(task) == attempt and view is not None and not view.is_claimed:
            found.append((array.number, task, attempt))
    return tuple(found)


def packing_of(policy: Policy, request: Request, tasks: int) -> Packing:
    """How so many tasks with one request share elements. With ``auto`` there are no more elements than the site has queued at once."""
    limits = [ceiling.limit for ceiling in policy.ceilings if ceiling.bears_on(request)]
    if not policy.as_single_jobs:
        limits.append(policy.max_array_size)
    most_elements = max(1, min(limits)) if limits else None
    packing = choose_packing(policy.tasks_per_job, policy.parallel, request, tasks=tasks, most_elements=most_elements)
    return shorten(packing, request, policy.site.longest_s.get(request.partition))


def _plan(fold: Fold, policy: Policy, tasks: Sequence[int], request: Request, packing: Packing) -> Iterator[PlanArray]:
    """Tasks with one request, cut to the site's array size, in their order."""
    size = (1 if policy.as_single_jobs else max(1, policy.max_array_size)) * packing.tasks_per_element
    for start in range(0, len(tasks), size):
        part = tuple(tasks[start : start + size])
        attempts = {task: fold.views[task].attempt + 1 for task in part if fold.views[task].attempt}
        yield PlanArray(kind="tasks", tasks=part, attempts=attempts, request=request, packing=packing.within(len(part)))


def _finally(fold: Fold, policy: Policy, ready: Sequence[int], request_of: Callable[[int], Request]) -> list[Action]:
    """The command after the tasks.

    Planned together with the last of the tasks (the scheduler lets it wait for them), for nobody may come back to do it later;
    or when all are what ``when`` says. Its element checks ``when`` itself; one that left without a claim has not run, and is
    planned again when it can, or when tasks are run again: one that waits for less than all of them would come too early.
    """
    view = fold.finally_view
    if not policy.is_finally_wanted or FINALLY in fold.ledger.withdrawn or fold.ledger.is_held:
        return []
    if view is not None and view.is_begun:
        if not (view.is_wanted and FACTS[view.state].is_ended):
            return []
    elif view is not None and not ready and not ((FACTS[view.state].is_ended and view.is_final) or view.is_returned):
        return []
    actions: list[Action] = []
    if view is not None and view.array is not None:
        is_live = FACTS[view.state].is_live
        actions.append(EndAttempts(attempts=((view.array, FINALLY, view.attempt),), leaves_started=is_live))
    is_met = _is_finally_met(fold, policy)
    if is_met or _is_finally_coming(fold, policy, ready):
        attempt = 1 if view is None else view.attempt + 1
        awaits = None if is_met or _is_wait_enough(policy) else sum(not _leaves_no_record(fold, task) for task in fold.views)
        plan = PlanArray(
            kind="finally", tasks=(FINALLY,), attempts={FINALLY: attempt}, request=request_of(FINALLY), awaits=awaits
        )
        return [*actions, plan]
    return actions if ready and view is not None and FACTS[view.state].is_live else []


def _is_finally_met(fold: Fold, policy: Policy) -> bool:
    return all(is_over(task) for task in fold.views) and (
        policy.finally_when == "ended" or all(FACTS[task.state].is_success for task in fold.views)
    )


def _is_finally_coming(fold: Fold, policy: Policy, ready: Sequence[int]) -> bool:
    """Whether all tasks are on their way, so that the scheduler can let it wait for their jobs."""
    coming = set(ready)
    if not ready and (fold.finally_view is not None or not any(FACTS[task.state].is_live for task in fold.views)):
        return False
    for task in fold.views:
        if is_over(task):
            if policy.finally_when == "done" and not FACTS[task.state].is_success:
                return False
        elif task.index not in coming and (task.is_wanted or task.state is State.SUBMITTING or not FACTS[task.state].is_live):
            return False
    return True


def _is_wait_enough(policy: Policy) -> bool:
    """Whether all have ended when the jobs have. Not where elements come back or tasks go on, nor where each has to be a success.

    Looking would do harm then: a task that was killed leaves no record.
    """
    if policy.retry is not None and policy.retry.rules:
        return False
    return policy.finally_when == "ended" and policy.max_failures is None and not policy.has_continuations


def _leaves_no_record(fold: Fold, view: TaskView) -> bool:
    """Whether the task is over and its events do not say so: it was cancelled before it began, or killed."""
    if not is_over(view):
        return False
    record = fold.evidence.events.get(view.array, {}).get((view.index, view.attempt)) if view.array is not None else None
    return record is None or (record.outcome is None and not record.lost)


def at_once_of(ledger: Ledger, policy: Policy) -> int | None:
    """How many elements may run at once over the whole run; None: as many as the site lets."""
    limit = policy.at_once if ledger.at_once is None else ledger.at_once
    return limit or None


def jobs_to_wait_for(array: Array, earlier: Sequence[Array], ledger: Ledger, policy: Policy) -> tuple[str, ...]:
    """The jobs of this run that a new array has to wait for. ``earlier``: its arrays that are submitted and live.

    The ``finally`` command waits for all. And each array's own throttle holds per array (`%K`), so two of them side by side
    would run twice as many as ``at_once``: arrays go one after the other, single jobs each after the one K before it.
    """
    tasks = [other for other in earlier if other.kind == "tasks"]
    jobs = [job for other in sorted(tasks, key=lambda other: other.number) for job in other.awaited_jobs]
    if array.kind == "finally":
        return tuple(jobs)
    limit = at_once_of(ledger, policy)
    if limit is None:
        return ()
    step = limit if policy.as_single_jobs else 1
    return (jobs[-step],) if len(jobs) >= step else ()
