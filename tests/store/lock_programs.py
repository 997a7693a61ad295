"""What the lock's and the journal's tests run as processes of their own."""

import os
import subprocess
import sys
import time
from pathlib import Path

from hpcsweep.store import Journal, RunPaths, acquire


def count_up(root: Path, counter: Path, rounds: int) -> None:
    """Read, add one, write: without a lock, additions would be lost."""
    run = RunPaths(root)
    for _ in range(rounds):
        with acquire(run, wait_s=300, command="count"):
            counter.write_text(str(int(counter.read_text()) + 1))


def write_visits(root: Path, name: str, notes: Path) -> None:
    """Write "in", "middle", "out" into the journal under the lock, again and again; note down each after it was taken."""
    run = RunPaths(root)
    visit = 0
    with notes.open("a") as file:
        while True:
            visit += 1
            with acquire(run, wait_s=300, command="visit") as lock, Journal(run, lock, time.time()) as journal:
                for step in ("in", "middle", "out"):
                    journal.append(
                        {"event": "step", "at": 0, "who": name, "visit": visit, "step": step, "generation": lock.generation}
                    )
                    file.write(f"{visit} {step}\n")
                    file.flush()


def hold(root: Path, child: str) -> None:
    """Hold the lock until killed; with ``child``, start a process that inherits it and say its pid."""
    lock = acquire(RunPaths(root), wait_s=0, command="hpcsweep submit")
    pid = 0
    if child:
        pid = subprocess.Popen(["sleep", "600"], pass_fds=(lock.fd,), stdout=subprocess.DEVNULL).pid
    sys.stdout.write(f"{pid}\n")
    sys.stdout.flush()
    while True:
        time.sleep(600)


if __name__ == "__main__":
    hold(Path(os.fsdecode(os.fsencode(sys.argv[1]))), sys.argv[2])
