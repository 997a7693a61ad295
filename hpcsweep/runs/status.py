"""The facts that ``status`` shows, as data: counts, times, failures, arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpcsweep.decide import Decision
from hpcsweep.fold import Fold, TaskView, is_over
from hpcsweep.ranges import format_ranges
from hpcsweep.runs.feed import live_feeder
from hpcsweep.runs.observe import claim_facts
from hpcsweep.runs.run import Run
from hpcsweep.states import FACTS, State


@dataclass(frozen=True, kw_only=True)
class FeederView:
    """The job that advances a fed run. ``state`` None: none is queued, as far as anybody knows."""

    job: str | None = None
    state: State | None = None
    reason: str = ""
    is_needed: bool = False


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a run stands. Times in seconds; ``handle`` is what to type for the run."""

    run: str
    handle: str
    path: str
    scheduler: str
    total: int
    counts: Mapping[State, int]
    fold: Fold
    waiting: Mapping[int, str]
    is_finished: bool
    age_s: float
    eta_s: float | None
    scheduler_message: str = ""
    has_objective: bool = False
    problems: Sequence[str] = field(default_factory=tuple)
    feeder: FeederView | None = None

    @property
    def is_success(self) -> bool:
        """Whether every task, and the command after them, is done."""
        last = self.fold.finally_view
        return all(FACTS[state].is_success for state in self.counts) and (last is None or FACTS[last.state].is_success)


def make_status(run: Run, fold: Fold, decision: Decision) -> Status:
    """Put together what was folded and what *decide* would do."""
    if decision.ends:
        fold = fold.with_views({task: replace(fold.views[task], reason=text) for task, text in decision.ends.items()})
    counts: dict[State, int] = {}
    for view in fold.views:
        counts[view.state] = counts.get(view.state, 0) + 1
    problems = list(run.problems)
    problems += [f"array {number:03d}: {why}" for number, why in sorted(fold.evidence.unread.items())]
    if not run.is_in_place:
        problems.append(f"it was moved or copied, and cannot be changed: it was made as {run.recorded_path} (hpcsweep adopt)")
    return Status(
        run=run.name,
        handle=run.handle,
        path=str(run.paths.root),
        scheduler=str(run.info["scheduler"]),
        total=fold.ledger.total,
        counts={state: counts[state] for state in State if state in counts},
        fold=fold,
        waiting={**decision.retries, **decision.waiting},
        is_finished=decision.is_finished,
        age_s=max(0.0, fold.evidence.now - float(run.info["created"])),
        eta_s=estimate_rest_s(fold),
        scheduler_message=fold.evidence.live_message,
        has_objective=run.settings.objective is not None,
        problems=problems,
        feeder=_feeder_view(fold, is_needed=decision.is_more_to_come or decision.may_retry or decision.is_submitting),
    )


def _feeder_view(fold: Fold, *, is_needed: bool) -> FeederView | None:
    """How the feeder stands; None where the run is not fed."""
    if not fold.ledger.is_fed:
        return None
    seen = live_feeder(fold)
    if seen is not None:
        return FeederView(job=seen.job, state=seen.state, reason=seen.reason, is_needed=is_needed)
    if fold.evidence.live is None and fold.ledger.feeder is not None and fold.ledger.feeder.job is not None:
        state = None if fold.ledger.is_finished else State.UNKNOWN
        return FeederView(job=fold.ledger.feeder.job, state=state, is_needed=is_needed)
    return FeederView(is_needed=is_needed)


def estimate_rest_s(fold: Fold) -> float | None:
    """When all will have ended, judged by the mean time of finished tasks and by how many run side by side; None: nobody can say."""
    times = [view.elapsed_s for view in fold.views if FACTS[view.state].is_success and view.elapsed_s is not None]
    running = [view for view in fold.views if view.state is State.RUNNING]
    rest = [view for view in fold.views if not is_over(view)]
    if not times or not running:
        return None
    mean = sum(times) / len(times)
    begun = sum(min(view.elapsed_s or 0.0, mean) for view in running)
    left = (mean * len(rest) - begun) / len(running)
    # All that is left has run for longer than the others did: their mean says nothing about it.
    return left if left > 0 else None


def reason_of(view: TaskView, waiting: Mapping[int, str]) -> str:
    """Why a task stands as it does; for one that is held back, by what; for one that has ended and runs again, when and how."""
    return waiting.get(view.index, view.reason)


def status_json(run: Run, status: Status, tasks: Sequence[int] | None = None) -> dict[str, Any]:
    """What ``status --json`` prints. Its names are a promise: they are only ever added to."""
    chosen = range(status.total) if tasks is None else tasks
    return {
        "run": status.run,
        "uid": run.uid,
        "path": status.path,
        "in_place": run.is_in_place,
        "scheduler": status.scheduler,
        "total": status.total,
        "counts": {state.value: number for state, number in status.counts.items()},
        "tasks": [_task_json(run, status, index) for index in chosen],
        "arrays": [
            {"number": array.number, "job": array.job, "size": array.size, "kind": array.kind, "submission": array.submission}
            for array in run.ledger.arrays.values()
        ],
        "extensions": [
            {"at": part.at, "tasks": format_ranges(range(part.first, part.total))} for part in run.ledger.extensions
        ],
        "finally": _finally_json(status),
        "finished": status.is_finished,
        "eta_s": status.eta_s,
        "scheduler_message": status.scheduler_message,
        "code": _code_json(run),
        "problems": [*status.problems, *run.tasks_problems],
        "feeder": _feeder_json(status),
    }


def _feeder_json(status: Status) -> dict[str, Any] | None:
    view = status.feeder
    if view is None:
        return None
    return {"job": view.job, "state": None if view.state is None else view.state.value, "reason": view.reason}


def _code_json(run: Run) -> dict[str, Any]:
    """What was run, and where the rest of that is told."""
    git = run.info.get("git")
    git = git if isinstance(git, Mapping) else {}
    paths = run.paths
    return {
        "commit": git.get("commit"),
        "branch": git.get("branch"),
        "dirty": git.get("dirty"),
        "diff": str(paths.code_diff) if git.get("diff") else None,
        "snapshot": str(paths.code) if run.info.get("snapshot") else None,
        "environment": str(paths.task_environment) if paths.task_environment.is_dir() else None,
    }


def _finally_json(status: Status) -> dict[str, Any] | None:
    view = status.fold.finally_view
    return (
        None
        if view is None
        else {"state": view.state.value, "reason": view.reason, "job": view.job, "exit_code": view.exit_code}
    )


def _task_json(run: Run, status: Status, index: int) -> dict[str, Any]:
    view = status.fold.views[index]
    task = run.shown_tasks[index]
    facts = claim_facts(run, view)
    elapsed_s = view.elapsed_s
    if elapsed_s is None and view.state is State.RUNNING and facts is not None and facts.epoch:
        elapsed_s = round(max(0.0, status.fold.evidence.now - facts.epoch), 1)
    return {
        "index": index,
        "id": task.id,
        "state": view.state.value,
        "attempt": view.attempt,
        "exit_code": view.exit_code,
        "signal": view.signal,
        "reason": reason_of(view, status.waiting),
        "source": view.source,
        "age_s": round(view.age_s, 1),
        "job": facts.job if facts else view.job,
        "node": view.node or (facts.host if facts else None),
        "elapsed_s": elapsed_s,
        "params": dict(task.params),
    }
