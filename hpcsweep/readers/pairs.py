r"""Names and values in lines: ``loss 0.3``, ``loss=0.3``, ``loss: 0.3``, ``loss,0.3``, ``epoch=1 loss=0.3``.

With ``=`` and ``:`` a value may be any text; with blanks or a comma it must be a number, or the file would be a table with
a header (``step loss``). A line is one row when it holds several pairs. Otherwise the lines fill a row until a name comes
again: a log of ``loss 0.3``, ``loss 0.2`` is a series of two rows.
"""

from __future__ import annotations

import re

from hpcsweep.model import Value
from hpcsweep.readers.base import Reading, Row, Source
from hpcsweep.readers.scalars import is_number, parse_scalar, unquote

VERSION = 1
_MANY = re.compile(r"([^\s=:,;|]+)\s*[=:]\s*([^\s=:,;|]+)")
_BETWEEN_PAIRS = re.compile(r"[\s,;|]*")
_SIGN = re.compile(r"[=:]")
_NO_NAME = re.compile(r"[,;\t\"]")
_APART = re.compile(r"([^\s,;]+)(?:\s*[,;]\s*|\s+)([^\s,;]+)")
# The search for several pairs is quadratic in the length of a word.
_LONGEST_LOOKED_AT = 2000
_COMMENT = re.compile(r"\s#(?:\s.*)?$")


def recognises(source: Source) -> bool:
    """Whether every line is a name and a value (but for a last line that may be cut off)."""
    lines = source.lines
    if not lines or parse_pairs(lines[0][1]) is None:
        return False
    rest = lines[1:] if source.is_ended else lines[1:-1]
    return all(parse_pairs(line) is not None for _, line in rest)


def read(source: Source) -> Reading:
    """The rows; see the module's text."""
    rows: list[Row] = []
    filling: Row = {}
    notes: list[str] = []
    for _, line in source.lines:
        pairs = parse_pairs(line)
        if pairs is None:
            notes.append("the last line is cut off and left out")
        elif len(pairs) > 1:
            rows.append(dict(pairs))
            filling = {}
        else:
            ((name, value),) = pairs
            if not rows or rows[-1] is not filling or name in filling:
                filling = {}
                rows.append(filling)
            filling[name] = value
    return Reading(rows=tuple(rows), notes=tuple(notes))


def parse_pairs(line: str) -> list[tuple[str, Value]] | None:
    """The pairs of one line, or None when it is something else."""
    if "#" in line:
        line = _COMMENT.sub("", line)
    if "=" in line or ":" in line:
        pairs = _MANY.findall(line) if len(line) <= _LONGEST_LOOKED_AT else []
        if len(pairs) > 1 and _BETWEEN_PAIRS.fullmatch(_MANY.sub("", line)) and all(_is_name(name) for name, _ in pairs):
            return [(name, parse_scalar(unquote(value))) for name, value in pairs]
        name, text = (part.strip() for part in _SIGN.split(line, maxsplit=1))
        if _is_name(name) and not _NO_NAME.search(name):
            return [(name, parse_scalar(unquote(text)) if text else None)]
    match = _APART.fullmatch(line)
    if match is None or not _is_name(match[1]):
        return None
    value = parse_scalar(match[2])
    return [(match[1], value)] if is_number(value) else None


def _is_name(text: str) -> bool:
    # "1 0.5" is a row of a table without header, "12:03:11 start" a line of a log.
    return bool(text) and text[0] not in "0123456789+-.\"'[{" and not is_number(parse_scalar(text))
