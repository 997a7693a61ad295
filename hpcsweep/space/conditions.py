"""What stands between a base point and a task: derived values, ``where`` and ``exclude``, and a tally of what they did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from hpcsweep.errors import HpcsweepError
from hpcsweep.space.identity import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcsweep.model import Params, Value
    from hpcsweep.space.node import Node, Point

_MAX_EXAMPLES = 5
_MAX_EXCLUDED = 1_000_000


class Expression(Protocol):
    """What is asked of a compiled expression; ``evaluate`` may raise HpcsweepError."""

    @property
    def text(self) -> str:
        """The expression as it is written."""
        ...

    def evaluate(self, params: Params) -> Value:
        """The expression's value at a point."""
        ...


@dataclass(kw_only=True)
class Tally:
    """What happened to points on their way: equal ones dropped (some of them shown), how many each condition rejected.

    ``looked_at`` counts base points; at ``most_looked_at`` the walk ends, and ``is_cut`` says so.
    """

    most_looked_at: int | None = None
    looked_at: int = 0
    is_cut: bool = False
    dropped: int = 0
    examples: list[Point] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)

    def add_dropped(self, point: Point, copies: int) -> None:
        """Count a point that is there already, with its replicates."""
        self.dropped += copies
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(point)


class Exclusion:
    """One entry of ``exclude``: matches each point that has its names with its values, whatever else the point has."""

    def __init__(self, entry: Node, number: int) -> None:
        if entry.count() > _MAX_EXCLUDED:
            raise HpcsweepError(f"exclude: entry {number + 1} has {entry.count():,} points", "use where: with a condition")
        self._groups: dict[tuple[str, ...], set[str]] = {}
        for point in entry:
            names = tuple(sorted(point))
            self._groups.setdefault(names, set()).add(canonical([point[name] for name in names]))
        self.text = exclusion_text(entry, number)

    def is_match(self, point: Point) -> bool:
        """Whether the point is excluded."""
        return any(
            all(name in point for name in names) and canonical([point[name] for name in names]) in values
            for names, values in self._groups.items()
        )


class Filter:
    """Derives, then asks all conditions, and keeps the tally."""

    def __init__(
        self,
        derive: Sequence[tuple[str, Expression]],
        where: Sequence[Expression],
        exclusions: Sequence[Exclusion],
        tally: Tally,
    ) -> None:
        self._derive, self._where, self._exclusions, self._tally = derive, where, exclusions, tally
        for text in [*map(where_text, where), *(exclusion.text for exclusion in exclusions)]:
            tally.rejected.setdefault(text, 0)

    def accept(self, base: Point) -> Point | None:
        """The point with its derived values, or None when a condition rejects it."""
        point = derived(base, self._derive) if self._derive else base
        for expression in self._where:
            if not _holds(expression, point):
                self._tally.rejected[where_text(expression)] += 1
                return None
        for exclusion in self._exclusions:
            if exclusion.is_match(point):
                self._tally.rejected[exclusion.text] += 1
                return None
        return point


def derived(base: Point, derive: Sequence[tuple[str, Expression]]) -> Point:
    """The point with its derived values, in their order; a value that it has already stands.

    Raises:
        HpcsweepError: an expression fails, with the point; its value cannot be a parameter's.
    """
    point = dict(base)
    for name, expression in derive:
        if name in point:
            continue
        value = _evaluate(f"derive: {name}", expression, point)
        try:
            canonical(value)
        except ValueError as error:
            raise HpcsweepError(f"derive: {name}: {error}{_at(point)}") from error
        point[name] = value
    return point


def where_text(expression: Expression) -> str:
    """How a condition of ``where`` is named."""
    return f"where: {expression.text}"


def exclusion_text(entry: Node, number: int) -> str:
    """How an entry of ``exclude`` is named, by its place (from 0) or, when it is one point, by that."""
    if entry.count() == 1:
        return f"exclude: {canonical(entry[0])}"
    names = ", ".join(entry.names)
    return f"exclude: entry {number + 1} ({names})"


def _holds(expression: Expression, point: Point) -> bool:
    value = _evaluate("where", expression, point)
    if not isinstance(value, bool):
        raise HpcsweepError(
            f"{_origin(expression)}{where_text(expression)}: gives {value!r:.60}, not true or false{_at(point)}",
            "a condition compares: for example lr > 0.1",
        )
    return value


def _evaluate(what: str, expression: Expression, point: Point) -> Any:
    try:
        return expression.evaluate(point)
    except HpcsweepError as error:
        said = error.message if expression.text in error.message else f"{expression.text}: {error.message}"
        raise HpcsweepError(f"{_origin(expression)}{what}: {said}{_at(point)}", error.hint) from error


def _origin(expression: Expression) -> str:
    """Where the expression is written, when it says so: ``sweep.yaml:12:8: ``."""
    origin = getattr(expression, "origin", "")
    return f"{origin}: " if origin else ""


def _at(point: Point) -> str:
    text = canonical(point)
    return f" (at the point {text if len(text) <= 300 else text[:300] + '...'})"
