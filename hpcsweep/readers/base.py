"""What every reader of metrics is given and gives back. Pure: text in, rows out, and never an exception for odd text."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import BinaryIO, Protocol

from hpcsweep.model import Value

Row = dict[str, Value]
"""One line's values by name, in the order of the file. NaN and infinities are floats here; a blank cell is not there."""

STEP_NAMES = ("step", "global_step", "iteration", "iter", "epoch")
"""Columns that say which step a row is of, the finest first (compared without case)."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one file says: its rows in file order, each of a step where it has one of ``STEP_NAMES``.

    ``finals`` are values that belong to no step. ``notes`` say what was odd about the file (short sentences, no file name).
    ``is_lasting`` is false where the same file may give something else next time: a package is missing, the disk failed.
    """

    rows: tuple[Row, ...] = ()
    finals: Row = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    is_lasting: bool = True

    @property
    def is_series(self) -> bool:
        """Whether it is a series over steps; a single row holds final values."""
        return len(self.rows) > 1

    @property
    def step_names(self) -> tuple[str, ...]:
        """The columns that say the step, the finest first; empty when the row number has to do."""
        names = {name.lower(): name for row in self.rows for name in row}
        return tuple(names[step] for step in STEP_NAMES if step in names)

    @property
    def step_name(self) -> str | None:
        """The finest of ``step_names``, or None."""
        return next(iter(self.step_names), None)

    @property
    def last(self) -> Row:
        """For each name the last value that was written; a blank or a null is none, a NaN is one."""
        if len(self.rows) == 1 and not self.finals:
            return self.rows[0]
        values: Row = {}
        for row in (*self.rows, self.finals):
            for name, value in row.items():
                if value is not None or name not in values:
                    values[name] = value
        return values


_MOST_TEXT_BYTES = 64 << 20


class Source:
    """One file for a reader to look at: its name, its first bytes, and more of it only where that is asked for.

    ``file`` is its name in the task's folder, with slashes. ``is_final`` says that the program that wrote it ended by itself,
    rather than being killed or still running: only then is a last line without its newline whole.
    """

    def __init__(
        self, *, file: str, text: str | None = None, stream: BinaryIO | None = None, head: bytes = b"", is_final: bool = True
    ) -> None:
        self.file = file
        self.head = head
        self.is_final = is_final
        self._stream = stream
        if text is not None:
            self.text = text

    @cached_property
    def text(self) -> str:
        r"""All of the file, with ``\n`` line ends and without BOM; bytes that are no text become U+FFFD; empty for a binary file."""
        if is_binary_data(self.head) or self._stream is None:
            return ""
        return as_lines(decode(self.open().read(_MOST_TEXT_BYTES)))

    def open(self) -> BinaryIO:
        """The file itself, from its beginning, for formats that are no text and for files too large to hold."""
        stream = BytesIO(self.text.encode()) if self._stream is None else self._stream
        stream.seek(0)
        return stream

    @property
    def base(self) -> str:
        """The name without folders."""
        return self.file.rpartition("/")[2]

    @property
    def is_ended(self) -> bool:
        """Whether the last line has its newline: without it, the line may be cut off."""
        return self.text.endswith("\n")

    @cached_property
    def lines(self) -> list[tuple[int, str]]:
        """The lines with their numbers, without blank lines and ``#`` lines, stripped."""
        stripped = ((number, line.strip()) for number, line in enumerate(self.text.split("\n"), start=1))
        return [(number, line) for number, line in stripped if line and line[0] != "#"]


class Reader(Protocol):
    """One format: a module (or an object) with these two functions, listed in ``readers.READERS`` or found as an entry point.

    It may have a ``VERSION``, a number that grows when the same file gives other values than before.
    """

    def recognises(self, source: Source) -> bool:
        """Whether the file looks like this format; cheap for a file that does not."""

    def read(self, source: Source) -> Reading:
        """The rows. Whatever cannot be understood is left out, and said in the notes."""


class Rows:
    """Rows in the order in which they come, at most so many as memory holds.

    Of more than that, every second one is dropped as often as it takes, but never the first, the last, the least and the
    greatest of any name.
    """

    MOST = 100_000

    def __init__(self) -> None:
        self._rows: list[tuple[int, Row]] = []
        self._every = 1
        self.count = 0

    def add(self, row: Row) -> None:
        """One more."""
        if len(self._rows) >= self.MOST:
            self._thin_out()
        self._rows.append((self.count, row))
        self.count += 1

    def close(self) -> tuple[tuple[Row, ...], tuple[str, ...]]:
        """The rows, and what is to be said when some were dropped."""
        if self._every > 1:
            self._drop()
        rows = tuple(row for _, row in self._rows)
        if len(rows) == self.count:
            return rows, ()
        kept = f"{len(rows):,} are kept, the first, last, least and greatest value of each name among them"
        return rows, (f"has {self.count:,} rows: {kept}",)

    def _thin_out(self) -> None:
        self._drop()
        while len(self._rows) > self.MOST // 2 and self._every < self.count:
            self._every *= 2
            self._drop()
        if len(self._rows) >= self.MOST:  # so many names that nearly every row is needed
            self._rows = self._rows[-self.MOST // 2 :]

    def _drop(self) -> None:
        needed = self._ends_and_extremes()
        self._rows = [(number, row) for number, row in self._rows if number % self._every == 0 or number in needed]

    def _ends_and_extremes(self) -> set[int]:
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        least: dict[str, tuple[float, int]] = {}
        greatest: dict[str, tuple[float, int]] = {}
        for number, row in self._rows:
            for name, value in row.items():
                first.setdefault(name, number)
                last[name] = number
                if isinstance(value, (int, float)) and value == value:  # noqa: PLR0124 - a NaN is not itself
                    if name not in least or value < least[name][0]:
                        least[name] = (value, number)
                    if name not in greatest or value > greatest[name][0]:
                        greatest[name] = (value, number)
        extremes = (number for _, number in (*least.values(), *greatest.values()))
        return {*first.values(), *last.values(), *extremes}


_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def decode(data: bytes) -> str:
    """The text of a file: UTF-8, or what its byte order mark says; bytes that are none become U+FFFD."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, errors="replace")
    return data.decode("utf-8", errors="replace")


def as_lines(text: str) -> str:
    r"""The text with ``\n`` line ends, without BOM and without half characters."""
    if not text.isascii():
        # Half a surrogate pair could not be written out again.
        text = text.lstrip("\ufeff").encode("utf-8", errors="replace").decode("utf-8")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text


def is_binary_data(head: bytes) -> bool:
    """Whether a file that begins so is no text; before the rest of it, which may be gigabytes, is read."""
    return b"\0" in head and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def count_of(number: int, noun: str) -> str:
    """``1 line``, ``3 lines``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def lines_note(numbers: Sequence[int], what: str) -> str:
    """One note for many lines: ``line 7 <what>``, ``lines 7, 9 and 4 more <what>``."""
    if len(numbers) == 1:
        return f"line {numbers[0]} {what}"
    shown = ", ".join(map(str, numbers[:3]))
    more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
    return f"lines {shown}{more} {what}"
