"""The names of the event files: what the tasks say of themselves. Pure: a listing of names goes in, no file is opened.

The grammar is the table of docs/design.md, section 5. Names that are none of these are passed over; an outcome of
a kind that this version does not know is kept with its word.

These are named tuples and not dataclasses because a status of a large run makes a million of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

FINALLY = -1
"""The task index that stands for the ``finally`` command; its event files begin with ``finally``."""

ARRAY_CANCEL = "cancel"
"""The marker that asks for the end of a whole array."""

_NUMBER = "0|[1-9][0-9]{0,17}"
_ATTEMPT = rf"(finally|{_NUMBER})\.([1-9][0-9]{{0,17}})"
_OUTCOME = rf"([a-z_]+)\.({_NUMBER})\.({_NUMBER})"
_NAME = re.compile(rf"{_ATTEMPT}(?:\.(?:r({_NUMBER})\.(run|lost)|late\.r({_NUMBER})|(cancel)|{_OUTCOME}))?")
_COMMON_NAME = re.compile(rf"((?:finally|{_NUMBER})\.[1-9][0-9]{{0,17}})(?:\.{_OUTCOME})?")


class Claim(NamedTuple):
    """``T.A``: somebody owns the attempt."""

    task: int
    attempt: int


class Token(NamedTuple):
    """``T.A.rN.run``: the attempt is running, as restart N."""

    task: int
    attempt: int
    restart: int


class Outcome(NamedTuple):
    """``T.A.KIND.CODE.SECONDS``: how the attempt ended."""

    task: int
    attempt: int
    kind: str
    code: int
    seconds: int


class Lost(NamedTuple):
    """``T.A.rN.lost``: the attempt was given up."""

    task: int
    attempt: int
    restart: int


class Late(NamedTuple):
    """``T.A.late.rN``: the end of a fenced incarnation, never counted."""

    task: int
    attempt: int
    restart: int


class CancelMarker(NamedTuple):
    """``T.A.cancel``, or ``cancel`` for the whole array (both None)."""

    task: int | None
    attempt: int | None


Event = Claim | Token | Outcome | Lost | Late | CancelMarker


class Record(NamedTuple):
    """What the names say of one attempt.

    ``claimed``: it has an owner (also true when only a later name was listed); ``running``: its token is there;
    ``restart``: the highest restart number in any name; ``late``: how many fenced incarnations ended;
    ``cancel``: somebody asked for its end.
    """

    claimed: bool = False
    restart: int = 0
    running: bool = False
    outcome: Outcome | None = None
    lost: bool = False
    late: int = 0
    cancel: bool = False


_UNCLAIMED = Record()
_CLAIMED = Record(claimed=True)


def attempt_name(task: int, attempt: int) -> str:
    """``(17, 1)`` -> ``"17.1"``, the name of the claim and the beginning of all the attempt's other names."""
    return f"finally.{attempt}" if task == FINALLY else f"{task}.{attempt}"


def token_name(task: int, attempt: int, restart: int) -> str:
    """``(17, 1, 0)`` -> ``"17.1.r0.run"``."""
    return f"{attempt_name(task, attempt)}.r{restart}.run"


def lost_name(task: int, attempt: int, restart: int) -> str:
    """``(17, 1, 0)`` -> ``"17.1.r0.lost"``."""
    return f"{attempt_name(task, attempt)}.r{restart}.lost"


def parse_event(name: str) -> Event | None:
    """Read one name, ``17.1.done.0.93``; None when it is no event's."""
    if name == ARRAY_CANCEL:
        return CancelMarker(task=None, attempt=None)
    match = _NAME.fullmatch(name)
    return None if match is None else _event(match)


def fold_events(names: Iterable[str]) -> dict[tuple[int, int], Record]:
    """All names of an events folder, in any order -> (task, attempt) -> Record.

    The marker ``cancel`` of the whole array belongs to no attempt: look for it among the names.
    """
    # Nearly all names are claims and outcomes. They are put together by the text that they have in common, so that
    # a listing of a million names makes no object that is not in the answer.
    heads: set[str] = set()
    outcomes: dict[str, tuple[str | Any, ...]] = {}
    others: set[str] = set()  # a folder that changes while it is listed may show a name twice
    for name in names:
        match = _COMMON_NAME.fullmatch(name)
        if match is None:
            others.add(name)
        elif match.lastindex == 1:
            heads.add(name)
        else:
            head = match.group(1)
            heads.add(head)
            new = match.group(2, 3, 4)
            # One outcome per attempt is the rule; should a file system show two, all readers must choose the same.
            outcomes[head] = min(outcomes.get(head, new), new)
    records: dict[tuple[int, int], Record] = {}
    for head in heads:
        task, _, attempt = head.partition(".")
        key = (FINALLY if task == "finally" else int(task), int(attempt))
        found = outcomes.get(head)
        if found is None:
            records[key] = _CLAIMED
        else:
            kind, code, seconds = found
            records[key] = Record(claimed=True, outcome=Outcome(*key, kind, int(code), int(seconds)))
    for name in others:
        match = _NAME.fullmatch(name)
        if match is not None:
            event = _event(match)
            if event.task is not None and event.attempt is not None:
                key = (event.task, event.attempt)
                records[key] = _add(records.get(key, _UNCLAIMED), event)
    return records


def _event(match: re.Match[str]) -> Event:
    head, attempt_text, restart, word, late, cancel, kind, code, seconds = match.groups()
    task, attempt = FINALLY if head == "finally" else int(head), int(attempt_text)
    if kind is not None:
        return Outcome(task, attempt, kind, int(code), int(seconds))
    if word is not None:
        return (Token if word == "run" else Lost)(task, attempt, int(restart))
    if late is not None:
        return Late(task, attempt, int(late))
    return CancelMarker(task, attempt) if cancel else Claim(task, attempt)


def _add(record: Record, event: Event) -> Record:
    match event:
        case Token(restart=restart):
            return record._replace(claimed=True, running=True, restart=max(record.restart, restart))
        case Lost(restart=restart):
            return record._replace(claimed=True, lost=True, restart=max(record.restart, restart))
        case Late(restart=restart):
            return record._replace(claimed=True, late=record.late + 1, restart=max(record.restart, restart))
        case CancelMarker():
            return record._replace(cancel=True)
        case Claim() | Outcome():
            return record._replace(claimed=True)
