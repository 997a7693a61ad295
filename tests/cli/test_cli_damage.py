"""What can still be trusted of a damaged run is told, what cannot is called unknown, and nothing is run again because of it."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.fixture
def run_dir(user, ended_run):
    """A copy of a run of four done tasks that says it was made where it is."""
    shutil.copytree(ended_run, user.run_dir(), symlinks=True)
    path = user.run_dir() / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "path": str(user.run_dir())}))
    return user.run_dir()


@pytest.fixture
def states(call):
    """The tasks' states, as the status tells them."""
    return lambda: [task["state"] for task in json.loads(call("status", "run-01", "--json")[1])["tasks"]]


def check_nothing_is_run_again(call):
    for words in (["advance", "run-01"], ["resubmit", "run-01"]):
        code, _out, err = call(*words)
        assert (code, "bug" in err) == (0, False), (words, err)


class TestEvents:
    @pytest.mark.parametrize("part", ["arrays/001/events", "arrays/001", "arrays"])
    def test_a_deleted_folder(self, run_dir, call, states, part, user):
        shutil.rmtree(run_dir / part)
        code, out, err = call("status", "run-01")
        assert (code, err) == (0, "")
        assert f"{run_dir}/arrays/001/events is not there" in out
        assert "hpcsweep verify run-01" in out
        assert "cancelled" not in out
        assert states() == ["unknown"] * 4
        assert "a" in json.loads(call("collect", "run-01", "--json")[1])[0]
        assert call("logs", "run-01", "2")[1] == "2\n"
        check_nothing_is_run_again(call)
        assert states() == ["unknown"] * 4
        assert call("wait", "run-01", "--timeout", "20s")[0] == 1
        assert call("cancel", "run-01")[0] == 0
        assert call("list")[0] == 0
        assert call("rm", "run-01", "--dry-run")[0] == 0

    def test_who_names_a_task_whose_record_is_gone_gets_another_attempt(self, run_dir, call, states, user):
        shutil.rmtree(run_dir / "arrays/001/events")
        assert call("resubmit", "run-01", "--tasks", "1,2")[0] == 0
        assert call("wait", "run-01", "--timeout", "40s")[0] == 1
        assert states() == ["unknown", "done", "done", "unknown"]

    def test_a_file_in_its_place(self, run_dir, call, states):
        shutil.rmtree(run_dir / "arrays/001/events")
        (run_dir / "arrays/001/events").touch()
        assert states() == ["unknown"] * 4
        check_nothing_is_run_again(call)

    def test_one_record_that_was_taken_away(self, run_dir, call, states):
        for path in (run_dir / "arrays/001/events").glob("1.1.*"):
            path.unlink()
        for path in (run_dir / "arrays/001/events").glob("3.1*"):
            path.unlink()
        check_nothing_is_run_again(call)
        assert states() == ["done", "unknown", "done", "unknown"]
        assert call("resubmit", "run-01", "--state", "unknown")[0] == 0
        assert call("wait", "run-01", "--timeout", "40s")[0] == 0
        assert states() == ["done"] * 4


class TestJournal:
    def check_refused(self, run_dir, call):
        before = (sorted(run_dir.iterdir()), sorted((run_dir / "arrays").rglob("*")))
        for words in (
            ["advance"],
            ["resubmit"],
            ["hold"],
            ["release"],
            ["throttle", "run-01", "2"],
            ["cancel", "run-01"],
            ["wait"],
        ):
            code, _out, err = call(*words)
            assert code == 1, words
            assert "its journal is damaged" in err
            assert "verify" in err
        assert (sorted(run_dir.iterdir()), sorted((run_dir / "arrays").rglob("*"))) == before

    @pytest.mark.parametrize(
        "damage",
        [
            None,
            lambda _lines: [],
            lambda lines: lines[:1],
            lambda lines: [b"\0" * len(line) for line in lines],
            lambda lines: [line for line in lines if b'"planned"' not in line],
            lambda lines: [line.replace(b'"0-3"', b'"0-9999999999"') for line in lines],
            lambda lines: [lines[0].replace(b'"tasks":4', b'"tasks":4000000000000'), *lines[1:]],
            lambda lines: [lines[0].replace(b'"tasks":4', b'"tasks":9000000'), *lines[1:]],
            lambda lines: [b'{"event":"created","at":1,"tasks":4,"more":"' + b"x" * 5_000_000, *lines[1:]],
            lambda lines: lines[::-1],
        ],
        ids=["missing", "empty", "cut", "zeros", "no-plan", "huge-range", "absurd", "too-many", "long-line", "reversed"],
    )
    def test_what_the_tasks_say_is_still_told_and_nothing_is_submitted(self, run_dir, call, states, damage):
        path = run_dir / "state.jsonl"
        lines = path.read_bytes().splitlines()
        path.unlink()
        if damage is not None:
            path.write_bytes(b"".join(line + b"\n" for line in damage(lines)))
        assert states()[:4] == ["done"] * 4
        rows = json.loads(call("collect", "run-01", "--json")[1])
        assert [(row["x"], row["a"]) for row in rows[:4]] == [(number, 1) for number in range(4)]
        assert call("logs", "run-01", "2")[1] == "2\n"
        assert call("list")[0] == 0
        self.check_refused(run_dir, call)

    def test_tasks_without_an_end_are_unknown_not_new(self, run_dir, call, states):
        (run_dir / "state.jsonl").unlink()
        for path in (run_dir / "arrays/001/events").glob("2.1*"):
            path.unlink()
        assert states() == ["done", "done", "unknown", "done"]
        self.check_refused(run_dir, call)

    def test_a_line_torn_by_a_crash_is_no_loss(self, run_dir, call, states):
        with (run_dir / "state.jsonl").open("ab") as file:
            file.write(b'{"event":"resubmit","at":17')
        assert states() == ["done"] * 4
        for words in (["advance"], ["resubmit"], ["hold"], ["release"]):
            assert call(*words)[0] == 0

    def test_with_tasks_jsonl_lost_too(self, run_dir, call, states):
        (run_dir / "state.jsonl").unlink()
        (run_dir / "tasks.jsonl").unlink()
        assert states() == ["done"] * 4
        assert [row["x"] for row in json.loads(call("collect", "run-01", "--json")[1])] == [0, 1, 2, 3]


class TestTasks:
    def test_an_array_is_not_made_of_tasks_that_are_not_known(self, run_dir, call, states):
        (run_dir / "tasks.jsonl").write_text("")
        for path in (run_dir / "arrays/001/events").glob("2.1.done*"):
            path.rename(path.with_name("2.1.done.1.0"))
        assert states() == ["done", "done", "failed", "done"]
        code, _out, err = call("resubmit", "run-01")
        assert code == 1
        assert "tasks.jsonl" in err
        assert not (run_dir / "arrays/002").exists()
