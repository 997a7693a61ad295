"""Sets of numbers as people and schedulers write them: ``0-9,12``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MOST_NUMBERS = 10_000_000
"""In one range: more than any run has, and what no memory holds is refused before it is tried."""


def format_ranges(numbers: Iterable[int]) -> str:
    """``[0, 1, 2, 5]`` -> ``"0-2,5"`` (sorted, without repeats)."""
    if isinstance(numbers, range) and numbers.step == 1 and numbers:
        return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
    parts: list[str] = []
    ordered = sorted(set(numbers))
    start = previous = None
    for number in [*ordered, None]:
        if start is not None and previous is not None and number != previous + 1:
            parts.append(str(start) if start == previous else f"{start}-{previous}")
            start = None
        if start is None:
            start = number
        previous = number
    return ",".join(parts)


def parse_ranges(text: str) -> Iterator[int]:
    """``"0-2,5"`` -> 0, 1, 2, 5; the empty text is the empty set.

    Raises:
        ValueError: for anything else, with the part that is wrong.
    """
    for part in text.split(",") if text else []:
        first, dash, last = part.strip().partition("-")
        if not first.isascii() or not first.isdigit() or (dash and not (last.isascii() and last.isdigit())):
            raise ValueError(f"{part.strip()!r} is not a number or a range like 3-7")
        low, high = int(first), int(last or first)
        if high < low:
            raise ValueError(f"{part.strip()!r} runs backwards")
        if high - low >= MOST_NUMBERS:
            raise ValueError(f"{part.strip()!r} is more than {MOST_NUMBERS:,} numbers")
        yield from range(low, high + 1)
