"""The best first: tasks, or points over their replicates, in the order of the objective. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from hpcsweep.aggregate import STATISTICS, is_success
from hpcsweep.choose import sort_by
from hpcsweep.model import Value
from hpcsweep.results import OBJECTIVE, Row, Table

RANK, REMARK = "rank", "remark"
"""The first and the last column; a parameter or metric of such a name is renamed, as with the other fixed columns."""

_NOT_BRIEF = tuple(f".{name}" for name in STATISTICS if name != "mean")


class _Entry(NamedTuple):
    value: float | None  # what is ranked by: NaN and None have no rank
    row: Row


def rank(table: Table, *, is_less_better: bool, most: int | None = None, by: Sequence[str] = ()) -> Table:
    """The best rows of a table that has an ``objective`` column, or of an aggregated one by its ``objective.mean``.

    The columns: ``rank``, those of ``by``, ``objective`` (of an aggregated table the mean), the others as they were, ``remark``. Equal values share
    a rank, and the next one is as much higher as they are many (1, 2, 2, 4); they stand in the table's order. Infinities are
    values. NaN, then what has no value, stand last and have no rank. The remark marks what did not work or has not ended, and points with fewer
    values than others.

    Args:
        table: all rows, in their order.
        is_less_better: the least value is the best.
        most: how many, in each group; None for all.
        by: columns: each combination of their values is ranked by itself, in the order in which they come.
    """
    is_aggregated = OBJECTIVE not in table.columns
    value_column = f"{OBJECTIVE}.mean" if is_aggregated else OBJECTIVE
    place = {name: number for number, name in enumerate(table.columns)}
    entries = [_Entry(_ranked_value(row[place[value_column]]), row) for row in table.rows]
    by_places = [place[name] for name in by]
    groups: dict[str, list[_Entry]] = {}
    for entry in entries:
        groups.setdefault(repr([entry.row[number] for number in by_places]), []).append(entry)
    others = [number for number, name in enumerate(table.columns) if name != value_column and name not in by]
    remark = _Remarks(table, place, is_aggregated=is_aggregated)
    rows: list[Row] = []
    tied = 0
    for members in groups.values():
        ranked = _rank(members, is_less_better=is_less_better)
        shown = ranked[:most]
        tied += sum(number is not None and number == shown[-1][0] for number, _ in ranked[len(shown) :])
        for number, entry in shown:
            row = entry.row
            chosen = [row[at] for at in (*by_places, place[value_column], *others)]
            rows.append((number, *chosen, remark(entry)))
    columns = (RANK, *by, OBJECTIVE, *(table.columns[number] for number in others), REMARK)
    metrics = tuple(OBJECTIVE if name == value_column else name for name in table.metrics)
    notes = (*table.notes, *_notes(entries, tied, what="point" if is_aggregated else "task"))
    return Table(columns=columns, rows=rows, notes=notes, params=table.params, replicates=table.replicates, metrics=metrics)


def brief(table: Table) -> Table:
    """A ranked table for the eye: of an aggregated one the means alone, but for the deviation of the objective; and no ids."""
    if f"{OBJECTIVE}.n" not in table.columns:
        return table
    shown = {OBJECTIVE, f"{OBJECTIVE}.std"}
    left_out = {name for name in table.metrics if name not in shown and name.endswith(_NOT_BRIEF)} | {"id"}
    places = [place for place, name in enumerate(table.columns) if name not in left_out]
    columns = tuple(table.columns[place] for place in places)
    return replace(table, columns=columns, rows=[tuple([row[place] for place in places]) for row in table.rows])


def has_values(table: Table) -> bool:
    """Whether there is anything to rank by."""
    column = OBJECTIVE if OBJECTIVE in table.columns else f"{OBJECTIVE}.mean"
    return column in table.columns and any(_ranked_value(value) is not None for value in table.cells(column))


def _ranked_value(value: Value) -> float | None:
    return value if isinstance(value, (bool, int, float)) else None


def _is_known(value: float | None) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _rank(entries: Sequence[_Entry], *, is_less_better: bool) -> list[tuple[int | None, _Entry]]:
    ordered = sort_by(entries, lambda entry: entry.value, is_down=not is_less_better)
    ranked: list[tuple[int | None, _Entry]] = []
    for number, entry in enumerate(ordered, start=1):
        if not _is_known(entry.value):
            ranked.append((None, entry))
        elif ranked and ranked[-1][1].value == entry.value:
            ranked.append((ranked[-1][0], entry))
        else:
            ranked.append((number, entry))
    return ranked


class _Remarks:
    """What stands beside a row that is not as it should be."""

    def __init__(self, table: Table, place: dict[str, int], *, is_aggregated: bool) -> None:
        self._place = place
        self._is_aggregated = is_aggregated
        tasks = table.cells("tasks") if is_aggregated else []
        self._most = max((number for number in tasks if isinstance(number, int)), default=0)

    def __call__(self, entry: _Entry) -> str | None:
        parts = []
        if entry.value is None:
            parts.append("no value")
        elif not _is_known(entry.value):
            parts.append("NaN")
        parts += self._of_replicates(entry.row) if self._is_aggregated else self._of_task(entry.row)
        return ", ".join(parts) or None

    def _of_task(self, row: Row) -> list[str]:
        state = str(row[self._place["state"]])
        return [] if is_success(state) else [state]

    def _of_replicates(self, row: Row) -> list[str]:
        count = row[self._place[f"{OBJECTIVE}.n"]] if f"{OBJECTIVE}.n" in self._place else 0
        failed = row[self._place["failed"]]
        parts = [f"{count} of {self._most} replicates"] if isinstance(count, int) and 0 < count < self._most else []
        return [*parts, *([f"{failed} failed"] if failed else [])]


def _notes(entries: Sequence[_Entry], tied: int, *, what: str) -> list[str]:
    nans = sum(entry.value is not None and not _is_known(entry.value) for entry in entries)
    missing = sum(entry.value is None for entry in entries)
    notes = [
        f"{number} {what}{'s' * (number > 1)} {said}"
        for number, said in ((nans, "gave NaN: last, without a rank"), (missing, "without a value: last"))
        if number
    ]
    return [*notes, *([f"{tied} more {'have' if tied > 1 else 'has'} the value of the last one shown"] if tied else [])]
