"""What is done about a task's end: ``signal:``, ``on_timeout:`` and ``stage:``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpcsweep.model import Signal, Stage
from hpcsweep.sweepfile import nodes
from hpcsweep.sweepfile.kinds import SECONDS, TEXTS, Key, Kind, Where, check_template, read_text, table, whole
from hpcsweep.sweepfile.nodes import Node

SIGNALS = ("USR1", "USR2", "INT", "TERM", "HUP")
"""What a program can be told by; others end it for sure, or stop it."""

MOST_CONTINUATIONS = 20
"""How often ``on_timeout: requeue`` lets one task go on."""

_HIGHEST_CODE = 125
"""The shell has words of its own from 126 on: not executable, not found, killed by a signal."""


def _read_name(node: Node, where: Where) -> str | None:
    written = node.value if isinstance(node, nodes.Scalar) else None
    name = str(written).upper().removeprefix("SIG")
    if name not in SIGNALS:
        where.expected(node, f"one of {', '.join(SIGNALS)}", "a program can save on these; USR1 is the usual one")
        return None
    return name


def _read_code(node: Node, where: Where) -> int | None:
    if isinstance(node, nodes.Scalar) and type(node.value) is int and 1 <= node.value <= _HIGHEST_CODE:
        return node.value
    where.expected(node, f"an exit code from 1 to {_HIGHEST_CODE}", "85 is the usual one; 0 means that all is done")
    return None


SIGNAL_KEYS: dict[str, Key] = {
    "name": Key(
        kind=Kind(read=_read_name, schema={"enum": [*SIGNALS, *(f"SIG{name}" for name in SIGNALS)]}),
        help="The signal that the program gets: USR1, USR2, INT, TERM or HUP.",
    ),
    "before": Key(kind=SECONDS, help="How long before the time limit: 120s.", field="before_s"),
    "saved": Key(
        kind=Kind(read=_read_code, schema={"type": "integer", "minimum": 1, "maximum": _HIGHEST_CODE}),
        help='The exit code with which the program says "saved, go on" (default 85).',
    ),
}
_SIGNAL_TABLE = table(SIGNAL_KEYS)


def _read_signal(node: Node, where: Where) -> Signal | None:
    values = _SIGNAL_TABLE.read(node, where)
    if values is None:
        return None
    missing = [key for key in ("name", "before") if key not in values]
    for key in missing:
        where.wrong(node, f"a `{key}` is missing", "signal: {name: USR1, before: 120s}")
    fields = {SIGNAL_KEYS[key].field or key: value for key, value in values.items()}
    return None if missing or None in fields.values() else Signal(**fields)


ON_TIMEOUT_KEYS: dict[str, Key] = {
    "requeue": Key(kind=whole(1), help=f"How often one task goes on at most (default {MOST_CONTINUATIONS})."),
}
_ON_TIMEOUT_TABLE = table(ON_TIMEOUT_KEYS)


def _read_on_timeout(node: Node, where: Where) -> int | None:
    if isinstance(node, nodes.Scalar) and node.value == "requeue":
        return MOST_CONTINUATIONS
    if not isinstance(node, nodes.Mapping):
        where.expected(node, "requeue", f"or with how often at most: on_timeout: {{requeue: {MOST_CONTINUATIONS}}}")
        return None
    values = _ON_TIMEOUT_TABLE.read(node, where) or {}
    if not values:
        where.wrong(node, "a `requeue` is missing", f"on_timeout: {{requeue: {MOST_CONTINUATIONS}}}")
    count: int | None = values.get("requeue")
    return count


def _read_inputs(node: Node, where: Where) -> tuple[str, ...] | None:
    paths = _read_patterns(node, where)
    for path in paths or ():
        if path.rstrip("/").rpartition("/")[2] in ("", ".", ".."):
            where.wrong(node, f"`{path}` gives no name for the copy", "name the folder or file itself")
    return paths


def _read_outputs(node: Node, where: Where) -> tuple[str, ...] | None:
    paths = _read_patterns(node, where)
    for path in paths or ():
        if path.startswith(("/", "~")) or ".." in path.split("/"):
            where.wrong(
                node,
                f"`{path}` is not below $HPCSWEEP_STAGE_DIR",
                "write it relative to that folder: *.ckpt, or out/ for a folder",
            )
    return paths


def _read_patterns(node: Node, where: Where) -> tuple[str, ...] | None:
    """A text or a list of them; an expression is rendered for each task, and what it gives is no pattern."""
    items = node.items if isinstance(node, nodes.Sequence) else (node,)
    read = [read_text(item, where) for item in items]
    if not items:
        where.expected(node, "at least one text")
    for item, path in zip(items, read, strict=True):
        if path is not None:
            check_template(item, path, where)
            if "\0" in path or path.startswith("~"):
                where.wrong(item, f"`{path}`: `~` is not filled in", "write the path out")
    return tuple(path for path in read if path is not None) if None not in read and items else None


STAGE_KEYS: dict[str, Key] = {
    "in": Key(
        kind=Kind(read=_read_inputs, schema=TEXTS.schema),
        help="Files, folders and patterns to copy to the node's disk before the program, relative to where submit was called.",
        field="inputs",
    ),
    "out": Key(
        kind=Kind(read=_read_outputs, schema=TEXTS.schema),
        help="Patterns of what to copy from there into the task's folder afterwards: *.ckpt, out/.",
        field="outputs",
    ),
}
_STAGE_TABLE = table(STAGE_KEYS)


def _read_stage(node: Node, where: Where) -> Stage | None:
    values: Mapping[str, Any] | None = _STAGE_TABLE.read(node, where)
    if values is None:
        return None
    if not values:
        where.wrong(node, "an `in` or an `out` is missing", 'stage: {in: data/train.npz, out: "*.ckpt"}')
    return Stage(**{STAGE_KEYS[key].field: value for key, value in values.items() if value is not None})


SIGNAL = Kind(read=_read_signal, schema=_SIGNAL_TABLE.schema | {"required": ["name", "before"]})
ON_TIMEOUT = Kind(read=_read_on_timeout, schema={"anyOf": [{"const": "requeue"}, _ON_TIMEOUT_TABLE.schema]})
STAGE = Kind(read=_read_stage, schema=_STAGE_TABLE.schema)
