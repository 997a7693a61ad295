"""One draw from a space: a number for each name, and the point that these numbers are.

The numbers depend on the seed, the stratum, the draw's number and the name only, by sha256: the same on every machine.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import accumulate, count
from statistics import NormalDist
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.space.composites import Product, Replicate, Sum, Zip
from hpcsweep.space.forms import exact, round_float
from hpcsweep.space.leaves import Distribution, Rows, Values
from hpcsweep.space.node import Node, Point, Profile, merge_profiles

Draw = Callable[[str], int]
"""Gives a name's number in one draw: a whole number below 2**64, evenly distributed."""

Draft = Callable[[Draw], tuple[Point, Profile]]
"""Makes a base point, with its profile, out of a draw."""

_BITS = 64
_SOBOL_BITS = 30  # of scipy's points
_MAX_GRID = 1_000_000


def hashed(*parts: object) -> int:
    """A number below 2**64 that depends on the parts only."""
    return int.from_bytes(sha256("\0".join(map(str, parts)).encode()).digest()[:8], "big")


def random_draws(seed: int, stratum: str) -> Iterator[Draw]:
    """Independent draws without end."""
    for index in count():
        start = sha256(f"{seed}\0{stratum}\0{index}\0".encode())

        def draw(name: str, start: Any = start) -> int:
            hash_ = start.copy()
            hash_.update(name.encode())
            return int.from_bytes(hash_.digest()[:8], "big")

        yield draw


def sobol_draws(seed: int, stratum: str, names: Sequence[str], n: int) -> Iterator[Draw]:
    """Sobol's sequence, one dimension a name in their order, each shifted (by exclusive or) by what the seed says.

    Raises:
        HpcsweepError: scipy is not installed.
    """
    qmc = _import_qmc("sobol")
    engine = qmc.Sobol(d=max(1, len(names)), scramble=False)
    shifts = [hashed(seed, stratum, "sobol", name) for name in names]
    # The sequence wants to be taken in powers of two; each batch doubles what was drawn.
    exponent = max(6, (n - 1).bit_length())
    while engine.num_generated < 2**_SOBOL_BITS:
        for row in (engine.random_base2(exponent) * 2.0**_SOBOL_BITS).astype("int64").tolist():
            numbers = [(x << (_BITS - _SOBOL_BITS)) ^ shift for x, shift in zip(row, shifts, strict=False)]
            yield dict(zip(names, numbers, strict=True)).__getitem__
        exponent = int(engine.num_generated).bit_length() - 1


def lhs_draws(seed: int, stratum: str, names: Sequence[str], n: int) -> Iterator[Draw]:
    """Latin hypercubes of n points, one after the other: in each, every name has one value in each nth of its range.

    Raises:
        HpcsweepError: scipy is not installed.
    """
    qmc = _import_qmc("lhs")
    from numpy.random import default_rng  # noqa: PLC0415 - heavy, and only needed here

    for cube in count():
        columns = []
        for name in names:
            generator = default_rng(hashed(seed, stratum, "lhs", cube, name))
            try:
                engine = qmc.LatinHypercube(1, rng=generator)
            except TypeError:  # scipy before 1.15
                engine = qmc.LatinHypercube(1, seed=generator)
            columns.append([min(int(x * 2.0**_BITS), 2**_BITS - 1) for x in engine.random(n)[:, 0].tolist()])
        for k in range(n):
            yield {name: column[k] for name, column in zip(names, columns, strict=True)}.__getitem__


def _import_qmc(method: str) -> Any:
    try:
        from scipy.stats import qmc  # noqa: PLC0415 - heavy, and an extra
    except ImportError as error:
        raise HpcsweepError(f"sample: {method} needs scipy: pip install 'hpcsweep[search]'") from error
    return qmc


def plan_draw(space: Node, path: str = "") -> tuple[Draft, tuple[str, ...]]:
    """How a point is made out of a draw, and the names that it asks the draw for.

    A zip and a list of rows are one name, and so is the choice of a sum's block. ``path`` tells nested sums apart.
    """
    match space:
        case Values():
            return _draft_values(space)
        case Distribution():
            return _draft_distribution(space)
        case Zip() | Rows():
            key = f"{path}:rows:{','.join(space.base_names)}"
            size = space.base_count()
            if size == 1:
                return lambda _: space.locate(0)[:2], ()
            return lambda draw: space.locate(draw(key) * size >> _BITS)[:2], (key,)
        case Product():
            drafts, keys = (
                zip(*(plan_draw(factor, path) for factor in space.factors), strict=True) if space.factors else ((), ())
            )
            return lambda draw: _joined(drafts, draw), _distinct(keys)
        case Sum():
            return _draft_sum(space, path)
        case Replicate():
            inner, names = plan_draw(space.space, path)
            own: Profile = tuple(space.counts.items())

            def draft(draw: Draw) -> tuple[Point, Profile]:
                point, profile = inner(draw)
                return point, merge_profiles(own, profile)

            return draft, names
    raise TypeError(f"{type(space).__name__} is no part of a space")


def _joined(drafts: Sequence[Draft], draw: Draw) -> tuple[Point, Profile]:
    point: Point = {}
    profile: Profile = ()
    for draft in drafts:
        part, part_profile = draft(draw)
        point.update(part)
        profile = merge_profiles(profile, part_profile)
    return point, profile


def _distinct(groups: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))


def _draft_values(space: Values) -> tuple[Draft, tuple[str, ...]]:
    name, values, size = space.name, space.values, len(space.values)
    if size == 1:
        return lambda _: ({name: values[0]}, ()), ()
    return lambda draw: ({name: values[draw(name) * size >> _BITS]}, ()), (name,)


def _draft_distribution(space: Distribution) -> tuple[Draft, tuple[str, ...]]:
    name, value_at = space.name, quantile(space)
    return lambda draw: ({name: value_at(draw(name))}, ()), (name,)


def _draft_sum(space: Sum, path: str) -> tuple[Draft, tuple[str, ...]]:
    key = f"{path}:sum:{','.join(space.base_names)}"
    plans = [plan_draw(block, f"{path}:{k}") for k, block in enumerate(space.blocks)]
    # By size, or equally when any is continuous.
    sizes = [block.base_count() for block in space.blocks] if space.is_finite else [1] * len(plans)
    ends = list(accumulate(sizes))

    def draft(draw: Draw) -> tuple[Point, Profile]:
        return plans[bisect_right(ends, draw(key) * ends[-1] >> _BITS)][0](draw)

    names = _distinct([(key,) if len(plans) > 1 else (), *(names for _, names in plans)])
    return (draft if len(plans) > 1 else plans[0][0]), names


def quantile(space: Distribution) -> Callable[[int], int | float]:
    """The value at a number below 2**64: lo + k*step inside the bounds, or a float rounded to 12 significant digits."""
    first, second = space.numbers
    if space.kind == "normal":
        normal = NormalDist(first, second)
        return (
            _normal_on_grid(space, normal) if space.step is not None else lambda u: round_float(normal.inv_cdf(_open_unit(u)))
        )
    if space.step is not None:
        return _uniform_on_grid(space) if space.kind == "uniform" else _loguniform_on_grid(space)
    if space.kind == "uniform":
        return lambda u: _within(first, second, first + (second - first) * _unit(u))
    return lambda u: _within(first, second, _log_between(first, second, u))


def grid_size(space: Distribution) -> int | None:
    """How many values there can be: None for no step, and for a normal distribution, which has no bounds."""
    if space.step is None or space.kind == "normal":
        return None
    first, second = space.numbers
    return (exact(second) - exact(first)) // exact(space.step) + 1


def _grid_value(space: Distribution) -> Callable[[int], int | float]:
    step = space.step or 0
    first = 0 if space.kind == "normal" else space.numbers[0]
    start, stride = exact(first), exact(step)
    if all(isinstance(number, int) for number in (*space.numbers, step)):
        return lambda k: int(start + k * stride)
    return lambda k: round_float(float(start + k * stride))


def _uniform_on_grid(space: Distribution) -> Callable[[int], int | float]:
    size, value_at = grid_size(space) or 1, _grid_value(space)
    return lambda u: value_at(u * size >> _BITS)


def _loguniform_on_grid(space: Distribution) -> Callable[[int], int | float]:
    first, second = space.numbers
    size, value_at, step = grid_size(space) or 1, _grid_value(space), space.step or 1
    return lambda u: value_at(min(size - 1, max(0, round((_log_between(first, second, u) - first) / step))))


def _normal_on_grid(space: Distribution, normal: NormalDist) -> Callable[[int], int | float]:
    value_at, step = _grid_value(space), space.step or 1
    return lambda u: value_at(round(normal.inv_cdf(_open_unit(u)) / step))


def _unit(u: int) -> float:
    return (u >> 11) / 2.0**53


def _open_unit(u: int) -> float:
    return ((u >> 12) + 0.5) / 2.0**52


def _log_between(low: float, high: float, u: int) -> float:
    return math.exp(math.log(low) + (math.log(high) - math.log(low)) * _unit(u))


def _within(low: float, high: float, number: float) -> float:
    return float(min(high, max(low, round_float(number))))


def listed(space: Node) -> Node | None:
    """The space with its distributions on a grid listed as values, or None when one has no end of values."""
    if space.is_finite:
        return space
    match space:
        case Distribution():
            size = grid_size(space)
            if size is None or size > _MAX_GRID:
                return None
            return Values(space.name, [*map(_grid_value(space), range(size))])
        case Product():
            factors = [part for part in map(listed, space.factors) if part]
            return Product(factors) if len(factors) == len(space.factors) else None
        case Sum():
            blocks = [part for part in map(listed, space.blocks) if part]
            return Sum(blocks) if len(blocks) == len(space.blocks) else None
        case Replicate():
            inner = listed(space.space)
            return Replicate(inner, space.counts) if inner else None
    return None
