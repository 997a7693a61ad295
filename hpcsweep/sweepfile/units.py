"""Times and amounts of memory as people write them, and back.

A bare number is refused everywhere: 30 means minutes to one scheduler and seconds to the next.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from hpcsweep.errors import HpcsweepError

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_BYTES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4, "p": 1024**5}
_LONGEST_TEXT = 60
_LONGEST_TIME_S = 3650 * 86400
_MOST_MEMORY_BYTES = 1024**6

_UNITS = re.compile(
    r"(?:(?P<d>\d+(?:\.\d+)?)\s*d)?\s*(?:(?P<h>\d+(?:\.\d+)?)\s*h)?\s*"
    r"(?:(?P<m>\d+(?:\.\d+)?)\s*m(?:in)?)?\s*(?:(?P<s>\d+(?:\.\d+)?)\s*s)?",
    re.ASCII | re.IGNORECASE,
)
_CLOCK = re.compile(r"(?:(?P<d>\d+)-)?(?P<h>\d+)(?::(?P<m>\d+))?(?::(?P<s>\d+))?", re.ASCII)
_MEMORY = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmgtp]?)(?P<bytes>i?b)?", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?", re.ASCII)

TIME_EXAMPLES = "90m, 1h30m, 2d, 01:30:00 or 1-12:00:00"
MEMORY_EXAMPLES = "8G, 500M or 1.5T"


class UnitError(HpcsweepError):
    """A text that is no time or no amount of memory."""


def parse_time(text: str) -> int:
    """Seconds of ``90m``, ``1h30m``, ``1.5h``, ``2d``, ``01:30:00``, ``1-12:00:00`` or ``1-12`` (days-hours).

    Parts of a second are rounded up. ``24:00`` is refused: minutes to Slurm, hours to people.

    Raises:
        UnitError: the text is no time, a bare number, zero, or longer than ten years.
    """
    written = text.strip()
    if _NUMBER.fullmatch(written):
        raise UnitError(f"the time `{text}` has no unit", f"write {written}m or {written}s")
    if len(written) > _LONGEST_TEXT:
        raise UnitError(f"`{written[:_LONGEST_TEXT]}...` is no time", f"write it like {TIME_EXAMPLES}")
    if match := _UNITS.fullmatch(written):
        seconds = math.ceil(sum(Fraction(part) * _SECONDS[unit] for unit, part in match.groupdict().items() if part))
    elif match := _CLOCK.fullmatch(written):
        seconds = _clock_seconds(match, text)
    else:
        raise UnitError(f"`{text}` is no time", f"write it like {TIME_EXAMPLES}")
    if not written or seconds <= 0:
        raise UnitError(f"the time `{text}` is not longer than zero", f"write it like {TIME_EXAMPLES}")
    if seconds > _LONGEST_TIME_S:
        raise UnitError(f"the time `{text}` is longer than ten years", "leave `time` out for the site's own limit")
    return seconds


def _clock_seconds(match: re.Match[str], text: str) -> int:
    days, hours, minutes, seconds = match.group("d", "h", "m", "s")
    if days is None and seconds is None:
        raise UnitError(f"`{text}` could be hours or minutes", f"write {hours}:{minutes}:00 or 0:{hours}:{minutes}")
    if int(minutes or 0) > 59 or int(seconds or 0) > 59 or (days is not None and int(hours) > 23):
        raise UnitError(f"`{text}` is no time of the clock", f"write it like {TIME_EXAMPLES}")
    return int(days or 0) * 86400 + int(hours) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)


def format_time(seconds: float) -> str:
    """``5400`` as ``1h30m``; what ``parse_time`` reads back. Parts of a second are rounded up."""
    rest = math.ceil(seconds)
    text = ""
    for unit, size in _SECONDS.items():
        if rest >= size:
            text += f"{rest // size}{unit}"
            rest %= size
    return text or "0s"


def parse_memory(text: str) -> int:
    """Bytes of ``8G``, ``500M``, ``1.5T``; ``8GB`` and ``8GiB`` are the same.

    K, M, G, T, P are powers of 1024, as Slurm and PBS read them. Parts of a byte are rounded up.

    Raises:
        UnitError: the text is no amount of memory, a bare number, zero, or more than an exabyte.
    """
    written = text.strip()
    match = _MEMORY.fullmatch(written) if len(written) <= _LONGEST_TEXT else None
    if _NUMBER.fullmatch(written):
        raise UnitError(f"the amount `{text}` has no unit", f"write {written}G or {written}M")
    if not match or ((match["bytes"] or "").lower() == "ib" and not match["unit"]):
        raise UnitError(f"`{text}` is no amount of memory", f"write it like {MEMORY_EXAMPLES}")
    amount = math.ceil(Fraction(match["number"]) * _BYTES[match["unit"].lower()])
    if amount == 0:
        raise UnitError(f"the amount `{text}` is zero", f"write it like {MEMORY_EXAMPLES}, or leave it out")
    if amount > _MOST_MEMORY_BYTES:
        raise UnitError(f"the amount `{text}` is more than any machine has", f"write it like {MEMORY_EXAMPLES}")
    return amount


def format_memory(size_bytes: int) -> str:
    """``8589934592`` as ``8G``; exact, so that ``parse_memory`` reads the same number back."""
    for unit in ("p", "t", "g", "m", "k"):
        if size_bytes and size_bytes % _BYTES[unit] == 0:
            return f"{size_bytes // _BYTES[unit]}{unit.upper()}"
    return f"{size_bytes}B"
