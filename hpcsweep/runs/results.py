"""The results of a run: each task, from the fold, with what it wrote."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from hpcsweep.collect import CollectTask, is_final
from hpcsweep.gather import MetricsFile, discover, find_metrics, gather
from hpcsweep.merge import TaskMetrics
from hpcsweep.model import Task
from hpcsweep.runs.observe import observe
from hpcsweep.runs.run import Run


def gather_run(
    run: Run, *, with_steps: bool = False, on_progress: Callable[[int, int], None] | None = None
) -> list[tuple[CollectTask, TaskMetrics]]:
    """Every task of a run, in order, with the metrics that it wrote.

    Args:
        run: the run, which is only read.
        with_steps: also one row a step of each series, not only the last values.
        on_progress: told how many tasks have been read, and of how many.
    """
    fold = observe(run)
    by_index = {task.index: task for task in run.shown_tasks}
    files_of = _files_of(run)
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
            metrics = gather(files_of(task), is_final=is_final(row), with_steps=with_steps)
        except OSError as error:
            problem = f"its metrics files cannot be listed: {error.strerror}"
            metrics = TaskMetrics(notes=(problem,), reason=f"no metrics: {problem}")
        found.append((row, metrics))
        if on_progress is not None:
            on_progress(number + 1, len(fold.views))
    return found


def _files_of(run: Run) -> Callable[[Task], list[MetricsFile]]:
    """Gives a task's files; may raise OSError."""
    patterns_of = metrics_patterns(run)
    tasks_dir = str(run.paths.tasks_dir)

    def files_of(task: Task) -> list[MetricsFile]:
        in_folder, in_workdir = patterns_of(task)
        folder = os.path.join(tasks_dir, f"{task.index:06d}")
        found = [(folder, name) for name in (find_metrics(folder, in_folder) if in_folder or in_workdir else discover(folder))]
        if in_workdir:
            workdir = str(workdir_of(run, task.index))
            found += [(workdir, name) for name in find_metrics(workdir, in_workdir)]
        return [MetricsFile(path=f"{where}/{name}", name=name) for where, name in found]

    return files_of


def workdir_of(run: Run, task: int) -> Path:
    """Where a task's command runs."""
    workdir = run.settings.workdir
    return run.paths.task(task) if workdir == "task" else Path(run.cwd) / workdir


def metrics_patterns(run: Run) -> Callable[[Task], tuple[list[str], list[str]]]:
    """Gives a task's patterns: those of its own folder, and those (with an expression in them) relative to workdir."""
    plain = [pattern for pattern in run.settings.metrics if "{{" not in pattern and "{%" not in pattern]
    others = [pattern for pattern in run.settings.metrics if pattern not in plain]
    if not others:
        return lambda _task: (plain, [])
    from hpcsweep.expressions import compile_template  # noqa: PLC0415 - templates only where there are some

    templates = [compile_template(pattern, names=run.names) for pattern in others]
    return lambda task: (plain, [template.render(task.params) for template in templates])
