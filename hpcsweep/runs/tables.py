"""Tables of one run or several: results, statistics over replicates, the best. Nothing is printed here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hpcsweep.aggregate import aggregate
from hpcsweep.choose import choose_columns, find_columns, is_about, keep_where, sort_rows
from hpcsweep.collect import NO_SUCH_METRIC, CollectTask, Layout, collect
from hpcsweep.errors import HpcsweepError, UsageError
from hpcsweep.merge import TaskMetrics
from hpcsweep.objective import Objective, parse_objective
from hpcsweep.ranking import RANK, REMARK, has_values, rank
from hpcsweep.results import Table
from hpcsweep.runs.results import gather_run
from hpcsweep.runs.run import Run

Gathered = list[tuple[CollectTask, TaskMetrics]]
Gather = Callable[[Run, bool], Gathered]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What of the results is wanted.

    ``objective``: instead of the sweep file's. ``over``: more parameters to average over, with commas, besides the replicates.
    ``where``, ``sort``, ``columns``: as ``choose`` reads them, in this order; a condition that the tasks' own columns
    cannot answer is about the aggregated ones.
    """

    by_step: bool = False
    objective: str | None = None
    is_aggregated: bool = False
    over: str | None = None
    where: str | None = None
    sort: str | None = None
    columns: str | None = None


PLAIN = Wanted()


def gather_tasks(run: Run, by_step: bool) -> Gathered:  # noqa: FBT001 - how tables ask for it
    """What every task of a run wrote."""
    return gather_run(run, with_steps=by_step)


def results_table(runs: Sequence[Run], wanted: Wanted = PLAIN, gather: Gather = gather_tasks) -> Table:
    """The results of runs as one table: one row a task, a step, or a point with the statistics over its replicates.

    Raises:
        HpcsweepError: no such column, an expression that cannot be understood, runs with different objectives.
    """
    if wanted.by_step and wanted.is_aggregated:
        raise UsageError("--steps and --aggregate do not go together", "aggregate the steps in a notebook, by step and point")
    objective = None if wanted.by_step else objective_of(runs, wanted.objective)
    table = _chosen_rows(runs, wanted, objective, gather)
    if wanted.sort is not None:
        table = sort_rows(table, wanted.sort)
    return table if wanted.columns is None else choose_columns(table, wanted.columns)


def best_table(
    runs: Sequence[Run], wanted: Wanted = PLAIN, *, most: int | None = 10, by: str | None = None, gather: Gather = gather_tasks
) -> Table:
    """The best tasks of runs by their objective; of runs with replicates the best points, by the mean over them.

    Args:
        runs: that are ranked together.
        wanted: as for ``results_table``; ``is_aggregated`` is only about whether points or tasks are ranked.
        most: how many, of each group; None for all.
        by: columns, with commas: each combination of their values is ranked by itself.
        gather: reads what the tasks wrote.

    Raises:
        HpcsweepError: as ``results_table``; there is no objective, or nothing has a value of it.
    """
    objective = objective_of(runs, wanted.objective)
    if objective is None:
        names = ", ".join(run.name for run in runs)
        raise HpcsweepError(
            f"{names}: the sweep file has no objective, so nothing says what is good",
            "say it: --objective val_loss:min, or `objective: val_loss:min` in the next sweep file",
        )
    table = _chosen_rows(runs, wanted, objective, gather, reserved=(RANK, REMARK))
    groups = [] if by is None else find_columns(table, by, "--by")
    if not has_values(table):
        raise _nothing_to_rank(runs, objective, table, wanted)
    table = rank(table, is_less_better=objective.is_less_better, most=most, by=groups)
    return table if wanted.columns is None else choose_columns(table, wanted.columns)


def has_replicates(runs: Sequence[Run]) -> bool:
    """Whether any of the runs repeats its points."""
    return any(run.settings.replicates for run in runs)


def objective_of(runs: Sequence[Run], text: str | None) -> Objective | None:
    """The objective that is given, else that of the runs.

    Raises:
        HpcsweepError: it is none, or the runs have different ones.
    """
    if text is not None:
        try:
            return parse_objective(text)
        except HpcsweepError as error:
            raise UsageError(f"--objective: {error.message}", error.hint) from error
    found = {run.settings.objective: run.name for run in runs if run.settings.objective is not None}
    if len(found) > 1:
        said = ", ".join(f"{name} has {objective}" for objective, name in found.items())
        raise HpcsweepError(f"the runs have different objectives: {said}", "say which one counts: --objective val_loss:min")
    return parse_objective(next(iter(found))) if found else None


def _chosen_rows(
    runs: Sequence[Run], wanted: Wanted, objective: Objective | None, gather: Gather, reserved: tuple[str, ...] = ()
) -> Table:
    replicates = _replicates(runs, wanted)
    tasks = [task for run, name in _named(runs) for task in _of_run(gather(run, wanted.by_step), name)]
    layout = Layout(
        by_step=wanted.by_step,
        is_joined=len(runs) > 1,
        objective=objective,
        replicates=replicates,
        by_point=wanted.is_aggregated,
        reserved=reserved,
    )
    table = collect(tasks, layout)
    table = replace(table, notes=(*_problems(runs), *table.notes))
    if not wanted.is_aggregated:
        return table if wanted.where is None else _kept(table, wanted.where)
    is_about_points = wanted.where is not None and not is_about(table, wanted.where)
    if wanted.where is not None and not is_about_points:
        table = _kept(table, wanted.where)
    if not table.replicates:
        note = "the sweep has no replicates: every row is one task (--over seed averages over a parameter of that name)"
        table = replace(table, notes=(*table.notes, note))
    table = aggregate(table)
    return _kept(table, wanted.where) if wanted.where is not None and is_about_points else table


def _problems(runs: Sequence[Run]) -> list[str]:
    """What is wrong with the runs themselves."""
    problems = [(run, problem) for run in runs for problem in (*run.problems, *run.tasks_problems)]
    return [f"{run.name}: {problem}" if len(runs) > 1 else problem for run, problem in problems]


def _kept(table: Table, where: str) -> Table:
    kept = keep_where(table, where)
    note = f"--where {where!r} leaves none of {len(table.rows)} rows"
    return replace(kept, notes=(*kept.notes, note)) if table.rows and not kept.rows else kept


def _replicates(runs: Sequence[Run], wanted: Wanted) -> frozenset[str]:
    """The parameters that only repeat a point.

    Raises:
        HpcsweepError: ``--over`` names what is no parameter.
    """
    declared = {name for run in runs for name in run.settings.replicates}
    names = {name for run in runs for name in run.names}
    more = [name.strip() for name in (wanted.over or "").split(",") if name.strip()]
    for name in more:
        if name not in names:
            raise HpcsweepError(f"--over: there is no parameter `{name}`", f"the parameters are {', '.join(sorted(names))}")
    return frozenset(declared | set(more))


def _named(runs: Sequence[Run]) -> list[tuple[Run, str]]:
    """The runs with what the column ``run`` calls them; their paths where names are not enough. None for a single run."""
    if len(runs) == 1:
        return [(runs[0], "")]
    count = Counter(run.name for run in runs)
    return [(run, run.name if count[run.name] == 1 else str(run.paths.root)) for run in runs]


def _of_run(tasks: Gathered, name: str) -> Gathered:
    return [(replace(task, run=name), metrics) for task, metrics in tasks] if name else tasks


def _nothing_to_rank(runs: Sequence[Run], objective: Objective, table: Table, wanted: Wanted) -> HpcsweepError:
    if not table.rows:
        return HpcsweepError(f"--where {wanted.where!r} leaves nothing to rank")
    unknown = next((note for note in table.notes if note.startswith(NO_SUCH_METRIC)), None)
    return HpcsweepError(
        unknown or f"no task has a number for `{objective.metric}` yet", f"look: hpcsweep collect {runs[0].handle}"
    )
