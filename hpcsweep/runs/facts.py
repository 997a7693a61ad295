"""What a run records of the moment it was made: who, where, which code, which versions, and the environment its tasks start from."""

from __future__ import annotations

import getpass
import os
import platform
import re
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpcsweep._version import __version__
from hpcsweep.schedulers.base import Command
from hpcsweep.shell import is_installed, run_command

CARRIED = re.compile(
    r"PATH|LD_LIBRARY_PATH|VIRTUAL_ENV|CONDA_PREFIX|CONDA_DEFAULT_ENV|CONDA_EXE|CONDA_SHLVL|CONDA_PYTHON_EXE|PYTHONPATH|PYTHONHOME"
    r"|LOADEDMODULES|_LMFILES_|MODULEPATH|MODULESHOME|LMOD_[A-Z_]+|_ModuleTable[0-9]+_|_ModuleTable_Sz_|MANPATH|LANG|LC_[A-Z]+|TZ"
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


def environment_text(environ: Mapping[str, str]) -> str:
    """The run's environment file: bash assignments, each value quoted."""
    names = sorted(name for name in environ if CARRIED.fullmatch(name))
    lines = [f"export {name}={shlex.quote(environ[name])}" for name in names]
    return "\n".join(["# What the tasks' shells start from: the submitter's environment at submit.", *lines, ""])


def who_and_where() -> dict[str, Any]:
    """User, host and versions."""
    return {
        "user": _user_name(),
        "host": platform.node(),
        "versions": {"hpcsweep": __version__, "python": platform.python_version(), "platform": platform.platform()},
    }


def _user_name() -> str:
    """The user's name; in a container, where the number may have none, the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit of the project and whether it has changes; None outside git, or where git does not answer soon."""
    if not is_installed("git"):
        return None
    commit = run_command(_git(folder, "rev-parse", "HEAD"))
    if commit.returncode != 0:
        return None
    dirty = run_command(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    return {"commit": commit.stdout.strip(), "dirty": bool(dirty.stdout.strip()) if dirty.returncode == 0 else None}


def _git(folder: Path, *words: str) -> Command:
    return Command(argv=("git", "-C", str(folder), *words), env={"GIT_OPTIONAL_LOCKS": "0"}, timeout_s=5.0)


def current_folder() -> str:
    """The folder where submit was called, as the user writes it."""
    logical = os.environ.get("PWD", "")
    here = Path.cwd()
    try:
        return logical if logical and Path(logical).samefile(here) else str(here)
    except OSError:
        return str(here)
