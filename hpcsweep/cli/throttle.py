"""Change how many elements of a run may run at once, from now on."""

from __future__ import annotations

import argparse

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.cli.changing import turn_of
from hpcsweep.runs.control import throttle
from hpcsweep.runs.run import open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep throttle``."""
    options.add_run(parser)
    parser.add_argument("number", metavar="N", type=options.count, help="how many at once (0: no limit)")
    options.add_wait_lock(parser)


def run(run: str | None, number: int, runs_dir: str | None, wait_lock: float) -> int:
    """Tell the scheduler, and keep it for arrays to come."""
    opened = open_run(runs_dir, run)
    with turn_of(opened, wait_lock, "throttle") as turn:
        single = throttle(turn, number)
    limit = "no limit" if number == 0 else f"{number} at once"
    output.say(f"{opened.name}: {limit} from now on")
    if single:
        output.note(
            f"{len(single)} single jobs are with the scheduler already and keep their order; this holds for those to come"
        )
    return 0
