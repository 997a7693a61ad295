"""Points as users hold them, and what they can ask a space."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from space_strategies import trees

from hpcsweep import HpcsweepError, ParamSpace, Point
from hpcsweep.space.lookup import has_point, values_of

BLOCKS = ParamSpace(type="a", param=[1, 2, 3]) + ParamSpace(type="b", param=[4, 5, 6])


def test_a_point_is_a_dict_that_can_be_a_key():
    point = BLOCKS[3]
    assert point == {"type": "b", "param": 4}
    assert {point: 1}[Point(param=4, type="b")] == 1
    assert hash(Point(x=1)) == hash(Point(x=1.0))
    assert hash(Point(x=[1, {"a": 2}])) == hash(Point(x=[1.0, {"a": 2}]))
    assert pickle.loads(pickle.dumps(point)) == copy.deepcopy(point) == copy.copy(point) == point  # noqa: S301 - our own
    assert point | {"type": "c"} == {"type": "c", "param": 4}
    for change in (lambda: point.update(x=1), lambda: point.pop("type"), lambda: point.__setitem__("x", 1)):
        with pytest.raises(TypeError, match="cannot be changed"):
            change()


def test_names_and_values():
    space = 10 * BLOCKS
    assert list(space.keys()) == ["type", "param", "rep"]
    assert space["param"] == [1, 2, 3, 4, 5, 6]
    assert space["type"] == ["a", "b"]
    assert space["rep"] == list(range(10))
    assert ParamSpace(x=np.array([1.5, 2.5]), y=range(4), z=3)["y"] == [0, 1, 2, 3]
    assert "type" in space
    assert "zz" not in space
    with pytest.raises(KeyError, match="zz"):
        space["zz"]
    with pytest.raises(HpcsweepError):
        space["zz"]


def test_a_point_is_found_in_a_trillion():
    space = ParamSpace({name: range(10**4) for name in "abc"})
    assert len(space) == 10**12
    assert {"a": 3, "b": 9999, "c": 1} in space
    assert {"a": 3, "b": 10**4, "c": 1} not in space
    assert {"a": 3, "b": 1} not in space
    assert space[10**11] in space


@given(trees())
def test_in_and_values_say_what_iteration_says(node):
    points = list(node) if node.is_finite and node.count() < 300 else []
    for point in points:
        assert has_point(node, point)
        assert not has_point(node, {**point, "no such name": 1})
    if points:
        for name in node.names:
            held = [point[name] for point in points if name in point]
            assert all(value in held for value in values_of(node, name))
            assert all(value in values_of(node, name) for value in held)
