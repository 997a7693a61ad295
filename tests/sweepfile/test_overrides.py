"""``-p name=values``: replaced where the space sets it, added where it does not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsweep.errors import Faults, HpcsweepError
from hpcsweep.sweepfile.nodes import to_data
from hpcsweep.sweepfile.overrides import apply_overrides, read_values_text
from hpcsweep.sweepfile.space_reader import read_space
from hpcsweep.sweepfile.yaml_reader import read_yaml


def overridden(text, *assignments):
    faults = Faults()
    tree = apply_overrides(read_yaml(text, "f.yaml", faults), assignments, faults)
    return tree, faults


def space(text, *assignments):
    tree, faults = overridden(text, *assignments)
    faults.raise_any()
    return to_data(tree)["space"]


def points(text, *assignments):
    tree, faults = overridden(text, *assignments)
    result = read_space(tree, faults, str, "f.yaml")
    faults.raise_any()
    return list(result.space.points())


def error(text, *assignments):
    with pytest.raises(HpcsweepError) as caught:
        points(text, *assignments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0.1", 0.1),
        ("0.1,0.2", [0.1, 0.2]),
        ("0.1, x", [0.1, "x"]),
        ("[64, 64]", [64, 64]),
        ("[64, 64],[32]", [[64, 64], [32]]),
        ("{geomspace: [1e-4, 1, 5]}", {"geomspace": [0.0001, 1, 5]}),
        ("0,{range: [1, 3]}", [0, {"range": [1, 3]}]),
        ("'a,b'", "a,b"),
        ('\'a,b\',"c,\\"d"', ["a,b", 'c,"d']),
        ("it's,fine", ["it's", "fine"]),
        ("010,no", ["010", "no"]),
        ("null", None),
        ("''", ""),
        ("a: b # c", "a: b # c"),
        ("1h30m", "1h30m"),
        ("x[1,2]", ["x[1", "2]"]),
        ("-1", -1),
        ("a=b", "a=b"),
    ],
)
def test_what_stands_after_the_equals_sign(written, value):
    faults = Faults()
    node = read_values_text(written, "-p x", faults)
    faults.raise_any()
    assert json.dumps(to_data(node)) == json.dumps(value)


@pytest.mark.parametrize("written", ["", " ", "[1", "{a:1}", ".inf", "1,.nan", "'x", "'a' b"])
def test_bad_values(written):
    faults = Faults()
    assert read_values_text(written, "-p x", faults) is None
    with pytest.raises(HpcsweepError, match="-p x"):
        faults.raise_any()


def test_values_are_replaced_or_added():
    text = "space: {lr: [1, 2], n: 3}\n"
    assert space(text, "lr=0.1,0.2") == {"lr": [0.1, 0.2], "n": 3}
    assert space(text, "m=0.1,0.2") == {"lr": [1, 2], "n": 3, "m": [0.1, 0.2]}
    assert space(text, "n=1", "n=2") == {"lr": [1, 2], "n": 2}
    assert space("command: x\n", "lr=1,2") == {"lr": [1, 2]}
    assert space("space: {}\n", "a.b=1") == {"a.b": 1}


def test_they_are_replaced_in_every_block():
    text = """
space:
  a: 1
  sum:
    - {lr: 1, m: 2}
    - product: [{lr: [1, 2]}, {k: 1}]
    - zip: [{lr: 4}, {m: 3}]
    - zip: {lr: 4, m: 3}
"""
    got = points(text, "lr=9")
    assert [point["lr"] for point in got if "lr" in point] == [9, 9, 9] or {point["lr"] for point in got if "lr" in point} == {
        9
    }
    assert {"a": 1, "lr": 9, "k": 1} in got


def test_groups_and_dots_are_the_same():
    assert space("space: {a: {b: {c: 1}}, a.d: 2}\n", "a.b.c=5", "a.d=6") == {"a": {"b": {"c": 5}}, "a.d": 6}
    assert space("space: {a: {b: 1}, a.b.c: 2}\n", "a.b.c=5") == {"a": {"b": 1}, "a.b.c": 5}
    # A group and a parameter may share a name; the group stays.
    assert points("space: {a: {b: 1}}\n", "a=5") == [{"a.b": 1, "a": 5}]
    assert points("space: {a: {b: 1}, set: {sum: 2}}\n", "a=5") == [{"a.b": 1, "sum": 2, "a": 5}]
    assert points("space: {a: {b: 1}}\n", "a.c=5") == [{"a.b": 1, "a.c": 5}]


def test_a_replicate_gets_values_and_no_count():
    text = "space: {a: 1, replicate: {seed: 3}}\n"
    assert [point["seed"] for point in points(text, "seed=5")] == [5]
    assert [point["seed"] for point in points(text, "seed=5,7")] == [5, 7]
    assert [point["seed"] for point in points(text, "seed={range: [3, 4]}")] == [3, 4]


def test_words_of_the_grammar_are_names_here():
    assert [point["sum"] for point in points("space: {a: 1}\n", "sum=1,2")] == [1, 2]
    assert points("space: {set: {sum: 3, zip: 4}}\n", "sum=1", "csv=7") == [{"sum": 1, "zip": 4, "csv": 7}]


def test_the_other_front_end():
    text = "spaces: {a: {x: [1, 2]}, b: {x: 3, y: 4}}\nsweep: a + b\n"
    assert points(text, "x=7") == [{"x": 7}, {"x": 7, "y": 4}]
    got = points(text, "z=5,6")
    assert len(got) == 6
    assert all("z" in point for point in got)
    assert len(points("spaces: {added: {x: [1, 2]}}\nsweep: added\n", "z=5,6")) == 4


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("lr", "an = is missing"),
        ("=1", "not the name"),
        ("1x=2", "not the name"),
        ("a b=2", "not the name"),
        ("lr=", "no value"),
        ("lr=[]", "empty list"),
        ("lr={range: [0, x]}", "needs a number"),
        ("w=3", "derived"),
    ],
)
def test_bad_assignments(assignment, message):
    text = error("space: {lr: 1, m: 3}\nderive: {w: lr * 2}\n", assignment)
    assert "-p " + assignment[:2] in text
    assert message in text


def test_a_value_may_be_a_group_of_values():
    assert points("space: {lr: 1}\n", "lr={a: 1, b: [2, 3]}") == [{"lr.a": 1, "lr.b": 2}, {"lr.a": 1, "lr.b": 3}]


def test_faults_of_the_values_name_the_option():
    assert error("space: {lr: 1}\n", "lr={range: [1]}").startswith("-p lr={range: [1]}: ")


@settings(deadline=None, max_examples=200)
@given(st.text() | st.text(alphabet="a=,[]{}'\" :1.\\"))
def test_any_assignment_gives_a_sweep_or_faults(assignment):
    tree, faults = overridden("space: {a: 1}\n", assignment)
    assert tree is not None
    read_space(tree, faults, str, "f.yaml")


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=3, unique=True)
)
def test_quoted_texts_arrive_whole(values):
    written = ",".join(map(json.dumps, values))
    if "\\u0000" not in written:
        assert [point["x"] for point in points("space: {}\n", f"x={written}")] == values
