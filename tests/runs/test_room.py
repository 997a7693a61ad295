"""A run that is larger than what may be queued is fed piece by piece, whether or not the site says how much that is."""

from __future__ import annotations

import json

import pytest

SWEEP = "command: echo {{{{ x }}}}\nspace: {{x: {{range: [1, {}]}}}}\n{}"


def ten(more: str = "", tasks: int = 10) -> str:
    return SWEEP.format(tasks, more)


def queued_tasks(cluster) -> list[int]:
    """The tasks that the scheduler has, in order."""
    arrays = cluster.run.ledger.arrays.values()
    jobs = {array.job: array for array in arrays if array.job}
    return sorted(
        jobs[job].tasks[element] for job, facts in cluster.slurm.jobs.items() if job in jobs for element in facts.states
    )


def finish(cluster, *jobs: str) -> None:
    """All that is queued of these jobs (default: of all) runs, and is done."""
    for array in list(cluster.run.ledger.arrays.values()):
        if array.job in cluster.slurm.jobs and (not jobs or array.job in jobs):
            for element in list(cluster.slurm.jobs[array.job].states):
                task = array.tasks[element]
                name = "finally" if task < 0 else task
                cluster.task_says(f"{name}.{array.attempt_of(task)}.done.0.1", array=array.number)
                cluster.slurm.end(array.job, element)


@pytest.fixture(params=["told", "learned"])
def limited(cluster, request):
    """Four elements may be queued; the site says so, or one learns it from its refusals."""
    cluster.slurm.submit_limit = 4
    cluster.slurm.tells_limits = request.param == "told"
    return cluster


class TestPiecesOfARun:
    def test_what_fits_is_submitted_and_the_rest_waits_for_room(self, limited):
        limited.submit(ten())
        assert queued_tasks(limited) == [0, 1, 2, 3]
        assert limited.states() == ["pending"] * 4 + ["new"] * 6
        reasons = {task["reason"] for task in limited.status()["tasks"][4:]}
        assert len(reasons) == 1
        assert reasons.pop().startswith("limits: the site let")
        assert not limited.status()["finished"]

    def test_advance_with_no_room_does_nothing_and_is_content(self, limited, capsys):
        limited.submit(ten())
        before = limited.run.journal.events
        tried = limited.slurm.asked.count("sbatch")
        capsys.readouterr()
        limited.hpcsweep("advance", "--quiet")
        limited.hpcsweep("advance", "--quiet")
        assert capsys.readouterr() == ("", "")
        assert limited.run.journal.events == before
        assert limited.slurm.asked.count("sbatch") == tried
        limited.hpcsweep("advance")
        assert "6 tasks wait" in (said := capsys.readouterr().out) or "wait: limits:" in said

    def test_all_tasks_are_run_once_in_their_order(self, limited):
        limited.submit(ten("finally: {command: echo all}\n"))
        order = queued_tasks(limited)
        for _ in range(12):
            if limited.status()["finished"]:
                break
            finish(limited)
            limited.hpcsweep("advance", "--quiet")
            order += [task for task in queued_tasks(limited) if task >= 0]
            assert limited.slurm.queued <= 4
        assert order == list(range(10))
        status = limited.status()
        assert status["finished"]
        assert status["counts"] == {"done": 10}
        assert status["finally"]["state"] == "done"

    def test_others_jobs_count(self, limited):
        limited.slurm.others = 3
        limited.submit(ten())
        assert queued_tasks(limited) == [0]
        limited.slurm.others = 0
        limited.now += 61  # what is known of others' jobs has grown old
        limited.hpcsweep("advance", "--quiet")
        assert queued_tasks(limited) == [0, 1, 2, 3]

    def test_a_full_queue_leaves_a_run_that_waits(self, limited):
        limited.slurm.others = 4
        limited.submit(ten(tasks=3))
        assert limited.states() == ["new"] * 3
        assert not limited.status()["finished"]
        limited.slurm.others = 0
        limited.now += 700
        limited.hpcsweep("advance", "--quiet")
        assert limited.states() == ["pending"] * 3

    def test_resubmitted_tasks_keep_their_attempts(self, limited):
        limited.submit(ten(tasks=4))
        limited.task_says(*(f"{task}.1.done.1.1" for task in range(4)))
        limited.slurm.end("70", word="FAILED")
        limited.slurm.others = 2
        limited.hpcsweep("resubmit")
        attempts = [task["attempt"] for task in limited.status()["tasks"]]
        assert attempts == [2, 2, 1, 1]
        limited.slurm.others = 0
        limited.now += 700
        limited.hpcsweep("advance", "--quiet")
        assert [task["attempt"] for task in limited.status()["tasks"]] == [2, 2, 2, 2]
        assert limited.states() == ["pending"] * 4

    def test_arrays_of_a_throttled_run_go_one_after_the_other(self, limited):
        limited.submit(ten("array: {at_once: 2}\n"))
        finish(limited, next(iter(limited.slurm.jobs)))
        limited.hpcsweep("advance", "--quiet")
        jobs = list(limited.slurm.jobs.items())
        later = [facts.waits_for for job, facts in jobs if job != jobs[0][0] and facts.states]
        assert later
        for (_job, facts), (before, _) in zip(jobs[1:], jobs, strict=False):
            assert facts.waits_for in ([before], [])

    def test_a_canary_goes_first(self, limited):
        limited.submit(ten("canary: 1\n"))
        assert queued_tasks(limited) == [0]
        finish(limited)
        limited.hpcsweep("advance", "--quiet")
        assert queued_tasks(limited) == [1, 2, 3, 4]

    def test_single_jobs(self, limited):
        limited.submit(ten("array: {mode: jobs}\n", tasks=6))
        assert queued_tasks(limited) == [0, 1, 2, 3]
        finish(limited)
        limited.hpcsweep("advance", "--quiet")
        assert queued_tasks(limited) == [4, 5]

    def test_what_waits_for_others_jobs_goes_on_waiting_for_them(self, limited):
        limited.submit(ten(), "--after", "4711")
        limited.hpcsweep("cancel", "run-01", "--tasks", "0,1")
        for element in (0, 1):
            limited.slurm.end(next(iter(limited.slurm.jobs)), element, word="CANCELLED")
        limited.hpcsweep("advance", "--quiet")
        assert all("4711" in facts.waits_for for facts in limited.slurm.jobs.values())
        assert len([array for array in limited.run.ledger.arrays.values() if array.job]) > 1


class TestWhatIsAsked:
    def test_a_site_that_tells_is_asked_once_a_day(self, cluster):
        cluster.slurm.submit_limit, cluster.slurm.tells_limits = 4, True
        cluster.submit(ten())
        assert cluster.slurm.asked.count("sacctmgr") == 2
        for _ in range(3):
            finish(cluster)
            cluster.hpcsweep("advance", "--quiet")
        assert cluster.slurm.asked.count("sacctmgr") == 2
        assert cluster.slurm.asked.count("scontrol") == 2  # its version, its limits

    def test_accounting_that_is_silent_is_left_in_peace(self, cluster):
        cluster.submit(ten("canary: 1\n"))
        finish(cluster)
        cluster.hpcsweep("advance", "--quiet")
        assert cluster.states() == ["done"] + ["pending"] * 9
        assert cluster.slurm.asked.count("sacctmgr") == 1

    def test_without_limits_nobody_asks_for_the_queue(self, cluster, monkeypatch):
        cluster.slurm.tells_limits = True
        cluster.submit(ten())
        assert "squeue" not in cluster.slurm.asked
        assert cluster.states() == ["pending"] * 10

    def test_a_hundred_tasks_need_few_tries(self, cluster):
        cluster.slurm.submit_limit = 23
        cluster.submit(ten(tasks=100))
        assert queued_tasks(cluster) == list(range(23))
        assert cluster.slurm.asked.count("sbatch") <= 8

    def test_a_controller_that_does_not_tell_its_limits_is_no_reason_to_wait(self, cluster, monkeypatch):
        monkeypatch.setattr(type(cluster.slurm), "_config", lambda self, argv: self._answer(argv, "", 1, "timed out"))
        cluster.submit(ten())
        assert cluster.states() == ["pending"] * 10

    def test_the_larger_number_is_tried_again_later(self, cluster):
        cluster.slurm.submit_limit = 3
        cluster.submit(ten())
        assert queued_tasks(cluster) == [0, 1, 2]
        cluster.slurm.submit_limit = 100
        cluster.hpcsweep("advance", "--quiet")
        assert queued_tasks(cluster) == [0, 1, 2]
        cluster.now += 601
        cluster.hpcsweep("advance", "--quiet")
        assert queued_tasks(cluster) == list(range(10))


class TestRefusals:
    def test_arrays_that_are_too_large_are_cut(self, cluster):
        cluster.slurm.largest_array = 3
        cluster.submit(ten())
        assert queued_tasks(cluster) == list(range(10))
        sizes = [len(facts.states) for facts in cluster.slurm.jobs.values()]
        assert max(sizes) <= 3
        cluster.hpcsweep("cancel", "run-01")
        cluster.hpcsweep("submit", str(cluster.folder / "sweep.yaml"), "--name", "next")

    def test_a_site_without_arrays_is_an_error_and_leaves_no_run(self, cluster, capsys):
        cluster.slurm.largest_array = 0
        cluster.submit(ten(tasks=3), code=1)
        assert "array.mode: jobs" in capsys.readouterr().err
        assert not list((cluster.folder / "runs").glob("*"))

    def test_a_job_that_asks_for_too_much_is_not_tried_in_pieces(self, cluster, capsys, monkeypatch):
        said = "sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
        monkeypatch.setattr(type(cluster.slurm), "_submit", lambda self, argv: self._answer(argv, "", 1, said))
        cluster.submit(ten(), code=1)
        assert cluster.slurm.asked.count("sbatch") == 1
        assert "lower resources" in capsys.readouterr().err

    def test_an_empty_queue_that_takes_not_even_one_is_no_lack_of_room(self, cluster, capsys):
        cluster.slurm.submit_limit = 0
        cluster.submit(ten(), code=1)
        assert "accounting/QOS policy" in capsys.readouterr().err

    def test_a_refused_array_leaves_its_number_and_is_fenced(self, cluster):
        cluster.slurm.submit_limit = 4
        cluster.submit(ten())
        arrays = cluster.run.ledger.arrays
        given_back = [array for array in arrays.values() if array.submission == "abandoned"]
        assert given_back
        assert sorted(arrays) == list(range(1, len(arrays) + 1))
        for array in given_back:
            assert (cluster.run.paths.array(array.number).events / "cancel").exists()

    def test_interrupted_before_the_fence_it_is_made_by_the_next_turn(self, cluster, monkeypatch):
        cluster.slurm.submit_limit = 4
        cluster.submit(ten())
        (number, *_) = [n for n, array in cluster.run.ledger.arrays.items() if array.submission == "abandoned"]
        marker = cluster.run.paths.array(number).events / "cancel"
        marker.unlink()
        cluster.hpcsweep("advance", "--quiet")
        assert marker.exists()

    def test_of_one_that_may_exist_the_attempts_are_ended_first(self, cluster):
        cluster.slurm.submission = "lost in silence"
        cluster.submit(ten(tasks=4), code=4)
        cluster.slurm.submission = "taken"
        cluster.slurm.submit_limit = 3  # an array of four will never be taken
        cluster.now += 1000
        cluster.hpcsweep("advance", "--quiet")
        assert cluster.run.ledger.arrays[1].submission == "abandoned"
        claims = {path.name for path in cluster.run.paths.array(1).events.iterdir()}
        assert {"0.1", "1.1", "2.1", "3.1", "cancel"} <= claims  # nobody can begin them any more
        assert queued_tasks(cluster) == [0, 1, 2]
        assert [task["attempt"] for task in cluster.status()["tasks"]][:3] == [2, 2, 2]
        finish(cluster)
        cluster.now += 700
        cluster.hpcsweep("advance", "--quiet")
        assert queued_tasks(cluster) == [3]
        assert cluster.status()["tasks"][3]["attempt"] == 2

    def test_one_that_fills_the_queue_itself_is_adopted(self, cluster):
        cluster.slurm.submission = "taken in silence"
        cluster.submit(ten(tasks=4), code=4)
        cluster.slurm.submission = "taken"
        cluster.slurm.submit_limit = 4
        cluster.now += 1000
        cluster.hpcsweep("advance", "--quiet")
        assert cluster.states() == ["pending"] * 4
        assert not cluster.events("abandoned")

    def test_one_that_has_claims_is_never_given_back(self, cluster, monkeypatch):
        """A scheduler that says no, and starts it all the same."""
        cluster.slurm.submit_limit = 4
        monkeypatch.setattr("hpcsweep.runs.advance.list_array_events", lambda _run, _number: {(0, 1): object()})
        cluster.submit(ten(), code=4)
        assert not cluster.events("abandoned")
        assert cluster.states() == ["submitting"] * 10


class TestFeeding:
    @pytest.fixture
    def fed(self, limited):
        limited.submit(ten("finally: {command: echo all}\n"), "--feed")
        return limited

    def feeder(self, cluster):
        (facts,) = [facts for facts in cluster.slurm.jobs.values() if "-feed-" in facts.tag and facts.states]
        return facts

    def test_a_feeder_waits_for_the_queue_to_run_low(self, fed):
        facts = self.feeder(fed)
        assert fed.slurm.queued <= 4
        status = fed.status()
        assert status["feeder"]["state"] == "pending"
        assert queued_tasks(fed) == [0, 1, 2]
        script = next((fed.run.paths.root / "feeders").glob("*.sh")).read_text()
        assert "advance --feed" in script
        assert f"HPCSWEEP_FEEDER={facts.tag}" in script

    def test_feeders_go_on_until_nothing_is_left_to_submit(self, fed, monkeypatch):
        order = queued_tasks(fed)
        feeders = 1
        for _ in range(30):
            if fed.status()["finished"]:
                break
            finish(fed)
            live = [facts for facts in fed.slurm.jobs.values() if "-feed-" in facts.tag and facts.states]
            if not live:
                break
            monkeypatch.setenv("HPCSWEEP_FEEDER", live[0].tag)
            fed.hpcsweep("advance", "--feed", "--quiet")
            live[0].states.clear()
            monkeypatch.delenv("HPCSWEEP_FEEDER")
            order += [task for task in queued_tasks(fed) if task >= 0]
            feeders += 1
        finish(fed)
        assert order == list(range(10))
        assert fed.status()["counts"] == {"done": 10}
        assert fed.status()["finally"]["state"] == "done"
        assert not [facts for facts in fed.slurm.jobs.values() if "-feed-" in facts.tag and facts.states]

    def test_one_at_a_time(self, fed):
        for _ in range(3):
            fed.hpcsweep("advance", "--feed", "--quiet")
        assert self.feeder(fed)
        assert len({event["number"] for event in fed.events("feeder")}) == 1

    def test_a_lost_feeder_is_replaced_by_the_next_advance(self, fed):
        lost = self.feeder(fed)
        lost.states.clear()
        finish(fed)
        fed.now += 1
        assert fed.status()["feeder"]["state"] is None
        fed.hpcsweep("advance", "--quiet")
        assert self.feeder(fed).tag != lost.tag

    def test_cancel_cancels_it(self, fed):
        tag = self.feeder(fed).tag
        fed.hpcsweep("cancel", "run-01")
        assert any(tag in words for words in fed.slurm.told)

    def test_it_is_not_left_where_all_is_submitted(self, cluster):
        cluster.submit(ten(), "--feed")
        assert not cluster.events("feeder")

    def test_what_is_ready_and_not_submitted_is_a_next_step(self, cluster, capsys):
        cluster.submit(ten("canary: 1\n"))
        finish(cluster)
        capsys.readouterr()
        cluster.hpcsweep("status")
        assert f"hpcsweep advance {cluster.run.name}" in capsys.readouterr().out

    def test_the_rest_after_a_canary_is_submitted_by_it(self, cluster):
        cluster.submit(ten("canary: 1\n"), "--feed")
        assert self.feeder(cluster).waits_for == ["70_0"]

    def test_without_it_the_user_is_told_who_submits_the_rest(self, cluster, capsys):
        cluster.submit(ten("canary: 1\n"))
        assert "hpcsweep advance" in capsys.readouterr().err

    def test_a_refused_feeder_is_said_and_harms_nothing(self, cluster, capsys):
        cluster.slurm.submit_limit, cluster.slurm.tells_limits = 1, True
        cluster.submit(ten(tasks=3), "--feed")
        assert queued_tasks(cluster) == [0]
        assert "no feeder could be left" in capsys.readouterr().err
        finish(cluster)
        cluster.hpcsweep("advance", "--quiet")
        assert queued_tasks(cluster) == [1]

    def test_an_unconfirmed_feeder_is_looked_for_before_there_is_another(self, cluster, monkeypatch):
        cluster.submit(ten("canary: 1\n"))
        cluster.slurm.submission = "taken in silence"
        cluster.hpcsweep("advance", "--feed", "--quiet")
        cluster.slurm.submission = "taken"
        cluster.hpcsweep("advance", "--feed", "--quiet")
        assert len({event["number"] for event in cluster.events("feeder")}) == 1
        assert self.feeder(cluster)

    def test_feeder_asks_for_a_little_on_the_tasks_account(self, cluster):
        cluster.submit(ten("canary: 1\nresources: {account: lab, qos: few, cpus: 8, memory: 4G, time: 2h}\n"), "--feed")
        script = (cluster.run.paths.root / "feeders" / "001.sh").read_text()
        directives = {line for line in script.splitlines() if line.startswith("#SBATCH")}
        assert {"#SBATCH --account=lab", "#SBATCH --qos=few", "#SBATCH --mem=512M"} <= directives
        assert json.dumps(sorted(directives)).count("--") == len(directives)
