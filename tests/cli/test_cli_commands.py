"""Every command and option, as a user gives them, on small runs."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess

import pytest
from cli_user import tree

from hpcsweep.cli import COMMANDS

FOUR = """
    name: four
    command: |
      echo "start $HPCSWEEP_TASK" >> starts
      echo "value {{ x }}" > "$HPCSWEEP_TASK_DIR/out.metrics"
      echo "this is task {{ x }}"
      [ {{ x }} != 2 ] || { echo it is two >&2; exit 7; }
    space: {x: [0, 1, 2, 3]}
"""


@pytest.fixture
def four(user):
    """A user with one ended run of four tasks, of which task 2 failed."""
    user("submit", user.sweep(FOUR))
    user.wait(code=1)
    return user


class TestHelp:
    def test_of_all(self, call):
        code, out, err = call("--help")
        assert (code, err) == (0, "")
        assert all(name in out for name in COMMANDS)

    @pytest.mark.parametrize("name", COMMANDS)
    def test_of_one(self, call, name):
        code, out, err = call(name, "--help")
        assert (code, err) == (0, "")
        assert out.startswith(f"usage: hpcsweep {name}")

    def test_version(self, call):
        assert re.fullmatch(r"hpcsweep \d+\.\d+.*\n", call("--version")[1])

    def test_no_command_is_wrong_usage(self, call):
        assert call()[0] == 2

    def test_a_command_that_is_misspelt(self, call):
        code, out, err = call("sumbit", "sweep.yaml")
        assert (code, out) == (2, "")
        assert "did you mean submit?" in err


class TestSubmit:
    def test_says_name_folder_and_what_next(self, user):
        out = user("submit", user.sweep(FOUR))
        assert "run-01: submitted 4 tasks as job" in out
        assert str(user.run_dir()) in out
        assert "hpcsweep status run-01" in out

    def test_second_is_run_02(self, user):
        sweep = user.sweep("{command: 'true', space: {}, scheduler: local}")
        user("submit", sweep)
        assert "run-02: submitted 1 task" in user("submit", sweep)
        assert [run["run"] for run in json.loads(user("list", "--json"))] == ["run-01", "run-02"]

    def test_name_params_settings_limit(self, user):
        user(
            "submit", user.sweep(FOUR), "--name", "mine", "-p", "x=5,6,7", "-p", "y=0.5",
            "--set", "env.A=b", "--set", 'metrics=["*.out"]', "--limit", "2", "--jobs", "1",
        )  # fmt: skip
        user.wait("mine")
        assert [task["params"] for task in user.status("mine")["tasks"]] == [{"x": 5, "y": 0.5}, {"x": 6, "y": 0.5}]
        info = json.loads((user.run_dir("mine") / "run.json").read_text())
        assert info["jobs"] == 1
        assert info["settings"]["env"] == {"A": "b"}

    def test_runs_dir(self, user):
        user("submit", user.sweep(FOUR), "--runs-dir", "else where/deep")
        user("wait", "--runs-dir", "else where/deep", code=1)
        assert (user.folder / "else where/deep/run-01/run.json").is_file()
        assert not (user.folder / "runs").exists()
        assert json.loads(user("status", "else where/deep/run-01", "--json"))["total"] == 4
        assert "run-01" in user("list", "--runs-dir", "else where/deep")

    def test_dry_run_prints_all_and_writes_nothing(self, user):
        sweep = user.sweep(FOUR)
        before = tree(user.folder)
        out = user("submit", sweep, "--dry-run", "--name", "mine")
        assert tree(user.folder) == before
        for part in ("sweep.yaml", "tasks.jsonl", "run.json", "tasks/0000.sh", "script.sh", "localqueue.py submit"):
            assert part in out
        assert 'echo "this is task 3"' in out

    def test_watch_ends_with_the_table(self, user):
        done = user.run("submit", user.sweep(FOUR), "--watch")
        assert done.returncode == 1  # task 2 did not work
        assert re.search(r"task +id +state .* value", done.stdout)
        assert "3 done" in done.stdout

    def test_watch_ends_with_0_when_all_are_done(self, user):
        user("submit", user.sweep("{command: 'true', space: {x: [1, 2]}, scheduler: local}"), "--watch")

    def test_scheduler_on_the_command_line(self, user):
        sweep = user.sweep(FOUR.replace("name: four", "name: four\n    scheduler: slurm"))
        user("submit", sweep, "--scheduler", "local", "--limit", "1")
        assert user.status()["scheduler"] == "local"

    def test_reads_a_sweep_elsewhere(self, user):
        (user.folder / "deep").mkdir()
        (user.folder / "deep" / "points.csv").write_text("x\n1\n2\n")
        user.sweep("{command: 'pwd > where', space: {csv: points.csv}, scheduler: local}", "deep/s.yaml")
        user("submit", "deep/s.yaml")
        user.wait()
        assert (user.folder / "where").read_text() == f"{user.folder}\n"  # relative to where submit was called


class TestShow:
    def test_says_what_it_means(self, user):
        sweep = user.sweep(FOUR)
        before = tree(user.folder)
        out = user("show", sweep)
        assert tree(user.folder) == before
        for part in ("four", "first points:", "x=3", "command of task 0:", "this is task 0", "script (", "settings, and where"):
            assert part in out

    def test_json(self, user):
        shown = json.loads(user("show", user.sweep(FOUR), "--json", "-p", "x=1,1,2", "--set", "resources.time=1h"))
        assert (shown["name"], shown["points"], shown["tasks"]) == ("four", 2, 2)
        assert shown["head"] == [{"x": 1}, {"x": 2}]
        assert shown["settings"]["resources"] == {"time": "1h"}
        assert {"dropped", "arrays"} <= set(shown)

    def test_json_needs_no_command(self, user):
        assert json.loads(user("show", user.sweep("space: {x: [1, 2]}\n"), "--json"))["tasks"] == 2

    def test_limit_and_points(self, user):
        sweep = user.sweep(FOUR)
        assert json.loads(user("show", sweep, "--json", "--limit", "3"))["tasks"] == 3
        lines = user("show", sweep, "--points", "--limit", "2").splitlines()
        assert [json.loads(line) for line in lines] == [{"x": 0}, {"x": 1}]

    def test_of_a_million_points_is_not_an_enumeration(self, user):
        sweep = user.sweep(
            "{command: 'echo {{ a }}', space: {a: {range: [1, 1000000]}, b: {range: [1, 1000000]}}, scheduler: local}"
        )
        assert json.loads(user("show", sweep, "--json"))["points"] == 10**12


class TestStatus:
    def test_says_what_failed_and_why(self, four):
        out = four("status")
        assert "3/4" in out
        assert re.search(r"task 2 \(job \S+_2\): failed after \d+s: exit code 7\n +it is two", out)
        assert "hpcsweep resubmit run-01" in out

    def test_names_that_are_a_promise(self, four):
        status = four.status()
        assert {"run", "path", "scheduler", "total", "counts", "tasks", "arrays", "finished"} <= set(status)
        names = "index id state attempt exit_code signal reason source job node elapsed_s params"
        for task in status["tasks"]:
            assert set(names.split()) <= set(task)
        assert status["counts"] == {"done": 3, "failed": 1}
        assert status["finished"] is True
        assert [array["size"] for array in status["arrays"]] == [4]
        failed = status["tasks"][2]
        assert (failed["state"], failed["exit_code"], failed["params"]) == ("failed", 7, {"x": 2})
        assert failed["job"] == f"{status['arrays'][0]['job']}_2"

    def test_failed_and_tasks(self, four):
        job = four.status()["arrays"][0]["job"]
        assert re.findall(r"task (\d+)", four("status", "--failed")) == ["2"]
        assert re.findall(r"^  task (\d+)", four("status", "--tasks", "0,2-3"), re.MULTILINE) == ["0", "2", "3"]
        assert re.findall(r"^  task (\d+)", four("status", "--tasks", f"{job}_[1-2]"), re.MULTILINE) == ["1", "2"]
        assert [task["index"] for task in json.loads(four("status", "--json", "--tasks", "3,1"))["tasks"]] == [1, 3]
        assert [task["index"] for task in json.loads(four("status", "--json", "--failed"))["tasks"]] == [2]

    def test_writes_nothing_of_an_ended_run(self, four):
        four("status")
        before = tree(four.folder)
        for words in (["status"], ["status", "--json"], ["list"], ["du"], ["logs", "--failed"]):
            four(*words)
        assert tree(four.folder) == before
        four("collect", "--csv")  # keeps what it has read in the cache, and nothing anywhere else
        after = tree(four.folder)
        assert {name for name in {*before, *after} if before.get(name) != after.get(name) and "/cache" not in name} <= {
            "runs/run-01"
        }

    def test_watch_of_an_ended_run_ends(self, four):
        assert "3 done, 1 failed" in four("status", "--watch", code=1)


class TestWhichRun:
    def test_latest_name_and_paths(self, four):
        four("submit", four.sweep(FOUR), "--limit", "1", "--name", "another")
        four.wait("another")
        for words, name in [
            ([], "another"), (["run-01"], "run-01"), (["runs/run-01"], "run-01"), (["runs/run-01/"], "run-01"),
            ([str(four.run_dir())], "run-01"), (["run-01", "--runs-dir", "runs"], "run-01"),
        ]:  # fmt: skip
            assert json.loads(four("status", "--json", *words))["run"] == name
        (four.folder / "sub").mkdir()
        assert json.loads(four("status", "--json", "../runs/run-01", cwd=four.folder / "sub"))["run"] == "run-01"

    def test_from_inside_a_run(self, four):
        assert json.loads(four("status", ".", "--json", cwd=four.run_dir()))["run"] == "run-01"

    def test_configured_runs_dir(self, user):
        (user.folder / "hpcsweep.yaml").write_text("runs_dir: mine\n")
        user("submit", user.sweep(FOUR), "--limit", "1")
        user("wait")
        assert (user.folder / "mine" / "run-01").is_dir()


class TestLogs:
    def test_of_tasks(self, four):
        assert four("logs", "run-01", "1") == "this is task 1\n"
        assert four("logs", "1") == "this is task 1\n"
        out = four("logs", "run-01", "0,3")
        assert re.findall(r"==> task (\d)", out) == ["0", "3"]
        job = four.status()["arrays"][0]["job"]
        assert four("logs", f"{job}_3") == "this is task 3\n"

    def test_failed_lines_path(self, four):
        assert four("logs", "--failed") == "this is task 2\nit is two\n"
        assert four("logs", "run-01", "2", "-n", "1") == "it is two\n"
        assert four("logs", "2", "--path") == f"{four.run_dir()}/tasks/000002/attempt-1.log\n"

    def test_follow_of_an_ended_task_ends(self, four):
        done = four.run("logs", "run-01", "2", "-f")
        assert (done.returncode, done.stdout) == (0, "this is task 2\nit is two\n")
        assert "failed (exit code 7)" in done.stderr

    def test_follow_of_a_running_task(self, user):
        command = "echo one; until [ -e go ]; do sleep 0.1; done; echo two"
        user("submit", user.sweep(f"{{command: '{command}', space: {{}}, scheduler: local}}"))
        with subprocess.Popen(
            user.argv("logs", "-f", "0"), cwd=user.folder, env=user.environ(), stdout=subprocess.PIPE, text=True
        ) as following:
            assert following.stdout.readline() == "one\n"
            (user.folder / "go").touch()
            assert following.stdout.read() == "two\n"
        assert following.returncode == 0


class TestCollect:
    def test_forms(self, four):
        rows = list(csv.DictReader(io.StringIO(four("collect", "--csv"))))
        assert [(row["task"], row["x"], row["value"], row["state"]) for row in rows] == [
            ("0", "0", "0", "done"), ("1", "1", "1", "done"), ("2", "2", "2", "failed"), ("3", "3", "3", "done"),
        ]  # fmt: skip
        assert rows[2]["reason"] == "exit code 7"
        assert [row["value"] for row in json.loads(four("collect", "--json"))] == [0, 1, 2, 3]
        assert four("collect", "--table").splitlines()[0].split()[:5] == ["task", "id", "state", "attempt", "elapsed_s"]

    def test_into_a_file(self, four):
        text = four("collect", "--csv")
        assert four("collect", "run-01", "--csv", "-o", "results.csv") == ""
        assert (four.folder / "results.csv").read_text() == text
        four("collect", "-o", "results.json")
        assert len(json.loads((four.folder / "results.json").read_text())) == 4
        assert not list(four.folder.glob(".tmp*"))

    def test_steps(self, user):
        command = 'printf "epoch loss\\n1 0.5\\n2 0.25\\n" > "$HPCSWEEP_TASK_DIR/a.metrics"'
        user("submit", user.sweep(f"command: |\n  {command}\nspace: {{x: [1, 2]}}\n"))
        user.wait()
        assert [row["loss"] for row in user.rows()] == [0.25, 0.25]
        steps = json.loads(user("collect", "--steps", "--json"))
        assert [(row["task"], row["epoch"], row["loss"]) for row in steps] == [
            (0, 1, 0.5), (0, 2, 0.25), (1, 1, 0.5), (1, 2, 0.25),
        ]  # fmt: skip

    def test_while_it_runs(self, user):
        user("submit", user.sweep("{command: 'sleep 60', space: {x: [1, 2]}, scheduler: local}"), "--jobs", "1")
        assert sorted(row["state"] for row in user.rows()) in (["pending", "running"], ["pending", "pending"])
        user("cancel", "run-01")


class TestStreams:
    def test_no_escape_codes_but_on_a_terminal(self, four):
        for words in (["status"], ["status", "--failed"], ["list"], ["du"], ["collect"], ["show", "sweep.yaml"], ["logs", "2"]):
            done = four.run(*words, env=four.environ(FORCE_COLOR="1", CLICOLOR_FORCE="1", TERM="xterm-256color"))
            assert "\x1b" not in done.stdout + done.stderr

    def test_remarks_are_on_standard_error(self, user):
        user("submit", user.sweep("{command: 'true', space: {x: [1]}, scheduler: local}"))
        user.wait()
        done = user.run("collect", "--csv")
        assert "no metrics" in done.stderr
        assert done.stdout.splitlines()[0].startswith("task,id,state")

    def test_a_reader_that_leaves(self, four):
        for words in (["status", "--json"], ["show", "sweep.yaml"], ["collect", "--csv"], ["logs", "0-3"], ["--help"]):
            with subprocess.Popen(
                four.argv(*words),
                cwd=four.folder,
                env=four.environ(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as process:
                process.stdout.close()
                assert process.stderr.read() == ""
            assert process.returncode in (0, 141)

    def test_closed_standard_output(self, four):
        done = subprocess.run(
            ["bash", "-c", 'exec "$@" >&-', "bash", *four.argv("status")],
            cwd=four.folder, env=four.environ(), stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        assert "a bug" not in done.stderr

    def test_full_standard_output(self, four):
        with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
            done = subprocess.run(
                four.argv("status", "--json"),
                cwd=four.folder, env=four.environ(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            )  # fmt: skip
        assert (done.returncode, done.stderr) == (1, "hpcsweep: standard output: No space left on device\n")

    def test_a_locale_that_has_no_such_letters(self, user):
        user("submit", user.sweep("{command: 'echo {{ x }}', space: {x: [é✓]}, scheduler: local}"))
        user.wait()
        environment = user.environ(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
        for words in (["status"], ["collect"], ["show", "sweep.yaml"], ["status", "--json"], ["list"]):
            done = user.run(*words, env=environment)
            assert (done.returncode, done.stderr.replace("hpcsweep: done, but no metrics found (task 0)\n", "")) == (0, "")


class TestOthers:
    def test_list_and_du(self, four):
        assert re.search(r"run-01 +four +local +4 .* 3 done, 1 failed", four("list"))
        (size,) = json.loads(four("du", "--json"))
        files = [path for path in four.run_dir().rglob("*") if path.is_file()]
        assert size["total_bytes"] == sum({path.stat().st_ino: path.stat().st_size for path in files}.values())
        assert size["files"] == len({path.stat().st_ino for path in files})
        assert "run-01" in four("du", "run-01")

    def test_wait(self, four):
        assert "3 done, 1 failed" in four("wait", code=1)

    def test_wait_times_out(self, user):
        user("submit", user.sweep("{command: 'sleep 60', space: {}, scheduler: local}"))
        done = user.run("wait", "--timeout", "1s")
        assert done.returncode == 1
        assert "has not ended after 1s" in done.stderr
        user("cancel", "run-01")

    def test_advance_of_an_ended_run_changes_nothing(self, four):
        four("advance")
        before = (four.run_dir() / "state.jsonl").read_bytes()
        assert four("advance", "--quiet") == ""
        assert (four.run_dir() / "state.jsonl").read_bytes() == before

    def test_resubmit_twice(self, four):
        assert "runs again 1: task 2" in four("resubmit", "--dry-run").replace("would run again", "runs again")
        assert four.status()["tasks"][2]["attempt"] == 1
        assert "runs again 1: task 2" in four("resubmit")
        four.wait(code=1)
        assert "runs again 1: task 2" in four("resubmit", "run-01", "--state", "failed,timeout")
        four.wait(code=1)
        assert [task["attempt"] for task in four.status()["tasks"]] == [1, 1, 3, 1]
        assert sorted(four.starts()) == ["start 0", "start 1", "start 2", "start 2", "start 2", "start 3"]
        assert four("logs", "2", "--path").endswith("attempt-3.log\n")

    def test_resubmit_takes_only_what_did_not_work(self, four):
        done = four.run("resubmit", "--tasks", "0-3", "--state", "cancelled,timeout")
        assert "nothing to run again" in done.stdout
        assert "left as they are: 0 (done)" in done.stderr
        assert "nothing to run again" in four("resubmit", "--tasks", "0,1", "--state", "done,failed")
        four.wait(code=1)
        assert len(four.starts()) == 4
