"""The run's lock: generations ``lock/0001``, ``lock/0002``, ..., each made by a hard link and never removed.

Whoever links the next generation holds the lock; a release is the marker ``0001.released`` beside it (a second name of
the same file, so a generation costs one inode). Unlink-and-create schemes give two holders when two commands find the
same dead lock; a generation can only be made once. A generation's modification time is its heartbeat.

When the newest generation is not released, the next one may be made only

* on the same host, boot and process namespace, when its pid is gone or belongs to a later process, and nobody holds the
  file's flock any more (a submit command inherits it, and keeps the lock alive when its parent was killed), or
* from elsewhere, when it gave no heartbeat for ten minutes, by the clock of the file server.

The holder asks :meth:`RunLock.check` before everything that must not be done by two.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

from hpcsweep.errors import HpcsweepError
from hpcsweep.store.files import TEMPORARY_PREFIX, explained, link_exclusively, sync_folder, write_temporary
from hpcsweep.store.holder import Holder, describe_myself, is_process_gone, may_be_inherited
from hpcsweep.store.layout import RunPaths

if TYPE_CHECKING:
    from types import TracebackType

STALE_AFTER_S = 600.0
"""A holder on another host is believed dead after so many seconds without a heartbeat."""
BEAT_EVERY_S = 30.0
_FORGOTTEN_AFTER_S = 86400.0
_MOST_GENERATIONS = 10_000_000

_GENERATION = re.compile(r"([0-9]{4,12})")
_RELEASED = re.compile(r"([0-9]{4,12})\.released")


@final
class RunLock:
    """A held lock. Leaving the ``with`` block releases it.

    ``generation`` is its number. ``fd`` is for processes that shall keep the lock while they live (``pass_fds``).
    """

    def __init__(self, paths: RunPaths, generation: int, fd: int, unreleased: frozenset[int]) -> None:
        self.paths = paths
        self.generation = generation
        self.fd = fd
        self._unreleased = unreleased
        self._beaten_at = time.monotonic()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.release()

    def has_unreleased_since(self, generation: int) -> bool:
        """Whether any generation from ``generation`` on, before this one, was taken over, not released."""
        return any(number >= generation for number in self._unreleased)

    def check(self) -> None:
        """Make sure that the lock is still ours, and give a heartbeat when one is due.

        Raises:
            HpcsweepError: another command took it over.
        """
        if self.fd < 0:
            raise HpcsweepError(f"the lock of {self.paths.name} was released already")
        with explained("list", self.paths.lock_dir):
            # Listing, not looking up: network file systems remember for a while that a name was not there.
            newest = max(_list_lock(self.paths.lock_dir)[0], default=0)
        if newest > self.generation:
            by = _read_holder(_generation_path(self.paths, newest))
            who = f"`{by.command}` of {by.user} on {by.host} (pid {by.pid})" if by else "another command"
            raise HpcsweepError(
                f"{self.paths.name} was taken over by {who}, which believed this command dead; it stops here",
                f"see what that one did: hpcsweep status {self.paths.name}",
            )
        if time.monotonic() - self._beaten_at >= BEAT_EVERY_S:
            self.beat()

    def beat(self) -> None:
        """Give a sign of life, for other hosts; a command that holds the lock for minutes does so now and then."""
        self._beaten_at = time.monotonic()
        with contextlib.suppress(OSError):
            os.utime(_generation_path(self.paths, self.generation))  # no time given: the file server's clock

    def release(self) -> None:
        """Release the lock. A process that inherited it and still lives keeps it; the disk's "no" is passed over."""
        if self.fd < 0:
            return
        path = _generation_path(self.paths, self.generation)
        os.close(self.fd)  # no LOCK_UN: that would take the lock from an inheriting process too
        self.fd = -1
        if _flock_state(path) == "held":
            return
        with contextlib.suppress(OSError):
            link_exclusively(path, _released_path(self.paths, self.generation))
            sync_folder(self.paths.lock_dir)


def acquire(paths: RunPaths, *, wait_s: float, command: str, stale_after_s: float = STALE_AFTER_S) -> RunLock:
    """Take the run's lock; use it as a context manager.

    Args:
        paths: the run.
        wait_s: how many seconds to wait for another command (0: try once).
        command: what the user sees of this command, such as ``hpcsweep submit``.
        stale_after_s: seconds without a heartbeat after which a holder on another host is taken over.

    Raises:
        HpcsweepError: another command holds it (who, since when), or the folder cannot be written.
    """
    offer = _Offer(paths, command)
    try:
        return _win(offer, paths, wait_s, stale_after_s)
    except BaseException:
        offer.abandon()
        raise
    finally:
        offer.withdraw()


def lock_problems(paths: RunPaths) -> list[str]:
    """What is wrong with the lock's own files, in sentences; nobody has to hold it."""
    try:
        generations, released = _list_lock(paths.lock_dir)
    except OSError as error:
        return [f"it cannot be listed: {error.strerror}"]
    newest = max(generations, default=0)
    problems = [f"{number:04d}.released is there without {number:04d}" for number in sorted(released - generations)[:5]]
    missing = sorted(set(range(1, newest + 1)) - generations)[:1] if newest < _MOST_GENERATIONS else [newest - 1]
    if missing:
        problems.append(f"{missing[0]:04d} is not there, though {newest:04d} is")
    if newest and newest not in released and _read_holder(_generation_path(paths, newest)) is None:
        problems.append(f"{newest:04d} does not say who holds the lock")
    return problems


def _win(offer: _Offer, paths: RunPaths, wait_s: float, stale_after_s: float) -> RunLock:
    deadline = time.monotonic() + wait_s
    pause_s = 0.01
    while True:
        with explained("take the lock in", paths.lock_dir):
            generations, released = _list_lock(paths.lock_dir)
            newest = max(generations, default=0)
            is_free = newest == 0 or newest in released
            state = "dead" if is_free else offer.judge(newest, stale_after_s)
            if state == "dead" and offer.link(newest + 1):
                return RunLock(paths, newest + 1, offer.take_fd(), frozenset(generations - released))
        if state != "dead" and time.monotonic() >= deadline:
            raise _is_held(paths, newest, state, stale_after_s)
        time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - only spreads the waiters
        pause_s = min(pause_s * 1.5, 0.25, max(deadline - time.monotonic(), 0.01))


class _Offer:
    """Our next generation, prepared under a temporary name whose flock we hold before anybody can see it."""

    def __init__(self, paths: RunPaths, command: str) -> None:
        self._paths = paths
        self._holder = describe_myself(command)
        self._fd = -1
        self._path: Path | None = None
        self._tried = 0

    def judge(self, generation: int, stale_after_s: float) -> Literal["alive", "silent", "dead"]:
        """Whether the holder of a generation lives; "silent": nobody on this host can prove anything yet."""
        path = _generation_path(self._paths, generation)
        holder = _read_holder(path)
        mine = self._holder
        if holder is not None and mine.boot and (holder.host, holder.boot) == (mine.host, mine.boot):
            flock = _flock_state(path)
            if flock == "held":
                return "alive"
            if holder.namespace == mine.namespace != "":
                if not is_process_gone(holder.pid, holder.started):
                    return "alive"
                if flock == "free" or not may_be_inherited(path, holder.started):
                    return "dead"
        return "dead" if self.silence_s(generation) > stale_after_s else "silent"

    def silence_s(self, generation: int) -> float:
        """Seconds since the holder's last heartbeat, by the file server's clock: two files in one folder are compared."""
        offer = self._prepare()
        os.utime(offer)
        return offer.stat().st_mtime - _generation_path(self._paths, generation).stat().st_mtime

    def link(self, generation: int) -> bool:
        """Make the generation; False when somebody else made it first."""
        for _attempt in range(3):
            offer = self._prepare()
            self._tried = generation
            try:
                os.utime(offer)
                is_ours = link_exclusively(offer, _generation_path(self._paths, generation))
            except FileNotFoundError:  # it was cleaned away while we waited for days
                self.withdraw()
                continue
            if is_ours:
                sync_folder(self._paths.lock_dir)
            return is_ours
        return False

    def take_fd(self) -> int:
        """The flocked descriptor, now the lock's."""
        fd, self._fd = self._fd, -1
        _remove_forgotten(self._paths.lock_dir, _mtime(self._path))
        return fd

    def abandon(self) -> None:
        """Release the generation that ^C interrupted the making of: its process may live on, in a notebook."""
        if self._path is not None and self._tried:
            made = _generation_path(self._paths, self._tried)
            with contextlib.suppress(OSError):
                if self._path.samefile(made):
                    os.link(made, _released_path(self._paths, self._tried))

    def withdraw(self) -> None:
        """Remove the temporary name; the generation, if it was made, stays."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._path = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _prepare(self) -> Path:
        if self._path is None:
            self._paths.lock_dir.mkdir(exist_ok=True)
            self._path = write_temporary(self._paths.lock_dir, (json.dumps(asdict(self._holder)) + "\n").encode("ascii"))
            self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            with contextlib.suppress(OSError):  # not every file system has flock; the generations do without
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self._path


def _generation_path(paths: RunPaths, generation: int) -> Path:
    return paths.lock_dir / f"{generation:04d}"


def _released_path(paths: RunPaths, generation: int) -> Path:
    return paths.lock_dir / f"{generation:04d}.released"


def _list_lock(folder: Path) -> tuple[set[int], set[int]]:
    """The generations that are there, and those of them that were released."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are all that is wanted
    except FileNotFoundError:
        if not folder.parent.is_dir():
            raise
        names = []
    generations = {int(match.group(1)) for name in names if (match := _GENERATION.fullmatch(name))}
    return generations, {int(match.group(1)) for name in names if (match := _RELEASED.fullmatch(name))}


def _read_holder(path: Path) -> Holder | None:
    """The facts in a generation; None when they are damaged (then nobody can prove the holder dead)."""
    try:
        data = json.loads(path.read_bytes())
        return Holder(**{name: data[name] for name in Holder.__dataclass_fields__}) if isinstance(data["pid"], int) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _flock_state(path: Path) -> Literal["held", "free", "unknown"]:
    """Whether any process holds the file's flock; a shared lock asks, so that two who ask do not disturb each other."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return "unknown"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "held"
    except OSError:
        return "unknown"
    else:
        return "free"
    finally:
        os.close(descriptor)


def _mtime(path: Path | None) -> float:
    try:
        return path.stat().st_mtime if path is not None else 0.0
    except OSError:
        return 0.0


def _remove_forgotten(folder: Path, now: float) -> None:
    """Remove the temporary names that commands killed long ago left (``now`` by the file server's clock)."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
            if now - _mtime(path) > _FORGOTTEN_AFTER_S:
                path.unlink()


def _is_held(paths: RunPaths, generation: int, state: str, stale_after_s: float) -> HpcsweepError:
    holder = _read_holder(_generation_path(paths, generation))
    if holder is None:
        return HpcsweepError(
            f"{paths.name} is being changed by another command ({_generation_path(paths, generation)} says nobody knows who)",
            f"it is taken over {stale_after_s / 60:.0f} minutes after its last sign of life; wait with --wait-lock {stale_after_s + 30:.0f}s",
        )
    since = time.localtime(holder.since)
    form = "%H:%M:%S" if since[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M:%S"
    message = (
        f"{paths.name} is being changed by `{holder.command}` of {holder.user} on {holder.host} "
        f"since {time.strftime(form, since)} (pid {holder.pid})"
    )
    hint = "wait with --wait-lock 60s"
    if state == "silent":
        hint += f", or ask there whether it still runs: from here it is taken over {stale_after_s / 60:.0f} minutes after its last sign of life"
    else:
        hint += f", or end it: kill {holder.pid}"
    return HpcsweepError(message, hint)
