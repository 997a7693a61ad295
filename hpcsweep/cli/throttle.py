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
    parser.add_argument(
        "words", metavar="[RUN] N", nargs="+", help="the run (default: the latest), and how many at once (0: no limit)"
    )
    options.add_runs_dir(parser)
    options.add_wait_lock(parser)


def run(words: list[str], runs_dir: str | None, wait_lock: str) -> int:
    """Tell the scheduler, and keep it for arrays to come.

    Raises:
        UsageError: no number was given.
    """
    *names, number = words
    if len(names) > 1 or not (number.isascii() and number.isdigit()):
        raise UsageError(f"throttle takes a run and a number, not {' '.join(words)!r}", "hpcsweep throttle run-03 20")
    opened = open_run(runs_dir, names[0] if names else None)
    with turn_of(opened, wait_lock, "throttle") as turn:
        throttle(turn, int(number))
    limit = "no limit" if int(number) == 0 else f"{int(number)} at once"
    output.say(f"{opened.name}: {limit} from now on")
    return 0
