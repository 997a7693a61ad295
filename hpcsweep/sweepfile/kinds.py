"""What a setting's value may be: each kind reads a node, says what it expected, and describes itself as JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpcsweep.errors import Faults, HpcsweepError
from hpcsweep.expressions import compile_template
from hpcsweep.render.shared import compile_shared_template
from hpcsweep.sweepfile import nodes
from hpcsweep.sweepfile.front_end import place_in
from hpcsweep.sweepfile.nodes import Node
from hpcsweep.sweepfile.resources import is_expression, show_value
from hpcsweep.sweepfile.units import TIME_EXAMPLES, parse_time

Schema = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which setting is being read, and where its faults go.

    ``names`` are the parameters that an expression may use; None while they are unknown, because the space has faults.
    """

    key: str
    faults: Faults
    names: Collection[str] | None = ()

    def child(self, name: str) -> Where:
        """The same, for a key below this one."""
        return Where(key=f"{self.key}.{name}" if self.key else name, faults=self.faults, names=self.names)

    def wrong(self, node: Node, message: str, hint: str = "") -> None:
        """A fault at ``node``, with the setting's name in front."""
        self.faults.add(node.place, f"{self.key}: {message}", hint)

    def expected(self, node: Node, what: str, hint: str = "") -> None:
        """The fault of a value of a wrong type."""
        self.wrong(node, f"expected {what}, got {show_value(nodes.to_data(node))}", hint)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of value. ``read`` gives None after it has added a fault; ``schema`` is for editors."""

    read: Callable[[Node, Where], Any]
    schema: Schema


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of a mapping: its kind and what it is for. ``field`` is the field of Settings, when it is not the key's name."""

    kind: Kind
    help: str
    field: str = ""


@dataclass(frozen=True, kw_only=True)
class FileRef:
    """A file that a setting names; the path is still as it was written."""

    path: str
    node: nodes.Scalar = field(compare=False)


def read_text(node: Node, where: Where) -> str | None:
    """A text that is not empty."""
    if not isinstance(node, nodes.Scalar) or not isinstance(node.value, str):
        hint = f'write "{node.text}"' if isinstance(node, nodes.Scalar) and node.value is not None else ""
        where.expected(node, "a text", hint)
        return None
    if not node.value.strip():
        where.expected(node, "a text that is not empty")
        return None
    return node.value


def text(*, no_expressions: str = "") -> Kind:
    """A text; ``no_expressions`` says why ``{{ }}`` cannot stand in it."""

    def read(node: Node, where: Where) -> str | None:
        value = read_text(node, where)
        if value is not None and no_expressions and is_expression(value):
            where.wrong(node, f"no expressions here: {no_expressions}")
            return None
        return value

    return Kind(read=read, schema={"type": "string"})


def check_template(node: Node, value: str, where: Where) -> None:
    """Add the fault of a text over the parameters whose expressions do not compile."""
    if is_expression(value):
        check_compiles(node, where, lambda names: compile_template(value, names=names))


def check_shared_template(node: Node, value: str, where: Where) -> None:
    """The same for a text that is one for all tasks, so that it sees ``resources`` but no parameters."""
    if is_expression(value):
        check_compiles(node, where, lambda names: compile_shared_template(value, where.key, names))


def check_compiles(node: Node, where: Where, compile_: Callable[[Collection[str]], object]) -> None:
    """Add the fault that ``compile_`` raises; nothing is compiled while the parameters are unknown."""
    if where.names is None:
        return
    try:
        compile_(where.names)
    except HpcsweepError as error:
        place = place_in(node, getattr(error, "offset", None), where.faults) if isinstance(node, nodes.Scalar) else node.place
        says_key = error.message.startswith(f"`{where.key}`")
        where.faults.add(place, error.message if says_key else f"{where.key}: {error.message}", error.hint)


def one_of(*words: str) -> Kind:
    """One of a few words."""
    expected = " or ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]

    def read(node: Node, where: Where) -> str | None:
        if isinstance(node, nodes.Scalar) and node.value in words:
            return str(node.value)
        where.expected(node, expected)
        return None

    return Kind(read=read, schema={"enum": list(words)})


def whole(minimum: int) -> Kind:
    """A whole number."""

    def read(node: Node, where: Where) -> int | None:
        if isinstance(node, nodes.Scalar) and type(node.value) is int and node.value >= minimum:
            return node.value
        where.expected(node, f"a whole number from {minimum}")
        return None

    return Kind(read=read, schema={"type": "integer", "minimum": minimum})


def _read_boolean(node: Node, where: Where) -> bool | None:
    if isinstance(node, nodes.Scalar) and isinstance(node.value, bool):
        return node.value
    where.expected(node, "true or false")
    return None


def _read_seconds(node: Node, where: Where) -> int | None:
    if not isinstance(node, nodes.Scalar) or isinstance(node.value, bool):
        where.expected(node, "a time", f"write it like {TIME_EXAMPLES}")
        return None
    try:
        return parse_time(str(node.value))  # a bare number is refused there, with its unit shown
    except HpcsweepError as error:
        where.wrong(node, error.message, error.hint)
        return None


def _read_texts(node: Node, where: Where) -> tuple[str, ...] | None:
    items = node.items if isinstance(node, nodes.Sequence) else (node,)
    if not items:
        where.expected(node, "at least one text")
        return None
    read = [read_text(item, where) for item in items]
    return tuple(item for item in read if item is not None) if None not in read else None


def _read_command(node: Node, where: Where) -> str | tuple[str, ...] | None:
    """Words are taken as they are written: 1e-3 in a list stays 1e-3."""
    if not isinstance(node, nodes.Sequence):
        if isinstance(node, nodes.Mapping):
            where.expected(node, "a text or a list of words", "a command with `: ` in it goes in quotes or below `|`")
            return None
        return read_text(node, where)
    words = []
    for item in node.items:
        if not isinstance(item, nodes.Scalar) or item.value is None:
            where.expected(item, "a word", "an expression that gives a list is spliced: '{{ params | flags }}'")
        else:
            words.append(item.value if isinstance(item.value, str) else item.text)
    if not words:
        where.expected(node, "at least one word")
    return tuple(words) or None


def table(keys: Mapping[str, Key], *, aliases: Mapping[str, str] | None = None, other: Mapping[str, str] | None = None) -> Kind:
    """A mapping with known keys; read gives a dict of those that are there.

    ``aliases`` are keys that mean another one; ``other`` has hints for words of other tools.
    """

    def read(node: Node, where: Where) -> dict[str, Any] | None:
        if not isinstance(node, nodes.Mapping):
            where.expected(node, "a mapping", f"its keys are {', '.join(keys)}")
            return None
        values = {}
        for key, value in node:
            name = (aliases or {}).get(key.text, key.text)
            if name in values:
                twin = name if key.text != name else next(alias for alias, meant in (aliases or {}).items() if meant == name)
                message = f"{where.key}: `{key.text}` means the same as `{twin}`, which is there too"
                where.faults.add(key.place, message, "keep one of the two")
            elif name in keys:
                values[name] = keys[name].kind.read(value, where.child(key.text))
            else:
                hint = (other or {}).get(key.text) or suggest(key.text, keys)
                where.faults.add(key.place, f"{where.key} has no key `{key.text}`", hint)
        return values

    properties = {name: describe(key) for name, key in keys.items()}
    properties |= {alias: properties[name] for alias, name in (aliases or {}).items()}
    return Kind(read=read, schema={"type": "object", "properties": properties, "additionalProperties": False})


def entries(item: Kind, *, check_name: Callable[[nodes.Scalar, Where], bool] | None = None) -> Kind:
    """A mapping with keys of the user's own."""

    def read(node: Node, where: Where) -> dict[str, Any] | None:
        if not isinstance(node, nodes.Mapping):
            where.expected(node, "a mapping")
            return None
        return {
            key.text: item.read(value, where.child(key.text))
            for key, value in node
            if check_name is None or check_name(key, where)
        }

    return Kind(read=read, schema={"type": "object", "additionalProperties": item.schema})


def describe(key: Key) -> Schema:
    """The schema of one key; null takes a setting away again."""
    return {"description": key.help, "anyOf": [key.kind.schema, {"type": "null"}]}


def suggest(name: str, known: Collection[str]) -> str:
    """Did you mean, or else what there is."""
    import difflib  # noqa: PLC0415 - only where there is a fault

    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else "known are " + ", ".join(known)


BOOLEAN = Kind(read=_read_boolean, schema={"type": "boolean"})
SECONDS = Kind(read=_read_seconds, schema={"type": "string"})
TEXTS = Kind(
    read=_read_texts, schema={"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
)
COMMAND = Kind(
    read=_read_command,
    schema={
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number", "boolean"]}, "minItems": 1}],
    },
)
