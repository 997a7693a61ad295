"""What `advance` does next, and what it never does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import Scene

from hpcsweep.decide import (
    EndAttempts,
    PlanArray,
    Policy,
    SubmitAgain,
    at_once_of,
    decide,
    jobs_to_wait_for,
)
from hpcsweep.ledger import Ledger
from hpcsweep.model import Request
from hpcsweep.states import State

SMALL, LARGE = Request(cpus=1), Request(cpus=8)


def plans(decision):
    return [action for action in decision.actions if isinstance(action, PlanArray)]


def decide_for(scene, policy=None, request_of=None):
    return decide(scene.fold(), policy or Policy(), request_of or (lambda _task: SMALL), 1_000_000.0)


def test_new_tasks_become_one_array(scene):
    (plan,) = plans(decide_for(scene))
    assert (plan.tasks, plan.attempts, plan.request) == ((0, 1, 2), {}, SMALL)


def test_tasks_are_grouped_by_request_and_cut_to_the_sites_size(make_scene):
    decision = decide_for(make_scene(7), Policy(max_array_size=2), lambda task: LARGE if task % 2 else SMALL)
    assert [(plan.tasks, plan.request) for plan in plans(decision)] == [
        ((0, 2), SMALL),
        ((4, 6), SMALL),
        ((1, 3), LARGE),
        ((5,), LARGE),
    ]


def test_single_jobs_where_arrays_are_forbidden(scene):
    assert [plan.tasks for plan in plans(decide_for(scene, Policy(as_single_jobs=True)))] == [(0,), (1,), (2,)]


def test_nothing_is_done_twice(scene):
    scene.plan()
    scene.live = [scene.seen(State.PENDING, 0, 1, 2)]
    decision = decide_for(scene)
    assert decision.actions == ()
    assert not decision.is_finished


def test_failures_are_not_run_again_by_themselves(scene):
    scene.plan().task_says("0.1", "0.1.done.1.1", "1.1", "1.1.done.0.1", "2.1", "2.1.done.0.1")
    decision = decide_for(scene)
    assert decision.actions == ()
    assert decision.is_finished


def test_resubmit_ends_the_old_attempt_before_the_new_one(scene):
    scene.plan().task_says("0.1", "0.1.done.1.1", "1.1", "1.1.done.0.1", "2.1", "2.1.done.0.1")
    scene.write({"event": "resubmit", "tasks": "0"})
    end, plan = decide_for(scene).actions
    assert end == EndAttempts(attempts=((1, 0, 1),))
    assert (plan.tasks, plan.attempts) == ((0,), {0: 2})


def test_resubmit_waits_for_an_attempt_that_may_still_live(scene):
    scene.plan().task_says("0.1", "0.1.r0.run").write({"event": "resubmit", "tasks": "0"})
    scene.live = [scene.seen(State.RUNNING, 0, 1, 2)]
    decision = decide_for(scene)
    assert plans(decision) == []
    assert 0 in decision.waiting


def test_canary_goes_first_and_alone(make_scene):
    scene = make_scene(5)
    policy = Policy(canary=2)
    decision = decide_for(scene, policy)
    assert [plan.tasks for plan in plans(decision)] == [(0, 1)]
    assert sorted(decision.waiting) == [2, 3, 4]
    scene.plan(tasks=[0, 1]).task_says("0.1", "0.1.done.0.1", "1.1", "1.1.done.0.1")
    assert [plan.tasks for plan in plans(decide_for(scene, policy))] == [(2, 3, 4)]


def test_a_failed_canary_holds_the_rest_until_release(make_scene):
    scene = make_scene(3)
    scene.plan(tasks=[0]).task_says("0.1", "0.1.done.1.1")
    decision = decide_for(scene, Policy(canary=1))
    assert decision.actions == ()
    assert "task 0 (job 70_0) failed" in decision.waiting[1]
    assert decision.is_finished  # nothing moves until somebody says so
    scene.write({"event": "released", "failures": 1})
    assert [plan.tasks for plan in plans(decide_for(scene, Policy(canary=1)))] == [(1, 2)]


def test_too_many_failures_hold_what_is_not_submitted(make_scene):
    scene = make_scene(4)
    scene.plan(tasks=[0, 1]).task_says("0.1", "0.1.done.1.1", "1.1", "1.1.done.1.1")
    decision = decide_for(scene, Policy(max_failures=2))
    assert decision.actions == ()
    assert sorted(decision.waiting) == [2, 3]
    scene.write({"event": "released", "failures": 2})
    assert [plan.tasks for plan in plans(decide_for(scene, Policy(max_failures=2)))] == [(2, 3)]


def test_a_held_run_submits_nothing(scene):
    scene.write({"event": "held"})
    decision = decide_for(scene)
    assert decision.actions == ()
    assert "release" in decision.waiting[0]


def test_refused_is_tried_again_under_its_own_number_when_waiting_cures_it_or_by_hand(scene):
    scene.plan(job=None).write({"event": "refused", "array": 1, "message": "no such partition"})
    assert decide_for(scene).actions == ()
    assert decide_for(scene).is_finished
    assert decide_for(scene, Policy(repeats_refused=True)).actions == (SubmitAgain(array=1),)
    scene.write({"event": "refused", "array": 1, "message": "too many jobs", "curable": True})
    assert decide_for(scene).actions == (SubmitAgain(array=1),)
    assert not decide_for(scene).is_finished


def test_what_the_runners_sent_back_runs_as_a_new_attempt_after_release(make_scene):
    scene = make_scene(3)
    scene.plan().task_says("0.1", "0.1.done.1.1")
    scene.is_held_back = True
    policy = Policy(max_failures=1)
    fold = scene.fold()
    assert [view.state for view in fold.views] == [State.FAILED, State.NEW, State.NEW]
    decision = decide_for(scene, policy)
    assert decision.actions == ()
    assert "release" in decision.waiting[1]
    assert decision.is_finished
    scene.write({"event": "returned", "array": 1, "elements": "1-2"}, {"event": "released", "failures": 1})
    scene.is_held_back = False
    end, plan = decide_for(scene, policy).actions
    assert end == EndAttempts(attempts=((1, 1, 1), (1, 2, 1)))
    assert (plan.tasks, plan.attempts) == ((1, 2), {1: 2, 2: 2})


def test_uncertain_is_repeated_only_with_patience(scene):
    scene.plan(job=None).write({"event": "uncertain", "array": 1, "message": "timed out"})
    assert decide_for(scene, Policy(settle_s=601)).actions == ()
    assert decide_for(scene, Policy(settle_s=599)).actions == (SubmitAgain(array=1),)


class TestFinally:
    policy = Policy(is_finally_wanted=True)

    def test_is_planned_when_all_is_submitted(self, scene):
        scene.plan()
        scene.live = [scene.seen(State.PENDING, 0, 1, 2)]
        assert [plan.kind for plan in plans(decide_for(scene, self.policy))] == ["finally"]

    def test_is_planned_with_the_last_of_the_tasks(self, make_scene):
        # Nobody may come back to do it later: `submit` is all that some users do.
        assert [plan.kind for plan in plans(decide_for(make_scene(5), self.policy))] == ["tasks", "finally"]

    def test_is_not_planned_with_tasks_to_come(self, make_scene):
        scene = make_scene(5)
        assert [plan.kind for plan in plans(decide_for(scene, replace(self.policy, canary=1)))] == ["tasks"]

    def test_is_planned_once(self, scene):
        scene.plan().plan(2, tasks=[], kind="finally", job="71")
        scene.task_says("0.1", "0.1.done.0.1", "1.1", "1.1.done.0.1", "2.1", "2.1.done.0.1")
        scene.live = [scene.seen(State.PENDING, 0, array=2, job="71")]
        decision = decide_for(scene, self.policy)
        assert decision.actions == ()
        assert not decision.is_finished
        scene.live = []
        scene.task_says("finally.1", "finally.1.done.0.3", array=2)
        assert decide_for(scene, self.policy).is_finished

    def test_when_done_does_not_run_after_a_failure(self, scene):
        scene.plan().task_says("0.1", "0.1.done.1.1", "1.1", "1.1.done.0.1", "2.1", "2.1.done.0.1")
        decision = decide_for(scene, self.policy)
        assert decision.actions == ()
        assert decision.is_finished
        assert plans(decide_for(scene, replace(self.policy, finally_when="ended")))

    def test_an_element_that_left_without_a_claim_is_planned_again_when_it_can_run(self, scene):
        scene.plan().plan(2, tasks=[], kind="finally", job="71")
        scene.task_says("0.1", "0.1.done.0.1", "1.1", "1.1.done.0.1", "2.1", "2.1.done.0.1")
        scene.gone_for(500, array=2)
        end, plan = decide_for(scene, self.policy).actions
        assert end == EndAttempts(attempts=((2, -1, 1),))
        assert (plan.kind, plan.attempts) == ("finally", {-1: 2})

    def left_without_running(self, scene, *records):
        scene.plan().plan(2, tasks=[], kind="finally", job="71").task_says(*records)
        scene.history = [scene.seen(State.DONE, 0, array=2, job="71")]
        return scene

    def test_one_that_left_without_running_is_no_reason_to_wait(self, scene):
        self.left_without_running(scene, "0.1", "0.1.done.1.1", "1.1", "1.1.done.0.1", "2.1", "2.1.done.0.1")
        decision = decide_for(scene, self.policy)
        assert decision.actions == ()
        assert decision.is_finished

    def test_one_that_left_without_running_waits_for_what_runs_again(self, scene):
        self.left_without_running(scene, "0.1", "0.1.done.1.1", "1.1", "1.1.done.0.1", "2.1", "2.1.done.0.1")
        scene.write({"event": "resubmit", "tasks": "0"})
        decision = decide_for(scene, self.policy)
        assert [(plan.kind, plan.attempts) for plan in plans(decision)] == [("tasks", {0: 2}), ("finally", {-1: 2})]
        assert EndAttempts(attempts=((2, -1, 1),)) in decision.actions

    def test_one_that_left_without_running_does_not_come_and_go(self, scene):
        self.left_without_running(scene, "0.1", "0.1.done.0.1", "1.1", "1.1.done.0.1", "2.1", "2.1.r0.run")
        decision = decide_for(scene, replace(self.policy, finally_when="ended"))
        assert decision.actions == ()
        assert not decision.is_finished

    @pytest.mark.parametrize("when", ["done", "ended"])
    def test_what_waits_for_the_user_does_not_keep_a_run_open(self, make_scene, when):
        scene = make_scene(3).plan(tasks=[0]).task_says("0.1", "0.1.done.1.1")
        decision = decide_for(scene, replace(self.policy, finally_when=when, canary=1))
        assert decision.actions == ()
        assert decision.is_finished


def test_at_once_holds_over_all_arrays(scene):
    scene.plan(1, tasks=[0, 1], job="70").plan(2, tasks=[2], job="71")
    ledger = Ledger().replay(scene.events)
    arrays = list(ledger.arrays.values())
    assert jobs_to_wait_for(arrays[1], arrays[:1], ledger, Policy(at_once=2)) == ("70",)
    assert jobs_to_wait_for(arrays[1], arrays[:1], ledger, Policy()) == ()


def test_single_jobs_wait_for_the_one_k_before(make_scene):
    scene = make_scene(4)
    for number in range(1, 5):
        scene.plan(number, tasks=[number - 1], job=str(70 + number))
    ledger = Ledger().replay(scene.events)
    arrays = list(ledger.arrays.values())
    policy = Policy(at_once=2, as_single_jobs=True)
    assert [jobs_to_wait_for(arrays[n], arrays[:n], ledger, policy) for n in range(4)] == [(), (), ("71",), ("72",)]


@pytest.mark.parametrize(("throttled", "settings", "expected"), [(None, 5, 5), (2, 5, 2), (0, 5, None), (None, None, None)])
def test_a_throttle_overrides_the_sweep_file(throttled, settings, expected):
    ledger = Ledger()
    if throttled is not None:
        ledger.replay([{"event": "throttled", "at_once": throttled, "at": 0}])
    assert at_once_of(ledger, Policy(at_once=settings)) == expected


OUTCOMES = st.sampled_from(["", "claim", "run", "done.0.1", "done.1.1", "sig.9.1", "timeout.0.1", "cancelled.0.1"])


@given(
    outcomes=st.lists(OUTCOMES, min_size=1, max_size=6),
    resubmitted=st.booleans(),
    canary=st.integers(0, 3),
    max_failures=st.none() | st.integers(1, 3),
    size=st.integers(1, 4),
)
def test_done_live_and_planned_tasks_are_never_planned(outcomes, resubmitted, canary, max_failures, size):
    scene = Scene(len(outcomes)).plan()
    for task, outcome in enumerate(outcomes):
        if outcome == "run":
            scene.task_says(f"{task}.1", f"{task}.1.r0.run")
        elif outcome:
            scene.task_says(f"{task}.1", *([f"{task}.1.{outcome}"] if outcome != "claim" else []))
    scene.live = [
        scene.seen(State.PENDING, *[task for task, outcome in enumerate(outcomes) if outcome in ("", "claim", "run")])
    ]
    if resubmitted:
        scene.write({"event": "resubmit", "tasks": f"0-{len(outcomes) - 1}"})
    decision = decide_for(scene, Policy(canary=canary, max_failures=max_failures, max_array_size=size))
    planned = [task for plan in plans(decision) for task in plan.tasks]
    assert len(planned) == len(set(planned))
    for task in planned:
        assert resubmitted
        assert outcomes[task] not in ("", "claim", "run", "done.0.1")
