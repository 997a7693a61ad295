"""What sbatch is asked for: options of the command line, of the environment (SBATCH_*) and of ``#SBATCH`` lines, checked.

The command line outranks the environment, and that the script (man sbatch, "INPUT ENVIRONMENT VARIABLES").
"""

from __future__ import annotations

import datetime as dt
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from hpcsweep.rehearsal.slurm_arguments import Arguments, Syntax, UsageError, pairs, table
from hpcsweep.rehearsal.slurm_values import parse_megabytes, parse_moment, parse_time_limit

SYNTAX = Syntax(
    program="sbatch",
    code=255,
    is_script_last=True,
    longs=table(
        none="contiguous help hold ignore-pbs no-requeue overcommit oversubscribe parsable quiet reboot requeue spread-job"
        " test-only usage use-min-nodes verbose version wait",
        optional="exclusive get-user-env nice no-kill propagate",
        value="account acctg-freq array batch bb bbf begin chdir cluster cluster-constraint clusters comment constraint"
        " container context core-spec cores-per-socket cpus-per-gpu cpus-per-task cpu-freq deadline delay-boot dependency"
        " distribution error exclude export export-file extra-node-info gid gpu-bind gpu-freq gpus gpus-per-node"
        " gpus-per-socket gpus-per-task gres gres-flags hint input job-name kill-on-invalid-dep licenses mail-type mail-user"
        " mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nodefile nodelist nodes ntasks ntasks-per-core"
        " ntasks-per-gpu ntasks-per-node ntasks-per-socket open-mode output partition power prefer priority profile qos"
        " reservation signal sockets-per-node switches tasks-per-node thread-spec threads-per-core time time-min tmp uid"
        " wait-all-nodes wckey wrap",
    ),
    shorts=pairs(
        "a=array b=begin c=cpus-per-task d=dependency e=error h=help i=input k=no-kill m=distribution "
        "n=ntasks o=output p=partition q=qos s=oversubscribe t=time v=verbose w=nodelist x=exclude A=account "
        "B=extra-node-info C=constraint D=chdir F=nodefile G=gpus H=hold J=job-name L=licenses M=clusters "
        "N=nodes O=overcommit Q=quiet S=core-spec V=version W=wait"
    ),
    aliases={"cluster": "clusters", "tasks-per-node": "ntasks-per-node"},
)
_OF_ENVIRONMENT = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_ARRAY_INX": "array",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_EXPORT": "export",
    "SBATCH_GPUS": "gpus",
    "SBATCH_GPUS_PER_NODE": "gpus-per-node",
    "SBATCH_GRES": "gres",
    "SBATCH_JOB_NAME": "job-name",
    "SBATCH_MEM_PER_CPU": "mem-per-cpu",
    "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_NO_REQUEUE": "no-requeue",
    "SBATCH_OPEN_MODE": "open-mode",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_REQUEUE": "requeue",
    "SBATCH_RESERVATION": "reservation",
    "SBATCH_SIGNAL": "signal",
    "SBATCH_TIMELIMIT": "time",
    "SBATCH_WAIT": "wait",
    "SBATCH_WCKEY": "wckey",
}
_COUNTS = ("ntasks", "cpus-per-task", "ntasks-per-node", "mincpus", "gpus-per-task")
_MEMORIES = ("mem", "mem-per-cpu", "mem-per-gpu")
_OPPOSITES = {"requeue": "no-requeue", "no-requeue": "requeue"}


@dataclass(frozen=True, kw_only=True)
class Notice:
    """``--signal=B:USR1@60``: which signal, so many seconds before the time limit, and whether the batch shell gets it."""

    number: int
    before_s: int
    is_for_shell: bool


def combine(
    given: Arguments, environ: Mapping[str, str], lines: Iterable[Arguments], now: float, zone: dt.tzinfo | None
) -> dict[str, str]:
    """The options in force, by long name.

    Raises:
        UsageError: where one of them is wrong, one that is outranked too.
    """
    of_environment = [(name, environ[variable]) for variable, name in _OF_ENVIRONMENT.items() if environ.get(variable)]
    of_script = [option for line in lines for option in line.options]
    options: dict[str, str] = {}
    memory = ""
    for source in (of_script, of_environment, given.options):
        for name, value in source:
            _check(name, value, now, zone)
            options.pop(_OPPOSITES.get(name, name), None)
            options[name] = value
            if name in _MEMORIES:
                if memory not in ("", name):
                    raise UsageError("sbatch: fatal: --mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive.", code=1)
                memory = name
    return options


def read_directives(script: str, name: str) -> Iterator[Arguments]:
    """The ``#SBATCH`` lines before the first command.

    Raises:
        UsageError: for a wrong option in one of them.
    """
    for number, line in enumerate(script.split("\n"), start=1):
        if line.startswith("#SBATCH") and line[7:8] in {" ", "\t", ""}:
            yield SYNTAX.parse(list(_words(line[7:], name, number)))
        elif line.strip() and not line.startswith("#"):
            return


def _words(text: str, name: str, number: int) -> Iterator[str]:
    """A directive's words: quotes and backslashes mean something, and ``#`` begins a comment."""
    position = 0
    while True:
        start = position
        match = re.compile(r"\s*").match(text, position)
        position = match.end() if match else position
        if position >= len(text) or text[position] == "#":
            return
        word = ""
        while position < len(text) and not text[position].isspace():
            character = text[position]
            if character in "\"'":
                end = _end_of_quote(text, position)
                if end < 0:
                    raise UsageError(
                        f"sbatch: fatal: {name}: line {number}: Unmatched `{character}` in [{text[start:]}]", code=1
                    )
                inner = text[position + 1 : end]
                word += re.sub(r"\\(.)", r"\1", inner) if character == '"' else inner
                position = end + 1
            elif character == "\\" and position + 1 < len(text):
                word += text[position + 1]
                position += 2
            else:
                word += character
                position += 1
        yield word


def _end_of_quote(text: str, start: int) -> int:
    quote, position = text[start], start + 1
    while position < len(text):
        if text[position] == "\\" and quote == '"':
            position += 1
        elif text[position] == quote:
            return position
        position += 1
    return -1


def parse_warning(text: str) -> Notice:
    """``USR1``, ``B:10@60`` (man sbatch, --signal): 60 s before the end where it does not say.

    Raises:
        ValueError: for anything else.
    """
    match = re.fullmatch(r"(?:([BR]{1,2}):)?(?:(\d+)|(?:SIG)?([A-Z][A-Z0-9]*))(?:@(\d+))?", text, re.ASCII)
    if match is None:
        raise ValueError(text)
    number = int(match[2]) if match[2] else getattr(signal, f"SIG{match[3]}", None)
    if number is None or not 0 < number < 65:
        raise ValueError(text)
    return Notice(number=int(number), before_s=int(match[4] or 60), is_for_shell="B" in (match[1] or ""))


def _check(name: str, value: str, now: float, zone: dt.tzinfo | None) -> None:
    """What sbatch itself says no to, before it asks the controller."""
    if name in _COUNTS and not re.fullmatch(r"0*[1-9]\d*", value, re.ASCII):
        raise UsageError(f'sbatch: error: Invalid numeric value "{value}" for --{name}.', code=1)
    if name == "nodes" and not re.fullmatch(r"\d+(-\d+)?", value, re.ASCII):
        raise UsageError(f'sbatch: error: "{value}" is not a valid node count', code=255)
    if name == "gres":
        _check_gres(value)
    if name == "begin":
        try:
            parse_moment(value, now, zone)
        except ValueError as error:
            said = f"Invalid time specification (pos={error.args[0]}): {value}"
            raise UsageError(said, "sbatch: error: Invalid --begin specification", code=255) from None
    if name in _CHECKS:
        try:
            _CHECKS[name](value)
        except ValueError:
            raise UsageError(f"sbatch: error: Invalid --{name} specification", code=255) from None


def _check_gres(value: str) -> None:
    for part in value.split(","):
        if part and not re.match(r"gpu(:|=|$)|none$", part.removeprefix("gres:").removeprefix("gres/")):
            raise UsageError("sbatch: error: Invalid generic resource (gres) specification", code=1)


def _one_of(*words: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        if not set(value.lower().split(",")) <= set(words):
            raise ValueError(value)

    return check


_MAIL_TYPES = (
    "none begin end fail requeue all invalid_depend stage_out time_limit time_limit_90 time_limit_80 time_limit_50 array_tasks"
)
_CHECKS: dict[str, Callable[[str], object]] = {
    "time": parse_time_limit,
    "time-min": parse_time_limit,
    **dict.fromkeys((*_MEMORIES, "tmp"), parse_megabytes),
    "signal": parse_warning,
    "open-mode": _one_of("append", "truncate", "a", "t"),
    "exclusive": _one_of("", "user", "mcs"),
    "mail-type": _one_of(*_MAIL_TYPES.split()),
}
