"""Observe, decide and act, once. Idempotent and quiet: fit for cron."""

from __future__ import annotations

import argparse

from hpcsweep.cli import options
from hpcsweep.cli.changing import tell_report, turn_of
from hpcsweep.runs.advance import advance
from hpcsweep.runs.run import open_run
from hpcsweep.runs.unsettled import raise_unsettled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep advance``."""
    options.add_run(parser)
    options.add_wait_lock(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    parser.add_argument(
        "--feed", action="store_true", help="leave a small job on the cluster that advances the run, as `submit --feed` does"
    )
    parser.add_argument(
        "--now", action="store_true", help="repeat an uncertain submission without the wait (safe: elements are idempotent)"
    )


def run(run: str | None, runs_dir: str | None, wait_lock: float, *, quiet: bool, feed: bool, now: bool) -> int:
    """One turn of the loop; 0 when nothing is left to do now, 4 when the scheduler is out of reach.

    Raises:
        SchedulerUnreachable: it did not answer; nothing was changed.
        HpcsweepError: it refused what was submitted.
    """
    opened = open_run(runs_dir, run)
    with turn_of(opened, wait_lock, "advance") as turn:
        report = advance(turn, settle_s=0.0 if now else None, is_by_hand=True, is_fed=feed)
    if not quiet:
        tell_report(opened, report)
    raise_unsettled(opened, report)
    return 0
