"""The forms of the sweep file that make a list of values: range, linspace, geomspace; and the checks of distributions.

Floats made here are rounded to 12 significant digits, so that a grid reads 0.1, 0.2, 0.3; the ends are exact.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_VALUES = 10_000_000
"""More values than this in one list are a mistake."""

Number = int | float


def round_float(number: float) -> float:
    """Rounded to 12 significant digits; -0.0 is 0.0."""
    return float(f"{number:.12g}") or 0.0


def is_number(value: object) -> bool:
    """Whether it is a finite int or float; true and false are no numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def make_range(lo: Number, hi: Number, step: Number | None = None) -> list[Number]:
    """``lo, lo + step, ...`` up to hi, **with hi** when it is on the grid; ints when all three are ints.

    ``make_range(0, 1, 0.25)`` -> ``[0.0, 0.25, 0.5, 0.75, 1.0]``; a negative step descends.

    Raises:
        ValueError: a step of zero or of the wrong sign, an absurd number of values, something that is no number.
    """
    by = 1 if step is None else step
    _check_numbers("range", lo, hi, by)
    if by == 0:
        raise ValueError("range: the step is 0")
    if (hi - lo) * by < 0:
        down = f"write range: [{lo}, {hi}, {-by}]"
        raise ValueError(f"range: a step of {by} does not lead from {lo} to {hi}: {down}")
    first, last, stride = exact(lo), exact(hi), exact(by)
    count = (last - first) // stride + 1
    if count > MAX_VALUES:
        raise ValueError(f"range: that would be {count:,} values; the most is {MAX_VALUES:,}")
    if isinstance(lo, int) and isinstance(hi, int) and isinstance(by, int):
        return list(range(lo, lo + by * count, by))
    scale = math.lcm(first.denominator, stride.denominator)
    start, stride_units = int(first * scale), int(stride * scale)
    values: list[Number] = [round_float((start + k * stride_units) / scale) for k in range(count)]
    values[0] = float(lo) or 0.0
    if first + (count - 1) * stride == last:
        values[-1] = float(hi) or 0.0
    _check_distinct("range", values)
    return values


def make_linspace(lo: Number, hi: Number, n: int) -> list[float]:
    """``n`` evenly spaced floats from lo to hi, both ends exact.

    Raises:
        ValueError: n is no whole number of at least 2 (1 where lo equals hi), lo equals hi, something is no number.
    """
    if _is_single("linspace", lo, hi, n):
        return [float(lo) or 0.0]
    first, width = exact(lo), exact(hi) - exact(lo)
    scale = math.lcm(first.denominator, width.denominator) * (n - 1)
    start, stride_units = int(first * scale), int(width * scale) // (n - 1)
    values = [round_float((start + k * stride_units) / scale) for k in range(n)]
    return _with_ends("linspace", lo, hi, values)


def make_geomspace(lo: Number, hi: Number, n: int) -> list[float]:
    """``n`` floats from lo to hi, each the same factor from the one before, both ends exact.

    Raises:
        ValueError: as ``make_linspace``, and where lo or hi is zero or they differ in sign.
    """
    _check_numbers("geomspace", lo, hi)
    if lo == 0 or hi == 0 or (lo < 0) != (hi < 0):
        raise ValueError(f"geomspace: no factor leads from {lo} to {hi}: both ends must be above zero, or both below")
    if _is_single("geomspace", lo, hi, n):
        return [float(lo)]
    sign = 1.0 if lo > 0 else -1.0
    low, high = math.log10(abs(lo)), math.log10(abs(hi))
    values = [sign * round_float(10.0 ** (low + (high - low) * (k / (n - 1)))) for k in range(n)]
    return _with_ends("geomspace", lo, hi, values)


def check_distribution(kind: str, numbers: Sequence[Any], step: Any = None) -> None:
    """Check the numbers of ``uniform: [lo, hi]``, ``loguniform: [lo, hi]`` or ``normal: [mu, sigma]``, and ``step:``.

    Raises:
        ValueError: what is wrong, beginning with the form's name.
    """
    if kind not in ("uniform", "loguniform", "normal"):
        raise ValueError(f"{kind} is no distribution: there are uniform, loguniform and normal")
    if len(numbers) != 2:
        pair = "[mu, sigma]" if kind == "normal" else "[lo, hi]"
        raise ValueError(f"{kind}: expected two numbers, {kind}: {pair}")
    _check_numbers(kind, *numbers)
    first, second = numbers
    if kind == "normal" and second <= 0:
        raise ValueError(f"normal: sigma must be above 0, not {second}")
    if kind == "loguniform" and first <= 0:
        raise ValueError(f"loguniform: lo must be above 0, not {first}")
    if kind != "normal" and first >= second:
        raise ValueError(f"{kind}: lo must be below hi, not {first} and {second}")
    if step is None:
        return
    _check_numbers(f"{kind}: step", step)
    if step <= 0:
        raise ValueError(f"{kind}: the step must be above 0, not {step}")
    if kind != "normal" and step > second - first:
        raise ValueError(f"{kind}: a step of {step} does not fit between {first} and {second}")


def exact(number: Number) -> Fraction:
    """The number as it is written: 0.1 is a tenth, not the double next to it."""
    return Fraction(number) if isinstance(number, int) else Fraction(repr(float(number)))


def _check_numbers(form: str, *numbers: Any) -> None:
    for number in numbers:
        if not is_number(number):
            raise ValueError(f"{form}: {number!r} is not a number")
        if isinstance(number, int) and abs(number) > 2**1000:
            raise ValueError(f"{form}: the number {str(number)[:20]}... is too large")


def _is_single(form: str, lo: Number, hi: Number, n: Any) -> bool:
    """Check the arguments; true when they are one value."""
    _check_numbers(form, lo, hi)
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"{form}: how many values must be a whole number of at least 1, not {n!r}")
    if n > MAX_VALUES:
        raise ValueError(f"{form}: that would be {n:,} values; the most is {MAX_VALUES:,}")
    if n == 1 and lo != hi:
        raise ValueError(f"{form}: one value cannot be both {lo} and {hi}: ask for 2 or more, or write the value itself")
    if n > 1 and lo == hi:
        raise ValueError(f"{form}: from {lo} to {hi} is one value, not {n}: write the value itself")
    return n == 1


def _with_ends(form: str, lo: Number, hi: Number, values: list[float]) -> list[float]:
    values[0], values[-1] = float(lo) or 0.0, float(hi) or 0.0
    _check_distinct(form, values)
    return values


def _check_distinct(form: str, values: Sequence[Number]) -> None:
    if any(a == b for a, b in pairwise(values)):
        raise ValueError(f"{form}: the values are too close together for 12 significant digits")
