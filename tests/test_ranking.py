"""The best first."""

import math

import pytest

from hpcsweep.aggregate import aggregate
from hpcsweep.collect import CollectTask, Layout, collect
from hpcsweep.merge import TaskMetrics
from hpcsweep.objective import parse_objective
from hpcsweep.ranking import brief, has_values, rank


def table_of(values, objective="loss:min", **layout):
    """``values``: (params, state, loss)."""
    found = [
        (
            CollectTask(index=index, id=f"id-{index}", state=state, params=params),
            TaskMetrics(last={} if loss is None else {"loss": loss}),
        )
        for index, (params, state, loss) in enumerate(values)
    ]
    return collect(found, Layout(objective=parse_objective(objective), reserved=("rank", "remark"), **layout))


def plain(losses):
    return table_of([({"x": number}, "done", loss) for number, loss in enumerate(losses)])


def ranks(table):
    return [(row[0], row[table.columns.index("task")]) for row in table.rows]


def records(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


LOSSES = [0.5, math.nan, 0.0, None, 0.5, math.inf, -1, "n/a"]


def test_the_least_is_the_best_and_what_has_no_value_stands_last():
    table = rank(plain(LOSSES), is_less_better=True)
    assert ranks(table) == [(1, 6), (2, 2), (3, 0), (3, 4), (5, 5), (None, 1), (None, 3), (None, 7)]
    assert table.columns[:2] == ("rank", "objective")
    assert table.columns[-1] == "remark"
    assert [row["remark"] for row in records(table)] == [None] * 5 + ["NaN", "no value", "no value"]
    assert "1 task gave NaN: last, without a rank" in table.notes
    assert "2 tasks without a value: last" in table.notes


def test_the_largest_is_the_best():
    table = rank(plain(LOSSES), is_less_better=False)
    assert ranks(table) == [(1, 5), (2, 0), (2, 4), (4, 2), (5, 6), (None, 1), (None, 3), (None, 7)]


def test_ties_that_are_cut_off_are_said():
    table = rank(plain([1, 1, 1, 2]), is_less_better=True, most=2)
    assert ranks(table) == [(1, 0), (1, 1)]
    assert "1 more has the value of the last one shown" in table.notes


def test_each_value_of_a_column_is_ranked_by_itself():
    values = [({"data": name, "x": x}, "done", loss) for name, x, loss in [("a", 1, 3), ("b", 1, 2), ("a", 2, 1), ("b", 2, 4)]]
    table = rank(table_of(values), is_less_better=True, most=1, by=["data"])
    assert table.columns[:3] == ("rank", "data", "objective")
    assert [(row["rank"], row["data"], row["objective"], row["x"]) for row in records(table)] == [
        (1, "a", 1, 2),
        (1, "b", 2, 1),
    ]


def test_tasks_that_did_not_work_are_marked():
    table = rank(table_of([({}, "failed", 1), ({}, "done", 2), ({}, "running", 3)]), is_less_better=True)
    assert [row["remark"] for row in records(table)] == ["failed", None, "running"]


def test_points_are_ranked_by_the_mean_and_those_with_fewer_replicates_marked():
    values = [({"x": x, "seed": seed}, state, loss) for x, seed, state, loss in [
        (1, 0, "done", 1.0), (1, 1, "done", 3.0), (1, 2, "done", 2.0),
        (2, 0, "done", 1.5), (2, 1, "failed", None), (2, 2, "done", 1.5),
        (3, 0, "done", math.nan), (3, 1, "done", math.nan), (3, 2, "running", None),
        (4, 0, "done", 9.0),
    ]]  # fmt: skip
    table = aggregate(table_of(values, replicates=frozenset({"seed"}), by_point=True))
    best = rank(table, is_less_better=True)
    found = [(row["rank"], row["x"], row["objective"], row["remark"]) for row in records(best)]
    assert found == [
        (1, 2, 1.5, "2 of 3 replicates, 1 failed"),
        (2, 1, 2.0, None),
        (3, 4, 9.0, "1 of 3 replicates"),
        (None, 3, None, "no value"),
    ]
    assert "objective.std" in best.columns
    assert "objective.std" in brief(best).columns
    assert "objective.sem" not in brief(best).columns


def test_a_parameter_of_the_name_of_a_column_is_renamed():
    table = rank(table_of([({"rank": 8, "objective": "x"}, "done", 1)]), is_less_better=True)
    assert {"rank": 1, "param.rank": 8, "objective": 1, "param.objective": "x"}.items() <= records(table)[0].items()


@pytest.mark.parametrize(("losses", "expected"), [([0.0], True), ([None, math.inf], True), ([None, "x"], False), ([], False)])
def test_whether_there_is_anything_to_rank(losses, expected):
    assert has_values(plain(losses)) is expected
    assert has_values(aggregate(plain(losses))) is expected
