"""The keys under ``resources:``, and the request that they come to for one task."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.expressions import Template, compile_template
from hpcsweep.gpus import LEAST
from hpcsweep.model import Params, Request, Value
from hpcsweep.sweepfile.units import MEMORY_EXAMPLES, TIME_EXAMPLES, parse_memory, parse_time


class ResourceError(HpcsweepError):
    """A value that no resource can have; ``key`` is its name."""

    def __init__(self, message: str, hint: str = "", key: str = "") -> None:
        super().__init__(message, hint)
        self.key = key


@dataclass(frozen=True, kw_only=True)
class ResourceKey:
    """One key of ``resources:``: the field of Request that it fills, how its value is read, what it is for."""

    field: str
    read: Callable[[Value], float | str]
    expected: str
    help: str
    types: tuple[str, ...] = ("string",)
    minimum: int | None = None


def _read_time(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ResourceError(f"expected a time, got {show_value(value)}", f"write it like {TIME_EXAMPLES}")
    return parse_time(str(value))  # a bare number is refused there, with its unit shown


def _read_bytes(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ResourceError(f"expected an amount of memory, got {show_value(value)}", f"write it like {MEMORY_EXAMPLES}")
    return parse_memory(str(value))


def _read_memory(value: Value) -> int:
    return 0 if value == "site" else _read_bytes(value)


def _read_count(minimum: int) -> Callable[[Value], int]:
    expected = f"a whole number from {minimum}"

    def read(value: Value) -> int:
        number = value
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
            number = int(value)  # "{{ a }}{{ b }}" gives text
        if isinstance(number, float) and number.is_integer():
            number = int(number)  # Jinja's / gives a float
        if isinstance(number, bool) or not isinstance(number, int):
            hint = "use // instead of /, or `| int`" if isinstance(number, float) else ""
            raise ResourceError(f"expected {expected}, got {show_value(value)}", hint)
        if number < minimum:
            raise ResourceError(f"expected {expected}, got {number}")
        return number

    return read


def _read_gpus(value: Value) -> float:
    """A whole number of GPUs, or the fraction of one that a task shares with others."""
    number = value
    if isinstance(value, str) and re.fullmatch(r"\s*0?\.[0-9]+\s*", value, re.ASCII):
        number = float(value)
    if isinstance(number, float) and LEAST <= number < 1:
        return number
    if isinstance(number, float) and 0 < number < LEAST:
        raise ResourceError(f"expected {_GPUS}, got {show_value(value)}", f"{LEAST} is the least")
    try:
        return _read_count(0)(value)
    except ResourceError as error:
        hint = "several tasks share one GPU with a fraction such as 0.5; more than one GPU is a whole number"
        raise ResourceError(f"expected {_GPUS}, got {show_value(value)}", hint) from error


def _read_word(value: Value) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise ResourceError(f"expected a name, got {show_value(value)}")
    if not text or text.startswith("-") or any(char.isspace() or not char.isprintable() for char in text):
        raise ResourceError(
            f"expected one word, got {show_value(value)}", "leave the key out, or write null, for the site's default"
        )
    return text


_GPUS = "a whole number from 0, or a fraction below 1"
_COUNT_TYPES = ("integer", "string")
RESOURCE_KEYS: dict[str, ResourceKey] = {
    "time": ResourceKey(
        field="time_limit_s",
        read=_read_time,
        expected=f"a time such as {TIME_EXAMPLES}",
        help="Time limit of one task: 90m, 1h30m, 2d, 01:30:00 or 1-12:00:00 (a bare number is refused).",
    ),
    "memory": ResourceKey(
        field="memory_bytes",
        read=_read_memory,
        expected=f"an amount such as {MEMORY_EXAMPLES}, or `site`",
        help="Memory of one task: 8G, 500M, 1.5T (powers of 1024), or `site` for clusters that refuse a memory request.",
    ),
    "cpus": ResourceKey(
        field="cpus",
        read=_read_count(1),
        expected="a whole number from 1",
        help="CPU cores of one task.",
        types=_COUNT_TYPES,
        minimum=1,
    ),
    "gpus": ResourceKey(
        field="gpus",
        read=_read_gpus,
        expected=_GPUS,
        help="GPUs of one task; a fraction such as 0.25 where several tasks share one.",
        types=("number", "string"),
        minimum=0,
    ),
    "gpu_type": ResourceKey(
        field="gpu_type",
        read=_read_word,
        expected="a name",
        help="Kind of GPU, as the site calls it: a100.",
        types=("string", "integer"),
    ),
    "nodes": ResourceKey(
        field="nodes",
        read=_read_count(1),
        expected="a whole number from 1",
        help="Nodes of one task (MPI and multi-node training).",
        types=_COUNT_TYPES,
        minimum=1,
    ),
    "tasks_per_node": ResourceKey(
        field="tasks_per_node",
        read=_read_count(1),
        expected="a whole number from 1",
        help="MPI ranks on each node.",
        types=_COUNT_TYPES,
        minimum=1,
    ),
    "partition": ResourceKey(
        field="partition",
        read=_read_word,
        expected="a name",
        help="Partition (queue) to submit to.",
        types=("string", "integer"),
    ),
    "account": ResourceKey(
        field="account",
        read=_read_word,
        expected="a name",
        help="Account (project) that is charged.",
        types=("string", "integer"),
    ),
    "qos": ResourceKey(
        field="qos", read=_read_word, expected="a name", help="Quality of service.", types=("string", "integer")
    ),
    "tmp": ResourceKey(
        field="tmp_bytes",
        read=_read_bytes,
        expected=f"an amount such as {MEMORY_EXAMPLES}",
        help="Local scratch space of one task: 20G.",
    ),
}
"""All keys of ``resources:``; the reader, the JSON Schema and the docs' table come from here."""

RESOURCE_ALIASES = {"queue": "partition"}
"""Other spellings that mean the same key."""


def show_value(value: Value) -> str:
    """A value for a message: short, and unlike any other value."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return "an empty text" if not value else f"`{value if len(value) <= 60 else value[:57] + '...'}`"
        case list():
            return "a list"
        case _:
            return "a mapping"


def is_expression(value: Value) -> bool:
    """Whether a value is a text with ``{{ }}`` or ``{% %}`` in it."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def merge(base: Mapping[str, Value], over: Mapping[str, Value]) -> dict[str, Value]:
    """``over`` laid over ``base``, key by key; ``queue`` is ``partition``, and null takes a key away."""
    merged = {RESOURCE_ALIASES.get(key, key): value for key, value in base.items()}
    merged.update({RESOURCE_ALIASES.get(key, key): value for key, value in over.items()})
    return {key: value for key, value in merged.items() if value is not None}


def resolve_request(resources: Mapping[str, Value], params: Params, names: Collection[str]) -> Request:
    """The request of one task: ``{{ }}`` rendered with its parameters, then read by each key's rules.

    An expression that gives null leaves the key to the site. Requests are equal exactly when their tasks can share an array.

    Args:
        resources: the sweep's ``resources:``, as settings keep them.
        params: the task's parameters.
        names: all parameter names of the sweep, so that an absent one is told from a misspelt one.

    Raises:
        ResourceError: an expression fails or gives what the key cannot be; it names the key and the point.
    """
    found: list[tuple[str, str, Value]] = []
    for key, value in resources.items():
        if isinstance(value, str) and is_expression(value):
            try:
                rendered = _compiled(value, frozenset(names)).render_native(params)
            except HpcsweepError as error:
                raise _at_point(error, key, params) from error
            if isinstance(rendered, list | dict):
                raise _at_point(ResourceError(f"`{value}` gives {show_value(rendered)}"), key, params)
        else:
            rendered = value
        if rendered is not None:
            found.append((key, type(rendered).__name__, rendered))
    try:
        return _request(tuple(found))
    except ResourceError as error:
        if any(is_expression(value) for value in resources.values()):
            raise _at_point(error, error.key, params) from error
        raise


@lru_cache(maxsize=256)
def _compiled(text: str, names: frozenset[str]) -> Template:
    return compile_template(text, names=names)


@lru_cache(maxsize=4096)
def _request(values: tuple[tuple[str, str, Any], ...]) -> Request:
    """``values``: key, type and value; the type is there because 1, 1.0 and true are equal keys of a cache."""
    fields: dict[str, Any] = {}
    for written, _, value in values:
        key = RESOURCE_ALIASES.get(written, written)
        if key not in RESOURCE_KEYS:
            raise ResourceError(f"resources.{written}: no such resource", "known are " + ", ".join(RESOURCE_KEYS), key=written)
        try:
            fields[RESOURCE_KEYS[key].field] = RESOURCE_KEYS[key].read(value)
        except HpcsweepError as error:
            raise ResourceError(f"resources.{written}: {error.message}", error.hint, key=written) from error
    return Request(**fields)


def _at_point(error: HpcsweepError, key: str, params: Params) -> ResourceError:
    """The error, with its key in front and the point behind."""
    place = f"resources.{key}: "
    message = error.message if error.message.startswith(place) else place + error.message
    point = ", ".join(f"{name}={value!r}" for name, value in params.items())
    if len(point) > 200:
        point = point[:197] + "..."
    return ResourceError(f"{message} (at the point {point})" if point else message, error.hint, key=key)
