"""Who holds a lock, and what this host can prove about that process."""

from __future__ import annotations

import getpass
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

_ENDED = {"Z", "X"}


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a generation; ``since`` is epoch seconds, ``started`` the process's start in clock ticks since boot."""

    host: str
    boot: str
    namespace: str
    pid: int
    started: str
    user: str
    command: str
    since: float


def is_process_gone(pid: int, started: str) -> bool:
    """Whether no process of this namespace has both this pid and this start (``/proc/PID/stat``, field 22).

    A process that cannot be examined is taken to be there.
    """
    try:
        os.kill(pid, 0)  # not /proc alone: hidepid= hides the processes of others there
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    state, now_started = _stat_of(pid)
    return state in _ENDED or bool(started and now_started and started != now_started)


def _stat_of(pid: int) -> tuple[str, str]:
    """``1234 (a name) S 1 ...`` -> state and start time; empty texts when it cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""


def describe_myself(command: str) -> Holder:
    """The facts of this process; those that the system hides are empty."""
    return Holder(
        host=socket.gethostname(),
        boot=_read_word("/proc/sys/kernel/random/boot_id"),
        namespace=_read_link("/proc/self/ns/pid"),
        pid=os.getpid(),
        started=_stat_of(os.getpid())[1],
        user=_user_name(),
        command=command,
        since=time.time(),
    )


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def _read_word(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _read_link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - "pid:[4026531836]" is no path
    except OSError:
        return ""


def may_be_inherited(path: Path, started: str) -> bool:
    """Without flock: whether a process begun after the holder has the generation open, or may have (we cannot look)."""
    try:
        wanted = path.stat()
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names only
        return any(_may_have_open(pid, wanted) for pid in pids if _may_be_younger(pid, started))
    except OSError:
        return True


def _may_be_younger(pid: int, started: str) -> bool:
    state, now_started = _stat_of(pid)
    if state in _ENDED:  # only its parent's reading of its exit code is missing; it has no files any more
        return False
    return not (now_started.isdigit() and started.isdigit()) or int(now_started) >= int(started)


def _may_have_open(pid: int, wanted: os.stat_result) -> bool:
    folder = Path("/proc", str(pid))
    try:
        if folder.stat().st_uid != wanted.st_uid:
            return False  # a child of the holder is its user's
        return any(_is_open_file(link, wanted) for link in (folder / "fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return False  # it ended just now
    except OSError:
        return True


def _is_open_file(link: Path, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(link.stat(), wanted)
    except FileNotFoundError:
        return False
