"""What a run cost: the tasks' own records, and one query of the scheduler's accounting where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpcsweep.errors import HpcsweepError, UsageError
from hpcsweep.events import FINALLY
from hpcsweep.fold import TaskView
from hpcsweep.ledger import Array
from hpcsweep.model import Params
from hpcsweep.ranges import format_ranges
from hpcsweep.results import Table
from hpcsweep.runs.observe import observe, tags_of
from hpcsweep.runs.run import Run
from hpcsweep.schedulers.base import NoAnswer, Used
from hpcsweep.shell import run_command
from hpcsweep.states import FACTS
from hpcsweep.store import parse_claim, read_record
from hpcsweep.store.attempts import REVOKED
from hpcsweep.usage import NOTHING, Attempt, cpus_of, gpus_of, join, parse_own_record
from hpcsweep.usage_table import Group, group_by_params, group_by_request, groups_table, tasks_table


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What the attempts of a run used that have ended, task by task; ``notes`` say what is not in it."""

    attempts: list[Attempt]
    notes: tuple[str, ...]


def read_usage(run: Run) -> Usage:
    """Look, read the records of all attempts, ask the scheduler once what they used."""
    fold = observe(run)
    used, notes = _ask_scheduler(run)
    attempts: list[Attempt] = []
    running = set()
    for array, view in fold.attempts():
        if FACTS[view.state].is_ended:
            attempt = _read_attempt(run, array, view, used)
            if attempt is not None:
                attempts.append(attempt)
        elif view.is_begun:
            running.add(view.index)
    attempts.sort(key=lambda one: (one.task == FINALLY, one.task, one.attempt))
    if running:
        numbers = format_ranges(task for task in running if task != FINALLY) or "finally"
        notes.append(f"what still runs is not in it: {len(running)} (task {numbers})")
    unknown = [one for one in attempts if not one.sources and one.elapsed_s]
    if unknown:
        notes.append(
            f"of {len(unknown)} attempts neither CPU time nor memory is known: they were killed, or are of an earlier version"
        )
    return Usage(attempts=attempts, notes=tuple(notes))


def groups_of(run: Run, usage: Usage, by: str | None) -> tuple[list[Group], tuple[str, ...]]:
    """The groups, by what was asked for or by some parameters (``by``, with commas), and the names of these.

    Raises:
        UsageError: there is no such parameter.
    """
    if by is None:
        return group_by_request(usage.attempts), ()
    names = tuple(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    unknown = [name for name in names if name not in run.names]
    if unknown or not names:
        said = f"there is no parameter `{unknown[0]}`" if unknown else "no parameter is named"
        raise UsageError(f"--by: {said}", f"the parameters are {', '.join(run.names)}")
    return group_by_params(usage.attempts, _params_of(run), names), names


def usage_table(run: Run, usage: Usage, *, by: str | None = None, by_task: bool = False) -> Table:
    """One row a group with its advice, or one row a task.

    Raises:
        UsageError: there is no such parameter.
    """
    if by_task:
        return tasks_table(usage.attempts, _params_of(run), run.names)
    return groups_table(*groups_of(run, usage, by))


def _params_of(run: Run) -> dict[int, Params]:
    return {task.index: task.params for task in run.shown_tasks}


def _ask_scheduler(run: Run) -> tuple[dict[str, Used], list[str]]:
    """Element's id -> its figures; and why there are none, where there might be some."""
    arrays = [array for array in run.ledger.arrays.values() if array.job is not None]
    if not arrays:
        return {}, []
    command = run.scheduler.usage_cmd(tags_of(arrays), min(array.planned_at for array in arrays) - 60)
    if command is None:
        return {}, []
    if run.elsewhere:
        return {}, [f"the figures are the tasks' own: {run.elsewhere}"]
    try:
        answer = run.scheduler.parse_usage(run_command(command))
    except HpcsweepError as error:
        answer = NoAnswer(message=error.message)
    if isinstance(answer, NoAnswer):
        return {}, [f"the figures are the tasks' own, for the scheduler gave none: {answer.message}"]
    tags = {array.tag for array in arrays}
    return {_plain(used.job): used for used in answer if used.tag in tags}, []


def _plain(job: str) -> str:
    """PBS knows a job with and without the server's name."""
    return job.partition(".")[0]


def _read_attempt(run: Run, array: Array, view: TaskView, used: Mapping[str, Used]) -> Attempt | None:
    """An attempt with its figures; None where it never began."""
    text = read_record(run.paths.array(array.number).events, view.index, view.attempt) if view.is_claimed else ""
    facts = parse_claim(text.partition("\n")[0])
    if facts is not None and facts.job == REVOKED:
        return None
    job = facts.job if facts is not None else view.job
    position = view.position or 0
    theirs = used.get(_plain(job)) if job is not None and array.is_alone(position) else None
    if facts is None and (theirs is None or not theirs.elapsed_s):
        return None
    wait_s = None
    # In an element that runs several tasks, those of the first round alone have waited for the scheduler.
    if (
        facts is not None
        and facts.epoch
        and array.submitted_at
        and position % array.packing.tasks_per_element < array.packing.parallel
    ):
        wait_s = max(0.0, facts.epoch - array.submitted_at)
    attempt = Attempt(
        task=view.index,
        attempt=view.attempt,
        state=view.state,
        request=array.request,
        cpus=cpus_of(array.request),
        gpus=gpus_of(array.request),
        is_counted=FACTS[view.state].is_success,
        elapsed_s=view.elapsed_s,
        wait_s=wait_s,
    )
    return join(attempt, parse_own_record(text) if text else NOTHING, theirs)
