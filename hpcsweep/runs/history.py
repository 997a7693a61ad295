"""All attempts of tasks: what each asked for, where it ran, how it ended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from hpcsweep.fold import Fold, TaskView
from hpcsweep.ledger import request_to_json
from hpcsweep.model import Request
from hpcsweep.runs.observe import claim_facts
from hpcsweep.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class AttemptView:
    """One attempt."""

    view: TaskView
    request: Request
    job: str | None
    node: str

    def to_json(self) -> dict[str, Any]:
        """For ``--json``; the names are a promise."""
        view = self.view
        return {
            "attempt": view.attempt,
            "state": view.state.value,
            "reason": view.reason,
            "exit_code": view.exit_code,
            "signal": view.signal,
            "job": self.job,
            "node": self.node or None,
            "elapsed_s": view.elapsed_s,
            "request": request_to_json(self.request),
        }


def attempts_of(run: Run, fold: Fold, tasks: Collection[int]) -> dict[int, list[AttemptView]]:
    """Task -> its attempts, the first one first."""
    chosen = set(tasks)
    found: dict[int, list[AttemptView]] = {task: [] for task in tasks}
    for array, view in fold.attempts():
        if view.index in chosen:
            # Of the current one more is known than its array says: that it runs again, for instance.
            shown = fold.views[view.index] if fold.views[view.index].attempt == view.attempt else view
            facts = claim_facts(run, view)
            found[view.index].append(
                AttemptView(
                    view=shown,
                    request=array.request,
                    job=facts.job if facts else view.job,
                    node=view.node or (facts.host if facts else ""),
                )
            )
    for attempts in found.values():
        attempts.sort(key=lambda one: one.view.attempt)
    return found
