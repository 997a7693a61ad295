"""What a command that holds the run's lock does to attempts: revoke them, give them up, ask for their end.

All three work by the names in the events folder alone, against tasks that may start or end at the same moment.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hpcsweep.events import ARRAY_CANCEL, Lost, Outcome, Token, attempt_name, lost_name, parse_event, token_name
from hpcsweep.store.files import explained, link_exclusively, sync_folder, write_temporary

REVOKED = "revoked"
"""Stands in a claim where the job's id stands, when hpcsweep took the claim itself."""


@dataclass(frozen=True, kw_only=True)
class ClaimFacts:
    """The first line of a claim. ``job`` is ``revoked`` when hpcsweep took it; ``epoch`` in seconds, 0 when not readable."""

    tag: str
    job: str
    host: str
    pid: int
    epoch: float


def revoke(events_dir: Path, tag: str, task: int, attempt: int, now: float) -> bool:
    """End an attempt that never started, by taking its claim.

    Returns:
        True when the claim is hpcsweep's, now or since an earlier command; False when the attempt did start.

    Raises:
        HpcsweepError: the disk said no; nothing is decided.
    """
    path = events_dir / attempt_name(task, attempt)
    with explained("write", path):
        line = f"{tag} {REVOKED} {socket.gethostname()} {os.getpid()} {int(now)}\n"
        temporary = write_temporary(events_dir, line.encode("utf-8"))
        try:
            is_ours = link_exclusively(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        if is_ours:
            sync_folder(events_dir)
            return True
    claim = read_claim(events_dir, task, attempt)
    return claim is not None and claim.job == REVOKED


def read_claim(events_dir: Path, task: int, attempt: int) -> ClaimFacts | None:
    """Who owns an attempt; None when nobody does, or the claim cannot be read."""
    return parse_claim(_first_line(events_dir / attempt_name(task, attempt)))


def parse_claim(line: str) -> ClaimFacts | None:
    """``TAG JOBID HOST PID EPOCH`` -> its facts; None when tag and job are not there."""
    words = line.split()
    if len(words) < 2:
        return None
    tag, job, host, pid, epoch = [*words, "", "", ""][:5]
    return ClaimFacts(tag=tag, job=job, host=host, pid=_number(pid), epoch=_number(epoch))


def give_up(events_dir: Path, task: int, attempt: int, restart: int | None = None) -> Literal["lost", "ended", "not there"]:
    """Give up an attempt that started, by renaming its token; whoever renames it first has decided.

    Args:
        events_dir: the array's events folder.
        task: its index.
        attempt: its number.
        restart: the token's restart number where a listing showed it; it saves listing the folder again.

    Returns:
        ``lost``: given up, now or before. ``ended``: it has an outcome. ``not there``: neither, which decides nothing
        (a listing may lag; ask again later).

    Raises:
        HpcsweepError: the disk said no; nothing is decided.
    """
    path = events_dir / attempt_name(task, attempt)
    with explained("rename the token of", path):
        if restart is not None and _rename_token(events_dir, task, attempt, restart):
            return "lost"
        for _listing in range(3):  # a token that is gone was renamed: its new name is in the next listing
            prefix = attempt_name(task, attempt) + "."
            with os.scandir(events_dir) as entries:
                events = [parse_event(entry.name) for entry in entries if entry.name.startswith(prefix)]
            if any(isinstance(event, Outcome) for event in events):
                return "ended"
            tokens = [event.restart for event in events if isinstance(event, Token)]
            renamed = [number for number in tokens if _rename_token(events_dir, task, attempt, number)]
            if renamed:
                return "lost"
            if not tokens:
                return "lost" if any(isinstance(event, Lost) for event in events) else "not there"
    return "not there"


def mark_cancel(events_dir: Path, attempts: Iterable[tuple[int, int]] | None) -> None:
    """Ask the runners to end attempts, as (task, attempt); None: the whole array.

    Raises:
        HpcsweepError: some markers were not written.
    """
    names = [ARRAY_CANCEL] if attempts is None else [f"{attempt_name(*key)}.cancel" for key in attempts]
    with explained("write the cancel markers in", events_dir):
        for name in names:
            os.close(os.open(events_dir / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        sync_folder(events_dir)


def _rename_token(events_dir: Path, task: int, attempt: int, restart: int) -> bool:
    try:
        (events_dir / token_name(task, attempt, restart)).rename(events_dir / lost_name(task, attempt, restart))
    except FileNotFoundError:
        return False
    sync_folder(events_dir)
    return True


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.readline(4096).decode("utf-8", "replace")
    except OSError:
        return ""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0
