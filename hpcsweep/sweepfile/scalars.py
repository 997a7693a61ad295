"""What a value without quotes means: the strict reading of YAML 1.2 scalars.

The same rules hold in the sweep file, in the cells of ``csv:`` and on the command line (``-p lr=1e-3``).
"""

from __future__ import annotations

import math
import re

from hpcsweep.model import Value

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, Value] = {"": None, "~": None, "null": None, "true": True, "false": False}
_FIRST_OF_NUMBERS = frozenset("+-.0123456789")
_LONGEST_INT = 1000
"""Digits. Python refuses to print integers of more than 4300; no parameter is one."""


class ScalarError(ValueError):
    """A text that looks like a value and is none. ``str(error)`` says why, ``hint`` the way out."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def parse_scalar(text: str) -> Value:
    """Read a value that was written without quotes.

    ``1e-3`` is a float, ``0x1f`` an integer; only ``true`` and ``false`` are booleans, ``null``, ``~`` and the empty text are
    null; ``010``, ``1_000``, ``24:00:00``, ``2026-01-01``, ``no`` and numbers beyond a float's reach (``1e400``) are texts.

    Raises:
        ScalarError: for infinity and NaN, which no point can hold, and for integers of absurd length.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _FIRST_OF_NUMBERS:
        return text  # the quick way for long files of names
    if _INT.fullmatch(text) or _BASED.fullmatch(text):
        if len(text) > _LONGEST_INT:
            raise ScalarError(f"an integer of {len(text)} characters is too long", "put it in quotes if it is a text")
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return (number or 0.0) if _is_held(text, number) else text  # -0.0 is 0.0
    if _NOT_FINITE.fullmatch(text):
        kind = "NaN" if text.lower().endswith("nan") else "infinity"
        raise ScalarError(f"{text} is {kind}, which no value may be", f'write "{text}" in quotes if the text is meant')
    return text


def is_beyond_floats(text: str) -> bool:
    """Whether ``text`` has the form of a number that no float can hold, such as ``1e400``; parse_scalar leaves it a text."""
    return bool(_FLOAT.fullmatch(text)) and not _INT.fullmatch(text) and not _is_held(text, float(text))


def is_near_word(text: str) -> bool:
    """Whether ``text`` is ``True``, ``FALSE``, ``Null`` or the like: a text here, but a value to many other readers."""
    return text not in _WORDS and text.lower() in _WORDS


def _is_held(text: str, number: float) -> bool:
    """Whether a float neither overflows nor vanishes to zero."""
    mantissa = re.split("[eE]", text)[0]
    return math.isfinite(number) and (number != 0 or not re.search("[1-9]", mantissa))
