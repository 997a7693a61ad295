"""One table of all parameters and results: every task has a row, whatever became of it."""

from __future__ import annotations

import argparse

from hpcsweep import output
from hpcsweep.cli import tables
from hpcsweep.errors import HpcsweepError
from hpcsweep.runs.run import Run

BEST_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep collect``."""
    tables.add_runs(parser)
    tables.add_forms(parser)
    parser.add_argument("--steps", action="store_true", help="one row a step instead of one row a task")
    parser.add_argument(
        "--aggregate", action="store_true", help="one row a point: the statistics of every metric over its replicates"
    )
    tables.add_choice(parser)
    parser.add_argument(
        "--sort", metavar="LIST", help="by these columns, the first foremost: -val_loss,lr (-: the largest first)"
    )
    tables.add_fresh(parser)


def run(
    run: list[str],
    runs_dir: str | None,
    form: str | None,
    target: str | None,
    where: str | None,
    columns: str | None,
    objective: str | None,
    over: str | None,
    sort: str | None,
    *,
    steps: bool,
    aggregate: bool,
    fresh: bool,
) -> int:
    """Collect; 0 also when some tasks have no results (they are in the table with the reason)."""
    from hpcsweep.runs.tables import Wanted, results_table  # noqa: PLC0415

    chosen = tables.form_of(form, target)
    wanted = Wanted(
        by_step=steps, objective=objective, is_aggregated=aggregate, over=over, where=where, sort=sort, columns=columns
    )
    table = results_table(tables.open_runs(runs_dir, run), wanted, tables.gatherer(is_fresh=fresh))
    tables.put(table, chosen, target)
    return 0


def print_results(opened: Run) -> None:
    """The results of a run that has ended: the best of them where there is an objective, else all."""
    from hpcsweep.ranking import brief  # noqa: PLC0415
    from hpcsweep.runs.tables import Wanted, best_table, has_replicates, results_table  # noqa: PLC0415

    if opened.settings.objective is not None:
        try:
            table = best_table(
                [opened], Wanted(is_aggregated=has_replicates([opened])), most=BEST_SHOWN, gather=tables.gatherer()
            )
        except HpcsweepError as error:
            output.note(error.message)
        else:
            tables.put(brief(table), "table", None)
            output.say(f"the best by {opened.settings.objective}; all: hpcsweep collect {opened.handle} --csv")
            return
    tables.put(results_table([opened], gather=tables.gatherer()), "table", None)
