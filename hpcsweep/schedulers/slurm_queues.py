"""What sinfo prints of partitions, read. Pure: text in, values out; no input raises."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpcsweep.model import Completed
from hpcsweep.schedulers.base import NoAnswer, Queue
from hpcsweep.schedulers.slurm_answers import failure_of, parse_elapsed

_WIDTH = 8
# a100:4(S:0-1): the sockets do not matter here.
_GPUS = re.compile(r"\bgpu:(?:(?P<kind>[^:,()]+):)?(?P<count>[0-9]+)\b", re.ASCII)
# man sinfo, "node state codes"; a `*` behind any of them: it does not respond.
_USABLE = frozenset({"alloc", "allocated", "idle", "mix", "mixed", "comp", "completing", "resv", "reserved", "plnd", "planned"})
_SLEEPING = re.compile(r"[~#%@^!$-]+$")  # powered down until it is needed, and the like


def read_sinfo(completed: Completed) -> list[Queue] | NoAnswer:
    """``main*|up|infinite|2|mix|gpu:fake:4|8|8000``: partition, its state, its limit; nodes, their state, GPUs, cpus, MB."""
    if problem := failure_of("sinfo", completed):
        return problem
    rows: dict[str, list[list[str]]] = {}
    for line in completed.stdout.split("\n"):
        fields = line.strip().split("|")
        if len(fields) == _WIDTH and fields[0]:  # else a site's greeting
            rows.setdefault(fields[0], []).append(fields)
    if completed.stdout.strip() and not rows:
        return NoAnswer(message=f"sinfo printed what cannot be read: {completed.stdout.strip()[:200]}")
    return [_read_partition(name, lines) for name, lines in rows.items()]


def _read_partition(name: str, rows: Sequence[Sequence[str]]) -> Queue:
    _, availability, limit, *_ = rows[0]
    nodes = [(int(count) if count.isdecimal() else 0, state) for _, _, _, count, state, *_ in rows]
    total, usable = sum(count for count, _ in nodes), sum(count for count, state in nodes if _is_usable(state))
    words = [
        f"{match['kind']}:{match['count']}" if match["kind"] else match["count"]
        for row in rows
        for match in _GPUS.finditer(row[5])
    ]
    limit_s = parse_elapsed(limit)
    sizes = dict.fromkeys(f"{cpus} cpus and {_in_gb(megabytes)}" for *_, cpus, megabytes in rows)
    counted = f"{total} node{'' if total == 1 else 's'} with {' or '.join(sizes)}"
    notes = [f"its state is {availability}"] if availability != "up" else []
    notes.append(counted if usable == total else f"{counted}, {usable or 'none'} of them usable")
    return Queue(
        name=name.removesuffix("*"),
        is_default=name.endswith("*"),
        is_open=availability == "up",
        time_limit_s=None if limit_s is None else int(limit_s),
        gpus=", ".join(dict.fromkeys(words)),
        note="; ".join(notes),
    )


def _is_usable(state: str) -> bool:
    return _SLEEPING.sub("", state) in _USABLE


def _in_gb(megabytes: str) -> str:
    """``8000`` -> ``8 GB``; ``8000+`` (of nodes that differ) -> ``8 GB or more``."""
    match = re.fullmatch(r"([0-9]{1,12})(\+?)", megabytes, re.ASCII)
    if match is None:
        return f"{megabytes} MB"
    return f"{round(int(match[1]) / 1000)} GB{' or more' if match[2] else ''}"
