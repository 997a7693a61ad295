"""Readers of other packages: entry points of the group ``hpcsweep.readers``. What is wrong with one is a note, never a crash."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib import metadata
from typing import Any

from hpcsweep.readers.base import Reading, Row, Source

GROUP = "hpcsweep.readers"


class Plugin:
    """One reader of another package. It is imported when the first file is shown to it."""

    def __init__(self, entry_point: metadata.EntryPoint) -> None:
        self.name = entry_point.name
        self._entry_point = entry_point

    @property
    def version(self) -> str:
        """The version of its package, and its own ``VERSION``: what it read before may be other values now."""
        package = self._entry_point.dist
        return f"{package.name} {package.version}" if package else self._entry_point.value

    @cached_property
    def _loaded(self) -> Any:
        return self._entry_point.load()

    def try_to_read(self, source: Source, problems: list[str], *, is_named: bool = False) -> Reading | None:
        """What it says of a file; None when that is none of its own, or when it failed, which is then in ``problems``.

        Args:
            source: the file.
            problems: where a failure is told.
            is_named: the user says that the file is its own.
        """
        try:
            if is_named or self._loaded.recognises(source):
                return _checked(self._loaded.read(source))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - somebody else's program
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            problems.append(f"the reader `{self.name}` of {self.version} failed: {what}")
        return None

    def recognises(self, source: Source) -> bool:
        """As a reader."""
        return self.try_to_read(source, []) is not None

    def read(self, source: Source) -> Reading:
        """As a reader that was named."""
        problems: list[str] = []
        reading = self.try_to_read(source, problems, is_named=True)
        return reading or Reading(notes=tuple(problems), is_lasting=False)


class Missing:
    """Stands for a reader that a run's settings name and that is not installed (any more)."""

    def __init__(self, name: str) -> None:
        self._name = name

    def recognises(self, source: Source) -> bool:  # noqa: ARG002 - a reader's
        """Never."""
        return False

    def read(self, source: Source) -> Reading:  # noqa: ARG002 - a reader's
        """Says what is missing."""
        return Reading(notes=(f"there is no reader `{self._name}` here: install the package that has it",), is_lasting=False)


def find_plugins() -> dict[str, Plugin]:
    """The readers of other packages that are installed, by name; of two with the same name the first one."""
    found: dict[str, Plugin] = {}
    for entry_point in metadata.entry_points(group=GROUP):
        found.setdefault(entry_point.name, Plugin(entry_point))
    return dict(sorted(found.items()))


def _checked(reading: Any) -> Reading:
    """The reading with plain values: numbers of numpy become Python's, what is no value a text.

    Raises:
        TypeError: it is no reading.
    """
    if not isinstance(reading, Reading):
        raise TypeError(f"read() gave a {type(reading).__name__}, not a Reading")
    return Reading(
        rows=tuple(_plain_row(row) for row in reading.rows),
        finals=_plain_row(reading.finals),
        notes=tuple(map(str, reading.notes)),
        is_lasting=bool(reading.is_lasting),
    )


def _plain_row(row: Mapping[Any, Any]) -> Row:
    return {str(name): _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return _plain_row(value)
    item = getattr(value, "item", None)
    found = item() if callable(item) else value
    return found if type(found) in (bool, int, float, str) else str(value)
