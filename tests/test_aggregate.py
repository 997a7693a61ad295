"""Statistics over replicates."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.aggregate import aggregate, describe
from hpcsweep.collect import CollectTask, Layout, collect
from hpcsweep.merge import TaskMetrics
from hpcsweep.objective import parse_objective


def table_of(tasks, **layout):
    """``tasks``: (run, params, state, metrics); a table by point, ``seed`` being the replicate."""
    found = [
        (CollectTask(index=index, id=f"id-{index}", state=state, params=params, run=run), TaskMetrics(last=metrics))
        for index, (run, params, state, metrics) in enumerate(tasks)
    ]
    return collect(found, Layout(by_point=True, replicates=frozenset({"seed"}), **layout))


def records(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_one_row_a_point_with_the_statistics_of_every_metric():
    table = aggregate(
        table_of(
            [
                ("", {"lr": 0.1, "seed": 0}, "done", {"loss": 1.0, "acc": 3}),
                ("", {"lr": 0.1, "seed": 1}, "done", {"loss": 2.0, "acc": 3}),
                ("", {"lr": 0.1, "seed": 2}, "failed", {}),
                ("", {"lr": 0.2, "seed": 0}, "done", {"loss": 0.0}),
                ("", {"lr": 0.2, "seed": 1}, "timeout", {}),
                ("", {"lr": 0.2, "seed": 2}, "running", {}),
            ]
        )
    )
    statistics_of = [f"{name}.{one}" for name in ("loss", "acc") for one in ("n", "mean", "std", "sem", "min", "max")]
    assert table.columns == ("id", "tasks", "done", "failed", "lr", *statistics_of)
    first, second = records(table)
    assert (first["tasks"], first["done"], first["failed"]) == (3, 2, 1)
    assert (first["loss.n"], first["loss.mean"], first["loss.min"], first["loss.max"]) == (2, 1.5, 1.0, 2.0)
    assert first["loss.std"] == pytest.approx(math.sqrt(0.5))
    assert first["loss.sem"] == pytest.approx(0.5)
    assert (first["acc.n"], first["acc.std"], first["acc.min"]) == (2, 0.0, 3)
    assert (second["tasks"], second["done"], second["failed"]) == (3, 1, 1)
    assert (second["loss.n"], second["loss.mean"], second["loss.std"], second["loss.sem"]) == (1, 0.0, None, None)
    assert (second["acc.n"], second["acc.mean"], second["acc.max"]) == (0, None, None)


def test_points_are_told_apart_by_their_values_kinds_and_absence():
    values = [{"x": 1}, {"x": 1.0}, {"x": True}, {"x": "1"}, {"x": None}, {}, {"x": [1]}]
    tasks = [("", {**params, "seed": seed}, "done", {"m": 1}) for params in values for seed in range(2)]
    table = aggregate(table_of(tasks))
    assert [row["tasks"] for row in records(table)] == [2] * len(values)
    assert len({row["id"] for row in records(table)}) == len(values)


def test_runs_are_joined_and_repeated_replicates_are_said():
    tasks = [
        ("run-01", {"lr": 0.1, "seed": 0}, "done", {"m": 1}),
        ("run-01", {"lr": 0.2, "seed": 0}, "done", {"m": 5}),
        ("run-02", {"lr": 0.1, "seed": 1}, "done", {"m": 3}),
        ("run-02", {"lr": 0.1, "seed": 0}, "done", {"m": 1}),
    ]
    table = aggregate(table_of(tasks, is_joined=True))
    assert [(row["run"], row["tasks"], row["m.n"]) for row in records(table)] == [("run-01,run-02", 3, 3), ("run-01", 1, 1)]
    assert any("1 task is a replicate that is there more than once" in note for note in table.notes)


def test_nan_is_missing_and_said_infinity_is_a_value():
    tasks = [("", {"seed": seed}, "done", {"loss": value}) for seed, value in enumerate([1.0, math.nan, math.inf, math.nan])]
    table = aggregate(table_of(tasks, objective=parse_objective("loss:min")))
    (row,) = records(table)
    assert (row["loss.n"], row["loss.mean"], row["loss.max"], row["objective.n"]) == (2, math.inf, math.inf, 2)
    assert math.isnan(row["loss.std"])
    assert "`objective`, `loss`: NaN in 2 tasks, left out" in table.notes


def test_a_metric_of_text_stays_where_all_agree():
    tasks = [
        ("", {"x": 1, "seed": 0}, "done", {"device": "cpu", "n": "none"}),
        ("", {"x": 1, "seed": 1}, "done", {"device": "cpu", "n": 3}),
        ("", {"x": 2, "seed": 0}, "done", {"device": "cpu", "n": 3}),
        ("", {"x": 2, "seed": 1}, "done", {"device": "gpu", "n": 4}),
    ]
    table = aggregate(table_of(tasks))
    assert [row["device"] for row in records(table)] == ["cpu", None]
    assert [row["n.n"] for row in records(table)] == [1, 2]
    assert "`n`: no number in 1 task, left out" in table.notes


def test_booleans_are_zero_and_one():
    assert describe([1, 0, 1, 1])[:2] == (4, 0.75)
    tasks = [("", {"seed": seed}, "done", {"ok": value}) for seed, value in enumerate([True, False])]
    assert records(aggregate(table_of(tasks)))[0]["ok.mean"] == 0.5


@pytest.mark.parametrize(
    ("values", "mean", "std"),
    [
        ([0.1, 0.1, 0.1], 0.1, 0.0),
        ([1e9 + 1, 1e9 + 2, 1e9 + 3], 1e9 + 2, 1.0),
        ([1e15 + 4, 1e15 + 7, 1e15 + 13, 1e15 + 16], 1e15 + 10, 5.477225575051661),
        ([1.7e308, 1.7e308], 1.7e308, 0.0),
        ([1e308, -1e308], 0.0, 1.4142135623730951e308),
        ([5e-324, 5e-324], 5e-324, 0.0),
        ([1e-200, 3e-200], 2e-200, 1.4142135623730951e-200),
        ([2**60, 2**60], float(2**60), 0.0),
    ],
)
def test_numbers_far_from_one_keep_their_digits(values, mean, std):
    found = describe(values)
    assert found[1] == pytest.approx(mean, rel=1e-15)
    assert found[2] == pytest.approx(std, rel=1e-12)


def test_what_infinities_leave_undefined_is_nan():
    assert describe([math.inf, -math.inf])[0] == 2
    assert math.isnan(describe([math.inf, -math.inf])[1])
    assert describe([math.inf])[1:3] == (math.inf, None)
    assert describe([]) == (0, None, None, None, None, None)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-(10**9), 10**9), min_size=2))
def test_they_are_those_of_exact_arithmetic(values):
    n, mean, std, sem, least, largest = describe(values)
    size = max(map(abs, values))
    assert mean == pytest.approx(statistics.mean(map(float, values)), rel=1e-12, abs=1e-15 * size)
    assert std == pytest.approx(statistics.stdev(map(float, values)), rel=1e-9, abs=1e-15 * size)
    assert sem == pytest.approx(std / math.sqrt(n))
    assert least <= mean <= largest
