"""The loop, once: observe -> fold -> decide -> act. The only code that submits."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

from hpcsweep.decide import (
    CancelDuplicate,
    CancelTasks,
    Decision,
    EndAttempts,
    HoldArray,
    PlanArray,
    Policy,
    SubmitAgain,
    at_once_of,
    decide,
    jobs_to_wait_for,
    policy_of,
)
from hpcsweep.errors import HpcsweepError, SchedulerUnreachable
from hpcsweep.events import ARRAY_CANCEL
from hpcsweep.fold import Fold
from hpcsweep.ledger import Array, request_to_json
from hpcsweep.model import Request
from hpcsweep.packing import element_request
from hpcsweep.ranges import format_ranges
from hpcsweep.runs.cancelling import cancel_elements, mark_tasks
from hpcsweep.runs.endings import end_attempts, names_of
from hpcsweep.runs.feed import feeder_request, leave_feeder
from hpcsweep.runs.known import record_what_is_known
from hpcsweep.runs.limits import learn_array_size, retry_site, site_limits
from hpcsweep.runs.observe import list_array_events, observe
from hpcsweep.runs.room import GO_ON, ask_ceilings, learn_room
from hpcsweep.runs.run import Run
from hpcsweep.runs.scripts import ArrayWriter, array_directives
from hpcsweep.runs.turn import Turn
from hpcsweep.schedulers.base import MOST_ELEMENTS, ArrayJob, Command, Refused, Submitted, Uncertain
from hpcsweep.shell import run_command
from hpcsweep.states import FACTS
from hpcsweep.store import mark_cancel

FIRST_DELAY_S = 120
"""When a feeder looks again that was left before anybody knew how much room there is."""


@dataclass(kw_only=True)
class Report:
    """What one ``advance`` did, for the user."""

    submitted: list[tuple[int, str, int]] = field(default_factory=list)  # array, job, tasks
    refused: list[tuple[int, Refused]] = field(default_factory=list)
    uncertain: list[tuple[int, str]] = field(default_factory=list)
    waiting: dict[int, str] = field(default_factory=dict)
    is_more_to_come: bool = False  # something stays to be submitted by a later `advance`, without the user's word
    may_retry: bool = False  # something may have to be run again, by a later `advance`
    notes: list[str] = field(default_factory=list)
    fold: Fold | None = None


def advance(
    turn: Turn,
    *,
    after: tuple[str, ...] = (),
    settle_s: float | None = None,
    is_by_hand: bool = False,
    is_fed: bool = False,
) -> Report:
    """One turn of the loop. Idempotent: with nothing to do it writes nothing.

    Args:
        turn: the run, under its lock.
        after: jobs of others that new arrays have to wait for (``submit --after``).
        settle_s: how long an uncertain submission is given before it is repeated (default: the run's setting).
        is_by_hand: a user's own `advance`: refusals are tried again, for their cause may have been mended.
        is_fed: from now on a small job is left that advances the run, where something stays to be submitted.
    """
    run = turn.run
    if is_fed and not run.ledger.is_fed and run.scheduler.is_fed_by_jobs:
        turn.write({"event": "fed"})
    fold = observe(run, is_hurried=settle_s == 0)
    fold = record_what_is_known(turn, fold)
    policy = policy_of(
        run.settings,
        max_array_size=site_limits(run).max_array_size,
        settle_s=run.settle_s if settle_s is None else settle_s,
        repeats_refused=is_by_hand,
    )
    policy = replace(policy, site=retry_site(run, fold, asks=True))
    decision = decide(fold, policy, run.request_of, time.time())
    if decision.is_submitting and not fold.evidence.live_message:
        # Only who submits has to know how much the site lets in.
        policy = replace(policy, ceilings=ask_ceilings(run, fold), feeder=feeder_request(run, fold))
        decision = decide(fold, policy, run.request_of, time.time())
    report = Report(
        waiting=dict(decision.waiting), is_more_to_come=decision.is_more_to_come, may_retry=decision.may_retry, fold=fold
    )
    if fold.evidence.live_message:
        return report  # the scheduler is silent: whatever was to be done is done by the next turn
    fence_abandoned(run)
    report.notes += _words_of(decision)
    _Act(turn=turn, policy=policy, report=report, fold=fold, after=after).carry_out(decision)
    if (report.is_more_to_come or decision.may_retry) and not report.uncertain:
        report.notes += leave_feeder(turn, fold)
    if decision.is_finished and not run.ledger.is_finished:
        counts: dict[str, int] = {}
        for view in fold.views:
            counts[view.state.value] = counts.get(view.state.value, 0) + 1
        turn.write({"event": "finished", "counts": counts})
    return report


def _words_of(decision: Decision) -> list[str]:
    """What is run again now, and why."""
    groups: dict[str, list[int]] = {}
    for action in decision.actions:
        for task in action.tasks if isinstance(action, PlanArray) else ():
            if task in decision.retries:
                groups.setdefault(decision.retries[task], []).append(task)
    return [f"task{'s' if len(tasks) > 1 else ''} {format_ranges(tasks)}: {words}" for words, tasks in groups.items()]


@dataclass(kw_only=True)
class _Act:
    """Carries a decision out, action by action, and reports."""

    turn: Turn
    policy: Policy
    report: Report
    fold: Fold
    after: tuple[str, ...]
    _full: dict[tuple[str | None, ...], str] = field(default_factory=dict)  # where there is no room for one more, and why
    _largest: int = MOST_ELEMENTS
    _refusal: tuple[int, Refused] | None = None

    @cached_property
    def _writer(self) -> ArrayWriter:
        return ArrayWriter(self.turn.run)

    def carry_out(self, decision: Decision) -> None:
        """Carry the decision out, in its order. What a task turned out to have done meanwhile is left as it is."""
        came_to_an_end: set[int] = set()
        for action in decision.actions:
            match action:
                case EndAttempts():
                    came_to_an_end |= end_attempts(self.turn, self.fold, action)
                case SubmitAgain():
                    self._submit_again(self.turn.run.ledger.arrays[action.array], action.elements)
                case CancelDuplicate():
                    array = self.turn.run.ledger.arrays[action.array]
                    self._tell(self.turn.run.scheduler.cancel_pending_cmds(array.tag, action.job))
                    self.report.notes.append(
                        f"array {array.number:03d} was accepted twice: what waits of job {action.job} is cancelled"
                    )
                case CancelTasks():
                    views = [view for task in action.tasks if (view := self.fold.view_of(task)) is not None]
                    errors = cancel_elements(self.turn.run, mark_tasks(self.turn.run, self.fold, views))
                    self.report.notes += [error.message for error in errors]
                case HoldArray():
                    array = self.turn.run.ledger.arrays[action.array]
                    for job in array.awaited_jobs:
                        self._tell(self.turn.run.scheduler.hold_cmds(array.tag, job, "hold"))
                case PlanArray():
                    tasks = tuple(task for task in action.tasks if task not in came_to_an_end)
                    if action.kind == "finally" and (self.report.refused or self.report.uncertain or self._full):
                        self.report.is_more_to_come = True
                        continue  # there is no job yet that it could wait for; the next turn plans it
                    self._place(action, tasks, action.packing.elements(len(tasks)))

    def _submit_again(self, array: Array, elements: tuple[int, ...] | None) -> None:
        if array.submission == "planned" and not self.turn.run.paths.array(array.number).script.exists():
            self._writer.write(array)  # a crash came before the script, which is written last
        answer = self._submit(array, elements)
        if isinstance(answer, Refused) and self._is_given_back(array, answer):
            ledger = self.turn.run.ledger
            tasks = tuple(task for task in array.tasks if task not in ledger.current or task in ledger.wanted)
            attempts = {task: array.attempt_of(task) + ((task, array.attempt_of(task)) in ledger.revoked) for task in tasks}
            plan = PlanArray(
                kind=array.kind,
                tasks=tasks,
                attempts=attempts,
                request=array.request,
                awaits=array.awaits,
                packing=array.packing,
            )
            self._place(plan, tasks, max(1, array.size // 2))

    def _place(self, plan: PlanArray, tasks: Sequence[int], piece: int) -> None:
        """Submit a plan; where the site takes only fewer elements at once, in pieces, each half of what would be refused.

        So a few tries fill what room there is, whether or not anybody has told how much that is. ``piece`` and all other
        numbers here are of elements.
        """
        many = plan.packing.tasks_per_element
        place = (plan.request.account, plan.request.partition, plan.request.qos)
        left = tuple(tasks)
        bound: int | None = None  # so many elements more are known to be too many
        while left and place not in self._full:
            part = left[: min(piece, self._largest) * many]
            size = plan.packing.elements(len(part))
            array = self._plan_array(plan, part)
            answer = self._submit(array)
            if isinstance(answer, Submitted):
                left = left[len(part) :]
                bound = bound and bound - size
            elif not isinstance(answer, Refused) or not self._is_given_back(array, answer):
                self.report.is_more_to_come |= bool(left[len(part) :])
                return
            elif answer.limit == "array size":
                self._largest = size // 2
                learn_array_size(self.turn.run, self._largest)
            else:
                bound = size
                # Its place would be gone when the rest is filled.
                self.report.notes += leave_feeder(self.turn, self.fold, delay_s=FIRST_DELAY_S)
                self._refusal = (array.number, answer)
            if bound is not None:
                piece = bound // 2
                if not piece:
                    self._full[place] = self._why_full(plan.request)
        if left:
            self.report.waiting.update(dict.fromkeys(left, self._full[place]))
            self.report.is_more_to_come = True

    def _why_full(self, request: Request) -> str:
        """Remember that there is no more room now. Where not even one element is taken by an empty queue, it is no lack of room."""
        count = learn_room(self.turn.run, request)
        if count == 0 and not self.report.submitted and self._refusal is not None:
            self.report.refused.append(self._refusal)
        many = "" if count is None else f" than {count} jobs"
        return f"limits: the site lets you queue no more{many} now; {GO_ON}"

    def _is_given_back(self, array: Array, answer: Refused) -> bool:
        """Give a refused array back, where fewer elements may be taken: its tasks are new again.

        Only where each of its submissions was answered by a refusal, and it has no claims: then nothing of it exists. Where one
        had no answer its attempts are ended first. It is fenced all the same, by the marker that cancels whatever would start.
        """
        run = self.turn.run
        is_size = answer.limit == "array size"
        has_begun = not array.jobs and bool(list_array_events(run, array.number))
        if array.is_uncertain and answer.limit and not array.jobs and not has_begun and array.size > is_size:
            attempts = tuple((array.number, task, array.attempt_of(task)) for task in array.tasks)
            if not end_attempts(self.turn, self.fold, EndAttempts(attempts=attempts, leaves_started=True)):
                self.turn.write({"event": "abandoned", "array": array.number})
                fence_abandoned(run)
                return True
        if not array.is_uncertain and has_begun:
            message = f"it was refused, and has started: {answer.message}"
            self.turn.write({"event": "uncertain", "array": array.number, "message": message})
        if array.is_uncertain:
            self.report.uncertain.append((array.number, answer.message))
        elif not answer.limit or (is_size and array.size == 1) or array.jobs:
            self.report.refused.append((array.number, answer))
        else:
            self.turn.write({"event": "abandoned", "array": array.number})
            fence_abandoned(run)
            return True
        return False

    def _plan_array(self, action: PlanArray, tasks: tuple[int, ...]) -> Array:
        """Write the intent, then the array's files: a folder that the journal does not know means that the journal is damaged."""
        run = self.turn.run
        array = new_array(run, replace(action, tasks=tasks), run.ledger.next_array(), self.after or _inherited_after(self.fold))
        by_attempt: dict[int, list[int]] = {}
        for task in tasks:
            by_attempt.setdefault(array.attempt_of(task), []).append(task)
        self.turn.write(
            {
                "event": "planned",
                "array": array.number,
                "tag": array.tag,
                "kind": action.kind,
                **names_of(tasks),
                "attempts": {str(attempt): names_of(some)["tasks"] for attempt, some in by_attempt.items()},
                "request": request_to_json(action.request),
                **({"after": list(array.after)} if array.after else {}),
                **({} if array.awaits is None else {"awaits": array.awaits}),
                **({"single": True} if array.is_single else {}),
                **({"packing": asdict(array.packing)} if array.packing.is_packed else {}),
            }
        )
        self._writer.write(array)
        return run.ledger.arrays[array.number]

    def _tell(self, commands: Iterable[Command]) -> None:
        """What is not done now the next turn finds to do again."""
        for command in commands:
            completed = run_command(command)
            if completed.returncode != 0:
                said = completed.stderr.strip() or f"exit code {completed.returncode}"
                self.report.notes.append(f"{command.argv[-1]}: {said}")

    def _submit(self, array: Array, elements: tuple[int, ...] | None = None) -> Submitted | Refused | Uncertain:
        """The intent is on disk before the command runs; its answer is on disk before anything else happens."""
        run = self.turn.run
        job = array_job(run, array, self.policy, elements)
        self.turn.lock.check()
        part = {} if elements is None else {"elements": format_ranges(elements)}
        self.turn.write({"event": "submitting", "array": array.number, "waits_for": list(job.after), **part})
        try:
            completed = run_command(run.scheduler.submit_cmd(job), lock_fd=self.turn.lock.fd)
        except HpcsweepError as error:  # the program did not even start: nothing was handed over
            self.turn.write({"event": "refused", "array": array.number, "message": error.message, "curable": True})
            raise
        answer = run.scheduler.parse_submit(completed)
        match answer:
            case Submitted():
                event: dict[str, object] = {"event": "submitted", "array": array.number, "job": answer.job}
                if answer.cluster:
                    event["cluster"] = answer.cluster
                self.turn.write(event)
                tasks = array.tasks if elements is None else array.tasks_of(elements)
                self.report.submitted.append((array.number, answer.job, len(tasks)))
                for task in tasks:
                    self.report.waiting.pop(task, None)  # it is uncertain no more
                if answer.warning:
                    self.report.notes.append(answer.warning)
            case Refused():
                is_curable = answer.curable or (bool(answer.limit) and array.size > 1)
                self.turn.write({"event": "refused", "array": array.number, "message": answer.message, "curable": is_curable})
            case Uncertain():
                self.turn.write({"event": "uncertain", "array": array.number, "message": answer.message})
                self.report.uncertain.append((array.number, answer.message))
        return answer


def fence_abandoned(run: Run) -> None:
    """Nothing of an array that was given back exists. If a scheduler that said no has it after all, its elements leave."""
    for array in run.ledger.arrays.values():
        events = run.paths.array(array.number).events
        if array.submission == "abandoned" and events.is_dir() and not (events / ARRAY_CANCEL).exists():
            mark_cancel(events, None)


def _inherited_after(fold: Fold) -> tuple[str, ...]:
    """Others' jobs that the run's first arrays still wait for, as what is submitted later has to."""
    ledger = fold.ledger
    waiting = {view.array for view in fold.views if FACTS[view.state].is_live and not view.is_begun}
    arrays = [array for array in ledger.arrays.values() if array.after]
    found = [array for array in arrays if array.number in waiting]
    if not found and all(array.submission == "abandoned" for array in arrays):
        found = arrays
    return tuple(dict.fromkeys(job for array in found for job in array.after))


def new_array(run: Run, plan: PlanArray, number: int, after: tuple[str, ...] = ()) -> Array:
    """The array that a plan comes to, under the run's next number and its own tag. ``after``: others' jobs it waits for."""
    tasks = set(plan.tasks)
    return Array(
        number=number,
        tag=f"{run.tag}-{number:03d}",
        tasks=plan.tasks,
        attempts={task: attempt for task, attempt in plan.attempts.items() if task in tasks},
        kind=plan.kind,
        request=plan.request,
        planned_at=time.time(),
        after=after,
        awaits=plan.awaits,
        packing=plan.packing.within(len(plan.tasks)),
        # On this machine an array with one element is as good.
        is_single=run.info["scheduler"] != "local" and (plan.kind == "finally" or run.settings.array_mode == "jobs"),
    )


def array_job(run: Run, array: Array, policy: Policy, elements: tuple[int, ...] | None = None) -> ArrayJob:
    """What the scheduler is told of an array, or of some of its elements."""
    paths = run.paths.array(array.number)
    earlier = [other for other in run.ledger.live_arrays() if other.number != array.number and other.job is not None]
    return ArrayJob(
        tag=array.tag,
        script=str(paths.script),
        log=str(paths.log),
        size=array.size,
        elements=elements,
        chdir=run.cwd,
        at_once=at_once_of(run.ledger, policy),
        after=tuple(dict.fromkeys((*array.after, *jobs_to_wait_for(array, earlier, run.ledger, policy)))),
        as_single_job=array.is_single,
        directives=array_directives(run, array),
        is_env_clean=run.settings.env_from == "clean",
        gpus=element_request(array.request, array.packing).gpus,
    )


def first_refusal(report: Report) -> HpcsweepError | None:
    """The error to show when nothing of a new run was accepted."""
    if report.refused and not report.submitted and not report.uncertain:
        _number, refused = report.refused[0]
        kind = SchedulerUnreachable if refused.is_unreachable else HpcsweepError
        # Of a run that is no run any more nothing can go on.
        is_full = refused.limit == "queued"
        hint = "nothing was made; give the command again later, or ask the site for its limits" if is_full else refused.hint
        return kind(refused.message, hint)
    return None
