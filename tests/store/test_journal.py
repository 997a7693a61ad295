"""The journal keeps what it was given, wherever it is cut, and whoever comes back from the dead."""

import errno
import json
import os
import tempfile
from pathlib import Path

import pytest
from disk_and_users import fill
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsweep.errors import HpcsweepError
from hpcsweep.store import Journal, RunPaths, acquire, create_run_dir, read_events

texts = st.text(max_size=20)
events_lists = st.lists(st.fixed_dictionaries({"event": texts, "at": st.floats(0, 1e10), "message": texts, "n": st.integers()}))


def append(run: RunPaths, *events: dict) -> None:
    with acquire(run, wait_s=0, command="test") as lock, Journal(run, lock, 1.0) as journal:
        journal.append(*events)


def read(run: RunPaths) -> list[dict]:
    return read_events(run).events


def named(run: RunPaths) -> list[str]:
    return [event["event"] for event in read(run)]


def die(run: RunPaths) -> tuple[object, Journal]:
    """A holder that is cut off: its lock looks abandoned, its journal is still open."""
    lock = acquire(run, wait_s=0, command="test")
    journal = Journal(run, lock, 1.0)
    path = run.lock_dir / f"{lock.generation:04d}"
    path.write_text("{}")  # facts that prove nothing
    os.utime(path, (0, 0))
    return lock, journal


def raw_append(journal: Journal, *events: dict) -> None:
    """What a revived holder's write does when it had passed its check before it was suspended."""
    os.write(journal._descriptor, "".join(json.dumps(event) + "\n" for event in events).encode())


def test_a_run_without_a_journal_says_so(run):
    reading = read_events(run)
    assert reading.events == []
    assert reading.problems == ["run-01 has no journal (state.jsonl)"]


@settings(deadline=None, max_examples=40)
@given(events_lists)
def test_events_come_back_in_order(events):
    with tempfile.TemporaryDirectory() as folder:
        run = create_run_dir(Path(folder))
        append(run, *events)
        append(run)
        append(run, *events)
        assert read(run) == events * 2
        assert read_events(run).problems == []


@settings(deadline=None, max_examples=60)
@given(events_lists.filter(bool), st.data())
def test_a_cut_at_any_byte_keeps_the_earlier_events_and_loses_no_later_one(events, data):
    with tempfile.TemporaryDirectory() as folder:
        run = create_run_dir(Path(folder))
        append(run, *events)
        whole = run.journal().read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        run.journal().write_bytes(whole[:cut])
        complete = whole[:cut].count(b"\n")
        kept = read(run)
        assert kept in (events[:complete], events[: complete + 1])
        new = {"event": "new", "at": 2}
        append(run, new)
        assert read(run) == [*kept, new]
        append(run, new)
        assert read(run) == [*kept, new, new]
        assert run.journal().read_bytes().startswith(whole[:cut])


@settings(deadline=None, max_examples=60)
@given(events_lists, st.binary(max_size=40))
def test_garbage_is_never_fatal(events, garbage):
    with tempfile.TemporaryDirectory() as folder:
        run = create_run_dir(Path(folder))
        append(run, *events)
        with run.journal().open("ab") as file:
            file.write(garbage)
        append(run, {"event": "new", "at": 2})
        got = read(run)
        assert got[: len(events)] == events
        assert got[-1] == {"event": "new", "at": 2}


def test_what_is_passed_over_is_said(run):
    append(run, {"event": "a", "at": 1})
    with run.journal().open("ab") as file:
        file.write(b"\0\0\0\n[1]\n" + b"[" * 100_000 + b'\n{"event": 3}\n{"event": "to')
    reading = read_events(run)
    assert reading.events == [{"event": "a", "at": 1}]
    assert reading.problems == [
        *(f"state.jsonl:{line}: this line is damaged and not counted" for line in (2, 3, 4, 5)),
        "state.jsonl: its last line is torn (a command was interrupted while writing it) and not counted",
    ]


def test_events_that_are_no_json_are_refused_before_anything_is_written(run):
    append(run, {"event": "a", "at": 1})
    with pytest.raises(ValueError, match="JSON"):
        append(run, {"event": "b", "at": float("nan")})
    assert named(run) == ["a"]


def test_a_takeover_pins_what_counts(run):
    _lock, old = die(run)
    raw_append(old, {"event": "counts", "at": 1})
    append(run, {"event": "new", "at": 2})
    raw_append(old, {"event": "late", "at": 3}, {"event": "late", "at": 3})
    append(run, {"event": "newer", "at": 4})
    reading = read_events(run)
    assert [event["event"] for event in reading.events] == ["counts", "new", "newer"]
    assert reading.problems == ["state.jsonl: 2 late lines of a command whose lock was taken over are ignored"]
    assert [path.name for path in run.journals()] == ["state.jsonl", "state.2.jsonl"]
    old.close()


def test_takeover_upon_takeover(run):
    open_journals = []
    for number in range(4):
        _lock, journal = die(run)
        raw_append(journal, {"event": f"e{number}", "at": number})
        open_journals.append(journal)
    for journal in open_journals[:-1]:
        raw_append(journal, {"event": "late", "at": 9})
    append(run, {"event": "last", "at": 10})
    raw_append(open_journals[-1], {"event": "late", "at": 11})
    reading = read_events(run)
    assert [event["event"] for event in reading.events] == ["e0", "e1", "e2", "e3", "last"]
    assert len(reading.problems) == 4
    for journal in open_journals:
        journal.close()


def test_a_takeover_that_wrote_nothing_still_fences_the_old_holder(run):
    _lock, old = die(run)
    raw_append(old, {"event": "counts", "at": 1})
    with acquire(run, wait_s=0, command="looks only"):
        pass
    append(run, {"event": "new", "at": 2})
    raw_append(old, {"event": "late", "at": 3})
    assert named(run) == ["counts", "new"]
    old.close()


def test_a_takeover_before_the_first_event(run):
    lock = acquire(run, wait_s=0, command="test")
    path = run.lock_dir / "0001"
    path.write_text("{}")
    os.utime(path, (0, 0))
    append(run, {"event": "first", "at": 1})
    with run.journal().open("w") as file:  # the one who was cut off opens its journal only now
        file.write('{"event": "late", "at": 2}\n')
    append(run, {"event": "second", "at": 3})
    assert named(run) == ["first", "second"]
    os.close(lock.fd)


def test_a_damaged_pin_counts_all_that_is_there(run):
    _lock, old = die(run)
    raw_append(old, {"event": "a", "at": 1})
    append(run, {"event": "b", "at": 2})
    path = run.journal(2)
    path.write_bytes(b"XX" + path.read_bytes()[2:])
    reading = read_events(run)
    assert [event["event"] for event in reading.events] == ["a", "b"]
    assert "state.2.jsonl: its first line is damaged; all of the journal before it is counted" in reading.problems
    old.close()


def test_a_missing_or_shortened_predecessor_is_said(run):
    _lock, old = die(run)
    raw_append(old, {"event": "a", "at": 1}, {"event": "a", "at": 1})
    append(run, {"event": "b", "at": 2})
    os.truncate(run.journal(), 5)
    reading = read_events(run)
    assert [event["event"] for event in reading.events] == ["b"]
    assert any("bytes are missing at its end" in problem for problem in reading.problems)
    run.journal().unlink()
    assert read_events(run).problems == ["state.2.jsonl: the journal before it, state.jsonl, is not there"]
    old.close()


def test_nothing_is_written_without_the_lock(run):
    with acquire(run, wait_s=0, command="test") as lock, Journal(run, lock, 1.0) as journal:
        journal.append({"event": "a", "at": 1})
        lock.release()
        with pytest.raises(HpcsweepError, match="released already"):
            journal.append({"event": "b", "at": 2})
        with pytest.raises(HpcsweepError, match="released already"):
            Journal(run, lock, 1.0)
    assert named(run) == ["a"]


def test_a_disk_that_fails_is_an_error_and_the_next_append_is_whole(run, monkeypatch):
    real = os.write
    lengths = []

    def torn(descriptor, data):
        lengths.append(len(data))
        if len(lengths) == 1:
            return real(descriptor, bytes(data)[:10])
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    append(run, {"event": "a", "at": 1})
    with acquire(run, wait_s=0, command="test") as lock, Journal(run, lock, 1.0) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", torn)
            with pytest.raises(HpcsweepError, match=r"(?s)cannot write the journal .*state\.jsonl: your quota is used up"):
                journal.append({"event": "x", "at": 2})
        journal.append({"event": "b", "at": 3})
    assert named(run) == ["a", "b"]


def test_a_takeover_during_an_append_is_told(run, monkeypatch):
    real = os.fsync

    def suspended(descriptor):
        real(descriptor)
        (run.lock_dir / "0002").touch()  # somebody else's generation

    with acquire(run, wait_s=0, command="test") as lock, Journal(run, lock, 1.0) as journal, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", suspended)
        with pytest.raises(HpcsweepError, match="taken over by another command"):
            journal.append({"event": "submitting", "at": 2})


def test_a_full_disk(small_disk):
    run = create_run_dir(small_disk / "runs")
    append(run, {"event": "a", "at": 1})
    with acquire(run, wait_s=0, command="test") as lock, Journal(run, lock, 1.0) as journal:
        filler = fill(small_disk)
        with pytest.raises(HpcsweepError, match="the disk is full"):
            journal.append({"event": "large", "at": 2, "text": "x" * 10_000})
        assert named(run) == ["a"]
        filler.unlink()
        journal.append({"event": "b", "at": 3})
    assert named(run) == ["a", "b"]
