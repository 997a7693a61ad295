"""What a run records of the moment it was made: who, where, which code, which versions, and the environment its tasks start from."""

from __future__ import annotations

import getpass
import os
import platform
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcsweep._version import __version__
from hpcsweep.errors import HpcsweepError
from hpcsweep.gpus import Devices
from hpcsweep.model import Settings
from hpcsweep.runs.editable import editable_roots
from hpcsweep.runs.git import GitTroubleError, describe_commit, find_changes, find_repository
from hpcsweep.runs.run import REHEARSAL_VARIABLE, REHEARSED_VARIABLE
from hpcsweep.runs.snapshot import SnapshotPlan, plan_snapshot
from hpcsweep.schedulers.base import Scheduler
from hpcsweep.shell import is_installed, run_command
from hpcsweep.store import CODE_DIFF, RunPaths

CARRIED = re.compile(
    r"PATH|LD_LIBRARY_PATH|VIRTUAL_ENV|CONDA_PREFIX|CONDA_DEFAULT_ENV|CONDA_EXE|CONDA_SHLVL|CONDA_PYTHON_EXE|PYTHONPATH|PYTHONHOME"
    r"|LOADEDMODULES|_LMFILES_|MODULEPATH|MODULESHOME|LMOD_[A-Z_]+|_ModuleTable[0-9]+_|_ModuleTable_Sz_|MANPATH|LANG|LC_[A-Z]+|TZ"
    rf"|{REHEARSAL_VARIABLE}|{REHEARSED_VARIABLE}"
)
"""The submitter's variables that the tasks start from, on every scheduler alike."""


def make_uid() -> str:
    """A run's own random name: ten letters and digits."""
    return secrets.token_hex(5)


def make_tag(name: str, uid: str) -> str:
    """The first part of the job names of a run: a readable sweep name, and the uid that makes it unique.

    Only characters that every scheduler takes in a job name.
    """
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:30] or "sweep"
    return f"{readable}-{uid}"


def environment_text(environ: Mapping[str, str], run_dir: Path | None = None) -> str:
    """The run's environment file: bash assignments, each value quoted.

    What leads into the copy of the project in ``run_dir`` goes with the run, should that be moved.
    """
    names = sorted(name for name in environ if CARRIED.fullmatch(name))
    if not names:
        return ""
    lines = ["# What the tasks' shells start from: the submitter's environment at submit."]
    code = "" if run_dir is None else f"{run_dir}/code"
    if code:
        lines.append(f"hpcsweep_code=${{hpcsweep_run_dir-{shlex.quote(str(run_dir))}}}/code")
    for name in names:
        parts = environ[name].split(code) if code else [environ[name]]
        lines.append(f"export {name}=" + '"$hpcsweep_code"'.join(shlex.quote(part) if part else "" for part in parts))
    return "\n".join([*lines, ""])


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a run records of the moment it is made. ``facts`` go to run.json, ``diff`` is a file of its own, ``notes`` are told.

    ``devices``: the GPUs of this machine that its queue gives to the tasks.
    """

    scheduler_version: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    diff: bytes | None = None
    snapshot: SnapshotPlan | None = None
    devices: Devices | None = None
    notes: Sequence[str] = ()


def look_around(scheduler: Scheduler, settings: Settings, folder: Path, runs_dir: Path) -> Surroundings:
    """Ask git and the scheduler's programs what is submitted here. Whatever they do not say is not recorded, and why is noted."""
    git, diff, notes = _git_facts(folder, runs_dir)
    snapshot = plan_snapshot(settings, folder, runs_dir)
    if snapshot is not None:
        notes = (snapshot.words, *notes, *_not_copied(snapshot, (git or {}).get("untracked", ())))
    return Surroundings(
        scheduler_version=_scheduler_version(scheduler),
        facts={
            "modules": [name for name in os.environ.get("LOADEDMODULES", "").split(":") if name],
            "git": git,
            "snapshot": None if snapshot is None else snapshot.facts,
        },
        diff=diff,
        snapshot=snapshot,
        notes=notes,
    )


def environment_of(
    settings: Settings, environ: Mapping[str, str], paths: RunPaths, snapshot: SnapshotPlan | None
) -> dict[str, str]:
    """The variables that the tasks start from. With a copy of the project, what means a folder of it means that of the copy.

    That holds for packages that are installed from the project's folder, too: the copy comes first on PYTHONPATH.
    """
    carried = {name: environ[name] for name in environ if CARRIED.fullmatch(name)} if settings.env_from == "submit" else {}
    if snapshot is None:
        return carried

    def moved(entry: str) -> str:
        path = Path(entry)
        if not path.is_relative_to(snapshot.project) or not path.is_absolute():
            return entry
        copied = paths.code / path.relative_to(snapshot.project)
        return str(copied) if copied.is_dir() else entry

    for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH"):
        if name in carried:
            carried[name] = ":".join(map(moved, carried[name].split(":")))
    roots = [copied for root in editable_roots(environ, snapshot.project) if (copied := moved(str(root))) != str(root)]
    if roots:
        carried["PYTHONPATH"] = ":".join([*roots, *filter(None, [carried.get("PYTHONPATH")])])
    return carried


def _not_copied(snapshot: SnapshotPlan, untracked: Sequence[str]) -> list[str]:
    """What is there but not in the tasks' copy of the project, because git does not know it."""
    if snapshot.source != "git":
        return []
    copied = {printable(name) for name in snapshot.names}
    left = [name for name in untracked if name not in copied and not any(_is_in(name, link) for link in snapshot.links)]
    if not left:
        return []
    shown = ", ".join(left[:4]) + (f" and {len(left) - 4} more" if len(left) > 4 else "")
    return [
        f"the tasks' copy of the project is without what git does not know: {shown} (snapshot: include or link brings it in)"
    ]


def _is_in(name: str, folder: str) -> bool:
    return name.rstrip("/") == folder or name.startswith(f"{folder}/")


def who_and_where(scheduler_version: str | None = None) -> dict[str, Any]:
    """User, host and versions."""
    return {
        "user": _user_name(),
        "host": platform.node(),
        "versions": {
            "hpcsweep": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "scheduler": scheduler_version,
        },
    }


def printable(name: str) -> str:
    """A file's name as text, whatever bytes it has."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _git_facts(folder: Path, runs_dir: Path) -> tuple[dict[str, Any] | None, bytes | None, tuple[str, ...]]:
    """What run.json says of the project's code (None outside of git), the changes since the commit, and what is to be told."""
    facts: dict[str, Any] = {}
    try:
        repository = find_repository(folder)
        if repository is None:
            return None, None, ()
        facts = {"root": printable(str(repository.root)), **describe_commit(repository)}
        changes = find_changes(repository, has_commit=facts["commit"] is not None, left_out=runs_dir)
    except (GitTroubleError, HpcsweepError) as error:
        facts["problem"] = str(error)
        return facts, None, (f"{error}; what was changed in the code since its commit is not recorded",)
    facts |= {
        "dirty": changes.dirty,
        "diff": CODE_DIFF if changes.diff is not None else None,
        "untracked": [printable(name) for name in changes.untracked],
        "untracked_count": changes.untracked_count,
        "notes": list(changes.notes),
    }
    return facts, changes.diff, tuple(changes.notes)


def _scheduler_version(scheduler: Scheduler) -> str | None:
    command = scheduler.version_cmd()
    if command is None or not is_installed(command.argv[0]):
        return None
    try:
        return scheduler.parse_version(run_command(command))
    except HpcsweepError:  # it cannot even be started: the submission will say more
        return None


def _user_name() -> str:
    """The user's name; in a container, where the number may have none, the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())


def current_umask() -> int:
    """The submitter's umask."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def current_folder() -> str:
    """The folder where submit was called, as the user writes it."""
    logical = os.environ.get("PWD", "")
    here = Path.cwd()
    try:
        return logical if logical and Path(logical).samefile(here) else str(here)
    except OSError:
        return str(here)
