"""What is known of a cluster: its jobs, what there is to see of them, and what of it has to be kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from hpcsweep.rehearsal import indices
from hpcsweep.rehearsal.indices import Indices
from hpcsweep.rehearsal.jobs import Action, Element, Job, Plain, Removal, Request, Rules, State
from hpcsweep.rehearsal.records import read_records, record_of
from hpcsweep.rehearsal.room import Room, Shortage


class KnownJobs:
    """All jobs, and the nodes that they run on; ``Cluster`` is what changes them."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.jobs: dict[int, Job] = {}
        """Those that are remembered, by number, in the order of submission."""
        self.next_number = rules.first_number
        self.room = Room(rules.nodes)
        self._active: dict[tuple[int, int], Element] = {}  # running or ending
        self._again: dict[int, list[int]] = {}  # elements that are objects and wait: requeued, or held by themselves
        self._actions: list[Action] = []
        self._changed: dict[tuple[str, int, int], None] = {}

    # -- what there is to see --

    def walk(
        self, job: Job, which: Iterable[range] | None = None
    ) -> Iterator[tuple[int, State, Element | None, Removal | None]]:
        """All elements (or those in ``which``) in the order of their submission: number, state, and what is known of it."""
        gone = {index: removal for removal in job.removed for index in indices.each(removal.indices)}
        wanted = job.indices if which is None else indices.intersect(job.indices, which)
        for index in indices.each(wanted):
            element = job.elements.get(index)
            removal = gone.get(index)
            yield index, element.state if element else "ended" if removal else "waiting", element, removal

    def state_of(self, job: Job, index: int) -> State | None:
        """The state of one element; None when the job has no such element."""
        return next((state for _, state, _, _ in self.walk(job, [range(index, index + 1)])), None)

    def waiting_of(self, job: Job) -> Indices:
        """The numbers of all elements that wait, requeued and held ones too."""
        again = self._again.get(job.number, [])
        return indices.pack(sorted([*again, *indices.each(job.waiting)])) if again else list(job.waiting)

    def find_active(self, job: Job, which: Iterable[range] | None) -> list[Element]:
        """The elements of the job that run or are ending."""
        if not job.running:
            return []
        found = [element for (number, _), element in self._active.items() if number == job.number]
        wanted = None if which is None else list(which)
        return [element for element in found if wanted is None or indices.has(wanted, element.index)]

    def all_active(self) -> list[tuple[Job, Element]]:
        """All elements that run or are ending, in the order in which they started."""
        return [(self.jobs[number], element) for (number, _), element in self._active.items()]

    def pick_waiting(self, job: Job, which: Iterable[range]) -> list[Element]:
        """Those of the elements in ``which`` that wait, each made an object of its own that can be held."""
        picked = indices.intersect(job.waiting, which)
        job.waiting = indices.subtract(job.waiting, picked)
        for index in indices.each(picked):
            job.elements[index] = Element(index=index)
            self._again.setdefault(job.number, []).append(index)
        return [job.elements[index] for index in self._again.get(job.number, []) if indices.has(which, index)]

    def obstacle(self, job: Job, now: float) -> str:
        """Why nothing more of the job may start, in one word; empty when only room is missing.

        ``held``, ``dependency``, ``stuck``, ``begin``, ``queue``, ``throttle``, ``never`` (no node is so large), ``done``.
        """
        if job.holds:
            return "held"
        if job.is_stuck or job.awaits:
            return "stuck" if job.is_stuck else "dependency"
        if job.request.begin_s > now:
            return "begin"
        if any(queue.name == job.request.queue and not queue.is_started for queue in self.rules.queues):
            return "queue"
        if job.throttle is not None and job.running >= job.throttle:
            return "throttle"
        if self.room.shortage(job.request) is not None:
            return "never"
        return "" if self._next_waiting(job, now) is not None else "done"

    def shortage(self, request: Request) -> Shortage | None:
        """What of the request the whole cluster, empty, could not give."""
        return self.room.shortage(request)

    def due_s(self, request: Request, element: Element) -> float:
        """When a running element's time limit will be found to be over."""
        poll, limit = self.rules.walltime_poll_s, request.walltime_s
        if limit is None or element.started_s is None:
            return math.inf
        return element.started_s + (poll * (math.floor(limit / poll) + 1) if poll else limit)

    # -- what is kept --

    def touch(self, job: Job, element: Element | None = None) -> None:
        """Mark a job, or one of its elements, as changed, so that it is kept."""
        self._changed[("job", job.number, 0) if element is None else ("element", job.number, element.index)] = None

    def touch_numbers(self) -> None:
        """Mark `next_number` as changed."""
        self._changed[("cluster", 0, 0)] = None

    def take_changes(self) -> list[Plain]:
        """What has changed since the last time, for ``restore``."""
        changed, self._changed = self._changed, {}
        return [self._record(*key) for key in changed]

    def snapshot(self) -> list[Plain]:
        """All that ``restore`` needs, and no more."""
        keys = [("cluster", 0, 0)]
        for job in self.jobs.values():
            keys += [("request", job.number, 0), ("job", job.number, 0)]
            keys += [("element", job.number, index) for index in job.elements]
        return [self._record(*key) for key in keys]

    def restore(self, records: Iterable[Plain]) -> None:
        """Become what the records say; the later one counts."""
        kept = read_records(records)
        self.next_number = self.next_number if kept.next_number is None else kept.next_number
        self.room.down = kept.down
        for job in kept.jobs:
            self.jobs[job.number] = job
            self._index(job)

    def _record(self, kind: str, number: int, index: int) -> Plain:
        if kind == "cluster":
            return {"kind": kind, "next_number": self.next_number, "down": sorted(self.room.down)}
        if kind == "gone":
            return {"kind": kind, "number": number}
        return record_of(kind, self.jobs[number], index)

    def _index(self, job: Job) -> None:
        """Rebuild what is only a view of the job's elements."""
        for index, element in job.elements.items():
            if element.state == "waiting":
                self._again.setdefault(job.number, []).append(index)
            elif element.state in ("running", "ending"):
                self._active[job.number, index] = element
                self.room.take(job.request, element)

    def _next_waiting(self, job: Job, now: float) -> int | None:
        again = (job.elements[index] for index in self._again.get(job.number, []))
        found = next((element.index for element in again if not element.holds and element.begin_s <= now), None)
        if job.waiting and (found is None or self.rules.numbers_elements):  # on Slurm the array's own record comes first
            return job.waiting[0][0]
        return found

    def _purge(self, job: Job) -> None:
        self._again.pop(job.number, None)
        del self.jobs[job.number]
        self._changed = {key: None for key in self._changed if key[1] != job.number}
        self._changed[("gone", job.number, 0)] = None  # before what may come under the same number again
