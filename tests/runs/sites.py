"""Where a user calls hpcsweep: a folder, on this machine or on a scripted cluster."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import killing
import pytest
from scripted import ScriptedSlurm

from hpcsweep.model import Completed
from hpcsweep.ranges import parse_ranges
from hpcsweep.rehearsal.rehearse import Rehearsal
from hpcsweep.schedulers.base import Command
from hpcsweep.schedulers.qsub import Qsub


class Site:
    """A user's folder; ``site("advance", "run-01")`` runs a command there."""

    scheduler = "local"
    killed_at = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str, kill_at: int | str | None = None, by_hand: bool = False) -> killing.Ended:
        return killing.hpcsweep(self.folder, *words, kill_at=kill_at, by_hand=by_hand, inside=self.inside)

    def inside(self, steps: killing.Steps) -> None:
        """Called in each command's process before it begins."""

    def sweep(self, text: str, name: str = "sweep.yaml") -> str:
        (self.folder / name).write_text(f"scheduler: {self.scheduler}\nsettle: 1s\n{text}")
        return name

    def status(self) -> dict[str, Any]:
        return json.loads(self("status", "--json").said)

    def states(self) -> list[str]:
        return [task["state"] for task in self.status()["tasks"]]

    @property
    def run(self) -> Path:
        """The latest run, or the folder that the first will have."""
        made = sorted(path.parent for path in self.folder.glob("runs/*/run.json"))
        return made[-1] if made else self.folder / "runs" / "run-01"

    @property
    def is_made(self) -> bool:
        return (self.run / "run.json").exists()

    def journal(self) -> list[dict[str, Any]]:
        lines = [line for path in sorted(self.run.glob("state*.jsonl")) for line in path.read_text().splitlines()]
        return [json.loads(line) for line in lines]

    def starts(self, name: str = "starts") -> list[str]:
        path = self.folder / name
        return sorted(path.read_text().split()) if path.exists() else []

    def play(self) -> None:
        """Let the cluster do what it would have done meanwhile."""

    def close(self) -> None:
        """Leave nothing behind."""
        for run in self.folder.glob("runs/*"):
            self("cancel", run.name)


class SlurmSite(Site):
    """On the real Slurm, whose processes need no help."""

    scheduler = "slurm"

    @property
    def is_idle(self) -> bool:
        """Whether no job of this folder is left."""
        listed = subprocess.run(["squeue", "--noheader", "--format=%Z"], check=True, capture_output=True, text=True)
        return str(self.folder) not in listed.stdout.splitlines()


@dataclass(kw_only=True)
class PlayedSlurm(ScriptedSlurm):
    """A scripted Slurm that does what scancel, hold and release say."""

    scripts: dict[str, tuple[bytes, str, bool]] = field(
        default_factory=dict
    )  # job -> its copy, its log, whether it is an array
    held: set[str] = field(default_factory=set)
    cancelled: list[tuple[str, int]] = field(default_factory=list)  # elements whose processes have to end

    def _submit(self, argv: tuple[str, ...]) -> Completed:
        known = self.jobs.keys() | self.on_the_way.keys()
        answer = super()._submit(argv)
        (log,) = [word.partition("=")[2] for word in argv if word.startswith("--output=")]
        for job in (self.jobs.keys() | self.on_the_way.keys()) - known:
            self.scripts[job] = Path(argv[-1]).read_bytes(), log, any(word.startswith("--array=") for word in argv)
        return answer

    def _tell(self, argv: tuple[str, ...], words: tuple[str, ...]) -> Completed:
        answer = super()._tell(argv, words)
        if answer.returncode != 0:
            return answer
        match words:
            case ("scontrol", "hold" | "release" as action, name):
                tags = {name.removeprefix("jobname=")}
                self.held = self.held | tags if action == "hold" else self.held - tags
            case ("scontrol", *_):
                pass
            case (tag, job, *options, last):
                facts = self.jobs.get(job)
                if facts is not None and facts.tag == tag:
                    chosen = re.fullmatch(r"\d+_\[(.*)\]", last)
                    elements = parse_ranges(chosen[1]) if chosen else facts.states
                    for element in set(elements) & set(facts.states):
                        if facts.states[element] == "PENDING":
                            self.end(job, element, word="CANCELLED")
                        elif "--state=PENDING" not in options:
                            self.cancelled.append((job, element))
        return answer


class ScriptedSite(Site):
    """On a scripted Slurm whose elements are real: each is the array's own script, in a process of its own.

    Time stands still for the commands, but for a minute with each ``play``.
    """

    scheduler = "slurm"
    slots = 2

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.slurm = PlayedSlurm()
        self.now = time.time()
        self._processes: dict[tuple[str, int], subprocess.Popen[bytes]] = {}

    def __call__(self, *words: str, kill_at: int | str | None = None, by_hand: bool = False) -> killing.Ended:
        self._state.write_bytes(pickle.dumps(self.slurm))
        ended = super().__call__(*words, kill_at=kill_at, by_hand=by_hand)
        self.slurm = pickle.loads(self._state.read_bytes())  # noqa: S301 - our own
        return ended

    @property
    def _state(self) -> Path:
        return self.folder / "slurm.pickle"

    def inside(self, steps: killing.Steps) -> None:
        """Slurm in the place of all programs, and a clock that stands still."""

        def run_command(command: Command, **options: Any) -> Completed:
            name = killing.program_of(command.argv)
            steps.step(f"start {name}")
            with steps.paused():
                answer = self.slurm(command, **options)
                self._state.write_bytes(pickle.dumps(self.slurm))
            steps.step(f"answered by {name}")
            return answer

        stand_ins = {
            "run_command": run_command,
            "is_installed": lambda _name: True,
            "time": SimpleNamespace(time=lambda: self.now, monotonic=time.monotonic, sleep=time.sleep),
        }
        modules = [module for name, module in sys.modules.items() if name.startswith("hpcsweep.runs.")]
        for module in modules:
            for name, stand_in in stand_ins.items():
                if hasattr(module, name):
                    setattr(module, name, stand_in)

    def play(self) -> None:
        """Start what may start, end what was cancelled, see what has ended."""
        self.now += 60
        slurm = self.slurm
        for (job, element), process in list(self._processes.items()):
            code = process.poll()
            if code is not None:
                del self._processes[job, element]
                slurm.end(job, element, word="COMPLETED" if code == 0 else "FAILED")
        while slurm.cancelled:
            key = slurm.cancelled.pop()
            if key in self._processes:
                self._processes[key].send_signal(signal.SIGTERM)
        for job, facts in slurm.jobs.items():
            if facts.tag in slurm.held or any(slurm.jobs[other].states for other in facts.waits_for if other in slurm.jobs):
                continue
            for element, word in list(facts.states.items()):
                if word == "PENDING" and len(self._processes) < self.slots:
                    self._processes[job, element] = self._start(job, element)
                    slurm.start(job, element)

    @property
    def is_idle(self) -> bool:
        """Whether all jobs have ended."""
        return not any(facts.states for facts in self.slurm.jobs.values())

    def _start(self, job: str, element: int) -> subprocess.Popen[bytes]:
        script, log, is_array = self.slurm.scripts[job]
        copy = self.folder / f"slurm_script.{job}"
        if not copy.exists():  # bash may be reading it
            copy.write_bytes(script)
        numbers = {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": str(element)} if is_array else {}
        with open(log, "ab") as stream:  # noqa: PTH123 - a text of the command line
            return subprocess.Popen(
                ["bash", copy],
                cwd=self.folder,
                env={**os.environ, "SLURM_JOB_ID": job, **numbers},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def close(self) -> None:
        """Nothing that was started is left."""
        for process in self._processes.values():
            process.kill()
            process.wait()


class RehearsedSite(Site):
    """On a cluster that is played: its commands are programs, its elements processes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rehearsal = Rehearsal(self.scheduler, folder.parent / f"{folder.name}-cluster", {"cpus": 4})

    def inside(self, _steps: killing.Steps) -> None:
        os.environ.update(self.rehearsal.environment)
        Qsub.lost_after_s = 2.0

    def close(self) -> None:
        self.rehearsal.end()


class PbsSite(RehearsedSite):
    scheduler = "pbs"


class TorqueSite(RehearsedSite):
    scheduler = "torque"


@contextmanager
def user_folders(parent: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    """``make(kind=Site)``: a new folder of a user; what was started there is cancelled at the end."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("HOME", str(parent))
    made: list[Site] = []

    def make(kind: type[Site] = Site) -> Site:
        folder = parent / f"user-{len(made)}"
        folder.mkdir()
        made.append(kind(folder))
        return made[-1]

    try:
        yield make
    finally:
        for site in made:
            site.close()
