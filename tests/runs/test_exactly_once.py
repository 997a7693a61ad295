"""Submissions that got no answer, came twice or were forgotten: each is settled, and nothing is submitted that may be there."""

from __future__ import annotations

import pytest

THREE = "command: echo {{ x }}\nspace: {x: [1, 2, 3]}\n"
WAIT = 1000


def sizes(cluster) -> dict[str, list[int]]:
    """Job -> its elements that live."""
    return {job: sorted(facts.states) for job, facts in cluster.slurm.jobs.items()}


def reasons(cluster) -> list[str]:
    return [task["reason"] for task in cluster.status()["tasks"]]


class TestNoAnswer:
    def test_it_is_not_repeated_before_its_time_and_the_user_is_told_when(self, cluster, capsys):
        cluster.slurm.submission = "lost in silence"
        cluster.submit(THREE, code=4)
        cluster.slurm.submission = "taken"
        cluster.now += 60
        cluster.hpcsweep("advance")
        assert sizes(cluster) == {}
        assert "submitted again in 40 s" in capsys.readouterr().out
        assert "submitted again in 40 s" in reasons(cluster)[0]
        cluster.now += 41
        assert "the next `hpcsweep advance`" in reasons(cluster)[0]
        cluster.hpcsweep("advance")
        assert sizes(cluster) == {"70": [0, 1, 2]}

    def test_in_a_hurry_it_is_repeated_at_once_and_what_comes_late_is_cancelled(self, cluster):
        cluster.slurm.submission = "taken late"
        cluster.submit(THREE, code=4)
        cluster.slurm.submission = "taken"
        cluster.hpcsweep("advance", "--now")
        assert sizes(cluster) == {"71": [0, 1, 2]}
        cluster.slurm.arrive()
        cluster.hpcsweep("advance")
        assert sizes(cluster) == {"70": [], "71": [0, 1, 2]}
        assert cluster.states() == ["pending"] * 3
        assert [event["job"] for event in cluster.events("duplicate")] == ["70"]
        cluster.hpcsweep("advance")
        assert len(cluster.slurm.told) == 1

    def test_nothing_is_repeated_while_the_scheduler_is_silent(self, cluster):
        cluster.slurm.submission = "lost in silence"
        cluster.submit(THREE, code=4)
        cluster.slurm.is_silent = True
        cluster.now += WAIT
        cluster.hpcsweep("advance", "--now", code=4)
        assert [event["event"] for event in cluster.run.journal.events].count("submitting") == 1
        assert cluster.states() == ["submitting"] * 3

    def test_after_a_silent_submission_a_refusal_in_the_history_is_no_acceptance(self, cluster):
        cluster.slurm.submission = "lost in silence"
        cluster.submit(THREE, code=4)
        cluster.slurm.refusals.append(cluster_tag(cluster))
        cluster.hpcsweep("advance")
        assert cluster.states() == ["submitting"] * 3
        cluster.slurm.submission = "taken"
        cluster.now += WAIT
        cluster.hpcsweep("advance")
        assert cluster.states() == ["pending"] * 3


def cluster_tag(cluster) -> str:
    return cluster.run.ledger.arrays[1].tag


class TestTwice:
    @pytest.fixture
    def twice(self, cluster):
        """Two jobs of one array in the queue, of which nobody has an id on record."""
        cluster.slurm.submission = "taken late"
        cluster.submit(THREE, code=4)
        cluster.slurm.submission = "taken in silence"
        cluster.hpcsweep("advance", "--now", code=4)
        cluster.slurm.arrive()
        return cluster

    def test_the_one_that_owns_claims_counts(self, twice):
        twice.slurm.start("71", 1)
        twice.task_says("1.1.r0.run", job="71")
        twice.hpcsweep("advance")
        assert sizes(twice) == {"70": [], "71": [0, 1, 2]}
        assert twice.states() == ["pending", "running", "pending"]

    def test_where_both_own_claims_each_goes_on_with_what_it_runs(self, twice):
        twice.slurm.start("70", 0)
        twice.slurm.start("71", 1)
        twice.task_says("0.1.r0.run", job="70")
        twice.task_says("1.1.r0.run", job="71")
        twice.hpcsweep("advance")
        assert twice.states() == ["running", "running", "pending"]
        assert sum(map(len, sizes(twice).values())) == 4  # the one that counts, and the other's own task
        jobs = [task["job"] for task in twice.status()["tasks"]]
        assert jobs[:2] == ["70_0", "71_1"]
        twice.hpcsweep("cancel", "run-01")
        assert {words[1] for words in twice.slurm.told[-2:]} == {"70", "71"}

    def test_a_task_of_the_cancelled_one_that_had_started_is_not_lost(self, twice):
        twice.slurm.start("71", 2)
        twice.task_says("2.1.r0.run", job="71")
        twice.slurm.start("70", 0)
        twice.task_says("0.1.r0.run", job="70")
        twice.hpcsweep("advance")
        for job in ("70", "71"):
            twice.slurm.end(job)
        twice.task_says("0.1.done.0.1", job="70")
        twice.task_says("2.1.done.0.1", job="71")
        states = twice.states()
        assert (states[0], states[2]) == ("done", "done")


class TestForgotten:
    def test_a_whole_array_is_submitted_again_under_its_own_name(self, cluster):
        cluster.submit(THREE)
        cluster.slurm.forget("70")
        assert cluster.states() == ["unknown"] * 3
        cluster.now += 91
        assert cluster.states() == ["submitting"] * 3
        assert "nothing of job 70" in reasons(cluster)[0]
        cluster.now += 10
        cluster.hpcsweep("advance")
        assert sizes(cluster) == {"71": [0, 1, 2]}
        assert cluster.slurm.jobs["71"].tag == cluster_tag(cluster)
        assert cluster.states() == ["pending"] * 3
        assert {task["attempt"] for task in cluster.status()["tasks"]} == {1}

    def test_not_before_a_submission_could_no_longer_come_late(self, cluster):
        (cluster.folder / "sweep.yaml").write_text(f"scheduler: slurm\nsettle: 10m\n{THREE}")
        cluster.hpcsweep("submit", str(cluster.folder / "sweep.yaml"))
        cluster.slurm.forget("70")
        cluster.states()
        cluster.now += 100
        cluster.hpcsweep("advance")
        cluster.hpcsweep("advance")
        assert sizes(cluster) == {}
        cluster.now += 501
        cluster.hpcsweep("advance")
        assert sizes(cluster) == {"71": [0, 1, 2]}

    def test_in_a_hurry_at_once(self, cluster, capsys):
        cluster.submit(THREE)
        cluster.slurm.forget("70")
        cluster.hpcsweep("advance", "--now")
        assert sizes(cluster) == {"71": [0, 1, 2]}
        assert "wait" not in capsys.readouterr().out

    def test_an_id_that_was_given_to_another_job_is_not_believed_and_not_cancelled(self, cluster):
        cluster.submit(THREE)
        stranger = cluster.slurm.jobs["70"]
        stranger.tag = "somebody-elses"
        cluster.hpcsweep("advance", "--now")
        assert cluster.slurm.jobs["71"].tag == cluster_tag(cluster)
        assert cluster.states() == ["pending"] * 3

    def test_only_the_elements_that_are_gone_are_submitted_again(self, cluster):
        cluster.submit(THREE)
        cluster.task_says("0.1.done.0.1", "1.1.r0.run")
        cluster.slurm.end("70", 0)
        cluster.slurm.start("70", 1)
        cluster.slurm.forget("70", 2)
        cluster.hpcsweep("advance", "--now")
        assert sizes(cluster) == {"70": [1], "71": [2]}
        assert cluster.states() == ["done", "running", "pending"]
        assert [task["job"] for task in cluster.status()["tasks"]] == ["70_0", "70_1", "71_2"]
        cluster.hpcsweep("advance")
        assert sizes(cluster) == {"70": [1], "71": [2]}

    def test_a_part_that_got_no_answer_is_adopted_by_its_new_id(self, cluster):
        cluster.submit(THREE)
        cluster.task_says("0.1.done.0.1", "1.1.r0.run")
        cluster.slurm.end("70", 0)
        cluster.slurm.start("70", 1)
        cluster.slurm.forget("70", 2)
        cluster.slurm.submission = "taken in silence"
        cluster.hpcsweep("advance", "--now", code=4)
        assert cluster.states() == ["done", "running", "pending"]
        cluster.hpcsweep("advance")
        assert sizes(cluster) == {"70": [1], "71": [2]}
        assert [task["job"] for task in cluster.status()["tasks"]] == ["70_0", "70_1", "71_2"]

    def test_a_part_that_was_refused_waits_for_the_next_try(self, cluster):
        cluster.submit(THREE)
        cluster.task_says("0.1.done.0.1", "1.1.r0.run")
        cluster.slurm.end("70", 0)
        cluster.slurm.start("70", 1)
        cluster.slurm.forget("70", 2)
        cluster.slurm.submission = "limited"
        cluster.hpcsweep("advance", "--now")
        assert cluster.states() == ["done", "running", "new"]
        cluster.slurm.submission = "taken"
        cluster.hpcsweep("advance")
        assert sizes(cluster) == {"70": [1], "71": [2]}

    def test_what_vanishes_each_time_is_lost_in_the_end(self, cluster):
        cluster.submit(THREE)
        for _time in range(4):
            cluster.slurm.jobs.clear()
            cluster.hpcsweep("advance", "--now")
            cluster.now += 91
        assert cluster.states() == ["lost"] * 3
        assert cluster.slurm.ids == 73
        cluster.hpcsweep("resubmit")
        assert cluster.states() == ["pending"] * 3

    def test_without_a_history_an_element_of_an_array_that_ran_is_lost(self, cluster):
        cluster.slurm.has_history = False
        cluster.submit(THREE)
        cluster.task_says("0.1.done.0.1")
        cluster.slurm.forget("70")
        cluster.states()
        cluster.now += 91
        assert cluster.states() == ["done", "lost", "lost"]

    def test_what_was_cancelled_by_the_scheduler_s_own_command_stays_so(self, cluster):
        cluster.submit(THREE)
        cluster.slurm.end("70", word="CANCELLED by 1001")
        cluster.states()
        cluster.now += 91
        cluster.hpcsweep("advance", "--now")
        assert cluster.states() == ["cancelled"] * 3
        assert cluster.slurm.ids == 71

    def test_what_the_user_cancelled_is_not_submitted_again(self, cluster):
        cluster.submit(THREE)
        cluster.slurm.forget("70")
        cluster.hpcsweep("cancel", "run-01")
        cluster.now += WAIT
        cluster.hpcsweep("advance", "--now")
        assert cluster.states() == ["cancelled"] * 3
        assert sizes(cluster) == {}

    def test_a_held_run_submits_nothing(self, cluster):
        cluster.submit(THREE)
        cluster.hpcsweep("hold")
        cluster.slurm.forget("70")
        cluster.hpcsweep("advance", "--now")
        assert sizes(cluster) == {}
        cluster.hpcsweep("release")
        cluster.hpcsweep("advance", "--now")
        assert sizes(cluster) == {"71": [0, 1, 2]}


class TestHeld:
    def test_what_is_found_in_the_queue_of_a_held_run_is_held_there(self, cluster):
        cluster.slurm.submission = "taken late"
        cluster.submit(THREE, code=4)
        cluster.hpcsweep("hold")
        cluster.slurm.arrive()
        cluster.slurm.told.clear()
        cluster.hpcsweep("advance")
        assert [words[1:3] for words in cluster.slurm.told] == [("hold", f"jobname={cluster_tag(cluster)}")]


def test_a_requeue_by_hand_after_the_end_is_seen(cluster):
    cluster.submit(THREE)
    cluster.task_says("0.1.r0.run")
    cluster.slurm.end("70", 0, word="NODE_FAIL")
    cluster.hpcsweep("advance")
    assert cluster.states() == ["node_fail", "pending", "pending"]
    cluster.slurm.jobs["70"].states[0] = "RUNNING"
    assert cluster.states()[0] == "running"


def test_a_status_asks_at_most_twice(cluster):
    cluster.submit(THREE + "array: {mode: jobs}\n")
    cluster.slurm.end("70")
    cluster.slurm.asked.clear()
    cluster.status()
    assert sorted(cluster.slurm.asked) == ["sacct", "squeue"]
