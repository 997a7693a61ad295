"""Runs of somebody else: what a colleague may conclude, and who may change what."""

from __future__ import annotations

import pytest

TWO = "command: echo {{ x }}\nspace: {x: [1, 2]}\n"


class TestJobsThatAreHidden:
    """A site may show everybody their own jobs alone: then a queue without ours says nothing."""

    @pytest.fixture
    def looked_at(self, cluster, monkeypatch):
        """A run with one task that runs and one that waits, at such a site; ``looked_at(uid)`` is who looks."""
        monkeypatch.setattr(cluster.slurm, "_config", lambda argv: cluster.slurm._answer(argv, "PrivateData = jobs\n"))
        cluster.submit(TWO)
        cluster.task_says("0.1", "0.1.r0.run")
        cluster.slurm.jobs.clear()
        cluster.slurm.has_history = False
        return lambda uid: monkeypatch.setattr("hpcsweep.runs.observe.os.geteuid", lambda: uid)

    def test_nothing_is_lost_or_forgotten_for_others(self, cluster, looked_at):
        looked_at(54321)
        for _ in range(3):
            cluster.now += 1000
            tasks = cluster.status()["tasks"]
            assert [task["state"] for task in tasks] == ["unknown", "unknown"]
            assert all("only its owner can see" in task["reason"] for task in tasks)
        cluster.hpcsweep("advance")
        assert cluster.slurm.jobs == {}

    def test_the_owners_wait_begins_with_the_owners_look(self, cluster, looked_at):
        looked_at(54321)
        cluster.status()
        cluster.now += 1000
        cluster.status()
        looked_at(0)
        assert cluster.states() == ["unknown", "unknown"]
        cluster.now += 91
        assert cluster.states()[0] == "lost"

    def test_what_the_tasks_say_is_told_to_all(self, cluster, looked_at):
        cluster.task_says("1.1", "1.1.done.0.5")
        looked_at(54321)
        assert cluster.states() == ["unknown", "done"]
