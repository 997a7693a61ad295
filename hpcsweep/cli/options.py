"""Options that several commands share, each declared once."""

from __future__ import annotations

import argparse

_SCHEDULERS = ("slurm", "pbs", "torque", "local")


def add_run(parser: argparse.ArgumentParser, *, is_required: bool = False) -> None:
    """RUN, and where runs are looked for."""
    what = "a run's name or folder" + ("" if is_required else "; without it the latest run")
    parser.add_argument("run", metavar="RUN", help=what, nargs=None if is_required else "?")
    add_runs_dir(parser)


def add_runs_dir(parser: argparse.ArgumentParser) -> None:
    """Where runs are looked for."""
    parser.add_argument("--runs-dir", metavar="DIR", help="where runs are (default: runs_dir of your configuration, else runs)")


def add_wait_lock(parser: argparse.ArgumentParser) -> None:
    """For commands that change a run."""
    parser.add_argument(
        "--wait-lock",
        metavar="TIME",
        type=seconds,
        default="30s",
        help="how long to wait while another command changes the run, like 90s or 5m (default: %(default)s)",
    )


def add_tasks(parser: argparse.ArgumentParser, what: str) -> None:
    """A choice of tasks."""
    parser.add_argument("--tasks", metavar="LIST", help=f"{what}: 3,17-20, or scheduler ids like 4711_3")


def add_json(parser: argparse.ArgumentParser) -> None:
    """For programs."""
    parser.add_argument("--json", action="store_true", dest="as_json", help="for programs: JSON on standard output")


def add_space(parser: argparse.ArgumentParser) -> None:
    """The sweep file and what changes its points and settings; the same wherever points are read."""
    parser.add_argument("sweep", metavar="SWEEP.yaml", help="the sweep file")
    parser.add_argument(
        "-p",
        "--param",
        metavar="NAME=VALUES",
        action="append",
        default=[],
        dest="params",
        help="replace or add a parameter: lr=0.1,0.2 (may be repeated)",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="change any setting: resources.time=1h (may be repeated)",
    )
    parser.add_argument("--limit", metavar="N", type=positive, help="only the first N tasks")


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """The sweep file and all that changes what it says; the same for ``submit`` and ``show``."""
    add_space(parser)
    parser.add_argument("--name", metavar="NAME", help="the run's name (default: run-01, run-02, ...)")
    add_scheduler(parser)
    parser.add_argument(
        "--gpus",
        metavar="LIST",
        action="append",
        default=[],
        help="scheduler local: the GPUs that tasks may have, 0,1,2,3 (as groups '0;1,2'); none: they are not given out",
    )
    add_profile(parser)
    parser.add_argument(
        "--runs-dir", metavar="DIR", help="where runs are made (default: runs_dir of your configuration, else runs)"
    )


def add_scheduler(parser: argparse.ArgumentParser) -> None:
    """Whose jobs they are."""
    parser.add_argument("--scheduler", metavar="NAME", choices=("auto", *_SCHEDULERS), help="auto, slurm, pbs, torque or local")


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Defaults for one cluster."""
    parser.add_argument("--profile", metavar="NAME", help="the profile of your configuration (default: by host name)")


def seconds(text: str) -> float:
    """A time like ``90s`` or ``2h`` in seconds, ``0`` for none, for argparse."""
    from hpcsweep.errors import HpcsweepError  # noqa: PLC0415
    from hpcsweep.sweepfile.units import parse_time  # noqa: PLC0415

    try:
        return 0.0 if text == "0" else float(parse_time(text))
    except HpcsweepError as error:
        raise argparse.ArgumentTypeError(f"{error.message}: {error.hint}") from None


def count(text: str) -> int:
    """A whole number, not below zero, for argparse."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def positive(text: str) -> int:
    """A whole number above zero, for argparse."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number
