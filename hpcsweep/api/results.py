"""Results as data frames: ``metrics``, ``best``, and their picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcsweep.api.run import Run, open_run
from hpcsweep.runs.results import gather_run
from hpcsweep.runs.tables import Wanted, best_table, has_replicates, results_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from hpcsweep.runs.run import Run as OpenedRun
    from hpcsweep.runs.tables import Gather, Gathered

Runs = Run | str | Path | Iterable[Run | str | Path]
"""A run, or several; a text is a run's name or folder."""


def metrics(  # noqa: PLR0913 - each is one wish
    run: Runs,
    *,
    steps: bool = False,
    aggregate: bool = False,
    where: str | None = None,
    sort: str | None = None,
    columns: str | Sequence[str] | None = None,
    objective: str | None = None,
    over: str | Sequence[str] | None = None,
    fresh: bool = False,
) -> pd.DataFrame:
    """What the tasks wrote, beside their parameters: one row a task with the last values, whatever became of it.

    Args:
        run: one run or several, which are joined with a column ``run``.
        steps: one row a step.
        aggregate: one row a point, with the statistics over its replicates: ``val_loss.mean``, ``val_loss.std``, ...
        where: only rows for which this holds, ``"lr < 0.1 and state == 'done'"``.
        sort: by these columns, ``"-val_loss,lr"``.
        columns: only these, ``"task,lr,val_*"``.
        objective: what counts, instead of the sweep file's.
        over: average over these parameters too, as over replicates.
        fresh: read all files, not only those that have changed.

    ``frame.attrs`` names the columns that are ``params``, ``replicates`` and ``metrics``, and has the ``notes`` on what was odd.

    Raises:
        HpcsweepError: there is no such run or column, or a condition cannot be understood.
    """
    wanted = Wanted(
        by_step=steps,
        objective=objective,
        is_aggregated=aggregate,
        over=_joined(over),
        where=where,
        sort=sort,
        columns=_joined(columns),
    )
    return results_table(_opened(run), wanted, _gatherer(is_fresh=fresh)).to_pandas()


def best(  # noqa: PLR0913 - each is one wish
    run: Runs,
    n: int | None = 10,
    *,
    by: str | Sequence[str] | None = None,
    objective: str | None = None,
    each: bool = False,
    where: str | None = None,
    over: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """The best tasks by the objective; of runs with replicates the best points, by the mean over them.

    Args:
        run: one run or several.
        n: how many; None for all.
        by: so many for each value of these columns.
        objective: what counts, instead of the sweep file's: ``"val_loss:min"``.
        each: rank single tasks, not means over replicates.
        where: only rows for which this holds.
        over: average over these parameters too.
        columns: only these.

    Raises:
        HpcsweepError: there is no objective, or nothing has a value of it.
    """
    runs = _opened(run)
    is_aggregated = not each and (over is not None or has_replicates(runs))
    wanted = Wanted(objective=objective, is_aggregated=is_aggregated, over=_joined(over), where=where, columns=_joined(columns))
    return best_table(runs, wanted, most=n, by=_joined(by)).to_pandas()


def plot(
    data: pd.DataFrame | Runs,
    x: str | Sequence[str] | None = None,
    y: str | Sequence[str] | None = None,
    *,
    colour: str | None = "auto",
    title: str | None = None,
) -> Figure:
    """A figure of results: one panel for each x and y. It is a figure of matplotlib: ``figure.savefig("fig.pdf")``.

    Axes are logarithmic where the values are, replicates are a mean with a band, blocks of a sum have colours.

    Args:
        data: what :func:`metrics` gave (with ``steps=True`` and ``x="step"``: learning curves), or a run.
        x: parameters, or ``"step"``; default: all parameters that vary.
        y: metrics; default: the objective, else the first ones.
        colour: the column whose values are colours; None for none.
        title: above all panels.

    Raises:
        HpcsweepError: there is no such column, nothing to be drawn, or no matplotlib.
    """
    from hpcsweep.plots import draw  # noqa: PLC0415 - slow to import

    names = _listed(x)
    frame: Any = data
    if isinstance(data, Run | str | Path | list | tuple):
        frame = metrics(data, steps=names == ["step"])
    return draw(frame, names, _listed(y), colour=colour, title=title)


def _opened(run: Runs) -> list[OpenedRun]:
    several = [run] if isinstance(run, Run | str | Path) else list(run)
    opened = [one if isinstance(one, Run) else open_run(one) for one in several]
    for one in opened:
        one.opened.forget_ledger()
    return [one.opened for one in dict.fromkeys(opened)]


def _gatherer(*, is_fresh: bool) -> Gather:
    def gather(run: OpenedRun, by_step: bool) -> Gathered:  # noqa: FBT001 - how tables ask for it
        return gather_run(run, with_steps=by_step, is_fresh=is_fresh)

    return gather


def _joined(names: str | Sequence[str] | None) -> str | None:
    return names if names is None or isinstance(names, str) else ",".join(names)


def _listed(names: str | Sequence[str] | None) -> list[str] | None:
    return names if names is None else [names] if isinstance(names, str) else list(names)
