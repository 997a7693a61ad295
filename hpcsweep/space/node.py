"""What every part of a space is: counted and indexed by arithmetic, never by enumerating it.

Replicates are not like other factors: they come after everything else (SweepSpace puts conditions and samples before
them). So each node gives *base points*, without replicates, and beside each a *profile*, the values that its replicate
names take. The points of a node are its base points, each with all of its profile, innermost.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from hpcsweep.errors import HpcsweepError
from hpcsweep.space.identity import canonical

Point = dict[str, Any]
Profile = tuple[tuple[str, Sequence[Any]], ...]


class SpaceError(HpcsweepError, ValueError):
    """A space that cannot be. ``names``: the parameters; ``positions``: which two factors or blocks, from 0."""

    def __init__(self, message: str, hint: str = "", *, names: Iterable[str] = (), positions: Iterable[int] = ()) -> None:
        super().__init__(message, hint)
        self.names = tuple(names)
        self.positions = tuple(positions)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a node without looking at its points; the counts are None for what can only be sampled."""

    base_names: tuple[str, ...]
    base_always: frozenset[str]
    replicates: tuple[str, ...] = ()
    base_count: int | None
    count: int | None


class Node(ABC):
    """A space of points: sized, iterable and indexable like a sequence."""

    @property
    def base_names(self) -> tuple[str, ...]:
        """All names that may occur in a point, replicates left out, in their order."""
        return self._facts.base_names

    @property
    def base_always(self) -> frozenset[str]:
        """The names that each point has, replicates left out."""
        return self._facts.base_always

    @property
    def replicates(self) -> tuple[str, ...]:
        """The names of replicates, the slowest first; each point has all of them."""
        return self._facts.replicates

    @property
    def names(self) -> tuple[str, ...]:
        """All names that may occur in a point, in their order."""
        return self.base_names + self.replicates

    @property
    def always(self) -> frozenset[str]:
        """The names that each point has."""
        return self.base_always | set(self.replicates)

    @property
    def is_finite(self) -> bool:
        """False with a distribution inside: such a space can only be sampled."""
        return self._facts.base_count is not None

    @property
    def is_distinct(self) -> bool:
        """True where no two base points can be equal; False is no proof of the contrary."""
        return self._is_distinct

    def base_count(self) -> int:
        """How many base points there are; raises SpaceError for what can only be sampled."""
        return self._counted(self._facts.base_count)

    def count(self) -> int:
        """How many points there are, before equal ones are dropped; raises SpaceError for what can only be sampled."""
        return self._counted(self._facts.count)

    def walk(self) -> Iterator[tuple[Point, Profile]]:
        """The base points in order, each with its profile; raises SpaceError for what can only be sampled."""
        self.base_count()
        return self._walk()

    def locate(self, offset: int, copies: int = 1) -> tuple[Point, Profile, int]:
        """The base point that ``offset`` falls on when each point stands there ``copies`` times, and what is left of it."""
        return self._locate(offset, copies)

    def __iter__(self) -> Iterator[Point]:
        if not self.replicates:
            return (point for point, _ in self.walk())
        return (point for base, profile in self.walk() for point in replicated(base, profile, self.replicates))

    def __len__(self) -> int:
        count = self.count()
        if count > 2**63 - 1:
            raise OverflowError(f"the space has {count:,} points, more than len() can say: use count()")
        return count

    def __bool__(self) -> bool:
        return True

    @overload
    def __getitem__(self, index: int) -> Point: ...
    @overload
    def __getitem__(self, index: slice) -> list[Point]: ...
    def __getitem__(self, index: int | slice) -> Point | list[Point]:
        count = self.count()
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(count))]
        wanted = operator.index(index)
        if not -count <= wanted < count:
            raise IndexError(f"there is no point {wanted:,}: the space has {count:,}")
        base, profile, left = self.locate(wanted % count)
        return replicate_at(base, profile, self.replicates, left)

    def _counted(self, count: int | None) -> int:
        if count is None:
            raise SpaceError("a space with a distribution in it can be sampled, not counted", "add sample: {n: 50}")
        return count

    @cached_property
    @abstractmethod
    def _facts(self) -> Facts: ...

    @cached_property
    @abstractmethod
    def _is_distinct(self) -> bool: ...

    @abstractmethod
    def _walk(self) -> Iterator[tuple[Point, Profile]]: ...

    @abstractmethod
    def _locate(self, offset: int, copies: int) -> tuple[Point, Profile, int]: ...


_ONE = range(1)


def replicate_at(base: Point, profile: Profile, replicates: Sequence[str], index: int) -> Point:
    """The base point's copy number ``index``; a name that the profile lacks is 0 (a block without a count)."""
    values = dict(profile)
    picked: Point = {}
    for name in reversed(replicates):
        choices = values.get(name, _ONE)
        index, k = divmod(index, len(choices))
        picked[name] = choices[k]
    return base | {name: picked[name] for name in replicates}


def replicated(base: Point, profile: Profile, replicates: Sequence[str]) -> Iterator[Point]:
    """All the base point's copies."""
    return (replicate_at(base, profile, replicates, index) for index in range(profile_count(profile)))


def profile_count(profile: Profile) -> int:
    """How many copies of its point a profile makes."""
    return math.prod(len(values) for _, values in profile)


def distinct_profiles(profiles: Iterable[Profile]) -> list[Profile]:
    """Each profile once, in order; ``1``, ``1.0`` and ``True`` are three values, which ``==`` does not say."""
    distinct: dict[object, Profile] = {}
    for profile in profiles:
        key = tuple((name, values if isinstance(values, range) else canonical(values)) for name, values in profile)
        distinct.setdefault(key, profile)
    return list(distinct.values())


def merge_profiles(outer: Profile, inner: Profile) -> Profile:
    """Both profiles; counts of the same name multiply."""
    if not outer or not inner:
        return outer or inner
    merged = dict(outer)
    for name, values in inner:
        merged[name] = range(len(merged[name]) * len(values)) if name in merged else values
    return tuple(merged.items())


def union(groups: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """All names, each once, in the order of their first appearance."""
    return tuple(dict.fromkeys(name for group in groups for name in group))
