"""The best tasks of a run by its objective; with replicates the best points, by the mean over them."""

from __future__ import annotations

import argparse

from hpcsweep.cli import options, tables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep best``."""
    tables.add_runs(parser)
    parser.add_argument(
        "-n", dest="most", metavar="N", type=options.count, default=10, help="how many; 0: all (default: %(default)s)"
    )
    parser.add_argument("--by", metavar="LIST", help="so many for each value of these columns: dataset,optimizer")
    parser.add_argument("--each", action="store_true", help="rank single tasks, not the means over replicates")
    tables.add_choice(parser)
    tables.add_fresh(parser)
    tables.add_forms(parser)


def run(
    run: list[str],
    runs_dir: str | None,
    most: int,
    by: str | None,
    where: str | None,
    columns: str | None,
    objective: str | None,
    over: str | None,
    form: str | None,
    target: str | None,
    *,
    each: bool,
    fresh: bool,
) -> int:
    """Rank; 0 when there is a best one."""
    from hpcsweep.ranking import brief  # noqa: PLC0415
    from hpcsweep.runs.tables import Wanted, best_table, has_replicates  # noqa: PLC0415

    chosen = tables.form_of(form, target)
    runs = tables.open_runs(runs_dir, run)
    is_aggregated = not each and (over is not None or has_replicates(runs))
    wanted = Wanted(objective=objective, is_aggregated=is_aggregated, over=over, where=where, columns=columns)
    table = best_table(runs, wanted, most=most or None, by=by, gather=tables.gatherer(is_fresh=fresh))
    tables.put(brief(table) if chosen == "table" and columns is None else table, chosen, target)
    return 0
