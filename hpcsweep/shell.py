"""The only place that runs other programs: argv lists, a time limit, both streams kept, nothing printed."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Completed
from hpcsweep.schedulers.base import Command

_MOST_ERRORS = 10_000  # bytes of standard error that are kept of a command with a long output
_DRAIN_S = 1.0  # how long the streams of a program that was ended may stay open (a child of its own may hold them)


def run_command(command: Command, *, timeout_s: float | None = None, lock_fd: int | None = None) -> Completed:
    """Run a command to its end, or to its time limit; whatever it did is in the answer.

    Args:
        command: what to run.
        timeout_s: another limit than the command's own, if any. At the limit the whole process group is killed and
            ``returncode`` is None.
        lock_fd: the run's lock, inherited by a command that keeps it.

    Raises:
        HpcsweepError: when the program could not be started: it is not there, or may not be run.
    """
    limit_s = command.timeout_s if timeout_s is None else timeout_s
    start = time.monotonic()
    with _start(command, lock_fd) as process:
        try:
            stdout, stderr, has_ended = _read_streams(process, limit_s)
        except BaseException:  # ^C too: it must not leave a submission running that nobody waits for
            _kill_group(process)
            raise
    return Completed(
        argv=command.argv,
        returncode=process.returncode if has_ended else None,
        stdout=stdout,
        stderr=stderr,
        elapsed_s=time.monotonic() - start,
    )


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a command wrote, byte for byte. ``returncode`` None: it was ended by its time limit, or (``is_cut``) wrote too much."""

    returncode: int | None
    stdout: bytes
    stderr: str
    is_cut: bool = False


def read_output(command: Command, *, most_bytes: int) -> Output:
    """Run a command whose output may be anything and of any length: it is ended when it writes more than ``most_bytes``.

    Raises:
        HpcsweepError: when the program could not be started.
    """
    deadline = time.monotonic() + command.timeout_s
    with _start(command, None) as process, selectors.DefaultSelector() as selector:
        parts: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        try:
            for name in parts:
                selector.register(getattr(process, name), selectors.EVENT_READ, name)
            is_cut = False
            while selector.get_map() and not is_cut and (left_s := deadline - time.monotonic()) > 0:
                for key, _events in selector.select(left_s):
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.data == "stdout" or len(parts["stderr"]) < _MOST_ERRORS:
                        parts[key.data] += data
                is_cut = len(parts["stdout"]) > most_bytes
            has_ended = not selector.get_map() and _has_ended(process, deadline)
        finally:
            if process.poll() is None:
                _kill_group(process)
    return Output(
        returncode=process.returncode if has_ended else None,
        stdout=bytes(parts["stdout"][:most_bytes]),
        stderr=_decode(bytes(parts["stderr"])),
        is_cut=is_cut,
    )


def _has_ended(process: subprocess.Popen[bytes], deadline: float) -> bool:
    try:
        process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def find_program(name: str, path: str | None = None) -> str | None:
    """The full path of an installed program, or None. ``path``: the folders to look in (default: PATH)."""
    return shutil.which(name, path=path)


def is_installed(name: str) -> bool:
    """Whether a program is on the PATH."""
    return find_program(name) is not None


def command_environment(command: Command, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that ``command`` gets when ours is ``environ``."""
    kept = {
        name: value
        for name, value in environ.items()
        if not _matches(name, command.env_drop) or _matches(name, command.env_keep)
    }
    for name, value in command.env.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = value
    return kept


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _start(command: Command, lock_fd: int | None) -> subprocess.Popen[bytes]:
    # Its own session: ^C in the terminal is ours to handle, and the time limit reaches all that it started.
    fds = (lock_fd,) if command.keeps_lock and lock_fd is not None else ()
    try:
        return subprocess.Popen(  # noqa: S603 - an argv list, never a shell string
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=command_environment(command, os.environ),
            cwd=command.cwd,
            start_new_session=True,
            pass_fds=fds,
        )
    except FileNotFoundError as error:
        if command.cwd is not None and not os.path.isdir(command.cwd):  # noqa: PTH112 - a text from the run's own record
            raise HpcsweepError(
                f"the folder {command.cwd} is not there", "make it again, or submit from another one"
            ) from error
        raise _missing(command.argv[0]) from error
    except PermissionError as error:
        raise HpcsweepError(f"{command.argv[0]} may not be run: {error.strerror}", "look at its permissions") from error
    except (OSError, ValueError) as error:  # too many arguments, no more processes, a NUL byte
        raise HpcsweepError(f"{command.argv[0]} could not be started: {error}") from error


def _read_streams(process: subprocess.Popen[bytes], limit_s: float) -> tuple[str, str, bool]:
    """Standard output, standard error, and whether the program ended by itself."""
    has_ended = True
    try:
        stdout, stderr = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        has_ended = process.poll() is not None  # it did, but something it started holds its streams
        _kill_group(process)
        try:
            stdout, stderr = process.communicate(timeout=_DRAIN_S)
        except subprocess.TimeoutExpired as late:
            stdout, stderr = late.stdout or b"", late.stderr or b""
            process.wait()
    return _decode(stdout), _decode(stderr), has_ended


def _decode(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # all of it has ended
    except PermissionError:
        process.kill()  # something in the group belongs to another user (sudo)


def _missing(program: str) -> HpcsweepError:
    return HpcsweepError(
        f"{program}: there is no such program here",
        "is its module loaded, and is this a login node? `--scheduler local` runs on this machine",
    )
