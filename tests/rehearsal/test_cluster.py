"""The pure cluster: what starts when, what is told to end, what is remembered."""

from __future__ import annotations

import json
import math
from signal import SIGKILL, SIGTERM

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.rehearsal import indices
from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.faults import parse_fault
from hpcsweep.rehearsal.jobs import Dependency, Node, Queue, Request, Rules, Signal, Start

NODE = Node(name="node", cpus=4, gpus=2)


def make_cluster(**rules) -> Cluster:
    return Cluster(Rules(**{"nodes": (NODE,), **rules}))


def request(**fields) -> Request:
    return Request(**{"name": "job", "user": "user", "queue": "q", **fields})


def array(size: int, **fields) -> Request:
    return request(indices=(range(size),), **fields)


def started(cluster: Cluster, now: float) -> list[tuple[int, int]]:
    return [(action.job.number, action.element.index) for action in cluster.advance(now) if isinstance(action, Start)]


def signals(cluster: Cluster, now: float) -> list[tuple[int, int, str]]:
    found = [action for action in cluster.advance(now) if isinstance(action, Signal)]
    return [(action.element.index, int(action.number), action.why) for action in found]


# ---- indices ----

RANGES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 20), st.integers(1, 4)).map(lambda t: range(t[0], t[0] + t[1], t[2])),
    max_size=4,
)


@given(RANGES, RANGES)
def test_subtract_and_intersect_are_those_of_sets(own, other):
    numbers, taken = set(indices.each(own)), set(indices.each(other))
    assert set(indices.each(indices.subtract(own, other))) == numbers - taken
    assert set(indices.each(indices.intersect(own, other))) == numbers & taken


@given(RANGES)
def test_indices_survive_json(own):
    assert indices.from_plain(json.loads(json.dumps(indices.to_plain(own)))) == own


def test_indices_are_written_and_read():
    assert indices.text_of([range(10), range(12, 13), range(20, 26, 2)]) == "0-9,12,20,22,24"
    assert indices.parse("0-9:3,12") == [range(0, 10, 3), range(12, 13)]
    for wrong in ("", "a", "3-", "-3", "5-2", "1:", "1,,2"):
        with pytest.raises(ValueError, match=wrong or None):
            indices.parse(wrong)


# ---- starts ----


def test_an_array_fills_the_node_and_goes_on_as_elements_end():
    cluster = make_cluster()
    job = cluster.submit(array(10), 0)
    assert started(cluster, 0) == [(1, index) for index in range(4)]
    cluster.ended(1, 2, 5)
    assert started(cluster, 5) == [(1, 4)]
    assert cluster.waiting_of(job) == [range(5, 10)]


def test_a_hundred_thousand_that_wait_take_the_room_of_one():
    cluster = make_cluster()
    job = cluster.submit(array(100_000, holds="u"), 0)
    assert not cluster.advance(0)
    assert not job.elements
    assert sum(1 for _ in cluster.walk(job)) == 100_000
    assert len(json.dumps(cluster.snapshot())) < 3000


def test_the_throttle_and_holds():
    cluster = make_cluster()
    job = cluster.submit(array(4, throttle=2), 0)
    assert len(started(cluster, 0)) == 2
    assert cluster.obstacle(job, 0) == "throttle"
    cluster.hold(job, None, "u", 0)
    cluster.ended(1, 0, 1)
    assert started(cluster, 1) == []
    cluster.release(job, None, "u", 2)
    cluster.alter(job, 2, throttle=None)
    assert started(cluster, 2) == [(1, 2), (1, 3)]


def test_a_throttle_of_zero_never_runs():
    cluster = make_cluster()
    cluster.submit(array(4, throttle=0), 0)
    assert started(cluster, 1e6) == []


def test_single_elements_are_held():
    cluster = make_cluster()
    job = cluster.submit(array(6, holds="u"), 0)
    cluster.hold(job, [range(1, 3)], "u", 0)
    cluster.release(job, None, "", 0)
    job.holds = ""
    assert [index for _, index in started(cluster, 0)] == [0, 3, 4, 5]
    cluster.release(job, [range(2, 3)], "u", 1)
    cluster.ended(1, 0, 1)
    assert started(cluster, 1) == [(1, 2)]


def test_smaller_jobs_pass_one_that_does_not_fit():
    cluster = make_cluster()
    cluster.submit(request(cpus=3), 0)
    large = cluster.submit(request(cpus=2), 0)
    cluster.submit(request(cpus=1), 0)
    assert started(cluster, 0) == [(1, 0), (3, 0)]
    assert cluster.obstacle(large, 0) == ""


def test_gpus_are_given_out_by_number():
    cluster = make_cluster()
    first = cluster.submit(array(3, gpus=1), 0)
    assert len(started(cluster, 0)) == 2
    assert [first.elements[index].placed for index in (0, 1)] == [[("node", 1, [0])], [("node", 1, [1])]]
    cluster.ended(1, 0, 1)
    cluster.advance(1)
    assert first.elements[2].placed == [("node", 1, [0])]


def test_chunks_are_scattered_where_that_is_asked_for():
    cluster = make_cluster(nodes=(Node(name="a", cpus=4), Node(name="b", cpus=4)))
    job = cluster.submit(request(chunks=2, cpus=2, scatter=True), 0)
    cluster.advance(0)
    assert job.elements[0].placed == [("a", 2, []), ("b", 2, [])]
    assert cluster.shortage(request(chunks=3, scatter=True)).resource == "nodes"
    assert cluster.shortage(request(cpus=5)).requested == 5


def test_queues_that_are_stopped_and_times_to_come():
    cluster = make_cluster(queues=(Queue(name="q", is_started=False), Queue(name="other")))
    stopped = cluster.submit(request(), 0)
    later = cluster.submit(request(queue="other", begin_s=50), 0)
    assert started(cluster, 0) == []
    assert (cluster.obstacle(stopped, 0), cluster.obstacle(later, 0)) == ("queue", "begin")
    assert cluster.wakes_at(0) == 50
    assert started(cluster, 50) == [(2, 0)]


def test_slurm_gives_each_element_a_number_of_its_own():
    cluster = make_cluster(numbers_elements=True)
    job = cluster.submit(array(3), 0)
    cluster.advance(0)
    assert [job.elements[index].raw for index in range(3)] == [2, 3, 1]
    assert cluster.submit(request(), 0).number == 4


# ---- ends ----


def test_how_elements_ended_is_counted():
    cluster = make_cluster()
    job = cluster.submit(array(3), 0)
    cluster.advance(0)
    cluster.ended(1, 0, 1)
    cluster.ended(1, 1, 2, code=3)
    cluster.ended(1, 2, 3, signal_number=9)
    assert job.ends == {"ok": 1, "failed": 2}
    assert (job.ended_s, job.is_ok) == (3, False)
    cluster.ended(1, 2, 4, code=1)  # told twice
    assert job.ends == {"ok": 1, "failed": 2}


def test_the_time_limit_is_looked_at_in_grains_and_killed_after_the_delay():
    cluster = make_cluster(walltime_poll_s=10, kill_delay_s=5)
    job = cluster.submit(request(walltime_s=12), 0)
    cluster.advance(0)
    assert cluster.wakes_at(0) == 20
    assert signals(cluster, 19) == []
    assert signals(cluster, 20) == [(0, SIGTERM, "walltime")]
    assert signals(cluster, 25) == [(0, SIGKILL, "")]
    cluster.ended(1, 0, 25, signal_number=9)
    assert job.ends == {"walltime": 1}


def test_a_warning_comes_once_before_the_limit():
    cluster = make_cluster()
    cluster.submit(request(walltime_s=60, warn_signal=10, warn_s=20), 0)
    cluster.advance(0)
    assert cluster.wakes_at(0) == 40
    assert signals(cluster, 40) == [(0, 10, "")]
    assert signals(cluster, 41) == []


def test_what_is_deleted_lingers_and_what_waits_is_gone_at_once():
    cluster = make_cluster(linger_s=10)
    job = cluster.submit(array(6), 0)
    cluster.advance(0)
    assert cluster.delete(job, None, 1, by="me") == (2, 4)
    for index in range(4):
        cluster.ended(1, index, 2, signal_number=15)
    assert cluster.state_of(job, 0) == "ending"
    assert job.ended_s is None
    cluster.advance(11)
    assert (job.ended_s, job.ends) == (11, {"removed": 2, "deleted": 4})
    assert job.elements[0].by == "me"


def test_some_elements_are_deleted():
    cluster = make_cluster()
    job = cluster.submit(array(10), 0)
    cluster.advance(0)
    assert cluster.delete(job, [range(3, 7)], 1) == (3, 1)
    assert [(index, state) for index, state, _, _ in cluster.walk(job)] == [
        *((index, "running") for index in range(3)),
        (3, "ending"),
        *((index, "ended") for index in range(4, 7)),
        *((index, "waiting") for index in range(7, 10)),
    ]


def test_a_lost_node_requeues_under_the_same_id():
    cluster = make_cluster()
    job = cluster.submit(array(2), 0)
    kept = cluster.submit(request(requeues=False), 0)
    cluster.advance(0)
    cluster.lose_node("node", 1)
    assert {why for _, _, why in signals(cluster, 1)} == {"node"}
    for number, index in ((1, 0), (1, 1), (2, 0)):
        cluster.ended(number, index, 1, signal_number=9)
    assert started(cluster, 2) == []
    assert kept.ends == {"node": 1}
    cluster.restore_node("node")
    assert started(cluster, 3) == [(1, 0), (1, 1)]
    assert job.elements[0].restarts == 1


def test_what_has_ended_can_be_requeued():
    cluster = make_cluster()
    job = cluster.submit(request(), 0)
    cluster.advance(0)
    cluster.ended(1, 0, 1, code=1)
    assert cluster.requeue(job, None, 2) == 1
    assert (job.ended_s, job.ends) == (None, {"failed": 0})
    assert started(cluster, 2) == [(1, 0)]


# ---- dependencies ----


@pytest.mark.parametrize(
    ("kind", "code", "runs"),
    [("ok", 0, True), ("ok", 1, False), ("notok", 0, False), ("notok", 1, True), ("any", 0, True), ("any", 1, True)],
)
def test_dependencies(kind, code, runs):
    cluster = make_cluster()
    cluster.submit(array(2), 0)
    after = cluster.submit(request(awaits=(Dependency(kind=kind, number=1),)), 0)
    assert started(cluster, 0) == [(1, 0), (1, 1)]
    cluster.ended(1, 0, 1)
    assert started(cluster, 1) == []
    cluster.ended(1, 1, 2, code=code)
    assert started(cluster, 2) == ([(2, 0)] if runs else [])
    assert after.why == ("" if runs else "dependency")


def test_a_job_may_stay_for_ever_where_the_scheduler_leaves_it():
    cluster = make_cluster(on_unmet="stay", unknown_dependency="unmet")
    job = cluster.submit(request(awaits=(Dependency(kind="ok", number=99),)), 0)
    cluster.advance(1)
    assert (job.is_stuck, job.ended_s, cluster.obstacle(job, 1)) == (True, None, "stuck")


def test_one_of_several_is_enough_where_that_was_asked_for():
    cluster = make_cluster()
    cluster.submit(request(), 0)
    cluster.submit(request(), 0)
    awaits = (Dependency(kind="ok", number=1), Dependency(kind="ok", number=2))
    cluster.submit(request(awaits=awaits, awaits_any=True), 0)
    cluster.advance(0)
    cluster.ended(1, 0, 1, code=1)
    assert started(cluster, 1) == []
    cluster.ended(2, 0, 2)
    assert started(cluster, 2) == [(3, 0)]


# ---- memory ----


def test_what_ended_long_ago_is_forgotten():
    cluster = make_cluster(keep_s=10)
    cluster.submit(request(), 0)
    cluster.advance(0)
    cluster.ended(1, 0, 5)
    cluster.advance(14)
    assert 1 in cluster.jobs
    cluster.advance(15)
    assert 1 not in cluster.jobs
    assert cluster.wakes_at(15) == math.inf


def test_the_changes_are_enough_to_go_on(tmp_path):
    cluster = make_cluster(linger_s=5)
    records = []
    cluster.submit(array(6, gpus=1, awaits=()), 0)
    cluster.submit(request(awaits=(Dependency(kind="ok", number=1, text="afterok:1"),)), 0)
    cluster.submit(request(holds="u"), 0)
    for now in range(1, 8):
        cluster.advance(now)
        for _, element in cluster.all_active()[:1]:
            cluster.ended(1, element.index, now, code=now % 2)
        records += json.loads(json.dumps(cluster.take_changes()))
    cluster.forget(cluster.jobs[3])
    records += json.loads(json.dumps(cluster.take_changes()))
    again = make_cluster(linger_s=5)
    again.restore(records)
    assert again.snapshot() == cluster.snapshot()
    assert again.submit(request(), 9).number == cluster.submit(request(), 9).number == 4
    assert started(again, 10) == started(cluster, 10)


def test_a_forgotten_number_may_come_again():
    cluster = make_cluster()
    job = cluster.submit(array(3), 0)
    cluster.advance(0)
    records = cluster.take_changes()
    cluster.forget(job)
    cluster.next_number = 1
    cluster.submit(request(name="new"), 1)
    again = make_cluster()
    again.restore([*records, *cluster.take_changes()])
    assert again.jobs[1].request.name == "new"
    assert not again.jobs[1].elements


# ---- faults ----


def test_faults_are_read():
    assert parse_fault("refuse=queue,2").argument == "queue"
    assert parse_fault("refuse=queue,2").calls == 2
    assert parse_fault("submit-timeout=1").calls == 1
    assert parse_fault("walltime=12[3]").argument == "12[3]"
    assert parse_fault("down").calls is None
    for wrong in ("nonsense", "submit-timeout=x", "submit-timeout=0", "refuse=queue,x", "down="):
        with pytest.raises(ValueError, match=r"there is no fault|number of calls"):
            parse_fault(wrong)
