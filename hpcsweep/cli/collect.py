"""One table of all parameters and results: every task has a row, whatever became of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.runs.run import Run, open_run

FORMS = {
    "csv": "comma-separated values",
    "json": "JSON, a list of rows",
    "table": "columns to read (the default)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep collect``."""
    options.add_run(parser)
    for name, what in FORMS.items():
        parser.add_argument(f"--{name}", action="store_const", const=name, dest="form", help=what)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        dest="target",
        help="write there, whole or not at all; JSON when its name says so, else CSV",
    )
    parser.add_argument("--steps", action="store_true", help="one row a step instead of one row a task")


def run(run: str | None, runs_dir: str | None, form: str | None, target: str | None, *, steps: bool) -> int:
    """Collect; 0 also when some tasks have no results (they are in the table with the reason)."""
    print_table(open_run(runs_dir, run), form=form, target=target, by_step=steps)
    return 0


def print_table(opened: Run, *, form: str | None = None, target: str | None = None, by_step: bool = False) -> None:
    """Print or write the table of a run; what was odd goes to standard error."""
    from hpcsweep.runs.results import collect_run  # noqa: PLC0415
    from hpcsweep.store import write_atomically  # noqa: PLC0415

    table = collect_run(opened, by_step=by_step)
    chosen = form or _form_of(target)
    text = output.table_text(table, chosen, output.style_of())
    if target is None:
        output.say_text(text)
    else:
        write_atomically(Path(target), text)
        output.note(f"{target}: {len(table.rows)} rows")
    output.note(*table.notes)


def _form_of(target: str | None) -> str:
    """A file's form is told by its ending; the terminal gets columns."""
    if target is None:
        return "table"
    return {"json": "json", "csv": "csv"}.get(target.rpartition(".")[2].lower(), "csv")
