"""Runs on the real Slurm that are extended, moved and copied while their jobs are live."""

from __future__ import annotations

import shutil

from life import COUNT_START, Life

SMALL = "resources: {time: 5m, memory: 20M}\n"


def test_extended_while_it_runs(own_site):
    text = "command: '%s true'\n" % COUNT_START.replace("starts", "starts-extended") + SMALL
    life = own_site.submit("extended", text + "space: {x: [1, 2]}\n")
    own_site.write("extended.yaml", text + "space: {x: [2, 3, 4]}\n")
    assert "tasks 2-3" in own_site.hpcsweep("extend", "extended", "extended.yaml").stdout
    status = life.await_end()
    assert [task["params"]["x"] for task in status["tasks"]] == [1, 2, 3, 4]
    assert status["counts"] == {"done": 4}
    assert sorted(life.starts("starts-extended")) == ["0 1 0", "1 1 0", "2 1 0", "3 1 0"]
    assert "nothing new" in own_site.hpcsweep("extend", "extended", "extended.yaml").stdout


def test_moved_while_it_runs(own_site, await_that):
    """One runs and one waits; both end where the run was, and run again where it is."""
    text = "command: '%s until [ -e gate-moved ]; do sleep 0.2; done'\n" % COUNT_START.replace("starts", "starts-moved") + SMALL
    life = own_site.submit("moved", text + "space: {x: [1, 2]}\narray: {at_once: 1}\n")
    await_that(lambda: life.starts("starts-moved"), "the first has begun", 120)
    here = Life(site=own_site, name="runs/moved-2")
    life.path.rename(own_site.folder / here.name)
    refused = here.hpcsweep("adopt", code=1)
    job = here.jobs()[0]
    assert f"scancel {job}" in refused.stderr
    assert here.hpcsweep("resubmit", code=1).stderr.count("moved or copied") == 1
    own_site.run(["scancel", job])
    await_that(lambda: here.hpcsweep("adopt", code=None).returncode == 0, "nothing of it is live", 120)
    here.hpcsweep("advance")
    here.await_status(lambda status: set(status["counts"]) <= {"lost", "cancelled"}, "both have ended", 150)
    own_site.write("gate-moved", "")
    here.hpcsweep("resubmit", "--tasks", "0,1")
    assert here.await_end()["counts"] == {"done": 2}
    assert not life.path.exists()
    assert [line for line in here.starts("starts-moved").elements() if line.startswith("1")] == ["1 2 0"]


def test_copied_while_it_runs(own_site, await_that):
    text = "command: '%s until [ -e gate-copied ]; do sleep 0.2; done'\n" % COUNT_START.replace("starts", "starts-$HPCSWEEP_RUN")
    life = own_site.submit("copied", text + SMALL + "space: {x: [1, 2]}\n")
    await_that(lambda: len(life.starts("starts-copied")) == 2, "both have begun", 120)
    copy = Life(site=own_site, name="copy")
    shutil.copytree(life.path, copy.path, symlinks=True)
    assert "--as-copy" in copy.hpcsweep("adopt", code=1).stderr
    copy.hpcsweep("adopt", "--as-copy")
    copy.hpcsweep("cancel")
    assert life.states() == ["running", "running"]
    copy.hpcsweep("resubmit", "--tasks", "0,1")
    await_that(lambda: len(copy.starts("starts-copy")) == 2, "the copy's have begun", 120)
    assert life.states() == ["running", "running"]
    own_site.write("gate-copied", "")
    assert life.await_end()["counts"] == copy.await_end()["counts"] == {"done": 2}
    assert sorted(life.starts("starts-copied")) == ["0 1 0", "1 1 0"]
    assert sorted(copy.starts("starts-copy")) == ["0 2 0", "1 2 0"]
