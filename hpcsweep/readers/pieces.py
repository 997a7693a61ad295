"""Text files that are too large to hold: read piece by piece, in bounded memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from hpcsweep.readers import json_values, tabular
from hpcsweep.readers.base import Reader, Reading, Rows, Source, as_lines

LARGE_BYTES = 4 << 20
"""Above this a file is read in pieces."""

WHOLE_BYTES = 64 << 20
"""Above this a file that cannot be read in pieces (one large JSON value) is left out."""

_PIECE_BYTES = 2 << 20
_MOST_NOTES = 3
_LONGEST_LINE = 16 << 20


def read_large(source: Source, readers: Sequence[Reader], size_bytes: int) -> Reading:
    """The rows of a large text file by the first of ``readers`` that recognises its beginning."""
    texts = _iter_texts(source.open())
    first = next(texts, "")
    start = Source(file=source.file, text=first)
    if not first.strip():
        return Reading(notes=("has no line that can be read",))
    reader = readers[0] if len(readers) == 1 else next((one for one in readers if one.recognises(start)), None)
    if reader is None:
        return Reading(notes=("has only comments",))
    if reader is json_values and not _is_json_lines(first):
        if size_bytes > WHOLE_BYTES:
            return Reading(notes=(f"is larger than {WHOLE_BYTES >> 20} MiB, and not one JSON object a line: left out",))
        whole: Reading = reader.read(source)
        return whole
    heading = _heading(start) if reader is tabular else ""
    rows = Rows()
    notes: dict[str, None] = {}
    piece = first
    while True:
        following = next(texts, None)
        if following is None and not source.is_final and not piece.endswith("\n"):
            piece = piece[: piece.rfind("\n") + 1]
            notes["the last line has no newline, so it may be cut off: left out"] = None
        if piece.strip():
            reading = reader.read(Source(file=source.file, text=piece if piece is first else heading + piece))
            for row in reading.rows:
                rows.add(row)
            _add_notes(notes, reading.notes, is_first=piece is first)
        if following is None:
            kept, more = rows.close()
            return Reading(rows=kept, notes=(*notes, *more))
        piece = following


def _iter_texts(stream: BinaryIO) -> Iterator[str]:
    """The text in pieces that end where a line does; of a line beyond all measure only the beginning."""
    head = stream.read(2)
    stream.seek(0)
    encoding = "utf-16" if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    rest = ""
    while block := stream.read(_PIECE_BYTES):
        piece = rest + decoder.decode(block)
        end = max(piece.rfind("\n"), piece.rfind("\r")) + 1
        rest = piece[end:][:_LONGEST_LINE]
        if end:
            yield as_lines(piece[:end])
    if rest:
        yield as_lines(rest)


def _is_json_lines(text: str) -> bool:
    line = text.lstrip().partition("\n")[0]
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _heading(start: Source) -> str:
    """The lines that name the columns: comments, and the header itself."""
    number, line = start.lines[0]
    comments = [one for one in start.text.split("\n", number)[: number - 1] if one.lstrip().startswith("#")]
    return "".join(f"{one}\n" for one in (*comments, *([line] if tabular.has_header(start) else [])))


def _add_notes(notes: dict[str, None], more: Sequence[str], *, is_first: bool) -> None:
    if is_first:
        notes.update(dict.fromkeys(more))
    elif more and len(notes) < _MOST_NOTES:
        # Line numbers count from the beginning of a piece: they would mislead.
        notes["has more such lines further on" if notes else "has lines that cannot be read: left out"] = None
