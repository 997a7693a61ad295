"""``csv:`` as a space: names from the first line, cells read as in the sweep file, faults with the file's own lines."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsweep.errors import Faults, HpcsweepError
from hpcsweep.sweepfile.csv_reader import read_csv
from hpcsweep.sweepfile.space_reader import read_space
from hpcsweep.sweepfile.values_reader import Notes
from hpcsweep.sweepfile.yaml_reader import read_yaml


def read(text):
    faults = Faults()
    notes = Notes(faults=faults)
    table = read_csv(text, "p.csv", "", notes)
    assert (table is None) == bool(faults)
    return table, faults


def rows(text):
    table, faults = read(text)
    faults.raise_any()
    return list(table.rows)


def points(space, text):
    faults = Faults()
    tree = read_yaml(space, "f.yaml", faults)
    result = read_space(tree, faults, {"p.csv": text}.__getitem__, "f.yaml")
    faults.raise_any()
    return list(result.space.points())


def test_cells_are_read_by_the_rules_of_the_sweep_file():
    text = "a,b,c,d,e,f,g\n1,1e-3,true,no,010,null,2026-01-01\n"
    got = rows(text)
    assert json.dumps(got) == json.dumps([{"a": 1, "b": 0.001, "c": True, "d": "no", "e": "010", "f": None, "g": "2026-01-01"}])


def test_quoted_cells_are_texts():
    assert rows('a,b,c\n"1","x, ""y""\nz", "" \n') == [{"a": "1", "b": 'x, "y"\nz', "c": ""}]


def test_an_empty_cell_is_absent():
    assert rows("a,b\n1,\n,2\n , 3 \n") == [{"a": 1}, {"b": 2}, {"b": 3}]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_ends_and_blank_lines(ending):
    text = "\ufeff" + ending.join(["a,b", "1,2", "", "3,4"])
    assert rows(text) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert rows(text + ending) == rows(text)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 0, 0, "empty"),
        ("\n\n", 0, 0, "empty"),
        ("a,b\n", 0, 0, "no points"),
        ("a,,c\n1,2,3\n", 1, 3, "column 2 has no name"),
        ("a,b,a\n1,2,3\n", 1, 5, "stands twice"),
        ("a,1b\n1,2\n", 1, 3, "digit"),
        ("a;b\n1;2\n", 1, 1, "not separated by commas"),
        ("a,b\n1\n", 2, 1, "1 cells, and the first line has 2"),
        ("a,b\n1,2\n\n1,2,3\n", 4, 1, "3 cells"),
        ("a,b\n1,.inf\n", 2, 3, "infinity"),
        ('a,b\n1,"x\n', 2, 3, "quote"),
        ('a,b\n1,x"y\n', 2, 3, "quote"),
        ('a,b\n"x\ny",2\n3\n', 4, 1, "1 cells"),
        ('a,b\n1,"x\0y"\n', 2, 3, "NUL"),
    ],
)
def test_faults(text, line, column, message):
    _, faults = read(text)
    with pytest.raises(HpcsweepError) as caught:
        faults.raise_any()
    first = caught.value.faults[0]
    assert (first.place.file, first.place.line, first.place.column) == ("p.csv", line, column)
    assert message in first.message


def test_it_is_a_space_like_any_other():
    text = "a,b\n1,x\n2,\n"
    assert points("space: {csv: p.csv, c: [5, 6]}", text) == [
        {"a": 1, "b": "x", "c": 5},
        {"a": 1, "b": "x", "c": 6},
        {"a": 2, "c": 5},
        {"a": 2, "c": 6},
    ]
    assert points("space: {g: {csv: p.csv}}", text) == [{"g.a": 1, "g.b": "x"}, {"g.a": 2}]
    assert points("space: {zip: {csv: p.csv, c: [5, 6]}}", text) == [{"a": 1, "b": "x", "c": 5}, {"a": 2, "c": 6}]
    assert len(points("space: {sum: [{csv: p.csv}, {z: 1}]}", text)) == 3


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file or directory"), HpcsweepError("cannot be read", "look at it")]
)
def test_a_file_that_cannot_be_read(error):
    faults = Faults()
    tree = read_yaml("space: {csv: p.csv}", "f.yaml", faults)

    def read_file(path):
        raise error

    assert read_space(tree, faults, read_file, "f.yaml").space is None
    with pytest.raises(HpcsweepError, match=r"f\.yaml:1:14: .*(No such file|cannot be read)"):
        faults.raise_any()


@pytest.mark.parametrize("value", ["3", "[a.csv]", "''", ""])
def test_a_path_is_a_text(value):
    faults = Faults()
    tree = read_yaml(f"space: {{csv: {value}}}", "f.yaml", faults)
    assert read_space(tree, faults, str, "f.yaml").space is None
    with pytest.raises(HpcsweepError, match="csv holds the path"):
        faults.raise_any()


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=2, max_size=2
        ),
        min_size=1,
    )
)
def test_what_python_writes_is_read_back(table):
    stream = io.StringIO()
    csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *table])
    assert rows(stream.getvalue()) == [dict(zip("ab", row, strict=True)) for row in table]


@settings(deadline=None, max_examples=200)
@given(st.text() | st.text(alphabet='ab1,"\n\r .'))
def test_any_text_gives_a_table_or_faults(text):
    read(text)
