"""Any order of crashes, silences, lost answers, forgotten and doubled jobs: in the end each task has one counted success."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import ScriptedSlurm

TASKS = 4
SWEEP = "command: echo {{ x }}\nspace: {x: [1, 2, 3, 4]}\n"


class World:
    """A run on a scripted Slurm whose elements do what the runner does: claim, run, record."""

    def __init__(self, cluster) -> None:
        self.cluster = cluster
        self.starts: Counter[tuple[int, int]] = Counter()
        self.deaths: Counter[int] = Counter()

    # ---- what the scheduler and the nodes do ----

    def start(self, which: int) -> None:
        waiting = self._elements("PENDING")
        if not waiting:
            return
        job, element = waiting[which % len(waiting)]
        self.cluster.slurm.start(job, element)
        array, task, attempt = self._attempt_of(job, element)
        claim = self._events(array) / f"{task}.{attempt}"
        if claim.exists():
            self.cluster.slurm.end(job, element)  # another's, or its own of before: nothing to do
            return
        claim.write_text(f"{array.tag} {job}_{element} n1 1 1\n")
        claim.with_name(f"{task}.{attempt}.r0.run").hardlink_to(claim)
        self.starts[task, attempt] += 1

    def finish(self, which: int) -> None:
        running = self._elements("RUNNING")
        if not running:
            return
        job, element = running[which % len(running)]
        array, task, attempt = self._attempt_of(job, element)
        token = self._events(array) / f"{task}.{attempt}.r0.run"
        if token.exists():  # else it was given up meanwhile, and does not count
            token.rename(token.with_name(f"{task}.{attempt}.done.0.1"))
        self.cluster.slurm.end(job, element)

    def die(self, which: int) -> None:
        running = self._elements("RUNNING")
        if running:
            job, element = running[which % len(running)]
            self.deaths[self._attempt_of(job, element)[1]] += 1
            self.cluster.slurm.end(job, element, word="NODE_FAIL")

    def forget(self, which: int) -> None:
        jobs = sorted(self.cluster.slurm.jobs)
        if jobs:
            job = jobs[which % len(jobs)]
            for element, word in self.cluster.slurm.jobs[job].states.items():
                self.deaths[self._attempt_of(job, element)[1]] += word == "RUNNING"
            self.cluster.slurm.forget(job)

    def arrive(self, _which: int) -> None:
        self.cluster.slurm.arrive()

    # ---- what the user does ----

    def advance(self, _which: int) -> None:
        self.cluster.hpcsweep("advance", "--quiet", code=None)

    def advance_now(self, _which: int) -> None:
        self.cluster.hpcsweep("advance", "--quiet", "--now", code=None)

    def resubmit(self, _which: int) -> None:
        self.cluster.hpcsweep("resubmit", code=None)

    def status(self, _which: int) -> None:
        status = self.cluster.status()
        for task in status["tasks"]:
            events = [self._events(array) for array in self.cluster.run.ledger.arrays.values()]
            is_done = any(path for folder in events for path in folder.glob(f"{task['index']}.*.done.0.*"))
            assert (task["state"] == "done") == is_done
            assert task["state"] not in ("failed", "cancelled")

    # ---- what changes ----

    def wait(self, which: int) -> None:
        self.cluster.now += (10, 95, 400)[which % 3]

    def turn_silent(self, which: int) -> None:
        self.cluster.slurm.is_silent = bool(which % 2)

    def turn_history(self, which: int) -> None:
        self.cluster.slurm.has_history = bool(which % 2)

    def turn_submission(self, which: int) -> None:
        modes = ("taken", "refused", "limited", "taken in silence", "taken late", "lost in silence")
        self.cluster.slurm.submission = modes[which % len(modes)]

    def settle(self) -> None:
        """All is well again: until nothing is left to do."""
        slurm = self.cluster.slurm
        slurm.submission, slurm.is_silent, slurm.has_history = "taken", False, True
        for _turn in range(30):
            slurm.arrive()
            self.advance_now(0)
            while self._elements("PENDING") or self._elements("RUNNING"):
                self.start(0)
                self.finish(0)
            self.cluster.now += 200
            if self.cluster.status()["finished"]:
                if self.cluster.status()["counts"] == {"done": TASKS}:
                    return
                self.resubmit(0)
        pytest.fail(f"it does not settle: {self.cluster.status()}")

    def _elements(self, word: str) -> list[tuple[str, int]]:
        jobs = self.cluster.slurm.jobs.items()
        return sorted((job, element) for job, facts in jobs for element, state in facts.states.items() if state == word)

    def _attempt_of(self, job: str, element: int):
        arrays = self.cluster.run.ledger.arrays.values()
        array = next(array for array in arrays if array.tag == self.cluster.slurm.jobs[job].tag)
        task = array.tasks[element]
        return array, task, array.attempt_of(task)

    def _events(self, array):
        return self.cluster.run.paths.array(array.number).events


ACTIONS = [name for name, value in vars(World).items() if callable(value) and not name.startswith("_") and name != "settle"]


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 11)), max_size=25))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_happens(cluster, tmp_path_factory, actions):
    cluster.folder = tmp_path_factory.mktemp("mischief")
    fresh = ScriptedSlurm()
    for field in fields(fresh):
        setattr(cluster.slurm, field.name, getattr(fresh, field.name))
    cluster.submit(SWEEP)
    world = World(cluster)
    for name, which in actions:
        getattr(world, name)(which)
    world.settle()
    assert set(world.starts.values()) == {1}  # no attempt has begun twice
    attempts = Counter(task for task, _attempt in world.starts)
    # Nothing ran again but what had died, and each has one success that counts.
    assert all(1 <= attempts[task] <= 1 + world.deaths[task] for task in range(TASKS))
    done = [path.name for path in cluster.run.paths.root.glob("arrays/*/events/*.done.0.*")]
    assert sorted(int(name.split(".")[0]) for name in done) == list(range(TASKS))
