"""One holder at a time: many processes, killed holders, inherited locks, other hosts."""

import dataclasses
import errno
import fcntl
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lock_programs
import pytest
from disk_and_users import as_ordinary_user, names_in

from hpcsweep.errors import HpcsweepError
from hpcsweep.store import Journal, RunPaths, acquire, create_run_dir, read_events
from hpcsweep.store import lock as lock_module

fork = multiprocessing.get_context("fork")


@contextmanager
def holding(run: RunPaths, child: str = "") -> Iterator[tuple[subprocess.Popen, int]]:
    """A process that holds the lock, and the pid of its child that inherited it (0: none)."""
    argv = [sys.executable, lock_programs.__file__, str(run.root), child]
    repo = str(Path(lock_module.__file__).parents[2])
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": repo})
    pid = 0
    try:
        pid = int(holder.stdout.readline())
        yield holder, pid
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
        if pid and is_running(pid):
            os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    return not lock_module.is_process_gone(pid, "")


def take(run: RunPaths, **settings) -> int:
    """Take the lock and release it; its generation."""
    with acquire(run, wait_s=0, command="test", **settings) as lock:
        return lock.generation


def eventually(is_true: Callable[[], bool]) -> None:
    while not is_true():
        time.sleep(0.01)


def take_as(monkeypatch, run: RunPaths, **facts) -> lock_module.RunLock:
    """Take the lock as a process with other facts would."""
    real = lock_module.describe_myself
    with monkeypatch.context() as patch:
        patch.setattr(lock_module, "describe_myself", lambda command: dataclasses.replace(real(command), **facts))
        return acquire(run, wait_s=0, command="hpcsweep submit")


def vanish(lock: lock_module.RunLock) -> None:
    """End without releasing, as a killed process does."""
    os.close(lock.fd)
    lock.fd = -1


def grow_old(run: RunPaths, generation: int, seconds: float) -> None:
    path = run.lock_dir / f"{generation:04d}"
    at = path.stat().st_mtime - seconds
    os.utime(path, (at, at))


def test_generations_follow_each_other_and_stay(run):
    assert [take(run) for _ in range(3)] == [1, 2, 3]
    assert names_in(run.lock_dir) == ["0001", "0001.released", "0002", "0002.released", "0003", "0003.released"]
    assert len({path.stat().st_ino for path in run.lock_dir.iterdir()}) == 3


def test_who_holds_it_is_said(run):
    with acquire(run, wait_s=0, command="hpcsweep submit"), pytest.raises(HpcsweepError) as caught:
        acquire(run, wait_s=0.05, command="hpcsweep cancel")
    assert "run-01 is being changed by `hpcsweep submit` of " in caught.value.message
    assert f"(pid {os.getpid()})" in caught.value.message
    assert "--wait-lock 60s" in caught.value.hint
    assert names_in(run.lock_dir) == ["0001", "0001.released"]


def test_an_error_in_the_block_releases_it(run):
    with pytest.raises(ZeroDivisionError), acquire(run, wait_s=0, command="test"):
        raise ZeroDivisionError
    assert take(run) == 2


def test_an_interrupt_while_it_is_taken_releases_it(run, monkeypatch):
    def interrupted(_folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(lock_module, "sync_folder", interrupted)
    with pytest.raises(KeyboardInterrupt):
        acquire(run, wait_s=0, command="test")
    monkeypatch.undo()
    assert take(run) == 2


def test_a_released_lock_is_of_no_use(run):
    with acquire(run, wait_s=0, command="test") as lock:
        lock.check()
    lock.release()
    with pytest.raises(HpcsweepError, match="released already"):
        lock.check()


@pytest.fixture(params=["flock", "no flock"])
def any_file_system(request, monkeypatch):
    """With flock, and as on a file system that has none; processes that are forked see the same."""
    if request.param == "no flock":
        monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOTSUP, "no flock")))


def test_twenty_processes_lose_no_update(run, tmp_path, any_file_system):
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [fork.Process(target=lock_programs.count_up, args=(run.root, counter, 4)) for _ in range(20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 20
    assert counter.read_text() == "80"
    assert take(run) == 81


def test_killed_holders_lose_nothing_and_let_nobody_in_beside_them(run, tmp_path, any_file_system):
    rng = random.Random(7)  # noqa: S311 - chooses whom to kill
    names = (f"p{number}" for number in itertools.count())
    notes: dict[str, Path] = {}

    def start():
        name = next(names)
        notes[name] = tmp_path / name
        process = fork.Process(target=lock_programs.write_visits, args=(run.root, name, notes[name]))
        process.start()
        return process

    processes = [start() for _ in range(4)]
    for _ in range(25):
        reached = len(read_events(run).events) + rng.randrange(8)
        eventually(lambda reached=reached: len(read_events(run).events) >= reached)
        victim = rng.randrange(len(processes))
        processes[victim].kill()
        processes[victim].join()
        processes[victim] = start()
    for process in processes:
        process.kill()
        process.join()

    reading = read_events(run)
    told = [(event["who"], event["visit"], event["step"]) for event in reading.events]
    assert len(set(told)) == len(told)
    for name, path in notes.items():
        noted = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        assert [(visit, step) for who, visit, step in told if who == name][: len(noted)] == [(int(v), s) for v, s in noted]
    generations = [event["generation"] for event in reading.events]
    assert generations == sorted(generations)
    for _generation, events in itertools.groupby(reading.events, key=lambda event: event["generation"]):
        assert [event["step"] for event in events] in (["in"], ["in", "middle"], ["in", "middle", "out"])
    assert len(run.journals()) > 1
    take(run)


def test_a_killed_holder_is_taken_over_at_once(run):
    with holding(run) as (holder, _):
        with pytest.raises(HpcsweepError, match=f"pid {holder.pid}"):
            acquire(run, wait_s=0, command="test")
        holder.kill()
        holder.wait()
        assert take(run) == 2


def test_a_stopped_holder_is_not_taken_over(run):
    with holding(run) as (holder, _):
        holder.send_signal(signal.SIGSTOP)
        grow_old(run, 1, 10_000)
        with pytest.raises(HpcsweepError, match="is being changed"):
            acquire(run, wait_s=0, command="test")


@pytest.mark.parametrize("has_flock", [True, False])
def test_a_process_that_inherited_the_lock_keeps_it(run, has_flock, monkeypatch):
    if not has_flock:
        monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "no locks")))
    with holding(run, "with a child") as (holder, child):
        holder.kill()
        holder.wait()
        with pytest.raises(HpcsweepError, match="is being changed"):
            acquire(run, wait_s=0, command="test")
        os.kill(child, signal.SIGKILL)
        eventually(lambda: not is_running(child))
        assert take(run) == 2


def test_a_release_leaves_it_to_the_process_that_inherited_it(run):
    with acquire(run, wait_s=0, command="test") as lock:
        child = subprocess.Popen(["sleep", "600"], pass_fds=(lock.fd,))
    try:
        with pytest.raises(HpcsweepError, match="is being changed"):
            acquire(run, wait_s=0, command="test")
    finally:
        child.kill()
        child.wait()


def test_another_process_with_the_same_pid_is_not_the_holder(run, monkeypatch):
    vanish(take_as(monkeypatch, run, started="1"))
    assert take(run) == 2


@pytest.mark.parametrize("facts", [{"host": "elsewhere"}, {"boot": "an earlier boot"}, {"namespace": "pid:[1]"}])
def test_from_elsewhere_only_ten_minutes_of_silence_count(run, monkeypatch, facts):
    vanish(take_as(monkeypatch, run, pid=2**22 - 3, started="1", **facts))
    with pytest.raises(HpcsweepError, match="is being changed") as caught:
        acquire(run, wait_s=0, command="test")
    assert "10 minutes after its last sign of life" in caught.value.hint
    grow_old(run, 1, 590)
    with pytest.raises(HpcsweepError, match="is being changed"):
        acquire(run, wait_s=0, command="test")
    grow_old(run, 1, 20)
    assert take(run) == 2


def test_a_heartbeat_keeps_it(run, monkeypatch):
    lock = take_as(monkeypatch, run, host="elsewhere")
    grow_old(run, 1, 10_000)
    lock.beat()
    with pytest.raises(HpcsweepError, match="is being changed"):
        acquire(run, wait_s=0, command="test")
    vanish(lock)


def test_a_holder_that_is_checked_often_enough_beats_by_itself(run, monkeypatch):
    with acquire(run, wait_s=0, command="test") as lock:
        grow_old(run, 1, 10_000)
        before = (run.lock_dir / "0001").stat().st_mtime
        lock.check()
        assert (run.lock_dir / "0001").stat().st_mtime == before
        monkeypatch.setattr(lock_module, "BEAT_EVERY_S", 0.0)
        lock.check()
        assert (run.lock_dir / "0001").stat().st_mtime > before


def test_one_who_was_taken_over_is_told_at_its_next_step(run, monkeypatch):
    old = take_as(monkeypatch, run, host="elsewhere")
    journal = Journal(run, old, 1.0)
    journal.append({"event": "before", "at": 1})
    grow_old(run, 1, 601)
    with acquire(run, wait_s=0, command="hpcsweep cancel") as new, Journal(run, new, 2.0) as newer:
        newer.append({"event": "after", "at": 2})
        with pytest.raises(HpcsweepError, match="taken over by `hpcsweep cancel` of "):
            old.check()
        with pytest.raises(HpcsweepError, match="taken over"):
            journal.append({"event": "late", "at": 3})
    journal.close()
    old.release()
    assert [event["event"] for event in read_events(run).events] == ["before", "after"]


def test_two_who_find_the_same_dead_lock_do_not_both_get_it(run, monkeypatch):
    vanish(take_as(monkeypatch, run, started="1"))
    barrier = fork.Barrier(8)
    results = fork.Queue()

    def race():
        barrier.wait()
        try:
            lock = acquire(run, wait_s=0, command="race")
        except HpcsweepError:
            results.put(0)
            barrier.wait()
        else:
            results.put(lock.generation)
            barrier.wait()  # nobody leaves, and so dies, before all have tried
            lock.release()

    racers = [fork.Process(target=race) for _ in range(8)]
    for racer in racers:
        racer.start()
    assert sorted(results.get() for _ in racers) == [0] * 7 + [2]
    for racer in racers:
        racer.join()


def test_damaged_facts_prove_nothing(run):
    vanish(acquire(run, wait_s=0, command="test"))
    (run.lock_dir / "0001").write_text("\0\0\0")
    with pytest.raises(HpcsweepError, match="being changed by another command"):
        acquire(run, wait_s=0, command="test")
    grow_old(run, 1, 601)
    assert take(run) == 2


def test_somebody_elses_run_is_not_locked(open_folder):
    run = create_run_dir(open_folder / "runs")
    run.lock_dir.chmod(0o555)
    said = as_ordinary_user(lambda: acquire(run, wait_s=0, command="test"))
    assert said == f"HpcsweepError: cannot take the lock in {run.lock_dir}: no permission"


def test_a_run_that_is_gone(run):
    run.lock_dir.rmdir()
    assert take(run) == 1
    gone = RunPaths(run.root.parent / "gone")
    with pytest.raises(HpcsweepError, match="cannot take the lock"):
        acquire(gone, wait_s=0, command="test")
    assert not gone.root.exists()


def test_names_left_by_killed_commands_are_cleaned_up_when_old(run):
    take(run)
    for name, age in [(".tmp.a", 90_000), (".tmp.b", 60)]:
        path = run.lock_dir / name
        path.write_text("x")
        at = path.stat().st_mtime - age
        os.utime(path, (at, at))
    take(run)
    assert [name for name in names_in(run.lock_dir) if name.startswith(".tmp.")] == [".tmp.b"]


def test_without_flock_the_generations_do(run, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOTSUP, "no flock")))
    with acquire(run, wait_s=0, command="test"), pytest.raises(HpcsweepError, match="is being changed"):
        acquire(run, wait_s=0, command="test")
    assert take(run) == 2
