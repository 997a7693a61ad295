"""Draw results: a panel for each parameter and metric; with --steps learning curves."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcsweep import output
from hpcsweep.cli import tables
from hpcsweep.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep plot``."""
    tables.add_runs(parser)
    parser.add_argument("-x", metavar="LIST", help="parameters, a column of panels each (default: all that vary)")
    parser.add_argument(
        "-y", metavar="LIST", help="metrics, a row of panels each (default: the objective, else the first ones)"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        dest="target",
        help="the picture: .png, .pdf, .svg or .html (default: the run's name with .png)",
    )
    parser.add_argument("--colour", metavar="NAME", help="the parameter whose values are colours; none for no colours")
    parser.add_argument("--steps", action="store_true", help="learning curves: the metrics over the steps")
    parser.add_argument("--title", metavar="TEXT", help="what stands above the panels")
    tables.add_where(parser)
    tables.add_objective(parser)
    tables.add_fresh(parser)


def run(
    run: list[str],
    runs_dir: str | None,
    x: str | None,
    y: str | None,
    target: str | None,
    colour: str | None,
    title: str | None,
    where: str | None,
    objective: str | None,
    *,
    steps: bool,
    fresh: bool,
) -> int:
    """Draw; 0 when the picture is written."""
    from hpcsweep.plots import AUTO, draw, form_of_picture, import_matplotlib, picture_bytes  # noqa: PLC0415
    from hpcsweep.runs.tables import Wanted, results_table  # noqa: PLC0415
    from hpcsweep.store import write_for_user  # noqa: PLC0415

    if steps and x is not None:
        raise UsageError("--steps draws over the steps, so there is no -x", "leave one of the two out")
    runs = tables.open_runs(runs_dir, run)
    path = target or f"{runs[0].name}.png"
    form_of_picture(path)
    import_matplotlib()  # said before all is read
    wanted = Wanted(by_step=steps, objective=None if steps else objective, where=where)
    table = results_table(runs, wanted, tables.gatherer(is_fresh=fresh))
    names = ["step"] if steps else _listed(x)
    chosen = None if colour == "none" else colour or AUTO
    figure = draw(table.to_pandas(), names, _listed(y), colour=chosen, title=title)
    write_for_user(Path(path), picture_bytes(figure, path, title=title or ", ".join(one.name for one in runs)))
    output.say(path)
    output.note(*table.notes)
    return 0


def _listed(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]
