"""``extend``: add the points of a sweep file that a run does not have yet. What it has keeps its number and its state."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Settings, Task
from hpcsweep.runs.gpus import check_requests_fit
from hpcsweep.runs.prepare import SweepOptions, read_sweep
from hpcsweep.runs.preview import flat_settings, origin_of
from hpcsweep.runs.run import Run
from hpcsweep.runs.scripts import ArrayWriter
from hpcsweep.runs.turn import Turn
from hpcsweep.space import Expansion, point_id
from hpcsweep.store import append_tasks, counted_bytes, write_atomically
from hpcsweep.sweepfile import Sweep, settings_to_json
from hpcsweep.sweepfile.setting_kinds import SCHEDULER_KEYS

_ABOUT_TASKS = frozenset(
    {"command", "stdin", "files", "link", "workdir", "env", "env_from", "setup", "teardown", "container", "snapshot"}
    | {"signal", "stage"}
    | {"resources", *SCHEDULER_KEYS, "template"}
)
"""Settings that say what a task does and asks for; of the others the run's own count without a question."""
_NO_DIFFERENCE = frozenset({"name", "runs_dir", "scheduler", "replicates"})
_MOST_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Points:
    """The points of a sweep file, by id, in its order."""

    sweep: Sweep
    expansion: Expansion
    by_id: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Additions:
    """What a sweep file adds to a run. ``gone``: tasks whose points are not in it any more; they stay in the run."""

    tasks: Sequence[Task]
    names: Sequence[str]  # parameters that the run does not have yet
    known: int
    gone: Sequence[Task]


def read_points(path: str, options: SweepOptions) -> Points:
    """Read and expand a sweep file; it need not have a command.

    Raises:
        HpcsweepError: all that is wrong with it.
    """
    sweep = read_sweep(path, options, needs_command=False)
    expansion = sweep.space.expand(limit=options.limit)
    return Points(sweep=sweep, expansion=expansion, by_id={point_id(point): point for point in expansion.points})


def find_additions(run: Run, points: Points) -> Additions:
    """What of the points is new to the run, as tasks behind its last."""
    known = {task.id for task in run.tasks[: run.ledger.total]}
    new = [(id_, params) for id_, params in points.by_id.items() if id_ not in known]
    names = {name for _id, params in new for name in params} - set(run.names)
    # Of a file that was not looked at to its end nobody knows what is not in it.
    gone = [task for task in run.tasks if task.id not in points.by_id] if points.expansion.is_complete else []
    return Additions(
        tasks=[Task(index=index, id=id_, params=params) for index, (id_, params) in enumerate(new, run.ledger.total)],
        names=[name for name in points.sweep.names if name in names],
        known=len(points.by_id) - len(new),
        gone=gone,
    )


def differing_settings(run: Run, sweep: Sweep) -> dict[str, tuple[Any, Any]]:
    """Key -> (the run's value, the file's), where the file says something else than the run was made with.

    Not what was given to ``submit`` on the command line, which no file can say; and of a file without a command, which only
    adds points, just what it does say.
    """
    ours, theirs = _flat(run.settings), _flat(sweep.settings)
    differing = {}
    for key in sorted({*ours, *theirs}):
        mine, other = ours.get(key), theirs.get(key)
        if _is_empty(mine, other) or mine == other or key.partition(".")[0] in _NO_DIFFERENCE:
            continue
        if origin_of(key, run.info.get("origins", {})).startswith("-"):
            continue
        if sweep.settings.command is None and origin_of(key, sweep.origins) == "default":
            continue
        differing[key] = (mine, other)
    return differing


def check_settings(run: Run, sweep: Sweep, path: str) -> list[str]:
    """Refuse a file whose tasks would be other ones than the run's: all tasks of a run share its settings.

    Returns:
        The keys of other settings that differ, of which the run's own count.

    Raises:
        HpcsweepError: with every such setting.
    """
    differing = differing_settings(run, sweep)
    about_tasks = [key for key in differing if key.partition(".")[0] in _ABOUT_TASKS]
    if about_tasks:
        lines = [f"  {key}: {_short(differing[key][0])} in {run.name}, {_short(differing[key][1])} here" for key in about_tasks]
        shown = lines[:_MOST_SHOWN] + ([f"  and {len(lines) - _MOST_SHOWN} more"] if len(lines) > _MOST_SHOWN else [])
        raise HpcsweepError(
            "\n".join([f"{path}: all tasks of {run.name} share the settings it was made with, and these are others:", *shown]),
            "with --keep-settings the new tasks run with those of the run; for these here make a new run: hpcsweep submit",
        )
    return [key for key in differing if key not in about_tasks]


def check_tasks(run: Run, additions: Additions) -> None:
    """Resolve and render each new task, so that no fault is met half-way.

    Raises:
        HpcsweepError: a task that the scheduler cannot take, or whose values cannot stand where the command has them.
    """
    extended = Run.imagined(run.paths, info=run.info, tasks=[*run.tasks, *additions.tasks], ledger=run.ledger)
    extended.__dict__["names"] = (*run.names, *additions.names)
    writer = ArrayWriter(extended)
    options = run.settings.scheduler_options.get(run.scheduler.name, {})
    for task in additions.tasks:
        request = extended.request_of(task.index)
        for problem in run.scheduler.problems(request, options):
            raise HpcsweepError(f"task {task.index}: {problem.message}", problem.hint)
        check_requests_fit(run.devices, [request], run.settings.parallel or 1)
        writer.check(task, request)


def extend(turn: Turn, points: Points) -> Additions:
    """Add the new points to the run: their lines on disk first, then the journal's word, which makes them tasks.

    Raises:
        HpcsweepError: the run is as it was.
    """
    run = turn.run
    additions = find_additions(run, points)
    if not additions.tasks:
        return additions
    check_tasks(run, additions)
    ledger = run.ledger
    if ledger.extensions:
        end = ledger.extensions[-1].offset + ledger.extensions[-1].size
    else:
        end = counted_bytes(run.paths.tasks, ledger.total)
    number = len(ledger.extensions) + 2
    turn.lock.check()
    write_atomically(run.paths.extending_sweep(number), points.sweep.text)
    offset, size = append_tasks(run.paths.tasks, additions.tasks, counted_bytes=end)
    turn.write(
        {
            "event": "extended",
            "first": ledger.total,
            "tasks": ledger.total + len(additions.tasks),
            "offset": offset,
            "bytes": size,
            "sweep": run.paths.extending_sweep(number).name,
            **({"names": list(additions.names)} if additions.names else {}),
        }
    )
    run.forget_ledger()
    return additions


def _flat(settings: Settings) -> dict[str, Any]:
    """What counts of a file that was read at submit is what is in it."""
    data = {key: value for key, value in settings_to_json(settings).items() if key not in ("files_paths", "template_path")}
    return dict(flat_settings(data))


def _is_empty(*values: Any) -> bool:
    return all(value in (None, "", {}, [], False) for value in values)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if value is not None else "nothing"
    return text if len(text) <= 60 else text[:59] + "…"
