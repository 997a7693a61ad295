"""The leaves of a space's tree: a parameter with its values, rows of points, a distribution."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from hpcsweep.space.forms import check_distribution
from hpcsweep.space.identity import canonical, without_negative_zeros
from hpcsweep.space.node import Facts, Node, Point, Profile, SpaceError, union

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True)
class Values(Node):
    """A parameter with its alternatives; one alternative is a constant.

    ``left_out``: how many equal ones were written besides, for the count of what is dropped.
    """

    name: str
    values: Sequence[Any]
    left_out: int = field(default=0, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not isinstance(self.values, tuple | range):
            object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise SpaceError(f"{self.name}: no values", "write null for nothing", names=[self.name])
        if isinstance(self.values, tuple):
            try:
                canonical(self.values)
                object.__setattr__(self, "values", tuple(without_negative_zeros(self.values)))
            except ValueError as error:
                raise SpaceError(f"{self.name}: {error}", names=[self.name]) from error

    @cached_property
    def _facts(self) -> Facts:
        count = len(self.values)
        return Facts(base_names=(self.name,), base_always=frozenset((self.name,)), base_count=count, count=count)

    @cached_property
    def _is_distinct(self) -> bool:
        if isinstance(self.values, range):
            return True
        # Among values of one plain type, equal is equal; the canonical texts of a million numbers take seconds.
        is_plain = {*map(type, self.values)} in ({int}, {float}, {str})
        return len(set(self.values if is_plain else map(canonical, self.values))) == len(self.values)

    def _walk(self) -> Iterator[tuple[Point, Profile]]:
        return (({self.name: value}, ()) for value in self.values)

    def _locate(self, offset: int, copies: int) -> tuple[Point, Profile, int]:
        index, left = divmod(offset, copies)
        return {self.name: self.values[index]}, (), left


@dataclass(frozen=True)
class Rows(Node):
    """Points written out one by one, of any names each (a CSV file)."""

    rows: Sequence[Mapping[str, Any]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))
        if not self.rows:
            raise SpaceError("no rows: a list of points needs at least one")
        for number, row in enumerate(self.rows):
            _check_row(number, row)

    @cached_property
    def _facts(self) -> Facts:
        count = len(self.rows)
        always = frozenset(self.rows[0]).intersection(*self.rows)
        return Facts(base_names=union(self.rows), base_always=always, base_count=count, count=count)

    @cached_property
    def _is_distinct(self) -> bool:
        return len(set(map(canonical, self.rows))) == len(self.rows)

    def _walk(self) -> Iterator[tuple[Point, Profile]]:
        return ((dict(row), ()) for row in self.rows)

    def _locate(self, offset: int, copies: int) -> tuple[Point, Profile, int]:
        index, left = divmod(offset, copies)
        return dict(self.rows[index]), (), left


@dataclass(frozen=True, kw_only=True)
class Distribution(Node):
    """A parameter drawn from uniform or loguniform (low, high) or normal (mu, sigma), on a grid of ``step`` if given."""

    name: str
    kind: Literal["uniform", "loguniform", "normal"]
    low: float | None = None
    high: float | None = None
    mu: float | None = None
    sigma: float | None = None
    step: float | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        try:
            check_distribution(self.kind, self.numbers, self.step)
        except ValueError as error:
            raise SpaceError(f"{self.name}: {error}", names=[self.name]) from error

    @property
    def numbers(self) -> tuple[Any, Any]:
        """The two numbers as they are written after the form's name."""
        return (self.mu, self.sigma) if self.kind == "normal" else (self.low, self.high)

    @cached_property
    def _facts(self) -> Facts:
        return Facts(base_names=(self.name,), base_always=frozenset((self.name,)), base_count=None, count=None)

    @cached_property
    def _is_distinct(self) -> bool:
        return False

    def _walk(self) -> Iterator[tuple[Point, Profile]]:
        return iter(())

    def _locate(self, offset: int, copies: int) -> tuple[Point, Profile, int]:
        raise IndexError(f"{self.name} has no point {offset // copies}: it is a distribution")


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise SpaceError(f"{name!r} is not a name: the name of a parameter is text")


def _check_row(number: int, row: Mapping[str, Any]) -> None:
    for name in row:
        _check_name(name)
    try:
        canonical(row)
    except ValueError as error:
        raise SpaceError(f"row {number + 1}: {error}", positions=[number]) from error
