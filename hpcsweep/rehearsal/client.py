"""What the commands in a rehearsal's ``bin/`` run: they send their call to the server, print what it answers, and exit as it says.

    python -I -S client.py FOLDER PROGRAM [ARGUMENT ...]

Run by its path and on few modules, so that a command takes little more than the interpreter's start. A line of JSON each way:
the call; then ``{"need": "stdin"}`` where the server wants what is piped in, or the answer. A server that has died is started again.
"""

# pathlib alone takes longer to import than all that this does.
# ruff: noqa: PTH100, PTH109, PTH110, PTH112, PTH118, PTH120, PTH121, PTH123

from __future__ import annotations

import json
import os
import socket
import sys
import time

CONNECT_S = 20.0
RETRY_S = 0.02
START_AGAIN_S = 1.0
START = "import sys; sys.path.insert(0, sys.argv[1]); from hpcsweep.rehearsal.server import main; sys.exit(main(sys.argv[2]))"


def main(argv: list[str]) -> int:
    """Make the call; the command's exit code."""
    folder, program, *words = argv
    connection = connect(folder)
    if connection is None:
        sys.stderr.write(f"{program}: the rehearsal in {folder} has ended\n")
        return 1
    try:
        return exchange(connection, describe_call(program, words))
    except (ConnectionError, EOFError):
        sys.stderr.write(f"{program}: End of File\n")  # what was asked may have been done, or not
        return 1


def describe_call(program: str, words: list[str]) -> dict[str, object]:
    """All that the server has to know of the caller."""
    umask = os.umask(0)
    os.umask(umask)
    try:
        cwd = os.environ["PWD"] if os.path.samefile(os.environ["PWD"], ".") else os.getcwd()
    except (KeyError, OSError):
        cwd = os.getcwd()
    return {"program": program, "argv": words, "cwd": cwd, "env": dict(os.environ), "umask": umask, "uid": os.getuid()}


def exchange(connection: socket.socket, call: dict[str, object]) -> int:
    """Send a call, print the answer.

    Raises:
        EOFError: the server went away.
    """
    stream = connection.makefile("rwb")
    stream.write(json.dumps(call).encode() + b"\n")
    stream.flush()
    while True:
        line = stream.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        answer = json.loads(line)
        if answer.get("need") == "stdin":
            text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
            stream.write(json.dumps({"stdin": text}).encode() + b"\n")
            stream.flush()
            continue
        put(1, answer.get("stdout", ""))
        put(2, answer.get("stderr", ""))
        if "code" in answer:
            return int(answer["code"])


def put(fd: int, text: str) -> None:
    """All of a text; a reader that went away is nobody's trouble."""
    rest = text.encode("utf-8", "surrogateescape")
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
    except BrokenPipeError:
        return


def connect(folder: str) -> socket.socket | None:
    """A connection to the folder's server, which is started where there is none; None when the rehearsal is over."""
    deadline = time.monotonic() + CONNECT_S
    start_at = time.monotonic()
    while time.monotonic() < deadline:
        if os.path.exists(os.path.join(folder, "ended")) or not os.path.isdir(folder):
            return None
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(read_address(folder))
        except OSError:
            connection.close()
        else:
            return connection
        if time.monotonic() >= start_at:  # again where the one before was still about to end
            start_server(folder)
            start_at = time.monotonic() + START_AGAIN_S
        time.sleep(RETRY_S)
    return None


def read_address(folder: str) -> str:
    """Where the server listens.

    Raises:
        OSError: it does not say.
    """
    with open(os.path.join(folder, "address"), encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read()


def start_server(folder: str) -> None:
    """A process of its own, in a session of its own. Where there is one already, this one ends at once."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    argv = [sys.executable, "-I", "-S", "-c", START, root, folder]
    log = os.path.join(folder, "server.log")
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawn(sys.executable, argv, os.environ, file_actions=files, setsid=True)
    os.waitpid(pid, 0)  # it leaves the server behind


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
