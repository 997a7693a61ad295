"""Draw a run's status anew until it has ended."""

from __future__ import annotations

import sys
import time

from hpcsweep import output
from hpcsweep.cli.screen import screen
from hpcsweep.runs.run import Run
from hpcsweep.runs.status import Status
from hpcsweep.runs.watch import Watch

PLAIN_EVERY_S = 5.0


def watch_run(opened: Run) -> int:
    """Watch until the run has ended: on a terminal redrawn in place, else a line when something changed. 0 when all are done."""
    try:
        status = _watch_live(opened) if sys.stdout.isatty() and output.style_of().has_colour else _watch_plain(opened)
    except KeyboardInterrupt:
        output.note(f"{opened.name} goes on without you: hpcsweep status {opened.handle} --watch")
        raise
    return 0 if status.is_success else 1


def _watch_live(opened: Run) -> Status:
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    watch = Watch(opened, command="status --watch")
    with Live(console=Console(), auto_refresh=False, transient=False) as live:
        while True:
            status = watch.turn()
            text = Text.from_ansi("\n".join(screen(opened, status, output.style_of())), no_wrap=True, overflow="ellipsis")
            live.update(text, refresh=True)
            if status.is_finished:
                return status
            time.sleep(watch.interval_s)


def _watch_plain(opened: Run) -> Status:
    """Not a terminal: a line when the counts have changed, but not too many of them; the whole status at the end."""
    watch = Watch(opened, command="status --watch")
    told, told_at, problem = "", -PLAIN_EVERY_S, ""
    while True:
        status = watch.turn()
        if watch.problem not in ("", problem):
            output.note(f"{opened.name}: {watch.problem}; watching goes on")
        problem = watch.problem
        counts = ", ".join(f"{number} {state}" for state, number in status.counts.items())
        if counts != told and (status.is_finished or time.monotonic() - told_at >= PLAIN_EVERY_S):
            output.say_now(f"{opened.name}: {counts}")
            told, told_at = counts, time.monotonic()
        if status.is_finished:
            output.say(*screen(opened, status, output.style_of()))
            return status
        time.sleep(watch.interval_s)
