"""All keys of a sweep file, each in one place: how it is read, what it is for. Schema, docs and did-you-mean come from here."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from hpcsweep.errors import Faults, HpcsweepError
from hpcsweep.sweepfile import nodes
from hpcsweep.sweepfile.kinds import (
    BOOLEAN,
    COMMAND,
    SECONDS,
    TEXTS,
    FileRef,
    Key,
    Kind,
    Where,
    check_template,
    entries,
    one_of,
    read_text,
    suggest,
    table,
    template_text,
    text,
    whole,
)
from hpcsweep.sweepfile.nodes import Node
from hpcsweep.sweepfile.resources import RESOURCE_ALIASES, RESOURCE_KEYS, ResourceKey, is_expression

REDUCTIONS = ("last", "min", "max", "mean")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_SCALAR = {"type": ["string", "number", "boolean", "null"]}
_OURS_IN_TASK_FOLDER = re.compile(r"params\.json|attempt-.*\.log")


def _read_name(node: Node, where: Where) -> str | None:
    value = read_text(node, where)
    if value is not None and (len(value) > 100 or "/" in value or not value.isprintable()):
        where.wrong(node, "a name has at most 100 characters, without slashes and line ends")
        return None
    return value


def _read_scheduler(node: Node, where: Where) -> str | None:
    if isinstance(node, nodes.Scalar) and node.value in ("pbs", "torque"):
        where.wrong(node, f"`{node.value}` is not yet in this version", "there are auto, slurm and local")
        return None
    return _SCHEDULER.read(node, where)  # type: ignore[no-any-return] # kinds read any type


def _read_file(node: Node, where: Where) -> FileRef | None:
    value = read_text(node, where)
    if value is None or not isinstance(node, nodes.Scalar):
        return None
    if is_expression(value) and "\n" not in value:
        where.wrong(node, "no expressions here: the file is read once, at submit", "write {% if %} inside the file")
        return None
    return FileRef(path=value, node=node)


def _read_stdin(node: Node, where: Where) -> FileRef | str | None:
    value = read_text(node, where)
    if value is None or not isinstance(node, nodes.Scalar):
        return None
    if "\n" in value or is_expression(value):
        check_template(node, value, where, sees_parameters=True)
        return value
    return FileRef(path=value, node=node)


def _resource(name: str, key: ResourceKey, *, sees_parameters: bool) -> Kind:
    def read(node: Node, where: Where) -> Any:
        if not isinstance(node, nodes.Scalar):
            where.expected(node, key.expected)
        elif isinstance(node.value, str) and is_expression(node.value):
            check_template(node, node.value, where, sees_parameters=sees_parameters)
        else:
            try:
                key.read(node.value)
            except HpcsweepError as error:
                where.wrong(node, error.message, error.hint)
        return nodes.to_data(node)

    schema: dict[str, Any] = {"type": list(key.types)}
    if key.minimum is not None:
        schema["minimum"] = key.minimum
    if name == "time":
        schema["examples"] = ["90m", "1h30m", "2d", "01:30:00"]
    return Kind(read=read, schema=schema)


def _resources(*, sees_parameters: bool) -> Kind:
    keys = {
        name: Key(kind=_resource(name, key, sees_parameters=sees_parameters), help=key.help)
        for name, key in RESOURCE_KEYS.items()
    }
    return table(keys, aliases=RESOURCE_ALIASES, other=_RESOURCE_WORDS)


_RESOURCE_WORDS = {
    "mem": "it is called `memory`",
    "walltime": "it is called `time`",
    "time_limit": "it is called `time`",
    "timeout": "it is called `time`",
    "cores": "it is called `cpus`",
    "ncpus": "it is called `cpus`",
    "cpus_per_task": "it is called `cpus`",
    "gpu": "it is called `gpus`",
    "ngpus": "it is called `gpus`",
    "ntasks_per_node": "it is called `tasks_per_node`",
    "mem_per_cpu": "options of sbatch go under `slurm:`, as they are",
    "gres": "write gpus: 2 and gpu_type: a100; options of sbatch go under `slurm:`, as they are",
    "constraint": "options of sbatch go under `slurm:`, as they are",
    "ntasks": "write nodes: and tasks_per_node:",
}


def _read_option(node: Node, where: Where) -> Any:
    value = nodes.to_data(node)
    if isinstance(value, list | dict):
        where.expected(node, "a text, a number, true or false", "several values go into one text: a,b")
    elif is_expression(value):
        where.wrong(
            node, "no expressions here: these options are the same for all tasks", "what differs goes under `resources:`"
        )
    return value


def _is_option_name(key: nodes.Scalar, where: Where) -> bool:
    if _OPTION_NAME.fullmatch(key.text):
        return True
    bare = key.text.lstrip("-").split("=")[0]
    hint = f"write `{bare}:` without dashes" if _OPTION_NAME.fullmatch(bare) else ""
    where.faults.add(key.place, f"{where.key}: `{key.text}` is no option's name", hint)
    return False


def _read_env(node: Node, where: Where) -> Any:
    if not isinstance(node, nodes.Scalar):
        where.expected(node, "a text, a number, true or false")
    elif isinstance(node.value, str):
        check_template(node, node.value, where, sees_parameters=False)
    return nodes.to_data(node)


def _is_env_name(key: nodes.Scalar, where: Where) -> bool:
    if not _ENV_NAME.fullmatch(key.text):
        where.faults.add(
            key.place, f"{where.key}: `{key.text}` is no variable's name", "letters, digits and _, not starting with a digit"
        )
        return False
    if key.text.startswith("HPCSWEEP_"):
        where.faults.add(
            key.place, f"{where.key}: variables that begin with HPCSWEEP_ are hpcsweep's own", "choose another name"
        )
        return False
    return True


def _is_target(key: nodes.Scalar, where: Where) -> bool:
    parts = key.text.split("/")
    if key.text.startswith("/") or ".." in parts or not key.text.strip() or parts[-1] in ("", "."):
        where.faults.add(
            key.place,
            f"{where.key}: `{key.text}` is no file in the task's folder",
            "write a relative path without .., such as in/input.nml",
        )
        return False
    if _OURS_IN_TASK_FOLDER.fullmatch(key.text):
        where.faults.add(key.place, f"{where.key}: `{key.text}` is written by hpcsweep itself", "choose another name")
        return False
    check_template(key, key.text, where, sees_parameters=True)
    return True


def _read_links(node: Node, where: Where) -> tuple[str, ...] | None:
    paths: tuple[str, ...] | None = TEXTS.read(node, where)
    seen: dict[str, str] = {}
    for path in paths or ():
        name = path.rstrip("/").rpartition("/")[2]
        if is_expression(path):
            where.wrong(node, f"`{path}`: no expressions here", "the links are the same for all tasks")
        elif name in ("", ".", ".."):
            where.wrong(node, f"`{path}` gives no name for the link", "name the folder or file itself")
        elif name in seen:
            where.wrong(node, f"`{seen[name]}` and `{path}` would both be called `{name}`")
        elif _OURS_IN_TASK_FOLDER.fullmatch(name):
            where.wrong(node, f"`{name}` is written by hpcsweep itself", "link the folder that it is in")
        seen[name] = path
    return paths


def _read_metrics(node: Node, where: Where) -> tuple[str, ...] | None:
    patterns: tuple[str, ...] | None = TEXTS.read(node, where)
    for pattern in patterns or ():
        check_template(node, pattern, where, sees_parameters=True)
        if not is_expression(pattern) and (pattern.startswith("/") or ".." in pattern.split("/")):
            where.wrong(
                node,
                f"`{pattern}` is outside the task's folder",
                "every task would read the same files; name the task's own with an expression: out/{{ lr }}.csv",
            )
    return patterns


def _read_objective(node: Node, where: Where) -> str | None:
    value = read_text(node, where)
    if value is None:
        return None
    name, *rest = (part.strip() for part in value.split(":"))
    if not name or len(rest) not in (1, 2) or rest[-1] not in ("min", "max") or (len(rest) == 2 and rest[0] not in REDUCTIONS):
        hint = f"write val_loss:min, or val_loss:last:min; the word between is one of {', '.join(REDUCTIONS)}"
        where.wrong(node, f"`{value}` is no objective", hint)
        return None
    return ":".join((name, *rest))


def _read_umask(node: Node, where: Where) -> int | None:
    written = node.text if isinstance(node, nodes.Scalar) and type(node.value) in (str, int) else ""
    if not re.fullmatch(r"(0o)?[0-7]{1,4}", written):
        where.expected(node, "an octal number such as 027")
        return None
    mask = int(written.removeprefix("0o"), 8)
    if mask & 0o700 or mask > 0o777:
        where.wrong(node, f"`{written}` takes your own rights away", "write one such as 027, 077 or 002")
        return None
    return mask


def _read_group(node: Node, where: Where) -> str | None:
    if isinstance(node, nodes.Scalar) and type(node.value) is int:
        return node.text
    value = read_text(node, where)
    if value is not None and any(char.isspace() for char in value):
        where.expected(node, "a group's name")
        return None
    return value


def _one_for_now(node: Node, where: Where) -> int | None:
    value: int | None = whole(1).read(node, where)
    if value is not None and value > 1:
        where.wrong(node, f"{value} is not yet in this version", "each element runs one task; leave it out")
    return value


_SCHEDULER = one_of("auto", "slurm", "local")
_PATH_KIND = {"type": "string"}

ARRAY_KEYS: dict[str, Key] = {
    "at_once": Key(kind=whole(1), help="So many elements at once over the whole run, whatever number of arrays it has."),
    "mode": Key(
        kind=one_of("array", "jobs"), help="`jobs` submits single jobs, where a site forbids arrays.", field="array_mode"
    ),
    "tasks_per_job": Key(kind=Kind(read=_one_for_now, schema={"const": 1}), help="Tasks in one element. Not yet: only 1."),
    "parallel": Key(
        kind=Kind(read=_one_for_now, schema={"const": 1}), help="Tasks side by side in one element. Not yet: only 1."
    ),
}

CONTAINER_KEYS: dict[str, Key] = {
    "image": Key(kind=text(no_expressions="one image serves all tasks"), help="The image: a file, or what the runtime takes."),
    "runtime": Key(kind=one_of("apptainer", "singularity", "docker"), help="Default: the first of these on the node."),
    "nv": Key(kind=BOOLEAN, help="Bring the NVIDIA GPUs into the container."),
    "bind": Key(kind=TEXTS, help="More folders to bind: /data or /data:/mnt. Run folder, workdir and TMPDIR are bound anyway."),
}

FINALLY_KEYS: dict[str, Key] = {
    "command": Key(kind=COMMAND, help="What to run once, after the tasks."),
    "when": Key(
        kind=one_of("done", "ended"), help="`done`: only when every task is done; `ended`: when all have ended, however."
    ),
    "resources": Key(
        kind=_resources(sees_parameters=False),
        help="What it asks for; account, partition and qos are taken over from the tasks.",
    ),
}

KEYS: dict[str, Key] = {
    "name": Key(
        kind=Kind(read=_read_name, schema={"type": "string", "maxLength": 100}),
        help="The sweep's name; default: the file's stem.",
    ),
    "command": Key(
        kind=COMMAND,
        help="What each task runs: text for bash, each {{ }} quoted for it; or a list of words, run without a shell.",
    ),
    "scheduler": Key(
        kind=Kind(read=_read_scheduler, schema=_SCHEDULER.schema),
        help="auto (by what is installed), slurm or local (this machine).",
    ),
    "template": Key(
        kind=Kind(read=_read_file, schema=_PATH_KIND),
        help="Your own job script or template, relative to this file; default: the scheduler's.",
    ),
    "resources": Key(kind=_resources(sees_parameters=True), help="What one task asks for; any value may be an expression."),
    "slurm": Key(
        kind=entries(Kind(read=_read_option, schema=_SCALAR), check_name=_is_option_name),
        help="Any option of sbatch, as it is: {constraint: a100}.",
    ),
    "array": Key(kind=table(ARRAY_KEYS), help="How the tasks become elements of job arrays."),
    "workdir": Key(
        kind=text(no_expressions="it is one for all tasks; `workdir: task` gives each task its own folder"),
        help="Where the command runs, relative to where submit was called; `task`: the task's own folder.",
    ),
    "files": Key(
        kind=entries(Kind(read=_read_file, schema=_PATH_KIND), check_name=_is_target),
        help="Files made in the task's folder: target: template. Rendered for each task, without quoting.",
    ),
    "stdin": Key(
        kind=Kind(read=_read_stdin, schema=_PATH_KIND),
        help="Standard input: a template's path; a text of several lines or with {{ }} is the input itself.",
    ),
    "link": Key(kind=Kind(read=_read_links, schema=TEXTS.schema), help="Symbolic links made in the task's folder."),
    "env": Key(
        kind=entries(Kind(read=_read_env, schema=_SCALAR), check_name=_is_env_name),
        help="Variables of the environment; {{ resources.cpus }} may be used.",
    ),
    "env_from": Key(
        kind=one_of("submit", "clean"),
        help="`submit`: PATH, conda, virtual environment and modules come along from where submit was called.",
    ),
    "setup": Key(
        kind=template_text(sees_parameters=False),
        help="Shell text that runs once an element, before its tasks: module load cuda.",
    ),
    "teardown": Key(kind=template_text(sees_parameters=False), help="Shell text that runs once an element, after its tasks."),
    "container": Key(kind=table(CONTAINER_KEYS), help="The container that the command runs in."),
    "metrics": Key(
        kind=Kind(read=_read_metrics, schema=TEXTS.schema),
        help='Patterns of the files with results, default "*.metrics", in the task\'s folder; with an expression relative to workdir.',
    ),
    "objective": Key(
        kind=Kind(read=_read_objective, schema={"type": "string", "pattern": f"^[^:]+(:({'|'.join(REDUCTIONS)}))?:(min|max)$"}),
        help="What counts, and whether little or much of it is good: val_loss:min, val_loss:last:min.",
    ),
    "canary": Key(kind=whole(1), help="Run so many tasks first, and the rest only when they are done."),
    "max_failures": Key(kind=whole(1), help="Hold what has not started after so many failures."),
    "finally": Key(kind=table(FINALLY_KEYS), help="One command after the tasks: aggregation.", field="finally_"),
    "runs_dir": Key(
        kind=text(no_expressions="use $USER, $HOME or another variable"),
        help="Where run directories are made; ~ and $USER are filled in.",
    ),
    "umask": Key(
        kind=Kind(read=_read_umask, schema={"type": ["string", "integer"]}),
        help="Rights that files of the run do not get: 027, 002.",
    ),
    "group": Key(kind=Kind(read=_read_group, schema={"type": ["string", "integer"]}), help="Group that files of the run get."),
    "settle": Key(
        kind=SECONDS, help="How long to wait before a submission without an answer is repeated (default 6m).", field="settle_s"
    ),
}
"""All settings. What describes the space is in SPACE_KEYS."""

SPACE_KEYS: dict[str, str] = {
    "space": "The parameter space: the keys of a mapping multiply; a list holds alternatives.",
    "spaces": "Named spaces, combined by `sweep:`.",
    "sweep": "An expression of the names under `spaces:`: data * (sgd + adam) * 3.",
    "sample": "Draw n distinct points of the space: {n: 50, method: random, seed: 0}.",
    "derive": "Parameters computed from others, in this order.",
    "where": "Conditions that every point must meet.",
    "exclude": "Points to leave out; a partial match is enough.",
    "include": "Points to add.",
}
"""Keys that the space's reader takes; they are in sweep files only."""

NOT_YET = ("pbs", "torque", "retry", "search", "stop", "budget", "oom", "inject", "signal", "stage", "snapshot", "on_timeout")
"""Keys of later versions: refused, never ignored."""

_WORDS = {
    "parameters": "space",
    "params": "space",
    "grid": "space",
    "matrix": "space",
    "program": "command",
    "script": "command",
    "cmd": "command",
    "run": "command",
    "environment": "env",
    "output_dir": "runs_dir",
    "filter": "where",
    "constraints": "where",
}


def read_settings(merged: nodes.Mapping, faults: Faults, *, names: Collection[str] | None) -> dict[str, Any]:
    """The values of all settings that are there, by key; what is wrong goes to ``faults``.

    Args:
        merged: the sweep file over its profiles, under the command line.
        faults: where faults go.
        names: the parameters; None when the space has faults, so that expressions are not held against it.
    """
    root = Where(key="", faults=faults, names=names)
    values: dict[str, Any] = {}
    for key, node in merged:
        if key.text in KEYS:
            values[key.text] = KEYS[key.text].kind.read(node, root.child(key.text))
        elif key.text not in SPACE_KEYS:
            add_unknown_key(key, faults)
    container = values.get("container")
    if isinstance(container, Mapping) and "image" not in container:
        faults.add(_place_of(merged, "container"), "container: an `image` is missing", "container: {image: x.sif}")
    last = values.get("finally")
    if isinstance(last, Mapping) and "command" not in last:
        faults.add(_place_of(merged, "finally"), "finally: a `command` is missing", "finally: {command: python summary.py}")
    return values


def add_unknown_key(key: nodes.Scalar, faults: Faults) -> None:
    """The fault of a top-level key that this version does not have."""
    if key.text in NOT_YET:
        faults.add(key.place, f"`{key.text}` is not yet in this version", "leave it out")
        return
    if key.text in RESOURCE_KEYS or key.text in RESOURCE_ALIASES or key.text in _RESOURCE_WORDS:
        hint = f"resources go together: resources: {{{key.text}: ...}}"
    elif key.text in ARRAY_KEYS:
        hint = f"it goes under array: {{{key.text}: ...}}"
    elif key.text in ("profiles", "match"):
        hint = "profiles are in ~/.config/hpcsweep/config.yaml or hpcsweep.yaml"
    elif key.text in _WORDS:
        hint = f"it is called `{_WORDS[key.text]}`"
    else:
        hint = suggest(key.text, (*KEYS, *SPACE_KEYS))
        if not hint.startswith("did you mean"):
            hint = "a parameter goes under `space:` (on the command line: -p)"
    faults.add(key.place, f"unknown key `{key.text}`", hint)


def _place_of(mapping: nodes.Mapping, name: str) -> Any:
    node = mapping.get(name)
    return node.place if node is not None else mapping.place
