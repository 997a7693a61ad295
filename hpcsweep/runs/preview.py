"""What ``show`` and ``submit --dry-run`` tell: all that would be made, and nothing is."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from hpcsweep.decide import packing_of, policy_of
from hpcsweep.gpus import devices_to_json
from hpcsweep.model import Params, Request, Task
from hpcsweep.render.templates import read_runner
from hpcsweep.runs.advance import array_job
from hpcsweep.runs.facts import Surroundings, current_folder, printable
from hpcsweep.runs.gpus import Found, check_requests_fit
from hpcsweep.runs.imagine import default_jobs, gpus_of, imagine_run, plan_arrays, surroundings_of
from hpcsweep.runs.limits import site_limits
from hpcsweep.runs.prepare import Prepared, SweepOptions, check_requests, prepare_expanded, read_sweep, request_of
from hpcsweep.runs.run import Run
from hpcsweep.runs.scripts import ArrayWriter
from hpcsweep.runs.snapshot import SnapshotPlan, plan_snapshot
from hpcsweep.schedulers import make_scheduler
from hpcsweep.space import tree_lines
from hpcsweep.store import absolute_as_written
from hpcsweep.sweepfile import Sweep, settings_to_json
from hpcsweep.sweepfile.units import format_time

MOST_LOOKED_AT = 1_000_000
"""Points that ``show`` looks at where a condition makes it necessary, or a resource depends on parameters."""

HEAD = 10

MOST_RENDERED = 1_000
"""Tasks that go into the script that is shown: its first lines tell how many there are and what each of their chunks hashes to."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a sweep file comes to. ``is_complete``: false when not all points were looked at."""

    sweep: Sweep
    scheduler: str
    points_count: int
    is_complete: bool
    dropped: int
    arrays: int
    tree: Sequence[str]
    head: Sequence[Task]
    command: str | None
    script: str | None
    snapshot: SnapshotPlan | None = None
    gpus: Found = field(default_factory=Found)

    @property
    def short_script(self) -> str:
        """The script with hpcsweep's own functions left out."""
        return shorten_script(self.script or "")

    def points(self, limit: int | None) -> Iterator[Params]:
        """All points, lazily."""
        return islice(self.sweep.space.points(limit), limit)

    def settings_rows(self) -> Iterator[tuple[str, str, str]]:
        """(key, value, origin) of each setting that is not empty, as the sweep file writes it."""
        settings = settings_to_json(self.sweep.settings)
        contents = {"template", *settings["files_paths"]}
        for name, value in _flat(settings):
            if value in (None, "", {}, [], False) or name == "replicates" or name.removeprefix("files.") in contents:
                continue
            key = as_written(name)
            text = format_time(round(value)) if key in ("settle", "query_timeout") else json.dumps(value, ensure_ascii=False)
            yield key, text if len(text) <= 60 else text[:59] + "…", origin_of(key, self.sweep.origins)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``; the names are a promise."""
        return {
            "name": self.sweep.settings.name,
            "points": self.points_count,
            "tasks": self.points_count,
            "dropped": self.dropped,
            "arrays": self.arrays,
            "is_complete": self.is_complete,
            "scheduler": self.scheduler,
            "settings": settings_to_json(self.sweep.settings),
            "origins": dict(self.sweep.origins),
            "head": [dict(task.params) for task in self.head],
            "command": self.command,
            "warnings": list(self.sweep.warnings),
            "snapshot": None if self.snapshot is None else self.snapshot.facts,
            "gpus": None if self.gpus.devices is None else devices_to_json(self.gpus.devices),
        }


def preview(path: str, options: SweepOptions) -> Preview:
    """Read a sweep file and look at as much of it as is needed; a huge space is not enumerated.

    Raises:
        HpcsweepError: all that is wrong with the file.
    """
    sweep = read_sweep(path, options, needs_command=False)
    prepared, requests = _survey(sweep, path, options)
    expansion = prepared.expansion
    snapshot = plan_snapshot(prepared.settings, Path(current_folder()), absolute_as_written(Path(prepared.settings.runs_dir)))
    gpus = gpus_of(prepared)
    check_requests_fit(gpus.devices, chain(*requests), prepared.settings.parallel or 1)
    around = Surroundings(facts={"snapshot": None if snapshot is None else snapshot.facts}, devices=gpus.devices)
    run = imagine_run(prepared, name=options.name, jobs=None, surroundings=around)
    arrays = plan_arrays(run, prepared)
    writer = ArrayWriter(run) if sweep.settings.command is not None and arrays else None
    return Preview(
        sweep=prepared.sweep,
        scheduler=prepared.scheduler,
        points_count=expansion.count,
        is_complete=expansion.is_complete,
        dropped=expansion.dropped,
        arrays=_count_arrays(run, requests),
        tree=tree_lines(sweep.space, expansion if sweep.space.known_count() is None and options.limit is None else None),
        head=prepared.tasks[:HEAD],
        command=writer.command(arrays[0]) if writer else None,
        script=writer.script(arrays[0], writer.chunks(arrays[0])) if writer else None,
        snapshot=snapshot,
        gpus=gpus,
    )


def _survey(sweep: Sweep, path: str, options: SweepOptions) -> tuple[Prepared, Sequence[Counter[Request]]]:
    """The first tasks, and how many tasks ask for what: those of the canary, and the others."""
    space, settings = sweep.space, sweep.settings
    total = space.known_count()
    if total is not None and options.limit is not None:
        total = min(total, options.limit)
    resources = settings.resources
    depends = any("{{" in str(value) or "{%" in str(value) for value in resources.values())
    is_enough = total is not None and not depends
    requests: tuple[Counter[Request], Counter[Request]] = (Counter(), Counter())

    def count_request(index: int, params: Params) -> None:
        requests[index >= settings.canary][request_of(sweep, params)] += 1

    expansion = space.survey(
        limit=min(total or 0, MOST_RENDERED) if is_enough else options.limit,
        look_at=MOST_LOOKED_AT,
        keep=MOST_RENDERED,
        visit=count_request if depends else None,
    )
    if total is not None and is_enough:
        expansion = replace(expansion, count=total, is_complete=True)
    if not depends:
        canary = min(settings.canary, expansion.count)
        request = request_of(sweep, {})
        requests[0][request], requests[1][request] = canary, expansion.count - canary
    prepared = prepare_expanded(sweep, path, expansion)
    check_requests(make_scheduler(prepared.scheduler), sweep, {*requests[0], *requests[1]}, prepared.scheduler)
    return prepared, requests


def dry_run(prepared: Prepared, *, name: str | None, jobs: int | None) -> Iterable[tuple[str, str]]:
    """(title, text) of every file that ``submit`` would write, and of the commands it would run."""
    surroundings = surroundings_of(prepared)
    run = imagine_run(prepared, name=name, jobs=jobs or default_jobs(prepared, surroundings.devices), surroundings=surroundings)
    writer = ArrayWriter(run)
    yield str(run.paths.sweep_yaml), prepared.sweep.text.decode("utf-8", "replace")
    yield (
        str(run.paths.tasks),
        "".join(json.dumps({"index": t.index, "id": t.id, "params": dict(t.params)}) + "\n" for t in run.tasks),
    )
    if surroundings.snapshot is not None:
        names = [printable(name) for name in (*surroundings.snapshot.names, *surroundings.snapshot.links)]
        yield str(run.paths.code), "\n".join([surroundings.snapshot.words, *names])
    if surroundings.diff is not None:
        yield str(run.paths.code_diff), surroundings.diff.decode("utf-8", "replace")
    yield str(run.paths.run_json), json.dumps(run.info, indent=2, ensure_ascii=False)
    for array in plan_arrays(run, prepared):
        paths = run.paths.array(array.number)
        chunks = writer.chunks(array)
        for number, chunk in enumerate(chunks):
            yield str(paths.chunk(number)), chunk
        yield str(paths.script), writer.script(array, chunks)
        command = run.scheduler.submit_cmd(array_job(run, array, policy_of(run.settings)))
        yield f"array {array.number:03d}: {array.size} elements", shlex.join(command.argv)


def shorten_script(script: str) -> str:
    """A script without the runner's functions, which are the same in every script."""
    runner = read_runner().rstrip("\n")
    lines = runner.count("\n") + 1
    return script.replace(runner, f"# ... {lines} lines: the functions of hpcsweep's runner ...")


def _count_arrays(run: Run, requests: Iterable[Counter[Request]]) -> int:
    """One array for each request, or more of them where the site does not take so many elements in one."""
    size = 1 if run.settings.array_mode == "jobs" else site_limits(run).max_array_size
    policy = policy_of(run.settings, max_array_size=size)
    return sum(
        -(-packing_of(policy, request, tasks).elements(tasks) // size)
        for counted in requests
        for request, tasks in counted.items()
        if tasks
    )


def flat_settings(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(key, value) of each of the settings that were made JSON data, under the dotted keys of the sweep file."""
    for name, value in _flat(data):
        yield as_written(name), value


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def as_written(name: str) -> str:
    """The key of the sweep file for a frozen setting's name."""
    written = {
        "at_once": "array.at_once",
        "array_mode": "array.mode",
        "tasks_per_job": "array.tasks_per_job",
        "parallel": "array.parallel",
        "settle_s": "settle",
        "query_timeout_s": "query_timeout",
        "template_path": "template",
        "snapshot.max_bytes": "snapshot.max_size",
        "signal.before_s": "signal.before",
        "most_continuations": "on_timeout",
        "stage.inputs": "stage.in",
        "stage.outputs": "stage.out",
    }
    if name.startswith("files_paths."):
        return f"files.{name.removeprefix('files_paths.')}"
    return written.get(name, name.removeprefix("scheduler_options."))


def origin_of(key: str, origins: Mapping[str, str]) -> str:
    """Where a setting, or the mapping that it is in, came from."""
    while key and key not in origins:
        key = key.rpartition(".")[0]
    return origins.get(key, "default")
