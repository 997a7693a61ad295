import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hpcsweep.space.forms import check_distribution, make_geomspace, make_linspace, make_range

tenths = st.integers(-500, 500).map(lambda k: k / 10)


def typed(values):
    return [(type(value), value) for value in values]


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ((0, 3), [0, 1, 2, 3]),
        ((3, 3), [3]),
        ((0, 10, 4), [0, 4, 8]),
        ((10, 0, -5), [10, 5, 0]),
        ((0, 1, 0.25), [0.0, 0.25, 0.5, 0.75, 1.0]),
        ((0.0, 2), [0.0, 1.0, 2.0]),
        ((0, 1, 0.1), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ((1, 0, -0.3), [1.0, 0.7, 0.4, 0.1]),
        ((1e-3, 3e-3, 1e-3), [0.001, 0.002, 0.003]),
        ((-0.2, 0.1, 0.1), [-0.2, -0.1, 0.0, 0.1]),
    ],
)
def test_range(arguments, values):
    assert typed(make_range(*arguments)) == typed(values)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-9, 9))
def test_range_of_ints_is_pythons_with_the_end(lo, hi, step):
    assume(step != 0 and (hi - lo) * step >= 0)
    assert make_range(lo, hi, step) == list(range(lo, hi + (1 if step > 0 else -1), step))


@given(tenths, st.integers(1, 40), st.integers(1, 30))
def test_range_ends_on_hi_when_it_is_on_the_grid(lo, steps, tenth):
    step = tenth / 10
    hi = round(lo + steps * step, 1)
    values = make_range(lo, hi, step)
    assert values == [round(lo + k * step, 1) + 0.0 for k in range(steps + 1)]
    assert values[-1] == hi


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0, 1, 0), "step is 0"),
        ((0, 1, -1), "does not lead"),
        ((5, 1), r"range: \[5, 1, -1\]"),
        ((0, 1e9, 1), "most is 10,000,000"),
        ((0, 10**30), "most is 10,000,000"),
        ((0, math.inf), "not a number"),
        (("0", 1), "not a number"),
        ((True, 5), "not a number"),
        ((1.0, 1.00000000000001, 1e-15), "too close"),
    ],
)
def test_range_refuses(arguments, said):
    with pytest.raises(ValueError, match=said):
        make_range(*arguments)


def test_linspace():
    assert make_linspace(0, 1, 3) == [0.0, 0.5, 1.0]
    assert make_linspace(1, 0, 5) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert make_linspace(0, 0.7, 8) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert typed(make_linspace(3, 3, 1)) == [(float, 3.0)]
    assert 0.333333333333 in make_linspace(0, 1, 4)


def test_geomspace():
    assert make_geomspace(1e-4, 1e-2, 3) == [1e-4, 1e-3, 1e-2]
    assert make_geomspace(1e-5, 1, 6) == [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0]
    assert make_geomspace(1, 1024, 11) == [2.0**k for k in range(11)]
    assert make_geomspace(-1, -100, 3) == [-1.0, -10.0, -100.0]
    assert make_geomspace(1e-300, 1e300, 3) == [1e-300, 1.0, 1e300]


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 50), st.sampled_from([make_linspace, make_geomspace]))
def test_spaces_keep_their_ends_exactly_and_go_one_way(lo, hi, n, make):
    assume(abs(lo - hi) > 1e-3 * max(lo, hi))
    values = make(lo, hi, n)
    assert (values[0], values[-1], len(values)) == (lo, hi, n)
    assert values == sorted(values, reverse=lo > hi)
    assert all(float(f"{value:.12g}") == value for value in values[1:-1])


@pytest.mark.parametrize("make", [make_linspace, make_geomspace])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((1, 2, 0), "at least 1"),
        ((1, 2, 2.0), "at least 1"),
        ((1, 2, True), "at least 1"),
        ((1, 2, 1), "one value cannot be both"),
        ((2, 2, 5), "is one value"),
        ((1, 2, 10**8), "most is"),
        ((1, math.nan, 3), "not a number"),
    ],
)
def test_spaces_refuse(make, arguments, said):
    with pytest.raises(ValueError, match=said):
        make(*arguments)


@pytest.mark.parametrize("ends", [(0, 1), (1, 0), (-1, 1)])
def test_geomspace_does_not_pass_zero(ends):
    with pytest.raises(ValueError, match="above zero"):
        make_geomspace(*ends, 3)


@pytest.mark.parametrize(
    ("kind", "numbers", "step", "said"),
    [
        ("uniform", [1, 1], None, "below hi"),
        ("loguniform", [0, 1], None, "above 0"),
        ("loguniform", [2, 1], None, "below hi"),
        ("normal", [0, 0], None, "sigma"),
        ("uniform", [0, 1], 0, "step must be above 0"),
        ("uniform", [0, 1], 2, "does not fit"),
        ("uniform", [0], None, "two numbers"),
        ("uniform", [0, "1"], None, "not a number"),
        ("beta", [0, 1], None, "no distribution"),
    ],
)
def test_distributions_are_checked(kind, numbers, step, said):
    with pytest.raises(ValueError, match=said):
        check_distribution(kind, numbers, step)
