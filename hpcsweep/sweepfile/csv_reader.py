"""``csv: points.csv``: the first line holds names, each other line is a point."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hpcsweep.errors import Place
from hpcsweep.model import Value
from hpcsweep.sweepfile.scalars import ScalarError, parse_scalar
from hpcsweep.sweepfile.values_reader import Notes
from hpcsweep.sweepfile.words import check_name

# A cell and what ends it. A quoted cell holds anything, its quotes doubled.
_CELL = re.compile(r'[ \t]*"(?P<quoted>(?:[^"]|"")*)"[ \t]*(?=[,\r\n]|\Z)|(?P<plain>[^,\r\n]*)')
_END = re.compile(r",|\r\n|\r|\n|\Z")
_BREAK = re.compile(r"\r\n|\r|\n")


class _Quoted(str):
    """The text of a cell in quotes: it is text, whatever is in it."""

    __slots__ = ()


_MOST_FAULTS = 100


@dataclass(frozen=True, kw_only=True)
class _Line:
    """The cells of one line, which quoted cells may stretch over several lines of the file; places are found when needed."""

    file: str
    number: int
    source: str  # the whole file
    start: int  # offset of the line in it
    cells: list[str]

    def place(self, index: int) -> Place:
        """Where a cell stands."""
        position = self.start
        for _ in range(index):
            match = _CELL.match(self.source, position)
            position = match.end() + 1 if match else position
        before = self.source[self.start : position]
        breaks = list(_BREAK.finditer(before))
        column = len(before) - (breaks[-1].end() if breaks else 0) + 1
        return Place(file=self.file, line=self.number + len(breaks), column=column)


@dataclass(frozen=True, kw_only=True)
class Table:
    """The points of a CSV file: a name is missing where its cell is empty."""

    names: dict[str, Place]
    rows: tuple[dict[str, Value], ...]


def read_csv(text: str, file: str, prefix: str, notes: Notes) -> Table | None:
    """Read the points of a CSV file, in the order of its lines; None after faults.

    Cells are read as in the sweep file: ``1e-3`` is a float, ``"1"`` in quotes a text; an empty cell leaves its name out,
    ``""`` is the empty text. Blank lines are skipped.
    """
    notes.faults.add_text(file, text)
    before = notes.count
    lines = _lines(text.removeprefix("\ufeff"), file)
    header = next(lines, None)
    if header is None:
        notes.fault(Place(file=file), "the file is empty", "its first line holds the names, separated by commas")
        return None
    names = _read_header(header, prefix, notes)
    is_good = notes.count == before
    columns = list(names)
    rows = []
    is_empty = True
    for line in lines:
        is_empty = False
        if len(line.cells) != len(header.cells):
            message = f"{len(line.cells)} cells, and the first line has {len(header.cells)} names"
            notes.fault(line.place(0), message, "an absent value is an empty cell; quote a cell that holds a comma")
        elif is_good:
            rows.append(_read_row(line, columns, notes))
        if notes.count - before >= _MOST_FAULTS:
            break
    if is_empty:
        notes.fault(Place(file=file), "there are no points below the names", "write one line for each point")
    return Table(names=names, rows=tuple(rows)) if notes.count == before else None


def _lines(text: str, file: str) -> Iterator[_Line]:
    """Each line that is not blank."""
    position, number = 0, 1
    while position < len(text):
        start, first = position, number
        found = _BREAK.search(text, position)
        end, position = found.span() if found else (len(text), len(text))
        number += 1
        content = text[start:end]
        if '"' not in content:
            cells: list[str] = [cell.strip(" \t") for cell in content.split(",")]
        else:
            cells, position, breaks = _read_quoted_line(text, start)
            number = first + breaks
        if len(cells) > 1 or cells[0] or isinstance(cells[0], _Quoted):
            yield _Line(file=file, number=first, source=text, start=start, cells=cells)


def _read_quoted_line(text: str, position: int) -> tuple[list[str], int, int]:
    """The cells of a line in which there are quotes, where the next line begins, and how many lines of the file it took."""
    cells: list[str] = []
    breaks = 1
    while True:
        match = _CELL.match(text, position)
        if match is None:  # the pattern takes the empty text
            return cells, len(text), breaks
        quoted = match["quoted"]
        cells.append(match["plain"].strip(" \t") if quoted is None else _Quoted(quoted.replace('""', '"')))
        breaks += len(_BREAK.findall(match[0]))
        end = _END.match(text, match.end())
        position = end.end() if end else len(text)
        if not end or end[0] != ",":
            return cells, position, breaks


def _read_header(header: _Line, prefix: str, notes: Notes) -> dict[str, Place]:
    names: dict[str, Place] = {}
    for number, cell in enumerate(header.cells, 1):
        place = header.place(number - 1)
        if not cell:
            notes.fault(place, f"column {number} has no name", "the first line holds the names, separated by commas")
        elif len(header.cells) == 1 and re.search("[;\t]", cell):
            notes.fault(place, "the cells are not separated by commas", "save it with commas between the cells")
        elif cell in names:
            notes.fault(place, f"the name {cell!r} stands twice in the first line", "give each column its own name")
        elif check_name(cell, place, notes.fault):
            names[str(cell)] = place
    return {prefix + name: place for name, place in names.items()}


def _read_row(line: _Line, names: list[str], notes: Notes) -> dict[str, Value]:
    row: dict[str, Value] = {}
    for number, (name, cell) in enumerate(zip(names, line.cells, strict=True)):
        if "\0" in cell:
            notes.fault(line.place(number), f"{name}: no value can hold a NUL character", "delete it")
        elif isinstance(cell, _Quoted):
            row[name] = str(cell)
        elif cell:
            if '"' in cell:
                hint = 'quote the whole cell, with "" for each quote in it'
                notes.fault(line.place(number), f"{name}: a quote inside a cell", hint)
            try:
                row[name] = parse_scalar(cell)
            except ScalarError as error:
                notes.fault(line.place(number), f"{name}: {error}", "write null or leave the cell empty")
    return row
