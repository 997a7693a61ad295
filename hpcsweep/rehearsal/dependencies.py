"""Whether a job may start after others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from hpcsweep.rehearsal import indices
from hpcsweep.rehearsal.jobs import Dependency, Job


def is_met(jobs: Mapping[int, Job], job: Job, dependency: Dependency, unknown: Literal["met", "unmet"]) -> bool | None:
    """Whether it is met (True), cannot be met any more (False), or may be (None)."""
    if dependency.kind == "never":
        return None
    if dependency.kind == "singleton":
        return _is_alone(jobs, job) or None
    target = jobs.get(dependency.number)
    if target is None or target is job:
        return unknown == "met"
    if dependency.index is None:
        began, has_ended, is_ok = target.started_s is not None, target.ended_s is not None, target.is_ok
    else:
        began, has_ended, is_ok = _element_facts(target, dependency.index)
    if dependency.kind == "after":
        return True if began or has_ended else None
    if not has_ended:
        return None
    return dependency.kind == "any" or is_ok == (dependency.kind == "ok")


def _is_alone(jobs: Mapping[int, Job], job: Job) -> bool:
    """Whether no earlier job of this name and user is left."""
    others = (other for other in jobs.values() if other.number < job.number and other.ended_s is None)
    return not any((other.request.name, other.request.user) == (job.request.name, job.request.user) for other in others)


def _element_facts(target: Job, index: int) -> tuple[bool, bool, bool]:
    """Whether one element began, has ended, and well. One that there is not, or that was removed, has ended."""
    element = target.elements.get(index)
    if element is not None:
        return element.started_s is not None, element.state == "ended", element.is_ok
    return False, not indices.has(target.waiting, index), False
