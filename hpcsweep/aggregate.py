"""Replicates averaged: one row a point, with the statistics of every metric over its replicates. Pure."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction

from hpcsweep.model import Value
from hpcsweep.results import Row, Table
from hpcsweep.states import FACTS

STATISTICS = ("n", "mean", "std", "sem", "min", "max")
"""What becomes of a metric ``X``: the columns ``X.n``, ``X.mean``, ..."""

COLUMNS = ("id", "tasks", "done", "failed")
"""The columns before the parameters (after ``run``, where several runs are joined)."""

_SUCCESSES = frozenset(str(state) for state, facts in FACTS.items() if facts.is_success)
_FAILURES = frozenset(str(state) for state, facts in FACTS.items() if facts.is_failure)

Number = int | float


def describe(values: Sequence[Number]) -> Row:
    """The ``STATISTICS`` of some values: how many, mean, sample standard deviation (n - 1), its standard error, least, largest.

    Nothing (None) is the mean of no value, and the deviation of fewer than two. Infinities are values; what they leave
    undefined is NaN.
    """
    n = len(values)
    if not n:
        return 0, None, None, None, None, None
    floats = [_as_float(value) for value in values]
    mean, std = _mean(floats), _std(floats) if n > 1 else None
    return n, mean, std, None if std is None else std / math.sqrt(n), min(values), max(values)


def _mean(values: list[float]) -> float:
    if not all(map(math.isfinite, values)):
        return sum(values)
    try:
        mean = math.fsum(values) / len(values)
    except OverflowError:
        mean = float(statistics.mean(map(Fraction, values)))
    # Of equal values it is that value, to the last digit.
    return min(max(mean, min(values)), max(values))


def _std(values: list[float]) -> float:
    if not all(map(math.isfinite, values)):
        return math.nan
    # Differences from one of them: what the values have in common costs no digits.
    shifted = [value - values[0] for value in values]
    try:
        mean = math.fsum(shifted) / len(shifted)
        std = math.sqrt(math.fsum([(value - mean) ** 2 for value in shifted]) / (len(shifted) - 1))
    except (OverflowError, ValueError):
        std = math.inf
    if math.isfinite(std) and (std or not any(shifted)):
        return std
    # Too large or too small to be squared.
    scale = max(map(abs, values))
    return statistics.stdev([value / scale for value in values]) * scale


def _as_float(value: Number) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def aggregate(table: Table) -> Table:
    """One row for each ``id`` of a table whose ids are those of points without their replicates.

    The columns: ``run`` where the table has it, ``COLUMNS``, the parameters without the replicates, and for every metric
    the ``STATISTICS``. A metric that is not a number anywhere stays one column: the value that all replicates have, else nothing.
    Every value counts that a task wrote, whatever became of the task. NaN is none; the notes say how many there were.
    """
    place = {name: number for number, name in enumerate(table.columns)}
    groups: dict[Value, list[Row]] = {}
    for row in table.rows:
        groups.setdefault(row[place["id"]], []).append(row)
    params = tuple(name for name in table.params if name not in table.replicates)
    counts = _Oddities()
    header: list[str] = []
    blocks: list[list[Row]] = []
    for metric in table.metrics:
        cells = [[row[place[metric]] for row in rows] for rows in groups.values()]
        if any(_is_number(value) for values in cells for value in values):
            header += [f"{metric}.{name}" for name in STATISTICS]
            blocks.append([describe(counts.numbers(metric, values)) for values in cells])
        else:
            header.append(metric)
            blocks.append([(_common(values),) for values in cells])
    has_runs = "run" in place
    rows = [
        (
            *((_runs(row[place["run"]] for row in members),) if has_runs else ()),
            identity,
            *_tasks([str(row[place["state"]]) for row in members]),
            *(members[0][place[name]] for name in params),
            *(cell for block in blocks for cell in block[number]),
        )
        for number, (identity, members) in enumerate(groups.items())
    ]
    notes = (*table.notes, *counts.notes(), *_twins(table, place, groups))
    first = ("run", *COLUMNS) if has_runs else COLUMNS
    return Table(columns=(*first, *params, *header), rows=rows, notes=notes, params=params, metrics=tuple(header))


def _tasks(states: Sequence[str]) -> tuple[int, int, int]:
    return len(states), sum(map(is_success, states)), sum(state in _FAILURES for state in states)


def _runs(names: Iterable[Value]) -> str:
    return ",".join(dict.fromkeys(map(str, names)))


def _is_number(value: Value) -> bool:
    return isinstance(value, (bool, int, float))


def _common(values: Sequence[Value]) -> Value:
    there = [value for value in values if value is not None]
    return there[0] if there and all(value == there[0] for value in there) else None


def _twins(table: Table, place: dict[str, int], groups: dict[Value, list[Row]]) -> tuple[str, ...]:
    """Say where one replicate of a point is there more than once, as when a run was repeated."""
    if "run" not in place:
        return ()
    names = [place[name] for name in table.replicates]
    again = sum(
        number - 1
        for members in groups.values()
        for number in Counter(tuple(repr(row[name]) for name in names) for row in members).values()
    )
    what = "1 task is a replicate" if again == 1 else f"{again} tasks are replicates"
    return (f"{what} that is there more than once: all of them count",) if again else ()


class _Oddities:
    """What among the values of a metric is no number, counted."""

    def __init__(self) -> None:
        self._nans: Counter[str] = Counter()
        self._texts: Counter[str] = Counter()

    def numbers(self, metric: str, values: Sequence[Value]) -> list[Number]:
        """The numbers among the values; a boolean is 0 or 1."""
        found: list[Number] = []
        for value in values:
            if isinstance(value, bool):
                found.append(int(value))
            elif isinstance(value, int) or (isinstance(value, float) and not math.isnan(value)):
                found.append(value)
            elif value is not None:
                (self._nans if isinstance(value, float) else self._texts)[metric] += 1
        return found

    def notes(self) -> list[str]:
        """One line for all metrics of which as many are odd in the same way."""
        said: dict[tuple[str, int], list[str]] = {}
        for what, counts in (("NaN", self._nans), ("no number", self._texts)):
            for metric, number in counts.items():
                said.setdefault((what, number), []).append(f"`{metric}`")
        return [
            f"{', '.join(metrics)}: {what} in {number} {'task' if number == 1 else 'tasks'}, left out"
            for (what, number), metrics in said.items()
        ]


def is_success(state: str) -> bool:
    """Whether a task in this state did what it should."""
    return state in _SUCCESSES
