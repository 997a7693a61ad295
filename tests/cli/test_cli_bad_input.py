"""What bad input gets: a clear error, the right exit code, and nothing written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from cli_user import tree

GOOD = "{command: 'echo {{ x }}', space: {x: [0, 1, 2, 3]}, scheduler: local}\n"

# What is in the file -> what the message has to say.
BAD_SWEEPS = {
    "empty": ("", ["empty"]),
    "only a comment": ("# nothing\n", ["space:"]),
    "a list": ("- 1\n", ["sweep.yaml:1:1"]),
    "a text": ("hello\n", ["sweep.yaml:1:1"]),
    "a tab": ("command: a\nspace:\n\tx: 1\n", ["sweep.yaml:3"]),
    "an open quote": ("command: 'a\nspace: {x: 1}\n", ["sweep.yaml:"]),
    "a duplicate key": ("command: a\ncommand: b\nspace: {x: 1}\n", ["sweep.yaml:2:1", "command"]),
    "a tag": ("command: a\nspace: {x: !!python/object:os.system 1}\n", ["sweep.yaml:2"]),
    "not UTF-8": (b"command: a\nspace: {x: \xff}\n", ["UTF-8"]),
    "a NUL": (b"command: a\nspace: {x: a\x00b}\n", ["sweep.yaml:2"]),
    "an escaped NUL": ('command: a\nspace: {x: "a\\0b"}\n', ["NUL"]),
    "a control character": (b"command: a\nspace: {x: a\x07b}\n", ["sweep.yaml:2"]),
    "an unknown key": ("comand: a\nspace: {x: 1}\n", ["sweep.yaml:1:1", "comand", "command"]),
    "an unknown resource": ("command: a\nspace: {x: 1}\nresources: {memmory: 1G}\n", ["sweep.yaml:3", "memory"]),
    "no command": ("space: {x: 1}\n", ["command"]),
    "no space": ("command: a\n", ["space"]),
    "an empty space": ("command: a\nspace: {x: []}\n", ["sweep.yaml:2", "x"]),
    "a space that comes to nothing": ("command: a\nspace: {x: [1, 2]}\nwhere: x > 2\n", ["x > 2"]),
    "an unknown variable": ("command: a {{ y }}\nspace: {x: 1}\n", ["sweep.yaml:1", "y"]),
    "a variable of some tasks only": (
        "command: a {{ y }}\nspace: {sum: [{x: 1, y: 2}, {x: 3}]}\n", ["y", "task 1"],
    ),
    "an unfinished expression": ("command: a {{ x\nspace: {x: 1}\n", ["sweep.yaml:1"]),
    "an unknown filter": ("command: a {{ x | flgs }}\nspace: {x: 1}\n", ["flgs", "flags"]),
    "quotes around an expression, for one value": (
        "command: echo '{{ x }}'\nspace: {x: [a, b, c, d, e, f, g, it's, h, i]}\n", ["task 7", "quotes"],
    ),
    "a command that bash cannot read": ("command: if true\nspace: {x: 1}\n", ["bash"]),
    "a setup that bash cannot read": ("command: a\nspace: {x: 1}\nsetup: 'echo )'\n", ["bash"]),
    "a missing template": ("command: a\nspace: {x: 1}\ntemplate: nowhere.j2\n", ["nowhere.j2"]),
    "a missing file": ("command: a\nspace: {x: 1}\nfiles: {in.txt: nowhere.j2}\n", ["nowhere.j2"]),
    "a missing csv": ("command: a\nspace: {csv: nowhere.csv}\n", ["nowhere.csv"]),
    "a file outside of its folder": ("command: a\nspace: {x: 1}\nfiles: {../../in.txt: deck}\n", ["in.txt"]),
    "nodes that this machine does not have": ("command: a\nspace: {x: 1}\nresources: {nodes: 2}\n", ["2 nodes"]),
    "an option that this machine does not have": ("command: a\nspace: {x: 1}\nlocal: {partition: x}\n", ["local"]),
    "no cpus": ("command: a\nspace: {x: 1}\nresources: {cpus: 0}\n", ["cpus"]),
    "a bare time": ("command: a\nspace: {x: 1}\nresources: {time: 90}\n", ["sweep.yaml:3", "90"]),
    "memory that is no number": ("command: a\nspace: {x: 1}\nresources: {memory: lots}\n", ["lots"]),
    "a resource that one task makes wrong": (
        "command: a\nspace: {x: [1, 2, 0]}\nresources: {cpus: '{{ x }}'}\n", ["cpus"],
    ),
    "a signal that would come before the start": (
        "command: a\nspace: {x: [1, 2]}\nresources: {time: '{{ 3 - x }}m'}\nsignal: {name: USR1, before: 90s}\n",
        ["sweep.yaml:4", "of a task is 1m", "1m30s"],
    ),
    "values that are one variable": ("command: a\nspace: {a.b: 1, a_b: 2}\n", ["a.b", "a_b"]),
    "a canary below nothing": ("command: a\nspace: {x: 1}\ncanary: -1\n", ["canary"]),
    "an unknown group": ("command: a\nspace: {x: 1}\ngroup: no-such-group\n", ["no-such-group"]),
    "a later feature": ("command: a\nspace: {x: 1}\nsearch: {trials: 3}\n", ["not yet"]),
}  # fmt: skip


def write_bad(user, text):
    data = text if isinstance(text, bytes) else text.encode()
    if b"\nscheduler" not in data and data.strip() and not data.startswith((b"#", b"-", b"hello")):
        data += b"scheduler: local\n"
    (user.folder / "sweep.yaml").write_bytes(data)
    (user.folder / "deck").write_text("x = {{ x }}\n")


class TestSweepFiles:
    @pytest.mark.parametrize("name", BAD_SWEEPS)
    def test_submit(self, user, call, name):
        text, words = BAD_SWEEPS[name]
        write_bad(user, text)
        before = tree(user.folder)
        code, out, err = call("submit", "sweep.yaml")
        assert (code, out) == (1, ""), err
        assert [word for word in words if word not in err] == [], err
        assert tree(user.folder) == before

    @pytest.mark.parametrize("name", ["an unknown key", "an empty space", "an unknown variable", "a bare time", "a NUL"])
    def test_show(self, user, call, name):
        text, words = BAD_SWEEPS[name]
        write_bad(user, text)
        before = tree(user.folder)
        code, out, err = call("show", "sweep.yaml")
        assert (code, out) == (1, ""), err
        assert [word for word in words if word not in err] == []
        assert tree(user.folder) == before

    def test_all_faults_at_once(self, user, call):
        user.sweep("comand: a\nspace: {x: []}\nresources: {time: 5}\n")
        err = call("submit", "sweep.yaml")[2]
        assert all(f"sweep.yaml:{line}:" in err for line in (1, 2, 3))

    def test_no_such_file(self, user, call):
        user.sweep(GOOD, "sweeps.yaml")
        code, out, err = call("submit", "sweep.yaml")
        assert (code, out) == (1, "")
        assert "there is no file sweep.yaml" in err
        assert "sweeps.yaml" in err

    def test_a_folder(self, user, call):
        (user.folder / "sub").mkdir()
        code, _out, err = call("submit", "sub")
        assert code == 1
        assert "sub" in err
        assert "folder" in err.lower() or "directory" in err.lower()

    @pytest.mark.parametrize("name", ["a\nb", "x" * 5000, "", "no/such/folder/sweep.yaml", "sweep.yaml/x"])
    def test_names_that_no_file_has(self, user, call, name):
        user.sweep(GOOD)
        code, _out, err = call("submit", name)
        assert code == 1, err
        assert "bug" not in err

    def test_a_file_that_is_not_ours(self, call_as_another, open_folder):
        (open_folder / "sweep.yaml").write_text(GOOD)
        (open_folder / "sweep.yaml").chmod(0)
        code, err = call_as_another(open_folder, "submit", "sweep.yaml")
        assert code == 1
        assert "sweep.yaml" in err
        assert "ermission" in err

    def test_a_device_that_never_ends(self, user, call):
        code, _out, err = call("submit", "/dev/zero")
        assert code == 1
        assert "/dev/zero" in err


class TestOptions:
    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (["--name", "a/b"], 1, "slash"),
            (["--name", ""], 1, "empty"),
            (["--name", ".."], 1, "dot"),
            (["--name", "a\nb"], 1, "printed"),
            (["--name", "x" * 300], 1, "200 bytes"),
            (["--limit", "0"], 2, "--limit"),
            (["--limit", "-1"], 2, "--limit"),
            (["--limit", "many"], 2, "--limit"),
            (["--jobs", "0"], 2, "--jobs"),
            (["--jobs", "1.5"], 2, "--jobs"),
            (["--scheduler", "cron"], 2, "cron"),
            (["--profile", "nobody"], 1, "nobody"),
            (["-p", "x"], 1, "="),
            (["-p", "=1"], 1, "-p"),
            (["-p", "x="], 1, "x"),
            (["-p", "x=["], 1, "x=["),
            (["-p", "1x=1"], 1, "1x"),
            (["--set", "x"], 1, "="),
            (["--set", "nonsense=1"], 1, "nonsense"),
            (["--set", "resources.time=90"], 1, "90"),
            (["--set", "space.x=1"], 1, "space"),
            (["--runs-dir", "sweep.yaml"], 1, "sweep.yaml"),
            (["--runs-dir", "sweep.yaml/x"], 1, "sweep.yaml"),
            (["--runs-dir", "/proc/nowhere"], 1, "/proc/nowhere"),
            (["--after", "nothing"], 1, "nothing"),
            (["--after", "17"], 1, "17"),
            (["--after", "999999-1-aaaaaaaa"], 0, ""),  # a job that has ended is no obstacle
            (["--watched"], 2, "--watched; did you mean --watch?"),
            (["more.yaml"], 2, "more.yaml"),
        ],
    )
    def test_of_submit(self, user, call, words, code, said):
        user.sweep(GOOD)
        before = tree(user.folder)
        done, out, err = call("submit", "sweep.yaml", *words)
        assert done == code, err
        assert said in err
        if code:
            assert out == ""
            assert tree(user.folder) == before

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (["status", "run-99"], 1, "run-01"),
            (["status", "rnu-01"], 1, "did you mean run-01"),
            (["status", ""], 1, "no run"),
            (["status", "x" * 5000], 1, "no run"),
            (["status", "/"], 1, "no run"),
            (["status", "runs"], 1, "run"),
            (["status", "run-01", "run-02"], 2, "run-02"),
            (["status", "--tasks", "4"], 1, "tasks are 0-3"),
            (["status", "--tasks", "2-9"], 1, "tasks are 0-3"),
            (["status", "--tasks", "0-9999999"], 1, "tasks are 0-3"),
            (["status", "--tasks", "3-1"], 1, "3-1"),
            (["status", "--tasks", "-1"], 1, "--tasks"),
            (["status", "--tasks=-1"], 1, "-1"),
            (["status", "--tasks", ""], 1, "no task"),
            (["status", "--tasks", "x"], 1, "x"),
            (["status", "--tasks", "1;2"], 1, "1;2"),
            (["status", "--tasks", "1[2-3"], 1, "1[2-3"),
            (["status", "--tasks", "9" * 5000], 1, ""),
            (["status", "--tasks", "0-99999999999999"], 1, "0-99999999999999"),
            (["status", "--tasks", "17_3"], 1, "no job of this run"),
            (["logs"], 1, "which task?"),
            (["logs", "4"], 1, "tasks are 0-3"),
            (["logs", ""], 1, ""),
            (["logs", "run-01", "0", "1"], 1, "logs takes"),
            (["logs", "0-1", "-f"], 1, "one task"),
            (["logs", "0", "-n", "0"], 2, "-n"),
            (["logs", "nothing"], 1, "no run"),
            (["collect", "--xml"], 2, "--xml"),
            (["collect", "-o", ""], 1, ""),
            (["collect", "-o", "runs"], 1, "runs"),
            (["collect", "-o", "no/such/folder.csv"], 1, "no/such"),
            (["resubmit", "--state", "broken"], 1, "there is no state 'broken'"),
            (["resubmit", "--state", ""], 1, "state"),
            (["resubmit", "--tasks", "7"], 1, "tasks are 0-3"),
            (["resubmit", "--wait-lock", "soon"], 2, "--wait-lock"),
            (["resubmit", "--wait-lock", "5"], 2, "--wait-lock"),
            (["resubmit", "--wait-lock=-5s"], 2, "--wait-lock"),
            (["cancel"], 2, "RUN"),
            (["cancel", "run-01", "--tasks", "4"], 1, "tasks are 0-3"),
            (["rm"], 2, "RUN"),
            (["rm", "run-7"], 1, "no run"),
            (["rm", "."], 1, "no run"),
            (["archive"], 2, "RUN"),
            (["archive", ""], 1, "no run"),
            (["throttle"], 2, "N"),
            (["throttle", "many"], 2, "many"),
            (["throttle", "run-01", "many"], 2, "many"),
            (["throttle", "run-01", "-1"], 2, ""),
            (["throttle", "run-01", "2", "3"], 2, "3"),
            (["throttle", "9" * 30], 2, "999"),
            (["wait", "--timeout", "soon"], 2, "--timeout"),
            (["wait", "--timeout", "5"], 2, "--timeout"),
            (["hold", "run-7"], 1, "no run"),
            (["release", "run-7"], 1, "no run"),
            (["advance", "run-7"], 1, "no run"),
            (["du", "run-7"], 1, "no run"),
            (["list", "run-01"], 2, "run-01"),
            (["list", "--runs-dir", "sweep.yaml"], 1, "sweep.yaml"),
        ],
    )
    def test_of_the_others(self, ended_run, call, words, code, said):
        folder = ended_run.parents[1]
        os.chdir(folder)  # `call` goes back
        before = tree(folder)
        done, out, err = call(*words)
        assert (done, out) == (code, ""), err
        assert said in err
        assert "bug" not in err
        assert tree(folder) == before

    @pytest.mark.parametrize("command", ["status", "logs", "collect", "resubmit", "advance", "wait", "hold", "throttle 1"])
    def test_without_any_run(self, user, call, command):
        code, out, err = call(*command.split())
        assert (code, out) == (1, "")
        assert "there is no run in" in err
        assert "hpcsweep submit" in err
        assert list(user.folder.iterdir()) == []

    @pytest.mark.parametrize("command", ["list", "du"])
    def test_nothing_to_list(self, user, call, command):
        code, out, err = call(command)
        assert (code, out) == (0, "")
        assert "there are no runs" in err
        assert json.loads(call(command, "--json")[1]) == []

    def test_configuration_with_faults(self, user, call):
        (user.folder / "hpcsweep.yaml").write_text("runsdir: x\n")
        user.sweep(GOOD)
        for words in (["submit", "sweep.yaml"], ["show", "sweep.yaml"], ["status"], ["list"]):
            code, _out, err = call(*words)
            assert code == 1
            assert "hpcsweep.yaml:1:1" in err


class TestNoScheduler:
    def bare(self, user, *programs):
        """A PATH with bash and coreutils only, and with ``programs``, which say nothing and fail."""
        tools = user.home / "tools"
        tools.mkdir()
        for name in ("bash", "env", "cat", "git"):
            if found := shutil.which(name):
                (tools / name).symlink_to(found)
        for name in programs:
            (tools / name).write_text("#!/bin/bash\necho 'Unable to contact slurm controller (connect failure)' >&2; exit 1\n")
            (tools / name).chmod(0o755)
        return user.environ(PATH=str(tools))

    def test_slurm_is_not_there(self, user):
        (user.folder / "sweep.yaml").write_text(GOOD.replace(", scheduler: local", ""))
        before = tree(user.folder)
        err = user.error("submit", "sweep.yaml", "--scheduler", "slurm", env=self.bare(user))
        assert "sbatch" in err
        assert "--scheduler local" in err
        assert tree(user.folder) == before

    def test_slurm_is_there_but_silent(self, user):
        (user.folder / "sweep.yaml").write_text("{command: 'true', space: {x: [1]}}\n")
        env = self.bare(user, "sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo")
        done = user.run("submit", "sweep.yaml", env=env)
        assert done.returncode == 4
        assert "contact" in done.stderr
        assert not user.starts()

    def test_none_means_this_machine(self, user):
        (user.folder / "sweep.yaml").write_text("{command: 'true', space: {x: [1]}}\n")
        user("submit", "sweep.yaml", env={**self.bare(user), "PATH": f"{self.path_of(user)}:/usr/bin-none"})
        assert user.status()["scheduler"] == "local"

    def path_of(self, user):
        return user.home / "tools"


class TestOddSurroundings:
    def test_two_submits_at_the_same_moment(self, user):
        user.sweep("{command: 'true', space: {}, scheduler: local}")
        processes = [
            subprocess.Popen(
                user.argv("submit", "sweep.yaml"), cwd=user.folder, env=user.environ(), stdout=subprocess.PIPE, text=True
            )
            for _ in range(10)
        ]
        said = [process.communicate(timeout=60)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * 10
        assert sorted(text.partition(":")[0] for text in said) == [f"run-{number:02d}" for number in range(1, 11)]
        for number in range(1, 11):
            user.wait(f"run-{number:02d}")
        assert len({json.loads(path.read_text())["uid"] for path in user.folder.glob("runs/*/run.json")}) == 10

    def test_the_same_name_at_the_same_moment(self, user):
        user.sweep("{command: 'echo once >> starts', space: {}, scheduler: local}")
        processes = [
            subprocess.Popen(
                user.argv("submit", "sweep.yaml", "--name", "mine"),
                cwd=user.folder, env=user.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(4)
        ]  # fmt: skip
        said = [process.communicate(timeout=60)[1] for process in processes]
        assert sorted(process.returncode for process in processes) == [0, 1, 1, 1]
        assert sum("there is a run named mine already" in text for text in said) == 3
        user.wait("mine")
        assert user.starts() == ["once"]

    def test_a_name_that_is_taken(self, user, ended_run, call):
        user.sweep(GOOD)
        shutil.copytree(ended_run, user.run_dir("mine"))
        before = tree(user.folder)
        code, out, err = call("submit", "sweep.yaml", "--name", "mine")
        assert (code, out) == (1, "")
        assert "there is a run named mine already" in err
        assert tree(user.folder) == before

    @pytest.mark.parametrize("words", [["status"], ["submit", "sweep.yaml"], ["list"], ["show", "sweep.yaml"], ["du"]])
    def test_a_folder_that_was_removed(self, user, words):
        gone = user.folder / "gone"
        gone.mkdir()
        done = subprocess.run(
            ["bash", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', gone, *user.argv(*words)],
            cwd=user.folder, env=user.environ(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert "bug" not in done.stderr
        assert "folder" in done.stderr

    def test_without_home(self, user):
        environ = {name: value for name, value in user.environ().items() if name not in {"HOME", "USER", "LOGNAME"}}
        user.sweep("{command: 'echo \"$HPCSWEEP_TASK\" >> starts', space: {}, scheduler: local}")
        user("submit", "sweep.yaml", env=environ)
        user("wait", env=environ)
        user("status", env=environ)
        assert user.starts() == ["0"]

    def test_a_user_without_a_name(self, user, call, monkeypatch):
        for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(os, "getuid", lambda: 54321)
        user.sweep(GOOD)
        code, out, err = call("submit", "sweep.yaml", "--dry-run")
        assert (code, err) == (0, "")
        assert '"user": "54321"' in out

    def test_interrupted(self, user):
        user.sweep("{command: 'sleep 60', space: {x: [1, 2]}, scheduler: local}")
        user("submit", "sweep.yaml", "--jobs", "1")
        with subprocess.Popen(
            user.argv("status", "--watch"), cwd=user.folder, env=user.environ(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as watching:  # fmt: skip
            assert watching.stdout.readline().startswith("run-01:")
            watching.send_signal(2)
            assert "goes on without you" in watching.communicate(timeout=30)[1]
        assert watching.returncode == 130
        assert "running" in user.states()
        user("cancel", "run-01")
        user.wait(code=1)

    def test_interrupted_at_any_moment_of_submit(self, user, await_that):
        """^C leaves either no run or one that the next command understands."""
        user.sweep("{command: 'echo \"$HPCSWEEP_TASK\" >> starts', space: {x: {range: [1, 20]}}, scheduler: local}")
        code = (
            "import os, signal, sys\n"
            "from hpcsweep.__main__ import main\n"
            "at = int(sys.argv[1]); count = 0\n"
            "def look(frame, event, arg):\n"
            "    global count\n"
            "    if event == 'call' and 'hpcsweep' in frame.f_code.co_filename:\n"
            "        count += 1\n"
            "        if count == at: sys.setprofile(None); os.kill(os.getpid(), signal.SIGINT)\n"
            "sys.setprofile(look)\n"
            "sys.exit(main(['submit', 'sweep.yaml']))\n"
        )
        argv = [sys.executable, "-c", code]
        seen = set()
        for at in (3000, 6500, 7500, 9000, 12000):
            done = subprocess.run(
                [*argv, str(at)], cwd=user.folder, env=user.environ(), capture_output=True, text=True, timeout=60, check=False
            )
            seen.add(done.returncode)
            assert done.returncode in (0, 130), done.stderr
            runs = json.loads(user("list", "--json"))
            assert all(run["scheduler"] == "local" for run in runs)
        assert 130 in seen
        for run in runs:
            user("advance", run["run"])
            user.wait(run["run"])
            assert user.status(run["run"])["counts"] == {"done": 20}
        assert len(user.starts()) == 20 * len(runs)
