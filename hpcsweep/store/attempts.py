"""What a command that holds the run's lock does to attempts: revoke them, give them up, ask for their end.

All three work by the names in the events folder alone, against tasks that may start or end at the same moment.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hpcsweep.events import ARRAY_CANCEL, Lost, Outcome, Token, attempt_name, lost_name, parse_event, token_name
from hpcsweep.store.files import TEMPORARY_PREFIX, explained, link_exclusively, sync_folder, write_temporary

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
    """End one attempt that never started: see :func:`revoke_all`. False when it did start."""
    return bool(revoke_all(events_dir, tag, [(task, attempt)], now))


def revoke_all(events_dir: Path, tag: str, attempts: Iterable[tuple[int, int]], now: float) -> set[tuple[int, int]]:
    """End attempts, as (task, attempt), that never started, by taking their claims.

    Returns:
        Those whose claim is hpcsweep's, now or since an earlier command; the others did start.

    Raises:
        HpcsweepError: the disk said no; of those not claimed yet nothing is decided.
    """
    line = f"{tag} {REVOKED} {socket.gethostname()} {os.getpid()} {int(now)}\n".encode()
    revoked: set[tuple[int, int]] = set()
    temporary: Path | None = None
    try:
        with explained("write a claim in", events_dir):
            for count, key in enumerate(attempts):
                # One file serves many claims; file systems limit the number of its names.
                if temporary is None or count % 1_000 == 0:
                    _remove(temporary)
                    temporary = write_temporary(events_dir, line)
                if link_exclusively(temporary, events_dir / attempt_name(*key)) or _is_revoked(events_dir, *key):
                    revoked.add(key)
            sync_folder(events_dir)
    finally:
        _remove(temporary)
    return revoked


def read_claim(events_dir: Path, task: int, attempt: int) -> ClaimFacts | None:
    """Who owns an attempt; None when nobody does, or the claim cannot be read."""
    return parse_claim(_first_line(events_dir / attempt_name(task, attempt)))


def read_record(events_dir: Path, task: int, attempt: int) -> str:
    """All that the task side wrote of an attempt: the claim's line, and what followed at its end. '' when it cannot be read."""
    try:
        with (events_dir / attempt_name(task, attempt)).open("rb") as file:
            return file.read(16_384).decode("utf-8", "replace")
    except OSError:
        return ""


def parse_claim(line: str) -> ClaimFacts | None:
    """``TAG JOBID HOST PID EPOCH`` -> its facts; None when tag and job are not there."""
    words = line.split()
    if len(words) < 2:
        return None
    tag, job, host, pid, epoch = [*words, "", "", ""][:5]
    return ClaimFacts(tag=tag, job=job, host=host, pid=_number(pid), epoch=_number(epoch))


GivenUp = Literal["lost", "ended", "not there"]


def give_up(events_dir: Path, task: int, attempt: int) -> GivenUp:
    """Give up one attempt that started: see :func:`give_up_all`."""
    return give_up_all(events_dir, [(task, attempt)])[task, attempt]


def give_up_all(events_dir: Path, attempts: Iterable[tuple[int, int]]) -> dict[tuple[int, int], GivenUp]:
    """Give up attempts, as (task, attempt), that started, by renaming their tokens; who renames first has decided.

    Returns:
        For each: ``lost``, given up now or before; ``ended``, it has an outcome; ``not there``, neither, which decides
        nothing (a listing may lag; ask again later).

    Raises:
        HpcsweepError: the disk said no; nothing more is decided.
    """
    answers: dict[tuple[int, int], GivenUp] = dict.fromkeys(attempts, "not there")
    with explained("give up attempts in", events_dir):
        undecided = set(answers)
        for _listing in range(3):  # a token that is gone was renamed: its new name is in the next listing
            tokens: dict[tuple[int, int], list[int]] = {}
            for event in _events_of(events_dir, undecided):
                key = (event.task, event.attempt)
                if isinstance(event, Outcome):
                    answers[key] = "ended"
                elif isinstance(event, Token):
                    tokens.setdefault(key, []).append(event.restart)
                elif answers[key] != "ended":
                    answers[key] = "lost"
            undecided = {key for key in tokens if answers[key] != "ended"}
            for key in sorted(undecided):
                if [restart for restart in tokens[key] if _rename_token(events_dir, *key, restart)]:
                    answers[key] = "lost"
                    undecided.remove(key)
            if not undecided:
                break
        for key in [key for key, answer in answers.items() if answer == "not there"]:
            if _give_up_without_token(events_dir, *key):
                answers[key] = "lost"
        sync_folder(events_dir)
    return answers


def _give_up_without_token(events_dir: Path, task: int, attempt: int) -> bool:
    """Give up an attempt whose runner died after its claim and before its token.

    The token is made by renaming the claim's temporary name: whoever renames that has decided. Where there is none, the
    ``.lost`` is made beside the claim; a requeued runner looks for it after it has made a token, and one that looked just
    before loses that token.
    """
    claim, lost = events_dir / attempt_name(task, attempt), events_dir / lost_name(task, attempt, 0)
    if not claim.exists() or _is_revoked(events_dir, task, attempt):
        return False
    prefix = f"{TEMPORARY_PREFIX}{attempt_name(task, attempt)}."
    for name in os.listdir(events_dir):  # noqa: PTH208 - there may be 200,000 names
        if name.startswith(prefix):
            try:
                if (events_dir / name).samefile(claim):
                    (events_dir / name).rename(lost)
                    return True
            except FileNotFoundError:  # a requeued runner was quicker: there is a token now
                return False
    if not link_exclusively(claim, lost):
        return False
    for event in _events_of(events_dir, {(task, attempt)}):
        if isinstance(event, Outcome):
            return False
        if isinstance(event, Token):
            try:  # no renaming: both names are one file's, and then that does nothing
                (events_dir / token_name(task, attempt, event.restart)).unlink()
            except FileNotFoundError:
                return False
    return True


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


def _events_of(events_dir: Path, attempts: set[tuple[int, int]]) -> Iterator[Outcome | Token | Lost]:
    """What a new listing says of these attempts."""
    for name in os.listdir(events_dir):  # noqa: PTH208 - there may be 200,000 names
        event = parse_event(name)
        if isinstance(event, Outcome | Token | Lost) and (event.task, event.attempt) in attempts:
            yield event


def _is_revoked(events_dir: Path, task: int, attempt: int) -> bool:
    claim = read_claim(events_dir, task, attempt)
    return claim is not None and claim.job == REVOKED


def _remove(path: Path | None) -> None:
    if path is not None:
        with contextlib.suppress(OSError):
            path.unlink()


def _rename_token(events_dir: Path, task: int, attempt: int, restart: int) -> bool:
    try:
        (events_dir / token_name(task, attempt, restart)).rename(events_dir / lost_name(task, attempt, restart))
    except FileNotFoundError:
        return False
    return True


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.readline(4096).decode("utf-8", "replace")
    except OSError:
        return ""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0
