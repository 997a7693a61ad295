"""Runs that are damaged, newer, moved, held by somebody, or on a disk that takes nothing more."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_user import tree

LOOKING = (
    ["status"],
    ["status", "--json"],
    ["status", "--failed"],
    ["list"],
    ["du"],
    ["logs", "run-01", "0"],
    ["collect"],
    ["collect", "--csv"],
)
CHANGING = (
    ["resubmit", "run-01"],
    ["advance", "run-01"],
    ["hold", "run-01"],
    ["throttle", "run-01", "2"],
    ["cancel", "run-01"],
)


@pytest.fixture
def copy(user, ended_run, call):
    """A copy of an ended run that says it was made where it is."""
    shutil.copytree(ended_run, user.run_dir(), symlinks=True)
    path = user.run_dir() / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "path": str(user.run_dir())}))
    return user.run_dir()


class TestDamaged:
    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"uid": 1}', "\0\0\0", '{"format": "x"}'])
    def test_run_json(self, copy, call, text):
        (copy / "run.json").write_text(text)
        before = tree(copy)
        for words in (*LOOKING, *CHANGING):
            code, _out, err = call(*words)
            assert "bug" not in err, (words, err)
            if words not in (["list"], ["du"]):
                assert code == 1, words
                assert "run.json" in err
        assert "run.json" in call("list")[1]
        assert tree(copy) == before

    def test_no_run_json(self, copy, call):
        (copy / "run.json").unlink()
        code, _out, err = call("status", "run-01")
        assert code == 1
        assert "run.json" in err

    def test_newer_format(self, copy, call):
        path = copy / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
        before = tree(copy)
        for words in (*LOOKING, *CHANGING, ["rm", "run-01"], ["archive", "run-01"], ["wait"]):
            code, out, err = call(*words)
            assert "bug" not in err, (words, err)
            if words not in (["list"], ["du"]):
                assert (code, out) == (1, ""), words
                assert "newer" in err
        assert "newer" in call("list")[1]
        assert tree(copy) == before

    @pytest.mark.parametrize(
        "damage",
        [
            lambda _data: b"",
            lambda data: data[: len(data) // 2],
            lambda data: b"not json\n" + data,
            lambda data: data + b'{"event": "fini',
            lambda data: data.replace(b'"array": 1', b'"array": "x"'),
            lambda data: b"\0" * len(data),
            lambda data: data + b'{"event": "submitted", "array": 99, "job": "1"}\n[]\n7\n{"event": 5}\n',
            lambda data: data.replace(b'"0-3"', b'"0-999999999999"'),
            lambda data: data.replace(b'"0-3"', b'"0-7"'),
        ],
        ids=["empty", "half", "junk-first", "torn", "wrong-type", "zeros", "nonsense", "huge-range", "too-many"],
    )
    def test_journal(self, copy, call, damage):
        path = copy / "state.jsonl"
        path.write_bytes(damage(path.read_bytes()))
        before = tree(copy)
        for words in LOOKING:
            code, _out, err = call(*words)
            assert code in (0, 1), words
            assert "bug" not in err, (words, err)
        assert {name for name in tree(copy) if not name.startswith("cache")} == {
            name for name in before if not name.startswith("cache")
        }
        for words in (*CHANGING, ["rm", "run-01", "--dry-run"]):
            code, _out, err = call(*words)
            assert code in (0, 1), (words, err)
            assert "bug" not in err, (words, err)

    def test_a_torn_journal_is_said_and_goes_on(self, copy, call):
        path = copy / "state.jsonl"
        path.write_bytes(path.read_bytes() + b'{"event": "resub')
        assert json.loads(call("status", "--json")[1])["counts"] == {"done": 4}

    @pytest.mark.parametrize(
        "damage",
        [
            lambda _data: b"",
            lambda data: data[:-10],
            lambda data: data.split(b"\n", 1)[1],
            lambda _data: b"not json\n",
            lambda data: data.replace(b'"params"', b'"parms"'),
            lambda data: b"\0" * len(data),
        ],
        ids=["empty", "torn", "one-less", "junk", "other-names", "zeros"],
    )
    def test_tasks(self, copy, call, damage):
        path = copy / "tasks.jsonl"
        path.write_bytes(damage(path.read_bytes()))
        for words in (["status"], ["status", "--json"], ["collect", "--csv"], ["resubmit", "run-01", "--tasks", "0-3"]):
            code, _out, err = call(*words)
            assert code in (0, 1), words
            assert "bug" not in err, (words, err)
        told = json.loads(call("status", "--json")[1])
        assert [task["params"] for task in told["tasks"]] == [
            {"x": number} for number in range(4)
        ]  # what was submitted tells them
        assert "tasks.jsonl" in " ".join(told["problems"])
        assert "tasks.jsonl" in call("collect", "--csv")[2]

    def test_no_journal(self, copy, call):
        (copy / "state.jsonl").unlink()
        for words in LOOKING:
            code, _out, err = call(*words)
            assert code in (0, 1), words
            assert "bug" not in err, (words, err)

    def test_odd_event_files(self, copy, call):
        events = copy / "arrays/001/events"
        for name in (
            "junk",
            "0.1.done.x.y",
            "99.1",
            "0.2",
            "1.1.r0.run",
            "-1.1",
            ".tmp.x",
            "2.1.strange.0.1",
            "a\nb",
            "3.1.cancel",
        ):
            (events / name).touch()
        (events / "folder").mkdir()
        for words in LOOKING:
            code, _out, err = call(*words)
            assert (code, "bug" in err) == (0, False), (words, err)

    def test_damaged_cache_is_nothing(self, copy, call):
        (copy / "cache").mkdir(exist_ok=True)
        for name in ("live", "gone", "limits"):
            (copy / "cache" / f"{name}.json").write_text("{")
        assert call("status")[0] == 0

    def test_metrics_of_all_kinds_of_nonsense(self, copy, call):
        folder = copy / "tasks/000000"
        for name, data in {
            "a": b"", "b": b"\0\0", "c": b"\xff\xfe", "d": b"x y\n1\n", "e": b"a,b\n1", "f": b"{", "g": b"nan inf\n", "h": b"a " * 9,
        }.items():  # fmt: skip
            (folder / f"{name}.metrics").write_bytes(data)
        (folder / "folder.metrics").mkdir()
        (folder / "gone.metrics").symlink_to("/nowhere")
        code, out, err = call("collect", "--csv")
        assert (code, "bug" in err) == (0, False), err
        assert len(out.splitlines()) == 5


class TestMoved:
    def test_can_be_read_but_not_changed(self, user, ended_run, call):
        (user.folder / "runs").mkdir()
        shutil.copytree(ended_run, user.run_dir())
        for words in LOOKING:
            assert call(*words)[0] == 0, words
        before = tree(user.folder)
        for words in (*CHANGING, ["release", "run-01"], ["rm", "run-01"], ["archive", "run-01"]):
            code, out, err = call(*words)
            assert (code, out) == (1, ""), words
            assert "moved or copied" in err
            assert str(ended_run) in err
        assert tree(user.folder) == before

    def test_moved_back_it_goes_on(self, copy, call):
        copy.rename(copy.with_name("other"))
        assert call("hold", "other")[0] == 1
        copy.with_name("other").rename(copy)
        assert call("hold", "run-01")[0] == 0

    def test_a_symbolic_link_to_it_is_the_same_run(self, copy, call, user):
        (user.folder / "link").symlink_to(copy)
        assert call("hold", "link")[0] == 0


class TestHeld:
    @pytest.fixture
    def holder(self, copy, user):
        """Another command that holds the run until it is told."""
        code = (
            "import sys\nfrom pathlib import Path\n"
            "from hpcsweep.store import RunPaths, acquire\n"
            "with acquire(RunPaths(Path(sys.argv[1])), wait_s=5, command='hpcsweep resubmit'):\n"
            "    print('held', flush=True)\n    sys.stdin.readline()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code, str(copy)],
            env=user.environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout.readline() == "held\n"
            yield process
            with contextlib.suppress(OSError):
                process.kill()

    @pytest.mark.parametrize("words", [*CHANGING, ["release", "run-01"], ["rm", "run-01"], ["archive", "run-01"]])
    def test_says_who_and_since_when(self, copy, holder, call, words):
        before = tree(copy)
        code, out, err = call(*words, "--wait-lock", "0")
        assert (code, out) == (1, "")
        assert "hpcsweep resubmit" in err
        assert str(holder.pid) in err
        assert "since" in err or "ago" in err
        assert tree(copy) == before

    def test_waits_as_long_as_told(self, copy, holder, call):
        assert call("hold", "run-01", "--wait-lock", "1s")[0] == 1

    def test_looking_needs_no_lock(self, holder, call):
        for words in LOOKING:
            assert call(*words)[0] == 0

    def test_goes_on_when_it_is_free(self, copy, holder, user):
        with subprocess.Popen(
            user.argv("hold", "run-01", "--wait-lock", "30s"),
            cwd=user.folder,
            env=user.environ(),
            stdout=subprocess.PIPE,
            text=True,
        ) as waiting:
            holder.stdin.write("\n")
            holder.stdin.flush()
            assert "held" in waiting.communicate(timeout=30)[0]

    def test_a_killed_holder_holds_nothing(self, copy, holder, call):
        holder.kill()
        holder.wait()
        assert call("hold", "run-01", "--wait-lock", "5s")[0] == 0


@pytest.fixture
def small_disk(tmp_path):
    """``small_disk("size=64k")`` mounts a disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("NO SMALL DISK: only root can mount one")
    mounted = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", folder], check=False, capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"NO SMALL DISK: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


class TestDisks:
    SWEEP = "{command: 'echo \"$HPCSWEEP_TASK\" >> starts', space: {x: {range: [1, 500]}}, scheduler: local}"

    @pytest.mark.parametrize(
        "options", ["size=4k", "size=32k", "size=64k", "size=96k", "size=1m,nr_inodes=8", "size=1m,nr_inodes=14"]
    )
    def test_full(self, user, small_disk, call, options):
        user.sweep(self.SWEEP)
        disk = small_disk(options)
        code, out, err = call("submit", "sweep.yaml", "--runs-dir", disk)
        assert (code, out) == (1, ""), err
        assert "full" in err
        assert list(disk.iterdir()) == []
        assert call("submit", "sweep.yaml", "--runs-dir", disk / "deep/er")[0] == 1
        assert list(disk.iterdir()) == []

    def test_full_under_a_run(self, user, small_disk, call):
        """What is there stays readable; what cannot be written is said; with room again all goes on."""
        disk = small_disk("size=1m")
        user.sweep("{command: '[ -e ok ]', space: {x: [1, 2]}, scheduler: local}")
        user("submit", "sweep.yaml", "--runs-dir", disk)
        user("wait", "--runs-dir", disk, code=1)
        user("advance", "--runs-dir", disk)
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 512)
        before = (disk / "run-01/state.jsonl").read_bytes()
        for words in (["status"], ["collect"], ["list"]):
            assert call(*words, "--runs-dir", disk)[0] == 0
        for words in (["resubmit"], ["archive", "run-01"]):
            code, out, err = call(*words, "--runs-dir", disk)
            assert (code, out) == (1, "")
            assert "full" in err or "No space" in err
        assert call("collect", "--csv", "-o", disk / "table.csv", "--runs-dir", disk)[0] == 1
        assert not (disk / "table.csv").exists()
        assert (disk / "run-01/state.jsonl").read_bytes() == before
        filler.unlink()
        (user.folder / "ok").touch()
        user("resubmit", "--runs-dir", disk)
        user("wait", "--runs-dir", disk)

    def test_read_only(self, user, small_disk, call):
        disk = small_disk("size=1m")
        user.sweep(self.SWEEP)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        code, out, err = call("submit", "sweep.yaml", "--runs-dir", disk)
        assert (code, out) == (1, "")
        assert "read-only" in err

    def test_a_folder_that_is_not_ours(self, call_as_another, open_folder):
        (open_folder / "sweep.yaml").write_text(self.SWEEP)
        open_folder.chmod(0o755)
        code, err = call_as_another(open_folder, "submit", "sweep.yaml", "--dry-run")
        code, err = call_as_another(open_folder, "submit", "sweep.yaml")
        assert code == 1
        assert "permission" in err.lower()
        assert [path.name for path in open_folder.iterdir()] == ["sweep.yaml"]

    def test_a_run_of_somebody_else(self, ended_run, call_as_another, open_folder):
        """Can be looked at and collected, not changed."""
        run = open_folder / "runs" / "run-01"
        shutil.copytree(ended_run, run, symlinks=True)
        path = run / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "path": str(run)}))
        subprocess.run(["chmod", "-R", "a+rX,go-w", open_folder / "runs"], check=True)
        before = tree(run)
        for words in (
            ["status"],
            ["status", "--json"],
            ["logs", "0"],
            ["collect", "--csv"],
            ["list"],
            ["du"],
            ["wait"],
            ["verify"],
        ):
            assert call_as_another(open_folder, *words)[0] == 0, words
        for words in (*CHANGING, ["rm", "run-01"], ["archive", "run-01"]):
            code, err = call_as_another(open_folder, *words)
            assert code == 1, words
            assert "permission" in err.lower(), words
        assert tree(run) == before
