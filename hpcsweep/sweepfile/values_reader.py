"""From what stands after a parameter's name to its values: scalars, lists, and the forms range, linspace, uniform, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, cast

from hpcsweep.errors import Faults, Place
from hpcsweep.model import Value
from hpcsweep.space import Distribution, SpaceError, Values, canonical, forms
from hpcsweep.sweepfile.nodes import Mapping, Node, Scalar, Sequence, kind_of
from hpcsweep.sweepfile.scalars import is_beyond_floats, is_near_word
from hpcsweep.sweepfile.words import DISTRIBUTIONS, FOREIGN, FORMS, GRIDS

_MAKERS: dict[str, Callable[..., list[Any]]] = {
    "range": forms.make_range,
    "linspace": forms.make_linspace,
    "geomspace": forms.make_geomspace,
}


@dataclass(kw_only=True)
class Notes:
    """What a reading found besides its result: faults, and warnings for what is right but may not be meant."""

    faults: Faults
    warnings: list[str] = field(default_factory=list)
    count: int = 0

    def fault(self, place: Place, message: str, hint: str = "") -> None:
        """Something is wrong; the sweep cannot be used."""
        self.count += 1
        self.faults.add(place, message, hint)

    def warn(self, place: Place, message: str, hint: str = "") -> None:
        """Something may not be meant; the sweep can be used."""
        text = f"{place}: {message}" + (f"; {hint}" if hint else "")
        if text not in self.warnings:
            self.warnings.append(text)


def find_form(node: Node) -> Scalar | None:
    """The key that makes a mapping a form, if one does."""
    if not isinstance(node, Mapping):
        return None
    return next((key for key, _ in node if key.text in FORMS), None)


def read_values(name: str, node: Node, notes: Notes, *, keeps_equal: bool = False) -> Values | Distribution | None:
    """Read what stands after ``name``: a scalar, a list of alternatives, or a form; None after a fault.

    ``keeps_equal``: in a zip's column equal values pair with different partners, so they stay.
    """
    if isinstance(node, Mapping):
        return _read_form(name, node, notes)
    if isinstance(node, Scalar):
        values: list[Value] = [] if _is_missing(name, node, notes) else [read_data(name, node, notes)]
        left_out = 0
    else:
        values, left_out = _read_list(name, node, notes, keeps_equal=keeps_equal)
    return _make_values(name, values, node.place, notes, left_out) if values else None


def read_data(name: str, node: Node, notes: Notes) -> Any:
    """Read anything as one value, as after ``value:``."""
    match node:
        case Scalar():
            if node.text == "" and node.plain:
                notes.fault(node.place, f"{name}: a value is missing here", "write null for nothing, '' for an empty text")
            elif node.plain and isinstance(node.value, str):
                _warn_of_texts(name, node, notes)
            if isinstance(node.value, str) and "{{" in node.value:
                hint = f"compute it with derive: {{{name}: an expression}}"
                notes.warn(node.place, f"{name}: {{{{ }}}} in a value is taken as it stands", hint)
            return node.value
        case Sequence():
            return [read_data(name, item, notes) for item in node.items]
        case Mapping():
            return {key.text: read_data(name, value, notes) for key, value in node}


def _warn_of_texts(name: str, node: Scalar, notes: Notes) -> None:
    if is_near_word(node.text):
        notes.warn(node.place, f"{name}: {node.text} is a text here", f"write {node.text.lower()} or quote it")
    elif is_beyond_floats(node.text) and "e0" not in node.text.lower():
        notes.warn(
            node.place, f"{name}: {node.text} is beyond what a float holds, so it is a text", "quote it, if that is meant"
        )


def _is_missing(name: str, node: Scalar, notes: Notes) -> bool:
    if node.plain and node.text == "":
        notes.fault(node.place, f"{name} has no value", "write null for nothing, '' for an empty text")
        return True
    return False


def _read_list(name: str, node: Sequence, notes: Notes, *, keeps_equal: bool) -> tuple[list[Any], int]:
    """The values, and how many equal ones were left out."""
    if not node.items:
        hint = f"leave {name} out, write null, or {{value: []}} for the empty list as a value"
        notes.fault(node.place, f"{name} has an empty list, so there would be no points", hint)
        return [], 0
    values: list[Any] = []
    left_out = 0
    first_places: dict[str, Place] = {}
    before = notes.count
    for item in node.items:
        for value in _read_item(name, item, notes):
            key = canonical(value)
            if key in first_places and not keeps_equal:
                hint = f"for the whole list as one value write {name}: {{value: [...]}}"
                notes.warn(item.place, f"{name}: {key} stands twice in the list and counts once", hint)
                left_out += 1
                continue
            first_places.setdefault(key, item.place)
            values.append(value)
    return (values if notes.count == before else []), left_out


def _read_item(name: str, item: Node, notes: Notes) -> list[Any]:
    if isinstance(item, Scalar):
        return [] if _is_missing(name, item, notes) else [read_data(name, item, notes)]
    if isinstance(item, Sequence):
        return [read_data(name, item, notes)]
    form = find_form(item)
    if form is None:
        notes.fault(item.place, f"{name}: a mapping in a list of values", _hint_for_item(item))
        return []
    if form.text in DISTRIBUTIONS:
        hint = "give it a name of its own in a block under sum:, beside a block with the other values"
        notes.fault(form.place, f"{name}: {form.text} draws from a continuum and cannot stand in a list", hint)
        return []
    made = _read_form(name, item, notes)
    return list(made.values) if isinstance(made, Values) else []


def _hint_for_item(item: Mapping) -> str:
    """What a mapping that is no form may be meant for."""
    words = [key.text for key, _ in item]
    foreign = next((FOREIGN[word] for word in words if word in FOREIGN), "")
    near = get_close_matches(words[0], FORMS, 1, 0.75) if len(words) == 1 and not foreign else []
    meant = f"did you mean {near[0]}:? " if near else ""
    return foreign or f"{meant}blocks go under sum:, and a mapping as one value under {{value: {{...}}}}"


def _read_form(name: str, node: Mapping, notes: Notes) -> Values | Distribution | None:
    """Read ``{value: x}``, ``{range: [0, 9]}``, ``{uniform: [0, 1], step: 0.1}``, ..."""
    form = find_form(node)
    if form is None:
        hint = "blocks go under sum:, and a mapping as one value under {value: {...}}"
        notes.fault(node.place, f"{name}: a mapping where a value is expected", hint)
        return None
    if not _is_alone(name, form, node, notes):
        return None
    content = node.get(form.text)
    if content is None:
        return None
    if form.text == "value":
        before = notes.count
        value = read_data(name, content, notes)
        return _make_values(name, [value], content.place, notes) if notes.count == before else None
    numbers = _read_numbers(name, form, content, notes)
    if numbers is None:
        return None
    if form.text in GRIDS:
        try:
            return _make_values(name, _MAKERS[form.text](*numbers), content.place, notes)
        except ValueError as error:
            notes.fault(content.place, f"{name}: {error}")
            return None
    step = node.get("step")
    step_number = None if step is None else _read_number(name, "step", step, notes)
    if step is not None and step_number is None:
        return None
    ends = ("mu", "sigma") if form.text == "normal" else ("low", "high")
    try:
        kind = cast("Literal['uniform', 'loguniform', 'normal']", form.text)
        return Distribution(name=name, kind=kind, step=step_number, **dict(zip(ends, numbers, strict=True)))
    except SpaceError as error:
        notes.fault(content.place, error.message, error.hint)
        return None


def _is_alone(name: str, form: Scalar, node: Mapping, notes: Notes) -> bool:
    for key, _ in node:
        if key is form or (key.text == "step" and form.text in DISTRIBUTIONS):
            continue
        if key.text == "step" and form.text in GRIDS:
            hint = "write range: [lo, hi, step]" if form.text == "range" else "its third number says how many values"
            notes.fault(key.place, f"{name}: step: goes with uniform, loguniform and normal", hint)
        else:
            hint = f"a parameter called {form.text!r} goes under set:, as in set: {{{form.text}: ...}}"
            notes.fault(
                key.place, f"{name}: {form.text}: must be alone in its mapping, and {key.text!r} stands beside it", hint
            )
        return False
    return True


def _read_numbers(name: str, form: Scalar, content: Node, notes: Notes) -> list[Any] | None:
    expected = GRIDS.get(form.text) or DISTRIBUTIONS[form.text]
    counts: Iterable[int] = (2, 3) if form.text == "range" else (3,) if form.text in GRIDS else (2,)
    if not isinstance(content, Sequence) or len(content.items) not in counts:
        got = f"{len(content.items)} in the list" if isinstance(content, Sequence) else kind_of(content)
        notes.fault(
            content.place, f"{name}: {form.text} needs its numbers, and there is {got}", f"write {form.text}: {expected}"
        )
        return None
    numbers = [_read_number(name, form.text, item, notes) for item in content.items]
    return None if None in numbers else numbers


def _read_number(name: str, form: str, node: Node, notes: Notes) -> int | float | None:
    if isinstance(node, Scalar) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    if isinstance(node, Scalar) and node.plain and is_beyond_floats(node.text):
        notes.fault(
            node.place, f"{name}: {form}: {node.text} is beyond what a float can hold", "the limits are about 1e-308 and 1e308"
        )
    else:
        quoted = isinstance(node, Scalar) and not node.plain
        hint = "leave out the quotes" if quoted else "write it plainly, like 0.01, 1e-2 or 10"
        shown = node.text if isinstance(node, Scalar) and isinstance(node.value, str) else kind_of(node)
        notes.fault(node.place, f"{name}: {form} needs a number here, not {shown}", hint)
    return None


def _make_values(name: str, values: Iterable[Any], place: Place, notes: Notes, left_out: int = 0) -> Values | None:
    try:
        return Values(name, values if isinstance(values, range) else tuple(values), left_out)
    except SpaceError as error:
        notes.fault(place, error.message, error.hint)
        return None
