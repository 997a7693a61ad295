"""Where in a space a base point stands: the profiles that it has there, without walking the space to find it.

Equal points may stand in blocks with different counts; a sampled point has the replicates of all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from hpcsweep.space.composites import Product, Replicate, Sum, Zip
from hpcsweep.space.identity import canonical
from hpcsweep.space.leaves import Distribution, Rows, Values
from hpcsweep.space.node import Node, Point, Profile, distinct_profiles, merge_profiles

Lookup = Callable[[Point], list[Profile]]
"""The distinct profiles of a base point, in the space's order; none when the point is not in the space."""

_HERE: list[Profile] = [()]


def plan_lookup(space: Node) -> Lookup:
    """How a point is looked up in the space; what is between a distribution's bounds is its own."""
    match space:
        case Values():
            name, texts = space.name, {canonical(value) for value in space.values}
            return lambda point: _HERE if point.keys() == {name} and canonical(point[name]) in texts else []
        case Distribution():
            return lambda point: _HERE if point.keys() == {space.name} and _is_drawn(space, point[space.name]) else []
        case Rows() | Zip():
            rows = {canonical(point) for point, _ in space.walk()}
            return lambda point: _HERE if canonical(point) in rows else []
        case Product():
            return _plan_product(space)
        case Sum():
            blocks = [plan_lookup(block) for block in space.blocks]
            return lambda point: distinct_profiles(profile for block in blocks for profile in block(point))
        case Replicate():
            inner, own = plan_lookup(space.space), tuple(space.counts.items())
            return lambda point: [merge_profiles(own, profile) for profile in inner(point)]
    raise TypeError(f"{type(space).__name__} is no part of a space")


def _is_drawn(space: Distribution, value: object) -> bool:
    low, high = (-math.inf, math.inf) if space.kind == "normal" else space.numbers
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _plan_product(space: Product) -> Lookup:
    factors = [(frozenset(factor.base_names), plan_lookup(factor)) for factor in space.factors]
    known = frozenset(space.base_names)

    def lookup(point: Point) -> list[Profile]:
        if not known.issuperset(point):
            return []
        profiles = _HERE
        for names, factor in factors:
            parts = factor({name: value for name, value in point.items() if name in names})
            profiles = [merge_profiles(outer, inner) for outer in profiles for inner in parts]
        return distinct_profiles(profiles)

    return lookup
