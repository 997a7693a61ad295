"""``extend``: new points come behind the old ones, whatever the run is doing, and whatever ends the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from killing import KILLED
from scene import Scene

from hpcsweep.events import FINALLY
from hpcsweep.runs.run import open_run

COMMAND = 'command: echo "$HPCSWEEP_TASK:$HPCSWEEP_PARAM_x" >>starts\n'
GATED = 'command: "echo $HPCSWEEP_TASK >>starts; until [ -e gate ]; do sleep 0.05; done"\n'


def space(*values: object) -> str:
    return f"space: {{x: {json.dumps(values)}}}\n"


def settle(site, await_that) -> None:
    def is_settled() -> bool:
        assert site("advance", "--now").code == 0
        return site.status()["finished"]

    await_that(is_settled, "all is settled")


def points(site) -> dict[int, object]:
    return {task["index"]: task["params"]["x"] for task in site.status()["tasks"]}


def kept(run: Path) -> dict[str, bytes]:
    """What an extension writes; this machine's queue may turn the loop at any moment, and lock the run for that."""
    return {path.name: path.read_bytes() for path in run.glob("*") if path.name.startswith(("tasks.", "sweep."))}


class TestPoints:
    @pytest.fixture
    def ended(self, site, await_that):
        site.sweep(COMMAND + space(1, 2, 3))
        site("submit", "sweep.yaml")
        settle(site, await_that)
        return site

    def test_new_points_come_behind_the_last(self, ended, await_that):
        before = (ended.run / "run.json").read_bytes(), (ended.run / "tasks.jsonl").read_bytes()
        ended.sweep(COMMAND + space(9, 3, 2, 8))
        done = ended("extend", "run-01", "sweep.yaml")
        assert done.code == 0
        assert "added 2 from sweep.yaml: tasks 3-4; 2 of its points were there already" in done.said
        assert 'not in sweep.yaml any more, and kept as they are: task 0\n  task 0: {"x": 1}\n' in done.said
        settle(ended, await_that)
        assert points(ended) == {0: 1, 1: 2, 2: 3, 3: 9, 4: 8}
        assert ended.starts() == ["0:1", "1:2", "2:3", "3:9", "4:8"]
        assert (ended.run / "run.json").read_bytes() == before[0]
        lines = (ended.run / "tasks.jsonl").read_bytes()
        assert lines.startswith(before[1])
        assert [json.loads(line)["index"] for line in lines.splitlines()] == [0, 1, 2, 3, 4]
        assert (ended.run / "sweep.2.yaml").read_bytes() == (ended.folder / "sweep.yaml").read_bytes()

    def test_a_second_time_nothing_is_new(self, ended, await_that):
        ended.sweep(COMMAND + space(1, 2, 3, 4))
        ended("extend", "run-01", "sweep.yaml")
        settle(ended, await_that)
        before = kept(ended.run)
        done = ended("extend", "run-01", "sweep.yaml")
        assert (done.code, done.said) == (0, "run-01: nothing new: all 4 points of sweep.yaml are in the run\n")
        assert kept(ended.run) == before

    def test_dry_run_changes_nothing(self, ended):
        before = kept(ended.run)
        ended.sweep(COMMAND + space(1, 4))
        done = ended("extend", "run-01", "sweep.yaml", "--dry-run")
        assert done.code == 0
        assert "would add 1 from sweep.yaml: task 3" in done.said
        assert "tasks 1-2" in done.said
        assert kept(ended.run) == before

    def test_a_part_of_a_file_says_nothing_of_the_rest(self, ended, await_that):
        ended.sweep(COMMAND + space(*range(4, 10)))
        done = ended("extend", "run-01", "sweep.yaml", "--limit", "2")
        assert "any more" not in done.said
        settle(ended, await_that)
        assert points(ended) == {0: 1, 1: 2, 2: 3, 3: 4, 4: 5}

    def test_new_parameters_get_columns(self, ended, await_that):
        ended.sweep(COMMAND + "space: {x: [1, 2], y: [a]}\n")
        assert ended("extend", "run-01", "sweep.yaml").code == 0
        settle(ended, await_that)
        rows = json.loads(ended("collect", "--json").said.partition("hpcsweep:")[0])
        assert [(row["x"], row["y"]) for row in rows] == [(1, None), (2, None), (3, None), (1, "a"), (2, "a")]
        params = json.loads((ended.run / "tasks/000003/params.json").read_text())
        assert params == {"x": 1, "y": "a"}

    def test_a_file_of_points_alone(self, ended, await_that):
        (ended.folder / "more.yaml").write_text(space(5))
        done = ended("extend", "run-01", "more.yaml", "-p", "x=5,6")
        assert "added 2 from more.yaml: tasks 3-4" in done.said
        assert "another" not in done.said
        settle(ended, await_that)
        assert ended.starts()[3:] == ["3:5", "4:6"]

    def test_more_of_a_sample_holds_what_there_was(self, site):
        text = COMMAND + "space: {x: {uniform: [0, 1]}}\nsample: {n: %d, seed: 3}\n"
        site.sweep(text % 4)
        assert site("submit", "sweep.yaml").code == 0
        site.sweep(text % 6)
        assert "added 2 from sweep.yaml: tasks 4-5; 4 of its points" in site("extend", "run-01", "sweep.yaml").said


class TestSettings:
    @pytest.fixture
    def held(self, site):
        site.sweep(COMMAND + space(1) + "resources: {time: 10m}\ncanary: 1\n")
        assert site("submit", "sweep.yaml", "--set", "env.A=1").code == 0
        return site

    def test_other_commands_and_resources_are_refused(self, held):
        before = held.journal()
        held.sweep("command: echo other\nresources: {time: 20m}\ncanary: 1\n" + space(1, 2))
        done = held("extend", "run-01", "sweep.yaml")
        assert done.code == 1
        assert "command: " in done.said
        assert "resources.time: " in done.said
        assert "env" not in done.said  # that was --set, which no file can say
        assert "--keep-settings" in done.said
        assert [event for event in held.journal() if event["event"] == "extended"] == []
        assert held.journal()[: len(before)] == before

    def test_unless_told_to_keep_the_runs(self, held, await_that):
        held.sweep("command: echo other\n" + space(1, 2))
        assert held("extend", "run-01", "sweep.yaml", "--keep-settings").code == 0
        settle(held, await_that)
        assert held.starts() == ["0:1", "1:2"]

    def test_of_others_the_runs_count_and_it_is_said(self, held):
        held.sweep(COMMAND + "resources: {time: 10m}\ncanary: 3\n" + space(1, 2))
        done = held("extend", "run-01", "sweep.yaml")
        assert done.code == 0
        assert "another canary; the run keeps its own" in done.said

    @pytest.mark.parametrize(
        "text",
        [
            "space: {x: [}\n",
            "space: {x: [1, 2]}\nnonsense: 1\n",
        ],
    )
    def test_a_faulty_file_adds_nothing(self, held, text):
        before = (held.run / "tasks.jsonl").read_bytes()
        held.sweep(text, "faulty.yaml")
        done = held("extend", "run-01", "faulty.yaml", "--keep-settings")
        assert (done.code, (held.run / "tasks.jsonl").read_bytes()) == (1, before)

    def test_a_task_that_cannot_be_rendered_adds_nothing(self, site):
        site.sweep("command: echo {{ 10 // x }}\n" + space(1))
        site("submit", "sweep.yaml")
        before = kept(site.run)
        site.sweep("command: echo {{ 10 // x }}\n" + space(1, 2, 0))
        done = site("extend", "run-01", "sweep.yaml")
        assert done.code == 1
        assert '"x": 0' in done.said or "x=0" in done.said or "zero" in done.said
        assert kept(site.run) == before


class TestWhileItRuns:
    def test_what_runs_goes_on_and_the_last_command_comes_after_all(self, site, await_that):
        last = "finally: {command: 'echo last >>starts'}\n"
        site.sweep(GATED + space(1, 2) + last)
        site("submit", "sweep.yaml")
        await_that(lambda: len(site.starts()) == 2, "both have begun")
        site.sweep(GATED + space(1, 2, 3) + last)
        assert site("extend", "run-01", "sweep.yaml").code == 0
        (site.folder / "gate").touch()
        settle(site, await_that)
        assert site.states() == ["done"] * 3
        lines = (site.folder / "starts").read_text().split()
        assert sorted(lines[:3]) == ["0", "1", "2"]
        assert lines[3:] == ["last"]

    def test_the_last_command_runs_again_after_a_finished_run(self, site, await_that):
        last = "finally: {command: 'echo last >>starts'}\n"
        site.sweep(COMMAND + space(1) + last)
        site("submit", "sweep.yaml")
        settle(site, await_that)
        site.sweep(COMMAND + space(1, 2) + last)
        site("extend", "run-01", "sweep.yaml")
        settle(site, await_that)
        assert (site.folder / "starts").read_text().split() == ["0:1", "last", "1:2", "last"]

    def test_a_held_run_holds_the_new_ones_too(self, site):
        site.sweep(GATED + space(1))
        site("submit", "sweep.yaml")
        site("hold", "run-01")
        site.sweep(GATED + space(1, 2))
        done = site("extend", "run-01", "sweep.yaml")
        assert done.code == 0
        assert "held" in done.said
        assert site.states()[1] == "new"

    def test_a_moved_run_is_not_extended(self, site):
        site.sweep(COMMAND + space(1))
        site("submit", "sweep.yaml")
        site.run.rename(site.folder / "runs/other")
        site.sweep(COMMAND + space(1, 2))
        done = site("extend", "other", "sweep.yaml")
        assert done.code == 1
        assert "moved or copied" in done.said

    def test_on_a_cluster(self, cluster):
        cluster.submit(COMMAND + space(1, 2))
        (cluster.folder / "sweep.yaml").write_text("scheduler: slurm\nsettle: 100s\n" + COMMAND + space(2, 3, 4))
        cluster.hpcsweep("extend", "run-01", str(cluster.folder / "sweep.yaml"))
        assert [array["size"] for array in cluster.status()["arrays"]] == [2, 2]
        assert [job.tag.rpartition("-")[2] for job in cluster.slurm.jobs.values()] == ["001", "002"]
        assert [task["params"]["x"] for task in cluster.status()["tasks"]] == [1, 2, 3, 4]

    def test_a_silent_scheduler_gets_them_later(self, cluster):
        cluster.submit(COMMAND + space(1))
        cluster.slurm.is_silent = True
        (cluster.folder / "sweep.yaml").write_text("scheduler: slurm\nsettle: 100s\n" + COMMAND + space(1, 2))
        cluster.hpcsweep("extend", "run-01", str(cluster.folder / "sweep.yaml"), code=4)
        assert cluster.status()["total"] == 2
        cluster.slurm.is_silent = False
        cluster.hpcsweep("advance")
        assert [array["size"] for array in cluster.status()["arrays"]] == [1, 1]


class TestKilled:
    @pytest.mark.parametrize("phase", range(2))
    def test_at_its_steps(self, make_site, await_that, phase):
        """After a kill the same command, or another file's, makes the run whole: each task has one line that counts and runs once."""
        whole = make_site()
        whole.sweep(COMMAND + space(1, 2))
        whole("submit", "sweep.yaml")
        settle(whole, await_that)
        whole.sweep(COMMAND + space(1, 2, 3, 4, 5))
        steps = whole("extend", "run-01", "sweep.yaml").points
        assert steps > 20
        for kill_at in range(2 + 5 * phase, steps, 10):
            site = make_site()
            site.sweep(COMMAND + space(1, 2))
            site("submit", "sweep.yaml")
            settle(site, await_that)
            site.sweep(COMMAND + space(1, 2, 3, 4, 5))
            assert site("extend", "run-01", "sweep.yaml", kill_at=kill_at).code == KILLED
            assert len(site.status()["tasks"]) in (2, 5)
            if phase:
                site.sweep(COMMAND + space(1, 2, 3, 4, 5, 6))
            assert site("extend", "run-01", "sweep.yaml").code == 0
            settle(site, await_that)
            assert points(site) == dict(enumerate(range(1, 7 if phase else 6)))
            assert site.starts() == [f"{index}:{index + 1}" for index in range(6 if phase else 5)]

    @pytest.mark.parametrize("left", [b'{"index":2,"id":"', b'{"index":2,"id":"x","params":{"x":7}}\n', b"\0\0\0\n{", b"\n\n"])
    def test_lines_that_never_counted_are_nobodys(self, site, left):
        site.sweep(COMMAND + space(1, 2))
        site("submit", "sweep.yaml")
        with (site.run / "tasks.jsonl").open("ab") as file:
            file.write(left)
        assert points(site) == {0: 1, 1: 2}
        site.sweep(COMMAND + space(1, 2, 3))
        assert site("extend", "run-01", "sweep.yaml").code == 0
        site.sweep(COMMAND + space(1, 2, 3, 4))
        assert site("extend", "run-01", "sweep.yaml").code == 0
        assert points(site) == {0: 1, 1: 2, 2: 3, 3: 4}

    def test_a_torn_line_of_its_own_is_completed(self, site):
        site.sweep(COMMAND + space(1))
        site("submit", "sweep.yaml")
        tasks = site.run / "tasks.jsonl"
        site.sweep(COMMAND + space(1, 2))
        site("extend", "run-01", "sweep.yaml")
        whole, journal = tasks.read_bytes(), site.run / "state.jsonl"
        lines = [line for line in journal.read_text().splitlines() if '"extended"' not in line]
        journal.write_text("\n".join(lines[:4]) + "\n")
        tasks.write_bytes(whole[:-9])
        shutil.rmtree(site.run / "arrays/002")  # what the journal does not know is not there yet
        assert site("extend", "run-01", "sweep.yaml").code == 0
        assert tasks.read_bytes() == whole

    def test_damage_to_what_counts_is_said(self, site):
        site.sweep(COMMAND + space(1))
        site("submit", "sweep.yaml")
        site.sweep(COMMAND + space(1, 2))
        site("extend", "run-01", "sweep.yaml")
        tasks = site.run / "tasks.jsonl"
        whole = tasks.read_bytes()
        for damage in (whole[:-9], whole.replace(b'"index":1', b'"inde!:1'), whole.replace(b'"index":1', b'"index":7')):
            tasks.write_bytes(damage)
            done = site("collect")
            assert done.code == 0  # what was submitted tells the points
            assert "tasks.jsonl" in done.said
            assert "1 of 2 tasks are not in it" in done.said


class TestLedger:
    def test_the_last_command_is_wanted_again(self):
        scene = Scene()
        scene.plan().plan(2, tasks=[FINALLY], kind="finally", job="71")
        scene.write({"event": "cancel", "tasks": "", "finally": True}, {"event": "finished"})
        scene.write({"event": "extended", "first": 3, "tasks": 5, "offset": 90, "bytes": 60, "names": ["y"]})
        ledger = scene.fold().ledger
        assert (ledger.total, ledger.is_finished, FINALLY in ledger.wanted, ledger.withdrawn) == (5, False, True, set())

    def test_a_repeated_line_counts_once(self):
        scene = Scene()
        for _ in range(2):
            scene.write({"event": "extended", "first": 3, "tasks": 5, "offset": 90, "bytes": 60})
        scene.write({"event": "extended", "first": "x"})
        ledger = scene.fold().ledger
        assert (ledger.total, len(ledger.extensions), ledger.damaged_events) == (5, 1, 1)


def test_indices_are_given_out_under_the_lock(site):
    """Somebody else may have extended the run since it was opened."""
    site.sweep(COMMAND + space(1))
    site("submit", "sweep.yaml")
    run = open_run(str(site.folder / "runs"), "run-01")
    assert len(run.tasks) == 1
    site.sweep(COMMAND + space(1, 2))
    site("extend", "run-01", "sweep.yaml")
    run.forget_ledger()
    assert len(run.tasks) == 2
