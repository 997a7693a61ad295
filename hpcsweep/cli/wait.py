"""Wait until a run has ended. Exit 0 when all tasks are done, 1 when some are not or the time is up."""

from __future__ import annotations

import argparse
import time

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.runs.run import open_run
from hpcsweep.runs.watch import Watch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep wait``."""
    options.add_run(parser)
    parser.add_argument("--timeout", metavar="TIME", type=options.seconds, help="give up after this time, like 2h")


def run(run: str | None, runs_dir: str | None, timeout: float | None) -> int:
    """Wait, advancing the run meanwhile as ``--watch`` does."""
    opened = open_run(runs_dir, run)
    start = time.monotonic()
    watch = Watch(opened, command="wait")
    told = ""
    while not (status := watch.turn()).is_finished:
        if watch.problem not in ("", told):
            output.note(f"{opened.name}: {watch.problem}; waiting goes on")
        told = watch.problem
        left_s = None if timeout is None else timeout - (time.monotonic() - start)
        if left_s is not None and left_s <= 0:
            output.note(f"{opened.name} has not ended after {output.format_seconds(timeout or 0)}")
            return 1
        time.sleep(watch.interval_s if left_s is None else min(watch.interval_s, max(0.05, left_s)))
    counts = ", ".join(f"{number} {state}" for state, number in status.counts.items())
    output.say(f"{opened.name}: {counts}")
    return 0 if status.is_success else 1
