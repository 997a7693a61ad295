"""What sacct says that jobs used, read. Pure.

The row of an allocation has its times and what was allocated; the rows of its steps (``654_2.batch``, ``654_2.0``) have the
memory, which slurmd looks at every half minute or so: of a step that was shorter there is nothing, or what the shell had that
started it.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace

from hpcsweep.model import Completed
from hpcsweep.schedulers.base import NoAnswer, Used
from hpcsweep.schedulers.slurm_answers import failure_of

USAGE_FIELDS = "JobID,JobName,State,ElapsedRaw,TotalCPU,MaxRSS,AllocTRES,Eligible,Start"
_NOT_ENDED = ("PENDING", "RUNNING", "REQUEUED", "SUSPENDED", "RESIZING")
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def read_usage(completed: Completed) -> list[Used] | NoAnswer:
    """Lines of ``USAGE_FIELDS``; what has not ended, or cannot be read, is left out."""
    if problem := failure_of("sacct", completed):
        return problem
    used: dict[str, Used] = {}
    for line in completed.stdout.split("\n"):
        fields = line.strip().split("|")
        match = re.fullmatch(r"([0-9]+(?:_[0-9]+)?)(\.\S+)?", fields[0], re.ASCII)
        if match is None or len(fields) != len(USAGE_FIELDS.split(",")):
            continue
        job, step = match[1], match[2]
        if step is None:
            if fields[2].startswith(_NOT_ENDED):
                used.pop(job, None)
            else:
                used[job] = _of_allocation(job, fields)
        elif job in used:
            peak = parse_size(fields[5])
            if peak and peak > (used[job].peak_bytes or 0):
                used[job] = replace(used[job], peak_bytes=peak)
    return list(used.values())


def _of_allocation(job: str, fields: list[str]) -> Used:
    _, tag, _, elapsed, cpu, _, allocated, eligible, start = fields
    tres = dict(re.findall(r"([^,=]+)=([^,]*)", allocated))
    gpus = [int(value) for name, value in tres.items() if name == "gres/gpu" and value.isascii() and value.isdigit()]
    cpus = tres.get("cpu", "")
    return Used(
        job=job,
        tag=tag,
        source="sacct",
        elapsed_s=float(elapsed) if re.fullmatch(r"[0-9]{1,12}", elapsed, re.ASCII) else None,
        cpu_s=parse_cpu_time(cpu),
        cpus=int(cpus) if re.fullmatch(r"[1-9][0-9]{0,8}", cpus, re.ASCII) else None,
        gpus=gpus[0] if gpus else None,
        wait_s=_between(eligible, start),
    )


def parse_cpu_time(text: str) -> float | None:
    """``1-02:03:04``, ``02:03:04``, ``00:12.500`` -> seconds. Nothing at all is what a job without steps has: None."""
    match = re.fullmatch(
        r"(?:([0-9]{1,6})-)?(?:([0-9]{1,6}):)?([0-9]{1,6}):([0-9]{1,6}(?:\.[0-9]{1,6})?)", text.strip(), re.ASCII
    )
    if match is None:
        return None
    days, hours, minutes = (int(part or 0) for part in match.groups()[:3])
    return (((days * 24) + hours) * 60 + minutes) * 60 + float(match[4]) or None


def parse_size(text: str) -> int | None:
    """``952K``, ``1.50G`` -> bytes. ``0`` and nothing: it was never looked at."""
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([KMGT]?)", text.strip(), re.ASCII)
    return round(float(match[1]) * _UNITS[match[2]]) or None if match else None


def _between(earlier: str, later: str) -> float | None:
    try:
        begin, end = (dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S") for text in (earlier, later))  # noqa: DTZ007 - one zone
    except ValueError:  # Unknown
        return None
    return max(0.0, (end - begin).total_seconds())
