"""Runs that are told of their end on the real Slurm, save, and go on: in place, in another attempt, after a requeue by hand."""

from __future__ import annotations

from collections import Counter

import pytest
from life import Life, Site

pytestmark = pytest.mark.slurm

SAVING = """
command: |
  echo "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts-$HPCSWEEP_RUN
  if [ -e "$HPCSWEEP_TASK_DIR/state" ]; then cat "$HPCSWEEP_TASK_DIR/state"; exit 0; fi
  told() { echo "left $((HPCSWEEP_ENDS_AT - $(date +%s)))" >"$HPCSWEEP_STAGE_DIR/state"; echo "told"; exit 85; }
  trap told USR1
  cat "$HPCSWEEP_STAGE_DIR/data/in"
  sleep 400 & wait
space: {x: [1, 2]}
signal: {name: USR1, before: 30s}
on_timeout: requeue
stage: {in: data, out: state}
"""
# One that saves and works on until it is ended.
COUNTING = """
command: |
  echo "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts-$HPCSWEEP_RUN
  trap 'echo told' USR1
  for i in {1..400}; do sleep 0.5; done
space: {x: [1]}
resources: {time: 1m, memory: 20M}
signal: {name: USR1, before: 50s}
"""


def await_programs(run: Life) -> None:
    """Until both of its programs wait to be told."""
    run.await_status(lambda _: len(run.starts(f"starts-{run.name}")) == 2, "both run")
    run.await_status(lambda _: "read" in run.log(0) and "read" in run.log(1), "its programs wait to be told")


@pytest.fixture(scope="module")
def runs(users_site: Site) -> dict[str, Life]:
    """All of them under way at once."""
    users_site.run(["mkdir", "-p", "data"])
    users_site.run(["sh", "-c", "echo read >data/in"])
    resources = "resources: {{time: {}, memory: 20M}}\n"
    runs = {
        "limit": users_site.submit("in-place", SAVING + resources.format("1m")),
        "another": users_site.submit("another", SAVING + resources.format("1m") + "slurm: {no_requeue: true}\n"),
        "counting": users_site.submit("counting", COUNTING),
        "outside": users_site.submit("outside", SAVING + resources.format("20m")),
        "byhand": users_site.submit("byhand", SAVING + resources.format("20m")),
    }
    # What Slurm starts again waits for two minutes: better all at the same time.
    await_programs(runs["byhand"])
    await_programs(runs["outside"])
    for task in runs["byhand"].tasks():
        users_site.run(["scontrol", "requeue", task["job"]])
    # PreemptParameters=send_user_signal sends the job's own signal to its batch shell, as this does.
    for task in runs["outside"].tasks():
        users_site.run(["scancel", "--batch", "--signal=USR1", task["job"]])
    return runs


def test_it_goes_on_in_place(runs: dict[str, Life]):
    run = runs["limit"]
    run.await_status(lambda _: run.starts("starts-in-place")["1 1 0"], "both run")
    waiting = run.await_status(
        lambda status: [task["state"] for task in status["tasks"]] == ["pending"] * 2, "both have saved and are requeued"
    )
    assert all("waits to be restarted" in task["reason"] for task in waiting["tasks"])
    run.await_end(within_s=300)
    assert run.states() == ["done", "done"]
    assert run.starts("starts-in-place") == Counter([f"{task} 1 {restart}" for task in (0, 1) for restart in (0, 1)])
    assert run.arrays_on_disk() == 1
    for task in (0, 1):
        log = run.log(task)
        assert log.count("told") == 1
        left = int(log.rpartition("left ")[2].split()[0])
        assert 20 <= left <= 30, log


def test_where_it_must_not_be_requeued_it_goes_on_in_another_attempt(runs: dict[str, Life]):
    run = runs["another"]
    run.hpcsweep("wait", "--timeout", "4m")
    assert run.states() == ["done", "done"]
    assert run.starts("starts-another") == Counter([f"{task} {attempt} 0" for task in (0, 1) for attempt in (1, 2)])
    assert "not requeued in place" in run.log(0)


def test_a_requeue_by_hand_is_told_as_well(runs: dict[str, Life]):
    run = runs["byhand"]
    run.await_end(within_s=300)
    assert run.states() == ["done", "done"]
    assert run.starts("starts-byhand") == Counter([f"{task} 1 {restart}" for task in (0, 1) for restart in (0, 1)])
    assert [run.log(task).count("told") for task in (0, 1)] == [1, 1]


def test_the_signal_of_slurms_preemption_is_passed_on_and_answered(runs: dict[str, Life]):
    run = runs["outside"]
    run.await_end(within_s=300)
    assert run.states() == ["done", "done"]
    assert run.starts("starts-outside") == Counter([f"{task} 1 {restart}" for task in (0, 1) for restart in (0, 1)])


def test_who_works_on_until_the_limit_is_told_once(runs: dict[str, Life]):
    run = runs["counting"]
    run.await_end(within_s=300)
    assert run.states() == ["timeout"]
    assert run.log(0).count("told") == 1
