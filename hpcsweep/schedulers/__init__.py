"""The schedulers, by name. Another one is one more line in SCHEDULERS."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpcsweep.errors import HpcsweepError
from hpcsweep.schedulers.base import Scheduler
from hpcsweep.schedulers.local import Local
from hpcsweep.schedulers.slurm import Slurm

__all__ = ["SCHEDULERS", "Scheduler", "Site", "choose", "make_scheduler"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """What a scheduler may need to know of the run: this machine's queue, how many elements it runs at once, what then."""

    queue_dir: str = ""
    jobs: int | None = None
    then: tuple[str, ...] = ()


def _make_local(site: Site) -> Scheduler:
    program = Path(__file__).parent.parent / "localqueue.py"
    return Local(queue_dir=site.queue_dir, jobs=site.jobs, then=site.then, python=sys.executable, program=str(program))


SCHEDULERS: dict[str, Callable[[Site], Scheduler]] = {
    "slurm": lambda _site: Slurm(),
    "local": _make_local,
}
"""In the order in which ``auto`` looks for them."""


def make_scheduler(name: str, site: Site | None = None) -> Scheduler:
    """The scheduler of that name; ``site`` for one run.

    Raises:
        HpcsweepError: there is none such.
    """
    if name not in SCHEDULERS:
        raise HpcsweepError(f"there is no scheduler {name!r}", f"one of: auto, {', '.join(SCHEDULERS)}")
    return SCHEDULERS[name](site or Site())


def choose(name: str, is_installed: Callable[[str], bool]) -> str:
    """The scheduler meant by ``--scheduler``: itself, or for ``auto`` the first whose command is installed.

    One that is installed but silent is chosen too: its silence is said, and never a reason to run on the login node.

    Raises:
        HpcsweepError: there is none such, or it is not installed here.
    """
    if name == "auto":
        return next(known for known in SCHEDULERS if is_installed(make_scheduler(known).command))
    command = make_scheduler(name).command
    if not is_installed(command):
        raise HpcsweepError(
            f"the scheduler {name} is not here: there is no program {command!r}",
            "is its module loaded, and is this a login node? `--scheduler local` runs on this machine",
        )
    return name
