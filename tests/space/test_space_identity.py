import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.space import canonical, point_id

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def without_negative_zero(value):
    if isinstance(value, float):
        return value + 0.0
    if isinstance(value, list):
        return [without_negative_zero(item) for item in value]
    if isinstance(value, dict):
        return {key: without_negative_zero(item) for key, item in value.items()}
    return value


@given(values)
def test_canonical_is_json_of_the_same_value(value):
    back = json.loads(canonical(value))
    assert repr(back) == repr(without_negative_zero(json.loads(json.dumps(value, sort_keys=True))))


@given(st.dictionaries(texts, values, max_size=4))
def test_the_order_of_names_does_not_matter(params):
    backwards = dict(reversed(params.items()))
    assert point_id(params) == point_id(backwards)
    assert len(point_id(params)) == 16
    assert set(point_id(params)) <= set("0123456789abcdef")


def test_numbers_truth_and_text_are_four_values():
    assert len({canonical(value) for value in (1, 1.0, True, "1")}) == 4
    assert len({point_id({"x": value}) for value in (1, 1.0, True, "1")}) == 4


@pytest.mark.parametrize("value", [-0.0, [-0.0], {"x": [{"y": -0.0}]}])
def test_negative_zero_is_zero(value):
    assert "-" not in canonical(value)
    assert "0.0" in canonical(value)


def test_text_that_looks_like_a_negative_zero_is_kept():
    assert canonical("-0.0") == '"-0.0"'
    assert canonical({"-0.0": "\\u0000"}) == '{"-0.0":"\\\\u0000"}'


def test_the_text_itself():
    assert canonical({"b": [1e-05, 1e22, 0.1], "a": "é\n"}) == '{"a":"é\\n","b":[1e-05,1e+22,0.1]}'


def test_text_is_not_normalised():
    assert canonical("\u00e9") != canonical("e\u0301")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "NaN"),
        ([math.inf], "infinities"),
        ({"x": -math.inf}, "infinities"),
        ("a\0b", "NUL"),
        ({"x": {"\0": 1}}, "NUL"),
        ("\ud800", "surrogate"),
        ({"\udc00": 1}, "surrogate"),
        ({1: 2}, "keys must be text"),
        ({"x": [{None: 2}]}, "keys must be text"),
        ({"x": {1: 2, "a": 3}}, "keys must be text"),
        (b"x", "bytes"),
        ({1, 2}, "set"),
    ],
)
def test_what_is_no_value_is_refused_with_a_sentence(value, said):
    with pytest.raises(ValueError, match=said):
        canonical(value)


def test_too_deep_is_refused():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="deep"):
        canonical(value)
