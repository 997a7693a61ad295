"""``-p lr=0.1,0.2``: parameters replaced or added from the command line, before the space is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hpcsweep.errors import Faults, Place
from hpcsweep.sweepfile.nodes import Mapping, Node, Scalar, Sequence
from hpcsweep.sweepfile.values_reader import find_form
from hpcsweep.sweepfile.words import FOREIGN, FORMS, KEYWORDS, is_name
from hpcsweep.sweepfile.yaml_reader import read_value

_CLOSING = {"[": "]", "{": "}"}


def apply_overrides(sweep: Mapping, assignments: Iterable[str], faults: Faults) -> Mapping:
    """The sweep file with each ``name=values`` of ``-p`` put into its space, the later one winning.

    Where the space sets the name, in whatever block or group, its values are replaced there; a name that it does not set
    becomes one more factor of the whole. What stands after ``=`` is read as in the sweep file; with commas outside of quotes
    and brackets it is a list: ``lr=0.1,0.2`` is ``lr: [0.1, 0.2]``. For a replicate the values are values, never a count.
    """
    for assignment in assignments:
        option = f"-p {assignment}" if len(assignment) <= 60 else f"-p {assignment[:57]}..."
        name, equals, written = assignment.partition("=")
        name = name.strip()
        if not equals or not is_name(name):
            hint = "write -p NAME=VALUES, as in -p lr=0.1,0.2"
            if equals:
                hint = "names are ASCII letters, digits and _ @ / + ~ -, joined by dots"
            message = f"{name!r} is not the name of a parameter" if equals else "an = is missing"
            faults.add(Place(file=option), message, hint)
            continue
        values = read_values_text(written, option, faults)
        if values is not None:
            sweep = _override(sweep, name, values, option, faults)
    return sweep


def read_values_text(text: str, option: str, faults: Faults) -> Node | None:
    """The values that are written on the command line: ``0.1``, ``0.1,0.2``, ``[0.1, 0.2]``, ``{geomspace: [1e-4, 1, 5]}``."""
    parts = _split(text)
    if not text.strip():
        faults.add(Place(file=option), "there is no value after =", "write null for nothing, '' in quotes for an empty text")
        return None
    values: list[Node] = []
    for part in parts:
        value = read_value(part, option, faults)
        if value is None:
            return None
        values.append(_at(value, Place(file=option)))
    return values[0] if len(values) == 1 else Sequence(place=Place(file=option), items=tuple(values))


def _split(text: str) -> list[str]:
    """The parts between commas that are outside of quotes and brackets; quotes count only where a value begins with one."""
    parts = [""]
    open_ones: list[str] = []
    quote = ""
    for character in text:
        if quote:
            quote = "" if character == quote and not (quote == '"' and _is_escaped(parts[-1])) else quote
        elif character in "\"'" and (open_ones or not parts[-1].strip()):
            quote = character
        elif character in _CLOSING and (open_ones or not parts[-1].strip()):
            open_ones.append(_CLOSING[character])
        elif open_ones and character == open_ones[-1]:
            open_ones.pop()
        elif character == "," and not open_ones:
            parts.append("")
            continue
        parts[-1] += character
    return parts


def _is_escaped(before: str) -> bool:
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _at(node: Node, place: Place) -> Node:
    """The node with the option for its place: columns inside a part of an option would mislead."""
    match node:
        case Scalar():
            return replace(node, place=place)
        case Sequence():
            return Sequence(place=place, items=tuple(_at(item, place) for item in node.items))
        case Mapping():
            entries = tuple((replace(key, place=place), _at(value, place)) for key, value in node)
            return Mapping(place=place, entries=entries)


def _override(sweep: Mapping, name: str, values: Node, option: str, faults: Faults) -> Mapping:
    derive = sweep.get("derive")
    if derive is not None and _sets(derive, name):
        faults.add(
            Place(file=option), f"{name} is derived from other parameters", "set those, or change derive: in the sweep file"
        )
        return sweep
    replaced = 0
    entries: list[tuple[Scalar, Node]] = []
    for key, node in sweep:
        changed = node
        if key.text == "space":
            changed, count = _replace(node, name, values)
            replaced += count
        elif key.text == "spaces" and isinstance(node, Mapping):
            blocks = [(block, *_replace(space, name, values)) for block, space in node]
            replaced += sum(count for _, _, count in blocks)
            changed = replace(node, entries=tuple((block, space) for block, space, _ in blocks))
        entries.append((key, changed))
    sweep = replace(sweep, entries=tuple(entries))
    return sweep if replaced else _add(sweep, name, values, option)


def _sets(node: Node, name: str) -> bool:
    return _replace(node, name, node)[1] > 0


def _replace(node: Node, name: str, values: Node) -> tuple[Node, int]:
    """The space with the values of ``name`` replaced wherever it is set, and in how many places that was."""
    if not isinstance(node, Mapping):
        return node, 0
    count = 0
    entries: list[tuple[Scalar, Node]] = []
    for key, value in node:
        changed, more = value, 0
        if key.text in ("sum", "product", "zip") and isinstance(value, Sequence):
            blocks = [_replace(item, name, values) for item in value.items]
            changed, more = replace(value, items=tuple(block for block, _ in blocks)), sum(more for _, more in blocks)
        elif key.text in ("zip", "product", "sum"):
            changed, more = _replace(value, name, values)
        elif key.text == "set":
            changed, more = _replace_parameters(value, name, values)
        elif key.text == "replicate":
            # A plain number would be a count there: -p seed=5 means the seed 5.
            listed = Sequence(place=values.place, items=(values,)) if isinstance(values, Scalar) else values
            changed, more = _replace_parameters(value, name, listed)
        elif key.text not in KEYWORDS:
            changed, more = _replace_parameter(key, value, name, values)
        count += more
        entries.append((key, changed))
    return replace(node, entries=tuple(entries)), count


def _replace_parameters(node: Node, name: str, values: Node) -> tuple[Node, int]:
    if not isinstance(node, Mapping):
        return node, 0
    changed = [(key, *_replace_parameter(key, value, name, values)) for key, value in node]
    return replace(node, entries=tuple((key, value) for key, value, _ in changed)), sum(count for _, _, count in changed)


def _replace_parameter(key: Scalar, value: Node, name: str, values: Node) -> tuple[Node, int]:
    is_group = isinstance(value, Mapping) and find_form(value) is None
    if key.text == name and not is_group:
        return values, 1
    if is_group and name.startswith(f"{key.text}."):
        return _replace(value, name[len(key.text) + 1 :], values)
    return value, 0


def _add(sweep: Mapping, name: str, values: Node, option: str) -> Mapping:
    """One more factor of the whole space."""
    place = Place(file=option)
    space = sweep.get("space")
    entry = (_key(name, place), values)
    # Under set: a name may be any word, also a keyword; and a group of the same name keeps its key.
    is_set = name in (*KEYWORDS, *FORMS, *FOREIGN) or (isinstance(space, Mapping) and space.get(name) is not None)
    factor = Mapping(place=place, entries=(entry,))
    if is_set:
        factor = Mapping(place=place, entries=((_key("set", place), factor),))
    spaces, expression = sweep.get("spaces"), sweep.get("sweep")
    if isinstance(spaces, Mapping) and isinstance(expression, Scalar) and isinstance(expression.value, str):
        block = _free_name(spaces)
        more = replace(spaces, entries=(*spaces.entries, (_key(block, place), factor)))
        product = f"({expression.text}) * {block}"
        changed: dict[str, Node] = {"spaces": more, "sweep": replace(expression, value=product, text=product)}
        return replace(sweep, entries=tuple((key, changed.get(key.text, node)) for key, node in sweep))
    if space is None:
        return replace(sweep, entries=(*sweep.entries, (_key("space", place), factor)))
    if not isinstance(space, Mapping):
        return sweep
    if is_set and space.get("set") is not None:
        blocks = Sequence(place=space.place, items=(space, factor))
        whole = Mapping(place=space.place, entries=((_key("product", place), blocks),))
    else:
        whole = replace(space, entries=(*space.entries, *factor.entries))
    return replace(sweep, entries=tuple((key, whole if key.text == "space" else node) for key, node in sweep))


def _key(text: str, place: Place) -> Scalar:
    return Scalar(place=place, value=text, text=text)


def _free_name(spaces: Mapping) -> str:
    taken = {key.text for key, _ in spaces}
    name = "added"
    while name in taken:
        name += "_"
    return name
