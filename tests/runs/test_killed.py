"""A command killed, or interrupted, between any two of its steps: the next one understands the run, nothing is lost or runs twice.

python -m pytest tests/runs/test_killed.py                    a spread of the points
python -m pytest tests/runs/test_killed.py --every-step       every point of every command; the summary says how many
"""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable

import pytest
from killing import KILLED
from sites import PbsSite, ScriptedSite, Site, TorqueSite
from trials import PLAYED, SCRIPTED, TRIALS, Round, Trial, settle, try_points

# How many points of each are tried where not all are.
SOME = {"submit": 6, "advance_first": 3, "resubmit": 2, "cancel": 2}
FEW = 1


@pytest.fixture
def try_it(every_step, record_property):
    """``try_it(where, name, trial, make_site)``."""

    def play(where: str, name: str, trial: Trial, make_site: Callable[[], Site], *, by_hand: bool = False) -> None:
        this = Round({name: trial}, make_site, by_hand=by_hand, poll_s=0.05 if where == "scripted" else 0.2)
        try_points(this, where, record_property, None if every_step else lambda name: SOME.get(name, FEW))

    return play


@pytest.mark.parametrize("name", TRIALS)
def test_on_this_machine(name, try_it, make_site):
    try_it("local", name, TRIALS[name], make_site)


@pytest.mark.parametrize("name", TRIALS | PLAYED)
def test_on_a_scripted_slurm(name, try_it, make_site):
    try_it("scripted", name, (TRIALS | PLAYED)[name], lambda: make_site(ScriptedSite))


@pytest.mark.parametrize("name", TRIALS)
@pytest.mark.parametrize("kind", [PbsSite, TorqueSite])
def test_on_a_rehearsed_cluster(kind, name, try_it, make_site):
    try_it(kind.scheduler, name, TRIALS[name], lambda: make_site(kind))


@pytest.mark.parametrize("name", SCRIPTED)
def test_while_the_scheduler_misbehaves(name, try_it, make_site):
    try_it("scripted", name, SCRIPTED[name], lambda: make_site(ScriptedSite))


@pytest.mark.parametrize("name", ["submit", "cancel"])
def test_interrupted_by_hand(name, try_it, make_site):
    try_it("local", name, TRIALS[name], make_site, by_hand=True)


def test_a_submission_that_outlives_its_command(make_site, await_that, monkeypatch):
    """The command is killed while its child is at work; the child keeps the lock, and what it does counts."""

    class SlowSite(Site):
        def inside(self, _steps) -> None:
            monkeypatch.setattr("hpcsweep.schedulers.sys", type("sys", (), {"executable": str(python)}))

    site = make_site(SlowSite)
    python = site.folder / "slow-python"
    begun, gate = site.folder / "begun", site.folder / "go"
    python.write_text(
        f"#!/bin/bash\nif [[ $4 == submit ]]; then touch {begun}; until [[ -e {gate} ]]; do sleep 0.05; done; fi\n"
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    site.sweep("command: echo $HPCSWEEP_TASK >>starts\nspace: {x: [1, 2, 3]}\n")
    assert site("submit", "sweep.yaml", kill_at="started slow-python").code == KILLED
    await_that(begun.exists, "the child is at work")
    refused = site("advance", "--now", "--wait-lock", "0")
    assert refused.code == 1
    assert "is being changed by `hpcsweep submit`" in refused.said
    assert site.status()["tasks"][0]["state"] == "submitting"
    gate.touch()
    waits = settle(site)
    await_that(lambda: next(waits, waits) is waits, "all is settled")
    assert site.starts() == ["0", "1", "2"]
    assert [event["event"] for event in site.journal()].count("submitting") == 1
    assert len(list((site.run / "arrays").iterdir())) == 1
