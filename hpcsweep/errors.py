"""The errors a user can meet, each with the exit code that the command ends with.

Exit codes (docs/commands.md lists them for users): 0 done, 1 the user can fix it, 2 usage, 3 a bug,
4 the scheduler is there but out of reach, 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class HpcsweepError(Exception):
    """Something the user can mend. ``str(error)`` is the message; ``hint`` says what to do next."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def __notes__(self) -> list[str]:
        """What a traceback shows below the message, for those who call this from Python."""
        return [f"hint: {self.hint}"] if self.hint else []


class UsageError(HpcsweepError):
    """The command line itself is wrong."""

    exit_code = 2


class SchedulerUnreachable(HpcsweepError):
    """The scheduler is installed but gives no answer; nothing is known about the jobs."""

    exit_code = 4


@dataclass(frozen=True, kw_only=True, order=True)
class Place:
    """A place in a text, 1-based as editors count; line 0 means the whole file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing wrong in a file: where, what, the line itself, and the way out."""

    place: Place
    message: str
    hint: str = ""
    source_line: str = ""

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}"
        line, column = cut_line(self.source_line.rstrip(), self.place.column)
        if line.strip():
            text += f"\n    {line}"
            if 0 < column <= len(line) + 1:
                text += "\n    " + " " * (column - 1) + "^"
        if self.hint:
            text += f"\n    hint: {self.hint}"
        return text


def cut_line(line: str, column: int, width: int = 160) -> tuple[str, int]:
    """A line short enough to be read, with the same column still in it (1-based), and where that is then."""
    if len(line) <= width:
        return line, column
    start = max(0, min(column - 1 - width // 2, len(line) - width))
    before, after = "... " if start else "", " ..." if start + width < len(line) else ""
    return f"{before}{line[start : start + width]}{after}", column - start + len(before) if column else 0


class FileFaults(HpcsweepError):
    """All the faults of a sweep file, profile or override in one go, in the order of their places."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.place))
        super().__init__("\n".join(map(str, self.faults)))


class Faults:
    """Gathers faults while a file is read, so that the user hears of all at once."""

    def __init__(self, lines: dict[str, list[str]] | None = None) -> None:
        self._faults: list[Fault] = []
        self._lines = lines or {}
        self._settled: dict[str, list[tuple[range, int]]] = {}

    def add_text(self, file: str, text: str) -> None:
        """Remember the lines of ``file``, so that a fault can show its own."""
        # Not splitlines: it also breaks at form feeds, U+0085 and U+2028, which are no line ends to editors and to YAML 1.2.
        self._lines[file] = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    def add(self, place: Place, message: str, hint: str = "") -> None:
        """Add one fault; equal ones are kept once, and those in what is settled not at all."""
        if any(place.line in lines and column in (0, place.column) for lines, column in self._settled.get(place.file, ())):
            return
        fault = Fault(place=place, message=message, hint=hint, source_line=self.source_line(place))
        if fault not in self._faults:
            self._faults.append(fault)

    def settle(self, file: str, lines: range, column: int = 0) -> None:
        """Take no more faults there: what is wrong is said already, and whatever else is found follows from it."""
        self._settled.setdefault(file, []).append((lines, column))

    def source_line(self, place: Place) -> str:
        """The line that ``place`` is on, or "" where the text is not known."""
        lines = self._lines.get(place.file, [])
        return lines[place.line - 1] if 0 < place.line <= len(lines) else ""

    def __bool__(self) -> bool:
        return bool(self._faults)

    def raise_any(self) -> None:
        """Raise FileFaults when there is any fault."""
        if self._faults:
            raise FileFaults(self._faults)
