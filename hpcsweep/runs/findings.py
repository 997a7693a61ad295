"""What is found wrong with a run's folder, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcsweep.ranges import format_ranges

MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be. ``is_damage`` False: a trace of something that went well in the end."""

    where: str  # relative to the run's folder
    problem: str
    trust: str  # what still holds
    cure: str
    is_damage: bool = True


def ranges_of(tasks: Sequence[int]) -> str:
    """``0-3,7``; of many the first ones."""
    ranges = format_ranges(tasks)
    return ranges if len(ranges) <= 80 else f"{ranges[:80].rpartition(',')[0]},... ({len(tasks)} in all)"


def names_of(names: Sequence[str]) -> str:
    """``a, b and 3 more``, with what cannot be printed quoted."""
    shown = ", ".join(repr(name) if not name.isprintable() else name for name in names[:MOST_NAMED])
    return shown + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
