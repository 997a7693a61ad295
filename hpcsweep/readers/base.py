"""What every reader of metrics is given and gives back. Pure: text in, rows out, and never an exception for odd text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from hpcsweep.model import Value

Row = dict[str, Value]
"""One line's values by name, in the order of the file. NaN and infinities are floats here; a blank cell is not there."""

STEP_NAMES = ("step", "global_step", "iteration", "iter", "epoch")
"""Columns that say which step a row is of, the finest first (compared without case)."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one file says: its rows in file order, each of a step where it has one of ``STEP_NAMES``.

    ``finals`` are values that belong to no step. ``notes`` say what was odd about the file (short sentences, no file name).
    """

    rows: tuple[Row, ...] = ()
    finals: Row = field(default_factory=dict)
    notes: tuple[str, ...] = ()

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


@dataclass(frozen=True, kw_only=True)
class Source:
    r"""A file's text with ``\n`` line ends and without BOM; ``file`` is its name, as a second hint at its format."""

    file: str
    text: str

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
    """One format: a module with these two functions, listed in ``readers.READERS``."""

    def recognises(self, source: Source) -> bool:
        """Whether the text looks like this format; cheap for a text that does not."""

    def read(self, source: Source) -> Reading:
        """The rows. Whatever cannot be understood is left out, and said in the notes."""


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
