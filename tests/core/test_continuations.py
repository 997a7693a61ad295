"""Tasks that saved at their time limit go on in another attempt, by a decision that is journaled once for each attempt."""

from __future__ import annotations

from scene import Scene

from hpcsweep.decide import PlanArray, Policy, continuations, count_failures, decide, policy_of
from hpcsweep.model import Request, Settings
from hpcsweep.states import State

SAVED = ("0.1", "0.1.timeout.85.60", "1.1", "1.1.timeout.0.60", "2.1", "2.1.done.0.5")


def saved_scene() -> Scene:
    return Scene(3).plan().task_says(*SAVED)


def continue_(scene: Scene, tasks: str = "0", attempt: int = 1) -> Scene:
    return scene.write({"event": "continued", "tasks": tasks, "attempt": attempt})


def plans(fold, policy=None):
    return [
        action for action in decide(fold, policy or Policy(), lambda _: Request(), 1e6).actions if isinstance(action, PlanArray)
    ]


def test_only_what_has_saved_goes_on_and_only_where_it_is_asked_for():
    fold = saved_scene().fold()
    assert [view.state for view in fold.views] == [State.TIMEOUT, State.TIMEOUT, State.DONE]
    assert fold.views[0].reason == "saved at its time limit"
    assert continuations(fold, 20) == {1: [0]}
    assert continuations(fold, 0) == {}
    assert plans(fold) == []


def test_it_is_planned_as_the_next_attempt_and_is_no_failure_meanwhile():
    fold = continue_(saved_scene()).fold()
    assert fold.views[0].reason == "saved at its time limit, goes on in the next attempt"
    (plan,) = plans(fold)
    assert (plan.tasks, plan.attempts) == ((0,), {0: 2})
    assert count_failures(saved_scene().fold()) == 2
    assert count_failures(fold) == 1
    assert plans(fold, Policy(max_failures=2)) == [plan]


def test_the_same_decision_twice_is_one():
    scene = continue_(continue_(saved_scene()))
    assert continuations(scene.fold(), 20) == {}
    assert scene.fold().ledger.continued == {0: {1}}
    again = continue_(scene.plan(2, [0], {"2": "0"}, job="71"))  # late, of an attempt that is over
    assert not again.fold().views[0].is_wanted


def test_a_task_goes_on_only_so_often():
    scene = continue_(saved_scene()).plan(2, [0], {"2": "0"}, job="71").task_says("0.2", "0.2.timeout.85.60", array=2)
    assert continuations(scene.fold(), 1) == {}
    assert continuations(scene.fold(), 2) == {2: [0]}


def test_what_was_cancelled_stays_so():
    scene = continue_(saved_scene()).write({"event": "cancel", "tasks": "0"})
    assert continuations(scene.fold(), 20) == {}
    assert plans(scene.fold()) == []
    before = saved_scene().write({"event": "cancel", "tasks": "0"})
    assert continuations(before.fold(), 20) == {}


def test_a_hold_holds_them_too():
    fold = continue_(saved_scene()).write({"event": "held"}).fold()
    decision = decide(fold, Policy(), lambda _: Request(), 1e6)
    assert plans(fold) == []
    assert "held" in decision.waiting[0]


def test_the_last_command_waits_for_what_goes_on():
    policy = policy_of(Settings(name="s", command="c", most_continuations=3))
    assert policy.has_continuations
    ended = Policy(is_finally_wanted=True, finally_when="ended", has_continuations=True)
    (plan, last) = plans(continue_(saved_scene()).fold(), ended)
    assert (plan.tasks, last.kind, last.awaits) == ((0,), "finally", 3)


def test_a_damaged_decision_is_passed_over():
    fold = saved_scene().write({"event": "continued", "tasks": "0-99", "attempt": 1}).fold()
    assert fold.ledger.damaged_events == 1
    assert not fold.views[0].is_wanted
