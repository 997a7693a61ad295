"""What git says of the project: where it is, its commit, what was changed since, what it does not know. Reading only.

Works with git 1.8 and later. Names come as the file system has them (``os.fsdecode``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from hpcsweep.schedulers.base import Command
from hpcsweep.shell import Output, is_installed, read_output
from hpcsweep.store import absolute_as_written

TIME_LIMIT_S = 5.0
MOST_DIFF_BYTES = 20_000_000
MOST_NAMES = 1_000
_MOST_LIST_BYTES = 100_000_000
_MOST_NAMES_BYTES = 200_000
_SETTINGS = ("core.fsmonitor=false", "core.quotePath=false", "diff.relative=false")
_NO_REPOSITORY = ("not a git repository", "must be run in a work tree")
_DIFF = (
    *("diff", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"),
    *("--src-prefix=a/", "--dst-prefix=b/", "--submodule=short", "--ignore-submodules=dirty"),
)


class GitTroubleError(Exception):
    """git is there, and so is a repository, but it does not answer."""


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A work tree. ``place`` is our folder in it, as ``sub/dir`` or empty."""

    root: Path
    place: str


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What of a work tree no commit has. ``diff`` is what ``git apply`` takes, of all tracked files, and None where there is none."""

    dirty: bool | None
    untracked: Sequence[str] = ()
    untracked_count: int = 0
    diff: bytes | None = None
    notes: Sequence[str] = ()


def find_repository(folder: Path) -> Repository | None:
    """The work tree that a folder is in; None: in none, or there is no git.

    Raises:
        GitTroubleError: git does not answer in time, or refuses.
    """
    if not is_installed("git"):
        return None
    found = _git(folder, "rev-parse", "--show-cdup", "--show-prefix", most_bytes=100_000)
    if found.returncode is not None and any(words in found.stderr for words in _NO_REPOSITORY):
        return None
    up, _, place = _text(found).partition("\n")
    return Repository(root=absolute_as_written(folder / up), place=place.removesuffix("\n").rstrip("/"))


def describe_commit(repository: Repository) -> dict[str, Any]:
    """Commit, branch and remote; null where there is none.

    Raises:
        GitTroubleError: git does not answer.
    """
    root = repository.root
    commit = _git(root, "rev-parse", "--verify", "-q", "HEAD", most_bytes=1000)
    branch = _git(root, "symbolic-ref", "-q", "--short", "HEAD", most_bytes=10_000)
    remotes = _git(root, "config", "-z", "--get-regexp", r"^remote\..*\.url$", most_bytes=100_000)
    urls = dict(entry.partition("\n")[::2] for entry in _lenient(remotes).split("\0") if entry)
    url = urls.get("remote.origin.url") or next(iter(urls.values()), None)
    return {
        "commit": _lenient(commit).strip() or None,
        "branch": _lenient(branch).strip() or None,
        "remote": without_credentials(url) if url else None,
    }


def find_changes(repository: Repository, *, has_commit: bool, left_out: Path) -> Changes:
    """What was changed since the commit. Files in ``left_out`` (the folder of the runs) are not told.

    Raises:
        GitTroubleError: git does not answer.
    """
    listing = _git(repository.root, "status", "--porcelain", "-z", "--untracked-files=normal", most_bytes=_MOST_LIST_BYTES)
    changed, untracked = _parse_status(_text(listing))
    own = _relative(left_out, repository.root)
    untracked = [name for name in untracked if own is None or not _is_in(name.rstrip("/"), own)]
    names = _list_folders(repository, untracked, own)
    notes: list[str] = []
    diff = None
    if changed and not has_commit:
        notes.append("the project has no commit yet: what is in its files was not recorded")
    elif changed:
        diff, notes = _diff(repository, changed)
    return Changes(dirty=bool(changed), untracked=names[:MOST_NAMES], untracked_count=len(names), diff=diff, notes=tuple(notes))


def list_tracked(repository: Repository) -> list[str]:
    """The tracked files, relative to the root, those of submodules too; also such as are not there any more.

    Raises:
        GitTroubleError: git does not answer.
    """
    listing = _git(repository.root, "ls-files", "-z", "--cached", "--recurse-submodules", most_bytes=_MOST_LIST_BYTES)
    if listing.returncode == 129:  # usage: older than 2.11
        listing = _git(repository.root, "ls-files", "-z", "--cached", most_bytes=_MOST_LIST_BYTES)
    return list(dict.fromkeys(name for name in _text(listing).split("\0") if name))


def without_credentials(url: str) -> str:
    """A remote's address without names, passwords and tokens; an ssh user stays, for it is part of the address.

    >>> without_credentials("https://me:token@example.org/a.git?key=1")
    'https://example.org/a.git'
    >>> without_credentials("ssh://git:pw@example.org/a.git")
    'ssh://git@example.org/a.git'
    """
    if "://" not in url:
        return url  # git@example.org:a.git, or a folder
    try:
        parts = urlsplit(url)
    except ValueError:
        return re.sub(r"//[^/]*@", "//", url).partition("?")[0]
    user, at, host = parts.netloc.rpartition("@")
    is_ssh = parts.scheme in {"ssh", "git+ssh", "ssh+git"}
    return urlunsplit((parts.scheme, f"{user.partition(':')[0]}{at}{host}" if is_ssh else host, parts.path, "", ""))


def _diff(repository: Repository, changed: Sequence[str]) -> tuple[bytes | None, list[str]]:
    made = _git(repository.root, *_DIFF, "HEAD", most_bytes=MOST_DIFF_BYTES)
    if made.is_cut:
        return None, [f"the changes since the commit are more than {MOST_DIFF_BYTES // 1_000_000} MB and were not recorded"]
    _text(made)
    modules = [name for name in changed if (repository.root / name).is_dir() and not (repository.root / name).is_symlink()]
    notes = [f"what was changed inside of submodules was not recorded: {', '.join(modules[:5])}"] if modules else []
    return made.stdout or None, notes


def _parse_status(text: str) -> tuple[list[str], list[str]]:
    """(changed, untracked) names of ``XY name`` entries; after a renamed one its old name follows."""
    changed, untracked = [], []
    entries = iter(text.split("\0"))
    for entry in entries:
        if len(entry) < 4:
            continue
        if entry.startswith("??"):
            untracked.append(entry[3:])
        else:
            changed.append(entry[3:])
            if "R" in entry[:2] or "C" in entry[:2]:
                next(entries, None)
    return changed, untracked


def _list_folders(repository: Repository, names: Sequence[str], own: str | None) -> list[str]:
    """Untracked folders, file by file, as far as they are small; a large one stays as its name."""
    folders = [name for name in names if name.endswith("/")]
    if not folders or len(folders) > MOST_NAMES:
        return list(names)
    listing = _git(
        repository.root,
        *("ls-files", "-z", "--others", "--exclude-standard", "--"),
        *(f":(top,literal){name}" for name in folders),
        *([f":(top,literal,exclude){own}"] if own is not None else []),
        most_bytes=_MOST_NAMES_BYTES,
        is_vital=False,
    )
    if listing.returncode != 0:
        return list(names)
    files = [name for name in _lenient(listing).split("\0") if name]
    return sorted({*(name for name in names if not name.endswith("/")), *files})


def _relative(path: Path, root: Path) -> str | None:
    try:
        return str(path.resolve().relative_to(root.resolve()))
    except ValueError:
        return None


def _is_in(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}/")


def _git(folder: Path, *words: str, most_bytes: int, is_vital: bool = True) -> Output:
    settings: Iterable[str] = (word for setting in _SETTINGS for word in ("-c", setting))
    command = Command(
        argv=("git", *settings, *words),
        # Looking must not take git's locks, and its messages are read.
        env={"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_DIFF_OPTS": None},
        cwd=str(folder),
        timeout_s=TIME_LIMIT_S,
    )
    answer = read_output(command, most_bytes=most_bytes)
    if is_vital and answer.returncode is None and not answer.is_cut:
        raise GitTroubleError(f"git did not answer within {TIME_LIMIT_S:.0f} s")
    return answer


def _text(answer: Output) -> str:
    """What git printed.

    Raises:
        GitTroubleError: it failed.
    """
    if answer.is_cut:
        raise GitTroubleError("git has too much to tell of so large a project")
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines() or [f"it ended with {answer.returncode}"]
        raise GitTroubleError(f"git says: {lines[0].removeprefix('fatal: ')}")
    return os.fsdecode(answer.stdout)


def _lenient(answer: Output) -> str:
    """The same, where no answer is one."""
    return os.fsdecode(answer.stdout) if answer.returncode == 0 else ""
