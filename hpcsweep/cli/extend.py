"""Add to a run the points of a sweep file that it does not have yet. What it has stays as it is, and nothing gets another number."""

from __future__ import annotations

import argparse
import json

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.cli.changing import tell_report, tell_warnings, turn_of
from hpcsweep.runs.advance import advance
from hpcsweep.runs.extend import Additions, check_settings, check_tasks, extend, find_additions, read_points
from hpcsweep.runs.prepare import SweepOptions
from hpcsweep.runs.run import Run, open_run
from hpcsweep.runs.unsettled import raise_unsettled

_MOST_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep extend``."""
    parser.add_argument("run", metavar="RUN", help="a run's name or folder")
    options.add_space(parser)
    options.add_profile(parser)
    options.add_runs_dir(parser)
    parser.add_argument(
        "--keep-settings", action="store_true", help="go on where the file's command or resources are not those of the run"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be added, and do nothing")
    options.add_wait_lock(parser)


def run(
    run: str,
    sweep: str,
    params: list[str],
    settings: list[str],
    limit: int | None,
    profile: str | None,
    runs_dir: str | None,
    wait_lock: float,
    *,
    keep_settings: bool,
    dry_run: bool,
) -> int:
    """Extend and advance; 0 also when there is nothing new."""
    opened = open_run(runs_dir, run)
    opened.check_in_place()
    points = read_points(sweep, SweepOptions(params=params, settings=settings, limit=limit, profile=profile))
    tell_warnings(points.sweep, points.expansion)
    if not keep_settings:
        left = check_settings(opened, points.sweep, sweep)
        if left:
            output.note(f"{sweep} has another {', '.join(left)}; the run keeps its own")
    if dry_run:
        additions = find_additions(opened, points)
        check_tasks(opened, additions)
        _tell(opened, additions, sweep, "would add")
        return 0
    with turn_of(opened, wait_lock, "extend") as turn:
        additions = extend(turn, points)
        _tell(opened, additions, sweep, "added")
        report = advance(turn)
    tell_report(opened, report)
    raise_unsettled(opened, report)
    return 0


def _tell(run: Run, additions: Additions, path: str, verb: str) -> None:
    if additions.tasks:
        count = len(additions.tasks)
        words = output.tasks_words([task.index for task in additions.tasks])
        there = f"; {additions.known} of its points were there already" if additions.known else ""
        output.say_now(f"{run.name}: {verb} {count} from {path}: {words}{there}")
    else:
        output.say_now(f"{run.name}: nothing new: all {additions.known} points of {path} are in the run")
    if additions.gone:
        words = output.tasks_words([task.index for task in additions.gone], 2000)
        output.say(f"{run.name}: not in {path} any more, and kept as they are: {words}")
        for task in additions.gone[:_MOST_SHOWN]:
            output.say(f"  task {task.index}: {output.one_line(json.dumps(dict(task.params), ensure_ascii=False), 200)}")
        if len(additions.gone) > _MOST_SHOWN:
            output.say("  ...")
