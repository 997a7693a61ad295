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
