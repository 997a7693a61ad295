"""Which scale some values want: by their spacing, which is all that is known of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

Scale = Literal["linear", "log", "symlog"]


def choose_scale(values: Iterable[float], *, least_ratio: float = 4.0) -> Scale:
    """``log`` where the values lie more evenly on a logarithmic axis; ``symlog`` where that is so but for a zero.

    ``least_ratio``: the largest over the smallest, below which it is not worth it.
    """
    distinct = sorted({value for value in values if math.isfinite(value)})
    positive = [value for value in distinct if value > 0]
    if len(positive) < 2 or distinct[0] < 0 or positive[-1] / positive[0] < least_ratio:
        return "linear"
    has_zero = distinct[0] == 0
    if len(positive) == 2:
        is_log = positive[1] / positive[0] >= 10 and not has_zero
    else:
        is_log = _unevenness([math.log(value) for value in positive]) < _unevenness(distinct)
    if not is_log:
        return "linear"
    return "symlog" if has_zero else "log"


def _unevenness(values: Sequence[float]) -> float:
    """How far the values are from lying evenly between their ends: 0 for a grid, for random numbers small, else up to 1."""
    low, width, last = values[0], values[-1] - values[0], len(values) - 1
    return max(abs((value - low) / width - k / last) for k, value in enumerate(values))
