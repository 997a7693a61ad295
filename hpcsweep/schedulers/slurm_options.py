"""What a request and the options under ``slurm:`` become in ``#SBATCH`` lines, and what of them cannot.

The names of the options and the formatting of their values are simple-slurm's; its submission is not used.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import combinations

from hpcsweep.gpus import whole_gpus
from hpcsweep.model import Request, Value
from hpcsweep.schedulers.base import Problem

_MIB = 1024 * 1024

# Options that hpcsweep itself gives to sbatch, with what to write instead.
_OURS: dict[str, str] = {
    "array": "hpcsweep makes the arrays; array.at_once says how many run at once",
    "chdir": "set workdir",
    "clusters": "submit on that cluster, or set SLURM_CLUSTERS for every command",
    "dependency": "`hpcsweep submit --after RUN|JOBID`",
    "error": "`hpcsweep logs` shows each task's own log",
    "export_file": "set env or env_from",
    "get_user_env": "set env or env_from",
    "hold": "`hpcsweep hold RUN`",
    "input": "set stdin",
    "job_name": "the job's name is the array's tag, by which hpcsweep finds it again; `name` names the run",
    "open_mode": "logs are always appended to",
    "output": "`hpcsweep logs` shows each task's own log",
    "parsable": "hpcsweep reads sbatch's answer itself",
    "quiet": "hpcsweep reads sbatch's answer itself",
    "test_only": "`hpcsweep submit --dry-run`",
    "verbose": "hpcsweep reads sbatch's answer itself",
    "wait": "`hpcsweep wait RUN`",
    "wrap": "set command",
}
# What a resource of ours says too. `gres` is looked into: it is only the same thing when it names GPUs.
_SAME_AS: dict[str, tuple[str, ...]] = {
    "time": ("time",),
    "memory": ("mem", "mem_per_cpu", "mem_per_gpu"),
    "cpus": ("cpus_per_task", "cpus_per_gpu"),
    "gpus": ("gpus", "gpus_per_node", "gpus_per_task", "gpus_per_socket", "gres"),
    "nodes": ("nodes",),
    "tasks_per_node": ("ntasks_per_node", "ntasks_per_gpu"),
    "partition": ("partition",),
    "account": ("account",),
    "qos": ("qos",),
    "tmp": ("tmp",),
}
# Of each group at most one (man sbatch: "mutually exclusive").
_EXCLUSIVE: tuple[tuple[str, ...], ...] = (
    ("mem", "mem_per_cpu", "mem_per_gpu"),
    ("requeue", "no_requeue"),
    ("cpus_per_task", "cpus_per_gpu"),
    ("exclusive", "oversubscribe"),
    ("ntasks_per_gpu", "gpus_per_task"),
    ("ntasks_per_gpu", "ntasks_per_node"),
    ("hint", "ntasks_per_core"),
    ("hint", "threads_per_core"),
)
_FLAGS = frozenset({"contiguous", "ignore_pbs", "no_requeue", "overcommit", "reboot", "requeue", "spread_job", "use_min_nodes"})
_FLAGS_WITH_VALUE = frozenset({"exclusive", "kill_on_invalid_dep", "nice", "no_kill", "oversubscribe", "propagate"})


def find_problems(request: Request, options: Mapping[str, Value]) -> list[Problem]:
    """What of a request and of ``slurm:`` cannot be expressed, each with the option's name as the user wrote it."""
    problems = list(_find_request_problems(request))
    given: dict[str, str] = {}  # our name of the option -> the user's
    for written, value in options.items():
        if value is None:
            continue  # taken back: `constraint: null` over a profile's
        name = _long_name(written)
        if name is None:
            problems.append(_unknown_option(written))
        elif name in _OURS:
            problems.append(Problem(option=written, message=f"slurm.{written} is hpcsweep's own to set", hint=_OURS[name]))
        elif name in given:
            problems.append(_contradiction(written, f"slurm.{written}", f"slurm.{given[name]}"))
        else:
            given[name] = written
            problems.extend(_find_value_problems(written, name, value))
    for group in _EXCLUSIVE:
        for first, second in combinations([name for name in group if name in given and options[given[name]] is not False], 2):
            problems.append(_contradiction(given[second], f"slurm.{given[first]}", f"slurm.{given[second]}"))
    for resource, names in _SAME_AS.items():
        if _is_asked(request, resource):
            problems.extend(
                _contradiction(given[name], f"resources.{resource}", f"slurm.{given[name]}")
                for name in names
                if name in given and (name != "gres" or _names_gpus(options[given[name]]))
            )
    return problems


def format_directives(request: Request, options: Mapping[str, Value]) -> list[str]:
    """The ``#SBATCH`` lines, resources first. Of options that ``find_problems`` objects to nothing is promised."""
    from simple_slurm.core import fmt_value  # noqa: PLC0415 - only a submission needs it

    words: dict[str, str | None] = {}  # None: a flag
    if request.time_limit_s is not None:
        # Minutes are Slurm's grain: a limit of 90 s would be one of 60 s on some sites.
        minutes = dt.timedelta(minutes=-(-request.time_limit_s // 60))
        words["time"] = fmt_value(minutes)
    if request.memory_bytes:
        words["mem"] = f"{-(-request.memory_bytes // _MIB)}M"
    if request.nodes is not None:
        words["nodes"] = str(request.nodes)
    if request.tasks_per_node is not None:
        words["ntasks_per_node"] = str(request.tasks_per_node)
    if request.cpus is not None:
        words["cpus_per_task"] = str(request.cpus)
    if request.gpus:
        words["gres"] = ":".join(["gpu", *([request.gpu_type] if request.gpu_type else []), str(whole_gpus(request.gpus))])
    words |= {name: value for name in ("partition", "account", "qos") if (value := getattr(request, name)) is not None}
    if request.tmp_bytes:
        words["tmp"] = f"{-(-request.tmp_bytes // _MIB)}M"
    for written, value in options.items():
        name = _long_name(written) or written
        if value is None or value is False:
            continue
        text = None if value is True else fmt_value(value)
        # A second --gres would replace the first.
        words[name] = f"{words['gres']},{text}" if name == "gres" and "gres" in words else text
    if request.exclude_nodes:
        words["exclude"] = ",".join(filter(None, [words.get("exclude"), *request.exclude_nodes]))
    return [
        f"#SBATCH --{name.replace('_', '-')}" + ("" if text is None else f"={_quote(text)}") for name, text in words.items()
    ]


def _find_request_problems(request: Request) -> Iterable[Problem]:
    if request.time_limit_s is not None and request.time_limit_s <= 0:
        yield Problem(
            option="time", message="a time limit of 0 means no limit to Slurm", hint="leave `time` out for the site's default"
        )
    for option, count in (("cpus", request.cpus), ("nodes", request.nodes), ("tasks_per_node", request.tasks_per_node)):
        if count is not None and count < 1:
            yield Problem(option=option, message=f"{option} must be at least 1, not {count}")
    if request.gpu_type and request.gpus is None:
        yield Problem(
            option="gpu_type", message="gpu_type says which GPUs, but not how many", hint="add `gpus: 1` (or `gpus: 0`)"
        )
    texts = {name: getattr(request, name) for name in ("partition", "account", "qos", "gpu_type")}
    for option, text in texts.items():
        if text is not None and not re.fullmatch(r"[^\s\x00-\x1f\x7f]+", text):
            yield Problem(option=option, message=f"{option} must be a name without spaces, not {text!r}")


def _find_value_problems(written: str, name: str, value: Value) -> Iterable[Problem]:
    option = f"slurm.{written}"
    if isinstance(value, bool):
        if name not in _FLAGS | _FLAGS_WITH_VALUE:
            yield Problem(option=written, message=f"{option} needs a value, not {str(value).lower()}")
        return
    if name in _FLAGS:
        yield Problem(option=written, message=f"{option} is there or not: write true or false, not {value!r}")
        return
    texts = list(_texts_in(value))
    if any(re.search(r"[\x00-\x1f\x7f]", text) for text in texts):
        yield Problem(
            option=written, message=f"{option} has a line break or a control character, which a directive cannot hold"
        )
    if not texts or not all(text.strip() for text in texts):
        yield Problem(option=written, message=f"{option} is empty", hint="leave it out")
    if name == "signal" and not re.match(r"[BR]{1,2}:", str(value)):
        yield Problem(
            option=written,
            message=f"{option}: {value} would reach no program: Slurm sends it to job steps only, and tasks run in none",
            hint=f"write `B:{value}`",
        )


def _texts_in(value: Value) -> Iterable[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts_in(inner)
    else:
        yield "" if value is None else str(value)


def _is_asked(request: Request, resource: str) -> bool:
    if resource == "memory":
        return bool(request.memory_bytes)  # `memory: site` asks for none
    fields = {"time": request.time_limit_s, "tmp": request.tmp_bytes}
    value = fields[resource] if resource in fields else getattr(request, resource)
    return value is not None


def _names_gpus(value: Value) -> bool:
    return any(re.search(r"(^|[,/])gpu\b", text) for text in _texts_in(value))


def _contradiction(written: str, first: str, second: str) -> Problem:
    return Problem(option=written, message=f"{first} and {second} say the same thing to Slurm", hint="keep one of them")


def _unknown_option(written: str) -> Problem:
    near = difflib.get_close_matches(written.replace("-", "_"), _option_names().values(), n=1)
    hint = f"did you mean {near[0]}?" if near else "an option that only your Slurm knows goes into a job template (`template:`)"
    return Problem(option=written, message=f"sbatch has no option {written!r}", hint=hint)


def _long_name(written: str) -> str | None:
    """``mem-per-cpu``, ``mem_per_cpu`` -> ``mem_per_cpu``; ``C`` -> ``constraint``; None: no such option."""
    return _option_names().get(written.removeprefix("--").replace("-", "_"))


@cache
def _option_names() -> dict[str, str]:
    """Every spelling of an option, its one letter too, -> its long name."""
    from simple_slurm.core import read_simple_txt  # noqa: PLC0415 - only a submission needs it

    return {alias: aliases[0] for aliases in read_simple_txt("arguments.txt") for alias in aliases if aliases[0]}


def _quote(text: str) -> str:
    """A word of a directive as sbatch reads it: quotes and backslashes mean something, and ``#`` begins a comment."""
    if re.fullmatch(r"[\w@%+=:,./\[\]&|*()!-]+", text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
