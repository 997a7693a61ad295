"""Tasks that share an element: what is planned, and how each of them stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.decide import PlanArray, Policy, decide
from hpcsweep.model import Request
from hpcsweep.packing import Packing, choose_packing, devices_of, element_request
from hpcsweep.room import Ceiling
from hpcsweep.states import State

ASKED = Request(time_limit_s=600, memory_bytes=100, cpus=2, gpus=1, tmp_bytes=7)


def plans(scene, **policy):
    decision = decide(scene.fold(), Policy(**policy), lambda _task: ASKED, 1_000_000.0)
    return [action for action in decision.actions if isinstance(action, PlanArray)]


@pytest.fixture
def packed(make_scene):
    """Six tasks, three to an element."""
    scene = make_scene(6).plan()
    scene.events[1]["packing"] = {"tasks_per_element": 3, "parallel": 2}
    return scene


def states(scene) -> list[str]:
    return [view.state.value for view in scene.fold().views]


class TestRequests:
    def test_an_element_asks_for_what_runs_side_by_side_and_for_all_rounds(self):
        asked = element_request(ASKED, Packing(tasks_per_element=7, parallel=3))
        assert asked == Request(time_limit_s=1800, memory_bytes=300, cpus=6, gpus=3, tmp_bytes=21)

    def test_ranks_grow_in_number(self):
        asked = element_request(Request(cpus=2, tasks_per_node=4), Packing(tasks_per_element=2, parallel=2))
        assert (asked.cpus, asked.tasks_per_node) == (2, 8)

    def test_what_is_not_asked_for_stays_so(self):
        asked = element_request(Request(memory_bytes=0), Packing(tasks_per_element=4, parallel=2))
        assert (asked.time_limit_s, asked.memory_bytes, asked.gpus) == (None, 0, None)

    def test_alone_it_is_the_tasks_own(self):
        assert element_request(ASKED, Packing()) == ASKED

    @pytest.mark.parametrize(
        ("gpus", "tasks", "devices"),
        [(1, 4, 4), (2, 3, 6), (0.25, 4, 1), (0.25, 5, 2), (0.5, 3, 2), (0.4, 2, 1), (0.75, 2, 2), (0, 3, 0), (1 / 3, 3, 1)],
    )  # fmt: skip
    def test_parts_of_gpus(self, gpus, tasks, devices):
        assert devices_of(gpus, tasks) == devices

    @given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 500))
    def test_all_tasks_have_a_place(self, many, parallel, tasks):
        packing = choose_packing(many, min(many, parallel), ASKED, tasks=tasks, most_elements=None)
        assert packing.elements(tasks) * packing.tasks_per_element >= tasks
        assert packing.parallel <= packing.tasks_per_element <= tasks
        assert packing.rounds * packing.parallel >= packing.tasks_per_element

    @pytest.mark.parametrize(
        ("limit_s", "parallel", "tasks", "most", "expected"),
        [(60, 1, 100, None, (10, 1)), (60, 4, 100, None, (40, 4)), (3600, 1, 100, None, (1, 1)), (None, 2, 100, None, (2, 2)),
         (3600, 1, 5000, 1000, (5, 1)), (400, 2, 3, None, (3, 2))],
    )  # fmt: skip
    def test_auto(self, limit_s, parallel, tasks, most, expected):
        packing = choose_packing("auto", parallel, Request(time_limit_s=limit_s), tasks=tasks, most_elements=most)
        assert (packing.tasks_per_element, packing.parallel) == expected


class TestPlans:
    def test_elements_count_against_the_sites_size(self, make_scene):
        found = plans(make_scene(10), tasks_per_job=2, max_array_size=3)
        assert [plan.tasks for plan in found] == [tuple(range(6)), tuple(range(6, 10))]
        assert {plan.packing.tasks_per_element for plan in found} == {2}

    def test_and_against_what_may_be_queued(self, make_scene):
        found = plans(make_scene(10), tasks_per_job=3, ceilings=[Ceiling(limit=9, room=2, reason="limits: full")])
        assert [plan.tasks for plan in found] == [tuple(range(6))]

    def test_parallel_alone_packs_so_many(self, make_scene):
        (plan,) = plans(make_scene(8), parallel=4)
        assert plan.packing == Packing(tasks_per_element=4, parallel=4)

    def test_auto_fits_what_may_be_queued(self, make_scene):
        found = plans(make_scene(10), tasks_per_job="auto", ceilings=[Ceiling(limit=5, room=5, reason="limits: full")])
        assert [plan.packing.tasks_per_element for plan in found] == [2]
        assert sum(len(plan.tasks) for plan in found) == 10


class TestStates:
    def test_who_has_not_begun_waits_for_its_turn(self, packed):
        packed.live = [packed.seen(State.RUNNING, 0, elapsed_s=50), packed.seen(State.PENDING, 1)]
        packed.task_says("0.1", "0.1.r0.run", "1.1", "1.1.done.0.9")
        assert states(packed) == ["running", "done", "pending", "pending", "pending", "pending"]
        views = packed.fold().views
        assert "its turn" in views[2].reason
        assert views[0].elapsed_s is None  # that of the element is not the task's

    @pytest.mark.parametrize("end", [State.TIMEOUT, State.DONE, State.FAILED, State.NODE_FAIL, State.OOM, State.PREEMPTED])
    def test_what_an_ended_element_had_not_begun_is_new_again(self, packed, end):
        packed.live, packed.history = [packed.seen(State.PENDING, 1)], [packed.seen(end, 0)]
        packed.task_says("0.1", "0.1.done.0.9", "1.1", "1.1.done.3.9")
        assert states(packed)[:3] == ["done", "failed", "new"]
        assert packed.fold().views[2].is_returned

    def test_it_gets_another_attempt_and_the_old_one_is_ended(self, packed):
        packed.live, packed.history = [packed.seen(State.PENDING, 1)], [packed.seen(State.TIMEOUT, 0)]
        packed.task_says("0.1", "0.1.done.0.9", "1.1", "1.1.done.0.9")
        (plan,) = plans(packed, tasks_per_job=3)
        assert (plan.tasks, plan.attempts) == ((2,), {2: 2})

    def test_of_an_element_that_began_nothing_nothing_is_new(self, packed):
        packed.live, packed.history = [packed.seen(State.PENDING, 1)], [packed.seen(State.FAILED, 0, exit_code=1)]
        packed.gone_for(100)
        assert states(packed)[:3] == ["lost"] * 3

    def test_who_cancels_an_element_means_all_of_it(self, packed):
        packed.live, packed.history = [packed.seen(State.PENDING, 1)], [packed.seen(State.CANCELLED, 0)]
        packed.task_says("0.1", "0.1.done.0.9").gone_for(100)
        assert states(packed)[:3] == ["done", "cancelled", "cancelled"]

    def test_without_a_history_it_takes_the_wait(self, packed):
        packed.live = [packed.seen(State.PENDING, 1)]
        packed.task_says("0.1", "0.1.done.0.9")
        assert not packed.fold().views[1].is_returned
        packed.gone_for(100)
        assert states(packed)[:3] == ["done", "new", "new"]

    def test_an_elements_want_of_memory_is_that_of_the_killed_alone(self, packed):
        packed.live, packed.history = [packed.seen(State.PENDING, 1)], [packed.seen(State.OOM, 0)]
        packed.task_says("0.1", "0.1.sig.9.9", "1.1", "1.1.done.1.9", "2.1", "2.1.done.0.9")
        assert states(packed)[:3] == ["oom", "failed", "done"]

    def test_ends_are_kept_for_each_task(self, packed):
        packed.live = [packed.seen(State.PENDING, 1)]
        packed.task_says("0.1", "0.1.r0.run")
        packed.write({"event": "seen", "array": 1, "positions": "0", "state": "node_fail"})
        packed.write({"event": "returned", "array": 1, "positions": "1-2"})
        assert states(packed)[:3] == ["node_fail", "new", "new"]

    def test_a_cancelled_one_that_waits_in_a_running_element(self, packed):
        packed.live = [packed.seen(State.RUNNING, 0), packed.seen(State.PENDING, 1)]
        packed.task_says("0.1", "0.1.r0.run")
        packed.write({"event": "cancel", "tasks": "1"})
        assert states(packed)[:3] == ["running", "cancelled", "pending"]
