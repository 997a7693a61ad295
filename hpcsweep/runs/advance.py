"""The loop, once: observe -> fold -> decide -> act. The only code that submits."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from hpcsweep.decide import (
    Decision,
    EndAttempts,
    HoldBack,
    PlanArray,
    Policy,
    SubmitAgain,
    decide,
    jobs_to_wait_for,
    policy_of,
)
from hpcsweep.errors import HpcsweepError
from hpcsweep.fold import Fold, TaskView
from hpcsweep.ledger import Array
from hpcsweep.ranges import format_ranges
from hpcsweep.runs.limits import site_limits
from hpcsweep.runs.observe import list_array_events, observe
from hpcsweep.runs.run import Run
from hpcsweep.runs.scripts import write_array
from hpcsweep.schedulers.base import ArrayJob, Refused, Submitted, Uncertain
from hpcsweep.shell import run_command
from hpcsweep.states import FACTS
from hpcsweep.store import Journal, RunLock, give_up, revoke


@dataclass(kw_only=True)
class Report:
    """What one ``advance`` did, for the user."""

    submitted: list[tuple[int, str, int]] = field(default_factory=list)  # array, job, elements
    refused: list[tuple[int, Refused]] = field(default_factory=list)
    uncertain: list[tuple[int, str]] = field(default_factory=list)
    waiting: Mapping[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fold: Fold | None = None
    is_finished: bool = False


def advance(run: Run, lock: RunLock, *, after: tuple[str, ...] = (), settle_s: float | None = None) -> Report:
    """One turn of the loop, under the run's lock. Idempotent: with nothing to do it writes nothing.

    ``after``: jobs of others that new arrays have to wait for (``submit --after``).
    """
    run.check_in_place()
    run.forget_ledger()
    fold = observe(run)
    turn = Turn(run=run, lock=lock, journal=Journal(run.paths, lock), after=after)
    known = [*_adopted(run, fold), *_ends(fold), *_settled(run, fold)]
    if known:
        turn.write(*known)
        fold = Fold(run.ledger, fold.evidence, run.ledger.total)
    policy = policy_of(
        run.settings, max_array_size=site_limits(run).max_array_size, chains_arrays=run.info["scheduler"] != "local", settle_s=settle_s
    )
    decision = decide(fold, policy, run.request_of, time.time())
    turn.policy = policy
    turn.report = Report(waiting=decision.waiting, notes=list(decision.notes), fold=fold, is_finished=decision.is_finished)
    _act(turn, decision)
    if decision.is_finished and not run.ledger.is_finished:
        counts: dict[str, int] = {}
        for view in fold.views:
            counts[view.state.value] = counts.get(view.state.value, 0) + 1
        turn.write({"event": "finished", "counts": counts})
    return turn.report


def dry_decision(run: Run, fold: Fold) -> Decision:
    """What *decide* would do now, for readers: nothing is done. The site's limits are not asked for."""
    return decide(fold, policy_of(run.settings), run.request_of, time.time())


@dataclass(kw_only=True)
class Turn:
    """One turn under the run's lock: what the acting functions share."""

    run: Run
    lock: RunLock
    journal: Journal
    policy: Policy = field(default_factory=Policy)
    report: Report = field(default_factory=Report)
    after: tuple[str, ...] = ()

    def write(self, *events: dict[str, object]) -> None:
        """Journal the events, and let the ledger know them."""
        stamped = [{**event, "at": time.time()} for event in events]
        self.journal.append(*stamped)
        self.run.ledger.replay(stamped)


def _adopted(run: Run, fold: Fold) -> Iterable[dict[str, object]]:
    """An array whose submission got no answer, but whose tag the scheduler knows, was accepted."""
    found: dict[str, str] = {}
    for seen in [*(fold.evidence.live or ()), *(fold.evidence.history or ())]:
        if not seen.is_refusal:
            found.setdefault(seen.tag, seen.job)
    for array in run.ledger.arrays.values():
        if array.submission in ("submitting", "uncertain") and array.tag in found:
            yield {"event": "submitted", "array": array.number, "job": found[array.tag], "adopted": True}


def _ends(fold: Fold) -> Iterable[dict[str, object]]:
    groups: dict[tuple[object, ...], list[int]] = {}
    for view in _all_views(fold):
        array = fold.ledger.arrays.get(view.array) if view.array is not None else None
        if array is None or view.element in array.seen or view.element is None:
            continue
        if view.source in ("history", "scheduler") and FACTS[view.state].is_ended and view.is_final:
            key = (array.number, view.state.value, view.reason, view.source, view.node, view.exit_code, view.signal, view.elapsed_s)
            groups.setdefault(key, []).append(view.element)
    names = ("array", "state", "reason", "source", "node", "exit_code", "signal", "elapsed_s")
    for key, elements in groups.items():
        yield {"event": "seen", **dict(zip(names, key, strict=True)), "elements": format_ranges(elements)}


def _settled(run: Run, fold: Fold) -> Iterable[dict[str, object]]:
    """Arrays whose every element has ended for good: the scheduler need not be asked for them again."""
    open_arrays = {
        view.array for view in _all_views(fold) if view.array is not None and not (FACTS[view.state].is_ended and view.is_final)
    }
    for array in run.ledger.arrays.values():
        if array.submission == "submitted" and not array.settled and array.number not in open_arrays:
            yield {"event": "settled", "array": array.number}


def _all_views(fold: Fold) -> list[TaskView]:
    return fold.views if fold.finally_view is None else [*fold.views, fold.finally_view]


def _act(turn: Turn, decision: Decision) -> None:
    """Carry the decision out, in its order. What a task turned out to have done meanwhile is left as it is."""
    came_to_an_end: set[int] = set()
    for action in decision.actions:
        match action:
            case EndAttempts():
                came_to_an_end = _end_attempts(turn, action)
            case SubmitAgain():
                _submit(turn, turn.run.ledger.arrays[action.array])
            case PlanArray():
                tasks = tuple(task for task in action.tasks if task not in came_to_an_end)
                if tasks:
                    _submit(turn, _plan_array(turn, action, tasks))
            case HoldBack():
                _hold_back(turn, action)


def _end_attempts(turn: Turn, action: EndAttempts) -> set[int]:
    """PROTOCOL rules 5 and 6: before attempt A+1 exists, A is ended. Gives the tasks that turned out to have ended by themselves."""
    run = turn.run
    alive: set[int] = set()
    revoked: dict[int, list[int]] = {}
    tables = {number: list_array_events(run, number) for number, _task, _attempt in action.attempts}
    for number, task, attempt in action.attempts:
        array = run.ledger.arrays[number]
        events = run.paths.array(number).events
        record = tables[number].get((task, attempt))
        if record is not None and record.outcome is not None:
            known = turn.report.fold.views[task] if turn.report.fold is not None and task >= 0 else None
            if known is not None and known.source != "task":
                alive.add(task)  # its own word came after we had looked: the next turn reads it
            continue
        if record is not None and record.lost:
            continue
        if record is None or not record.claimed:
            if revoke(events, array.tag, task, attempt):
                revoked.setdefault(attempt, []).append(task)
                continue
        elif (task, attempt) in run.ledger.revoked:
            continue
        if give_up(events, task, attempt) != "lost":
            alive.add(task)
    for attempt, tasks in revoked.items():
        turn.write({"event": "revoked", "tasks": format_ranges(task for task in tasks if task >= 0), "attempt": attempt})
    return alive


def _plan_array(turn: Turn, action: PlanArray, tasks: tuple[int, ...]) -> Array:
    """Write the array's files, then the intent."""
    run = turn.run
    number = run.ledger.next_array()
    tag = f"{run.info['tag']}-{number:03d}"
    attempts = {task: attempt for task, attempt in action.attempts.items() if task in tasks}
    array = Array(
        number=number,
        tag=tag,
        tasks=tasks,
        attempts=attempts,
        kind=action.kind,
        request=action.request,
        planned_at=time.time(),
    )
    write_array(run, array)
    by_attempt: dict[int, list[int]] = {}
    for task in tasks:
        by_attempt.setdefault(array.attempt_of(task), []).append(task)
    turn.write(
        {
            "event": "planned",
            "array": number,
            "tag": tag,
            "kind": action.kind,
            "tasks": format_ranges(task for task in tasks if task >= 0),
            "attempts": {str(attempt): format_ranges(task for task in some if task >= 0) for attempt, some in by_attempt.items()},
            "request": {name: value for name, value in asdict(action.request).items() if value is not None},
        }
    )
    return run.ledger.arrays[number]


def _submit(turn: Turn, array: Array) -> None:
    """PROTOCOL rule 1 and 7: the intent is on disk before the command runs; its answer is on disk before anything else happens."""
    run = turn.run
    paths = run.paths.array(array.number)
    at_once = run.ledger.at_once if run.ledger.at_once is not None else run.settings.at_once
    earlier = [other for other in run.ledger.live_arrays() if other.number < array.number and other.submission == "submitted"]
    after = turn.after + jobs_to_wait_for(run.ledger, earlier, turn.policy)
    if array.kind == "finally":
        after = turn.after + tuple(other.job for other in earlier if other.job is not None)
    job = ArrayJob(
        tag=array.tag,
        script=str(paths.script),
        log=str(paths.log),
        size=array.size,
        chdir=str(run.info["cwd"]),
        at_once=at_once,
        after=tuple(dict.fromkeys(after)),
        as_single_job=turn.policy.as_single_jobs or array.kind == "finally",
    )
    turn.lock.check()
    turn.write({"event": "submitting", "array": array.number})
    answer = run.scheduler.parse_submit(run_command(run.scheduler.submit_cmd(job), lock_fd=turn.lock.fd))
    match answer:
        case Submitted():
            event: dict[str, object] = {"event": "submitted", "array": array.number, "job": answer.job}
            if answer.cluster:
                event["cluster"] = answer.cluster
            turn.write(event)
            turn.report.submitted.append((array.number, answer.job, array.size))
            if answer.warning:
                turn.report.notes.append(answer.warning)
        case Refused():
            turn.write(
                {"event": "refused", "array": array.number, "message": answer.message, "curable": answer.curable}
            )
            turn.report.refused.append((array.number, answer))
        case Uncertain():
            turn.write({"event": "uncertain", "array": array.number, "message": answer.message})
            turn.report.uncertain.append((array.number, answer.message))


def _hold_back(turn: Turn, action: HoldBack) -> None:
    run = turn.run
    for number in action.arrays:
        array = run.ledger.arrays[number]
        if array.job is not None:
            for command in run.scheduler.hold_cmds(array.tag, array.job, "hold"):
                run_command(command)
    turn.report.notes.append(f"{turn.policy.max_failures} tasks failed: what has not started is held; `hpcsweep release` goes on")


def first_refusal(report: Report) -> HpcsweepError | None:
    """The error to show when nothing of a new run was accepted."""
    if report.refused and not report.submitted and not report.uncertain:
        _number, refused = report.refused[0]
        return HpcsweepError(refused.message, refused.hint)
    return None
