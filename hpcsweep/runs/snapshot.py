"""Which files of a project go into the copy that a run's tasks work in. Looking only; ``store.copy_code`` copies."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Settings, Snapshot
from hpcsweep.runs.git import GitTroubleError, Repository, find_repository, list_tracked

MOST_FILES = 100_000
_NEVER = frozenset(
    {".git", ".hg", ".svn", ".venv", "venv", "__pycache__", "node_modules", ".tox", ".nox", ".eggs"}
    | {".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints"}
)
"""Folders that are nobody's code, where git does not say what is."""


@dataclass(frozen=True, kw_only=True)
class SnapshotPlan:
    """What is to be copied. ``place`` is the folder where submit was called, relative to the project; names are relative to that, too."""

    project: Path
    place: str
    source: Literal["git", "folder"]
    names: Sequence[str]
    links: Sequence[str]
    folders: Sequence[str]
    total_bytes: int

    @property
    def words(self) -> str:
        """For the user."""
        what = "the tracked files" if self.source == "git" else "the files"
        return f"the tasks run in a copy of {what} of {self.project}: {len(self.names)}, {format_size(self.total_bytes)}"

    @property
    def facts(self) -> dict[str, Any]:
        """What run.json says of it."""
        return {
            "project": str(self.project),
            "place": self.place,
            "source": self.source,
            "files": len(self.names),
            "bytes": self.total_bytes,
        }


def plan_snapshot(settings: Settings, folder: Path, runs_dir: Path) -> SnapshotPlan | None:
    """The copy that a sweep asks for; None when it does not.

    Args:
        settings: those of the sweep.
        folder: where submit was called.
        runs_dir: what is in it is never copied.

    Raises:
        HpcsweepError: git does not answer, a pattern finds nothing, or it is too much.
    """
    wanted = settings.snapshot
    if wanted is None:
        return None
    try:
        repository, names = _tracked(folder)
    except GitTroubleError as error:
        raise HpcsweepError(f"snapshot: {error}", "without git's list of files it is not known what to copy") from error
    project = folder if repository is None else repository.root
    place = "" if repository is None else repository.place
    chosen = _Choice(project=project, runs_dir=runs_dir, exclude=wanted.exclude)
    files = (
        {name: size for name in names if (size := chosen.size_of(name)) is not None} if repository else dict(chosen.walk(""))
    )
    files |= chosen.included(wanted.include)
    chosen.check_links(wanted.link)
    files = {name: size for name, size in files.items() if not any(_is_below(name, link) for link in wanted.link)}
    _check_size(files, wanted)
    return SnapshotPlan(
        project=project,
        place=place,
        source="folder" if repository is None else "git",
        names=sorted(files),
        links=wanted.link,
        folders=_folders(project, place, settings.workdir),
        total_bytes=sum(files.values()),
    )


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """What of a project may be copied."""

    project: Path
    runs_dir: Path
    exclude: Sequence[str]

    def size_of(self, name: str) -> int | None:
        """Bytes of a file or link that is there and wanted."""
        if self._is_excluded(name) or self._is_run(self.project / name):
            return None
        return _size_of(self.project / name)

    def walk(self, start: str) -> Iterator[tuple[str, int]]:
        """All that is in a folder, as far as it looks like the user's own: no environments, caches and runs."""
        count = 0
        for folder, below, names in os.walk(self.project / start):
            inside = os.path.relpath(folder, self.project)
            prefix = "" if inside == "." else f"{inside}/"
            linked = [name for name in below if (Path(folder) / name).is_symlink()]
            below[:] = [name for name in below if name not in linked and self._is_own(Path(folder) / name, f"{prefix}{name}")]
            for name in (*names, *linked):
                size = None if self._is_excluded(f"{prefix}{name}") else _size_of(Path(folder) / name)
                if size is not None:
                    count += 1
                    yield f"{prefix}{name}", size
            if count > MOST_FILES:
                return  # that it is too much is said with what was found

    def included(self, patterns: Sequence[str]) -> dict[str, int]:
        """What the patterns of ``include`` find, folders with all that is in them."""
        files: dict[str, int] = {}
        for pattern in patterns:
            try:
                paths = list(self.project.glob(pattern))
            except (ValueError, NotImplementedError) as error:
                raise HpcsweepError(f"snapshot.include: {pattern} is no pattern: {error}") from error
            for path in paths:
                name = str(path.relative_to(self.project))
                if path.is_dir() and not path.is_symlink():
                    files |= dict(self.walk(name))
                elif (size := self.size_of(name)) is not None:
                    files[name] = size
            if not paths:
                raise HpcsweepError(
                    f"snapshot.include: there is no {pattern} in {self.project}", "patterns are relative to that folder"
                )
        return files

    def check_links(self, links: Sequence[str]) -> None:
        """Refuse links to what is not there.

        Raises:
            HpcsweepError: which.
        """
        missing = [link for link in links if not os.path.lexists(self.project / link)]
        if missing:
            raise HpcsweepError(
                f"snapshot.link: there is no {missing[0]} in {self.project}", "the names are relative to that folder"
            )

    def _is_own(self, path: Path, name: str) -> bool:
        if path.name in _NEVER or self._is_excluded(name) or self._is_run(path):
            return False
        is_environment = (path / "pyvenv.cfg").exists() or (path / "conda-meta").is_dir()
        return not is_environment and not ((path / "run.json").exists() and (path / "tasks.jsonl").exists())

    def _is_run(self, path: Path) -> bool:
        return path == self.runs_dir or self.runs_dir in path.parents

    def _is_excluded(self, name: str) -> bool:
        """Whether a pattern means the file or a folder that it is in: by its name, or, with a slash in it, by its path."""
        if not self.exclude:
            return False
        parts = name.split("/")
        paths = ["/".join(parts[: number + 1]) for number in range(len(parts))]
        return any(
            fnmatchcase(text, pattern) for pattern in self.exclude for text in (paths if "/" in pattern else (*parts, name))
        )


def _tracked(folder: Path) -> tuple[Repository | None, list[str]]:
    """The repository and what it tracks; none where it knows nothing of the folder itself."""
    repository = find_repository(folder)
    if repository is None:
        return None, []
    names = list_tracked(repository)
    if repository.place and not any(_is_below(name, repository.place) for name in names):
        return None, []
    return (repository, names) if names else (None, [])


def _folders(project: Path, place: str, workdir: str) -> list[str]:
    """What has to be there although no file is copied into it: where submit was called, and where the command runs."""
    folders = [place]
    if workdir != "task" and not workdir.startswith("/"):
        inside = posixpath.normpath(posixpath.join(place, workdir))
        if inside.split("/")[0] != ".." and (project / inside).is_dir():
            folders.append(inside)
    return [folder for folder in folders if folder not in ("", ".")]


def _check_size(files: Mapping[str, int], wanted: Snapshot) -> None:
    total = sum(files.values())
    if total <= wanted.max_bytes and len(files) <= MOST_FILES:
        return
    by_top: dict[str, list[int]] = {}
    for name, size in files.items():
        by_top.setdefault(name.partition("/")[0], []).append(size)
    is_many = len(files) > MOST_FILES
    order = sorted(by_top, key=lambda top: -(len(by_top[top]) if is_many else sum(by_top[top])))
    shown = [f"{top} ({len(by_top[top])} files, {format_size(sum(by_top[top]))})" for top in order[:3]]
    much = f"more than {MOST_FILES} files" if is_many else f"{format_size(total)}, more than {format_size(wanted.max_bytes)}"
    raise HpcsweepError(
        f"snapshot: the project comes to {much}; the largest are {', '.join(shown)}",
        f"snapshot: {{exclude: [{order[0]}]}}, or {{link: [{order[0]}]}} for data that does not change"
        + ("" if is_many else "; max_size allows more"),
    )


def format_size(number: int) -> str:
    """``1.5 MiB``, ``12 KiB``."""
    return f"{number / (1 << 20):.1f} MiB" if number >= 1 << 20 else f"{-(-number // 1024)} KiB"


def _size_of(path: Path) -> int | None:
    try:
        facts = path.lstat()
    except OSError:
        return None  # tracked, but deleted
    if stat.S_ISREG(facts.st_mode):
        return facts.st_size
    return 0 if stat.S_ISLNK(facts.st_mode) else None


def _is_below(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}/")
