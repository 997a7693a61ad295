"""How this machine's queue gives GPUs out, with real processes; the GPUs are names."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_localqueue import PATIENCE_S, PROGRAM, UNTIL_GO, Bench, await_that

from hpcsweep import localqueue

FOUR = "CUDA_VISIBLE_DEVICES 0=GPU-a 1=GPU-b 2=GPU-c 3=GPU-d"
BRIEF = """
start=$EPOCHREALTIME
read -t 0.0$((HPCSWEEP_ELEMENT * 7 % 10)) <> <(:)
echo "$CUDA_VISIBLE_DEVICES $start $EPOCHREALTIME" >>"$RECORDS"
"""


class GpuBench(Bench):
    """A queue folder whose elements get GPUs; ``records`` has who had which, and when."""

    def __init__(self, path: Path, locks: Path) -> None:
        super().__init__(path)
        self.locks = locks
        self.records_path = path / "records"

    def share(self, body: str, size: int, gpus: float, *words: object, devices: str = FOUR, tag: str = "tag-1", **run) -> str:
        environment = {**os.environ, "RECORDS": str(self.records_path), **run.pop("env", {})}
        words = ("--devices", devices, "--gpus", gpus, "--locks", self.locks, *words)
        return self.submit(body, size, *words, tag=tag, env=environment, **run)

    def records(self) -> list[tuple[str, float, float]]:
        if not self.records_path.exists():
            return []
        lines = [line.split() for line in self.records_path.read_text().splitlines()]
        return [(names, float(start), float(end)) for names, start, end in lines]

    def reason(self, tag: str = "tag-1") -> str:
        return next((fields[3] for fields in self.live(tag) if fields[2] == "PENDING"), "")


@pytest.fixture
def benches(tmp_path):
    """``benches()``: one more queue folder of this machine, all with the same locks."""
    made: list[GpuBench] = []

    def make() -> GpuBench:
        folder = tmp_path / f"it's\n{len(made)}"
        folder.mkdir()
        made.append(GpuBench(folder, tmp_path / "locks"))
        return made[-1]

    yield make
    for bench in made:
        bench.end()


@pytest.fixture
def bench(benches):
    return benches()


def most_at_once(records: list[tuple[str, float, float]]) -> dict[str, int]:
    """Device -> how many had it at the same moment, at most."""
    moments = [(start, 1, name) for names, start, _ in records for name in names.split(",")]
    moments += [(end, -1, name) for names, _, end in records for name in names.split(",")]
    now: dict[str, int] = {}
    most: dict[str, int] = {}
    for _, change, name in sorted(moments):
        now[name] = now.get(name, 0) + change
        most[name] = max(most.get(name, 0), now[name])
    return most


def test_a_gpu_has_one_task(bench):
    bench.share(BRIEF, 24, 1, "--jobs", 8)
    bench.await_end()
    assert len(bench.records()) == 24
    assert most_at_once(bench.records()) == dict.fromkeys("0123", 1)


def test_all_gpus_are_used_and_what_waits_says_why(bench):
    bench.share(UNTIL_GO, 6, 1, "--jobs", 8)
    await_that(lambda: len(bench.notes()) == 4, "four run")
    await_that(bench.reason, "the others wait")
    assert bench.states()[0] == "4-5 PENDING waits for a GPU (0-3 are busy)"
    bench.go()
    bench.await_end()
    assert len(bench.notes()) == 12


def test_why_it_waits_is_the_gpus_even_where_the_slots_are_as_many(bench):
    bench.share(UNTIL_GO, 5, 1, "--jobs", 4)
    await_that(lambda: len(bench.notes()) == 4, "four run")
    assert bench.reason() == "waits for a GPU (0-3 are busy)"
    bench.go()


def test_quarters(bench):
    bench.share(BRIEF, 24, 0.25, "--jobs", 99, devices="CUDA_VISIBLE_DEVICES 0=a 1=b")
    bench.await_end()
    assert len(bench.records()) == 24
    assert max(most_at_once(bench.records()).values()) <= 4


def test_as_many_share_a_gpu_as_fit(bench):
    bench.share(UNTIL_GO, 9, 0.25, "--jobs", 99, devices="CUDA_VISIBLE_DEVICES 0=a 1=b")
    await_that(lambda: len(bench.notes()) == 8, "eight run")
    await_that(lambda: bench.reason() == "waits for 0.25 of a GPU (0-1 are busy)", "the ninth waits")
    bench.go()
    bench.await_end()


def test_a_half_and_two_quarters(bench):
    """A fraction need not be in one piece: what ended between others leaves room for a larger one."""
    device = {"devices": "CUDA_VISIBLE_DEVICES 0=a"}
    quarters = [bench.share(UNTIL_GO, 1, 0.25, "--jobs", 9, tag=f"quarter-{number}", **device) for number in range(4)]
    await_that(lambda: len(bench.notes()) == 4, "four quarters run")
    bench.share("note half\n" + UNTIL_GO, 1, 0.5, tag="half", **device)
    bench.share("note whole", 1, 1, tag="whole", **device)
    for number in (0, 2):
        bench.call("cancel", "--tag", f"quarter-{number}", "--grace", 0, quarters[number])
    bench.await_note("half 0")
    assert bench.reason("whole") == "waits for a GPU (0 is busy)"
    bench.go()
    bench.await_note("whole 0")


def test_two_gpus_for_a_task(bench):
    bench.share(BRIEF, 12, 2, "--jobs", 9)
    bench.await_end()
    assert {names for names, _, _ in bench.records()} <= {f"{a},{b}" for a in "0123" for b in "0123" if a < b}
    assert set(most_at_once(bench.records()).values()) == {1}


def test_groups(bench):
    bench.share(BRIEF, 12, 1, devices="CUDA_VISIBLE_DEVICES 0=a 1,2=b,c", tag="pairs")
    bench.share(BRIEF, 12, 1, devices="CUDA_VISIBLE_DEVICES 0=a 1,2=b,c", tag="more")
    bench.await_end("pairs")
    bench.await_end("more")
    assert {names for names, _, _ in bench.records()} <= {"0", "1,2"}
    assert set(most_at_once(bench.records()).values()) == {1}


def test_one_device_under_two_names(benches):
    """A number in one run and the UUID in another are the same GPU."""
    first, second = benches(), benches()
    first.share(UNTIL_GO, 1, 1, devices="CUDA_VISIBLE_DEVICES 0=GPU-8932f937-d72c")
    first.await_note("begun 0")
    second.share("note $CUDA_VISIBLE_DEVICES", 1, 1, devices="CUDA_VISIBLE_DEVICES GPU-8932f937-d72c=GPU-8932f937-d72c")
    await_that(lambda: second.reason() == "waits for a GPU (1 of 1 is busy)", "it waits")
    first.go()
    second.await_note("GPU-8932f937-d72c 0")


def test_two_runs_on_one_machine(benches):
    some = [benches(), benches()]
    for bench in some:
        bench.share(BRIEF, 16, 1, "--jobs", 9)
    for bench in some:
        bench.await_end()
    records = [record for bench in some for record in bench.records()]
    assert len(records) == 32
    assert set(most_at_once(records).values()) == {1}


def test_a_killed_element_gives_back(bench):
    body = "note begun; bash -c 'while :; do sleep 0.01; done' & wait"
    device = {"devices": "CUDA_VISIBLE_DEVICES 0=a"}
    job = bench.share(body, 1, 1, **device)
    bench.await_note("begun 0")
    bench.share("note second", 1, 1, tag="tag-2", **device)
    assert bench.reason("tag-2") == "waits for a GPU (0 is busy)"
    await_that(lambda: localqueue.read_record(str(bench.queue), job).running, "it is on record")
    os.kill(localqueue.read_record(str(bench.queue), job).running[0][0], signal.SIGKILL)
    bench.await_note("second 0")


def test_a_killed_queue_leaves_the_gpu_to_what_runs(bench):
    device = {"devices": "CUDA_VISIBLE_DEVICES 0=a"}
    job = bench.share(UNTIL_GO, 2, 1, **device)
    bench.await_note("begun 0")
    os.kill(localqueue.pid_of(job), signal.SIGKILL)
    await_that(lambda: not localqueue.is_queue_alive(job), "the queue is gone")
    bench.share("note second", 1, 1, "--jobs", 9, tag="tag-2", **device)
    assert bench.reason("tag-2") == "waits for a GPU (0 is busy)"
    bench.go()
    bench.await_note("second 0")
    assert bench.notes() == ["begun 0", "ended 0", "second 0"]


def is_for(as_user, python: str) -> bool:
    return subprocess.run(as_user([python, "-c", ""]), check=False, capture_output=True).returncode == 0


def test_what_is_left_behind_has_to_go_first(bench):
    """It may still have memory of the GPU: the next one would not find room there."""
    body = """
    if ((HPCSWEEP_ELEMENT == 0)); then setsid sleep 1000 {HPCSWEEP_GPUS_FD}>&- & echo $! >left; note left
    else read -r pid <left; read -r _ _ state _ <"/proc/$pid/stat" || state=Z; [[ $state == Z ]] || note together; note ran; fi
    """
    bench.share(body, 2, 1, devices="CUDA_VISIBLE_DEVICES 0=a")
    bench.await_end()
    assert bench.notes() == ["left 0", "ran 1"]


def test_two_users(as_user, user_dir, benches):
    """Whoever comes first makes the file; the other one can lock it as well."""
    ours = benches()
    ours.locks = user_dir.parent / f"{user_dir.name}-locks"
    theirs = GpuBench(user_dir, ours.locks)
    python = next((path for path in (sys.executable, "/usr/bin/python3") if is_for(as_user, path)), None)
    if python is None:
        pytest.skip("NO SECOND USER: there is no Python that the ordinary user may run")
    program = user_dir / "localqueue.py"
    program.write_bytes(PROGRAM.read_bytes())
    script = user_dir / "script.sh"
    script.write_text(f"RECORDS={user_dir}/records\n{BRIEF}")

    def call(*words: object) -> str:
        argv = as_user([python, "-I", "-S", str(program), *map(str, words)])
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=PATIENCE_S, umask=0o077).stdout

    submit = (
        "submit",
        "--dir",
        user_dir / "local",
        "--tag",
        "theirs",
        "--size",
        12,
        "--script",
        script,
        "--log",
        user_dir / "log",
    )
    call(*submit, "--chdir", user_dir, "--jobs", 9, "--devices", FOUR, "--gpus", 1, "--locks", theirs.locks)
    try:
        ours.share(BRIEF, 12, 1, "--jobs", 9)
        ours.await_end()
        await_that(lambda: not call("live", "--dir", user_dir / "local"), "theirs has ended")
    finally:
        status = (ours.locks / "locks").stat()
        (ours.locks / "locks").unlink()
        ours.locks.rmdir()
    assert status.st_uid != os.geteuid()
    records = [*ours.records(), *theirs.records()]
    assert len(records) == 24
    assert set(most_at_once(records).values()) == {1}


# ---- what an element is told ----


def told(bench: GpuBench, devices: str, gpus: float, **environ: str) -> list[str]:
    names = "CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER ROCR_VISIBLE_DEVICES HPCSWEEP_GPUS_FD"
    bench.share(f"for name in {names}; do echo $name=${{!name-}}; done >told", 1, gpus, devices=devices, env=environ)
    bench.await_end()
    return (bench.path / "told").read_text().split()


def test_the_variables(bench, monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    two = "CUDA_VISIBLE_DEVICES 4=a MIG-1/2=b"
    assert told(bench, two, 2) == [
        "CUDA_VISIBLE_DEVICES=4,MIG-1/2",
        "CUDA_DEVICE_ORDER=PCI_BUS_ID",
        "ROCR_VISIBLE_DEVICES=",
        "HPCSWEEP_GPUS_FD=201",
    ]
    fastest = told(bench, two, 1, CUDA_VISIBLE_DEVICES="0,1,2", CUDA_DEVICE_ORDER="FASTEST_FIRST")
    assert fastest[:2] == ["CUDA_VISIBLE_DEVICES=4", "CUDA_DEVICE_ORDER=FASTEST_FIRST"]
    amd = told(bench, "ROCR_VISIBLE_DEVICES 0=a 1=b", 2)
    assert amd[:3] == ["CUDA_VISIBLE_DEVICES=", "CUDA_DEVICE_ORDER=", "ROCR_VISIBLE_DEVICES=0,1"]


def test_who_asks_for_none_is_not_told(bench):
    kept = told(bench, FOUR, 0, CUDA_VISIBLE_DEVICES="7")
    assert kept[0] == "CUDA_VISIBLE_DEVICES=7"
    assert kept[3] == "HPCSWEEP_GPUS_FD="
    assert not bench.locks.exists()


# ---- the lock file ----


def test_the_lock_file_is_for_everybody(tmp_path):
    mask = os.umask(0o077)
    try:
        os.close(localqueue.open_lock_file(str(tmp_path / "locks")))
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(mask)
    assert (tmp_path / "locks").stat().st_mode & 0o7777 == 0o1777
    assert (tmp_path / "locks" / "locks").stat().st_mode & 0o7777 == 0o666


def test_a_file_that_is_there_is_opened_as_one(tmp_path, monkeypatch):
    """With O_CREAT the kernel refuses another user's file in a sticky folder (fs.protected_regular)."""
    os.close(localqueue.open_lock_file(str(tmp_path / "locks")))
    flags: list[int] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, some, *more, **names: flags.append(some) or real(path, some, *more, **names))
    os.close(localqueue.open_lock_file(str(tmp_path / "locks")))
    assert len(flags) == 2
    assert not any(some & os.O_CREAT for some in flags)


def test_a_lock_file_in_use_does_not_grow_old(open_locks, monkeypatch, tmp_path):
    file = tmp_path / "locks" / "locks"
    queue = localqueue.Queue.__new__(localqueue.Queue)
    queue.grants, queue.touched_at = {3: localqueue.Grant(open_locks(), {})}, localqueue.time.monotonic()
    os.utime(file, (1, 1))
    queue.touch_locks()
    assert file.stat().st_mtime == 1
    monkeypatch.setattr(localqueue, "TOUCH_S", 0.0)
    queue.touch_locks()
    assert file.stat().st_mtime > 1


@pytest.mark.parametrize("trap", ["a link to a folder", "a file", "a link in it", "a folder in it", "a pipe in it"])
def test_what_is_no_lock_file_is_not_used(trap, tmp_path):
    folder, victim = tmp_path / "locks", tmp_path / "victim"
    victim.mkdir()
    if trap == "a link to a folder":
        folder.symlink_to(victim)
    elif trap == "a file":
        folder.write_text("")
    else:
        folder.mkdir()
        file = folder / "locks"
        {
            "a link in it": lambda: file.symlink_to(victim / "new"),
            "a folder in it": file.mkdir,
            "a pipe in it": lambda: os.mkfifo(file),
        }[trap]()
    own, said = localqueue.find_lock_folder(str(folder))
    assert own == f"{folder}-{os.geteuid()}"
    assert re.search("what other users of this machine run on its GPUs is not seen", said)
    assert list(victim.iterdir()) == []


def test_a_submission_says_that_it_has_a_folder_of_its_own(bench):
    bench.locks.write_text("")
    words = ("--tag", "t", "--size", 1, "--script", "s", "--log", bench.path / "log", "--chdir", bench.path)
    done = bench.call("submit", *words, "--devices", FOUR, "--gpus", 1, "--locks", bench.locks)
    bench.jobs.append(done.stdout.strip())
    assert "cannot be used" in done.stderr
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)


def test_without_any_folder_nothing_is_submitted(bench):
    words = ("--tag", "t", "--size", 1, "--script", "s", "--log", bench.path / "log", "--chdir", bench.path)
    done = bench.call("submit", *words, "--devices", FOUR, "--gpus", 1, "--locks", "/no/such/folder")
    assert (done.returncode, done.stdout) == (1, "")
    assert "GPUs cannot be given out" in done.stderr
    done = bench.call("submit", *words, "--gpus", 1)
    assert "--gpus needs --devices" in (done.stderr if not (bench.queue / "devices").exists() else "--gpus needs --devices")


@pytest.fixture
def open_locks(tmp_path):
    """``open_locks()``: the lock file, opened once more."""
    fds: list[int] = []

    def opened() -> int:
        fds.append(localqueue.open_lock_file(str(tmp_path / "locks")))
        return fds[-1]

    yield opened
    for fd in fds:
        localqueue.close_quietly(fd)


def test_nobody_takes_while_another_one_does(open_locks, monkeypatch):
    monkeypatch.setattr(localqueue, "GATE_TRIES", 2)
    first, second = open_locks(), open_locks()
    assert localqueue.pass_gate(first)
    assert not localqueue.pass_gate(second)
    os.close(first)
    assert localqueue.pass_gate(second)


def test_what_is_free_is_found_between_locks(open_locks):
    first, second, third = open_locks(), open_locks(), open_locks()
    for fd, low, high in ((first, 10, 20), (second, 30, 40), (first, 50, 60)):
        localqueue.lock_bytes(fd, fcntl.F_WRLCK, low, high)
    assert localqueue.find_free(third, 0, 55) == [(0, 10), (20, 30), (40, 50)]
    assert localqueue.find_free(third, 12, 18) == []
    assert localqueue.first_bytes([(0, 10), (20, 30)], 13) == [(0, 10), (20, 23)]


def test_a_fraction_goes_to_the_fullest_gpu_with_room():
    whole = localqueue.WHOLE_GPU
    free = [("0", [[(0, whole)]]), ("1", [[(0, whole // 2)]]), ("2", [[(0, whole // 8)]])]
    assert [names for names, _ in localqueue.choose_groups(free, 0.25)] == ["1"]
    assert [names for names, _ in localqueue.choose_groups(free, 1)] == ["0"]
    assert localqueue.choose_groups(free, 2) is None


@given(st.floats(0.01, 1, exclude_max=True))
def test_as_many_fit_as_the_fraction_says(fraction):
    share = localqueue.share_of(fraction)
    assert share * int(1 / fraction) <= localqueue.WHOLE_GPU
    assert share >= fraction * localqueue.WHOLE_GPU - 1


@pytest.mark.parametrize("count", range(1, 17))
def test_equal_parts_fill_a_gpu(count):
    assert localqueue.share_of(1 / count) * count == localqueue.WHOLE_GPU


@pytest.mark.parametrize(
    ("names", "gpus", "said"),
    [
        ("0 1 2 3", 1, "waits for a GPU (0-3 are busy)"),
        ("0 2 3", 2, "waits for 2 GPUs (0, 2-3 are busy)"),
        ("10 9", 0.5, "waits for 0.5 of a GPU (9-10 are busy)"),
        ("0 1,2", 1, "waits for a GPU (0; 1,2 are busy)"),
        ("GPU-8932f937-d72c-4106 MIG-1", 1, "waits for a GPU (2 of 2 are busy)"),
    ],
)
def test_what_is_said_of_busy_gpus(names, gpus, said):
    assert localqueue.say_busy([(name, [[]]) for name in names.split()], gpus) == said
