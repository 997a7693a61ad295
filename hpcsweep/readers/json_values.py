"""JSON: an object of final values, an array of objects, JSON lines, objects one after another.

Names of nested objects are joined by dots. A list stays one value, but an object whose values are all lists of one length
(a training history) is a series. NaN and Infinity, which are not JSON but are written by many programs, are floats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hpcsweep.model import Value
from hpcsweep.readers.base import Reading, Row, Source, count_of

VERSION = 1

# "[results]" begins an INI section.
_START = re.compile(r"\s*(?:\{|\[\s*(?:[\[{\]\"0-9-]|$))")
_SPACE = re.compile(r"[\s,]*")
# "\ud800" alone is half a character, which could not be written out again.
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
_NEXT_START = re.compile(r"\n(?=[\[{])")


def recognises(source: Source) -> bool:
    """Whether the text begins as an object or an array does."""
    return _START.match(source.text) is not None


def read(source: Source) -> Reading:
    """The rows; what cannot be read is left out, and said."""
    rows: list[Row] = []
    others = broken = 0
    is_cut_off = False
    for value in _iter_values(source.text):
        if isinstance(value, _Broken):
            is_cut_off = value.is_last
            broken += not value.is_last
        elif isinstance(value, dict):
            rows.extend(_to_rows(value))
        else:
            others += 1
    notes: list[str] = []
    if broken:
        notes.append(f"{count_of(broken, 'part')} left out: no JSON")
    if others:
        notes.append(f"{count_of(others, 'value')} left out: not an object of names and values")
    if is_cut_off:
        notes.append("the end is cut off and left out")
    if not rows and not notes:
        notes.append("has no values")
    return Reading(rows=tuple(rows), notes=tuple(notes))


def parse_object(text: str) -> dict[str, Any] | str:
    """The one object that a file of its own kind holds, or what is wrong with it."""
    for value in _iter_values(text):
        if isinstance(value, _Broken):
            return "is cut off: left out" if value.is_last else "is no JSON: left out"
        if isinstance(value, dict):
            return value
        break
    return "is not an object of names and values: left out"


class _Broken:
    """A part that is no JSON; the last one of a file is taken for cut off."""

    def __init__(self, *, is_last: bool) -> None:
        self.is_last = is_last


def _iter_values(text: str) -> Iterator[Any]:
    """Each value of the text in its order, those inside a top-level array one by one."""
    decoder = json.JSONDecoder()
    end = len(text)
    at = 0
    is_in_array = False
    may_hold_halves = _HALF_CHARACTER.search(text) is not None
    while True:
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        if at >= end:
            return
        try:
            value, following_at = decoder.raw_decode(text, at)
            whole = _mend_text(value) if may_hold_halves else value
        except (ValueError, RecursionError):
            following = _NEXT_START.search(text, at)
            if (text[at] == "[" and not is_in_array) or text[at] == "]":
                # The array is cut off, but what it holds may be whole.
                is_in_array = text[at] == "["
                at += 1
            elif following:
                yield _Broken(is_last=False)
                at = following.end()
            else:
                yield _Broken(is_last=True)
                return
        else:
            at = following_at
            yield from whole if isinstance(whole, list) else [whole]


def _mend_text(value: Any) -> Any:
    mended = json.dumps(value, ensure_ascii=False).encode("utf-8", errors="replace").decode("utf-8")
    return json.loads(mended)


def _to_rows(found: Mapping[str, Any]) -> list[Row]:
    row = flatten(found)
    lengths = {len(value) if isinstance(value, list) else -1 for value in row.values()}
    if (
        len(lengths) != 1
        or lengths <= {-1, 0}
        or any(isinstance(item, (list, dict)) for value in row.values() for item in _items(value))
    ):
        return [row] if row else []
    columns = {name: _items(value) for name, value in row.items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _items(value: Value) -> list[Any]:
    return value if isinstance(value, list) else []


def flatten(found: Mapping[str, Any]) -> Row:
    """Nested names joined by dots; an empty object is a value. Not recursive: JSON may nest deeper than Python calls."""
    row: Row = {}
    inside = [("", iter(found.items()))]
    while inside:
        prefix, entries = inside[-1]
        for name, value in entries:
            if isinstance(value, dict) and value:
                inside.append((f"{prefix}{name}.", iter(value.items())))
                break
            row[prefix + name] = value
        else:
            inside.pop()
    return row
