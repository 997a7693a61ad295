"""Run again what did not work: failed, timed out, out of memory, lost, preempted, on a dead node. Never what is done, pending or running."""

from __future__ import annotations

import argparse

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.cli.changing import tell_report, turn_of
from hpcsweep.errors import SchedulerUnreachable
from hpcsweep.runs.advance import advance
from hpcsweep.runs.control import mark_resubmit
from hpcsweep.runs.observe import observe
from hpcsweep.runs.run import open_run
from hpcsweep.runs.select import is_finally_to_resubmit, parse_states, parse_tasks, tasks_to_resubmit
from hpcsweep.runs.unsettled import raise_unsettled
from hpcsweep.states import State


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep resubmit``."""
    options.add_run(parser)
    parser.add_argument(
        "--state", metavar="LIST", help="only tasks in these states: failed,timeout (cancelled ones only when asked)"
    )
    options.add_tasks(parser, "only these tasks")
    parser.add_argument("--dry-run", action="store_true", help="say which tasks, and do nothing")
    options.add_wait_lock(parser)


def run(run: str | None, runs_dir: str | None, state: str | None, tasks: str | None, wait_lock: float, *, dry_run: bool) -> int:
    """Mark the tasks and advance; 0 also when there is nothing to run again."""
    opened = open_run(runs_dir, run)
    states = parse_states(state) if state is not None else None
    chosen = parse_tasks(tasks, opened.ledger) if tasks is not None else None
    with turn_of(opened, wait_lock, "resubmit") as turn:
        fold = observe(opened)
        again = tasks_to_resubmit(fold, states, chosen)
        if chosen is not None:
            left = sorted(set(chosen) - set(again))
            if left:
                words = ", ".join(f"{index} ({fold.views[index].state})" for index in left[:10])
                output.note(f"left as they are: {words}{' ...' if len(left) > 10 else ''}")
        again_finally = chosen is None and is_finally_to_resubmit(fold, states)
        if not again and not again_finally:
            cancelled = 0 if states or chosen else sum(view.state is State.CANCELLED for view in fold.views)
            hint = f"; {cancelled} cancelled: hpcsweep resubmit {opened.handle} --state cancelled" if cancelled else ""
            output.say(f"{opened.name}: nothing to run again{hint}")
            if fold.evidence.live_message:
                raise SchedulerUnreachable(f"the scheduler did not answer: {fold.evidence.live_message}", "try again later")
            return 0
        what = f"{len(again)}: {output.tasks_words(again, 2000)}" if again else "the command after the tasks"
        if dry_run:
            output.say(f"{opened.name}: would run again {what}")
            return 0
        mark_resubmit(turn, fold, again)
        report = advance(turn)
    output.say(f"{opened.name}: runs again {what}")
    tell_report(opened, report)
    raise_unsettled(opened, report)
    return 0
