"""Ledger + evidence -> a state for every task. Pure: the one place where the truth about a task is decided.

Who is believed, in this order: the task's own outcome; an end written into the journal; the scheduler's live answer;
its history; what was last seen. A query that failed says nothing. "It does not know it", in a query that succeeded,
means ended, never how; and because directory listings and histories lag, it means *lost* only after a wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace

from hpcsweep.events import FINALLY, Record
from hpcsweep.jobids import array_id, is_same_job
from hpcsweep.ledger import NOT_HANDED_OVER, Array, Ledger
from hpcsweep.schedulers.base import Seen
from hpcsweep.states import FACTS, State

EventTable = Mapping[tuple[int, int], Record]

BROKEN_REASONS = {
    1: "its commands were edited after submit",
    2: "its folder or files could not be written",
    3: "its working directory is not there",
    4: "its input files could not be copied to the node (stage.in); its log says why",
    5: "its output files could not be copied back (stage.out); its log says why, and where they are",
    6: "there was no room on the node for its input files (stage.in)",
    7: "fewer GPUs were granted than asked for, or nobody says which (its log names them)",
}
SIGKILL = 9
MOST_FORGOTTEN = 2
"""How often an array is submitted again because the scheduler has no trace of it: what vanishes each time has another cause."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was observed, at ``now`` (epoch seconds). ``live`` / ``history`` None: no answer, or not asked."""

    now: float
    events: Mapping[int, EventTable]  # array number -> what its events folder says
    unread: Mapping[int, str] = field(default_factory=dict)  # array number -> why its events folder says nothing
    events_gone: frozenset[int] = frozenset()  # those of `unread` whose folder is not there: nothing can start from it
    live: Sequence[Seen] | None = None
    live_message: str = ""  # why there is no live answer
    last_live: Sequence[Seen] = ()  # the last answer there was, and when
    last_live_at: float = 0.0
    history: Sequence[Seen] | None = None
    is_held_back: bool = False  # the runners hold: too many tasks failed
    gone_since: Mapping[int, Mapping[int, float]] = field(default_factory=dict)  # array -> element -> first seen gone
    hidden: frozenset[int] = frozenset()  # arrays of others, whose jobs the scheduler does not show to us
    lost_after_s: float = 90.0
    forgotten_after_s: float = 90.0  # how long an element has to be unknown to be submitted again; 0: somebody is in a hurry
    is_history_whole: bool = False  # the history answered, or the scheduler keeps none and its live answer says all
    owners: Mapping[int, Mapping[int, str]] = field(
        default_factory=dict
    )  # array with several jobs -> element -> whose claim it is


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskView:
    """How one task stands. ``source``: task, scheduler, history, journal or last seen; ``age_s`` of the answer, seconds."""

    index: int
    state: State
    attempt: int = 0
    reason: str = ""
    source: str = "journal"
    age_s: float = 0.0
    exit_code: int | None = None
    signal: int | None = None
    elapsed_s: float | None = None
    node: str = ""
    job: str | None = None
    array: int | None = None
    element: int | None = None
    position: int | None = (
        None  # its place in the array's list of tasks; where tasks share an element, not the element's number
    )
    is_final: bool = True  # False: ended, but the scheduler's word on how is still awaited
    is_gone: bool = False  # a successful live query did not know its element
    is_claimed: bool = False  # the attempt has an owner: an element, or hpcsweep, which revoked it
    is_begun: bool = False  # its program did start, or may have
    is_blocked: bool = False
    is_held: bool = False
    is_wanted: bool = False  # `resubmit` asked for another attempt
    is_record_gone: bool = False  # nothing of it runs, and its record, which says how it ended, is not there any more
    is_saved: bool = False  # it reached its time limit, and its program has said that it can go on from there
    is_returned: bool = (
        False  # its element came and went without starting it: no time was left, too many had failed, not all were ready
    )
    is_forgotten: bool = False  # it never started, and the scheduler that had it has no trace of it

    @property
    def title(self) -> str:
        """``task 17 (job 4711_3)``: wherever a task is shown its job is too."""
        return f"task {self.index} (job {self.job})" if self.job else f"task {self.index}"


class Fold:
    """All task views of one observation. ``views[i]`` is task i; ``finally_view`` the command after them, if it was planned."""

    def __init__(self, ledger: Ledger, evidence: Evidence, total: int) -> None:
        self.ledger = ledger
        self.evidence = evidence
        self._live = _by_element(evidence.live or (), ledger, evidence)
        self._last = _by_element(evidence.last_live, ledger, evidence) if evidence.live is None else {}
        self._history = _by_element((seen for seen in evidence.history or () if not seen.is_refusal), ledger, evidence)
        self._traced: dict[int, bool] = {}
        self.views = [self.view(task) for task in range(total)]
        self.finally_view = self.view(FINALLY) if FINALLY in ledger.current else None

    def is_live(self, array: int, element: int) -> bool:
        """Whether the scheduler's live answer names an element."""
        return (array, element) in self._live

    def with_views(self, views: Mapping[int, TaskView]) -> Fold:
        """The same with some tasks seen otherwise."""
        changed = copy(self)
        changed.views = [views.get(view.index, view) for view in self.views]
        return changed

    def view_of(self, task: int) -> TaskView | None:
        """How a task stands, or the command after them all; None when that was never planned."""
        return self.finally_view if task == FINALLY else self.views[task]

    def attempts(self) -> Iterator[tuple[Array, TaskView]]:
        """All attempts of all tasks, the earlier ones too, with their arrays; the states of the current ones are in ``views``."""
        for array in self.ledger.arrays.values():
            if array.submission not in NOT_HANDED_OVER or array.job is not None or array.is_found:
                table = self.evidence.events.get(array.number, {})
                for position, task in enumerate(array.tasks):
                    attempt = array.attempt_of(task)
                    yield array, self._of_attempt(array, task, position, attempt, table.get((task, attempt)))

    def view(self, task: int) -> TaskView:
        """The state of one task."""
        ledger = self.ledger
        if task not in ledger.current:
            if task in ledger.withdrawn:
                return TaskView(index=task, state=State.CANCELLED, reason="cancelled before it was submitted")
            if ledger.missing:
                return TaskView(index=task, state=State.UNKNOWN, reason=ledger.missing[0])
            return TaskView(index=task, state=State.NEW)
        array, position = ledger.current[task]
        attempt = array.attempt_of(task)
        record = self.evidence.events.get(array.number, {}).get((task, attempt))
        view = self._of_attempt(array, task, position, attempt, record)
        if task in ledger.wanted and (task == FINALLY or not FACTS[view.state].is_success):
            if view.is_saved and view.attempt in ledger.continued.get(task, ()):
                view = replace(view, reason=f"{view.reason}, goes on in the next attempt")
            if view.is_record_gone:  # who asks for another attempt has given this one up
                view = replace(view, state=State.LOST, reason="given up: its record is gone")
            return replace(view, is_wanted=True)
        return view  # a task whose own record of success came after the wish is never run again

    def _of_attempt(self, array: Array, task: int, position: int, attempt: int, record: Record | None) -> TaskView:
        element = array.element_of(position)
        base = TaskView(
            index=task,
            state=State.UNKNOWN,
            attempt=attempt,
            job=self.evidence.owners.get(array.number, {}).get(element) or array.job_of(element),
            array=array.number,
            element=element,
            position=position,
            is_claimed=record is not None and (record.claimed or record.outcome is not None),
            is_begun=record is not None and (record.running or record.lost or record.outcome is not None),
        )
        if record is not None and record.outcome is not None:
            return self._from_outcome(base, array, position, record)
        if array.is_found or (array.number in self.evidence.unread and array.submission != "planned"):
            return self._without_records(base, array, position)
        is_started = record is not None and (record.running or record.claimed) and (task, attempt) not in self.ledger.revoked
        ended = array.seen.get(position)
        if ended is not None and (array.number, element) not in self._live:  # somebody may have had it requeued
            return self._from_end(base, array, ended, "journal", is_started=is_started)
        if record is not None and record.lost:
            return replace(base, state=State.LOST, reason="given up: it ended without a record", source="task")
        if position in array.returned and not is_started:
            return self._returned(base, array)
        if (task, attempt) in self.ledger.revoked:
            return self._never_started(base, array, "revoked before it started")
        if not is_started and array.submission != "submitted" and (array.part is None or element in array.part):
            return self._unsubmitted(base, array, element)
        if not is_started and element in array.forgotten and self.evidence.live is None:
            return self._forgotten(base, array)
        if array.settled and (array.number, element) not in self._live:
            # Every task of it had said, or the journal, how it ended: an end that is not there now was taken away.
            reason = f"its record is gone from {_events_name(array)}: it had ended, and nobody knows how"
            return replace(base, reason=reason, is_record_gone=True)
        return self._from_scheduler(base, array, position, is_started=is_started)

    def _without_records(self, base: TaskView, array: Array, position: int) -> TaskView:
        """Its record cannot be read: what the journal and the live queue say still holds, but nothing may follow from silence."""
        element = array.element_of(position)
        ended, live = array.seen.get(position), self._live.get((array.number, element))
        if ended is not None:
            return self._from_end(base, array, ended, "journal", is_started=True)
        if live is not None and not FACTS[live.state].is_ended:
            return self._from_live(base, array, live, is_started=False)
        if (base.index, base.attempt) in self.ledger.revoked:
            return self._never_started(base, array, "revoked before it started")
        if array.is_found:
            return replace(base, reason=self.ledger.missing[0] if self.ledger.missing else "")
        word = self._history.get((array.number, element))
        said = f"; the scheduler says {word.raw or word.state}" if word is not None else ""
        is_over = array.settled or array.submission in ("refused", "abandoned")
        return replace(
            base,
            reason=f"its record cannot be read{said}: {self.evidence.unread[array.number]}",
            is_gone=self.evidence.live is not None,
            is_record_gone=array.number in self.evidence.events_gone and (is_over or self._is_past_grace(array, element)),
        )

    def _unsubmitted(self, base: TaskView, array: Array, element: int) -> TaskView:
        live = self._live.get((array.number, element))
        if live is not None and not FACTS[live.state].is_ended:
            return self._from_live(base, array, live, is_started=False)
        if array.submission in NOT_HANDED_OVER:
            if (base.index, base.attempt) in self.ledger.cancelled:
                return replace(base, state=State.CANCELLED, reason="cancelled before it was submitted")
            if array.submission == "planned":
                return replace(base, state=State.NEW, reason="planned, not yet submitted")
            return replace(base, state=State.NEW, reason=f"refused: {array.message}" if array.message else "refused")
        reason = array.message or "the scheduler has not confirmed it"
        return replace(base, state=State.SUBMITTING, reason=reason)

    def _from_outcome(self, base: TaskView, array: Array, position: int, record: Record) -> TaskView:
        """The task's own word. Only an own SIGKILL may still turn out to be the element's out-of-memory."""
        outcome = record.outcome
        if outcome is None:  # the caller looked
            raise ValueError("no outcome")
        code = outcome.code
        view = replace(base, source="task", elapsed_s=float(outcome.seconds))
        match outcome.kind:
            case "done" if code == 0:
                return replace(view, state=State.DONE, exit_code=0)
            case "done":
                return replace(view, state=State.FAILED, exit_code=code, reason=f"exit code {code}")
            case "stopped":
                return replace(view, state=State.STOPPED, exit_code=code)
            case "timeout" if code:
                return replace(view, state=State.TIMEOUT, exit_code=code, reason="saved at its time limit", is_saved=True)
            case "timeout":
                return replace(view, state=State.TIMEOUT, reason="reached its time limit")
            case "cancelled":
                return replace(view, state=State.CANCELLED, reason="cancelled")
            case "setup":
                return replace(view, state=State.FAILED, exit_code=code, reason=f"setup ended with exit code {code}")
            case "broken":
                return replace(view, state=State.FAILED, reason=BROKEN_REASONS.get(code, f"could not be started ({code})"))
            case "sig" if code == SIGKILL:
                return self._from_sigkill(view, array, position)
            case "sig":
                return replace(view, state=State.FAILED, signal=code, reason=f"killed by signal {code}")
            case _:
                return replace(view, state=State.UNKNOWN, reason=f"its record says {outcome.kind!r}, unknown to this version")

    def _from_sigkill(self, view: TaskView, array: Array, position: int) -> TaskView:
        """A SIGKILL takes its element's OUT_OF_MEMORY, and is not final until the history answered or a grace passed.

        Of tasks that share an element the kernel may have chosen more than the one that took too much.
        """
        element = array.element_of(position)
        word = array.seen.get(position) or self._history.get((array.number, element))
        if word is not None and word.state is State.OOM:
            return replace(view, state=State.OOM, signal=SIGKILL, reason="ran out of memory", source="history", node=word.node)
        is_final = array.settled or word is not None or self._is_past_grace(array, element)
        return replace(view, state=State.FAILED, signal=SIGKILL, reason="killed by signal 9", is_final=is_final)

    def _is_past_grace(self, array: Array, element: int) -> bool:
        since = self.evidence.gone_since.get(array.number, {}).get(element)
        return since is not None and self.evidence.now - since >= self.evidence.lost_after_s

    def _from_scheduler(self, base: TaskView, array: Array, position: int, *, is_started: bool) -> TaskView:
        evidence, element = self.evidence, array.element_of(position)
        if evidence.live is not None:
            live = self._live.get((array.number, element))
            is_only_marked = live is not None and (live.is_to_come or (array.packing.is_packed and not is_started))
            if is_only_marked and (base.index, base.attempt) in self.ledger.cancelled:
                # Nobody can tell the scheduler, or others share its element; when its turn comes, it finds the marker.
                return replace(base, state=State.CANCELLED, reason="cancelled before it started", source="scheduler")
            if live is not None and not FACTS[live.state].is_ended:
                return self._from_live(base, array, live, is_started=is_started)
            return self._from_absence(replace(base, is_gone=True), array, position, is_started=is_started)
        silent = evidence.live_message or "the scheduler was not asked"
        if is_started:
            return replace(base, state=State.RUNNING, source="task", reason=silent)
        last = self._last.get((array.number, element))
        age = max(0.0, evidence.now - evidence.last_live_at)
        if last is None:
            return replace(base, source="last seen", reason=f"submitted; {silent}")
        reason = f"last seen {last.state} {age:.0f} s ago; {silent}"
        return replace(base, source="last seen", age_s=age, node=last.node, reason=reason)

    def _from_live(self, base: TaskView, array: Array, live: Seen, *, is_started: bool) -> TaskView:
        view = replace(
            base,
            state=live.state,
            source="scheduler",
            node=live.node,
            elapsed_s=live.elapsed_s,
            reason=live.reason,
            is_blocked=live.is_blocked,
            is_held=live.is_held,
        )
        if array.packing.is_packed and live.state in (State.RUNNING, State.SUSPENDED):
            # The scheduler's clock is the element's.
            view = replace(view, elapsed_s=None)
            if not is_started:
                return replace(view, state=State.PENDING, reason="waits for its turn in its element")
        if live.state is State.PENDING:
            if live.is_blocked:
                cure = (
                    "cancel it, then resubmit it"
                    if "Dependency" in live.reason
                    else "cancel it; what it asks for has to change"
                )
                return replace(view, reason=f"blocked: {live.reason}; it can never start ({cure})")
            if live.is_held:
                return replace(view, reason=f"held ({live.reason}); `hpcsweep release` lets it start")
            if is_started:
                return replace(view, reason=f"waits to be restarted ({live.reason or live.raw})")
        elif live.state is State.UNKNOWN:
            return replace(view, reason=f"the scheduler says {live.raw!r}")
        return view

    def _from_absence(self, base: TaskView, array: Array, position: int, *, is_started: bool) -> TaskView:
        """The live query succeeded and does not know the element: it ended. How, only the history or time tells."""
        element = array.element_of(position)
        word = self._history.get((array.number, element))
        if word is None and array.number in self.evidence.hidden:
            verb = "runs" if is_started else "waits"
            reason = f"this site hides the jobs of others; whether it still {verb} only its owner can see"
            return replace(base, source="task" if is_started else "last seen", reason=reason, is_final=False)
        if not is_started and self._may_have_returned(base, array, element, word):
            return self._returned(base, array)
        if word is not None and FACTS[word.state].is_ended:
            if not is_started and self._has_left_over(array, element, word):
                return self._returned(base, array)
            is_sure = word.state not in (State.DONE, State.STOPPED, State.FAILED, State.CANCELLED) or self._is_past_grace(
                array, element
            )
            if word.state is State.CANCELLED and (base.index, base.attempt) in self.ledger.cancelled:
                is_sure = True
            if is_sure:
                return self._from_end(base, array, word, "history", is_started=is_started)
        elif not is_started and (base.index, base.attempt) in self.ledger.cancelled:
            return replace(base, state=State.CANCELLED, reason="cancelled before it started", source="scheduler")
        elif not is_started and self._is_over(array, element) and self._has_left_over(array, element):
            return self._returned(base, array)
        elif not is_started and self._is_forgotten(array, element):
            return self._forgotten(base, array)
        elif self._is_past_grace(array, element):
            what = (
                "ended without a record" if is_started else "the scheduler no longer has it, and it left no record of a start"
            )
            return replace(base, state=State.LOST, reason=what, source="scheduler")
        last = "running" if is_started else "pending"
        return replace(
            base,
            source="scheduler",
            reason=f"last seen {last}; the scheduler no longer has it, its own record is awaited",
            is_final=False,
        )

    def _is_over(self, array: Array, element: int) -> bool:
        """Whether an element that is not live will not come any more. What it has not claimed by then is ended before it runs again."""
        return self.evidence.is_history_whole or self._is_past_grace(array, element)

    def _is_forgotten(self, array: Array, element: int) -> bool:
        """Whether the scheduler has lost an element that never started: a controller that crashed forgets what it had accepted.

        Where no history answers, it is believed of whole arrays only: a single element may have been cancelled there.
        """
        if element in array.forgotten:
            return True
        since = self.evidence.gone_since.get(array.number, {}).get(element)
        return (
            array.times_forgotten < MOST_FORGOTTEN
            and since is not None
            and self.evidence.now - since >= self.evidence.forgotten_after_s
            and (self.evidence.is_history_whole or not self._has_trace(array))
        )

    def _has_trace(self, array: Array) -> bool:
        """Whether anything of an array was ever seen to live or to end."""
        if array.number not in self._traced:
            records = self.evidence.events.get(array.number, {})
            said = [*(self.evidence.live or ()), *(self.evidence.history or ())]
            self._traced[array.number] = (
                bool(array.seen)
                or any(record.claimed and key not in self.ledger.revoked for key, record in records.items())
                or any(seen.tag == array.tag and not seen.is_refusal for seen in said)
            )
        return self._traced[array.number]

    def _forgotten(self, base: TaskView, array: Array) -> TaskView:
        reason = f"the scheduler knows nothing of job {array.job} any more, and it never began: forgotten, or cancelled there"
        return replace(base, state=State.SUBMITTING, source="scheduler", reason=reason, is_forgotten=True)

    def _may_have_returned(self, base: TaskView, array: Array, element: int, word: Seen | None) -> bool:
        """Whether its element came, found that it should not begin, and left in good order."""
        if word is not None and word.state is not State.DONE:
            return False
        if self.evidence.is_held_back or (base.index == FINALLY and word is not None):
            return True
        # Nobody saw why it left. Some leave at the very moment of a `release`, and only a `finally` leaves otherwise.
        return (base.index == FINALLY or self.ledger.released_failures > 0) and self._is_past_grace(array, element)

    def _has_left_over(self, array: Array, element: int, word: Seen | None = None) -> bool:
        """Whether what an ended element has not started is to be started elsewhere: several tasks share it, and it began one.

        Who cancelled it meant all of them.
        """
        if not array.packing.is_packed or (word is not None and word.state is State.CANCELLED):
            return False
        records = self.evidence.events.get(array.number, {})
        keys = ((task, array.attempt_of(task)) for task in array.tasks_of((element,)))
        return any(key in records and records[key].claimed and key not in self.ledger.revoked for key in keys)

    def _from_end(self, base: TaskView, array: Array, word: Seen, source: str, *, is_started: bool) -> TaskView:
        """An end that only the scheduler knows. COMPLETED and FAILED without the task's record do not say what the task did."""
        if not is_started and base.element is not None and self._has_left_over(array, base.element, word):
            return self._returned(base, array)
        view = replace(base, state=word.state, source=source, node=word.node, elapsed_s=word.elapsed_s, reason=word.reason)
        match word.state:
            case State.LOST:
                return view
            case State.DONE | State.STOPPED | State.FAILED:
                when = "ended" if is_started else "the element ended"
                reason = f"{when} without a record; the scheduler says {word.raw or word.state}{_how(word)}"
                return replace(view, state=State.LOST, reason=reason)
            case State.CANCELLED:
                how = "" if is_started else " before it started"
                by = f" ({word.reason})" if word.reason not in ("", "deleted") else ""
                return replace(view, reason=f"cancelled{how}{by}")
            case State.TIMEOUT:
                return replace(view, reason="reached its time limit")
            case State.OOM:
                return replace(view, reason="ran out of memory")
            case State.NODE_FAIL:
                return replace(view, reason=f"its node failed{f' ({word.node})' if word.node else ''}")
            case State.PREEMPTED:
                return replace(view, reason="preempted by another job")
        return view

    def _returned(self, base: TaskView, array: Array) -> TaskView:
        if (base.index, base.attempt) in self.ledger.cancelled:
            return replace(base, state=State.CANCELLED, reason="cancelled before it started")
        if base.index == FINALLY:
            reason = "left without running: not all tasks were ready for it"
        elif array.packing.is_packed and not self.evidence.is_held_back:
            reason = "its element ended before its turn came"
        else:
            reason = "held back: too many tasks failed"
        return replace(base, state=State.NEW, reason=reason, is_returned=True)

    def _never_started(self, base: TaskView, array: Array, reason: str) -> TaskView:
        if base.index == FINALLY:
            return self._returned(base, array)
        if (base.index, base.attempt) in self.ledger.cancelled:
            return replace(base, state=State.CANCELLED, reason="cancelled before it started")
        return replace(base, state=State.LOST, reason=reason)


def is_over(view: TaskView) -> bool:
    """Nothing more will happen to the task by itself, and its state is final."""
    return FACTS[view.state].is_ended and view.is_final and not view.is_wanted


def is_open(view: TaskView) -> bool:
    """Whether something may still happen to the task, or become known of it, without anybody's word."""
    return not view.is_final or (FACTS[view.state].is_live and not view.is_record_gone)


def _how(word: Seen) -> str:
    """The exit code or the signal that the scheduler knows of."""
    if word.signal is not None:
        return f" (killed by signal {word.signal}{', often for want of memory' if word.signal == SIGKILL else ''})"
    return f" (exit code {word.exit_code})" if word.exit_code else ""


def _by_element(answer: Iterable[Seen], ledger: Ledger, evidence: Evidence) -> dict[tuple[int, int], Seen]:
    """The scheduler's words by (array, element), believed only where the name is our tag, which no other job has.

    An array that was submitted again may be there twice, under two ids: then the job that owns the claim is heard first, or
    else the one that we know of, for an element of the other may still be the one that runs.
    """
    arrays = {array.tag: array for array in ledger.arrays.values()}
    table: dict[tuple[int, int], Seen] = {}
    others: list[tuple[tuple[int, int], Seen]] = []
    for seen in answer:
        array = arrays.get(seen.tag)
        if array is None:
            continue
        owners = evidence.owners.get(array.number, {})
        has_one_job = not owners and not array.more_jobs
        for element in _elements_of(seen, array):
            job = array.job if has_one_job else _owning_job(owners.get(element), array) or array.array_job_of(element)
            if job is None or is_same_job(seen.job, job):
                table[array.number, element] = seen
            else:
                others.append(((array.number, element), seen))
    for key, seen in others:
        table.setdefault(key, seen)
    return table


def _owning_job(owner: str | None, array: Array) -> str | None:
    return owner if owner is None or array.is_single else array_id(owner)


def _elements_of(seen: Seen, array: Array) -> Iterable[int]:
    """The elements that an answer means, as far as the array has them."""
    if seen.elements is None:
        return (0,)
    if isinstance(seen.elements, range):
        return seen.elements[: max(0, array.size - seen.elements.start)] if seen.elements.step == 1 else seen.elements
    return seen.elements


def _events_name(array: Array) -> str:
    return f"arrays/{array.number:03d}/events"


def find_duplicates(fold: Fold) -> list[tuple[int, str]]:
    """Jobs with elements that wait in the queue although another job counts for their array: (array, job)."""
    arrays = {array.tag: array for array in fold.ledger.arrays.values()}
    found = {
        (arrays[seen.tag].number, seen.job): None
        for seen in fold.evidence.live or ()
        if seen.tag in arrays and seen.state is State.PENDING and arrays[seen.tag].submission == "submitted"
        if seen.job not in arrays[seen.tag].awaited_jobs
    }
    return list(found)


def gone_elements(fold: Fold) -> dict[int, list[int]]:
    """Array -> elements that a successful live query did not know and whose end is not yet told by the task itself."""
    gone: dict[int, list[int]] = {}
    views = fold.views if fold.finally_view is None else [*fold.views, fold.finally_view]
    for view in views:
        if view.array is None or view.element is None or fold.is_live(view.array, view.element):
            continue
        if view.is_gone or not view.is_final:
            gone.setdefault(view.array, []).append(view.element)
    return gone
