"""What the site allows whoever submits, asked once a day and kept in the run's cache."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpcsweep.fold import Fold
from hpcsweep.retry import Site
from hpcsweep.runs.run import Run
from hpcsweep.schedulers.base import NoAnswer
from hpcsweep.shell import run_command
from hpcsweep.states import State
from hpcsweep.store import cache

A_DAY_S = 86_400.0
SILENCE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class SiteLimits:
    """Limits with their defaults filled in (Slurm's own, where the site does not say)."""

    max_array_size: int = 1001
    kill_wait_s: int = 30
    max_job_count: int | None = None
    cluster: str = ""
    hides_jobs: bool = False  # from all but their owners


_asked: dict[Path, tuple[float, SiteLimits | None]] = {}
"""Runs folder -> when the site was last asked, and its answer, if it gave one: one command does not ask again and again.

A run that is not on disk yet has no cache.
"""


def site_limits(run: Run) -> SiteLimits:
    """The site's limits; a query without an answer leaves what is known, or the defaults, and is tried again by the next command."""
    now = time.time()
    cached = cache.get(run.paths, "limits", max_age_s=A_DAY_S, now=now)
    if cached is not None:
        return _smaller_arrays(run, _site_from_json(cached))
    command = run.scheduler.limits_cmd()
    if command is None:
        return SiteLimits(max_array_size=1_000_000, kill_wait_s=5)
    folder = run.paths.root.parent
    asked_at, limits = _asked.get(folder, (-SILENCE_S, None))
    if time.monotonic() - asked_at >= SILENCE_S:
        answer = run.scheduler.parse_limits(run_command(command, timeout_s=run.settings.query_timeout_s))
        limits = None if isinstance(answer, NoAnswer) else _site_from_json(asdict(answer))
        _asked[folder] = (time.monotonic(), limits)
    if limits is not None:
        cache.put(run.paths, "limits", asdict(limits), now=now)
    else:
        old = cache.get_with_time(run.paths, "limits")
        limits = SiteLimits() if old is None else _site_from_json(old[0])
    return _smaller_arrays(run, limits)


def known_site_limits(run: Run) -> SiteLimits | None:
    """What is known without asking, however old it is; None: nothing, or nothing is limited."""
    old = cache.get_with_time(run.paths, "limits") if run.scheduler.limits_cmd() is not None else None
    return None if old is None else _smaller_arrays(run, _site_from_json(old[0]))


def _site_from_json(data: Mapping[str, Any]) -> SiteLimits:
    known = {name: value for name, value in data.items() if name in SiteLimits.__dataclass_fields__ and value is not None}
    return SiteLimits(**known)


def _smaller_arrays(run: Run, limits: SiteLimits) -> SiteLimits:
    """Where the site has refused an array for its size, whatever it says of itself."""
    learned = cache.get(run.paths, "array-size", max_age_s=A_DAY_S, now=time.time())
    if not isinstance(learned, int):
        return limits
    return SiteLimits(**{**asdict(limits), "max_array_size": min(limits.max_array_size, learned)})


def retry_site(run: Run, fold: Fold, *, asks: bool) -> Site:
    """What of the site bears on further attempts."""
    return Site(longest_s=_partition_limits(run, fold, asks=asks), excludes_nodes=run.scheduler.excludes_nodes)


def _partition_limits(run: Run, fold: Fold, *, asks: bool) -> dict[str | None, int]:
    """The longest time limit of each partition, seconds (None: of the default one), where a task is to have a longer one than before.

    Asked once a day, and not at all without ``asks``: then what is known counts.
    """
    rule = None if run.settings.retry is None else run.settings.retry.rules.get(State.TIMEOUT.value)
    if rule is None or rule.time is None or not any(view.state is State.TIMEOUT for view in fold.views):
        return {}
    now = time.time()
    known = cache.get(run.paths, "partitions", max_age_s=A_DAY_S, now=now)
    if known is None and asks:
        commands = run.scheduler.queues_cmds()
        answer = run.scheduler.parse_queues(
            [run_command(command, timeout_s=run.settings.query_timeout_s) for command in commands]
        )
        if isinstance(answer, NoAnswer):
            return {}
        known = [(queue.name, queue.is_default, queue.time_limit_s) for queue in answer if queue.time_limit_s is not None]
        cache.put(run.paths, "partitions", known, now=now)
    limits: dict[str | None, int] = {}
    for name, is_default, limit_s in known or ():
        limits[name] = limit_s
        if is_default:
            limits[None] = limit_s
    return limits


def learn_array_size(run: Run, size: int) -> None:
    """Remember that the site refuses arrays that are larger."""
    cache.put(run.paths, "array-size", size, now=time.time())
