"""How much room the runs take, by part."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.runs.housekeeping import measure_run
from hpcsweep.runs.run import Run, open_run, resolve_runs_dir
from hpcsweep.store import list_runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep du``."""
    parser.add_argument("run", metavar="RUN", nargs="*", help="runs (default: all)")
    options.add_runs_dir(parser)
    options.add_json(parser)


def run(run: list[str], runs_dir: str | None, *, as_json: bool) -> int:
    """Measure what is on disk."""
    where = resolve_runs_dir(runs_dir)
    runs = [open_run(runs_dir, name) for name in run] if run else [Run(paths) for paths in list_runs(Path(where))]
    sizes = [measure_run(opened) for opened in runs]
    if as_json:
        output.print_json([size.to_json() for size in sizes])
        return 0
    if not sizes:
        output.note(f"there are no runs in {where}")
        return 0
    rows = [["RUN", "FILES", "SIZE", "TASK FOLDERS", "LOGS", "OWN RECORDS", "CODE"]]
    rows += [
        [
            s.name,
            str(s.files),
            *map(output.format_bytes, (s.total_bytes, s.tasks_bytes, s.logs_bytes, s.records_bytes, s.code_bytes)),
        ]
        for s in sizes
    ]
    if len(sizes) > 1:
        rows.append(
            ["all", str(sum(s.files for s in sizes)), output.format_bytes(sum(s.total_bytes for s in sizes)), "", "", "", ""]
        )
    output.say(*output.columns(rows, right=frozenset({1, 2, 3, 4, 5, 6})))
    return 0
