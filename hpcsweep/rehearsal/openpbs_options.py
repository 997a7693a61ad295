"""What an OpenPBS ``qsub`` reads: its command line, then the script's directives, which count less. Pure.

What the client itself refuses ends with its usage and code 2, and uses up no job number.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpcsweep.rehearsal.pbs_common import directives, parse_dependencies

LETTERS = "a:A:c:C:e:fG:hIj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xz"
USAGE = """\
usage: qsub [-a date_time] [-A account_string] [-c interval]
	[-C directive_prefix] [-e path] [-f ] [-h ] [-I [-X]] [-j oe|eo] [-J X-Y[:Z]]
	[-k keep] [-l resource_list] [-m mail_options] [-M user_list]
	[-N jobname] [-o path] [-p priority] [-P project] [-q queue] [-r y|n]
	[-R o|e|oe] [-S path] [-u user_list] [-W otherattributes=value...]
	[-v variable_list] [-V ] [-z] [script | -- command [arg1 ...]]
       qsub --version
"""
DEPENDENCIES = ("after", "afterok", "afternotok", "afterany")
_DEPENDENCIES_ELSE = ("before", "beforeok", "beforenotok", "beforeany", "on", "runone")
ATTRIBUTES = frozenset(
    {"block", "depend", "group_list", "max_run_subjobs", "run_count", "sandbox", "stagein", "stageout", "umask"}
)
_NAME = re.compile(r"[A-Za-z0-9_.+-]+", re.ASCII)
_ARRAY = re.compile(r"([0-9]+)-([0-9]+)(?::([0-9]+))?(?:%([0-9]+))?", re.ASCII)
_DEPENDENCY_ID = re.compile(r"[0-9]+(?:\[\])?(?:\.[^\[\]@:]+)?(?:@[^\[\]:]+)?", re.ASCII)
MAX_NAME = 230


class RefusalError(Exception):
    """qsub says no: with these lines, and this code."""

    def __init__(self, lines: str, code: int, *, takes_number: bool = False) -> None:
        super().__init__(lines)
        self.lines = lines
        self.code = code
        self.takes_number = takes_number


def refuse_usage(*messages: str) -> RefusalError:
    """Wrong usage, with all that is wrong."""
    return RefusalError("".join(f"qsub: {message}\n" for message in messages) + USAGE, 2)


@dataclass(kw_only=True)
class Asked:
    """What was asked for. ``options``: letter -> value, of those that stand for themselves."""

    options: dict[str, str] = field(default_factory=dict)
    resources: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    operands: list[str] = field(default_factory=list)
    command: list[str] | None = None
    """After ``--``: runs instead of a script."""


def read_command_line(words: Sequence[str]) -> Asked:
    """The options and operands of a command line.

    Raises:
        RefusalError: wrong usage.
    """
    asked = Asked()
    words = list(words)
    given, asked.operands, after, problems = getopt(words, LETTERS)
    problems += apply_options(asked, given)
    if after is not None and not asked.operands:
        asked.command = after
    elif after:
        asked.operands += after
    problems += find_conflicts(asked)
    if problems:
        raise refuse_usage(*problems)
    return asked


def read_directives(asked: Asked, script: str, prefix: str) -> None:
    """Add what a script's directives say, where the command line said nothing of it.

    Raises:
        RefusalError: wrong usage.
    """
    given, _, _, problems = getopt(directives(script, prefix), LETTERS)
    own = Asked()
    problems += apply_options(own, given)
    asked.options = own.options | asked.options
    asked.resources = own.resources | asked.resources
    asked.attributes = own.attributes | asked.attributes
    problems += find_conflicts(asked)
    if problems:
        raise refuse_usage(*problems)


def getopt(words: Sequence[str], letters: str) -> tuple[list[tuple[str, str]], list[str], list[str] | None, list[str]]:
    """Options, operands, what follows ``--`` (None: there was none), and what getopt complains of. It goes on after a complaint."""
    given: list[tuple[str, str]] = []
    operands: list[str] = []
    problems: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return given, operands, rest, problems
        if not word.startswith("-") or word == "-":
            operands.append(word)
            continue
        for at, letter in enumerate(word[1:], 2):
            where = -1 if letter == ":" else letters.find(letter)
            if where < 0:
                problems.append(f"invalid option -- '{letter}'")
            elif letters[where + 1 : where + 2] != ":":
                given.append((letter, ""))
            else:
                value = word[at:] or (rest.pop(0) if rest else None)
                if value is None:
                    problems.append(f"option requires an argument -- '{letter}'")
                else:
                    given.append((letter, value))
                break
    return given, operands, None, problems


def apply_options(asked: Asked, given: Sequence[tuple[str, str]]) -> list[str]:
    """Put options where they belong; what is wrong with them."""
    problems = []
    for letter, value in given:
        if letter == "l":
            problems += [] if _add_pairs(asked.resources, value, needs_value=False) else ["illegal -l value"]
        elif letter == "W":
            problems += [] if _add_pairs(asked.attributes, _whole_depend(value), needs_value=True) else ["illegal -W value"]
        elif letter == "N" and len(value) > MAX_NAME:
            raise RefusalError("qsub: Job name is too long \n", 2)
        elif letter in _CHECKS and not _CHECKS[letter](value):
            problems.append(f"illegal -{letter} value")
        else:
            asked.options[letter] = value
    if "depend" in asked.attributes and not is_depend(asked.attributes["depend"]):
        problems.append("illegal -W value")
    return problems


def find_conflicts(asked: Asked) -> list[str]:
    """Options that cannot stand together."""
    if "J" not in asked.options:
        return []
    if asked.options.get("r") == "n":
        return [" cannot submit non-rerunable Array Job"]
    return ["interactive and array job submission cannot be used together"] if "I" in asked.options else []


def _add_pairs(into: dict[str, str], text: str, *, needs_value: bool) -> bool:
    """``a=1,b=2``; whether it is that. A later value of a name counts."""
    for piece in _split(text):
        name, equals, value = piece.partition("=")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name.strip()) or not equals or (needs_value and not value):
            return False
        into[name.strip()] = value
    return True


def _split(text: str) -> list[str]:
    r"""Commas divide, but for those behind a backslash (of ``depend``'s own commas)."""
    return [piece.replace("\\,", ",") for piece in re.split(r"(?<!\\),", text)]


def _whole_depend(text: str) -> str:
    """``depend=afterok:1,afterany:2,umask=22``: the commas of depend are not those between attributes."""
    return re.sub(r",(?=(?:after|before|on|runone)\w*:)", "\\\\,", text)


def is_depend(text: str) -> bool:
    """Whether all of a dependency's kinds and ids are such."""
    return all(
        kind in DEPENDENCIES + _DEPENDENCIES_ELSE and ids and all(_DEPENDENCY_ID.fullmatch(one) for one in ids)
        for kind, ids in parse_dependencies(text)
    )


def parse_array(text: str) -> tuple[range, int | None] | None:
    """``0-9:3%2`` -> the indices and the limit; None where it is none. Lists, one element and ranges that go down are none."""
    match = _ARRAY.fullmatch(text)
    if match is None or int(match[1]) >= int(match[2]) or match[3] == "0":
        return None
    return range(int(match[1]), int(match[2]) + 1, int(match[3] or 1)), None if match[4] is None else int(match[4])


def parse_date(text: str, now: float) -> float | None:
    """``[[[[CC]YY]MM]DD]hhmm[.SS]`` -> epoch seconds; what is left out is today's, or the next day's where that has passed."""
    match = re.fullmatch(r"([0-9]{4}|[0-9]{6}|[0-9]{8}|[0-9]{10}|[0-9]{12})(?:\.([0-9]{2}))?", text, re.ASCII)
    if match is None:
        return None
    digits, seconds = match[1], int(match[2] or 0)
    today = time.localtime(now)
    full = time.strftime("%Y%m%d", today)[: 12 - len(digits)] + digits
    try:
        parts = time.strptime(full, "%Y%m%d%H%M")
        moment = time.mktime((*parts[:5], seconds, 0, 0, -1))
    except (ValueError, OverflowError):
        return None
    return moment + 86400 if len(digits) == 4 and moment < now else moment


_CHECKS = {
    "a": lambda value: parse_date(value, 0.0) is not None,
    "j": lambda value: value in ("oe", "eo", "n"),
    "J": lambda value: parse_array(value) is not None,
    "k": lambda value: bool(re.fullmatch(r"n|[oed]+", value)),
    "N": lambda value: bool(_NAME.fullmatch(value)),
    "p": lambda value: bool(re.fullmatch(r"[+-]?[0-9]+", value)) and -1024 <= int(value) <= 1023,
    "r": lambda value: value in ("y", "n"),
    "R": lambda value: bool(re.fullmatch(r"[oe]+", value)),
}


def read_variables(text: str, environment: Mapping[str, str]) -> dict[str, str]:
    r"""``-v A,B=2`` with its traps: quotes vanish, ``\,`` is a comma, any other backslash is doubled.

    Raises:
        RefusalError: a quote that does not end, or a name without a value that the environment does not have.
    """
    found: dict[str, str] = {}
    for piece in _split_variables(text):
        name, equals, value = piece.partition("=")
        if not equals and name not in environment:
            raise RefusalError("qsub: cannot send environment with the job\n", 1)
        found[name] = value if equals else environment[name]
    return found


def _split_variables(text: str) -> list[str]:
    pieces, piece, quote = [], "", ""
    letters = iter(range(len(text)))
    for at in letters:
        letter = text[at]
        if letter == "\\":
            is_comma = text[at + 1 : at + 2] == ","
            piece += "," if is_comma else "\\\\"
            if is_comma:
                next(letters)
        elif quote:
            piece, quote = (piece, "") if letter == quote else (piece + letter, quote)
        elif letter in "'\"":
            quote = letter
        elif letter == ",":
            pieces.append(piece)
            piece = ""
        else:
            piece += letter
    if quote:
        raise RefusalError("qsub: cannot send environment with the job\n", 1)
    return [*pieces, piece]
