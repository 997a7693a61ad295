"""Recorded commands run again, by a real shell, against a cluster in the test's own process with a clock of its own.

A transcript is the text of a session::

    $ qsub -J 0-9 s.sh
    1[].pbs
      2> what went to stderr
      [rc=0 0.02s]
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any

from hpcsweep.rehearsal import client
from hpcsweep.rehearsal.desk import Desk
from hpcsweep.rehearsal.face import Answer, Call, Face, NeedsStdinError, Value, make_settings
from hpcsweep.rehearsal.jobs import Element, Job, Start

TRANSCRIPTS = Path(__file__).parents[1] / "data/transcripts"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One command of a transcript, with what it printed."""

    line: int
    command: str
    stdout: str
    stderr: str
    code: int
    seconds: float


def parse_transcript(text: str) -> list[Entry]:
    """All commands of a transcript."""
    entries = []
    command, line, stdout, stderr = None, 0, [], []
    for number, row in enumerate(text.splitlines(), 1):
        end = re.fullmatch(r"  \[rc=(\d+) ([0-9.]+)s\]", row)
        if command is None:
            command, line = (row[2:], number) if row.startswith("$ ") else (None, 0)
        elif end:
            out, err = ("".join(f"{text}\n" for text in texts) for texts in (stdout, stderr))
            entries.append(Entry(line=line, command=command, stdout=out, stderr=err, code=int(end[1]), seconds=float(end[2])))
            command, stdout, stderr = None, [], []
        elif row.startswith("  2> "):
            stderr.append(row[5:])
        elif row == "  2>":
            stderr.append("")
        else:
            stdout.append(row)
    return entries


@dataclass(frozen=True, kw_only=True)
class Script:
    """What a scripted element does: runs so long, ends so; ``term_s``: how long it goes on after TERM (None: it ignores it)."""

    seconds: float = 5.0
    code: int = 0
    signal: int = 0
    term_s: float | None = 0.0


@dataclass(frozen=True, kw_only=True)
class RecordedCall(Call):
    """A call from the recording's folder; its files are in another."""

    real: str
    recorded: str

    def path(self, name: str) -> Path:
        return Path(str(Path(self.cwd) / name).replace(self.recorded, self.real, 1))


def obey_variables(job: Job, element: Element) -> Script:
    """The recordings' ``s.sh``: runs ``$S`` seconds, ends with ``$RC``."""
    given = job.request.environment
    return Script(seconds=float(given.get("S") or 5), code=int(given.get("RC") or 0))


@dataclass(kw_only=True)
class Replay:
    """A desk with a virtual clock and scripted elements."""

    face: Face
    given: Mapping[str, Value] = field(default_factory=dict)
    home: Path
    """The real folder that the recording calls ``recorded_home``; commands run in its folder ``t``."""
    host: str = "pbs"
    recorded_home: str = "/home/user"
    user: str = "user"
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the recording's user had in the environment (all of it): instead of that of the tests' shell."""
    script: Callable[[Job, Element], Script] = obey_variables
    now: float = 1795216634.0

    def __post_init__(self) -> None:
        self.settings = make_settings(self.face.table, self.given)
        self.desk = Desk(self.face, self.settings)
        self.ends: dict[tuple[int, int], tuple[float, int, int]] = {}
        self.lock = threading.RLock()
        self.calls: list[Call] = []
        self.cwd = self.home / "t"
        self.cwd.mkdir(parents=True, exist_ok=True)

    @property
    def cluster(self):
        return self.desk.cluster

    # -- time --

    def advance(self, to: float) -> None:
        """Let time pass, with all that happens in it, in its order."""
        while True:
            self._act()
            moments = [at for at, _, _ in self.ends.values()] + [self.cluster.wakes_at(self.now)]
            if min(moments) > to:
                break
            self.now = max(self.now, min(moments))
            for key, (at, code, number) in list(self.ends.items()):
                if at <= self.now:
                    del self.ends[key]
                    self.cluster.ended(*key, self.now, code=code, signal_number=number)
        self.now = max(self.now, to)
        self._act()

    def _act(self) -> None:
        if self.desk.is_frozen:
            return
        for action in self.cluster.advance(self.now):
            key = (action.job.number, action.element.index)
            script = self.script(action.job, action.element)
            if isinstance(action, Start):
                self.ends[key] = (self.now + script.seconds, script.code, script.signal)
                self.cluster.spawned(action.job, action.element, 20000 + len(self.calls))
            elif action.number == SIGKILL:
                self.ends[key] = (self.now, 0, int(action.number))
            elif action.why and script.term_s is not None:
                self.ends[key] = (self.now + script.term_s, 0, int(action.number))

    # -- commands --

    def call(self, program: str, *argv: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Answer:
        """One command, without a shell."""
        with self.lock:
            self.advance(self.now)
            call = RecordedCall(
                real=str(self.home),
                recorded=self.recorded_home,
                program=program,
                argv=argv,
                cwd=f"{self.recorded_home}/t",
                env={**(env or {}), **{name: value for name, value in self.environment.items() if name not in (env or {})}},
                settings=self.settings,
                host=self.host,
                user=self.user,
                home=self.recorded_home,
                stdin=stdin,
                faults=self.desk.faults,
                now=self.now,
            )
            self.calls.append(call)
            answer = self.desk.answer(call, self.now)
            self.advance(self.now)
            if answer.awaits is not None:
                while answer.awaits in self.cluster.jobs and self.cluster.jobs[answer.awaits].ended_s is None:
                    self.advance(self.now + 0.5)
                answer = dataclasses.replace(answer, code=self.face.waited(self.cluster, answer.awaits))
            return answer

    def answer(self, message: dict[str, Any], base: Mapping[str, str]) -> dict[str, Any]:
        """The answer to what a command in the shell asks."""
        program, argv = message["program"], message["argv"]
        if program == "sleep":
            self.advance(self.now + sum(float(word) for word in argv))
            return {"code": 0}
        if program == "jq":
            return {"need": "stdin"} if "stdin" not in message else jq(argv[-1], message["stdin"])
        own = {name: value for name, value in message["env"].items() if base.get(name) != value and name not in ("_", "SHLVL")}
        try:
            answer = self.call(program, *argv, env=own, stdin=message.get("stdin"))
        except NeedsStdinError:
            return {"need": "stdin"}
        return {"stdout": answer.stdout, "stderr": answer.stderr, "code": answer.code}

    @contextmanager
    def shell(
        self, programs: tuple[str, ...] = ("sleep", "jq", "Q23")
    ) -> Iterator[Callable[[str], subprocess.CompletedProcess[str]]]:
        """A function that runs a line of a transcript in a shell whose commands are the face's."""
        with tempfile.TemporaryDirectory(dir="/tmp") as name:
            folder = Path(name)
            address = folder / "socket"
            (folder / "address").write_text(str(address))
            commands = folder / "bin"
            commands.mkdir()
            for program in (*self.face.programs, *programs):
                words = [sys.executable, "-I", "-S", client.__file__, name, program]
                (commands / program).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
                (commands / program).chmod(0o755)
            base = {"PATH": f"{commands}:{os.defpath}", "HOME": str(self.home), "LC_ALL": "C.UTF-8", "PWD": str(self.cwd)}
            server = _Server(str(address), lambda message: self._locked_answer(message, base))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield lambda command: self._run(command, base)
            finally:
                server.shutdown()
                thread.join()
                server.server_close()

    def _locked_answer(self, message: dict[str, Any], base: Mapping[str, str]) -> dict[str, Any]:
        with self.lock:
            return self.answer(message, base)

    def _run(self, command: str, base: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        argv = [shutil.which("bash") or "bash", "-c", command]
        return subprocess.run(
            argv,
            env=base,
            cwd=self.cwd,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def compare(self, entries: list[Entry], skipped: Mapping[int, str], normalise: Callable[[str], str]) -> list[str]:
        """Run all commands; where they differ, said. ``skipped``: lines of commands that run, but are not compared, with the reason."""
        differences = []
        with self.shell() as run:
            for entry in entries:
                began = self.now
                result = run(entry.command)
                with self.lock:
                    self.advance(max(self.now, began + entry.seconds))
                if entry.line in skipped:
                    continue
                real_home = str(self.home)
                printed = [text.replace(real_home, self.recorded_home) for text in (result.stdout, result.stderr)]
                # Empty lines at the ends were not recorded.
                got, want = (
                    [normalise(text).strip("\n") for text in texts] for texts in (printed, (entry.stdout, entry.stderr))
                )
                if [*got, result.returncode] != [*want, entry.code]:
                    differences.append(describe_difference(entry, got, want, result.returncode))
        return differences


def describe_difference(entry: Entry, got: list[str], want: list[str], code: int) -> str:
    """A difference, readable."""
    parts = [f"line {entry.line}: $ {entry.command}", f"  exit code {code}, recorded {entry.code}"]
    for name, mine, recorded in zip(("stdout", "stderr"), got, want, strict=True):
        if mine != recorded:
            parts += [f"  {name} here:", *mine.splitlines(), f"  {name} recorded:", *recorded.splitlines()]
    return "\n".join(parts)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers the client program."""

    daemon_threads = True

    def __init__(self, address: str, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.give_answer = answer
        super().__init__(address, _Handler)


class _Handler(socketserver.StreamRequestHandler):
    request: socket.socket

    def handle(self) -> None:
        message = json.loads(self.rfile.readline())
        answer = self.server.give_answer(message)
        if "need" in answer:
            self.wfile.write(json.dumps(answer).encode() + b"\n")
            message |= json.loads(self.rfile.readline())
            answer = self.server.give_answer(message)
        self.wfile.write(json.dumps(answer).encode() + b"\n")


# ---- jq: the few expressions of the recordings ----


def jq(expression: str, text: str) -> dict[str, Any]:
    """What ``jq -c`` prints for one of the expressions that the recordings use."""
    try:
        values = _jq(expression, json.loads(text))
    except ValueError as error:
        return {"stderr": f"parse error: {error}\n", "code": 4}
    lines = [json.dumps(value, separators=(",", ":"), ensure_ascii=False) for value in values]
    return {"stdout": "".join(f"{line}\n" for line in lines), "code": 0}


def _jq(expression: str, document: Any) -> list[Any]:
    jobs = document.get("Jobs")
    rows = re.fullmatch(r"\.Jobs\|to_entries\[\]\|\[(.*)\]", expression)
    if expression == ".Jobs|keys":
        return [sorted(jobs)]
    if expression == ".Jobs|map_values(.Job_Name)":
        return [{name: job["Job_Name"] for name, job in jobs.items()}]
    if expression == ".Jobs[].Variable_List.FOO":
        return [job["Variable_List"].get("FOO") for job in jobs.values()]
    if expression == '.Jobs[].Variable_List|with_entries(select(.key|startswith("PBS_O")|not))':
        variables = [job["Variable_List"] for job in jobs.values()]
        return [{name: value for name, value in given.items() if not name.startswith("PBS_O")} for given in variables]
    if rows:
        return [[_jq_field(word, name, job) for word in rows[1].split(",")] for name, job in jobs.items()]
    raise AssertionError(expression)


def _jq_field(word: str, name: str, job: dict[str, Any]) -> Any:
    if word == ".key":
        return name
    value: Any = job
    for part in word.removeprefix(".value.").split("."):
        value = value.get(part) if value is not None else None
    return value
