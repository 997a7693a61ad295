"""In a terminal: what is drawn, ^C, and what outlives the terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

import pytest
from cli_user import fork_with

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[[0-9;]+m")
FAILING = """
    command: |
      echo "start $HPCSWEEP_TASK" >> starts
      echo "a last line that is much longer than what fits into a window of few columns, {{ x }}"
      until [ -e go ]; do sleep 0.05; done
      [ {{ x }} != 1 ]
    space: {x: {range: [0, 3]}}
"""


class Terminal:
    """A terminal of its own, with one program in it that is the head of its session."""

    def __init__(self, argv, cwd, environ, columns=80, lines=24):
        self.text = ""
        self.child, self.fd = fork_with(pty.fork)
        if self.child == 0:
            try:
                os.chdir(cwd)
                os.execve(argv[0], argv, {"TERM": "xterm-256color", **environ})  # noqa: S606 - the program itself, in its terminal
            finally:
                os._exit(99)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read_until(self, pattern, within_s=30):
        """All that was printed so far, when the pattern is in it; None for the end of the program."""
        deadline = time.monotonic() + within_s
        while pattern is None or not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"waited in vain for {pattern}: {self.text}"
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:  # the program has gone
                    data = b""
                if not data:
                    assert pattern is None, f"it ended without {pattern}: {self.text}"
                    break
                self.text += data.decode("utf-8", "replace")
        return self.text

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        """The exit code of the program, which ends by itself."""
        self.read_until(None)
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])

    def close(self):
        """The window is closed: the kernel sends HUP to all that is in it."""
        with contextlib.suppress(OSError):
            os.close(self.fd)


@pytest.fixture
def terminal(user):
    """``terminal("status", "--watch")`` runs a command in a terminal."""
    opened = []

    def run(*words, columns=80, lines=24, **environ):
        opened.append(Terminal(user.argv(*words), user.folder, user.environ(**environ), columns, lines))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


@pytest.mark.parametrize(("columns", "lines"), [(100, 30), (40, 8)])
def test_submit_watch(user, terminal, columns, lines):
    window = terminal("submit", user.sweep(FAILING), "--watch", "--jobs", "2", columns=columns, lines=lines)
    window.read_until(r"running +2")
    assert COLOURS.search(window.text)
    (user.folder / "go").touch()
    assert window.end() == 1
    assert re.search(r"task .*state .*x .*reason", CODES.sub("", window.text))
    assert "did not work:" in window.text
    assert "\x1b[?25h" in window.text.rpartition("\x1b[?25l")[2]  # the cursor is there again
    drawn = CODES.sub("\n", COLOURS.sub("", window.text.partition("\x1b[?25l")[2].rpartition("look:")[0]))
    assert max(map(len, drawn.replace("\r", "").split("\n"))) <= columns


def test_interrupt_leaves_the_run_going(user, terminal):
    user("submit", user.sweep(FAILING), "--jobs", "2")
    window = terminal("status", "--watch")
    window.read_until(r"running +2")
    window.type("\x03")
    assert window.end() == 130
    assert "goes on without you: hpcsweep status run-01 --watch" in window.text.replace("\r\n", " ")
    assert "\x1b[?25h" in window.text.rpartition("\x1b[?25l")[2]
    assert user.status()["counts"] == {"running": 2, "pending": 2}
    (user.folder / "go").touch()
    user.wait(code=1)
    assert user.states() == ["done", "failed", "done", "done"]


def test_interrupt_of_submit_watch(user, terminal):
    window = terminal("submit", user.sweep(FAILING), "--watch", "--jobs", "4")
    window.read_until(r"running +4")
    window.type("\x03")
    assert window.end() == 130
    (user.folder / "go").touch()
    user.wait(code=1)
    assert len(user.starts()) == 4


def test_interrupt_of_wait_and_logs(user, terminal):
    user("submit", user.sweep(FAILING), "--jobs", "4")
    window = terminal("logs", "0", "-f")
    window.read_until("a last line")
    window.type("\x03")
    assert window.end() == 130
    assert "Traceback" not in window.text
    assert user.status()["counts"] == {"running": 4}


@pytest.mark.parametrize("words", [["--watch"], []])
def test_the_run_outlives_the_terminal(user, terminal, await_that, words):
    window = terminal("submit", user.sweep(FAILING), "--jobs", "1", *words)
    window.read_until(r"running +1" if words else "look: hpcsweep status")
    window.close()
    os.waitpid(window.child, 0)
    (user.folder / "go").touch()
    user.wait(code=1)
    assert user.states() == ["done", "failed", "done", "done"]


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_escape_codes_where_they_are_not_wanted(user, terminal, environ):
    user("submit", user.sweep(FAILING), "--jobs", "4")
    (user.folder / "go").touch()
    user.wait(code=1)
    for words in (["status"], ["status", "--watch"], ["status", "--failed"], ["collect"], ["list"]):
        window = terminal(*words, **environ)
        window.end()
        assert "\x1b" not in window.text


def test_colours_and_width_in_a_terminal(user, terminal):
    user("submit", user.sweep(FAILING), "--jobs", "4")
    (user.folder / "go").touch()
    user.wait(code=1)
    window = terminal("status")
    assert window.end() == 0
    assert "\x1b[31mfailed" in window.text
    assert terminal("collect", columns=60).end() == 0
