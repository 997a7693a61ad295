"""Cancel a run or some of its tasks, running or not."""

from __future__ import annotations

import argparse

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.cli.changing import turn_of
from hpcsweep.errors import SchedulerUnreachable
from hpcsweep.runs.control import cancel
from hpcsweep.runs.observe import observe
from hpcsweep.runs.run import open_run
from hpcsweep.runs.select import parse_tasks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep cancel``."""
    options.add_run(parser, is_required=True)
    options.add_tasks(parser, "only these tasks")
    options.add_wait_lock(parser)


def run(run: str, runs_dir: str | None, tasks: str | None, wait_lock: float) -> int:
    """Cancel; what has ended stays as it ended.

    Raises:
        SchedulerUnreachable: the scheduler was not told.
    """
    opened = open_run(runs_dir, run)
    chosen = parse_tasks(tasks, opened.ledger) if tasks is not None else None
    with turn_of(opened, wait_lock, "cancel") as turn:
        fold = observe(opened)
        done = cancel(turn, fold, chosen)
    if done.signalled:
        output.say(f"{opened.name}: cancelled {len(done.signalled)}: {output.tasks_words(done.signalled, 2000)}")
    if done.withdrawn:
        output.say(f"{opened.name}: will not be submitted: {output.tasks_words(done.withdrawn, 2000)}")
    if not done.signalled and not done.withdrawn:
        output.say(f"{opened.name}: nothing to cancel: all had ended")
    elif chosen is not None and done.ended:
        output.note(f"had ended already: {output.tasks_words(done.ended, 2000)}")
    if fold.evidence.live_message:
        raise SchedulerUnreachable(
            f"the scheduler did not answer: {fold.evidence.live_message}", "see hpcsweep status, and cancel again"
        )
    return 0
