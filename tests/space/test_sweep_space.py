from itertools import islice

import pytest
from hypothesis import given
from space_strategies import Written, bag, trees

from hpcsweep.errors import HpcsweepError
from hpcsweep.space import (
    Distribution,
    Product,
    Replicate,
    Rows,
    Sample,
    SpaceError,
    Sum,
    SweepSpace,
    Values,
    Zip,
    canonical,
    tree_lines,
)
from hpcsweep.space import sweep_space as module


def values(name, count):
    return Values(name, range(count))


def optimizers(**more):
    """The sweep file's own example."""
    tree = Product(
        [
            Values("dataset", ["digits", "moons"]),
            Values("epochs", [30]),
            Values("layers", [[64, 64]]),
            Sum(
                [
                    Product([Values("optimizer", ["sgd"]), Values("lr", [0.1, 0.01]), Values("momentum", [0.0, 0.9])]),
                    Product([Values("optimizer", ["adam"]), Values("lr", [1e-4, 1e-3, 1e-2])]),
                    Zip([Values("optimizer", ["lion", "sam"]), Values("lr", [1e-4, 5e-2])]),
                ]
            ),
        ]
    )
    where = "not (optimizer == 'sgd' and lr > 0.05 and dataset == 'moons')"
    return SweepSpace(
        **{
            "tree": Replicate(tree, {"seed": 3}),
            "derive": [("warmup", Written("(0.1 * epochs) | int", lambda p: int(0.1 * p["epochs"])))],
            "where": [Written(where, lambda p: not (p["optimizer"] == "sgd" and p["lr"] > 0.05 and p["dataset"] == "moons"))],
            "exclude": [Product([Values("dataset", ["moons"]), Values("optimizer", ["lion"])])],
            "include": [
                Product(
                    [
                        Values(k, [v])
                        for k, v in {"dataset": "digits", "optimizer": "sgd", "lr": 0.3, "momentum": 0.9, "seed": 0}.items()
                    ]
                )
            ],
            **more,
        }
    )


def test_the_example():
    expansion = optimizers().expand()
    assert len(expansion.points) == (2 * 9 - 2 - 1) * 3 + 1
    assert list(expansion.rejected.values()) == [2, 1]
    assert (expansion.dropped, expansion.is_complete) == (0, True)
    assert list(expansion.points[0].items()) == [
        ("dataset", "digits"),
        ("epochs", 30),
        ("layers", [64, 64]),
        ("optimizer", "sgd"),
        ("lr", 0.1),
        ("momentum", 0.0),
        ("warmup", 3),
        ("seed", 0),
    ]
    assert list(expansion.points[-1].items()) == [
        ("dataset", "digits"),
        ("epochs", 30),
        ("layers", [64, 64]),
        ("optimizer", "sgd"),
        ("lr", 0.3),
        ("momentum", 0.9),
        ("warmup", 3),
        ("seed", 0),
    ]


@given(trees())
def test_equal_points_are_dropped_once_and_counted(tree):
    expansion = SweepSpace(tree=tree).expand()
    assert bag(expansion.points) == dict.fromkeys(bag(tree), 1)
    assert expansion.dropped == len(tree) - len(expansion.points)
    assert bool(expansion.examples) == bool(expansion.dropped)
    known = SweepSpace(tree=tree).known_count()
    assert known in (None, len(expansion.points))


def test_equal_points_of_blocks_with_other_counts_keep_the_most():
    block = values("a", 1)
    for blocks in ([Replicate(block, {"rep": 2}), Replicate(block, {"rep": 3})], [Replicate(block, {"rep": 3}), block]):
        expansion = SweepSpace(tree=Sum(blocks)).expand()
        assert bag(expansion.points) == bag([{"a": 0, "rep": k} for k in range(3)])
        assert expansion.dropped == Sum(blocks).count() - 3


def test_a_million_points_are_lazy():
    space = SweepSpace(tree=Product([values("a", 10**6), values("b", 10**6)]), where=[Written("b > 3", lambda p: p["b"] > 3)])
    assert list(islice(space.points(), 2)) == [{"a": 0, "b": 4}, {"a": 0, "b": 5}]
    assert list(space.points(limit=1)) == [{"a": 0, "b": 4}]
    expansion = space.expand(limit=3)
    assert (len(expansion.points), expansion.is_complete) == (3, False)
    with pytest.raises(HpcsweepError, match="1,000,000,000,000 points, more than"):
        space.expand()


def test_a_limit_that_is_the_number_of_points_is_complete():
    space = SweepSpace(tree=values("a", 3))
    assert [space.expand(limit=n).is_complete for n in (1, 2, 3, 4)] == [False, False, True, True]


def test_the_empty_space_is_one_point():
    space = SweepSpace(tree=Product([]))
    assert list(space.points()) == [{}]
    assert space.known_count() == 1


def test_derived_values_may_use_those_above_and_enter_the_point():
    space = SweepSpace(
        tree=values("a", 2),
        derive=[("b", Written("a + 1", lambda p: p["a"] + 1)), ("c", Written("b * 10", lambda p: p["b"] * 10))],
        where=[Written("c > 10", lambda p: p["c"] > 10)],
    )
    assert list(space.points()) == [{"a": 1, "b": 2, "c": 20}]
    assert space.names == ("a", "b", "c")
    assert space.always == {"a", "b", "c"}


def test_exclude_matches_partially_and_exactly():
    tree = Product([Values("a", [1, 1.0, True, "1"]), values("b", 2)])
    assert len(SweepSpace(tree=tree, exclude=[Values("a", [1])]).expand().points) == 6
    both = SweepSpace(tree=tree, exclude=[Product([Values("a", [1, "1"]), Values("b", [0])]), Values("b", [1])]).expand()
    assert bag(both.points) == bag([{"a": 1.0, "b": 0}, {"a": True, "b": 0}])
    assert list(both.rejected.items()) == [("exclude: entry 1 (a, b)", 2), ('exclude: {"b":1}', 4)]


def test_exclude_of_a_name_that_a_point_lacks_does_not_match():
    space = SweepSpace(tree=Sum([values("a", 2), values("b", 2)]), exclude=[Values("a", [0, 1])])
    assert list(space.points()) == [{"b": 0}, {"b": 1}]


def test_exclude_may_use_derived_values_and_rows():
    derive = [("b", Written("a % 2", lambda p: p["a"] % 2))]
    space = SweepSpace(tree=values("a", 4), derive=derive, exclude=[Rows([{"b": 1, "a": 3}, {"a": 0}])])
    assert [point["a"] for point in space.points()] == [1, 2]


def test_include_only_ever_adds():
    space = SweepSpace(
        tree=Product([values("a", 2), Values("k", [5])]),
        where=[Written("a == 0", lambda p: p["a"] == 0)],
        include=[Values("a", [0, 1, 7, 7]), Product([Values("a", [0]), Values("k", [6])])],
    )
    assert list(space.points()) == [{"a": 0, "k": 5}, {"a": 1, "k": 5}, {"a": 7, "k": 5}, {"a": 0, "k": 6}]
    assert space.expand().dropped == 2  # what is there already, and what is included twice


def test_include_fills_constants_of_all_blocks_counts_and_derived_values():
    tree = Sum(
        [
            Replicate(Product([Values("k", [1]), Values("o", ["x"])]), {"rep": 2}),
            Product([Values("k", [1]), Values("o", ["y"])]),
        ]
    )
    derive = [("d", Written("o ~ k", lambda p: f"{p['o']}{p['k']}"))]
    space = SweepSpace(
        tree=tree, derive=derive, include=[Values("o", ["z"]), Product([Values("o", ["w"]), Values("rep", [4])])]
    )
    assert list(space.points())[3:] == [{"k": 1, "o": "z", "d": "z1", "rep": 0}, {"k": 1, "o": "w", "d": "w1", "rep": 4}]


def test_include_may_say_a_derived_value_itself():
    space = SweepSpace(
        tree=values("a", 1),
        derive=[("b", Written("a", lambda p: p["a"]))],
        include=[Product([Values("a", [3]), Values("b", [9])])],
    )
    assert list(space.points()) == [{"a": 0, "b": 0}, {"a": 3, "b": 9}]


def test_included_points_are_enough():
    space = SweepSpace(tree=values("a", 2), where=[Written("false", lambda _: False)], include=[Values("a", [5])])
    assert list(space.points()) == [{"a": 5}]


def test_no_points_names_the_last_condition_that_rejected():
    small, never = Written("a < 2", lambda p: p["a"] < 2), Written("a > 2", lambda p: p["a"] > 2)
    late = Written("a != 9", lambda p: p["a"] != 9)
    with pytest.raises(HpcsweepError, match=r"no points: the last of them \(2\) were rejected by where: a > 2"):
        SweepSpace(tree=values("a", 4), where=[small, never, late]).expand()
    with pytest.raises(HpcsweepError, match=r'rejected by exclude: {"k":1}'):
        list(SweepSpace(tree=Values("k", [1]), exclude=[Values("k", [1])]).points(limit=3))


def test_a_condition_that_fails_says_at_which_point():
    space = SweepSpace(tree=Values("a", [1]), where=[Written("b > 1", lambda p: p["b"] > 1)])
    with pytest.raises(HpcsweepError, match=r'where: b > 1: b is undefined \(at the point {"a":1}\)'):
        space.expand()


def test_a_condition_gives_true_or_false():
    with pytest.raises(HpcsweepError, match=r"gives 1, not true or false \(at the point"):
        SweepSpace(tree=Values("a", [1]), where=[Written("a", lambda p: p["a"])]).expand()


def test_a_derived_value_is_a_value():
    with pytest.raises(HpcsweepError, match=r"derive: b: inf is not a value.*at the point"):
        SweepSpace(tree=Values("a", [1]), derive=[("b", Written("1e999", lambda _: float("inf")))]).expand()


def test_a_distribution_without_a_sample():
    with pytest.raises(HpcsweepError, match="sampled, not counted"):
        SweepSpace(tree=Distribution(name="lr", kind="uniform", low=0, high=1)).expand()


seeds = Replicate(Product([values("a", 2), Values("k", [1])]), {"seed": 2})


@pytest.mark.parametrize(
    ("parts", "said", "names"),
    [
        ({"derive": [("a", Written("1", lambda _: 1))]}, "a is a parameter", ("a",)),
        ({"derive": [("seed", Written("1", lambda _: 1))]}, "seed is a parameter", ("seed",)),
        ({"derive": [("b", Written("1", lambda _: 1)), ("b", Written("2", lambda _: 2))]}, "b is derived twice", ("b",)),
        ({"derive": [("b", Written("seed", lambda _: 1, frozenset({"seed"})))]}, "seed is a replicate", ("seed",)),
        ({"where": [Written("seed > 0", lambda _: True, frozenset({"seed"}))]}, "seed is a replicate", ("seed",)),
        ({"exclude": [Values("seed", [1])]}, "seed is a replicate", ("seed",)),
        ({"exclude": [Values("kk", [1])]}, "entry 1: there is no parameter kk", ("kk",)),
        ({"exclude": [Product([])]}, "names no parameter", ()),
        ({"exclude": [Distribution(name="a", kind="uniform", low=0, high=1)]}, "distribution", ("a",)),
        ({"include": [Replicate(Values("a", [1]), {"seed": 2})]}, "replicate in it", ("seed",)),
        ({"include": [Values("zz", [1])]}, "no parameter zz", ("zz",)),
        ({"include": [Product([Values("a", [1]), Values("seed", [0])]), Values("a", [1])]}, "entry 2 must set seed", ("seed",)),
        ({"include": [Sum([Values("a", [1]), Values("seed", [1])])]}, "must set a, seed", ("a", "seed")),
    ],
)
def test_parts_that_do_not_fit(parts, said, names):
    with pytest.raises(SpaceError, match=said) as caught:
        SweepSpace(tree=seeds, **parts)
    assert caught.value.names == names


def test_points_do_not_depend_on_a_block_put_between():
    """Ids are of the points alone: what already ran is found again."""
    before = optimizers().tree.space.factors[3]
    after = Sum([before.blocks[0], Values("optimizer", ["new"]), *before.blocks[1:]])
    assert set(bag(before)) < set(bag(after))


def test_known_counts():
    assert SweepSpace(tree=seeds).known_count() == 4
    assert SweepSpace(tree=seeds, where=[Written("true", lambda _: True)]).known_count() is None
    assert SweepSpace(tree=seeds, sample=Sample(n=1)).known_count() is None
    assert SweepSpace(tree=Values("a", [1, 1])).known_count() is None
    apart = Sum([Product([Values("o", ["x"]), values("a", 10**9)]), Product([Values("o", ["y"]), values("a", 10**9)])])
    assert SweepSpace(tree=apart).known_count() == 2 * 10**9


def test_expanding_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_POINTS", 10)
    assert len(SweepSpace(tree=values("a", 10)).expand().points) == 10
    with pytest.raises(HpcsweepError, match="11 points, more than the 10") as caught:
        SweepSpace(tree=values("a", 11)).expand()
    assert "--limit" in caught.value.hint
    assert len(SweepSpace(tree=values("a", 11)).expand(limit=11).points) == 11


def test_the_tree_as_lines():
    space = optimizers()
    assert tree_lines(space) == [
        "replicate seed: 3 values 0, 1, 2: 54 points",
        "  product: 18 points",
        "    dataset: 2 values digits, moons",
        "    epochs: 30",
        "    layers: [64, 64]",
        "    sum: 9 points",
        "      product: 4 points",
        "        optimizer: sgd",
        "        lr: 2 values 0.1, 0.01",
        "        momentum: 2 values 0.0, 0.9",
        "      product: 3 points",
        "        optimizer: adam",
        "        lr: 3 values 0.0001, 0.001, 0.01",
        "      zip: 2 points",
        "        optimizer: 2 values lion, sam",
        "        lr: 2 values 0.0001, 0.05",
        "derive warmup: (0.1 * epochs) | int",
        "where: not (optimizer == 'sgd' and lr > 0.05 and dataset == 'moons')",
        'exclude: {"dataset":"moons","optimizer":"lion"}',
        "include: 1 point",
    ]
    lines = tree_lines(space, space.expand())
    assert "where: not (optimizer == 'sgd' and lr > 0.05 and dataset == 'moons'): rejected 2" in lines
    assert lines[-1] == "46 points"
    assert tree_lines(space, space.expand(limit=7))[-1] == "more than 7 points, looked at no further"


def test_lines_of_samples_and_long_lists():
    lr = Distribution(name="lr", kind="loguniform", low=1e-5, high=0.1)
    steps = Distribution(name="steps", kind="uniform", low=1, high=9, step=2)
    tree = Product([values("a", 10**6), lr, steps, Values("text", ["x" * 100, " y"]), Rows([{"r": 1}, {"q": 2}])])
    assert tree_lines(SweepSpace(tree=tree, sample=Sample(n=5, method="sobol", per=("r", "q")))) == [
        "product: continuous",
        "  a: 1,000,000 values 0 … 999999",
        "  lr: loguniform 1e-05 … 0.1",
        "  steps: uniform 1 … 9, step 2",
        f'  text: 2 values {"x" * 59}… … " y"',
        "  rows: 2 points of r, q",
        "sample: 5 points for each combination of r, q, sobol, seed 0",
    ]


def test_dropped_points_are_shown():
    space = SweepSpace(tree=Values("a", [1, 2, 1]))
    assert tree_lines(space, space.expand())[1:] == ['equal points dropped: 1 ({"a": 1})', "2 points"]


def test_values_of_points_are_those_of_the_tree():
    points = list(optimizers().points())
    assert all(canonical(point["layers"]) == "[64,64]" for point in points)


def test_an_exclusion_of_too_many_points_points_to_where():
    with pytest.raises(HpcsweepError, match="entry 1 has 1,000,001 points") as caught:
        SweepSpace(tree=Values("a", [1]), exclude=[values("a", 1_000_001)]).expand()
    assert "where" in caught.value.hint


def test_nothing_rejected_is_no_condition_of_the_error():
    space = SweepSpace(tree=Zip([Values("a", [1]), Rows([{"b": 1}])]), where=[Written("b == 1", lambda p: p["b"] == 1)])
    assert list(space.points()) == [{"a": 1, "b": 1}]
