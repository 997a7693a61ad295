"""What tasks printed: where their logs are, and their last lines."""

from __future__ import annotations

from pathlib import Path

from hpcsweep.fold import TaskView
from hpcsweep.runs.run import Run

TAIL_BYTES = 4096


def log_path(run: Run, view: TaskView) -> Path:
    """The log of a task's newest attempt that has one (an attempt that never started has none)."""
    folder = run.paths.task(view.index)
    for attempt in range(view.attempt, 0, -1):
        path = folder / f"attempt-{attempt}.log"
        if path.exists():
            return path
    return folder / f"attempt-{max(1, view.attempt)}.log"


def last_line(run: Run, view: TaskView) -> str:
    """The last line with something on it, of the attempt's own log; '' when there is none to be read."""
    path = run.paths.task(view.index) / f"attempt-{view.attempt}.log"
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
    return lines[-1] if lines else ""
