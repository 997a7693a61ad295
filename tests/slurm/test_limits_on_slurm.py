"""Runs that are larger than the site lets a user queue, on the real Slurm: qos `few` holds four jobs a user."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slurm

SWEEP = """
command: echo "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts-$HPCSWEEP_RUN
space: {{x: {{range: [1, {tasks}]}}}}
resources: {{qos: few, time: 5m, memory: 20M}}
finally: {{command: echo all >>all-$HPCSWEEP_RUN, resources: {{qos: few, time: 5m, memory: 20M}}}}
"""


def check(run, tasks: int) -> None:
    """Each task was started once, and then the command after them."""
    assert run.status()["counts"] == {"done": tasks}
    assert run.starts(f"starts-{run.name}") == {f"{task} 1 0": 1 for task in range(tasks)}
    assert (run.site.folder / f"all-{run.name}").read_text() == "all\n"


def test_wait_feeds_the_run_by_what_sacctmgr_tells(any_site):
    run = any_site.submit("told", SWEEP.format(tasks=7))
    assert "limits: the site lets you queue 4 jobs (qos few)" in run.said
    assert run.status()["counts"]["new"] == 3
    run.hpcsweep("wait", "--timeout", "3m")
    check(run, 7)
    assert "abandoned" not in {array["submission"] for array in run.status()["arrays"]}


def test_where_nobody_tells_it_is_learned_from_the_refusal(any_site):
    tools = any_site.folder / "no-accounting"
    tools.mkdir(exist_ok=True)
    any_site.write(
        "no-accounting/sacctmgr", "#!/bin/sh\necho 'sacctmgr: error: it is not for you' >&2\nexit 1\n", is_program=True
    )
    path = f"{tools}:{any_site.environment()['PATH']}"
    run = any_site.submit("learned", SWEEP.format(tasks=7), PATH=path)
    assert "limits: the site lets you queue no more than" in run.said
    assert 0 < run.status()["counts"]["new"] < 7
    done = any_site.hpcsweep("wait", "learned", "--timeout", "3m", PATH=path)
    assert "7 done" in done.stdout
    check(run, 7)


def test_a_feeder_submits_the_rest_by_nobodys_hand(any_site):
    run = any_site.submit("fed", SWEEP.format(tasks=7), "--feed")
    try:
        status = run.await_end(within_s=300)
        logs = "".join(path.read_text() for path in (run.path / "feeders").glob("*.log"))
        assert status["finally"]["state"] == "done", logs
        check(run, 7)
    finally:
        run.hpcsweep("cancel", code=None)


def test_cancel_takes_the_feeder_along(users_site):
    run = users_site.submit(
        "fed-no-more", SWEEP.format(tasks=7).replace("command: echo", "command: sleep 300; echo", 1), "--feed"
    )
    feeder = run.status()["feeder"]
    assert feeder["state"] == "pending"
    run.hpcsweep("cancel")
    run.await_end()
    listed = ["squeue", "--noheader", "--format=%i", "--name", f"{run_tag(run)}-feed-1"]
    run.await_status(
        lambda _: users_site.run(listed).stdout == "", "the feeder is gone, or on its way out when it had just begun"
    )


def run_tag(run) -> str:
    script = next((run.path / "feeders").glob("*.sh")).read_text()
    return script.split("HPCSWEEP_FEEDER=")[1].split("\n")[0].rpartition("-feed-")[0]
