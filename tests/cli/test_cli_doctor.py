"""``hpcsweep doctor`` at the command line."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from hpcsweep.rehearsal.rehearse import Rehearsal


def test_what_it_says_of_this_machine(user):
    said = user("doctor", "--scheduler", "local")
    lines = said.splitlines()
    assert all(line.startswith(("ok: ", "warning: ", "problem: ", "    do: ")) for line in lines[:-1])
    assert "ok: scheduler: local: the tasks run on this machine" in lines
    assert lines[-1].startswith("no problems, ")
    assert list(user.folder.iterdir()) == []


def test_json(user):
    found = json.loads(user("doctor", "--scheduler", "local", "--json", "--runs-dir", "somewhere/else"))
    assert (found["scheduler"], found["runs_dir"]) == ("local", str(user.folder / "somewhere" / "else"))
    assert (found["problems"], list(found)) == (0, ["scheduler", "runs_dir", "findings", "problems", "warnings"])
    assert {finding["level"] for finding in found["findings"]} <= {"ok", "warning"}
    assert list(user.folder.iterdir()) == []


def test_a_problem_ends_with_1_and_says_what_to_do(user):
    (user.folder / "runs").write_text("a file")
    lines = user("doctor", "--scheduler", "local", code=1).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("problem: folder: "))
    assert "a file, not a folder" in lines[at]
    assert lines[-1].startswith("1 problem, ")


def test_hostile_runs_folder(user, hostile_dir):
    assert user("doctor", "--scheduler", "local", "--runs-dir", hostile_dir).splitlines()[-1].startswith("no problems, ")
    assert list(hostile_dir.iterdir()) == []


def test_a_time_to_wait_needs_a_job_to_wait_for(user):
    assert "--compute-node" in user.error("doctor", "--wait", "5m", code=2)


@pytest.fixture
def torque(tmp_path):
    rehearsal = Rehearsal("torque", tmp_path / "cluster", {"cpus": 2})
    yield rehearsal
    rehearsal.end()


def environment(user, rehearsal: Rehearsal) -> dict[str, str]:
    own = user.environ()
    path = f"{rehearsal.path}:{own['PATH']}"
    return {**own, "PATH": path, "HPCSWEEP_REHEARSAL": str(rehearsal.folder), "HPCSWEEP_REHEARSES": "torque"}


def test_a_scheduler_out_of_reach_ends_with_4(user, torque):
    torque.fault("down")
    said = user("doctor", code=4, env=environment(user, torque))
    assert "problem: jobs: torque is here and gives no answer" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whatever_ends_it_nothing_is_left(number, user, torque):
    (user.folder / "hpcsweep.yaml").write_text("resources: {queue: stoppedq}\n")
    own = environment(user, torque)
    process = subprocess.Popen(
        user.argv("doctor", "--compute-node"),
        cwd=user.folder,
        env=own,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert any("is submitted; its report is waited for" in line for line in process.stdout)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "hpcsweep: interrupted\n")
    assert [path.name for path in user.folder.iterdir()] == ["hpcsweep.yaml"]
    listed = subprocess.run(["qstat", "-f"], env=own, capture_output=True, text=True, check=True).stdout
    assert "job_state = Q" not in listed
