"""What tasks printed: where their logs are, and their last lines."""

from __future__ import annotations

import re
from pathlib import Path

from hpcsweep.fold import TaskView
from hpcsweep.runs.run import Run
from hpcsweep.states import State

TAIL_BYTES = 4096


def log_path(run: Run, view: TaskView) -> Path:
    """The log of a task's newest attempt that has one (an attempt that never started has none)."""
    folder = run.paths.task(view.index)
    for attempt in range(view.attempt, 0, -1):
        path = folder / f"attempt-{attempt}.log"
        if path.exists():
            return path
    return folder / f"attempt-{max(1, view.attempt)}.log"


def elements_log(run: Run, view: TaskView) -> Path | None:
    """What the elements of a task's array wrote outside of the tasks, if anything."""
    path = None if view.array is None else run.paths.array(view.array).log
    return path if path is not None and path.is_file() and path.stat().st_size else None


def last_line(run: Run, view: TaskView) -> str:
    """The last line with something on it, of the attempt's own log; '' when there is none to be read.

    What was lost before it had one may have left a word in its array's: a job script that failed before the tasks.
    """
    path = run.paths.task(view.index) / f"attempt-{view.attempt}.log"
    if view.state is State.LOST and not path.exists():
        path = elements_log(run, view) or path
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
    # Of bash's complaint the scheduler's own copy of the script tells nobody anything: its name is enough.
    return re.sub(r"^/\S*/(?=\S+: line \d+: )", "", lines[-1]) if lines else ""
