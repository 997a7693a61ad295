"""Fixtures of whole runs on this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "core"))

import killing

ROOT = Path(__file__).parents[2]


class Site:
    """A user's folder; ``site("advance", "run-01")`` runs a command there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str, kill_at: int | None = None) -> killing.Ended:
        return killing.hpcsweep(self.folder, *words, kill_at=kill_at)

    def sweep(self, text: str, name: str = "sweep.yaml") -> str:
        (self.folder / name).write_text(f"scheduler: local\nsettle: 1s\n{text}")
        return name

    def status(self) -> dict[str, Any]:
        return json.loads(self("status", "--json").said)

    def states(self) -> list[str]:
        return [task["state"] for task in self.status()["tasks"]]

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "run-01"

    def journal(self) -> list[dict[str, Any]]:
        lines = [line for path in sorted(self.run.glob("state*.jsonl")) for line in path.read_text().splitlines()]
        return [json.loads(line) for line in lines]

    def starts(self, name: str = "starts") -> list[str]:
        path = self.folder / name
        return sorted(path.read_text().split()) if path.exists() else []


@pytest.fixture
def make_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Site]]:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HOME", str(tmp_path))
    made: list[Site] = []

    def make() -> Site:
        folder = tmp_path / f"user-{len(made)}"
        folder.mkdir()
        made.append(Site(folder))
        return made[-1]

    yield make
    for site in made:
        for run in site.folder.glob("runs/*"):
            site("cancel", run.name)


@pytest.fixture
def site(make_site) -> Site:
    return make_site()
