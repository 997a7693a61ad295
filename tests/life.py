"""Whole lives of runs: the command line as a user calls it, and what the run then says of itself."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = sysconfig.get_paths()["purelib"]
POLL_S = 0.5
# Whoever starts a task leaves a line here: task, attempt, restart.
COUNT_START = 'echo "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts; '

# On the first attempt each ends in its own way, on later ones all is well.
ENDS = """
command: |
  echo "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts-$HPCSWEEP_RUN
  echo "value = $HPCSWEEP_TASK$HPCSWEEP_ATTEMPT" >"$HPCSWEEP_TASK_DIR/a.metrics"
  if [ "$HPCSWEEP_ATTEMPT" -gt 1 ]; then exit 0; fi
  case {{ kind }} in
    exit) echo "the last words"; exit 3 ;;
    segv) kill -SEGV $$ ;;
    kill) kill -KILL $$ ;;
    oom) head -c 300m /dev/zero | tail >/dev/null ;;
    timeout | cancel | scancel) sleep 300 ;;
    late) trap 'echo saved >>saved-$HPCSWEEP_RUN; exit 0' TERM; sleep 300 & wait ;;
  esac
space:
  zip:
    number: {range: [0, 9]}
    kind: [ok, exit, segv, kill, oom, timeout, cancel, scancel, late, ok]
resources: {time: "{{ '1m' if kind == 'timeout' else '10m' }}", memory: 60M}
slurm: {nodelist: n1}
"""
# The first and the third end by themselves; the others wait, but not in a restart. On the one node that stays well.
REQUEUED = """
command: |
  echo "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts-$HPCSWEEP_RUN
  echo "restart = $HPCSWEEP_RESTART" >"$HPCSWEEP_TASK_DIR/a.metrics"
  case "$HPCSWEEP_TASK" in
    2) exit 3 ;;
    1 | 3) [ "$HPCSWEEP_RESTART" != 0 ] || [ -e gate-$HPCSWEEP_RUN ] || sleep 400 ;;
  esac
space: {x: [1, 2, 3, 4]}
resources: {time: 20m, memory: 20M}
slurm: {nodelist: n1}
"""


@dataclass(frozen=True)
class Site:
    """A folder in which one user calls hpcsweep."""

    folder: Path
    python: tuple[str, ...] = (sys.executable,)
    wrap: Callable[[list[str]], list[str]] = field(default=lambda argv: argv)
    environ: Mapping[str, str] = field(default_factory=dict)
    is_own: bool = True  # of whoever runs the tests

    def environment(self, **more: str | None) -> dict[str, str]:
        """Ours, without a configuration of whoever runs the tests."""
        table = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
            "XDG_CONFIG_HOME": str(self.folder / "no-configuration"),
            **self.environ,
            **{name: value for name, value in more.items() if value is not None},
        }
        return {name: value for name, value in table.items() if more.get(name, "") is not None}

    def run(self, argv: list[str], *, timeout_s: float = 180, **environ: str | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.wrap(argv),
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment(**environ),
            timeout=timeout_s,
        )

    def hpcsweep(self, *words: str, code: int | None = 0, **environ: str | None) -> subprocess.CompletedProcess[str]:
        """Call it; ``code`` is the exit code that has to come (None: any)."""
        done = self.run([*self.python, "-m", "hpcsweep", *words], **environ)
        assert "Traceback" not in done.stderr, done.stderr
        if code is not None:
            assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def write(self, name: str, text: str, *, is_program: bool = False) -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        path.chmod(0o755 if is_program else 0o644)
        return path

    def submit(self, name: str, text: str, *words: str, code: int | None = 0, **environ: str | None) -> Life:
        """Write a sweep file and submit it; the run has the sweep's name."""
        self.write(f"{name}.yaml", text)
        done = self.hpcsweep("submit", f"{name}.yaml", "--name", name, *words, code=code, **environ)
        return Life(site=self, name=name, said=done.stdout + done.stderr)


@dataclass(frozen=True)
class Life:
    """A run, as its user sees it."""

    site: Site
    name: str
    said: str = ""
    runs_dir: str = "runs"

    @property
    def path(self) -> Path:
        return self.site.folder / self.runs_dir / self.name

    def hpcsweep(self, command: str, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """``hpcsweep COMMAND RUN WORDS...``."""
        return self.site.hpcsweep(command, self.name, *words, code=code)

    def status(self) -> dict[str, Any]:
        done = self.hpcsweep("status", "--json")
        status: dict[str, Any] = json.loads(done.stdout)
        assert sum(status["counts"].values()) == status["total"] == len(status["tasks"])
        assert Counter(task["state"] for task in status["tasks"]) == status["counts"]
        return status

    def tasks(self) -> list[dict[str, Any]]:
        tasks: list[dict[str, Any]] = self.status()["tasks"]
        return tasks

    def task(self, index: int) -> dict[str, Any]:
        return self.tasks()[index]

    def states(self) -> list[str]:
        return [task["state"] for task in self.tasks()]

    def await_status(self, holds: Callable[[dict[str, Any]], object], what: str, within_s: float = 120) -> dict[str, Any]:
        """Look again and again until ``holds(status)``; the status that did."""
        deadline = time.monotonic() + within_s
        while not holds(status := self.status()):
            if time.monotonic() > deadline:
                short = [(task["index"], task["state"], task["reason"]) for task in status["tasks"][:20]]
                pytest.fail(f"{self.name}: waited {within_s:.0f} s in vain until {what}; it stands at {short}")
            time.sleep(POLL_S)
        return status

    def await_states(self, *states: str, within_s: float = 120) -> dict[str, Any]:
        """Wait until the tasks' states are just these."""
        expected = list(states)
        return self.await_status(
            lambda status: [task["state"] for task in status["tasks"]] == expected, f"its states are {expected}", within_s
        )

    def await_end(self, within_s: float = 150) -> dict[str, Any]:
        """Wait until hpcsweep calls it finished."""
        return self.await_status(lambda status: status["finished"], "it is finished", within_s)

    def jobs(self) -> list[str]:
        """The arrays' ids, in order."""
        return [array["job"] for array in self.status()["arrays"]]

    def squeue(self, form: str = "%i") -> list[str]:
        """What Slurm has of the run's newest array, one line an element."""
        done = self.site.run(["squeue", "--noheader", "--array", f"--jobs={self.jobs()[-1]}", f"--format={form}"])
        return done.stdout.split("\n")[:-1] if done.returncode == 0 else []

    def rows(self, *words: str) -> list[dict[str, str]]:
        """The table of ``collect --csv``."""
        return list(csv.DictReader(io.StringIO(self.hpcsweep("collect", "--csv", *words).stdout)))

    def starts(self, file: str = "starts") -> Counter[str]:
        """How often each "task attempt restart" was started."""
        path = self.site.folder / file
        return Counter(path.read_text().splitlines()) if path.exists() else Counter()

    def log(self, task: int, attempt: int = 1) -> str:
        return (self.path / f"tasks/{task:06d}/attempt-{attempt}.log").read_text()

    def arrays_on_disk(self) -> int:
        return len(list((self.path / "arrays").iterdir()))


def user_site(folder: Path, as_user: Callable[[list[str]], list[str]], user: str) -> Site:
    """A site of the ordinary user, with a Python and a hpcsweep that this user can read.

    The tests' own Python may be in root's home, and the checkout in a closed folder.
    """
    home = folder / "home"
    code = folder / "code"
    for path in (home, code):
        path.mkdir()
    for name in ("hpcsweep", "templates"):
        shutil.copytree(REPOSITORY / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chown", "-R", f"{user}:", str(folder)], check=True)
    here = f"python{sys.version_info.major}.{sys.version_info.minor}"
    environ = {"HOME": str(home), "USER": user, "LOGNAME": user, "XDG_CONFIG_HOME": str(home)}
    tried = []
    for python in (sys.executable, shutil.which(here, path="/usr/local/bin:/usr/bin") or here):
        site = Site(folder, (python,), as_user, {**environ, "PYTHONPATH": f"{code}:{PACKAGES}"}, is_own=False)
        probe = site.run([python, "-c", "import hpcsweep.cli, jinja2, numpy, pandas, yaml, rich"])
        if probe.returncode == 0:
            return site
        tried.append(f"{python}: {probe.stderr.strip().splitlines()[-1:]}")
    pytest.skip(f"NO PYTHON FOR {user}: {'; '.join(tried)}")


def parallel(*calls: Callable[[], Any]) -> list[Any]:
    """What the calls return, made all at once."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def job_of(line: str) -> str:
    """The array's id in what ``submit`` said."""
    match = re.search(r"as job (\d+)", line)
    assert match, line
    return match[1]
