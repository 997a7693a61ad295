"""Files are whole or not there, and every "no" of the disk is told in words."""

import errno
import os
import stat

import pytest
from disk_and_users import as_ordinary_user, fill, names_in

from hpcsweep.errors import HpcsweepError
from hpcsweep.store import create_exclusively, read_bytes, read_text, sharing, write_atomically
from hpcsweep.store.files import explain, link_exclusively, write_temporary


def test_a_file_is_written_and_replaced_without_leftovers(tmp_path):
    path = tmp_path / "x"
    write_atomically(path, "one é\r\n")
    assert read_text(path) == "one é\r\n"
    write_atomically(path, b"\x00\xff")
    assert read_bytes(path) == b"\x00\xff"
    assert names_in(tmp_path) == ["x"]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write_atomically(path, "old")

    def no_room(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(HpcsweepError, match=r"cannot write .*x: the disk is full") as caught:
        write_atomically(path, "new")
    assert "room" in caught.value.hint
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["x"]


def test_short_writes_are_completed(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
    write_atomically(tmp_path / "x", b"0123456789")
    assert (tmp_path / "x").read_bytes() == b"0123456789"


def test_an_existing_file_is_never_touched_by_create_exclusively(tmp_path):
    path = tmp_path / "x"
    create_exclusively(path, "first")
    with pytest.raises(FileExistsError):
        create_exclusively(path, "second")
    assert path.read_text() == "first"
    assert names_in(tmp_path) == ["x"]


def test_a_link_that_the_server_made_twice_is_ours(tmp_path, monkeypatch):
    temporary = write_temporary(tmp_path, b"mine")
    real = os.link

    def replayed(source, target):
        real(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", replayed)
    assert link_exclusively(temporary, tmp_path / "name")
    monkeypatch.setattr(os, "link", real)
    assert not link_exclusively(write_temporary(tmp_path, b"other"), tmp_path / "name")
    assert (tmp_path / "name").read_bytes() == b"mine"


def test_modes_follow_the_umask_of_the_run_unless_given(tmp_path):
    with sharing(0o002):
        write_atomically(tmp_path / "shared", "x")
        write_atomically(tmp_path / "script", "x", mode=0o750)
    with sharing(None):
        write_atomically(tmp_path / "own", "x")
    before = os.umask(0o022)
    os.umask(before)
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o664
    assert stat.S_IMODE((tmp_path / "script").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o666 & ~before


def test_reading_says_what_is_wrong(tmp_path):
    with pytest.raises(HpcsweepError, match=r"cannot read .*nothing: it is not there"):
        read_text(tmp_path / "nothing")
    with pytest.raises(HpcsweepError, match="it is a folder"):
        read_text(tmp_path)
    (tmp_path / "binary").write_bytes(b"ab\xff")
    with pytest.raises(HpcsweepError, match="byte 2 is not UTF-8"):
        read_text(tmp_path / "binary")
    with pytest.raises(HpcsweepError, match="a part of its path is a file"):
        read_text(tmp_path / "binary" / "x")


def test_closed_files_and_folders_are_named(open_folder):
    secret = open_folder / "secret"
    secret.write_text("x")
    secret.chmod(0)
    open_folder.chmod(0o555)
    assert as_ordinary_user(lambda: read_text(secret)) == f"HpcsweepError: cannot read {secret}: no permission"
    new = open_folder / "new"
    assert as_ordinary_user(lambda: write_atomically(new, "x")) == f"HpcsweepError: cannot write {new}: no permission"
    open_folder.chmod(0o755)
    assert names_in(open_folder) == ["secret"]


def test_a_full_disk_keeps_the_old_file(small_disk):
    path = small_disk / "x"
    write_atomically(path, "old")
    filler = fill(small_disk)
    with pytest.raises(HpcsweepError, match="the disk is full"):
        write_atomically(path, "n" * 100_000)
    with pytest.raises(HpcsweepError, match="the disk is full"):
        create_exclusively(small_disk / "y", "n" * 100_000)
    assert path.read_text() == "old"
    assert names_in(small_disk) == ["filler", "x"]
    filler.unlink()
    write_atomically(path, "new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ESTALE, errno.EXDEV])
def test_every_refusal_has_words(number):
    error = explain(OSError(number, os.strerror(number)), "write", "runs/x")
    assert error.message.startswith("cannot write runs/x: ")
    assert "Errno" not in error.message


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o007])
@pytest.mark.parametrize("mode", [None, 0o755])
def test_no_file_has_more_rights_than_the_umask_allows(tmp_path, umask, mode):
    with sharing(umask):
        write_atomically(tmp_path / "file", "text", mode)
    assert (tmp_path / "file").stat().st_mode & 0o777 == (mode or 0o666) & ~umask
