"""A space cut into strata: one for each combination of values of some names, each a space of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcsweep.space.composites import Product, Replicate, Sum, Zip
from hpcsweep.space.identity import canonical
from hpcsweep.space.leaves import Distribution, Rows, Values
from hpcsweep.space.node import Node, Point, SpaceError

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_STRATA = 1_000_000

Strata = dict[str, tuple[Point, Node]]


def split_strata(space: Node, per: Collection[str]) -> Strata:
    """The strata in the space's order: canonical text of the combination -> the combination, the part of the space with it.

    A name that some points lack makes a stratum without it.

    Raises:
        SpaceError: a name is a distribution, or there are too many combinations.
    """
    if not set(per).intersection(space.base_names):
        return {canonical({}): ({}, space)}
    match space:
        case Values():
            return _group([{space.name: value} for value in space.values], per)
        case Rows() | Zip():
            if space.base_count() > MAX_STRATA:
                raise _too_many(per)
            return _group([point for point, _ in space.walk()], per)
        case Product():
            return _split_product(space, per)
        case Sum():
            return _split_sum(space, per)
        case Replicate():
            inner = split_strata(space.space, per)
            return {key: (combination, Replicate(part, space.counts)) for key, (combination, part) in inner.items()}
        case Distribution():
            raise SpaceError(
                f"sample: per: {space.name} is a {space.kind} distribution",
                "per takes names with listed values",
                names=[space.name],
            )
    raise TypeError(f"{type(space).__name__} is no part of a space")


def _group(points: list[Point], per: Collection[str]) -> Strata:
    groups: dict[str, tuple[Point, list[Point]]] = {}
    for point in points:
        combination = {name: value for name, value in point.items() if name in per}
        groups.setdefault(canonical(combination), (combination, []))[1].append(point)
    return {key: (combination, Rows(rows)) for key, (combination, rows) in groups.items()}


def _split_product(space: Product, per: Collection[str]) -> Strata:
    # A combination's part keeps the factors in their order, so that its points keep the order of their names.
    parts: list[tuple[Point, tuple[Node, ...]]] = [({}, ())]
    for factor in space.factors:
        strata = split_strata(factor, per)
        if len(parts) * len(strata) > MAX_STRATA:
            raise _too_many(per)
        parts = [(combination | more, (*factors, part)) for combination, factors in parts for more, part in strata.values()]
    return {canonical(combination): (combination, Product(factors)) for combination, factors in parts}


def _split_sum(space: Sum, per: Collection[str]) -> Strata:
    groups: dict[str, tuple[Point, list[Node]]] = {}
    for block in space.blocks:
        for key, (combination, part) in split_strata(block, per).items():
            groups.setdefault(key, (combination, []))[1].append(part)
    return {key: (combination, parts[0] if len(parts) == 1 else Sum(parts)) for key, (combination, parts) in groups.items()}


def _too_many(per: Collection[str]) -> SpaceError:
    return SpaceError(f"sample: per: there are more than {MAX_STRATA:,} combinations of {', '.join(per)}", names=per)
