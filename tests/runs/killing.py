"""Commands in a forked process that dies, by SIGKILL, at the n-th thing it does to the disk or to another process.

A point is the moment before one call that changes something: a file is opened for writing, written, synced, renamed, linked,
removed or locked, a folder is made, a program is started. The moment after a call is the one before the next, for nothing
changes in between; where that is not so there is a point more: a program that was started goes on without us, its answer was
read and is nowhere yet, half of what was to be written is written.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import io
import os
import pkgutil
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hpcsweep as package
from hpcsweep.__main__ import main

KILLED = -signal.SIGKILL
INTERRUPTED = 130
_CHANGES = {
    *("os.rename", "os.link", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.utime", "os.chmod"),
    *("os.chown", "os.kill", "os.killpg", "fcntl.flock"),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_TEMPORARY = re.compile(r"\.tmp\.[^/ ]*")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended: its exit code, both streams in one, and the points that it came to, by name."""

    code: int
    said: str
    names: tuple[str, ...]

    @property
    def points(self) -> int:
        return len(self.names)

    @property
    def where(self) -> str:
        """The point that it came to last."""
        return self.names[-1] if self.names else "its start"


class Steps:
    """Names what the process does. At point number ``kill_at``, or the first whose name has it, the process is gone, or interrupted."""

    def __init__(self, kill_at: int | str | None, *, by_hand: bool, report: Callable[[str], object]) -> None:
        self._passed = 0
        self._kill_at = kill_at
        self._by_hand = by_hand
        self._report = report
        self._is_paused = False

    def step(self, name: str) -> None:
        """A point. The end is a real SIGKILL: nothing of Python's own comes after it."""
        if self._comes_to(name):
            self._end()

    def write(self, name: str, data: Any, write: Callable[[Any], int]) -> int:
        """Two points: before it, and when half of it is written."""
        self.step(f"write {name}")
        if len(data) > 1 and self._comes_to(f"write half of {name}"):
            write(data if self._by_hand else memoryview(data)[: len(data) // 2])  # ^C does not tear a write
            self._end()
        return write(data)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is one thing to the outside."""
        was_paused, self._is_paused = self._is_paused, True
        try:
            yield
        finally:
            self._is_paused = was_paused

    def _comes_to(self, name: str) -> bool:
        if self._is_paused:
            return False
        self._passed += 1
        with self.paused():
            self._report(name)
        if isinstance(self._kill_at, str):
            return self._kill_at in name
        return self._passed == self._kill_at

    def _end(self) -> None:
        if self._by_hand:
            raise KeyboardInterrupt
        self._is_paused = True
        os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """From here on every change is a point. For good: only in a process that is about to end."""
        sys.addaudithook(self._hear)
        real_write, real_fsync = os.write, os.fsync

        def write(descriptor: int, data: Any) -> int:
            if descriptor <= 2:
                return real_write(descriptor, data)
            return self.write(_name_of(descriptor), data, lambda part: real_write(descriptor, part))

        def fsync(descriptor: int) -> None:
            self.step(f"fsync {_name_of(descriptor)}")
            real_fsync(descriptor)

        os.write, os.fsync, subprocess.Popen = write, fsync, _popen(self)
        builtins.open = io.open = _open(self)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._is_paused:
            return
        if event == "open":
            path, _mode, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and path != os.devnull:
                self.step(f"open {_short(path)}")
        elif event in _CHANGES:
            self.step(f"{event.partition('.')[2]} {_short(arguments[event in {'os.link', 'os.rename'}])}")


def _popen(steps: Steps) -> type[subprocess.Popen[bytes]]:
    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, argv: Any, *arguments: Any, **options: Any) -> None:
            self.program = program_of(argv)
            steps.step(f"start {self.program}")
            with steps.paused():
                super().__init__(argv, *arguments, **options)
            steps.step(f"started {self.program}")

        def communicate(self, *arguments: Any, **options: Any) -> Any:
            with steps.paused():
                answer = super().communicate(*arguments, **options)
            steps.step(f"answered by {self.program}")
            return answer

    return Popen


def _open(steps: Steps) -> Callable[..., Any]:
    """``open`` whose files write by a call of Python's, so that it can be stepped into."""
    real_open = open

    class RawFile(io.FileIO):
        def write(self, data: Any) -> int:
            return steps.write(_name_of(self.fileno()), data, super().write)

    def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, *more: Any, **options: Any) -> Any:
        if not set(mode) & set("wax+") or (isinstance(file, int) and file <= 2):
            return real_open(file, mode, buffering, encoding, *more, **options)
        raw = RawFile(file, mode.replace("b", "").replace("t", ""))
        binary = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return binary if "b" in mode else io.TextIOWrapper(binary, encoding or "utf-8")

    return opened


def program_of(argv: Any) -> str:
    """What a command line starts, in a word or two."""
    words = [str(word) for word in argv]
    name = words[0].rpartition("/")[2]
    if name.startswith("python"):
        return " ".join(word.rpartition("/")[2] for word in words[1:] if not word.startswith("-"))[:20]
    return f"{name} {words[5]}" if name == "sh" and len(words) > 5 and words[5] == "scontrol" else name


def _name_of(descriptor: int) -> str:
    try:
        return _short(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return str(descriptor)


def _short(path: Any) -> str:
    if isinstance(path, int):
        return _name_of(path)
    return _TEMPORARY.sub(".tmp", "/".join(os.fsdecode(path).split("/")[-3:]))


def hpcsweep(
    folder: Path,
    *words: str,
    kill_at: int | str | None = None,
    by_hand: bool = False,
    inside: Callable[[Steps], None] = lambda _steps: None,
) -> Ended:
    """Run one command in ``folder``.

    Args:
        folder: where it is called.
        words: the command line.
        kill_at: the number of the point where it dies, from 1 on, or a part of its name.
        by_hand: it is not killed, but interrupted by ^C.
        inside: called in the new process before the command.
    """
    _import_all()
    with tempfile.TemporaryFile() as report, tempfile.TemporaryFile() as output:
        pid = os.fork()
        if pid == 0:
            real_write = os.write
            steps = Steps(
                kill_at,
                by_hand=by_hand,
                report=lambda name: real_write(report.fileno(), f"{name}\n".encode(errors="backslashreplace")),
            )
            _be_the_command(folder, words, steps, output.fileno(), inside)
        _, status = os.waitpid(pid, 0)
        report.seek(0)
        output.seek(0)
        return Ended(
            code=os.waitstatus_to_exitcode(status),
            said=output.read().decode(errors="replace"),
            names=tuple(report.read().decode(errors="replace").splitlines()),
        )


def _be_the_command(folder: Path, words: tuple[str, ...], steps: Steps, output: int, inside: Callable[[Steps], None]) -> None:
    code = 99
    try:
        os.chdir(folder)
        os.environ["PWD"] = str(folder)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        inside(steps)
        steps.watch()
        code = main(list(words))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


@functools.cache
def _import_all() -> None:
    """In the process that forks, once, and not in each command anew."""
    for module in pkgutil.walk_packages(package.__path__, "hpcsweep."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
