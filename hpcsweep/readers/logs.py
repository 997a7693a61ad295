"""The lines of a log that say a metric, told by patterns of the package parse or by regular expressions.

``epoch {epoch:d} val_loss {val_loss:g}`` finds ``INFO epoch 3 val_loss 0.25 (best)``: a pattern may begin and end anywhere in a line.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from hpcsweep.model import Value
from hpcsweep.readers.base import STEP_NAMES, Reading, Row, Rows, Source
from hpcsweep.readers.scalars import parse_scalar

VERSION = 1
_BLOCK_BYTES = 1 << 20
_LONGEST_LINE = 1 << 15
_LINE_ENDS = re.compile(rb"[\r\n]+")
_LAST_FIELD = re.compile(r"\{([A-Za-z][\w.\[\]-]*)\}\Z")
_FIELDS = re.compile(r"\{\{|\}\}|\{[^{}]*\}")
_WORD = re.compile(r"[!-z|~]{2,}", re.ASCII)
_FLOAT = r"(?:(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?|[-+]?nan|[-+]?inf(?:inity)?)"

Find = Callable[[str], Mapping[str, Any] | None]
"""The values that one pattern finds in a line."""


@dataclass(frozen=True)
class Pattern:
    """One pattern. ``needle`` is a word that each line which it fits has (in lower case), to pass by the others quickly."""

    find: Find
    needle: bytes = b""


class LogReader:
    """A reader of lines by patterns. It recognises nothing by itself: it is for the files that the sweep file names."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = patterns

    def recognises(self, source: Source) -> bool:  # noqa: ARG002 - a reader's
        """Never: no file looks like a pattern."""
        return False

    def read(self, source: Source) -> Reading:
        """The rows. What a line without step says belongs to the step before it; a name that comes again begins a new row."""
        rows = Rows()
        row: Row = {}
        steps: Row = {}
        for line in _iter_lines(source.open(), [pattern.needle for pattern in self._patterns], is_final=source.is_final):
            lowered = line.lower()
            for pattern in self._patterns:
                found = pattern.find(line) if pattern.needle.decode() in lowered else None
                if not found:
                    continue
                values = _plain(found)
                own_steps = {name: value for name, value in values.items() if name.lower() in STEP_NAMES}
                if (
                    not row
                    or any(name in row and row[name] != value for name, value in own_steps.items())
                    or (any(name in row for name in values if name not in own_steps))
                ):
                    steps = {**steps, **own_steps}
                    row = dict(steps)
                    rows.add(row)
                steps.update(own_steps)
                row.update(values)
        kept, notes = rows.close()
        return Reading(rows=kept, notes=notes if kept else ("no line fits the patterns",))


def parse_pattern(text: str) -> Pattern:
    """A pattern of the package parse. A field without type takes a number as a number, and at the end of the pattern one word.

    Raises:
        ValueError: it is none, or names no value.
    """
    import parse  # noqa: PLC0415 - only where a log is read

    ended = _LAST_FIELD.sub(r"{\1:word}", text)
    try:
        compiled = parse.compile(ended, _types(parse))
    except (ValueError, NotImplementedError, re.error) as error:
        raise ValueError(str(error)) from error
    if not compiled.named_fields:
        raise ValueError("it names no value: write {val_loss:g}")

    def find(line: str) -> Mapping[str, Any] | None:
        try:
            result = compiled.search(line)
        except (ValueError, OverflowError):  # a date that there is not, 10^5000
            return None
        return result.named if result else None

    words = [word for literal in _FIELDS.split(text) for word in _WORD.findall(literal)]
    return Pattern(find=find, needle=max(words, key=len, default="").lower().encode())


def regex_pattern(text: str) -> Pattern:
    r"""A regular expression with named groups, ``val_loss=(?P<val_loss>\S+)``.

    Raises:
        ValueError: it is none, or has no named group.
    """
    try:
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not compiled.groupindex:
        raise ValueError(r"it names no value: write (?P<val_loss>\S+)")

    def find(line: str) -> Mapping[str, Any] | None:
        match = compiled.search(line)
        return {name: found for name, found in match.groupdict().items() if found is not None} if match else None

    return Pattern(find=find)


def is_regex(text: str) -> bool:
    """Whether a text for lines is a regular expression: it has a named group."""
    return "(?P<" in text


def _types(parse: Any) -> dict[str, Any]:
    """Numbers as programs print them: parse's own ``f`` takes neither 1e-5 nor -inf, and its ``g`` not ``.5``."""

    def to_float(text: str) -> float:
        return float(text.strip().lower().replace("d", "e"))

    def to_word(text: str) -> str:
        return text

    number, word = parse.with_pattern(_FLOAT)(to_float), parse.with_pattern(r"\S+")(to_word)
    return {**dict.fromkeys("fFeEgG", number), "word": word}


def _plain(found: Mapping[str, Any], prefix: str = "") -> Row:
    """Plain values; what was matched as text is read as a cell is. Names like ``val[loss]`` get a dot."""
    row: Row = {}
    for name, value in found.items():
        if isinstance(value, Mapping):
            row |= _plain(value, f"{prefix}{name}.")
        else:
            row[prefix + name] = _to_value(value)
    return row


def _to_value(value: Any) -> Value:
    if isinstance(value, str):
        return parse_scalar(value.strip().rstrip(",;"))
    if isinstance(value, (bool, int, float)):
        return value
    return value.isoformat() if isinstance(value, (dt.date, dt.time)) else str(value)


def _iter_lines(stream: BinaryIO, needles: Sequence[bytes], *, is_final: bool) -> Iterator[str]:
    """The lines that have one of the needles, of each at most so much as can be searched; any file in bounded memory."""
    rest = b""
    while block := stream.read(_BLOCK_BYTES):
        data = rest + block
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        rest = data[end:][:_LONGEST_LINE]
        if end:
            yield from _fitting(data[:end], needles)
    if rest and is_final:
        yield from _fitting(rest, needles)


def _fitting(data: bytes, needles: Sequence[bytes]) -> Iterator[str]:
    lowered = data.lower()
    if any(needle in lowered for needle in needles):
        for line in _LINE_ENDS.split(data):
            if line:
                yield line[:_LONGEST_LINE].decode("utf-8", errors="replace")
