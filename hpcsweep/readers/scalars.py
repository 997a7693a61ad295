"""One cell of a text file -> a value with its type."""

from __future__ import annotations

import re

from hpcsweep.model import Value

# Fortran writes 1.0D-03; Python's float() would also take 1_000 and digits of other scripts, which are text here.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(\.[0-9]*)?|(\.[0-9]+))([eEdD][+-]?[0-9]+)?")
_WORDS: dict[str, Value] = {
    "true": True,
    "false": False,
    "null": None,
    "none": None,
    "na": None,
    "n/a": None,
    "nan": float("nan"),
    "+nan": float("nan"),
    "-nan": float("nan"),
    "inf": float("inf"),
    "+inf": float("inf"),
    "-inf": float("-inf"),
    "infinity": float("inf"),
    "+infinity": float("inf"),
    "-infinity": float("-inf"),
}
# Python refuses to read an int of more than 4300 digits; no measured value has a hundred.
_MOST_DIGITS = 100


def parse_scalar(text: str) -> Value:
    """``12`` -> int, ``1e-3``, ``1.0D-03``, ``nan``, ``-inf`` -> float, ``true`` -> bool, ``null``, ``NA``, ``None`` -> None, else the text.

    Words are read without regard to case. An int of more than 100 digits stays text.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        # No word of the table is longer; most texts are.
        return _WORDS.get(text.lower(), text) if len(text) <= 9 else text
    if match.lastindex is not None:
        return float(text.replace("D", "e").replace("d", "e"))
    return int(text) if len(text) <= _MOST_DIGITS else text


def is_number(value: Value) -> bool:
    """Whether a cell's value is a number, true or false: what a ``name value`` line must end with."""
    return isinstance(value, (bool, int, float))


def unquote(text: str) -> str:
    """The text without one pair of quotes around it."""
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'" else text
