"""How values are written, and what an expression may result in.

One rule for commands, files, environment and file names: text as it is, everything else as JSON
(``true``, ``null``, ``1e-05``, ``[64,64]``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hpcsweep.expressions.errors import ExpressionError
from hpcsweep.model import Value
from hpcsweep.space.identity import canonical


class Words(list[str]):
    """Words of a command line, as ``flags`` and ``overrides`` give them: each is one argument."""


def text_of(value: Any) -> str:
    """The text of a value: text as it is, everything else as canonical JSON; Words with spaces between them.

    Raises:
        ExpressionError: for what is no value (undefined, NaN, objects).
    """
    if type(value) is str:
        return value
    if type(value) is int or (type(value) is float and value and math.isfinite(value)):
        return repr(value)  # as JSON writes them, but without the detour
    if isinstance(value, Words):
        return " ".join(value)
    value = plain(value)
    if isinstance(value, str):
        return value
    try:
        return canonical(value)
    except ValueError as error:
        raise ExpressionError(str(error)) from error


def plain(value: Any) -> Value:
    """The JSON value of what an expression resulted in: tuples and generators become lists, -0.0 becomes 0.0.

    Raises:
        ExpressionError: for what is no value.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ExpressionError(f"the result is {value}, which is no value")
        return float(value) or 0.0
    if isinstance(value, complex):
        raise ExpressionError("the result is a complex number", "a negative number has no such power")
    if isinstance(value, Mapping):
        wrong = next((key for key in value if not isinstance(key, str)), "")
        if wrong != "":
            raise ExpressionError(f"the result has the key {wrong!r}, and keys must be text")
        return {str(key): plain(item) for key, item in value.items()}
    str(value)  # an undefined one says here what it is
    if callable(value):
        raise ExpressionError("the result is a function, not a value", "call it: name(...)")
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    raise ExpressionError(f"the result is a {type(value).__name__}, which is no value")
