"""Each task's parameters joined with the metrics it wrote: one table, with a row for every task, whatever became of it."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcsweep.merge import last_values, merge_steps
from hpcsweep.model import Params, Value
from hpcsweep.ranges import format_ranges
from hpcsweep.readers import Reading, Row, decode, is_binary_data, read_metrics
from hpcsweep.results import Table
from hpcsweep.states import FACTS, State

COLUMNS = ("task", "id", "state", "attempt", "elapsed_s")
"""The columns before the parameters; after the metrics come ``LAST_COLUMNS``."""

LAST_COLUMNS = ("reason", "job")

_OUR_PARAMS, _OUR_LOG = "params.json", "attempt-*.log"
_MOST_NOTES = 40
_HEAD_BYTES = 4096
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


def collect(tasks: Iterable[CollectTask], files_of: Callable[[CollectTask], Iterable[Path]], *, by_step: bool = False) -> Table:
    """Make the table of results: the fixed columns, the parameters in their order, the metrics, the reason and the job.

    A parameter whose name is also a metric's, or a fixed column's, is called ``param.X``, such a metric ``metric.X``.
    Where two files of a task give the same metric, the later one in ``files_of``'s list counts, and it is said. A done
    task without metrics has the reason ``no metrics``. The notes name what was odd, with the tasks' numbers.

    Args:
        tasks: in the order of the rows.
        files_of: the task's metrics files, such as ``find_metrics`` gives.
        by_step: one row a step instead of one a task with the last values. A series without a column for its step gets
            one, ``step``, with the row's number from 1. Values that belong to no step stand in the task's last row.
    """
    notes = _Notes()
    parameters, metrics = _Names(), _Names()
    found: list[tuple[CollectTask, list[Row]]] = []
    for task in tasks:
        parameters.add(task.params)
        rows = _read_task(task, files_of, by_step=by_step, notes=notes)
        for row in rows:
            metrics.add(row)
        found.append((task, rows))
    _note_missing(found, metrics, notes)
    param_columns, metric_columns = _name_columns(parameters.ordered, metrics.ordered)
    table_rows = [
        (
            *_first_cells(task),
            *map(task.params.get, parameters.ordered),
            *map(row.get, metrics.ordered),
            task.reason or _why_empty(task, rows),
            task.job,
        )
        for task, rows in found
        for row in rows or [{}]
    ]
    columns = (*COLUMNS, *param_columns, *metric_columns, *LAST_COLUMNS)
    return Table(columns=columns, rows=table_rows, notes=notes.lines())


def find_metrics(folder: Path | str, patterns: Sequence[str]) -> list[Path]:
    """The files in ``folder`` that ``patterns`` (``*.metrics``, ``out/*.csv``, ``result.json``) name, in the patterns' order.

    A pattern that is the name of a file, letter for letter, means that file. A hidden file needs a pattern that begins
    with a dot, and the files that hpcsweep itself puts into a task's folder need their names: ``*.json`` is not meant to
    take ``params.json``. A folder that is not there has none.

    Raises:
        OSError: when the folder cannot be listed.
    """
    folder = Path(folder)
    names: list[str] | None = None
    found: dict[Path, None] = {}
    for pattern in patterns:
        if "/" in pattern or not glob.has_magic(pattern):
            matches = [pattern] if (folder / pattern).is_file() else _glob(folder, pattern)
        else:
            # One listing serves all patterns: with many tasks on a slow file system each call counts.
            names = _list_files(folder) if names is None else names
            matches = [pattern] if pattern in names else _filter_names(names, pattern)
        found.update((folder / match, None) for match in matches)
    return list(found)


def _filter_names(names: list[str], pattern: str) -> list[str]:
    hidden = "" if pattern[0] == "." else "."
    return [name for name in fnmatch.filter(names, pattern) if name[0] != hidden and not _is_ours(name)]


def _is_ours(name: str) -> bool:
    return name == _OUR_PARAMS or fnmatch.fnmatchcase(name, _OUR_LOG)


def _glob(folder: Path, pattern: str) -> list[str]:
    matches = sorted(glob.glob(pattern, root_dir=folder, recursive=True))  # noqa: PTH207  Path.glob refuses an absolute pattern
    return [match for match in matches if not _is_ours(match.rpartition("/")[2]) and (folder / match).is_file()]


def _list_files(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read_task(
    task: CollectTask, files_of: Callable[[CollectTask], Iterable[Path]], *, by_step: bool, notes: _Notes
) -> list[Row]:
    try:
        paths = list(files_of(task))
    except OSError as error:
        notes.add(f"its metrics files cannot be listed: {error.strerror}", task.index)
        return []
    readings: list[tuple[str, Reading]] = []
    for path in paths:
        is_final = task.state in _ENDED_BY_ITSELF if task.ended_by_itself is None else task.ended_by_itself
        reading = read_file(path, is_final=is_final)
        for note in reading.notes:
            notes.add(f"{path.name}: {note}", task.index)
        if reading.rows:
            readings.append((path.name, reading))
    if not readings:
        return []
    if by_step:
        rows, remarks = merge_steps(readings)
    else:
        row, remarks = last_values(readings)
        rows = [row]
    for remark in remarks:
        notes.add(remark, task.index)
    return rows


def read_file(path: Path, *, is_final: bool = True) -> Reading:
    """Read one file of metrics; one that cannot be read gives no rows and a note."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if is_binary_data(head):
                # A pattern that also takes checkpoints must not read them whole.
                return Reading(notes=("is not a text file: left out",))
            data = head + file.read()
    except OSError as error:
        return Reading(notes=(f"cannot be read: {error.strerror}",))
    return read_metrics(decode(data), path.name, is_final=is_final)


def _first_cells(task: CollectTask) -> tuple[Value, ...]:
    return task.index, task.id, str(task.state), task.attempt, task.elapsed_s


def _why_empty(task: CollectTask, rows: list[Row]) -> str | None:
    return "no metrics" if not rows and _is_success(task) else None


def _is_success(task: CollectTask) -> bool:
    return task.state in _SUCCESSES


def _note_missing(found: list[tuple[CollectTask, list[Row]]], metrics: _Names, notes: _Notes) -> None:
    """Say which done tasks have no metrics, or lack some that others have."""
    missing: dict[str, list[int]] = {}
    for task, rows in found:
        if not _is_success(task):
            continue
        if not rows:
            notes.add("done, but no metrics found", task.index)
            continue
        names = rows[0].keys() if len(rows) == 1 else {name for row in rows for name in row}
        if len(names) < len(metrics.ordered):
            for name in metrics.ordered:
                if name not in names:
                    missing.setdefault(name, []).append(task.index)
    for name, indices in missing.items():
        for index in indices:
            notes.add(f"`{name}` is missing", index)


def _name_columns(parameters: Sequence[str], metrics: Sequence[str]) -> tuple[list[str], list[str]]:
    """Unique column names, as ``collect`` says; names without a twin come first to their own."""
    fixed = {*COLUMNS, *LAST_COLUMNS}
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
        self._tasks: dict[str, list[int]] = {}

    def add(self, text: str, task: int) -> None:
        """Add a remark about one task."""
        self._tasks.setdefault(text, []).append(task)

    def lines(self) -> tuple[str, ...]:
        """One line a remark, and how many more there are."""
        lines = [
            f"{text} ({'task' if len(set(tasks)) == 1 else 'tasks'} {format_ranges(tasks)})"
            for text, tasks in self._tasks.items()
        ]
        if len(lines) > _MOST_NOTES:
            lines[_MOST_NOTES:] = [f"and {len(lines) - _MOST_NOTES} more remarks of this kind"]
        return tuple(lines)
