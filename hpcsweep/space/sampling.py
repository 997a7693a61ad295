"""``sample:``, n distinct points of each stratum, drawn from a space that is never enumerated for it.

The first 50 of 100 draws are those of 50, but for ``lhs``, whose layout depends on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

from hpcsweep.errors import HpcsweepError
from hpcsweep.space.draws import Draw, hashed, lhs_draws, listed, plan_draw, random_draws, sobol_draws
from hpcsweep.space.identity import canonical
from hpcsweep.space.node import Node, Point, Profile, SpaceError
from hpcsweep.space.strata import split_strata

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_REJECTED_IN_A_ROW = 100_000
"""So many draws without a new point end the drawing."""

MAX_LISTED = 1_000_000
"""A finite stratum of up to this size is listed when drawing finds nothing new in it."""

Accept = Callable[[Point], Point | None]
"""Gives the point with its derived values, or None when a condition rejects it."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """``sample:`` of the sweep file: n distinct points for each combination of the names in ``per``."""

    n: int
    method: Literal["random", "sobol", "lhs"] = "random"
    seed: int = 0
    per: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "per", tuple(self.per))
        for what, number, least in (("n", self.n, 1), ("seed", self.seed, 0)):
            if not isinstance(number, int) or isinstance(number, bool) or number < least:
                raise SpaceError(f"sample: {what} must be a whole number of at least {least}, not {number!r}")
        if self.method not in ("random", "sobol", "lhs"):
            raise SpaceError(f"sample: {self.method!r} is no method", "there are random, sobol and lhs")
        if len(set(self.per)) < len(self.per):
            raise SpaceError("sample: per names a parameter twice", names=self.per)


def sample_points(space: Node, sample: Sample, accept: Accept) -> Iterator[tuple[Point, Profile]]:
    """Distinct accepted base points, stratum by stratum; a finite stratum with fewer than n gives all it has.

    Raises:
        HpcsweepError: drawing goes on without finding new points, with how many were rejected; scipy is not installed.
        SpaceError: ``per`` names a distribution.
    """
    for key, (combination, part) in split_strata(space, sample.per).items():
        yield from _sample_stratum(part, sample, key, combination, accept)


def _sample_stratum(
    space: Node, sample: Sample, key: str, combination: Point, accept: Accept
) -> Iterator[tuple[Point, Profile]]:
    finite = listed(space)
    size = finite.base_count() if finite else None
    if finite and size is not None and size <= sample.n:
        yield from _accepted(finite.walk(), set(), accept)
        return
    found = equal = in_a_row = 0
    seen: set[str] = set()
    draft, names = plan_draw(space)
    is_listable = size is not None and size <= MAX_LISTED
    for drawn, draw in enumerate(_draws(sample, key, names)):
        # Twice its size has found most of a small stratum; the rest is quicker listed than drawn.
        if (
            found == sample.n
            or len(seen) == size
            or in_a_row == MAX_REJECTED_IN_A_ROW
            or (is_listable and drawn >= 2 * (size or 0))
        ):
            break
        point, profile = draft(draw)
        in_a_row += 1
        text = canonical(point)
        if text in seen:
            equal += 1
            continue
        seen.add(text)
        accepted = accept(point)
        if accepted is not None:
            found, in_a_row, equal = found + 1, 0, 0
            yield accepted, profile
    if found == sample.n or len(seen) == size:
        return
    if finite is None or not is_listable:
        raise _gave_up(sample, combination, found, equal)
    unseen = sorted(finite.walk(), key=lambda pair: hashed(sample.seed, key, "rest", canonical(pair[0])))
    yield from islice(_accepted(iter(unseen), seen, accept), sample.n - found)


def _draws(sample: Sample, key: str, names: tuple[str, ...]) -> Iterator[Draw]:
    match sample.method:
        case "random":
            return random_draws(sample.seed, key)
        case "sobol":
            return sobol_draws(sample.seed, key, names, sample.n)
        case "lhs":
            return lhs_draws(sample.seed, key, names, sample.n)


def _accepted(pairs: Iterator[tuple[Point, Profile]], seen: set[str], accept: Accept) -> Iterator[tuple[Point, Profile]]:
    for point, profile in pairs:
        text = canonical(point)
        if text in seen:
            continue
        seen.add(text)
        accepted = accept(point)
        if accepted is not None:
            yield accepted, profile


def _gave_up(sample: Sample, combination: Point, found: int, equal: int) -> HpcsweepError:
    where = f" with {canonical(combination)}" if combination else ""
    rejected = MAX_REJECTED_IN_A_ROW - equal
    return HpcsweepError(
        f"sample: found only {found:,} of {sample.n:,} points{where}: the last {MAX_REJECTED_IN_A_ROW:,} draws were all "
        f"rejected, {rejected:,} by where and exclude, {equal:,} as equal to earlier ones",
        "ask for fewer points, or narrow the space to where the conditions hold",
    )
