"""What an attempt used, as its outcome's file tells it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from small_runs import RUNNER, block

from hpcsweep.usage import OwnRecord, parse_own_record

MB = 1_000_000
BUSY = "x = bytearray(60_000_000)\nimport time\nbegun = time.process_time()\nwhile time.process_time() - begun < 0.5: pass\n"
# It stays until somebody has looked at it: once within two seconds, by a clock of whole seconds.
USES = BUSY + "time.sleep(2.5)\n"


def record_of(run, task: int = 0) -> OwnRecord:
    return parse_own_record(run.event(f"{task}.1").read_text())


def test_cpu_time_and_peak(run):
    run.add_array([block(0, [sys.executable, "-c", USES])])
    assert run.run() == 0
    used = record_of(run)
    assert used.peak_from == "proc"
    assert 50 * MB <= (used.peak_bytes or 0) < 200 * MB
    assert 0.5 <= (used.cpu_s or 0.0) < 20


def test_what_the_program_starts_counts(run):
    """Of all processes at once, children of children too."""
    run.add_array(
        [
            block(
                0,
                f"python=$(printf %s {sys.executable}); for i in 1 2; do (bash -c '\"$0\" -c \"$1\"; :' $python '{USES}') & done; wait",
            )
        ]
    )
    assert run.run() == 0
    used = record_of(run)
    assert 110 * MB <= (used.peak_bytes or 0) < 300 * MB
    assert (used.cpu_s or 0.0) >= 1.0


def test_a_failure_says_it_too(run):
    run.add_array(
        [
            block(0, [sys.executable, "-c", BUSY + "raise SystemExit(3)"]),
            block(1, [sys.executable, "-c", BUSY + "import os; os.kill(os.getpid(), 9)"]),
        ]
    )
    assert run.run(0) == 3
    assert run.run(1) == 137
    for task in (0, 1):
        assert (record_of(run, task).cpu_s or 0.0) >= 0.5


def test_what_never_started_says_nothing(run):
    run.add_array([block(0, "true")])
    run.event("0.1.cancel").touch()
    run.run()
    assert run.outcomes() == ["0.1.cancelled.0"]
    assert record_of(run) == OwnRecord()


def test_the_watcher_still_sees_what_it_watches_for(run):
    """Looking at memory delays no deadline."""
    run.add_array([block(0, "sleep 60")], time_limit_s=2, enforce_time_limit=1)
    assert run.run() == 143
    assert run.outcomes() == ["0.1.timeout.0"]
    assert record_of(run).cpu_s is not None


@pytest.mark.parametrize("slot", [0, 1])
def test_tasks_that_share_an_element_have_their_own_figures(run, slot):
    run.add_array([block(0, [sys.executable, "-c", USES]), block(1, "sleep 2.5")], tasks_per_element=2, parallel=2)
    assert run.run() == 0
    peak = record_of(run, slot).peak_bytes or 0
    assert (peak >= 50 * MB) is (slot == 0)


V2 = "/system.slice/n1_slurmstepd.scope/job_77"
LAYOUTS = {
    "slurm, version 1": ("slurm", "9:memory:/slurm/uid_5/job_77/step_batch/task_0\n", "memory/slurm/uid_5/job_77/memory.max_usage_in_bytes"),
    "slurm, with other controllers": ("slurm", "2:cpuset,memory:/slurm/job_77\n0::/\n", "memory/slurm/job_77/memory.max_usage_in_bytes"),
    "slurm, version 2": ("slurm", f"0::{V2}/step_batch/user/task_0\n", f"{V2}/memory.peak"),
    "slurm's own qsub": ("torque", f"0::{V2}/step_batch\n", f"{V2}/memory.peak"),
    "pbs, version 1": ("pbs", "4:memory:/pbs_jobs.service/jobid/39[3].pbs\n", "memory/pbs_jobs.service/jobid/39[3].pbs/memory.max_usage_in_bytes"),
    "another job's": ("slurm", "9:memory:/slurm/uid_5/job_777/step_batch\n", "memory/slurm/uid_5/job_777/memory.max_usage_in_bytes"),
    "a session's": ("slurm", "0::/user.slice/user-5.slice/session-1.scope\n", "user.slice/memory.peak"),
    "the queue of this machine, in a job": ("local", "9:memory:/slurm/job_77\n", "memory/slurm/job_77/memory.max_usage_in_bytes"),
    "an older Linux, version 2": ("slurm", f"0::{V2}/step_batch\n", f"{V2}/memory.current"),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_jobs_own_cgroup_is_found(tmp_path, layout):
    """As systems lay them out; nothing but the job's own counts."""
    scheduler, cgroup, file = LAYOUTS[layout]
    path = tmp_path / file.lstrip("/")
    path.parent.mkdir(parents=True)
    path.write_text("4711\n")
    (tmp_path / "self").write_text(cgroup)
    functions = (RUNNER.with_name("usage.sh")).read_text()
    functions = functions.replace("/sys/fs/cgroup", f"{tmp_path}").replace("/proc/self/cgroup", f"{tmp_path}/self")
    job = "PBS_JOBID='39[3].pbs'" if scheduler == "pbs" else "SLURM_JOB_ID=77"
    script = f"{functions}\n{job} hpcsweep_scheduler={scheduler}\nhpcsweep_read_job_peak && echo $hpcsweep_job_peak"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    is_ours = layout not in ("another job's", "a session's", "the queue of this machine, in a job", "an older Linux, version 2")
    assert (done.stdout, done.stderr) == ("4711\n" if is_ours else "", "")
