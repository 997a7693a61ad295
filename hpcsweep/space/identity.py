"""What makes two points the same: their canonical JSON, and the id that is its hash.

``1``, ``1.0``, ``true`` and ``"1"`` are four values; ``-0.0`` is ``0.0``; text is taken as it is, not normalised.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
).encode
_MAX_DEPTH = 200
_NESTED = (dict, list, tuple)


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, the shortest text of a float, UTF-8 text kept.

    ``{"b": 1.0, "a": "x"}`` -> ``{"a":"x","b":1.0}``

    Raises:
        ValueError: for what JSON cannot say or a program cannot be given: NaN, infinities, NUL in a text, lone
            surrogates, keys that are no text, other types.
    """
    try:
        text: str = _encode(value)
    except (TypeError, ValueError, RecursionError):
        return str(_encode(_checked(value)))
    # The C encoder is quick but lets through a negative zero, NUL, keys that are numbers, and lone surrogates.
    if "-0.0" in text or "\\u0000" in text or not _has_text_keys(value) or not _is_utf8(text):
        return str(_encode(_checked(value)))
    return text


def without_negative_zeros(value: Any) -> Any:
    """The value with each ``-0.0`` in it made ``0.0``, so that what is shown and passed on is what the id stands for.

    Raises:
        ValueError: as ``canonical``.
    """
    return _checked(value) if isinstance(value, float | list | tuple | dict) and "-0.0" in _encode(value) else value


def point_id(params: Mapping[str, Any]) -> str:
    """The id of a point: 16 hex digits, the same on every machine; raises ValueError as ``canonical`` does."""
    return sha256(canonical(params).encode()).hexdigest()[:16]


def _has_text_keys(value: Any) -> bool:
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str or (isinstance(item, _NESTED) and not _has_text_keys(item)):
                return False
    elif isinstance(value, list | tuple):
        return all(_has_text_keys(item) for item in value if isinstance(item, _NESTED))
    return True


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _checked(value: Any, depth: int = 0) -> Any:
    """The value with ``-0.0`` made ``0.0``; raises ValueError with a sentence about what is wrong with it."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"the value is nested more than {_MAX_DEPTH} deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _checked_text(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a value: NaN and infinities cannot be compared or written down")
        return float(value) or 0.0
    if isinstance(value, int):
        try:
            str(value)
        except ValueError as error:
            raise ValueError("the integer has too many digits to be written down") from error
        return int(value)
    if isinstance(value, list | tuple):
        return [_checked(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        wrong = next((key for key in value if not isinstance(key, str)), None)
        if wrong is not None or None in value:
            raise ValueError(f"the key {wrong!r} is {_a_type(wrong)}: keys must be text, so put it in quotes")
        return {_checked_text(key): _checked(item, depth + 1) for key, item in value.items()}
    raise ValueError(f"{value!r:.60} is {_a_type(value)}: a value is text, a number, true, false, null, a list or a mapping")


def _checked_text(text: str) -> str:
    if "\0" in text:
        raise ValueError(f"the text {text!r:.60} has a NUL character in it: no program can be given one")
    if not _is_utf8(text):
        raise ValueError(f"the text {text!r:.60} is not Unicode: it has half of a surrogate pair in it")
    return str(text)


def _a_type(value: Any) -> str:
    name = "null" if value is None else type(value).__name__
    return name if value is None else f"a {name}"
