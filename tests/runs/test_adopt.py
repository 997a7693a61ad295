"""Moved and copied runs: they can be looked at, and act again only when nothing of them can be live elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from killing import KILLED

from hpcsweep.runs.adopt import moved_cwd
from hpcsweep.runs.look import read_status
from hpcsweep.runs.run import open_run
from hpcsweep.runs.status import status_json
from hpcsweep.store import RunPaths, acquire

TWO = "command: echo {{ x }}\nspace: {x: [1, 2]}\n"


class Moved:
    """A run of the scripted cluster under another path, and the commands that are given for it there."""

    def __init__(self, cluster, root: Path) -> None:
        self.cluster, self.root = cluster, root

    def __call__(self, *words: str, code: int = 0) -> None:
        command, *rest = words
        self.cluster.hpcsweep(command, str(self.root), *rest, code=code)

    @property
    def run(self):
        return open_run(None, str(self.root))

    def status(self):
        return status_json(self.run, read_status(self.run))

    def states(self) -> list[str]:
        return [task["state"] for task in self.status()["tasks"]]

    def journal(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.root.glob("state*.jsonl")))


@pytest.fixture
def move(cluster):
    """``move()``: the run is under another path now; ``move(keep=True)``: a copy of it is."""

    def make(*, keep: bool = False) -> Moved:
        target = cluster.folder / "elsewhere" / "run-01"
        target.parent.mkdir(exist_ok=True)
        if keep:
            shutil.copytree(cluster.folder / "runs/run-01", target, symlinks=True)
        else:
            (cluster.folder / "runs/run-01").rename(target)
        return Moved(cluster, target)

    return make


class TestMoved:
    def test_not_while_its_jobs_are_live(self, cluster, move, capsys):
        cluster.submit(TWO)
        moved = move()
        before = moved.journal()
        moved("resubmit", code=1)
        assert "hpcsweep adopt" in capsys.readouterr().err
        moved("adopt", code=1)
        said = capsys.readouterr().err
        assert "70 (pending)" in said
        assert "scancel 70" in said
        assert str(cluster.folder / "runs/run-01") in said
        assert moved.journal() == before
        assert cluster.slurm.told == []
        assert moved.status()["in_place"] is False

    def test_not_while_the_scheduler_is_silent(self, cluster, move):
        cluster.submit(TWO)
        moved = move()
        cluster.slurm.is_silent = True
        before = moved.journal()
        moved("adopt", code=4)
        assert moved.journal() == before

    def test_when_they_have_ended_it_goes_on_from_there(self, cluster, move, capsys):
        cluster.submit(TWO)
        cluster.task_says("0.1", "0.1.done.0.5")
        cluster.slurm.end("70", 0)
        moved = move()
        cluster.slurm.end("70", 1, word="FAILED")
        moved("adopt")
        assert "adopted" in capsys.readouterr().out
        assert moved.status()["in_place"] is True
        moved("advance")
        cluster.now += 91
        assert moved.states() == ["done", "lost"]
        moved("resubmit")
        assert moved.states() == ["done", "pending"]
        first, second = cluster.slurm.jobs.values()
        assert first.tag.rpartition("-")[0] != second.tag.rpartition("-")[0]
        script = (moved.root / "arrays/002/script.sh").read_text()
        assert f"hpcsweep_run_dir='{moved.root}'" in script or f"hpcsweep_run_dir={moved.root}" in script
        assert f'"{moved.run.uid}"' in (moved.root / "run.json").read_text()
        assert (moved.root / "arrays/002/tag").read_text() == f"{second.tag}\n"
        moved("cancel")
        assert [words for words in cluster.slurm.told if first.tag in " ".join(words)] == []

    def test_one_that_has_ended_needs_no_scheduler(self, cluster, move):
        cluster.submit(TWO)
        cluster.task_says("0.1", "0.1.done.0.5", "1.1", "1.1.done.0.5")
        cluster.slurm.end("70")
        moved = move()
        cluster.slurm.is_silent = True
        moved("adopt")
        moved("resubmit")
        assert moved.states() == ["done", "done"]

    def test_what_was_refused_is_planned_anew(self, cluster, move):
        """Its script has the old path in it."""
        cluster.submit(TWO)
        cluster.task_says("0.1", "0.1.sig.11.5", "1.1", "1.1.done.0.5")
        cluster.slurm.end("70")
        cluster.slurm.submission = "busy"
        cluster.hpcsweep("resubmit")
        moved = move()
        cluster.slurm.submission = "taken"
        moved("adopt")
        moved("advance")
        assert moved.states() == ["pending", "done"]
        assert [array["submission"] for array in moved.status()["arrays"]] == ["submitted", "refused", "submitted"]
        assert moved.status()["tasks"][0]["attempt"] == 3
        assert len(cluster.slurm.jobs) == 2

    def test_what_the_scheduler_forgot_is_never_handed_over_with_its_old_script(self, cluster, move):
        cluster.submit(TWO)
        old = cluster.slurm.jobs.pop("70").tag
        moved = move()
        moved("adopt")
        for _ in range(3):
            cluster.now += 200
            moved("advance")
        assert moved.states() == ["lost", "lost"]
        moved("resubmit")
        assert moved.states() == ["pending", "pending"]
        assert [job.tag == old for job in cluster.slurm.jobs.values()] == [False]

    def test_an_uncertain_array_may_be_live(self, cluster, move, capsys):
        cluster.slurm.submission = "taken in silence"
        cluster.submit(TWO, code=4)
        moved = move()
        moved("adopt", code=1)
        assert "70 (pending)" in capsys.readouterr().err
        cluster.slurm.end("70", word="FAILED")
        moved("adopt")
        moved("advance")
        cluster.now += 91
        assert moved.states() == ["lost", "lost"]

    def test_an_uncertain_array_may_still_be_taken(self, cluster, move, capsys):
        cluster.slurm.submission = "lost in silence"
        cluster.submit(TWO, code=4)
        moved = move()
        moved("adopt", code=1)
        assert "may still take it" in capsys.readouterr().err
        cluster.now += 101
        cluster.slurm.submission = "taken"
        moved("adopt")
        moved("advance")
        assert moved.states() == ["pending", "pending"]
        assert [array["submission"] for array in moved.status()["arrays"]] == ["uncertain", "submitted"]
        moved("advance")
        assert len(cluster.slurm.jobs) == 1

    def test_moved_back_it_was_never_away(self, cluster, move):
        cluster.submit(TWO)
        moved = move()
        moved.root.rename(cluster.folder / "runs/run-01")
        cluster.hpcsweep("advance", "run-01")
        assert cluster.states() == ["pending", "pending"]

    def test_moved_back_after_it_was_adopted(self, cluster, move):
        cluster.submit(TWO)
        cluster.task_says("0.1", "0.1.sig.6.5", "1.1", "1.1.done.0.5")
        cluster.slurm.end("70")
        moved = move()
        moved("adopt")
        back = Moved(cluster, moved.root.rename(cluster.folder / "runs/run-01"))
        back("resubmit", code=1)
        back("adopt")
        back("resubmit")
        assert back.states() == ["pending", "done"]

    def test_a_link_at_the_old_path_is_enough(self, cluster, move, capsys):
        cluster.submit(TWO)
        moved = move()
        (cluster.folder / "runs/run-01").symlink_to(moved.root)
        moved("adopt")
        assert "nothing to adopt" in capsys.readouterr().out
        assert cluster.events("adopted") == []
        moved("hold")

    def test_another_run_at_the_old_path_is_not_the_original(self, cluster, move):
        cluster.submit(TWO)
        cluster.task_says("0.1", "0.1.done.0.5", "1.1", "1.1.done.0.5")
        cluster.slurm.end("70")
        moved = move()
        cluster.submit(TWO)
        moved("adopt")
        assert moved.status()["in_place"] is True

    def test_the_list_says_so(self, cluster, capsys):
        cluster.submit(TWO)
        (cluster.folder / "runs/run-01").rename(cluster.folder / "runs/other")
        capsys.readouterr()
        cluster.hpcsweep("list")
        assert "moved or copied" in capsys.readouterr().out
        cluster.hpcsweep("list", "--json")
        assert [line["in_place"] for line in json.loads(capsys.readouterr().out)] == [False]


class TestCopied:
    def test_not_without_a_word(self, cluster, move, capsys):
        cluster.submit(TWO)
        copy = move(keep=True)
        before = copy.journal()
        copy("adopt", code=1)
        assert "--as-copy" in capsys.readouterr().err
        assert copy.journal() == before

    def test_a_run_of_its_own(self, cluster, move):
        """Neither takes the other's jobs for its own, and what was under way is the original's."""
        cluster.submit(TWO)
        cluster.task_says("0.1", "0.1.r0.run")
        cluster.slurm.start("70", 0)
        copy = move(keep=True)
        cluster.slurm.is_silent = True  # nothing of a copy is with the scheduler
        copy("adopt", "--as-copy")
        assert copy.states() == ["lost", "lost"]
        cluster.slurm.is_silent = False
        assert copy.run.uid != cluster.run.uid
        copy("advance")
        copy("cancel")
        assert cluster.slurm.told == []
        copy("resubmit", "--tasks", "0,1")
        assert (copy.states(), cluster.states()) == (["pending", "pending"], ["running", "pending"])
        assert copy.run.uid in cluster.slurm.jobs["71"].tag
        assert cluster.run.uid in cluster.slurm.jobs["70"].tag
        cluster.hpcsweep("advance", "run-01")
        assert len(cluster.slurm.jobs) == 2

    def test_what_was_never_handed_over_is_not_handed_over_twice(self, cluster, move):
        cluster.submit(TWO)
        cluster.task_says("0.1", "0.1.sig.6.5", "1.1", "1.1.done.0.5")
        cluster.slurm.end("70")
        cluster.slurm.submission = "busy"
        cluster.hpcsweep("resubmit")
        copy = move(keep=True)
        cluster.slurm.submission = "taken"
        copy("adopt", "--as-copy")
        copy("advance")
        assert copy.states() == ["lost", "done"]
        cluster.hpcsweep("advance", "run-01")
        assert cluster.states() == ["pending", "done"]
        copy("resubmit")
        assert copy.states() == ["pending", "done"]
        assert len({job.tag for job in cluster.slurm.jobs.values()}) == 3

    def test_a_copy_of_the_copy(self, cluster, move):
        cluster.submit(TWO)
        copy = move(keep=True)
        copy("adopt", "--as-copy")
        again = Moved(cluster, cluster.folder / "third")
        shutil.copytree(copy.root, again.root, symlinks=True)
        again("adopt", code=1)
        again("adopt", "--as-copy")
        assert len({one.uid for one in (cluster.run, copy.run, again.run)}) == 3

    def test_one_that_is_in_its_place_is_no_copy(self, cluster):
        cluster.submit(TWO)
        cluster.hpcsweep("adopt", "run-01", "--as-copy", code=1)


def copy_of(run: Path, target: Path) -> Path:
    """A copy, taken while nobody writes: this machine's queue may turn the loop at any moment."""

    def passing(folder: str, names: list[str]) -> set[str]:
        return set(names) if folder == str(run / "lock") else {name for name in names if "tmp" in name}

    with acquire(RunPaths(run), wait_s=60, command="a copy"):
        return shutil.copytree(run, target, symlinks=True, ignore=passing)


class TestOnThisMachine:
    def test_a_project_that_was_moved_while_its_tasks_ran(self, make_site, await_that):
        site = make_site()
        site.sweep(
            "command: 'echo $HPCSWEEP_TASK.$HPCSWEEP_ATTEMPT >>starts; until [ -e gate ]; do sleep 0.05; done'\nspace: {x: [1, 2]}\n"
        )
        site("submit", "sweep.yaml", "--jobs", "1")
        await_that(lambda: site.starts() == ["0.1"], "the first has begun")
        old = site.folder
        site.folder = old.rename(old.with_name("moved"))
        await_that(lambda: site("adopt", "run-01").code == 0, "its queue has ended")
        await_that(lambda: site.states() == ["lost", "lost"], "its tasks are given up")
        (site.folder / "gate").touch()
        assert site("resubmit").code == 0
        assert site("wait").code == 0
        assert site.starts() == ["0.1", "0.2", "1.2"]
        assert not old.exists()

    def test_its_processes_are_on_another_machine(self, site, await_that):
        site.sweep("command: until [ -e gate ]; do sleep 0.05; done\nspace: {x: [1]}\n")
        site("submit", "sweep.yaml")
        copy_of(site.run, site.folder / "runs/copy")
        facts = site.folder / "runs/copy/run.json"
        text = json.loads(facts.read_text())
        facts.write_text(json.dumps({**text, "host": "elsewhere", "path": "/elsewhere/run-01"}))
        done = site("adopt", "copy")
        assert done.code == 4
        assert "elsewhere" in done.said

    def test_killed_at_its_steps(self, make_site, await_that):
        site = make_site()
        site.sweep("command: 'echo $HPCSWEEP_TASK >>starts'\nspace: {x: [1, 2]}\nfinally: {command: 'echo last >>starts'}\n")
        site("submit", "sweep.yaml")
        assert site("wait").code == 0
        copy_of(site.run, site.folder / "kept")
        whole = shutil.copytree(site.folder / "kept", site.folder / "runs/whole", symlinks=True)
        points = site("adopt", whole.name, "--as-copy").points
        assert points > 5
        for kill_at in range(1, points, 3):
            copy = shutil.copytree(site.folder / "kept", site.folder / f"runs/copy-{kill_at}", symlinks=True)
            assert site("adopt", copy.name, "--as-copy", kill_at=kill_at).code == KILLED
            done = site("adopt", copy.name, "--as-copy")
            assert done.code == 0 or "was made where it is" in done.said
            assert site("advance", copy.name).code == 0
            assert json.loads(site("status", copy.name, "--json").said)["counts"] == {"done": 2}
        assert site.starts() == ["0", "1", "last"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{gone}/runs/run-01", "/b/q/runs/run-01", "/b/q"),
        ("{gone}/runs/run-01", "/b/q/archive/run-01", "{gone}"),
        ("/other/runs/run-01", "/b/q/runs/run-01", "{gone}"),
        ("{gone}", "/b/q", "{gone}"),
    ],
)
def test_where_commands_run_when_a_project_was_moved(tmp_path, old, new, expected):
    gone = str(tmp_path / "gone")
    assert moved_cwd(gone, old.format(gone=gone), new) == expected.format(gone=gone)
    assert moved_cwd(str(tmp_path), f"{tmp_path}/runs/run-01", "/b/q/runs/run-01") == str(tmp_path)


def test_a_moved_run_that_was_fed_in_pieces_goes_on(cluster, move):
    """Arrays that were refused and given back are nobody's: their tasks may have no array at all."""
    cluster.slurm.submit_limit = 1
    cluster.submit(TWO, "--feed")
    assert "abandoned" in {array["submission"] for array in cluster.status()["arrays"]}
    cluster.hpcsweep("cancel", "run-01")
    for job in list(cluster.slurm.jobs):
        cluster.slurm.end(job, word="CANCELLED")
    moved = move()
    cluster.slurm.submit_limit = None
    cluster.now += 700
    moved("adopt")
    moved("resubmit", "--state", "cancelled")
    assert moved.states() == ["pending"] * 2
