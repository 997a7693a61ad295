"""The examples under sweeps/: each is shown, run on this machine and collected, and its results are what its parameters make them."""

import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SWEEPS = Path(__file__).parents[1] / "sweeps"
FILES = sorted(SWEEPS.glob("*.yaml"))
LAUNCHERS = {"mpi-srun": "srun", "mpi-torchrun": "torchrun", "mpi-mpiexec": "mpiexec"}
LOCAL = [file.stem for file in FILES if file.stem not in LAUNCHERS]


@pytest.fixture
def project(tmp_path):
    """A copy of the examples, and hpcsweep run beside it: project("show", "sweeps/lr.yaml") -> its standard output."""
    shutil.copytree(SWEEPS, tmp_path / "sweeps")
    # The examples say `python`; the one that runs the tests has numpy.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{SWEEPS.parent}:{os.environ.get('PYTHONPATH', '')}",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }

    def run(*arguments, code=0):
        done = subprocess.run(
            [sys.executable, "-m", "hpcsweep", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run.path = tmp_path
    return run


def tasks_said(name):
    """How many tasks the first line of an example promises."""
    first = (SWEEPS / f"{name}.yaml").read_text().splitlines()[0]
    found = re.fullmatch(r"# .* \((\d+) tasks?(?:, .*)?\)(?:.*)", first)
    assert found, f"{name}.yaml does not begin with a comment that says what it shows and how many tasks it has: {first}"
    return int(found[1])


def listing(folder):
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", [file.stem for file in FILES])
def test_show(project, name):
    before = listing(project.path)
    shown = json.loads(project("show", f"sweeps/{name}.yaml", "--json"))
    assert shown["tasks"] == tasks_said(name)
    assert project("show", f"sweeps/{name}.yaml")
    assert listing(project.path) == before


@pytest.mark.parametrize("name", LOCAL)
def test_run(project, name):
    project("submit", f"sweeps/{name}.yaml", "--scheduler", "local")
    project("wait", "--timeout", "4m")
    status = json.loads(project("status", "--json"))
    assert status["finished"]
    assert status["counts"] == {"done": tasks_said(name)}
    rows = json.loads(project("collect", "--json"))
    assert len(rows) == tasks_said(name)
    for row in rows:
        check_row(name, row)
    if name in CHECKS_OF_RUNS:
        CHECKS_OF_RUNS[name](project, status, rows)


def measure_bowl(row, *, x="x", y="y", shape="shape", steepness="steepness"):
    """The height that sweeps/bowl.py must find for a row's parameters."""
    center = row.get("center") or [0.0, 0.0]
    across, along = (row.get(x) or 0.0) - center[0], (row.get(y) or 0.0) - center[1]
    if row.get("rotate"):
        across, along = (across - along) * 0.5**0.5, (across + along) * 0.5**0.5
    match row.get(shape) or "paraboloid":
        case "cone":
            height = math.sqrt(across**2 + along**2)
        case "box":
            height = max(abs(across), abs(along))
        case _:
            height = across**2 + along**2
    factor = 1.0 if row.get(steepness) is None else row[steepness]
    return factor * height + (row.get("seed") or 0)


def measure_beam(row, width=0.02, height=0.03):
    inertia = row.get("width", width) * row.get("height", height) ** 3 / 12
    return row["force"] * row["length"] ** 3 / (3 * 2.1e11 * inertia)


def measure_walk(steps, seed):
    """Where an uninterrupted walk of sweeps/walk.py ends, and how far it was away."""
    generator, places = random.Random(seed), [0.0]  # noqa: S311 - no secret
    for _step in range(steps):
        places.append(places[-1] + generator.gauss(0.0, 1.0))
    return places[-1], max(map(abs, places))


def check_row(name, row):
    """That the metrics of a row are those of its own parameters."""
    match name:
        case "lr":
            assert row["epoch"] == 30
            assert 0 <= row["val_acc"] <= 1
            assert (row["momentum"] is None) == (row["optimizer"] == "adam") != (row["beta2"] is None)
        case "deck" | "stdin":
            assert row["deflection"] == pytest.approx(measure_beam(row))
        case "values":
            assert row["bytes"] == len(row["text"].encode())
        case "set":
            assert row["total"] == row["sum"] + row["range"]
        case "metrics":
            assert (row["epoch"], row["loss"], row["best.epoch"]) == (2, row["lr"] / 2, 2)
        case "checkpoint":
            assert (row["place"], row["farthest"]) == measure_walk(row["steps"], row["seed"])
        case "retry":
            assert row["slept"] == row["seconds"]
        case "derive":
            assert row["height"] == pytest.approx(measure_bowl(row, steepness="slope"))
        case "environment":
            assert row["height"] == pytest.approx(3 * row["x"] ** 2)
            assert row["threads"] == 1
        case "groups":
            assert row["height"] == pytest.approx(
                measure_bowl(row, x="point.x", y="point.y", shape="bowl.shape", steepness="bowl.steepness")
            )
        case _:
            assert row["height"] == pytest.approx(measure_bowl(row))


def check_lr(project, _status, rows):
    blocks = [(row["optimizer"], row["lr"], row["momentum"], row["beta2"]) for row in rows]
    assert len(set(blocks)) == 8
    assert len({(*block, row["val_loss"]) for block, row in zip(blocks, rows, strict=True)}) == 24
    steps = json.loads(project("collect", "--json", "--steps"))
    assert len(steps) == 24 * 30
    assert [row["epoch"] for row in steps[:30]] == list(range(1, 31))


def check_resources(_project, status, rows):
    assert len(status["arrays"]) == 2
    assert {row["x"] for row in rows} == {1, 100}


def check_finally(project, _status, rows):
    (heights,) = (project.path / "runs").glob("*/heights.txt")
    assert sorted(float(line.split()[1]) for line in heights.read_text().splitlines()) == sorted(row["height"] for row in rows)


def check_values(project, _status, rows):
    received = {path.read_bytes().decode() for path in (project.path / "runs").glob("*/tasks/*/received.txt")}
    assert received == {row["text"] for row in rows}
    assert not list(project.path.rglob("x"))


def check_gpus(_project, _status, rows):
    assert {row["gpu"] for row in rows} <= {0, 1}


def check_checkpoint(project, status, _rows):
    assert all(task["attempt"] > 1 for task in status["tasks"])
    for log in (project.path / "runs").glob("*/tasks/*/attempt-2.log"):
        assert log.read_text().startswith("goes on after step ")


def check_packing(_project, status, _rows):
    assert len({task["job"] for task in status["tasks"]}) == 2


def check_retry(_project, status, _rows):
    assert [task["attempt"] for task in status["tasks"]] == [1, 2]


CHECKS_OF_RUNS = {
    "packing": check_packing,
    "retry": check_retry,
    "gpu-workstation": check_gpus,
    "lr": check_lr,
    "checkpoint": check_checkpoint,
    "resources": check_resources,
    "finally": check_finally,
    "values": check_values,
}


def test_the_first_example_gives_the_same_results_again(project):
    first, again = (json.loads(run_one_task(project, name)) for name in ("one", "two"))
    ours = ("id", "lr", "seed", "train_loss", "val_loss", "val_acc")
    assert [[row[name] for name in ours] for row in first] == [[row[name] for name in ours] for row in again]


def run_one_task(project, name):
    project("submit", "sweeps/lr.yaml", "--scheduler", "local", "--limit", "1", "--name", name)
    project("wait", name, "--timeout", "2m")
    return project("collect", name, "--json")


def test_the_training_program_learns(tmp_path):
    command = [sys.executable, str(SWEEPS / "digits.py"), "--optimizer", "adam", "--lr", "0.003", "--epochs", "10"]
    subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "HPCSWEEP_TASK_DIR": str(tmp_path)}, check=True, capture_output=True
    )
    header, *lines = (tmp_path / "digits.metrics").read_text().splitlines()
    accuracy = [float(line.split()[header.split().index("val_acc")]) for line in lines]
    assert len(accuracy) == 10
    assert accuracy[-1] > accuracy[0] + 0.2


def test_mpiexec(project):
    program = shutil.which("mpiexec")
    # The one of slurm-wlm-torque is no MPI's: it calls srun.
    if program is None or Path(program).resolve().name == "mpiexec.slurm":
        pytest.skip("mpiexec is not installed: sweeps/mpi-mpiexec.yaml is shown, not run")
    project("submit", "sweeps/mpi-mpiexec.yaml", "--scheduler", "local")
    project("wait", "--timeout", "2m")
    written = [path.read_text().splitlines() for path in (project.path / "runs").glob("*/tasks/*/ranks.txt")]
    assert sorted(written) == [["x = 1"] * 2, ["x = 2"] * 2]


@pytest.mark.slurm
@pytest.mark.usefixtures("slurm")
def test_srun(project):
    project("submit", "sweeps/mpi-srun.yaml")
    project("wait", "--timeout", "4m")
    written = {path.read_text().strip() for path in (project.path / "runs").glob("*/tasks/*/rank-*.txt")}
    assert written == {f"rank {rank} of 4, x = {x}" for rank in range(4) for x in (1, 2)}
