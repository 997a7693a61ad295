"""From a sweep file to everything that would be written and run; nothing is written here. ``show`` stops here, ``submit`` goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpcsweep.errors import HpcsweepError
from hpcsweep.gpus import parse_option
from hpcsweep.model import Params, Request, Settings, Task
from hpcsweep.packing import choose_packing, element_request
from hpcsweep.retry import is_without_base
from hpcsweep.runs.configuration import configuration_files, host_name
from hpcsweep.runs.gpus import OPTION, with_implied_gpus
from hpcsweep.runs.run import meant_here
from hpcsweep.schedulers import choose, make_scheduler
from hpcsweep.schedulers.base import MOST_ELEMENTS, Scheduler
from hpcsweep.shell import is_installed, run_command
from hpcsweep.space import Expansion, point_id
from hpcsweep.sweepfile import Sweep, load_sweep, resolve_request
from hpcsweep.sweepfile.resources import ResourceError
from hpcsweep.sweepfile.units import format_time
from hpcsweep.sweepfile.yaml_reader import MAX_BYTES


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What the command line says about a sweep; the same for ``submit`` and ``show``."""

    params: Sequence[str] = ()
    settings: Sequence[str] = ()
    limit: int | None = None
    name: str | None = None
    scheduler: str | None = None
    profile: str | None = None
    runs_dir: str | None = None
    gpus: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A sweep, read, expanded and checked."""

    path: Path
    sweep: Sweep
    settings: Settings
    expansion: Expansion
    tasks: Sequence[Task]
    scheduler: str
    requests: Mapping[int, Request]  # by task


def read_sweep(path: str, options: SweepOptions, *, needs_command: bool = True) -> Sweep:
    """Read a sweep file over the configuration and under the command line.

    Raises:
        HpcsweepError: all that is wrong with it.
    """
    return parse_sweep(read_sweep_bytes(path), path, options, needs_command=needs_command)


def parse_sweep(text: bytes, path: str, options: SweepOptions, *, needs_command: bool = True) -> Sweep:
    """As ``read_sweep``, of a text; ``path`` is what it is called, and what its paths are relative to.

    Raises:
        HpcsweepError: all that is wrong with it.
    """
    files = configuration_files()
    sweep = load_sweep(
        text,
        path,
        profiles=files,
        profile=options.profile,
        environ=os.environ,
        host=host_name(files),
        params=options.params,
        settings=[*options.settings, *_as_settings(options)],
        read_file=_read_text,
        needs_command=needs_command,
    )
    given = {"scheduler": options.scheduler, "runs_dir": options.runs_dir}
    named = {key: f"--{key.replace('_', '-')}" for key, value in given.items() if value is not None}
    named |= {"gpus": OPTION} if options.gpus else {}
    return replace(sweep, origins={**sweep.origins, **named})


def prepare(sweep: Sweep, path: str, options: SweepOptions) -> Prepared:
    """Expand a sweep and check every task of it.

    Raises:
        HpcsweepError: whatever no task or no scheduler can take.
    """
    return prepare_expanded(sweep, path, sweep.space.expand(limit=options.limit))


def prepare_expanded(sweep: Sweep, path: str, expansion: Expansion) -> Prepared:
    """The tasks of the points of an expansion, each checked.

    Raises:
        HpcsweepError: whatever no task or no scheduler can take.
    """
    tasks = [Task(index=index, id=point_id(params), params=params) for index, params in enumerate(expansion.points)]
    scheduler = choose(meant_here(sweep.settings.scheduler), is_installed, run_command)
    sweep = with_implied_gpus(sweep, scheduler)
    requests = {task.index: request_of(sweep, task.params) for task in tasks}
    check_requests(make_scheduler(scheduler), sweep, set(requests.values()), scheduler)
    return Prepared(
        path=Path(path),
        sweep=sweep,
        settings=replace(sweep.settings, scheduler=scheduler),
        expansion=expansion,
        tasks=tasks,
        scheduler=scheduler,
        requests=requests,
    )


def request_of(sweep: Sweep, params: Params) -> Request:
    """What a task with these parameters asks of the scheduler.

    Raises:
        HpcsweepError: an expression fails, or gives what the resource cannot be; with its place and the point.
    """
    try:
        return resolve_request(sweep.settings.resources, params, sweep.names)
    except ResourceError as error:
        origin = sweep.origins.get(f"resources.{error.key}")
        raise HpcsweepError(f"{origin}: {error.message}" if origin else error.message, error.hint) from error


def read_sweep_bytes(path: str) -> bytes:
    """The sweep file's bytes.

    Raises:
        HpcsweepError: it is not there (with what is), or cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)  # no more than is refused anyway: it may be a device
    except FileNotFoundError:
        near = sorted(str(other) for other in Path(path).parent.glob("*.y*ml"))[:5]
        raise HpcsweepError(f"there is no file {path}", f"there are: {', '.join(near)}" if near else "") from None
    except OSError as error:
        raise HpcsweepError(f"{path} cannot be read: {error.strerror}") from error


def check_requests(scheduler: Scheduler, sweep: Sweep, requests: set[Request], name: str) -> None:
    """Refuse what the scheduler cannot express, or tasks cannot share, before anything is written. ``requests`` are per task.

    Raises:
        HpcsweepError: with every such option.
    """
    settings = sweep.settings
    given = settings.scheduler_options
    elements = set()
    for request in requests:
        packing = choose_packing(settings.tasks_per_job, settings.parallel, request, tasks=MOST_ELEMENTS, most_elements=None)
        _check_retry(sweep, request)
        if packing.parallel > 1:
            _check_sharing(sweep, request, name)
        elements.add(element_request(request, packing))
    # Options for another scheduler are looked at too, so that a sweep that runs here runs there.
    looked_at = {other: make_scheduler(other) for other in given} | {name: scheduler}
    problems = {
        problem.message: (other, problem)
        for request in elements
        for other, its in looked_at.items()
        for problem in its.problems(request, given.get(other, {}))
    }
    if problems:
        lines = [
            f"{_origin(sweep, other, problem.option)}: {problem.message}"
            + (f"\n    hint: {problem.hint}" if problem.hint else "")
            for other, problem in problems.values()
        ]
        raise HpcsweepError("\n".join(lines))
    _check_signal(sweep, requests)


def _check_signal(sweep: Sweep, requests: set[Request]) -> None:
    """Refuse a signal that would come before its program has begun."""
    signal = sweep.settings.signal
    shortest_s = min((request.time_limit_s for request in requests if request.time_limit_s is not None), default=None)
    if signal is not None and shortest_s is not None and shortest_s <= signal.before_s:
        origin = sweep.origins.get("signal.before") or sweep.path
        raise HpcsweepError(
            f"{origin}: signal.before is {format_time(signal.before_s)}, and the shortest time limit of a task is "
            f"{format_time(shortest_s)}: its program would be told of its end before it has begun",
            "give it more `time`, or a shorter `before`",
        )


def _check_retry(sweep: Sweep, request: Request) -> None:
    """Refuse a rule that could never give a task more than it had.

    Raises:
        HpcsweepError: with the setting.
    """
    retry = sweep.settings.retry
    for state, rule in retry.rules.items() if retry is not None else ():
        name = is_without_base(request, rule)
        if name:
            where = sweep.origins.get(f"retry.{state}.{name}") or sweep.path
            raise HpcsweepError(
                f"{where}: retry.{state} changes the {name}, and the tasks ask for none",
                f"set resources.{name}, or write the {name} itself instead of a factor",
            )


def _check_sharing(sweep: Sweep, request: Request, scheduler: str) -> None:
    """Refuse what several tasks side by side in one element cannot have.

    Raises:
        HpcsweepError: with the setting.
    """
    where = sweep.origins.get("array.parallel") or sweep.origins.get("array") or sweep.path
    if (request.nodes or 1) > 1:
        message = f"{where}: tasks that take {request.nodes} nodes each cannot share an element"
        raise HpcsweepError(message, "leave `parallel` out; tasks_per_job lets them follow one another in one element")
    if request.gpus and scheduler == "pbs" and sweep.settings.gpus_from is None:
        raise HpcsweepError(
            f"{where}: PBS itself does not tell a job which GPUs it has, so its tasks cannot share them out",
            "say where the site does, in its profile: gpus_from: CUDA_VISIBLE_DEVICES (a hook sets it), or [0, 1, 2, 3]",
        )


def _origin(sweep: Sweep, scheduler: str, option: str) -> str:
    """The place of the setting that an option of a scheduler comes from."""
    origins = (sweep.origins.get(key) for key in (f"resources.{option}", f"{scheduler}.{option}", option))
    return next((origin for origin in origins if origin is not None), sweep.path)


def _as_settings(options: SweepOptions) -> list[str]:
    given = {"scheduler": options.scheduler, "runs_dir": options.runs_dir}
    settings = [f"{key}={value}" for key, value in given.items() if value is not None]
    if options.gpus:
        groups = parse_option(options.gpus)
        settings.append(f"gpus={json.dumps(groups) if groups else 'none'}")
    return settings


def _read_text(path: str) -> str:
    """A file that the sweep or a configuration file names; load_sweep has put that file's folder in front already."""
    return Path(path).read_text(encoding="utf-8")
