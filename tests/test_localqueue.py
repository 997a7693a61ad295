"""This machine's own queue, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep import localqueue

PROGRAM = Path(localqueue.__file__)
PATIENCE_S = 30.0


def await_that(condition, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited in vain until {what}")
        time.sleep(0.01)


class Bench:
    """A queue folder, and scripts that note what they do in ``notes``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.queue = path / "local"
        self.script = path / "it's a script\n.sh"
        self.jobs: list[str] = []

    def call(self, verb: str, *words: object, **run: object) -> subprocess.CompletedProcess:
        argv = [sys.executable, "-I", "-S", str(PROGRAM), verb, "--dir", str(self.queue), *map(str, words)]
        return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=PATIENCE_S, **run)

    def submit(self, body: str, size: int, *words: object, tag: str = "tag-1", **run: object) -> str:
        script = self.path / f"{tag} script\n.sh"
        script.write_text(f'note() {{ echo "$1 $HPCSWEEP_ELEMENT" >>notes; }}\n{body}\n')
        done = self.call(
            "submit",
            "--tag",
            tag,
            "--size",
            size,
            "--script",
            script,
            "--log",
            self.path / "log",
            "--chdir",
            self.path,
            *words,
            **run,
        )
        assert (done.returncode, done.stderr) == (0, "")
        self.jobs.append(done.stdout.strip())
        return self.jobs[-1]

    @property
    def notes_path(self) -> Path:
        return self.path / "notes"

    def notes(self) -> list[str]:
        return self.notes_path.read_text().splitlines() if self.notes_path.exists() else []

    def live(self, tag: str = "tag-1") -> list[list[str]]:
        done = self.call("live", "--tag", tag)
        assert (done.returncode, done.stderr) == (0, "")
        return [line.split("|") for line in done.stdout.splitlines()]

    def states(self, tag: str = "tag-1") -> list[str]:
        return [" ".join(fields[1:4]).strip() for fields in self.live(tag)]

    def await_note(self, note: str) -> None:
        await_that(lambda: note in self.notes(), f"there is the note {note!r}")

    def await_end(self, tag: str = "tag-1") -> None:
        await_that(lambda: not self.live(tag), "the array has ended")

    def go(self) -> None:
        (self.path / "go").touch()

    def end(self) -> None:
        for job in self.jobs:
            localqueue.send({int(job.split("-")[0])} if localqueue.is_queue_alive(job) else set(), signal.SIGKILL)
            localqueue.kill_elements(job, [(0, 10**6)])


UNTIL_GO = "note begun; while ! test -e go; do read -t 0.02 <> <(:); done; note ended"


@pytest.fixture
def bench(tmp_path):
    folder = tmp_path / 'a project\'s $(touch x)\n"été" *'
    folder.mkdir()
    bench = Bench(folder)
    yield bench
    bench.end()


def test_an_array_runs_in_order(bench):
    job = bench.submit("note ran; echo out; echo err >&2; pwd", 3, "--jobs", 1)
    assert "_" not in job
    bench.await_end()
    assert bench.notes() == ["ran 0", "ran 1", "ran 2"]
    assert (bench.path / "log").read_text() == f"out\nerr\n{bench.path}\n" * 3
    assert [path.name for path in bench.queue.iterdir() if job in path.name] == []


SHOW = """
import os, signal
words = open(f"/proc/{os.getppid()}/cmdline", "rb").read().split(bytes(1))
ignored = [s.name for s in signal.Signals if signal.getsignal(s) == signal.SIG_IGN]
print(words[0].decode(), words[2].decode(), words[3].decode(), os.getsid(0) == os.getppid())
print(sorted(map(int, os.listdir("/proc/self/fd"))), ignored, signal.pthread_sigmask(0, []))
print(sorted(name for name in os.environ if name.startswith("HPCSWEEP_")), os.environ["HPCSWEEP_JOB"])
"""


def test_an_element_is_a_session_with_nothing_of_ours(bench):
    (bench.path / "show.py").write_text(SHOW)
    environment = os.environ | {"HPCSWEEP_TASK": "9", "HPCSWEEP_JOB": "1_1"}
    job = bench.submit(f"exec {{HPCSWEEP_SLOT_FD}}>&-; {sys.executable} show.py", 1, env=environment)
    bench.await_end()
    assert (bench.path / "log").read_text().splitlines() == [
        "bash tag-1 0 True",
        "[0, 1, 2, 3] ['SIGPIPE', 'SIGXFSZ'] set()",  # 3 is the listing; Python ignores these signals itself
        f"['HPCSWEEP_ELEMENT', 'HPCSWEEP_JOB', 'HPCSWEEP_SLOT_FD'] {job}_0",
    ]


def test_states(bench):
    job = bench.submit(UNTIL_GO, 6, "--jobs", 4, "--at-once", 2)
    bench.await_note("begun 1")
    await_that(lambda: len(bench.live()) == 3, "both are seen")
    assert bench.states() == ["2-5 PENDING JobArrayTaskLimit", "0 RUNNING", "1 RUNNING"]
    assert {fields[0] for fields in bench.live()} == {job}
    assert {fields[4] for fields in bench.live()} == {"tag-1"}
    assert {fields[5] for fields in bench.live() if fields[2] == "RUNNING"} == {os.uname().nodename}
    assert bench.states("tag-2") == []
    assert bench.call("throttle", "--tag", "tag-1", job, 3).returncode == 0
    bench.await_note("begun 2")
    assert bench.call("throttle", "--tag", "tag-1", job, 0).returncode == 0
    bench.await_note("begun 3")
    assert bench.states()[0] == "4-5 PENDING Resources"
    assert bench.call("jobs", 5).returncode == 0
    bench.await_note("begun 4")
    bench.go()
    bench.await_end()
    assert sorted(bench.notes()) == sorted(f"{word} {i}" for word in ("begun", "ended") for i in range(6))


def test_slots_are_shared_by_all_arrays_of_a_folder(bench):
    bench.submit(UNTIL_GO, 2, "--jobs", 3)
    bench.submit(UNTIL_GO, 4, tag="tag-2")
    await_that(lambda: len(bench.notes()) == 3, "three run")
    assert bench.states("tag-2")[0] == "1-3 PENDING Resources"
    bench.go()
    bench.await_end()
    bench.await_end("tag-2")
    assert len(bench.notes()) == 12


def test_hold_and_release(bench):
    job = bench.submit("note ran", 2, "--hold", "--jobs", 1)
    assert bench.states() == ["0-1 PENDING Held"]
    assert bench.call("release", "--tag", "tag-1", job).returncode == 0
    bench.await_end()
    assert bench.notes() == ["ran 0", "ran 1"]
    gone = bench.call("hold", "--tag", "tag-1", job)
    assert gone.returncode == 1
    assert "has ended" in gone.stderr


def test_an_array_waits_for_another(bench):
    first = bench.submit(UNTIL_GO, 1)
    bench.submit("note after", 1, "--after", first, "1-1-gone", tag="tag-2")
    bench.await_note("begun 0")
    assert bench.states("tag-2") == ["0 PENDING Dependency"]
    bench.go()
    bench.await_end("tag-2")
    assert bench.notes() == ["begun 0", "ended 0", "after 0"]


def test_what_follows(bench):
    then = ["bash", "-c", 'echo "then $1" >>notes; cat', "x", "it's\n"]
    bench.submit("note ran", 2, "--jobs", 1, "--then", json.dumps(then))
    bench.await_note("then it's")
    assert bench.notes()[:3] == ["ran 0", "ran 1", "then it's"]
    assert bench.states() == []


def test_a_submit_does_not_keep_what_it_inherited(bench, tmp_path):
    """The run's lock is inherited by the command that submits, and has to end with it."""
    read_fd, write_fd = os.pipe()
    bench.submit(UNTIL_GO, 1, pass_fds=(write_fd,))
    os.close(write_fd)
    assert os.read(read_fd, 1) == b""
    os.close(read_fd)
    bench.go()
    bench.await_end()


def test_an_interrupt_of_the_terminal_ends_nothing(bench):
    process = subprocess.Popen(
        ["bash", "-c", 'trap : INT; "$@"; kill -INT -- -$$; exit 0', "x", sys.executable, "-I", "-S", str(PROGRAM), "submit", "--dir", str(bench.queue),
         "--tag", "tag-1", "--size", "1", "--script", str(bench.script), "--log", str(bench.path / "log"), "--chdir", str(bench.path)],
        start_new_session=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    bench.script.write_text("sleep 0.2; echo done >notes")
    bench.jobs.append(process.communicate(timeout=PATIENCE_S)[0].strip())
    bench.await_note("done")


# ---- cancel ----

TREE = """
trap 'note term; exit 143' TERM
setsid bash -c 'trap "" TERM; while :; do sleep 1000; done' &
(setsid bash -c 'trap "" TERM; env -i sleep 1000; :' &)
note begun
wait
"""


def left_over(job: str) -> dict[int, set[int]]:
    return localqueue.find_elements(job)


def test_cancel_ends_the_whole_tree(bench):
    job = bench.submit(TREE, 3, "--jobs", 2)
    bench.await_note("begun 1")
    assert bench.call("cancel", "--tag", "tag-1", "--grace", 2, job, "1-2").returncode == 0
    assert "term 1" in bench.notes()
    assert list(left_over(job)) == [0]
    assert bench.states() == ["0 RUNNING"]
    assert bench.call("cancel", "--tag", "tag-9", job).returncode == 0
    assert bench.states() == ["0 RUNNING"]
    assert bench.call("cancel", "--tag", "tag-1", job).returncode == 0
    bench.await_end()
    assert left_over(job) == {}
    assert sorted(bench.notes()) == ["begun 0", "begun 1", "term 0", "term 1"]


def test_cancel_kills_what_does_not_listen(bench):
    job = bench.submit("trap '' TERM; note begun; while :; do sleep 1000; done", 1)
    bench.await_note("begun 0")
    assert bench.call("cancel", "--tag", "tag-1", "--grace", 0.2, job).returncode == 0
    assert left_over(job) == {}
    bench.await_end()


def test_a_killed_queue(bench):
    job = bench.submit(TREE, 4, "--jobs", 2)
    bench.await_note("begun 1")
    bench.await_note("begun 0")
    os.kill(int(job.split("-")[0]), signal.SIGKILL)
    await_that(lambda: not localqueue.is_queue_alive(job), "the queue is gone")
    assert bench.states() == ["0 RUNNING", "1 RUNNING"]
    bench.submit("note second", 1, tag="tag-2")
    assert bench.states("tag-2") == ["0 PENDING Resources"]  # the orphans have their slots still
    assert bench.call("hold", "--tag", "tag-1", job).returncode == 1
    assert bench.call("cancel", "--tag", "tag-1", "--grace", 2, job, 0).returncode == 0
    assert bench.states() == ["1 RUNNING"]
    bench.await_note("second 0")
    assert bench.call("cancel", "--tag", "tag-1", "--grace", 2, job).returncode == 0
    assert bench.states() == []
    assert left_over(job) == {}
    assert "begun 2" not in bench.notes()


def test_leftovers_are_ended(bench):
    job = bench.submit("setsid sleep 1000 &\nnote ran", 1)
    bench.await_note("ran 0")
    await_that(lambda: not localqueue.is_queue_alive(job), "the queue is gone")
    assert left_over(job) == {}


def test_the_queue_ends_with_its_folder(bench):
    job = bench.submit("note begun; sleep 1000", 2, "--jobs", 1)
    bench.await_note("begun 0")
    bench.queue.rename(bench.path / "elsewhere")
    os.kill(int(job.split("-")[0]), signal.SIGUSR1)
    await_that(lambda: not localqueue.is_queue_alive(job), "the queue is gone")
    assert left_over(job) == {}
    assert bench.notes() == ["begun 0"]


# ---- what can go wrong ----


def test_a_queue_of_another_machine_gives_no_answer(bench):
    job = bench.submit(UNTIL_GO, 1)
    record = bench.queue / f"job-{job}-x"
    text = (bench.queue / f"job-{job}").read_text()
    record.write_text(
        text.replace(f"host {os.uname().nodename}", "host elsewhere").replace(localqueue.read_boot_id(), "00000000")
    )
    for answer in (bench.call("live", "--tag", "tag-1"), bench.call("cancel", "--tag", "tag-1", f"{job}-x")):
        assert answer.returncode == 4
        assert "the queue runs on elsewhere" in answer.stderr
    record.write_text(text.replace(localqueue.read_boot_id(), "00000000"))  # this machine, before it was started again
    assert bench.states() == ["0 RUNNING"]
    record.unlink()


def test_faults_are_one_line(bench):
    for words in (["submit"], ["nonsense"], ["live", "--what"], ["throttle", "--tag", "x", "1"]):
        done = bench.call(*words)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
    done = bench.call("submit", "--tag", "t", "--size", 1, "--script", "s", "--log", bench.path / "log", "--chdir", "/no/such")
    assert done.returncode == 1
    assert "/no/such" in done.stderr
    assert bench.call("live").stdout == ""


def test_a_job_that_is_no_more(bench):
    assert not localqueue.is_queue_alive("nonsense")
    assert not localqueue.is_queue_alive(f"{os.getpid()}-1-{localqueue.read_boot_id()}")
    assert bench.call("cancel", "--tag", "tag-1", "1-1-gone").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk(bench):
    bench.queue.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", bench.queue], check=True)
    try:
        job = bench.submit(UNTIL_GO, 4, "--jobs", 2)
        bench.await_note("begun 1")
        with pytest.raises(OSError, match="No space"):
            (bench.queue / "filling").write_bytes(bytes(100_000))
        assert bench.call("cancel", "--tag", "tag-1", job, 3).returncode == 1
        assert bench.states() == ["2-3 PENDING Resources", "0 RUNNING", "1 RUNNING"]
        assert bench.call("cancel", "--tag", "tag-1", job).returncode == 0
        await_that(lambda: not localqueue.is_queue_alive(job), "the queue is gone")
        assert left_over(job) == {}
        (bench.queue / "filling").unlink()
        bench.submit("note ran", 1, tag="tag-2")
        bench.await_note("ran 0")
    finally:
        bench.end()
        subprocess.run(["umount", "--lazy", bench.queue], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_with_a_full_disk_nothing_starts_and_nothing_is_told(bench):
    """What it cannot write it does not say; with room again it goes on, and does only what it was told wholly."""
    bench.queue.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", bench.queue], check=True)
    try:
        job = bench.submit(UNTIL_GO, 12, "--jobs", 2)
        bench.await_note("begun 1")
        with pytest.raises(OSError, match="No space"):
            (bench.queue / "filling").write_bytes(bytes(100_000))
        bench.go()
        bench.await_note("ended 1")
        await_that(lambda: bench.call("live", "--tag", "tag-1").returncode == 4, "it has no answer")
        assert "disk full" in bench.call("live").stderr
        begun = len(bench.notes())
        assert begun <= 8  # two were running, two more had begun before it knew
        (bench.queue / "filling").unlink()
        (bench.queue / f"control-{job}").write_text("cancel 1")  # the rest of the number had no room
        bench.call("cancel", "--tag", "tag-1", job, 10)
        bench.await_end()
        assert sorted(bench.notes()) == sorted(f"{word} {i}" for word in ("begun", "ended") for i in range(12) if i != 10)
    finally:
        bench.end()
        subprocess.run(["umount", "--lazy", bench.queue], check=True)


def test_without_processes_it_waits(bench, monkeypatch):
    """One that may have no more processes for a while starts its elements later."""
    queue = localqueue.Queue.__new__(localqueue.Queue)
    queue.record = localqueue.Record("1-2-3", "tag-1", 3)
    queue.is_held, queue.is_disk_full, queue.after, queue.at_once, queue.slots = False, False, set(), 0, {}
    queue.gpus, queue.grants = 0.0, {}
    queue.directory = str(bench.path)

    def no_more(*_: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(queue, "start", no_more, raising=False)
    queue.start_what_fits()
    assert (queue.record.pending, queue.record.running, queue.slots) == ([(0, 2)], {}, {})
    assert queue.record.reason == "Resources"


def test_an_element_has_not_ended_before_its_program_has(bench):
    """Its shell was killed: it is there until all that it had started is gone."""
    body = "note begun; bash -c 'while :; do sleep 0.01; done' & wait"
    bench.submit(body, 1)
    bench.await_note("begun 0")
    await_that(bench.live, "it is seen")
    job = bench.jobs[0]
    os.kill(int(localqueue.read_record(str(bench.queue), job).running[0][0]), signal.SIGKILL)
    await_that(lambda: not localqueue.read_record(str(bench.queue), job) or not bench.live(), "it has ended")
    assert left_over(job) == {}


# ---- sets of elements ----

numbers = st.sets(st.integers(0, 40))


def as_ranges(elements: set[int]) -> localqueue.Ranges:
    return [(element, element) for element in sorted(elements)]


@given(numbers, numbers)
def test_subtraction(elements, taken):
    left = localqueue.subtract_ranges([(0, 40)], as_ranges(set(range(41)) - elements))
    left = localqueue.subtract_ranges(left, as_ranges(taken))
    assert {n for low, high in left for n in range(low, high + 1)} == elements - taken
    assert localqueue.parse_ranges(localqueue.format_ranges(left)) == left


@given(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=9), numbers)
def test_a_record_survives_its_file(tag, elements):
    record = localqueue.Record("1-2-3", tag, 41)
    record.pending = as_ranges(elements)
    record.running = {3: (4, 5.5)}
    read = localqueue.parse_record("1-2-3", record.format())
    assert read is not None
    assert vars(read) == vars(record)
    assert localqueue.parse_record("1-2-3", record.format()[:20]) is None
