"""The cluster of a rehearsal: which elements may start, which are to be told to end, and what became of all of them.

A pure state machine. Time comes in as an argument; what is to be done to processes comes out of ``Cluster.advance`` as
actions; what processes did is told by ``spawned``, ``ended`` and ``lost``. All that changes is given to whoever keeps it by
``take_changes``, and read again by ``restore``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from signal import SIGKILL, SIGTERM
from typing import Any

from hpcsweep.rehearsal import indices
from hpcsweep.rehearsal.dependencies import is_met
from hpcsweep.rehearsal.jobs import (
    Action,
    Element,
    Job,
    Reach,
    Removal,
    Request,
    Signal,
    Start,
    Why,
)
from hpcsweep.rehearsal.known import KnownJobs

MAX_RESTARTS = 20  # PBS holds a job that was started so often


class Cluster(KnownJobs):
    """Lets time pass, and does what users and processes do."""

    # -- what users do --

    def take_number(self) -> int:
        """The next job number, used up (by a submission, or by a refused one)."""
        self.next_number += 1
        self._changed[("cluster", 0, 0)] = None
        return self.next_number - 1

    def submit(self, request: Request, now: float) -> Job:
        """Accept a job. Whether it may be accepted is for the face to say."""
        job = Job(
            number=self.take_number(),
            request=request,
            submitted_s=now,
            waiting=list((range(1),) if request.indices is None else request.indices),
            holds=request.holds,
            throttle=request.throttle,
            awaits=list(request.awaits),
            changed_s=now,
        )
        self.jobs[job.number] = job
        self._changed[("request", job.number, 0)] = None
        self.touch(job)
        self._resolve(job, now)
        return job

    def alter(self, job: Job, now: float, **changes: Any) -> None:
        """Change fields of the job's request; `throttle` and `awaits` take effect on the job, too."""
        job.request = dataclasses.replace(job.request, **changes)
        job.throttle = job.request.throttle if "throttle" in changes else job.throttle
        job.awaits = list(job.request.awaits) if "awaits" in changes else job.awaits
        job.changed_s = now
        self._changed[("request", job.number, 0)] = None
        self.touch(job)

    def delete(  # noqa: PLR0913 - each is an option of some scheduler's command
        self,
        job: Job,
        which: Iterable[range] | None,
        now: float,
        *,
        by: str = "",
        term: bool = True,
        pending: bool = True,
        running: bool = True,
    ) -> tuple[int, int]:
        """Delete a job (`which` is None) or elements; how many were removed before they started, and how many told to end.

        Without ``term`` what runs is killed at once. ``pending`` and ``running`` say which are meant.
        """
        removed = self._remove(job, which, now, by) if pending else 0
        told = self.find_active(job, which) if running else []
        for element in told:
            element.by = element.by or by
            self.doom(job, element, "deleted", now, number=SIGTERM if term else SIGKILL)
        if which is None and pending and running and job.ended_s is None:
            job.why, job.by = "deleted", by
        job.changed_s = now
        self.touch(job)
        self._end_if_done(job, now)
        return removed, len(told)

    def hold(self, job: Job, which: Iterable[range] | None, letters: str, now: float) -> None:
        """Add hold letters to the job, or to elements that wait."""
        if which is None:
            job.holds = "".join(sorted({*job.holds, *letters}))
        else:
            for element in self.pick_waiting(job, which):
                element.holds = "".join(sorted({*element.holds, *letters}))
                self.touch(job, element)
        job.changed_s = now
        self.touch(job)

    def release(self, job: Job, which: Iterable[range] | None, letters: str, now: float) -> None:
        """Take hold letters from the job, or from elements."""
        if which is None:
            job.holds = "".join(letter for letter in job.holds if letter not in letters)
        for index in self._again.get(job.number, []):
            element = job.elements[index]
            if which is None or indices.has(which, index):
                element.holds = "".join(letter for letter in element.holds if letter not in letters)
                self.touch(job, element)
        job.changed_s = now
        self.touch(job)

    def signal(self, job: Job, which: Iterable[range] | None, number: int, reach: Reach) -> int:
        """Send a signal to what runs; to how many elements."""
        found = self.find_active(job, which)
        self._actions += [Signal(job=job, element=element, number=number, reach=reach) for element in found]
        return len(found)

    def requeue(self, job: Job, which: Iterable[range] | None, now: float, *, holds: str = "") -> int:
        """Let elements that run or have ended run again under the same id; how many."""
        found = [job.elements[index] for index in sorted(job.elements) if which is None or indices.has(which, index)]
        for element in found:
            if element.state in ("running", "ending"):
                element.holds = holds
                self.doom(job, element, "requeue", now)
            elif element.state == "ended":
                job.ended_s, job.why = None, ""
                self._uncount(job, element)
                self._wait_again(job, element, now, holds)
        return len(found)

    # -- what happens to processes --

    def spawned(self, job: Job, element: Element, pid: int) -> None:
        """The process that leads the element's session."""
        element.pid = pid
        self.touch(job, element)

    def ended(  # noqa: PLR0913 - what the system tells of a process
        self,
        number: int,
        index: int,
        now: float,
        *,
        code: int = 0,
        signal_number: int = 0,
        cpu_s: float = 0.0,
        memory_bytes: int = 0,
    ) -> None:
        """The element's first process ended. An element that is not running (it was forgotten) is nobody's."""
        element = self._active.get((number, index))
        if element is None or element.gone_s is not None:
            return
        element.gone_s, element.code, element.signal = now, code, signal_number
        element.cpu_s, element.memory_bytes = cpu_s, memory_bytes
        element.why = element.why or "exited"
        self._finish_if_due(self.jobs[number], element, now)

    def lost(self, number: int, index: int, now: float, why: Why = "node") -> None:
        """The element's processes are gone and nobody knows how (or, `launch`, there never were any)."""
        element = self._active.get((number, index))
        if element is not None and element.gone_s is None:
            element.gone_s, element.why = now, element.why or why
            self._finish_if_due(self.jobs[number], element, now)

    def doom(self, job: Job, element: Element, why: Why, now: float, *, number: int = SIGTERM) -> None:
        """Tell a running element to end, of ``why``; killed after the kill delay. The first reason counts."""
        if element.state != "running":
            if number == SIGKILL and element.gone_s is None:
                element.kill_s = now
            return
        element.state, element.why, element.doomed_s = "ending", why, now
        reach = self.rules.kill_reach if number == SIGKILL else self.rules.term_reach
        reach = "all" if why == "node" else reach
        element.kill_s = None if number == SIGKILL else now + self.rules.kill_delay_s
        self._actions.append(Signal(job=job, element=element, number=number, reach=reach, why=why))
        job.changed_s = now
        self.touch(job, element)
        self.touch(job)

    def lose_node(self, name: str, now: float) -> None:
        """A node is gone, and all that ran on it; nothing starts there until ``restore_node``."""
        self.room.down.add(name)
        for (number, _), element in list(self._active.items()):
            if any(where == name for where, _, _ in element.placed):
                self.doom(self.jobs[number], element, "node", now, number=SIGKILL)
        self._changed[("cluster", 0, 0)] = None

    def restore_node(self, name: str) -> None:
        """The node is back."""
        self.room.down.discard(name)
        self._changed[("cluster", 0, 0)] = None

    def forget(self, job: Job) -> None:
        """As if the job had never been accepted: its processes are killed, and nobody remembers it."""
        for element in self.find_active(job, None):
            self._actions.append(Signal(job=job, element=element, number=SIGKILL, reach="all"))
            self.room.free(job.request, element)
            del self._active[job.number, element.index]
        self._purge(job)

    def purge_ended(self, now: float) -> None:
        """Forget all jobs that have ended by now, whatever the rules say."""
        for job in [job for job in self.jobs.values() if job.ended_s is not None and job.ended_s <= now]:
            self._purge(job)

    # -- time --

    def advance(self, now: float) -> list[Action]:
        """Let time pass until ``now``: what is to be done to processes, in order."""
        for (number, _), element in list(self._active.items()):
            self._look_at(self.jobs[number], element, now)
        free = self.room.has_free_cpu()
        for job in self.jobs.values():
            if job.awaits and not job.is_stuck:
                self._resolve(job, now)
        for job in sorted((job for job in self.jobs.values() if job.ended_s is None), key=lambda job: -job.request.priority):
            if job.ended_s is None and free and self.obstacle(job, now) == "":
                self._start_what_fits(job, now)
                free = self.room.has_free_cpu()
        for job in [job for job in self.jobs.values() if job.ended_s is not None and job.ended_s + self.rules.keep_s <= now]:
            self._purge(job)
        actions, self._actions = self._actions, []
        return actions

    def wakes_at(self, now: float) -> float:
        """When time alone will change something next; infinity when it will not."""
        moments = [math.inf]
        for (number, _), element in self._active.items():
            request = self.jobs[number].request
            if element.state == "running" and request.walltime_s is not None:
                moments += [self.due_s(request, element)]
                moments += (
                    [self.due_s(request, element) - request.warn_s] if request.warn_signal and not element.is_warned else []
                )
            if element.gone_s is not None and element.doomed_s is not None:
                moments.append(element.doomed_s + self.rules.linger_s)
            elif element.kill_s is not None:
                moments.append(element.kill_s)
        moments += [job.request.begin_s for job in self.jobs.values() if job.ended_s is None and job.request.begin_s > now]
        again = (self.jobs[number].elements[index] for number, found in self._again.items() for index in found)
        moments += [element.begin_s for element in again if element.begin_s > now]
        return min(moments)

    # -- inside --

    def _look_at(self, job: Job, element: Element, now: float) -> None:
        """What time does to a running element: warning, limit, kill, the end that was kept back."""
        request = job.request
        if element.gone_s is not None:
            self._finish_if_due(job, element, now)
        elif element.state == "running" and request.walltime_s is not None:
            due = self.due_s(request, element)
            if request.warn_signal and not element.is_warned and due - request.warn_s <= now:
                element.is_warned = True
                self._actions.append(Signal(job=job, element=element, number=request.warn_signal, reach=request.warn_reach))
                self.touch(job, element)
            if due <= now:
                self.doom(job, element, "walltime", now)
        elif element.kill_s is not None and element.kill_s <= now:
            element.kill_s = None
            self._actions.append(Signal(job=job, element=element, number=SIGKILL, reach=self.rules.kill_reach))
            self.touch(job, element)

    def _finish_if_due(self, job: Job, element: Element, now: float) -> None:
        """Let an element whose process has gone be seen as ended, unless that is kept back."""
        self.touch(job, element)
        if element.why == "deleted" and element.doomed_s is not None and element.doomed_s + self.rules.linger_s > now:
            element.state = "ending"
            return
        del self._active[job.number, element.index]
        self.room.free(job.request, element)
        job.running -= 1
        job.changed_s = now
        self.touch(job)
        if element.why == "requeue" or (element.why == "node" and job.request.requeues and element.restarts < MAX_RESTARTS):
            self._wait_again(job, element, now, element.holds)
            return
        element.state, element.ended_s, element.kill_s = "ended", now, None
        self._count(job, element, 1)
        self._end_if_done(job, now)

    def _wait_again(self, job: Job, element: Element, now: float, holds: str) -> None:
        kept = Element(index=element.index, restarts=element.restarts + 1, raw=element.raw, holds=holds, notes=element.notes)
        kept.begin_s = now + self.rules.requeue_delay_s
        job.elements[element.index] = kept
        self._again.setdefault(job.number, []).append(element.index)
        job.changed_s = now
        self.touch(job, kept)
        self.touch(job)

    def _count(self, job: Job, element: Element, how_many: int) -> None:
        kind = element.why if element.why != "exited" else "ok" if element.is_ok else "failed"
        job.ends[kind] = job.ends.get(kind, 0) + how_many

    def _uncount(self, job: Job, element: Element) -> None:
        self._count(job, element, -1)

    def _remove(self, job: Job, which: Iterable[range] | None, now: float, by: str) -> int:
        """Take elements away that wait."""
        gone = list(job.waiting) if which is None else indices.intersect(job.waiting, which)
        job.waiting = [] if which is None else indices.subtract(job.waiting, gone)
        again = [index for index in self._again.get(job.number, []) if which is None or indices.has(which, index)]
        for index in again:
            self._again[job.number].remove(index)
            job.elements.pop(index)
            gone += [range(index, index + 1)]
        if gone:
            job.removed.append(Removal(indices=tuple(gone), at_s=now, by=by))
            job.ends["removed"] = job.ends.get("removed", 0) + indices.count(gone)
        return indices.count(gone)

    def _end_if_done(self, job: Job, now: float) -> None:
        if job.ended_s is None and not job.running and not job.waiting and not self._again.get(job.number):
            job.ended_s = job.changed_s = now
            self.touch(job)

    def _resolve(self, job: Job, now: float) -> None:
        """Forget the dependencies that are met; end the job, or leave it stuck, where one cannot be met any more."""
        if job.is_stuck or not job.awaits:
            return
        found = [(dependency, is_met(self.jobs, job, dependency, self.rules.unknown_dependency)) for dependency in job.awaits]
        is_any_met = job.request.awaits_any and any(met for _, met in found)
        left = [] if is_any_met else [dependency for dependency, met in found if not met]
        unmet = [dependency for dependency, met in found if met is False]
        if left != job.awaits:
            job.awaits = left
            self.touch(job)
        if job.ended_s is not None or not left or not unmet or (job.request.awaits_any and len(unmet) < len(left)):
            return
        job.changed_s = now
        self.touch(job)
        if self.rules.on_unmet == "stay":
            job.is_stuck = True
            return
        job.why = "dependency"
        self._remove(job, None, now, "")
        job.removed = [dataclasses.replace(removal, why="dependency") for removal in job.removed]
        self._end_if_done(job, now)

    def _start_what_fits(self, job: Job, now: float) -> None:
        if job.eligible_s is None:
            job.eligible_s = now
            self.touch(job)
        while job.throttle is None or job.running < job.throttle:
            index = self._next_waiting(job, now)
            placed = None if index is None else self.room.find(job.request)
            if index is None or placed is None:
                return
            if index in job.elements:
                self._again[job.number].remove(index)
                element = job.elements[index]
            else:
                _, job.waiting = indices.take_first(job.waiting)
                element = job.elements[index] = Element(index=index)
            self._start(job, element, placed, now)

    def _start(self, job: Job, element: Element, placed: list[tuple[str, int, list[int]]], now: float) -> None:
        element.state, element.started_s, element.placed = "running", now, placed
        if self.rules.numbers_elements and not element.raw:
            is_last = not job.waiting and not self._again.get(job.number)
            element.raw = job.number if is_last or not job.is_array else self.take_number()
        self.room.take(job.request, element)
        self._active[job.number, element.index] = element
        job.running += 1
        job.started_s = now if job.started_s is None else job.started_s
        job.changed_s = now
        self._actions.append(Start(job=job, element=element))
        self.touch(job, element)
        self.touch(job)
