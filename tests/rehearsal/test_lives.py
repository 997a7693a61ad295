"""Whole lives of runs on every cluster that can be played: from the sweep file to the table, with all that goes wrong between."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from life import Life, Site

from hpcsweep.rehearsal.rehearse import Rehearsal

CLUSTERS = ("slurm", "pbs", "torque")
# As `python -m hpcsweep`, but what is gone is given up after two seconds.
IMPATIENT = """
import sys
from hpcsweep.schedulers.qsub import Qsub
from hpcsweep.schedulers.slurm import Slurm
from hpcsweep.__main__ import main
Qsub.lost_after_s = 2.0
object.__setattr__(Slurm.__dataclass_fields__["lost_after_s"], "default", 2.0)
Slurm.__init__.__kwdefaults__["lost_after_s"] = 2.0
sys.argv[1:3] = []
sys.exit(main())
"""
SETTLE = "settle: 1s\n"
COUNT_START = 'echo "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts-$HPCSWEEP_RUN\n'
PLAIN = "resources: {time: 10m, cpus: 1}\n"
SLOW = f"command: |\n  {COUNT_START}  until [ -e gate-$HPCSWEEP_RUN ]; do sleep 0.1; done\n"
ENDINGS = f"""
command: |
  {COUNT_START}  echo "value = $HPCSWEEP_TASK$HPCSWEEP_ATTEMPT" >"$HPCSWEEP_TASK_DIR/a.metrics"
  if [ "$HPCSWEEP_ATTEMPT" -gt 1 ]; then exit 0; fi
  case {{{{ kind }}}} in
    exit) echo "the last words"; exit 3 ;;
    segv) kill -SEGV $$ ;;
    kill) kill -KILL $$ ;;
    timeout) sleep 300 ;;
  esac
space: {{kind: [ok, exit, segv, kill, timeout, fine]}}
resources: {{time: "{{{{ '4s' if kind == 'timeout' else '10m' }}}}", cpus: 1}}
{SETTLE}"""


@dataclass(frozen=True)
class Cluster:
    """A rehearsed cluster, and the site of its user."""

    name: str
    site: Site
    rehearsal: Rehearsal

    def submit(self, name: str, text: str, *words: str, code: int | None = 0) -> Life:
        return self.site.submit(name, f"{text}{SETTLE if 'settle:' not in text else ''}", *words, code=code)

    def open_gate(self, run: Life) -> None:
        (self.site.folder / f"gate-{run.name}").touch()


@pytest.fixture(params=CLUSTERS)
def make_cluster(request, tmp_path) -> Iterator[Callable[..., Cluster]]:
    """``make_cluster(max_array_size=5)``: a cluster with these settings, for this test alone."""
    started: list[Rehearsal] = []
    wrapper = tmp_path / "impatient.py"
    wrapper.write_text(IMPATIENT)

    def make(**settings: object) -> Cluster:
        kind = request.param
        rehearsal = Rehearsal(kind, tmp_path / f"rehearsal-{len(started)}", {"cpus": 4, **settings})
        started.append(rehearsal)
        folder = tmp_path / f"it's me {len(started)}"
        folder.mkdir()
        environ = {**rehearsal.environment, "HOME": str(tmp_path)}
        return Cluster(kind, Site(folder, (sys.executable, str(wrapper)), environ=environ), rehearsal)

    yield make
    for rehearsal in started:
        rehearsal.end()


@pytest.fixture
def cluster(make_cluster) -> Cluster:
    return make_cluster()


def test_from_a_sweep_to_a_table(cluster: Cluster):
    text = f"""
command: |
  {COUNT_START}  printf '%s' {{{{ text }}}} >"$HPCSWEEP_TASK_DIR/text"
  printf '%s' "$HPCSWEEP_PARAM_text" >"$HPCSWEEP_TASK_DIR/param"
  echo "loss = {{{{ x }}}}" >"$HPCSWEEP_TASK_DIR/out.metrics"
  pwd >"$HPCSWEEP_TASK_DIR/pwd"; umask >"$HPCSWEEP_TASK_DIR/umask"; echo "$VIRTUAL_ENV" >"$HPCSWEEP_TASK_DIR/venv"
  echo "on the record"
space:
  x: [1, 2, 3]
  text: ["it's \\"a\\" $HOME, b=c;`id`", "two\\nlines\\\\ü", ""]
scheduler: auto
{PLAIN}{SETTLE}"""
    cluster.site.write("values.yaml", text)
    done = cluster.site.hpcsweep("submit", "values.yaml", "--name", "values", "--watch", VIRTUAL_ENV="/somewhere/venv")
    run = Life(cluster.site, "values")
    umask = os.umask(0o022)
    os.umask(umask)
    assert run.states() == ["done"] * 9
    assert re.search(r"\bloss\b", done.stdout)
    assert run.starts("starts-values") == Counter({f"{task} 1 0": 1 for task in range(9)})
    assert [row["loss"] for row in run.rows()] == ["1", "1", "1", "2", "2", "2", "3", "3", "3"]
    texts = ['it\'s "a" $HOME, b=c;`id`', "two\nlines\\ü", ""]
    for task in range(9):
        folder = run.path / f"tasks/{task:06d}"
        assert (folder / "text").read_text() == (folder / "param").read_text() == texts[task % 3]
        assert (folder / "pwd").read_text() == f"{cluster.site.folder}\n"
        assert (folder / "venv").read_text() == "/somewhere/venv\n"
        assert int((folder / "umask").read_text(), 8) == umask
        assert run.log(task) == "on the record\n"
    assert json.loads((run.path / "run.json").read_text())["scheduler"] == cluster.name
    jobs = {task["job"] for task in run.tasks()}
    assert len(jobs) == 9
    assert all(re.fullmatch(r"\d+_\d+" if cluster.name == "slurm" else r"\d+\[\d+\]\.\S+", job) for job in jobs)


def test_each_end_is_told_apart_and_what_failed_runs_again(cluster: Cluster):
    run = cluster.submit("ends", ENDINGS)
    run.await_end()
    assert run.states() == ["done", "failed", "failed", "failed", "timeout", "done"]
    tasks = run.tasks()
    assert tasks[1]["reason"] == "exit code 3"
    assert "signal 11" in tasks[2]["reason"]
    assert "signal 9" in tasks[3]["reason"]
    assert "the last words" in run.hpcsweep("logs", "1").stdout
    run.hpcsweep("resubmit")
    run.await_end()
    assert run.states() == ["done"] * 6
    starts = run.starts("starts-ends")
    assert starts == Counter([*(f"{task} 1 0" for task in range(6)), *(f"{task} 2 0" for task in (1, 2, 3, 4))])
    assert [row["value"] for row in run.rows()] == ["1", "12", "22", "32", "42", "51"]


def test_some_are_cancelled_while_they_run_and_while_they_wait(cluster: Cluster):
    run = cluster.submit("part", f"{SLOW}space: {{x: {{range: [0, 7]}}}}\n{PLAIN}array: {{at_once: 3}}\n")
    run.await_status(lambda status: status["counts"].get("running") == 3, "three run")
    waiting = run.tasks()[5]
    assert waiting["state"] == "pending"
    assert waiting["reason"]
    run.hpcsweep("cancel", "--tasks", "0,5,7")
    cluster.open_gate(run)
    run.await_end()
    assert run.states() == ["cancelled", "done", "done", "done", "done", "cancelled", "done", "cancelled"]
    run.hpcsweep("resubmit", "--state", "cancelled")
    run.await_end()
    assert run.states() == ["done"] * 8
    starts = run.starts("starts-part")
    assert max(starts.values()) == 1
    assert {start for start in starts if start.startswith("5 ")} == {"5 2 0"}, "what was cancelled waiting never began"


def test_held_released_throttled_and_followed_by_a_last_command(cluster: Cluster):
    last = "finally: {command: echo last >>starts-held, when: done, resources: {time: 5m}}\n"
    run = cluster.submit("held", f"{SLOW}space: {{x: {{range: [0, 5]}}}}\n{PLAIN}array: {{at_once: 1}}\n{last}")
    run.await_status(lambda status: status["counts"].get("running") == 1, "one runs")
    run.hpcsweep("hold")
    held = run.await_status(lambda status: status["counts"].get("pending") == 5, "five wait")
    assert any("held" in task["reason"].lower() for task in held["tasks"])
    run.hpcsweep("release")
    run.hpcsweep("throttle", "3")
    run.await_status(lambda status: status["counts"].get("running") == 3, "three run")
    cluster.open_gate(run)
    run.await_end()
    assert run.states() == ["done"] * 6
    run.await_status(lambda _: "last" in run.starts("starts-held"), "the last command has run")
    assert run.starts("starts-held")["last"] == 1


def test_one_task_and_more_than_an_array_holds(make_cluster: Callable[..., Cluster]):
    cluster = make_cluster(max_array_size=4)
    one = cluster.submit("one", f"command: |\n  {COUNT_START}space: {{x: [1]}}\n{PLAIN}")
    many = cluster.submit("many", f"command: |\n  {COUNT_START}space: {{x: {{range: [0, 9]}}}}\n{PLAIN}")
    for run, size in ((one, 1), (many, 10)):
        run.await_end()
        assert run.states() == ["done"] * size
        assert run.starts(f"starts-{run.name}") == Counter({f"{task} 1 0": 1 for task in range(size)})
    assert many.arrays_on_disk() == 3


def test_a_cluster_that_is_down(make_cluster: Callable[..., Cluster]):
    cluster = make_cluster(patience_s=1)
    run = cluster.submit("before", f"{SLOW}space: {{x: [1, 2]}}\n{PLAIN}")
    run.await_status(lambda status: status["counts"].get("running") == 2, "both run")
    cluster.rehearsal.fault("down")
    refused = cluster.submit("after", f"{SLOW}space: {{x: [1]}}\n{PLAIN}", code=None)
    assert refused.said
    if cluster.name != "slurm":  # its sbatch cannot say whether the controller had it
        assert not refused.path.exists()
    cluster.open_gate(run)
    status = run.await_status(lambda status: status["counts"].get("done") == 2, "their own records say so")
    assert status["total"] == 2
    cluster.rehearsal.fault("none")
    run.await_end()
    assert run.starts("starts-before") == Counter({"0 1 0": 1, "1 1 0": 1})


def test_an_answer_that_is_lost(make_cluster: Callable[..., Cluster]):
    cluster = make_cluster(patience_s=1)
    cluster.rehearsal.fault("submit-timeout=1")
    text = f"command: |\n  {COUNT_START}space: {{x: [1, 2, 3]}}\n{PLAIN}settle: 5m\n"
    run = cluster.submit("lost", text, code=4)
    assert "did not confirm" in run.said
    run.await_status(lambda _: len(run.starts("starts-lost")) == 3, "it was accepted all the same")
    run.hpcsweep("advance")
    run.await_end()
    assert run.states() == ["done"] * 3
    assert run.starts("starts-lost") == Counter({f"{task} 1 0": 1 for task in range(3)})
    assert run.arrays_on_disk() == 1


def test_a_submit_that_is_killed(make_cluster: Callable[..., Cluster]):
    cluster = make_cluster(patience_s=1)
    cluster.rehearsal.fault("hung")
    cluster.site.write("killed.yaml", f"command: |\n  {COUNT_START}space: {{x: [1, 2, 3]}}\n{PLAIN}{SETTLE}")
    import subprocess  # noqa: PLC0415

    process = subprocess.Popen(
        [*cluster.site.python, "-m", "hpcsweep", "submit", "killed.yaml", "--name", "killed"],
        cwd=cluster.site.folder,
        env=cluster.site.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    run = Life(cluster.site, "killed")
    journal = run.path / "state.jsonl"
    try:
        for _ in range(600):
            if journal.exists() and '"submitting"' in journal.read_text():
                break
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        assert '"submitting"' in journal.read_text()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    cluster.rehearsal.fault("none")
    run.hpcsweep("advance", "--now", "--wait-lock", "2m", code=None)
    run.hpcsweep("wait", code=0)
    assert run.states() == ["done"] * 3
    assert run.starts("starts-killed") == Counter({f"{task} 1 0": 1 for task in range(3)})


def test_a_server_that_is_killed_loses_nothing(cluster: Cluster):
    run = cluster.submit("server", f"{SLOW}space: {{x: [1, 2, 3]}}\n{PLAIN}array: {{at_once: 2}}\n")
    run.await_status(lambda status: status["counts"].get("running") == 2, "two run")
    cluster.rehearsal.kill_server()
    cluster.open_gate(run)
    run.await_end()
    assert run.states() == ["done"] * 3
    assert run.starts("starts-server") == Counter({f"{task} 1 0": 1 for task in range(3)})


def test_what_was_killed_with_its_shell_is_told_by_the_history(cluster: Cluster):
    run = cluster.submit("struck", f"{SLOW}space: {{x: [1]}}\n{PLAIN}")
    run.await_states("running")
    run.await_status(lambda _: run.starts("starts-struck"), "its program runs")
    (token,) = (run.path / "arrays/001/events").glob("0.1.r0.run")
    os.kill(int(token.read_text().split()[3]), signal.SIGKILL)
    run.await_end()
    assert run.states() == ["lost"] or run.states() == ["failed"]
    cluster.open_gate(run)
    run.hpcsweep("resubmit")
    run.await_end()
    assert run.states() == ["done"]
    assert run.starts("starts-struck") == Counter({"0 1 0": 1, "0 2 0": 1})


def test_without_a_history_a_task_that_leaves_no_record_is_lost(cluster: Cluster):
    for fault in ("history-off", "purged", *(["history-down"] if cluster.name == "slurm" else [])):
        cluster.rehearsal.fault(fault)
    run = cluster.submit("gone", f"{SLOW}space: {{x: [1]}}\n{PLAIN}")
    run.await_status(lambda _: run.starts("starts-gone"), "its program runs")
    (token,) = (run.path / "arrays/001/events").glob("0.1.r0.run")
    os.kill(int(token.read_text().split()[3]), signal.SIGKILL)
    run.await_states("lost")
    assert run.starts("starts-gone") == Counter({"0 1 0": 1})


def test_what_the_live_answer_says_of_ends_counts_without_a_history(make_cluster: Callable[..., Cluster]):
    cluster = make_cluster(linger_s=0, walltime_poll_s=0.1)
    if cluster.name == "slurm":  # whose queue does not say how anything ended
        return
    cluster.rehearsal.fault("history-off")
    run = cluster.submit("struck", f"{SLOW}space: {{x: [1, 2, 3]}}\n{PLAIN}")
    run.await_status(lambda _: len(run.starts("starts-struck")) == 3, "all programs run")
    job = run.jobs()[0].partition("[")[0]
    cluster.rehearsal.fault(f"walltime={job}[0]")
    cluster.site.run(["qdel", f"{job}[1]"])
    status = run.await_status(lambda status: status["counts"].get("running") == 1, "two have ended")
    assert [task["state"] for task in status["tasks"]] != ["lost", "lost", "running"]
    run.await_states("timeout", "cancelled", "running")
    run.hpcsweep("cancel", "--tasks", "2")
    run.await_states("timeout", "cancelled", "cancelled")


def test_a_run_waits_for_another_and_for_nothing_that_has_ended(cluster: Cluster):
    first = cluster.submit("first", f"{SLOW}space: {{x: [1, 2]}}\n{PLAIN}")
    second = cluster.submit("second", f"command: |\n  {COUNT_START}space: {{x: [1, 2]}}\n{PLAIN}", "--after", "first")
    second.await_states("pending", "pending")
    cluster.open_gate(first)
    second.await_end()
    assert second.states() == ["done", "done"]
    first.await_end()
    cluster.rehearsal.fault("purged")
    cluster.site.run(["qstat"] if cluster.name != "slurm" else ["squeue"])
    third = cluster.submit("third", f"command: |\n  {COUNT_START}space: {{x: [1]}}\n{PLAIN}", "--after", "first", code=None)
    third.await_end()
    assert third.states() == ["done"]


def test_a_hold_while_nobody_answers_is_told_later(cluster: Cluster):
    run = cluster.submit("kept", f"{SLOW}space: {{x: {{range: [0, 5]}}}}\n{PLAIN}array: {{at_once: 1}}\n")
    run.await_status(lambda status: status["counts"].get("running") == 1, "one runs")
    cluster.rehearsal.fault("down")
    assert "advance" in run.hpcsweep("hold", code=4).stderr
    assert "nothing is released" in run.hpcsweep("release", code=4).stderr
    cluster.rehearsal.fault("none")
    run.hpcsweep("advance")
    run.await_status(lambda status: any("held" in task["reason"].lower() for task in status["tasks"]), "it is held")
    run.hpcsweep("release")
    cluster.open_gate(run)
    run.await_end()
    assert run.states() == ["done"] * 6


def test_what_a_crashed_controller_forgot_is_submitted_again_once(cluster: Cluster):
    blocker = cluster.submit("blocker", f"{SLOW}space: {{x: {{range: [1, 4]}}}}\n{PLAIN}")
    blocker.await_status(lambda status: status["counts"].get("running") == 4, "all slots are taken")
    run = cluster.submit("forgotten", f"command: |\n  {COUNT_START}space: {{x: [1, 2, 3]}}\n{PLAIN}")
    assert run.states() == ["pending"] * 3
    cluster.rehearsal.fault("forget=1")
    run.await_status(lambda status: status["counts"].get("submitting") == 3, "it is missed")
    run.hpcsweep("advance", "--now")
    cluster.open_gate(blocker)
    run.await_end()
    assert run.states() == ["done"] * 3
    assert run.starts("starts-forgotten") == Counter({f"{task} 1 0": 1 for task in range(3)})


def test_a_node_that_is_lost(make_cluster: Callable[..., Cluster]):
    cluster = make_cluster(nodes=2, cpus=1)
    run = cluster.submit("node", f"{SLOW}space: {{x: [1, 2]}}\n{PLAIN}")
    run.await_status(lambda status: status["counts"].get("running") == 2, "both run")
    run.await_status(lambda _: len(run.starts("starts-node")) == 2, "and have begun")
    cluster.rehearsal.fault("node-lost")
    cluster.open_gate(run)
    run.await_status(
        lambda status: status["counts"].get("done", 0) >= 1 and not status["counts"].keys() & {"running"}, "one is done"
    )
    cluster.rehearsal.fault("none")
    status = run.await_status(lambda status: status["finished"] or "pending" not in status["counts"], "nothing waits")
    assert set(status["counts"]) <= {"done", "lost", "node_fail"}
    assert Counter(start.split()[0] for start in run.starts("starts-node"))["0"] <= 2


def test_a_request_that_can_never_run_says_why(cluster: Cluster):
    run = cluster.submit("big", "command: 'true'\nspace: {x: [1, 2]}\nresources: {time: 5m, cpus: 64}\n", code=None)
    if not run.path.exists():  # refused at once, as Slurm and Torque do
        assert "resources" in run.said or "cpus" in run.said
        return
    why = {"slurm": "PartitionConfig", "pbs": "blocked: Can Never Run: Insufficient amount of resource: ncpus"}[cluster.name]
    run.await_status(lambda status: why in status["tasks"][0]["reason"], "the scheduler's reason is shown")
    assert why in run.hpcsweep("status").stdout
    run.hpcsweep("cancel")
    run.await_states("cancelled", "cancelled")


def test_ten_thousand_tasks(cluster: Cluster):
    run = cluster.submit("many", f"{SLOW}space: {{x: {{range: [0, 9999]}}}}\n{PLAIN}")
    status = run.await_status(lambda status: status["counts"].get("running") == 4, "four run")
    assert status["counts"] == {"running": 4, "pending": 9996}
    run.hpcsweep("cancel", "--tasks", "5000-9999")
    status = run.await_status(lambda status: status["counts"].get("cancelled") == 5000, "half of them are cancelled")
    assert status["counts"]["running"] == 4
    run.hpcsweep("cancel")
    run.await_status(lambda status: status["counts"] == {"cancelled": 10_000}, "all are")
    assert len(run.starts("starts-many")) <= 8


def test_a_rehearsed_run_is_not_touched_outside(cluster: Cluster):
    run = cluster.submit("inside", f"{SLOW}space: {{x: [1]}}\n{PLAIN}")
    outside = Site(cluster.site.folder, environ=dict.fromkeys(("HPCSWEEP_REHEARSAL", "HPCSWEEP_REHEARSES"), ""))
    said = outside.hpcsweep("advance", "inside", code=1).stderr
    assert "was rehearsed" in said
    assert "was rehearsed" in outside.hpcsweep("status", "inside", code=None).stdout
    cluster.open_gate(run)
    run.await_end()


def test_a_feeder_goes_on_by_itself(make_cluster: Callable[..., Cluster]):
    cluster = make_cluster()
    text = f"command: |\n  {COUNT_START}space: {{x: {{range: [0, 5]}}}}\n{PLAIN}canary: 1\n"
    run = cluster.submit("fed", text, "--feed")
    assert "is left" in run.said
    if cluster.name == "torque":  # whose compute nodes may not submit
        assert "lets compute nodes submit" in run.said
        status = run.await_status(lambda status: "ruserok" in status["tasks"][1]["reason"], "the feeder was refused")
        assert status["counts"] == {"done": 1, "new": 5}
        run.hpcsweep("advance")
    run.await_end()
    assert run.starts("starts-fed") == Counter({f"{task} 1 0": 1 for task in range(6)})


def test_a_run_for_which_there_is_no_room_is_kept(cluster: Cluster):
    blocker = cluster.submit("blocker", f"{SLOW}space: {{x: [1]}}\n{PLAIN}")  # a queue that is empty has room
    cluster.rehearsal.fault("refuse=limit")
    run = cluster.submit("later", f"command: |\n  {COUNT_START}space: {{x: [1, 2, 3]}}\n{PLAIN}")
    assert "advance" in run.said
    assert run.states() == ["new"] * 3
    cluster.rehearsal.fault("none")
    cluster.open_gate(blocker)
    run.hpcsweep("wait")
    assert run.states() == ["done"] * 3
    assert run.starts("starts-later") == Counter({f"{task} 1 0": 1 for task in range(3)})


def test_a_run_whose_rehearsal_is_over_can_be_removed(cluster: Cluster):
    run = cluster.submit("over", f"{SLOW}space: {{x: [1, 2, 3, 4, 5, 6]}}\n{PLAIN}")
    run.await_status(lambda status: status["counts"].get("running") == 4, "four run")
    cluster.rehearsal.end()
    outside = Site(
        cluster.site.folder, cluster.site.python, environ=dict.fromkeys(("HPCSWEEP_REHEARSAL", "HPCSWEEP_REHEARSES"), "")
    )
    left = Life(outside, "over")
    left.await_status(
        lambda status: not status["counts"].keys() & {"running", "pending", "submitting", "unknown"}, "nothing lives"
    )
    assert "was rehearsed" in left.hpcsweep("advance", code=1).stderr
    left.hpcsweep("rm")
    assert not left.path.exists()


def test_a_job_script_that_fails_before_the_tasks_says_where(cluster: Cluster):
    prefix = "#SBATCH --comment=x" if cluster.name == "slurm" else "#PBS -m n"
    cluster.site.write("job.sh", f"#!/bin/bash\n{prefix}\nset -e\nnosuchmodule load\n{{{{ hpcsweep }}}}\n")
    run = cluster.submit("early", f"command: 'true'\nspace: {{x: [1]}}\ntemplate: job.sh\n{PLAIN}")
    run.await_states("lost")
    said = run.hpcsweep("status").stdout
    assert "exit code 127" in said
    assert "nosuchmodule: command not found" in said
    assert "elements.log" in run.hpcsweep("logs", "0", code=None).stderr


SAVING = f"""
command: |
  {COUNT_START}  if [ -e "$HPCSWEEP_TASK_DIR/state" ]; then echo "value = $(cat "$HPCSWEEP_STAGE_DIR/state")" >"$HPCSWEEP_TASK_DIR/a.metrics"; exit 0; fi
  trap 'cat "$HPCSWEEP_STAGE_DIR/data.txt" >"$HPCSWEEP_STAGE_DIR/state"; exit 85' USR1
  sleep 300 & wait
space: {{x: [1, 2]}}
resources: {{time: 1m, cpus: 1}}
signal: {{name: USR1, before: 57s}}
on_timeout: requeue
stage: {{in: data.txt, out: state}}
finally: {{command: echo last >>starts-saved, when: ended, resources: {{time: 5m}}}}
{SETTLE}"""


def test_what_saves_when_it_is_told_of_its_end_goes_on(request, make_cluster: Callable[..., Cluster]):
    is_slurm = request.node.callspec.params["make_cluster"] == "slurm"
    cluster = make_cluster(**({"requeue_delay_s": 1} if is_slurm else {}))
    cluster.site.write("data.txt", "7\n")
    run = cluster.submit("saved", SAVING)
    run.hpcsweep("wait")
    assert run.states() == ["done", "done"]
    assert [row["value"] for row in run.rows()] == ["7", "7"]
    later = "1 1" if cluster.name == "slurm" else "2 0"  # in place, or in another attempt
    starts = run.starts("starts-saved")
    assert starts == Counter([*(f"{task} 1 0" for task in (0, 1)), *(f"{task} {later}" for task in (0, 1)), "last"])
