"""Directive lines (``#SBATCH --time=2:00:00``) of ours and of a user's own script, made one set without contradictions."""

from __future__ import annotations

import re
import shlex

from hpcsweep.errors import HpcsweepError

# man sbatch: the letters of the options that a sweep file can set too.
_LONG_NAMES = {
    "A": "account",
    "B": "extra-node-info",
    "b": "begin",
    "C": "constraint",
    "c": "cpus-per-task",
    "D": "chdir",
    "d": "dependency",
    "F": "nodefile",
    "G": "gpus",
    "L": "licenses",
    "M": "clusters",
    "m": "distribution",
    "N": "nodes",
    "n": "ntasks",
    "p": "partition",
    "q": "qos",
    "S": "core-spec",
    "t": "time",
    "w": "nodelist",
    "x": "exclude",
}
# What of man qsub's options a script must not say; names, logs and the like are overridden on the command line.
_OURS_OF_PBS = {
    "J": "hpcsweep makes the arrays",
    "t": "hpcsweep makes the arrays",
    "a": "submit it when it shall start",
    "h": "`hpcsweep hold RUN`",
    "I": "tasks are no interactive jobs",
    "z": "hpcsweep reads qsub's answer",
    "W depend": "`hpcsweep submit --after RUN|JOBID`",
    "W block": "`hpcsweep wait RUN`",
}
_UNITS = {"": 1024**2, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def add_directives(script: str, ours: list[str], prefix: str, source: str) -> str:
    """The script with our directives below its own; those that it has already are not repeated.

    Args:
        script: the whole script.
        ours: our lines, ``#SBATCH --mem=8192M``.
        prefix: what directives begin with, ``#SBATCH``.
        source: the template's name, for messages.

    Raises:
        HpcsweepError: the script says something else than ``resources:`` or the scheduler's options do; both are named.
    """
    lines = script.split("\n")
    head = head_length(lines)
    _refuse_ours(lines[:head], prefix, source)
    theirs = [(number, line) for number, line in enumerate(lines[:head]) if line.startswith(prefix) and line not in ours]
    said = {name: (value, line) for _number, line in theirs for name, value in parse_directive(line, prefix)}
    missing = []
    for line in ours:
        ((name, value),) = parse_directive(line, prefix)[:1] or [("", "")]
        if name in said:
            other, their_line = said[name]
            if _normal(name, other) != _normal(name, value):
                raise HpcsweepError(
                    f"{source} says `{their_line.strip()}`, and the sweep's settings come to `{line}`",
                    "take it out of one of the two",
                )
        elif line not in lines[:head]:
            missing.append(line)
    last = max((number for number, line in enumerate(lines[:head]) if line.startswith(prefix)), default=0)
    return "\n".join([*lines[: last + 1], *missing, *lines[last + 1 :]])


def _refuse_ours(lines: list[str], prefix: str, source: str) -> None:
    """Refuse what would make another job of it than the one that is submitted."""
    for line in lines:
        for name, _value in parse_directive(line, prefix) if prefix == "#PBS" and line.startswith(prefix) else ():
            if name in _OURS_OF_PBS:
                raise HpcsweepError(
                    f"{source}: `{line.strip()}` is hpcsweep's own to say", f"take `-{name}` out: {_OURS_OF_PBS[name]}"
                )


def parse_directive(line: str, prefix: str) -> list[tuple[str, str]]:
    """The options of a line by name, with their values.

    ``#SBATCH -t 2:00:00 --gres=gpu:1  # note`` -> [("time", "2:00:00"), ("gres", "gpu:1")]: long names.
    ``#PBS -l mem=1gb,walltime=90 -q short`` -> [("l mem", "1gb"), ("l walltime", "90"), ("q", "short")]: letters.
    """
    try:
        words = shlex.split(line.removeprefix(prefix), comments=True)
    except ValueError:
        words = line.removeprefix(prefix).split()
    return _parse_pbs(words) if prefix == "#PBS" else _parse_sbatch(words)


def _parse_sbatch(words: list[str]) -> list[tuple[str, str]]:
    options: list[tuple[str, str]] = []
    for word in words:
        if word.startswith("--"):
            name, _equals, value = word[2:].partition("=")
            options.append((name, value))
        elif re.match(r"-[A-Za-z]", word):
            options.append((_LONG_NAMES.get(word[1], word[1]), word[2:].removeprefix("=")))
        elif options and not options[-1][1]:
            options[-1] = (options[-1][0], word)
    return options


def _parse_pbs(words: list[str]) -> list[tuple[str, str]]:
    letters: list[tuple[str, str]] = []
    for word in words:
        if re.match(r"-[A-Za-z]", word):
            letters.append((word[1], word[2:]))
        elif letters and not letters[-1][1]:
            letters[-1] = (letters[-1][0], word)
    options: list[tuple[str, str]] = []
    for letter, value in letters:
        if letter in "lW":  # pairs; a comma without a name behind it belongs to the value before it
            pairs = (part.partition("=") for part in re.split(r",(?=[A-Za-z_][\w.]*=)", value))
            options += [(f"{letter} {name}", text) for name, _equals, text in pairs]
        else:
            options.append((letter, value))
    return options


def head_length(lines: list[str]) -> int:
    """How many lines there are before the first command: the scheduler reads directives no further."""
    for number, line in enumerate(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            return number
    return len(lines)


def _normal(name: str, value: str) -> str:
    """Two values of one option that mean the same come out equal."""
    if name == "time":
        return str(_seconds(value))
    if name == "l walltime":
        return str(sum(int(part or 0) * 60**power for power, part in enumerate(reversed(value.split(":"))) if part.isdecimal()))
    if name in ("mem", "mem-per-cpu", "tmp", "l mem") and (found := re.fullmatch(r"(\d+)([KMGT]?)B?", value.upper())):
        return str(int(found[1]) * _UNITS[found[2]])
    return value


def _seconds(text: str) -> int | str:
    """Seconds of --time (man sbatch): minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]]."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not found:
        return text
    days, first, second, third = (int(part) if part else 0 for part in found.groups())
    if found[1] is not None or found[4] is not None:
        return days * 86400 + first * 3600 + second * 60 + third
    return first * 60 + second
