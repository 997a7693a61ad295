"""The screen of a run's status, as ``status`` prints it once and ``--watch`` again and again."""

from __future__ import annotations

from hpcsweep import output
from hpcsweep.runs.logs import last_line
from hpcsweep.runs.run import Run
from hpcsweep.runs.status import Status
from hpcsweep.states import FACTS

MOST_LAST_LINES = 5


def screen(opened: Run, status: Status, style: output.Style) -> list[str]:
    """The lines of the whole status, with the last log line of the first failures."""
    bad = [view for view in status.fold.views if FACTS[view.state].is_failure]
    last_lines = {view.index: last_line(opened, view) for view in bad[:MOST_LAST_LINES]}
    return output.status_lines(status, style, last_lines, most_failures=MOST_LAST_LINES)
