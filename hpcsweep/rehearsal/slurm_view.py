"""The cluster as Slurm tells of it: rows of the queue (what slurmctld knows) and of the history (what slurmdbd does)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Call
from hpcsweep.rehearsal.indices import count, each, from_plain
from hpcsweep.rehearsal.jobs import Element, Job, Removal
from hpcsweep.rehearsal.slurm_rows import BatchStep, Row, change
from hpcsweep.rehearsal.slurm_site import Site
from hpcsweep.rehearsal.slurm_values import fold_hosts

# Holds of the face's own: why a job that was accepted never starts, beside the user's, the administrator's and a requeue's.
HOLD_REASONS = {
    "s": "JobHeldAdmin",
    "u": "JobHeldUser",
    "r": "job requeued in held state",
    "t": "PartitionTimeLimit",
    "n": "PartitionNodeLimit",
    "c": "PartitionConfig",
}
HELD = "sur"
_OBSTACLES = {
    "dependency": "Dependency",
    "stuck": "DependencyNeverSatisfied",
    "begin": "BeginTime",
    "throttle": "JobArrayTaskLimit",
    "never": "BadConstraints",
    "queue": "PartitionDown",
}
_TOP_PRIORITY = 4294901760
# How an element ended -> the state, the job's exit code and signal, the reason, and the batch step's state, code and signal.
_ENDS: dict[str, tuple[str, int, int, str, str, int, int]] = {
    "walltime": ("TIMEOUT", 0, 0, "TimeLimit", "CANCELLED", 0, 15),
    "deleted": ("CANCELLED", 0, 0, "None", "CANCELLED", 0, 15),
    "oom": ("OUT_OF_MEMORY", 0, 125, "OutOfMemory", "OUT_OF_MEMORY", 0, 125),
    "node": ("NODE_FAIL", 1, 0, "NodeDown", "CANCELLED", 0, 0),
    "requeue": ("REQUEUED", 0, 0, "None", "CANCELLED", 0, 15),
    "launch": ("FAILED", 0, 53, "JobLaunchFailure", "FAILED", 0, 53),
}


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A command that is being answered."""

    cluster: Cluster
    call: Call
    site: Site
    now: float
    zone: dt.tzinfo | None = None

    @cached_property
    def viewer(self) -> Viewer:
        """For looking at jobs."""
        return Viewer(cluster=self.cluster, site=self.site, now=self.now)


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """Who looks, at what, when."""

    cluster: Cluster
    site: Site
    now: float

    # -- the queue --

    def queue(self, job: Job, *, how: Literal["joined", "records", "elements"], with_ended: bool = False) -> Iterator[Row]:
        """The rows of a job that slurmctld has: its records, or each element by itself.

        ``joined``: while the array's own record is there, squeue shows all that wait as one.
        """
        if job.waiting:
            yield from self._waiting(job, how=how)
        is_joined = how == "joined" and self._has_record(job)
        for element in list(job.elements.values()):
            if element.state == "waiting":
                if not is_joined:
                    yield self._element(job, element)
            elif element.state != "ended" or (with_ended and self.is_remembered(element.ended_s)):
                yield self._element(job, element)
        if with_ended:
            yield from (self._removed(job, removal) for removal in job.removed if self.is_remembered(removal.at_s))

    def knows(self, job: Job) -> bool:
        """Whether slurmctld still has the job: MinJobAge counts from its end."""
        return job.ended_s is None or self.is_remembered(job.ended_s)

    def is_remembered(self, ended_s: float | None) -> bool:
        """Whether what ended then is still known."""
        return ended_s is not None and ended_s + self.site.min_job_age_s > self.now

    def _waiting(self, job: Job, *, how: Literal["joined", "records", "elements"]) -> Iterator[Row]:
        reason = self.reason(job)
        if not job.is_array:
            yield self._base(job, state="PENDING", reason=reason)
            return
        if how == "elements":
            row = self._base(job, state="PENDING", reason=reason)
            yield from (change(row, elements=(range(index, index + 1),)) for index in each(job.waiting))
            return
        has_record = self._has_record(job)
        is_joined = has_record and how == "joined"
        again = [element for element in job.elements.values() if element.state == "waiting" and is_joined]
        reasons = [reason, *(self.reason(job, element) for element in again)]
        elements = [*job.waiting, *(range(element.index, element.index + 1) for element in again)]
        row = self._base(job, state="PENDING", reason=",".join(dict.fromkeys(reasons)), elements=tuple(elements))
        yield change(row, is_waiting_record=has_record, throttle=0 if again else row.throttle)

    def _has_record(self, job: Job) -> bool:
        """Whether an array's elements that wait share a record; the last of several gets one of its own, unless it is held."""
        return bool(job.waiting) and (count(job.waiting) > 1 or job.size == 1 or bool(job.holds))

    def _element(self, job: Job, element: Element) -> Row:
        return self._told(job, element, is_in_queue=True)

    def reason(self, job: Job, element: Element | None = None) -> str:
        """Why it waits."""
        holds = job.holds or (element.holds if element else "")
        if holds:
            return next(HOLD_REASONS[letter] for letter in HOLD_REASONS if letter in holds)
        obstacle = self.cluster.obstacle(job, self.now)
        if element is not None and element.begin_s > self.now and obstacle != "throttle":
            return "BeginTime"
        if obstacle in _OBSTACLES:
            return _OBSTACLES[obstacle]
        return "Priority" if self._first not in (None, job) else "Resources"

    @cached_property
    def _first(self) -> Job | None:
        """The one that starts next."""
        return next((job for job in self.cluster.jobs.values() if self.cluster.obstacle(job, self.now) == ""), None)

    # -- the history --

    def history(self, job: Job, *, with_incarnations: bool = False) -> Iterator[Row]:
        """The rows that slurmdbd has of a job: nothing of what was never eligible but its end."""
        for element in job.elements.values():
            before = [self._incarnation(job, element, told) for told in element.notes.get("told", [])[: element.restarts]]
            is_again = element.state == "waiting" and bool(before)
            if with_incarnations or is_again:
                yield from before if with_incarnations else before[-1:]
            if not is_again:
                yield self._told(job, element, is_in_queue=False)
        if job.waiting:
            is_known = job.is_array and (job.throttle or job.started_s is not None)
            row = next(self._waiting(job, how="records"))
            yield change(row, eligible_at=None) if is_known and job.running else row
        if job.is_array:
            yield from (self._cancelled(job, kept) for kept in job.notes.get("cancelled", []))
        else:
            yield from (self._removed(job, removal) for removal in job.removed)

    def _cancelled(self, job: Job, kept: dict[str, Any]) -> Row:
        """A record of pending elements that was cancelled, as scancel noted it."""
        removal = Removal(indices=tuple(from_plain(kept["elements"])), at_s=kept["at"], by=kept["by"])
        row = self._removed(job, removal)
        return change(row, job=kept["raw"] or job.number, is_waiting_record=row.is_waiting_record or not kept["raw"])

    def _incarnation(self, job: Job, element: Element, told: dict[str, Any]) -> Row:
        """One that was requeued, as it was noted when it was told to end."""
        why = "requeue" if told["why"] == "requeue" else "node"
        row = self._base(job, state="REQUEUED" if why == "requeue" else "NODE_FAIL", elements=_own(job, element))
        return change(
            row,
            job=element.raw or job.number,
            submitted_at=told["submitted"],
            started_at=told["started"],
            eligible_at=told["started"],
            ended_at=told["at"],
            elapsed_s=told["at"] - told["started"],
            nodes=told["nodes"],
            reason="None",
            batch=BatchStep(state="CANCELLED", signal=15, started_at=told["started"], ended_at=told["at"]),
        )

    # -- rows --

    def _told(self, job: Job, element: Element, *, is_in_queue: bool) -> Row:
        """An element (or a single job) that has begun to be something else than a part of its array's record."""
        told = element.notes.get("told", [])
        base = change(
            self._base(job, state="PENDING", reason=self.reason(job, element), elements=_own(job, element)),
            job=element.raw or job.number,
            restarts=element.restarts,
            submitted_at=told[-1]["at"] if told and element.restarts else job.submitted_s,
        )
        if element.state == "waiting":
            begin = element.begin_s if element.begin_s > self.now else None
            return change(base, started_at=begin, eligible_at=begin)
        base = change(
            base,
            reason=self.reason(job) if job.holds else "None",
            started_at=element.started_s,
            eligible_at=element.started_s if job.throttle else job.eligible_s,
            nodes=fold_hosts(name for name, _, _ in element.placed),
            elapsed_s=self.now - (element.started_s or self.now),
        )
        if element.state == "running":
            step = BatchStep(state="RUNNING", started_at=element.started_s or 0)
            return change(base, state="RUNNING", batch=step)
        return self._ended(base, element, is_in_queue=is_in_queue)

    def _ended(self, base: Row, element: Element, *, is_in_queue: bool) -> Row:
        started = element.started_s or 0
        ended = (element.doomed_s if element.why != "exited" else None) or element.gone_s or element.ended_s or self.now
        if element.why in _ENDS:
            state, code, signal, reason, step_state, step_code, step_signal = _ENDS[element.why]
        else:
            code, signal = element.code, element.signal
            state = "COMPLETED" if not code and not signal else "FAILED"
            reason = "None" if state == "COMPLETED" else "NonZeroExitCode" if code else "JobLaunchFailure"
            step_state, step_code, step_signal = ("CANCELLED" if signal else state), code, signal
        is_completing = element.state != "ended"
        step = BatchStep(
            state=step_state,
            exit_code=step_code,
            signal=0 if is_completing else step_signal,
            started_at=started,
            ended_at=element.gone_s or ended,
            memory_kb=element.memory_bytes // 1024,
        )
        return change(
            base,
            state="COMPLETING" if is_in_queue and is_completing else state,
            reason="None" if is_completing else reason,
            exit_code=code,
            signal=signal,
            ended_at=ended,
            elapsed_s=0 if element.why == "requeue" and is_in_queue else ended - started,
            cancelled_by=_uid_of(element.by) if element.why == "deleted" else None,
            batch=step,
        )

    def _removed(self, job: Job, removal: Removal) -> Row:
        """Elements (or a job) that were cancelled before they started."""
        elements = tuple(removal.indices) if job.is_array else ()
        if job.request.attributes.get("is_refused"):
            base = self._base(job, state="FAILED", reason="BadConstraints")
            at = removal.at_s
            return change(base, exit_code=1, started_at=at, eligible_at=at, ended_at=at)
        return change(
            self._base(job, state="CANCELLED", elements=elements, reason="None"),
            is_waiting_record=job.is_array and count(elements) > 1,
            throttle=job.throttle or 0,
            started_at=None if job.eligible_s is not None else removal.at_s,
            eligible_at=None if job.throttle else job.eligible_s,
            ended_at=removal.at_s,
            cancelled_by=_uid_of(removal.by),
        )

    def _base(self, job: Job, *, state: str, reason: str = "None", elements: tuple[range, ...] = ()) -> Row:
        row = self._rows.get(job.number)
        if row is None:
            row = self._rows[job.number] = self._make(job)
        return change(row, state=state, reason=reason, elements=elements)

    @cached_property
    def _rows(self) -> dict[int, Row]:
        """What all rows of a job have in common."""
        return {}

    def _make(self, job: Job) -> Row:
        request, kept = job.request, job.request.attributes
        is_held = any(letter in job.holds for letter in HELD)
        is_free = not is_held and not job.awaits and request.begin_s <= self.now
        return Row(
            job=job.number,
            array=job.number if job.is_array else None,
            throttle=job.throttle or 0,
            name=request.name,
            user=request.user,
            uid=kept["uid"],
            group=kept["group"],
            gid=kept["gid"],
            account=kept["account"],
            partition=request.queue,
            qos=kept["qos"],
            state="PENDING",
            dependency=self._dependency(job),
            priority=0 if is_held else _TOP_PRIORITY - job.number,
            submitted_at=job.submitted_s,
            eligible_at=(job.eligible_s or job.submitted_s) if is_free else None,
            started_at=request.begin_s if request.begin_s > self.now else None,
            time_limit_min=kept["time_limit_min"],
            node_count=kept["nodes"],
            cpus=kept["cpus"],
            tasks=kept["tasks"],
            cpus_per_task=kept["cpus_per_task"],
            memory_mb=kept["memory_mb"],
            is_memory_per_cpu=kept["is_memory_per_cpu"],
            node_memory_mb=self.site.shown_memory_mb,
            gres=kept["gres"],
            gpus=request.gpus * request.chunks,
            is_requeued=request.requeues,
            command=kept["command"],
            arguments=tuple(kept["arguments"]),
            submit_line=kept["submit_line"],
            chdir=request.cwd,
            comment=kept["comment"],
            features=kept["features"],
            wanted_nodes=kept["wanted_nodes"],
            nice=kept["nice"],
            wckey=kept["wckey"],
            input=kept["input"] or "/dev/null",
            output_pattern=kept["output"] or ("slurm-%A_%a.out" if job.is_array else "slurm-%j.out"),
            error_pattern=kept["error"],
        )

    def _dependency(self, job: Job) -> str:
        joint = "?" if job.request.awaits_any else ","
        words = []
        for dependency in job.awaits:
            target = self.cluster.jobs.get(dependency.number)
            has_failed = job.is_stuck and target is not None and target.ended_s is not None
            words.append(f"{dependency.text}({'failed' if has_failed else 'unfulfilled'})")
        return joint.join(words)


def parse_job_id(text: str) -> tuple[int, Iterable[range] | None] | None:
    """``654``, ``654_9``, ``654_[1-3,7]`` -> the number, the elements (None: all); None: it is no id."""
    match = re.fullmatch(r"(\d+)(?:_(?:(\d+)|\[([\d,:%-]+)\]))?", text, re.ASCII)
    if match is None:
        return None
    if match[2]:
        return int(match[1]), [range(int(match[2]), int(match[2]) + 1)]
    if match[3]:
        from_text = []
        for part in match[3].partition("%")[0].split(","):
            piece = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part, re.ASCII)
            if piece is None:
                return None
            from_text.append(range(int(piece[1]), int(piece[2] or piece[1]) + 1, int(piece[3] or 1) or 1))
        return int(match[1]), from_text
    return int(match[1]), None


def find_job(cluster: Cluster, number: int) -> tuple[Job, Iterable[range] | None] | None:
    """The job of that number, or the element that has it for its own (JobIDRaw)."""
    job = cluster.jobs.get(number)
    if job is not None:
        return job, None
    for other in cluster.jobs.values():
        if other.is_array and other.number < number:
            for element in other.elements.values():
                if element.raw == number:
                    return other, [range(element.index, element.index + 1)]
    return None


def _own(job: Job, element: Element) -> tuple[range, ...]:
    return (range(element.index, element.index + 1),) if job.is_array else ()


def _uid_of(by: str) -> int | None:
    return int(by) if by.isdigit() else None
