"""The reader of the space, rule by rule: good examples with their points, bad ones with places and hints."""

from __future__ import annotations

import json
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsweep.errors import Faults, FileFaults, HpcsweepError
from hpcsweep.sweepfile.space_reader import read_space
from hpcsweep.sweepfile.yaml_reader import read_yaml

DATA = pathlib.Path(__file__).parent / "data"


def reading(text, files=None):
    faults = Faults()
    tree = read_yaml(text, "f.yaml", faults)
    faults.raise_any()

    def read_file(path):
        if files is None or path not in files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return files[path]

    return read_space(tree, faults, read_file, "f.yaml"), faults


def read(text, files=None):
    result, faults = reading(text, files)
    faults.raise_any()
    return result


def points(text, files=None):
    result = read(text, files)
    assert result.warnings == ()
    return list(result.space.points())


def space_points(text, files=None):
    """The points of a space that is written as the content of ``space:``."""
    return points("space:\n" + "".join(f"  {line}\n" for line in text.splitlines()), files)


def found(text, files=None):
    """The faults as (line, column, message, hint)."""
    result, faults = reading(text, files)
    assert result.space is None
    with pytest.raises(FileFaults) as caught:
        faults.raise_any()
    for fault in caught.value.faults:
        assert fault.hint or fault.message.startswith(("include", "where", "derive")), fault
    return [(fault.place.line, fault.place.column, fault.message, fault.hint) for fault in caught.value.faults]


def the_fault(text, files=None):
    (fault,) = found(text, files)
    return fault


def values(text):
    return [point["x"] for point in space_points(f"x: {text}")]


def exact(left, right):
    assert json.dumps(left) == json.dumps(right)


def test_the_whole_example():
    result = read((DATA / "whole.yaml").read_bytes())
    got = list(result.space.points())
    # (4 descent - 2 rejected for rings) * 3, 3 newton, 2 paired - 1 excluded; 3 seeds each; 1 more included.
    assert len(got) == ((4 + 2) + (3 + 3) + (2 + 1)) * 3 + 1
    exact(
        got[0],
        {
            "data": "blobs",
            "steps": 40,
            "hidden": [8, 8],
            "method": "descent",
            "rate": 0.1,
            "inertia": 0.0,
            "quarter": 10,
            "seed": 0,
        },
    )
    assert got[-1]["rate"] == 0.3
    assert got[-1]["quarter"] == 10
    assert result.space.replicates == ("seed",)
    assert all("inertia" not in point for point in got if point["method"] != "descent")


# Rule 1: values and forms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", [1]),
        ("text", ["text"]),
        ("null", [None]),
        ("~", [None]),
        ("''", [""]),
        ("[1, 1.0, true, '1']", [1, 1.0, True, "1"]),
        ("[null, a]", [None, "a"]),
        ("{value: [64, 64]}", [[64, 64]]),
        ("{value: {a: 1, b: [2]}}", [{"a": 1, "b": [2]}]),
        ("{value: []}", [[]]),
        ("{value: x}", ["x"]),
        ("{range: [1, 3]}", [1, 2, 3]),
        ("{range: [0, 10, 5]}", [0, 5, 10]),
        ("{range: [0, 9, 5]}", [0, 5]),
        ("{range: [3, 1, -1]}", [3, 2, 1]),
        ("{range: [0, 0.3, 0.1]}", [0.0, 0.1, 0.2, 0.3]),
        ("{linspace: [0, 1, 3]}", [0.0, 0.5, 1.0]),
        ("{geomspace: [1e-4, 1e-2, 3]}", [0.0001, 0.001, 0.01]),
        ("[0, {geomspace: [1, 100, 3]}, x]", [0, 1.0, 10.0, 100.0, "x"]),
        ("[[64, 64], [32]]", [[64, 64], [32]]),
        ("[{value: {a: 1}}, {value: [1]}]", [{"a": 1}, [1]]),
        ("[[], 1]", [[], 1]),
    ],
)
def test_values(text, expected):
    exact(values(text), expected)


@pytest.mark.parametrize(
    ("text", "column", "message", "hint"),
    [
        ("", 5, "x has no value", "null"),
        ("[]", 6, "empty list", "null"),
        ("{}", 6, "a group without parameters", "{value: {}}"),
        ("[{a: 1}]", 7, "a mapping in a list", "sum:"),
        ("[{uniform: [0, 1]}]", 8, "cannot stand in a list", "sum:"),
        ("{range: [1]}", 14, "range needs its numbers, and there is 1", "[lo, hi, step]"),
        ("{range: [1, 2, 3, 4]}", 14, "there is 4", "[lo, hi, step]"),
        ("{range: 3}", 14, "the number 3", "range: [lo, hi]"),
        ("{linspace: [0, 1]}", 17, "needs its numbers", "[lo, hi, n]"),
        ("{geomspace: [0, 1, 3]}", 18, "geomspace", ""),
        ("{range: [0, 1, 0]}", 14, "step is 0", ""),
        ("{range: [0, x]}", 18, "needs a number here, not x", "0.01"),
        ("{range: [0, '1']}", 18, "needs a number here, not 1", "quotes"),
        ("{range: [0, 1e400]}", 18, "1e400 is beyond", "1e308"),
        ("{range: [0, true]}", 18, "not true", ""),
        ("{range: [0, [1]]}", 18, "not a list", ""),
        ("{range: [0, 1], step: 2}", 22, "step: goes with uniform", "[lo, hi, step]"),
        ("{linspace: [0, 1, 3], step: 2}", 28, "step: goes with uniform", "how many"),
        ("{value: 1, y: 2}", 17, "must be alone", "set:"),
        ("{value: }", 13, "a value is missing", "null"),
        ("{value: {a: }}", 17, "a value is missing", "null"),
        ("[1, {value: }]", 17, "a value is missing", "null"),
        ("{uniform: [0, 1, 2]}", 16, "needs its numbers", "[lo, hi]"),
        ("{uniform: [1, 0]}", 16, "uniform", ""),
        ("{uniform: [0, 1], step: a}", 30, "step needs a number", ""),
    ],
)
def test_bad_values(text, column, message, hint):
    result, faults = reading(f"sample: {{n: 1}}\nspace:\n  x: {text}\n")
    assert result.space is None
    with pytest.raises(FileFaults) as caught:
        faults.raise_any()
    (fault,) = caught.value.faults
    assert (fault.place.line, fault.place.column) == (3, column)
    assert message in fault.message
    assert hint in fault.hint


def test_large_numbers_of_distributions():
    got = points(
        "space: {x: {uniform: [0, 10], step: 5}, y: {normal: [0, 1]}, z: {loguniform: [1, 2]}}\nsample: {n: 9, seed: 3}\n"
    )
    assert len(got) == 9
    assert {point["x"] for point in got} <= {0, 5, 10}
    assert all(type(point["x"]) is int for point in got)


# Rule 2: groups, keywords, set


def test_groups_are_prefixes():
    grouped = space_points(
        "model:\n  sum:\n    - {kind: a, size: [1, 2]}\n    - {kind: b}\n  deep: {x: 1}\n  replicate: {seed: 2}\n"
    )
    flat = space_points(
        "sum:\n  - {model.kind: a, model.size: [1, 2]}\n  - {model.kind: b}\nmodel.deep.x: 1\nreplicate: {model.seed: 2}\n"
    )
    exact(grouped, flat)
    assert set(grouped[0]) == {"model.kind", "model.size", "model.deep.x", "model.seed"}


def test_a_name_and_a_group_may_share_their_beginning():
    exact(space_points("model: cnn\nmodel.x: [1, 2]\n"), [{"model": "cnn", "model.x": 1}, {"model": "cnn", "model.x": 2}])


def test_keywords_count_as_whole_keys_only():
    exact(space_points("a.sum: [1, 2]\nzipper: 3\n"), [{"a.sum": 1, "zipper": 3}, {"a.sum": 2, "zipper": 3}])


def test_set_holds_any_name():
    got = space_points("set: {sum: [1, 2], range: {range: [0, 1]}, choice: x}\ng: {set: {zip: 1}}\n")
    assert len(got) == 4
    exact(got[0], {"sum": 1, "range": 0, "choice": "x", "g.zip": 1})


@pytest.mark.parametrize("name", ["lr", "_x", "a-b", "model.layers.size", "+x", "~x", "db@y", "a/b", "x1", "@"])
def test_names(name):
    exact(space_points(f"'{name}': 1"), [{name: 1}])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("1x", "digit"),
        ("-x", "'-'"),
        ("a.1", "digit"),
        ("a b", "a space"),
        ("a..b", "dot"),
        (".a", "dot"),
        ("a.", "dot"),
        ("", "empty"),
        ("l\u00e4nge", "'\u00e4'"),
        ("a:b", "':'"),
        ("x\u0661", "'\u0661'"),
    ],
)
def test_bad_names(name, message):
    line, column, text, _ = the_fault(f"space:\n  '{name}': 1\n")
    assert (line, column) == (2, 3)
    assert message in text


# Rule 3: sum, product, zip, csv


def test_sums_products_and_zips_nest():
    text = """
product:
  - sum: [{a: [1, 2]}, {b: 3}]
  - sum:
      - zip: [{c: [1, 2]}, {d: [3, 4]}]
      - product: [{c: 5}, {e: [6, 7]}]
"""
    got = space_points(text.strip())
    assert len(got) == 3 * (2 + 2)
    exact(got[0], {"a": 1, "c": 1, "d": 3})
    exact(got[-1], {"b": 3, "c": 5, "e": 7})


def test_zip_pairs_equal_values():
    exact(
        space_points("zip: {a: [1, 1, 2], g: {b: [3, 4, 5]}, c: {range: [1, 3]}}"),
        [{"a": 1, "g.b": 3, "c": 1}, {"a": 1, "g.b": 4, "c": 2}, {"a": 2, "g.b": 5, "c": 3}],
    )


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("space:\n  sum: {a: 1}\n", (2, 8), "sum holds a list of blocks", "'- '"),
        ("space:\n  sum: []\n", (2, 8), "no blocks", "at least one"),
        ("space:\n  product: 3\n", (2, 12), "product holds a list", "- name: values"),
        ("space:\n  sum: [{a: 1}, 3]\n", (2, 17), "a block of sum must be a mapping", ""),
        ("space:\n  sum: [[{a: 1}]]\n", (2, 9), "a block of sum must be a mapping", "sum:"),
        ("space:\n  zip: {}\n", (2, 8), "no columns", "equal length"),
        ("space:\n  zip: {a: [1, 2], b: [3]}\n", (2, 20), "differ in length", "same number"),
        ("space:\n  zip: {a: [1, 2], b: 3}\n", (2, 20), "differ in length", "same number"),
        ("space:\n  zip: [{a: 1}, {a: 2}]\n", (2, 18), "a is set twice", ""),
        ("space:\n  zip: {a: [1], replicate: {s: 2}}\n", (2, 17), "replicate", "beside"),
        ("sample: {n: 1}\nspace:\n  zip: {a: {uniform: [0, 1]}}\n", (3, 9), "distribution", ""),
        ("space:\n  set: 3\n", (2, 8), "set holds a mapping", "set: {"),
        ("space: [1]\n", (1, 8), "space must be a mapping, not a list", "sum:"),
        ("space: 3\n", (1, 8), "not the number 3", ""),
        ("space:\n", (1, 7), "not nothing", "{}"),
        ("space:\n  lr:0.1\n", (2, 3), "not a text", "space is missing after the colon"),
        ("space:\n  range: [0, 1]\n", (2, 3), "range: stands where a name", "set:"),
    ],
)
def test_bad_trees(text, place, message, hint):
    fault = the_fault(text)
    assert fault[:2] == place
    assert message in fault[2]
    assert hint in fault[3]


def test_two_sums_in_one_mapping_go_under_product():
    with pytest.raises(FileFaults, match="product:"):
        read("space:\n  sum: [{a: 1}]\n  sum: [{b: 1}]\n")


# Rule 4: lists


def test_equal_items_are_said_and_dropped_once():
    result = read("space:\n  layers: [64, 64, 32]\n  y: [0, {range: [0, 1]}]\n")
    exact([point["layers"] for point in result.space.points()], [64, 64, 32, 32])
    first, second = result.warnings
    assert first.startswith("f.yaml:2:16: layers: 64 stands twice")
    assert "layers: {value: [...]}" in first
    assert second.startswith("f.yaml:3:10: y: 0 ")


def test_values_that_may_not_be_meant_are_said():
    text = "space:\n  a: True\n  b: 1e400\n  c: 'out-{{ a }}'\n  d: {min: 0, max: 1}\n  e: {linspce: [0, 1, 2]}\n  replicates: {seed: 3}\n"
    result = read(text)
    assert [warning.split(": ", 1)[0] for warning in result.warnings] == [
        "f.yaml:2:6",
        "f.yaml:3:6",
        "f.yaml:4:6",
        "f.yaml:5:3",
        "f.yaml:6:3",
        "f.yaml:7:3",
    ]
    assert next(iter(result.space.points()))["a"] == "True"
    assert "derive" in result.warnings[2]
    assert "linspace:" in result.warnings[4]
    assert "replicate:" in result.warnings[5]


def test_hashes_stay_texts_without_a_word():
    assert values("695e0514") == ["695e0514"]


# Rule 5: names


@pytest.mark.parametrize(
    ("text", "place", "first"),
    [
        ("space:\n  a.b: 1\n  a: {b: 2}\n", (3, 7), "line 2 (column 3)"),
        ("space:\n  lr: 1\n  sum:\n    - {x: 1}\n    - {lr: 2}\n", (5, 8), "line 2 (column 3)"),
        ("space:\n  product:\n    - {x: 1}\n    - {x: 2}\n", (4, 8), "line 3 (column 8)"),
        ("space:\n  set: {sum: 1}\n  product: [{set: {sum: 2}}]\n", (3, 20), "line 2 (column 9)"),
    ],
)
def test_factors_must_not_share_a_name(text, place, first):
    fault = the_fault(text)
    assert fault[:2] == place
    assert "is set twice" in fault[2]
    assert first in fault[2]
    assert "sum:" in fault[3]


def test_absent_is_not_null():
    exact(space_points("sum: [{a: 1, b: null}, {a: 2}]"), [{"a": 1, "b": None}, {"a": 2}])


# Rule 6: replicates


def test_replicates_are_innermost():
    exact(
        space_points("replicate: {seed: 2}\na: [1, 2]"),
        [{"a": 1, "seed": 0}, {"a": 1, "seed": 1}, {"a": 2, "seed": 0}, {"a": 2, "seed": 1}],
    )
    exact([point["seed"] for point in space_points("replicate: {seed: [7, x]}\na: 1")], [7, "x"])
    exact([point["r.s"] for point in space_points("replicate: {r: {s: {range: [1, 3]}}}")], [1, 2, 3])
    assert len(space_points("replicate: {seed: 3, fold: 2}")) == 6


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("space: {replicate: 3}\n", (1, 20), "replicate holds names"),
        ("space: {replicate: {}}\n", (1, 20), "replicate holds names"),
        ("space: {replicate: {seed: 0}}\n", (1, 27), "at least 1"),
        ("space: {replicate: {seed: x}}\n", (1, 27), "at least 1"),
        ("space: {replicate: {seed: true}}\n", (1, 27), "at least 1"),
        ("space: {replicate: {seed: }}\n", (1, 26), "at least 1"),
        ("sample: {n: 1}\nspace: {replicate: {s: {uniform: [0, 1]}}}\n", (2, 24), "needs a count"),
        ("space: {seed: 1, replicate: {seed: 3}}\n", (1, 30), "seed"),
        ("space:\n  sum:\n    - {a: 1, replicate: {seed: 3}}\n    - {b: 2}\n", (4, 7), "seed is a replicate"),
        ("space:\n  sum:\n    - {a: 1, replicate: {seed: 3}}\n    - {b: 2, seed: 1}\n", (4, 7), "seed is a replicate"),
    ],
)
def test_bad_replicates(text, place, message):
    fault = the_fault(text)
    assert fault[:2] == place
    assert message in fault[2]


# Rule 8: samples


def test_samples():
    text = "space: {a: [1, 2], x: {uniform: [0, 1]}, replicate: {seed: 2}}\nsample: {n: 3, seed: 1, per: %s}\n"
    assert len(points(text % "a")) == 2 * 3 * 2
    assert len(points(text % "[a]")) == 2 * 3 * 2
    assert points(text % "a") == points(text % "a")


@pytest.mark.parametrize(
    ("sample", "column", "message", "hint"),
    [
        ("3", 9, "sample is a mapping", "sample: {n: 3}"),
        ("{m: 3, n: 1}", 10, "no key 'm'", ""),
        ("{n: 1, metod: lhs}", 16, "no key 'metod'", "'method'"),
        ("{seed: 1}", 9, "needs n", "n: 50"),
        ("{n: 0}", 13, "at least 1", ""),
        ("{n: 1.5}", 13, "whole number", ""),
        ("{n: true}", 13, "whole number", ""),
        ("{n: 1, seed: -1}", 22, "at least 0", ""),
        ("{n: 1, method: sobel}", 24, "random, sobol or lhs", "'sobol'"),
        ("{n: 1, method: [a]}", 24, "random, sobol or lhs", "random"),
        ("{n: 1, per: b}", 21, "no parameter 'b'", "there are a, u"),
        ("{n: 1, per: [a, 1]}", 25, "names of parameters", ""),
        ("{n: 1, per: seed}", 21, "replicate", ""),
        ("{n: 1, per: u}", 21, "continuum", ""),
    ],
)
def test_bad_samples(sample, column, message, hint):
    fault = the_fault(f"sample: {sample}\nspace: {{a: 1, u: {{uniform: [0, 1]}}, replicate: {{seed: 2}}}}\n")
    assert fault[:2] == (1, column)
    assert message in fault[2]
    assert hint in fault[3]


def test_a_distribution_needs_a_sample():
    assert [fault[:2] for fault in found("space:\n  a: {uniform: [0, 1]}\n  b: {normal: [0, 1]}\n")] == [(2, 3), (3, 3)]
    assert not reading("space:\n  a: {uniform: [0, 1]}\nsearch: {n: 3}\n")[1]


# Rules 9 and 10: derive, where, exclude, include


def test_derived_values_are_parameters():
    got = points("space: {a.b: [1, 2]}\nderive:\n  c: a.b * 2\n  d: {e: c + 1}\n  f: 7\n")
    exact(got, [{"a.b": 1, "c": 2, "d.e": 3, "f": 7}, {"a.b": 2, "c": 4, "d.e": 5, "f": 7}])


def test_conditions():
    assert len(points("space: {a: [1, 2, 3], b: [1, 2]}\nwhere: a > b\n")) == 3
    assert len(points("space: {a: [1, 2, 3], b: [1, 2]}\nwhere: [a > b, b == 2]\n")) == 1
    assert len(points("space: {a: [1, 2, 3], b: [1, 2]}\nexclude: {a: [1, 2], b: 1}\n")) == 4
    assert len(points("space: {a: [1, 2, 3], b: [1, 2]}\nexclude: [{a: 1}, {a: 2, b: 1}]\n")) == 3
    assert len(points("space: {a: [1, 2, 3], b: [1, 2]}\nexclude: {sum: [{a: 1}, {b: 2}]}\n")) == 2
    assert len(points("space: {a: [1, 2], c: 5, replicate: {s: 2}}\nwhere: a > 1\ninclude: [{a: [1, 9], s: 4}]\n")) == 4


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("where: lr > foo", (2, 13), "foo", ""),
        ("where: 'lr > foo'", (2, 14), "foo", ""),
        ("where: |\n  lr > foo", (2, 8), "foo", ""),
        ("where: [lr > 1, 'lr >']", (2, 22), "where", ""),
        ("where: 3", (2, 8), "not the number 3", "lr < 0.1"),
        ("where: [[lr]]", (2, 9), "not a list", ""),
        ("where: '{{ lr > 1 }}'", (2, 8), "without {{ }}", "lr > 1"),
        ("where: seed > 1", (2, 8), "seed is a replicate", "parameter"),
        ("derive: [a]", (2, 9), "derive holds names", "warmup"),
        ("derive: {a: [1]}", (2, 13), "needs an expression", ""),
        ("derive: {a: }", (2, 12), "needs an expression", ""),
        ("derive: {1a: lr}", (2, 10), "digit", ""),
        ("derive: {lr: 1}", (2, 10), "lr is set twice: here, and on line 1 (column 9)", ""),
        ("derive: {seed: 1}", (2, 10), "seed is set twice", ""),
        ("derive: {a: b, b: lr}", (2, 13), "b", "b is derived below"),
        ("derive: {a: a}", (2, 13), "a", ""),
        ("derive: {a: seed}", (2, 13), "replicate", ""),
        ("derive: {a: lr, c: {d: 1}, c.d: 2}", (2, 28), "c.d is set twice", ""),
        ("exclude: {lrr: 1}", (2, 11), "'lrr'", "'lr'"),
        ("exclude: [{lr: 1}, 3]", (2, 20), "an entry of exclude must be a mapping", ""),
        ("exclude: {}", (2, 10), "every point", "at least one"),
        ("exclude: {seed: 1}", (2, 11), "replicate", ""),
        ("exclude: {lr: {uniform: [0, 1]}}", (2, 11), "continuum", ""),
        ("exclude: {lr: []}", (2, 15), "empty list", ""),
        ("include: {lr: 1}", (2, 10), "must set seed", ""),
        ("include: [{lr: 1, seed: 1}, {seed: 3}]", (2, 29), "must set lr", ""),
        ("include: {lr: 1, seed: 1, zz: 1}", (2, 27), "'zz'", ""),
        ("derive: {a: lr}\ninclude: {lr: 1, seed: 1, a: 1}", (3, 27), "derived", "leave it out"),
    ],
)
def test_bad_conditions(text, place, message, hint):
    faults = found(f"space: {{lr: [1, 2], k: 3, replicate: {{seed: 2}}}}\n{text}\n")
    assert faults[0][:2] == place
    assert message in faults[0][2]
    assert hint in faults[0][3]
    assert len(faults) == 1


def test_conditions_are_not_judged_by_names_that_are_unknown():
    assert len(found("space: {csv: not-there.csv, a: 1}\nwhere: b > 1\n")) == 1
    assert len(found("space: {a: []}\nwhere: a > b\n")) == 2


def test_names_are_known_after_faults():
    text = "space: {a: [], b: 1, replicate: {s: 2}}\nderive: {d: b + zz}\n"
    result, faults = reading(text)
    assert faults
    assert result.names == ("a", "b", "d", "s")
    assert reading("space: {csv: not-there.csv, b: 1}")[0].names is None
    assert read("space: {a: 1, replicate: {s: 2}}\nderive: {d: a}").names == ("a", "d", "s")


def test_no_points_is_an_error_that_names_the_condition():
    with pytest.raises(HpcsweepError, match="a > 5"):
        points("space: {a: [1, 2]}\nwhere: a > 5\n")


@pytest.mark.parametrize("key", ["where: a > 1", "derive: {b: a}", "exclude: {a: 1}", "include: {a: 1}", "sample: {n: 3}"])
def test_what_belongs_beside_the_space(key):
    faults = found(f"space:\n  a: 1\n  {key}\n")
    assert (3, 3) in [fault[:2] for fault in faults]
    assert any("one level up" in fault[3] for fault in faults)


def test_a_parameter_called_sample():
    assert len(space_points("sample: [left, right]")) == 2


# Rule 12: the other front end


def front(expression):
    blocks = "a: {x: [1, 2]}, b: {y: [1, 2, 3]}, c: {y: 9}"
    return list(read(f"spaces: {{{blocks}}}\nsweep: {expression}\n").space.points())


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("a", 2),
        ("a * b", 6),
        ("a + b", 5),
        ("a * (b + c)", 8),
        ("a * b + c", 7),
        ("3 * a", 6),
        ("a * 3", 6),
        ("2 * 3 * a", 12),
        ("2 * (3 * a)", 12),
        ("(2 * 3) * a", 12),
        ("a * (b + c) * 3", 24),
        ("2 * a + b", 7),
        ("a + a", 2),
        ("((a))", 2),
        ("2 * a * (3 * b)", 36),
    ],
)
def test_the_sum_and_product_front_end(expression, count):
    assert len(front(expression)) == count


def test_the_front_end_gives_the_same_tree():
    text = "spaces: {data: {d: [1, 2]}, sgd: {lr: [1, 2]}, adam: {lr: 3, beta: 4}}\nsweep: data * (sgd + adam) * 3\n"
    exact(points(text), space_points("d: [1, 2]\nsum: [{lr: [1, 2]}, {lr: 3, beta: 4}]\nreplicate: {rep: 3}"))


@pytest.mark.parametrize(
    ("expression", "column", "message", "hint"),
    [
        ("a * d", 12, "no space 'd'", "a, b, c"),
        ("a + ", 11, "not the end", ""),
        ("(a + b", 8, "never closed", ")"),
        ("a + b)", 13, "')' cannot stand here", "("),
        ("a b", 10, "'b' cannot stand here", "+ or *"),
        ("3", 8, "an expression of the spaces", "data"),
        ("2 * 3", 8, "a number alone", "3 * data"),
        ("a + 3", 12, "cannot be added", "3 * data"),
        ("0 * a", 8, "0 copies", ""),
        ("a - b", 10, "subtracted", "exclude"),
        ("a / b", 10, "'/' cannot stand here", ""),
        ("b * c", 12, "y is in two factors", "+"),
        ("a * a", 12, "x is in two factors", "+"),
        ("'a * d'", 13, "no space 'd'", ""),
        ("+", 8, "expected, not '+'", ""),
        ("[a]", 8, "an expression of the spaces", ""),
        ("(" * 60 + "a" + ")" * 60, 58, "50 parentheses", ""),
    ],
)
def test_bad_expressions_of_spaces(expression, column, message, hint):
    text = f"spaces: {{a: {{x: [1, 2]}}, b: {{y: [1, 2, 3]}}, c: {{y: 9}}}}\nsweep: {expression}\n"
    fault = the_fault(text)
    assert fault[:2] == (2, column)
    assert message in fault[2]
    assert hint in fault[3]


def test_spaces_and_sweep_go_together():
    assert "spaces: needs sweep:" in the_fault("spaces: {a: {x: 1}}\n")[2]
    assert "there is no spaces:" in found("sweep: a * b\n")[0][2]
    assert "exclude each other" in the_fault("space: {y: 1}\nspaces: {a: {x: 1}}\nsweep: a\n")[2]
    assert "named spaces" in the_fault("spaces: [1]\nsweep: a\n")[2]
    assert "cannot be called" in the_fault("spaces: {a-b: {x: 1}, c: {y: 1}}\nsweep: c\n")[2]
    result = read("spaces: {a: {x: 1}, b: {y: 1}}\nsweep: a\n")
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith("f.yaml:1:21: the space b is not used")


def test_aliases_and_merges_make_spaces():
    got = points(
        "base: &base {a: [1, 2], b: 3}\nspace:\n  sum:\n    - {<<: *base, kind: x}\n    - {<<: *base, b: 4, kind: y}\n"
    )
    exact(got[0], {"a": 1, "b": 3, "kind": "x"})
    exact(got[-1], {"a": 2, "b": 4, "kind": "y"})


# Rule 13: words of other tools


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("x: {choice: [1, 2]}", "the list itself"),
        ("x: {values: [1, 2]}", "the list itself"),
        ("x: {randint: [0, 10]}", "step: 1"),
        ("x: {quniform: [0, 10, 2]}", "step: q"),
        ("x: {qloguniform: [1, 10, 2]}", "loguniform"),
        ("x: {logspace: [-4, -1, 4]}", "geomspace"),
        ("x: {distribution: uniform, min: 0, max: 1}", "uniform"),
        ("x: {grid_search: [1, 2]}", "list"),
        ("repeat: 3", "replicate"),
    ],
)
def test_words_of_other_tools(text, hint):
    fault = the_fault(f"space:\n  {text}\n")
    assert "another tool's word" in fault[2]
    assert hint in fault[3]
    assert "set:" in fault[3]


# Rule 14


def test_the_empty_space_is_one_task():
    assert points("space: {}\n") == [{}]
    assert points("space: {sum: [{}, {a: 1}]}\n") == [{}, {"a": 1}]


def test_a_missing_space_is_an_error():
    assert "there is no space:" in the_fault("command: echo\n")[2]


def test_nothing_is_enumerated_while_it_is_read():
    axes = "".join(f"  x{k}: {{range: [1, 1000]}}\n" for k in range(6))
    assert read(f"space:\n{axes}").space.tree.count() == 10**18


def test_nested_conditional_layers():
    layers = "{units: [1, 2, 4], rate: [0.0, 0.5, 0.9], kind: [a]}"
    text = f"space:\n  l1: {{sum: [{layers}, {{none: [x, y]}}]}}\n  l2: {{sum: [{layers}, {{none: [x, y]}}]}}\n"
    assert len(points(text)) == 11**2


def test_all_faults_at_once():
    text = """
space:
  a: []
  b: {range: [1]}
  sum:
    - c: {choice: [1]}
    - 1d: 3
sample: {n: 0}
derive: {e: }
where: 3
exclude: 4
"""
    lines = [fault[0] for fault in found(text)]
    assert lines[:5] == [3, 4, 6, 7, 8]
    assert len(lines) >= 5


# Whatever is in the file, faults are all that comes out


KEYS = st.sampled_from(
    [
        "a",
        "b",
        "a.b",
        "sum",
        "product",
        "zip",
        "csv",
        "replicate",
        "set",
        "range",
        "uniform",
        "value",
        "step",
        "choice",
        "1x",
        "<<",
        "sample",
        "n",
        "where",
    ]
)
LEAVES = st.sampled_from([None, 1, -1, 0, 1.5, True, "x", "a > 1", "{{ a }}", "1e400", "p.csv", "", 10**30])
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
SWEEPS = st.fixed_dictionaries(
    {"space": TREES},
    optional=dict.fromkeys(("spaces", "sweep", "derive", "where", "exclude", "include", "sample"), TREES),
)


@settings(deadline=None, max_examples=300)
@given(SWEEPS)
def test_any_tree_gives_a_space_or_faults(sweep):
    result, faults = reading(json.dumps(sweep), {"p.csv": "a,b\n1,2\n"})
    assert (result.space is None) == bool(faults)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from(["a", "b.c", "d-e", "_f"]), st.lists(LEAVES, min_size=1, max_size=4)))
def test_lists_multiply(columns):
    result, faults = reading(json.dumps({"space": columns}))
    assert not faults
    expected = 1
    for column in columns.values():
        expected *= len({json.dumps(value) for value in column})
    assert len(list(result.space.points())) == expected
