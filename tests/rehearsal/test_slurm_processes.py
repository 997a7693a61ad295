"""A rehearsed Slurm with real processes: a few lives, through the commands that a user calls."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcsweep.rehearsal.rehearse import Rehearsal

SETTINGS = {"cpus": 4, "nodes": 2, "gpus": 2, "minute_s": 1, "requeue_delay_s": 0, "kill_delay_s": 0.5, "patience_s": 0.1}


class Site:
    """A rehearsal and a folder to work in."""

    def __init__(self, rehearsal: Rehearsal, cwd: Path) -> None:
        self.rehearsal, self.cwd = rehearsal, cwd

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in self.rehearsal.environment.items() if name != "SLURM_CONF"}
        argv = ["bash", "-c", line]
        return subprocess.run(argv, cwd=self.cwd, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def out(self, line: str) -> list[str]:
        done = self.run(line)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout.splitlines()

    def until(self, line: str, holds: Callable[[list[str]], object]) -> list[str]:
        deadline = time.monotonic() + 30
        while not holds(lines := self.out(line)):
            assert time.monotonic() < deadline, lines
            time.sleep(0.02)
        return lines


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    with Rehearsal("slurm", tmp_path / "rehearsal", SETTINGS) as rehearsal:
        cwd = tmp_path / "work"
        cwd.mkdir()
        yield Site(rehearsal, cwd)


def write(site: Site, name: str, text: str) -> None:
    (site.cwd / name).write_text(f"#!/bin/bash\n{text}\n")


def test_an_array_runs_and_ends(site):
    write(
        site,
        "ends.sh",
        "echo $SLURM_ARRAY_TASK_ID $SLURM_JOB_ID\ncase $SLURM_ARRAY_TASK_ID in 1) exit 7;; 2) kill -9 $$;; esac",
    )
    assert site.out("sbatch --parsable --array=0-2 ends.sh") == ["1"]
    site.until("squeue -h", lambda lines: not lines)
    assert site.out("sacct -n -P -X -o jobid,state,exitcode") == ["1_0|COMPLETED|0:0", "1_1|FAILED|7:0", "1_2|FAILED|0:9"]
    assert [(site.cwd / f"slurm-1_{index}.out").read_text() for index in range(3)] == ["0 2\n", "1 3\n", "2 1\n"]


def test_a_cancelled_job_has_kill_wait_to_end(site):
    write(site, "deaf.sh", "trap 'echo told' TERM\nsleep 300 & child=$!\necho up\nwait; wait; wait")
    site.out("sbatch -o log deaf.sh")
    site.until("cat log 2>/dev/null || true", lambda lines: lines == ["up"])
    site.out("scancel 1")
    assert site.out("sacct -n -P -X -o state")[0].startswith("CANCELLED by ")
    site.until("squeue -h", lambda lines: not lines)
    up, words, told = (site.cwd / "log").read_text().splitlines()
    assert (up, told) == ("up", "told")
    assert words.startswith("slurmstepd: error: *** JOB 1 ON n1 CANCELLED AT ")


def test_a_time_limit_warns_the_shell_alone(site):
    write(
        site,
        "limit.sh",
        "#SBATCH --time=1 --signal=B:USR1@30\ntrap 'echo warned' USR1\ntrap 'echo ended; exit 0' TERM\n"
        "python3 -c 'import signal, time; signal.signal(signal.SIGUSR1, print); time.sleep(300)' &\n"
        "while :; do wait; done",
    )
    site.out("sbatch -o log limit.sh")
    site.until("squeue -h", lambda lines: not lines)
    assert site.out("sacct -n -P -X -o state,exitcode") == ["TIMEOUT|0:0"]
    lines = (site.cwd / "log").read_text().splitlines()
    assert [line for line in lines if "slurmstepd" not in line] == ["warned", "ended"]


def test_a_requeued_job_starts_again_under_its_id(site):
    write(site, "again.sh", 'echo "$SLURM_JOB_ID ${SLURM_RESTART_COUNT-none}"\n[ "$SLURM_RESTART_COUNT" ] || sleep 300')
    site.out("sbatch -o log --open-mode=append again.sh")
    site.until("cat log 2>/dev/null || true", lambda lines: lines == ["1 none"])
    site.out("scontrol requeue 1")
    site.until("squeue -h", lambda lines: not lines)
    assert (site.cwd / "log").read_text().splitlines()[::2] == ["1 none", "1 1"]
    assert site.out("sacct -n -P -X -D -o state") == ["REQUEUED", "COMPLETED"]


def test_a_job_that_cannot_start(site):
    site.out("sbatch -o /nope/log --wrap true")
    site.until("squeue -h", lambda lines: not lines)
    assert site.out("sacct -n -P -X -o state,exitcode") == ["FAILED|0:53"]


def test_a_server_that_dies_loses_nothing(site):
    site.out("sbatch --array=0-9%1 --gres=gpu:1 --wrap 'echo $CUDA_VISIBLE_DEVICES; sleep 300'")
    site.until("squeue -h -t R -o %i", lambda lines: lines == ["1_0"])
    site.rehearsal.kill_server()
    assert site.out("squeue -h -o '%i %T'") == ["1_[1-9%1] PENDING", "1_0 RUNNING"]
    site.out("scancel 1")
    site.until("squeue -h", lambda lines: not lines)
    assert (site.cwd / "slurm-1_0.out").read_text().startswith("0\n")


def test_outages(site):
    site.out("sbatch --wrap 'exit 3'")
    site.until("squeue -h", lambda lines: not lines)
    site.rehearsal.fault("down")
    for command, code in (("squeue", 1), ("sbatch --wrap true", 1), ("scancel 1", 8)):
        done = site.run(command)
        assert (done.returncode, "Unable to contact slurm controller" in done.stderr) == (code, True)
    assert site.out("sacct -n -P -X -o state") == ["FAILED"]
    site.rehearsal.fault("none")
    site.rehearsal.fault("hung")
    done = site.run("sbatch --parsable -J ghost -H --wrap true")
    assert (done.returncode, "Socket timed out" in done.stderr) == (1, True)
    assert site.out("sacct -n -P -X -o state") == ["FAILED"]
    site.rehearsal.fault("none")
    site.until("squeue -h -o %j", lambda lines: lines == ["ghost"])
    site.rehearsal.fault("history-down")
    assert site.run("sacct").returncode == 1
    assert site.out("squeue -h -o %j") == ["ghost"]


def test_a_job_may_submit_another(site):
    write(site, "outer.sh", "sbatch -o inner.log --wrap 'echo $SLURM_JOB_NAME ${SLURM_ARRAY_TASK_ID-none}'")
    site.out("sbatch --array=5 -o outer.log outer.sh")
    site.until("sacct -n -P -X -s CD -S 00:00 -E now -o state", lambda lines: len(lines) == 2)
    assert (site.cwd / "inner.log").read_text() == "wrap none\n"
