"""Sets of element numbers as lists of ``range``: a hundred thousand that only wait take the room of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Indices = list[range]
"""In the order in which the elements are to start; no number is in two of them."""


def count(indices: Iterable[range]) -> int:
    """How many numbers there are."""
    return sum(len(part) for part in indices)


def each(indices: Iterable[range]) -> Iterator[int]:
    """All numbers, in order."""
    for part in indices:
        yield from part


def has(indices: Iterable[range], number: int) -> bool:
    """Whether one of the ranges holds ``number``."""
    return any(number in part for part in indices)


def take_first(indices: Indices) -> tuple[int, Indices]:
    """The first number, and the rest."""
    first, rest = indices[0], indices[1:]
    return first[0], [first[1:], *rest] if len(first) > 1 else rest


def subtract(indices: Iterable[range], taken: Iterable[range]) -> Indices:
    """What of ``indices`` is not in ``taken``, in the same order."""
    left = list(indices)
    for part in taken:
        if abs(part.step) == 1 or len(part) == 1:
            left = [piece for own in left for piece in _around(own, min(part[0], part[-1]), max(part[0], part[-1]))]
        else:
            for number in part:
                left = [piece for own in left for piece in _around(own, number, number)]
    return left


def intersect(indices: Iterable[range], wanted: Iterable[range]) -> Indices:
    """What of ``indices`` is in ``wanted`` too, in the order of ``indices``."""
    wanted = list(wanted)
    found: Indices = []
    for own in indices:
        hits: Indices = []
        for part in wanted:
            hits += subtract(_within(own, part), hits)
        found += sorted(hits, key=lambda piece: piece.start)
    return found


def _within(part: range, wanted: range) -> Indices:
    """What of an ascending range is in another one."""
    if abs(wanted.step) != 1 and len(wanted) > 1:
        return [range(number, number + 1) for number in sorted(wanted) if number in part]
    low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
    first = max(0, -((part.start - low) // part.step))
    after = max(0, (high - part.start) // part.step + 1)
    return [piece for piece in (part[first:after],) if piece]


def _around(part: range, low: int, high: int) -> Indices:
    """What of an ascending range lies outside of low..high."""
    first = max(0, -((part.start - low) // part.step))  # the position of the first number that is >= low
    after = max(0, (high - part.start) // part.step + 1)
    return [piece for piece in (part[:first], part[max(first, after) :]) if piece]


def parse(text: str) -> Indices:
    """``"0-9:2,12"`` -> ``[range(0, 10, 2), range(12, 13)]``.

    Raises:
        ValueError: it is something else, or a range that goes down.
    """
    found: Indices = []
    for word in text.split(","):
        bounds, _, step = word.partition(":")
        first, _, last = bounds.partition("-")
        if not all(piece.isascii() and piece.isdigit() for piece in (first, last or first, step or "1")) or word[-1:] in (
            "-",
            ":",
        ):
            raise ValueError(text)
        part = range(int(first), int(last or first) + 1, int(step or 1))
        if not part:
            raise ValueError(text)
        found.append(part)
    return found


def pack(numbers: Iterable[int]) -> Indices:
    """Numbers, in their order, as ranges of neighbours."""
    found: Indices = []
    for number in numbers:
        if found and number == found[-1].stop:
            found[-1] = range(found[-1].start, number + 1)
        else:
            found.append(range(number, number + 1))
    return found


def text_of(indices: Iterable[range]) -> str:
    """``"0-9,12,14-15"``, as the schedulers write sets of numbers: a step above 1 becomes single numbers."""
    pieces = (piece for part in indices for piece in ([part] if part.step == 1 else pack(part)))
    return ",".join(str(piece[0]) if len(piece) == 1 else f"{piece[0]}-{piece[-1]}" for piece in pieces)


def to_plain(indices: Iterable[range]) -> list[list[int]]:
    """What ``from_plain`` reads, for JSON."""
    return [[part.start, part.stop, part.step] for part in indices]


def from_plain(plain: Iterable[Iterable[int]]) -> Indices:
    """The ranges that ``to_plain`` wrote."""
    return [range(*part) for part in plain]
