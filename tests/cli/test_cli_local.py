"""Runs on this machine: how many at once, every kind of end, control, and what is left afterwards."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from cli_user import is_running

# Each task says when it begins and ends, and goes on when its file is there: GO is made by the test.
GATED = """
    command: |
      echo "start $HPCSWEEP_TASK $HPCSWEEP_ATTEMPT" >> starts
      until [ -e go ] || [ -e "go-$HPCSWEEP_TASK" ]; do sleep 0.05; done
      echo "end $HPCSWEEP_TASK" >> ends
    space: {x: {range: [0, %d]}}
"""


def gated(tasks, **more):
    lines = [f"    {key}: {json.dumps(value)}\n" for key, value in more.items()]
    return GATED % (tasks - 1) + "".join(lines)


def started(user):
    return [int(line.split()[1]) for line in user.starts()]


def queue_pids(user, run="run-01"):
    return [int(path.name.removeprefix("job-").split("-")[0]) for path in (user.run_dir(run) / "local").glob("job-*")]


def element_pids(user, run="run-01"):
    """The runners' processes, by the claims in the event folders."""
    claims = (user.run_dir(run) / "arrays").glob("*/events/*.run")
    return [int(claim.read_text().split()[3]) for claim in claims]


class TestHowMany:
    @pytest.mark.parametrize("jobs", [1, 3])
    def test_jobs(self, user, await_that, jobs):
        user("submit", user.sweep(gated(6)), "--jobs", str(jobs))
        await_that(lambda: len(started(user)) == jobs, f"{jobs} tasks run")
        for number in range(6):
            assert len(started(user)) <= jobs + number
            counts = user.status()["counts"]
            assert counts["running"] == min(jobs, 6 - number)
            (user.folder / f"go-{started(user)[number]}").touch()
            expected = min(6, jobs + number + 1)
            await_that(lambda: len(started(user)) == expected, "the next one has started")  # noqa: B023 - called at once
        user.wait()
        assert sorted(started(user)) == list(range(6))

    def test_as_many_as_there_are_cores(self, user, await_that):
        cores = len(os.sched_getaffinity(0))
        user("submit", user.sweep(gated(cores + 2)))
        await_that(lambda: len(started(user)) == cores, "all cores are busy")
        assert user.status()["counts"] == {"running": cores, "pending": 2}
        (user.folder / "go").touch()
        user.wait()

    def test_fewer_where_each_takes_all_cores(self, user, await_that):
        user("submit", user.sweep(gated(2, resources={"cpus": len(os.sched_getaffinity(0))})))
        await_that(lambda: len(started(user)) == 1, "one runs")
        assert user.status()["counts"] == {"running": 1, "pending": 1}
        (user.folder / "go").touch()
        user.wait()

    def test_at_once(self, user, await_that):
        user("submit", user.sweep(gated(3, array={"at_once": 1})), "--jobs", "3")
        await_that(lambda: len(started(user)) == 1, "one runs")
        assert user.status()["counts"] == {"running": 1, "pending": 2}
        user("throttle", "run-01", "2")
        await_that(lambda: len(started(user)) == 2, "the throttle is opened")
        user("throttle", "0")
        await_that(lambda: len(started(user)) == 3, "there is none")
        (user.folder / "go").touch()
        user.wait()


class TestCancel:
    TREE = """
        command: |
          setsid sleep 1000 & echo $! >> pids
          nohup sleep 1000 > /dev/null 2>&1 & echo $! >> pids
          (trap '' TERM INT HUP; sleep 1000) & echo $! >> pids
          env -i bash -c 'sleep 1000 & echo $! >> pids; wait' &
          echo started >> starts
          sleep 1000
        space: {x: [1, 2, 3]}
    """

    def pids(self, user):
        return [int(line) for line in user.starts("pids")]

    def test_of_one_task(self, user, await_that):
        user("submit", user.sweep(self.TREE), "--jobs", "2")
        await_that(lambda: len(self.pids(user)) == 8, "both trees are up")
        assert "cancelled 1: tasks 0" in user("cancel", "run-01", "--tasks", "0").replace("task 0", "tasks 0")
        await_that(lambda: user.states()[0] == "cancelled", "task 0 is cancelled")
        await_that(lambda: len(self.pids(user)) == 12, "task 2 has its turn")
        assert user.states() == ["cancelled", "running", "running"]
        await_that(lambda: sum(map(is_running, self.pids(user))) == 8, "one tree is gone, and the others are there")
        user("cancel", "run-01")
        await_that(lambda: not any(map(is_running, self.pids(user))), "nothing is left")
        user.wait(code=1)
        assert user.states() == ["cancelled"] * 3

    def test_by_the_schedulers_id(self, user, await_that):
        user("submit", user.sweep(gated(3)), "--jobs", "3")
        await_that(lambda: len(started(user)) == 3, "all run")
        user("cancel", "run-01", "--tasks", f"{user.status()['arrays'][0]['job']}_1")
        (user.folder / "go").touch()
        user.wait(code=1)
        assert user.states() == ["done", "cancelled", "done"]

    def test_of_what_waits(self, user, await_that):
        user("submit", user.sweep(gated(4)), "--jobs", "1")
        await_that(lambda: started(user) == [0], "the first runs")
        user("cancel", "run-01", "--tasks", "2-3")
        (user.folder / "go").touch()
        user.wait(code=1)
        assert user.states() == ["done", "done", "cancelled", "cancelled"]
        assert sorted(started(user)) == [0, 1]

    def test_of_all_that_is_left_is_one_marker(self, user, await_that):
        user("submit", user.sweep(gated(40)), "--jobs", "1")
        (user.folder / "go-0").touch()
        await_that(lambda: started(user) == [0, 1], "the first is done")
        user("cancel", "run-01")
        user.wait(code=1)
        assert user.states() == ["done"] + ["cancelled"] * 39
        events = [path.name for path in (user.run_dir() / "arrays/001/events").iterdir()]
        assert [name for name in events if "cancel" in name and not name.startswith("1.1.")] == ["cancel"]
        (user.folder / "go").touch()
        user("resubmit", "run-01", "--state", "cancelled")
        user.wait()
        assert sorted(started(user)) == sorted([*range(40), 1])

    def test_of_what_has_ended_is_nothing(self, user):
        user("submit", user.sweep("{command: 'true', space: {}, scheduler: local}"))
        user.wait()
        assert "nothing to cancel" in user("cancel", "run-01")
        assert user.states() == ["done"]

    def test_cancelled_ones_run_again_only_when_asked(self, user, await_that):
        user("submit", user.sweep(gated(3)), "--jobs", "1")
        await_that(lambda: started(user) == [0], "the first runs")
        user("cancel", "run-01")
        user.wait(code=1)
        assert "nothing to run again; 3 cancelled: hpcsweep resubmit run-01 --state cancelled" in user("resubmit", "run-01")
        (user.folder / "go").touch()
        assert "runs again 3" in user("resubmit", "run-01", "--state", "cancelled")
        user.wait()
        assert user.starts()[0] == "start 0 1"
        assert sorted(user.starts()[1:]) == ["start 0 2", "start 1 2", "start 2 2"]

    def test_named_tasks_are_asked_for(self, user, await_that):
        user("submit", user.sweep(gated(3)), "--jobs", "1")
        await_that(lambda: started(user) == [0], "the first runs")
        user("cancel", "run-01")
        user.wait(code=1)
        (user.folder / "go").touch()
        user("resubmit", "run-01", "--tasks", "1")
        user.wait(code=1)
        assert user.states() == ["cancelled", "done", "cancelled"]


class TestEnds:
    def test_each_told_apart(self, user):
        sweep = """
            command: |
              echo $HPCSWEEP_TASK >> starts
              case {{ x }} in
                ok) ;;
                code) exit 3;;
                segv) kill -SEGV $$;;
                kill) kill -9 $$;;
                term) kill $$;;
                none) no-such-program;;
                time) sleep 1000;;
                ignore) trap '' TERM; while :; do sleep 1000; done;;
              esac
            space: {x: [ok, code, segv, kill, term, none, time, ignore]}
            resources: {time: 2s}
        """
        user("submit", user.sweep(sweep), "--jobs", "8")
        user.wait(code=1)
        tasks = user.status()["tasks"]
        ends = {task["params"]["x"]: (task["state"], task["exit_code"], task["signal"]) for task in tasks}
        assert ends == {
            "ok": ("done", 0, None),
            "code": ("failed", 3, None),
            "segv": ("failed", None, 11),
            "kill": ("failed", None, 9),
            "term": ("failed", None, 15),
            "none": ("failed", 127, None),
            "time": ("timeout", None, None),
            "ignore": ("timeout", None, None),
        }
        assert "signal 11" in user("status", "--failed")
        assert "time limit" in user("status", "--failed")
        assert re.search(r"no-such-program", user("logs", "5"))
        user("resubmit", "run-01", "--state", "timeout", "--tasks", "0-6")
        user.wait(code=1)
        assert sorted(map(int, user.starts())) == [0, 1, 2, 3, 4, 5, 6, 6, 7]

    def test_a_killed_queue(self, user, await_that):
        user("submit", user.sweep(gated(4)), "--jobs", "2")
        await_that(lambda: len(started(user)) == 2, "two run")
        (pid,) = queue_pids(user)
        os.kill(pid, signal.SIGKILL)
        # What runs goes on; what waited never starts by itself, and is handed over again.
        await_that(lambda: sorted(user.states()) == ["running", "running", "submitting", "submitting"], "the loss is seen")
        (user.folder / "go").touch()
        user.wait()
        assert sorted(started(user)) == [0, 1, 2, 3]
        assert {task["attempt"] for task in user.status()["tasks"]} == {1}

    def test_a_killed_runner(self, user, await_that):
        user("submit", user.sweep(gated(2)), "--jobs", "2")
        await_that(lambda: len(started(user)) == 2, "both run")
        os.kill(element_pids(user)[0], signal.SIGKILL)
        await_that(lambda: sorted(user.states()) == ["lost", "running"], "one is lost")
        (user.folder / "go").touch()
        user.wait(code=1)
        user("resubmit", "run-01")
        user.wait()
        assert sorted(line.split()[2] for line in user.starts()) == ["1", "1", "2"]

    def test_everything_killed(self, user, await_that):
        user("submit", user.sweep(gated(3)), "--jobs", "2")
        await_that(lambda: len(started(user)) == 2, "two run")
        user.end_all()
        await_that(lambda: user.states() == ["lost", "lost", "submitting"], "two are lost, the third never began")
        (user.folder / "go").touch()
        user.wait(code=1)
        assert user.states() == ["lost", "lost", "done"]
        user("resubmit")
        user.wait()
        assert user.status()["counts"] == {"done": 3}

    @pytest.mark.parametrize("words", [["wait"], ["status", "--watch"], ["logs", "0", "-f"]])
    def test_a_run_that_is_removed_under_a_watcher(self, user, await_that, call, monkeypatch, words):
        user("submit", user.sweep(gated(2)), "--jobs", "1")
        await_that(lambda: len(started(user)) == 1, "one runs")
        sleep = time.sleep

        def remove_and_sleep(seconds):
            if user.run_dir().exists():
                user.run_dir().rename(user.folder / "away")
            sleep(seconds)

        monkeypatch.setattr(time, "sleep", remove_and_sleep)
        code, _out, err = call(*words)
        assert code == 1
        assert "no run any more" in err

    def test_a_removed_run_ends_its_tasks(self, user, await_that):
        user("submit", user.sweep(gated(2)), "--jobs", "1")
        await_that(lambda: len(started(user)) == 1, "one runs")
        pids = [*queue_pids(user), *element_pids(user)]
        shutil.rmtree(user.run_dir())
        await_that(lambda: not any(map(is_running, pids)), "queue and runner have ended", within_s=90)
        assert not user.run_dir().exists()


class TestControl:
    def test_hold_and_release(self, user, await_that):
        user("submit", user.sweep(gated(3)), "--jobs", "1")
        await_that(lambda: started(user) == [0], "the first runs")
        user("hold", "run-01")
        (user.folder / "go").touch()
        await_that(lambda: user.states()[0] == "done", "the first is done")
        status = user.status()
        assert status["counts"] == {"done": 1, "pending": 2}
        assert "hpcsweep release" in status["tasks"][1]["reason"]
        assert user("wait", "--timeout", "1s", code=1) == ""
        assert started(user) == [0]
        user("release")
        user.wait()
        assert sorted(started(user)) == [0, 1, 2]

    def test_resubmit_while_held_waits_for_release(self, user):
        user("submit", user.sweep("{command: 'echo x >> starts; [ -e ok ]', space: {}, scheduler: local}"))
        user.wait(code=1)
        user("hold")
        (user.folder / "ok").touch()
        assert "held" in user("resubmit")
        assert len(user.starts()) == 1
        user("release")
        user.wait()
        assert len(user.starts()) == 2

    def test_canary(self, user):
        sweep = "command: 'echo start {{ x }} >> starts; [ -e ok ]'\nspace: {x: [0, 1, 2]}\ncanary: 1\n"
        user("submit", user.sweep(sweep))
        user.wait(code=1)
        assert user.states() == ["failed", "new", "new"]
        assert "canary" in user("status")
        assert user.starts() == ["start 0"]
        (user.folder / "ok").touch()
        user("resubmit")
        user.wait()
        assert sorted(started(user)) == [0, 0, 1, 2]

    def test_canary_that_sings(self, user):
        user("submit", user.sweep("command: 'echo start {{ x }} >> starts'\nspace: {x: [0, 1, 2]}\ncanary: 2\n"), "--watch")
        assert sorted(started(user)) == [0, 1, 2]
        assert user.status()["arrays"][0]["size"] == 2

    def test_canary_left_behind_by_release(self, user):
        sweep = "command: 'echo start {{ x }} >> starts; [ {{ x }} != 0 ]'\nspace: {x: [0, 1, 2]}\ncanary: 1\n"
        user("submit", user.sweep(sweep))
        user.wait(code=1)
        user("release")
        user.wait(code=1)
        assert user.states() == ["failed", "done", "done"]

    def test_max_failures(self, user):
        sweep = "command: 'echo start {{ x }} >> starts; [ -e ok ]'\nspace: {x: {range: [0, 9]}}\nmax_failures: 3\n"
        user("submit", user.sweep(sweep), "--jobs", "1")
        user.wait(code=1)
        assert user.status()["counts"] == {"new": 7, "failed": 3}
        assert "release" in user("status")
        (user.folder / "ok").touch()
        user("release")
        user.wait(code=1)
        assert user.status()["counts"] == {"done": 7, "failed": 3}
        user("resubmit")
        user.wait()
        assert sorted(started(user)) == sorted([0, 1, 2, *range(10)])

    def test_finally_when_done(self, user):
        sweep = """
            command: 'echo start {{ x }} >> starts; [ -e ok ]'
            space: {x: [0, 1]}
            finally: {command: 'cat starts > all'}
        """
        user("submit", user.sweep(sweep))
        user.wait(code=1)
        assert not (user.folder / "all").exists()
        (user.folder / "ok").touch()
        user("resubmit")
        user.wait()
        assert len((user.folder / "all").read_text().splitlines()) == 4
        assert user.status()["finally"]["state"] == "done"

    def test_finally_when_ended(self, user):
        sweep = """
            command: 'echo start {{ x }} >> starts; exit {{ x }}'
            space: {x: [0, 1, 2]}
            finally: {command: 'wc -l < starts >> all', when: ended}
        """
        user("submit", user.sweep(sweep))
        user.wait(code=1)
        assert (user.folder / "all").read_text().split() == ["3"]

    def test_after_a_run(self, user, await_that):
        user("submit", user.sweep(gated(2)), "--jobs", "2")
        user(
            "submit",
            user.sweep("{command: 'cat ends > seen', space: {}, scheduler: local}", "second.yaml"),
            "--after",
            "run-01",
        )
        await_that(lambda: len(started(user)) == 2, "the first run runs")
        (second,) = user.status("run-02")["tasks"]
        assert (second["state"], second["reason"]) == ("pending", "Dependency")
        (user.folder / "go").touch()
        user.wait("run-02")
        assert sorted((user.folder / "seen").read_text().splitlines()) == ["end 0", "end 1"]

    def test_after_a_run_that_has_ended(self, user):
        sweep = user.sweep("{command: 'true', space: {}, scheduler: local}")
        user("submit", sweep)
        user.wait()
        user("submit", sweep, "--after", "run-01")
        user.wait("run-02")

    def test_two_runs_at_once(self, user, await_that):
        sweep = user.sweep(gated(2).replace(">> starts", '>> "starts-$HPCSWEEP_RUN"'))
        user("submit", sweep, "--jobs", "2")
        user("submit", sweep, "--jobs", "2")
        await_that(lambda: [len(user.starts(f"starts-run-0{n}")) for n in (1, 2)] == [2, 2], "both run side by side")
        user("cancel", "run-01")
        (user.folder / "go").touch()
        user.wait("run-01", code=1)
        user.wait("run-02")
        assert user.states("run-01") == ["cancelled"] * 2

    def test_the_next_starts_by_itself(self, user, await_that):
        """Nobody watches: the queue goes on, the canary lets go of the others, and what comes last comes."""
        sweep = """
            command: 'echo start {{ x }} >> starts'
            space: {x: [0, 1, 2]}
            canary: 1
            finally: {command: 'touch all'}
        """
        user("submit", user.sweep(sweep))
        await_that((user.folder / "all").exists, "all has run")
        assert sorted(started(user)) == [0, 1, 2]


class TestWhatATaskSees:
    def test_environment(self, user):
        sweep = """
            command: env -0 > "$HPCSWEEP_TASK_DIR/env"
            space: {lr: [0.1], model.x: [é], a-b: [null]}
            env: {OMP_NUM_THREADS: "{{ resources.cpus }}", QUOTES: "it's \\"$HOME\\" `x`", EMPTY: ""}
            resources: {cpus: 2}
        """
        environ = user.environ(
            LD_LIBRARY_PATH="/my/lib", VIRTUAL_ENV="/my/venv", OTHER="x", SLURM_JOB_ID="17", HPCSWEEP_TASK="99"
        )
        user("submit", user.sweep(sweep), env=environ)
        user.wait()
        data = (user.run_dir() / "tasks/000000/env").read_bytes().decode()
        seen = dict(entry.partition("=")[::2] for entry in data.split("\0") if entry)
        expected = {
            "HPCSWEEP_RUN": "run-01",
            "HPCSWEEP_RUN_DIR": str(user.run_dir()),
            "HPCSWEEP_TASK": "0",
            "HPCSWEEP_TASK_DIR": str(user.run_dir() / "tasks/000000"),
            "HPCSWEEP_ATTEMPT": "1",
            "HPCSWEEP_RESTART": "0",
            "HPCSWEEP_POINT": user.status()["tasks"][0]["id"],
            "HPCSWEEP_PARAM_lr": "0.1",
            "HPCSWEEP_PARAM_model_x": "é",
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "2",
            "QUOTES": 'it\'s "$HOME" `x`',
            "EMPTY": "",
            "LD_LIBRARY_PATH": "/my/lib",
            "VIRTUAL_ENV": "/my/venv",
            "PATH": environ["PATH"],
        }
        assert {name: seen.get(name) for name in expected} == expected
        assert "SLURM_JOB_ID" not in seen
        assert int(seen["HPCSWEEP_MASTER_PORT"]) > 1024

    def test_env_from_clean(self, user):
        sweep = 'command: env -0 > "$HPCSWEEP_TASK_DIR/env"\nspace: {}\nenv_from: clean\n'
        user("submit", user.sweep(sweep), env=user.environ(OTHER="x", LD_LIBRARY_PATH="/my/lib"))
        user.wait()
        data = (user.run_dir() / "tasks/000000/env").read_text()
        assert "OTHER" not in data
        assert "/my/lib" not in data

    def test_files_stdin_link_workdir(self, user):
        (user.folder / "decks").mkdir()
        (user.folder / "decks/deck.j2").write_text("x = {{ x }}; 'y' = '{{ y }}'\n")
        (user.folder / "data").mkdir()
        (user.folder / "data/table").write_text("42\n")
        sweep = """
            command: 'cat > got; cat input.nml sub/other >> got; cat data/table >> got; pwd >> got'
            space: {x: [1, 2], y: ["a'b $(c)"]}
            workdir: task
            files: {input.nml: decks/deck.j2, sub/other: decks/deck.j2}
            stdin: decks/deck.j2
            link: [data]
        """
        user("submit", user.sweep(sweep))
        user.wait()
        (user.folder / "decks/deck.j2").write_text("changed later\n")
        for task, x in enumerate((1, 2)):
            folder = user.run_dir() / f"tasks/{task:06d}"
            line = f"x = {x}; 'y' = 'a'b $(c)'\n"
            assert (folder / "got").read_text() == line * 3 + f"42\n{folder}\n"
            assert (folder / "data").is_symlink()
            assert json.loads((folder / "params.json").read_text()) == {"x": x, "y": "a'b $(c)"}

    def test_setup_and_teardown(self, user):
        sweep = """
            command: 'greet >> "$HPCSWEEP_TASK_DIR/order"; exit {{ x }}'
            space: {x: [0, 5]}
            setup: |
              false
              echo $UNSET setup >> order-setup
              greet() { echo "hello $MODULE"; }
              export MODULE=cuda
            teardown: 'echo teardown >> order-teardown'
        """
        user("submit", user.sweep(sweep), "--jobs", "1")
        user.wait(code=1)
        assert user.states() == ["done", "failed"]
        assert user.status()["tasks"][1]["exit_code"] == 5
        assert (user.run_dir() / "tasks/000000/order").read_text() == "hello cuda\n"
        assert user.starts("order-setup") == ["setup"] * 2
        assert user.starts("order-teardown") == ["teardown"] * 2

    def test_setup_that_fails(self, user):
        sweep = "command: 'touch ran'\nspace: {x: [0]}\nsetup: 'echo no such module >&2; exit 4'\n"
        user("submit", user.sweep(sweep))
        user.wait(code=1)
        assert not (user.folder / "ran").exists()
        (task,) = user.status()["tasks"]
        assert (task["state"], task["reason"]) == ("failed", "setup ended with exit code 4")
        assert "no such module" in user("status")

    def test_a_workdir_that_is_not_there(self, user):
        user("submit", user.sweep("command: 'true'\nspace: {x: [0]}\nworkdir: sub\n"))
        user.wait(code=1)
        assert user.status()["tasks"][0]["state"] == "failed"
        (user.folder / "sub").mkdir()
        user("resubmit")
        user.wait()

    def test_commands_changed_after_submit_are_not_run(self, user, await_that):
        user("submit", user.sweep(gated(2)), "--jobs", "1")
        await_that(lambda: len(started(user)) == 1, "the first runs")
        chunk = user.run_dir() / "arrays/001/tasks/0000.sh"
        chunk.write_text(chunk.read_text().replace("start", "touch owned; start"))
        (user.folder / "go").touch()
        user.wait(code=1)
        assert not (user.folder / "owned").exists()
        assert user.states() == ["done", "failed"]
        assert "edited" in user.status()["tasks"][1]["reason"] or "changed" in user.status()["tasks"][1]["reason"]

    def test_a_plain_script_as_template(self, user):
        (user.folder / "mine.sh").write_text("#!/bin/bash\n#SBATCH --comment=mine\nexport MINE=yes\n{{ hpcsweep }}\n")
        user("submit", user.sweep("command: 'echo \"$MINE {{ x }}\" >> starts'\nspace: {x: [1, 2]}\ntemplate: mine.sh\n"))
        user.wait()
        assert sorted(user.starts()) == ["yes 1", "yes 2"]

    def test_a_folder_whose_name_hurts(self, user, hostile_dir):
        user.folder = hostile_dir
        try:
            user("submit", user.sweep("command: 'pwd > \"$HPCSWEEP_TASK_DIR/where\"'\nspace: {x: [1, 2]}\n"))
            user.wait()
            assert (user.run_dir() / "tasks/000001/where").read_text() == f"{hostile_dir}\n"
            for words in (["status"], ["logs", "0"], ["collect"], ["du"], ["list"], ["show", "sweep.yaml"]):
                user(*words)
            assert {path.name for path in hostile_dir.iterdir()} == {"sweep.yaml", "runs"}
            user("archive", "run-01")
        finally:
            user.end_all()


class TestValuesThatHurt:
    VALUES = (
        "", " ", "a b", "'", '"', "\\", "\n", "a\nb\n", "\t", "\r\n", "$(touch pwned)", "`touch pwned`", "; touch pwned", "&& touch pwned",
        "| touch pwned", "> pwned", "*", "?", "[a]", "~", "~root", "{a,b}", "$HOME", "${HOME}", "!x", "!!", "-n", "--help", "-", "--",
        "#x", "%s%n", "é✓\U0001f600", "\u202e", "{{ x }}", "{% x %}", "{# x #}", "\x7f", "a'b\"c`d$e\\f", "'$(touch pwned)'", "\\n", "$'a'",
        "=", "a=b", "null", "true", "1e3", "01", "EOF", "%(a)s", "x" * 100_000, "<(touch pwned)", "\u2028", "(", ")", "$((1/0))",
    )  # fmt: skip

    def test_each_arrives_byte_for_byte(self, user):
        program = user.folder / "keep.py"
        program.write_text(
            textwrap.dedent(
                """
                import json, os, sys
                folder = os.environb[b"HPCSWEEP_TASK_DIR"]
                json.dump({
                    "argv": [os.fsencode(word).hex() for word in sys.argv[1:]],
                    "env": os.environb.get(b"HPCSWEEP_PARAM_text", b"absent").hex(),
                    "stdin": sys.stdin.buffer.read().hex(),
                }, open(folder + b"/got.json", "w"))
                """
            )
        )
        (user.folder / "deck").write_text("{{ text }}")
        sweep = {
            "command": f"{sys.executable} keep.py {{{{ text }}}} x{{{{ text }}}}y {{{{ params | flags }}}}",
            "space": {"text": list(self.VALUES)},
            "files": {"deck": "deck"},
            "stdin": "deck",
            "scheduler": "local",
        }  # fmt: skip
        (user.folder / "sweep.yaml").write_text(json.dumps(sweep))
        before = {path.name for path in user.folder.iterdir()}
        user("submit", "sweep.yaml")
        user.wait()
        assert {path.name for path in user.folder.iterdir()} == before | {"runs"}
        assert not list(user.folder.rglob("pwned"))
        for index, value in enumerate(self.VALUES):
            folder = user.run_dir() / f"tasks/{index:06d}"
            got = json.loads((folder / "got.json").read_text())
            argv = [bytes.fromhex(word).decode() for word in got["argv"]]
            assert argv[:2] == [value, f"x{value}y"]
            assert argv[2:] in (["--text", value], [f"--text={value}"])
            assert json.loads((folder / "params.json").read_text()) == {"text": value}
            assert (folder / "deck").read_bytes().decode() == value
            assert bytes.fromhex(got["stdin"]).decode() == value
            assert bytes.fromhex(got["env"]).decode() == value
        assert [row["text"] for row in user.rows()] == list(self.VALUES)
        for words in (["status", "--json"], ["collect", "--csv"], ["collect", "--table"], ["show", "sweep.yaml"]):
            user(*words)

    def test_words_of_a_list_are_words(self, user):
        values = ["a b", "$(touch pwned)", "", "-x", "é\n"]
        sweep = {
            "command": ["printf", "%s\\0", "{{ text }}", "{{ [text, 'two words'] }}", "end"],
            "space": {"text": values},
            "scheduler": "local",
        }
        (user.folder / "sweep.yaml").write_text(json.dumps(sweep))
        user("submit", "sweep.yaml")
        user.wait()
        for index, value in enumerate(values):
            log = (user.run_dir() / f"tasks/{index:06d}/attempt-1.log").read_bytes()
            assert log.decode().split("\0") == [value, value, "two words", "end", ""]


class TestHousekeeping:
    def test_rm_removes_just_the_run(self, user, call):
        sweep = user.sweep("{command: 'true', space: {x: [1, 2]}, scheduler: local}")
        user("submit", sweep)
        user("submit", sweep)
        user.wait("run-01")
        user.wait("run-02")
        (user.folder / "precious").write_text("x")
        (user.run_dir() / "link").symlink_to(user.folder / "precious")
        (user.run_dir() / "folder-link").symlink_to(user.folder)
        said = user("rm", "run-01", "--dry-run")
        assert "would remove" in said
        assert str(user.run_dir()) in said
        assert user.run_dir().is_dir()
        assert "removed" in user("rm", "run-01")
        assert {path.name for path in user.folder.iterdir()} == {"sweep.yaml", "runs", "precious"}
        assert [path.name for path in (user.folder / "runs").iterdir()] == ["run-02"]
        assert user.states("run-02") == ["done", "done"]

    @pytest.mark.parametrize("command", ["rm", "archive"])
    def test_a_live_run_is_not_touched(self, user, await_that, command):
        user("submit", user.sweep(gated(2)), "--jobs", "1")
        await_that(lambda: len(started(user)) == 1, "one runs")
        err = user.error(command, "run-01")
        assert "has not ended" in err
        assert "hpcsweep cancel run-01" in err
        if command == "rm":
            assert "has not ended" in user.error("rm", "run-01", "--dry-run")
        assert user.status()["counts"] == {"running": 1, "pending": 1}
        (user.folder / "go").touch()
        user.wait()
        user(command, "run-01")
        assert not user.run_dir().exists()

    def test_archive_and_back(self, user):
        user("submit", user.sweep("{command: 'echo {{ x }}; [ {{ x }} = 1 ]', space: {x: [1, 2]}, scheduler: local}"))
        user.wait(code=1)
        before, logs, table = user.status()["tasks"], user("logs", "0,1"), user("collect", "--csv")
        said = user("archive", "run-01")
        assert not user.run_dir().exists()
        assert (user.folder / "runs/run-01.tar.gz").is_file()
        assert [path.name for path in (user.folder / "runs").iterdir()] == ["run-01.tar.gz"]
        command = re.search(r"tar -xzf .*", said)[0]
        subprocess.run(["bash", "-c", command], check=True, cwd=user.folder)
        after = user.status()["tasks"]
        assert [{**task, "age_s": 0} for task in after] == [{**task, "age_s": 0} for task in before]
        assert user("logs", "0,1") == logs
        assert user("collect", "--csv") == table
        user("resubmit")
        user.wait(code=1)

    def test_an_archive_that_is_there_is_not_overwritten(self, user):
        user("submit", user.sweep("{command: 'true', space: {x: [1]}, scheduler: local}"))
        user.wait()
        (user.folder / "runs/run-01.tar.gz").write_text("precious")
        assert "there already" in user.error("archive", "run-01")
        assert (user.folder / "runs/run-01.tar.gz").read_text() == "precious"
        assert user.run_dir().is_dir()

    def test_archive_keep(self, user):
        user("submit", user.sweep("{command: 'true', space: {x: [1]}, scheduler: local}"))
        user.wait()
        user("archive", "run-01", "--keep")
        assert user.states() == ["done"]
        assert (user.folder / "runs/run-01.tar.gz").is_file()

    def test_a_new_run_does_not_take_an_archived_name(self, user):
        sweep = user.sweep("{command: 'true', space: {x: [1]}, scheduler: local}")
        user("submit", sweep)
        user.wait()
        user("archive", "run-01")
        assert "run-02" in user("submit", sweep)
