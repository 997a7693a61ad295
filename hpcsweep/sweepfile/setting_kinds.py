"""The kinds of single settings: names, options, variables, patterns and the like, each with its own rules."""

from __future__ import annotations

import re
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.gpus import GpuError, check_groups, parse_group
from hpcsweep.model import Snapshot
from hpcsweep.objective import DIRECTIONS, REDUCTIONS, ObjectiveError, parse_objective
from hpcsweep.render.shared import compile_shared_shell
from hpcsweep.sweepfile import nodes
from hpcsweep.sweepfile.front_end import place_in
from hpcsweep.sweepfile.kinds import (
    BOOLEAN,
    TEXTS,
    FileRef,
    Key,
    Kind,
    Schema,
    Where,
    check_compiles,
    check_shared_template,
    check_template,
    entries,
    one_of,
    read_text,
    table,
    whole,
)
from hpcsweep.sweepfile.nodes import Node
from hpcsweep.sweepfile.resources import RESOURCE_ALIASES, RESOURCE_KEYS, ResourceKey, is_expression
from hpcsweep.sweepfile.units import MEMORY_EXAMPLES, parse_memory

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
_OBJECTIVE_LOOK = rf"^([^:]+|.+:\s*({'|'.join(REDUCTIONS)})\s*):\s*({'|'.join(DIRECTIONS)})\s*$"
_OURS_IN_TASK_FOLDER = re.compile(r"params\.json|attempt-.*\.log")


def _read_name(node: Node, where: Where) -> str | None:
    value = read_text(node, where)
    if value is not None and (len(value) > 100 or "/" in value or not value.isprintable()):
        where.wrong(node, "a name has at most 100 characters, without slashes and line ends")
        return None
    return value


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
        check_template(node, value, where)
        return value
    return FileRef(path=value, node=node)


def _resource(name: str, key: ResourceKey, *, sees_parameters: bool) -> Kind:
    def read(node: Node, where: Where) -> Any:
        if not isinstance(node, nodes.Scalar):
            where.expected(node, key.expected)
        elif isinstance(node.value, str) and is_expression(node.value):
            check = check_template if sees_parameters else check_shared_template
            check(node, node.value, where)
        else:
            try:
                key.read(node.value)
            except HpcsweepError as error:
                where.wrong(node, error.message, error.hint)
        return nodes.to_data(node)

    schema: Schema = {"type": list(key.types)}
    if key.minimum is not None:
        schema["minimum"] = key.minimum
    if name == "time":
        schema["examples"] = ["90m", "1h30m", "2d", "01:30:00"]
    return Kind(read=read, schema=schema)


def resources(*, sees_parameters: bool) -> Kind:
    """The mapping ``resources:``; without parameters for ``finally``."""
    keys = {
        name: Key(kind=_resource(name, key, sees_parameters=sees_parameters), help=key.help)
        for name, key in RESOURCE_KEYS.items()
    }
    return table(keys, aliases=RESOURCE_ALIASES, other=RESOURCE_WORDS)


RESOURCE_WORDS = {
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


def _read_qsub_option(node: Node, where: Where) -> Any:
    """An option of PBS or Torque: ``l``, ``W`` and ``chunk`` hold pairs or a list."""
    inner = node.entries if isinstance(node, nodes.Mapping) else None
    if inner is not None:
        return {key.text: _read_option(value, where.child(key.text)) for key, value in inner}
    if isinstance(node, nodes.Sequence):
        return [_read_option(value, where) for value in node.items]
    return _read_option(node, where)


def _is_option_name(key: nodes.Scalar, where: Where) -> bool:
    if _OPTION_NAME.fullmatch(key.text):
        return True
    bare = key.text.lstrip("-").split("=")[0]
    hint = f"write `{bare}:` without dashes" if _OPTION_NAME.fullmatch(bare) else ""
    where.faults.add(key.place, f"{where.key}: `{key.text}` is no option's name", hint)
    return False


def _read_shell(node: Node, where: Where) -> str | None:
    value = read_text(node, where)
    if value is not None:
        check_compiles(node, where, lambda names: compile_shared_shell(value, where.key, names))
    return value


def _read_env(node: Node, where: Where) -> Any:
    if not isinstance(node, nodes.Scalar):
        where.expected(node, "a text, a number, true or false")
    elif isinstance(node.value, str):
        check_shared_template(node, node.value, where)
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
    check_template(key, key.text, where)
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


def _read_objective(node: Node, where: Where) -> str | None:
    value = read_text(node, where)
    if value is None or not isinstance(node, nodes.Scalar):
        return None
    try:
        parse_objective(value)
    except ObjectiveError as error:
        where.faults.add(place_in(node, error.offset, where.faults), f"{where.key}: {error.message}", error.hint)
        return None
    return ":".join(part.strip() for part in value.split(":"))


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


def _read_gpus(node: Node, where: Where) -> tuple[str, ...] | None:
    """The GPUs of this machine that tasks may have; each item is a device, or several that a task gets together."""
    if isinstance(node, nodes.Scalar) and node.value == "none":
        return ()
    if not isinstance(node, nodes.Sequence) or not node.items:
        hint = "which GPUs this machine gives out is a list, `gpus: [0, 1]`, or `none`; how many a task gets, `resources: {gpus: 1}`"
        where.expected(node, "a list of GPUs, or none", hint)
        return None
    groups = []
    for item in node.items:
        if not isinstance(item, nodes.Scalar) or isinstance(item.value, bool) or not isinstance(item.value, str | int):
            where.expected(item, "a GPU's number or UUID", 'several that a task gets together are one text: "0,1"')
            return None
        try:
            groups.append(parse_group(str(item.value)))
        except GpuError as error:
            where.wrong(item, error.message, error.hint)
            return None
    try:
        check_groups(groups)
    except GpuError as error:
        where.wrong(node, error.message, error.hint)
        return None
    return tuple(groups)


def _read_gpus_from(node: Node, where: Where) -> tuple[str, ...] | str | None:
    if isinstance(node, nodes.Sequence):
        return _read_gpus(node, where)
    value = read_text(node, where)
    if value is not None and value != "nvidia-smi" and not _ENV_NAME.fullmatch(value):
        where.expected(node, "a variable's name, `nvidia-smi`, or a list of GPUs", "gpus_from: [0, 1, 2, 3]")
        return None
    return value


def _read_tasks_per_job(node: Node, where: Where) -> int | str | None:
    if isinstance(node, nodes.Scalar) and node.value == "auto":
        return "auto"
    if isinstance(node, nodes.Scalar) and isinstance(node.value, str):
        where.expected(node, "a whole number from 1, or `auto`")
        return None
    value: int | None = whole(1).read(node, where)
    return value


def _read_project_paths(node: Node, where: Where) -> tuple[str, ...] | None:
    """Names and patterns below the project's folder."""
    paths: tuple[str, ...] | None = TEXTS.read(node, where)
    for path in paths or ():
        if is_expression(path):
            where.wrong(node, f"`{path}`: no expressions here", "the copy is the same for all tasks")
        elif path.startswith("/") or ".." in path.split("/") or path.strip("/") in ("", "."):
            where.wrong(node, f"`{path}` is not below the project's folder", "write it relative to that folder: configs/*.json")
    return tuple(path.rstrip("/").removeprefix("./") for path in paths) if paths is not None else None


def _read_size(node: Node, where: Where) -> int | None:
    written = node.value if isinstance(node, nodes.Scalar) else None
    if not isinstance(written, str):
        where.expected(node, "a size", f"write it like {MEMORY_EXAMPLES}")
        return None
    try:
        return parse_memory(written)
    except HpcsweepError as error:
        where.wrong(node, error.message, error.hint)
        return None


_PROJECT_PATHS = Kind(read=_read_project_paths, schema=TEXTS.schema)
SNAPSHOT_KEYS: dict[str, Key] = {
    "include": Key(kind=_PROJECT_PATHS, help="Patterns of files to copy although git does not know them: configs/*.json."),
    "exclude": Key(kind=_PROJECT_PATHS, help="Names and patterns of what not to copy: docs, *.ckpt."),
    "link": Key(kind=_PROJECT_PATHS, help="What the copy has as a symbolic link to the original: data."),
    "max_size": Key(
        kind=Kind(read=_read_size, schema={"type": "string"}),
        help="More than this is not copied (default 1G).",
        field="max_bytes",
    ),
}
_SNAPSHOT_TABLE = table(SNAPSHOT_KEYS)


def _read_snapshot(node: Node, where: Where) -> Snapshot | None:
    if not isinstance(node, nodes.Mapping):
        if isinstance(node, nodes.Scalar) and isinstance(node.value, bool):
            return Snapshot() if node.value else None
        where.expected(node, "true, false or a mapping", f"its keys are {', '.join(SNAPSHOT_KEYS)}")
        return None
    values = {SNAPSHOT_KEYS[key].field or key: value for key, value in (_SNAPSHOT_TABLE.read(node, where) or {}).items()}
    return Snapshot(**{key: value for key, value in values.items() if value is not None})


SCHEDULER_KEYS = ("slurm", "pbs", "torque")
"""The schedulers of clusters; each has a key with options of its own."""

NAME = Kind(read=_read_name, schema={"type": "string", "maxLength": 100})
SCHEDULER = one_of("auto", *SCHEDULER_KEYS, "local")
FILE = Kind(read=_read_file, schema={"type": "string"})
FILES = entries(FILE, check_name=_is_target)
STDIN = Kind(read=_read_stdin, schema={"type": "string"})
OPTIONS = entries(Kind(read=_read_option, schema=_SCALAR), check_name=_is_option_name)
QSUB_OPTIONS = entries(
    Kind(
        read=_read_qsub_option,
        schema={
            "anyOf": [_SCALAR, {"type": "object", "additionalProperties": _SCALAR}, {"type": "array", "items": _SCALAR}],
        },
    ),
    check_name=_is_option_name,
)
SHELL = Kind(read=_read_shell, schema={"type": "string"})
ENV = entries(Kind(read=_read_env, schema=_SCALAR), check_name=_is_env_name)
LINKS = Kind(read=_read_links, schema=TEXTS.schema)
OBJECTIVE = Kind(read=_read_objective, schema={"type": "string", "pattern": _OBJECTIVE_LOOK})
UMASK = Kind(read=_read_umask, schema={"type": ["string", "integer"]})
SNAPSHOT = Kind(read=_read_snapshot, schema={"anyOf": [BOOLEAN.schema, _SNAPSHOT_TABLE.schema]})
GPUS = Kind(
    read=_read_gpus,
    schema={"anyOf": [{"type": "array", "items": {"type": ["integer", "string"]}, "minItems": 1}, {"const": "none"}]},
)
GROUP = Kind(read=_read_group, schema={"type": ["string", "integer"]})
GPUS_FROM = Kind(
    read=_read_gpus_from,
    schema={"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "integer"]}}]},
)
TASKS_PER_JOB = Kind(read=_read_tasks_per_job, schema={"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]})
