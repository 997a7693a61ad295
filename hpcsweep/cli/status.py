"""How every task of a run stands."""

from __future__ import annotations

import argparse

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.cli.screen import screen
from hpcsweep.runs.logs import last_line
from hpcsweep.runs.look import read_status
from hpcsweep.runs.run import open_run
from hpcsweep.runs.select import parse_tasks
from hpcsweep.runs.status import status_json
from hpcsweep.states import FACTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep status``."""
    options.add_run(parser)
    parser.add_argument("--failed", action="store_true", help="every task that did not work, with its reason")
    options.add_tasks(parser, "these tasks, one by one")
    options.add_json(parser)
    parser.add_argument("--watch", action="store_true", help="draw it anew until the run has ended; ^C leaves the run as it is")


def run(run: str | None, runs_dir: str | None, tasks: str | None, *, failed: bool, as_json: bool, watch: bool) -> int:
    """Show how a run stands; 0 whatever the states are."""
    opened = open_run(runs_dir, run)
    if watch:
        from hpcsweep.cli.watch import watch_run  # noqa: PLC0415 - rich is slow to import

        return watch_run(opened)
    status = read_status(opened)
    chosen = parse_tasks(tasks, opened.ledger) if tasks is not None else None
    if failed:
        bad = [view.index for view in status.fold.views if FACTS[view.state].is_failure]
        chosen = bad if chosen is None else [index for index in chosen if index in set(bad)]
    if as_json:
        output.print_json(status_json(opened, status, chosen))
        return 0
    style = output.style_of()
    if chosen is not None:
        views = [status.fold.views[index] for index in chosen]
        lines = output.task_lines(status, views, style, {view.index: last_line(opened, view) for view in views})
        output.say(*(lines or [f"{opened.name}: no task failed"]))
        return 0
    output.say(*screen(opened, status, style))
    return 0
