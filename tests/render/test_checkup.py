"""The script that looks at a machine."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from hpcsweep.render.checkup import LOOK, read_report, render_checkup


def run(script: str, cwd, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-c", script], cwd=cwd, env=environment or None, capture_output=True, text=True, timeout=60, check=True
    )


def script_for(folder, **changes: str) -> str:
    parts = {"python": "/no/such/python", "submits_with": "cat", "environment": "", **changes}
    return render_checkup(folder=str(folder), directives=["#SBATCH --time=1"], **parts)


def test_this_machine_has_all_that_is_needed(hostile_dir):
    report = read_report(run(LOOK, hostile_dir).stdout)
    tried = ("hard_link", "exclusive_link", "rename", "keeping_rename", "sha256sum", "clock")
    assert {name: report[name] for name in tried} == dict.fromkeys(tried, "ok")
    assert (report["missing"], "coreutils" in report["coreutils"]) == ("", True)


def test_the_report_is_whole_or_not_there(hostile_dir):
    (hostile_dir / "bin").mkdir()
    (hostile_dir / "bin" / "python3").write_text("#!/bin/sh\necho Python 9.9\n")
    (hostile_dir / "bin" / "python3").chmod(0o755)
    environment = 'export PATH="$PWD/bin:$PATH"'
    run(script_for(hostile_dir, environment=environment), "/", PATH="/usr/bin:/bin")
    report = read_report((hostile_dir / "report").read_text())
    assert (report["python3"], report["own_python"], report["submits"] != "") == ("Python 9.9", "missing", True)
    assert len(report["umask"]) == 4
    assert not (hostile_dir / "report.part").exists()


def test_a_folder_that_has_gone_is_left_alone(tmp_path):
    run(script_for(tmp_path / "gone"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_lines_that_are_no_report_are_passed_over():
    assert read_report("Welcome!\nbash=5.2=x\n a=b\n\nhost=n1\n") == {"bash": "5.2=x", "host": "n1"}


def test_shellcheck(tmp_path):
    if shutil.which("shellcheck") is None:
        pytest.skip("NO SHELLCHECK")
    script = script_for(tmp_path, opening=f"cd -- {tmp_path} || cd /")
    found = subprocess.run(["shellcheck", "-"], input=script, capture_output=True, text=True, check=False)
    assert found.stdout == ""
