"""The table of results and how it is written: CSV, JSON, and a table for people. Text comes out in pieces, for many rows."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from hpcsweep.model import Value

if TYPE_CHECKING:
    import pandas as pd

_ROWS_A_PIECE = 500
# What RFC 4180 wants in quotes.
_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_TEXT_LIMIT = 60
_LEAST_TEXT_WIDTH = 12
_LESS_IMPORTANT = ("id", "job", "attempt", "elapsed_s")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of values under ``columns``; None is both null and absent. ``notes`` say what was odd on the way here."""

    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]]
    notes: tuple[str, ...] = field(default=())

    def to_pandas(self) -> pd.DataFrame:
        """A data frame in which ints stay ints and booleans stay booleans where a value is missing (Int64, boolean)."""
        import pandas as pd  # noqa: PLC0415 - half a second that only notebooks need

        columns = list(zip(*self.rows, strict=True)) or [() for _ in self.columns]
        series = [
            pd.Series(list(values), dtype=_dtype(values), name=name) for name, values in zip(self.columns, columns, strict=True)
        ]
        frame: pd.DataFrame = pd.concat(series, axis="columns") if series else pd.DataFrame()
        return frame


def _dtype(values: tuple[Value, ...]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "Int64" if all(value is None or abs(value) < 2**63 for value in values if isinstance(value, int)) else "object"
    return "float64" if kinds and kinds <= {int, float} else "object"


def iter_csv(table: Table) -> Iterator[str]:
    r"""CSV as in RFC 4180, but for its line ends, which are Unix's ``\n``.

    Floats are as short as they can be and read back the same; ``nan``, ``inf``, ``-inf``; ``true``, ``false``; lists and
    objects as JSON; nothing where there is no value, ``""`` for an empty text. A text stays as it is even where a
    spreadsheet would take it for a formula: values are data.
    """
    yield ",".join(map(_csv_cell, table.columns)) + "\n"
    rows = iter(table.rows)
    while piece := list(islice(rows, _ROWS_A_PIECE)):
        yield "".join(",".join(map(_csv_cell, row)) + "\n" for row in piece)


def iter_json(table: Table) -> Iterator[str]:
    """A JSON array with one object a row and every column in each; null where there is no value.

    JSON has no NaN and no infinities: they are the texts ``"nan"``, ``"inf"`` and ``"-inf"``.
    """
    names = [json.dumps(name, ensure_ascii=False) + ": " for name in table.columns]
    before = "[\n"
    rows = iter(table.rows)
    while piece := list(islice(rows, _ROWS_A_PIECE)):
        yield before + ",\n".join(
            "{" + ", ".join(n + _to_json(v) for n, v in zip(names, row, strict=True)) + "}" for row in piece
        )
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def to_table_text(table: Table, *, width: int | None = None, color: bool = False) -> str:
    """The table for people: floats to six digits, columns without any value left out, control characters escaped.

    Args:
        table: the rows.
        width: of the terminal. To fit it, columns that matter less are left out (and named below the table), then long
            texts are cut; a number never is. None: as wide as it needs.
        color: for a terminal that shows colours; otherwise plain text without escape codes.
    """
    columns = [_Column(name, [row[place] for row in table.rows]) for place, name in enumerate(table.columns)]
    columns = [column for column in columns if column.is_filled or not table.rows]
    left_out = _fit(columns, width) if width is not None else []
    lines = [[column.lay_out(row, color=color) for column in columns] for row in range(-1, len(table.rows))]
    text = "".join("  ".join(line).rstrip() + "\n" for line in lines)
    return text + (f"(left out to fit the terminal: {', '.join(left_out)})\n" if left_out else "")


class _Column:
    """A column of the table for people: its cells as texts, row -1 being the name."""

    def __init__(self, name: str, values: list[Value]) -> None:
        self.name = name
        self.cells = [*map(_table_cell, values), _table_cell(name)]
        self.width = max(map(len, self.cells))
        self.is_filled = any(value is not None for value in values)
        self.is_number = all(value is None or isinstance(value, (int, float)) for value in values)

    def lay_out(self, row: int, *, color: bool) -> str:
        cell = self.cells[row]
        if len(cell) > self.width:
            cell = cell[: self.width - 3] + "..."
        aligned = cell.rjust(self.width) if self.is_number else cell.ljust(self.width)
        if color and (row == -1 or self.name == "state"):
            return _paint(aligned, "bold" if row == -1 else _STYLES.get(cell, ""))
        return aligned


def _fit(columns: list[_Column], width: int) -> list[str]:
    """Make the columns fit ``width`` as far as that goes; the names of those that were taken out."""

    def excess() -> int:
        return sum(column.width for column in columns) + 2 * (len(columns) - 1) - width

    left_out = []
    for name in _LESS_IMPORTANT:
        column = next((column for column in columns if column.name == name), None)
        if column and excess() > 0:
            columns.remove(column)
            left_out.append(name)
    for column in sorted(columns, key=lambda column: -column.width):
        if not column.is_number:
            least = max(_LEAST_TEXT_WIDTH, len(column.name))
            column.width = min(column.width, max(least, column.width - max(0, excess())))
    return left_out


def _paint(text: str, style: str) -> str:
    from rich.style import Style  # noqa: PLC0415 - only a terminal needs it

    return Style.parse(style).render(text)


_STYLES = {
    "done": "green",
    "stopped": "green",
    "failed": "red",
    "timeout": "red",
    "oom": "red",
    "node_fail": "red",
    "lost": "red",
}


def _csv_cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"' if not value or _NEEDS_QUOTES.search(value) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return '"' + _to_json(value).replace('"', '""') + '"'


def _to_json(value: Value) -> str:
    try:
        return _ENCODER.encode(value)
    except ValueError:
        return json.dumps(_spell_out(value), ensure_ascii=False)
    except RecursionError:
        return '"(nested too deeply)"'


def _spell_out(value: Any) -> Any:
    """NaN and infinities as texts, wherever they are."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, list):
        return [_spell_out(item) for item in value]
    if isinstance(value, dict):
        return {name: _spell_out(item) for name, item in value.items()}
    return value


def _table_cell(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else _csv_cell(value) if not isinstance(value, (list, dict)) else _to_json(value)
    if len(text) > _TEXT_LIMIT:
        text = text[: _TEXT_LIMIT - 3] + "..."
    return _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    """An escape code in a value must not reach the terminal."""
    return match[0].encode("unicode_escape").decode("ascii")
