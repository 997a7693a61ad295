"""`verify` finds each kind of damage, says what still holds, and changes nothing."""

from __future__ import annotations

import json
import shutil

import pytest
from cli_user import tree


@pytest.fixture
def run_dir(user, ended_run):
    """A copy of a run of four done tasks that says it was made where it is."""
    shutil.copytree(ended_run, user.run_dir(), symlinks=True)
    path = user.run_dir() / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "path": str(user.run_dir())}))
    return user.run_dir()


@pytest.fixture
def verify(run_dir, call):
    """``verify()`` -> (exit code, findings); the folder is as it was."""

    def run():
        before = tree(run_dir)
        code, out, err = call("verify", "run-01", "--json")
        assert err == ""
        told = json.loads(out)
        text_code, text, _err = call("verify", "run-01")
        assert text_code == code == (0 if told["sound"] else 1)
        for finding in told["findings"]:
            assert finding["problem"] in text
            assert finding["trust"]
            assert finding["cure"]
        assert tree(run_dir) == before
        return code, told["findings"]

    return run


def edit(path, change):
    path.write_bytes(change(path.read_bytes()))


def test_a_sound_run(verify, call):
    assert verify() == (0, [])
    assert call("verify")[1].strip().endswith("(4 tasks, 1 array, 8 records looked at)")


DAMAGES = {
    "run.json": lambda run: (run / "run.json").write_text("{"),
    "run.json is lacking": lambda run: edit(run / "run.json", lambda data: data.replace(b'"uid"', b'"uidd"')),
    "moved": lambda run: edit(run / "run.json", lambda data: data.replace(b"run-01", b"run-77")),
    "journal is gone": lambda run: (run / "state.jsonl").unlink(),
    "journal is a folder": lambda run: ((run / "state.jsonl").unlink(), (run / "state.jsonl").mkdir()),
    "journal is cut": lambda run: edit(run / "state.jsonl", lambda data: data.split(b"\n")[0] + b"\n"),
    "torn line": lambda run: edit(run / "state.jsonl", lambda data: data + b'{"event": "can'),
    "odd line": lambda run: edit(run / "state.jsonl", lambda data: data + b'{"event": "throttled", "at_once": "x"}\n'),
    "tasks are gone": lambda run: (run / "tasks.jsonl").unlink(),
    "tasks are cut": lambda run: edit(run / "tasks.jsonl", lambda data: data[:-20]),
    "tasks are shuffled": lambda run: edit(run / "tasks.jsonl", lambda data: b"\n".join(data.split(b"\n")[-2::-1]) + b"\n"),
    "a parameter was edited": lambda run: edit(run / "tasks.jsonl", lambda data: data.replace(b'"x":2', b'"x":5')),
    "script is gone": lambda run: (run / "arrays/001/script.sh").unlink(),
    "script is cut": lambda run: edit(run / "arrays/001/script.sh", lambda data: data[:300]),
    "chunk is edited": lambda run: edit(run / "arrays/001/tasks/0000.sh", lambda data: data + b"\n"),
    "chunk is gone": lambda run: (run / "arrays/001/tasks/0000.sh").unlink(),
    "events are gone": lambda run: shutil.rmtree(run / "arrays/001/events"),
    "one end is gone": lambda run: next((run / "arrays/001/events").glob("1.1.done*")).unlink(),
    "two ends": lambda run: (run / "arrays/001/events/1.1.done.7.7").touch(),
    "a claim is gone": lambda run: (run / "arrays/001/events/1.1").unlink(),
    "a live token": lambda run: (run / "arrays/001/events/1.1.r0.run").touch(),
    "a task's folder is gone": lambda run: shutil.rmtree(run / "tasks/000003"),
    "a file for a task's folder": lambda run: (shutil.rmtree(run / "tasks/000003"), (run / "tasks/000003").touch()),
    "the tasks' folders are gone": lambda run: shutil.rmtree(run / "tasks"),
    "a lock of nobody": lambda run: (run / "lock/0099").write_text("\0\0"),
    "a release of nothing": lambda run: (run / "lock/0099.released").touch(),
}  # fmt: skip

NOTES = {
    "an odd name": lambda run: (run / "arrays/001/events/hello").touch(),
    "another task's record": lambda run: (run / "arrays/001/events/99.1.done.0.1").touch(),
    "a cut-off incarnation": lambda run: (run / "arrays/001/events/1.1.late.r0").touch(),
    "a temporary file": lambda run: (run / ".tmp.x").touch(),
    "a damaged answer": lambda run: ((run / "cache").mkdir(exist_ok=True), (run / "cache/live.json").write_text("{")),
    "a newer event": lambda run: edit(run / "state.jsonl", lambda data: data + b'{"event": "teleported", "at": 1}\n'),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found(run_dir, verify, name):
    DAMAGES[name](run_dir)
    code, findings = verify()
    assert code == 1
    assert any(finding["is_damage"] for finding in findings)
    assert len(findings) <= 3


@pytest.mark.parametrize("name", NOTES)
def test_what_went_well_in_the_end_is_a_note(run_dir, verify, name):
    NOTES[name](run_dir)
    code, findings = verify()
    assert (code, len(findings)) == (0, 1)
