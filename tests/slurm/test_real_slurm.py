"""The adapter against a Slurm that runs: what it submits, sees, tells and reads afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from hpcsweep.model import Completed, Request
from hpcsweep.schedulers.base import ArrayJob, Command, NoAnswer, Refused, Seen, Submitted, Uncertain
from hpcsweep.schedulers.slurm import Slurm
from hpcsweep.shell import run_command
from hpcsweep.states import State

pytestmark = pytest.mark.slurm
SLURM = Slurm()


@dataclass
class Site:
    """One user's view of the test Slurm: runs the adapter's commands as that user."""

    folder: Path
    wrap: Callable[[list[str]], list[str]] | None = None

    def run(self, command: Command, timeout_s: float | None = None) -> Completed:
        if self.wrap is not None:
            command = replace(command, argv=tuple(self.wrap(list(command.argv))))
        return run_command(command, timeout_s=timeout_s)

    def write_script(self, text: str, *directives: str) -> str:
        script = self.folder / f"script-{uuid4().hex[:8]}.sh"
        script.write_text("#!/bin/bash\n" + "".join(f"{line}\n" for line in directives) + text + "\n")
        script.chmod(0o755)
        return str(script)

    def job(self, text: str, size: int = 1, request: Request | None = None, options=None, **changes) -> ArrayJob:
        directives = SLURM.directives(request or Request(), options or {})
        return ArrayJob(
            tag=f"test-{uuid4().hex}",
            script=self.write_script(text, *directives),
            log=str(self.folder / "log"),
            size=size,
            chdir=str(self.folder),
            directives=tuple(directives),
            **changes,
        )

    def submit(self, job: ArrayJob) -> str:
        answer = SLURM.parse_submit(self.run(SLURM.submit_cmd(job)))
        assert isinstance(answer, Submitted), answer
        return answer.job

    def live(self, *tags: str) -> list[Seen]:
        answer = SLURM.parse_live(self.run(SLURM.live_cmd(tags)))
        assert not isinstance(answer, NoAnswer), answer
        return answer

    def live_elements(self, tag: str) -> dict[int | None, Seen]:
        return {number: seen for seen in self.live(tag) for number in (seen.elements if seen.elements is not None else [None])}

    def history(self, tag: str) -> dict[int | None, Seen]:
        answer = SLURM.parse_history(self.run(SLURM.history_cmd([tag], time.time() - 60)))
        assert not isinstance(answer, NoAnswer), answer
        return {number: seen for seen in answer for number in (seen.elements if seen.elements is not None else [None])}

    def tell(self, commands: list[Command]) -> None:
        for command in commands:
            completed = self.run(command)
            assert completed.returncode == 0, completed


@pytest.fixture(params=["root", "user"])
def site(request, slurm, tmp_path) -> Site:
    if request.param == "root":
        if os.geteuid() != 0:
            pytest.skip("NO ROOT: this test submits as root too")
        return Site(tmp_path)
    return Site(request.getfixturevalue("user_dir"), request.getfixturevalue("as_user"))


@pytest.fixture
def own_site(slurm, tmp_path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def ended(await_that):
    """Wait until a tag is out of the queue and, when numbers are given, in the history."""

    def wait(site: Site, tag: str, *numbers: int | None) -> dict[int | None, Seen]:
        await_that(lambda: not site.live(tag), f"{tag} has left the queue", 120)
        await_that(lambda: set(numbers) <= set(site.history(tag)), f"the history knows {numbers}")
        return site.history(tag)

    return wait


def test_ends_are_told_apart(site, ended):
    job = site.job('case $SLURM_ARRAY_TASK_ID in 1) exit 7 ;; 2) kill -9 $$ ;; esac; echo "element $SLURM_ARRAY_TASK_ID"', 3)
    number = site.submit(job)
    history = ended(site, job.tag, 0, 1, 2)
    assert [(history[i].state, history[i].exit_code, history[i].signal) for i in range(3)] == [
        (State.DONE, 0, None),
        (State.FAILED, 7, None),
        (State.FAILED, None, 9),
    ]
    assert {seen.job for seen in history.values()} == {number}
    assert not any(seen.is_refusal for seen in history.values())
    assert Path(job.log).read_text() == "element 0\n"


def test_pending_elements_are_one_answer_and_can_be_cancelled_one_by_one(site, ended, await_that):
    job = site.job("sleep 300", 20, is_held=True, at_once=3)
    number = site.submit(job)
    (seen,) = site.live(job.tag)
    assert (seen.job, list(seen.elements), seen.state, seen.is_held) == (number, list(range(20)), State.PENDING, True)
    site.tell(SLURM.cancel_cmds(job.tag, number, [0, 5, 6, 7, 19]))
    # The others must still be there: with --name, scancel 22.05 would have ended all twenty.
    assert sorted(site.live_elements(job.tag)) == sorted(set(range(20)) - {0, 5, 6, 7, 19})
    site.tell(SLURM.hold_cmds(job.tag, number, "release"))
    await_that(lambda: [s.state for s in site.live_elements(job.tag).values()].count(State.RUNNING) == 3, "three run")
    assert not any(seen.is_held for seen in site.live(job.tag))
    site.tell(SLURM.throttle_cmds(job.tag, number, 4))
    await_that(lambda: [s.state for s in site.live_elements(job.tag).values()].count(State.RUNNING) == 4, "four run")
    running = [element for element, seen in site.live_elements(job.tag).items() if seen.state is State.RUNNING]
    site.tell(SLURM.hold_cmds(job.tag, number, "hold"))
    site.tell(SLURM.cancel_cmds(job.tag, number, running[:1]))
    await_that(lambda: running[0] not in site.live_elements(job.tag), "the cancelled one has ended")
    assert set(running[1:]) <= set(site.live_elements(job.tag))
    site.tell(SLURM.cancel_cmds(job.tag, number, None))
    # What was held when it was cancelled never reached the history.
    history = ended(site, job.tag, *running)
    assert {seen.state for seen in history.values()} == {State.CANCELLED}
    # All has ended: telling again is no fault.
    site.tell(SLURM.cancel_cmds(job.tag, number, None))
    site.tell(SLURM.cancel_cmds(job.tag, number, [3, 4]))
    site.tell(SLURM.hold_cmds(job.tag, number, "hold"))
    site.tell(SLURM.throttle_cmds(job.tag, number, 2))


def test_an_id_under_another_name_is_left_alone(site, await_that):
    mine = site.job("sleep 300", 4, is_held=True)
    number = site.submit(mine)
    for elements in (None, [1, 2]):
        site.tell(SLURM.cancel_cmds("test-" + uuid4().hex, number, elements))
    site.tell(SLURM.hold_cmds("test-" + uuid4().hex, number, "hold"))
    assert sorted(site.live_elements(mine.tag)) == [0, 1, 2, 3]
    site.tell(SLURM.cancel_cmds(mine.tag, number, None))
    await_that(lambda: not site.live(mine.tag), "it is cancelled")


def test_one_query_answers_for_many_arrays_and_unknown_names(own_site):
    jobs = [own_site.job("sleep 300", 2, is_held=True) for _ in range(2)]
    numbers = [own_site.submit(job) for job in jobs]
    seen = own_site.live(*(job.tag for job in jobs), "test-" + uuid4().hex)
    assert {(s.tag, s.job) for s in seen} == {(job.tag, number) for job, number in zip(jobs, numbers, strict=True)}
    for job, number in zip(jobs, numbers, strict=True):
        own_site.tell(SLURM.cancel_cmds(job.tag, number, None))


def test_a_long_list_of_scattered_elements_is_read_and_cancelled_whole(own_site):
    job = own_site.job("sleep 300", 10_000, is_held=True)
    number = own_site.submit(job)
    own_site.tell(SLURM.cancel_cmds(job.tag, number, range(0, 10_000, 3)))
    assert sorted(own_site.live_elements(job.tag)) == sorted(set(range(10_000)) - set(range(0, 10_000, 3)))
    own_site.tell(SLURM.cancel_cmds(job.tag, number, None))
    assert own_site.live(job.tag) == []


def test_hostile_paths(slurm, hostile_dir, ended):
    site = Site(hostile_dir)
    job = replace(site.job("pwd -P; printf '%s\\n' \"$SLURM_SUBMIT_DIR\"", 2), log=str(hostile_dir / "the log.txt"))
    site.submit(job)
    history = ended(site, job.tag, 0, 1)
    assert {seen.state for seen in history.values()} == {State.DONE}
    assert Path(job.log).read_text() == f"{hostile_dir.resolve()}\n{hostile_dir}\n" * 2
    assert sorted(path.name for path in hostile_dir.iterdir()) == sorted([Path(job.script).name, "the log.txt"])


@pytest.mark.parametrize("name", ["100%", "%A_%a", "back\\slash", "%j\\", "line\nbreak"])
def test_the_log_is_where_it_should_be(own_site, ended, name):
    folder = own_site.folder / name
    folder.mkdir()
    job = replace(own_site.job("echo here", 1), log=str(folder / "log"))
    own_site.submit(job)
    ended(own_site, job.tag, 0)
    assert (folder / "log").read_text() == "here\n"


def test_resources_and_options_arrive(own_site, ended):
    comment = "a b \"q\" 'x' # h \\ $HOME %j é"
    request = Request(
        time_limit_s=5400,
        memory_bytes=100 << 20,
        cpus=2,
        gpus=2,
        gpu_type="fake",
        nodes=1,
        tasks_per_node=2,
        partition="main",
        account="lab",
        qos="normal",
    )
    program = 'squeue -h -j "$SLURM_JOB_ID" -o "%l|%m|%D|%P|%a|%q|%k|%H"; echo "$SLURM_CPUS_PER_TASK $SLURM_NTASKS $CUDA_VISIBLE_DEVICES"'
    job = own_site.job(program, 1, request, {"comment": comment, "exclusive": False, "nice": 10, "signal": "B:USR1@60"})
    own_site.submit(job)
    ended(own_site, job.tag, 0)
    first, second = Path(job.log).read_text().splitlines()
    assert first.startswith("1:30:00|100M|1|main|lab|normal|")
    assert comment in first
    assert second == "2 2 0,1"


def test_the_submitters_job_does_not_leak(own_site, ended, monkeypatch):
    leaks = {
        "SLURM_JOB_ID": "1",
        "SLURM_ARRAY_TASK_ID": "77",
        "SLURM_RESTART_COUNT": "5",
        "SLURM_MEM_PER_NODE": "1",
        "SLURM_EXPORT_ENV": "NONE",
        "SBATCH_ARRAY_INX": "0-99",
        "SBATCH_JOB_NAME": "other",
        "SBATCH_WAIT": "1",
        "SBATCH_EXPORT": "NONE",
        "SBATCH_PARTITION": "nope",  # a site's default: the directive wins
        "CUDA_VISIBLE_DEVICES": "6",
        "PMI_RANK": "3",
        "HPCSWEEP_TASK": "99",
        "SQUEUE_FORMAT": "%j",
        "SLURM_TIME_FORMAT": "%s",
        "SACCT_FORMAT": "User",
    }
    for name, value in leaks.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MY_OWN", "comes along")
    job = own_site.job("python3 -c 'import json, os; print(json.dumps(dict(os.environ)))' || env", 1, Request(partition="main"))
    own_site.submit(job)
    ended(own_site, job.tag, 0)
    environment = json.loads(Path(job.log).read_text())
    assert environment["MY_OWN"] == "comes along"
    assert environment["SLURM_ARRAY_TASK_ID"] == "0"
    assert environment["SLURM_JOB_PARTITION"] == "main"
    assert environment["SLURM_CONF"] == os.environ["SLURM_CONF"]
    gone = (
        "CUDA_VISIBLE_DEVICES",
        "PMI_RANK",
        "HPCSWEEP_TASK",
        "SLURM_EXPORT_ENV",
        "SLURM_RESTART_COUNT",
        "SLURM_MEM_PER_NODE",
    )
    assert not set(gone) & set(environment)
    assert not any(name.startswith("SBATCH_") for name in environment)


def test_a_default_of_the_site_holds_where_no_directive_speaks(own_site, ended, monkeypatch):
    monkeypatch.setenv("SBATCH_PARTITION", "urgent")
    job = own_site.job('echo "$SLURM_JOB_PARTITION"', 1)
    own_site.submit(job)
    ended(own_site, job.tag, 0)
    assert Path(job.log).read_text() == "urgent\n"


def test_a_clean_environment(own_site, ended, monkeypatch):
    monkeypatch.setenv("MY_OWN", "stays behind")
    job = own_site.job('echo "${MY_OWN-none} $HOME"', 1, is_env_clean=True)
    own_site.submit(job)
    ended(own_site, job.tag, 0)
    assert Path(job.log).read_text() == f"none {os.environ['HOME']}\n"


def test_a_single_job(own_site, ended):
    job = own_site.job("exit 3", 1, as_single_job=True)
    number = own_site.submit(job)
    (seen,) = ended(own_site, job.tag, None).values()
    assert (seen.job, seen.elements, seen.state, seen.exit_code, seen.is_refusal) == (number, None, State.FAILED, 3, False)


def test_dependencies(own_site, ended, await_that):
    first = own_site.job("sleep 300", 2)
    number = own_site.submit(first)
    second = own_site.job("true", 2, after=(number, "999999"))  # one that Slurm has forgotten is no obstacle
    own_site.submit(second)
    await_that(lambda: [s.reason for s in own_site.live(second.tag)] == ["Dependency"], "it waits for the first")
    assert not own_site.live(second.tag)[0].is_blocked
    own_site.tell(SLURM.cancel_cmds(first.tag, number, None))
    assert {seen.state for seen in ended(own_site, second.tag, 0, 1).values()} == {State.DONE}


def test_what_can_never_start_is_blocked(own_site, await_that):
    job = own_site.job("true", 2, Request(partition="short", time_limit_s=600))
    number = own_site.submit(job)
    await_that(lambda: [s.reason for s in own_site.live(job.tag)] == ["PartitionTimeLimit"], "its reason is known")
    assert own_site.live(job.tag)[0].is_blocked
    own_site.tell(SLURM.cancel_cmds(job.tag, number, None))


REFUSALS = [
    (Request(partition="nope"), {}, "resources.partition", False),
    (Request(account="nope"), {}, "resources.account", False),
    (Request(qos="nope"), {}, "resources.qos", False),
    (Request(memory_bytes=900 << 30), {}, "memory", False),
    (Request(gpus=99), {}, "resources", False),
    (Request(), {"constraint": "nope"}, "constraint", False),
    (Request(qos="few"), {}, "limits how many jobs", True),
]


@pytest.mark.parametrize(("request_", "options", "hint", "is_curable"), REFUSALS)
def test_refusals(own_site, request_, options, hint, is_curable):
    job = own_site.job("true", 10, request_, options)
    answer = SLURM.parse_submit(own_site.run(SLURM.submit_cmd(job)))
    assert isinstance(answer, Refused), answer
    assert hint in answer.hint
    assert answer.curable is is_curable
    assert own_site.live(job.tag) == []


def test_a_refusal_in_the_history_is_not_taken_for_an_array(own_site, await_that):
    job = own_site.job("true", 3, Request(gpus=99))
    assert isinstance(SLURM.parse_submit(own_site.run(SLURM.submit_cmd(job))), Refused)
    # Whether a record is left is up to Slurm; one that is must say what it is.
    assert all(seen.is_refusal for seen in own_site.history(job.tag).values())


def test_an_array_too_large_is_refused_and_the_limit_is_known(own_site):
    limits = SLURM.parse_limits(own_site.run(SLURM.limits_cmd()))
    assert not isinstance(limits, NoAnswer)
    assert (limits.max_array_size, limits.kill_wait_s) == (10_001, 3)
    largest = own_site.job("true", limits.max_array_size, is_held=True)
    number = own_site.submit(largest)
    own_site.tell(SLURM.cancel_cmds(largest.tag, number, None))
    answer = SLURM.parse_submit(own_site.run(SLURM.submit_cmd(own_site.job("true", limits.max_array_size + 1))))
    assert isinstance(answer, Refused)
    assert "MaxArraySize" in answer.hint


def test_out_of_memory(slurm, own_site, ended):
    if not slurm.has_memory_limits:
        pytest.skip("NO MEMORY LIMITS: this machine has no writable cgroup v1")
    job = own_site.job("head -c 300m /dev/zero | tail >/dev/null", 1, Request(memory_bytes=50 << 20))
    own_site.submit(job)
    seen = ended(own_site, job.tag, 0)[0]
    assert (seen.state, seen.signal) == (State.OOM, None)


def test_time_limit_and_a_requeue(own_site, ended, await_that):
    """One minute of waiting for two things: the time limit, and an element that is requeued meanwhile."""
    limited = own_site.job("sleep 300", 1, Request(time_limit_s=20))
    own_site.submit(limited)
    requeued = own_site.job('echo "restart ${SLURM_RESTART_COUNT:-0}"; [ -n "$SLURM_RESTART_COUNT" ] || sleep 300', 1)
    number = own_site.submit(requeued)
    await_that(lambda: any(s.state is State.RUNNING for s in own_site.live(requeued.tag)), "it runs")
    log = Path(requeued.log)
    await_that(lambda: log.exists() and "restart 0" in log.read_text(), "its script runs")
    own_site.tell([Command(argv=("scontrol", "requeue", f"{number}_0"))])
    await_that(lambda: {s.state for s in own_site.live(requeued.tag)} <= {State.PENDING, State.RUNNING}, "it is live still")
    await_that(lambda: "restart 1" in log.read_text(), "it was started again", 180)
    assert ended(own_site, requeued.tag, 0)[0].state is State.DONE
    seen = ended(own_site, limited.tag, 0)[0]
    assert (seen.state, seen.exit_code, seen.signal) == (State.TIMEOUT, None, None)
    assert seen.elapsed_s >= 60


def test_a_hung_controller_leaves_a_submission_uncertain(slurm, own_site, await_that):
    job = own_site.job("sleep 300", 2, is_held=True)
    pid = slurm.daemon_pid("slurmctld")
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = SLURM.parse_submit(own_site.run(SLURM.submit_cmd(job)))
        live = SLURM.parse_live(own_site.run(SLURM.live_cmd([job.tag]), timeout_s=1))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert isinstance(answer, Uncertain), answer
    assert isinstance(live, NoAnswer), live
    await_that(lambda: own_site.live(job.tag), "the submission that failed turns out to exist")
    (seen,) = own_site.live(job.tag)
    assert re.fullmatch("[0-9]+", seen.job)
    own_site.tell(SLURM.cancel_cmds(job.tag, seen.job, None))
    await_that(lambda: not own_site.live(job.tag), "it is cancelled")


def test_without_accounting_all_but_the_history_goes_on(slurm, own_site):
    pid = slurm.daemon_pid("slurmdbd")
    os.kill(pid, signal.SIGSTOP)
    try:
        job = own_site.job("sleep 300", 2, is_held=True)
        number = own_site.submit(job)
        history = SLURM.parse_history(own_site.run(SLURM.history_cmd([job.tag], time.time()), timeout_s=1))
        assert sorted(own_site.live_elements(job.tag)) == [0, 1]
        own_site.tell(SLURM.cancel_cmds(job.tag, number, None))
        assert own_site.live(job.tag) == []
    finally:
        os.kill(pid, signal.SIGCONT)
    assert isinstance(history, NoAnswer), history


def test_preempted(own_site, ended, await_that):
    here = {"nodelist": "n4", "no_requeue": True}
    meek = own_site.job("sleep 300", 1, Request(cpus=8, partition="main"), here)
    own_site.submit(meek)
    await_that(lambda: any(s.state is State.RUNNING for s in own_site.live(meek.tag)), "it runs", 120)
    own_site.submit(own_site.job("true", 1, Request(cpus=8, partition="urgent"), here))
    assert ended(own_site, meek.tag, 0)[0].state is State.PREEMPTED


def test_a_dead_node(slurm, own_site, ended, await_that):
    job = own_site.job("sleep 300", 1, Request(cpus=1), {"nodelist": "n3", "no_requeue": True})
    own_site.submit(job)
    await_that(lambda: any(s.state is State.RUNNING for s in own_site.live(job.tag)), "it runs")
    os.kill(slurm.daemon_pid("slurmd-n3"), signal.SIGKILL)
    try:
        seen = ended(own_site, job.tag, 0)[0]
    finally:
        slurm.restore()
    assert (seen.state, seen.node) == (State.NODE_FAIL, "n3")
