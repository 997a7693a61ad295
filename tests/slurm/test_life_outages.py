"""Bad days of the real Slurm: requeues, preemption, a dead node, no accounting, a controller that does not answer."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from life import Life, Site, parallel

pytestmark = pytest.mark.slurm

# Waits for its gate the first time; a restart, and a second attempt, go through.
GATED = """
command: |
  echo "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts-$HPCSWEEP_RUN
  if [ "$HPCSWEEP_ATTEMPT$HPCSWEEP_RESTART" = 10 ]; then
    until [ -e gate-$HPCSWEEP_RUN ]; do sleep 0.1; done
  fi
  echo "value = $HPCSWEEP_ATTEMPT$HPCSWEEP_RESTART" >"$HPCSWEEP_TASK_DIR/a.metrics"
resources: {time: 20m, memory: 20M, cpus: 1}
"""


@pytest.fixture(scope="module", autouse=True)
def begun(slurm, slow_runs: dict[str, Life]) -> Iterator[None]:
    """The requeues take two minutes; what a test leaves dead is started again."""
    try:
        yield
    finally:
        slurm.restore()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A daemon that hangs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def await_programs(run: Life, number: int) -> None:
    run.await_status(lambda _: len(run.starts(f"starts-{run.name}")) >= number, f"{number} programs run")


def has_programs(run: str) -> bool:
    """Whether any process on this machine belongs to a task of the run."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"HPCSWEEP_RUN={run}".encode() in path.read_bytes().split(b"\0"):
                return True
    return False


def test_preempted_and_requeued_is_a_restart(users_site: Site):
    """The urgent job needs the whole of one node; one victim may be requeued, the other not."""
    where = "resources.partition=main"
    victim = users_site.submit("victim", GATED + "space: {x: [1, 2]}\nslurm: {nodelist: n4, requeue: true}\n", "--set", where)
    other = users_site.submit("other", GATED + "space: {x: [1, 2]}\nslurm: {nodelist: n4, no-requeue: true}\n", "--set", where)
    await_programs(victim, 2)
    await_programs(other, 2)
    users_site.submit(
        "urgent",
        "command: sleep 3\nspace: {x: 1}\nslurm: {nodelist: n4, exclusive: true}\nresources: {partition: urgent, time: 5m}\n",
    )
    status = other.await_status(lambda status: status["counts"] == {"preempted": 2}, "those not requeued are preempted")
    assert {task["source"] for task in status["tasks"]} <= {"history", "journal"}
    assert all("preempted" in task["reason"] for task in status["tasks"])
    status = victim.await_status(lambda status: status["counts"] == {"pending": 2}, "those requeued wait")
    assert all("restart" in task["reason"] for task in status["tasks"])
    assert not status["finished"]
    assert "nothing to run again" in victim.hpcsweep("resubmit").stdout
    other.hpcsweep("resubmit")
    other.await_states("done", "done")
    assert other.starts("starts-other") == {"0 1 0": 1, "1 1 0": 1, "0 2 0": 1, "1 2 0": 1}


@pytest.fixture(scope="module")
def cut_off(slurm, users_site: Site) -> Iterator[tuple[Life, Life, str]]:
    """Two runs whose node is lost: one that may be requeued, one that may not. And a node that is well.

    Its slurmd hangs, and as far as the controller knows all that ran there is gone. In fact the programs run on.
    """
    again = users_site.submit("again", GATED + "space: {x: [1]}\nslurm: {exclude: 'n1,n4', requeue: true}\n")
    await_programs(again, 1)
    (node,) = again.squeue("%N")
    assert node in ("n2", "n3")
    once = users_site.submit("once", GATED + f"space: {{x: [1]}}\nslurm: {{nodelist: {node}, no-requeue: true}}\n")
    await_programs(once, 1)
    with stopped(slurm.daemon_pid(f"slurmd-{node}")):
        yield again, once, node


def test_the_death_of_a_node_is_seen(cut_off):
    again, once, node = cut_off
    status = once.await_status(lambda status: status["counts"] == {"node_fail": 1}, "the node's failure is seen")
    assert node in status["tasks"][0]["reason"]
    assert not once.rows()[0].get("value")
    status = again.await_status(lambda status: status["counts"] == {"pending": 1}, "the other one waits")
    assert "restart" in status["tasks"][0]["reason"]


@pytest.fixture(scope="module")
def unaccounted(slurm, users_site: Site, cut_off) -> Life:
    """From here on there is no accounting, until a test starts it again."""
    cut_off[1].await_status(lambda status: status["counts"] == {"node_fail": 1}, "the node's failure is seen")
    os.kill(slurm.daemon_pid("slurmdbd"), signal.SIGKILL)
    run = users_site.submit(
        "unaccounted",
        """
        command: |
          echo "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts-$HPCSWEEP_RUN
          if [ "$HPCSWEEP_ATTEMPT" -gt 1 ]; then exit 0; fi
          case {{ x }} in 1) exit 3 ;; 2) kill -SEGV $$ ;; 3) kill -KILL $$ ;; 4 | 5) sleep 300 ;; esac
        space: {x: [0, 1, 2, 3, 4, 5]}
        resources: {time: 10m, memory: 20M}
        """,
    )
    assert "submitted" in run.said
    await_programs(run, 6)
    run.hpcsweep("cancel", "--tasks", "4")
    users_site.run(["scancel", run.task(5)["job"]])
    return run


def test_without_accounting(unaccounted):
    """All but the detail of what only the accounting knows."""
    run = unaccounted
    status = run.await_status(
        lambda status: [task["state"] for task in status["tasks"][:5]] == ["done", "failed", "failed", "failed", "cancelled"],
        "the tasks' own words are there",
    )
    assert [(task["exit_code"], task["signal"]) for task in status["tasks"][:4]] == [
        (0, None),
        (3, None),
        (None, 11),
        (None, 9),
    ]
    assert len(run.rows()) == 6
    run.await_status(lambda status: status["tasks"][5]["state"] == "unknown", "the sixth is missed")


def test_a_controller_that_hangs(slurm, users_site: Site, await_that):
    """Status answers from the tasks' own records; a submission without an answer is settled later, as exactly one array."""
    run = users_site.submit("hanging", GATED + "space: {x: [1, 2, 3]}\n")
    await_programs(run, 3)
    before = run.status()
    assert before["scheduler_message"] == ""
    text = "command: echo $HPCSWEEP_TASK >>ran-uncertain\nspace: {x: [1, 2, 3, 4]}\nresources: {time: 10m, memory: 20M}\n"
    events = run.path / "arrays/001/events"
    with stopped(slurm.daemon_pid("slurmctld")):
        (users_site.folder / "gate-hanging").touch()
        await_that(lambda: len(list(events.glob("*.done.0.*"))) == 3, "the tasks have ended")
        uncertain = users_site.submit("uncertain", text, code=4)
        assert "advance" in uncertain.said
        # Each waits for the controller until it gives up; all at once that is one wait.
        ended, status, shown, _ = parallel(
            run.status,
            uncertain.status,
            lambda: uncertain.hpcsweep("status").stdout,
            lambda: uncertain.hpcsweep("advance", code=4),
        )
    assert ended["counts"] == {"done": 3}
    assert status["counts"] == {"submitting": 4}
    assert status["scheduler_message"]
    assert not status["finished"]
    assert "told from the tasks' own records" in shown
    uncertain.await_status(lambda status: not status["scheduler_message"], "the controller answers")
    uncertain.hpcsweep("advance")
    status = uncertain.await_status(lambda status: status["counts"] == {"done": 4}, "it ran")
    assert len(status["arrays"]) == 1
    uncertain.hpcsweep("advance")
    uncertain.await_end()
    job = uncertain.jobs()[0]
    assert [task["job"] for task in uncertain.tasks()] == [f"{job}_{task}" for task in range(4)]
    assert sorted((users_site.folder / "ran-uncertain").read_text().split()) == ["0", "1", "2", "3"]
    assert uncertain.arrays_on_disk() == 1


def test_what_ran_on_a_dead_node_runs_elsewhere(slurm, cut_off, await_that):
    """The old incarnation is still there, and counts for nothing; it ends by itself, or with the node's return."""
    again, _, node = cut_off
    again.await_status(lambda status: status["tasks"][0]["state"] == "done", "it was restarted elsewhere", 300)
    assert again.starts("starts-again") == {"0 1 0": 1, "0 1 1": 1}
    assert again.task(0)["attempt"] == 1
    assert [row["value"] for row in again.rows()] == ["11"]
    again.await_end()
    os.kill(slurm.daemon_pid(f"slurmd-{node}"), signal.SIGCONT)
    await_that(lambda: not has_programs("again"), "the old program has ended")
    assert again.states() == ["done"]
    assert len(list((again.path / "arrays/001/events").glob("0.1.done.*"))) == 1
    assert again.starts("starts-again") == {"0 1 0": 1, "0 1 1": 1}
    assert [row["value"] for row in again.rows()] == ["11"]


def test_what_nobody_can_say_is_lost(slurm, unaccounted):
    """The sixth was ended by scancel, left no record, and there is no accounting: after a while it counts as lost."""
    run = unaccounted
    try:
        status = run.await_end(within_s=180)
        assert [task["state"] for task in status["tasks"]] == ["done", "failed", "failed", "failed", "cancelled", "lost"]
        run.hpcsweep("resubmit")
        run.await_states("done", "done", "done", "done", "cancelled", "done")
        assert set(run.starts("starts-unaccounted").values()) == {1}
    finally:
        slurm.restore()


def test_what_a_dead_node_ended_runs_again(cut_off):
    """Asked for; and again the old program may still be there."""
    _, once, _ = cut_off
    once.hpcsweep("resubmit")
    once.await_states("done")
    assert once.starts("starts-once") == {"0 1 0": 1, "0 2 0": 1}
    assert [row["value"] for row in once.rows()] == ["20"]
    once.await_end()


def test_the_history_of_what_was_uncertain_is_one_array(users_site: Site, await_that):
    """Asked now, for there was no accounting then."""
    uncertain = Life(site=users_site, name="uncertain")
    if not uncertain.path.exists():
        pytest.skip("THE HISTORY OF NOTHING: only after test_a_controller_that_hangs")
    job = uncertain.jobs()[0]
    tag = re.findall("^hpcsweep_tag='(.*)'$", (uncertain.path / "arrays/001/script.sh").read_text(), re.MULTILINE)[0]
    query = f"sacct --allocations --noheader --parsable2 --name={tag} --format=JobID --starttime=now-1hour".split()
    await_that(lambda: len(users_site.run(query).stdout.split()) >= 4, "the history has them")
    assert {line.partition("_")[0] for line in users_site.run(query).stdout.split()} == {job}


def test_a_requeue_is_a_restart_of_the_same_attempt(slow_runs):
    """Requeued were: one that was done, one that ran, one that had failed; the fourth was left alone."""
    run = slow_runs["requeued"]
    status = run.await_status(lambda status: status["tasks"][1]["state"] == "done", "the one that ran has run again", 200)
    run.await_status(lambda _: len(run.squeue()) <= 1, "the requeued elements have come and gone", 200)
    (run.site.folder / "gate-requeued").touch()
    status = run.status()
    assert [(task["state"], task["attempt"]) for task in status["tasks"][:3]] == [("done", 1), ("done", 1), ("failed", 1)]
    run.hpcsweep("cancel", "--tasks", "3")
    run.await_end()
    # The finished ones did nothing again; the one that ran was told that it is a restart.
    assert run.starts("starts-requeued") == {"0 1 0": 1, "1 1 0": 1, "1 1 1": 1, "2 1 0": 1, "3 1 0": 1}
    assert [row["restart"] for row in run.rows()] == ["0", "1", "0", "0"]
    assert "--- restart 1" in run.log(1)
    victim = Life(site=run.site, name="victim")
    if victim.path.exists():
        victim.await_states("done", "done", within_s=200)
        assert victim.starts("starts-victim") == {"0 1 0": 1, "1 1 0": 1, "0 1 1": 1, "1 1 1": 1}
        assert [row["value"] for row in victim.rows()] == ["11", "11"]
