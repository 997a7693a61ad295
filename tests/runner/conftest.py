"""Fixtures: runs in a folder whose name hurts."""

from __future__ import annotations

import pytest
from small_runs import Run


@pytest.fixture
def make_run(tmp_path):
    runs = []

    def make(name: str = "run-01", **settings) -> Run:
        runs.append(Run(tmp_path / 'a project\'s $(touch x)\n"été" *' / name, **settings))
        return runs[-1]

    yield make
    for run in runs:
        run.end()


@pytest.fixture
def run(make_run):
    return make_run()
