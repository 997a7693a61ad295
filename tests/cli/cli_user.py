"""A user at the command line: a folder of their own, and the program run in it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcsweep.__main__ import main

ROOT = Path(__file__).parents[2]
ENDED = {"done", "stopped", "failed", "timeout", "oom", "node_fail", "preempted", "cancelled", "lost"}


def environment(home: Path, **more: str) -> dict[str, str]:
    """What the user's processes start from: nothing of whoever runs the tests but the paths."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
    kept["PATH"] = f"{Path(sys.executable).parent}:{kept['PATH']}"
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), **more}


@dataclass
class User:
    """``user("status", "run-01")`` runs the program in the user's folder and checks its exit code."""

    folder: Path
    home: Path
    prefix: tuple[str, ...] = ()  # runuser, where it is not the one who runs the tests
    more: dict[str, str] = field(default_factory=dict)

    def environ(self, **more: str) -> dict[str, str]:
        return environment(self.home, **{**self.more, **more})

    def argv(self, *words: str | Path) -> list[str]:
        return [*self.prefix, sys.executable, "-m", "hpcsweep", *map(str, words)]

    def run(self, *words: str | Path, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words),
            cwd=options.pop("cwd", self.folder),
            env=self.environ() if env is None else env,
            capture_output=True,
            text=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
            **options,
        )

    def __call__(self, *words: str | Path, code: int = 0, **options: Any) -> str:
        """The standard output of a command that has to end with ``code``."""
        done = self.run(*words, **options)
        assert done.returncode == code, f"{words}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    def error(self, *words: str | Path, code: int = 1, **options: Any) -> str:
        """The standard error of a command that has to fail with ``code``, having said nothing else."""
        done = self.run(*words, **options)
        assert done.returncode == code, f"{words}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert done.stderr.strip()
        return done.stderr

    def sweep(self, text: str, name: str = "sweep.yaml") -> str:
        """Write a sweep file for this machine."""
        text = textwrap.dedent(text).lstrip("\n")
        if "scheduler:" not in text:
            text += "scheduler: local\n"
        (self.folder / name).write_text(text)
        return name

    def status(self, run: str = "run-01") -> dict[str, Any]:
        return json.loads(self("status", run, "--json"))

    def states(self, run: str = "run-01") -> list[str]:
        return [task["state"] for task in self.status(run)["tasks"]]

    def rows(self, run: str = "run-01") -> list[dict[str, Any]]:
        return json.loads(self("collect", run, "--json"))

    def wait(self, run: str = "run-01", code: int = 0) -> None:
        self("wait", run, "--timeout", "50s", code=code)

    def run_dir(self, run: str = "run-01") -> Path:
        return self.folder / "runs" / run

    def starts(self, name: str = "starts") -> list[str]:
        """The lines that tasks have left in a file of the user's folder."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def end_all(self) -> None:
        """End whatever of the user's runs is still there, by the marks that it carries."""
        deadline = time.monotonic() + 20
        while (pids := find_marked(str(self.folder))) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)


def fork_with(fork: Callable[[], Any]) -> Any:
    """Fork; newer Pythons warn of threads, which numpy has and the child does not use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return fork()


def run_as_another(folder: Path, *words: str | Path, uid: int = 54321) -> tuple[int, str]:
    """Run a command in a child of this process that has given up all rights; its exit code and standard error."""
    with tempfile.TemporaryFile() as stderr:
        child = fork_with(os.fork)
        if child == 0:
            code = 99
            try:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
                os.chdir(folder)
                os.environ.update(HOME=str(folder), PWD=str(folder), USER="", LOGNAME="")
                sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - the child ends in a moment
                sys.stderr = open(stderr.fileno(), "w", encoding="utf-8", closefd=False)  # noqa: SIM115
                code = main([str(word) for word in words])
                sys.stderr.flush()
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        stderr.seek(0)
        return code, stderr.read().decode()


def find_marked(folder: str) -> list[int]:
    """Processes of runs below ``folder``: their queues and runners by command line, their programs by environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words, variables = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue
        mark = os.fsencode(folder)
        is_queue = b"localqueue.py" in words and mark in words
        is_element = any(part.startswith((b"HPCSWEEP_RUN_DIR=" + mark,)) for part in variables.split(b"\0"))
        is_runner = b"HPCSWEEP_JOB=" in variables and mark in words
        if is_queue or is_element or is_runner:
            found.append(int(entry.name))
    return found


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def tree(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that is below a folder, with kinds, modes and contents."""
    found = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        is_plain = path.is_file() and not path.is_symlink()
        found[str(path.relative_to(folder))] = (facts.st_mode, facts.st_mtime_ns, path.read_bytes() if is_plain else b"")
    return found
