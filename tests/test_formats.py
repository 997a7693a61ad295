"""How the table is written for programs and people."""

import csv
import io
import json
import math
import sys

import pytest

from hpcsweep.errors import HpcsweepError
from hpcsweep.formats import form_of_file, iter_csv, iter_json, iter_jsonl, to_parquet
from hpcsweep.results import Table
from hpcsweep.tabletext import iter_markdown, to_table_text

ROWS = [
    (1, 0.5, True, "a", None, [1, 2], 1, 7, {"k": 1}),
    (2**40, math.nan, None, "b|c\n*d*", None, [], 2.5, "x", None),
    (None, math.inf, False, None, None, None, None, None, {"k": None}),
]
TABLE = Table(columns=("int", "float", "bool", "text", "null", "list", "number", "mixed", "object"), rows=ROWS)


def test_json_lines_are_those_of_json():
    lines = "".join(iter_jsonl(TABLE)).splitlines()
    assert [json.loads(line) for line in lines] == json.loads("".join(iter_json(TABLE)))
    first, second, third = map(json.loads, lines)
    assert list(first.values()) == list(ROWS[0])
    assert (second["int"], second["float"], second["bool"], second["list"]) == (2**40, "nan", None, [])
    assert (third["float"], third["bool"]) == ("inf", False)


def test_json_of_what_is_nested_too_deeply_is_still_json():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    table = Table(columns=("x", "y", "z"), rows=[(1, deep, math.nan)])
    assert json.loads("".join(iter_jsonl(table))) == {"x": 1, "y": "(nested too deeply)", "z": "nan"}


def test_parquet_keeps_the_kinds_of_values():
    parquet = pytest.importorskip("pyarrow.parquet", reason="NO PYARROW: the extra hpcsweep[parquet] is not installed")
    read = parquet.read_table(io.BytesIO(to_parquet(TABLE)))
    kinds = {field.name: str(field.type) for field in read.schema}
    assert kinds["int"] == "int64"
    assert kinds["float"] == "double"
    assert kinds["bool"] == "bool"
    assert kinds["text"] == "string"
    assert kinds["null"] == "null"
    assert kinds["list"].startswith("list<")
    assert kinds["number"] == "double"
    assert kinds["mixed"] == kinds["object"] == "string"
    columns = read.to_pydict()
    assert columns["int"] == [1, 2**40, None]
    assert columns["bool"] == [True, None, False]
    assert columns["list"] == [[1, 2], [], None]
    assert columns["mixed"] == ["7", "x", None]
    assert columns["object"] == ['{"k": 1}', None, '{"k": null}']
    assert math.isnan(columns["float"][1])
    assert columns["number"] == [1.0, 2.5, None]
    assert read.column("float").null_count == 0


@pytest.mark.parametrize(
    "values", [[2**63, 1], [2**53 + 1, 0.5], [[1], ["a"]], [[1], [{"k": 1}]], [[[1]], [2]], ["a", 1], []], ids=repr
)
def test_parquet_takes_any_column(values):
    parquet = pytest.importorskip("pyarrow.parquet", reason="NO PYARROW: the extra hpcsweep[parquet] is not installed")
    table = Table(columns=("x",), rows=[(value,) for value in values])
    read = parquet.read_table(io.BytesIO(to_parquet(table))).to_pydict()["x"]
    assert [value if isinstance(value, list) else json.loads(value) if value != "a" else value for value in read] == values


def test_parquet_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(HpcsweepError, match="needs the package pyarrow") as caught:
        to_parquet(TABLE)
    assert "hpcsweep[parquet]" in caught.value.hint


def test_csv_keeps_numbers_and_truth():
    read = list(csv.DictReader(io.StringIO("".join(iter_csv(TABLE)))))
    assert [row["bool"] for row in read] == ["true", "", "false"]
    assert [row["float"] for row in read] == ["0.5", "nan", "inf"]
    assert [json.loads(row["list"]) if row["list"] else None for row in read] == [[1, 2], [], None]


def test_markdown_escapes_what_would_break_it():
    lines = "".join(iter_markdown(TABLE)).splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("| int | float |")
    assert lines[1].split(" | ")[0] == "| ---:"
    assert r"b\|c\\n\*d\*" in lines[3]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.csv", "csv"),
        ("a/b.d/results", "csv"),
        ("a.JSON", "json"),
        ("a.jsonl", "jsonl"),
        ("x.parquet", "parquet"),
        ("x.md", "markdown"),
        ("x.txt", "table"),
        (".hidden", "csv"),
        ("", "csv"),
    ],
)
def test_the_ending_says_the_form(name, form):
    assert form_of_file(name) == form


def test_an_ending_of_something_else_is_refused():
    with pytest.raises(HpcsweepError, match=r"\.xlsx") as caught:
        form_of_file("results.xlsx")
    assert ".parquet" in caught.value.hint


WIDE = Table(
    columns=("task", "id", "state", "lr", "epochs", "path", "loss.n", "loss.mean", "loss.max", "acc", "reason"),
    rows=[(n, f"{n:016x}", "done", 0.1 * n, 30, "x" * 40, 3, 0.123456, 0.2, 0.5, None) for n in range(3)],
    params=("lr", "epochs", "path"),
    metrics=("loss.n", "loss.mean", "loss.max", "acc"),
)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_a_wide_table_fits_a_narrow_terminal(width):
    lines = to_table_text(WIDE, width=width).splitlines()
    below = [line for line in lines if line.startswith("(")]
    assert all(len(line) <= width for line in lines if line not in below)
    header = lines[0].split()
    assert {"task", "state"} <= set(header)
    said = " ".join(below)
    for name in WIDE.columns:
        assert name in header or name in said or name == "reason"


def test_what_is_the_same_in_all_rows_is_said_once():
    text = to_table_text(WIDE, width=80)
    assert "(in all rows: epochs = 30, path = " in text
    assert "loss.mean" in text.splitlines()[0]


def test_columns_that_somebody_chose_all_stay():
    table = Table(columns=("id", "none", "epochs"), rows=[("0" * 16, None, 30)] * 2, params=("epochs",), is_chosen=True)
    assert to_table_text(table, width=20).splitlines()[0].split() == ["id", "none", "epochs"]


def test_wide_characters_are_measured_as_a_terminal_shows_them():
    table = Table(columns=("a", "b"), rows=[("日本", 1), ("x", 2)])
    assert to_table_text(table).splitlines() == ["a     b", "日本  1", "x     2"]
