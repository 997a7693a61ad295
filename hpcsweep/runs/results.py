"""The results of a run: each task, from the fold, with what it wrote."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpcsweep._version import __version__
from hpcsweep.collect import CollectTask, is_final
from hpcsweep.gather import MetricsFile, find_metrics, folder_stamp, gather, is_settled, stamp_of, survey
from hpcsweep.memory import Memory
from hpcsweep.merge import TaskMetrics
from hpcsweep.model import MetricsFrom, Task
from hpcsweep.readers import READERS, Plugin, Reader, logs
from hpcsweep.readers.logs import LogReader, Pattern, parse_pattern, regex_pattern
from hpcsweep.readers.plugins import Missing, find_plugins
from hpcsweep.runs.observe import observe
from hpcsweep.runs.run import Run
from hpcsweep.store import keep, read_kept, sharing

if TYPE_CHECKING:
    from hpcsweep.expressions import Template


def gather_run(
    run: Run,
    *,
    with_steps: bool = False,
    is_fresh: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[tuple[CollectTask, TaskMetrics]]:
    """Every task of a run, in order, with the metrics that it wrote. Only files that have changed since the last time are read.

    Args:
        run: the run, which is only read, but for its cache.
        with_steps: also one row a step of each series, not only the last values.
        is_fresh: read all files.
        on_progress: told how many tasks have been read, and of how many.
    """
    fold = observe(run)
    by_index = {task.index: task for task in run.shown_tasks}
    plugins = find_plugins()
    key = "metrics-steps" if with_steps else "metrics"
    memory = Memory(None if is_fresh else read_kept(run.paths, key), _signature(run, plugins))
    gather_one = _gatherer(run, memory, plugins, with_steps=with_steps)
    found = []
    for number, view in enumerate(fold.views):
        task = by_index[view.index]
        row = CollectTask(
            index=view.index,
            id=task.id,
            state=view.state.value,
            params={name: task.params[name] for name in run.names if name in task.params},
            attempt=view.attempt or None,
            elapsed_s=view.elapsed_s,
            reason=view.reason,
            job=view.job,
            ended_by_itself=view.source == "task" and view.exit_code is not None,
        )
        try:
            metrics = gather_one(task, is_final=is_final(row))
        except OSError as error:
            problem = f"its metrics files cannot be listed: {error.strerror}"
            metrics = TaskMetrics(notes=(problem,), reason=f"no metrics: {problem}")
        found.append((row, metrics))
        if on_progress is not None:
            on_progress(number + 1, len(fold.views))
    data = memory.to_data()
    if data is not None:
        with sharing(run.settings.umask):
            keep(run.paths, key, data)
    return found


def _gatherer(run: Run, memory: Memory, plugins: Mapping[str, Plugin], *, with_steps: bool) -> Callable[..., TaskMetrics]:
    """Gives what one task wrote: as it is remembered where nothing has changed, else read. May raise OSError."""
    files_of = _files_of(run, plugins)
    tasks_dir = str(run.paths.tasks_dir)

    def gather_one(task: Task, *, is_final: bool) -> TaskMetrics:
        path = f"{tasks_dir}/{task.index:06d}"
        now = time.time()
        folder = folder_stamp(path, now)
        paths = memory.paths(task.index, folder)
        if paths is not None:
            known = memory.find(task.index, stamp_of(paths, is_final=is_final), folder)
            if known is not None:
                return known
        files, is_flat = files_of(task, path)
        paths = [file.path for file in files]
        folder = folder if is_flat else []
        stamp = stamp_of(paths, is_final=is_final)
        known = memory.find(task.index, stamp, folder)
        if known is not None:
            return known
        metrics = gather(files, is_final=is_final, with_steps=with_steps, plugins=plugins)
        if metrics.is_lasting and stamp and is_settled(stamp, now) and stamp == stamp_of(paths, is_final=is_final):
            memory.add(task.index, stamp, folder, metrics)
        return metrics

    return gather_one


def _signature(run: Run, plugins: Mapping[str, Plugin]) -> str:
    """All that the values depend on, besides the files: who reads them, and how."""
    versions = {name: getattr(reader, "VERSION", 0) for name, reader in (*READERS.items(), ("log", logs))}
    return repr((__version__, versions, [plugin.version for plugin in plugins.values()], run.settings.metrics))


def _files_of(run: Run, plugins: Mapping[str, Plugin]) -> Callable[[Task, str], tuple[list[MetricsFile], bool]]:
    """Gives a task's files, and whether the times of its folder tell when others come; may raise OSError."""
    wanted = [_Wanted(names, reader) for names, reader in _by_reader(run.settings.metrics, plugins)]
    for one in wanted:
        one.compile(run.names)
    is_flat = all(one.is_flat for one in wanted)

    def files_of(task: Task, folder: str) -> tuple[list[MetricsFile], bool]:
        if not wanted:
            names, has_no_folders = survey(folder)
            return [MetricsFile(path=f"{folder}/{name}", name=_shown(name)) for name in names], has_no_folders
        found: dict[tuple[str, int], MetricsFile] = {}
        for one in wanted:
            for where, patterns in one.places(task, folder, run):
                for name in find_metrics(where, patterns):
                    path = os.path.join(where, name)
                    found.setdefault((path, id(one.reader)), MetricsFile(path=path, name=_shown(name), reader=one.reader))
        return list(found.values()), is_flat

    return files_of


def workdir_of(run: Run, task: int) -> Path:
    """Where a task's command runs."""
    workdir = run.settings.workdir
    if workdir == "task":
        return run.paths.task(task)
    frozen = run.frozen.find(workdir) if run.frozen is not None else None
    return Path(frozen) if frozen is not None else Path(run.submit_dir) / workdir


class _Wanted:
    """Patterns of files that one reader takes (None: told by their look). Those with an expression are relative to workdir."""

    def __init__(self, patterns: list[str], reader: Reader | None) -> None:
        self.reader = reader
        self._plain = [pattern for pattern in patterns if "{{" not in pattern and "{%" not in pattern]
        self._others = [pattern for pattern in patterns if pattern not in self._plain]
        self._templates: list[Template] = []

    @property
    def is_flat(self) -> bool:
        """Whether all is in the task's folder itself."""
        return not self._others and not any("/" in pattern for pattern in self._plain)

    def compile(self, names: tuple[str, ...]) -> None:
        """Make the expressions ready."""
        if self._others:
            from hpcsweep.expressions import compile_template  # noqa: PLC0415 - templates only where there are some

            self._templates = [compile_template(pattern, names=names) for pattern in self._others]

    def places(self, task: Task, folder: str, run: Run) -> Iterator[tuple[str, list[str]]]:
        """Folders, and what to look for in each."""
        yield folder, self._plain
        if self._templates:
            yield str(workdir_of(run, task.index)), [template.render(task.params) for template in self._templates]


def _by_reader(entries: Sequence[str | MetricsFrom], plugins: Mapping[str, Plugin]) -> list[tuple[list[str], Reader | None]]:
    """The patterns of files with their readers; the patterns for lines of the same files are one reader."""
    found: list[tuple[list[str], Reader | None]] = []
    lines: dict[str, list[Pattern]] = {}
    for entry in entries:
        if isinstance(entry, str):
            if found and found[-1][1] is None:
                found[-1][0].append(entry)
            else:
                found.append(([entry], None))
        elif entry.reader in ("parse", "regex"):
            pattern = (parse_pattern if entry.reader == "parse" else regex_pattern)(entry.line)
            if entry.files not in lines:
                lines[entry.files] = []
                found.append(([entry.files], LogReader(lines[entry.files])))
            lines[entry.files].append(pattern)
        else:
            found.append(([entry.files], READERS.get(entry.reader) or plugins.get(entry.reader) or Missing(entry.reader)))
    return found


def _shown(name: str) -> str:
    """A name that can be printed, whatever bytes it has."""
    return name if name.isascii() else name.encode("utf-8", "replace").decode("utf-8")
