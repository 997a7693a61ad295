"""What was gathered from files that have not changed since: their sizes, times and numbers say so. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpcsweep.merge import Curve, TaskMetrics

FORMAT = 2
SETTLED_S = 2.0
"""A file that was written less than so long before it was read may be written again within one tick of its clock."""

_MOST_STEPS = 1_000_000

Stamp = Sequence[Any]
"""What is the same as long as nothing has changed: JSON data. Empty: it cannot be told."""


class Memory:
    """Metrics by task, of this time and of the time before.

    ``signature`` is all that the values depend on besides the files: versions of readers, settings.
    """

    def __init__(self, data: Any, signature: str) -> None:
        self._signature = signature
        self._before: Mapping[str, Any] = {}
        if isinstance(data, dict) and data.get("format") == FORMAT and data.get("signature") == signature:
            tasks = data.get("tasks")
            self._before = tasks if isinstance(tasks, dict) else {}
        self._now: dict[str, Any] = {}
        self._is_new = False

    def paths(self, task: int, folder: Stamp) -> list[str] | None:
        """The files that were found in a task's folder, when that has the same stamp as then; else they are to be looked for."""
        entry = self._before.get(str(task))
        if not folder or not isinstance(entry, list) or entry[-1:] != [folder]:
            return None
        found = entry[0][1::5]
        return found if all(isinstance(path, str) for path in found) else None

    def find(self, task: int, stamp: Stamp, folder: Stamp) -> TaskMetrics | None:
        """What was gathered under the same stamp, if it was; the folder's stamp is remembered for the next time."""
        entry = self._before.get(str(task))
        if not isinstance(entry, list):
            return None
        try:
            known, last, curves, steps, notes, reason, _ = entry
            if not stamp or known != stamp:
                return None
            metrics = TaskMetrics(
                last=last,
                curves={name: _to_curve(curve) for name, curve in curves.items()},
                steps=tuple(steps),
                notes=tuple(notes),
                reason=reason,
            )
        except (TypeError, ValueError, AttributeError):
            return None
        if folder and entry[-1] != folder:
            entry = [*entry[:-1], folder]
            self._is_new = True
        self._now[str(task)] = entry
        return metrics

    def add(self, task: int, stamp: Stamp, folder: Stamp, metrics: TaskMetrics) -> None:
        """Remember what was gathered under the stamps of the files and of the folder."""
        curves = {name: [curve.first, curve.min, curve.max, curve.mean, curve.count] for name, curve in metrics.curves.items()}
        self._now[str(task)] = [stamp, metrics.last, curves, metrics.steps, metrics.notes, metrics.reason, folder]
        self._is_new = True

    def to_data(self) -> Any:
        """What is to be kept for the next time; None when that is kept already, or it is too much."""
        if not self._is_new and len(self._now) == len(self._before):
            return None
        if sum(len(entry[3]) for entry in self._now.values()) > _MOST_STEPS:
            return None
        return {"format": FORMAT, "signature": self._signature, "tasks": self._now}


def _to_curve(values: Sequence[float]) -> Curve:
    first, least, greatest, mean, count = values
    return Curve(first=first, min=least, max=greatest, mean=mean, count=int(count))
