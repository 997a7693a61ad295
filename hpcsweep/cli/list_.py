"""The runs there are, the latest last."""

from __future__ import annotations

import argparse

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.runs.housekeeping import list_summaries
from hpcsweep.runs.run import resolve_runs_dir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep list``."""
    options.add_runs_dir(parser)
    options.add_json(parser)


def run(runs_dir: str | None, *, as_json: bool) -> int:
    """List runs by what their own records say; the scheduler is not asked."""
    where = resolve_runs_dir(runs_dir)
    summaries = list_summaries(where)
    if as_json:
        output.print_json([summary.to_json() for summary in summaries])
    elif summaries:
        rows = [["RUN", "SWEEP", "SCHEDULER", "TASKS", "CREATED", "STATES"]]
        rows += [[s.run, s.sweep, s.scheduler, str(s.total), s.created, s.words] for s in summaries]
        output.say(*output.columns(rows, right=frozenset({3})))
    else:
        output.note(f"there are no runs in {where}; hpcsweep submit SWEEP.yaml makes one")
    return 0
