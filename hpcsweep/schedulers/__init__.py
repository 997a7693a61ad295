"""The schedulers, by name. Another one is one more line in SCHEDULERS."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpcsweep.errors import HpcsweepError
from hpcsweep.gpus import Devices
from hpcsweep.model import Completed
from hpcsweep.schedulers.base import Command, Scheduler
from hpcsweep.schedulers.local import Local
from hpcsweep.schedulers.pbs import Pbs
from hpcsweep.schedulers.slurm import Slurm
from hpcsweep.schedulers.torque import Torque

__all__ = ["SCHEDULERS", "Scheduler", "Site", "choose", "make_scheduler", "whose_qsub"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """What a scheduler may need to know of the run: this machine's queue, how many elements it runs at once, its GPUs, what then."""

    queue_dir: str = ""
    jobs: int | None = None
    then: tuple[str, ...] = ()
    devices: Devices | None = None


def _make_local(site: Site) -> Scheduler:
    program = Path(__file__).parent.parent / "localqueue.py"
    return Local(
        queue_dir=site.queue_dir,
        jobs=site.jobs,
        then=site.then,
        devices=site.devices,
        python=sys.executable,
        program=str(program),
    )


SCHEDULERS: dict[str, Callable[[Site], Scheduler]] = {
    "slurm": lambda _site: Slurm(),
    "pbs": lambda _site: Pbs(),
    "torque": lambda _site: Torque(),
    "local": _make_local,
}
"""In the order in which ``auto`` looks for them."""

_ON_THIS_MACHINE = "`--scheduler local` runs on this machine"


def make_scheduler(name: str, site: Site | None = None) -> Scheduler:
    """The scheduler of that name; ``site`` for one run.

    Raises:
        HpcsweepError: there is none such.
    """
    if name not in SCHEDULERS:
        raise HpcsweepError(f"there is no scheduler {name!r}", f"one of: auto, {', '.join(SCHEDULERS)}")
    return SCHEDULERS[name](site or Site())


def choose(name: str, is_installed: Callable[[str], bool], ask: Callable[[Command], Completed]) -> str:
    """The scheduler meant by ``--scheduler``: itself, or for ``auto`` the first that is installed.

    One that is installed but silent is chosen too: its silence is said, and never a reason to run on the login node. Whose qsub it is, PBS's
    or Torque's, it says itself.

    Args:
        name: what the user said.
        is_installed: whether there is a program of that name.
        ask: runs a command.

    Raises:
        HpcsweepError: there is none such, it is not installed here, or a qsub is that of something else.
    """
    if name != "auto":
        command = make_scheduler(name).command
        if not is_installed(command):
            hint = f"is its module loaded, and is this a login node? {_ON_THIS_MACHINE}"
            raise HpcsweepError(f"the scheduler {name} is not here: there is no program {command!r}", hint)
        if command == "qsub":
            _check_qsub(name, whose_qsub(ask))
        return name
    if is_installed("sbatch"):  # whose package may bring a qsub, too
        return "slurm"
    if not is_installed("qsub"):
        return "local"
    whose, said = whose_qsub(ask)
    if whose in SCHEDULERS:
        return whose
    raise HpcsweepError(
        f"there is a qsub here, and it is neither PBS's nor Torque's: {said or 'it does not tell its version'}",
        f"name the scheduler: `--scheduler pbs` or `torque`; {_ON_THIS_MACHINE}",
    )


def whose_qsub(ask: Callable[[Command], Completed]) -> tuple[str, str]:
    """``pbs``, ``torque``, ``slurm`` (its own wrapper over sbatch) or "" (it does not say), and what it said."""
    version = Command(argv=("qsub", "--version"))
    answer = ask(version)
    for scheduler in (Pbs(), Torque()):
        if scheduler.parse_version(answer):
            return scheduler.name, ""
    said = f"{answer.stdout}\n{answer.stderr}".strip()
    return ("slurm" if "Unknown option: version" in said else ""), said.partition("\n")[0]


def _check_qsub(name: str, found: tuple[str, str]) -> None:
    """Refuse to speak PBS to a Torque, and the other way round: they would understand something else.

    Slurm's own qsub is let through: it takes what Torque takes, as far as it goes.
    """
    whose, _said = found
    if whose in (name, "") or (name, whose) == ("torque", "slurm"):
        return
    raise HpcsweepError(
        f"the qsub here is {whose.title() if whose != 'pbs' else 'PBS'}'s, not that of {name}", f"use `--scheduler {whose}`"
    )
