"""What a folder's file system does of what a run needs of it: tried, in a folder of our own that is removed again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcsweep.store.files import explained, link_exclusively, sync_folder, write_temporary
from hpcsweep.store.layout import absolute_as_written
from hpcsweep.store.runs_dir import missing_folders

_PREFIX = ".hpcsweep-doctor-"
_CLOCK_GRAIN_S = 1.0
_REMOVE_PAUSES_S = (0.0, 0.2, 1.0, 3.0)  # NFS keeps a removed file that is open somewhere under another name for a while


class _WrongError(Exception):
    """The file system said yes, and did something else."""


@dataclass(frozen=True, kw_only=True)
class FolderFacts:
    """``faults``: what was tried -> why it failed, '' where it did not. ``free_files`` None: it does not count them."""

    kind: str  # as /proc/mounts has it; '' where that says nothing
    mount: str
    faults: Mapping[str, str]
    clock_ahead_s: float  # of the file server, against ours
    free_bytes: int
    free_files: int | None


@contextlib.contextmanager
def private_folder(runs_dir: Path) -> Iterator[Path]:
    """A new folder in that of the runs, for the time of the block; the runs' own too, where it was not there.

    Raises:
        HpcsweepError: nothing can be made there.
    """
    runs_dir = absolute_as_written(runs_dir)
    made = missing_folders(runs_dir)
    try:
        with explained("make a folder in", runs_dir):
            if not os.path.lexists(runs_dir):
                runs_dir.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=runs_dir))
        try:
            yield folder
        finally:
            _remove(folder)
    finally:
        with contextlib.suppress(OSError):  # somebody has put something there meanwhile
            for path in made:
                path.rmdir()


def probe_folder(folder: Path) -> FolderFacts:
    """Try all of it in an empty folder of our own, which is left empty.

    Raises:
        HpcsweepError: not even a file can be written.
    """
    with explained("write in", folder):
        clock_ahead_s = _clock_ahead(folder)
        room = os.statvfs(folder)
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        mounts = ""
    mount, kind = find_mount(folder.resolve(), mounts)
    return FolderFacts(
        kind=kind,
        mount=mount,
        faults={name: _try(trial, folder) for name, trial in _TRIALS.items()},
        clock_ahead_s=clock_ahead_s,
        free_bytes=room.f_bavail * room.f_frsize,
        free_files=room.f_favail if room.f_files else None,
    )


def find_mount(path: Path, mounts: str) -> tuple[str, str]:
    """Mount point and type of the file system that ``path`` (no links in it) is on, by the text of /proc/mounts; '' and '' where it has none."""
    found = ("", "")
    for line in mounts.split("\n"):
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[1])  # a blank is \040
        # Of two at one place the later one lies above.
        if path.is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, fields[2])
    return found


def _remove(folder: Path) -> None:
    for pause_s in _REMOVE_PAUSES_S:
        time.sleep(pause_s)
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return


def _try(trial: Callable[[Path], None], folder: Path) -> str:
    try:
        trial(folder)
    except _WrongError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    else:
        return ""
    finally:
        for path in folder.iterdir():
            path.unlink()


def _clock_ahead(folder: Path) -> float:
    before = time.time()
    path = write_temporary(folder, b"hpcsweep\n")
    try:
        os.utime(path)  # no time given: the file server's clock
        changed, after = path.stat().st_mtime, time.time()
    finally:
        path.unlink()
    if before - _CLOCK_GRAIN_S <= changed <= after + _CLOCK_GRAIN_S:
        return 0.0
    return changed - (before + after) / 2


def _link(folder: Path) -> None:
    path, name = write_temporary(folder, b"1"), folder / "link"
    os.link(path, name)
    if not path.samefile(name) or path.stat().st_nlink != 2:
        raise _WrongError("the second name is another file")


def _link_exclusively(folder: Path) -> None:
    path, taken = write_temporary(folder, b"1"), write_temporary(folder, b"2")
    if link_exclusively(path, taken) or taken.read_bytes() != b"2":
        raise _WrongError("a name that was taken was given to another file")


def _rename(folder: Path) -> None:
    new, old = write_temporary(folder, b"new"), write_temporary(folder, b"old")
    new.replace(old)
    if new.exists() or old.read_bytes() != b"new":
        raise _WrongError("the new file is not in the place of the old one")


def _flock(folder: Path) -> None:
    path = write_temporary(folder, b"1")
    with path.open("rb") as first, path.open("rb") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        raise _WrongError("two had the same lock")


def _sync(folder: Path) -> None:
    write_temporary(folder, b"1")  # it is fsynced
    sync_folder(folder)


def _list(folder: Path) -> None:
    path = write_temporary(folder, b"1")
    if path.name not in os.listdir(folder):  # noqa: PTH208 - as the records of tasks are listed
        raise _WrongError("a new file is not listed")


_TRIALS: dict[str, Callable[[Path], None]] = {
    "hard link": _link,
    "exclusive link": _link_exclusively,
    "rename": _rename,
    "flock": _flock,
    "fsync": _sync,
    "listing": _list,
}
