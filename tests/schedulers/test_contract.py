"""What every scheduler promises, tried on each of them with real jobs."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Request
from hpcsweep.rehearsal.rehearse import Rehearsal
from hpcsweep.schedulers import SCHEDULERS, Site, make_scheduler
from hpcsweep.schedulers.base import ArrayJob, Command, NoAnswer, Scheduler, Seen, Submitted
from hpcsweep.shell import run_command
from hpcsweep.states import FACTS, State

WAITING = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


class Bench:
    """One scheduler and a folder to try it in."""

    def __init__(self, scheduler: Scheduler, folder: Path) -> None:
        self.scheduler = scheduler
        self.folder = folder
        self.submitted: list[tuple[str, str]] = []

    def submit(self, body: str, size: int, **changes) -> tuple[str, str]:
        script = self.folder / f"{uuid4().hex}.sh"
        lines = self.scheduler.directives(Request(time_limit_s=600), {})
        opening = [f"cd {shlex.quote(str(self.folder))}"] if self.scheduler.starts_bare else []
        script.write_text("\n".join(["#!/bin/bash", *lines, *opening, body, ""]))
        tag = f"contract-{uuid4().hex}"
        job = ArrayJob(tag=tag, script=str(script), log=str(self.folder / "log"), size=size, chdir=str(self.folder), **changes)
        answer = self.scheduler.parse_submit(run_command(self.scheduler.submit_cmd(job)))
        assert isinstance(answer, Submitted), answer
        self.submitted.append((tag, answer.job))
        return tag, answer.job

    def live(self, *tags: str) -> list[Seen]:
        known = {tag: tuple(job for its, job in self.submitted if its == tag) for tag in tags}
        answer = self.scheduler.parse_live(run_command(self.scheduler.live_cmd(known)))
        assert not isinstance(answer, NoAnswer), answer
        return [seen for seen in answer if not seen.is_to_come]

    def states(self, tag: str) -> dict[int, State]:
        return {number: seen.state for seen in self.live(tag) for number in seen.elements or ()}

    def tell(self, commands: Sequence[Command]) -> None:
        for command in commands:
            completed = run_command(command)
            assert completed.returncode == 0, completed

    def finish(self) -> None:
        for tag, job in self.submitted:
            self.tell(self.scheduler.cancel_cmds(tag, job, None))


@pytest.fixture
def rehearsed(monkeypatch):
    """``rehearsed("pbs")``: from here on its commands are played."""
    started = []

    def start(name: str) -> None:
        started.append(Rehearsal(name, settings={"cpus": 4}))
        for variable, value in started[-1].environment.items():
            monkeypatch.setenv(variable, value)

    yield start
    for rehearsal in started:
        rehearsal.end()


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slurm] if name == "slurm" else []) for name in SCHEDULERS])
def bench(request, hostile_dir):
    if request.param == "slurm":
        request.getfixturevalue("slurm")
    if request.param in ("pbs", "torque"):
        request.getfixturevalue("rehearsed")(request.param)
    bench = Bench(make_scheduler(request.param, Site(queue_dir=str(hostile_dir / "local"), jobs=4)), hostile_dir)
    yield bench
    bench.finish()


class TestEveryScheduler:
    def test_an_array_runs_each_element_once_and_leaves_the_queue(self, bench, await_that):
        number = "${SLURM_ARRAY_TASK_ID-${PBS_ARRAY_INDEX-${PBS_ARRAYID-$HPCSWEEP_ELEMENT}}}"
        tag, _job = bench.submit(f'echo "$PWD" >>"started-{number}"', 5)
        await_that(lambda: not bench.live(tag), "all have ended")
        started = {path.name: path.read_text() for path in bench.folder.glob("started-*")}
        assert started == {f"started-{element}": f"{bench.folder}\n" for element in range(5)}

    def test_two_arrays_are_told_apart_by_one_query(self, bench):
        first, second = bench.submit(WAITING, 2, is_held=True), bench.submit(WAITING, 3, is_held=True)
        seen = bench.live(first[0], second[0], "contract-nobody")
        assert {(s.tag, s.job): (len(s.elements), s.state, s.is_held) for s in seen} == {
            first: (2, State.PENDING, True),
            second: (3, State.PENDING, True),
        }
        assert [s.tag for s in bench.live(first[0])] == [first[0]]

    def test_held_released_throttled_cancelled(self, bench, await_that):
        tag, job = bench.submit(WAITING, 6, is_held=True, at_once=1)
        assert set(bench.states(tag).values()) == {State.PENDING}
        bench.tell(bench.scheduler.cancel_cmds(tag, job, [4, 5]))
        await_that(lambda: sorted(bench.states(tag)) == [0, 1, 2, 3], "two pending elements are gone, and no other")
        bench.tell(bench.scheduler.hold_cmds(tag, job, "release"))
        await_that(lambda: list(bench.states(tag).values()).count(State.RUNNING) == 1, "one runs")
        bench.tell(bench.scheduler.throttle_cmds(tag, job, 2))
        await_that(lambda: list(bench.states(tag).values()).count(State.RUNNING) == 2, "two run")
        bench.tell(bench.scheduler.hold_cmds(tag, job, "hold"))
        running = [number for number, state in bench.states(tag).items() if state is State.RUNNING]
        bench.tell(bench.scheduler.cancel_cmds(tag, job, running[:1]))
        await_that(lambda: running[0] not in bench.states(tag), "the one that ran has ended")
        assert bench.states(tag)[running[1]] is State.RUNNING
        bench.tell(bench.scheduler.cancel_cmds(tag, job, None))
        await_that(lambda: not bench.live(tag), "nothing is left")

    def test_another_name_cancels_nothing(self, bench):
        tag, job = bench.submit(WAITING, 2, is_held=True)
        bench.tell(bench.scheduler.cancel_cmds("contract-somebody-else", job, None))
        bench.tell(bench.scheduler.cancel_cmds("contract-somebody-else", job, [0]))
        assert sorted(bench.states(tag)) == [0, 1]

    def test_an_array_waits_for_the_one_before_it(self, bench, await_that):
        first, job = bench.submit(WAITING, 1)
        second, _ = bench.submit("true", 1, after=(job,))
        await_that(lambda: bench.states(first) == {0: State.RUNNING}, "the first runs")
        assert bench.states(second) == {0: State.PENDING}
        bench.tell(bench.scheduler.cancel_cmds(first, job, None))
        await_that(lambda: not bench.live(second), "the second has run too")

    def test_live_states_are_live(self, bench):
        tag, _job = bench.submit(WAITING, 2)
        assert all(FACTS[state].is_live for state in bench.states(tag).values())

    def test_the_ended_are_in_the_history_where_there_is_one(self, bench, await_that):
        tag, job = bench.submit("exit 3", 1)
        await_that(lambda: not bench.live(tag), "it has ended")
        command = bench.scheduler.history_cmd({tag: (job,)}, time.time() - 60)
        assert (command is not None) is bench.scheduler.has_history
        if command is not None:

            def ended() -> list[tuple[str, list[int], State, int | None]]:
                answer: list[Seen] = bench.scheduler.parse_history(run_command(command))
                return [(seen.job, list(seen.elements), seen.state, seen.exit_code) for seen in answer]

            # The state may be on record a moment before the exit code is.
            await_that(lambda: ended() == [(job, [0], State.FAILED, 3)], "the history knows it")

    def test_limits(self, bench):
        command = bench.scheduler.limits_cmd()
        if command is not None:
            assert bench.scheduler.parse_limits(run_command(command)).max_array_size >= 1


def test_a_program_that_is_not_there_is_an_error_with_a_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HpcsweepError, match="squeue") as caught:
        run_command(make_scheduler("slurm").live_cmd(["tag"]))
    assert caught.value.hint
    assert sys.executable  # what `local` runs by its full path
