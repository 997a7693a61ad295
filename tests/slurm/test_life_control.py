"""What a user does to a run that is under way on the real Slurm: hold, release, throttle, cancel; and what a sweep says of that."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from life import COUNT_START, Life, Site, job_of

pytestmark = pytest.mark.slurm

# A task waits for its own gate, `gate-RUN-TASK`, or for the whole run's, `gate-RUN`.
GATED = """
command: |
  echo "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts-$HPCSWEEP_RUN
  until [ -e gate-$HPCSWEEP_RUN ] || [ -e gate-$HPCSWEEP_RUN-$HPCSWEEP_TASK ]; do sleep 0.1; done
resources: {time: 10m, memory: 20M}
"""


def open_gates(run: Life, *tasks: int) -> None:
    for name in [f"gate-{run.name}-{task}" for task in tasks] or [f"gate-{run.name}"]:
        (run.site.folder / name).touch()


def count(run: Life, state: str) -> int:
    return run.states().count(state)


def test_hold_release_and_throttle(users_site):
    run = users_site.submit("held", GATED + "space: {x: {range: [0, 5]}}\narray: {at_once: 2}\n")
    run.await_states("running", "running", *["pending"] * 4)
    run.hpcsweep("hold")
    status = run.await_status(lambda status: "held" in status["tasks"][2]["reason"].lower(), "it says that it is held")
    assert "hpcsweep release" in status["tasks"][5]["reason"]
    open_gates(run, 0, 1)
    run.await_states("done", "done", *["pending"] * 4)
    assert not run.status()["finished"]
    # Nothing starts while it is held, not even when it is advanced or watched.
    run.hpcsweep("advance")
    assert run.states() == ["done", "done", *["pending"] * 4]
    run.hpcsweep("release")
    run.await_states("done", "done", "running", "running", "pending", "pending")
    run.hpcsweep("throttle", "3")
    run.await_states("done", "done", "running", "running", "running", "pending")
    run.hpcsweep("throttle", "0")
    run.await_states("done", "done", *["running"] * 4)
    open_gates(run)
    assert run.await_end()["counts"] == {"done": 6}
    assert run.starts("starts-held") == {f"{task} 1 0": 1 for task in range(6)}


def test_a_whole_run_is_cancelled(own_site):
    run = own_site.submit("cancelled", GATED + "space: {x: {range: [0, 7]}}\narray: {at_once: 3}\n")
    run.await_status(lambda status: status["counts"].get("running") == 3, "three run")
    run.await_status(lambda _: len(run.starts("starts-cancelled")) == 3, "their programs run")
    own_site.hpcsweep("cancel", code=2)  # of which run, has to be said
    assert "cancelled 8" in run.hpcsweep("cancel").stdout
    status = run.await_states(*["cancelled"] * 8)
    assert [task["source"] for task in status["tasks"][:3]] == ["task"] * 3
    run.await_end()
    run.hpcsweep("wait", code=1)
    assert "nothing to run again" in run.hpcsweep("resubmit").stdout
    own_site.hpcsweep("rm", "cancelled", "--dry-run")
    assert run.path.is_dir()
    open_gates(run)
    run.hpcsweep("resubmit", "--tasks", "0,7")
    run.await_status(lambda status: status["finished"], "two ran again")
    assert run.states() == ["done", *["cancelled"] * 6, "done"]
    archive = own_site.hpcsweep("archive", "cancelled").stdout
    assert "cancelled.tar.gz" in archive
    assert not run.path.exists()


def test_at_once_holds_over_all_arrays(users_site):
    (users_site.folder / "active").mkdir()
    (users_site.folder / "active").chmod(0o777)
    run = users_site.submit(
        "groups",
        """
        command: |
          touch active/$HPCSWEEP_TASK
          ls active | wc -l >"$HPCSWEEP_TASK_DIR/a.metrics.tmp"
          sleep 1
          ls active | wc -l >>"$HPCSWEEP_TASK_DIR/a.metrics.tmp"
          rm active/$HPCSWEEP_TASK
        space: {x: {range: [0, 8]}}
        resources: {time: 10m, memory: "{{ 20 + x // 3 }}M"}
        array: {at_once: 2}
        """,
    )
    status = run.await_status(lambda status: status["counts"].get("running") == 2, "two run")
    assert [array["size"] for array in status["arrays"]] == [3, 3, 3]
    assert run.await_end()["counts"] == {"done": 9}
    seen = [int(word) for path in run.path.glob("tasks/*/a.metrics.tmp") for word in path.read_text().split()]
    assert len(seen) == 18
    assert max(seen) == 2


def test_single_jobs(own_site):
    run = own_site.submit("jobs", GATED + "space: {x: {range: [0, 4]}}\narray: {mode: jobs, at_once: 2}\n")
    status = run.await_status(lambda status: status["counts"].get("running") == 2, "two run")
    assert [array["size"] for array in status["arrays"]] == [1] * 5
    assert len({array["job"] for array in status["arrays"]}) == 5
    assert all("_" not in task["job"] for task in status["tasks"])
    job = status["tasks"][3]["job"]
    run.hpcsweep("cancel", "--tasks", job)
    run.await_status(lambda status: status["tasks"][3]["state"] == "cancelled", "the fourth is cancelled")
    open_gates(run)
    status = run.await_end()
    assert [task["state"] for task in status["tasks"]] == ["done", "done", "done", "cancelled", "done"]
    run.hpcsweep("resubmit", "--tasks", job)
    run.await_states(*["done"] * 5)
    assert run.starts("starts-jobs") == {"0 1 0": 1, "1 1 0": 1, "2 1 0": 1, "3 2 0": 1, "4 1 0": 1}


def test_after_another_run(users_site):
    first = users_site.submit("first", GATED + "space: {x: [1, 2]}\n")
    users_site.write("second.yaml", GATED + "space: {x: [1, 2]}\n")
    users_site.hpcsweep("submit", "second.yaml", "--name", "second", "--after", "first", "--after", "99999999")
    second = Life(site=users_site, name="second")
    third = users_site.submit("third", GATED + "space: {x: [1, 2]}\n", "--after", job_of(first.said))
    for later in (second, third):
        open_gates(later)
        later.await_status(lambda status: "Dependency" in status["tasks"][0]["reason"], "it waits for the first")
    open_gates(first)
    for run in (first, second, third):
        run.await_end()
        assert run.states() == ["done", "done"]
    begun = [(users_site.folder / f"starts-{name}").stat().st_mtime for name in ("first", "second", "third")]
    assert begun[0] < min(begun[1:])
    users_site.hpcsweep("submit", "second.yaml", "--name", "fourth", "--after", "frist", code=1)
    assert not (users_site.folder / "runs/fourth").exists()


@pytest.mark.parametrize("is_good", [True, False])
def test_a_canary(users_site, is_good):
    name = f"canary-{is_good}"
    run = users_site.submit(
        name,
        f"""
        command: |
          {COUNT_START.strip(" ;")}-$HPCSWEEP_RUN
          test "$HPCSWEEP_TASK" != 0 || test -e {name}-good
        space: {{x: [0, 1, 2, 3]}}
        canary: 1
        resources: {{time: 10m, memory: 20M}}
        """,
    )
    assert [array["size"] for array in run.status()["arrays"]] == [1]
    assert "canary" in run.task(1)["reason"]
    if is_good:
        (users_site.folder / f"{name}-good").touch()
        run.await_status(lambda status: status["tasks"][0]["state"] in ("done", "failed"), "the canary has ended")
        if run.task(0)["state"] == "failed":  # it was quicker than we
            run.hpcsweep("resubmit")
        run.hpcsweep("wait")  # waiting is watching: it goes on by itself
        assert run.states() == ["done"] * 4
        return
    run.await_states("failed", "new", "new", "new")
    assert run.status()["finished"]
    run.hpcsweep("advance")
    assert run.states() == ["failed", "new", "new", "new"]
    assert "canary" in run.task(1)["reason"]
    run.hpcsweep("release")
    run.await_states("failed", "done", "done", "done")
    assert run.starts(f"starts-{name}") == {f"{task} 1 0": 1 for task in range(4)}


def test_too_many_failures_hold_what_has_not_started(users_site):
    """Nobody watches: the tasks themselves have to notice."""
    run = users_site.submit(
        "failures",
        f"""
        command: |
          {COUNT_START.strip(" ;")}-failures
          exit 1
        space: {{x: {{range: [0, 29]}}}}
        max_failures: 3
        array: {{at_once: 2}}
        resources: {{time: 10m, memory: 20M}}
        """,
    )
    status = run.await_status(
        lambda status: set(status["counts"]) == {"failed", "new"} and not run.squeue(), "the rest has come and gone"
    )
    failed = status["counts"]["failed"]
    assert 3 <= failed <= 5  # what had started when the third failed
    assert sum(run.starts("starts-failures").values()) == failed
    waiting = [task for task in status["tasks"] if task["state"] != "failed"]
    assert [task["reason"] for task in waiting if "fail" not in task["reason"] and "held" not in task["reason"]] == []
    run.hpcsweep("release")
    status = run.await_status(lambda status: status["counts"].get("failed", 0) >= failed + 3, "the next three have failed")
    run.hpcsweep("cancel")
    status = run.await_end()
    assert set(status["counts"]) == {"failed", "cancelled"}
    assert sum(run.starts("starts-failures").values()) == status["counts"]["failed"]


FINALLY = """
command: |
  until [ -e gate-$HPCSWEEP_RUN ]; do sleep 0.1; done
  echo "x = {{ x }}" >"$HPCSWEEP_TASK_DIR/a.metrics"
  test {{ x }} != 2 || test -e good-$HPCSWEEP_RUN
space: {x: [1, 2, 3]}
resources: {time: 10m, memory: "{{ 20 + x // 3 }}M", partition: main}
finally:
  command: cat "$HPCSWEEP_RUN_DIR"/tasks/0*/a.metrics >>total-$HPCSWEEP_RUN
  when: WHEN
  resources: {time: 5m, memory: 20M}
"""


def test_finally_when_all_have_ended(users_site):
    run = users_site.submit("ended", FINALLY.replace("WHEN", "ended"))
    open_gates(run)
    status = run.await_end()
    assert status["counts"] == {"done": 2, "failed": 1}
    assert status["finally"]["state"] == "done"
    assert (users_site.folder / "total-ended").read_text() == "x = 1\nx = 2\nx = 3\n"


def test_finally_when_all_are_done(users_site):
    run = users_site.submit("all-done", FINALLY.replace("WHEN", "done"))
    open_gates(run)
    status = run.await_status(
        lambda status: status["finished"] and status["counts"] == {"done": 2, "failed": 1}, "the second has failed"
    )
    assert not (users_site.folder / "total-all-done").exists()
    assert status["finally"]["state"] == "new"
    (users_site.folder / "good-all-done").touch()
    run.hpcsweep("resubmit")
    run.hpcsweep("wait")
    status = run.status()
    assert status["counts"] == {"done": 3}
    assert status["finally"]["state"] == "done"
    assert (users_site.folder / "total-all-done").read_text() == "x = 1\nx = 2\nx = 3\n"
    run.hpcsweep("advance")
    assert run.await_end()["finally"]["state"] == "done"
    assert (users_site.folder / "total-all-done").read_text() == "x = 1\nx = 2\nx = 3\n"


def test_what_can_never_start_is_blocked(users_site):
    limit = users_site.submit("limit", GATED + "space: {x: [1, 2]}\n", "--set", "resources.partition=short")
    failing = users_site.submit("failing", "command: exit 1\nspace: {x: 1}\n")
    failing.await_end()
    users_site.write("never.yaml", GATED + f"space: {{x: [1, 2]}}\nslurm: {{dependency: 'afterok:{job_of(failing.said)}'}}\n")
    refused = users_site.hpcsweep("submit", "never.yaml", "--name", "never", code=None)
    runs = [limit]
    if refused.returncode == 0:
        runs.append(Life(site=users_site, name="never"))
    else:
        assert "depend" in refused.stderr
    for run in runs:
        status = run.await_status(lambda status: "blocked" in status["tasks"][0]["reason"], "it says so")
        assert status["tasks"][0]["state"] == "pending"
        assert not status["finished"]
        assert "cancel it" in status["tasks"][0]["reason"]
        run.hpcsweep("cancel")
        run.await_states("cancelled", "cancelled")
        assert run.await_end()["counts"] == {"cancelled": 2}
        # Its cure.
    limit.hpcsweep("resubmit", "--state", "cancelled")
    limit.hpcsweep("cancel")


def test_submitted_from_inside_a_job(users_site: Site):
    """What the outer task's job has in its environment is not the inner one's business."""
    users_site.write(
        "inner.yaml",
        """
        command: |
          env | grep -E '^(SLURM|HPCSWEEP|CUDA|OUTER)' | sort >"$HPCSWEEP_TASK_DIR/env.txt"
        space: {y: [1, 2, 3]}
        resources: {time: 10m, memory: 20M}
        """,
    )
    python = " ".join(users_site.python)
    outer = users_site.submit(
        "outer",
        f"""
        command: OUTER=1 {python} -m hpcsweep submit inner.yaml --name inner-{{{{ x }}}}
        space: {{x: [1, 2]}}
        resources: {{time: 10m, memory: 300M, gpus: 1, cpus: 2}}
        """,
    )
    assert outer.await_end()["counts"] == {"done": 2}, outer.log(0)
    for name in ("inner-1", "inner-2"):
        run = Life(site=users_site, name=name)
        status = run.await_end()
        assert status["counts"] == {"done": 3}
        for index, task in enumerate(status["tasks"]):
            text = (run.path / f"tasks/{index:06d}/env.txt").read_text()
            environ = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
            assert environ["OUTER"] == "1"
            assert environ["HPCSWEEP_RUN"] == name
            assert environ["HPCSWEEP_TASK"] == str(index)
            assert environ["SLURM_ARRAY_TASK_COUNT"] == "3"
            assert task["job"] == f"{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
            assert "HPCSWEEP_PARAM_x" not in environ
            assert "SLURM_GPUS_ON_NODE" not in environ
            assert "CUDA_VISIBLE_DEVICES" not in environ
            assert (
                environ["SLURM_JOB_NAME"].startswith("hs-")
                or name in environ["SLURM_JOB_NAME"]
                or "inner" in environ["SLURM_JOB_NAME"]
            )
            assert environ.get("SLURM_MEM_PER_NODE") == "20"


def test_two_submits_at_the_same_moment_get_two_runs(own_site: Site):
    own_site.write("twins.yaml", "command: 'true'\nspace: {x: [1, 2]}\nslurm: {begin: now+1hour}\nruns_dir: twins\n")
    with ThreadPoolExecutor(4) as pool:
        said: list[subprocess.CompletedProcess[str]] = list(
            pool.map(lambda _: own_site.hpcsweep("submit", "twins.yaml"), range(4))
        )
    assert len({job_of(done.stdout) for done in said}) == 4
    assert sorted(path.name for path in (own_site.folder / "twins").iterdir() if path.name.startswith("run-")) == [
        f"run-0{number}" for number in range(1, 5)
    ]
    listed = own_site.hpcsweep("list", "--runs-dir", "twins").stdout
    for number in range(1, 5):
        assert f"run-0{number}" in listed
        own_site.hpcsweep("cancel", f"run-0{number}", "--runs-dir", "twins")
        status = json.loads(own_site.hpcsweep("status", f"run-0{number}", "--runs-dir", "twins", "--json").stdout)
        assert status["counts"] == {"cancelled": 2}
