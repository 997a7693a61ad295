"""What OpenPBS and Torque have in common: options, ``#PBS`` lines, durations, sizes, node requests, ids. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


class BadOptionError(Exception):
    """An option that is not known, or whose argument is missing."""

    def __init__(self, letter: str, *, is_missing_argument: bool) -> None:
        super().__init__(letter)
        self.letter = letter
        self.is_missing_argument = is_missing_argument

    def message(self, program: str) -> str:
        """The line that getopt itself prints."""
        if self.is_missing_argument:
            return f"{program}: option requires an argument -- '{self.letter}'\n"
        return f"{program}: invalid option -- '{self.letter}'\n"


@dataclass(frozen=True, kw_only=True)
class Options:
    """A command line, read: ``given`` has (letter, value) in their order, with an empty value for flags."""

    given: Sequence[tuple[str, str]]
    operands: Sequence[str]

    def last(self, letter: str) -> str | None:
        """The last value of an option counts; None where it was not given."""
        return next((value for name, value in reversed(self.given) if name == letter), None)

    def has(self, letter: str) -> bool:
        """Whether an option was given."""
        return self.last(letter) is not None

    def all(self, letter: str) -> list[str]:
        """Each value of an option."""
        return [value for name, value in self.given if name == letter]


def parse_options(words: Sequence[str], letters: str) -> Options:
    """As GNU getopt reads ``words`` (without the program): operands may stand between options, ``--`` ends the options.

    Args:
        words: The command line.
        letters: Option letters as getopt(3) takes them; ``N:`` has a value. Where ``-:`` is among them, ``--version`` is the
            option ``-`` with the value ``version``.

    Raises:
        BadOptionError: An unknown option, or one without its value.
    """
    with_value = {letters[i] for i in range(len(letters) - 1) if letters[i + 1] == ":"}
    known = set(letters) - {":"}
    given: list[tuple[str, str]] = []
    operands: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            operands.extend(rest)
        elif not word.startswith("-") or word == "-":
            operands.append(word)
        else:
            given.extend(_cluster(word[1:], rest, known, with_value))
    return Options(given=given, operands=operands)


def _cluster(letters: str, rest: Iterator[str], known: set[str], with_value: set[str]) -> Iterator[tuple[str, str]]:
    for at, letter in enumerate(letters):
        if letter not in known:
            raise BadOptionError(letter, is_missing_argument=False)
        if letter not in with_value:
            yield letter, ""
            continue
        value = letters[at + 1 :] or next(rest, None)
        if value is None:
            raise BadOptionError(letter, is_missing_argument=True)
        yield letter, value
        return


def directives(script: str, prefix: str = "#PBS") -> list[str]:
    r"""The words of a script's directives, up to its first command.

    >>> directives("#!/bin/sh\n#PBS -N 'a b' -l mem=1gb\necho\n#PBS -N late\n")
    ['-N', 'a b', '-l', 'mem=1gb']
    """
    words: list[str] = []
    for line in script.splitlines():
        text = line.strip()
        if prefix and text.startswith(prefix):
            words.extend(split_words(text[len(prefix) :]))
        elif text and not text.startswith((":", "#")):
            break
    return words


def split_words(text: str) -> list[str]:
    """Words with quotes taken away; a ``#`` at the beginning of a word ends the line. A quote that does not end goes to the end."""
    words: list[str] = []
    for match in re.finditer(r"""(?:'[^']*'?|"[^"]*"?|[^\s'"])+""", text):
        word = match[0]
        if word.startswith("#"):
            break
        words.append(re.sub(r"""'([^']*)'?|"([^"]*)"?""", lambda m: m[1] if m[1] is not None else m[2] or "", word))
    return words


def seconds_of(text: str) -> int | None:
    """A duration: ``90``, ``1:30``, ``01:02:03``, ``0:0:1.5``; None where it is none."""
    match = re.fullmatch(r"(?:(?:([0-9]+):)?([0-9]+):)?([0-9]+)(?:\.[0-9]*)?", text.strip(), re.ASCII)
    if match is None:
        return None
    return int(match[1] or 0) * 3600 + int(match[2] or 0) * 60 + int(match[3])


def clock(seconds: float) -> str:
    """``3723`` -> ``01:02:03``."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


_SIZE = re.compile(r"([0-9]+)([kmgtpKMGTP]?)([bBwW]?)", re.ASCII)


def size_of(text: str) -> tuple[int, str] | None:
    """A size as number and unit: ``4G`` -> ``(4, "gb")``, ``100`` -> ``(100, "b")``; None where it is none."""
    match = _SIZE.fullmatch(text.strip())
    return None if match is None else (int(match[1]), match[2].lower() + (match[3].lower() or "b"))


def kilobytes_of(text: str) -> int | None:
    """A size in kilobytes, rounded up: ``4gb`` -> 4194304; a word (``4mw``) has 8 bytes. None where it is none."""
    size = size_of(text)
    if size is None:
        return None
    number, unit = size
    scale = 1 << 10 * " kmgtp".index(unit[:-1] or " ")
    return -(-number * scale * (8 if unit[-1] == "w" else 1) // 1024)


@dataclass(frozen=True, kw_only=True)
class NodePart:
    """One part of ``nodes=2:ppn=4:gpus=1+n07:fast``: ``properties`` are words without a value, a node's name among them."""

    count: int = 1
    ppn: int = 1
    gpus: int = 0
    properties: Sequence[str] = ()


def node_parts(text: str) -> list[NodePart] | None:
    """The parts of a node request; None where it is none."""
    parts = []
    for piece in text.partition("#")[0].split("+"):
        words = piece.split(":")
        count = 1
        if words[0].isdecimal():
            count = int(words.pop(0))
        values: dict[str, int] = {}
        properties = []
        for word in words:
            name, equals, value = word.partition("=")
            if not word or (equals and not value.isdecimal()):
                return None
            if equals:
                values[name] = int(value)
            else:
                properties.append(word)
        parts.append(NodePart(count=count, ppn=values.get("ppn", 1), gpus=values.get("gpus", 0), properties=tuple(properties)))
    return parts


@dataclass(frozen=True, kw_only=True)
class JobId:
    """``17``, ``17[]``, ``17[4]``, ``17[4-8:2]``, with or without a server's name behind a dot."""

    number: int
    is_array: bool = False
    element: str = ""
    server: str = ""


_JOB_ID = re.compile(r"(?P<number>[0-9]+)(?P<brackets>\[(?P<element>[0-9,:-]*)\])?(?:\.(?P<server>[^@]*))?(?:@.*)?", re.ASCII)


def parse_job_id(text: str) -> JobId | None:
    """An id as commands take it; None where it is none."""
    match = _JOB_ID.fullmatch(text)
    if match is None:
        return None
    return JobId(
        number=int(match["number"]),
        is_array=match["brackets"] is not None,
        element=match["element"] or "",
        server=match["server"] or "",
    )


def parse_dependencies(text: str) -> list[tuple[str, list[str]]]:
    """``afterok:1.pbs:2.pbs,afterany:3`` -> ``[("afterok", ["1.pbs", "2.pbs"]), ("afterany", ["3"])]``."""
    found = []
    for item in text.split(","):
        kind, *ids = item.strip().split(":")
        found.append((kind, ids))
    return found
