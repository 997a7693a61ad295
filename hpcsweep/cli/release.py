"""Undo hold; go on after a failed canary or too many failures."""

from __future__ import annotations

import argparse

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.cli.changing import tell_report, turn_of
from hpcsweep.runs.advance import advance
from hpcsweep.runs.control import set_hold
from hpcsweep.runs.run import open_run
from hpcsweep.runs.unsettled import raise_unsettled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep release``."""
    options.add_run(parser)
    options.add_wait_lock(parser)


def run(run: str | None, runs_dir: str | None, wait_lock: float) -> int:
    """Undo hold; go on after a failed canary or too many failures."""
    opened = open_run(runs_dir, run)
    with turn_of(opened, wait_lock, "release") as turn:
        set_hold(turn, "release")
        report = advance(turn)
    output.say(f"{opened.name}: released")
    tell_report(opened, report)
    raise_unsettled(opened, report)
    return 0
