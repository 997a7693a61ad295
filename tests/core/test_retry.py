"""What is run again without a hand, with what, and when no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.decide import PlanArray, Policy, decide
from hpcsweep.errors import HpcsweepError
from hpcsweep.ledger import Ledger, request_from_json, request_to_json
from hpcsweep.model import Change, Request, Retry, RetryRule
from hpcsweep.retry import Site, Wish, changed_amount, find_retries, next_request
from hpcsweep.states import State
from hpcsweep.sweepfile.retry_kind import parse_change
from hpcsweep.sweepfile.units import parse_memory, parse_time

DOUBLE = Change(how="times", amount=2)
HAD = Request(memory_bytes=100, time_limit_s=60)
RULES = Retry(
    rules={
        "oom": RetryRule(memory=DOUBLE, memory_up_to_bytes=350),
        "timeout": RetryRule(time=DOUBLE, time_up_to_s=600),
        "node_fail": RetryRule(),
        "failed": RetryRule(),
    },
    attempts=4,
)


def plans(decision):
    return [action for action in decision.actions if isinstance(action, PlanArray)]


def decide_for(scene, **policy):
    fold = scene.fold()
    return decide(fold, Policy(retry=RULES, **policy), lambda task: fold.ledger.request_of(task) or HAD, 1_000_000.0)


def ended(scene, state: State, task: int = 0, *, request: Request = HAD, attempt: int = 1, node: str = ""):
    """All tasks are done but one, whose attempt ended so."""
    scene.plan(attempts={str(attempt): f"0-{scene.total - 1}"})
    scene.events[-3]["request"] = request_to_json(request)
    scene.task_says(*(f"{other}.{attempt}.done.0.5" for other in range(scene.total) if other != task))
    scene.task_says(f"{task}.{attempt}", f"{task}.{attempt}.r0.run")
    scene.history = [scene.seen(state, task, node=node)]
    return scene


class TestAlgebra:
    @pytest.mark.parametrize(
        ("text", "change"),
        [("x2", DOUBLE), ("x 1.5", Change(how="times", amount=1.5)), ("*3", Change(how="times", amount=3)),
         ("+4G", Change(how="plus", amount=4 * 2**30)), ("16G", Change(how="set", amount=16 * 2**30))],
    )  # fmt: skip
    def test_changes_of_memory(self, text, change):
        assert parse_change(text, parse_memory) == change

    @pytest.mark.parametrize("text", ["", "x", "x0.5", "x1", "x-2", "2", "-4G", "x9999", "xx2", "2x", "nan", "x²"])
    def test_what_is_no_change(self, text):
        with pytest.raises(HpcsweepError):
            parse_change(text, parse_memory)

    def test_changes_of_time(self):
        assert parse_change("+1h", parse_time) == Change(how="plus", amount=3600)

    @given(st.integers(1, 2**50), st.floats(1.01, 1000), st.integers(1, 2**50))
    def test_more_or_equal_and_below_the_ceiling(self, amount, factor, ceiling):
        new = changed_amount(amount, Change(how="times", amount=factor), ceiling)
        assert amount <= new <= max(amount, ceiling)

    @given(st.integers(1, 2**40), st.floats(1.01, 8), st.integers(1, 2**45))
    def test_the_ceiling_is_reached_and_then_no_more(self, amount, factor, ceiling):
        rule = RetryRule(memory=Change(how="times", amount=factor), memory_up_to_bytes=ceiling)
        request, steps = Request(memory_bytes=amount), 0
        while (new := next_request(request, rule)) is not None:
            assert new.memory_bytes > request.memory_bytes
            request, steps = new, steps + 1
            assert steps < 10_000
        assert request.memory_bytes == max(amount, ceiling)

    def test_what_was_not_asked_for_stays_so(self):
        assert changed_amount(None, DOUBLE) is None
        assert changed_amount(0, DOUBLE) == 0
        assert changed_amount(None, Change(how="set", amount=5)) == 5

    def test_the_partitions_limit_is_a_ceiling_too(self):
        rule = RetryRule(time=DOUBLE, time_up_to_s=1000)
        assert next_request(Request(time_limit_s=60), rule, longest_s=100).time_limit_s == 100
        assert next_request(Request(time_limit_s=100), rule, longest_s=100) is None


class TestAdvance:
    def test_out_of_memory_has_more(self, scene):
        (plan,) = plans(decide_for(ended(scene, State.OOM)))
        assert (plan.tasks, plan.attempts, plan.request.memory_bytes) == ((0,), {0: 2}, 200)

    def test_until_the_ceiling(self, scene):
        decision = decide_for(ended(scene, State.OOM, request=Request(memory_bytes=350), attempt=3))
        assert plans(decision) == []
        assert "no more may be asked for" in decision.ends[0]
        assert decision.is_finished

    def test_until_all_attempts_are_used(self, scene):
        decision = decide_for(ended(scene, State.NODE_FAIL, attempt=4))
        assert plans(decision) == []
        assert "all its 4 attempts" in decision.ends[0]
        assert decision.is_finished

    def test_attempts_that_never_began_do_not_count(self, scene):
        scene = ended(scene, State.NODE_FAIL, attempt=4)
        scene.write({"event": "revoked", "tasks": "0", "attempt": 2})
        assert plans(decide_for(scene))[0].attempts == {0: 5}

    def test_the_node_that_failed_is_left_out(self, scene):
        (plan,) = plans(decide_for(ended(scene, State.NODE_FAIL, node="n7"), site=Site(excludes_nodes=True)))
        assert plan.request.exclude_nodes == ("n7",)

    def test_where_no_node_can_be_left_out_it_just_runs_again(self, scene):
        (plan,) = plans(decide_for(ended(scene, State.NODE_FAIL, node="n7")))
        assert plan.request == HAD

    def test_without_a_rule_nothing_happens(self, scene):
        decision = decide_for(ended(scene, State.PREEMPTED))
        assert plans(decision) == []
        assert decision.is_finished

    def test_what_was_cancelled_is_left_alone(self, scene):
        scene = ended(scene, State.OOM).write({"event": "cancel", "tasks": "0"})
        assert plans(decide_for(scene)) == []

    def test_a_kill_that_may_still_be_one_for_memory_is_waited_for(self, scene):
        scene.plan().task_says("0.1", "0.1.sig.9.5", "1.1.done.0.1", "2.1.done.0.1")
        decision = decide_for(scene)
        assert plans(decision) == []
        assert not decision.is_finished

    def test_a_held_run_retries_nothing(self, scene):
        decision = decide_for(ended(scene, State.OOM).write({"event": "held"}))
        assert plans(decision) == []

    def test_a_canary_that_runs_again_has_not_failed(self, scene):
        scene.plan(tasks=[0]).task_says("0.1", "0.1.r0.run")
        scene.history = [scene.seen(State.NODE_FAIL, 0)]
        decision = decide_for(scene, canary=1)
        assert plans(decision)[0].tasks == (0,)
        assert "waits until" in decision.waiting[1]

    def test_it_is_no_failure_too_many(self, scene):
        scene.plan(tasks=[0]).task_says("0.1", "0.1.r0.run")
        scene.history = [scene.seen(State.NODE_FAIL, 0)]
        assert {task for plan in plans(decide_for(scene, max_failures=1)) for task in plan.tasks} == {0, 1, 2}

    def test_finally_waits_for_it(self, scene):
        found = plans(decide_for(ended(scene, State.OOM), is_finally_wanted=True, finally_when="ended"))
        assert [plan.kind for plan in found] == ["tasks", "finally"]  # which waits for that array

    def test_somebody_has_to_come_back_for_what_is_just_submitted(self, scene):
        decision = decide_for(scene)
        assert plans(decision)
        assert decision.may_retry

    def test_somebody_has_to_come_back(self, scene):
        scene.plan()
        scene.live = [scene.seen(State.RUNNING, 0, 1, 2)]
        assert decide_for(scene).may_retry

    def test_the_reason_says_what_comes_of_it(self, scene):
        assert "with 100B; runs again with 200B (attempt 2 of 4)" in decide_for(ended(scene, State.OOM)).retries[0]

    def test_once_it_is_planned_it_is_not_planned_again(self, scene):
        scene = ended(scene, State.OOM).plan(2, tasks=[0], attempts={"2": "0"}, job="71")
        scene.live = [scene.seen(State.PENDING, 0, array=2, job="71")]
        assert plans(decide_for(scene)) == []

    def test_one_that_was_given_back_still_asks_for_more(self, scene):
        scene = ended(scene, State.OOM).plan(2, tasks=[0], attempts={"2": "0"}, job=None)
        scene.events[-2]["request"] = request_to_json(Request(memory_bytes=200))
        scene.write({"event": "refused", "array": 2, "message": "full"}, {"event": "abandoned", "array": 2})
        (plan,) = plans(decide_for(scene))
        assert (plan.tasks, plan.request.memory_bytes) == ((0,), 200)


class TestByHand:
    def test_a_wish_lies_over_the_last_request(self):
        wish = Wish(memory=DOUBLE, time=Change(how="set", amount=10), fields={"cpus": 8}, exclude_nodes=("n1", "n2"))
        had = Request(memory_bytes=100, time_limit_s=60, exclude_nodes=("n2",))
        new = Request(memory_bytes=200, time_limit_s=10, cpus=8, exclude_nodes=("n2", "n1"))
        assert wish.over(had) == new
        assert request_from_json(request_to_json(new)) == new

    def test_nothing_cannot_be_doubled(self):
        with pytest.raises(HpcsweepError, match="asked for no memory"):
            Wish(memory=DOUBLE).over(Request())

    def test_the_journal_keeps_it_until_it_is_planned(self, scene):
        scene.plan().write({"event": "resubmit", "tasks": "1", "request": {"cpus": 8}})
        ledger = Ledger().replay(scene.events)
        assert (ledger.request_of(1), ledger.request_of(0)) == (Request(cpus=8), Request(cpus=1))
        scene.plan(2, tasks=[1], attempts={"2": "1"})
        assert Ledger().replay(scene.events).request_of(1) == Request(cpus=1)


def test_no_rules_no_words(scene):
    found = find_retries(ended(scene, State.OOM).fold(), None, Site())
    assert (found.requests, found.words, found.ends) == ({}, {}, {})
