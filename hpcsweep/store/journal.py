"""The state file: a journal of events, one JSON object a line, only ever appended to, by the holder of the run's lock.

``state.jsonl`` is the first journal. Lock generation N opens ``state.N.jsonl`` when it took the run over from a holder
that did not release it. Its first line pins how much of the predecessor counts::

    {"event": "takeover", "at": 1700000000.0, "follows": "state.jsonl", "bytes": 4711, "generation": 5}

so that whatever a revived holder still writes to the old file is seen, said and ignored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from hpcsweep.errors import HpcsweepError
from hpcsweep.store.files import create_exclusively, explain, explained, read_bytes, sync_folder, write_fully
from hpcsweep.store.layout import RunPaths, journal_number
from hpcsweep.store.lock import RunLock

PIN = "takeover"
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, kw_only=True)
class JournalReading:
    """What the journals say, in order; ``problems`` are sentences for the user about what was passed over.

    ``lost`` are those of them that mean that lines which counted are not there: nobody may act on the rest.
    """

    events: list[dict[str, Any]]
    problems: list[str]
    lost: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The first ``counted`` bytes of one journal file (None: all of it)."""

    path: Path
    counted: int | None


def read_events(paths: RunPaths) -> JournalReading:
    """Read the run's journals. Torn and damaged lines are passed over and said, never fatal; no lock is needed.

    Raises:
        HpcsweepError: the run's folder cannot be listed.
    """
    events: list[dict[str, Any]] = []
    problems: list[str] = []
    lost: list[str] = []
    parts, ignored = _chain(paths.journals(), lost)
    if not parts:
        lost.append(f"{paths.name} has no journal (state.jsonl)")
    for part in parts:
        try:
            data = read_bytes(part.path)
        except HpcsweepError as error:
            lost.append(error.message)
            continue
        if part.counted is not None and len(data) > part.counted:
            late = sum(1 for line in data[part.counted :].split(b"\n") if line)
            problems.append(f"{part.path.name}: {late} late lines of a command whose lock was taken over are ignored")
        elif part.counted is not None and len(data) < part.counted:
            lost.append(f"{part.path.name}: it is shorter than it was: {part.counted - len(data)} bytes are missing at its end")
        _parse_lines(data[: part.counted], part.path.name, events, problems)
    problems += [f"{path.name}: ignored, for it was opened by a command whose lock was taken over" for path in ignored]
    return JournalReading(events=events, problems=[*lost, *problems], lost=lost)


def write_first_events(paths: RunPaths, *events: Mapping[str, Any]) -> None:
    """The journal of a run that is being made, before its run.json: nobody else knows the folder yet, so no lock is needed.

    Raises:
        HpcsweepError: nothing was written.
    """
    create_exclusively(paths.journal(), "".join(_encode(dict(event)) + "\n" for event in events))


@final
class Journal:
    """The journal, open for appending; only the holder of the run's lock has one.

    Raises:
        HpcsweepError: the lock was taken over, or the journal cannot be opened.
    """

    def __init__(self, paths: RunPaths, lock: RunLock, now: float) -> None:
        lock.check()
        self._lock = lock
        parts, _ignored = _chain(paths.journals(), [])
        self.path = parts[-1].path if parts else paths.journal()
        if lock.has_unreleased_since(journal_number(self.path)):
            self.path = self._take_over(paths, now)
        with explained("open", self.path):
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o666)
            sync_folder(paths.root)  # a journal whose name is lost in a power cut has recorded nothing

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was appended is durable already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def append(self, *events: Mapping[str, Any]) -> None:
        """Append events, each with its ``event`` and ``at``; they are on disk when this returns.

        Raises:
            HpcsweepError: the lock was taken over, or the disk said no: then the events may or may not be there,
                and nothing that depends on them may be done.
        """
        if not events:
            return
        lines = "".join(_encode(dict(event)) + "\n" for event in events).encode("ascii")
        self._lock.check()
        try:
            # A line torn by a crash or a full disk is closed first, so that it cannot swallow ours.
            write_fully(self._descriptor, (b"\n" if self._is_torn() else b"") + lines)
            os.fsync(self._descriptor)
        except OSError as error:
            raise explain(error, "write the journal", self.path) from error
        # Had we been suspended in between, the events would stand behind the new holder's pin and not count.
        self._lock.check()

    def _is_torn(self) -> bool:
        size = os.fstat(self._descriptor).st_size
        return size > 0 and os.pread(self._descriptor, 1, size - 1) not in {b"\n", b""}

    def _take_over(self, paths: RunPaths, now: float) -> Path:
        """Open the generation's own journal; the old one counts as far as it reaches at this moment."""
        path = paths.journal(self._lock.generation)
        with explained("open", self.path):
            pinned = self.path.stat().st_size if self.path.exists() else 0
        first = {
            "event": PIN,
            "at": now,
            "follows": self.path.name,
            "bytes": pinned,
            "generation": self._lock.generation,
        }
        try:
            create_exclusively(path, _encode(first) + "\n")
        except FileExistsError as error:
            if path in (part.path for part in _chain(paths.journals(), [])[0]):
                return path  # this very holder opened it before
            raise HpcsweepError(
                f"{path} is there already, though this command is the first of lock generation {self._lock.generation}",
                "was the run restored from a backup? `hpcsweep adopt` can look into it",
            ) from error
        return path


def _chain(journals: list[Path], problems: list[str]) -> tuple[list[_Part], list[Path]]:
    """Follow the pins back from the newest journal: the parts that count, oldest first, and the files that do not."""
    if not journals:
        return [], []
    by_name = {path.name: path for path in journals}
    parts: list[_Part] = []
    path, counted = journals[-1], None
    while True:
        parts.insert(0, _Part(path=path, counted=counted))
        number = journal_number(path)
        if number == 1:
            break
        pin = _read_pin(path)
        if pin is None:
            problems.append(f"{path.name}: its first line is damaged; all of the journal before it is counted")
            earlier = [other for other in journals if journal_number(other) < number]
            if not earlier:
                break
            path, counted = earlier[-1], None
            continue
        follows, counted = pin
        if follows not in by_name and counted == 0:
            break
        if follows not in by_name or journal_number(by_name[follows]) >= number:
            problems.append(f"{path.name}: the journal before it, {follows}, is not there")
            break
        path = by_name[follows]
    used = {part.path for part in parts}
    return parts, [path for path in journals if path not in used]


def _read_pin(path: Path) -> tuple[str, int] | None:
    try:
        with path.open("rb") as file:
            line = file.readline(65536)
        first = json.loads(line)
        follows, counted, word = first["follows"], first["bytes"], first["event"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    is_sound = word == PIN and isinstance(follows, str) and isinstance(counted, int) and counted >= 0
    return (follows, counted) if is_sound else None


def _parse_lines(data: bytes, name: str, events: list[dict[str, Any]], problems: list[str]) -> None:
    lines = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            if event["event"] != PIN:  # the store's own line, no event of the run
                events.append(event)
        elif number == len(lines):
            problems.append(f"{name}: its last line is torn (a command was interrupted while writing it) and not counted")
        else:
            problems.append(f"{name}:{number}: this line is damaged and not counted")
