"""``hpcsweep doctor`` on the real Slurm."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm


def doctor(site, *words: str, code: int = 0, **environment: str) -> dict:
    done = site.hpcsweep("doctor", "--json", *words, code=code, **environment)
    return json.loads(done.stdout)


def texts(found: dict, subject: str, level: str = "ok") -> list[str]:
    return [each["text"] for each in found["findings"] if (each["subject"], each["level"]) == (subject, level)]


def doctors_jobs() -> str:
    listed = subprocess.run(["squeue", "--noheader", "--format=%j"], check=True, capture_output=True, text=True).stdout
    return "\n".join(line for line in listed.splitlines() if line.startswith("hpcsweep-doctor-"))


def test_queues_limits_history_and_a_node(any_site):
    found = doctor(any_site, "--compute-node", "--wait", "3m")
    assert (found["scheduler"], found["problems"]) == ("slurm", 0)
    assert texts(found, "queue")[0].startswith("main (default): no time limit; GPUs of a node: fake:4; 4 nodes")
    assert texts(found, "queue")[1].startswith("short: at most 1m")
    assert "10001 elements" in texts(found, "limits")[0]
    assert "4 (qos few)" in texts(found, "account")[0]
    assert texts(found, "history")
    assert len(texts(found, "compute node")) == 3
    assert texts(found, "feeding")
    assert not (any_site.folder / "runs").exists() or not list((any_site.folder / "runs").glob(".*"))
    assert doctors_jobs() == ""


def test_a_job_that_does_not_start_in_time_is_taken_back(own_site):
    (own_site.folder / "hpcsweep.yaml").write_text("resources: {partition: main}\nslurm: {reservation: nosuch}\n")
    try:
        refused = doctor(own_site, "--compute-node", code=1)
    finally:
        (own_site.folder / "hpcsweep.yaml").unlink()
    (words,) = texts(refused, "compute node", "problem")
    assert "reservation" in words.lower()
    late = doctor(own_site, "--compute-node", "--wait", "0")
    assert "has not reported within 0s" in texts(late, "compute node", "warning")[0]
    assert doctors_jobs() == ""


def test_slurms_own_qsub_is_no_torque(own_site):
    found = doctor(own_site, "--scheduler", "torque", code=1)
    assert "Slurm's own" in texts(found, "scheduler", "problem")[0]


def test_a_controller_out_of_reach(own_site, slurm, tmp_path: Path):
    text = Path(slurm.conf).read_text()
    dead = tmp_path / "slurm.conf"
    dead.write_text("".join("SlurmctldPort=1\n" if "SlurmctldPort=" in line else f"{line}\n" for line in text.splitlines()))
    found = doctor(own_site, code=4, SLURM_CONF=str(dead))
    assert "gives no answer" in texts(found, "jobs", "problem")[0]
    assert texts(found, "programs")
