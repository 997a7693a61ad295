"""Builders for journals and evidence."""

from __future__ import annotations

from hpcsweep.events import fold_events
from hpcsweep.fold import Evidence, Fold
from hpcsweep.ledger import Ledger
from hpcsweep.ranges import format_ranges
from hpcsweep.schedulers.base import Seen
from hpcsweep.states import State

NOW = 1_000_000.0


class Scene:
    """A run of ``total`` tasks in one array of job 70, and what can be seen of it."""

    def __init__(self, total: int = 3) -> None:
        self.total = total
        self.events: list[dict] = [{"event": "created", "at": NOW - 900, "tasks": total}]
        self.names: dict[int, list[str]] = {}
        self.live: list[Seen] | None = []
        self.is_held_back = False
        self.history: list[Seen] | None = None
        self.gone_since: dict[int, dict[int, float]] = {}

    def plan(self, number: int = 1, tasks=None, attempts=None, kind: str = "tasks", job: str | None = "70") -> Scene:
        tasks = range(self.total) if tasks is None else tasks
        self.write(
            {
                "event": "planned",
                "array": number,
                "tag": f"tag-{number:03d}",
                "kind": kind,
                "tasks": format_ranges(tasks),
                "attempts": attempts or {"1": format_ranges(tasks)},
                "request": {"cpus": 1},
            },
            {"event": "submitting", "array": number},
        )
        if job:
            self.write({"event": "submitted", "array": number, "job": job})
        return self

    def write(self, *events: dict) -> Scene:
        self.events += [{"at": NOW - 600, **event} for event in events]
        return self

    def task_says(self, *names: str, array: int = 1) -> Scene:
        self.names.setdefault(array, []).extend(names)
        return self

    def seen(self, state: State, *elements: int, array: int = 1, job: str = "70", **more) -> Seen:
        return Seen(tag=f"tag-{array:03d}", job=job, elements=elements, state=state, raw=state.name, **more)

    def gone_for(self, seconds: float, array: int = 1) -> Scene:
        self.gone_since[array] = dict.fromkeys(range(self.total), NOW - seconds)
        return self

    def fold(self) -> Fold:
        evidence = Evidence(
            now=NOW,
            events={number: fold_events(self.names.get(number, [])) for number in {*range(1, 9), *self.names}},
            live=self.live,
            live_message="" if self.live is not None else "it timed out",
            history=self.history,
            is_held_back=self.is_held_back,
            gone_since=self.gone_since,
            lost_after_s=90.0,
        )
        return Fold(Ledger().replay(self.events), evidence, self.total)
