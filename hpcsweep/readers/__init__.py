"""Readers of metrics: one small module per format, chosen by the look of the file or named in the sweep file.

To add a format, write a module with ``recognises`` and ``read`` (``base.Reader``) and enter it in ``READERS``; another
package does so by an entry point of the group ``hpcsweep.readers``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence

from hpcsweep.readers import huggingface, json_values, pairs, pieces, tabular, tensorboard, wandb
from hpcsweep.readers.base import Reader, Reading, Row, Source, as_lines, decode, is_binary_data
from hpcsweep.readers.plugins import Plugin

__all__ = [
    "ALIASES",
    "READERS",
    "Plugin",
    "Reader",
    "Reading",
    "Row",
    "Source",
    "decode",
    "is_binary_data",
    "read_metrics",
    "read_source",
]

READERS: dict[str, Reader] = {
    "tensorboard": tensorboard,
    "huggingface": huggingface,
    "wandb": wandb,
    "json": json_values,
    "pairs": pairs,
    "table": tabular,
}
"""In the order in which they are asked; the last one takes any text. Those of other packages are asked before ``json``."""

ALIASES = {"csv": "table", "tsv": "table", "lightning": "table", "jsonl": "json", "hf": "huggingface"}
"""Other names for them."""

_OWN_FILES: tuple[Reader, ...] = (tensorboard, huggingface, wandb)
_ANY_TEXT: tuple[Reader, ...] = (json_values, pairs, tabular)
_NO_TEXT = "is not a text file: left out"
# How much of a text is looked at to tell it from a binary file, and how large a share of it may be unreadable.
_LOOK_CHARACTERS = 4096
_UNREADABLE_SHARE = 0.1
_UNREADABLE_FEW = 3
_UNREADABLE = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffd]")


def read_metrics(text: str, file: str = "", *, is_final: bool = True) -> Reading:
    """Read the metrics that ``text`` holds, in whichever format; see ``read_source``.

    Args:
        text: the file's text, with any line ends; see ``decode``.
        file: its name, for formats that have one of their own.
        is_final: the writer ended by itself, rather than being killed or still running.
    """
    return read_source(Source(file=file, text=as_lines(text), is_final=is_final))


def read_source(
    source: Source, *, reader: Reader | None = None, plugins: Mapping[str, Plugin] | None = None, size_bytes: int = 0
) -> Reading:
    r"""Read one file, in whichever format; any file gives a Reading.

    A last line without its newline may be cut in the middle of a number (``0.12`` of ``0.1234``), and nothing can tell.
    It is taken as it is when the program that wrote it came to its own end (``is_final``); otherwise it is left out, and
    said. A JSON object says itself whether it is whole.

    Args:
        source: the file.
        reader: who reads it; None: who recognises it.
        plugins: the readers of other packages, by name.
        size_bytes: the file's size, where it may be too large to hold.
    """
    problems: list[str] = []
    for one in _asked(reader, plugins):
        if isinstance(one, Plugin):
            reading = one.try_to_read(source, problems, is_named=one is reader)
            if reading is not None:
                return _blamed(reading, problems)
        elif one is reader or one.recognises(source):
            return _blamed(one.read(source), problems)
    texts = (reader,) if reader is not None and reader in _ANY_TEXT else _ANY_TEXT
    if size_bytes > pieces.LARGE_BYTES and not is_binary_data(source.head):
        return _blamed(pieces.read_large(source, texts, size_bytes), problems)
    return _blamed(_read_text(source, texts), problems)


def _asked(reader: Reader | None, plugins: Mapping[str, Plugin] | None) -> Iterator[Reader | Plugin]:
    if reader is None:
        yield from _OWN_FILES
        yield from (plugins or {}).values()
    elif reader not in _ANY_TEXT:
        yield reader


def _read_text(source: Source, readers: tuple[Reader, ...]) -> Reading:
    text = source.text
    if is_binary_data(source.head) or is_binary(text):
        return Reading(notes=(_NO_TEXT,))
    if not text.strip():
        return Reading(notes=("is empty",))
    notes: tuple[str, ...] = ("has bytes that are no UTF-8",) if "\ufffd" in text else ()
    if not source.is_final and not source.is_ended and not json_values.recognises(source):
        source = Source(file=source.file, text=text[: text.rfind("\n") + 1])
        notes = (*notes, "the last line has no newline, so it may be cut off: left out")
    for reader in readers:
        if source.text.strip() and (len(readers) == 1 or reader.recognises(source)):
            return _noted(reader.read(source), notes)
    return Reading(notes=notes or ("has only comments",))


def _blamed(reading: Reading, problems: list[str]) -> Reading:
    """With what other packages' readers failed at: next time they may not."""
    return dataclasses.replace(_noted(reading, problems), is_lasting=False) if problems else reading


def _noted(reading: Reading, notes: Sequence[str]) -> Reading:
    return dataclasses.replace(reading, notes=(*notes, *reading.notes)) if notes else reading


def is_binary(text: str) -> bool:
    """Whether a decoded file was no text: it holds a NUL, or many characters that no program prints."""
    look = text[:_LOOK_CHARACTERS]
    return "\0" in look or len(_UNREADABLE.findall(look)) > _UNREADABLE_FEW + _UNREADABLE_SHARE * len(look)
