"""Options under ``pbs:`` and ``torque:`` and what they and a request become in ``#PBS`` lines: what both have in common.

An option is named as qsub names it, by its letter (``P``, ``W``, ``l``), or by its word in the manual page (``project``). ``l`` and ``W``
hold ``name=value`` pairs, as a mapping or as text. ``chunk`` is ours: what is added to the share of one node, for resources that
each site calls by a name of its own.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hpcsweep.model import Request, Value
from hpcsweep.schedulers.base import Problem

_MIB = 1024 * 1024

# man qsub, of both: the word for an option -> its letter.
_LETTERS: dict[str, str] = {
    "account": "A",
    "priority": "p",
    "project": "P",
    "queue": "q",
    "rerunnable": "r",
    "mail_options": "m",
    "mail_users": "M",
    "mail_user": "M",
    "checkpoint": "c",
    "user_list": "u",
    "resources": "l",
    "attributes": "W",
}
# What hpcsweep itself gives to qsub, with what to write instead.
_OURS: dict[str, str] = {
    "J": "hpcsweep makes the arrays; array.at_once says how many run at once",
    "t": "hpcsweep makes the arrays; array.at_once says how many run at once",
    "N": "the job's name is the array's tag, by which hpcsweep finds it again; `name` names the run",
    "o": "`hpcsweep logs` shows each task's own log",
    "e": "`hpcsweep logs` shows each task's own log",
    "j": "`hpcsweep logs` shows each task's own log",
    "k": "`hpcsweep logs` shows each task's own log",
    "R": "`hpcsweep logs` shows each task's own log",
    "h": "`hpcsweep hold RUN`",
    "a": "submit it when it shall start",
    "v": "set env: values never pass through qsub's quoting",
    "V": "set env or env_from: the submitter's PATH, conda and modules come along by default",
    "d": "set workdir",
    "D": "set workdir",
    "w": "set workdir",
    "S": "the job script is bash's",
    "C": "the directives begin with #PBS",
    "I": "tasks are no interactive jobs",
    "X": "tasks are no interactive jobs",
    "x": "tasks are no interactive jobs",
    "z": "hpcsweep reads qsub's answer itself",
    "f": "hpcsweep reads qsub's answer itself",
    "F": "set command",
}
_OUR_ATTRIBUTES = {
    "depend": "`hpcsweep submit --after RUN|JOBID`",
    "block": "`hpcsweep wait RUN`",
    "umask": "set umask",
    "max_run_subjobs": "set array.at_once",
    "stagein": "set link or files",
    "stageout": "the tasks write where they are read",
    "sandbox": "set workdir",
}


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What one of the two calls its own: name of the options' key, letters of its qsub, resources that ours say too."""

    key: str
    letters: frozenset[str]
    same_as: Mapping[str, tuple[str, ...]]  # a resource of ours -> names under `l`
    not_here: Mapping[str, str]  # a resource of ours that it has no word for -> the way out


def find_problems(request: Request, options: Mapping[str, Value], dialect: Dialect) -> list[Problem]:
    """What of a request and of the options cannot be expressed, each with the option's name as the user wrote it."""
    problems = list(_request_problems(request, dialect))
    given: dict[str, str] = {}
    for written, value in options.items():
        if value is None:
            continue  # taken back
        letter = letter_of(written)
        name = f"{dialect.key}.{written}"
        if letter is None or (letter not in dialect.letters and letter not in _OURS and letter != "chunk"):
            problems.append(_unknown_option(written, dialect))
        elif letter in _OURS:
            problems.append(Problem(option=written, message=f"{name} is hpcsweep's own to set", hint=_OURS[letter]))
        elif letter in given:
            problems.append(_contradiction(written, name, f"{dialect.key}.{given[letter]}"))
        else:
            given[letter] = written
            problems.extend(_value_problems(written, letter, value, request, dialect))
    return problems


def _request_problems(request: Request, dialect: Dialect) -> Iterable[Problem]:
    if request.time_limit_s is not None and request.time_limit_s <= 0:
        yield Problem(
            option="time", message="a time limit of 0 ends a task at once", hint="leave `time` out for the site's default"
        )
    for option, count in (("cpus", request.cpus), ("nodes", request.nodes), ("tasks_per_node", request.tasks_per_node)):
        if count is not None and count < 1:
            yield Problem(option=option, message=f"{option} must be at least 1, not {count}")
    fields = {"tmp": request.tmp_bytes}
    for option, way_out in dialect.not_here.items():
        if fields.get(option, getattr(request, option, None)) is not None:
            yield Problem(option=option, message=f"{dialect.key} has no common word for `{option}`", hint=way_out)
    for option in ("partition", "account"):
        text = getattr(request, option)
        if text is not None and not re.fullmatch(r"[^\s\x00-\x1f\x7f]+", text):
            yield Problem(option=option, message=f"{option} must be a name without spaces, not {text!r}")


def _value_problems(written: str, letter: str, value: Value, request: Request, dialect: Dialect) -> Iterable[Problem]:
    name = f"{dialect.key}.{written}"
    texts = [text for pair in pairs_of(value) for text in pair]
    if any(re.search(r"[\x00-\x1f\x7f]", text) for text in texts):
        yield Problem(option=written, message=f"{name} has a line break or a control character, which a directive cannot hold")
    if not any(text.strip() for text in texts):
        yield Problem(option=written, message=f"{name} is empty", hint="leave it out")
    elif letter not in ("l", "W", "chunk") and isinstance(value, dict):
        yield Problem(option=written, message=f"{name} holds one text, not pairs", hint="pairs go under `l` and `W`")
    elif any(re.search(r"[ \t]|^#", text) for text in texts):
        yield Problem(option=written, message=f"{name} has a blank or begins with `#`, and qsub would cut it short")
    for resource, partner in (("partition", "q"), ("account", "A")):
        if letter == partner and getattr(request, resource) is not None:
            yield _contradiction(written, f"resources.{resource}", name)
    if letter == "W":
        for attribute, _text in pairs_of(value):
            if attribute in _OUR_ATTRIBUTES:
                message = f"{name}: `{attribute}` is hpcsweep's own to set"
                yield Problem(option=written, message=message, hint=_OUR_ATTRIBUTES[attribute])
    if letter == "l":
        names = [resource for resource, _text in pairs_of(value)]
        for resource, same in dialect.same_as.items():
            if _is_asked(request, resource):
                for other in sorted(set(same) & set(names)):
                    yield _contradiction(written, f"resources.{resource}", f"{name}: {other}")


def _is_asked(request: Request, resource: str) -> bool:
    if resource == "time":
        return request.time_limit_s is not None
    if resource == "memory":
        return bool(request.memory_bytes)  # `memory: site` asks for none
    return getattr(request, resource) is not None


def option_lines(options: Mapping[str, Value]) -> list[str]:
    """``#PBS -P lab``, ``#PBS -l place=scatter``, in the order in which they were written."""
    lines = []
    for written, value in options.items():
        letter = letter_of(written)
        if value is None or letter is None or letter == "chunk":
            continue
        if letter in ("l", "W"):
            lines += [f"#PBS -{letter} {name}={text}" if text else f"#PBS -{letter} {name}" for name, text in pairs_of(value)]
        elif letter == "r" and isinstance(value, bool):
            lines.append(f"#PBS -r {'y' if value else 'n'}")
        else:
            lines.append(f"#PBS -{letter} {','.join(map(text_of, value)) if isinstance(value, list) else text_of(value)}")
    return lines


def chunk_words(options: Mapping[str, Value]) -> list[str]:
    """What ``chunk`` adds to the share of one node: ``{gpu_model: a100}`` -> ``gpu_model=a100``; a list of words as they are."""
    value = options.get("chunk")
    return [] if value is None else [f"{name}={text}" if text else name for name, text in pairs_of(value)]


def pairs_of(value: Value) -> list[tuple[str, str]]:
    """``{place: scatter}``, ``place=scatter,software=x`` or ``[place=scatter]`` -> pairs; a word without ``=`` has no value."""
    if isinstance(value, dict):
        return [(name, text_of(inner)) for name, inner in value.items()]
    if isinstance(value, list):
        return [pair for inner in value for pair in pairs_of(inner)]
    text = text_of(value)
    if "=" not in text:
        return [(text, "")]
    # A comma stands between pairs; one without a name behind it belongs to the value before it.
    parts = re.split(r",(?=[A-Za-z_][\w.]*=)", text)
    return [(name, rest) for name, _, rest in (part.partition("=") for part in parts)]


def text_of(value: Value) -> str:
    """A value as PBS writes it: true and false as words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def letter_of(written: str) -> str | None:
    """``P``, ``-P``, ``project`` -> ``P``; ``chunk`` is itself; None: no such option."""
    name = written.lstrip("-").replace("-", "_")
    if re.fullmatch(r"[A-Za-z]", name) or name == "chunk":
        return name
    return _LETTERS.get(name)


def format_walltime(seconds: int) -> str:
    """``7200`` -> ``02:00:00``."""
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"


def format_memory(size: int) -> str:
    """Bytes in whole megabytes, rounded up: ``8192mb``."""
    return f"{-(-size // _MIB)}mb"


def queue_lines(request: Request) -> list[str]:
    """Queue and account."""
    given: Sequence[tuple[str, str | None]] = (("q", request.partition), ("A", request.account))
    return [f"#PBS -{letter} {text}" for letter, text in given if text is not None]


def _contradiction(written: str, first: str, second: str) -> Problem:
    return Problem(option=written, message=f"{first} and {second} say the same thing to qsub", hint="keep one of them")


def _unknown_option(written: str, dialect: Dialect) -> Problem:
    words = [word for word, letter in _LETTERS.items() if letter in dialect.letters]
    near = difflib.get_close_matches(written.replace("-", "_"), [*words, "chunk"], n=1)
    letters = ", ".join(sorted(dialect.letters, key=lambda letter: (letter.lower(), letter)))
    hint = (
        f"did you mean {near[0]}?"
        if near
        else f"its options go by their letters ({letters}); resources go under `l: {{name: value}}`"
    )
    return Problem(option=written, message=f"qsub has no option {written!r}", hint=hint)
