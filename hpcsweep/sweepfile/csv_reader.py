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


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell; a quoted one is text, whatever is in it."""

    place: Place
    text: str
    is_quoted: bool


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
    lines = list(_lines(text.removeprefix("\ufeff"), file))
    if not lines:
        notes.fault(Place(file=file), "the file is empty", "its first line holds the names, separated by commas")
        return None
    header, *body = lines
    names = _read_header(header, prefix, notes)
    rows = []
    for cells in body:
        if len(cells) != len(header):
            message = f"{len(cells)} cells, and the first line has {len(header)} names"
            notes.fault(cells[0].place, message, "an absent value is an empty cell; quote a cell that holds a comma")
        elif notes.count == before:
            rows.append(_read_row(cells, list(names), notes))
    if not body:
        notes.fault(Place(file=file), "there are no points below the names", "write one line for each point")
    return Table(names=names, rows=tuple(rows)) if notes.count == before else None


def _lines(text: str, file: str) -> Iterator[list[Cell]]:
    """The cells of each line that is not blank."""
    cells: list[Cell] = []
    line, start, position = 1, 0, 0
    while position < len(text) or cells:
        match = _CELL.match(text, position)
        if match is None:  # the pattern takes the empty text
            break
        place = Place(file=file, line=line, column=position - start + 1)
        quoted = match["quoted"]
        raw = quoted.replace('""', '"') if quoted is not None else match["plain"].strip(" \t")
        cells.append(Cell(place=place, text=raw, is_quoted=quoted is not None))
        breaks = list(re.finditer("\r\n|\r|\n", match[0]))
        if breaks:
            line, start = line + len(breaks), position + breaks[-1].end()
        end = _END.match(text, match.end())
        ending = end[0] if end else ""
        position = match.end() + len(ending)
        if ending == ",":
            continue
        if len(cells) > 1 or cells[0].text or cells[0].is_quoted:
            yield cells
        cells = []
        line, start = line + 1, position


def _read_header(header: list[Cell], prefix: str, notes: Notes) -> dict[str, Place]:
    names: dict[str, Place] = {}
    for number, cell in enumerate(header, 1):
        if not cell.text:
            notes.fault(cell.place, f"column {number} has no name", "the first line holds the names, separated by commas")
        elif len(header) == 1 and re.search("[;\t]", cell.text):
            notes.fault(cell.place, "the cells are not separated by commas", "save it with commas between the cells")
        elif cell.text in names:
            notes.fault(cell.place, f"the name {cell.text!r} stands twice in the first line", "give each column its own name")
        elif check_name(cell.text, cell.place, notes.fault):
            names[cell.text] = cell.place
    return {prefix + name: place for name, place in names.items()}


def _read_row(cells: list[Cell], names: list[str], notes: Notes) -> dict[str, Value]:
    row: dict[str, Value] = {}
    for name, cell in zip(names, cells, strict=True):
        if "\0" in cell.text:
            notes.fault(cell.place, f"{name}: no value can hold a NUL character", "delete it")
        elif cell.is_quoted:
            row[name] = cell.text
        elif cell.text:
            if '"' in cell.text:
                notes.fault(cell.place, f"{name}: a quote inside a cell", 'quote the whole cell, with "" for each quote in it')
            try:
                row[name] = parse_scalar(cell.text)
            except ScalarError as error:
                notes.fault(cell.place, f"{name}: {error}", "write null or leave the cell empty")
    return row
