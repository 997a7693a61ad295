"""What a run records of its code: commit, branch, remote, changes that can be applied again, names of what git does not know."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hpcsweep.runs import git
from hpcsweep.runs.git import without_credentials

SWEEP = "command: 'true'\nspace: {x: [1]}\n"


def sh(folder: Path, *words: str) -> str:
    return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True, errors="surrogateescape").stdout


@pytest.fixture
def project(site, monkeypatch):
    """The user's folder as a repository with one commit."""
    for key, value in {"AUTHOR_NAME": "me", "AUTHOR_EMAIL": "me@x", "COMMITTER_NAME": "me", "COMMITTER_EMAIL": "me@x"}.items():
        monkeypatch.setenv(f"GIT_{key}", value)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    sh(site.folder, "git", "init", "-q", "-b", "main")
    (site.folder / "train.py").write_text("print(1)\n")
    sh(site.folder, "git", "add", ".")
    sh(site.folder, "git", "commit", "-qm", "first")
    return site


def submit(site, *words: str, name: str = "run-01") -> dict:
    ended = site("submit", site.sweep(SWEEP), *words)
    assert ended.code == 0, ended.said
    return {**json.loads((site.folder / "runs" / name / "run.json").read_text()), "said": ended.said}


def test_a_clean_project(project):
    info = submit(project)
    commit = sh(project.folder, "git", "rev-parse", "HEAD").strip()
    expected = {"commit": commit, "branch": "main", "remote": None, "dirty": False, "diff": None, "untracked": ["sweep.yaml"]}
    assert expected.items() <= info["git"].items()
    assert not (project.run / "code.diff").exists()
    assert project.status()["code"]["commit"] == commit


def test_the_changes_can_be_applied_to_the_commit(project, tmp_path):
    folder = project.folder
    hostile = "a b\n'é\".txt"
    (folder / hostile).write_bytes(b"caf\xe9 \r\n" * 3)
    (folder / "old.bin").write_bytes(bytes(range(256)))
    (folder / "link").symlink_to("train.py")
    (folder / "moved.py").write_text("moved = 1\n" * 20)
    sh(folder, "git", "add", ".")
    sh(folder, "git", "commit", "-qm", "second")
    (folder / hostile).write_bytes(b"caf\xe8 \r\n" * 4)
    (folder / "old.bin").write_bytes(bytes(range(255, -1, -1)) * 9)
    (folder / "link").unlink()
    (folder / "link").symlink_to("old.bin")
    (folder / "train.py").chmod(0o755)
    sh(folder, "git", "mv", "moved.py", "new place.py")
    (folder / "staged.py").write_text("staged\n")
    sh(folder, "git", "add", "staged.py")
    # What a user may have set must not change what is recorded.
    for setting in (
        "diff.noprefix true",
        "color.ui always",
        "diff.relative true",
        "diff.renames copies",
        "core.autocrlf input",
    ):
        sh(folder, "git", "config", *setting.split())
    tracked = [name for name in sh(folder, "git", "ls-files", "-z").split("\0") if name]
    (folder / "sub").mkdir()
    before = sh(folder, "git", "status", "--porcelain")
    info = submit(project)
    assert sh(folder, "git", "status", "--porcelain").replace("?? runs/\n", "").replace("?? sweep.yaml\n", "") == before
    assert info["git"]["dirty"] is True
    sh(tmp_path, "git", "clone", "-q", str(folder), "again")
    sh(tmp_path / "again", "git", "checkout", "-q", info["git"]["commit"])
    sh(tmp_path / "again", "git", "apply", str(project.run / "code.diff"))
    for name in tracked:
        ours, again = folder / name, tmp_path / "again" / name
        assert ours.is_symlink() == again.is_symlink()
        assert ours.read_bytes() == again.read_bytes()
        assert os.access(ours, os.X_OK) == os.access(again, os.X_OK)
    assert not (tmp_path / "again" / "moved.py").exists()


def test_from_a_folder_below_the_whole_project_is_recorded(project):
    (project.folder / "sub").mkdir()
    (project.folder / "train.py").write_text("print(2)\n")
    project.sweep(SWEEP)
    project.folder = project.folder / "sub"
    assert project("submit", "../sweep.yaml").code == 0
    info = json.loads((project.run / "run.json").read_text())
    assert info["git"]["root"] == str(project.folder.parent)
    assert info["git"]["untracked"] == ["sweep.yaml"]
    assert "+print(2)" in (project.run / "code.diff").read_text()


def test_what_git_does_not_know_is_named_but_not_the_runs(project):
    (project.folder / "data").mkdir()
    (project.folder / "data" / "new.csv").touch()
    (project.folder / ".gitignore").write_text("*.ckpt\n")
    (project.folder / "data" / "x.ckpt").touch()
    (Path(os.fsdecode(os.fsencode(project.folder) + b"/not utf8 \xff"))).touch()
    submit(project)
    info = submit(project, name="run-02")
    assert info["git"]["untracked"] == [".gitignore", "data/new.csv", "not utf8 \\xff", "sweep.yaml"]
    assert info["git"]["untracked_count"] == 4


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://me:token@example.org/a.git", "https://example.org/a.git"),
        ("https://token@example.org:8443/a.git?private_token=x#y", "https://example.org:8443/a.git"),
        ("ssh://git:pw@example.org/a.git", "ssh://git@example.org/a.git"),
        ("git@example.org:me/a.git", "git@example.org:me/a.git"),
        ("/srv/git/a.git", "/srv/git/a.git"),
        ("https://[me:token@example.org/a.git", "https://example.org/a.git"),
    ],
)
def test_no_credentials_of_a_remote_are_recorded(url, kept):
    assert without_credentials(url) == kept


def test_the_remote(project):
    sh(project.folder, "git", "remote", "add", "origin", "https://me:token@example.org/a.git")
    assert submit(project)["git"]["remote"] == "https://example.org/a.git"
    assert "token" not in (project.run / "run.json").read_text()


def test_a_detached_head_and_no_commit_yet(project, make_site):
    sh(project.folder, "git", "checkout", "-q", "--detach")
    info = submit(project)
    assert (info["git"]["branch"], len(info["git"]["commit"])) == (None, 40)
    fresh = make_site()
    sh(fresh.folder, "git", "init", "-q", "-b", "main")
    (fresh.folder / "a.py").touch()
    sh(fresh.folder, "git", "add", ".")
    info = submit(fresh)
    assert (info["git"]["commit"], info["git"]["branch"], info["git"]["dirty"]) == (None, "main", True)
    assert "no commit yet" in info["said"]


def test_outside_of_git_nothing_is_said(site):
    info = submit(site)
    assert info["git"] is None
    assert "git " not in info["said"]
    code = site.status()["code"]
    expected = dict.fromkeys(("commit", "branch", "dirty", "diff", "snapshot"), None)
    assert code == expected | {"environment": code["environment"]}


def test_changes_that_are_too_large(project, monkeypatch):
    monkeypatch.setattr(git, "MOST_DIFF_BYTES", 1000)
    (project.folder / "train.py").write_text("print(2)\n" * 1000)
    info = submit(project)
    assert (info["git"]["dirty"], info["git"]["diff"]) == (True, None)
    assert "were not recorded" in info["said"]
    assert not (project.run / "code.diff").exists()


def fake_git(project, monkeypatch, script: str) -> None:
    tools = project.folder.parent / "tools"
    tools.mkdir()
    (tools / "git").write_text(f"#!/bin/bash\n{script}\n")
    (tools / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")


def test_a_git_that_hangs_does_not_hold_a_submit(project, monkeypatch):
    monkeypatch.setattr(git, "TIME_LIMIT_S", 0.2)
    fake_git(project, monkeypatch, "sleep 1000 & exec sleep 1000")
    info = submit(project)
    assert "did not answer" in info["git"]["problem"]
    assert "did not answer" in info["said"]


def test_a_git_that_hangs_later_keeps_what_was_known(project, monkeypatch):
    monkeypatch.setattr(git, "TIME_LIMIT_S", 2.0)
    real = shutil.which("git")
    fake_git(project, monkeypatch, f'[[ "$*" != *status* ]] || exec sleep 1000; exec {real} "$@"')
    info = submit(project)
    assert "did not answer" in info["git"]["problem"]
    assert len(info["git"]["commit"]) == 40


def test_a_repository_that_git_refuses(project, as_user):
    as_user(["true"])
    shutil.chown(project.folder / ".git", 12345)
    shutil.chown(project.folder, 12345)
    info = submit(project)
    assert "dubious ownership" in info["git"]["problem"]
    assert "dubious ownership" in info["said"]


def test_modules_and_versions(site, monkeypatch):
    monkeypatch.setenv("LOADEDMODULES", "gcc/12.2:cuda/12.1")
    info = submit(site)
    assert info["modules"] == ["gcc/12.2", "cuda/12.1"]
    assert set(info["versions"]) == {"hpcsweep", "python", "platform", "scheduler"}


def test_a_dry_run_says_it_too(project):
    (project.folder / "train.py").write_text("print(2)\n")
    said = project("submit", project.sweep(SWEEP), "--dry-run").said
    assert "+print(2)" in said
    assert '"branch": "main"' in said
    assert not project.run.exists()
