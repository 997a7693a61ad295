"""What is printed for people."""

import io

import pytest

from hpcsweep.errors import HpcsweepError, SchedulerUnreachable
from hpcsweep.output import progress, tasks_words
from hpcsweep.runs.advance import Report, first_refusal
from hpcsweep.runs.run import Run
from hpcsweep.schedulers.base import Refused
from hpcsweep.store import RunPaths


def test_one_task_is_no_plural():
    assert tasks_words([4]) == "task 4"
    assert tasks_words([0, 1, 2, 12]) == "tasks 0-2,12"
    assert len(tasks_words(list(range(0, 1000, 2)), 40)) <= len("tasks ") + 40


@pytest.mark.parametrize(("is_unreachable", "kind"), [(True, SchedulerUnreachable), (False, HpcsweepError)])
def test_a_client_that_reached_nobody_is_another_exit_code_than_a_refusal(is_unreachable, kind):
    refused = Refused(message="no", hint="do this", is_unreachable=is_unreachable)
    error = first_refusal(Report(refused=[(1, refused)]))
    assert type(error) is kind
    assert (error.message, error.hint) == ("no", "do this")


def test_a_run_is_called_by_its_path_where_its_name_would_mean_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert Run(RunPaths(tmp_path / "runs" / "run-01")).handle == "run-01"
    assert Run(RunPaths(tmp_path / "else" / "run-01")).handle == str(tmp_path / "else" / "run-01")
    (tmp_path / "hpcsweep.yaml").write_text("runs_dir: else\n")
    assert Run(RunPaths(tmp_path / "else" / "run-01")).handle == "run-01"
    (tmp_path / "hpcsweep.yaml").write_text("runs_dir: [\n")
    assert Run(RunPaths(tmp_path / "else" / "run-01")).handle == str(tmp_path / "else" / "run-01")


class Terminal(io.StringIO):
    """A stream that says it is a terminal, or not."""

    def __init__(self, *, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_is_drawn_on_a_terminal_only(monkeypatch, is_terminal):
    stream = Terminal(is_terminal=is_terminal)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("hpcsweep.output._PATIENCE_S", -1.0)
    monkeypatch.setenv("TERM", "xterm")
    with progress("reading run-01") as tell:
        for done in range(1, 4):
            tell(done, 3)
    assert ("reading run-01" in stream.getvalue()) == is_terminal
    assert ("100%" in stream.getvalue()) == is_terminal


def test_what_is_quick_shows_no_bar(monkeypatch):
    stream = Terminal(is_terminal=True)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("hpcsweep.output._PATIENCE_S", 1e9)
    with progress("reading run-01") as tell:
        tell(1, 1)
    assert not stream.getvalue()
