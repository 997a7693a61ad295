"""What is here to run on: scheduler, queues, file system, programs; what to do where something is missing. Leaves nothing behind."""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.errors import UsageError
from hpcsweep.runs.checkup import Checkup, Finding, Level
from hpcsweep.runs.doctor import examine, look_here

WAIT_S = 300.0
_COLOURS: dict[Level, str] = {"ok": "32", "warning": "33", "problem": "31"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep doctor``."""
    options.add_scheduler(parser)
    options.add_runs_dir(parser)
    parser.add_argument("--compute-node", action="store_true", help="look at a compute node too, by one tiny job")
    parser.add_argument(
        "--wait", metavar="TIME", type=options.seconds, help="how long to wait for that job, like 2m or 1h (default: 5m)"
    )
    options.add_profile(parser)
    options.add_json(parser)


def run(
    scheduler: str | None,
    runs_dir: str | None,
    wait: float | None,
    profile: str | None,
    *,
    compute_node: bool,
    as_json: bool,
) -> int:
    """Look at everything; 0 when there is no problem, 1 when there is one, 4 when the scheduler is out of reach.

    Raises:
        UsageError: a time to wait, for nothing.
    """
    if wait is not None and not compute_node:
        raise UsageError("--wait is for the job of --compute-node", "give both, or neither")
    within_s = (WAIT_S if wait is None else wait) if compute_node else None
    findings: list[Finding] = []
    with _ending_cleanly():
        place = look_here(scheduler=scheduler, runs_dir=runs_dir, profile=profile)
        with contextlib.closing(examine(place, on_node_within_s=within_s)) as found:
            for finding in found:
                findings.append(finding)
                if not as_json:
                    output.say_now(*_lines(finding, output.style_of()))
    name = None if place.scheduler is None else place.scheduler.name
    checkup = Checkup(scheduler=name, runs_dir=str(place.runs_dir), findings=findings)
    if as_json:
        output.print_json(checkup.to_json())
    else:
        output.say(_verdict(checkup))
    return checkup.exit_code


def _lines(finding: Finding, style: output.Style) -> Iterator[str]:
    level = style.paint(finding.level, _COLOURS[finding.level])
    yield f"{level}: {finding.subject}: {output.one_line(finding.text, 1000)}"
    if finding.advice:
        yield f"    do: {output.one_line(finding.advice, 1000)}"


def _verdict(checkup: Checkup) -> str:
    counts = [(checkup.count("problem"), "problem"), (checkup.count("warning"), "warning")]
    return ", ".join(f"{number or 'no'} {noun}{'' if number == 1 else 's'}" for number, noun in counts)


@contextlib.contextmanager
def _ending_cleanly() -> Iterator[None]:
    """A kill, or a terminal that is closed, ends the command as ^C does: what it has made and submitted is taken back."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
