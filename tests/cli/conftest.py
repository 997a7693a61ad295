"""Fixtures: a user with a folder; whatever they left running is ended."""

from __future__ import annotations

import pytest
from cli_user import User


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
def ordinary_user(user_dir, as_user):
    """A user without special rights."""
    someone = User(folder=user_dir, home=user_dir, prefix=tuple(as_user([])))
    yield someone
    someone.end_all()


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
