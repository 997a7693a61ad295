import pytest
from hypothesis import given
from hypothesis import strategies as st
from space_strategies import bag, trees

from hpcsweep.space import Distribution, Product, Replicate, Rows, SpaceError, Sum, Values, Zip, canonical

left, right, other = trees(names=("a", "b")), trees(names=("c", "d")), trees(names=("e", "f"), depth=1)


def values(name, count):
    return Values(name, range(count))


@given(trees())
def test_the_length_is_that_of_the_iteration_and_indexing_finds_the_same_points(space):
    points = list(space)
    assert len(space) == len(points) == space.count()
    assert [space[k] for k in range(len(points))] == points
    assert [space[k - len(points)] for k in range(len(points))] == points
    assert space[1:-1:2] == points[1:-1:2]


@given(trees())
def test_points_have_the_names_that_are_said(space):
    points = list(space)
    assert all(space.always <= set(point) <= set(space.names) for point in points)
    assert space.always == set.intersection(*map(set, points))
    assert set(space.names) == set().union(*points)
    assert set(space.replicates) <= space.always


@given(trees())
def test_what_is_called_distinct_is_distinct(space):
    base = [canonical(point) for point, _ in space.walk()]
    assert len(base) == space.base_count()
    if space.is_distinct:
        assert len(set(base)) == len(base)


@given(left, right, other)
def test_products_are_associative_and_commutative_up_to_order(a, b, c):
    assert bag(Product([a, b])) == bag(Product([b, a]))
    assert bag(Product([a, Product([b, c])])) == bag(Product([Product([a, b]), c])) == bag(Product([a, b, c]))


@given(left, right)
def test_the_last_factor_varies_fastest(a, b):
    if not a.replicates and not b.replicates:
        assert list(Product([a, b])) == [x | y for x in a for y in b]


@given(left, left, left)
def test_sums_are_associative_and_commutative_up_to_order(a, b, c):
    assert list(Sum([a, Sum([b, c])])) == list(Sum([Sum([a, b]), c])) == list(Sum([a, b, c]))
    assert bag(Sum([a, b])) == bag(Sum([b, a]))


@given(left, left, right)
def test_products_distribute_over_sums(a, b, c):
    assert bag(Product([Sum([a, b]), c])) == bag(Sum([Product([a, c]), Product([b, c])]))


@given(trees())
def test_the_empty_product_is_the_one_of_the_algebra(a):
    assert list(Product([a, Product([])])) == list(a) == list(Product([Product([]), a]))


@given(trees(), st.integers(1, 4), st.integers(1, 4))
def test_nested_counts_multiply(a, m, n):
    assert list(Replicate(Replicate(a, {"rep": m}), {"rep": n})) == list(Replicate(a, {"rep": m * n}))


@given(left, right, st.integers(1, 3), st.integers(1, 3))
def test_counts_come_out_of_products(a, b, m, n):
    inside = Product([Replicate(a, {"rep": m}), Replicate(b, {"rep": n})])
    assert list(inside) == list(Replicate(Product([a, b]), {"rep": m * n}))


@given(left, left, st.integers(1, 3))
def test_counts_come_out_of_sums(a, b, n):
    assert list(Replicate(Sum([a, b]), {"rep": n})) == list(Sum([Replicate(a, {"rep": n}), Replicate(b, {"rep": n})]))


def test_two_times_three_times_a_block():
    space = Replicate(Replicate(values("a", 1), {"rep": 3}), {"rep": 2})
    assert [point["rep"] for point in space] == [0, 1, 2, 3, 4, 5]


def test_a_block_without_a_count_has_rep_0():
    space = Sum([Replicate(values("a", 1), {"rep": 2}), values("b", 1)])
    assert list(space) == [{"a": 0, "rep": 0}, {"a": 0, "rep": 1}, {"b": 0, "rep": 0}]


def test_counts_of_groups_are_counts_too():
    space = Sum([Replicate(values("m.a", 1), {"m.rep": 2}), values("m.b", 1)])
    assert [point["m.rep"] for point in space] == [0, 1, 0]


def test_replicates_are_innermost():
    space = Product([Replicate(values("a", 2), {"seed": 2, "fold": 2}), values("b", 2)])
    assert [tuple(point.values()) for point in space][:5] == [
        (0, 0, 0, 0),
        (0, 0, 0, 1),
        (0, 0, 1, 0),
        (0, 0, 1, 1),
        (0, 1, 0, 0),
    ]
    assert list(space[0]) == ["a", "b", "seed", "fold"]


def test_a_count_as_a_list_is_a_count():
    assert Replicate(values("a", 1), {"seed": [0, 1, 2]}) == Replicate(values("a", 1), {"seed": 3})
    assert [point["seed"] for point in Replicate(values("a", 1), {"seed": [7, 9]})] == [7, 9]


def test_zip_pairs_points():
    space = Zip([Rows([{"o": "lion"}, {"o": "sam", "rho": 1}]), values("lr", 2)])
    assert list(space) == [{"o": "lion", "lr": 0}, {"o": "sam", "rho": 1, "lr": 1}]
    assert space.always == {"o", "lr"}


def test_nested_conditional_layers():
    """A block for each number of layers, each with widths of its own: 11 + 11**2 + ... and 11**4 of the deepest."""
    widths = range(11)
    blocks = [Product([Values("layers", [n]), *(Values(f"width{k}", widths) for k in range(n))]) for n in range(1, 5)]
    assert [len(block) for block in blocks] == [11, 121, 1331, 14641]
    space = Sum(blocks)
    assert len(space) == 11 + 121 + 1331 + 14641
    assert space.is_distinct
    assert len(bag(space)) == len(space)
    assert space.always == {"layers", "width0"}


def test_a_trillion_points_are_counted_and_indexed():
    space = Replicate(Product([Sum([values("a", 10**6), values("b", 10**6)]), values("c", 10**6)]), {"seed": 10**9})
    assert space.count() == 2 * 10**21
    assert space[10**21] == {"b": 0, "c": 0, "seed": 0}
    assert space[-1] == {"b": 10**6 - 1, "c": 10**6 - 1, "seed": 10**9 - 1}
    assert next(iter(space)) == {"a": 0, "c": 0, "seed": 0}
    with pytest.raises(OverflowError, match=r"use count\(\)"):
        len(space)
    with pytest.raises(IndexError):
        space[2 * 10**21]


def test_a_thousand_factors_and_blocks():
    factors = [Values(f"x{k}", [k]) for k in range(1000)]
    space = Product([*factors, Sum([Values("y", [k]) for k in range(1000)])])
    assert len(space) == 1000
    assert list(space)[999] == space[999]


@pytest.mark.parametrize(
    ("build", "said", "names", "positions"),
    [
        (lambda: Values("a", []), "a: no values", ("a",), ()),
        (lambda: Values("a", [float("nan")]), "a: nan is not a value", ("a",), ()),
        (lambda: Values(3, [1]), "is not a name", (), ()),
        (lambda: Rows([]), "at least one", (), ()),
        (lambda: Rows([{}, {"a": "\0"}]), "row 2: .*NUL", (), (1,)),
        (lambda: Sum([]), "at least one", (), ()),
        (lambda: Zip([]), "at least one", (), ()),
        (lambda: Product([values("a", 1), values("b", 1), values("a", 2)]), "a is set twice", ("a",), (0, 2)),
        (lambda: Product([values("a", 1), Sum([values("b", 1), values("a", 1)])]), "a is set twice", ("a",), (0, 1)),
        (lambda: Zip([values("a", 2), values("a", 2)]), "a is set twice", ("a",), (0, 1)),
        (lambda: Zip([values("a", 2), values("b", 3)]), "has 2, .* has 3", (), (0, 1)),
        (lambda: Zip([values("a", 1), Distribution(name="b", kind="uniform", low=0, high=1)]), "distribution", (), (1,)),
        (lambda: Zip([values("a", 2), Replicate(values("b", 1), {"rep": 2})]), "replicate", (), (1,)),
        (lambda: Replicate(values("a", 1), {}), "no names", (), ()),
        (lambda: Replicate(values("a", 1), {"seed": 0}), "at least 1", ("seed",), ()),
        (lambda: Replicate(values("a", 1), {"seed": [1, 1]}), "twice", ("seed",), ()),
        (lambda: Replicate(values("a", 1), {"seed": "3"}), "count or a list", ("seed",), ()),
        (lambda: Replicate(values("a", 1), {"a": 2}), "already", ("a",), ()),
        (lambda: Replicate(Replicate(values("a", 1), {"seed": 2}), {"seed": 2}), "already", ("seed",), ()),
        (lambda: Replicate(Replicate(values("a", 1), {"rep": [4, 5]}), {"rep": 2}), "already", ("rep",), ()),
        (lambda: Sum([values("a", 1), Replicate(values("a", 1), {"seed": 2})]), "seed is a replicate", ("seed",), (1, 0)),
        (lambda: Sum([Replicate(values("a", 1), {"rep": 2}), values("rep", 2)]), "rep is a replicate", ("rep",), (0, 1)),
        (
            lambda: Sum([Replicate(values("a", 1), {"rep": 2}), values("b", 2), values("rep", 2)]),
            "rep is a replicate",
            ("rep",),
            (0, 2),
        ),
        (
            lambda: Product([Replicate(values("a", 1), {"seed": 2}), Replicate(values("b", 1), {"seed": 2})]),
            "seed is set twice",
            ("seed",),
            (0, 1),
        ),
    ],
)
def test_spaces_that_cannot_be(build, said, names, positions):
    with pytest.raises(SpaceError, match=said) as caught:
        build()
    assert (caught.value.names, caught.value.positions) == (names, positions)
    assert isinstance(caught.value, ValueError)


def test_labels_say_where_the_factors_are():
    with pytest.raises(SpaceError, match=r"line 3 and by line 7"):
        Product([values("a", 1), values("a", 1)], ["line 3", "line 7"])


def test_a_distribution_is_not_counted():
    space = Product([values("a", 2), Distribution(name="lr", kind="normal", mu=0, sigma=1)])
    assert not space.is_finite
    for use in (len, list, lambda it: it[0]):
        with pytest.raises(SpaceError, match="sampled"):
            use(space)
