"""Files of a run directory: whole or not at all, and durable once a function returns.

Every replaced file is written beside itself, fsynced and renamed. What the file system says no to becomes an
HpcsweepError that says what was not written and how to go on.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from hpcsweep.errors import HpcsweepError

TEMPORARY_PREFIX = ".tmp."
_counter = itertools.count()

_FULL = "make room there (`hpcsweep du` shows what the runs take), then give the command again"
_REASONS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", _FULL),
    errno.EDQUOT: ("your quota is used up", _FULL),
    errno.EROFS: ("the file system is read-only", "give a folder that can be written with --set runs_dir=DIR"),
    errno.EACCES: ("no permission", "it belongs to somebody else, or a folder above it is closed to you"),
    errno.EPERM: ("not permitted", "it belongs to somebody else, or it is protected"),
    errno.ENOENT: ("it is not there", ""),
    errno.EEXIST: ("it is there already", ""),
    errno.EISDIR: ("it is a folder, not a file", ""),
    errno.ENOTDIR: ("a part of its path is a file, not a folder", ""),
    errno.ENAMETOOLONG: ("its path is too long", "give shorter names"),
    errno.ELOOP: ("its symbolic links go in a circle", ""),
    errno.ESTALE: ("the file server has lost it", "wait for the file server, then give the command again"),
    errno.EIO: ("the disk or the file server failed", "wait for the file server, then give the command again"),
    errno.EMFILE: ("too many files are open", "raise `ulimit -n`"),
}


def explain(error: OSError, what: str, path: Path | str) -> HpcsweepError:
    """``explain(error, "write", path)`` -> an error such as "cannot write runs/run-01/run.json: the disk is full"."""
    reason, hint = _REASONS.get(error.errno or 0, (error.strerror or str(error) or type(error).__name__, ""))
    return HpcsweepError(f"cannot {what} {path}: {reason}", hint)


@contextlib.contextmanager
def explained(what: str, path: Path | str) -> Iterator[None]:
    """Turn the OSError of a block into the HpcsweepError of :func:`explain`."""
    try:
        yield
    except OSError as error:
        raise explain(error, what, path) from error


@contextlib.contextmanager
def sharing(umask: int | None) -> Iterator[None]:
    """Within the block, files are made under the run's own ``umask`` (None: the user's, as it is)."""
    if umask is None:
        yield
        return
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


def read_bytes(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        HpcsweepError: it is not there, a folder, or not ours to read.
    """
    with explained("read", path):
        return path.read_bytes()


def read_text(path: Path) -> str:
    """The file's text, UTF-8, line ends as they are.

    Raises:
        HpcsweepError: as :func:`read_bytes`, or the file is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise HpcsweepError(f"cannot read {path}: byte {error.start} is not UTF-8 text") from error


def temporary_name(folder: Path) -> Path:
    """A name in ``folder`` that no other process on any host uses."""
    host = socket.gethostname().replace("/", "_")[:64]
    return folder / f"{TEMPORARY_PREFIX}{host}.{os.getpid()}.{next(_counter)}.{os.urandom(4).hex()}"


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable; file systems that cannot sync a folder keep them so by themselves."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EROFS}:
            raise
    finally:
        os.close(descriptor)


def write_fully(descriptor: int, data: bytes) -> None:
    """Write all of ``data``: one call, and more only where the system took a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def write_temporary(folder: Path, data: bytes, mode: int | None = None) -> Path:
    """A new durable file in ``folder`` under a temporary name, to be renamed or linked; nothing is left on failure.

    Raises:
        OSError: as the system says it.
    """
    temporary = temporary_name(folder)
    # Not tempfile: that makes files 0600, and the umask and the set-group-id bit of a shared run must count.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666 if mode is None else mode)
    try:
        try:
            write_fully(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)  # NFS says here that the disk is full
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return temporary


def write_atomically(path: Path, data: bytes | str, mode: int | None = None) -> None:
    """Put ``data`` at ``path``, replacing what was there: readers see the old file or the new one, whole.

    Args:
        path: the file; a symbolic link is replaced, not followed.
        data: text is written as UTF-8.
        mode: permissions, such as 0o755, as far as the umask allows them; None: those of a plain file.

    Raises:
        HpcsweepError: nothing was written.
    """
    with explained("write", path):
        temporary = write_temporary(path.parent, _encoded(data), mode)
        try:
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)


def write_for_user(path: Path, data: bytes | str) -> None:
    """Put ``data`` where a user says: a file whole or not at all; into a pipe or a device as it is, which must not be replaced.

    Raises:
        HpcsweepError: it was not written.
    """
    with explained("write", path):
        is_plain = not path.exists() or path.is_file() or path.is_dir()
    if is_plain:
        write_atomically(path, data)
        return
    with explained("write", path), path.open("wb") as file:
        file.write(_encoded(data))


def create_exclusively(path: Path, data: bytes | str, mode: int | None = None) -> None:
    """Put ``data`` at ``path`` unless something is there: whole or not at all, and of two callers one wins.

    Raises:
        FileExistsError: something is there already.
        HpcsweepError: nothing was written.
    """
    with explained("write", path):
        temporary = write_temporary(path.parent, _encoded(data), mode)
        try:
            is_ours = link_exclusively(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        if is_ours:
            sync_folder(path.parent)
            return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def link_exclusively(temporary: Path, path: Path) -> bool:
    """Give the file the second name ``path``; False when that name is another file's.

    A network call that is sent twice answers "exists" to its own success: both names being one file decides.

    Raises:
        OSError: the link failed for another reason.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        try:
            if os.path.samestat(temporary.stat(), path.lstat()):
                return True
        except OSError:
            pass
        if error.errno == errno.EEXIST:
            return False
        raise
    return True


def _encoded(data: bytes | str) -> bytes:
    return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
