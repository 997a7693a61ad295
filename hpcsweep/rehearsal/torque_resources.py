"""What a Torque server makes of ``-l``: values checked and written its way, and what they need of the machine. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpcsweep.rehearsal.jobs import Node, Queue
from hpcsweep.rehearsal.pbs_common import NodePart, clock, node_parts, seconds_of, size_of
from hpcsweep.rehearsal.torque_request import RefusalError

_TIMES = frozenset(["walltime", "cput", "pcput"])
_SIZES = frozenset(["mem", "pmem", "vmem", "pvmem", "file", "dmem", "epilogue"])
_NUMBERS = frozenset(["ncpus", "procs", "nice", "gpus", "mics", "size", "nodect", "procs_bitmap", "minwclimit"])
_TEXTS = frozenset(
    [
        "nodes",
        "neednodes",
        "select",
        "place",
        "arch",
        "host",
        "software",
        "other",
        "nodeset",
        "partition",
        "qos",
        "feature",
        "gres",
    ]
)
_WAYS_OF_GPUS = {"shared", "exclusive_thread", "exclusive_process", "prohibited", "default", "reseterr"}
_NO_FEASIBLE_NODES = (
    "Job exceeds queue resource limits MSG=cannot locate feasible nodes "
    "(nodes file is empty, all systems are busy, or no nodes have the requested feature)"
)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What one element takes: parts of nodes as ``-l nodes=`` counts them, or ``procs``, wherever they are.

    ``walltime_s`` None: as long as it likes.
    """

    parts: Sequence[NodePart]
    procs: int
    walltime_s: int | None

    @property
    def chunks(self) -> int:
        """In how many equal pieces it is placed."""
        return self.procs or max(1, sum(part.count for part in self.parts))

    @property
    def cpus_per_chunk(self) -> int:
        """All nodes of an element are taken to be like the largest."""
        return 1 if self.procs else max(part.ppn for part in self.parts)


DEFAULTS = {"walltime": "01:00:00", "nodes": "1"}
"""What a queue gives to jobs that ask for nothing, as Torque's own torque.setup makes it."""


def resource_list(asked: Mapping[str, str]) -> dict[str, str]:
    """``Resource_List`` as qstat shows it: what was asked for, then the queue's defaults, then how many nodes.

    >>> resource_list({"mem": "4G", "walltime": "90"})
    {'mem': '4gb', 'walltime': '00:01:30', 'nodes': '1', 'nodect': '1'}

    Raises:
        RefusalError: An unknown resource, or a value that is none.
    """
    found = {name: _value(name, text) for name, text in asked.items()}
    found.update({name: text for name, text in DEFAULTS.items() if name not in found})
    parts = node_parts(found.get("nodes", "1"))
    if parts is None:
        raise RefusalError("Illegal attribute or resource value for Resource_List.nodes", 168)
    return {**found, "nodect": str(sum(part.count for part in parts))}


def _value(name: str, text: str) -> str:
    if name in _TIMES:
        seconds = seconds_of(text)
        if seconds is not None:
            return clock(seconds)
    elif name in _SIZES:
        size = size_of(text)
        if size is not None:
            return f"{size[0]}{size[1]}"
    elif name in _NUMBERS:
        if text.lstrip("+-").isdecimal():
            return text
    elif name in _TEXTS:
        return text
    else:
        raise RefusalError(f"Unknown resource type  Resource_List.{name}", 189)
    raise RefusalError(f"Illegal attribute or resource value for Resource_List.{name}", 168)


def needs_of(resources: Mapping[str, str]) -> Needs:
    """What a ``Resource_List`` takes. ``ncpus``, ``select`` and memory count for nothing, as pbs_sched counts."""
    parts = node_parts(resources.get("nodes", "1")) or [NodePart()]
    # The queue's default of one node stands beside them.
    procs = int(resources.get("procs", "0")) if parts == [NodePart(count=1)] else 0
    return Needs(parts=parts, procs=max(0, procs), walltime_s=seconds_of(resources.get("walltime", "")))


def check_limits(needs: Needs, queue: Queue, nodes: Sequence[Node]) -> None:
    """Whether the queue and the machine can ever run it.

    Raises:
        RefusalError: They cannot.
    """
    if queue.max_walltime_s is not None and needs.walltime_s is not None and needs.walltime_s > queue.max_walltime_s:
        raise RefusalError("Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement", 190)
    for part in needs.parts:
        able = [node for node in nodes if node.cpus >= part.ppn and node.gpus >= part.gpus and _fits(node, part)]
        if len(able) < part.count:
            raise RefusalError(_NO_FEASIBLE_NODES, 190)
    if needs.procs > sum(node.cpus for node in nodes) or (not needs.procs and needs.chunks > len(nodes)):
        raise RefusalError(_NO_FEASIBLE_NODES, 190)


def _fits(node: Node, part: NodePart) -> bool:
    """Nodes have no properties but their names; other words tell how GPUs are used."""
    return {node.name} | _WAYS_OF_GPUS >= set(part.properties)
