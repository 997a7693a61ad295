"""Starts elements as processes, as a node's daemon does, and sees how they end, even when the server does not live to see it.

Each element has a *shepherd*: a fork of the server that waits for it and writes how it ended into ``runs/N.I.R/end``
(N: the job, I: the element, R: its restart). A server that was killed finds it there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcsweep.rehearsal import processes
from hpcsweep.rehearsal.face import Plan
from hpcsweep.rehearsal.jobs import Element, Job, Reach
from hpcsweep.rehearsal.processes import ELEMENT_VARIABLE, FOLDER_VARIABLE


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """How an element's first process ended."""

    code: int
    signal: int
    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Shepherd:
    """Who waits for an element: process ids with their starts."""

    pid: int
    start: int
    leader: int
    leader_start: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """What the shepherd needs to start an element."""

    run: Path
    mark: str
    plan: Plan
    environment: Mapping[str, str]
    files: tuple[int, int, int]
    """Standard input, output and error."""


class Mom:
    """All elements of one rehearsal, as processes."""

    def __init__(self, folder: Path, kill_reach: Reach) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.kill_reach = kill_reach

    def path(self, job: Job, element: Element) -> Path:
        """What the element's shepherd writes into."""
        return self.runs / f"{job.number}.{element.index}.{element.restarts}"

    @staticmethod
    def mark(job: Job, element: Element) -> str:
        """The element, in its processes' environment."""
        return f"{job.number}.{element.index}"

    def start(self, job: Job, element: Element, plan: Plan, extra: Mapping[str, str]) -> int:
        """Start an element; the pid of its first process.

        Raises:
            OSError: nothing could be started: no file for its output, no more processes.
        """
        run = self.path(job, element)
        run.mkdir(parents=True)
        prepare(plan)
        environment = {**plan.env, **extra, FOLDER_VARIABLE: str(self.folder), ELEMENT_VARIABLE: self.mark(job, element)}
        files = open_files(plan, run)
        launch = Launch(run=run, mark=self.mark(job, element), plan=plan, environment=environment, files=files)
        read_end, write_end = os.pipe()
        try:
            if os.fork() == 0:
                self._become_shepherd(launch, write_end)
        finally:
            os.close(write_end)
            for fd in set(files):
                os.close(fd)
        with open(read_end, "rb") as stream:  # noqa: PTH123 - a descriptor
            answer = stream.read()
        if not answer:
            raise OSError(0, "the shepherd did not start")
        return int(answer)

    def _become_shepherd(self, launch: Launch, write_end: int) -> None:
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            leader = os.fork()
            if leader == 0:
                become_element(launch)
            self._watch(launch, leader, write_end)
        finally:
            os._exit(1)

    def _watch(self, launch: Launch, leader: int, write_end: int) -> None:
        own, first = processes.read_process(os.getpid()), processes.read_process(leader)
        facts = [os.getpid(), own.start if own else 0, leader, first.start if first else 0]
        write_whole(launch.run / "shepherd", json.dumps(facts))
        os.write(write_end, str(leader).encode())
        os.closerange(0, 1024)  # the server's sockets and its lock: they end with it, not with its elements
        os.waitid(os.P_PID, leader, os.WEXITED | os.WNOWAIT)
        # It stays a zombie until all of its session is gone: nobody else gets its number meanwhile.
        members = (leader, self.kill_reach, str(self.folder), launch.mark)
        if launch.plan.grace_s:
            processes.end_within(launch.plan.grace_s, *members)
        processes.kill_until_gone(*members)
        _, status, usage = os.wait4(leader, 0)
        end = {
            "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "memory_bytes": usage.ru_maxrss * 1024,
        }
        write_whole(launch.run / "end", json.dumps(end))
        os._exit(0)

    def read_end(self, job: Job, element: Element) -> End | None:
        """How the element ended, if it has."""
        try:
            return End(**json.loads((self.path(job, element) / "end").read_text()))
        except FileNotFoundError:
            return None

    def read_shepherd(self, job: Job, element: Element) -> Shepherd | None:
        """Who waits for it; None where nobody ever did."""
        try:
            pid, start, leader, leader_start = json.loads((self.path(job, element) / "shepherd").read_text())
        except FileNotFoundError:
            return None
        return Shepherd(pid=pid, start=start, leader=leader, leader_start=leader_start)

    def is_lost(self, job: Job, element: Element) -> bool:
        """Whether nobody will ever tell how the element ended."""
        shepherd = self.read_shepherd(job, element)
        if shepherd is not None and processes.is_alive(shepherd.pid, shepherd.start):
            return False
        return self.read_end(job, element) is None

    def send(self, job: Job, element: Element, number: int, reach: Reach, *, at_once: bool = False) -> None:
        """A signal to the element's processes; with ``at_once`` none of them sees another one end."""
        shepherd = self.read_shepherd(job, element)
        first = processes.read_process(shepherd.leader) if shepherd is not None else None
        if shepherd is None or first is None or first.start != shepherd.leader_start:
            return
        members = processes.find_members(shepherd.leader, reach, str(self.folder), self.mark(job, element))
        if at_once:
            processes.send(members, signal.SIGSTOP)
        processes.send(members, number)

    def clean(self, job: Job, element: Element, plan: Plan | None) -> None:
        """Remove what was made for one run of an element, but its outputs."""
        shutil.rmtree(self.path(job, element), ignore_errors=True)
        for path in (plan.script_path, *(path for path, _ in plan.files)) if plan is not None else ():
            Path(path).unlink(missing_ok=True)
        for path in plan.folders if plan is not None else ():
            shutil.rmtree(path, ignore_errors=True)

    def kill_all(self) -> None:
        """End all that elements of this rehearsal left, wherever it went."""
        while True:
            found = processes.find_marked(processes.list_processes(), str(self.folder)) - {os.getpid()}
            if not found:
                return
            processes.send(found, signal.SIGKILL)


# ---- before, at and after the start ----


def prepare(plan: Plan) -> None:
    """Make the files and folders that the element finds."""
    for folder in plan.folders:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, text in (*plan.files, (plan.script_path, plan.script)):
        Path(path).write_text(text, encoding="utf-8", errors="surrogateescape")
    Path(plan.script_path).chmod(0o700)


def open_files(plan: Plan, run: Path) -> tuple[int, int, int]:
    """Standard input, output and error.

    Raises:
        OSError: one cannot be opened.
    """
    umask = os.umask(plan.umask)
    opened: list[int] = []
    # Always at its end: the scheduler's last words stand in the same file.
    how = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND | (0 if plan.appends else os.O_TRUNC)
    try:
        (run / "stdin").write_text(plan.stdin_text, encoding="utf-8", errors="surrogateescape")
        opened.append(os.open(run / "stdin" if plan.stdin_text else os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        opened.append(os.open(plan.stdout, how, 0o666))
        # Both may write into one file: neither may write over the other.
        again = os.dup(opened[1]) if plan.stderr == plan.stdout else os.open(plan.stderr, how, 0o666)
        return opened[0], opened[1], again
    except OSError:
        for fd in opened:
            os.close(fd)
        raise
    finally:
        os.umask(umask)


def become_element(launch: Launch) -> None:
    """In the element's own process: become it."""
    plan = launch.plan
    try:
        os.setsid()
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        os.umask(plan.umask)
        for target, fd in enumerate(launch.files):
            os.dup2(fd, target)
        try:
            os.chdir(plan.cwd)
        except OSError as error:
            os.write(2, f"cannot change to {plan.cwd}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
            os.chdir(plan.fallback_cwd)
        os.execvpe(plan.executable, plan.argv, launch.environment)  # noqa: S606 - what the job says is what runs
    except OSError as error:
        os.write(2, f"{plan.executable}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
    finally:
        sys.stderr.flush()
        os._exit(127)


def deliver(plan: Plan, undelivered: Path) -> bool:
    """Move the outputs to where they belong; whether all of them arrived."""
    arrived = [_move(Path(source), target, undelivered) for source, target in plan.deliver]
    return all(arrived)


def _move(source: Path, target: str, undelivered: Path) -> bool:
    if not source.exists():
        return True
    if not target:
        source.unlink()
        return True
    goal = Path(target)
    goal = goal / source.name if goal.is_dir() else goal
    try:
        if goal.exists() and not goal.is_file():  # /dev/null
            goal.write_bytes(source.read_bytes())
            source.unlink()
        else:
            shutil.move(source, goal)
    except OSError:
        shutil.move(source, undelivered / source.name)
        return False
    return True


def write_whole(path: Path, text: str) -> None:
    """Write beside and rename, so that a reader never sees a half."""
    beside = path.with_suffix(".tmp")
    beside.write_text(text)
    os.replace(beside, path)  # noqa: PTH105 - one call
