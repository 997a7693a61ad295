"""Fixtures: a notebook's user, with an empty folder and home; whatever they left running is ended."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

import hpcsweep as hs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """The folder in which a notebook works."""
    folder, home = tmp_path / "project", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("XDG_CONFIG_HOME", "HPCSWEEP_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    yield folder
    for path in folder.glob("**/runs/*/run.json"):
        with contextlib.suppress(hs.HpcsweepError):
            hs.open_run(path.parent).cancel()
