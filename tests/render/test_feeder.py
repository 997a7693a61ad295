"""The script of a job that advances a run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from hpcsweep.render.feeder import render_feeder


def write(folder, python: str, run_dir: str = "/runs/run-01", environment: str = ""):
    script = folder / "feeder.sh"
    script.write_text(
        render_feeder(
            tag="t-feed-1", run_dir=run_dir, python=python, directives=["#SBATCH --time=0-00:15:00"], environment=environment
        )
    )
    return script


def run(script, **environ):
    return subprocess.run(
        ["bash", script], check=False, capture_output=True, text=True, env={**os.environ, **environ}, timeout=60
    )


def stub(folder, text: str):
    """A python that imports anything and is told what `advance` does."""
    program = folder / "a python's"
    program.write_text(f'#!/bin/bash\n[ "$1" = -c ] && exit 0\nprintf "%s|" "$HPCSWEEP_FEEDER" "$@" >>{folder}/said\n{text}\n')
    program.chmod(0o755)
    return str(program)


def test_it_advances_the_run(tmp_path, hostile_dir):
    done = run(write(tmp_path, stub(tmp_path, "exit 0"), str(hostile_dir), "export MARK=1"))
    assert done.returncode == 0
    assert (tmp_path / "said").read_text() == f"t-feed-1|-m|hpcsweep|advance|--feed|--wait-lock|5m|{hostile_dir}|"


def test_a_scheduler_out_of_reach_is_tried_again(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sleep").write_text("#!/bin/sh\n")
    (tools / "sleep").chmod(0o755)
    done = run(write(tmp_path, stub(tmp_path, "exit 4")), PATH=f"{tools}:{os.environ['PATH']}")
    assert done.returncode == 4
    assert (tmp_path / "said").read_text().count("advance") == 4


def test_a_node_that_cannot_run_it_says_so(tmp_path):
    for python in ("/not/there/python", shutil.which("false")):
        done = run(write(tmp_path, python))
        assert done.returncode == 1
        assert "cannot run hpcsweep" in done.stderr
        assert "hpcsweep advance /runs/run-01" in done.stderr


def test_this_python_can_run_it(tmp_path):
    done = run(write(tmp_path, sys.executable, str(tmp_path / "no-run")))
    assert done.returncode == 1
    assert "cannot run hpcsweep" not in done.stderr
    assert "no-run" in done.stderr


def test_shellcheck_has_nothing_to_say(tmp_path):
    if shutil.which("shellcheck") is None:
        pytest.skip("NO SHELLCHECK: it is not installed")
    done = subprocess.run(["shellcheck", write(tmp_path, sys.executable)], check=False, capture_output=True, text=True)
    assert done.stdout == ""
