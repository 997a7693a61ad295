"""The table of results for people: aligned columns for a terminal, and Markdown. Numbers are rounded: it is for the eye."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from hpcsweep.aggregate import STATISTICS
from hpcsweep.formats import ROWS_A_PIECE, csv_cell, to_json
from hpcsweep.model import Value
from hpcsweep.results import OBJECTIVE, RUN, Table

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_MARKDOWN = re.compile(r"[\\|<*`]")
_TEXT_LIMIT = 60
_LEAST_TEXT_WIDTH = 12
_LESS_IMPORTANT = ("id", "job", "attempt", "elapsed_s")
_LAST_TO_GO = frozenset({"rank", RUN, "task", "state", OBJECTIVE, f"{OBJECTIVE}.mean"})
_STATISTICS_TO_GO = tuple(f".{name}" for name in STATISTICS if name not in ("mean", "std"))


def to_table_text(table: Table, *, width: int | None = None, color: bool = False) -> str:
    """The table for people: floats to six digits, columns without any value left out, control characters escaped.

    Args:
        table: the rows.
        width: of the terminal. To fit it, columns that matter less are left out, parameters that are the same in all rows
            and then long texts are shortened; a number never is. What is left out stands below the table. Columns that somebody
            chose all stay. None: as wide as it needs.
        color: for a terminal that shows colours; otherwise plain text without escape codes.
    """
    columns = [_Column(name, table.cells(name)) for name in table.columns]
    columns = [column for column in columns if column.is_filled or not table.rows or table.is_chosen]
    below = _fit(columns, width, table) if width is not None else []
    lines = [[column.lay_out(row, color=color) for column in columns] for row in range(-1, len(table.rows))]
    return "".join("  ".join(line).rstrip() + "\n" for line in lines) + "".join(f"({line})\n" for line in below)


def iter_markdown(table: Table) -> Iterator[str]:
    """A Markdown table (as GitHub and most others read it): floats to six digits, what Markdown would take for its own escaped."""
    numbers = [_is_number_column(table.cells(name)) for name in table.columns]
    yield _markdown_line([_markdown_cell(name) for name in table.columns])
    yield _markdown_line(["---:" if is_number else "---" for is_number in numbers])
    rows = iter(table.rows)
    while piece := list(islice(rows, ROWS_A_PIECE)):
        yield "".join(_markdown_line(list(map(_markdown_cell, row))) for row in piece)


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _markdown_cell(value: Value) -> str:
    text = _cell(value, limit=None)
    return text if isinstance(value, (int, float)) else _MARKDOWN.sub(r"\\\g<0>", text)


class _Column:
    """A column of the table for people: its cells as texts, row -1 being the name."""

    def __init__(self, name: str, values: list[Value]) -> None:
        self.name = name
        self.cells = [*map(_cell, values), _cell(name)]
        self.width = max(map(_width, self.cells))
        self.is_filled = any(value is not None for value in values)
        self.is_number = _is_number_column(values)

    @property
    def common(self) -> str | None:
        """What all rows have; None where they differ, or are too few to tell."""
        return self.cells[0] if len(self.cells) > 2 and len(set(self.cells[:-1])) == 1 else None

    def lay_out(self, row: int, *, color: bool) -> str:
        cell = self.cells[row]
        if _width(cell) > self.width:
            cell = _cut(cell, self.width)
        blanks = " " * (self.width - _width(cell))
        aligned = blanks + cell if self.is_number else cell + blanks
        if color and (row == -1 or self.name == "state"):
            return _paint(aligned, "bold" if row == -1 else _STYLES.get(cell, ""))
        return aligned


def _is_number_column(values: Sequence[Value]) -> bool:
    return all(value is None or isinstance(value, (int, float)) for value in values)


def _fit(columns: list[_Column], width: int, table: Table) -> list[str]:
    """Make the columns fit ``width`` as far as that goes; the lines about those that were taken out."""
    if table.is_chosen:
        _shorten(columns, width)
        return []
    left_out = _take_out(columns, [column for name in _LESS_IMPORTANT for column in columns if column.name == name], width)
    alike = [column for column in columns if column.name in table.params and column.common is not None]
    removed = set(_take_out(columns, alike, width))
    common = [f"{column.name} = {column.common}" for column in alike if column.name in removed]
    _shorten(columns, width)
    statistics = [column for column in columns if column.name.endswith(_STATISTICS_TO_GO)]
    metrics = [column for column in columns if column.name in table.metrics]
    expendable = [
        column for column in (*reversed(statistics), *reversed(metrics), *reversed(columns)) if column.name not in _LAST_TO_GO
    ]
    left_out += _take_out(columns, list(dict.fromkeys(expendable)), width)
    lines = [f"in all rows: {', '.join(common)}"] if common else []
    return [*lines, f"left out to fit the terminal: {', '.join(left_out)}"] if left_out else lines


def _excess(columns: Sequence[_Column], width: int) -> int:
    return sum(column.width for column in columns) + 2 * (len(columns) - 1) - width


def _take_out(columns: list[_Column], expendable: Sequence[_Column], width: int) -> list[str]:
    """Remove columns, one after the other, until the rest fits; their names."""
    names = []
    for column in expendable:
        if _excess(columns, width) <= 0:
            break
        columns.remove(column)
        names.append(column.name)
    return names


def _shorten(columns: Sequence[_Column], width: int) -> None:
    """Cut texts, the longest first, as far as it takes and as they can still be told apart."""
    for column in sorted(columns, key=lambda column: -column.width):
        if not column.is_number:
            least = max(_LEAST_TEXT_WIDTH, _width(column.cells[-1]))
            column.width = min(column.width, max(least, column.width - max(0, _excess(columns, width))))


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


def _cell(value: Value, limit: int | None = _TEXT_LIMIT) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if type(value) is str and len(value) < _TEXT_LIMIT and value.isprintable() and value.isascii():
        return value
    text = value if isinstance(value, str) else to_json(value) if isinstance(value, (list, dict)) else csv_cell(value)
    if limit is not None and len(text) > limit:
        text = text[: limit - 3] + "..."
    return _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    """An escape code in a value must not reach the terminal."""
    return match[0].encode("unicode_escape").decode("ascii")


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - only texts that are not ASCII need it

    return cell_len(text)


def _cut(text: str, width: int) -> str:
    while _width(text) > width - 3:
        text = text[:-1]
    return text + "..." + " " * (width - 3 - _width(text))
