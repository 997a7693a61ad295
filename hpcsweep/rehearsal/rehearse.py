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
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from hpcsweep.rehearsal import client, processes
from hpcsweep.rehearsal.face import Value, make_settings
from hpcsweep.rehearsal.faults import parse_fault
from hpcsweep.rehearsal.processes import FOLDER_VARIABLE, NAME_VARIABLE
from hpcsweep.rehearsal.server import CONTROL, FOLDERS, load_face


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
        self.folder = Path(tempfile.mkdtemp(prefix="hpcsweep-rehearsal-") if folder is None else folder).absolute()
        face = load_face(scheduler)
        given = {"cpus": os.cpu_count() or 1, **(settings or {})}
        make_settings(face.table, given)
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
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the command's
        try:
            pid = os.posix_spawn(program, list(argv), self.environment, setsigdef=[signal.SIGINT])
            _, status = os.waitpid(pid, 0)
        except OSError as error:
            raise RehearsalError(f"{argv[0]}: {error.strerror}") from error
        finally:
            signal.signal(signal.SIGINT, interrupt)
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
        if self.is_own_folder and not self.keeps:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Rehearsal:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        control(self.folder, "ping")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self.keeps:
            self.end()


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
            kill_server(folder)  # it may be about to leave
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
    try:
        pid = int((folder / "server.pid").read_text())
        is_server = os.fsencode(folder) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return
    if is_server:
        processes.send([pid], signal.SIGKILL)
        while (server := processes.read_process(pid)) is not None and server.state not in "ZX":
            time.sleep(0.005)


def write_command(folder: Path, program: str) -> None:
    """One of the scheduler's commands."""
    words = shlex.join([sys.executable, "-I", "-S", client.__file__, str(folder), program])
    script = folder / "bin" / program
    script.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8", errors="surrogateescape")
    script.chmod(0o755)


def control(folder: Path, *words: str) -> None:
    """Tell the server something, and wait until it is done.

    Raises:
        RehearsalError: the server does not answer.
        ValueError: it was told something wrong.
    """
    connection = client.connect(str(folder))
    if connection is None:
        if words != ("end",):
            raise RehearsalError(f"the rehearsal in {folder} has ended, or does not start: see server.log there")
        return
    with connection:
        code, said = ask(connection, words)
    if code:
        raise ValueError(said.strip())


def ask(connection: socket.socket, words: Sequence[str]) -> tuple[int, str]:
    """A word to the server itself; its code and what it says."""
    with connection.makefile("rwb") as stream:
        stream.write(json.dumps({"program": CONTROL, "argv": list(words)}).encode() + b"\n")
        stream.flush()
        line = stream.readline()
    if not line:
        return 0, ""
    answer = json.loads(line)
    return int(answer["code"]), str(answer.get("stderr", ""))
