"""Makes a rehearsal's folder, starts its server, and ends it; what ``hpcsweep rehearse`` and the tests use."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from hpcsweep.rehearsal import client, processes
from hpcsweep.rehearsal.face import Value, make_settings
from hpcsweep.rehearsal.faults import parse_fault
from hpcsweep.rehearsal.processes import FOLDER_VARIABLE, NAME_VARIABLE
from hpcsweep.rehearsal.server import CONTROL, FOLDERS, load_face

TELL_TIMES = 3
LEAVES_S = 10.0  # a server that has not left by then hangs in the kernel


class RehearsalError(Exception):
    """A rehearsal that cannot be: the folder is somebody else's, the server does not start."""


class Rehearsal:
    """A rehearsal, from the making of its folder to its end.

    As a context it ends with its block: all its jobs and its server are ended, and a folder that it made itself is removed.

        with Rehearsal("pbs", settings={"cpus": 4}) as rehearsal:
            subprocess.run(["qsub", "job.sh"], env=rehearsal.environment)
            rehearsal.fault("down")
    """

    def __init__(
        self,
        scheduler: str,
        folder: Path | str | None = None,
        settings: Mapping[str, Value] | None = None,
        *,
        keep: bool = False,
    ) -> None:
        """Make the folder. The server starts with the first command.

        Raises:
            RehearsalError: the folder is not empty and no rehearsal's.
            SettingError: a setting is wrong.
        """
        self.scheduler = scheduler
        self.keeps = keep
        self.is_own_folder = folder is None
        face = load_face(scheduler)
        given = {"cpus": os.cpu_count() or 1, **(settings or {})}
        make_settings(face.table, given)
        self.folder = Path(tempfile.mkdtemp(prefix="hpcsweep-rehearsal-") if folder is None else folder).absolute()
        take_folder(self.folder, scheduler)
        for name in FOLDERS:
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "rehearsal.json").write_text(json.dumps({"scheduler": scheduler, "settings": given}))
        for program in face.programs:
            write_command(self.folder, program)

    @property
    def path(self) -> str:
        """The folder with the scheduler's commands, to be put first on PATH."""
        return str(self.folder / "bin")

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, with the rehearsal in it."""
        path = os.environ.get("PATH", os.defpath)
        own = {FOLDER_VARIABLE: str(self.folder), NAME_VARIABLE: self.scheduler, "PATH": f"{self.path}{os.pathsep}{path}"}
        return {**os.environ, **own}

    def run(self, argv: Sequence[str]) -> int:
        """Run a command in the rehearsal, with this process's terminal; its exit code, 128+N for a signal.

        Raises:
            RehearsalError: there is no such command.
        """
        # Looked for here: posix_spawnp would look on this process's own PATH, and might find the real scheduler's.
        program = shutil.which(argv[0], path=self.environment["PATH"])
        if program is None:
            raise RehearsalError(f"{argv[0]}: there is no such command")
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C at the terminal is the command's
        try:
            pid = os.posix_spawn(program, list(argv), self.environment, setsigdef=[signal.SIGINT])
            with passing_on(pid):
                _, status = os.waitpid(pid, 0)
        except OSError as error:
            raise RehearsalError(f"{argv[0]}: {error.strerror}") from error
        finally:
            signal.signal(signal.SIGINT, before)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def fault(self, text: str) -> None:
        """Let a fault be on, or happen; ``none``: none is on any more.

        Raises:
            ValueError: there is no such fault.
        """
        if text != "none":
            parse_fault(text)
        control(self.folder, "fault", text)

    def kill_server(self) -> None:
        """Kill the server as hard as can be; the next command starts another."""
        kill_server(self.folder)

    def end(self) -> None:
        """End all jobs and the server; what it made in a folder of its own is removed."""
        control(self.folder, "end")
        wait_for_server(self.folder)
        deadline = time.monotonic() + LEAVES_S
        while self.is_own_folder and not self.keeps and self.folder.exists() and time.monotonic() < deadline:
            shutil.rmtree(self.folder, ignore_errors=True)  # again, where a shepherd has just written how its element ended

    def __enter__(self) -> Rehearsal:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        control(self.folder, "ping")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self.keeps:
            self.end()


@contextmanager
def passing_on(pid: int) -> Iterator[None]:
    """Who ends us ends the command, after which the jobs are ended, too."""
    before = {
        number: signal.signal(number, lambda number, _frame: processes.send([pid], number))
        for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def take_folder(folder: Path, scheduler: str) -> None:
    """Make the folder, or use it again: where it is empty, where a rehearsal has ended, or where one was kept, which goes on.

    Raises:
        RehearsalError: it is none of these.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "rehearsal.json"
        if not kept.is_file():
            if any(folder.iterdir()):
                raise RehearsalError(f"{folder} is not empty and no rehearsal's folder")
            return
        if (folder / "ended").exists():
            kill_server(folder)
            for name in ("runs", "spool", "tmp", "bin"):
                shutil.rmtree(folder / name, ignore_errors=True)
            for name in ("state.jsonl", "ended"):
                (folder / name).unlink(missing_ok=True)
            return
        before = json.loads(kept.read_text())["scheduler"]
    except OSError as error:
        raise RehearsalError(f"{folder}: {error.strerror}") from error
    if before != scheduler:
        raise RehearsalError(f"{folder} is a rehearsal of {before}")
    kill_server(folder)  # the next one has the new settings


def kill_server(folder: Path) -> None:
    """Kill the folder's server, if there is one; its jobs go on."""
    pid = server_of(folder)
    if pid is not None:
        processes.send([pid], signal.SIGKILL)
        wait_for_server(folder)


def server_of(folder: Path) -> int | None:
    """The folder's server, if it lives."""
    try:
        pid = int((folder / "server.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    process = processes.read_process(pid)
    return pid if os.fsencode(folder) in words and process is not None and process.state not in "ZX" else None


def wait_for_server(folder: Path) -> None:
    """Until the folder has no server any more."""
    deadline = time.monotonic() + LEAVES_S
    while server_of(folder) is not None and time.monotonic() < deadline:
        time.sleep(0.005)


def write_command(folder: Path, program: str) -> None:
    """One of the scheduler's commands."""
    words = shlex.join([sys.executable, "-I", "-S", client.__file__, str(folder), program])
    script = folder / "bin" / program
    script.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8", errors="surrogateescape")
    script.chmod(0o755)


def control(folder: Path, *words: str) -> None:
    """Tell the server something, and wait until it is done; a server that dies meanwhile is told again.

    Raises:
        RehearsalError: the server does not answer.
        ValueError: it was told something wrong.
    """
    for _ in range(TELL_TIMES):
        connection = client.connect(str(folder))
        if connection is None:
            if words == ("end",):
                return
            break
        with connection:
            answer = ask(connection, words)
        if answer is not None:
            if answer["code"]:
                raise ValueError(str(answer.get("stderr", "")).strip())
            return
    raise RehearsalError(f"the rehearsal in {folder} has ended, or does not start: see server.log there")


def ask(connection: socket.socket, words: Sequence[str]) -> dict[str, Any] | None:
    """A word to the server itself, and its answer; None where it went away."""
    try:
        with connection.makefile("rwb") as stream:
            stream.write(json.dumps({"program": CONTROL, "argv": list(words)}).encode() + b"\n")
            stream.flush()
            line = stream.readline()
    except ConnectionError:
        return None
    return json.loads(line) if line else None
