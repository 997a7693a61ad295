"""All the ways in which a task can end on the real Slurm: told apart, run again on demand, and no finished one ever again."""

from __future__ import annotations

from typing import Any

import pytest
from life import ENDS, Life, Site

pytestmark = pytest.mark.slurm


@pytest.fixture
def ends(slow_runs: dict[str, Life]) -> Life:
    """All ends in one run: tasks 6 and 8 were cancelled, 7 was ended by scancel."""
    return slow_runs["ends"]


@pytest.fixture(scope="module")
def pending(users_site: Site) -> Life:
    return users_site.submit(
        "pending", "command: 'echo $HPCSWEEP_TASK >>ran-pending'\nspace: {x: [1, 2, 3, 4, 5, 6]}\nslurm: {begin: now+1hour}\n"
    )


@pytest.fixture(scope="module")
def local_ends(users_site: Site) -> Life:
    """The same, where this machine runs them: no memory limit there, and nobody to scancel."""
    text = ENDS.replace("'1m'", "'3s'").replace("head -c 300m /dev/zero | tail >/dev/null", "exit 9")
    run = users_site.submit("local-ends", text, "--scheduler", "local", "--jobs", "10")
    run.await_status(lambda _: len(run.starts("starts-local-ends")) == 10, "all programs run")
    run.hpcsweep("cancel", "--tasks", "6,7,8")
    return run


def short(task: dict[str, Any]) -> tuple[Any, ...]:
    return task["state"], task["exit_code"], task["signal"], task["source"]


def test_cancelled_by_hpcsweep(ends):
    status = ends.await_status(
        lambda status: all(status["tasks"][task]["state"] == "cancelled" for task in (6, 8)), "both are cancelled"
    )
    for task in (6, 8):
        assert short(status["tasks"][task]) == ("cancelled", None, None, "task")
    # The program was asked first, and had time to save its work.
    assert (ends.site.folder / "saved-ends").read_text() == "saved\n"


def test_the_tasks_own_words(ends):
    status = ends.await_status(
        lambda status: [status["tasks"][task]["state"] for task in (0, 1, 2, 9)] == ["done", "failed", "failed", "done"],
        "what needs nobody else has ended",
    )
    tasks = status["tasks"]
    assert short(tasks[0]) == short(tasks[9]) == ("done", 0, None, "task")
    assert short(tasks[1]) == ("failed", 3, None, "task")
    assert short(tasks[2]) == ("failed", None, 11, "task")
    assert "exit code 3" in tasks[1]["reason"]
    text = ends.hpcsweep("status").stdout
    assert "the last words" in text
    failed = ends.hpcsweep("status", "--failed").stdout
    assert f"task 1 (job {tasks[1]['job']})" in failed
    assert "task 0 " not in failed
    assert "the last words" in ends.hpcsweep("logs", "--failed").stdout


def test_killed_and_out_of_memory_are_told_apart(slurm, ends):
    status = ends.await_status(
        lambda status: status["tasks"][3]["state"] == "failed" and status["tasks"][4]["state"] in ("oom", "failed"),
        "the history has told how they ended",
    )
    assert short(status["tasks"][3])[:3] == ("failed", None, 9)
    if slurm.has_memory_limits:
        ends.await_status(lambda status: status["tasks"][4]["state"] == "oom", "out of memory is seen as such")


def test_pending_ones_can_be_cancelled_one_by_one(pending):
    pending.hpcsweep("cancel", "--tasks", "1,4-5")
    pending.await_states("pending", "cancelled", "pending", "pending", "cancelled", "cancelled")
    assert len(pending.squeue()) == 3
    # Asked for, a cancelled one is taken again; without more it is not.
    assert "nothing to run again" in pending.hpcsweep("resubmit").stdout
    pending.hpcsweep("resubmit", "--tasks", "4")
    status = pending.await_states("pending", "cancelled", "pending", "pending", "pending", "cancelled")
    assert status["tasks"][4]["attempt"] == 2
    job = pending.jobs()[-1]
    assert pending.hpcsweep("cancel", "--tasks", f"{job}_0").returncode == 0
    pending.await_states("pending", "cancelled", "pending", "pending", "cancelled", "cancelled")
    pending.hpcsweep("cancel")
    status = pending.await_states(*["cancelled"] * 6)
    assert status["finished"]
    assert pending.squeue() == []
    assert "nothing to cancel" in pending.hpcsweep("cancel").stdout
    assert not (pending.path / "tasks").exists() or not list((pending.path / "tasks").iterdir())
    pending.hpcsweep("resubmit", "--state", "cancelled")
    assert [task["attempt"] for task in pending.tasks()] == [2, 2, 2, 2, 3, 2]
    pending.hpcsweep("cancel")
    pending.await_end()


def test_a_local_run_tells_them_apart_too(local_ends):
    status = local_ends.await_end()
    assert [short(task) for task in status["tasks"]] == [
        ("done", 0, None, "task"),
        ("failed", 3, None, "task"),
        ("failed", None, 11, "task"),
        ("failed", None, 9, "task"),
        ("failed", 9, None, "task"),
        ("timeout", None, None, "task"),
        ("cancelled", None, None, "task"),
        ("cancelled", None, None, "task"),
        ("cancelled", None, None, "task"),
        ("done", 0, None, "task"),
    ]
    assert (local_ends.site.folder / "saved-local-ends").read_text() == "saved\n"
    local_ends.hpcsweep("resubmit")
    local_ends.hpcsweep("resubmit", "--state", "cancelled")
    local_ends.await_states(*["done"] * 10)
    assert max(local_ends.starts("starts-local-ends").values()) == 1
    assert sum(local_ends.starts("starts-local-ends").values()) == 18


def test_the_time_limit_and_a_scancel_by_hand(slurm, ends):
    """The slowest: a limit of one minute, and the wait until a task that left no record is given up."""
    status = ends.await_end(within_s=240)
    tasks = status["tasks"]
    assert short(tasks[5]) == ("timeout", None, None, "task")
    assert tasks[7]["state"] == "cancelled"
    assert tasks[7]["source"] in ("history", "journal")
    expected = {"done": 2, "failed": 3, "oom": 1, "timeout": 1, "cancelled": 3}
    if not slurm.has_memory_limits:
        expected = {"done": 3, "failed": 3, "timeout": 1, "cancelled": 3}
    assert status["counts"] == expected
    rows = ends.rows()
    assert [row["state"] for row in rows] == [task["state"] for task in tasks]
    assert all(int(row["value"]) == int(row["task"]) * 10 + 1 for row in rows)
    ends.hpcsweep("wait", code=1)


def test_each_runs_again_on_demand_and_finished_ones_never(slurm, ends):
    ends.await_end(within_s=240)
    before = ends.starts("starts-ends")
    assert before == {f"{task} 1 0": 1 for task in range(10)}
    assert "would run again 1: task 5\n" in ends.hpcsweep("resubmit", "--state", "timeout", "--dry-run").stdout
    said = ends.hpcsweep("resubmit").stdout
    oom = [4] if slurm.has_memory_limits else []
    again = [1, 2, 3, *oom, 5]
    assert f"runs again {len(again)}" in said
    status = ends.await_status(lambda status: all(status["tasks"][task]["state"] == "done" for task in again), "they are done")
    assert {task["state"] for task in status["tasks"]} == {"done", "cancelled"}
    by_hand = status["tasks"][7]["job"]
    ends.hpcsweep("resubmit", "--tasks", f"{by_hand},6")  # cancelled: only because it is asked for
    ends.hpcsweep("resubmit", "--tasks", "8,0", "--state", "cancelled")
    status = ends.await_states(*["done"] * 10)
    assert [task["attempt"] for task in status["tasks"]] == [1, *[2] * 8, 1]
    ends.hpcsweep("resubmit", "--tasks", "0-9")
    ends.hpcsweep("resubmit", "--state", "failed,done,timeout")
    ends.hpcsweep("advance")
    status = ends.await_end()
    after = ends.starts("starts-ends")
    assert set(after.values()) == {1}
    assert sum(after.values()) == 18
    assert all(int(row["value"]) == int(row["task"]) * 10 + int(row["attempt"]) for row in ends.rows())
    ends.hpcsweep("wait")
