"""A YAML document with the place of every part: what the strict reader gives and the other readers read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpcsweep.errors import Place
from hpcsweep.model import Value


@dataclass(frozen=True, kw_only=True)
class Scalar:
    """One value; ``text`` is how it was written, ``plain`` whether without quotes.

    ``comment`` is the comment that ended a plain value on its line (yaml_reader.comment_cut), for texts that it may have cut.
    """

    place: Place
    value: Value
    text: str
    plain: bool = True
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """A list."""

    place: Place
    items: tuple[Node, ...]


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """A mapping whose keys are texts, in the order of the file (merges ``<<`` already done)."""

    place: Place
    entries: tuple[tuple[Scalar, Node], ...]

    def __iter__(self) -> Iterator[tuple[Scalar, Node]]:
        return iter(self.entries)

    def get(self, name: str) -> Node | None:
        """The value under ``name``, or None."""
        return next((node for key, node in self.entries if key.text == name), None)


Node = Scalar | Sequence | Mapping


def to_data(node: Node) -> Value:
    """The plain value of a node: scalars, lists, dicts."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [to_data(item) for item in node.items]
        case Mapping():
            return {key.text: to_data(value) for key, value in node.entries}


def kind_of(node: Node) -> str:
    """Name what a node is, for messages: ``a list``, ``a mapping``, ``text``, ``a number``, ``true``, ``nothing``."""
    match node:
        case Sequence():
            return "a list"
        case Mapping():
            return "a mapping"
        case Scalar(value=None):
            return "null" if node.text else "nothing"
        case Scalar(value=bool()):
            return node.text
        case Scalar(value=int() | float()):
            return f"the number {node.text}"
        case _:
            return "a text"
