"""What is free on the nodes, and what fits where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hpcsweep.rehearsal.jobs import Element, Node, Request

Placed = list[tuple[str, int, list[int]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortage:
    """A resource of which more is asked for than there is."""

    resource: str
    """``cpus``, ``gpus``, ``memory`` (bytes) or ``nodes``."""
    requested: int
    total: int


class Room:
    """The nodes with what is used of them."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = list(nodes)
        self.down: set[str] = set()
        self._cpus = {node.name: node.cpus for node in self.nodes}
        self._gpus = {node.name: list(range(node.gpus)) for node in self.nodes}
        self._memory = {node.name: node.memory_bytes for node in self.nodes}

    def has_free_cpu(self) -> bool:
        """Whether anything at all could start."""
        return any(self._cpus[node.name] > 0 for node in self.nodes if node.name not in self.down)

    def free_cpus(self, name: str) -> int:
        """How many cpus of a node nobody uses."""
        return self._cpus[name]

    def find(self, request: Request) -> Placed | None:
        """Where an element fits now; None when it does not."""
        chosen: dict[str, int] = {}
        for _ in range(request.chunks):
            name = next((node.name for node in self.nodes if self._fits(node, request, chosen)), None)
            if name is None:
                return None
            chosen[name] = chosen.get(name, 0) + 1
        return [(name, many * request.cpus, self._gpus[name][: many * request.gpus]) for name, many in chosen.items()]

    def _fits(self, node: Node, request: Request, chosen: dict[str, int]) -> bool:
        many = chosen.get(node.name, 0) + 1
        if node.name in self.down or (request.scatter and many > 1):
            return False
        memory = self._memory[node.name]
        return (
            many * request.cpus <= self._cpus[node.name]
            and many * request.gpus <= len(self._gpus[node.name])
            and (memory is None or many * request.memory_bytes <= memory)
        )

    def take(self, request: Request, element: Element) -> None:
        """Use what the element was given."""
        for name, cpus, gpus in element.placed:
            self._cpus[name] -= cpus
            self._gpus[name] = [gpu for gpu in self._gpus[name] if gpu not in gpus]
            self._add_memory(request, name, cpus, -1)

    def free(self, request: Request, element: Element) -> None:
        """Give back what the element was given."""
        for name, cpus, gpus in element.placed:
            self._cpus[name] += cpus
            self._gpus[name] = sorted([*self._gpus[name], *gpus])
            self._add_memory(request, name, cpus, 1)

    def _add_memory(self, request: Request, name: str, cpus: int, sign: int) -> None:
        free = self._memory[name]
        if free is not None:
            self._memory[name] = free + sign * request.memory_bytes * (cpus // request.cpus if request.cpus else 1)

    def shortage(self, request: Request) -> Shortage | None:
        """What of a request no node, or not enough of them, could ever give."""
        largest = {
            "cpus": (request.cpus, max(node.cpus for node in self.nodes)),
            "gpus": (request.gpus, max(node.gpus for node in self.nodes)),
            "memory": (
                request.memory_bytes,
                max(request.memory_bytes if node.memory_bytes is None else node.memory_bytes for node in self.nodes),
            ),
        }
        for resource, (requested, total) in largest.items():
            if requested > total:
                return Shortage(resource=resource, requested=requested, total=total)
        if request.scatter and request.chunks > len(self.nodes):
            return Shortage(resource="nodes", requested=request.chunks, total=len(self.nodes))
        if not request.scatter and request.cpus * request.chunks > sum(node.cpus for node in self.nodes):
            return Shortage(
                resource="cpus", requested=request.cpus * request.chunks, total=sum(node.cpus for node in self.nodes)
            )
        return None
