"""Cancel, resubmit, hold, release and ``finally``, in the orders in which people use them: what `decide` makes of the journal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scene import Scene

from hpcsweep.decide import EndAttempts, PlanArray, Policy, SubmitAgain, decide
from hpcsweep.model import Request
from hpcsweep.states import State

DONE = ("0.1", "0.1.done.0.1", "1.1", "1.1.done.0.1", "2.1", "2.1.done.0.1")
LATER = 1_000_000.0


def decide_for(scene, policy=None):
    return decide(scene.fold(), policy or Policy(settle_s=0.0), lambda _task: Request(cpus=1), LATER)


def plans(decision):
    return [action for action in decision.actions if isinstance(action, PlanArray)]


@pytest.fixture
def scene() -> Scene:
    return Scene()


class TestCancelOfWhatTheSchedulerMayNotHave:
    @pytest.fixture(params=["planned", "refused", "uncertain"])
    def unseen(self, request, scene):
        scene.plan(job=None)
        if request.param == "planned":
            scene.events.pop()
        else:
            scene.write({"event": request.param, "array": 1, "message": "x", "curable": True})
        return scene

    def test_it_is_revoked_and_never_handed_over(self, unseen):
        assert decide_for(unseen).actions == (SubmitAgain(array=1),)
        unseen.write({"event": "cancel", "tasks": "0-2"})
        assert decide_for(unseen).actions == (EndAttempts(attempts=((1, 0, 1), (1, 1, 1), (1, 2, 1)), leaves_started=True),)
        unseen.write({"event": "revoked", "tasks": "0-2", "attempt": 1}).task_says("0.1", "1.1", "2.1")
        decision = decide_for(unseen)
        assert decision.actions == ()
        assert decision.is_finished
        assert {view.state for view in unseen.fold().views} == {State.CANCELLED}

    def test_the_others_of_its_array_go_on(self, unseen):
        unseen.write({"event": "cancel", "tasks": "1"})
        assert decide_for(unseen).actions == (
            EndAttempts(attempts=((1, 1, 1),), leaves_started=True),
            SubmitAgain(array=1),
        )

    def test_it_can_be_told_again(self, unseen):
        unseen.write({"event": "cancel", "tasks": "0-2"}, {"event": "revoked", "tasks": "0-2", "attempt": 1})
        unseen.write({"event": "resubmit", "tasks": "1"})
        (plan,) = plans(decide_for(unseen))
        assert (plan.tasks, plan.attempts) == ((1,), {1: 2})


def test_an_unconfirmed_array_whose_tasks_have_all_begun_is_not_submitted_again(scene):
    scene.plan(job=None).task_says(*DONE)
    decision = decide_for(scene)
    assert decision.actions == ()
    assert decision.is_finished


def test_the_runners_marker_holds_the_run_whatever_the_count(scene):
    # Whatever were submitted now would come back at once, again and again.
    scene.plan(tasks=[0]).task_says("0.1", "0.1.done.1.1").write({"event": "released", "failures": 1})
    scene.is_held_back = True
    decision = decide_for(scene, Policy(max_failures=1))
    assert decision.actions == ()
    assert "release" in decision.waiting[1]


def test_release_of_a_held_run_leaves_canary_and_failures_as_they_are(scene):
    scene.plan(tasks=[0]).task_says("0.1", "0.1.r0.run").write({"event": "held"}, {"event": "released", "canary": False})
    scene.live = [scene.seen(State.RUNNING, 0)]
    assert plans(decide_for(scene, Policy(canary=1))) == []


def test_one_that_left_at_the_moment_of_a_release_runs_again(scene):
    scene.plan().task_says("0.1", "0.1.done.1.1", "1.1", "1.1.done.0.1").gone_for(500)
    scene.history = [scene.seen(State.DONE, 2)]
    scene.write({"event": "released", "failures": 1})
    (plan,) = plans(decide_for(scene, Policy(max_failures=1)))
    assert plan.tasks == (2,)


class TestFinally:
    policy = Policy(is_finally_wanted=True, finally_when="ended")

    def test_needs_no_records_of_tasks_that_left_none(self, scene):
        scene.plan(tasks=[0, 1]).task_says("0.1", "0.1.done.0.1", "1.1", "1.1.r0.run")
        scene.write({"event": "seen", "array": 1, "elements": "1", "state": "oom"}, {"event": "cancel", "tasks": "2"})
        (plan,) = plans(decide_for(scene, self.policy))
        assert (plan.kind, plan.awaits) == ("finally", None)

    def test_waits_for_jobs_alone_where_that_is_enough(self, scene):
        assert [plan.awaits for plan in plans(decide_for(scene, self.policy))] == [None, None]

    @pytest.mark.parametrize("more", [{"finally_when": "done"}, {"max_failures": 5}])
    def test_counts_only_those_that_will_leave_a_record(self, scene, more):
        if "max_failures" in more:
            scene.write({"event": "cancel", "tasks": "2"})
        _tasks, last = plans(decide_for(scene, replace(self.policy, **more)))
        assert last.awaits == (2 if "max_failures" in more else 3)

    def test_is_not_planned_where_it_could_not_run(self, scene):
        scene.plan().task_says("0.1", "0.1.done.1.1", "1.1", "1.1.r0.run")
        scene.live = [scene.seen(State.RUNNING, 1), scene.seen(State.PENDING, 2)]
        assert plans(decide_for(scene, replace(self.policy, finally_when="done"))) == []

    def test_that_waits_makes_way_for_one_that_waits_for_more(self, scene):
        scene.plan().task_says("0.1", "0.1.done.1.1", "1.1", "1.1.r0.run").plan(2, tasks=[], kind="finally", job="71")
        scene.live = [
            scene.seen(State.RUNNING, 1),
            scene.seen(State.PENDING, 2),
            scene.seen(State.PENDING, 0, array=2, job="71"),
        ]
        scene.write({"event": "resubmit", "tasks": "0"})
        decision = decide_for(scene, self.policy)
        assert EndAttempts(attempts=((2, -1, 1),), leaves_started=True) in decision.actions
        assert [(plan.kind, plan.attempts) for plan in plans(decision)] == [("tasks", {0: 2}), ("finally", {-1: 2})]

    def test_that_was_revoked_is_not_taken_for_one_that_ran(self, scene):
        scene.plan().task_says(*DONE).plan(2, tasks=[], kind="finally", job="71").task_says("finally.1", array=2)
        scene.write({"event": "revoked", "tasks": "", "finally": True, "attempt": 1})
        assert [plan.attempts for plan in plans(decide_for(scene, self.policy))] == [{-1: 2}]

    def test_runs_again_after_tasks_that_run_again(self, scene):
        scene.plan().task_says("0.1", "0.1.done.1.1", *DONE[2:]).plan(2, tasks=[], kind="finally", job="71")
        scene.task_says("finally.1", "finally.1.done.0.1", array=2)
        assert decide_for(scene, self.policy).is_finished
        scene.write({"event": "resubmit", "tasks": "0", "finally": True})
        assert [plan.kind for plan in plans(decide_for(scene, self.policy))] == ["tasks", "finally"]
        scene.write({"event": "cancel", "tasks": "0", "finally": True})
        assert decide_for(scene, self.policy).actions == ()

    def test_cancelled_while_it_waited_is_cancelled_not_lost(self, scene):
        scene.plan().task_says(*DONE).plan(2, tasks=[], kind="finally", job="71").gone_for(500, array=2)
        scene.write({"event": "cancel", "tasks": "", "finally": True})
        assert scene.fold().finally_view.state is State.CANCELLED
        assert decide_for(scene, self.policy).is_finished

    def test_waits_for_the_users_word_without_keeping_the_run_open(self, scene):
        scene.plan().task_says(*DONE).write({"event": "held"})
        assert decide_for(scene, self.policy).is_finished
