"""What the commands that print a table of results have in common: their options, and where the table goes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.errors import HpcsweepError, UsageError
from hpcsweep.results import Table
from hpcsweep.runs.run import Run, open_run

if TYPE_CHECKING:
    from hpcsweep.runs.tables import Gather, Gathered

FORMS = {
    "csv": "comma-separated values",
    "json": "JSON, a list of rows",
    "jsonl": "JSON lines, one row a line",
    "markdown": "a Markdown table, rounded",
    "parquet": "Parquet (needs pyarrow: pip install 'hpcsweep[parquet]')",
    "table": "columns to read (the default)",
}


def add_runs(parser: argparse.ArgumentParser) -> None:
    """RUN, any number of them."""
    what = "runs' names or folders, joined with a column `run`; without it the latest run"
    parser.add_argument("run", metavar="RUN", help=what, nargs="*")
    options.add_runs_dir(parser)


def add_forms(parser: argparse.ArgumentParser) -> None:
    """How the table is written, and where."""
    for name, what in FORMS.items():
        parser.add_argument(f"--{name}", action="store_const", const=name, dest="form", help=what)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        dest="target",
        help="write there, whole or not at all; the ending says how: .csv, .json, .jsonl, .parquet, .md, .txt",
    )


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Which rows and columns, and what counts."""
    add_where(parser)
    parser.add_argument("--columns", metavar="LIST", help="only these columns, in this order: task,lr,val_* (patterns too)")
    add_objective(parser)
    parser.add_argument("--over", metavar="LIST", help="average over these parameters too, like over replicates")


def add_where(parser: argparse.ArgumentParser) -> None:
    """Which rows."""
    parser.add_argument("--where", metavar="EXPR", help="only rows for which it holds: \"lr < 0.1 and state == 'done'\"")


def add_objective(parser: argparse.ArgumentParser) -> None:
    """What counts."""
    parser.add_argument(
        "--objective", metavar="X", help="what counts, instead of the sweep file's: val_loss:min, val_loss:last:min"
    )


def add_fresh(parser: argparse.ArgumentParser) -> None:
    """Whether what was read before counts."""
    parser.add_argument("--fresh", action="store_true", help="read all files again, not only those that have changed")


def gatherer(*, is_fresh: bool = False) -> Gather:
    """Reads what the tasks of a run wrote, and shows how far it is."""
    from hpcsweep.runs.results import gather_run  # noqa: PLC0415

    def gather(run: Run, by_step: bool) -> Gathered:  # noqa: FBT001 - how tables ask for it
        with output.progress(f"reading {run.name}") as on_progress:
            return gather_run(run, with_steps=by_step, is_fresh=is_fresh, on_progress=on_progress)

    return gather


def open_runs(runs_dir: str | None, names: Sequence[str]) -> list[Run]:
    """The runs that a command means, each once; the latest when none is named."""
    opened = [open_run(runs_dir, name) for name in names] or [open_run(runs_dir, None)]
    return list({run.paths.root.resolve(): run for run in opened}.values())


def form_of(form: str | None, target: str | None) -> str:
    """How the table shall be written: as is said, else by the file's ending, else columns.

    Raises:
        HpcsweepError: the ending is none of ours, Parquet is not there, or it would go to a terminal; or there can be no
            such file.
    """
    from hpcsweep import formats  # noqa: PLC0415 - only tables need it

    chosen = form or ("table" if target is None else formats.form_of_file(target))
    if target is not None and Path(target).is_dir():  # this, too, is said before all is read
        raise HpcsweepError(f"cannot write {target or 'a file without a name'}: it is a folder, not a file")
    if target is not None and not Path(target).parent.is_dir():
        raise HpcsweepError(f"cannot write {target}: there is no folder {Path(target).parent}")
    if chosen == "parquet":
        formats.import_parquet()  # said before all is read
        if target is None and sys.stdout.isatty():
            raise UsageError("Parquet is not for a terminal", "write it into a file: -o results.parquet")
    return chosen


def put(table: Table, form: str, target: str | None) -> None:
    """Print or write a table; what was odd goes to standard error."""
    from hpcsweep.store import write_for_user  # noqa: PLC0415

    if target is None:
        output.say_table(table, form)
    else:
        write_for_user(Path(target), output.table_bytes(table, form))
        output.note(f"{target}: {len(table.rows)} rows")
    output.note(*table.notes)
