"""Let nothing more of a run start; what runs goes on."""

from __future__ import annotations

import argparse

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.cli.changing import turn_of
from hpcsweep.runs.control import set_hold
from hpcsweep.runs.run import open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep hold``."""
    options.add_run(parser)
    options.add_wait_lock(parser)


def run(run: str | None, runs_dir: str | None, wait_lock: float) -> int:
    """Let nothing more of a run start; what runs goes on."""
    opened = open_run(runs_dir, run)
    with turn_of(opened, wait_lock, "hold") as turn:
        set_hold(turn, "hold")
    output.say(f"{opened.name}: held; `hpcsweep release {opened.handle}` goes on")
    return 0
