"""What the program finds: its words, environment, folder, files and signals, byte for byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import RUNNER, Run, await_that, block, child_group, processes_in_session, quote

HOSTILE = [
    "",
    " ",
    "-n",
    "--",
    "it's",
    '"',
    "$(touch x)",
    "`touch x`",
    ";",
    "*",
    "\\",
    "\n\n",
    "é✓",
    "\x01\x7f",
    "a\tb ",
    "x" * 100_000,
]
PRINT_WORDS = ["python3", "-c", "import os, sys; os.write(1, b'\\0'.join(map(os.fsencode, sys.argv[1:])))"]


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "xx_XX.UTF-8"])
@pytest.mark.parametrize("is_text", [True, False])
def test_words_arrive_byte_for_byte(run, is_text, locale):
    words = [*PRINT_WORDS, *HOSTILE]
    run.add_array([block(0, " ".join(map(quote, words)) if is_text else words)])
    assert run.run(LC_ALL=locale, LANG=locale) == 0
    assert (run.folder() / "attempt-1.log").read_bytes().split(b"warning: setlocale")[-1].endswith("\0".join(HOSTILE).encode())
    assert sorted(path.name for path in run.folder().iterdir()) == ["attempt-1.log", "params.json"]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_any_words_arrive_byte_for_byte(make_run, words):
    run = make_run(f"run-{os.urandom(6).hex()}")
    run.add_array([block(0, [*PRINT_WORDS, *words], params=json.dumps(words, ensure_ascii=False))])
    assert run.run() == 0
    assert (run.folder() / "attempt-1.log").read_bytes() == "\0".join(words).encode()
    assert json.loads((run.folder() / "params.json").read_bytes()) == words


def environment(run, task: int = 0) -> dict[str, str]:
    entries = run.log(task).rpartition("---begin---\n")[2].split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


PRINT_ENVIRONMENT = "echo ---begin---; env -0"


def test_the_environment(run):
    run.add_array(
        [block(0, PRINT_ENVIRONMENT, task=5, attempt=2, env="export HPCSWEEP_PARAM_lr='0.1' OMP_NUM_THREADS='4'")],
        workdir="task",
    )
    (run.path / "environment.sh").write_text("export FROM_SUBMIT='a b' HPCSWEEP_TASK=99\n")
    assert run.run(LC_ALL="C.UTF-8") == 0
    text = (run.folder(5) / "attempt-2.log").read_text().rpartition("---begin---\n")[2]
    found = dict(entry.split("=", 1) for entry in text.split("\0") if entry)
    facts = {
        "RUN": "run-01",
        "RUN_DIR": str(run.path),
        "TASK": "5",
        "TASK_DIR": str(run.folder(5)),
        "ATTEMPT": "2",
        "RESTART": "0",
        "POINT": "8f3a2b1c00aa11bb",
        "PARAM_lr": "0.1",
        "JOB": "11_0",
        "MASTER_ADDR": "localhost",
    }
    assert {name: found["HPCSWEEP_" + name] for name in facts} == facts
    assert 10000 <= int(found["HPCSWEEP_MASTER_PORT"]) < 60000
    assert (found["FROM_SUBMIT"], found["OMP_NUM_THREADS"], found["PYTHONUNBUFFERED"]) == ("a b", "4", "1")
    assert found["LC_ALL"] == "C.UTF-8"
    assert found["PWD"] == str(run.folder(5))
    assert not [name for name in found if name.startswith(("hpcsweep_", "BASH_FUNC_hpcsweep"))]


def test_nothing_of_the_runner_leaks_from_a_script_with_its_own_options(run):
    before = "set -euo pipefail; set -aCf; shopt -s nullglob nocasematch; IFS=x; cd() { false; }; PATH=/no/such:$PATH; trap 'echo left' EXIT"
    run.add_array([block(0, f"echo $(echo a  b) *; {PRINT_ENVIRONMENT}")], before=before)
    assert run.run() == 0
    assert not [name for name in environment(run) if name.startswith(("hpcsweep_", "BASH_FUNC_hpcsweep"))]
    assert run.outcomes() == ["0.1.done.0"]
    assert run.complaints() == "left\n"


def test_descriptors_and_signals_are_as_at_a_login(run):
    show = "import os, signal; print(sorted(os.listdir('/proc/self/fd')), os.getpgid(0) == os.getsid(0), {s.name for s in signal.Signals if signal.getsignal(s) == signal.SIG_IGN} - {'SIGPIPE', 'SIGXFSZ'}, signal.pthread_sigmask(0, []))"
    words = ["python3", "-c", show]
    run.add_array([block(0, words), block(1, " ".join(map(quote, words)))], teardown=":")
    run.add_array([block(0, words, task=2), block(1, " ".join(map(quote, words)), task=3)], "002")
    for array in ("001", "002"):
        for element in (0, 1):
            assert run.run(element, array=array) == 0
    # 3 is the listing itself
    assert {run.log(task) for task in range(4)} == {"['0', '1', '2', '3'] False set() set()\n"}


def test_pipes_are_not_broken_for_the_program(run):
    run.add_array([block(0, "set +o pipefail; yes | head -n 1")])
    assert run.run() == 0
    assert run.log() == "y\n"


def test_standard_input(run):
    run.add_array([block(0, "cat", stdin="a\n'b'\\\n\n"), block(1, "cat; echo end"), block(2, ["cat"], stdin="no newline")])
    for task in range(3):
        assert run.run(task) == 0
    assert [run.log(task) for task in range(3)] == ["a\n'b'\\\n\n", "end\n", "no newline"]


def test_files_and_links(run, tmp_path):
    data = tmp_path / "data it's"
    data.mkdir()
    (data / "x").write_text("linked\n")
    text = quote("lr = 0.1\n$(x)\n")
    files = f"hpcsweep_write_file 'decks/in put.nml' {text}; hpcsweep_link {quote(str(data))} 'data'"
    for attempt, number in ((1, "001"), (2, "002")):
        run.add_array(
            [block(0, "cat 'decks/in put.nml' data/x; echo changed >'decks/in put.nml'", files=files, attempt=attempt)],
            number,
            workdir="task",
        )
        assert run.run(array=number) == 0
        assert run.log(attempt=attempt) == "lr = 0.1\n$(x)\nlinked\n"


def test_files_that_cannot_be_made(run):
    run.add_array([block(0, "true", files="hpcsweep_write_file 'params.json/x' ''")])
    assert run.run() == 1
    assert run.outcomes() == ["0.1.broken.2"]


def test_a_restart_keeps_the_programs_own_changes(run):
    run.add_array([block(0, "cat in", files="hpcsweep_write_file 'in' 'new'")], workdir="task")
    run.event("0.1").write_text("tag-001 11_0 host 1 1\n")
    run.event("0.1.r0.run").hardlink_to(run.event("0.1"))
    run.folder().mkdir()
    (run.folder() / "in").write_text("changed")
    (run.folder() / "params.json").write_text('{"torn')
    assert run.run() == 0
    assert run.log().endswith("\nchanged")
    assert json.loads((run.folder() / "params.json").read_text()) == {"lr": 0.1}


def test_umask(run):
    run.add_array([block(0, "touch made")], workdir="task", umask="027")
    run.run()
    assert (run.folder() / "made").stat().st_mode & 0o777 == 0o640
    assert run.folder().stat().st_mode & 0o777 == 0o750


# ---- setup and teardown ----


def test_setup_reaches_the_program(run):
    setup = "plain=1; export EXPORTED=2; greet() { echo hello $plain $EXPORTED; }; unset nothing; false; set -eu; cd /"
    run.add_array([block(0, "pwd; greet; echo $-"), block(1, "greet; : $$")], setup=setup, workdir="task")
    assert run.run() == 0
    assert run.log().splitlines()[:2] == [str(run.folder()).splitlines()[0], str(run.folder()).splitlines()[1]]
    assert "hello 1 2\n" in run.log()
    assert "u" not in run.log().splitlines()[-1]
    assert run.run(1) == 0


@pytest.mark.parametrize(
    ("setup", "code"),
    [
        ("return 3", 3),
        ("exit 4", 4),
        ("exit 0", 0),
        ("set -e; (exit 5); true", 5),
        ("set -u; echo $undefined_thing", 1),
        ("nosuchprogram", 127),
        ("kill -9 $BASHPID", 137),
        ("trap 'echo bye' EXIT; exit 6", 6),
        ("exec false", 1),
    ],
)
def test_a_setup_that_fails_is_the_tasks_failure(run, setup, code):
    run.add_array([block(0, "touch ran")], setup=f"echo setting up; {setup}", workdir="task")
    assert run.run() == 1
    assert run.outcomes() == [f"0.1.setup.{code}"]
    assert run.log().startswith("setting up\n")
    assert not (run.folder() / "ran").exists()
    assert run.complaints() == ""


@pytest.mark.parametrize("command", ["exit 3", ["bash", "-c", "exit 3"]])
def test_teardown_runs_once_and_changes_nothing(run, command):
    run.add_array([block(0, command)], setup="scratch=here", teardown="echo tearing down $scratch; exit 9")
    assert run.run() == 3
    assert run.outcomes() == ["0.1.done.3"]
    assert run.log() == "tearing down here\n"


# ---- signals and limits ----

BEGUN = "echo begun; exec sleep 1000"
STUBBORN = [
    "python3",
    "-u",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, lambda *_: print('told')); print('begun')\nwhile True: time.sleep(1)",
]


@pytest.mark.parametrize("command", [BEGUN, ["bash", "-c", BEGUN], "echo begun; sleep 1000; echo not reached", STUBBORN])
def test_term_with_the_marker_is_cancelled(run, command):
    run.add_array([block(0, command)], kill_wait_s=3)
    element = run.start()
    run.await_log("begun")
    run.event("0.1.cancel").touch()
    element.terminate()
    assert element.wait(30) == 143
    assert run.outcomes() == ["0.1.cancelled.0"]
    assert "not reached" not in run.log()
    assert run.complaints() == ""
    assert not processes_in_session(element.pid)


def is_group_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_term_that_reaches_the_program_first_is_no_end_of_its_own(run):
    """PBS signals the processes of a job one after the other."""
    run.add_array([block(0, "echo begun; sleep 1000"), block(1, "echo begun; sleep 1000"), block(2, "echo begun; kill $$")])
    cancelled, requeued, own = (run.start(element) for element in range(3))
    for element in range(3):
        run.await_log("begun", element)
    run.event("0.1.cancel").touch()
    for element in (cancelled, requeued):
        group = child_group(element.pid)
        os.killpg(group, signal.SIGTERM)
        await_that(lambda group=group: is_group_gone(group), "the program has ended")
        element.terminate()
    assert [element.wait(30) for element in (cancelled, requeued, own)] == [143, 143, 143]
    assert run.outcomes() == ["0.1.cancelled.0", "2.1.sig.15"]
    assert "1.1.r0.run" in run.events()


def test_term_without_the_marker_leaves_the_token(run):
    save = [
        "python3",
        "-u",
        "-c",
        "import signal, sys, time\ndef save(*_): time.sleep(0.3); print('saved'); sys.exit(0)\nsignal.signal(signal.SIGTERM, save); print('begun'); time.sleep(1000)",
    ]
    run.add_array(
        [
            block(0, save),
            block(1, " ".join(map(quote, save)) + "; echo not reached"),
            block(2, " ".join(map(quote, save)) + " & wait"),
        ]
    )
    for element in range(3):
        process = run.start(element)
        run.await_log("begun", element)
        process.terminate()
        assert process.wait(30) == 143
        assert run.log(element) == "begun\nsaved\n"
        assert f"{element}.1.r0.run" in run.events()
    assert run.outcomes() == []


# The controller's clock and the node's may tell quite different times: 1970 here.
@pytest.mark.parametrize(
    ("header", "slurm", "outcomes"),
    [
        (100, {"SLURM_JOB_START_TIME": "1000", "SLURM_JOB_END_TIME": "1002"}, ["0.1.timeout.0"]),
        (100, {"SLURM_JOB_START_TIME": "99999999000", "SLURM_JOB_END_TIME": "99999999002"}, ["0.1.timeout.0"]),
        (1, {"SLURM_JOB_START_TIME": "1000", "SLURM_JOB_END_TIME": "4600"}, []),
        (1, {"SLURM_JOB_END_TIME": "1000"}, []),  # a minute, as Slurm counts
        ("", {"SLURM_JOB_END_TIME": "1000"}, []),
        ("", {}, []),
    ],
)
def test_term_is_a_timeout_by_the_nodes_own_clock_alone(run, header, slurm, outcomes):
    run.add_array([block(0, BEGUN)], scheduler="slurm", time_limit_s=header)
    element = run.start(SLURM_JOB_ID="5", **slurm)
    run.await_log("begun")
    element.terminate()
    assert element.wait(30) == 143
    assert run.outcomes() == outcomes


@pytest.mark.parametrize("command", [BEGUN, STUBBORN])
def test_the_runner_keeps_the_limit_itself(run, command):
    run.add_array([block(0, command)], time_limit_s=1, enforce_time_limit=1, kill_wait_s=3, watch_s=1000)
    assert run.run() == 143
    assert run.outcomes() == ["0.1.timeout.0"]


def test_term_during_setup_does_not_wait_for_it(run):
    run.add_array([block(0, "true")], setup="echo begun; sleep 1000")
    element = run.start()
    run.await_log("begun")
    run.event("cancel").touch()
    element.terminate()
    assert element.wait(30) == 143
    assert run.outcomes() == ["0.1.cancelled.0"]
    assert not processes_in_session(element.pid)


def test_term_during_teardown_does_not_change_the_outcome(run):
    run.add_array([block(0, "exit 3")], teardown="echo begun; sleep 1000", kill_wait_s=3)
    element = run.start()
    run.await_log("begun")
    now = run.event("0.1").stat().st_mtime
    await_that(lambda: int(subprocess.check_output(["date", "+%s"])) > now + 1, "the clock has gone on")
    run.event("cancel").touch()
    element.terminate()
    assert element.wait(30) == 3
    assert run.outcomes() == ["0.1.done.3"]


@pytest.mark.parametrize("name", ["USR1", "USR2", "INT", "HUP"])
def test_other_signals_reach_the_program(run, name):
    catch = f"import signal, sys\nsignal.signal(signal.SIG{name}, lambda *_: (print('caught'), sys.exit(0)))\nprint('begun')\nsignal.pause()"
    words = ["python3", "-u", "-c", catch]
    run.add_array([block(0, words), block(1, " ".join(map(quote, words)))])
    for element in (0, 1):
        process = run.start(element)
        run.await_log("begun", element)
        process.send_signal(getattr(signal, f"SIG{name}"))
        process.wait(30)
        assert run.log(element) == "begun\ncaught\n"
        assert [outcome for outcome in run.outcomes() if outcome.startswith(f"{element}.")] == [f"{element}.1.done.0"]


def test_a_pause_is_no_end(run):
    run.add_array(
        [block(0, "echo begun; while ! test -e go; do read -t 0.02 <> <(:) || :; done; echo went on")], workdir="task"
    )
    element = run.start()
    run.await_log("begun")
    group = child_group(element.pid)
    os.killpg(group, signal.SIGSTOP)
    os.kill(element.pid, signal.SIGCONT)
    os.killpg(group, signal.SIGCONT)
    (run.folder() / "go").touch()
    assert element.wait(30) == 0
    assert run.log().endswith("went on\n")


# ---- disks, and the runner's own text ----


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], check=True)
    try:
        run = Run(small / "run-01", elements_log=tmp_path / "elements.log")
        run.add_array([block(0, "true"), block(1, "dd if=/dev/zero of=filling bs=4k 2>/dev/null || exit 0")], workdir="task")
        assert run.run(1) == 0
        assert run.outcomes() == ["1.1.done.0"]  # the disk is full by now, and a name needs no room
        assert run.run(0) == 1
        assert "disk full" in run.complaints()
        assert run.events() == ["1.1", *[name for name in run.events() if "done" in name]]
        (run.folder(1) / "filling").unlink()
        assert run.run(0) == 0
    finally:
        subprocess.run(["umount", small], check=True)


def test_shellcheck(run):
    found = subprocess.run(["shellcheck", RUNNER], check=False, capture_output=True, text=True)
    assert found.stdout == ""
