"""Packing: one element runs several tasks, some of them side by side. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from hpcsweep.gpus import tasks_of_a_gpu, whole_gpus
from hpcsweep.model import Request

SHORT_S = 600
"""With ``tasks_per_job: auto`` an element is asked for at least so long, where its tasks are shorter: what a scheduler needs to
start and to end one is then little beside it."""

A_DAY_S = 86_400


@dataclass(frozen=True, kw_only=True)
class Packing:
    """An element runs ``tasks_per_element`` tasks, ``parallel`` of them at a time."""

    tasks_per_element: int = 1
    parallel: int = 1

    @property
    def is_packed(self) -> bool:
        """Whether tasks share an element."""
        return self.tasks_per_element > 1

    @property
    def rounds(self) -> int:
        """How many tasks one after the other a place has at most, when all take the same time."""
        return -(-self.tasks_per_element // self.parallel)

    def elements(self, tasks: int) -> int:
        """How many elements so many tasks make."""
        return -(-tasks // self.tasks_per_element)

    def within(self, tasks: int) -> Packing:
        """The same for so few tasks: nothing is asked for that none of them could use."""
        tasks_per_element = min(self.tasks_per_element, max(1, tasks))
        return Packing(tasks_per_element=tasks_per_element, parallel=min(self.parallel, tasks_per_element))


ALONE = Packing()
"""Each task has an element to itself."""


def element_request(task: Request, packing: Packing) -> Request:
    """What an element asks for, where each of its tasks asks for ``task``.

    Cores, memory, GPUs and scratch space of those that run side by side, and the time of its rounds. MPI ranks are counted,
    each with its own cores: ``tasks_per_node`` grows instead of ``cpus``.
    """
    if not packing.is_packed:
        return task
    side_by_side = packing.parallel

    def times(amount: int | None) -> int | None:
        return None if amount is None else amount * side_by_side

    return replace(
        task,
        time_limit_s=None if task.time_limit_s is None else task.time_limit_s * packing.rounds,
        memory_bytes=times(task.memory_bytes),
        cpus=task.cpus if task.tasks_per_node is not None else side_by_side if task.cpus is None else times(task.cpus),
        tasks_per_node=times(task.tasks_per_node),
        gpus=None if task.gpus is None else devices_of(task.gpus, side_by_side),
        tmp_bytes=times(task.tmp_bytes),
    )


def devices_of(gpus: float, tasks: int) -> int:
    """How many whole GPUs so many tasks side by side need: a part of one is never taken from two."""
    return -(-tasks // tasks_of_a_gpu(gpus)) if 0 < gpus < 1 else whole_gpus(gpus) * tasks


def choose_packing(
    tasks_per_job: int | Literal["auto"] | None,
    parallel: int | None,
    request: Request,
    *,
    tasks: int,
    most_elements: int | None,
) -> Packing:
    """The packing of so many tasks with one request.

    ``auto`` packs no more than it must: so that the elements fit into what the site takes (``most_elements``; None: any number),
    and so that tasks of known, short time limits make elements of ``SHORT_S``; never of more than a day.
    """
    side_by_side = parallel or 1
    if tasks_per_job == "auto":
        rounds = 1
        if request.time_limit_s and request.time_limit_s < SHORT_S:
            rounds = -(-SHORT_S // request.time_limit_s)
        packed = side_by_side * rounds
        if most_elements:
            packed = max(packed, -(-tasks // most_elements))
        packed = shorten(
            Packing(tasks_per_element=packed, parallel=min(side_by_side, packed)), request, A_DAY_S
        ).tasks_per_element
    else:
        packed = tasks_per_job or side_by_side
    return Packing(tasks_per_element=packed, parallel=min(side_by_side, packed)).within(tasks)


def shorten(packing: Packing, request: Request, longest_s: int | None) -> Packing:
    """Fewer rounds, where an element would be asked for more time than it may have; one at least."""
    if longest_s is None or not request.time_limit_s:
        return packing
    rounds = max(1, longest_s // request.time_limit_s)
    return packing.within(packing.parallel * rounds)
