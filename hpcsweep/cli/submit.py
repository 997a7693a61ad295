"""Make a run of a sweep file and hand it to the scheduler. Returns at once, unless --watch."""

from __future__ import annotations

import argparse

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.cli.changing import tell_report, tell_rest, tell_warnings
from hpcsweep.runs.prepare import SweepOptions, prepare, read_sweep
from hpcsweep.runs.unsettled import raise_unsettled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep submit``."""
    options.add_sweep(parser)
    parser.add_argument("--watch", action="store_true", help="show progress until the run has ended, then the table of results")
    parser.add_argument("--dry-run", action="store_true", help="print all that would be written and run, and do nothing")
    parser.add_argument("--jobs", metavar="N", type=options.positive, help="scheduler local: how many tasks at once")
    parser.add_argument(
        "--feed",
        action="store_true",
        help="leave a small job on the cluster that submits the rest when there is room for it",
    )
    parser.add_argument(
        "--after", metavar="RUN|JOBID", action="append", default=[], help="start only when that has ended (may be repeated)"
    )


def run(
    sweep: str,
    params: list[str],
    settings: list[str],
    limit: int | None,
    name: str | None,
    scheduler: str | None,
    gpus: list[str],
    profile: str | None,
    runs_dir: str | None,
    jobs: int | None,
    after: list[str],
    *,
    watch: bool,
    feed: bool,
    dry_run: bool,
) -> int:
    """Submit; 0 when it was accepted (with --watch: when all tasks are done)."""
    given = SweepOptions(
        params=params,
        settings=settings,
        limit=limit,
        name=name,
        scheduler=scheduler,
        profile=profile,
        runs_dir=runs_dir,
        gpus=gpus,
    )
    prepared = prepare(read_sweep(sweep, given), sweep, given)
    tell_warnings(prepared.sweep, prepared.expansion)
    if dry_run:
        from hpcsweep.cli.show import dry_run_lines  # noqa: PLC0415

        output.say(*dry_run_lines(prepared, name, jobs))
        return 0
    from hpcsweep.runs.create import jobs_of, submit  # noqa: PLC0415

    made, report = submit(prepared, name=name, jobs=jobs, after=jobs_of(after, prepared), is_fed=feed)
    tell_report(made, report)
    output.say_now(f"{made.name}: {made.paths.root}")
    raise_unsettled(made, report)
    tell_rest(made, report, is_fed=feed, is_watched=watch)
    if not watch:
        output.say(f"look: hpcsweep status {made.handle}")
        return 0
    from hpcsweep.cli.collect import print_results  # noqa: PLC0415
    from hpcsweep.cli.watch import watch_run  # noqa: PLC0415

    code = watch_run(made)
    print_results(made)
    return code
