"""Run a command, or a shell, with a scheduler to rehearse with: sbatch or qsub and the others run the jobs on this machine."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.errors import HpcsweepError, UsageError
from hpcsweep.rehearsal.face import SettingError, Value
from hpcsweep.rehearsal.faults import FAULTS, parse_fault
from hpcsweep.rehearsal.processes import FOLDER_VARIABLE
from hpcsweep.rehearsal.rehearse import Rehearsal, RehearsalError, control
from hpcsweep.rehearsal.server import FACES, load_face


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep rehearse``; the command stands behind ``--``."""
    parser.usage = "hpcsweep rehearse [slurm|pbs|torque] [OPTIONS] [-- COMMAND ...]"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "faults:\n" + "".join(f"  {name:15} {text}\n" for name, text in FAULTS.items())
    parser.add_argument(
        "scheduler",
        nargs="?",
        choices=tuple(FACES),
        metavar="SCHEDULER",
        help="slurm, pbs or torque; in a rehearsal: none, with --fault",
    )
    parser.add_argument(
        "--dir", metavar="FOLDER", dest="folder", help="where it keeps its things (default: a new temporary folder)"
    )
    parser.add_argument("--cpus", metavar="N", type=options.positive, help="cpus of each node (default: those of this machine)")
    parser.add_argument("--nodes", metavar="N", type=options.positive, help="how many nodes (default: 1)")
    parser.add_argument(
        "--gpus",
        metavar="N",
        type=options.positive,
        help="GPUs of each node; none are there, their numbers are given out (default: 0)",
    )
    parser.add_argument(
        "--fault",
        metavar="NAME[=ARGUMENT]",
        action="append",
        default=[],
        dest="faults",
        help="what goes wrong, see below (may be repeated)",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="change a setting of the scheduler (may be repeated)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the jobs and the scheduler running at the end, and the folder in its place"
    )


def run(
    words: list[str],
    scheduler: str | None,
    folder: str | None,
    cpus: int | None,
    nodes: int | None,
    gpus: int | None,
    faults: list[str],
    settings: list[str],
    *,
    keep: bool,
) -> int:
    """The command's exit code."""
    check_faults(faults)
    if scheduler is None:
        return change_faults(faults)
    given = read_settings(scheduler, settings) | {
        name: number for name, number in (("cpus", cpus), ("nodes", nodes), ("gpus", gpus)) if number is not None
    }
    try:
        rehearsal = Rehearsal(scheduler, folder, given, keep=keep)
    except SettingError as error:
        raise UsageError(str(error)) from None
    except RehearsalError as error:
        raise HpcsweepError(str(error), "give another --dir") from None
    try:
        with rehearsal:
            for fault in faults:
                rehearsal.fault(fault)
            output.note(f"rehearsing {scheduler} in {rehearsal.folder}")
            return rehearsal.run(words or [os.environ.get("SHELL") or "/bin/sh"])
    except RehearsalError as error:
        raise HpcsweepError(str(error)) from None


def check_faults(faults: list[str]) -> None:
    """Refuse what is no fault, before anything is made.

    Raises:
        UsageError: it is none.
    """
    try:
        for fault in faults:
            if fault != "none":
                parse_fault(fault)
    except ValueError as error:
        raise UsageError(str(error)) from None


def change_faults(faults: list[str]) -> int:
    """Change the faults of the rehearsal that this runs in.

    Raises:
        UsageError: it runs in none, or nothing is to be changed.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        raise UsageError("which scheduler? slurm, pbs or torque")
    if not faults:
        raise UsageError("this is a rehearsal already", "--fault NAME changes what goes wrong in it, --fault none ends that")
    try:
        for fault in faults:
            control(Path(folder), "fault", fault)
    except RehearsalError as error:
        raise HpcsweepError(str(error)) from None
    return 0


def read_settings(scheduler: str, settings: list[str]) -> dict[str, Value]:
    """``["kill_delay_s=1"]`` as a table; the values stay texts.

    Raises:
        UsageError: one of them is no ``KEY=VALUE``, or the scheduler has no such setting.
    """
    table = load_face(scheduler).table
    found: dict[str, Value] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or key not in table:
            lines = "".join(
                f"\n  {name}={shlex.quote(str(setting.default))}  {setting.help}" for name, setting in table.items()
            )
            raise UsageError(f"--set {text}: {scheduler} has these settings:{lines}")
        found[key] = value
    return found
