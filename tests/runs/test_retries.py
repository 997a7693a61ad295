"""What failed runs again by itself, or by hand with other resources: whole turns of the loop."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from hpcsweep.runs.history import attempts_of
from hpcsweep.runs.look import look

M = 1024**2
SWEEP = "command: echo {{{{ x }}}}\nspace: {{x: [1, 2, 3]}}\nresources: {{memory: 100M, time: 30m}}\n{}\n"
OOM = "retry: {oom: {memory: x2, up_to: 300M}}"
TIME = "retry: {timeout: {time: x2, up_to: 24h}}"


def end(cluster, task: int, kind: str, word: str = "COMPLETED", *, array: int = 1) -> None:
    """The task's element of an array ends: with a record (``sig.9``), and as the scheduler says."""
    known = cluster.run.ledger.arrays[array]
    cluster.task_says(f"{task}.{known.attempt_of(task)}.{kind}.1", array=array)
    cluster.slurm.end(known.job, known.tasks.index(task), word=word)


def end_all(cluster, kind: str, word: str, *, array: int = 1) -> None:
    for task in cluster.run.ledger.arrays[array].tasks:
        end(cluster, task, kind, word, array=array)


def script(cluster, array: int) -> str:
    return cluster.run.paths.array(array).script.read_text()


def reason(cluster, task: int) -> str:
    return cluster.status()["tasks"][task]["reason"]


class TestByARule:
    def test_what_ran_out_of_memory_gets_more_up_to_the_ceiling(self, cluster, capsys):
        cluster.submit(SWEEP.format("retry: {oom: {memory: x2, up_to: 300M}, attempts: 5}"))
        end(cluster, 0, "done.0")
        end(cluster, 2, "done.0")
        end(cluster, 1, "sig.9", "OUT_OF_MEMORY")
        assert reason(cluster, 1) == "ran out of memory with 100M; runs again with 200M (attempt 2 of 5)"
        assert not cluster.status()["finished"]
        capsys.readouterr()
        cluster.hpcsweep("advance")
        assert "task 1: ran out of memory with 100M; runs again with 200M (attempt 2 of 5)" in capsys.readouterr().err
        assert cluster.states() == ["done", "pending", "done"]
        assert "--mem=200M" in script(cluster, 2)
        end(cluster, 1, "sig.9", "OUT_OF_MEMORY", array=2)
        cluster.hpcsweep("advance")
        assert "--mem=300M" in script(cluster, 3)
        end(cluster, 1, "sig.9", "OUT_OF_MEMORY", array=3)
        cluster.hpcsweep("advance")
        cluster.hpcsweep("advance")
        assert [event["request"]["memory_bytes"] for event in cluster.events("planned")] == [100 * M, 200 * M, 300 * M]
        assert cluster.states() == ["done", "oom", "done"]
        assert reason(cluster, 1).startswith("ran out of memory with 300M; no more may be asked for")
        assert cluster.status()["finished"]

    def test_every_attempt_stays_in_the_history(self, cluster):
        cluster.submit(SWEEP.format(OOM))
        end_all(cluster, "sig.9", "OUT_OF_MEMORY")
        cluster.hpcsweep("advance")
        end_all(cluster, "done.0", "COMPLETED", array=2)
        fold, _decision = look(cluster.run)
        told = [attempt.to_json() for attempt in attempts_of(cluster.run, fold, [1])[1]]
        assert [(one["attempt"], one["state"], one["request"]["memory_bytes"]) for one in told] == [
            (1, "oom", 100 * M),
            (2, "done", 200 * M),
        ]
        assert [one["job"] for one in told] == ["70_1", "71_1"]

    def test_the_same_change_is_one_array(self, cluster):
        cluster.submit(SWEEP.format(OOM))
        end_all(cluster, "sig.9", "OUT_OF_MEMORY")
        cluster.hpcsweep("advance")
        assert [array.tasks for array in cluster.run.ledger.arrays.values()] == [[0, 1, 2], [0, 1, 2]]

    def test_queues_are_asked_for_only_when_time_is_wanting_and_once(self, cluster):
        cluster.slurm.time_limit = "45:00"
        cluster.submit(SWEEP.format(TIME))
        end(cluster, 0, "done.0")
        cluster.hpcsweep("advance")
        assert "sinfo" not in cluster.slurm.asked
        end(cluster, 1, "timeout.0", "TIMEOUT")
        end(cluster, 2, "timeout.0", "TIMEOUT")
        cluster.hpcsweep("advance")
        assert "--time=0-00:45:00" in script(cluster, 2)
        end_all(cluster, "timeout.0", "TIMEOUT", array=2)
        cluster.hpcsweep("advance")
        assert cluster.slurm.asked.count("sinfo") == 1
        assert cluster.states() == ["done", "timeout", "timeout"]
        assert reason(cluster, 1).startswith("reached its time limit with 45m; no more may be asked for")

    def test_another_partition_has_another_limit(self, cluster):
        cluster.slurm.time_limit = "45:00"
        cluster.submit(SWEEP.format(TIME).replace("memory: 100M", "memory: 100M, partition: long"))
        end_all(cluster, "timeout.0", "TIMEOUT")
        cluster.hpcsweep("advance")
        assert "--time=0-01:00:00" in script(cluster, 2)

    def test_a_scheduler_that_does_not_tell_its_queues_is_no_hindrance(self, cluster, monkeypatch):
        monkeypatch.setattr(cluster.slurm, "_partitions", lambda argv: cluster.slurm._answer(argv, "", 1, "sinfo: error"))
        cluster.submit(SWEEP.format(TIME))
        end_all(cluster, "timeout.0", "TIMEOUT")
        cluster.hpcsweep("advance")
        assert "--time=0-01:00:00" in script(cluster, 2)

    def test_a_node_that_failed_is_excluded_beside_the_users_own(self, cluster):
        cluster.submit(SWEEP.format("retry: {node_fail: {}}\nslurm: {exclude: n7}"))
        cluster.task_says("0.1.r0.run", "1.1.done.0.1", "2.1.done.0.1")
        cluster.slurm.end("70", word="NODE_FAIL")
        cluster.hpcsweep("advance")
        assert "#SBATCH --exclude=n7,n1\n" in script(cluster, 2)
        assert "its node failed (n1); runs again without n1" not in cluster.status()["tasks"][0]["reason"]
        assert [path.name for path in cluster.run.paths.array(1).events.glob("0.1.*lost")] == ["0.1.r0.lost"]

    def test_nothing_is_repeated_by_those_who_look_often(self, cluster):
        cluster.submit(SWEEP.format(OOM))
        end_all(cluster, "sig.9", "OUT_OF_MEMORY")
        for _ in range(3):
            cluster.hpcsweep("advance")
            cluster.status()
        assert len(cluster.events("planned")) == 2

    def test_cancel_ends_retries_too(self, cluster):
        cluster.submit(SWEEP.format(OOM))
        end_all(cluster, "sig.9", "OUT_OF_MEMORY")
        cluster.hpcsweep("cancel", "run-01")
        cluster.hpcsweep("advance")
        assert len(cluster.events("planned")) == 1
        assert cluster.states() == ["oom"] * 3
        assert cluster.status()["finished"]
        cluster.hpcsweep("resubmit", "--tasks", "0")
        assert cluster.states() == ["pending", "oom", "oom"]

    def test_a_cancelled_retry_is_not_made_again(self, cluster):
        cluster.submit(SWEEP.format(OOM))
        end_all(cluster, "sig.9", "OUT_OF_MEMORY")
        cluster.hpcsweep("advance")
        cluster.hpcsweep("cancel", "run-01")
        cluster.slurm.end("71", word="CANCELLED")
        cluster.hpcsweep("advance")
        assert cluster.states() == ["cancelled"] * 3
        assert len(cluster.events("planned")) == 2

    def test_held_means_held(self, cluster):
        cluster.submit(SWEEP.format(OOM))
        end_all(cluster, "sig.9", "OUT_OF_MEMORY")
        cluster.hpcsweep("hold")
        cluster.hpcsweep("advance")
        assert cluster.events("retry") == []
        cluster.hpcsweep("release")
        assert cluster.states() == ["pending"] * 3

    def test_a_silent_scheduler_is_asked_later(self, cluster):
        cluster.submit(SWEEP.format(OOM))
        end(cluster, 0, "sig.9", "OUT_OF_MEMORY")
        cluster.slurm.is_silent = True
        cluster.hpcsweep("advance", code=4)
        assert cluster.events("retry") == []

    def test_a_feeder_comes_back_as_long_as_something_may_run_again(self, cluster):
        cluster.submit(SWEEP.format(OOM), "--feed")
        assert len(cluster.events("feeder")) == 2  # the intent, and the id
        plain = [job for job, facts in cluster.slurm.jobs.items() if "feed" not in facts.tag]
        assert plain == ["70"]
        (feeder,) = [job for job, facts in cluster.slurm.jobs.items() if "feed" in facts.tag]
        end_all(cluster, "sig.9", "OUT_OF_MEMORY")
        cluster.slurm.end(feeder)
        cluster.now += 600
        cluster.hpcsweep("advance")
        assert cluster.states() == ["pending"] * 3
        live = [facts.tag for facts in cluster.slurm.jobs.values() if facts.states and "feed" in facts.tag]
        assert len(live) == 1

    def test_no_feeder_without_rules(self, cluster):
        cluster.submit(SWEEP.format(""), "--feed")
        assert cluster.events("feeder") == []

    def test_no_room_for_a_retry(self, cluster):
        cluster.submit(SWEEP.format(OOM))
        end_all(cluster, "sig.9", "OUT_OF_MEMORY")
        cluster.slurm.submit_limit = 2
        cluster.slurm.tells_limits = True
        cluster.now += 100_000
        cluster.hpcsweep("advance")
        assert cluster.states() == ["pending", "pending", "oom"]
        assert "the site lets you queue 2 jobs" in reason(cluster, 2)
        assert not cluster.status()["finished"]
        cluster.slurm.submit_limit = None
        end_all(cluster, "done.0", "COMPLETED", array=2)
        cluster.hpcsweep("advance")
        assert cluster.states() == ["done", "done", "pending"]
        assert "--mem=200M" in script(cluster, 3)

    def test_memory_that_nobody_asked_for_cannot_be_doubled(self, cluster, capsys):
        for memory in ("", "memory: site, "):
            text = SWEEP.format(OOM).replace("memory: 100M, ", memory)
            cluster.submit(text, code=1)
            said = capsys.readouterr().err
            assert re.search(r"sweep.yaml:\d+: retry.oom changes the memory, and the tasks ask for none", said)
            assert "set resources.memory" in said
        assert not (cluster.folder / "runs").exists()

    def test_a_run_from_before_there_were_retries(self, cluster):
        cluster.submit(SWEEP.format(""))
        path = cluster.run.paths.run_json
        data = json.loads(path.read_text())
        del data["settings"]["retry"]
        path.write_text(json.dumps(data))
        end_all(cluster, "sig.9", "OUT_OF_MEMORY")
        cluster.hpcsweep("advance")
        assert cluster.states() == ["oom"] * 3
        assert cluster.status()["finished"]


class TestByHand:
    def test_other_resources(self, cluster, capsys):
        cluster.submit(SWEEP.format(""))
        end(cluster, 0, "done.0")
        end(cluster, 1, "sig.9", "OUT_OF_MEMORY")
        end(cluster, 2, "timeout.0", "TIMEOUT")
        words = ("--memory", "x2", "--time", "+90m", "--cpus", "8", "--gpus", "2", "--partition", "long")
        nodes = ("--exclude-node", "n07,n[1-3]", "--exclude-node", "n9")
        cluster.hpcsweep("resubmit", *words, *nodes, "--state", "oom", "--state", "timeout,lost", "--dry-run")
        said = capsys.readouterr().out
        assert "would run again 2: tasks 1-2" in said
        assert "  tasks 1-2: time=30m memory=100M -> time=2h memory=200M cpus=8 gpus=2 partition=long" in said
        assert cluster.events("resubmit") == []
        cluster.hpcsweep("resubmit", *words, *nodes, "--state", "oom", "--state", "timeout,lost")
        text = script(cluster, 2)
        for line in ("--time=0-02:00:00", "--mem=200M", "--cpus-per-task=8", "--gres=gpu:2", "--partition=long"):
            assert f"#SBATCH {line}\n" in text
        assert "#SBATCH --exclude=n07,n[1-3],n9\n" in text
        assert cluster.run.ledger.arrays[2].tasks == [1, 2]

    def test_only_what_is_named_changes_and_it_stays_so(self, cluster):
        cluster.submit(SWEEP.format(""))
        end_all(cluster, "done.1", "FAILED")
        cluster.hpcsweep("resubmit", "--tasks", "1", "--memory", "1G")
        end_all(cluster, "done.1", "FAILED", array=2)
        cluster.hpcsweep("resubmit")
        requests = {array.tasks[0]: array.request.memory_bytes for array in list(cluster.run.ledger.arrays.values())[2:]}
        assert requests == {0: 100 * M, 1: 1024 * M}
        assert [array.tasks for array in list(cluster.run.ledger.arrays.values())[2:]] == [[0, 2], [1]]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--memory", "lots"), "no amount of memory"),
            (("--memory", "4"), "has no unit"),
            (("--time", "x0"), "no larger amount"),
            (("--partition", "a b"), "one word"),
            (("--exclude-node", "n1;rm"), "is no node"),
            (("--exclude-node", ","), "names no nodes"),
        ],
    )
    def test_what_cannot_be_is_said_before_anything_is_written(self, cluster, capsys, words, said):
        cluster.submit(SWEEP.format(""))
        end_all(cluster, "done.1", "FAILED")
        capsys.readouterr()
        cluster.hpcsweep("resubmit", *words, code=1)
        assert said in capsys.readouterr().err
        assert cluster.events("resubmit") == []

    def test_what_contradicts_the_schedulers_own_options(self, cluster, capsys):
        cluster.submit(SWEEP.format("slurm: {gres: 'gpu:1'}"))
        end_all(cluster, "done.1", "FAILED")
        cluster.hpcsweep("resubmit", "--gpus", "2", code=1)
        assert "say the same thing to Slurm" in capsys.readouterr().err
        assert cluster.events("resubmit") == []

    def test_what_contradicts_the_users_own_script(self, cluster, capsys):
        (cluster.folder / "job.sh").write_text("#!/bin/bash\n#SBATCH --cpus-per-task=2\n{{ hpcsweep }}\n")
        cluster.submit(SWEEP.format("template: job.sh"))
        end_all(cluster, "done.1", "FAILED")
        cluster.hpcsweep("resubmit", "--cpus", "4", code=1)
        assert "cpus" in capsys.readouterr().err
        assert cluster.events("resubmit") == []

    def test_nothing_to_multiply(self, cluster, capsys):
        cluster.submit(SWEEP.format("").replace("memory: 100M, ", ""))
        end_all(cluster, "done.1", "FAILED")
        cluster.hpcsweep("resubmit", "--memory", "x2", code=1)
        assert "--memory: the tasks asked for no memory" in capsys.readouterr().err
        cluster.hpcsweep("resubmit", "--memory", "2G")
        assert "--mem=2048M" in script(cluster, 2)


def test_a_lost_nodes_tasks_run_again_elsewhere_and_once(make_site):
    """On a rehearsed Slurm: one of two nodes is lost with what runs on it."""
    site = make_site()
    sweep = """
command: |
  echo "$HPCSWEEP_TASK.$HPCSWEEP_ATTEMPT.$HPCSWEEP_RESTART" >>starts
  until test -e gate; do sleep 0.1; done
  echo "$HPCSWEEP_TASK.$HPCSWEEP_ATTEMPT" >>ends
space: {x: [1, 2, 3, 4]}
resources: {cpus: 1, memory: 10M, time: 5m}
slurm: {no-requeue: true}
retry: {node_fail: {}}
"""
    (site.folder / "sweep.yaml").write_text(f"scheduler: slurm\n{sweep}")
    (site.folder / "session.sh").write_text(
        """
set -e
python -m hpcsweep submit sweep.yaml
until [[ $(wc -l <starts) = 4 ]]; do sleep 0.1; done
python -m hpcsweep rehearse --fault node-lost=n1
until python -m hpcsweep advance | grep submitted; do sleep 0.2; done
touch gate
python -m hpcsweep wait
python -m hpcsweep status --attempts --json >status.json
"""
    )
    rehearse = [sys.executable, "-m", "hpcsweep", "rehearse", "slurm", "--cpus", "2", "--nodes", "2"]
    ended = subprocess.run(
        [*rehearse, "--", "bash", "session.sh"], cwd=site.folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    tasks = json.loads((site.folder / "status.json").read_text())["tasks"]
    attempts = {
        task["index"]: [(one["state"], one["request"].get("exclude_nodes")) for one in task["attempts"]] for task in tasks
    }
    lost = [index for index, some in attempts.items() if len(some) == 2]
    assert len(lost) == 2
    for index, some in attempts.items():
        assert some == ([("node_fail", None), ("done", ["n1"])] if index in lost else [("done", None)])
    assert sorted(site.starts("ends")) == sorted(f"{index}.{2 if index in lost else 1}" for index in range(4))
    assert len(site.starts()) == 6


class TestOnThisMachine:
    """Nobody watches: the queue advances the run by itself."""

    def submit(self, site, await_that, text: str, *words: str) -> dict:
        site.sweep(text)
        ended = site("submit", "sweep.yaml", "--jobs", "1", *words)
        assert ended.code == 0, ended.said
        await_that(lambda: site.status()["finished"], "the run has ended")
        return site.status()

    def test_a_time_limit_is_doubled_until_it_is_enough(self, site, await_that):
        text = """
command: |
  echo "$HPCSWEEP_TASK.$HPCSWEEP_ATTEMPT {{ resources.time }}" >>starts
  if test {{ resources.time_s }} -lt 4; then exec sleep 60; fi
space: {x: [1]}
resources: {time: 1s}
retry: {timeout: {time: x2, up_to: 5s}, attempts: 5}
finally: {command: echo last >>starts, when: ended}
"""
        status = self.submit(site, await_that, text)
        assert status["counts"] == {"done": 1}
        assert (site.folder / "starts").read_text().split("\n")[:-1] == ["0.1 1s", "0.2 2s", "0.3 4s", "last"]
        told = json.loads(site("status", "--tasks", "0", "--attempts", "--json").said)["tasks"][0]["attempts"]
        assert [(one["state"], one["request"]["time_limit_s"]) for one in told] == [("timeout", 1), ("timeout", 2), ("done", 4)]
        assert site("status", "--attempts").said.count("timeout") == 2

    def test_what_runs_again_is_no_failure_to_the_tasks_themselves(self, site, await_that):
        text = """
command: |
  echo "$HPCSWEEP_TASK.$HPCSWEEP_ATTEMPT" >>starts
  test "$HPCSWEEP_ATTEMPT" = 2
space: {x: [1, 2, 3, 4]}
max_failures: 2
retry: {failed: {}, attempts: 2}
"""
        status = self.submit(site, await_that, text)
        assert status["counts"] == {"done": 4}
        assert len(site.starts()) == 8
        assert not (site.run / "held-back").exists()

    def test_what_has_failed_at_its_last_attempt_is_one(self, site, await_that):
        text = """
command: |
  echo "$HPCSWEEP_TASK.$HPCSWEEP_ATTEMPT" >>starts
  exit 1
space: {x: [1, 2, 3, 4]}
max_failures: 2
retry: {failed: {}, attempts: 2}
"""
        site.sweep(text)
        assert site("submit", "sweep.yaml", "--jobs", "1").code == 0
        held_back = site.run / "held-back"
        await_that(held_back.exists, "too many have failed")
        await_that(lambda: site.status()["finished"], "nothing moves any more")
        assert site.starts() == sorted([f"{task}.1" for task in range(4)] + ["0.2", "1.2"])
