"""Pack a run that has ended into one file, RUN.tar.gz beside it, check the file, then remove the folder."""

from __future__ import annotations

import argparse

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.cli.changing import turn_of
from hpcsweep.runs.housekeeping import archive_run, check_ended, measure_run
from hpcsweep.runs.run import open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep archive``."""
    options.add_run(parser, is_required=True)
    parser.add_argument("--keep", action="store_true", help="keep the folder as well")
    options.add_wait_lock(parser)


def run(run: str, runs_dir: str | None, wait_lock: float, *, keep: bool) -> int:
    """Archive; refused while anything of the run is live."""
    opened = open_run(runs_dir, run)
    with turn_of(opened, wait_lock, "archive"):
        check_ended(opened)
        size = measure_run(opened)
        target = archive_run(opened, keeps_folder=keep)
    what = "packed" if keep else "packed and removed"
    output.say(f"{opened.name}: {size.files} files, {output.format_bytes(size.total_bytes)} {what}: {target}")
    output.say(f"get it back: tar -xzf {target} -C {target.parent}")
    return 0
