"""Each task's parameters joined with the metrics it wrote: one table, with a row for every task, whatever became of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from hpcsweep.merge import TaskMetrics
from hpcsweep.model import Params, Value
from hpcsweep.objective import Objective
from hpcsweep.ranges import format_ranges
from hpcsweep.readers import Row
from hpcsweep.results import OBJECTIVE, RUN, Table
from hpcsweep.space import point_id
from hpcsweep.states import FACTS, State

COLUMNS = ("task", "id", "state", "attempt", "elapsed_s")
"""The columns before the parameters (after ``run``, where several are joined); after the metrics come ``LAST_COLUMNS``."""

LAST_COLUMNS = ("reason", "job")

NO_SUCH_METRIC = "no task has the objective's metric"
"""How the note begins that nobody has what counts."""

_MOST_NOTES = 40
_SUCCESSES = frozenset(state for state, facts in FACTS.items() if facts.is_success)
_ENDED_BY_ITSELF = frozenset({State.DONE, State.STOPPED, State.FAILED})


@dataclass(frozen=True, kw_only=True)
class CollectTask:
    """What collect knows of a task before it looks at its files.

    ``ended_by_itself``: its files are as the program left them, rather than cut off by a kill or still being written.
    None: as its state says (done, stopped, failed).
    """

    index: int
    id: str
    state: str
    params: Params
    attempt: int | None = None
    elapsed_s: float | None = None
    reason: str = ""
    job: str | None = None
    ended_by_itself: bool | None = None
    run: str = ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the table of results shall have.

    ``by_step``: one row a step (the metrics must have been gathered with them) instead of one a task with the last values.
    ``is_joined``: the tasks are of several runs; ``run`` is the first column. ``replicates`` are the parameters that only
    repeat a point; ``by_point``: the id is that of the point without them. ``reserved``: further names of columns that
    parameters and metrics do not get.
    """

    by_step: bool = False
    is_joined: bool = False
    objective: Objective | None = None
    replicates: frozenset[str] = frozenset()
    by_point: bool = False
    reserved: tuple[str, ...] = ()


PLAIN = Layout()


def collect(tasks: Iterable[tuple[CollectTask, TaskMetrics]], layout: Layout = PLAIN) -> Table:
    """Make the table of results: the fixed columns, the parameters in their order, objective, metrics, the reason and the job.

    A parameter whose name is also a metric's, or a fixed column's, is called ``param.X``, such a metric ``metric.X``. A done
    task without metrics has a reason, such as ``no metrics``. The notes name what was odd, with the tasks' numbers.
    ``tasks`` are in the order of the rows, with what they wrote.
    """
    notes = _Notes()
    parameters, metrics = _Names(), _Names()
    found: list[tuple[CollectTask, TaskMetrics, Sequence[Row]]] = []
    for task, gathered in tasks:
        parameters.add(task.params)
        for note in gathered.notes:
            notes.add(note, task)
        rows: Sequence[Row] = gathered.steps if layout.by_step else [gathered.last] if gathered.last else []
        for row in rows:
            metrics.add(row)
        found.append((task, gathered, rows))
    _note_missing(found, metrics, notes)
    first = (RUN, *COLUMNS) if layout.is_joined else COLUMNS
    goal = (OBJECTIVE,) if layout.objective else ()
    fixed = {*first, *goal, *LAST_COLUMNS, *layout.reserved}
    param_columns, metric_columns = _name_columns(parameters.ordered, metrics.ordered, fixed)
    table_rows = [
        (
            *_first_cells(task, layout),
            *map(task.params.get, parameters.ordered),
            *((gathered.reduced(layout.objective.metric, layout.objective.reduction),) if layout.objective else ()),
            *map(row.get, metrics.ordered),
            task.reason or _why_empty(task, gathered, rows),
            task.job,
        )
        for task, gathered, rows in found
        for row in rows or [{}]
    ]
    return Table(
        columns=(*first, *param_columns, *goal, *metric_columns, *LAST_COLUMNS),
        rows=table_rows,
        notes=(*notes.lines(), *_note_unknown(layout.objective, metrics.ordered)),
        params=tuple(param_columns),
        replicates=tuple(
            column for name, column in zip(parameters.ordered, param_columns, strict=True) if name in layout.replicates
        ),
        metrics=(*goal, *metric_columns),
    )


def _first_cells(task: CollectTask, layout: Layout) -> tuple[Value, ...]:
    identity = task.id
    if layout.by_point:
        identity = point_id({name: value for name, value in task.params.items() if name not in layout.replicates})
    cells = (task.index, identity, str(task.state), task.attempt, task.elapsed_s)
    return (task.run, *cells) if layout.is_joined else cells


def _note_unknown(objective: Objective | None, metrics: Sequence[str]) -> tuple[str, ...]:
    """Say that no task has the metric that counts, once there are some."""
    if objective is None or not metrics or objective.metric in metrics:
        return ()
    near = get_close_matches(objective.metric, metrics, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(metrics[:10])}"
    return (f"{NO_SUCH_METRIC} `{objective.metric}`: {hint}",)


def _why_empty(task: CollectTask, gathered: TaskMetrics, rows: Sequence[Row]) -> str | None:
    return (gathered.reason or "no metrics") if not rows and is_success(task) else None


def is_final(task: CollectTask) -> bool:
    """Whether the task's files are as its program left them."""
    return task.state in _ENDED_BY_ITSELF if task.ended_by_itself is None else task.ended_by_itself


def is_success(task: CollectTask) -> bool:
    """Whether the task did what it should."""
    return task.state in _SUCCESSES


def _note_missing(found: list[tuple[CollectTask, TaskMetrics, Sequence[Row]]], metrics: _Names, notes: _Notes) -> None:
    """Say which done tasks have no metrics, or lack some that others have."""
    missing: dict[str, list[CollectTask]] = {}
    for task, _, rows in found:
        if not is_success(task):
            continue
        if not rows:
            notes.add("done, but no metrics found", task)
            continue
        names = rows[0].keys() if len(rows) == 1 else {name for row in rows for name in row}
        if len(names) < len(metrics.ordered):
            for name in metrics.ordered:
                if name not in names:
                    missing.setdefault(name, []).append(task)
    for name, tasks in missing.items():
        for task in tasks:
            notes.add(f"`{name}` is missing", task)


def _name_columns(parameters: Sequence[str], metrics: Sequence[str], fixed: set[str]) -> tuple[list[str], list[str]]:
    """Unique column names, as ``collect`` says; names without a twin come first to their own."""
    twins = set(parameters) & set(metrics) | fixed
    taken = fixed | (set(parameters) | set(metrics)) - twins

    def name_column(prefix: str, name: str) -> str:
        if name in twins:
            name = prefix + name
            while name in taken:
                name = prefix + name
            taken.add(name)
        return name

    return [name_column("param.", name) for name in parameters], [name_column("metric.", name) for name in metrics]


class _Names:
    """Names in an order that suits all: a new one stands before the one that it preceded where it was first seen."""

    def __init__(self) -> None:
        self.ordered: list[str] = []
        self._seen: set[tuple[str, ...]] = set()

    def add(self, names: Iterable[str]) -> None:
        """Add the names of one mapping."""
        together = tuple(names)
        if together in self._seen:
            return
        self._seen.add(together)
        known = set(self.ordered)
        place = len(self.ordered)
        for name in reversed(together):
            if name in known:
                place = self.ordered.index(name)
            else:
                self.ordered.insert(place, name)


class _Notes:
    """Remarks, each once with the tasks that it is about."""

    def __init__(self) -> None:
        self._tasks: dict[str, dict[str, list[int]]] = {}

    def add(self, text: str, task: CollectTask) -> None:
        """Add a remark about one task."""
        self._tasks.setdefault(text, {}).setdefault(task.run, []).append(task.index)

    def lines(self) -> tuple[str, ...]:
        """One line a remark, and how many more there are."""
        lines = [f"{text} ({'; '.join(_which(*run) for run in runs.items())})" for text, runs in self._tasks.items()]
        if len(lines) > _MOST_NOTES:
            lines[_MOST_NOTES:] = [f"and {len(lines) - _MOST_NOTES} more remarks of this kind"]
        return tuple(lines)


def _which(run: str, tasks: list[int]) -> str:
    """``tasks 0-3,7``, or ``run-02 task 4``."""
    return f"{run} {'task' if len(set(tasks)) == 1 else 'tasks'} {format_ranges(tasks)}".lstrip()
