"""The whole space of a sweep, from its tree to its tasks' points.

The order is: expand, drop equals, sample, derive, where, exclude, drop equals, replicate, include.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from hpcsweep.errors import HpcsweepError
from hpcsweep.space.composites import constants, is_count, written_count
from hpcsweep.space.conditions import Exclusion, Expression, Filter, Tally, derived
from hpcsweep.space.identity import canonical, point_id
from hpcsweep.space.lookup import plan_lookup
from hpcsweep.space.node import Node, Point, Profile, SpaceError, distinct_profiles, profile_count, replicated
from hpcsweep.space.sampling import Accept, Sample, sample_points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MAX_POINTS = 10_000_000
"""More points than this are not expanded without a limit: no scheduler takes them."""


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """The points, and what happened on the way to them.

    ``dropped`` counts points equal to an earlier one (``examples`` shows some), ``rejected`` base points by the text of the
    condition. ``is_complete``: false when a limit ended it; the counts are then those of what was looked at. ``count``: how
    many points there were, where ``points`` has only the first of them.
    """

    points: list[Point]
    count: int
    dropped: int = 0
    examples: tuple[Point, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    is_complete: bool = True


@dataclass(frozen=True, kw_only=True)
class SweepSpace:
    """A tree with its sample, derived values, conditions and included points.

    Raises SpaceError when these do not fit together (unknown, clashing or missing names); ``names`` has them.
    """

    tree: Node
    sample: Sample | None = None
    derive: Sequence[tuple[str, Expression]] = ()
    where: Sequence[Expression] = ()
    exclude: Sequence[Node] = ()
    include: Sequence[Node] = ()

    def __post_init__(self) -> None:
        for name in ("derive", "where", "exclude", "include"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_derive()
        for what, expression in [*self.derive, *(("where", expression) for expression in self.where)]:
            self._check_expression(what, expression)
        if self.sample:
            self._check_known("sample: per", self.sample.per, self.tree.base_names)
        for k, entry in enumerate(self.exclude):
            self._check_entry(f"exclude: entry {k + 1}", entry, self.tree.base_names + self.derived_names)
        for k, entry in enumerate(self.include):
            self._check_entry(f"include: entry {k + 1}", entry, self.names)
            self._check_include(k, entry)

    @property
    def derived_names(self) -> tuple[str, ...]:
        """The names of derived values."""
        return tuple(name for name, _ in self.derive)

    @property
    def replicates(self) -> tuple[str, ...]:
        """The names that are averaged over, the slowest first."""
        return self.tree.replicates

    @property
    def names(self) -> tuple[str, ...]:
        """All names that may occur in a point, in the order of each point."""
        return self.tree.base_names + self.derived_names + self.tree.replicates

    @property
    def always(self) -> frozenset[str]:
        """The names that each point has."""
        return self.tree.always.union(self.derived_names)

    @property
    def left_out(self) -> int:
        """How many points equal list items would have made, which the tree counts once."""
        return written_count(self.tree) - self.tree.count() if self.tree.is_finite and not self.sample else 0

    @property
    def has_conditions(self) -> bool:
        """Whether a point may be rejected."""
        return bool(self.where or self.exclude)

    def known_count(self) -> int | None:
        """How many points there are, where that is known without looking at them; else None."""
        if self.sample or self.has_conditions or self.include or not self.tree.is_finite or not self.tree.is_distinct:
            return None
        return self.tree.count()

    def points(self, limit: int | None = None) -> Iterator[Point]:
        """The distinct points, lazily; at most ``limit`` of them.

        Raises:
            HpcsweepError: there is none, with the last condition that rejected any; an expression fails at a point;
                a sample finds too few; a distribution is not sampled.
        """
        return islice(self._points(Tally()), limit)

    def expand(self, limit: int | None = None) -> Expansion:
        """All points, or the first ``limit``, with what was dropped and rejected on the way.

        Raises:
            HpcsweepError: as ``points``, and for more than MAX_POINTS without a limit.
        """
        if limit is None and not self.sample and self.tree.is_finite and self.tree.count() > MAX_POINTS:
            raise HpcsweepError(
                f"the space has {self.tree.count():,} points, more than the {MAX_POINTS:,} that a run can hold",
                "draw from it with sample: {n: 1000}, or take the first ones with --limit",
            )
        return self.survey(limit=limit, look_at=MAX_POINTS if self.has_conditions else None)

    def survey(
        self,
        *,
        limit: int | None,
        look_at: int | None,
        keep: int | None = None,
        visit: Callable[[int, Point], None] | None = None,
    ) -> Expansion:
        """As ``expand``, looking at no more than ``look_at`` base points; of the points found only the first ``keep`` are kept.

        ``visit`` is called with each point and its number.
        """
        tally = Tally(most_looked_at=look_at)
        stream = self._points(tally)
        points: list[Point] = []
        count = 0
        for count, point in enumerate(islice(stream, limit), 1):
            if keep is None or count <= keep:
                points.append(point)
            if visit:
                visit(count - 1, point)
        is_complete = not tally.is_cut and (limit is None or count < limit or next(stream, None) is None)
        return Expansion(
            points=points,
            count=count,
            dropped=tally.dropped + (self.left_out if is_complete else 0),
            examples=tuple(tally.examples),
            rejected=tally.rejected,
            is_complete=is_complete,
        )

    def _points(self, tally: Tally) -> Iterator[Point]:
        included: dict[str, Point] = {}
        for point in self._included():
            if included.setdefault(point_id(point), point) is not point:
                tally.add_dropped(point, 1)
        is_empty = True
        for base, profile, earlier in self._base_points(tally):
            for point in replicated(base, profile, self.replicates) if self.replicates else (base,):
                if earlier and any(_is_in(point, other, self.replicates) for other in earlier):
                    tally.add_dropped(point, 1)
                    continue
                if included and included.pop(point_id(point), None) is not None:
                    tally.add_dropped(point, 1)
                is_empty = False
                yield point
        yield from included.values()
        if is_empty and not included:
            raise _no_points(tally)

    def _base_points(self, tally: Tally) -> Iterator[tuple[Point, Profile, tuple[Profile, ...]]]:
        """Accepted base points, their profiles, and the profiles that equal ones before them had."""
        accept = Filter(self.derive, self.where, self._exclusions, tally).accept
        if self.sample:
            yield from self._sampled_points(self.sample, accept)
            return
        seen: dict[str, tuple[Profile, ...]] = {}
        for base, profile in self.tree.walk():
            if tally.looked_at == tally.most_looked_at:
                tally.is_cut = True
                return
            tally.looked_at += 1
            earlier: tuple[Profile, ...] = ()
            if not self.tree.is_distinct:
                key = point_id(base)
                earlier = seen.get(key, ())
                now = tuple(distinct_profiles((*earlier, profile))) if earlier else (profile,)
                if len(now) == len(earlier):
                    tally.add_dropped(base, profile_count(profile))
                    continue
                seen[key] = now
            accepted = accept(base)
            if accepted is not None:
                yield accepted, profile, earlier

    def _sampled_points(self, sample: Sample, accept: Accept) -> Iterator[tuple[Point, Profile, tuple[Profile, ...]]]:
        is_one_place = self.tree.is_distinct or not self.replicates
        lookup = None if is_one_place else plan_lookup(self.tree)
        base_names = frozenset(self.tree.base_names)
        for point, profile in sample_points(self.tree, sample, accept):
            base = {name: value for name, value in point.items() if name in base_names}
            profiles = lookup(base) if lookup else [profile]
            for k, own in enumerate(profiles):
                yield point, own, tuple(profiles[:k])

    @cached_property
    def _exclusions(self) -> tuple[Exclusion, ...]:
        return tuple(Exclusion(entry, k) for k, entry in enumerate(self.exclude))

    def _included(self) -> Iterator[Point]:
        filled = constants(self.tree) | dict.fromkeys(self._counts, 0)
        for entry in self.include:
            for given in entry:
                values = filled | given
                base = {name: values[name] for name in values if name not in self.replicates}
                values |= derived(base, self.derive)
                yield {name: values[name] for name in self.names if name in values}

    @property
    def _counts(self) -> tuple[str, ...]:
        return tuple(name for name in self.replicates if is_count(self.tree, name))

    def _check_derive(self) -> None:
        for k, (name, _) in enumerate(self.derive):
            if name in self.tree.names or name in self.derived_names[:k]:
                other = "a parameter of the space" if name in self.tree.names else "derived twice"
                raise SpaceError(f"derive: {name} is {other}", "give the derived value another name", names=[name])

    def _check_expression(self, what: str, expression: Expression) -> None:
        used = [name for name in getattr(expression, "names", ()) if name in self.replicates]
        if used:
            raise SpaceError(
                f"{what}: {expression.text}: {used[0]} is a replicate, and conditions come before the replicates",
                f"make {used[0]} a parameter of the space, or leave it out of the expression",
                names=used,
            )

    def _check_known(self, what: str, names: Sequence[str], known: Sequence[str]) -> None:
        for name in names:
            if name in self.replicates and name not in known:
                raise SpaceError(f"{what}: {name} is a replicate, and replicates come after it", names=[name])
            if name not in known:
                raise SpaceError(f"{what}: there is no parameter {name}", _nearest(name, known), names=[name])

    def _check_entry(self, what: str, entry: Node, known: Sequence[str]) -> None:
        if not entry.is_finite:
            raise SpaceError(f"{what} has a distribution in it", "list its values", names=entry.names)
        if entry.replicates:
            raise SpaceError(
                f"{what} has a replicate in it", "write the values, for example seed: [0, 1]", names=entry.replicates
            )
        if not entry.names:
            raise SpaceError(f"{what} names no parameter", "write for example {lr: 0.1}")
        self._check_known(what, entry.names, known)

    def _check_include(self, k: int, entry: Node) -> None:
        given = {*constants(self.tree), *self._counts, *entry.always}
        missing = [name for name in self.tree.names if name in self.tree.always and name not in given]
        if missing:
            raise SpaceError(
                f"include: entry {k + 1} must set {', '.join(missing)} too: each point has them, and with different values",
                names=missing,
                positions=[k],
            )


def _is_in(point: Point, profile: Profile, replicates: Sequence[str]) -> bool:
    values = dict(profile)
    return all(any(canonical(point[name]) == canonical(value) for value in values.get(name, range(1))) for name in replicates)


def _nearest(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for a message

    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"the parameters are {', '.join(known) or 'none'}"


def _no_points(tally: Tally) -> HpcsweepError:
    last = [text for text, number in tally.rejected.items() if number]
    if not last:
        return HpcsweepError("the space comes to no points")
    if tally.is_cut:
        return HpcsweepError(
            f"none of the first {tally.looked_at:,} points of the space is left: the last of them "
            f"({tally.rejected[last[-1]]:,}) were rejected by {last[-1]}",
            "narrow the space to where the condition holds; no more of it is looked at",
        )
    return HpcsweepError(
        f"the space comes to no points: the last of them ({tally.rejected[last[-1]]:,}) were rejected by {last[-1]}",
        "loosen that condition, or the values that it meets",
    )
