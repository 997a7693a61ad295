"""What is believed of a task, and what never follows from silence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import NOW

from hpcsweep.decide import PlanArray, Policy, decide
from hpcsweep.events import fold_events
from hpcsweep.fold import Evidence, Fold
from hpcsweep.jobids import array_id, element_id, is_same_job
from hpcsweep.ledger import Ledger
from hpcsweep.model import Request
from hpcsweep.schedulers.base import Seen, up_to_the_end
from hpcsweep.states import FACTS, State


def states(fold):
    return [view.state for view in fold.views]


def test_a_task_that_was_never_planned_is_new(scene):
    assert states(scene.fold()) == [State.NEW] * 3


@pytest.mark.parametrize(
    ("outcome", "state", "exit_code", "signal"),
    [
        ("done.0.12", State.DONE, 0, None),
        ("done.3.12", State.FAILED, 3, None),
        ("sig.11.12", State.FAILED, None, 11),
        ("timeout.0.60", State.TIMEOUT, None, None),
        ("cancelled.0.1", State.CANCELLED, None, None),
        ("stopped.0.9", State.STOPPED, 0, None),
        ("setup.4.0", State.FAILED, 4, None),
        ("broken.1.0", State.FAILED, None, None),
    ],
)
def test_the_tasks_own_record_outranks_the_scheduler(scene, outcome, state, exit_code, signal):
    scene.plan().task_says("0.1", f"0.1.{outcome}")
    scene.live = [scene.seen(State.RUNNING, 0, 1, 2)]
    scene.history = [scene.seen(State.CANCELLED, 0)]
    view = scene.fold().views[0]
    assert (view.state, view.exit_code, view.signal, view.source) == (state, exit_code, signal, "task")


def test_an_outcome_of_a_newer_version_is_unknown_with_its_word(scene):
    scene.plan().task_says("0.1", "0.1.teleported.0.3")
    view = scene.fold().views[0]
    assert view.state is State.UNKNOWN
    assert "teleported" in view.reason


def test_pending_and_running_are_the_schedulers_words(scene):
    scene.plan().task_says("1.1", "1.1.r0.run")
    scene.live = [scene.seen(State.PENDING, 0, reason="Priority"), scene.seen(State.RUNNING, 1, 2, node="n1")]
    fold = scene.fold()
    assert states(fold) == [State.PENDING, State.RUNNING, State.RUNNING]
    assert fold.views[0].reason == "Priority"
    assert fold.views[1].node == "n1"
    assert fold.views[1].job == "70_1"


def test_what_the_scheduler_has_not_made_yet_is_pending_to_the_end_of_the_array(scene):
    scene.plan()
    scene.live = [
        scene.seen(State.RUNNING, 0),
        replace(scene.seen(State.PENDING), elements=up_to_the_end(1), is_to_come=True, reason="little by little"),
    ]
    assert states(scene.fold()) == [State.RUNNING, State.PENDING, State.PENDING]
    scene.write({"event": "cancel", "tasks": "2"})
    assert states(scene.fold()) == [State.RUNNING, State.PENDING, State.CANCELLED], "it cannot be told, and finds the marker"


def test_ids_of_pbs_mean_their_elements(scene):
    scene.plan(job="39[].pbs").task_says("1.1", "1.1.r0.run")
    scene.live = [scene.seen(State.RUNNING, 0, 1, job="39[].pbs"), scene.seen(State.PENDING, 2, job="40[].pbs")]
    views = scene.fold().views
    assert [view.job for view in views] == ["39[0].pbs", "39[1].pbs", "39[2].pbs"]
    assert [view.state for view in views] == [State.RUNNING, State.RUNNING, State.PENDING]


@pytest.mark.parametrize(
    ("job", "element", "identifier"), [("4711", 3, "4711_3"), ("39[].pbs", 3, "39[3].pbs"), ("17-99-ab", 0, "17-99-ab_0")]
)
def test_an_elements_id_and_its_arrays(job, element, identifier):
    assert element_id(job, element) == identifier
    assert array_id(identifier) == job


def test_pbs_takes_its_ids_with_and_without_the_servers_name():
    assert is_same_job("39[]", "39[].pbs")
    assert not is_same_job("39[].pbs", "39[].other")
    assert not is_same_job("39", "39[].pbs")
    assert not is_same_job("3", "39")


def test_a_job_is_ours_by_its_name_alone(scene):
    # An array that was submitted again, and accepted both times, is there under two ids: each may be the one that runs.
    scene.plan().gone_for(500)
    scene.live = [
        scene.seen(State.RUNNING, 0, job="71"),
        Seen(tag="other", job="70", elements=(1,), state=State.RUNNING, raw="R"),
    ]
    assert states(scene.fold()) == [State.RUNNING, State.LOST, State.LOST]


@pytest.mark.parametrize("names", [[], ["0.1", "0.1.r0.run"]])
def test_silence_says_nothing(scene, names):
    scene.plan().task_says(*names).gone_for(5000)
    scene.live = None
    view = scene.fold().views[0]
    assert view.state is (State.RUNNING if names else State.UNKNOWN)
    assert "it timed out" in view.reason


def test_absence_is_lost_only_after_the_grace(scene):
    scene.plan().task_says("0.1", "0.1.r0.run")
    assert states(scene.fold()) == [State.UNKNOWN] * 3
    assert not any(view.is_final for view in scene.fold().views)
    scene.gone_for(89)
    assert states(scene.fold()) == [State.UNKNOWN] * 3
    scene.gone_for(91)
    assert states(scene.fold()) == [State.LOST] * 3


@pytest.mark.parametrize("state", [State.TIMEOUT, State.OOM, State.NODE_FAIL, State.PREEMPTED])
def test_the_history_names_the_cause_of_an_end_without_a_record(scene, state):
    scene.plan().task_says("0.1", "0.1.r0.run")
    scene.history = [scene.seen(state, 0, node="n2")]
    view = scene.fold().views[0]
    assert (view.state, view.source, view.is_final) == (state, "history", True)


def test_completed_without_a_record_is_never_done(scene):
    scene.plan().task_says("0.1", "0.1.r0.run").gone_for(100)
    scene.history = [scene.seen(State.DONE, 0)]
    view = scene.fold().views[0]
    assert view.state is State.LOST
    assert "without a record" in view.reason


def test_completed_in_a_history_waits_for_a_record_that_lags(scene):
    scene.plan().task_says("0.1", "0.1.r0.run").gone_for(3)
    scene.history = [scene.seen(State.DONE, 0)]
    assert scene.fold().views[0].state is State.UNKNOWN


def test_a_sigkill_takes_its_elements_out_of_memory(scene):
    scene.plan().task_says("0.1", "0.1.sig.9.4")
    assert (scene.fold().views[0].state, scene.fold().views[0].is_final) == (State.FAILED, False)
    scene.history = [scene.seen(State.OOM, 0)]
    assert (scene.fold().views[0].state, scene.fold().views[0].is_final) == (State.OOM, True)
    scene.history = [scene.seen(State.FAILED, 0)]
    assert (scene.fold().views[0].state, scene.fold().views[0].is_final) == (State.FAILED, True)


def test_an_elements_out_of_memory_is_not_folded_onto_another_record(scene):
    scene.plan().task_says("0.1", "0.1.done.1.4", "1.1", "1.1.done.0.4")
    scene.history = [scene.seen(State.OOM, 0, 1)]
    assert states(scene.fold())[:2] == [State.FAILED, State.DONE]


def test_cancelled_before_it_started(scene):
    scene.plan().write({"event": "cancel", "tasks": "0"})
    view = scene.fold().views[0]
    assert (view.state, view.is_final) == (State.CANCELLED, True)


def test_cancelled_before_it_was_submitted(scene):
    scene.write({"event": "cancel", "tasks": "0"})
    assert states(scene.fold()) == [State.CANCELLED, State.NEW, State.NEW]


def test_an_uncertain_array_is_submitting_until_the_scheduler_shows_it(scene):
    scene.plan(job=None).write({"event": "uncertain", "array": 1, "message": "sbatch timed out"})
    assert states(scene.fold()) == [State.SUBMITTING] * 3
    scene.live = [scene.seen(State.RUNNING, 0), scene.seen(State.PENDING, 1)]
    assert states(scene.fold()) == [State.RUNNING, State.PENDING, State.SUBMITTING]


def test_a_refused_array_leaves_its_tasks_new_with_the_reason(scene):
    scene.plan(job=None).write({"event": "refused", "array": 1, "message": "Invalid partition"})
    view = scene.fold().views[0]
    assert view.state is State.NEW
    assert "Invalid partition" in view.reason


def test_what_the_journal_saw_stands_when_the_scheduler_forgets(scene):
    scene.plan().task_says("0.1", "0.1.r0.run")
    scene.write({"event": "seen", "array": 1, "elements": "0", "state": "timeout", "source": "history"})
    assert scene.fold().views[0].state is State.TIMEOUT


def test_a_record_outranks_even_the_journals_word(scene):
    scene.plan().task_says("0.1", "0.1.done.0.9")
    scene.write({"event": "seen", "array": 1, "elements": "0", "state": "lost", "source": "scheduler"})
    assert scene.fold().views[0].state is State.DONE


def test_a_second_attempt_counts_alone(scene):
    scene.plan().task_says("0.1", "0.1.done.1.9", "1.1", "1.1.done.0.9")
    scene.plan(2, tasks=[0], attempts={"2": "0"}, job="71").task_says("0.2", "0.2.done.0.7", array=2)
    fold = scene.fold()
    assert (fold.views[0].state, fold.views[0].attempt, fold.views[0].job) == (State.DONE, 2, "71_0")
    assert fold.views[1].attempt == 1


def test_blocked_and_held_say_their_cures(scene):
    scene.plan()
    scene.live = [
        scene.seen(State.PENDING, 0, reason="DependencyNeverSatisfied", is_blocked=True),
        scene.seen(State.PENDING, 1, reason="JobHeldUser", is_held=True),
    ]
    fold = scene.fold()
    assert "cancel it" in fold.views[0].reason
    assert "hpcsweep release" in fold.views[1].reason


names = st.lists(
    st.sampled_from(
        ["0.1", "0.1.r0.run", "0.1.r1.run", "0.1.done.0.3", "0.1.done.2.3", "0.1.r0.lost", "0.1.late.r0", "junk", "0.1.sig.9.3"]
    ),
    unique=True,
)
words = st.none() | st.lists(
    st.builds(
        Seen,
        tag=st.sampled_from(["tag-001", "other"]),
        job=st.sampled_from(["70", "71"]),
        elements=st.just((0,)),
        state=st.sampled_from(list(State)),
        raw=st.just("X"),
        is_refusal=st.booleans(),
    ),
    max_size=2,
)


@given(names=names, live=words, history=words, gone_s=st.none() | st.floats(0, 1000))
def test_no_evidence_whatever_makes_an_unrecorded_task_done(names, live, history, gone_s):
    events = [
        {"event": "created", "at": 0, "tasks": 1},
        {"event": "planned", "array": 1, "tag": "tag-001", "tasks": "0", "at": 0},
        {"event": "submitted", "array": 1, "job": "70", "at": 0},
    ]
    evidence = Evidence(
        now=5000.0,
        events={1: fold_events(names)},
        live=live,
        history=history,
        gone_since={1: {0: 5000.0 - gone_s}} if gone_s is not None else {},
    )
    view = Fold(Ledger().replay(events), evidence, 1).views[0]
    if FACTS[view.state].is_success:
        assert view.source == "task"
        assert "0.1.done.0.3" in names


@given(st.lists(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8) | st.none(), max_size=5), max_size=10))
def test_no_journal_whatever_breaks_the_replay(events):
    known = ["created", "planned", "submitting", "submitted", "seen", "cancel", "resubmit", "revoked", "settled", "throttled"]
    damaged = [{**event, "event": known[number % len(known)]} for number, event in enumerate(events)]
    ledger = Ledger().replay(damaged)
    assert Fold(ledger, Evidence(now=0.0, events={}), ledger.total if ledger.total < 100 else 0).views is not None


class TestRecordsThatCannotBeRead:
    """No listing is not an empty listing: what is not known is `unknown`, and nothing is run again because of it."""

    def unread(self, scene, *, is_gone: bool):
        fold = scene.fold()
        events = {number: table for number, table in fold.evidence.events.items() if number != 1}
        gone = frozenset({1}) if is_gone else frozenset()
        evidence = replace(fold.evidence, events=events, unread={1: "cannot list it: no permission"}, events_gone=gone)
        return Fold(fold.ledger, evidence, scene.total)

    @pytest.mark.parametrize("is_gone", [True, False])
    @pytest.mark.parametrize("end", [None, State.DONE, State.FAILED, State.CANCELLED, State.TIMEOUT])
    def test_nobody_knows(self, scene, is_gone, end):
        scene.plan().gone_for(10_000)
        scene.history = None if end is None else [scene.seen(end, 0, 1, 2)]
        fold = self.unread(scene, is_gone=is_gone)
        assert states(fold) == [State.UNKNOWN] * 3
        assert "no permission" in fold.views[0].reason
        decision = decide(fold, Policy(settle_s=0.0), lambda _task: Request(), NOW)
        assert decision.actions == ()
        assert decision.is_finished == is_gone

    def test_the_queue_and_the_journal_are_still_believed(self, scene):
        scene.plan().write({"event": "seen", "array": 1, "elements": "0", "state": "timeout", "source": "history"})
        scene.live = [scene.seen(State.PENDING, 1), scene.seen(State.RUNNING, 2)]
        assert states(self.unread(scene, is_gone=True)) == [State.TIMEOUT, State.PENDING, State.RUNNING]

    @pytest.mark.parametrize("submission", ["refused", "uncertain"])
    def test_nothing_is_submitted_from_a_folder_that_is_gone(self, scene, submission):
        scene.plan(job=None).write({"event": submission, "array": 1, "message": "no", "curable": True})
        fold = self.unread(scene, is_gone=True)
        assert decide(fold, Policy(settle_s=0.0), lambda _task: Request(), NOW).actions == ()

    def test_who_asks_for_another_attempt_gives_up_the_one_whose_record_is_gone(self, scene):
        scene.plan().gone_for(10_000).write({"event": "resubmit", "tasks": "1"})
        fold = self.unread(scene, is_gone=True)
        assert states(fold) == [State.UNKNOWN, State.LOST, State.UNKNOWN]
        plans = decide(fold, Policy(), lambda _task: Request(), NOW).actions
        assert [(plan.tasks, dict(plan.attempts)) for plan in plans if isinstance(plan, PlanArray)] == [((1,), {1: 2})]

    @pytest.mark.parametrize("seconds", [0, 10_000])
    def test_while_it_may_still_run_it_is_not_given_up(self, scene, seconds):
        scene.plan().gone_for(seconds).write({"event": "resubmit", "tasks": "1"})
        fold = self.unread(scene, is_gone=seconds == 0)
        assert decide(fold, Policy(), lambda _task: Request(), NOW).actions == ()

    def test_an_end_that_was_there_when_the_array_settled_is_missed(self, scene):
        scene.plan().task_says("0.1", "0.1.done.0.1", "2.1").gone_for(10_000).write({"event": "settled", "array": 1})
        fold = scene.fold()
        assert states(fold) == [State.DONE, State.UNKNOWN, State.UNKNOWN]
        assert decide(fold, Policy(), lambda _task: Request(), NOW).actions == ()
