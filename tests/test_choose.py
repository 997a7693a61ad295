"""Which rows and columns are wanted."""

import math

import pytest

from hpcsweep.choose import choose_columns, keep_where, sort_rows
from hpcsweep.errors import HpcsweepError
from hpcsweep.results import Table

TABLE = Table(
    columns=("task", "state", "lr", "loss", "val/acc", "model.width", "weight-decay", "tags"),
    rows=[
        (0, "done", 0.1, 3, 0.5, 64, None, ["a"]),
        (1, "done", 0.2, None, 0.7, 32, 0.01, None),
        (2, "failed", 0.1, math.nan, None, 64, 0.01, ["b"]),
        (3, "done", None, 0.0, 0.9, 32, 0.1, ["a", "b"]),
        (4, "done", 0.3, math.inf, 0.1, None, 0.1, []),
    ],
)


def kept(text):
    return [row[0] for row in keep_where(TABLE, text).rows]


@pytest.mark.parametrize(
    ("text", "tasks"),
    [
        ("lr < 0.15", [0, 2]),
        ("lr < 0.15 and state == 'done'", [0]),
        ("task in [1, 3]", [1, 3]),
        ("loss == 0", [3]),
        ("loss < 1e9", [0, 3]),
        ("loss > 1e9", [4]),
        ("params['val/acc'] >= 0.7", [1, 3]),
        ("model.width == 64", [0, 2]),
        ("weight_decay < 0.05", [1, 2]),
        ("'a' in tags", [0, 3]),
        ("lr * 10 < 1.5 or task == 3", [0, 2, 3]),
        ("true", [0, 1, 2, 3, 4]),
    ],
)
def test_rows_for_which_it_holds(text, tasks):
    assert kept(text) == tasks


@pytest.mark.parametrize(
    ("text", "tasks"),
    [
        ("loss != 3", [2, 3, 4]),
        ("loss < 1 or loss >= 1", [0, 3, 4]),
        ("not lr < 1", [3]),
        ("lr is none", [3]),
        ("lr == none", [3]),
        ("loss != none", [0, 2, 3, 4]),
        ("lr is defined", [0, 1, 2, 4]),
        ("lr | default(7) > 1", [3]),
        ("-loss < 0 and loss / 2 < 2", [0]),
        ("loss | round(1) == 3.0", [0]),
        ("tags != [] and tags[0] == 'a'", [0, 3]),
    ],
)
def test_a_comparison_with_what_is_missing_is_false_and_never_an_error(text, tasks):
    assert kept(text) == tasks


@pytest.mark.parametrize(
    ("text", "said", "place"),
    [
        ("lrr < 0.1", "there is no column `lrr`", "^"),
        ("task > 1 and los == 3", "there is no column `los`", "             ^"),
        ("lr = 0.1", "write `==` to compare", "\n       ^\n"),
        ("lr == 1 lr == 2", "not understood", "\n            ^\n"),
        ("lr <", "not understood", "\n        ^\n"),
        ("state == 'done", "not understood", "\n             ^\n"),
        ("", "empty", ""),
        ("task + 1", "not true or false", ""),
        ("state < 3", "no value", ""),
        ("task.real == 1", "task", ""),
        ("range(10**9) | sum > 1", "", ""),
    ],
)
def test_what_is_wrong_with_an_expression_is_told_with_its_place(text, said, place):
    with pytest.raises(HpcsweepError) as caught:
        kept(text)
    whole = f"{caught.value.message}\n{caught.value.hint}"
    assert said in whole
    assert whole.startswith("--where: ")
    assert place in whole
    assert "parameter" not in whole


def test_a_column_that_was_renamed_is_told():
    table = Table(columns=("param.lr", "metric.lr"), rows=[(1, 2)])
    for choose in (lambda: keep_where(table, "lr < 3"), lambda: sort_rows(table, "lr"), lambda: choose_columns(table, "lr")):
        with pytest.raises(HpcsweepError) as caught:
            choose()
        assert "`param.lr` and `metric.lr`" in caught.value.hint


def test_columns_that_are_written_alike_stand_in_nobodys_way():
    table = Table(columns=("a-b", "a_b", "c"), rows=[(1, 2, 3), (4, 5, 6)])
    assert keep_where(table, "c > 3").rows == [(4, 5, 6)]
    assert keep_where(table, "a_b == 2").rows == [(1, 2, 3)]


@pytest.mark.parametrize(
    ("keys", "tasks"),
    [
        ("loss", [3, 0, 4, 2, 1]),
        ("-loss", [4, 0, 3, 2, 1]),
        ("lr,-task", [2, 0, 1, 4, 3]),
        ("-lr, task", [4, 1, 0, 2, 3]),
        ("state", [0, 1, 3, 4, 2]),
        ("-state", [2, 0, 1, 3, 4]),
        ("tags,-task", [4, 0, 3, 2, 1]),
    ],
)
def test_rows_are_sorted_with_nan_and_missing_last(keys, tasks):
    assert [row[0] for row in sort_rows(TABLE, keys).rows] == tasks


def test_values_of_all_kinds_can_be_sorted():
    table = Table(columns=("x",), rows=[("b",), (None,), (2,), ([1],), (True,), ("a",), (1.5,), ({"k": 1},), ([1, "a"],)])
    assert [row[0] for row in sort_rows(table, "x").rows] == [True, 1.5, 2, "a", "b", [1], [1, "a"], {"k": 1}, None]
    assert [row[0] for row in sort_rows(table, "-x").rows] == [2, 1.5, True, "b", "a", {"k": 1}, [1, "a"], [1], None]


def test_columns_are_chosen_in_the_order_they_are_named():
    table = choose_columns(TABLE, "loss, task,*a*,l*")
    assert table.columns == ("loss", "task", "state", "val/acc", "weight-decay", "tags", "lr")
    assert table.rows[0] == (3, 0, "done", 0.5, None, ["a"], 0.1)


@pytest.mark.parametrize("text", ["nope", "x*", "", " , "])
def test_a_column_that_is_not_there_is_told(text):
    with pytest.raises(HpcsweepError, match=r"--columns: (no|there is no) column") as caught:
        choose_columns(TABLE, text)
    assert caught.value.hint
