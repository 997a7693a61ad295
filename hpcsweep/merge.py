"""The files of one task as one: its last values, how each metric went, and one row for each step. Pure."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hpcsweep.model import Value
from hpcsweep.readers import Reading, Row
from hpcsweep.readers.base import STEP_NAMES, count_of

Key = tuple[tuple[str, Value], ...]
"""What makes two rows the same step: names and values, or the row's number under the name ``""``."""

Named = tuple[str, Reading]
"""A file's name and what it says."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """How one metric went over the steps: its numbers, without those that are NaN (infinities count)."""

    first: float
    min: float
    max: float
    mean: float
    count: int


@dataclass(frozen=True, kw_only=True)
class TaskMetrics:
    """What all files of one task say together.

    ``last`` has the final value of each metric. ``curves`` has the metrics of which there are several numbers; of every other
    one ``last`` says all. ``steps`` has one row a step, but only where it was asked for. ``notes`` say what was odd.
    ``reason`` is why there is no value at all, where that is known. ``is_lasting`` is false where the same files may give
    something else next time.
    """

    last: Row = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    steps: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""
    is_lasting: bool = True

    def reduced(self, name: str, how: str) -> Value:
        """One value of a metric: its ``last``, ``first``, ``min``, ``max`` or ``mean``; None when the task does not have it."""
        curve = None if how == "last" else self.curves.get(name)
        return self.last.get(name) if curve is None else getattr(curve, how)


def merge(sources: Sequence[Named], *, with_steps: bool = False) -> TaskMetrics:
    """All sources of one task as one. Where two have the same metric the later one counts, and it is said when they differ."""
    last, remarks = last_values(sources)
    rows: Sequence[Row] = ()
    if with_steps or any(reading.is_series for _, reading in sources) or len(sources) > 1:
        rows, more = merge_steps(sources)
        remarks += more
    return TaskMetrics(last=last, curves=_curves(rows), steps=tuple(rows) if with_steps else (), notes=tuple(remarks))


def join(readings: Sequence[Reading]) -> Reading:
    """Readings of one source, such as an event file for each time that the program was started, as one."""
    if len(readings) == 1:
        return readings[0]
    rows: list[Row] = []
    finals: Row = {}
    notes: dict[str, None] = {}
    for reading in readings:
        rows += reading.rows
        finals |= reading.finals
        notes.update(dict.fromkeys(reading.notes))
    return Reading(rows=tuple(rows), finals=finals, notes=tuple(notes))


def join_versions(readings: Sequence[Reading]) -> Reading:
    """Readings of one source that begins anew each time, the oldest first: the newest one counts.

    Where it begins at a later step than an older one did, the program went on from a checkpoint: the older one has the steps
    before that. One that begins where the older one did, or that does not say its steps, stands alone.
    """
    joined = readings[-1]
    for older in reversed(readings[:-1]):
        if not joined.rows:
            joined = dataclasses.replace(older, notes=(*older.notes, *joined.notes))
            continue
        name = joined.step_name
        begin = _step(joined.rows[0], name)
        if begin is None or name != older.step_name:
            continue
        before = tuple(row for row in older.rows if (step := _step(row, name)) is not None and step < begin)
        if before:
            joined = dataclasses.replace(joined, rows=(*before, *joined.rows))
    return joined


def last_values(sources: Sequence[Named]) -> tuple[Row, list[str]]:
    """The last value of each metric. The later source counts where two have the same one; the remarks say where they differ."""
    if len(sources) == 1:
        return sources[0][1].last, []
    values: Row = {}
    said_by: dict[str, str] = {}
    remarks: list[str] = []
    for source, reading in sources:
        for name, value in reading.last.items():
            if name in said_by and value is None:
                continue
            if name in said_by and name.lower() not in STEP_NAMES and not is_same(values[name], value):
                remarks.append(f"`{name}` is not the same in {said_by[name]} and {source}: {source} counts")
            values[name] = value
            said_by[name] = source
    return values, remarks


def merge_steps(sources: Sequence[Named]) -> tuple[list[Row], list[str]]:
    """One row for each step over all sources, in the order of the steps where all have numbers for them, else of the sources.

    Rows of one step are one row: what a later one leaves blank stays (training and validation on lines of their own), what it
    says again replaces (a restart from a checkpoint), and that is said. Where steps repeat in a source and a column of text tells
    the rows apart (``phase``: train, val), it is part of the step. Values that belong to no step stand in the last row.
    """
    remarks: list[str] = []
    steps: dict[Key, Row] = {}
    finals: Row = {}
    for source, reading in sources:
        finals.update(reading.finals)
        if not reading.is_series and reading.step_name is None:
            finals.update(reading.last)
            continue
        rewritten = 0
        own: set[Key] = set()
        for key, row in zip(_step_keys(reading), reading.rows, strict=True):
            known = steps.get(key)
            if known is None:
                steps[key] = {"step": key[0][1], **row} if key[0][0] == "" else dict(row)
            else:
                rewritten += key in own and any(
                    value is not None and known.get(name) is not None and not is_same(known[name], value)
                    for name, value in row.items()
                )
                known.update((name, value) for name, value in row.items() if value is not None or name not in known)
            own.add(key)
        if rewritten:
            remarks.append(f"{source}: {count_of(rewritten, 'step')} written again with other values: the later ones count")
    rows = (
        [row for _, row in sorted(steps.items(), key=lambda item: _position(item[0]))]
        if _has_order(steps)
        else list(steps.values())
    )
    if finals:
        rows = rows or [{}]
        rows[-1] = {**rows[-1], **{name: value for name, value in finals.items() if name not in rows[-1]}}
    return rows, remarks


def _curves(rows: Sequence[Row]) -> dict[str, Curve]:
    numbers: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            kind = type(value)
            if kind is float or kind is int:
                numbers.setdefault(name, []).append(value)  # type: ignore[arg-type] # mypy does not follow `kind`
    return {name: _curve(values) for name, values in numbers.items() if len(values) > 1}


def _curve(values: list[float]) -> Curve:
    known = [value for value in values if value == value]  # noqa: PLR0124 - a NaN is not itself
    if not known:
        return Curve(first=math.nan, min=math.nan, max=math.nan, mean=math.nan, count=0)
    return Curve(first=known[0], min=min(known), max=max(known), mean=_mean(known), count=len(known))


def _mean(values: list[float]) -> float:
    try:
        return math.fsum(values) / len(values)
    except (OverflowError, ValueError):  # beyond what a float holds; infinities of both signs
        return sum(value / len(values) for value in values)


def _step_keys(reading: Reading) -> list[Key]:
    names = reading.step_names
    if not names:
        return [(("", number),) for number in range(1, len(reading.rows) + 1)]
    keys: list[Key] = [tuple((name.lower(), _hashable(row.get(name))) for name in names) for row in reading.rows]
    if len(names) > 1:
        keys = _complete(keys)
    if max(Counter(keys).values()) == 1:
        return keys
    texts = sorted(
        {name for row in reading.rows for name, value in row.items() if isinstance(value, str) and name not in names}
    )
    return [
        (*key, *((name, _hashable(row[name])) for name in texts if name in row))
        for key, row in zip(keys, reading.rows, strict=True)
    ]


def _complete(keys: list[Key]) -> list[Key]:
    """Rows that leave out the coarser names (a step without its epoch) belong to the one row of that step that has them."""
    wholes: dict[Key, set[Key]] = {}
    for key in keys:
        if all(value is not None for _, value in key):
            wholes.setdefault(key[:1], set()).add(key)
    return [next(iter(wholes[key[:1]])) if key[-1][1] is None and len(wholes.get(key[:1], ())) == 1 else key for key in keys]


def _step(row: Row, name: str | None) -> float | None:
    value = row.get(name) if name else None
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def _hashable(value: Value) -> Value:
    return repr(value) if isinstance(value, (list, dict)) else value


def _has_order(keys: Iterable[Key]) -> bool:
    """Whether all keys have numbers for the same names."""
    shapes = set()
    for key in keys:
        shapes.add(tuple(name for name, value in key if not isinstance(value, str)))
        if not all(_is_finite(value) for _, value in key if not isinstance(value, str)):
            return False
    return len(shapes) == 1


def _is_finite(value: Value) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _position(key: Key) -> tuple[float, ...]:
    """The coarsest first: a step may count from 0 in each epoch."""
    return tuple(value for _, value in reversed(key) if isinstance(value, (int, float)))


def is_same(one: Value, other: Value) -> bool:
    """Equal, or both NaN."""
    return one == other or (_is_nan(one) and _is_nan(other))


def _is_nan(value: Value) -> bool:
    return isinstance(value, float) and math.isnan(value)
