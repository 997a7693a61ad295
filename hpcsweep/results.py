"""The table of results. How it is written is in ``formats``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpcsweep.model import Value

if TYPE_CHECKING:
    import pandas as pd

RUN, OBJECTIVE = "run", "objective"
"""Columns that are there only where several runs are joined, and where there is an objective."""

Row = tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of values under ``columns``; None is both null and absent. ``notes`` say what was odd on the way here.

    ``params`` and ``metrics`` are the columns that are such, ``replicates`` those parameters that only repeat a point.
    ``is_chosen``: the columns are those that somebody asked for.
    """

    columns: tuple[str, ...]
    rows: list[Row]
    notes: tuple[str, ...] = field(default=())
    params: tuple[str, ...] = ()
    replicates: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    is_chosen: bool = False

    def cells(self, column: str) -> list[Value]:
        """One column's values, row by row."""
        place = self.columns.index(column)
        return [row[place] for row in self.rows]

    def to_pandas(self) -> pd.DataFrame:
        """A data frame in which ints stay ints and booleans stay booleans where a value is missing (Int64, boolean).

        Its ``attrs`` say which columns are what, and what was odd.
        """
        import pandas as pd  # noqa: PLC0415 - half a second that only notebooks need

        columns = list(zip(*self.rows, strict=True)) or [() for _ in self.columns]
        series = [
            pd.Series(list(values), dtype=_dtype(values), name=name) for name, values in zip(self.columns, columns, strict=True)
        ]
        frame: pd.DataFrame = pd.concat(series, axis="columns") if series else pd.DataFrame()
        frame.attrs.update(
            params=list(self.params), replicates=list(self.replicates), metrics=list(self.metrics), notes=list(self.notes)
        )
        return frame


def _dtype(values: tuple[Value, ...]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "Int64" if all(value is None or abs(value) < 2**63 for value in values if isinstance(value, int)) else "object"
    return "float64" if kinds and kinds <= {int, float} else "object"
