"""Programs that are run: their streams, their ends, their environment."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from hpcsweep.errors import HpcsweepError
from hpcsweep.schedulers.base import Command
from hpcsweep.shell import command_environment, find_program, is_installed, read_output, run_command


def sh(script: str, **changes) -> Command:
    return Command(argv=("/bin/sh", "-c", script), **changes)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_both_streams_and_the_exit_code():
    completed = run_command(sh("echo out; echo err >&2; exit 3"))
    assert (completed.stdout, completed.stderr, completed.returncode) == ("out\n", "err\n", 3)
    assert completed.argv[0] == "/bin/sh"
    assert completed.elapsed_s > 0


def test_a_signal_is_a_negative_exit_code():
    assert run_command(sh("kill -9 $$")).returncode == -signal.SIGKILL


def test_bytes_that_are_no_text_are_replaced():
    assert run_command(sh(r"printf 'a\377b'")).stdout == "a\ufffdb"


def test_arguments_arrive_byte_for_byte():
    words = ("a b", "$(touch x)", "`y`", "*", "", "-n", "é\n", "'\"\\")
    program = "import json, sys; print(json.dumps(sys.argv[1:]))"
    completed = run_command(Command(argv=(sys.executable, "-c", program, *words)))
    assert tuple(json.loads(completed.stdout)) == words


def test_there_is_nothing_to_read_on_standard_input():
    assert run_command(sh("cat; echo end")).stdout == "end\n"


def test_much_output_on_both_streams_does_not_block():
    completed = run_command(sh("head -c 1000000 /dev/zero >&2; head -c 1000000 /dev/zero"))
    assert (len(completed.stdout), len(completed.stderr)) == (1_000_000, 1_000_000)


def test_the_time_limit_ends_the_whole_group_and_keeps_what_was_said(tmp_path, await_that):
    completed = run_command(sh(f"echo begun; sleep 1000 & echo $! >'{tmp_path}/pid'; wait", timeout_s=1.0))
    assert (completed.returncode, completed.stdout) == (None, "begun\n")
    child = int((tmp_path / "pid").read_text())
    await_that(lambda: not is_alive(child), "the child is gone too")


def test_the_callers_limit_counts():
    assert run_command(sh("sleep 1000", timeout_s=1000.0), timeout_s=0.1).returncode is None
    assert run_command(sh("sleep 0.5", timeout_s=0.1), timeout_s=60.0).returncode == 0


def test_a_program_that_ended_is_not_taken_for_one_that_did_not_because_a_child_holds_its_streams(tmp_path, await_that):
    pid = tmp_path / "pid"
    completed = run_command(sh(f"setsid sleep 1000 & echo $! >'{pid}'; echo 4711; exit 0", timeout_s=1.0))
    try:
        assert (completed.returncode, completed.stdout) == (0, "4711\n")
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_an_interrupt_ends_the_program(tmp_path, monkeypatch, await_that):
    def interrupt(_process, timeout):
        await_that((tmp_path / "pid").exists, "it has begun")
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.Popen.communicate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_command(sh(f"echo $$ >'{tmp_path}/begun'; mv '{tmp_path}/begun' '{tmp_path}/pid'; exec sleep 1000"))
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_the_environment():
    environ = {"A": "1", "SLURM_JOB_ID": "7", "SLURM_CONF": "c", "B": "2"}
    command = Command(argv=("x",), env={"B": None, "C": "3", "D": None}, env_drop=("SLURM_*",), env_keep=("SLURM_CONF",))
    assert command_environment(command, environ) == {"A": "1", "SLURM_CONF": "c", "C": "3"}


def test_the_program_gets_that_environment(monkeypatch):
    monkeypatch.setenv("MY_SECRET", "1")
    monkeypatch.setenv("MY_OWN", "2")
    assert (
        run_command(sh("echo ${MY_SECRET-none} $MY_OWN $NEW", env_drop=("*_SECRET",), env={"NEW": "3"})).stdout == "none 2 3\n"
    )


def test_the_folder(tmp_path, hostile_dir):
    assert run_command(sh("pwd", cwd=str(hostile_dir))).stdout == f"{hostile_dir}\n"
    with pytest.raises(HpcsweepError, match="is not there"):
        run_command(sh("pwd", cwd=str(tmp_path / "gone")))


def test_programs_that_cannot_be_started(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    for argv, words in [
        (("hpcsweep-no-such-program",), "no such program"),
        ((str(plain),), "may not be run"),
        (("echo", "x" * 5_000_000), "could not be started"),
        (("echo", "a\0b"), "could not be started"),
    ]:
        with pytest.raises(HpcsweepError, match=words):
            run_command(Command(argv=argv))


def test_the_lock_lives_as_long_as_a_program_that_keeps_it(tmp_path):
    path = tmp_path / "lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        number = lock.fileno()
        look = f"test -e /proc/self/fd/{number} && echo there || echo not"
        assert run_command(sh(look, keeps_lock=True), lock_fd=number).stdout == "there\n"
        assert run_command(sh(look), lock_fd=number).stdout == "not\n"
        assert run_command(sh(look, keeps_lock=True)).stdout == "not\n"


def test_what_is_installed():
    assert is_installed("sh")
    assert not is_installed("hpcsweep-no-such-program")
    assert find_program("sh", "/nowhere") is None


def test_bytes_are_kept_where_they_are_asked_for():
    output = read_output(sh(r"printf 'a\377b'; echo err >&2; exit 3"), most_bytes=10)
    assert (output.stdout, output.stderr, output.returncode, output.is_cut) == (b"a\xffb", "err\n", 3, False)


def test_an_endless_output_is_cut_and_its_program_ended():
    output = read_output(sh("cat /dev/zero"), most_bytes=1000)
    assert (len(output.stdout), output.returncode, output.is_cut) == (1000, None, True)


@pytest.mark.parametrize("script", ["sleep 1000", "exec >&- 2>&-; sleep 1000", "sleep 1000 & exit"])
def test_an_output_that_does_not_end_is_not_waited_for(script):
    output = read_output(sh(script, timeout_s=0.2), most_bytes=10)
    assert (output.stdout, output.returncode, output.is_cut) == (b"", None, False)
