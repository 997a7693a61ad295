import ast
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from space_strategies import bag, scalars

import hpcsweep
from hpcsweep import ParamSpace
from hpcsweep.space import Values, Zip, param_space

names = st.sampled_from(["a", "b", "model.x", "class"])
blocks = st.dictionaries(names, st.lists(st.one_of(scalars, st.just([1, "x"])), min_size=1, max_size=3), max_size=2).map(
    ParamSpace
)


@st.composite
def spaces(draw, depth=3):
    if depth == 0 or draw(st.booleans()):
        return draw(blocks)
    kind = draw(st.sampled_from(["+", "*", "n"]))
    left = draw(spaces(depth=depth - 1))
    if kind == "n":
        return draw(st.integers(1, 3)) * left
    right = draw(spaces(depth=depth - 1))
    if kind == "*" and not (set(left.names) & set(right.names)) - {"rep"}:
        return left * right
    return left + right


def test_it_is_public():
    assert "ParamSpace" in hpcsweep.__all__
    assert hpcsweep.ParamSpace is ParamSpace
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = hpcsweep.Nothing


def test_what_makes_alternatives():
    space = ParamSpace(lr=[0.1, 0.2], n=3, name="adam", k=range(2), t=(x for x in (None,)), layers=[[64, 64]])
    assert len(space) == 4
    assert space[0] == {"lr": 0.1, "n": 3, "name": "adam", "k": 0, "t": None, "layers": [64, 64]}
    assert list(ParamSpace()) == [{}]
    assert list(ParamSpace({"model.x": (1, 2)}, y=True)) == [{"model.x": 1, "y": True}, {"model.x": 2, "y": True}]
    assert [point["s"] for point in ParamSpace(s={"b", "a", "c"})] == ["a", "b", "c"]


def test_numpy_values_become_python_values():
    space = ParamSpace(lr=np.linspace(0, 1, 3), n=np.int64(4), m=[np.float32(0.5)], w=[np.array([1, 2])])
    assert space[1] == {"lr": 0.5, "n": 4, "m": 0.5, "w": [1, 2]}
    assert {type(value) for value in space[1].values()} == {float, int, list}


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: ParamSpace(a=[]), "a: no values"),
        (lambda: ParamSpace(a={"x": 1}), "mapping"),
        (lambda: ParamSpace(a=b"x"), "bytes"),
        (lambda: ParamSpace(a=[float("nan")]), "NaN"),
        (lambda: ParamSpace(a={"\0", "x"}), "NUL"),
        (lambda: ParamSpace({1: [2]}), "name"),
        (lambda: ParamSpace({"a": 1}, a=2), "twice"),
        (lambda: ParamSpace(a=1) * ParamSpace(a=2), "a is set twice"),
        (lambda: 0 * ParamSpace(a=1), "least is 1"),
        (lambda: ParamSpace(a=1).sample(-1), "least is 0"),
        (lambda: 2 * ParamSpace(rep=[1, 2]), "rep is a parameter"),
    ],
)
def test_what_is_no_space(build, said):
    with pytest.raises(ValueError, match=said):
        build()


@pytest.mark.parametrize("build", [lambda a: a + 1, lambda a: 1 + a, lambda a: a * 1.5, lambda a: a * True, lambda a: a + {}])
def test_what_does_not_combine(build):
    with pytest.raises(TypeError):
        build(ParamSpace(a=1))


def test_blocks_may_have_different_names():
    sgd, adam = ParamSpace(optimizer="sgd", momentum=[0, 0.9]), ParamSpace(optimizer="adam")
    space = ParamSpace(lr=[1, 2]) * (sgd + adam) * 3
    assert len(space) == 18
    assert space[6:8] == [{"lr": 1, "optimizer": "adam", "rep": 0}, {"lr": 1, "optimizer": "adam", "rep": 1}]
    assert sum([sgd, adam]) == sgd + adam


def test_counts():
    a = ParamSpace(a=[1, 2])
    assert [point["rep"] for point in 2 * (3 * a)] == [0, 1, 2, 3, 4, 5] * 2
    assert a * 3 == 3 * a
    assert 2 * (3 * a) == 6 * a
    assert list(2 * a + ParamSpace(b=1))[-1] == {"b": 1, "rep": 0}


@given(spaces())
def test_length_indices_and_slices_are_those_of_the_list(space):
    points = list(space)
    assert len(space) == len(points) == space.count()
    assert [space[k] for k in range(-len(points), len(points))] == points * 2
    assert space[::-1] == points[::-1]
    for k in (len(points), -len(points) - 1):
        with pytest.raises(IndexError):
            space[k]


@given(spaces())
def test_repr_makes_the_space_again(space):
    ast.parse(repr(space), mode="eval")
    again = eval(repr(space), {"ParamSpace": ParamSpace})  # noqa: S307 - its own text
    assert again == space
    assert hash(again) == hash(space)
    assert list(again) == list(space)


@given(spaces(), spaces(), spaces())
def test_sums(a, b, c):
    assert (a + b) + c == a + (b + c)
    assert bag(a + b) == bag(b + a)
    assert len(a + b + c) == len(a) + len(b) + len(c)


@given(blocks)
def test_products(block):
    a, b, c = ParamSpace(x=[1, 2]) + ParamSpace(y=1), block, ParamSpace(z=[1, 2, 3])
    assert (a * b) * c == a * (b * c)
    assert bag(a * b) == bag(b * a)
    assert bag(a * (b + c)) == bag(a * b + a * c)
    assert a * ParamSpace() == a == ParamSpace() * a
    assert len(a * b * c) == len(a) * len(b) * len(c)


def test_equality_tells_types_apart():
    assert ParamSpace(a=1) != ParamSpace(a=True)
    assert ParamSpace(a=1) != ParamSpace(a=1.0)
    assert ParamSpace(a=[1]) == ParamSpace(a=1)
    assert ParamSpace(a=range(3)) == ParamSpace(a=[0, 1, 2])
    assert ParamSpace(a=1) != {"a": 1}


def test_a_trillion_points():
    space = ParamSpace(a=range(10**6)) * ParamSpace(b=range(10**6)) * 10**12
    assert space.count() == 10**24
    assert space[10**24 - 1] == space[-1] == {"a": 10**6 - 1, "b": 10**6 - 1, "rep": 10**12 - 1}
    assert next(iter(space)) == {"a": 0, "b": 0, "rep": 0}
    assert len(bag(space.sample(100))) == 100
    with pytest.raises(OverflowError):
        len(space)
    assert len(ParamSpace(a=range(10**6)) * ParamSpace(b=range(10**6))) == 10**12


@given(spaces(), st.integers(0, 60), st.integers(0, 3))
def test_samples_are_distinct_points_of_the_space(space, n, seed):
    drawn, every = bag(space.sample(n, seed=seed)), bag(space)
    assert set(drawn) <= set(every)
    assert set(drawn.values()) <= {1}
    assert len(drawn) == min(n, len(every))
    assert space.sample(n, seed=seed) == space.sample(n, seed=seed)
    assert not drawn - bag(space.sample(n + 5, seed=seed))


@given(spaces(), st.integers(0, 60))
def test_samples_with_replacement_have_n_points(space, n):
    drawn = space.sample(n, replace=True)
    assert len(drawn) == n
    assert set(bag(drawn)) <= set(bag(space))


def test_samples_of_equal_points_end():
    assert len((1000 * ParamSpace(a=[1])).sample(2)) == 2
    assert ParamSpace(a=[1] * 1000).sample(2) == [{"a": 1}]
    assert bag(ParamSpace(a=[1, 1, 1, 2] * 100).sample(3)) == bag([{"a": 1}, {"a": 2}])


def test_samples_differ_by_seed():
    space = ParamSpace(a=range(1000))
    assert space.sample(5, seed=1) != space.sample(5, seed=2)


def test_changing_a_point_does_not_change_the_space():
    given_list = [64]
    space = ParamSpace(layers=[given_list])
    given_list.append(1)
    for point in (space[0], next(iter(space)), space[0:1][0], space.sample(1)[0]):
        point["layers"].append(2)
    assert list(space) == [{"layers": [64]}]


def test_a_space_from_a_tree_shows_it():
    space = ParamSpace.from_node(Zip([Values("a", [1, 2]), Values("b", [3, 4])]))
    assert list(space) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    assert repr(space).startswith("ParamSpace.from_node(Zip(")


def test_importing_the_package_imports_no_heavy_one():
    import subprocess  # noqa: PLC0415 - here alone

    code = "import sys, hpcsweep; hpcsweep.ParamSpace(a=1); print([m for m in ('numpy', 'scipy', 'pandas', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_sample_that_cannot_be_found_is_an_error(monkeypatch):
    monkeypatch.setattr(param_space, "_MAX_REJECTED_IN_A_ROW", 100)
    space = ParamSpace(a=[1] * 1001) * ParamSpace(b=[1, 2] * 1000)
    with pytest.raises(ValueError, match="found 2 distinct points of 3"):
        space.sample(3)


def test_names_and_the_tree_are_there():
    space = ParamSpace(a=1) + 2 * ParamSpace(b=range(2))
    assert space.names == ("a", "b", "rep")
    assert space.node.count() == 5
    assert bool(space)
    assert repr(space) == "ParamSpace(a=1) + 2 * ParamSpace(b=range(0, 2))"
