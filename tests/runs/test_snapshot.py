"""``snapshot: true``: the tasks run in a copy of the project, and what is edited afterwards changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpcsweep.runs import git, housekeeping, snapshot
from hpcsweep.runs.run import Run
from hpcsweep.store import RunPaths, changed_code

FROZEN = "snapshot: true\nspace: {x: [1]}\n"


def sh(folder: Path, *words: str) -> str:
    return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True, errors="surrogateescape").stdout


@pytest.fixture
def project(site, monkeypatch):
    """The user's folder as a repository with one commit."""
    for key, value in {"AUTHOR_NAME": "me", "AUTHOR_EMAIL": "me@x", "COMMITTER_NAME": "me", "COMMITTER_EMAIL": "me@x"}.items():
        monkeypatch.setenv(f"GIT_{key}", value)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    (site.folder / "train.sh").write_text("echo version 1\n")
    (site.folder / ".gitignore").write_text("runs\n*.big\n")
    sh(site.folder, "git", "init", "-q", "-b", "main")
    commit(site)
    return site


def commit(site) -> None:
    sh(site.folder, "git", "add", ".")
    sh(site.folder, "git", "commit", "-qm", "x")


def submit(site, text: str, *words: str) -> str:
    ended = site("submit", site.sweep(text), *words)
    assert ended.code == 0, ended.said
    return ended.said


def refused(site, text: str) -> str:
    ended = site("submit", site.sweep(text))
    assert ended.code == 1, ended.said
    assert not list(site.folder.glob("runs/*"))
    return ended.said


def log(site, task: int = 0, attempt: int = 1) -> str:
    return (site.run / f"tasks/{task:06d}/attempt-{attempt}.log").read_text()


def run_it(site, text: str, *words: str) -> str:
    submit(site, text, *words)
    site("wait")
    return log(site)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def test_editing_while_tasks_wait_changes_nothing(project, await_that):
    gate = project.folder / "gate"
    (project.folder / "train.sh").write_text("echo version 2\n")  # not committed, but as it is when it is submitted
    text = f'command: |\n  until [ -e "{gate}" ]; do sleep 0.05; done\n  bash train.sh; exit 3\nsnapshot: true\nspace: {{x: [1, 2]}}\n'
    submit(project, text, "--jobs", "1")
    (project.folder / "train.sh").write_text("echo version 3\n")
    sh(project.folder, "git", "commit", "-qam", "third")
    gate.touch()
    project("wait")
    assert [log(project, task) for task in (0, 1)] == ["version 2\n"] * 2
    (project.folder / "train.sh").unlink()
    project("resubmit")
    project("wait")
    assert log(project, 0, attempt=2) == "version 2\n"
    assert project.status()["code"]["snapshot"] == str(project.run / "code")


def test_without_it_the_code_is_that_of_the_moment(project):
    assert run_it(project, "command: bash train.sh; pwd\nspace: {x: [1]}\n") == f"version 1\n{project.folder}\n"
    assert project.status()["code"]["snapshot"] is None
    assert not (project.run / "code").exists()


def test_the_same_place_inside_the_copy(project):
    sub = project.folder / "sub" / "deep"
    sub.mkdir(parents=True)
    (sub / "here.txt").write_text("here\n")
    (project.folder / "scratch.big").mkdir()
    commit(project)
    project.folder = sub
    said = run_it(project, f"command: pwd; cat deep/here.txt ../train.sh; echo {{{{ hpcsweep.cwd }}}}\nworkdir: ..\n{FROZEN}")
    code = project.run / "code"
    assert said.splitlines() == [str(code / "sub"), "here", "echo version 1", str(code / "sub" / "deep")]
    assert files(code) == {"train.sh", ".gitignore", "sub/deep/here.txt"}


def test_workdir(project):
    for name in ("out", "../other"):
        (project.folder / name).mkdir()
    folder, code = str(project.folder), "{folder}/runs/run-NN/code"
    places = {
        "out": f"{code}/out",
        "{folder}/out": f"{code}/out",
        "{folder}": code,
        "..": os.path.dirname(folder),  # noqa: PTH120 - texts
        "{folder}/../other": f"{os.path.dirname(folder)}/other",  # noqa: PTH120
        "task": "task",
    }
    for workdir, where in places.items():
        sweep = project.sweep(f"command: pwd\nworkdir: '{workdir.format(folder=folder)}'\n{FROZEN}")
        assert f"hpcsweep_workdir='{where.format(folder=folder)}'" in project("show", sweep).said
    assert run_it(project, f"command: pwd\nworkdir: out\n{FROZEN}").strip() == f"{project.run}/code/out"


def test_links_lead_into_the_copy_where_it_has_the_file(project):
    (project.folder / "data.big").write_text("data 1\n")
    run_it(project, f"command: cat train.sh data.big\nworkdir: task\nlink: [train.sh, data.big]\n{FROZEN}")
    assert log(project) == "echo version 1\ndata 1\n"
    assert (project.run / "tasks/000000/train.sh").readlink() == project.run / "code/train.sh"
    assert (project.run / "tasks/000000/data.big").readlink() == project.folder / "data.big"


def test_names_rights_and_links_are_kept(project):
    folder = project.folder
    names = ["a b", "new\nline", "back\\slash", "été ✓", "-n", "*", "$(touch pwned)", "sub/%j"]
    names.append(os.fsdecode(b"not utf8 \xff"))
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name.encode("utf-8", "replace").decode())
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o755)
    (folder / "closed").write_text("x")
    (folder / "closed").chmod(0o444)
    (folder / "data.big").mkdir()
    for link, target in {
        "inside": "sub/%j",
        "sub/up": "../a b",
        "to-data": "data.big",
        "out": "../..",
        "gone": "nowhere",
    }.items():
        (folder / link).symlink_to(target)
    (folder / "absolute").symlink_to(folder / "a b")
    commit(project)
    submit(project, f"command: 'true'\n{FROZEN}")
    code = project.run / "code"
    assert files(code) == set(sh(folder, "git", "ls-files", "-z").split("\0")) - {""}
    for name in names:
        assert (code / name).read_bytes() == (folder / name).read_bytes()
    assert os.access(code / "tool", os.X_OK)
    assert not (code / "closed").stat().st_mode & 0o222
    expected = {"inside": "sub/%j", "sub/up": "../a b", "absolute": "a b"}
    assert {link: str((code / link).readlink()) for link in expected} == expected
    assert (code / "to-data").readlink() == folder / "data.big"
    assert (code / "out").resolve() == folder.parent.parent
    sh(code, "sha256sum", "--check", "--strict", "../code.sha256")
    assert changed_code(RunPaths(project.run)) == []
    assert project("verify").code == 0
    (code / "new\nline").write_text("edited")
    (code / "back\\slash").unlink()
    assert changed_code(RunPaths(project.run)) == ["back\\slash", "new\nline"]
    assert "not what was copied" in project("verify").said
    assert project("verify").code == 1
    project("wait")
    assert project("rm", "run-01").code == 0
    assert not project.run.exists()


def test_what_is_deleted_staged_or_in_a_submodule(project, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "file")
    module = tmp_path / "module"
    module.mkdir()
    (module / "m.txt").write_text("1")
    sh(module, "git", "init", "-q", "-b", "main")
    sh(module, "git", "add", ".")
    sh(module, "git", "commit", "-qm", "m")
    sh(project.folder, "git", "submodule", "--quiet", "add", str(module), "lib/module")
    commit(project)
    (project.folder / "lib/module/m.txt").write_text("2")
    (project.folder / "train.sh").unlink()
    (project.folder / "staged").touch()
    sh(project.folder, "git", "add", "staged")
    submit(project, f"command: 'true'\n{FROZEN}")
    assert files(project.run / "code") == {".gitignore", ".gitmodules", "lib/module/m.txt", "staged", "sweep.yaml"} - {
        "sweep.yaml"
    }
    assert (project.run / "code/lib/module/m.txt").read_text() == "2"


def test_include_exclude_and_link(project):
    folder = project.folder
    for name in ("docs/a.md", "docs/b.md", "model.ckpt", "conf/x.json", "conf/y.txt", "data.big/1", "data.big/2"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    sh(folder, "git", "add", "docs", "model.ckpt", "-f", "data.big/1")
    sh(folder, "git", "commit", "-qm", "x")
    said = submit(
        project,
        "command: 'true'\nspace: {x: [1]}\nsnapshot: {include: ['conf/*.json'], exclude: [docs, '*.ckpt'], link: [data.big]}\n",
    )
    code = project.run / "code"
    assert files(code) == {"train.sh", ".gitignore", "conf/x.json", "data.big"}
    assert (code / "data.big").readlink() == folder / "data.big"
    assert "conf/y.txt" in said
    assert "conf/x.json" not in said


def test_without_git_the_folder_is_copied_but_for_what_is_nobodys_code(site):
    for name in (".venv/x", "env/pyvenv.cfg", "__pycache__/x", "a/train.py", "a/.git/x", "runs.py", ".hidden"):
        (site.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (site.folder / name).touch()
    (site.folder / "a" / "pipe.py").symlink_to("train.py")
    os.mkfifo(site.folder / "fifo")
    submit(site, f"command: 'true'\n{FROZEN}")
    submit(site, f"command: 'true'\n{FROZEN}")
    expected = {"a/train.py", "a/pipe.py", "runs.py", ".hidden", "sweep.yaml"}
    assert files(site.run / "code") == expected
    assert files(site.folder / "runs/run-02/code") == expected


def test_a_folder_that_git_ignores_is_taken_whole(project):
    sub = project.folder / "mine.big"
    sub.mkdir()
    (sub / "a.py").touch()
    project.folder = sub
    submit(project, f"command: 'true'\n{FROZEN}")
    assert files(project.run / "code") == {"a.py", "sweep.yaml"}


def test_too_much_is_refused_and_the_large_is_named(project, monkeypatch):
    (project.folder / "weights").mkdir()
    (project.folder / "weights" / "w.bin").write_bytes(bytes(3 << 20))
    commit(project)
    said = refused(project, "command: 'true'\nspace: {x: [1]}\nsnapshot: {max_size: 2M}\n")
    assert "weights (1 files, 3.0 MiB)" in said
    assert "exclude: [weights]" in said
    monkeypatch.setattr(snapshot, "MOST_FILES", 2)
    assert "more than 2 files" in refused(project, f"command: 'true'\n{FROZEN}")


@pytest.mark.parametrize(
    ("setting", "said"),
    [("include: ['*.nope']", "there is no *.nope"), ("link: [nope]", "there is no nope"), ("include: ['[a']", "no [a")],
)
def test_what_is_not_there_is_said(project, setting, said):
    assert said in refused(project, f"command: 'true'\nspace: {{x: [1]}}\nsnapshot: {{{setting}}}\n")


def test_a_git_that_hangs_is_no_reason_to_guess(project, monkeypatch):
    tools = project.folder.parent / "tools"
    tools.mkdir()
    (tools / "git").write_text("#!/bin/sh\nexec sleep 1000\n")
    (tools / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(git, "TIME_LIMIT_S", 0.2)
    assert "snapshot: git did not answer" in refused(project, f"command: 'true'\n{FROZEN}")


def test_paths_into_the_project_lead_into_the_copy(project, monkeypatch):
    folder = project.folder
    for name in ("bin/tool", "lib/m.py", "src/pack/__init__.py", "sub/src/other.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("#!/bin/sh\n")
    commit(project)
    venv = folder / "env.big"
    packages = venv / "lib/python3.11/site-packages"
    (packages / "sub-1.dist-info").mkdir(parents=True)
    (packages / "__editable__.pack.pth").write_text(f"import os\n{folder}/src\n/nowhere\n")
    url = {"url": f"file://{folder}/sub", "dir_info": {"editable": True}}
    (packages / "sub-1.dist-info" / "direct_url.json").write_text(json.dumps(url))
    monkeypatch.setenv("VIRTUAL_ENV", str(venv))
    monkeypatch.setenv("PATH", f"{folder}/bin:{folder}/env.big/bin:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{folder}/lib::rel:{os.environ['PYTHONPATH']}")
    path, python_path = run_it(project, f'command: echo "$PATH"; echo "$PYTHONPATH"\n{FROZEN}').splitlines()
    code = project.run / "code"
    assert path.split(":")[:2] == [f"{code}/bin", f"{folder}/env.big/bin"]
    assert python_path.split(":")[:5] == [f"{code}/src", f"{code}/sub/src", f"{code}/lib", "", "rel"]


def test_show_and_dry_run_say_it_and_write_nothing(project):
    sweep = project.sweep(f"command: bash train.sh\n{FROZEN}")
    shown = project("show", sweep)
    assert "a copy of the tracked files" in shown.said
    assert f"hpcsweep_workdir='{project.folder}/runs/run-NN/code'" in shown.said
    facts = json.loads(project("show", sweep, "--json").said)["snapshot"]
    assert (facts["files"], facts["place"], facts["source"]) == (2, "", "git")
    assert "\ntrain.sh\n" in project("submit", sweep, "--dry-run").said
    assert not (project.folder / "runs").exists()


def test_ten_thousand_files(project):
    for number in range(100):
        folder = project.folder / f"part-{number}"
        folder.mkdir()
        for name in range(100):
            (folder / f"{name}.py").touch()
    commit(project)
    submit(project, f"command: 'true'\n{FROZEN}")
    assert len(files(project.run / "code")) == 10_002
    assert json.loads((project.run / "run.json").read_text())["snapshot"]["files"] == 10_002


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_submit_that_is_killed_while_it_copies_leaves_no_run(make_site, share):
    def prepared():
        site = make_site()
        for number in range(20):
            (site.folder / f"{number}.py").write_text("x")
        return site, site.sweep(f"command: echo x >>{site.folder}/starts\n{FROZEN}")

    site, sweep = prepared()
    points = site("submit", sweep).points
    site, sweep = prepared()
    site("submit", sweep, kill_at=int(points * share))
    if not (site.run / "run.json").exists():
        assert "no run" in site("status").said
        assert site.starts() == []
    else:
        assert len(list((site.run / "code").glob("*.py"))) == 20


def test_sizes_archive_and_removal(project):
    run_it(project, f"command: bash train.sh\n{FROZEN}")
    (size,) = json.loads(project("du", "--json").said)
    assert size["code_bytes"] == sum(len((project.folder / name).read_bytes()) for name in ("train.sh", ".gitignore"))
    assert size["total_bytes"] == size["tasks_bytes"] + size["records_bytes"] + size["code_bytes"]
    assert project("archive", "run-01").code == 0
    sh(project.folder / "runs", "tar", "xzf", "run-01.tar.gz")
    assert (project.run / "code" / "train.sh").read_text() == "echo version 1\n"


def test_a_run_of_before_has_none(project):
    submit(project, "command: 'true'\nspace: {x: [1]}\n")
    info = json.loads((project.run / "run.json").read_text())
    del info["snapshot"], info["settings"]["snapshot"], info["git"], info["modules"]
    (project.run / "run.json").write_text(json.dumps(info))
    run = Run(RunPaths(project.run))
    assert (run.frozen, run.settings.snapshot, run.cwd) == (None, None, str(project.folder))
    assert project.status()["code"]["commit"] is None


def test_a_run_that_was_moved_takes_its_copy_along(project, monkeypatch):
    (project.folder / "src").mkdir()
    (project.folder / "src" / "m.py").touch()
    commit(project)
    monkeypatch.setenv("PYTHONPATH", f"{project.folder}/src:{os.environ['PYTHONPATH']}")
    run_it(project, f'command: bash train.sh; pwd; echo "$PYTHONPATH"; exit 3\n{FROZEN}')
    (project.folder / "runs" / "run-01").rename(project.folder / "runs" / "it's moved")
    (project.folder / "train.sh").unlink()
    moved = project.folder / "runs" / "it's moved"
    for words in (["adopt"], ["resubmit"], ["wait"]):
        ended = project(*words, str(moved))
        assert ended.code == (1 if words == ["wait"] else 0), ended.said
    said = (moved / "tasks/000000/attempt-2.log").read_text()
    version, place, path = said.splitlines()
    assert (version, place, path.split(":")[0]) == ("version 1", f"{moved}/code", f"{moved}/code/src")


def test_a_run_is_not_packed_while_the_record_of_its_environment_is_being_written(project, monkeypatch, await_that):
    run_it(project, "command: 'true'\nspace: {x: [1]}\n")
    await_that((project.run / "environment").exists, "the run's own record is there")
    partial = project.run / ".environment.3.partial"
    partial.mkdir()
    naps = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        partial.rmdir()

    clock = SimpleNamespace(sleep=sleep, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr(housekeeping, "time", clock)
    run = Run(RunPaths(project.run))
    housekeeping.await_record(run, within_s=100)
    assert len(naps) == 1
    partial.mkdir()
    os.utime(partial, (1, 1))
    housekeeping.await_record(run, within_s=100)
    assert len(naps) == 1


@pytest.mark.parametrize("damage", [5, [], {}, {"project": "/x"}])
def test_a_damaged_run_json_is_told(project, damage):
    submit(project, f"command: 'true'\n{FROZEN}")
    info = json.loads((project.run / "run.json").read_text())
    (project.run / "run.json").write_text(json.dumps({**info, "snapshot": damage, "git": damage}))
    assert project("status").code == 0
    ended = project("resubmit", "--state", "done")
    assert ended.code in {0, 1}
    assert "Traceback" not in ended.said
    assert project("verify").code == 1
