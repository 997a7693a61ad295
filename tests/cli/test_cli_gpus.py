"""A workstation's GPUs, from the command line to what the tasks see. The GPUs are names that no other test has."""

from __future__ import annotations

import json
import os
import signal
import sys
import uuid

import pytest

FREE = "waits for a GPU"
NOTING = """
    command: |
      echo "begin $HPCSWEEP_TASK ${CUDA_VISIBLE_DEVICES-unset} $EPOCHREALTIME" >> records
      sleep 0.{{ x %% 4 }}
      echo "end $HPCSWEEP_TASK ${CUDA_VISIBLE_DEVICES-unset} $EPOCHREALTIME" >> records
    space: {x: {range: [0, %d]}}
"""
WAITING = """
    command: |
      echo "$HPCSWEEP_TASK ${CUDA_VISIBLE_DEVICES-unset}" >> starts
      until [ -e go ]; do sleep 0.05; done
    space: {x: {range: [0, %d]}}
"""
SMI = """#!/bin/bash
[[ $* == -L ]] || exit 1
echo "asked" >>"$HOME/asked"
%s
"""
TWO_LISTED = """\
echo 'GPU 0: NVIDIA RTX A6000 (UUID: GPU-%s)'
echo 'GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-%s)'
echo '  MIG 3g.20gb     Device  0: (UUID: MIG-%s)'
echo '  MIG 3g.20gb     Device  1: (UUID: MIG-%s)'"""


@pytest.fixture
def uuids():
    """Four of a kind that nobody else on this machine has."""
    return [str(uuid.uuid4()) for _ in range(4)]


@pytest.fixture
def names(uuids):
    return [f"GPU-{name}" for name in uuids]


@pytest.fixture
def smi(user):
    """``smi(BODY)``: a nvidia-smi on the user's PATH that does so when it is asked for the list."""

    def make(body: str) -> None:
        folder = user.home / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "nvidia-smi"
        program.write_text(SMI % body)
        program.chmod(0o755)
        user.more["PATH"] = f"{folder}:{user.environ()['PATH']}"

    return make


def most_at_once(user) -> dict[str, int]:
    """Device -> how many tasks had it at the same moment, at most, by their own words."""
    moments = [line.split() for line in user.starts("records")]
    now: dict[str, int] = {}
    most: dict[str, int] = {}
    for word, _task, names, _at in sorted(moments, key=lambda moment: float(moment[3])):
        for name in names.split(","):
            now[name] = now.get(name, 0) + (1 if word == "begin" else -1)
            most[name] = max(most.get(name, 0), now[name])
    return most


def recorded(user, run="run-01"):
    return json.loads((user.run_dir(run) / "run.json").read_text())


class TestSharedOut:
    def test_each_task_has_one_of_its_own(self, user, names):
        user("submit", user.sweep(NOTING % 23), "--gpus", ",".join(names))
        user.wait()
        assert user.states() == ["done"] * 24
        assert most_at_once(user) == dict.fromkeys(names, 1)

    def test_who_names_them_on_the_command_line_means_one_for_each(self, user, names):
        user("submit", user.sweep(NOTING % 0), "--gpus", names[0])
        assert recorded(user)["settings"]["resources"] == {"gpus": 1}
        assert recorded(user)["origins"]["resources.gpus"] == "--gpus"
        user.wait()

    def test_as_many_run_as_there_are_gpus_whatever_the_cores(self, user, names, await_that):
        more = [f"{names[0]}{number}" for number in range(len(os.sched_getaffinity(0)) + 1)]
        user("submit", user.sweep(WAITING % len(more)), "--gpus", ",".join(more))
        await_that(lambda: len(user.starts()) == len(more), "all GPUs are busy")
        assert {line.split()[1] for line in user.starts()} == set(more)
        waiting = user.status()["tasks"][-1]
        assert waiting["state"] == "pending"
        assert waiting["reason"] == f"waits for a GPU ({len(more)} of {len(more)} are busy)"
        assert FREE in user("status")
        (user.folder / "go").touch()
        user.wait()

    def test_a_file_may_say_which_and_how_much(self, user, names):
        text = NOTING % 15 + f"    resources: {{gpus: 0.25}}\n    gpus: [{names[0]}, {names[1]}]\n"
        user("submit", user.sweep(text))
        user.wait()
        most = most_at_once(user)
        assert set(most) == set(names[:2])
        assert max(most.values()) <= 4

    def test_groups(self, user, names):
        user("submit", user.sweep(NOTING % 9), "--gpus", names[0], "--gpus", f"{names[1]},{names[2]}")
        user.wait()
        assert {line.split()[2] for line in user.starts("records")} <= {names[0], f"{names[1]},{names[2]}"}
        assert set(most_at_once(user).values()) == {1}

    def test_two_runs_share_the_machine(self, user, names):
        sweep = user.sweep(NOTING % 11)
        for run in ("one", "two"):
            user("submit", sweep, "--name", run, "--gpus", ",".join(names[:3]))
        for run in ("one", "two"):
            user.wait(run)
            assert user.states(run) == ["done"] * 12
        assert most_at_once(user) == dict.fromkeys(names[:3], 1)

    def test_what_needs_none_is_not_held_up(self, user, names, await_that):
        text = WAITING % 0 + "    resources: {gpus: '{{ 1 - x }}'}\n"
        user("submit", user.sweep(text), "--gpus", names[0])
        await_that(lambda: len(user.starts()) == 1, "the GPU is busy")
        user.sweep(NOTING % 1 + f"    resources: {{gpus: 0}}\n    gpus: [{names[0]}]\n", "cpu.yaml")
        user("submit", "cpu.yaml", "--name", "cpu")
        user.wait("cpu")
        assert {line.split()[2] for line in user.starts("records")} == {"unset"}
        (user.folder / "go").touch()
        user.wait()

    def test_they_survive_setup_and_a_clean_environment(self, user, names):
        text = """
            command: echo "$CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER ${HPCSWEEP_GPUS_FD-closed}" > seen
            space: {x: [1]}
            env_from: clean
            env: {OTHER: 1}
            setup: export SETUP=1
            teardown: echo "$CUDA_VISIBLE_DEVICES" >> seen
        """
        user("submit", user.sweep(text), "--gpus", names[0], env=user.environ(CUDA_VISIBLE_DEVICES="7"))
        user.wait()
        assert user.starts("seen") == [f"{names[0]} PCI_BUS_ID closed", names[0]]

    def test_a_task_that_runs_again_has_one_again(self, user, names):
        text = 'command: echo "$CUDA_VISIBLE_DEVICES" >> starts; test -e good\nspace: {x: [1, 2]}\n'
        user("submit", user.sweep(text), "--gpus", names[0])
        user.wait(code=1)
        (user.folder / "good").touch()
        user("resubmit", "run-01")
        user.wait()
        assert user.starts() == [names[0]] * 4

    def test_a_killed_runner_gives_its_gpu_back(self, user, names, await_that):
        user("submit", user.sweep(WAITING % 1), "--gpus", names[0])
        await_that(lambda: len(user.starts()) == 1, "the first has begun")
        (claim,) = (user.run_dir() / "arrays").glob("*/events/*.run")
        os.kill(int(claim.read_text().split()[3]), signal.SIGKILL)
        await_that(lambda: len(user.starts()) == 2, "the second has it")
        (user.folder / "go").touch()
        user.wait(code=1)
        assert user.states() == ["lost", "done"]

    def test_what_is_left_behind_does_not_keep_it(self, user, names):
        """A daemon that a task started has neither the lock nor the variable that names its descriptor."""
        text = "command: ls -l /proc/$$/fd > fds; (setsid sleep 1000 &)\nspace: {x: [1, 2]}\n"
        user("submit", user.sweep(text), "--gpus", names[0])
        user.wait()
        assert "hpcsweep-gpus" not in (user.folder / "fds").read_text()

    def test_a_task_may_submit_a_sweep_of_its_own(self, user, names):
        user.sweep(NOTING % 3 + "    resources: {gpus: 1}\n", "inner.yaml")
        text = f"""
            command: [{sys.executable}, -m, hpcsweep, submit, inner.yaml, --name, inner, --watch]
            space: {{x: [1]}}
        """
        user("submit", user.sweep(text), "--gpus", ",".join(names[:2]), "--set", "resources.gpus=2")
        user.wait()
        assert user.states("inner") == ["done"] * 4
        assert most_at_once(user) == dict.fromkeys(names[:2], 1)


class TestFound:
    def test_what_nvidia_smi_lists(self, user, smi, uuids):
        smi(TWO_LISTED % tuple(uuids))
        user("submit", user.sweep(NOTING % 11 + "    resources: {gpus: 1}\n"))
        user.wait()
        assert most_at_once(user) == {"0": 1, f"MIG-{uuids[2]}": 1, f"MIG-{uuids[3]}": 1}
        devices = recorded(user)["gpus"]["devices"]
        assert devices[0] == {"name": "0", "locks": [f"GPU-{uuids[0]}"]}

    def test_only_those_that_we_may_see(self, user, smi, uuids):
        smi(TWO_LISTED % tuple(uuids))
        shown = user(
            "show",
            user.sweep(NOTING % 1 + "    resources: {gpus: 1}\n"),
            env=user.environ(CUDA_VISIBLE_DEVICES=f"MIG-{uuids[3]}"),
        )
        assert f"GPUs of this machine that the tasks are given: MIG-{uuids[3]}\n" in shown

    def test_a_number_and_a_uuid_are_the_same_gpu(self, user, smi, uuids, await_that):
        smi(TWO_LISTED % tuple(uuids))
        user("submit", user.sweep(WAITING % 0), "--gpus", "0")
        await_that(lambda: user.starts() == ["0 0"], "the first has begun")
        user("submit", user.sweep(NOTING % 0), "--gpus", f"GPU-{uuids[0]}", "--name", "other")
        await_that(lambda: FREE in user.status("other")["tasks"][0]["reason"], "the other one waits")
        (user.folder / "go").touch()
        user.wait("other")

    def test_what_is_not_here_is_an_error(self, user, smi, uuids):
        smi(TWO_LISTED % tuple(uuids))
        sweep = user.sweep(NOTING % 0)
        said = user.error("submit", sweep, "--gpus", "0,4")
        assert "--gpus: this machine has no GPU 4" in said
        assert f"nvidia-smi -L lists 0, MIG-{uuids[2]}" in said
        assert "are the same GPU" in user.error("submit", sweep, "--gpus", f"0,GPU-{uuids[0]}")
        assert not (user.folder / "runs").exists()

    @pytest.mark.parametrize("body", ["echo 'No devices were found'; exit 6", "echo 'GPU access blocked' >&2; exit 9"])
    def test_a_driver_in_trouble(self, user, smi, body, names):
        smi(body)
        sweep = user.sweep(NOTING % 3 + "    resources: {gpus: 1}\n")
        done = user.run("submit", sweep)
        assert done.returncode == 0
        assert "nvidia-smi: " in done.stderr
        assert "run one at a time" in done.stderr
        user.wait()
        assert most_at_once(user) == {"unset": 1}
        user("submit", sweep, "--gpus", names[0], "--name", "named")
        user.wait("named")

    def test_nobody_asks_where_nobody_wants_one(self, user, smi):
        smi("exit 1")
        user("submit", user.sweep(NOTING % 0 + "    gpus: [0]\n"))
        user.wait()
        assert not (user.home / "asked").exists()

    def test_without_any_known_they_run_one_by_one(self, user):
        done = user.run("submit", user.sweep(NOTING % 3 + "    resources: {gpus: 1}\n"))
        assert "run one at a time; `--gpus 0,1` says which there are" in done.stderr
        user.wait()
        assert most_at_once(user) == {"unset": 1}


class TestRefused:
    @pytest.mark.parametrize(
        ("more", "words", "said"),
        [
            ("resources: {gpus: 3}", "0,1", "a task asks for 3 GPUs, and there are 2 to give: 0, 1"),
            ("resources: {gpus: 2}", "0;1,2", "the GPUs are in groups (0; 1,2)"),
            ("resources: {gpus: 0.5}", "0;1,2", "the GPUs are in groups (0; 1,2)"),
            ("finally: {command: echo, resources: {gpus: 3}}", "0,1", "a task asks for 3 GPUs"),
            ("resources: {gpus: 1.5}", "0,1", "a fraction below 1"),
            ("resources: {gpus: '{{ x + 0.5 }}'}", "0,1", "a fraction below 1"),
            ("", "0,0", "the GPU 0 is there twice"),
            ("", "first", "`first` is no GPU"),
        ],
    )
    @pytest.mark.parametrize("command", ["submit", "show"])
    def test_at_once(self, user, more, words, said, command):
        sweep = user.sweep(NOTING % 3 + f"    {more}\n")
        assert said in user.error(command, sweep, "--gpus", words)
        assert not (user.folder / "runs").exists()

    def test_new_points_need_not_say_what_the_command_line_did(self, user, names):
        text = 'command: echo "$CUDA_VISIBLE_DEVICES" >> starts\nspace: {x: %s}\n'
        user("submit", user.sweep(text % "[1]"), "--gpus", names[0])
        user.wait()
        user("extend", "run-01", user.sweep(text % "[1, 2]"))
        user.wait()
        assert user.starts() == [names[0]] * 2

    def test_new_points_that_ask_for_more(self, user, names):
        text = "command: 'true'\nspace: {x: %s}\nresources: {gpus: '{{ x }}'}\n"
        user("submit", user.sweep(text % "[1]"), "--gpus", ",".join(names[:2]))
        user.wait()
        sweep = user.sweep(text % "[1, 2, 3]")
        assert "a task asks for 3 GPUs" in user.error("extend", "run-01", sweep)


def test_a_dry_run_shows_what_the_queue_is_told(user, names):
    said = user("submit", user.sweep(NOTING % 3), "--gpus", ",".join(names), "--dry-run")
    assert f"--jobs 4 --devices 'CUDA_VISIBLE_DEVICES {names[0]}={names[0]} " in said
    assert " --gpus 1 " in said
