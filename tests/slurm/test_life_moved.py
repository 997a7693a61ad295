"""Runs on the real Slurm that are extended, moved and copied while their jobs are live."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from life import COUNT_START, Life

SMALL = "resources: {time: 5m, memory: 20M}\n"


@pytest.fixture(scope="module")
def moved(own_site) -> Life:
    """One of its tasks ran and one waited when the run was moved. How they ended takes its time to be known."""
    command = f"command: '{COUNT_START.replace('starts', 'starts-moved')} until [ -e gate-moved ]; do sleep 0.2; done'\n"
    life = own_site.submit("moved", command + SMALL + "space: {x: [1, 2]}\narray: {at_once: 1}\n")
    life.await_status(lambda _: life.starts("starts-moved"), "the first has begun")
    here = Life(site=own_site, name="runs/moved-2")
    life.path.rename(own_site.folder / here.name)
    job = here.jobs()[0]
    assert f"scancel {job}" in here.hpcsweep("adopt", code=1).stderr
    assert "moved or copied" in here.hpcsweep("resubmit", code=1).stderr
    own_site.run(["scancel", job])
    here.await_status(lambda _: here.hpcsweep("adopt", code=None).returncode == 0, "nothing of it is live")
    here.hpcsweep("advance")
    return here


def test_extended_while_it_runs(own_site, moved):
    text = f"command: '{COUNT_START.replace('starts', 'starts-extended')} true'\n{SMALL}"
    life = own_site.submit("extended", text + "space: {x: [1, 2]}\n")
    own_site.write("extended.yaml", text + "space: {x: [2, 3, 4]}\n")
    assert "tasks 2-3" in own_site.hpcsweep("extend", "extended", "extended.yaml").stdout
    status = life.await_end()
    assert [task["params"]["x"] for task in status["tasks"]] == [1, 2, 3, 4]
    assert status["counts"] == {"done": 4}
    assert sorted(life.starts("starts-extended")) == ["0 1 0", "1 1 0", "2 1 0", "3 1 0"]
    assert "nothing new" in own_site.hpcsweep("extend", "extended", "extended.yaml").stdout


def test_copied_while_it_runs(own_site, moved, await_that):
    starts = COUNT_START.replace("starts", "starts-$HPCSWEEP_RUN")
    text = f"command: '{starts} until [ -e gate-copied ]; do sleep 0.2; done'\n"
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


def test_a_colleague_looks(users_site, moved):
    """Somebody who may read, and no more: while it runs, and while what the scheduler tells has to be remembered."""
    users_site.folder.chmod(0o755)
    name = "looked-at"
    life = users_site.submit(
        name, f"command: 'echo said; until [ -e gate-{name} ]; do sleep 0.2; done'\n{SMALL}space: {{x: [1, 2]}}\n"
    )
    life.await_states("running", "running")
    life.await_status(lambda _: (life.path / "environment").is_dir(), "a task has recorded what it found")
    before = sorted(str(path) for path in life.path.rglob("*") if "tasks" not in path.parts)
    colleague = replace(users_site, wrap=lambda argv: ["runuser", "-u", "nobody", "--", *argv])
    theirs = Life(site=colleague, name=name)
    assert theirs.states() == ["running", "running"]
    for words in (["logs", name, "0"], ["collect", name], ["list"], ["du", name], ["status", name]):
        colleague.hpcsweep(*words)
    for command in ("cancel", "resubmit", "advance", "hold"):
        said = colleague.hpcsweep(command, name, code=1).stderr
        assert "permission" in said
        assert users_site.environ["USER"] in said
    assert sorted(str(path) for path in life.path.rglob("*") if "tasks" not in path.parts) == before
    users_site.write(f"gate-{name}", "")
    life.await_end()
    assert theirs.states() == ["done", "done"]


def test_a_colleague_of_the_group_goes_on_with_it(users_site, moved):
    """With `group` and `umask` somebody else can run again what failed; here on this machine's queue."""
    owner = users_site.environ["USER"]
    users_site.folder.chmod(0o775)
    text = "command: 'id -un >>\"$HPCSWEEP_TASK_DIR/who\"; test -e good-shared'\nspace: {x: [1, 2]}\n"
    life = users_site.submit("shared", f"{text}scheduler: local\numask: '007'\ngroup: {owner}\n")
    life.hpcsweep("wait", code=1)
    users_site.write("good-shared", "")
    colleague = replace(users_site, wrap=lambda argv: ["runuser", "-u", "nobody", "-g", owner, "--", *argv])
    theirs = Life(site=colleague, name="shared")
    theirs.hpcsweep("resubmit")
    theirs.hpcsweep("wait")
    assert life.hpcsweep("wait").returncode == 0
    assert life.states() == ["done", "done"]
    assert (life.path / "tasks/000000/who").read_text().split() == [owner, "nobody"]


def test_moved_while_it_ran(own_site, moved):
    """Both ended where the run was, and run again where it is."""
    moved.await_status(lambda status: set(status["counts"]) <= {"lost", "cancelled"}, "both have ended", 150)
    own_site.write("gate-moved", "")
    moved.hpcsweep("resubmit", "--tasks", "0,1")
    assert moved.await_end()["counts"] == {"done": 2}
    assert not (own_site.folder / "runs/moved").exists()
    assert [line for line in moved.starts("starts-moved").elements() if line.startswith("1")] == ["1 2 0"]
