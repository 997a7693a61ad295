"""What the site allows, asked once a run and kept in its cache."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from hpcsweep.runs.run import Run
from hpcsweep.schedulers.base import NoAnswer
from hpcsweep.shell import run_command
from hpcsweep.store import cache

A_DAY_S = 86_400.0
SILENCE_S = 60.0

_silent_at: dict[Path, float] = {}
"""Runs folder -> when the site last gave no answer: one command does not wait for it again and again."""


@dataclass(frozen=True, kw_only=True)
class SiteLimits:
    """Limits with their defaults filled in (Slurm's own, where the site does not say)."""

    max_array_size: int = 1001
    kill_wait_s: int = 30


def site_limits(run: Run) -> SiteLimits:
    """The site's limits; a query without an answer leaves the defaults, and is tried again by the next command."""
    cached = cache.get(run.paths, "limits", max_age_s=A_DAY_S, now=time.time())
    if cached is not None:
        return SiteLimits(**cached)
    command = run.scheduler.limits_cmd()
    if command is None:
        return SiteLimits(max_array_size=1_000_000, kill_wait_s=5)
    folder = run.paths.root.parent
    if folder in _silent_at and time.monotonic() - _silent_at[folder] < SILENCE_S:
        return SiteLimits()
    answer = run.scheduler.parse_limits(run_command(command, timeout_s=run.settings.query_timeout_s))
    if isinstance(answer, NoAnswer):
        _silent_at[folder] = time.monotonic()
        return SiteLimits()
    limits = SiteLimits(**{name: value for name, value in asdict(answer).items() if value is not None})
    cache.put(run.paths, "limits", asdict(limits), now=time.time())
    return limits
