"""`signal:` and `on_timeout:`: who is told of the end, when, and what becomes of what was saved."""

from __future__ import annotations

import os
import signal

import pytest
from small_runs import await_that, block

FAR = {"time_limit_s": 600, "enforce_time_limit": 1}
TOLD = {"signal": "USR1", "signal_before_s": 598, "saved": 85}
# Its time to be told comes two seconds after its start, the limit not before all is over.
SOON = FAR | TOLD


def python(on_signal: str, *, name: str = "USR1", then: str = "") -> list[str]:
    """A program with a handler; it says when it can be told."""
    lines = [
        "import os, signal, sys, time",
        "def told(number, frame):",
        f"    {on_signal}",
        f"signal.signal(signal.SIG{name}, told)",
        "print('ready', flush=True)",
        then or "time.sleep(60)",
    ]
    return ["python3", "-c", "\n".join(lines)]


SAVES = "print('saving', flush=True); sys.exit(85)"


def test_a_program_is_told_in_time_and_its_answer_is_its_outcome(run):
    answers = {0: "sys.exit(0)", 1: SAVES, 2: "sys.exit(3)"}
    run.add_array([block(task, python(answer)) for task, answer in answers.items()], **SOON)
    for process in [run.start(task) for task in answers]:
        process.wait(30)
    assert run.outcomes() == ["0.1.done.0", "1.1.timeout.85", "2.1.done.3"]
    assert run.complaints() == ""


def test_a_program_that_does_not_know_the_signal_has_reached_its_time_limit(run):
    run.add_array([block(0, ["sleep", "60"]), block(1, "sleep 60; echo never")], **SOON)
    for process in [run.start(task) for task in (0, 1)]:
        assert process.wait(30) == 143
    assert run.outcomes() == ["0.1.timeout.0", "1.1.timeout.0"]
    assert "never" not in run.log(1)


def test_the_code_for_saved_is_a_failure_of_a_program_that_was_not_told(run):
    run.add_array([block(0, ["sh", "-c", "exit 85"])], **FAR | TOLD | {"signal_before_s": 1, "most_continuations": 20})
    assert run.run() == 85
    assert run.outcomes() == ["0.1.done.85"]


def test_what_the_program_knows_of_its_end(run):
    command = 'echo "$HPCSWEEP_SIGNAL $HPCSWEEP_SAVED $((HPCSWEEP_ENDS_AT - $(date +%s) > 500))"'
    run.add_array([block(0, command)], **FAR | TOLD | {"signal_before_s": 1, "saved": 99})
    run.add_array([block(0, 'echo "${HPCSWEEP_SIGNAL-none} ${HPCSWEEP_ENDS_AT-none}"', task=1)], "002", **FAR)
    assert (run.run(), run.run(array="002")) == (0, 0)
    assert (run.log(), run.log(1)) == ("USR1 99 1\n", "none none\n")


@pytest.mark.parametrize("name", ["USR2", "INT", "HUP", "TERM"])
@pytest.mark.parametrize("is_text", [True, False])
def test_each_signal_reaches_the_program_under_the_shell_too(run, name, is_text):
    words = python(SAVES, name=name)
    command = f"python3 - <<'END'\n{words[2]}\nEND\n" if is_text else words
    run.add_array([block(0, command)], **SOON | {"signal": name})
    run.run()
    assert run.outcomes() == ["0.1.timeout.85"]
    assert "saving" in run.log()


def test_an_interrupted_program_is_told_first_and_terminated_only_when_it_must(run):
    last = "signal.signal(signal.SIGTERM, lambda *_: (print('terminated', flush=True), os._exit(1))); time.sleep(60)"
    run.add_array(
        [block(0, python(SAVES)), block(1, python("print('going on', flush=True)", then=last))],
        **FAR | TOLD | {"signal_before_s": 1, "most_continuations": 20},
    )
    processes = [run.start(task) for task in (0, 1)]
    for task, process in enumerate(processes):
        run.await_log("ready", task)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 143
    assert run.log(0) == "ready\nsaving\n"
    assert run.log(1) == "ready\ngoing on\nterminated\n"
    # A requeue may follow: it is not the runner that ends the attempt.
    assert [name for name in run.events() if name.endswith("run")] == ["0.1.r0.run", "1.1.r0.run"]


def test_a_program_that_came_to_its_end_although_it_was_told_is_done(run):
    run.add_array([block(0, python("print('told', flush=True); sys.exit(0)"))], **FAR | TOLD | {"signal_before_s": 1})
    process = run.start()
    run.await_log("ready")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 0
    assert run.outcomes() == ["0.1.done.0"]


def test_a_cancelled_program_is_terminated_at_once(run):
    run.add_array([block(0, python(SAVES))], **FAR | TOLD | {"signal_before_s": 1})
    process = run.start()
    run.await_log("ready")
    run.event("0.1.cancel").touch()
    os.kill(process.pid, signal.SIGTERM)
    process.wait(30)
    assert run.outcomes() == ["0.1.cancelled.0"]
    assert run.log() == "ready\n"


def test_slurms_own_signal_is_not_delivered_a_second_time(run):
    words = python("print('told', flush=True)", then="while True: time.sleep(0.1)")
    run.add_array([block(0, words)], **SOON)
    process = run.start()
    run.await_log("told")
    os.kill(process.pid, signal.SIGUSR1)
    os.kill(process.pid, signal.SIGUSR2)  # another signal is the program's business as ever: it does not know it
    assert process.wait(30) == 128 + signal.SIGUSR2
    assert run.log() == "ready\ntold\n"


def test_a_signal_from_outside_is_passed_on_and_its_answer_counts(run):
    run.add_array(
        [block(0, python(SAVES)), block(1, python(SAVES))], **FAR | TOLD | {"signal_before_s": 1, "most_continuations": 20}
    )
    run.add_array([block(0, python(SAVES), task=2)], "002", **FAR | TOLD | {"signal_before_s": 1})
    for task, process in enumerate([run.start(0), run.start(1), run.start(array="002")]):
        run.await_log("ready", task)
        os.kill(process.pid, signal.SIGUSR1)
        process.wait(30)
    assert run.outcomes() == ["0.1.timeout.85", "1.1.timeout.85"]
    assert run.outcomes("002") == ["2.1.done.85"]


# ---- on Slurm: in place ----


def play_slurm(run, answer: str = "") -> dict[str, str]:
    """A scontrol that notes how it was called; ``answer``: what it says no with."""
    tools = run.path.parent / "tools"
    tools.mkdir(exist_ok=True)
    says_no = f'echo "{answer}" >&2; exit 1' if answer else ":"
    (tools / "scontrol").write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>"${{0%/*}}/called"\n{says_no}\n')
    (tools / "scontrol").chmod(0o755)
    return {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "14",
        "SLURM_ARRAY_JOB_ID": "11",
        "SLURM_ARRAY_TASK_ID": "0",
        "SLURM_JOB_START_TIME": "1000000",
        "SLURM_JOB_END_TIME": "1000600",
    }


def called(run) -> list[str]:
    path = run.path.parent / "tools" / "called"
    return path.read_text().splitlines() if path.exists() else []


SLURM = TOLD | {"scheduler": "slurm", "most_continuations": 3}


def test_an_element_that_has_saved_is_requeued_in_place(run):
    run.add_array([block(0, python(SAVES, then="time.sleep(60 if os.environ['HPCSWEEP_RESTART'] == '0' else 0)"))], **SLURM)
    environ = play_slurm(run)
    assert run.run(**environ) == 143
    assert called(run) == ["requeue 11_0"]
    assert run.events() == ["0.1", "0.1.r0.run"]
    assert "Slurm starts it again" in run.log()
    assert run.run(**environ) == 0
    assert run.outcomes() == ["0.1.done.0"]
    assert run.event("0.1").read_text().splitlines()[1].startswith("saved ")


def test_it_goes_on_only_so_often(run):
    run.add_array([block(0, python(SAVES))], **SLURM | {"most_continuations": 2})
    environ = play_slurm(run)
    for _start in range(3):
        assert run.run(**environ) == 143
    assert called(run) == ["requeue 11_0"] * 2
    assert run.outcomes() == ["0.1.timeout.0"]
    assert "it has gone on 2 times already" in run.log()


def test_where_slurm_says_no_the_next_attempt_goes_on(run):
    run.add_array([block(0, python(SAVES))], **SLURM)
    assert run.run(**play_slurm(run, "Requested operation is presently disabled")) == 143
    assert run.outcomes() == ["0.1.timeout.85"]
    assert "Requested operation is presently disabled" in run.log()


def test_what_was_cancelled_does_not_go_on(run):
    run.add_array([block(0, python(f"open('told', 'w'); time.sleep(1); {SAVES}"))], **SLURM, workdir="task")
    process = run.start(**play_slurm(run))
    await_that((run.path / "tasks" / "000000" / "told").exists, "it is told")
    run.event("0.1.cancel").touch()
    process.wait(30)
    assert called(run) == []
    assert run.outcomes() == ["0.1.cancelled.0"]


def test_who_has_saved_only_after_the_limit_goes_on_in_another_attempt(run):
    then = "signal.signal(signal.SIGTERM, lambda *_: (print('last', flush=True), os._exit(85))); time.sleep(60)"
    header = {"time_limit_s": 4, "enforce_time_limit": 1, "signal": "USR1", "signal_before_s": 3, "saved": 85}
    run.add_array([block(0, python("print('told', flush=True)", then=then))], **header, most_continuations=20)
    assert run.run() == 143
    assert run.log() == "ready\ntold\nlast\n"
    assert run.outcomes() == ["0.1.timeout.85"]
