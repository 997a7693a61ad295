"""What tasks used of what they asked for: figures of attempts, summed by group, and what to ask for next time. Pure.

A figure may come from the task's own record (``task``) and from the scheduler's (``sacct``, ``qstat``). Neither can see more
than was used: a runner does not see what ``srun`` starts, and a scheduler that looks every half minute does not see a peak
between two looks. So of CPU time and memory the larger figure counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hpcsweep.model import Request
from hpcsweep.schedulers.base import Used
from hpcsweep.states import State

MIB = 1024**2
MOST_EXACT = "cgroup"
"""The kernel's own count of the peak: nothing was missed between two looks. It has what the kernel keeps of files, too."""

_WORD = re.compile(r"(cpu_s|peak_bytes|rss_bytes|from)=(\S+)")


@dataclass(frozen=True, kw_only=True)
class OwnRecord:
    """What the runner wrote of an attempt. ``rss_bytes``: what its processes held, where ``peak_bytes`` is the cgroup's."""

    cpu_s: float | None = None
    peak_bytes: int | None = None
    peak_from: str = ""
    rss_bytes: int | None = None


NOTHING = OwnRecord()


def parse_own_record(text: str) -> OwnRecord:
    """An event file, of which the line ``usage cpu_s=12.340 peak_bytes=123456 from=proc`` is read; it may not be there."""
    line = next((line for line in text.split("\n") if line.startswith("usage ")), "")
    words: dict[str, str] = dict(_WORD.findall(line))
    peak = _whole(words.get("peak_bytes"))
    return OwnRecord(
        cpu_s=float(words["cpu_s"]) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", words.get("cpu_s", ""), re.ASCII) else None,
        peak_bytes=peak,
        peak_from=words.get("from", "proc") if peak else "",
        rss_bytes=_whole(words.get("rss_bytes")),
    )


def _whole(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[1-9][0-9]{0,17}", text, re.ASCII) else None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt that began: what it had, and what it used. None: nobody knows.

    ``cpus`` are all cores and ``gpus`` all GPUs that it kept from others, on all nodes. ``is_counted``: it is the one whose
    results count. ``sources`` of the figures: ``task``, ``sacct``, ``qstat``.
    """

    task: int
    attempt: int
    state: State
    request: Request
    cpus: int
    gpus: float
    is_counted: bool
    elapsed_s: float | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None
    peak_from: str = ""
    rss_bytes: int | None = None
    wait_s: float | None = None
    sources: tuple[str, ...] = ()

    @property
    def core_s(self) -> float:
        """Core-seconds that it kept."""
        return self.cpus * (self.elapsed_s or 0.0)

    @property
    def gpu_s(self) -> float:
        """GPU-seconds that it kept."""
        return self.gpus * (self.elapsed_s or 0.0)

    @property
    def busy(self) -> float | None:
        """How many cores it kept busy, on average."""
        return self.cpu_s / self.elapsed_s if self.cpu_s is not None and self.elapsed_s else None


def cpus_of(request: Request) -> int:
    """All cores that a task asks for, on all its nodes; where it asks for none, one."""
    return (request.cpus or 1) * (request.tasks_per_node or 1) * (request.nodes or 1)


def gpus_of(request: Request) -> float:
    """All GPUs that a task asks for, on all its nodes."""
    return (request.gpus or 0) * (request.nodes or 1)


def join(attempt: Attempt, own: OwnRecord, used: Used | None) -> Attempt:
    """An attempt with its figures. ``used`` is the scheduler's record of its element, if it had that to itself."""
    sources = ("task",) if own.cpu_s is not None or own.peak_bytes is not None else ()
    joined = replace(
        attempt,
        cpu_s=own.cpu_s,
        peak_bytes=own.peak_bytes,
        peak_from=own.peak_from,
        rss_bytes=own.rss_bytes,
        sources=sources,
    )
    if used is None:
        return joined
    if used.peak_bytes is not None and used.peak_bytes > (own.peak_bytes or 0):
        joined = replace(joined, peak_bytes=used.peak_bytes, peak_from=used.source, rss_bytes=None)
    elif used.peak_bytes is not None and own.peak_from == MOST_EXACT:
        joined = replace(joined, rss_bytes=max(used.peak_bytes, own.rss_bytes or 0))
    cpu_s = max((value for value in (own.cpu_s, used.cpu_s) if value is not None), default=None)
    return replace(
        joined,
        cpu_s=cpu_s,
        elapsed_s=used.elapsed_s if attempt.elapsed_s is None else attempt.elapsed_s,
        cpus=used.cpus or attempt.cpus,
        gpus=attempt.gpus if used.gpus is None else used.gpus,
        wait_s=attempt.wait_s if used.wait_s is None else used.wait_s,
        sources=(*sources, used.source),
    )


@dataclass(frozen=True, kw_only=True)
class Sum:
    """The figures of some attempts. ``core_h`` and ``gpu_h`` are of all of them, ``uncounted_core_h`` of those that did not count.

    Times and peaks: the largest (``elapsed_max_s``, ``peak_bytes``) is of all attempts, the median of those that counted.
    ``cpu_share`` is CPU time in proportion to what the cores could have given, of the attempts whose CPU time is known.
    """

    tasks: int
    attempts: int
    uncounted_attempts: int
    core_h: float
    gpu_h: float
    uncounted_core_h: float
    uncounted_gpu_h: float
    cpu_s: float | None
    cpu_share: float | None
    elapsed_s: float | None
    elapsed_max_s: float | None
    peak_bytes: int | None
    peak_median_bytes: int | None
    wait_s: float | None
    sources: tuple[str, ...]


def add_up(attempts: Sequence[Attempt]) -> Sum:
    """Sum some attempts."""
    lost = [one for one in attempts if not one.is_counted]
    counted = [one for one in attempts if one.is_counted] or attempts
    measured = [one for one in attempts if one.cpu_s is not None and one.core_s]
    could_s = sum(one.core_s for one in measured)
    cpu_s = [one.cpu_s for one in attempts if one.cpu_s is not None]
    peak = median(one.peak_bytes for one in counted)
    return Sum(
        tasks=len({one.task for one in attempts}),
        attempts=len(attempts),
        uncounted_attempts=len(lost),
        core_h=sum(one.core_s for one in attempts) / 3600,
        gpu_h=sum(one.gpu_s for one in attempts) / 3600,
        uncounted_core_h=sum(one.core_s for one in lost) / 3600,
        uncounted_gpu_h=sum(one.gpu_s for one in lost) / 3600,
        cpu_s=sum(cpu_s) if cpu_s else None,
        cpu_share=sum(one.cpu_s or 0.0 for one in measured) / could_s if could_s else None,
        elapsed_s=median(one.elapsed_s for one in counted),
        elapsed_max_s=max((one.elapsed_s for one in attempts if one.elapsed_s is not None), default=None),
        peak_bytes=max((one.peak_bytes for one in attempts if one.peak_bytes is not None), default=None),
        peak_median_bytes=None if peak is None else round(peak),
        wait_s=median(one.wait_s for one in attempts),
        sources=tuple(dict.fromkeys(source for one in attempts for source in one.sources)),
    )


def median(values: Iterable[float | None]) -> float | None:
    """The median of what is known; None where nothing is."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    middle = len(known) // 2
    return known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
