"""Whole turns against a scripted Slurm: what is journaled, what is told, what survives."""

from __future__ import annotations

import pytest

from hpcsweep.errors import HpcsweepError
from hpcsweep.runs.advance import _Act
from hpcsweep.runs.look import read_status

THREE = "command: echo {{ x }}\nspace: {x: [1, 2, 3]}\n"
STARTED = ("0.1.r0.run", "1.1.r0.run", "2.1.r0.run")


class TestGone:
    def test_a_job_that_was_back_in_between_is_waited_for_anew(self, cluster):
        cluster.submit(THREE)
        cluster.slurm.has_history = False
        cluster.task_says(*STARTED)
        states = dict(cluster.slurm.jobs["70"].states)
        cluster.slurm.jobs["70"].states.clear()  # one answer that does not know it
        assert cluster.states() == ["unknown"] * 3
        cluster.now += 60
        cluster.slurm.jobs["70"].states.update(states)
        assert cluster.states() == ["pending"] * 3
        cluster.now += 60
        cluster.slurm.jobs["70"].states.clear()
        assert cluster.states() == ["unknown"] * 3
        cluster.now += 91
        assert cluster.states() == ["lost"] * 3

    def test_each_host_counts_by_its_own_clock(self, cluster):
        cluster.submit(THREE)
        cluster.slurm.has_history = False
        cluster.task_says(*STARTED)
        cluster.slurm.jobs["70"].states.clear()
        cluster.now -= 1000  # the other login node's clock is late
        cluster.host = "login2"
        assert cluster.states() == ["unknown"] * 3
        cluster.now += 1000
        cluster.host = "login1"
        assert cluster.states() == ["unknown"] * 3
        cluster.now += 91
        assert cluster.states() == ["lost"] * 3

    def test_a_clock_that_was_put_back_does_not_make_it_wait_for_ever(self, cluster):
        cluster.submit(THREE)
        cluster.slurm.has_history = False
        cluster.task_says(*STARTED)
        cluster.slurm.jobs["70"].states.clear()
        assert cluster.states() == ["unknown"] * 3
        cluster.now -= 100_000
        assert cluster.states() == ["unknown"] * 3
        cluster.now += 91
        assert cluster.states() == ["lost"] * 3

    def test_who_may_not_write_remembers_while_waiting(self, cluster, monkeypatch):
        cluster.submit(THREE)
        cluster.slurm.has_history = False
        cluster.task_says(*STARTED)
        cluster.slurm.jobs["70"].states.clear()
        monkeypatch.setattr("hpcsweep.store.cache.put", lambda *_arguments, **_more: False)
        run = cluster.run
        assert not read_status(run).is_finished
        cluster.now += 91
        assert read_status(run).is_finished


class TestUncertain:
    def test_one_that_was_taken_in_silence_is_adopted(self, cluster):
        cluster.slurm.submission = "taken in silence"
        cluster.submit(THREE, code=4)
        assert cluster.states() == ["pending"] * 3
        cluster.hpcsweep("advance", "--quiet")
        assert len(cluster.slurm.jobs) == 1
        assert cluster.status()["arrays"][0]["job"] == "70"

    def test_one_that_came_and_went_is_found_in_the_history(self, cluster):
        cluster.slurm.submission = "taken in silence"
        cluster.submit(THREE, code=4)
        cluster.slurm.end("70", word="NODE_FAIL")
        cluster.slurm.submission = "taken"
        cluster.now += 1000
        cluster.hpcsweep("advance", "--quiet")
        assert len(cluster.slurm.jobs) == 1
        assert cluster.states() == ["node_fail"] * 3

    def test_cancelled_it_is_never_repeated(self, cluster):
        cluster.slurm.submission = "lost in silence"
        cluster.submit(THREE, code=4)
        assert cluster.states() == ["submitting"] * 3
        cluster.hpcsweep("cancel", "run-01")
        assert cluster.states() == ["cancelled"] * 3
        cluster.slurm.submission = "taken"
        cluster.now += 1000
        cluster.hpcsweep("advance", "--quiet")
        assert cluster.slurm.jobs == {}
        assert cluster.status()["finished"]

    def test_after_is_kept_for_the_repetition(self, cluster):
        cluster.slurm.submission = "lost in silence"
        cluster.submit(THREE, "--after", "4711", code=4)
        cluster.slurm.submission = "taken"
        cluster.now += 1000
        cluster.hpcsweep("advance", "--quiet")
        assert cluster.slurm.jobs["70"].waits_for == ["4711"]


class TestCancel:
    def test_refused_tasks_that_were_cancelled_are_not_submitted_later(self, cluster):
        cluster.submit(THREE)
        cluster.task_says("0.1.done.1.1", "1.1.done.1.1", "2.1.done.1.1")
        cluster.slurm.end("70", word="FAILED")
        cluster.slurm.submission = "busy"
        cluster.hpcsweep("resubmit")
        assert cluster.states() == ["new"] * 3
        cluster.hpcsweep("cancel", "run-01", "--tasks", "0,1")
        assert cluster.states() == ["cancelled", "cancelled", "new"]
        cluster.slurm.submission = "taken"
        cluster.hpcsweep("advance", "--quiet")
        assert cluster.states() == ["cancelled", "cancelled", "pending"]
        events = cluster.run.paths.array(2).events
        assert {"0.2", "1.2"} <= {path.name for path in events.iterdir()}  # nobody can claim them any more
        cluster.hpcsweep("resubmit", "--state", "cancelled")
        assert cluster.states() == ["pending"] * 3

    def test_every_array_is_marked_before_the_scheduler_is_told(self, cluster):
        cluster.submit("command: echo {{ x }}\nspace: {x: [1, 2, 3]}\nresources: {cpus: '{{ x }}'}\n")
        cluster.slurm.is_deaf = True
        cluster.hpcsweep("cancel", "run-01", code=4)
        assert len(cluster.slurm.told) == 3
        assert all((cluster.run.paths.array(number).events / "cancel").exists() for number in (1, 2, 3))

    def test_what_the_scheduler_did_not_take_is_told_again_by_advance(self, cluster):
        cluster.submit(THREE)
        cluster.slurm.is_deaf = True
        cluster.hpcsweep("cancel", "run-01", code=4)
        cluster.slurm.is_deaf = False
        cluster.slurm.told.clear()
        cluster.hpcsweep("advance")
        assert cluster.slurm.told == []  # it may be ending
        cluster.now += 61
        cluster.hpcsweep("advance")
        assert [words[1] for words in cluster.slurm.told] == ["70"]

    def test_one_that_was_killed_after_its_wish_is_finished_by_advance(self, cluster, monkeypatch):
        cluster.submit(THREE)

        def killed(*_arguments):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("hpcsweep.runs.cancelling.mark_cancel", killed)
            cluster.hpcsweep("cancel", "run-01", "--tasks", "1", code=130)
        assert cluster.slurm.told == []
        cluster.hpcsweep("advance", "--now")
        assert (cluster.run.paths.array(1).events / "1.1.cancel").exists()
        assert cluster.slurm.told[0][-1] == "70_[1]"


class TestThrottle:
    def test_arrays_side_by_side_share_it(self, cluster):
        cluster.submit("command: echo {{ x }}\nspace: {x: {range: [0, 8]}}\nresources: {cpus: '{{ x % 3 + 1 }}'}\n")
        cluster.hpcsweep("throttle", "run-01", "7")
        shares = [words[-1].rpartition("=")[2] for words in cluster.slurm.told]
        assert shares == ["3", "2", "2"]

    def test_arrays_one_after_the_other_have_all_of_it(self, cluster):
        cluster.submit(
            "command: echo {{ x }}\nspace: {x: {range: [0, 8]}}\nresources: {cpus: '{{ x % 3 + 1 }}'}\narray: {at_once: 2}\n"
        )
        cluster.hpcsweep("throttle", "run-01", "7")
        assert [words[-1].rpartition("=")[2] for words in cluster.slurm.told] == ["7", "7", "7"]

    def test_single_jobs_are_not_told(self, cluster):
        cluster.submit(THREE + "array: {mode: jobs}\n")
        cluster.hpcsweep("throttle", "run-01", "1")
        assert cluster.slurm.told == []


class TestRelease:
    MANY = "command: echo {{ x }}\nspace: {x: [1, 2, 3, 4]}\nmax_failures: 2\n"

    @pytest.fixture
    def held_back(self, cluster):
        cluster.submit(self.MANY)
        cluster.task_says("0.1.done.1.1", "1.1.done.1.1")
        cluster.run.paths.held_back.touch()
        cluster.slurm.end("70")
        return cluster

    def test_interrupted_before_the_marker_is_gone_it_submits_nothing_that_would_come_back(self, held_back, monkeypatch):
        def full(*_arguments):
            raise HpcsweepError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr("hpcsweep.runs.control.write_atomically", full)
            held_back.hpcsweep("release", code=1)
        held_back.hpcsweep("advance", "--quiet")
        assert len(held_back.slurm.jobs) == 1
        held_back.hpcsweep("release")
        assert held_back.states() == ["failed", "failed", "pending", "pending"]

    def test_of_a_hold_accepts_no_failures(self, cluster):
        cluster.submit(self.MANY)
        cluster.task_says("0.1.done.1.1")
        cluster.hpcsweep("hold")
        cluster.hpcsweep("release")
        assert "failures" not in cluster.events("released")[0]


class TestFinally:
    SWEEP = THREE + "finally: {command: echo all, when: ended}\n"

    def test_is_submitted_with_the_tasks_and_waits_for_them(self, cluster):
        cluster.submit(self.SWEEP)
        assert [job.waits_for for job in cluster.slurm.jobs.values()] == [[], ["70"]]

    def test_runs_whatever_became_of_the_tasks(self, cluster):
        cluster.submit(self.SWEEP)
        assert "hpcsweep_condition=''" in cluster.run.paths.array(2).script.read_text()

    def test_is_submitted_anew_when_tasks_run_again_before_it(self, cluster):
        cluster.submit(self.SWEEP)
        cluster.task_says("0.1.done.1.1")
        cluster.slurm.end("70", 0, word="FAILED")
        cluster.hpcsweep("resubmit")
        assert [job.waits_for for job in cluster.slurm.jobs.values()] == [[], ["70"], [], ["70", "72"]]
        assert (cluster.run.paths.array(2).events / "finally.1").exists()  # the first can do nothing any more

    def test_that_counts_knows_which_attempts_count(self, cluster):
        cluster.submit(self.SWEEP + "max_failures: 3\n")
        assert "hpcsweep_total=3\n" in cluster.run.paths.array(2).script.read_text()
        cluster.task_says("0.1.done.1.1")
        cluster.slurm.end("70", 0, word="FAILED")
        cluster.hpcsweep("resubmit")
        assert "hpcsweep_attempts=([0]=2)\n" in cluster.run.paths.array(4).script.read_text()

    def test_that_came_too_early_can_be_cancelled(self, cluster):
        cluster.submit(self.SWEEP.replace("ended", "done"))
        cluster.task_says("0.1.done.1.1", "1.1.done.0.1", "2.1.done.0.1")
        cluster.slurm.end("70")
        cluster.slurm.end("71")
        assert cluster.status()["finally"]["state"] == "new"
        cluster.hpcsweep("cancel", "run-01")
        assert cluster.status()["finally"]["state"] == "cancelled"
        cluster.hpcsweep("advance", "--quiet")
        assert len(cluster.slurm.jobs) == 2

    def test_that_failed_is_run_again_by_resubmit(self, cluster):
        cluster.submit(self.SWEEP)
        cluster.task_says("0.1.done.0.1", "1.1.done.0.1", "2.1.done.0.1")
        cluster.task_says("finally.1.done.1.1", array=2)
        cluster.slurm.end("70")
        cluster.slurm.end("71", word="FAILED")
        assert cluster.status()["finished"]
        cluster.hpcsweep("resubmit")
        assert cluster.status()["finally"]["state"] == "pending"
        assert len(cluster.slurm.jobs) == 3


def test_a_disk_that_is_full_before_anything_is_handed_over_leaves_no_run(cluster, monkeypatch):
    def full(*_arguments):
        raise HpcsweepError("the disk is full")

    monkeypatch.setattr(_Act, "_plan_array", full)
    cluster.submit(THREE, code=1)
    assert not (cluster.folder / "runs").exists()


def test_what_was_handed_over_is_never_thrown_away(cluster, monkeypatch):
    real = cluster.slurm._submit

    def then_full(argv):
        answer = real(argv)
        monkeypatch.setattr("hpcsweep.store.journal.write_fully", full)
        return answer

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    cluster.slurm._submit = then_full
    cluster.submit(THREE, code=1)
    monkeypatch.undo()
    assert (cluster.folder / "runs" / "run-01" / "run.json").exists()


class TestAfter:
    def test_a_run_whose_tasks_have_no_jobs_yet_cannot_be_waited_for(self, cluster, capsys):
        cluster.submit(THREE + "canary: 1\n")
        cluster.submit(THREE, "--after", "run-01", code=1)
        assert "not all of its tasks" in capsys.readouterr().err
        cluster.hpcsweep("cancel", "run-01")
        cluster.submit(THREE, "--after", "run-01")
        assert cluster.slurm.jobs["71"].waits_for == ["70"]
