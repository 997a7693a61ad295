"""Commands killed at their steps on the real Slurm: nothing is lost or runs twice.

python -m pytest tests/slurm/test_killed_on_slurm.py --every-step       every point; the summary says how many
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "runs"))

from killing import KILLED
from sites import SlurmSite, user_folders
from trials import PLAYED, TRIALS, Round, settle, try_points

pytestmark = pytest.mark.slurm

ALL = TRIALS | PLAYED
GROUPS = {
    "made": ("submit", "submit_and_look_late", "advance_first"),
    "stopped": ("cancel", "cancel_some", "cancel_and_forget", "hold", "release", "throttle"),
    "ended": ("advance_after_canary", "advance_at_end", "resubmit", "extend", "collect"),
}


@pytest.fixture
def make_site(slurm, tmp_path, monkeypatch):
    with user_folders(tmp_path, monkeypatch) as make:
        yield lambda: make(SlurmSite)


@pytest.mark.parametrize("group", GROUPS)
def test_killed(group, make_site, every_step, record_property):
    this = Round({name: ALL[name] for name in GROUPS[group]}, make_site, side_by_side=24, poll_s=0.5)
    try_points(this, "Slurm", record_property, None if every_step else lambda name: 4 if name == "submit" else 1)


def test_sbatch_outlives_its_command(make_site, await_that, monkeypatch):
    """hpcsweep is killed while sbatch is at work; sbatch keeps the lock, and the job that it then makes is the only one."""
    site = make_site()
    begun, gate = site.folder / "begun", site.folder / "go"
    sbatch = site.folder / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(
        f"#!/bin/bash\ntouch '{begun}'; until [[ -e '{gate}' ]]; do sleep 0.05; done\nexec {shutil.which('sbatch')} \"$@\"\n"
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(sbatch.parent), prepend=":")
    site.sweep("command: echo $HPCSWEEP_TASK >>starts\nspace: {x: [1, 2, 3]}\nresources: {memory: 10M, time: 10m, cpus: 1}\n")
    assert site("submit", "sweep.yaml", kill_at="started sbatch").code == KILLED
    await_that(begun.exists, "sbatch is at work")
    refused = site("advance", "--now", "--wait-lock", "0")
    assert refused.code == 1
    assert "is being changed by `hpcsweep submit`" in refused.said
    gate.touch()
    waits = settle(site)
    await_that(lambda: next(waits, waits) is waits, "all is settled", 120)
    assert site.starts() == ["0", "1", "2"]
    assert [event["event"] for event in site.journal()].count("submitting") == 1
