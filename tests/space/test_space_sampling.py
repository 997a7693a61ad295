import sys
from collections import Counter
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
    sampling,
    strata,
)
from hpcsweep.space.forms import make_range

METHODS = ["random", "sobol", "lhs"]
every_method = pytest.mark.parametrize("method", METHODS)

lr = Distribution(name="lr", kind="loguniform", low=1e-5, high=1.0)


def values(name, count):
    return Values(name, range(count))


def draw(tree, n, method="random", seed=0, per=(), **more):
    return list(SweepSpace(tree=tree, sample=Sample(n=n, method=method, seed=seed, per=per), **more).points())


@every_method
def test_n_distinct_points_of_a_trillion(method):
    tree = Product([values("a", 10**6), Sum([values("b", 10**6), Product([values("c", 10**3), values("d", 10**3)])])])
    points = draw(tree, 200, method)
    assert len(bag(points)) == len(points) == 200
    assert draw(tree, 200, method) == points
    assert draw(tree, 200, method, seed=1) != points


@pytest.mark.parametrize("method", ["random", "sobol"])
@given(tree=trees(), n=st.integers(1, 30), more=st.integers(0, 30), seed=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_raising_n_keeps_the_earlier_points(method, tree, n, more, seed):
    fewer, all_ = bag(draw(tree, n, method, seed)), bag(draw(tree, n + more, method, seed))
    assert not fewer - all_


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_raising_n_appends(method):
    tree = Product([values("a", 1000), lr])
    assert draw(tree, 300, method)[:50] == draw(tree, 50, method)


@every_method
@given(tree=trees(), n=st.integers(1, 300))
@settings(max_examples=30, deadline=None)
def test_a_smaller_stratum_gives_all_it_has(method, tree, n):
    points = draw(tree, n, method)
    everything = bag(SweepSpace(tree=tree).points())
    assert set(bag(points)) <= set(everything)
    bases = {frozenset(point.items()) - {("rep", point.get("rep"))} for point, _ in zip(points, points, strict=True)}
    assert len(bases) <= n
    if tree.base_count() <= n:
        assert bag(points) == everything


def test_a_draw_of_a_name_knows_nothing_of_other_names():
    alone = [point["lr"] for point in draw(lr, 20)]
    assert [point["lr"] for point in draw(Product([values("a", 50), lr]), 20)] == alone
    assert [point["lr"] for point in draw(Product([lr, Values("b", ["x", "y"]), Zip([values("c", 4)])]), 20)] == alone


def test_a_draw_is_the_hash_that_the_contract_says():
    """seed, stratum, index and name, hashed: what makes draws the same on every machine, for ever."""
    for index, point in enumerate(draw(Product([lr, values("a", 1000)]), 5, seed=3)):
        hashes = [sha256(f"3\0{{}}\0{index}\0{name}".encode()).digest()[:8] for name in ("lr", "a")]
        u, v = (int.from_bytes(number, "big") / 2**64 for number in hashes)
        assert point["lr"] == pytest.approx(10 ** (-5 * (1 - u)))
        assert point["a"] == int(v * 1000)


def test_lists_are_drawn_evenly():
    counts = Counter(point["a"] for point in draw(Product([Values("a", "xyz"), lr]), 3000))
    assert all(850 < number < 1150 for number in counts.values())


def test_blocks_are_drawn_by_their_size():
    tree = Sum([Product([Values("o", ["small"]), values("x", 1000)]), Product([Values("o", ["big"]), values("x", 9000)])])
    counts = Counter(point["o"] for point in draw(tree, 1000))
    assert 60 < counts["small"] < 140


def test_blocks_are_drawn_equally_when_any_is_continuous():
    tree = Sum([Product([Values("o", ["listed"]), values("x", 10**6)]), Product([Values("o", ["drawn"]), lr])])
    counts = Counter(point["o"] for point in draw(tree, 1000))
    assert 430 < counts["drawn"] < 570


@every_method
def test_grids_with_draws_in_each_stratum(method):
    tree = Product(
        [Values("dataset", ["digits", "moons"]), values("layers", 3), lr, Distribution(name="x", kind="normal", mu=0, sigma=1)]
    )
    points = draw(tree, 5, method, per=("dataset", "layers"))
    assert Counter((point["dataset"], point["layers"]) for point in points) == {
        (d, k): 5 for d in ("digits", "moons") for k in range(3)
    }
    assert len({point["lr"] for point in points}) == 30


def test_strata_where_names_are_absent_or_paired():
    tree = Sum(
        [
            Product([Values("o", ["sgd"]), Values("m", [0, 0.9]), lr]),
            Product([Values("o", ["adam"]), lr]),
            Product([Zip([Values("o", ["lion", "sam"]), Values("wd", [1, 2])]), lr]),
        ]
    )
    points = draw(tree, 4, per=("o", "m"))
    assert Counter((point["o"], point.get("m")) for point in points) == {
        ("sgd", 0): 4,
        ("sgd", 0.9): 4,
        ("adam", None): 4,
        ("lion", None): 4,
        ("sam", None): 4,
    }
    assert {(point["o"], point["wd"]) for point in points if "wd" in point} == {("lion", 1), ("sam", 2)}


def test_one_stratum_in_two_blocks_is_drawn_from_both():
    tree = Sum([Product([Values("o", ["a", "b"]), values("x", 2)]), Product([Values("o", ["a"]), values("y", 5)])])
    points = draw(tree, 6, per=("o",))
    assert Counter(point["o"] for point in points) == {"a": 6, "b": 2}


def test_strata_of_rows():
    points = draw(Product([Rows([{"o": 1, "k": 1}, {"o": 1, "k": 2}, {"o": 2}]), lr]), 3, per=("o",))
    assert Counter(point["o"] for point in points) == {1: 3, 2: 3}


@every_method
def test_rejected_draws_are_drawn_again(method):
    where = [Written("a % 10 == 0", lambda p: p["a"] % 10 == 0)]
    points = draw(Product([values("a", 1000), lr]), 50, method, where=where, exclude=[Values("a", range(500))])
    assert len(points) == 50
    assert all(point["a"] % 10 == 0 and point["a"] >= 500 for point in points)


def test_conditions_may_use_up_a_finite_stratum():
    where = [Written("a == 7", lambda p: p["a"] == 7)]
    assert bag(draw(Product([values("a", 100), values("b", 100)]), 500, where=where)) == bag(
        {"a": 7, "b": b} for b in range(100)
    )


def test_raising_n_into_the_last_points_of_a_stratum_keeps_the_earlier_ones():
    where = [Written("b < 50", lambda p: p["b"] < 50)]
    tree = Product([values("a", 10), values("b", 100)])
    drawn = [draw(tree, n, where=where) for n in (100, 400, 490, 500, 900)]
    assert [len(points) for points in drawn] == [100, 400, 490, 500, 500]
    for fewer, more in pairwise(drawn):
        assert more[: len(fewer)] == fewer


def test_drawing_without_end_is_an_error_that_says_how_many_were_rejected(monkeypatch):
    monkeypatch.setattr(sampling, "MAX_REJECTED_IN_A_ROW", 1000)
    where = [Written("lr > 2", lambda p: p["lr"] > 2)]
    with pytest.raises(
        HpcsweepError, match=r'found only 0 of 3 points with {"a":0}: the last 1,000 draws were all rejected, 1,000 by where'
    ):
        draw(Product([values("a", 2), lr]), 3, where=where, per=("a",))


def test_a_space_of_few_values_and_many_points_ends(monkeypatch):
    monkeypatch.setattr(sampling, "MAX_REJECTED_IN_A_ROW", 1000)
    with pytest.raises(HpcsweepError, match=r"found only 2 of 3 .* 1,000 as equal"):
        draw(Product([Values("a", [1] * 1001), Values("b", [1, 2] * 1001)]), 3)
    assert len(draw(Values("a", [1, 2] * 500), 3)) == 2


def test_replicates_come_after_the_sample():
    points = draw(Replicate(Product([values("a", 100), values("b", 100)]), {"seed": 3}), 5)
    assert [point["seed"] for point in points] == [0, 1, 2] * 5
    assert len({(point["a"], point["b"]) for point in points}) == 5


def test_blocks_keep_their_own_counts():
    tree = Sum([Replicate(Product([Values("o", ["x"]), lr]), {"rep": 3}), Product([Values("o", ["y"]), lr])])
    counts = Counter(point["o"] for point in draw(tree, 40))
    assert counts["x"] % 3 == 0
    assert counts["x"] // 3 + counts["y"] == 40


@pytest.mark.parametrize(
    ("numbers", "step", "grid"),
    [
        ((1, 5), 1, [1, 2, 3, 4, 5]),
        ((0, 1), 0.25, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ((1, 10), 4, [1, 5, 9]),
        ((0.1, 0.7), 0.2, make_range(0.1, 0.7, 0.2)),
    ],
)
@pytest.mark.parametrize("kind", ["uniform", "loguniform"])
def test_a_step_draws_from_its_grid_and_gives_all_of_it(kind, numbers, step, grid):
    low, high = numbers
    if kind == "loguniform" and low == 0:
        low, high, grid = 1, 2, [value + 1 for value in grid]
    tree = Distribution(name="x", kind=kind, low=low, high=high, step=step)
    points = [point["x"] for point in draw(tree, 50)]
    assert [(type(x), x) for x in sorted(points)] == [(type(x), x) for x in grid]
    assert {point["x"] for point in draw(tree, 2)} <= set(grid)


def test_uniform_on_a_grid_is_even():
    tree = Product([Distribution(name="x", kind="uniform", low=1, high=4, step=1), lr])
    counts = Counter(point["x"] for point in draw(tree, 4000))
    assert all(880 < counts[x] < 1120 for x in (1, 2, 3, 4))


def test_normal_with_a_step_gives_its_multiples():
    points = draw(Product([Distribution(name="x", kind="normal", mu=1, sigma=10, step=5), lr]), 200)
    assert {type(point["x"]) for point in points} == {int}
    assert {point["x"] % 5 for point in points} == {0}
    halves = draw(Product([Distribution(name="x", kind="normal", mu=1, sigma=2, step=0.5), lr]), 50)
    assert all(isinstance(point["x"], float) and point["x"] * 2 == int(point["x"] * 2) for point in halves)


@every_method
def test_distributions_keep_their_bounds_and_their_middle(method):
    tree = Product(
        [
            Distribution(name="u", kind="uniform", low=2, high=4),
            Distribution(name="l", kind="loguniform", low=1e-4, high=1.0),
            Distribution(name="n", kind="normal", mu=5, sigma=2.0),
        ]
    )
    points = draw(tree, 500, method)
    for name, middle in (("u", 3), ("l", 1e-2), ("n", 5)):
        below = sum(point[name] < middle for point in points)
        assert 200 < below < 300, name
    assert all(2 <= point["u"] <= 4 and 1e-4 <= point["l"] <= 1 and isinstance(point["u"], float) for point in points)
    assert all(float(f"{x:.12g}") == x for point in points for x in point.values())


def test_lhs_has_one_value_in_each_nth_of_each_range():
    tree = Product([Distribution(name=name, kind="uniform", low=0, high=1) for name in "xy"])
    points = draw(tree, 16, "lhs")
    for name in "xy":
        assert sorted(int(point[name] * 16) for point in points) == list(range(16))


def test_sobol_fills_each_cell_of_a_square():
    tree = Product([Distribution(name=name, kind="uniform", low=0, high=1) for name in "xy"])
    cells = Counter((int(point["x"] * 4), int(point["y"] * 4)) for point in draw(tree, 64, "sobol"))
    assert set(cells.values()) == {4}
    assert len(cells) == 16


@pytest.mark.parametrize("method", ["sobol", "lhs"])
def test_without_scipy_it_says_what_to_install(method, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(HpcsweepError, match=rf"{method} needs scipy: pip install 'hpcsweep\[search\]'"):
        draw(lr, 3, method)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n": 0}, "n must be"),
        ({"n": 2.0}, "n must be"),
        ({"n": True}, "n must be"),
        ({"n": 1, "seed": -1}, "seed must be"),
        ({"n": 1, "method": "grid"}, "is no method"),
        ({"n": 1, "per": ("a", "a")}, "twice"),
    ],
)
def test_samples_are_checked(arguments, said):
    with pytest.raises(SpaceError, match=said):
        Sample(**arguments)


def test_per_takes_listed_names():
    with pytest.raises(SpaceError, match="per: lr is a loguniform"):
        draw(Product([values("a", 2), lr]), 2, per=("lr",))
    with pytest.raises(SpaceError, match="there is no parameter aa") as caught:
        draw(Product([values("a", 2), lr]), 2, per=("aa",))
    assert caught.value.hint == "did you mean a?"
    with pytest.raises(SpaceError, match="replicate"):
        draw(Replicate(lr, {"seed": 2}), 2, per=("seed",))


def test_too_many_strata_are_refused(monkeypatch):
    monkeypatch.setattr(strata, "MAX_STRATA", 10)
    with pytest.raises(SpaceError, match="more than 10 combinations of a, b"):
        draw(Product([values("a", 4), values("b", 4), lr]), 1, per=("a", "b"))
    with pytest.raises(SpaceError, match="more than 10 combinations of a"):
        draw(Zip([values("a", 11), values("b", 11)]), 1, per=("a",))


def test_strata_of_replicated_blocks_and_of_names_beside_the_sum():
    tree = Replicate(Sum([Replicate(Product([values("a", 3), lr]), {"rep": 2}), Product([values("a", 2), lr])]), {"rep": 2})
    points = draw(tree, 3, per=("a",))
    assert Counter(point["a"] for point in points if point["rep"] == 0) == {0: 3, 1: 3, 2: 3}
    assert {point["rep"] for point in points} == {0, 1, 2, 3}


def test_grids_of_steps_in_every_part_of_a_space_are_listed():
    step = {"kind": "uniform", "low": 1, "high": 2, "step": 1}
    tree = Sum(
        [
            Replicate(Product([Values("o", ["x"]), Distribution(name="s", **step)]), {"rep": 2}),
            Product([Values("o", ["y"]), Distribution(name="s", **step), values("b", 2)]),
        ]
    )
    points = draw(tree, 100)
    assert len(points) == 2 * 2 + 2 * 2
    assert not bag(draw(tree, 4)) - bag(points)


def test_a_sampled_point_has_the_replicates_of_each_block_that_it_is_in():
    wide = Replicate(Product([values("a", 6), Values("s", [[1]])]), {"fold": [[1], "x"]})
    narrow = Replicate(Product([values("a", 3), Values("s", [[1]])]), {"fold": ["x", 1]})
    for tree in (Sum([wide, narrow]), Sum([narrow, wide])):
        every = bag(SweepSpace(tree=tree).points())
        assert bag(draw(tree, 9)) == every
        for n in range(1, 6):
            points = draw(tree, n)
            assert all(len([p for p in points if p["a"] == a]) == (3 if a < 3 else 2) for a in {p["a"] for p in points})


def test_blocks_of_other_bounds_keep_their_own_counts():
    low = Replicate(Distribution(name="x", kind="uniform", low=0, high=1), {"rep": 2})
    points = draw(Sum([low, Distribution(name="x", kind="uniform", low=5, high=6)]), 20)
    counts = Counter(point["x"] for point in points)
    assert all(number == (2 if x < 2 else 1) for x, number in counts.items())
    assert len(counts) == 20
