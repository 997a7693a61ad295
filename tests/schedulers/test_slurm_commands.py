"""The commands of the Slurm adapter, as argv and environment; what they do is in tests/slurm."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hpcsweep.schedulers.base import ArrayJob, Command
from hpcsweep.schedulers.slurm import Slurm, escape_pattern
from hpcsweep.shell import command_environment, run_command

SLURM = Slurm()
TAG = "hs-lr-0123456789abcdef"


def job(**changes) -> ArrayJob:
    facts = {"tag": TAG, "script": "/run dir/script.sh", "log": "/run dir/log", "size": 10, "chdir": "/home/user"}
    return ArrayJob(**{**facts, **changes})


def options(command: Command) -> list[str]:
    return [word for word in command.argv if word.startswith("--")]


def test_a_submission():
    command = SLURM.submit_cmd(job(at_once=4, after=("17", "18;alpine"), is_held=True))
    assert command.argv == (
        "sbatch",
        "--parsable",
        f"--job-name={TAG}",
        "--array=0-9%4",
        "--output=/run dir/log",
        "--error=/run dir/log",
        "--open-mode=append",
        "--chdir=/home/user",
        "--dependency=afterany:17:18",
        "--hold",
        "/run dir/script.sh",
    )
    assert (command.keeps_lock, command.cwd) == (True, "/home/user")


def test_a_plain_array_and_a_single_job():
    assert "--array=0-9" in SLURM.submit_cmd(job()).argv
    assert not any("array" in word for word in SLURM.submit_cmd(job(size=1, as_single_job=True)).argv)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [("/a b/c", "/a b/c"), ("/100%/%j", "/100%%/%%j"), ("/a\\b", "/a\\\\b"), ("/a\\%j", "/a\\\\%j"), ("/é\n", "/é\n")],
)
def test_a_path_as_a_pattern(path, pattern):
    assert escape_pattern(path) == pattern


def test_what_a_job_inherits():
    environ = {
        "PATH": "/bin",
        "OMP_NUM_THREADS": "4",
        "SLURM_CONF": "/etc/slurm.conf",
        "SLURM_JOB_ID": "1",
        "SLURMD_NODENAME": "n1",
        "SBATCH_ACCOUNT": "lab",
        "SBATCH_WAIT": "1",
        "SBATCH_TIMELIMIT": "10",
        "CUDA_VISIBLE_DEVICES": "3",
        "PMIX_RANK": "1",
        "HPCSWEEP_PARAM_lr": "0.1",
    }
    kept = command_environment(SLURM.submit_cmd(job()), environ)
    assert sorted(kept) == ["OMP_NUM_THREADS", "PATH", "SBATCH_ACCOUNT", "SBATCH_TIMELIMIT", "SLURM_CONF"]
    clean = command_environment(SLURM.submit_cmd(job(is_env_clean=True)), {**environ, "LC_ALL": "C", "HOME": "/h"})
    assert sorted(clean) == ["HOME", "LC_ALL", "PATH", "SBATCH_ACCOUNT", "SBATCH_TIMELIMIT", "SLURM_CONF"]


@pytest.mark.parametrize(
    "line", ["#SBATCH --account=lab", "#SBATCH -A lab", "#SBATCH -Alab", "#SBATCH --time=1 --account other"]
)
def test_a_directive_wins_over_a_default_of_the_site(line):
    kept = command_environment(SLURM.submit_cmd(job(directives=(line,))), {"SBATCH_ACCOUNT": "a", "SBATCH_QOS": "q"})
    assert sorted(kept) == ["SBATCH_QOS"]


def test_queries_ask_once_for_all_and_are_not_swayed_by_the_environment():
    live, history = SLURM.live_cmd(["b", "a"]), SLURM.history_cmd(["b", "a"], 1_700_000_000.0)
    assert live.argv[0] == "squeue"
    assert history.argv[0] == "sacct"
    assert "--name=a,b" in live.argv
    assert "--name=a,b" in history.argv
    assert "--starttime=2023-11-14T21:13:20" in history.argv
    environ = {
        "SQUEUE_FORMAT": "%j",
        "SACCT_FORMAT": "User",
        "SLURM_TIME_FORMAT": "%s",
        "SLURM_BITSTR_LEN": "64",
        "SLURM_CONF": "x",
    }
    assert command_environment(live, environ) == {"SLURM_CONF": "x", "SLURM_BITSTR_LEN": "0"}
    assert command_environment(history, environ) == {"SLURM_CONF": "x", "TZ": "UTC"}


def test_more_names_than_an_argument_can_hold_are_not_named():
    argv = SLURM.live_cmd([f"hs-{number:040}" for number in range(5000)]).argv
    assert not any(word.startswith("--name") for word in argv)


def test_many_elements_are_cancelled_in_arguments_of_bearable_length():
    commands = SLURM.cancel_cmds(TAG, "17", range(0, 100_000, 2))
    expressions = [command.argv[-1] for command in commands]
    assert max(map(len, expressions)) < 100_000
    assert all(expression.startswith("17_[") for expression in expressions)
    assert SLURM.cancel_cmds(TAG, "17", []) == []


# ---- the fixed scripts, with stand-ins for Slurm's commands ----


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """``stand_ins(squeue="echo 17", scancel="exit 1")``: programs that do so, first on the PATH, and a log of their calls."""

    def make(**bodies: str) -> Path:
        log = tmp_path / "calls"
        for name, body in bodies.items():
            program = tmp_path / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >>"{log}"\n{body}\n')
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return log

    return make


@pytest.mark.parametrize(("elements", "call"), [(None, f"scancel --name={TAG} 17"), ([1, 2, 5], "scancel 17_[1-2,5]")])
def test_a_job_of_that_name_is_cancelled(stand_ins, elements, call):
    log = stand_ins(squeue="echo 16; echo 17; echo 17", scancel="exit 0")
    (command,) = SLURM.cancel_cmds(TAG, "17", elements)
    assert run_command(command).returncode == 0
    assert log.read_text().splitlines() == [f"squeue --noheader --name={TAG} --format=%F", call]


@pytest.mark.parametrize("found", ["", "echo 117; echo 171"])
def test_an_id_that_is_no_longer_ours_is_left_alone(stand_ins, found):
    log = stand_ins(squeue=found or ":", scancel="exit 0")
    (command,) = SLURM.cancel_cmds(TAG, "17", [1])
    assert run_command(command).returncode == 0
    assert "scancel" not in log.read_text()


def test_a_silent_scheduler_is_said(stand_ins):
    log = stand_ins(squeue="echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", scancel="exit 0")
    (command,) = SLURM.cancel_cmds(TAG, "17", None)
    completed = run_command(command)
    assert completed.returncode == 1
    assert "Unable to contact" in completed.stderr
    assert "scancel" not in log.read_text()


@pytest.mark.parametrize(
    ("said", "returncode"),
    [
        ("scancel: error: Kill job error on job id 17_1: Invalid job id specified", 0),
        ("scancel: error: Kill job error on job id 17_1: Job/step already completing or completed", 0),
        ("scancel: error: Kill job error on job id 17: Unable to contact slurm controller (connect failure)", 8),
        ("scancel: error: Kill job error on job id 17: Access/permission denied", 8),
    ],
)
def test_what_has_ended_meanwhile_is_no_fault(stand_ins, said, returncode):
    stand_ins(squeue="echo 17", scancel=f"echo '{said}' >&2; exit 8")
    (command,) = SLURM.cancel_cmds(TAG, "17", [1])
    completed = run_command(command)
    assert completed.returncode == returncode
    assert completed.stderr.strip() == (said if returncode else "")


def test_hold_and_throttle_go_by_the_name(stand_ins):
    log = stand_ins(scontrol="exit 0")
    for command in [
        *SLURM.hold_cmds(TAG, "17", "hold"),
        *SLURM.hold_cmds(TAG, "17", "release"),
        *SLURM.throttle_cmds(TAG, "17", 3),
    ]:
        assert run_command(command).returncode == 0
    assert log.read_text().splitlines() == [
        f"scontrol hold jobname={TAG}",
        f"scontrol release jobname={TAG}",
        f"scontrol update JobName={TAG} ArrayTaskThrottle=3",
    ]


def test_the_fixed_scripts_are_clean_shell():
    if shutil.which("shellcheck") is None:
        pytest.skip("NO SHELLCHECK: it is not installed")
    for command in [*SLURM.cancel_cmds(TAG, "17", None), *SLURM.hold_cmds(TAG, "17", "hold")]:
        checked = subprocess.run(
            ["shellcheck", "--shell=sh", "-"], input=command.argv[2], text=True, capture_output=True, check=False
        )
        assert checked.returncode == 0, checked.stdout
