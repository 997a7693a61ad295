"""A sweep built in Python as the sweep file that means the same. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.space import Distribution, Node, Product, Replicate, Rows, Sum, Values, Zip

_WORD = re.compile(r"[A-Za-z_][\w ./+-]*", re.ASCII)
_WORDS_OF_YAML = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"}
_WORDS_OF_SPACES = {"sum", "product", "zip", "csv", "replicate", "set", "value", "grid", "range", "linspace", "geomspace"} | {
    "uniform",
    "loguniform",
    "normal",
}
_MOST_LISTED = 20


def write_yaml(data: Mapping[str, Any]) -> str:
    """The mapping as YAML in which every text is read back as the same text.

    Raises:
        HpcsweepError: it holds something that a sweep file cannot.
    """
    import yaml  # noqa: PLC0415 - slow to import

    class Writer(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the package's name
            return True

    def text_node(writer: Any, text: str) -> Any:
        style = None if _is_plain(text) else "|" if "\n" in text else '"'
        return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Writer.add_representer(str, text_node)
    try:
        text: str = yaml.dump(
            _plain(data), Dumper=Writer, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120
        )
    except yaml.YAMLError as error:
        raise HpcsweepError(f"a sweep file cannot hold this: {error}") from error
    return text


def space_data(node: Node) -> dict[str, Any]:
    """The ``space:`` of a sweep file that has the points of a space, in their order."""
    match node:
        case Values():
            return _named(node.name, _alternatives(node))
        case Distribution():
            step = {} if node.step is None else {"step": node.step}
            return _named(node.name, {node.kind: list(node.numbers), **step})
        case Product():
            return _product(node)
        case Sum():
            # A block without a count has 0 where others have one.
            missing = dict.fromkeys(node.replicates, 1)
            return {"sum": [_replicated(block, missing) for block in node.blocks]}
        case Zip():
            return {"zip": [space_data(part) for part in node.spaces]}
        case Rows():
            return {"sum": [_row(row) for row in node.rows]}
        case Replicate():
            return _replicated(node.space, dict(node.counts), is_own=True)
    raise HpcsweepError(f"{type(node).__name__} is no part of a space")


def _product(node: Product) -> dict[str, Any]:
    if not node.factors:
        return {}
    if all(isinstance(factor, Values | Distribution) for factor in node.factors):
        merged: dict[str, Any] = {}
        for factor in node.factors:
            data = space_data(factor)
            if "set" in data:
                merged.setdefault("set", {}).update(data["set"])
            else:
                merged.update(data)
        if list(_names(merged)) == list(node.names):  # those under `set` stand together, and the order is the points'
            return merged
    return {"product": [space_data(factor) for factor in node.factors]}


def _names(data: Mapping[str, Any]) -> list[str]:
    return [name for key, value in data.items() for name in (value if key == "set" else [key])]


def _replicated(node: Node, counts: Mapping[str, Any], *, is_own: bool = False) -> dict[str, Any]:
    wanted = counts if is_own else {name: count for name, count in counts.items() if name not in node.replicates}
    if not wanted:
        return space_data(node)
    written = {name: _count(values) for name, values in wanted.items()}
    inner = space_data(node)
    if "replicate" in inner or not inner:
        inner = {"product": [inner]}
    return {**inner, "replicate": written}


def _count(values: Any) -> Any:
    return values if isinstance(values, int) else len(values) if isinstance(values, range) else list(values)


def _named(name: str, data: Any) -> dict[str, Any]:
    return {"set": {name: data}} if name in _WORDS_OF_SPACES else {name: data}


def _alternatives(node: Values) -> Any:
    values = node.values
    if isinstance(values, range) and len(values) > _MOST_LISTED:
        return {"range": [values[0], values[-1], values.step]}
    if len(values) == 1:
        return _single(values[0])
    return [{"value": value} if isinstance(value, dict) else value for value in values]


def _single(value: Any) -> Any:
    return {"value": value} if isinstance(value, list | dict) else value


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, value in row.items():
        part = _named(name, _single(value))
        data.setdefault("set", {}).update(part.pop("set", {})) if "set" in part else data.update(part)
    return data


def _is_plain(text: str) -> bool:
    return bool(_WORD.fullmatch(text)) and text.strip() == text and text.lower() not in _WORDS_OF_YAML


def _plain(data: Any) -> Any:
    """Tuples as lists, numpy's numbers as Python's, mappings as dicts."""
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple | range):
        return [_plain(value) for value in data]
    if hasattr(data, "tolist") and not isinstance(data, int | float):
        return _plain(data.tolist())
    return data
