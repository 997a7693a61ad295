"""Fixtures of whole runs on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpcsweep.__main__ import main
from hpcsweep.runs.look import read_status
from hpcsweep.runs.run import Run, open_run
from hpcsweep.runs.status import status_json

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "core"))

from scripted import ScriptedSlurm
from sites import Site, user_folders


@pytest.fixture
def make_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    """``make_site(kind=Site)``: a new folder of a user."""
    with user_folders(tmp_path, monkeypatch) as make:
        yield make


@pytest.fixture
def site(make_site) -> Site:
    return make_site()


class Cluster:
    """A run on a scripted Slurm. ``now`` moves only when the test moves it."""

    def __init__(self, folder: Path, slurm: ScriptedSlurm) -> None:
        self.folder = folder
        self.slurm = slurm
        self.now = 1_700_000_000.0
        self.host = "login1"

    def hpcsweep(self, *words: str, code: int | None = 0) -> None:
        """Call it; ``code`` is the exit code that has to come (None: any, but for a bug's)."""
        ended = main([*words, "--runs-dir", str(self.folder / "runs")])
        assert ended == code if code is not None else ended in (0, 1, 4)

    def submit(self, text: str, *words: str, code: int = 0) -> None:
        (self.folder / "sweep.yaml").write_text(f"scheduler: slurm\nsettle: 100s\n{text}")
        self.hpcsweep("submit", str(self.folder / "sweep.yaml"), *words, code=code)

    @property
    def run(self) -> Run:
        return open_run(str(self.folder / "runs"), None)

    def status(self) -> dict[str, Any]:
        return status_json(self.run, read_status(self.run))

    def states(self) -> list[str]:
        return [task["state"] for task in self.status()["tasks"]]

    def task_says(self, *names: str, array: int = 1, job: str | None = None) -> None:
        """Event files as the runner makes them; a claim comes with its own. ``job``: the claiming one."""
        events = self.run.paths.array(array).events
        for name in names:
            task, attempt = name.split(".")[:2]
            tag = self.run.ledger.arrays[array].tag
            (events / f"{task}.{attempt}").write_text(f"{tag} {job or 69 + array}_{task} n1 1 1\n")
            if name.count(".") > 1:
                (events / name).hardlink_to(events / f"{task}.{attempt}")

    def events(self, word: str) -> list[dict[str, Any]]:
        return [event for event in self.run.journal.events if event["event"] == word]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(tmp_path, ScriptedSlurm())
    for module in ("advance", "cancelling", "facts", "feed", "imagine", "limits", "observe", "room"):
        monkeypatch.setattr(f"hpcsweep.runs.{module}.run_command", made.slurm)
    monkeypatch.setattr("hpcsweep.runs.prepare.is_installed", lambda _name: True)
    monkeypatch.setattr("hpcsweep.runs.observe.socket.gethostname", lambda: made.host)
    for module in ("adopt", "advance", "observe", "look", "turn", "create", "room"):
        monkeypatch.setattr(f"hpcsweep.runs.{module}.time", SimpleNamespace(time=lambda: made.now))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return made
