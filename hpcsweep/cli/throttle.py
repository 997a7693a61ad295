"""Change how many elements of a run may run at once, from now on."""

from __future__ import annotations

import argparse

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.cli.changing import turn_of
from hpcsweep.errors import UsageError
from hpcsweep.runs.control import throttle
from hpcsweep.runs.run import open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep throttle``."""
    options.add_run(parser)
    parser.add_argument("number", metavar="N", help="how many at once (0: no limit)")
    options.add_wait_lock(parser)


def run(run: str | None, number: str, runs_dir: str | None, wait_lock: str) -> int:
    """Tell the scheduler, and keep it for arrays to come.

    Raises:
        UsageError: no number was given.
    """
    if not (number.isascii() and number.isdigit()):
        raise UsageError(f"throttle takes a run and a number, not {number!r}", "hpcsweep throttle run-03 20")
    opened = open_run(runs_dir, run)
    with turn_of(opened, wait_lock, "throttle") as turn:
        throttle(turn, int(number))
    limit = "no limit" if int(number) == 0 else f"{int(number)} at once"
    output.say(f"{opened.name}: {limit} from now on")
    return 0
