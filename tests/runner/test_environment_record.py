"""What a task finds after setup is recorded once a run, whole or not at all, and no task is the worse for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from small_runs import Run, await_that, block, processes_in_session, quote


@pytest.fixture
def tools(tmp_path):
    folder = tmp_path / "tools"
    folder.mkdir()
    return folder


def python(tools, script: str = f'exec "{sys.executable}" "$@"') -> dict[str, str]:
    """A PATH with a python of our own: each start of it is a line in ``starts``."""
    for name in ("python", "python3"):
        (tools / name).write_text(f'#!/bin/bash\necho "$0 ${{1-}}" >>"{tools}/starts"\n{script}\n')
        (tools / name).chmod(0o755)
    return {"PATH": f"{tools}:{os.environ['PATH']}"}


def starts(tools) -> list[str]:
    """The names under which a python was started for the record (-W is its first word, and not the programs')."""
    path = tools / "starts"
    lines = path.read_text().splitlines() if path.exists() else []
    return [os.path.basename(line.removesuffix(" -W")) for line in lines if line.endswith(" -W")]  # noqa: PTH119


def record(run) -> dict[str, str]:
    lines = (run.path / "environment" / "task.txt").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def leftovers(run) -> list[str]:
    return sorted(path.name for path in run.path.glob(".environment.*"))


def test_one_of_many_tasks_records_it(run, tools):
    environ = python(tools)
    run.add_array([block(n, "echo here") for n in range(20)], records_environment=1)
    elements = [run.start(n, **environ) for n in range(20)]
    assert [element.wait(120) for element in elements] == [0] * 20
    assert run.outcomes() == sorted(f"{n}.1.done.0" for n in range(20))
    facts = record(run)
    assert facts["job"] == f"11_{facts['task']}"
    assert facts["python"] == sys.executable
    assert facts["python_version"].split()[0] == ".".join(map(str, sys.version_info[:3]))
    packages = (run.path / "environment" / "packages.txt").read_text().splitlines()
    assert f"pytest=={pytest.__version__}" in packages
    assert packages == sorted(packages, key=lambda line: line.lower().replace("_", "-").replace(".", "-").partition("==")[0])
    assert leftovers(run) == [".environment.0"]
    assert starts(tools) == ["python3"]
    assert run.complaints() == ""
    assert [run.log(n) for n in range(20)] == ["here\n"] * 20


def test_it_is_the_environment_after_setup(run, tools):
    python(tools)
    conda = tools / "conda"
    (conda / "conda-meta").mkdir(parents=True)
    (conda / "conda-meta" / "numpy-1.2-py3_0.json").touch()
    setup = f'export PATH="{tools}:$PATH" LOADEDMODULES=gcc/12:cuda/12 CONDA_PREFIX="{conda}"'
    run.add_array([block(0, "echo here")], setup=setup, records_environment=1)
    assert run.run() == 0
    assert starts(tools) == ["python3"]
    assert record(run)["modules"] == "gcc/12:cuda/12"
    assert (run.path / "environment" / "conda.txt").read_text() == "numpy-1.2-py3_0\n"


@pytest.mark.parametrize(
    "words", ['srun "$X" python3.99 x.py', ["/usr/bin/env", "python3.99", "x.py"], "a=1; ./bin/python3.99"]
)
def test_the_python_that_the_command_names_comes_first(run, tools, words):
    environ = python(tools, "exit 0")
    named = tools / "python3.99"
    shutil.copy(tools / "python3", named)
    (run.path.parent / "bin").mkdir()
    (run.path.parent / "bin" / "python3.99").symlink_to(named)
    run.add_array([block(0, words)], records_environment=1)
    run.run(**environ)
    assert starts(tools) == ["python3.99"]
    assert (run.path / "environment").is_dir()


def test_without_a_python_the_rest_is_recorded(run, tools):
    for name in ("bash", "sh"):
        (tools / name).symlink_to(shutil.which(name))
    run.add_array([block(0, "echo here")], records_environment=1)
    assert run.run(PATH=str(tools)) == 0
    assert "python" not in record(run)
    assert record(run)["host"]
    assert [path.name for path in (run.path / "environment").iterdir()] == ["task.txt"]


def test_nothing_of_the_programs_own_is_imported(run):
    for name in ("json", "re", "io", "importlib", "sitecustomize"):
        (run.path.parent / f"{name}.py").write_text("raise SystemExit('imported')\n")
    run.add_array([block(0, "true")], records_environment=1)
    assert run.run(PATH=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}", PYTHONPATH="") == 0  # noqa: PTH120
    assert (run.path / "environment" / "packages.txt").exists()


def test_the_program_knows_nothing_of_it(run, tools):
    environ = python(tools, f'touch "{tools}/hangs"; exec sleep 1000')
    command = f'until [ -e "{tools}/hangs" ]; do sleep 0.05; done; jobs; wait; echo waited; trap "" TERM; kill 0; echo lived'
    run.add_array([block(0, command)], records_environment=1, record_wait_s=0)
    assert run.run(**environ) == 0
    assert run.log() == "waited\nlived\n"
    assert run.outcomes() == ["0.1.done.0"]
    await_that(lambda: leftovers(run) == [".environment.0"], "the unfinished record is gone")
    assert not (run.path / "environment").exists()


def test_its_time_is_not_the_tasks(run, tools):
    environ = python(tools, f'sleep 5; exec "{sys.executable}" "$@"')
    run.add_array([block(0, "true")], records_environment=1, record_wait_s=100)
    assert run.run(**environ) == 0
    assert int(next(name for name in run.events() if ".done." in name).rpartition(".")[2]) < 5
    assert record(run)["python"] == sys.executable


def test_a_cancelled_task_does_not_wait_for_it(run, tools):
    environ = python(tools, f'touch "{tools}/hangs"; exec sleep 1000')
    run.add_array([block(0, "exec sleep 1000")], records_environment=1, record_wait_s=1000)
    element = run.start(**environ)
    await_that((tools / "hangs").exists, "the record is being made")
    run.event("cancel").touch()
    element.send_signal(signal.SIGTERM)
    assert element.wait(60) == 143
    assert run.outcomes() == ["0.1.cancelled.0"]
    await_that(lambda: processes_in_session(element.pid) == [], "nothing is left of it")
    assert leftovers(run) == [".environment.0"]


def groups(session: int) -> set[str]:
    listed = subprocess.run(["ps", "-o", "pgid=", "-s", str(session)], check=False, capture_output=True, text=True)
    return set(listed.stdout.split())


def test_term_while_it_waits_costs_no_outcome(run, tools):
    environ = python(tools, f'touch "{tools}/hangs"; exec sleep 1000')
    run.add_array([block(0, "echo here")], records_environment=1, record_wait_s=1000)
    element = run.start(**environ)
    run.await_log("here")
    await_that((tools / "hangs").exists, "the record is being made")
    await_that(lambda: len(groups(element.pid)) == 2, "only the supervisor and the record are left")
    element.send_signal(signal.SIGTERM)
    assert element.wait(60) in {0, 143}
    assert run.outcomes() in (["0.1.done.0"], [])  # TERM may have come before the program's end was seen: then the token stays
    await_that(lambda: processes_in_session(element.pid) == [], "nothing is left of it")


def test_the_tasks_end_is_recorded_before_the_wait(run, tools):
    environ = python(tools, f'touch "{tools}/hangs"; exec sleep 1000')
    run.add_array([block(0, "exit 3")], records_environment=1, record_wait_s=1000)
    element = run.start(**environ)
    await_that(lambda: run.outcomes() == ["0.1.done.3"], "its end is recorded")
    assert element.poll() is None
    element.kill()
    element.wait()
    assert run.outcomes() == ["0.1.done.3"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
@pytest.mark.parametrize(("pages", "is_made"), [(3, False), (8, True)])
def test_of_a_full_disk_comes_no_half_of_a_record(tmp_path, tools, pages, is_made):
    """Room for a claim, the task's params.json and the record's claim; or for the record as well."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], check=True)
    try:
        run = Run(small / "run-01", elements_log=tmp_path / "elements.log")
        run.add_array([block(0, "true")], records_environment=1)
        with contextlib.suppress(OSError), (small / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(512))
        os.truncate(small / "filler", (small / "filler").stat().st_size - pages * 4096)
        assert run.run(**python(tools)) == 0
        assert run.outcomes() == ["0.1.done.0"]
        assert (run.path / "environment").exists() == is_made
        assert not is_made or record(run)["python"] == sys.executable
        assert leftovers(run) == [".environment.0"]
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)


@pytest.mark.parametrize(("age_s", "is_made"), [(10, False), (400, True)])
def test_one_that_was_killed_is_made_again_later(run, age_s, is_made):
    (run.path / ".environment.0").write_text(f"{int(time.time()) - age_s}\n")
    (run.path / ".environment.0.partial").mkdir()
    (run.path / ".environment.0.partial" / "task.txt").write_text("task: 9\n")
    run.add_array([block(0, "true")], records_environment=1)
    assert run.run() == 0
    assert (run.path / "environment").exists() == is_made
    assert not is_made or record(run)["task"] == "0"


def test_where_it_cannot_be_written_the_task_runs_all_the_same(run):
    (run.path / ".environment.0").mkdir()
    run.add_array([block(0, "true")], records_environment=1)
    assert run.run() == 0
    assert run.complaints() == ""
    assert not (run.path / "environment").exists()


def test_a_run_that_has_it_starts_nothing(run, tools):
    environ = python(tools)
    (run.path / "environment").mkdir()
    run.add_array([block(0, "true")], records_environment=1)
    assert run.run(**environ) == 0
    assert starts(tools) == []
    assert leftovers(run) == []


def test_values_with_line_ends_stay_one_line(run):
    run.add_array([block(0, "true")], setup=f"export LOADEDMODULES={quote('a' + chr(10) + 'python: x')}", records_environment=1)
    assert run.run() == 0
    assert record(run)["modules"] == "a python: x"
