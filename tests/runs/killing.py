"""Commands in a forked process that dies, as by SIGKILL, at the n-th thing it does to the disk or to another process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcsweep.__main__ import main

KILLED = 137
_CHANGES = {"os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.utime", "subprocess.Popen"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, both streams in one, and how many points it passed at which it could be killed."""

    code: int
    said: str
    points: int


class _Steps:
    """Counts what the process does; at ``kill_at`` it is gone, without a word, or interrupted."""

    def __init__(self, kill_at: int | None, *, by_hand: bool) -> None:
        self.passed = 0
        self._kill_at = kill_at
        self._by_hand = by_hand

    def step(self) -> None:
        self.passed += 1
        if self.passed == self._kill_at:
            if self._by_hand:
                raise KeyboardInterrupt
            os._exit(KILLED)

    def watch(self) -> None:
        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
            if is_write or event in _CHANGES:
                self.step()

        sys.addaudithook(hook)
        for name in ("write", "fsync"):
            setattr(os, name, self._before(getattr(os, name)))

    def _before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(descriptor: int, *arguments: Any) -> Any:
            if descriptor > 2:
                self.step()
            return call(descriptor, *arguments)

        return stepping


def hpcsweep(folder: Path, *words: str, kill_at: int | None = None, by_hand: bool = False) -> Ended:
    """Run one command in ``folder``. ``by_hand``: it is not killed, but interrupted by ^C."""
    report, tell = os.pipe()
    read_output, output = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_the_command(folder, words, _Steps(kill_at, by_hand=by_hand), tell, output)
    os.close(tell)
    os.close(output)
    said = _read_all(read_output)
    told = _read_all(report)
    _, status = os.waitpid(pid, 0)
    return Ended(code=os.waitstatus_to_exitcode(status), said=said, points=int(told or 0))


def _be_the_command(folder: Path, words: tuple[str, ...], steps: _Steps, tell: int, output: int) -> None:
    code = 99
    try:
        os.chdir(folder)
        os.environ["PWD"] = str(folder)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        real_write = os.write
        steps.watch()
        code = main(list(words))
        sys.stdout.flush()
        sys.stderr.flush()
        real_write(tell, str(steps.passed).encode())
    finally:
        os._exit(code)


def _read_all(descriptor: int) -> str:
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read().decode(errors="replace")
