"""What multiplies, adds, pairs up and repeats the parts of a space."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, product
from typing import Any

from hpcsweep.space.identity import canonical
from hpcsweep.space.leaves import Rows, Values
from hpcsweep.space.node import Facts, Node, Point, Profile, SpaceError, merge_profiles, profile_count, union

REP = "rep"
"""The name that numbers the copies of ``n * block``."""


@dataclass(frozen=True)
class Product(Node):
    """Each point of one factor with each of the others; the last varies fastest. Without factors: one empty point.

    ``labels`` (one for each factor) say in an error where the factors are.
    """

    factors: Sequence[Node]
    labels: Sequence[str] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", tuple(self.factors))
        _check_disjoint(self.factors, self.labels, "factors of a product")

    @cached_property
    def _facts(self) -> Facts:
        is_finite = all(factor.is_finite for factor in self.factors)
        return Facts(
            base_names=tuple(name for factor in self.factors for name in factor.base_names),
            base_always=frozenset().union(*(factor.base_always for factor in self.factors)),
            replicates=union(factor.replicates for factor in self.factors),
            base_count=math.prod(factor.base_count() for factor in self.factors) if is_finite else None,
            count=self._counts[0] if is_finite else None,
        )

    @cached_property
    def _is_distinct(self) -> bool:
        return all(factor.is_distinct for factor in self.factors)

    @cached_property
    def _counts(self) -> list[int]:
        """The number of points of all factors from each one on, ending with 1 for none."""
        return list(accumulate((factor.count() for factor in reversed(self.factors)), lambda a, b: a * b, initial=1))[::-1]

    def _walk(self) -> Iterator[tuple[Point, Profile]]:
        return _walk_product(self.factors)

    def _locate(self, offset: int, copies: int) -> tuple[Point, Profile, int]:
        point: Point = {}
        profile: Profile = ()
        for factor, rest in zip(self.factors, self._counts[1:], strict=True):
            part, part_profile, offset = factor.locate(offset, copies * rest)
            point |= part
            profile = merge_profiles(profile, part_profile)
            copies *= profile_count(part_profile)
        return point, profile, offset


@dataclass(frozen=True)
class Sum(Node):
    """The points of one block after those of another; blocks may have different names."""

    blocks: Sequence[Node]
    labels: Sequence[str] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if not self.blocks:
            raise SpaceError("a sum needs at least one block")
        _check_replicates(self.blocks, self.labels)

    @cached_property
    def _facts(self) -> Facts:
        is_finite = all(block.is_finite for block in self.blocks)
        return Facts(
            base_names=union(block.base_names for block in self.blocks),
            base_always=self.blocks[0].base_always.intersection(*(block.base_always for block in self.blocks)),
            replicates=union(block.replicates for block in self.blocks),
            base_count=sum(block.base_count() for block in self.blocks) if is_finite else None,
            count=self._ends[-1] if is_finite else None,
        )

    @cached_property
    def _is_distinct(self) -> bool:
        if len(self.blocks) > 50 or not all(block.is_distinct for block in self.blocks):
            return False
        fixed = [constants(block) for block in self.blocks]
        return all(
            _are_apart(a, fixed[k], b, fixed[m]) for k, a in enumerate(self.blocks) for m, b in enumerate(self.blocks[:k])
        )

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(block.count() for block in self.blocks))

    def _walk(self) -> Iterator[tuple[Point, Profile]]:
        return (pair for block in self.blocks for pair in block.walk())

    def _locate(self, offset: int, copies: int) -> tuple[Point, Profile, int]:
        k = bisect_right(self._ends, offset // copies)
        before = self._ends[k - 1] if k else 0
        return self.blocks[k].locate(offset - before * copies, copies)


@dataclass(frozen=True)
class Zip(Node):
    """The first points of all spaces together, then the second ones, ...: equally long, finite, without replicates."""

    spaces: Sequence[Node]
    labels: Sequence[str] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "spaces", tuple(self.spaces))
        if not self.spaces:
            raise SpaceError("a zip needs at least one column")
        _check_disjoint(self.spaces, self.labels, "columns of a zip")
        _check_columns(self.spaces, self.labels)

    @cached_property
    def _facts(self) -> Facts:
        count = self.spaces[0].base_count()
        return Facts(
            base_names=tuple(name for space in self.spaces for name in space.base_names),
            base_always=frozenset().union(*(space.base_always for space in self.spaces)),
            base_count=count,
            count=count,
        )

    @cached_property
    def _is_distinct(self) -> bool:
        return any(space.is_distinct for space in self.spaces)

    def _walk(self) -> Iterator[tuple[Point, Profile]]:
        return (
            ({name: value for point, _ in row for name, value in point.items()}, ())
            for row in zip(*(space.walk() for space in self.spaces), strict=True)
        )

    def _locate(self, offset: int, copies: int) -> tuple[Point, Profile, int]:
        index, left = divmod(offset, copies)
        return {name: value for space in self.spaces for name, value in space.locate(index)[0].items()}, (), left


@dataclass(frozen=True)
class Replicate(Node):
    """Each point once for each of the counts' values, innermost: ``{"seed": 3}`` is seed 0, 1, 2.

    ``counts`` maps a name to a count or to distinct values. Nested counts of ``rep`` multiply.
    """

    space: Node
    counts: Mapping[str, Any]

    def __post_init__(self) -> None:
        counts = {name: as_replicates(name, values) for name, values in self.counts.items()}
        object.__setattr__(self, "counts", counts)
        if not counts:
            raise SpaceError("replicate: no names", "write replicate: {seed: 3}")
        for name in counts:
            if name in self.space.base_names or (name in self.space.replicates and not is_count(self, name)):
                raise SpaceError(f"replicate: {name} is a parameter of the space already", "rename one of them", names=[name])

    @cached_property
    def _facts(self) -> Facts:
        inner = self.space
        return Facts(
            base_names=inner.base_names,
            base_always=inner.base_always,
            replicates=union((self.counts, inner.replicates)),
            base_count=inner.base_count() if inner.is_finite else None,
            count=profile_count(self._profile) * inner.count() if inner.is_finite else None,
        )

    @cached_property
    def _is_distinct(self) -> bool:
        return self.space.is_distinct

    @cached_property
    def _profile(self) -> Profile:
        return tuple(self.counts.items())

    def _walk(self) -> Iterator[tuple[Point, Profile]]:
        return ((point, merge_profiles(self._profile, profile)) for point, profile in self.space.walk())

    def _locate(self, offset: int, copies: int) -> tuple[Point, Profile, int]:
        point, profile, left = self.space.locate(offset, copies * profile_count(self._profile))
        return point, merge_profiles(self._profile, profile), left


def as_replicates(name: str, values: Any) -> Sequence[Any]:
    """A replicate's values: ``3`` and ``(0, 1, 2)`` are ``range(3)``; others a tuple of distinct values.

    Raises:
        SpaceError: a count below 1, no values, a value that occurs twice.
    """
    if isinstance(values, int) and not isinstance(values, bool):
        if values < 1:
            raise SpaceError(f"replicate: {name} needs a count of at least 1, not {values}", names=[name])
        return range(values)
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise SpaceError(f"replicate: {name} needs a count or a list of values, not {values!r:.40}", names=[name])
    checked = Values(name, values)
    if not checked.is_distinct:
        raise SpaceError(f"replicate: {name} has a value twice", names=[name])
    is_counted = all(type(value) is int and value == k for k, value in enumerate(checked.values))
    return range(len(checked.values)) if is_counted else checked.values


def is_count(node: Node, name: str) -> bool:
    """Whether a replicate is the count of ``n * block`` everywhere in the node: it multiplies, and is 0 where there is none."""
    if name.rpartition(".")[2] != REP or name not in node.replicates:
        return False
    match node:
        case Replicate():
            own = node.counts.get(name, range(1))
            is_range = isinstance(own, range) and own[:1] == range(1)
            return is_range and (name not in node.space.replicates or is_count(node.space, name))
        case Product():
            return all(is_count(part, name) for part in node.factors if name in part.replicates)
        case Sum():
            return all(is_count(part, name) for part in node.blocks if name in part.replicates)
    return False


def constants(space: Node) -> dict[str, Any]:
    """The names that each point has with the same value."""
    match space:
        case Values():
            first = canonical(space.values[0])
            is_constant = all(canonical(value) == first for value in space.values[1:])
            return {space.name: space.values[0]} if is_constant else {}
        case Rows():
            return _shared(space.rows)
        case Product():
            return {name: value for factor in space.factors for name, value in constants(factor).items()}
        case Zip():
            return {name: value for column in space.spaces for name, value in constants(column).items()}
        case Sum():
            return _shared([constants(block) for block in space.blocks])
        case Replicate():
            single = {name: values[0] for name, values in space.counts.items() if len(values) == 1}
            return constants(space.space) | {
                name: value for name, value in single.items() if name not in space.space.replicates
            }
    return {}


def written_count(space: Node) -> int:
    """How many points a finite space would have with the equal list items that were left out of it."""
    match space:
        case Values():
            return len(space.values) + space.left_out
        case Product():
            return math.prod(map(written_count, space.factors))
        case Sum():
            return sum(map(written_count, space.blocks))
        case Replicate():
            return written_count(space.space) * profile_count(tuple(space.counts.items()))
    return space.base_count()


def _are_apart(a: Node, a_constants: Mapping[str, Any], b: Node, b_constants: Mapping[str, Any]) -> bool:
    """No point can be in both: one always has a name that the other does not know, or a constant differs."""
    if a.base_always.difference(b.base_names) or b.base_always.difference(a.base_names):
        return True
    return any(name in b_constants and canonical(b_constants[name]) != canonical(value) for name, value in a_constants.items())


def _shared(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all rows have, with the same value."""
    shared = dict(rows[0])
    for row in rows[1:]:
        shared = {name: value for name, value in shared.items() if name in row and canonical(row[name]) == canonical(value)}
        if not shared:
            break
    return shared


def _walk_product(factors: Sequence[Node]) -> Iterator[tuple[Point, Profile]]:
    if all(isinstance(factor, Values) for factor in factors):
        names = [name for factor in factors for name in factor.base_names]
        columns = [factor.values for factor in factors if isinstance(factor, Values)]
        for row in product(*columns):
            yield dict(zip(names, row, strict=True)), ()
    elif len(factors) == 1:
        yield from factors[0].walk()
    else:
        # Halves, so that a product of a thousand factors does not nest a thousand generators.
        half = len(factors) // 2
        for left, left_profile in _walk_product(factors[:half]):
            for right, right_profile in _walk_product(factors[half:]):
                yield left | right, merge_profiles(left_profile, right_profile)


def _label(labels: Sequence[str], k: int, node: Node) -> str:
    names = ", ".join(node.names[:3]) + (", ..." if len(node.names) > 3 else "")
    return labels[k] if k < len(labels) else f"number {k + 1} ({names})"


def _check_disjoint(spaces: Sequence[Node], labels: Sequence[str], what: str) -> None:
    owners: dict[str, int] = {}
    for k, space in enumerate(spaces):
        for name in space.names:
            first = owners.setdefault(name, k)
            if first == k or (is_count(spaces[first], name) and is_count(space, name)):
                continue
            raise SpaceError(
                f"{name} is set twice: by {_label(labels, first, spaces[first])} and by {_label(labels, k, space)}, "
                f"which are {what}",
                "keep one of them, or make them blocks of a sum",
                names=[name],
                positions=[first, k],
            )


def _check_columns(spaces: Sequence[Node], labels: Sequence[str]) -> None:
    for k, space in enumerate(spaces):
        which = _label(labels, k, space)
        if not space.is_finite:
            raise SpaceError(f"zip: {which} has a distribution in it", "zip pairs values: list them", positions=[k])
        if space.replicates:
            raise SpaceError(f"zip: {which} has a replicate in it", "put the replicate beside the zip", positions=[k])
        if space.count() != spaces[0].count():
            raise SpaceError(
                "zip: the columns differ in length: "
                f"{_label(labels, 0, spaces[0])} has {spaces[0].count():,}, {which} has {space.count():,}",
                "zip pairs the first values, the second ones, ...: give all the same number",
                positions=[0, k],
            )


def _check_replicates(blocks: Sequence[Node], labels: Sequence[str]) -> None:
    """A name replicates everywhere or nowhere; only a count may be missing in a block, and is 0 there."""
    for name in union(block.replicates for block in blocks):
        having = [k for k, block in enumerate(blocks) if name in block.replicates]
        is_filled = all(is_count(blocks[k], name) for k in having)
        for lacking, block in enumerate(blocks):
            if name in block.replicates or (is_filled and name not in block.base_names):
                continue
            raise SpaceError(
                f"{name} is a replicate in {_label(labels, having[0], blocks[having[0]])} "
                f"but not in {_label(labels, lacking, block)}",
                "replicate beside the sum, or in each of its blocks",
                names=[name],
                positions=[having[0], lacking],
            )
