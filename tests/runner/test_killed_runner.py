"""The runner killed at every step: one owner, one counted outcome, and never an attempt that nobody can end."""

from __future__ import annotations

import os
import signal

import pytest
from dying import (
    await_nothing_left,
    end_for_good,
    kill_all_of,
    kill_shell_at,
    list_points,
    need_strace,
    new_job,
    sample,
    shell_stopped_at,
)
from small_runs import await_that, block, child_group, processes_in_session

# Who starts while another still runs says so; the lock is the system's, and ends with its holder.
COUNTED = """
exec 9>>lock
flock -n 9 || echo overlap >>overlaps
echo begin >>begins
echo end >>ends
"""


def notes(run, name: str) -> int:
    path = run.folder() / name
    return len(path.read_text().splitlines()) if path.exists() else 0


def names_without_rubbish(run, array: str = "001") -> list[str]:
    """The event names; a claim that was being made when its maker died leaves a temporary name, which says nothing."""
    return [name for name in run.events(array) if not name.startswith(".tmp.")]


def points(make_run, tmp_path, phase: float = 0.0) -> list[tuple[str, int]]:
    run = make_run("counted")
    run.add_array([block(0, COUNTED)], workdir="task", watch_s=50)
    every = list_points(run, tmp_path / "trace")
    assert run.outcomes() == ["0.1.done.0"]
    assert len(every) > 150
    return sample(every, 40, phase)


def runs_killed_at(make_run, chosen):
    """Each point: a run whose element's shell was killed there, and its job."""
    killed = 0
    for point in chosen:
        run, job = make_run("run-{}-{}".format(*point)), new_job()
        run.add_array([block(0, COUNTED)], workdir="task", watch_s=50)
        killed += kill_shell_at(run, job, point)
        yield run, job
    assert killed > len(chosen) * 0.8


@pytest.fixture(autouse=True)
def strace():
    need_strace()


def test_restarted_by_the_scheduler(make_run, tmp_path):
    """All of the element dies, as in a cgroup, and the same job starts again."""
    for run, job in runs_killed_at(make_run, points(make_run, tmp_path)):
        kill_all_of(job)
        had = run.outcomes()
        assert run.run(job=job) == 0
        assert run.outcomes() == ["0.1.done.0"]
        assert len(names_without_rubbish(run)) == 2
        # Only what had no outcome runs again.
        assert (notes(run, "ends") == 1) if had else (1 <= notes(run, "ends") <= 2)
        assert notes(run, "overlaps") == 0
        before = run.events()
        assert run.run(job=new_job()) == 0  # a duplicate
        assert run.run(job=job) == 0  # a requeue of what has ended
        assert run.events() == before


def test_given_up(make_run, tmp_path):
    """All of the element dies and hpcsweep ends the attempt; what comes late of the old job does nothing."""
    seen = set()
    for run, job in runs_killed_at(make_run, points(make_run, tmp_path, 0.3)):
        kill_all_of(job)
        ended = end_for_good(run)
        seen.add(ended)
        assert ended in {"revoked", "lost", "ended"}
        assert end_for_good(run) == ended
        before, ends = names_without_rubbish(run), notes(run, "ends")
        assert run.run(job=job) == 0
        assert names_without_rubbish(run) == before
        assert run.outcomes() == (["0.1.done.0"] if ended == "ended" else [])
        assert notes(run, "ends") == ends
        if ended != "ended":
            run.add_array([block(0, COUNTED, attempt=2)], "002", workdir="task")
            assert run.run(array="002", job=new_job()) == 0
            assert run.outcomes("002") == ["0.2.done.0"]
        assert notes(run, "overlaps") == 0
    assert seen == {"revoked", "lost", "ended"}


def test_without_a_cgroup_nothing_is_left_running(make_run, tmp_path):
    """Only the shell dies. Nothing of the element runs on for long, and then the same job starts again."""
    for run, job in runs_killed_at(make_run, points(make_run, tmp_path, 0.6)):
        await_nothing_left(job)
        assert run.run(job=job) == 0
        assert run.outcomes() == ["0.1.done.0"]
        assert 1 <= notes(run, "ends") <= 2
        assert notes(run, "overlaps") == 0


# ---- a node that is cut off, and comes back ----


def names_of_ends(run, array: str = "001") -> list[str]:
    return [name for name in names_without_rubbish(run, array) if name.count(".") > 1 and ".late." not in name]


def test_cut_off_and_restarted_elsewhere(make_run, tmp_path):
    """The first incarnation stands still, the same job runs elsewhere, the first goes on: one counted outcome."""
    stopped, fenced = 0, set()
    chosen = points(make_run, tmp_path)
    for number, point in enumerate(chosen):
        run, job = make_run(f"run-{number}"), new_job()
        run.add_array([block(0, COUNTED)], workdir="task")
        with shell_stopped_at(run, job, point, tmp_path / f"trace-{number}") as is_stopped:
            stopped += is_stopped
            assert run.run(job=job) == 0
        assert run.outcomes() == ["0.1.done.0"]
        assert len(names_of_ends(run)) == 1
        assert 1 <= notes(run, "ends") <= 2
        _, end, *usage = run.event(names_of_ends(run)[0]).read_text().splitlines()  # nobody else wrote into it
        assert end.startswith("end ")
        assert len(usage) <= 1
        fenced |= {name for name in run.events() if ".late." in name}
    assert stopped > len(chosen) * 0.8
    # At two or three points of all it comes too late (test_a_fenced_incarnation_leaves_its_end_aside makes it so).
    assert fenced <= {"0.1.late.r0"}
    assert fenced or not os.environ.get("HPCSWEEP_TEST_EVERY_POINT")


def test_cut_off_and_given_up(make_run, tmp_path):
    """The first incarnation stands still, hpcsweep ends the attempt and the next one runs, the first goes on: it counts for nothing."""
    seen = set()
    for number, point in enumerate(points(make_run, tmp_path, 0.6)):
        run, job = make_run(f"run-{number}"), new_job()
        run.add_array([block(0, COUNTED)], workdir="task")
        with shell_stopped_at(run, job, point, tmp_path / f"trace-{number}"):
            ended = end_for_good(run)
            seen.add(ended)
            before, had_begun = names_of_ends(run), notes(run, "begins")
            if ended != "ended":
                run.add_array([block(0, COUNTED, attempt=2)], "002", workdir="task")
                assert run.run(array="002", job=new_job()) == 0
        assert names_of_ends(run) == before
        if ended == "revoked":
            assert had_begun == 0
            assert notes(run, "begins") == 1  # the second attempt's
        assert run.outcomes("002" if ended != "ended" else "001") == ["0.2.done.0" if ended != "ended" else "0.1.done.0"]
    assert seen == {"revoked", "lost", "ended"}


# ---- the program and its supervisor ----


@pytest.mark.parametrize(
    "command", ["echo begun; sleep 1000; echo not reached", ["bash", "-c", "trap '' TERM; echo begun; sleep 1000 & wait"]]
)
def test_a_program_does_not_outlive_its_supervisor(run, command):
    run.add_array([block(0, command)], watch_s=1000)
    element = run.start()
    run.await_log("begun")
    element.kill()
    element.wait()
    await_that(lambda: not processes_in_session(element.pid), "the program was killed")
    assert run.events() == ["0.1", "0.1.r0.run"]


def test_a_killed_program_is_the_tasks_own_failure(run):
    run.add_array([block(0, "echo begun; sleep 1000")])
    element = run.start()
    run.await_log("begun")
    os.killpg(child_group(element.pid), signal.SIGKILL)
    assert element.wait(30) == 137
    assert run.outcomes() == ["0.1.sig.9"]


# ---- tools that fail, and calls that were done although they seem to have failed ----

FAILING = """
hpcsweep_tool() {
  echo >>"$hpcsweep_run_dir/calls"
  local calls
  mapfile -t calls <"$hpcsweep_run_dir/calls"
  if ((${#calls[@]} == %d)); then %s; fi
  PATH=/usr/bin:/bin:$PATH command "$@"
}
hpcsweep_main
exit
"""
LOST_ANSWER = 'PATH=/usr/bin:/bin:$PATH command "$@"; return 1'
KILLED = "return 137"


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("how", [LOST_ANSWER, KILLED], ids=["answer lost", "not done"])
def test_a_tool_that_fails(run, at, how):
    """A file server's answer that got lost (the call sent again is refused), or a tool that was killed."""
    script = run.add_array([block(0, COUNTED)], workdir="task")
    text = script.read_text()
    assert text.count("\nhpcsweep_main\nexit\n") == 1
    script.write_text(text.replace("\nhpcsweep_main\nexit\n", FAILING % (at, how)))
    run.run()
    if not run.outcomes():
        assert run.run() == 0
    assert [name.split(".")[2] for name in run.outcomes()] in (["done"], ["broken"])
    assert len(names_without_rubbish(run)) == 2
    assert notes(run, "begins") == (run.outcomes() == ["0.1.done.0"])
    assert notes(run, "overlaps") == 0
