"""Tables: a header line with names and rows of cells, apart by blanks, commas, semicolons or tabs.

What a program does to such a file when it is started again is understood: a header that comes again, with the same
or with other names, counts from there on.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from itertools import islice

from hpcsweep.model import Value
from hpcsweep.readers.base import Reading, Row, Source, lines_note
from hpcsweep.readers.scalars import is_number, parse_scalar, unquote

VERSION = 1
_BLANKS = ""
_DELIMITERS = (",", ";", "\t")
_QUOTED_CELL = re.compile(r"\"[^\"]*\"|'[^']*'|\S+")
_COMMENT = re.compile(r"\s#(?:\s.*)?$")
_BETWEEN_NAMES = re.compile(r"[\s,;]+")
_ROWS_LOOKED_AT = 20

Record = tuple[int, list[str]]
"""A line's number and its cells."""


def recognises(source: Source) -> bool:
    """Whether there is any line: a table is what all other text is read as."""
    return bool(source.lines)


def read(source: Source) -> Reading:
    """The rows under the header's names. A row that is longer or shorter than its header is left out, and said."""
    records = list(_iter_records(source, choose_delimiter(source)))
    if not records:
        return Reading(notes=("has no line that can be read",))
    notes: list[str] = []
    header, start = _find_header(source, records[0], notes)
    rows, misfits = _iter_rows(header, islice(records, start, None))
    if misfits and misfits[-1] == records[-1][0] and not source.is_ended:
        misfits.pop()
        notes.append("the last line is cut off and left out")
    if misfits:
        notes.append(lines_note(misfits, f"left out: not as many values as names ({len(header)}) in the header"))
    if not rows and not notes:
        notes.append("has a header but no rows")
    return Reading(rows=tuple(rows), notes=tuple(notes))


def has_header(source: Source) -> bool:
    """Whether the first line names the columns, rather than being a row of numbers."""
    record = next(_iter_records(source, choose_delimiter(source)), None)
    return record is not None and not _is_row(record[1])


def choose_delimiter(source: Source) -> str:
    """The first of ``,``, ``;`` and tab that is in the header and suits the rows, else blanks (``""``).

    A header that blanks do not split at all is taken at its word; otherwise half of the rows must fit it.
    """
    first = source.lines[0][1]
    for delimiter in _DELIMITERS:
        if delimiter not in first:
            continue
        widths = [len(cells) for _, cells in islice(_iter_records(source, delimiter), _ROWS_LOOKED_AT + 1)]
        if len(first.split()) == 1 or 2 * widths[1:].count(widths[0]) >= len(widths) - 1:
            return delimiter
    return _BLANKS


def _iter_records(source: Source, delimiter: str) -> Iterator[Record]:
    if delimiter == _BLANKS:
        for number, line in source.lines:
            yield number, _split_blanks(line)
        return
    width = None
    reader = csv.reader(io.StringIO(source.text), delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            # A quote that is never closed, or a cell beyond all measure: a row that fits no header.
            yield reader.line_num, []
            continue
        if not any(cell.strip() for cell in cells) and len(cells) < 2:
            continue
        # A first cell with # may be a colour as well: a row that fits is a row.
        if cells[0].startswith("#") and len(cells) != width:
            continue
        width = len(cells) if width is None else width
        yield reader.line_num, [cell.strip() for cell in cells]


def _split_blanks(line: str) -> list[str]:
    if "#" in line:
        line = _COMMENT.sub("", line)
    if '"' in line or "'" in line:
        return [unquote(cell) for cell in _QUOTED_CELL.findall(line)]
    return line.split()


def _find_header(source: Source, first: Record, notes: list[str]) -> tuple[list[str], int]:
    """The names and at which record the rows start. A line of numbers is no header: a ``#`` line above it may be."""
    number, cells = first
    if not _is_row(cells):
        return _name_columns(cells), 1
    above = (
        _BETWEEN_NAMES.split(line.strip("# \t"))
        for line in reversed(source.text.split("\n", number)[: number - 1])
        if "#" in line
    )
    for names in above:
        if len(names) == len(cells) and not any(is_number(parse_scalar(name)) for name in names):
            return _name_columns(names), 0
    notes.append("has no header line: its columns are called column_1, column_2 ...")
    return _name_columns([""] * len(cells)), 0


def _is_row(cells: list[str]) -> bool:
    return all(is_number(parse_scalar(cell)) for cell in cells)


def _name_columns(cells: Iterable[str]) -> list[str]:
    """Unique names: a blank one becomes ``column_3``, a second ``loss`` becomes ``loss.2``."""
    names: dict[str, None] = {}
    for place, cell in enumerate(cells, start=1):
        base = name = cell or f"column_{place}"
        again = 1
        while name in names:
            again += 1
            name = f"{base}.{again}"
        names[name] = None
    return list(names)


def _iter_rows(header: list[str], records: Iterable[Record]) -> tuple[list[Row], list[int]]:
    """The rows, and the numbers of the lines that fit no header."""
    rows: list[Row] = []
    misfits: list[int] = []
    for number, cells in records:
        values = [parse_scalar(cell) for cell in cells]
        if _is_header(cells, values, header):
            header = _name_columns(cells)
        elif len(cells) != len(header):
            misfits.append(number)
        else:
            rows.append({name: value for name, value, cell in zip(header, values, cells, strict=True) if cell})
    return rows, misfits


def _is_header(cells: list[str], values: list[Value], header: list[str]) -> bool:
    """Whether a row is a header again: all text, and with a name that is known already in a place of its own."""
    return (
        all(isinstance(value, str) and value for value in values)
        and len(set(cells)) == len(cells) > 0
        and any(cell in header for cell in cells)
    )
