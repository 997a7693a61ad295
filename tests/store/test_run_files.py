"""tasks.jsonl, run.json and the chunks."""

import hashlib
import json

import pytest
from disk_and_users import names_in
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Task
from hpcsweep.store import make_array_folders, read_run_json, read_tasks, write_chunks, write_run_json, write_tasks

scalars = (
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=5))
def test_tasks_come_back_as_they_were(tmp_path_factory, points):
    path = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    tasks = [Task(index=index, id=f"id{index}", params=point) for index, point in enumerate(points)]
    write_tasks(path, tasks)
    read = read_tasks(path)
    assert read == tasks
    assert [repr(task.params) for task in read] == [repr(task.params) for task in tasks]  # 1, 1.0 and true are three values


def test_only_a_torn_last_line_is_passed_over(tmp_path):
    path = tmp_path / "tasks.jsonl"
    write_tasks(path, [Task(index=index, id="x", params={"lr": 0.1}) for index in range(3)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert [task.index for task in read_tasks(path)] == [0, 1]
    path.write_bytes(whole.replace(b'"index":1', b'"inde', 1))
    with pytest.raises(HpcsweepError, match=r"tasks\.jsonl:2: this line is damaged"):
        read_tasks(path)


def test_run_json_is_written_once(run):
    write_run_json(run, {"uid": "u", "created": 1.5})
    facts = read_run_json(run)
    assert (facts["uid"], facts["created"], facts["format"]) == ("u", 1.5, 1)
    with pytest.raises(HpcsweepError, match="written once"):
        write_run_json(run, {"uid": "v"})
    assert read_run_json(run) == facts


def test_a_folder_without_run_json_is_no_run(run):
    with pytest.raises(HpcsweepError, match=r"is no run: it has no run\.json") as caught:
        read_run_json(run)
    assert "nothing was submitted" in caught.value.hint


def test_a_newer_format_is_named(run):
    run.run_json.write_text(json.dumps({"format": 2, "version": "9.9"}))
    with pytest.raises(HpcsweepError, match=r"made by hpcsweep 9\.9, newer than this one"):
        read_run_json(run)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "1"}', "\x00\x00", "[" * 100_000])
def test_damage_of_run_json_is_said(run, text):
    run.run_json.write_text(text)
    with pytest.raises(HpcsweepError, match=r"run\.json is damaged"):
        read_run_json(run)


def test_chunks_are_hashed_and_replaced_whole(run):
    array = run.array(3)
    make_array_folders(array)
    make_array_folders(array)
    hashes = write_chunks(array, ["first é", "second", b"\xff"])
    assert hashes == [hashlib.sha256(data).hexdigest() for data in ("first é".encode(), b"second", b"\xff")]
    before = array.chunk(1).stat().st_ino
    with array.chunk(1).open() as old:
        write_chunks(array, ["first é", "other"])
        assert old.read() == "second"
    assert array.chunk(1).stat().st_ino != before
    assert names_in(array.chunks) == ["0000.sh", "0001.sh", "0002.sh"]
    assert names_in(array.events) == []
