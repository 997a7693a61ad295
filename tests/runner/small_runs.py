"""Small runs to try the task side on: a script and chunks as docs/design.md section 6 describes them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hpcsweep.render.templates import RUNNER as PARTS

RUNNER = Path(__file__).parents[2] / "hpcsweep" / "runner" / "runner.sh"
NOT_WAITED_FOR_S = 30.0


def await_that(condition, what: str) -> None:
    """Wait until ``condition()`` holds; fail with ``what`` when it never does."""
    deadline = time.monotonic() + NOT_WAITED_FOR_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited in vain until {what}")
        time.sleep(0.01)


def quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def block(  # one position of a chunk
    position: int,
    command: str | list[str],
    *,
    task: int | str | None = None,
    attempt: int = 1,
    params: str = '{"lr":0.1}',
    env: str = ":",
    files: str = ":",
    stdin: str | None = None,
) -> str:
    lines = [
        f"if ((hpcsweep_position == {position})); then",
        f"hpcsweep_task={position if task is None else task} hpcsweep_attempt={attempt} hpcsweep_point=8f3a2b1c00aa11bb",
        f"hpcsweep_params={quote(params)}",
        f"hpcsweep_command={quote(command)}"
        if isinstance(command, str)
        else f"hpcsweep_argv=({' '.join(map(quote, command))})",
        f"hpcsweep_env() {{ {env}; }}",
        f"hpcsweep_files() {{ {files}; }}",
        *([] if stdin is None else [f"hpcsweep_stdin={quote(stdin)}"]),
        "return 0",
        "fi",
    ]
    return "\n".join(lines) + "\n"


@dataclass
class Run:
    """One run folder with arrays; ``start`` starts an element as a scheduler would."""

    path: Path
    chunk_size: int = 64
    started: list[subprocess.Popen] = field(default_factory=list)
    elements_log: Path | None = None

    def __post_init__(self) -> None:
        (self.path / "tasks").mkdir(parents=True)
        self.elements_log = self.elements_log or self.path.parent / "elements.log"
        (self.path / "run.json").write_text(json.dumps({"format": 1, "uid": "uid-1"}))

    def add_array(
        self, blocks: list[str], number: str = "001", *, setup: str = "", teardown: str = "", before: str = "", **header: object
    ) -> Path:
        array = self.path / "arrays" / number
        (array / "events").mkdir(parents=True)
        (array / "tasks").mkdir()
        hashes = []
        for chunk, first in enumerate(range(0, len(blocks), self.chunk_size)):
            text = "".join(blocks[first : first + self.chunk_size]).encode()
            (array / "tasks" / f"{chunk:04d}.sh").write_bytes(text)
            hashes.append(hashlib.sha256(text).hexdigest())
        values = {
            "version": "0",
            "scheduler": "local",
            "run": self.path.name,
            "run_uid": "uid-1",
            "run_dir": str(self.path),
            "tag": f"tag-{number}",
            "array": number,
            "positions": len(blocks),
            "tasks_per_element": 1,
            "chunk_size": self.chunk_size,
            "time_limit_s": "",
            "enforce_time_limit": 0,
            "kill_wait_s": 5,
            "workdir": str(self.path.parent),
            "umask": "",
            "condition": "",
            "total": len(blocks),
            "watch_s": 0.2,
        } | header
        lines = ["#!/bin/bash", "{", before]
        lines += [f"hpcsweep_{name}={quote(str(value))}" for name, value in values.items()]
        lines += [
            f"hpcsweep_chunk_hashes=({' '.join(hashes)})",
            *(RUNNER.with_name(name).read_text() for name in PARTS),
        ]
        if setup:
            lines.append("hpcsweep_setup() {\n" + setup + "\n}")
        if teardown:
            lines.append("hpcsweep_teardown() {\n" + teardown + "\n}")
        lines += ["hpcsweep_main", "exit", "}", ""]
        script = array / "script.sh"
        script.write_text("\n".join(lines))
        return script

    def start(self, element: int = 0, job: str = "11", array: str = "001", **env: str) -> subprocess.Popen:
        with self.elements_log.open("ab") as stream:
            process = subprocess.Popen(
                ["bash", str(self.path / "arrays" / array / "script.sh"), f"tag-{array}", str(element)],
                env=os.environ | {"HPCSWEEP_ELEMENT": str(element), "HPCSWEEP_JOB": f"{job}_{element}"} | env,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def run(self, element: int = 0, job: str = "11", array: str = "001", **env: str) -> int:
        return self.start(element, job, array, **env).wait(NOT_WAITED_FOR_S)

    def events(self, array: str = "001") -> list[str]:
        return sorted(path.name for path in (self.path / "arrays" / array / "events").iterdir())

    def event(self, name: str, array: str = "001") -> Path:
        return self.path / "arrays" / array / "events" / name

    def outcomes(self, array: str = "001") -> list[str]:
        kinds = ("done", "sig", "timeout", "cancelled", "stopped", "setup", "broken")
        return [
            ".".join(name.split(".")[:4]) for name in self.events(array) if name.split(".")[2:3] and name.split(".")[2] in kinds
        ]

    def folder(self, task: int | str = 0) -> Path:
        return self.path / "tasks" / (f"{task:06d}" if isinstance(task, int) else task)

    def log(self, task: int | str = 0, attempt: int = 1) -> str:
        return (self.folder(task) / f"attempt-{attempt}.log").read_text(errors="surrogateescape")

    def complaints(self) -> str:
        return self.elements_log.read_text(errors="replace") if self.elements_log.exists() else ""

    def await_log(self, text: str, task: int | str = 0) -> None:
        path = self.folder(task) / "attempt-1.log"
        await_that(lambda: path.exists() and text in path.read_text(errors="replace"), f"the log of task {task} says {text!r}")

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()


def child_group(supervisor: int) -> int:
    """The process group of the program of the element that a supervisor runs."""

    def groups() -> list[int]:
        lines = subprocess.run(["ps", "-eo", "pgid,sid"], check=True, capture_output=True, text=True).stdout.splitlines()[1:]
        pairs = [tuple(map(int, line.split())) for line in lines]
        return [group for group, session in pairs if session == supervisor and group != supervisor]

    await_that(groups, "there is a program")
    return groups()[0]


def processes_in_session(session: int) -> list[str]:
    """The command lines of what is left of an element."""
    found = subprocess.run(["ps", "-o", "stat=,cmd=", "-s", str(session)], check=False, capture_output=True, text=True)
    return [line for line in found.stdout.splitlines() if not line.startswith("Z")]
