"""What of a run is planned where the site has room for only so much."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from scene import NOW, Scene

from hpcsweep.decide import PlanArray, Policy, decide
from hpcsweep.model import Request
from hpcsweep.room import Ceiling, Rooms
from hpcsweep.states import State

SMALL, LARGE = Request(cpus=1), Request(cpus=8, qos="large")
FEEDER = Request(cpus=1, time_limit_s=900)


def request_of(task: int) -> Request:
    return LARGE if task >= 0 and task % 3 == 2 else SMALL


def room(number: int, **more) -> Ceiling:
    return Ceiling(limit=1000, room=number, reason="limits: so it is", **more)


def plans(decision) -> list[PlanArray]:
    return [action for action in decision.actions if isinstance(action, PlanArray)]


def tasks_of(decision) -> list[int]:
    return [task for plan in plans(decision) for task in plan.tasks]


def decide_with(scene: Scene, policy: Policy):
    return decide(scene.fold(), policy, lambda _task: SMALL, NOW)


def test_the_rest_waits_with_the_reason_and_keeps_the_run_open(make_scene):
    decision = decide_with(make_scene(5), Policy(ceilings=[room(3)]))
    assert tasks_of(decision) == [0, 1, 2]
    assert decision.waiting == dict.fromkeys((3, 4), "limits: so it is")
    assert decision.is_more_to_come
    assert not decision.is_finished


def test_no_room_at_all_is_nothing_to_do_but_not_the_end(make_scene):
    decision = decide_with(make_scene(2), Policy(ceilings=[room(-3)]))
    assert decision.actions == ()
    assert not decision.is_finished


def test_a_limit_bears_on_its_own_requests_only(make_scene):
    ceiling = room(1, bears_on=lambda request: request.qos == "large")
    decision = decide(make_scene(6).fold(), Policy(ceilings=[ceiling]), request_of, NOW)
    assert tasks_of(decision) == [0, 1, 3, 4, 2]
    assert list(decision.waiting) == [5]


def test_an_array_that_is_submitted_again_takes_its_room(make_scene):
    scene = make_scene(4).plan(tasks=[0, 1], job=None)
    scene.write({"event": "refused", "array": 1, "message": "later", "curable": True})
    assert tasks_of(decide_with(scene, Policy(ceilings=[room(3)]))) == [2]


class TestFinally:
    def test_comes_with_the_last_of_the_tasks(self, make_scene):
        scene = make_scene(4)
        policy = Policy(is_finally_wanted=True, finally_when="ended", ceilings=[room(3)])
        assert [plan.kind for plan in plans(decide_with(scene, policy))] == ["tasks"]
        policy = replace(policy, ceilings=[room(5)])
        assert [plan.kind for plan in plans(decide_with(scene, policy))] == ["tasks", "finally"]

    def test_that_has_no_room_comes_later(self, make_scene):
        policy = Policy(is_finally_wanted=True, ceilings=[room(4)])
        decision = decide_with(make_scene(4), policy)
        assert [plan.kind for plan in plans(decision)] == ["tasks"]
        assert decision.is_more_to_come
        scene = make_scene(4).plan()
        scene.live = [scene.seen(State.PENDING, 0, 1, 2, 3)]
        decision = decide_with(scene, replace(policy, ceilings=[room(0)]))
        assert decision.actions == ()
        assert decision.is_more_to_come
        assert [plan.kind for plan in plans(decide_with(scene, replace(policy, ceilings=[room(1)])))] == ["finally"]

    def test_when_all_has_ended_it_still_keeps_the_run_open(self, make_scene):
        scene = make_scene(1).plan().task_says("0.1", "0.1.done.0.1")
        decision = decide_with(scene, Policy(is_finally_wanted=True, ceilings=[room(0)]))
        assert not decision.is_finished


class TestFeeder:
    def test_has_its_place_where_something_stays(self, make_scene):
        policy = Policy(ceilings=[room(4)], feeder=FEEDER)
        assert tasks_of(decide_with(make_scene(5), policy)) == [0, 1, 2]
        assert tasks_of(decide_with(make_scene(4), policy)) == [0, 1, 2, 3]

    def test_never_has_the_only_place(self, make_scene):
        assert tasks_of(decide_with(make_scene(5), Policy(ceilings=[room(1)], feeder=FEEDER))) == [0]

    def test_has_its_place_where_finally_has_none(self, make_scene):
        decision = decide_with(make_scene(4), Policy(is_finally_wanted=True, ceilings=[room(4)], feeder=FEEDER))
        assert tasks_of(decision) == [0, 1, 2]

    def test_takes_no_place_that_does_not_help_it(self):
        full = room(0, bears_on=lambda request: request == FEEDER)
        rooms = Rooms([full, room(2)])
        assert not rooms.exchange(SMALL, FEEDER)
        assert rooms.take(SMALL, 5) == 2


@given(
    total=st.integers(1, 30),
    limit=st.integers(1, 9),
    size=st.integers(1, 6),
    is_finally=st.booleans(),
    is_fed=st.booleans(),
    single=st.booleans(),
    ended=st.lists(st.integers(1, 9), min_size=1),
)
def test_never_more_than_there_is_room_for_and_all_in_the_end(*, total, limit, size, is_finally, is_fed, single, ended):
    """Turn by turn: as many as drawn end, then what fits is planned."""
    scene = Scene(total)
    policy = Policy(
        max_array_size=size,
        is_finally_wanted=is_finally,
        finally_when="ended",
        as_single_jobs=single,
        feeder=FEEDER if is_fed else None,
    )
    planned: list[int] = []
    live: list[tuple[int, int, int]] = []  # array, element, task
    for turn in range(4 * total + 8):
        scene.live = [scene.seen(State.PENDING, element, array=array, job=f"{70 + array}") for array, element, _task in live]
        decision = decide_with(scene, replace(policy, ceilings=[room(limit - len(live))]))
        if decision.is_finished:
            break
        new = plans(decision)
        assert sum(len(plan.tasks) for plan in new) <= limit - len(live)
        for plan in new:
            number = len(scene.fold().ledger.arrays) + 1
            scene.plan(number, plan.tasks if plan.kind == "tasks" else (), kind=plan.kind, job=f"{70 + number}")
            live += [(number, element, task) for element, task in enumerate(plan.tasks)]
            planned += plan.tasks
        for array, _element, task in live[: ended[turn % len(ended)]]:
            name = "finally" if task < 0 else task
            scene.task_says(f"{name}.1", f"{name}.1.done.0.1", array=array)
        live = live[ended[turn % len(ended)] :]
    assert [task for task in planned if task >= 0] == list(range(total))
    assert planned.count(-1) == is_finally
    assert not is_finally or planned[-1] == -1
