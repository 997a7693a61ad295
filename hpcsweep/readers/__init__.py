"""Readers of metrics: one small module per format, chosen by the look of the text.

To add a format, write a module with ``recognises`` and ``read`` (``base.Reader``) and enter it in ``READERS``.
"""

from __future__ import annotations

import codecs
import re

from hpcsweep.readers import json_values, pairs, tabular
from hpcsweep.readers.base import Reader, Reading, Row, Source

__all__ = ["READERS", "Reader", "Reading", "Row", "Source", "decode", "is_binary_data", "read_metrics"]

READERS: dict[str, Reader] = {"json": json_values, "pairs": pairs, "table": tabular}
"""In the order in which they are asked; the last one takes any text."""

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# How much of a text is looked at to tell it from a binary file, and how large a share of it may be unreadable.
_LOOK_CHARACTERS = 4096
_UNREADABLE_SHARE = 0.1
_UNREADABLE_FEW = 3
_UNREADABLE = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffd]")


def decode(data: bytes) -> str:
    """The text of a file: UTF-8, or what its byte order mark says; bytes that are none become U+FFFD."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, errors="replace")
    return data.decode("utf-8", errors="replace")


def read_metrics(text: str, file: str = "", *, is_final: bool = True) -> Reading:
    r"""Read the metrics that ``text`` holds, in whichever format; any text gives a Reading.

    A last line without its newline may be cut in the middle of a number (``0.12`` of ``0.1234``), and nothing can tell.
    It is taken as it is when the program that wrote it came to its own end (``is_final``); otherwise it is left out, and
    said. A JSON object says itself whether it is whole.

    Args:
        text: the file's text, with any line ends; see ``decode``.
        file: its name, for formats that have one of their own.
        is_final: the writer ended by itself, rather than being killed or still running.
    """
    if not text.isascii():
        # Half a surrogate pair could not be written out again.
        text = text.lstrip("\ufeff").encode("utf-8", errors="replace").decode("utf-8")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return Reading(notes=("is empty",))
    if is_binary(text):
        return Reading(notes=("is not a text file: left out",))
    source = Source(file=file, text=text)
    notes: tuple[str, ...] = ("has bytes that are no UTF-8",) if "\ufffd" in text else ()
    if not is_final and not source.is_ended and not json_values.recognises(source):
        source = Source(file=file, text=text[: text.rfind("\n") + 1])
        notes = (*notes, "the last line has no newline, so it may be cut off: left out")
    for reader in READERS.values():
        if reader.recognises(source):
            reading = reader.read(source)
            return Reading(rows=reading.rows, notes=(*notes, *reading.notes)) if notes else reading
    return Reading(notes=notes or ("has only comments",))


def is_binary(text: str) -> bool:
    """Whether a decoded file was no text: it holds a NUL, or many characters that no program prints."""
    look = text[:_LOOK_CHARACTERS]
    return "\0" in look or len(_UNREADABLE.findall(look)) > _UNREADABLE_FEW + _UNREADABLE_SHARE * len(look)


def is_binary_data(head: bytes) -> bool:
    """Whether a file that begins so is no text; before the rest of it, which may be gigabytes, is read."""
    return b"\0" in head and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
