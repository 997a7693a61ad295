"""All names of a run directory, in one place."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from hpcsweep.errors import HpcsweepError
from hpcsweep.store.files import explain, explained


class EventsGone(HpcsweepError):
    """The folder of an array's records is not there: nothing can start from it, and what its tasks did nobody knows."""


CODE_DIFF = "code.diff"
"""The name, in the run's folder, of what the project's tracked files differ in from their commit."""

_JOURNAL = re.compile(r"state(?:\.([1-9][0-9]{0,8}))?\.jsonl")


@dataclass(frozen=True)
class ArrayPaths:
    """The folder of one array, ``arrays/003``."""

    root: Path

    @property
    def script(self) -> Path:
        """Exactly what was submitted."""
        return self.root / "script.sh"

    @property
    def tag(self) -> Path:
        """The name of the array's job: its elements make sure that the folder is still theirs."""
        return self.root / "tag"

    @property
    def chunks(self) -> Path:
        """The folder of the rendered commands."""
        return self.root / "tasks"

    def chunk(self, number: int) -> Path:
        """The rendered commands of positions ``64 * number`` and on (or whatever the chunk size is)."""
        return self.chunks / f"{number:04d}.sh"

    @property
    def events(self) -> Path:
        """The tasks' own records."""
        return self.root / "events"

    @property
    def log(self) -> Path:
        """What the elements themselves print."""
        return self.root / "elements.log"


@dataclass(frozen=True)
class RunPaths:
    """A run directory; ``root`` is absolute, as the user writes it."""

    root: Path

    @property
    def name(self) -> str:
        """``run-03``."""
        return self.root.name

    @property
    def sweep_yaml(self) -> Path:
        """The user's file, verbatim."""
        return self.root / "sweep.yaml"

    def extending_sweep(self, number: int) -> Path:
        """``sweep.2.yaml``: the file that the run was extended by, verbatim."""
        return self.root / f"sweep.{number}.yaml"

    @property
    def environment(self) -> Path:
        """What the tasks' shells start from."""
        return self.root / "environment.sh"

    @property
    def code_diff(self) -> Path:
        """What ``git apply`` makes the project's files of, from their commit; only where they had changed."""
        return self.root / CODE_DIFF

    @property
    def code(self) -> Path:
        """The copy of the project that the tasks work in, where the sweep asks for one."""
        return self.root / "code"

    @property
    def code_hashes(self) -> Path:
        """What each copied file was, as ``sha256sum --check`` reads it."""
        return self.root / "code.sha256"

    @property
    def task_environment(self) -> Path:
        """The folder with what a task found after ``setup``, written once by one of them; not there before."""
        return self.root / "environment"

    @property
    def run_json(self) -> Path:
        """The facts of the run, written once and last: a folder without it is no run."""
        return self.root / "run.json"

    @property
    def tasks(self) -> Path:
        """``tasks.jsonl``, one line per task."""
        return self.root / "tasks.jsonl"

    @property
    def lock_dir(self) -> Path:
        """The generations of the run's lock."""
        return self.root / "lock"

    @property
    def cache_dir(self) -> Path:
        """Answers that may be deleted at any time."""
        return self.root / "cache"

    @property
    def local_dir(self) -> Path:
        """What the scheduler ``local`` keeps of its queue."""
        return self.root / "local"

    def feeder(self, number: int) -> Path:
        """The script of feeder ``number`` (from 1): a job that advances the run. Its log is beside it."""
        return self.root / "feeders" / f"{number:03d}.sh"

    @property
    def held_back(self) -> Path:
        """The runners' marker that too many tasks failed: nothing more starts while it is there."""
        return self.root / "held-back"

    @property
    def released(self) -> Path:
        """How many failures a `release` has accepted: the runners count from there."""
        return self.root / "released"

    @property
    def arrays_dir(self) -> Path:
        """The folders of the arrays."""
        return self.root / "arrays"

    def array(self, number: int) -> ArrayPaths:
        """The folder of array ``number`` (from 1)."""
        return ArrayPaths(self.arrays_dir / f"{number:03d}")

    @property
    def tasks_dir(self) -> Path:
        """The tasks' own folders."""
        return self.root / "tasks"

    def task(self, index: int) -> Path:
        """The folder of one task, made by the task when it starts; -1 is the ``finally`` command."""
        return self.tasks_dir / ("finally" if index < 0 else f"{index:06d}")

    def journal(self, number: int = 1) -> Path:
        """``state.jsonl``, or ``state.N.jsonl``, which lock generation N opened when it took the run over."""
        return self.root / ("state.jsonl" if number == 1 else f"state.{number}.jsonl")

    def journals(self) -> list[Path]:
        """The journals that are there, in the order of their numbers.

        Raises:
            HpcsweepError: the folder cannot be listed.
        """
        with explained("list", self.root):
            names = os.listdir(self.root)  # noqa: PTH208 - no Path is made of the many names that are none
        numbers = [int(match.group(1) or 1) for name in names if (match := _JOURNAL.fullmatch(name))]
        return [self.journal(number) for number in sorted(set(numbers))]


def journal_number(path: Path) -> int:
    """The N of a journal's name; ``state.jsonl`` is 1.

    Raises:
        ValueError: it is no journal's name.
    """
    match = _JOURNAL.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path.name!r} is no journal's name")
    return int(match.group(1) or 1)


def list_arrays(paths: RunPaths) -> list[int]:
    """The numbers of the arrays that have a script on disk, ascending; none where the folder cannot be listed."""
    try:
        names = os.listdir(paths.arrays_dir)  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return []
    numbers = {int(name) for name in names if re.fullmatch(r"[0-9]{3,9}", name)} - {0}
    return [number for number in sorted(numbers) if os.path.lexists(paths.array(number).script)]


def list_events(array: ArrayPaths) -> list[str]:
    """The names of an array's event files, in no order. No file is opened.

    Every planned array has the folder, so one that is not there says nothing: it is not the same as one without names.

    Raises:
        EventsGone: there is no such folder.
        HpcsweepError: the folder cannot be listed.
    """
    try:
        return os.listdir(array.events)  # noqa: PTH208 - 200,000 names, and no Path of any of them
    except FileNotFoundError as error:
        raise EventsGone(f"{array.events} is not there", "bring the folder back, if it was moved or deleted") from error
    except OSError as error:
        raise explain(error, "list", array.events) from error


def absolute_as_written(path: Path) -> Path:
    """``path`` made absolute without resolving symbolic links: the login node's /home/me stays /home/me.

    The shell's own idea of the current folder (PWD) is used where it is true, for the system's has no links left.

    Raises:
        HpcsweepError: the current folder was deleted.
    """
    with explained("find", path):
        joined = path if path.is_absolute() else _current_folder() / path
        tidy = Path(os.path.normpath(joined))
        # `..` after a symbolic link does not lead back to where it was written.
        return tidy if ".." not in path.parts or _is_same(tidy, joined) else joined.resolve()


def _current_folder() -> Path:
    here = Path(os.environ.get("PWD", ""))
    return here if here.is_absolute() and _is_same(here, Path.cwd()) else Path.cwd()


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
