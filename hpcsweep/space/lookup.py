"""Where in a space a base point stands: the profiles that it has there, without walking the space to find it.

Equal points may stand in blocks with different counts; a sampled point has the replicates of all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from hpcsweep.space.composites import Product, Replicate, Sum, Zip
from hpcsweep.space.identity import canonical
from hpcsweep.space.leaves import Distribution, Rows, Values
from hpcsweep.space.node import Node, Point, Profile, SpaceError, distinct_profiles, merge_profiles

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


_ONE = range(1)  # what a replicate's name is where a block has no count


def has_point(space: Node, point: Mapping[str, Any]) -> bool:
    """Whether a point, with its replicates, equals one of the space, as dicts are equal (1 and 1.0 are)."""
    own = {name: point[name] for name in space.replicates if name in point}
    if len(own) < len(space.replicates) or not set(space.names).issuperset(point):
        return False
    base = {name: value for name, value in point.items() if name not in own}
    found = map(dict[str, Sequence[Any]], _profiles_of(space, base))
    return any(all(value in profile.get(name, _ONE) for name, value in own.items()) for profile in found)


def _profiles_of(space: Node, base: Mapping[str, Any]) -> list[Profile]:
    """As ``plan_lookup``, for one point, by ``==``."""
    match space:
        case Values():
            return _HERE if base.keys() == {space.name} and base[space.name] in space.values else []
        case Distribution():
            return _HERE if base.keys() == {space.name} and _is_drawn(space, base[space.name]) else []
        case Sum():
            return [profile for block in space.blocks for profile in _profiles_of(block, base)]
        case Replicate():
            return [merge_profiles(tuple(space.counts.items()), inner) for inner in _profiles_of(space.space, base)]
        case Product():
            profiles = _HERE if set(space.base_names).issuperset(base) else []
            for factor in space.factors:
                part = {name: base[name] for name in factor.base_names if name in base}
                profiles = [merge_profiles(a, b) for a in profiles for b in _profiles_of(factor, part)] if profiles else []
            return profiles
    return _HERE if any(own == base for own, _ in space.walk()) else []


def values_of(space: Node, name: str) -> Sequence[Any]:
    """The different values of a parameter, in the order in which they stand in the space.

    Raises:
        SpaceError: it is drawn from a distribution.
    """
    lists = list(_lists_of(space, name))
    if len(lists) == 1 and isinstance(lists[0], range):
        return lists[0]
    return list({canonical(value): value for values in reversed(lists) for value in reversed(values)}.values())[::-1]


def _lists_of(space: Node, name: str) -> Iterator[Sequence[Any]]:
    if name in space.replicates:
        yield from (dict(profile).get(name, _ONE) for profile in _all_profiles(space))
        return
    if name not in space.names:
        return
    match space:
        case Values():
            yield space.values
        case Rows():
            yield [row[name] for row in space.rows if name in row]
        case Distribution():
            raise SpaceError(f"{name} is drawn: there is no list of its values", names=[name])
    for part in _parts(space):
        yield from _lists_of(part, name)


def _all_profiles(space: Node) -> list[Profile]:
    """All the profiles that points of a space have."""
    own: Profile = tuple(space.counts.items()) if isinstance(space, Replicate) else ()
    inner = [_all_profiles(part) for part in _parts(space)]
    if isinstance(space, Sum):
        return distinct_profiles(profile for profiles in inner for profile in profiles)
    merged = [own]
    for profiles in inner:
        merged = distinct_profiles(merge_profiles(a, b) for a in merged for b in profiles)
    return merged


def _parts(space: Node) -> Iterable[Node]:
    match space:
        case Product():
            return space.factors
        case Zip():
            return space.spaces
        case Sum():
            return space.blocks
        case Replicate():
            return [space.space]
    return ()
