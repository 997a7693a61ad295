"""Whether a run's files are sound, and what can be trusted where they are not. Changes nothing, asks no scheduler."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.runs.run import resolve_runs_dir
from hpcsweep.runs.verify import Verification, verify
from hpcsweep.store import find_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep verify``."""
    options.add_run(parser)
    options.add_json(parser)


def run(run: str | None, runs_dir: str | None, *, as_json: bool) -> int:
    """Look at all files of the run; 0 when it is sound, 1 when something is damaged."""
    found = verify(find_run(Path(resolve_runs_dir(runs_dir)), run))
    if as_json:
        output.print_json(found.to_json())
    else:
        output.say(*_lines(found))
    return 0 if found.is_sound else 1


def _lines(found: Verification) -> list[str]:
    lines = []
    for finding in found.findings:
        lines += [
            f"{'damaged' if finding.is_damage else 'note'}: {finding.where}: {finding.problem}",
            f"    trust: {finding.trust}",
            f"    do: {finding.cure}",
        ]
    counts = ((found.tasks, "task"), (found.arrays, "array"), (found.records, "record"))
    looked = ", ".join(f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in counts) + " looked at"
    damages = sum(finding.is_damage for finding in found.findings)
    verdict = "sound" if found.is_sound else f"{damages} thing{'s' if damages > 1 else ''} damaged"
    return [*lines, f"{found.run}: {verdict} ({looked})"]
