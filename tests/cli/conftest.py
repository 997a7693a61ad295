"""Fixtures: a user with a folder; whatever they left running is ended."""

from __future__ import annotations

import importlib
import os
import pkgutil
import tempfile
from pathlib import Path

import pytest
from cli_user import User, run_as_another

import hpcsweep


@pytest.fixture
def user(tmp_path):
    """A user with an empty folder and home."""
    folder, home = tmp_path / "project", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    someone = User(folder=folder, home=home)
    yield someone
    someone.end_all()


@pytest.fixture
def call_as_another():
    """``call_as_another(folder, "status")`` -> (exit code, standard error) of a command given there by somebody without rights.

    Nothing else has to be readable to them: the program is loaded before it becomes theirs.
    """
    if os.geteuid() != 0:
        pytest.skip("NO SECOND USER: only root can run a command as somebody else")
    for module in pkgutil.walk_packages(hpcsweep.__path__, "hpcsweep."):
        importlib.import_module(module.name)
    for name in ("jinja2.ext", "simple_slurm", "yaml", "rich.live"):
        importlib.import_module(name)
    return run_as_another


@pytest.fixture
def open_folder():
    """A folder that everybody may write in (pytest's own are closed to others)."""
    with tempfile.TemporaryDirectory(prefix="hpcsweep-open-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture
def call(user, monkeypatch, capsys):
    """``call("status")`` -> (exit code, standard output, standard error), in this process: quick."""
    from hpcsweep.__main__ import main  # noqa: PLC0415 - only where a test asks for it

    monkeypatch.chdir(user.folder)
    monkeypatch.setenv("HOME", str(user.home))
    monkeypatch.setenv("PWD", str(user.folder))
    for name in ("XDG_CONFIG_HOME", "HPCSWEEP_PROFILE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stopped:  # argparse
            code = int(stopped.code or 0)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return run


@pytest.fixture(scope="session")
def ended_run(tmp_path_factory):
    """The folder of a run of four done tasks, to be copied; a copy can be looked at."""
    folder = tmp_path_factory.mktemp("ended")
    someone = User(folder=folder, home=folder)
    text = "{command: 'echo $HPCSWEEP_TASK; echo a 1 > \"$HPCSWEEP_TASK_DIR/m.metrics\"', space: {x: [0, 1, 2, 3]}}"
    (folder / "sweep.yaml").write_text(text)
    someone("submit", "sweep.yaml", "--scheduler", "local")
    someone.wait()
    someone("advance")
    yield someone.run_dir()
    someone.end_all()
