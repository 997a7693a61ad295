"""What a sweep file means: the tree with counts, the first points, one command, one script, where each setting came from. Writes nothing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.runs.prepare import Prepared, SweepOptions
from hpcsweep.runs.preview import Preview, preview

HEAD = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep show``."""
    options.add_sweep(parser)
    options.add_json(parser)
    parser.add_argument("--points", action="store_true", help="all points, one JSON object a line")


def run(
    sweep: str,
    params: list[str],
    settings: list[str],
    limit: int | None,
    name: str | None,
    scheduler: str | None,
    gpus: list[str],
    profile: str | None,
    runs_dir: str | None,
    *,
    as_json: bool,
    points: bool,
) -> int:
    """Show a sweep file; 0 when submit would take it."""
    given = SweepOptions(
        params=params,
        settings=settings,
        limit=limit,
        name=name,
        scheduler=scheduler,
        profile=profile,
        runs_dir=runs_dir,
        gpus=gpus,
    )
    seen = preview(sweep, given)
    if points:
        for point in seen.points(limit):
            output.say(json.dumps(point, ensure_ascii=False))
        return 0
    if as_json:
        output.note(*seen.sweep.warnings, *seen.gpus.notes)
        output.print_json(seen.to_json())
        return 0
    output.note(*seen.sweep.warnings, *seen.gpus.notes)
    output.say(*_lines(seen))
    return 0


def _lines(seen: Preview) -> Iterable[str]:
    yield f"{seen.sweep.settings.name} ({seen.sweep.path}), on {seen.scheduler}"
    yield ""
    yield from seen.tree
    yield ""
    yield "first points:"
    for index, task in enumerate(seen.head[:HEAD]):
        params = "  ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in task.params.items())
        yield f"  {index}  {task.id}  {output.one_line(params, 300)}"
    if seen.command is not None:
        yield ""
        yield "command of task 0:"
        yield from (f"  {line}" for line in seen.command.splitlines())
    if seen.script is not None:
        yield ""
        arrays = "1 array" if seen.arrays == 1 else f"{seen.arrays} arrays"
        yield f"script (the first of {arrays}; --dry-run of submit prints all of it):"
        yield from (f"  {line}" for line in seen.short_script.splitlines())
    if seen.snapshot is not None:
        yield ""
        yield seen.snapshot.words
    if seen.gpus.devices is not None:
        yield ""
        yield f"GPUs of this machine that the tasks are given: {seen.gpus.devices.names}"
    yield ""
    yield "settings, and where each came from:"
    rows = [(key, value, origin) for key, value, origin in seen.settings_rows()]
    yield from (f"  {line}" for line in output.columns(rows))


def dry_run_lines(prepared: Prepared, name: str | None, jobs: int | None) -> Iterable[str]:
    """All that ``submit`` would write and run."""
    from hpcsweep.runs.preview import dry_run  # noqa: PLC0415

    for title, text in dry_run(prepared, name=name, jobs=jobs):
        yield f"==> {title} <=="
        yield text.rstrip("\n")
        yield ""
