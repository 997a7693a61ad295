"""The controller of the real Slurm crashes and forgets what it had accepted: nothing is lost, and each outcome counts once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from life import Life, Site

pytestmark = pytest.mark.slurm

SWEEP = """
command: |
  echo "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts-$HPCSWEEP_RUN
  if [ "$HPCSWEEP_TASK$HPCSWEEP_ATTEMPT" != 01 ]; then
    until [ -e gate-$HPCSWEEP_RUN ]; do sleep 0.1; done
  fi
  echo "value = 7$HPCSWEEP_TASK$HPCSWEEP_ATTEMPT" >"$HPCSWEEP_TASK_DIR/a.metrics"
space: {x: [1, 2, 3]}
resources: {time: 10m, memory: 20M, cpus: 1}
slurm: {nodelist: n3, no-requeue: true}
"""


@pytest.fixture(autouse=True)
def well_afterwards(slurm) -> Iterator[None]:
    try:
        yield
    finally:
        slurm.restore()


@pytest.fixture
def crash(slurm, await_that) -> Callable[[], AbstractContextManager[None]]:
    """``with crash(): ...``: after the block the controller is killed, and comes back with what it knew before."""
    return lambda: crash_to_the_past(slurm, await_that)


@contextmanager
def crash_to_the_past(slurm, await_that) -> Iterator[None]:
    state, before = slurm.folder / "state", slurm.folder / "state-before"
    shutil.rmtree(before, ignore_errors=True)
    subprocess.run(["cp", "-a", state, before], check=True)
    try:
        yield
        pid = slurm.daemon_pid("slurmctld")
        os.kill(pid, signal.SIGKILL)
        await_that(lambda: not Path(f"/proc/{pid}").exists(), "it is gone")
        shutil.rmtree(state)
        before.rename(state)
    finally:
        shutil.rmtree(before, ignore_errors=True)
        slurm.restore()


def await_programs(run: Life, number: int) -> None:
    run.await_status(lambda _: sum(run.starts(f"starts-{run.name}").values()) >= number, f"{number} programs run")


def advance_to_the_end(run: Life) -> None:
    def is_over(status) -> bool:
        run.hpcsweep("advance", "--now", "--quiet", code=None)
        return status["finished"]

    run.await_status(is_over, "all is settled", 240)


def test_forgotten_before_it_began(crash, users_site: Site):
    """Its id is another job's now; that one is neither believed nor touched."""
    subprocess.run(["scontrol", "update", "nodename=n3", "state=drain", "reason=test"], check=True)
    with crash():
        run = users_site.submit("forgotten", SWEEP)
        (job,) = run.jobs()
        assert run.states() == ["pending"] * 3
    stranger = users_site.run(
        ["sbatch", "--parsable", "--hold", "--job-name=stranger", "--wrap=true", "--time=5"]
    ).stdout.strip()
    try:
        assert stranger == job
        assert "pending" not in run.states()
        run.hpcsweep("advance", "--now")
        assert run.jobs()[0] != job
        (users_site.folder / "gate-forgotten").touch()
        advance_to_the_end(run)
        assert run.states() == ["done"] * 3
        assert run.starts("starts-forgotten") == {"0 1 0": 1, "1 1 0": 1, "2 1 0": 1}
        run.hpcsweep("cancel")
        assert users_site.run(["squeue", "--noheader", f"--jobs={stranger}", "--format=%j"]).stdout.split() == ["stranger"]
    finally:
        users_site.run(["scancel", stranger])


def test_forgotten_while_it_ran(crash, users_site: Site):
    """One task has ended, one runs, one waits."""
    with crash():
        run = users_site.submit("crashed", SWEEP + "array: {at_once: 2}\n")
        run.await_status(lambda status: status["counts"].get("done") == 1, "the first has ended")
        await_programs(run, 3)
    # The nodes tell the controller of jobs that it does not know, and are told to end them.
    (users_site.folder / "gate-crashed").touch()
    advance_to_the_end(run)
    first = run.states()
    assert first[0] == "done"
    assert set(first[1:]) <= {"done", "lost", "node_fail", "cancelled"}
    if set(first) != {"done"}:
        run.hpcsweep("resubmit", "--state", "lost,node_fail,cancelled")
        advance_to_the_end(run)
    assert run.states() == ["done"] * 3
    starts = run.starts("starts-crashed")
    assert set(starts.values()) == {1}
    assert sum(line.startswith("0 ") for line in starts) == 1
    assert [row["value"][:2] for row in run.rows()] == ["70", "71", "72"]
