"""Figures of attempts, their sums, and what to ask for next time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import Scene

from hpcsweep.events import FINALLY
from hpcsweep.model import Request
from hpcsweep.schedulers.base import Used
from hpcsweep.states import FACTS, State
from hpcsweep.sweepfile.units import parse_memory, parse_time
from hpcsweep.usage import NOTHING, Attempt, OwnRecord, add_up, cpus_of, gpus_of, join, parse_own_record, quantile
from hpcsweep.usage_advice import advise, cpus_to_ask, memory_to_ask, round_up_memory, round_up_time, time_to_ask
from hpcsweep.usage_table import (
    advice_lines,
    brief,
    group_by_params,
    group_by_request,
    groups_table,
    request_words,
    tasks_table,
    total_words,
)

M, G = 1024**2, 1024**3
REQUEST = Request(cpus=4, memory_bytes=8 * G, time_limit_s=7200)


def attempt(task: int = 0, *, state: State = State.DONE, request: Request = REQUEST, number: int = 1, **figures) -> Attempt:
    usual = {"elapsed_s": 600.0, "cpu_s": 540.0, "peak_bytes": G, "peak_from": "cgroup", "rss_bytes": G, "sources": ("task",)}
    return Attempt(
        task=task,
        attempt=number,
        state=state,
        request=request,
        cpus=cpus_of(request),
        gpus=gpus_of(request),
        is_counted=FACTS[state].is_success,
        **(usual | figures),
    )


def many(number: int = 10, **figures) -> list[Attempt]:
    return [attempt(task, **figures) for task in range(number)]


def told(attempts: list[Attempt], request: Request = REQUEST) -> dict[str, str]:
    return {advice.about: advice.text for advice in advise(request, attempts)}


# ---- the record ----


def test_a_record_is_read():
    text = "tag 11_0 host 17 1700000000\nend 1700000009 0\nusage cpu_s=12.340 peak_bytes=123456 from=cgroup rss_bytes=120000\n"
    assert parse_own_record(text) == OwnRecord(cpu_s=12.34, peak_bytes=123456, peak_from="cgroup", rss_bytes=120000)


@pytest.mark.parametrize("text", ["", "tag 11_0 host 17 1700000000\nend 1 0\n", "usage \n", "usage cpu_s=x peak_bytes=-1\n"])
def test_no_record(text):
    assert parse_own_record(text) == NOTHING


@given(st.text())
def test_no_text_raises(text):
    parse_own_record(text)
    parse_own_record(f"usage {text}")


# ---- two sources ----


def test_of_two_figures_the_larger_counts():
    """A runner does not see what srun started, and sacct does not see what lasts for seconds."""
    used = Used(job="1_0", tag="t", source="sacct", cpu_s=99.0, peak_bytes=2 * G, elapsed_s=601.0, cpus=8, gpus=2, wait_s=5.0)
    own = OwnRecord(cpu_s=3.0, peak_bytes=3 * G, peak_from="cgroup", rss_bytes=G)
    joined = join(attempt(), own, used)
    assert (joined.cpu_s, joined.peak_bytes, joined.peak_from, joined.rss_bytes) == (99.0, 3 * G, "cgroup", 2 * G)
    assert (joined.elapsed_s, joined.cpus, joined.gpus, joined.wait_s) == (600.0, 8, 2, 5.0)
    assert joined.sources == ("task", "sacct")
    joined = join(attempt(), OwnRecord(cpu_s=3.0, peak_bytes=M, peak_from="proc"), used)
    assert (joined.peak_bytes, joined.peak_from) == (2 * G, "sacct")
    assert join(attempt(elapsed_s=None), NOTHING, used).elapsed_s == 601.0


def test_a_task_without_any_figures():
    joined = join(attempt(), NOTHING, None)
    assert (joined.cpu_s, joined.peak_bytes, joined.sources) == (None, None, ())


def test_earlier_attempts_are_looked_at_too():
    scene = Scene(2).plan().task_says("0.1", "0.1.done.3.17", "1.1", "1.1.done.0.5")
    scene.write({"event": "settled", "array": 1}, {"event": "resubmit", "tasks": "0"})
    scene.plan(2, tasks=[0], attempts={"2": "0"}, job="71").task_says("0.2", "0.2.done.0.20", array=2)
    found = [(view.index, view.attempt, view.state, view.elapsed_s) for _, view in scene.fold().attempts()]
    assert found == [(0, 1, State.FAILED, 17.0), (1, 1, State.DONE, 5.0), (0, 2, State.DONE, 20.0)]


def test_who_is_alone_in_an_element():
    scene = Scene(5).write(
        {"event": "planned", "array": 1, "tag": "t", "tasks": "0-4", "packing": {"tasks_per_element": 2, "parallel": 1}}
    )
    array = scene.fold().ledger.arrays[1]
    assert [array.is_alone(position) for position in range(5)] == [False, False, False, False, True]


# ---- sums ----


def test_failed_attempts_cost_too():
    request = Request(cpus=4, gpus=2)
    total = add_up(
        [
            attempt(0, request=request, state=State.FAILED, elapsed_s=1800.0),
            attempt(0, request=request, number=2, elapsed_s=3600.0),
        ]
    )
    assert (total.tasks, total.attempts, total.uncounted_attempts) == (1, 2, 1)
    assert (total.core_h, total.gpu_h, total.uncounted_core_h, total.uncounted_gpu_h) == (6.0, 3.0, 2.0, 1.0)
    assert total.elapsed_s == 3600.0
    assert total_words(total) == [
        "1 task, 2 attempts: 6 core-hours, 3 GPU-hours (figures: task)",
        "  2 core-hours, 1 GPU-hours (33%) of it in 1 attempt without a result that counts",
    ]


def test_a_share_of_a_gpu_and_several_nodes():
    assert gpus_of(Request(gpus=1, nodes=3)) == 3
    assert cpus_of(Request(cpus=2, tasks_per_node=4, nodes=3)) == 24
    assert cpus_of(Request()) == 1


def test_the_cpu_share_is_of_what_is_known():
    total = add_up([attempt(0, cpu_s=1200.0, elapsed_s=600.0), attempt(1, cpu_s=None)])
    assert total.cpu_share == pytest.approx(0.5)
    assert add_up([attempt(cpu_s=None)]).cpu_share is None


@given(st.lists(st.floats(0, 1e9), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_one_of_the_values_and_bounds_its_share(values, share):
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6


# ---- advice ----


def test_what_was_not_needed_need_not_be_asked_for():
    assert told(many(12)) == {
        "memory": "ask for 1536M instead of 8G: the largest peak of 12 tasks was 1.0G",
        "time": "ask for 15m instead of 2h: the longest of 12 tasks took 10m",
        "cpus": "ask for 1 cpu instead of 4: 12 tasks kept 0.9 busy at most",
    }


def test_one_task_that_is_larger_than_the_others_is_told_of():
    some = [*many(199), attempt(199, peak_bytes=3 * G)]
    assert (
        told(some)["memory"]
        == "ask for 4G instead of 8G: the largest peak of 200 tasks was 3.0G (99% of them stayed below 1.0G)"
    )


def test_few_tasks_say_nothing():
    assert told(many(4)) == {}


def test_failed_tasks_are_no_evidence_that_less_will_do_but_their_peaks_count():
    assert told([attempt(task, state=State.FAILED) for task in range(20)]) == {}
    some = [*many(10), attempt(10, state=State.FAILED, peak_bytes=5 * G, rss_bytes=5 * G)]
    assert "memory" not in told(some)


def test_what_nobody_can_have_measured_is_no_evidence():
    """Of what srun starts the runner sees nothing: neither CPU time nor memory."""
    assert told(many(10, cpu_s=0.5, peak_bytes=10 * M, peak_from="proc", rss_bytes=None)).keys() == {"time"}
    assert told(many(10, cpu_s=None, peak_bytes=None)).keys() == {"time"}


def test_close_to_the_limit():
    near = attempt(0, peak_bytes=round(7.8 * G), peak_from="proc", rss_bytes=None, elapsed_s=7000.0)
    assert told([near]) == {
        "memory": "ask for 10G instead of 8G: the peak of 1 task is at 97% of what was asked for",
        "time": "ask for 3h instead of 2h: the longest of 1 task took 97% of it",
    }


def test_files_that_the_kernel_keeps_are_not_held():
    """A cgroup's peak is at its limit for every program that reads much."""
    assert "memory" not in told(many(10, peak_bytes=8 * G, rss_bytes=G))


def test_what_was_cut_off_needs_more():
    some = [*many(10), attempt(10, state=State.OOM), attempt(11, state=State.TIMEOUT, elapsed_s=7200.0)]
    assert told(some)["memory"] == "ask for more than 8G, 10G or so: 1 task ran out of memory"
    assert told(some)["time"] == "ask for more than 2h: 1 task reached the time limit"


def test_more_threads_than_cores():
    request = Request(cpus=1)
    assert told(many(10, request=request, cpu_s=1900.0), request) == {
        "cpus": "ask for 4 cpus instead of 1, or let the program start fewer threads: 10 tasks kept 3.2 busy"
    }


def test_several_nodes_and_ranks():
    """Whose memory the figures are cannot be told there."""
    request = Request(cpus=4, memory_bytes=8 * G, nodes=2)
    assert told(many(10, request=request), request) == {}
    request = Request(cpus=4, memory_bytes=8 * G, tasks_per_node=4)
    assert told(many(10, request=request, peak_from="sacct", rss_bytes=None), request) == {}


SIZES = st.integers(1, 512 * G)
SECONDS = st.integers(0, 10**7).map(float)
ATTEMPTS = st.lists(
    st.builds(
        lambda task, state, peak, source, elapsed, cpu: attempt(
            task, state=state, peak_bytes=peak, peak_from=source, rss_bytes=None, elapsed_s=elapsed, cpu_s=cpu
        ),
        st.integers(0, 40),
        st.sampled_from([State.DONE, State.FAILED]),
        SIZES,
        st.sampled_from(["cgroup", "proc", "sacct"]),
        SECONDS,
        st.floats(0, 1e8),
    ),
    min_size=1,
    max_size=60,
)
REQUESTS = st.builds(
    lambda memory, time, cpus: Request(memory_bytes=memory, time_limit_s=time, cpus=cpus),
    SIZES,
    st.integers(1, 10**7),
    st.integers(1, 256),
)


@given(REQUESTS, ATTEMPTS)
def test_nothing_is_advised_that_would_not_have_been_enough(request_, attempts):
    counted = [one for one in attempts if one.is_counted]
    for advice in advise(request_, attempts):
        assert advice.tasks >= 1
        assert advice.value is not None
        if advice.about == "memory":
            assert advice.value >= max(one.peak_bytes or 0 for one in attempts) or advice.value > (request_.memory_bytes or 0)
        elif advice.about == "time":
            assert advice.value >= max(one.elapsed_s or 0 for one in counted)


@given(ATTEMPTS, ATTEMPTS)
def test_who_used_more_is_advised_more(some, more):
    for ask in (memory_to_ask, time_to_ask, cpus_to_ask):
        alone, together = ask(some), ask(some + more)
        assert alone is None or (together is not None and together >= alone)


@given(SIZES, SIZES)
def test_rounded_up_memory_is_what_people_write(size, other):
    rounded = round_up_memory(size)
    assert rounded >= size
    assert rounded % (256 * M) == 0
    assert parse_memory(f"{rounded // M}M") == rounded
    assert round_up_memory(min(size, other)) <= round_up_memory(max(size, other))


@given(st.floats(1, 10**7), st.floats(1, 10**7))
def test_rounded_up_time_is_what_people_write(seconds, other):
    rounded = round_up_time(seconds)
    assert rounded >= seconds
    assert parse_time(f"{rounded}s") % 300 == 0
    assert round_up_time(min(seconds, other)) <= round_up_time(max(seconds, other))


# ---- tables ----


def test_groups_by_what_was_asked_for():
    small = Request(cpus=1)
    groups = group_by_request([attempt(0), attempt(1, request=small), attempt(2), attempt(FINALLY, request=small)])
    assert [group.title for group in groups] == ["4 cpus, 8G, 2h", "1 cpu", "finally: 1 cpu"]
    table = groups_table(groups)
    assert table.cells("tasks") == [2, 1, 1]
    assert table.cells("memory_mib") == [8192, None, None]
    assert table.cells("cpu_percent") == [22.5, 90, 90]


def test_groups_by_parameters():
    params = {0: {"lr": 0.1, "tasks": "a"}, 1: {"lr": 1}, 2: {"lr": True}, 3: {"lr": 0.1, "tasks": "b"}}
    some = [attempt(task) for task in params]
    groups = group_by_params([*some, attempt(FINALLY)], params, ["lr", "tasks"])
    table = groups_table(groups, ["lr", "tasks"])
    assert table.columns[:3] == ("lr", "param.tasks", "tasks")
    assert [row[:3] for row in table.rows] == [(0.1, "a", 1), (1, None, 1), (True, None, 1), (0.1, "b", 1)]
    assert groups[1].title == "lr=1, tasks=None"


def test_a_group_that_asked_for_different_things_gets_no_advice():
    some = [*many(10), *many(10, request=Request(memory_bytes=16 * G))]
    assert all(not group.advice for group in group_by_params(some, {task: {"x": 1} for task in range(10)}, ["x"]))
    assert all(line.startswith(("4 cpus, 8G, 2h: ", "1 cpu, 16G: ")) for line in advice_lines(group_by_request(some)))


def test_the_brief_table_leaves_out_what_says_nothing():
    columns = brief(groups_table(group_by_request(many()))).columns
    assert not {"gpu_h", "uncounted_core_h", "source", "advice", "memory_mib"} & set(columns)
    with_gpus = brief(groups_table(group_by_request(many(request=Request(gpus=1), state=State.FAILED)))).columns
    assert {"gpu_h", "uncounted_core_h"} <= set(with_gpus)


def test_one_row_a_task():
    table = tasks_table(
        [attempt(3, state=State.FAILED), attempt(3, number=2, peak_bytes=2 * G)],
        {3: {"lr": 0.1, "state": "x"}},
        ["lr", "state"],
    )
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["param.state"] == "x"
    assert (row["task"], row["state"], row["attempts"], row["elapsed_s"], row["peak_mib"]) == (3, "done", 2, 1200.0, 2048)


def test_a_request_in_words():
    request = Request(cpus=2, memory_bytes=1536 * M, time_limit_s=5400, gpus=1, gpu_type="a100", nodes=2, partition="main")
    assert request_words(request) == "2 cpus, 1536M, 1h30m, 1 gpu (a100), 2 nodes, main"
