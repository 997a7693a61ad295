"""Runs get their names, and are found again."""

import grp
import multiprocessing
import os
import stat

import pytest
from disk_and_users import as_ordinary_user, fill, names_in

from hpcsweep.errors import HpcsweepError
from hpcsweep.store import (
    RunPaths,
    absolute_as_written,
    create_run_dir,
    discard_run_dir,
    find_run,
    is_in_place,
    list_runs,
    missing_folders,
    read_run_json,
    write_run_json,
)

fork = multiprocessing.get_context("fork")


def make_run(runs_dir, name=None, created=1.0) -> RunPaths:
    run = create_run_dir(runs_dir, name)
    write_run_json(run, {"created": created, "path": str(run.root)})
    return run


def test_numbers_go_on_from_the_highest(runs_dir):
    assert [create_run_dir(runs_dir).name for _ in range(3)] == ["run-01", "run-02", "run-03"]
    (runs_dir / "run-01").rename(runs_dir / "elsewhere")
    (runs_dir / "run-99").write_text("even a file has the name")
    (runs_dir / "run-x").mkdir()
    assert [create_run_dir(runs_dir).name for _ in range(2)] == ["run-100", "run-101"]


def test_the_number_of_an_archived_run_is_not_given_again(runs_dir):
    runs_dir.mkdir(parents=True)
    (runs_dir / "run-01.tar.gz").write_bytes(b"")
    assert create_run_dir(runs_dir).name == "run-02"


def test_only_what_submit_left_is_said_to_be_of_no_use(runs_dir, tmp_path):
    left = create_run_dir(runs_dir)
    with pytest.raises(HpcsweepError) as caught:
        read_run_json(left)
    assert "can be deleted" in caught.value.hint
    (left.lock_dir / "0001").touch()
    for folder in (left, RunPaths(tmp_path)):
        with pytest.raises(HpcsweepError, match="is no run") as caught:
            read_run_json(folder)
        assert "can be deleted" not in caught.value.hint


def test_a_new_folder_is_no_run_yet(runs_dir):
    run = create_run_dir(runs_dir)
    assert list_runs(runs_dir) == []
    with pytest.raises(HpcsweepError, match="is no run"):
        find_run(runs_dir, run.name)


def test_many_creators_at_once_get_many_runs(runs_dir):
    with fork.Pool(8) as pool:
        runs = pool.map(create_run_dir, [runs_dir] * 40)
    assert sorted(run.name for run in runs) == sorted(f"run-{number:02d}" for number in range(1, 41))


def test_a_name_of_ones_own(runs_dir):
    assert create_run_dir(runs_dir, "lr scan (2), für später").root.is_dir()
    with pytest.raises(HpcsweepError, match="already"):
        create_run_dir(runs_dir, "lr scan (2), für später")


@pytest.mark.parametrize("name", ["", " x", "a/b", "..", ".hidden", "-rf", "a\nb", "a\0b", "x" * 201])
def test_names_that_are_no_plain_folder_names(runs_dir, name):
    with pytest.raises(HpcsweepError, match="cannot be a run's name"):
        create_run_dir(runs_dir, name)
    assert not runs_dir.exists()


def test_a_run_that_failed_leaves_nothing(runs_dir):
    made = missing_folders(runs_dir / "deep")
    run = create_run_dir(runs_dir / "deep")
    discard_run_dir(run, made)
    assert not runs_dir.exists()
    kept = make_run(runs_dir)
    discard_run_dir(kept)
    assert kept.run_json.is_file()


def test_a_closed_folder_is_said_and_nothing_is_left(open_folder):
    open_folder.chmod(0o555)
    said = as_ordinary_user(lambda: create_run_dir(open_folder))
    assert said == f"HpcsweepError: cannot make a run in {open_folder}: no permission"
    said = as_ordinary_user(lambda: create_run_dir(open_folder / "a" / "runs"))
    assert said == f"HpcsweepError: cannot make the folder {open_folder / 'a' / 'runs'}: no permission"
    open_folder.chmod(0o755)
    assert names_in(open_folder) == []


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "runs").write_text("x")
    with pytest.raises(HpcsweepError, match=r"(?s)cannot make the folder .*runs"):
        create_run_dir(tmp_path / "runs")


def test_a_full_disk_leaves_no_half_run(small_disk):
    filler = fill(small_disk)
    try:
        while True:  # folders of a tmpfs take no pages, but there are only so many inodes
            (small_disk / f"d{len(names_in(small_disk))}").mkdir()
    except OSError:
        pass
    before = names_in(small_disk)
    with pytest.raises(HpcsweepError, match="the disk is full"):
        create_run_dir(small_disk / "runs")
    assert names_in(small_disk) == before
    assert filler.exists()


def test_a_shared_run_hands_its_group_on(runs_dir):
    gid = os.getgroups()[0] if os.getgroups() else os.getgid()
    group = grp.getgrgid(gid).gr_name
    run = create_run_dir(runs_dir, umask=0o007, group=group)
    assert stat.S_IMODE(run.root.stat().st_mode) == 0o2770
    assert run.root.stat().st_gid == gid
    assert run.lock_dir.stat().st_gid == gid
    with pytest.raises(HpcsweepError, match="there is no group 'no such group'"):
        create_run_dir(runs_dir, group="no such group")
    assert [path.name for path in runs_dir.iterdir()] == ["run-01"]


def test_runs_are_listed_as_people_count(runs_dir):
    for name in ["run-10", "run-9", "b", "run-100"]:
        make_run(runs_dir, name)
    assert [run.name for run in list_runs(runs_dir)] == ["b", "run-9", "run-10", "run-100"]
    assert list_runs(runs_dir / "nothing") == []


def test_the_latest_run_is_the_newest_by_its_own_date(runs_dir):
    make_run(runs_dir, created=30.0)
    newest = make_run(runs_dir, created=50.0)
    make_run(runs_dir, created=40.0)
    damaged = make_run(runs_dir)
    damaged.run_json.write_text("{")
    assert find_run(runs_dir) == newest


def test_a_run_is_found_by_name_and_by_path(runs_dir, tmp_path, monkeypatch):
    run = make_run(runs_dir)
    assert find_run(runs_dir, "run-01") == run
    assert find_run(tmp_path / "other", str(run.root)) == run
    monkeypatch.chdir(runs_dir)
    assert find_run(tmp_path / "other", "./run-01").root.samefile(run.root)
    assert find_run(tmp_path / "other", "run-01/").root.samefile(run.root)
    monkeypatch.chdir(run.root)
    assert find_run(tmp_path / "other", ".").name == "run-01"


def test_a_run_that_is_not_there_names_the_nearest(runs_dir):
    for _ in range(2):
        make_run(runs_dir)
    make_run(runs_dir, "optimizers")
    with pytest.raises(HpcsweepError, match="there is no run 'optimisers'") as caught:
        find_run(runs_dir, "optimisers")
    assert "did you mean optimizers" in caught.value.hint
    assert "run-01, run-02" in caught.value.hint
    for text in ["", "a\0b", "x" * 5000]:
        with pytest.raises(HpcsweepError, match="there is no run"):
            find_run(runs_dir, text)


def test_no_run_at_all_says_how_to_make_one(runs_dir):
    for text in [None, "run-01"]:
        with pytest.raises(HpcsweepError) as caught:
            find_run(runs_dir, text)
        assert "hpcsweep submit" in caught.value.hint


def test_a_moved_or_copied_run_is_not_in_place(runs_dir, tmp_path):
    run = make_run(runs_dir)
    assert is_in_place(run)
    link = tmp_path / "link"
    link.symlink_to(runs_dir)
    assert is_in_place(RunPaths(link / "run-01"))
    run.root.rename(runs_dir / "moved")
    moved = RunPaths(runs_dir / "moved")
    assert not is_in_place(moved)
    assert is_in_place(moved, str(moved.root))
    make_run(runs_dir)  # run-01 again: another folder under the recorded path
    assert not is_in_place(moved)


def test_paths_stay_as_the_user_writes_them(tmp_path, monkeypatch):
    real = tmp_path / "real"
    (real / "deep").mkdir(parents=True)
    home = tmp_path / "home"
    home.symlink_to(real)
    monkeypatch.chdir(home)
    monkeypatch.setenv("PWD", str(home))
    assert absolute_as_written(type(home)("runs")) == home / "runs"
    assert absolute_as_written(type(home)("deep/../runs")) == real / "runs"
    (real / "runs").mkdir()
    assert absolute_as_written(type(home)("deep/../runs")) == home / "runs"
    monkeypatch.setenv("PWD", "/nonsense")
    assert absolute_as_written(type(home)("runs")) == real / "runs"


def test_an_archived_run_is_said_to_be_one(tmp_path):
    (tmp_path / "run-07.tar.gz").write_bytes(b"")
    with pytest.raises(HpcsweepError) as caught:
        find_run(tmp_path, "run-07")
    assert "archived" in caught.value.message
    assert f"tar -xzf {tmp_path}/run-07.tar.gz" in caught.value.hint
