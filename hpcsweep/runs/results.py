"""The table of a run: what *collect* needs of each task, from the fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from hpcsweep.collect import CollectTask, collect, find_metrics
from hpcsweep.model import Task
from hpcsweep.results import Table
from hpcsweep.runs.observe import observe
from hpcsweep.runs.run import Run


def collect_run(run: Run, *, by_step: bool) -> Table:
    """Join every task's parameters with what it wrote. Parameters stand in the order of the space."""
    fold = observe(run)
    folders = {task.index: run.paths.task(task.index) for task in run.tasks}
    by_index = {task.index: task for task in run.tasks}
    patterns_of = metrics_patterns(run)

    def rows() -> Iterable[CollectTask]:
        for view in fold.views:
            task = by_index[view.index]
            yield CollectTask(
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

    def files_of(row: CollectTask) -> list[Path]:
        in_folder, in_workdir = patterns_of(by_index[row.index])
        files = find_metrics(folders[row.index], in_folder)
        if in_workdir:
            files += find_metrics(workdir_of(run, row.index), in_workdir)
        return files

    return collect(rows(), files_of, by_step=by_step)


def workdir_of(run: Run, task: int) -> Path:
    """Where a task's command runs."""
    workdir = run.settings.workdir
    return run.paths.task(task) if workdir == "task" else Path(str(run.info["cwd"])) / workdir


def metrics_patterns(run: Run) -> Callable[[Task], tuple[list[str], list[str]]]:
    """Gives a task's patterns: those of its own folder, and those (with an expression in them) relative to workdir."""
    plain = [pattern for pattern in run.settings.metrics if "{{" not in pattern and "{%" not in pattern]
    others = [pattern for pattern in run.settings.metrics if pattern not in plain]
    if not others:
        return lambda _task: (plain, [])
    from hpcsweep.expressions import compile_template  # noqa: PLC0415 - templates only where there are some

    templates = [compile_template(pattern, names=run.names) for pattern in others]
    return lambda task: (plain, [template.render(task.params) for template in templates])
