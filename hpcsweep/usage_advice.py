"""What to ask for next time, from what attempts used. Pure.

Whoever follows it must not be worse off: never less than what was seen, with head room, rounded up, and only where enough
tasks say so. One task that was at its limit is enough to ask for more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hpcsweep.model import Request
from hpcsweep.states import State
from hpcsweep.sweepfile.units import format_memory, format_time
from hpcsweep.usage import MIB, MOST_EXACT, Attempt, quantile

LEAST_TASKS = 5
"""Fewer tasks that worked say nothing of those to come."""

HEAD_ROOM = 1.25
UNSEEN_HEAD_ROOM = 1.5
"""For peaks that were found by looking now and then: there may have been higher ones in between."""

TIME_HEAD_ROOM = 1.5
WORTH_IT = 0.75
"""Less is advised only where it is at most this share of what is asked for."""

NEAR = 0.9
"""From this share of what is asked for on, it is close."""

_LEAST_ELAPSED_S = 5
_LEAST_BUSY = 0.1
_GIB = 1024 * MIB
_MEMORY_STEPS = ((_GIB, 256 * MIB), (4 * _GIB, 512 * MIB), (16 * _GIB, _GIB), (64 * _GIB, 4 * _GIB), (math.inf, 16 * _GIB))
_TIME_STEPS = ((3600, 300), (6 * 3600, 900), (24 * 3600, 3600), (math.inf, 6 * 3600))


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One line for the user. ``value``: what to ask for, bytes, seconds or cores; ``tasks``: how many it rests on."""

    about: Literal["memory", "time", "cpus"]
    text: str
    tasks: int
    value: int | None = None


def advise(request: Request, attempts: Sequence[Attempt]) -> list[Advice]:
    """What attempts that all asked for the same say of it."""
    found = (_advise_memory(request, attempts), _advise_time(request, attempts), _advise_cpus(request, attempts))
    return [advice for advice in found if advice is not None]


def round_up_memory(size_bytes: float) -> int:
    """``1.4G`` -> ``1.5G``: to an amount that people write."""
    return _round_up(size_bytes, _MEMORY_STEPS)


def round_up_time(seconds: float) -> int:
    """``16m30s`` -> ``20m``: to a time that people write."""
    return _round_up(seconds, _TIME_STEPS)


def memory_to_ask(attempts: Sequence[Attempt]) -> int | None:
    """Bytes that would have been enough for all of them, with head room; None where no peak is known."""
    needed = [one.peak_bytes * _head_room(one) for one in attempts if one.peak_bytes is not None]
    return round_up_memory(max(needed)) if needed else None


def time_to_ask(attempts: Sequence[Attempt]) -> int | None:
    """Seconds that would have been enough for all of them, with head room."""
    elapsed = [one.elapsed_s for one in attempts if one.elapsed_s is not None]
    return round_up_time(max(elapsed) * TIME_HEAD_ROOM) if elapsed else None


def cpus_to_ask(attempts: Sequence[Attempt]) -> int | None:
    """Cores that the busiest of them kept busy on average; a tenth of one more is no reason for another."""
    busy = [one.busy for one in attempts if one.busy is not None]
    return max(1, math.ceil(max(busy) - 0.1)) if busy else None


def _round_up(number: float, steps: Sequence[tuple[float, int]]) -> int:
    step = next(step for limit, step in steps if number <= limit)
    return max(1, math.ceil(number / step)) * step


def _head_room(attempt: Attempt) -> float:
    return HEAD_ROOM if attempt.peak_from == MOST_EXACT else UNSEEN_HEAD_ROOM


def _is_peak_known(attempt: Attempt) -> bool:
    """Whether the peak is that of the whole program: what ``srun`` or a daemon started for it, the runner does not see."""
    return attempt.peak_bytes is not None and (attempt.peak_from == MOST_EXACT or (attempt.busy or 0.0) >= _LEAST_BUSY)


def _advise_memory(request: Request, attempts: Sequence[Attempt]) -> Advice | None:
    asked = request.memory_bytes
    if not asked or (request.nodes or 1) > 1:
        return None
    ended_so = [one for one in attempts if one.state is State.OOM]
    if ended_so:
        more = round_up_memory(asked * HEAD_ROOM)
        text = f"ask for more than {format_memory(asked)}, {format_memory(more)} or so: {_tasks(ended_so)} ran out of memory"
        return Advice(about="memory", text=text, tasks=_count(ended_so), value=more)
    near = [one for one in attempts if _held_bytes(one) >= NEAR * asked]
    if near:
        peak = max(map(_held_bytes, near))
        more = max(round_up_memory(peak * HEAD_ROOM), round_up_memory(asked * 1.01))
        text = (
            f"ask for {format_memory(more)} instead of {format_memory(asked)}: "
            f"the peak of {_tasks(near)} is at {100 * peak / asked:.0f}% of what was asked for"
        )
        return Advice(about="memory", text=text, tasks=_count(near), value=more)
    known = [one for one in attempts if one.is_counted and _is_peak_known(one)]
    enough = memory_to_ask(attempts)
    if enough is None or _count(known) < LEAST_TASKS or enough > WORTH_IT * asked or _is_multi_rank(request, known):
        return None
    peaks = [one.peak_bytes or 0 for one in known]
    most, most_of_them = max(peaks), quantile(peaks, 0.99)
    said = f"the largest peak of {_tasks(known)} was {_rounded(most)}"
    if most_of_them < WORTH_IT * most:
        said += f" (99% of them stayed below {_rounded(most_of_them)})"
    text = f"ask for {format_memory(enough)} instead of {format_memory(asked)}: {said}"
    return Advice(about="memory", text=text, tasks=_count(known), value=enough)


def _held_bytes(attempt: Attempt) -> float:
    """What it held for certain: in a cgroup's peak there are files, which the kernel gives up where there is no room."""
    if attempt.peak_from == MOST_EXACT:
        return float(min(attempt.rss_bytes or 0, attempt.peak_bytes or 0))
    return float(attempt.peak_bytes or 0)


def _is_multi_rank(request: Request, attempts: Sequence[Attempt]) -> bool:
    """Whether the peaks may be those of single ranks."""
    return (request.tasks_per_node or 1) > 1 and any(one.peak_from != MOST_EXACT for one in attempts)


def _advise_time(request: Request, attempts: Sequence[Attempt]) -> Advice | None:
    asked = request.time_limit_s
    if not asked:
        return None
    cut_off = [one for one in attempts if one.state is State.TIMEOUT]
    if cut_off:
        text = f"ask for more than {format_time(asked)}: {_tasks(cut_off)} reached the time limit"
        return Advice(about="time", text=text, tasks=_count(cut_off))
    counted = [one for one in attempts if one.is_counted and one.elapsed_s is not None]
    enough = time_to_ask(counted)
    if enough is None:
        return None
    longest = max(one.elapsed_s or 0.0 for one in counted)
    if longest >= NEAR * asked:
        text = (
            f"ask for {format_time(max(enough, asked))} instead of {format_time(asked)}: "
            f"the longest of {_tasks(counted)} took {100 * longest / asked:.0f}% of it"
        )
        return None if enough <= asked else Advice(about="time", text=text, tasks=_count(counted), value=enough)
    if _count(counted) < LEAST_TASKS or enough > WORTH_IT * asked:
        return None
    text = (
        f"ask for {format_time(enough)} instead of {format_time(asked)}: "
        f"the longest of {_tasks(counted)} took {format_time(longest)}"
    )
    return Advice(about="time", text=text, tasks=_count(counted), value=enough)


def _advise_cpus(request: Request, attempts: Sequence[Attempt]) -> Advice | None:
    asked = request.cpus or 1
    if (request.nodes or 1) > 1 or (request.tasks_per_node or 1) > 1:
        return None
    known = [
        one
        for one in attempts
        if one.is_counted and (one.elapsed_s or 0.0) >= _LEAST_ELAPSED_S and (one.busy or 0.0) >= _LEAST_BUSY
    ]
    enough = cpus_to_ask(known)
    if enough is None or _count(known) < LEAST_TASKS:
        return None
    busy = [one.busy or 0.0 for one in known]
    if enough < asked:
        text = f"ask for {_cpus(enough)} instead of {asked}: {_tasks(known)} kept {max(busy):.1f} busy at most"
        return Advice(about="cpus", text=text, tasks=_count(known), value=enough)
    usual = quantile(busy, 0.5)
    if usual >= asked + 0.5:
        enough = math.ceil(usual - 0.1)
        text = (
            f"ask for {_cpus(enough)} instead of {asked}, or let the program start fewer threads: "
            f"{_tasks(known)} kept {usual:.1f} busy"
        )
        return Advice(about="cpus", text=text, tasks=_count(known), value=enough)
    return None


def _count(attempts: Sequence[Attempt]) -> int:
    return len({one.task for one in attempts})


def _tasks(attempts: Sequence[Attempt]) -> str:
    many = _count(attempts)
    return f"{many} task{'s' if many > 1 else ''}"


def _cpus(many: int) -> str:
    return f"{many} cpu{'s' if many > 1 else ''}"


def _rounded(size_bytes: float) -> str:
    """``1503238554`` -> ``1.4G``, for the eye."""
    return f"{size_bytes / _GIB:.1f}G" if size_bytes >= _GIB else f"{math.ceil(size_bytes / MIB)}M"
