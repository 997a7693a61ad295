"""Claims, tokens and outcomes: whatever happens, one owner and one counted outcome."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest
from small_runs import block, child_group

from hpcsweep.store import give_up

SLEEP = ["bash", "-c", "echo begun; exec sleep 1000"]


def test_a_claim_and_its_outcome_are_one_file(run):
    run.add_array([block(0, "true", task=7)])
    assert run.run() == 0
    assert run.outcomes() == ["7.1.done.0"]
    claim, outcome = (run.event(name) for name in run.events())
    assert claim.samefile(outcome)
    first, second, third = claim.read_text().splitlines()
    assert first.split()[:2] == ["tag-001", "11_0"]
    assert second.split()[0] == "end"
    assert second.split()[2] == "0"
    assert third.startswith("usage cpu_s=")


def test_a_finished_task_costs_four_files(run):
    run.add_array([block(0, "true")])
    run.run()
    entries = [path for top in ("tasks", "arrays/001/events") for path in (run.path / top).rglob("*")]
    assert len({path.stat().st_ino for path in entries}) == 4
    assert run.complaints() == ""


@pytest.mark.parametrize(
    ("command", "outcome", "status"),
    [
        ("exit 3", "done.3", 3),
        ("true\nfalse\ntrue", "done.1", 1),
        ("false | true", "done.1", 1),
        ("exit 255", "done.255", 255),
        ("kill -9 $$", "sig.9", 137),
        ("kill -TERM $BASHPID", "sig.15", 143),
        ("kill -SEGV $$", "sig.11", 139),
        (["bash", "-c", "kill -KILL $$"], "sig.9", 137),
        (["/no/such/program"], "done.127", 127),
        (["/"], "done.126", 126),
        ("nosuchprogram", "done.127", 127),
        ("if", "done.2", 2),
    ],
)
def test_ends(run, command, outcome, status):
    run.add_array([block(0, command)])
    assert run.run() == status
    assert run.outcomes() == [f"0.1.{outcome}"]
    assert run.complaints() == ""


def test_another_jobs_duplicate_does_nothing(run):
    run.add_array([block(0, "echo ran >>counter")], workdir="task")
    assert run.run(job="11") == 0
    before = run.events()
    assert run.run(job="12") == 0
    assert run.events() == before
    assert (run.folder() / "counter").read_text() == "ran\n"


def test_a_requeue_of_a_finished_element_does_nothing(run):
    run.add_array([block(0, "echo ran >>counter; exit 4")], workdir="task")
    assert run.run() == 4
    before = run.events()
    assert run.run() == 0
    assert run.events() == before
    assert (run.folder() / "counter").read_text() == "ran\n"


def test_a_requeue_goes_on_as_a_restart(run):
    run.add_array(
        [block(0, "echo restart $HPCSWEEP_RESTART; while ! test -e go; do read -t 0.02 <> <(:) || :; done")], workdir="task"
    )
    first = run.start()
    run.await_log("restart 0")
    first.kill()
    os.killpg(child_group(first.pid), signal.SIGKILL)
    first.wait()
    assert "0.1.r0.run" in run.events()
    second = run.start()
    run.await_log("restart 1")
    assert run.events() == ["0.1", "0.1.r1.run"]
    (run.folder() / "go").touch()
    assert second.wait() == 0
    assert run.outcomes() == ["0.1.done.0"]
    assert "--- restart 1 at " in run.log()


@pytest.mark.parametrize("has_temporary", [True, False])
def test_a_claim_without_a_token_is_taken_up(run, has_temporary):
    run.add_array([block(0, "echo restart $HPCSWEEP_RESTART")])
    run.event("0.1").write_text("tag-001 11_0 elsewhere 1 1\n")
    if has_temporary:
        run.event(".tmp.0.1.11_0.1.1").hardlink_to(run.event("0.1"))
    assert run.run() == 0
    assert run.outcomes() == ["0.1.done.0"]
    assert len(run.events()) == 2
    assert run.log() == "restart 0\n"


@pytest.mark.parametrize("owner", ["tag-001 revoked host 1 1\n", "tag-002 11_0 host 1 1\n", "", "tag-001 11_00 host 1 1\n"])
def test_a_claim_of_somebody_else_is_left_alone(run, owner):
    run.add_array([block(0, "true")])
    run.event("0.1").write_text(owner)
    assert run.run() == 0
    assert run.events() == ["0.1"]
    assert not run.folder().exists()


def test_an_attempt_that_was_given_up_is_not_taken_up(run):
    run.add_array([block(0, "true")])
    run.event("0.1").write_text("tag-001 11_0 host 1 1\n")
    run.event("0.1.r0.lost").hardlink_to(run.event("0.1"))
    assert run.run() == 0
    assert run.events() == ["0.1", "0.1.r0.lost"]


@pytest.mark.parametrize("command", [SLEEP, "trap '' TERM; echo begun; while :; do sleep 1000; done"])
def test_a_program_whose_token_is_gone_is_ended(run, command):
    run.add_array([block(0, command)], kill_wait_s=10_000)
    element = run.start()
    run.await_log("begun")
    run.event("0.1.r0.run").rename(run.event("0.1.r0.lost"))
    assert element.wait(30) == 1
    assert run.events() == ["0.1", "0.1.late.r0", "0.1.r0.lost"]


def test_a_fenced_incarnation_leaves_its_end_aside(run):
    run.add_array(
        [block(0, "echo begun; while ! test -e go; do read -t 0.02 <> <(:) || :; done")], workdir="task", watch_s=1000
    )
    element = run.start()
    run.await_log("begun")
    run.event("0.1.r0.run").rename(run.event("0.1.r1.run"))
    (run.folder() / "go").touch()
    element.wait(30)
    assert run.events() == ["0.1", "0.1.late.r0", "0.1.r1.run"]
    assert "does not count" in run.complaints()


def test_races_have_one_winner(make_run):
    """Two jobs and a revoker; then requeues of both jobs. One claim, at most one outcome, and the program ran at most once."""
    rounds = 150
    run = make_run(chunk_size=1000)
    run.add_array([block(i, ["bash", "-c", "echo ran >>counter"]) for i in range(rounds)], workdir="task")
    chance = random.Random(1)  # noqa: S311 -- an order of starts, not a secret
    revoker = 'printf "tag-001 revoked h 1 1\\n" >"$1.tmp"; ln -T "$1.tmp" "$1" 2>/dev/null; rm "$1.tmp"'
    for i in range(rounds):
        claim = run.event(f"{i}.1")
        starts = [
            lambda i=i: run.start(i, "11"),
            lambda i=i: run.start(i, "12"),
            lambda c=claim: subprocess.Popen(["bash", "-c", revoker, "revoker", c]),
        ]
        chance.shuffle(starts)
        processes = [start() for start in starts]
        assert [process.wait() for process in processes][:0] == []
        owner = claim.read_text().split()[1]
        outcomes = [name for name in run.outcomes() if name.startswith(f"{i}.1.")]
        assert outcomes == ([] if owner == "revoked" else [f"{i}.1.done.0"])
        counter = run.folder(i) / "counter"
        assert counter.exists() == (owner != "revoked")
        assert not counter.exists() or counter.read_text() == "ran\n"
    for job in ("11", "12"):
        for i in chance.sample(range(rounds), 10):
            assert run.run(i, job) == 0
    assert len([name for name in run.events() if name.count(".") == 1]) == rounds
    assert not [name for name in run.events() if ".run" in name or ".tmp" in name or ".late" in name]


def test_the_same_jobs_incarnations_count_once(run):
    """Three incarnations of one job at once, as after a network's partition: still one counted outcome."""
    rounds = 20
    run.add_array([block(i, ["bash", "-c", "echo ran >>counter"]) for i in range(rounds)], workdir="task", watch_s=1000)
    for i in range(rounds):
        for process in [run.start(i) for _ in range(3)]:
            process.wait()
        run.run(i)  # whatever token was left is taken up
        assert [name for name in run.outcomes() if name.startswith(f"{i}.1.")] == [f"{i}.1.done.0"]
        assert not [name for name in run.events() if name.startswith(f"{i}.1.r")]


@pytest.mark.parametrize("left", ["token", "claim and temporary name", "claim"])
def test_a_requeue_races_with_being_given_up(make_run, left):
    """Its job starts again at the moment at which hpcsweep gives it up: one of them has it, whatever the first run had left."""
    rounds = 25
    run = make_run(chunk_size=1000)
    run.add_array([block(i, "echo ran >>counter") for i in range(rounds)], workdir="task")
    chance = random.Random(left)  # noqa: S311 -- an order of starts, not a secret
    answers = []
    for i in range(rounds):
        run.event(f"{i}.1").write_text(f"tag-001 11_{i} elsewhere 1 1\n")
        if left != "claim":
            name = f"{i}.1.r0.run" if left == "token" else f".tmp.{i}.1.11_{i}.1.1"
            run.event(name).hardlink_to(run.event(f"{i}.1"))
        element = run.start(i)
        time.sleep(chance.random() * 0.06)  # the runner takes about as long from its start to its token
        answers.append(give_up(run.event("x").parent, i, 1))
        status = element.wait(30)
        counted = [name for name in run.outcomes() if name.startswith(f"{i}.1.")]
        if answers[-1] == "lost":
            assert counted == []
        elif answers[-1] == "ended":
            assert (counted, status) == ([f"{i}.1.done.0"], 0)
        else:  # nothing was decided, and so the runner has it
            assert len(counted) == 1
        assert not [name for name in run.events() if name.startswith(f"{i}.1.r") and name.endswith(".run")]
        assert not (run.folder(i) / "counter").exists() or (run.folder(i) / "counter").read_text() == "ran\n"
    assert run.run(0) == 0  # and once more
    assert len(run.outcomes()) == rounds - answers.count("lost")


def test_an_element_needs_nobodys_word_to_start(run):
    """It may be there before the journal says that its job was accepted: what it needs is the array's folder alone."""
    run.add_array([block(0, "true")])
    assert not (run.path / "state.jsonl").exists()
    assert run.run() == 0
    assert run.outcomes() == ["0.1.done.0"]


@pytest.mark.parametrize("epoch", [0, 99_999_999_999])
def test_what_the_clock_says_decides_nothing(run, epoch):
    """A node whose clock was set back or is far ahead takes up what another had, and its seconds are never negative."""
    run.add_array([block(0, "echo restart $HPCSWEEP_RESTART")])
    run.event("0.1").write_text(f"tag-001 11_0 elsewhere 1 {epoch}\n")
    os.utime(run.event("0.1"), (epoch, epoch))
    run.event("0.1.r0.run").hardlink_to(run.event("0.1"))
    assert run.run() == 0
    assert run.events()[1].startswith("0.1.done.0.")
    assert int(run.events()[1].split(".")[4]) < 1000
    assert run.log().endswith("restart 1\n")


def test_cancelled_before_it_starts(run):
    run.add_array([block(0, "true"), block(1, "true")])
    run.event("1.1.cancel").touch()
    assert run.run(0) == 0
    assert run.run(1) != 0
    run.event("cancel").touch()
    assert run.run(1) == 0  # it has its outcome
    assert run.outcomes() == ["0.1.done.0", "1.1.cancelled.0"]
    assert not run.folder(1).exists()


def test_edited_commands_are_not_run(run):
    run.add_array([block(0, "true"), block(1, "touch ran")], workdir="task")
    chunk = run.path / "arrays/001/tasks/0000.sh"
    chunk.write_text(chunk.read_text().replace("touch ran", "touch run"))
    assert run.run(1) == 1
    assert run.outcomes() == ["1.1.broken.1"]
    assert "edited after submit" in run.complaints()
    chunk.write_text("nothing of it is left")
    assert run.run(0) == 1
    assert run.outcomes() == ["1.1.broken.1"]
    chunk.unlink()
    assert run.run(0) == 1


def test_commands_that_cannot_be_checked_are_not_run(run):
    """That is no word of the commands, so none is said about the task."""
    script = run.add_array([block(0, "touch ran")], workdir="task")
    script.write_text(script.read_text().replace("exec sha256sum", "echo Killed; exec false"))
    assert run.run() == 1
    assert run.events() == []
    assert "could not be checked" in run.complaints()


def test_a_run_folder_that_is_gone_is_not_made_again(run):
    script = run.add_array([block(0, "true")])
    kept = run.path.parent / "script.sh"
    script.rename(kept)
    run.path.rename(run.path.parent / "elsewhere")
    script.parent.mkdir(parents=True)
    kept.rename(script)
    assert run.run() == 1
    assert [path.name for path in run.path.iterdir()] == ["arrays"]
    assert "is gone" in run.complaints()


def test_another_run_under_the_same_path_is_left_alone(run):
    run.add_array([block(0, "true")])
    (run.path / "run.json").write_text('{"uid": "uid-2"}')
    assert run.run() == 1
    assert run.events() == []


def test_a_run_that_was_copied_from_there_is_left_alone_too(run):
    """A copy has the run.json of the original; the names of its jobs are others."""
    tag = run.add_array([block(0, "true")]).with_name("tag")
    tag.write_text("tag-of-the-copy-001\n")
    assert run.run() == 1
    assert run.events() == []
    tag.write_text("tag-001\n")
    assert run.run() == 0


def test_folders_and_working_directories_that_are_not_there(run):
    run.add_array([block(0, "true")], workdir="/no/such/folder")
    assert run.run() == 1
    (run.path / "tasks").rename(run.path / "away")
    (run.path / "tasks").write_text("a file in the way")
    run.add_array([block(0, "true", task=1)], "002")
    assert run.run(array="002") == 1
    assert run.outcomes() == ["0.1.broken.3"]
    assert run.outcomes("002") == ["1.1.broken.2"]


def test_the_last_command_waits_for_its_condition(run):
    run.add_array([block(i, "exit $HPCSWEEP_TASK") for i in range(2)], total=2)
    run.add_array([block(0, "echo last", task="finally")], "002", condition="done", total=2)
    run.add_array([block(0, "echo last", task="finally")], "003", condition="ended", total=2)
    run.run(0)
    assert run.run(array="003") == 0
    assert run.events("003") == []
    run.run(1)
    assert run.run(array="002") == 0
    assert run.events("002") == []
    assert run.run(array="003") == 0
    assert run.outcomes("003") == ["finally.1.done.0"]
    run.add_array([block(0, "true", task=1, attempt=2)], "004")
    run.run(array="004")
    assert run.run(array="002") == 0
    assert run.outcomes("002") == ["finally.1.done.0"]


def test_the_last_command_waits_for_what_runs_again(run):
    run.add_array([block(0, "exit 1")], total=1)
    run.run(0)
    script = run.add_array([block(0, "echo last", task="finally")], "002", condition="ended", total=1)
    script.write_text(script.read_text().replace("hpcsweep_chunk_hashes=", "hpcsweep_attempts=([0]=2)\nhpcsweep_chunk_hashes="))
    run.run(array="002")
    run.add_array([block(0, "exit 1", attempt=2)], "003")
    run.event("0.2", "003").write_text("tag-003 revoked host 1 1\n")  # an attempt that was called off is none
    run.run(array="002")
    assert run.events("002") == []
    run.add_array([block(0, "exit 1", attempt=3)], "004")
    run.run(array="004")
    run.run(array="002")
    assert run.outcomes("002") == ["finally.1.done.0"]


def test_without_an_element_number_nothing_runs(run):
    run.add_array([block(0, "true")])
    assert run.run(HPCSWEEP_ELEMENT="x") == 1
    assert run.run(HPCSWEEP_JOB="") == 1
    assert run.events() == []
