"""Remove a run's folder with all that is in it, logs and results too."""

from __future__ import annotations

import argparse

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.cli.changing import turn_of
from hpcsweep.runs.housekeeping import check_ended, measure_run, remove_run
from hpcsweep.runs.run import open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep rm``."""
    options.add_run(parser, is_required=True)
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    options.add_wait_lock(parser)


def run(run: str, runs_dir: str | None, wait_lock: float, *, dry_run: bool) -> int:
    """Remove; refused while anything of the run is live."""
    opened = open_run(runs_dir, run)
    size = measure_run(opened)
    what = f"{opened.paths.root}: {size.files} files, {output.format_bytes(size.total_bytes)}"
    if dry_run:
        check_ended(opened)
        output.say(f"would remove {what}")
        return 0
    with turn_of(opened, wait_lock, "rm"):
        check_ended(opened)
        remove_run(opened)
    output.say(f"removed {what}")
    return 0
