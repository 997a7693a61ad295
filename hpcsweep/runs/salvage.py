"""What can be told of a run whose journal or tasks.jsonl is damaged, from its other files. Reading only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpcsweep.events import FINALLY
from hpcsweep.ledger import Array, Ledger
from hpcsweep.model import Request, Task
from hpcsweep.ranges import MOST_NUMBERS
from hpcsweep.space.identity import point_id
from hpcsweep.store import Block, RunPaths, list_arrays, read_blocks, read_sound_tasks

_MANY = 100_000
"""Up to so many tasks a wrong count costs no more than patience."""


def complete_ledger(paths: RunPaths, ledger: Ledger, tag: str, arrays: Sequence[int]) -> None:
    """Add what the journal must have said and does not: arrays whose folders are there, and how many tasks there are.

    An array is planned in the journal before its folder is made, so that a folder that the journal does not know is the
    trace of a loss. What such a run has submitted is not known for sure: ``ledger.missing`` says so, and nobody may act.

    Args:
        paths: the run.
        ledger: the journal, replayed.
        tag: what its arrays' tags begin with.
        arrays: the numbers of the folders that were there before the journal was read.
    """
    for number in arrays:
        if number not in ledger.arrays:
            text = f"the journal does not know arrays/{number:03d}, which is there"
            ledger.missing.append(text)
            blocks = [block for block in read_blocks(paths.array(number)) if block.task < MOST_NUMBERS]
            if blocks:
                ledger.add_found(_found_array(number, f"{tag}-{number:03d}", blocks))
    if ledger.total > _MANY and ledger.total > _most_tasks(paths):
        ledger.missing.insert(0, f"the journal speaks of {ledger.total} tasks, far more than {paths.tasks.name} can hold")
        ledger.total = 0
    elif not ledger.total:
        ledger.missing.insert(0, "the journal does not say how many tasks there are")
    if not ledger.total:
        known = [*read_sound_tasks(paths.tasks)[0], *ledger.current]
        ledger.total = max((task for task in known if task < MOST_NUMBERS), default=-1) + 1


def _most_tasks(paths: RunPaths) -> int:
    """How many of the shortest lines, ``{"index":0,"id":"8f3a2b1c00aa11bb","params":{}}``, tasks.jsonl has room for."""
    try:
        return paths.tasks.stat().st_size // 50
    except OSError:
        return 0


def _found_array(number: int, tag: str, blocks: list[Block]) -> Array:
    size = blocks[-1].position + 1
    by_position = {block.position: block.task for block in blocks}
    # A chunk that cannot be read leaves positions of which nobody knows the task; no task has such a number.
    tasks = [by_position.get(position, -2 - position) for position in range(size)]
    return Array(
        number=number,
        tag=tag,
        tasks=tasks,
        attempts={block.task: block.attempt for block in blocks},
        kind="finally" if FINALLY in tasks else "tasks",
        request=Request(),
        planned_at=0.0,
        submission="uncertain",
        is_found=True,
    )


def salvage_tasks(paths: RunPaths, total: int) -> tuple[list[Task], list[str]]:
    """All tasks of a run, whatever is left of tasks.jsonl; what is lacking there is taken from the arrays' chunks.

    Returns:
        The tasks by index (of one that nothing tells of, without id and parameters), and sentences on what is wrong.
    """
    tasks, problems = read_sound_tasks(paths.tasks)
    tasks = {index: task for index, task in tasks.items() if index < total}
    if len(tasks) < total:
        missing = total - len(tasks)
        found = _tasks_in_chunks(paths, tasks, total)
        tasks.update(found)
        problems.append(
            f"{paths.tasks.name}: {missing} of {total} tasks are not in it"
            + (f"; {len(found)} of them are told by what was submitted" if found else "")
        )
    return [tasks.get(index, Task(index=index, id="", params={})) for index in range(total)], problems


def _tasks_in_chunks(paths: RunPaths, known: Mapping[int, Task], total: int) -> dict[int, Task]:
    found: dict[int, Task] = {}
    for number in list_arrays(paths):
        for block in read_blocks(paths.array(number)):
            if 0 <= block.task < total and block.task not in known and block.params is not None and _is_point(block):
                found[block.task] = Task(index=block.task, id=block.point, params=block.params)
    return found


def _is_point(block: Block) -> bool:
    try:
        return point_id(block.params or {}) == block.point
    except ValueError:
        return False
