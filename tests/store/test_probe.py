"""What is tried of a folder's file system, and that nothing of it is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpcsweep.errors import HpcsweepError
from hpcsweep.store import private_folder, probe, probe_folder
from hpcsweep.store.probe import find_mount

TRIALS = {"hard link", "exclusive link", "rename", "flock", "fsync", "listing"}
MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/with\\040blank tmpfs rw 0 0
proc /proc proc rw 0 0
below /scratch xfs rw 0 0
above /scratch lustre rw 0 0
odd
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/home/user/runs", ("/home", "nfs4")),
        ("/homes/user", ("/", "ext4")),
        ("/home/with blank/runs", ("/home/with blank", "tmpfs")),
        ("/scratch/x", ("/scratch", "lustre")),
    ],
)
def test_the_nearest_mount_point_counts_and_the_upper_one(path, found):
    assert find_mount(Path(path), MOUNTS) == found


def test_without_mounts_nobody_knows():
    assert find_mount(Path("/home"), "") == ("", "")


def test_a_sound_folder(hostile_dir):
    facts = probe_folder(hostile_dir)
    assert dict(facts.faults) == dict.fromkeys(TRIALS, "")
    assert (facts.clock_ahead_s, facts.kind != "", list(hostile_dir.iterdir())) == (0.0, True, [])
    assert facts.free_bytes > 0


def no(*_args: object, **_options: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_what_the_file_system_refuses_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no)
    monkeypatch.setattr(probe.fcntl, "flock", no)
    faults = probe_folder(tmp_path).faults
    assert {name for name, fault in faults.items() if fault == "Operation not permitted"} == {
        "hard link",
        "exclusive link",
        "flock",
    }
    assert not faults["rename"]
    assert list(tmp_path.iterdir()) == []


def test_a_yes_that_is_none_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda source, target: Path(target).write_bytes(Path(source).read_bytes()))
    monkeypatch.setattr(probe.fcntl, "flock", lambda *_: None)
    monkeypatch.setattr(Path, "replace", lambda *_: None)
    faults = probe_folder(tmp_path).faults
    assert "another file" in faults["hard link"]
    assert "given to another file" in faults["exclusive link"]
    assert "not in the place" in faults["rename"]
    assert "same lock" in faults["flock"]


def test_a_file_server_whose_clock_differs(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "utime", lambda path, _utime=os.utime: _utime(path, (1000, 1000)))
    assert probe_folder(tmp_path).clock_ahead_s < -1_000_000_000


class TestPrivateFolder:
    def test_what_was_made_for_it_goes_with_it(self, tmp_path):
        with private_folder(tmp_path / "a" / "b") as folder:
            (folder / "file").write_text("x")
            assert folder.parent == tmp_path / "a" / "b"
            assert folder.stat().st_mode & 0o077 == 0
        assert list(tmp_path.iterdir()) == []

    def test_what_was_there_stays(self, tmp_path):
        (tmp_path / "runs").mkdir()
        with private_folder(tmp_path / "runs"):
            pass
        assert list((tmp_path / "runs").iterdir()) == []

    def test_so_does_what_somebody_else_has_put_there_meanwhile(self, tmp_path):
        with private_folder(tmp_path / "a" / "runs"):
            (tmp_path / "a" / "runs" / "run-01").mkdir()
        assert (tmp_path / "a" / "runs" / "run-01").is_dir()

    def test_an_interruption_leaves_nothing(self, tmp_path):
        with pytest.raises(KeyboardInterrupt), private_folder(tmp_path / "runs"):
            raise KeyboardInterrupt
        assert list(tmp_path.iterdir()) == []

    def test_where_nothing_can_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(HpcsweepError, match="file, not a folder"), private_folder(tmp_path / "file" / "runs"):
            pass
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
