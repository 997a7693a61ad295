"""OpenPBS's resources: what ``-l`` means for the nodes, and how it is written in a job's ``Resource_List``. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hpcsweep.rehearsal.openpbs_options import RefusalError
from hpcsweep.rehearsal.pbs_common import clock, kilobytes_of, node_parts, seconds_of, size_of

_TIMES = frozenset({"walltime", "cput", "pcput", "min_walltime", "max_walltime", "soft_walltime"})
_SIZES = frozenset({"mem", "vmem", "pmem", "pvmem", "file"})
_NUMBERS = frozenset({"ncpus", "ngpus", "mpiprocs", "ompthreads", "nice", "nodect", "naccelerators"})
_WORDS = frozenset({"select", "place", "nodes", "arch", "host", "vnode", "software", "accelerator_model", "preempt_targets"})
_OF_CHUNKS = frozenset({"ncpus", "ngpus", "mpiprocs", "ompthreads", "mem", "vmem", "naccelerators"})
"""Those that cannot stand beside ``select``."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a job asks of the nodes, and its list of resources as it is shown."""

    listed: Mapping[str, str | int]
    chunks: int
    cpus: int
    gpus: int
    memory_kb: int
    chunk_text: str
    """What follows the node in ``exec_vnode``: ``ncpus=1:mem=102400kb``."""
    walltime_s: float | None
    scatter: bool


def read_resources(asked: Mapping[str, str]) -> Resources:
    """What the options ``-l`` ask for.

    Raises:
        RefusalError: as the server says it.
    """
    for name, value in asked.items():
        _check(name, value)
    beside = next((name for name in asked if name in _OF_CHUNKS), None)
    if "select" in asked or "place" in asked:
        if beside is not None:
            message = f'qsub: "-lresource=" cannot be used with "select" or "place", resource is: {beside}\n'
            raise RefusalError(message, 5, takes_number=True)
        if "nodes" in asked:
            raise RefusalError("qsub: Cannot be used with select or place: nodes\n", 6, takes_number=True)
    select, place = _select_of(asked)
    chunks = [_read_chunk(text) for text in select.split("+")]
    listed: dict[str, str | int] = {
        name: _shown(name, value) for name, value in asked.items() if name not in ("select", "place") and name not in _OF_CHUNKS
    }
    for name in ("mem", "vmem", "ncpus", "ngpus", "mpiprocs"):
        total = _total(chunks, name)
        if total is not None:
            listed[name] = total
    listed |= {"nodect": sum(many for many, _ in chunks), "place": place, "select": select}
    first = chunks[0][1]
    return Resources(
        listed=dict(sorted(listed.items())),
        chunks=sum(many for many, _ in chunks),
        cpus=max(int(chunk.get("ncpus", "1")) for _, chunk in chunks),
        gpus=max(int(chunk.get("ngpus", "0")) for _, chunk in chunks),
        memory_kb=max(kilobytes_of(chunk.get("mem", "0")) or 0 for _, chunk in chunks),
        chunk_text=":".join(
            f"{name}={_in_kb(name, value)}" for name, value in first.items() if name in ("ncpus", "mem", "ngpus")
        ),
        walltime_s=seconds_of(asked["walltime"]) if "walltime" in asked else None,
        scatter=place.startswith("scatter"),
    )


def _check(name: str, value: str) -> None:
    if name not in _TIMES | _SIZES | _NUMBERS | _WORDS:
        raise RefusalError(f"qsub: Unknown resource Resource_List.{name}\n", 187, takes_number=True)
    is_right = (
        seconds_of(value) is not None
        if name in _TIMES
        else size_of(value) is not None
        if name in _SIZES
        else re.fullmatch(r"[0-9]+", value) is not None
        if name in _NUMBERS
        else bool(value)
    )
    if not is_right or (name == "nodes" and node_parts(value) is None):
        raise RefusalError(f"qsub: Illegal attribute or resource value Resource_List.{name}\n", 166)


def _select_of(asked: Mapping[str, str]) -> tuple[str, str]:
    """The select and place that a job has, whatever it asked with."""
    if "select" in asked:
        pieces = [_with_cpus(piece) for piece in asked["select"].split("+")]
        return "+".join(pieces), asked.get("place", "free")
    if "nodes" in asked:
        parts = node_parts(asked["nodes"]) or []
        return "+".join(f"{part.count}:ncpus={part.ppn}:mpiprocs={part.ppn}" for part in parts), "scatter"
    own = [f"{name}={_shown(name, asked[name])}" for name in sorted(_OF_CHUNKS) if name in asked and name != "ncpus"]
    return ":".join(["1", *own, f"ncpus={asked.get('ncpus', '1')}"]), asked.get("place", "pack")


def _with_cpus(piece: str) -> str:
    """A chunk with its count and its cpus, which the server adds where they are missing."""
    words = piece.split(":")
    words = words if words[0].isdigit() else ["1", *words]
    return ":".join(words if any(word.startswith("ncpus=") for word in words) else [*words, "ncpus=1"])


def _read_chunk(text: str) -> tuple[int, dict[str, str]]:
    many, *words = text.split(":")
    chunk = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in _TIMES | _SIZES | _NUMBERS | _WORDS:
            raise RefusalError(f"qsub: Unknown resource: {name}\n", 187, takes_number=True)
        if (name in _SIZES and size_of(value) is None) or (name in _NUMBERS and not value.isdigit()):
            raise RefusalError("qsub: Illegal attribute or resource value Resource_List.select\n", 166)
        chunk[name] = value
    return int(many), chunk


def _total(chunks: list[tuple[int, dict[str, str]]], name: str) -> str | int | None:
    """The sum over all chunks, as the server writes it."""
    having = [(many, chunk[name]) for many, chunk in chunks if name in chunk]
    if not having:
        return None
    if name not in _SIZES:
        return sum(many * int(value) for many, value in having)
    if len(having) == 1 and having[0][0] == 1:
        return _shown(name, having[0][1])
    return largest_unit(f"{sum(many * (kilobytes_of(value) or 0) for many, value in having)}kb")


def _shown(name: str, value: str) -> str | int:
    """A value as the server writes it."""
    if name in _TIMES:
        return clock(seconds_of(value) or 0)
    if name in _NUMBERS:
        return int(value)
    if name in _SIZES:
        number, unit = size_of(value) or (0, "b")
        return f"{number}{unit}"
    return value


def _in_kb(name: str, value: str) -> str:
    return f"{kilobytes_of(value)}kb" if name in _SIZES else value


def largest_unit(text: str) -> str:
    """``102400kb`` -> ``100mb``: the largest unit without a remainder."""
    match = re.fullmatch(r"([0-9]+)([kmgt]?b)", text)
    if match is None:
        return ""
    number, unit = int(match[1]), match[2]
    order = ["b", "kb", "mb", "gb", "tb"]
    while number and number % 1024 == 0 and unit != "tb":
        number, unit = number // 1024, order[order.index(unit) + 1]
    return f"{number}{unit}"
