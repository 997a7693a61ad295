"""Let a run that was moved or copied go on where it is now, once nothing of it is live where it was."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.errors import HpcsweepError
from hpcsweep.runs.adopt import adopt
from hpcsweep.runs.run import open_run
from hpcsweep.runs.turn import open_turn
from hpcsweep.store import absolute_as_written


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep adopt``."""
    options.add_run(parser, is_required=True)
    parser.add_argument("--as-copy", action="store_true", help="it is a copy: make it a run of its own")
    parser.add_argument("--cwd", metavar="DIR", help="where its commands run from now on (default: where they did)")
    options.add_wait_lock(parser)


def run(run: str, runs_dir: str | None, cwd: str | None, wait_lock: float, *, as_copy: bool) -> int:
    """Adopt a run; 0 also when there is nothing to adopt.

    Raises:
        SchedulerUnreachable: it did not answer; nothing was changed.
        HpcsweepError: something of the run is live, or it is a copy.
    """
    opened = open_run(runs_dir, run)
    if cwd is not None and not Path(cwd).is_dir():
        raise HpcsweepError(f"--cwd: there is no folder {cwd}")
    if opened.is_in_place:
        if as_copy:
            raise HpcsweepError(f"{opened.name} is no copy: it was made where it is", "copy the folder first: cp -a")
        output.say(f"{opened.name} is where it was made: there is nothing to adopt")
        return 0
    was = opened.recorded_path
    with open_turn(opened, wait_s=wait_lock, command="adopt", is_adopting=True) as turn:
        adopted = adopt(turn, as_copy=as_copy, cwd=None if cwd is None else str(absolute_as_written(Path(cwd))))
    what = f"a run of its own now ({adopted.uid}), made from" if as_copy else "adopted; it was"
    output.say(
        f"{opened.name}: {what} {was}", f"its commands run in {adopted.cwd if opened.frozen is None else opened.paths.code}"
    )
    if opened.frozen is None and not Path(adopted.cwd).is_dir():
        output.note(f"{adopted.cwd} is not there: no task can run; say where, with --cwd, when you adopt it")
    if adopted.again:
        output.say(f"{output.tasks_words(adopted.again)} never started: hpcsweep advance {opened.handle}")
    if adopted.left:
        output.say(
            f"{output.tasks_words(adopted.left)} were under way there: hpcsweep resubmit {opened.handle} runs them here too"
        )
    return 0
