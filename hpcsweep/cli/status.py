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
    parser.add_argument("--attempts", action="store_true", help="each of their attempts: what it asked for, and how it ended")
    options.add_json(parser)
    parser.add_argument("--watch", action="store_true", help="draw it anew until the run has ended; ^C leaves the run as it is")


def run(
    run: str | None, runs_dir: str | None, tasks: str | None, *, failed: bool, attempts: bool, as_json: bool, watch: bool
) -> int:
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
    style = output.style_of()
    if attempts:
        from hpcsweep.runs.history import attempts_of  # noqa: PLC0415 - a status without it starts sooner

        history = attempts_of(opened, status.fold, range(status.total) if chosen is None else chosen)
        if not as_json:
            output.say(*output.attempt_lines(history, style))
            return 0
    if as_json:
        data = status_json(opened, status, chosen)
        for task in data["tasks"] if attempts else ():
            task["attempts"] = [one.to_json() for one in history[task["index"]]]
        output.print_json(data)
        return 0
    if chosen is not None:
        views = [status.fold.views[index] for index in chosen]
        lines = output.task_lines(status, views, style, {view.index: last_line(opened, view) for view in views})
        output.say(*(lines or [f"{opened.name}: no task failed"]))
        return 0
    output.say(*screen(opened, status, style))
    return 0
