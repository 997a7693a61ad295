"""What a run cost and used, by what was asked for, and what to ask for next time."""

from __future__ import annotations

import argparse

from hpcsweep import output
from hpcsweep.cli import options, tables
from hpcsweep.errors import UsageError
from hpcsweep.runs.run import open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep usage``."""
    options.add_run(parser)
    parser.add_argument("--by", metavar="LIST", help="by the values of these parameters, instead of what was asked for")
    parser.add_argument("--tasks", action="store_true", dest="by_task", help="one row a task")
    tables.add_forms(parser)


def run(run: str | None, runs_dir: str | None, by: str | None, form: str | None, target: str | None, *, by_task: bool) -> int:
    """Add up; 0 also when little is known."""
    from hpcsweep.runs.usage import groups_of, read_usage, usage_table  # noqa: PLC0415
    from hpcsweep.usage import add_up  # noqa: PLC0415
    from hpcsweep.usage_table import advice_lines, brief, groups_table, total_words  # noqa: PLC0415

    if by is not None and by_task:
        raise UsageError("--by and --tasks do not go together", "the rows of --tasks have all parameters")
    chosen = tables.form_of(form, target)
    opened = open_run(runs_dir, run)
    usage = read_usage(opened)
    if chosen != "table" or target is not None or by_task:
        tables.put(usage_table(opened, usage, by=by, by_task=by_task), chosen, target)
    elif usage.attempts:
        groups, names = groups_of(opened, usage, by)
        head, *rest = total_words(add_up(usage.attempts))
        output.say(f"{opened.name}: {head}", *rest, "")
        tables.put(brief(groups_table(groups, names)), "table", None)
        lines = advice_lines(groups)
        output.say(*(["", *lines] if lines else []))
    else:
        output.say(f"{opened.name}: nothing has ended yet")
    output.note(*usage.notes)
    return 0
