"""Processes as /proc tells of them: who belongs to an element, and signals to all of those."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hpcsweep.rehearsal.jobs import Reach

FOLDER_VARIABLE = "HPCSWEEP_REHEARSAL"
NAME_VARIABLE = "HPCSWEEP_REHEARSES"
ELEMENT_VARIABLE = "HPCSWEEP_REHEARSAL_ELEMENT"
UNKILLABLE_S = 10.0  # what outlives KILL so long hangs in the kernel; nobody waits for it


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """One line of /proc."""

    pid: int
    state: str
    parent: int
    session: int
    start: int


def read_process(pid: int) -> Process | None:
    """The process; None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        fields = stat[stat.rindex(b")") + 2 :].split()
    except (OSError, ValueError):
        return None
    return Process(pid=pid, state=fields[0].decode(), parent=int(fields[1]), session=int(fields[3]), start=int(fields[19]))


def is_alive(pid: int, start: int) -> bool:
    """Whether this very process is there and no zombie."""
    process = read_process(pid)
    return process is not None and process.start == start and process.state not in "ZX"


def list_processes() -> list[Process]:
    """All processes that are not zombies."""
    found = (read_process(int(name)) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - hundreds, each time
    return [process for process in found if process is not None and process.state not in "ZX"]


def find_marked(processes: Iterable[Process], folder: str, element: str | None = None) -> set[int]:
    """Those that have the marks of the rehearsal's elements (or of one of them) in their environment."""
    marks = {f"{FOLDER_VARIABLE}={folder}".encode("utf-8", "surrogateescape")}
    found = set()
    for process in processes:
        try:
            words = set(Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"))
        except OSError:  # another user's, or gone meanwhile
            continue
        own = {word for word in words if word.startswith(f"{ELEMENT_VARIABLE}=".encode())}
        if marks <= words and own and (element is None or f"{ELEMENT_VARIABLE}={element}".encode() in own):
            found.add(process.pid)
    return found


def find_members(leader: int, reach: Reach, folder: str, element: str) -> set[int]:
    """The processes of the element whose session ``leader`` leads (or led: it is a zombie still)."""
    if reach == "leader":
        return {leader}
    processes = list_processes()
    members = {process.pid for process in processes if process.session == leader}
    if reach == "session":
        return members
    members |= find_marked(processes, folder, element)
    while True:
        more = {process.pid for process in processes if process.parent in members} - members
        if not more:
            return members
        members |= more


def send(pids: Iterable[int], number: int) -> None:
    """A signal to each; some may be gone."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):  # noqa: PERF203 - each stands for itself
            continue


def end_within(seconds: float, leader: int, reach: Reach, folder: str, element: str) -> None:
    """Ask what is left to end, and wait for it; not longer than so many seconds."""
    deadline = time.monotonic() + seconds
    left = find_members(leader, reach, folder, element) - {os.getpid()}
    send(left, signal.SIGTERM)
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = find_members(leader, reach, folder, element) - {os.getpid()}


def kill_until_gone(leader: int, reach: Reach, folder: str, element: str) -> None:
    """Kill, again and again until a look finds nothing more."""
    deadline = time.monotonic() + UNKILLABLE_S
    while time.monotonic() < deadline:
        pids = find_members(leader, reach, folder, element) - {os.getpid()}
        if reach == "leader" or not pids:
            return
        send(pids, signal.SIGKILL)
        time.sleep(0.005)
