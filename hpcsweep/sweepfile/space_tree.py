"""From the mappings of ``space:`` to the algebra: products, sums, zips, CSV files, replicates, groups with prefixes."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from hpcsweep import space
from hpcsweep.errors import HpcsweepError, Place
from hpcsweep.sweepfile.csv_reader import read_csv
from hpcsweep.sweepfile.nodes import Mapping, Node, Scalar, Sequence, kind_of
from hpcsweep.sweepfile.values_reader import Notes, find_form, read_values
from hpcsweep.sweepfile.words import FOREIGN, FORMS, KEYWORDS, check_name

_BOUNDS = ({"min", "max"}, {"low", "high"}, {"lower", "upper"}, {"mu", "sigma"}, {"mean", "std"})


@dataclass(frozen=True, kw_only=True)
class Part:
    """A space that was read: where, what to call it in messages, and where each of its names is set."""

    space: space.Node
    place: Place
    label: str
    names: dict[str, Place]


@dataclass(kw_only=True)
class TreeReader:
    """Reads spaces. ``names`` gathers every name seen, also those whose values have faults.

    ``is_incomplete``: something could not be read far enough to know its names.
    """

    notes: Notes
    read_file: Callable[[str], str]
    names: dict[str, Place] = field(default_factory=dict)
    replicates: dict[str, Place] = field(default_factory=dict)
    distributions: dict[str, Place] = field(default_factory=dict)
    is_incomplete: bool = False
    _keeps_equal: bool = False

    def read_space(self, node: Node, where: str, prefix: str = "") -> Part | None:
        """Read a mapping whose keys multiply; ``where`` is what to call it: ``space``, ``a block of sum``."""
        if not isinstance(node, Mapping):
            hint = "write 'name: values' lines"
            if isinstance(node, Sequence):
                hint = "alternatives of whole blocks go under sum:"
            elif isinstance(node, Scalar) and ":" in node.text:
                hint = "a space is missing after the colon"
            elif isinstance(node, Scalar) and node.value is None and where == "space":
                hint = "write {} for one task without parameters"
            self.is_incomplete = True
            self.notes.fault(node.place, f"{where} must be a mapping, not {kind_of(node)}", hint)
            return None
        before = self.notes.count
        parts: list[Part] = []
        counts: dict[str, Any] = {}
        for key, value in node:
            if key.text == "replicate":
                counts = self._read_replicates(value, prefix)
            else:
                part = self._read_entry(key, value, prefix)
                if part:
                    parts.append(part)
        product = self.multiply(parts, node.place, where)
        if product and counts:
            product = self._replicate(product, counts, node)
        return product if self.notes.count == before else None

    def multiply(self, parts: list[Part], place: Place, label: str) -> Part | None:
        """The product of parts; a name that two of them set is a fault that names both places."""
        if self._are_clashing(parts, "what stands in one mapping multiplies"):
            return None
        if len(parts) == 1:
            return replace(parts[0], place=place, label=label)
        return self._make(lambda: space.Product(_spaces(parts), _labels(parts)), parts, place, label)

    def _are_clashing(self, parts: list[Part], why: str) -> bool:
        names: dict[str, Place] = {}
        before = self.notes.count
        for part in parts:
            for name, at in part.names.items():
                if name in names and not _are_counts(name, parts):
                    first = names[name]
                    where = f"on line {first.line} (column {first.column})" if first.file == at.file else f"at {first}"
                    hint = "keep one of the two, or put them as blocks under sum:"
                    self.notes.fault(at, f"{name} is set twice: here, and {where}; {why}", hint)
                names.setdefault(name, at)
        return self.notes.count > before

    def _read_entry(self, key: Scalar, value: Node, prefix: str) -> Part | None:
        """Read one ``key: value`` of a space."""
        readers = {
            "sum": self._read_sum,
            "product": self._read_product,
            "zip": self._read_zip,
            "csv": self._read_csv,
            "set": self._read_set,
        }
        if key.text in readers:
            return readers[key.text](key, value, prefix)
        if key.text in FORMS:
            self._name_of_fault(key, prefix)
            hint = f"write 'name: {{{key.text}: ...}}'; a parameter called {key.text!r} goes under set:"
            self.notes.fault(key.place, f"the form {key.text}: stands where a name is expected", hint)
            return None
        if key.text in FOREIGN and (key.text != "grid" or isinstance(value, Mapping)):
            self._name_of_fault(key, prefix)
            hint = f"{FOREIGN[key.text]} (a parameter called {key.text!r} goes under set:)"
            self.notes.fault(key.place, f"{key.text}: is another tool's word", hint)
            return None
        return self._read_parameter(key, value, prefix)

    def _name_of_fault(self, key: Scalar, prefix: str) -> None:
        """A word where none can stand still tells a name: that of its group, so that expressions with it can be judged."""
        self.names.setdefault(prefix.removesuffix(".") or key.text, key.place)

    def _read_parameter(self, key: Scalar, value: Node, prefix: str) -> Part | None:
        name = prefix + key.text
        is_named = check_name(key.text, key.place, self.notes.fault)
        if isinstance(value, Mapping) and find_form(value) is None:
            if not value.entries:
                hint = "delete it, or write {value: {}} for the empty mapping as a value"
                self.notes.fault(value.place, f"{name} is a group without parameters", hint)
                return None
            self._warn_of_group(key, value, name)
            return self.read_space(value, f"the group {name}", f"{name}.")
        self.names.setdefault(name, key.place)
        values = read_values(name or "this parameter", value, self.notes, keeps_equal=self._keeps_equal)
        if values is None or not is_named:
            return None
        if isinstance(values, space.Distribution):
            self.distributions[name] = key.place
        return Part(space=values, place=key.place, label=f"{name} (line {key.place.line})", names={name: key.place})

    def _warn_of_group(self, key: Scalar, value: Mapping, name: str) -> None:
        inside = [inner.text for inner, _ in value]
        if set(inside) in _BOUNDS:
            hint = "for values between two ends write {uniform: [lo, hi]}, {range: [lo, hi]} or {linspace: [lo, hi, n]}"
            self.notes.warn(key.place, f"{name} is a group with the parameters {name}.{inside[0]} and {name}.{inside[1]}", hint)
        for word in inside:
            near = difflib.get_close_matches(word, (*FORMS, *KEYWORDS), 1, 0.8)
            if near and word not in (*FORMS, *KEYWORDS):
                self.notes.warn(key.place, f"{name}.{word} is taken for a parameter", f"did you mean {near[0]}:?")
        if key.text not in KEYWORDS:
            near = difflib.get_close_matches(key.text, KEYWORDS, 1, 0.85)
            if near:
                self.notes.warn(key.place, f"{name} is taken for a group of parameters", f"did you mean {near[0]}:?")

    def _read_blocks(self, key: Scalar, value: Node, prefix: str) -> list[Part] | None:
        """Read the list of spaces under ``sum``, ``product`` or ``zip``."""
        if not isinstance(value, Sequence):
            hint = (
                "begin each block with '- '"
                if isinstance(value, Mapping)
                else f"write '{key.text}:' and below it '- name: values'"
            )
            self.is_incomplete = True
            self.notes.fault(value.place, f"{key.text} holds a list of blocks, not {kind_of(value)}", hint)
            return None
        if not value.items:
            self.notes.fault(value.place, f"{key.text} has no blocks", "write at least one, or leave it out")
            return None
        before = self.notes.count
        parts = []
        for item in value.items:
            part = self.read_space(item, f"a block of {key.text}", prefix)
            if part:
                parts.append(replace(part, label=f"the block on line {item.place.line}"))
        return parts if self.notes.count == before else None

    def _read_sum(self, key: Scalar, value: Node, prefix: str) -> Part | None:
        blocks = self._read_blocks(key, value, prefix)
        return self.add(blocks, key.place, f"sum (line {key.place.line})") if blocks else None

    def add(self, blocks: list[Part], place: Place, label: str) -> Part | None:
        """The sum of blocks."""
        return self._make(lambda: space.Sum(_spaces(blocks), _labels(blocks)), blocks, place, label)

    def _read_product(self, key: Scalar, value: Node, prefix: str) -> Part | None:
        parts = self._read_blocks(key, value, prefix)
        return self.multiply(parts, key.place, f"product (line {key.place.line})") if parts else None

    def _read_zip(self, key: Scalar, value: Node, prefix: str) -> Part | None:
        outer, self._keeps_equal = self._keeps_equal, True
        try:
            before = self.notes.count
            columns = self._read_columns(value, prefix) if isinstance(value, Mapping) else self._read_blocks(key, value, prefix)
        finally:
            self._keeps_equal = outer
        if columns is None or self.notes.count != before:
            return None
        if not columns:
            self.notes.fault(value.place, "zip has no columns", "write 'name: [values]' lines of equal length below it")
            return None
        if self._are_clashing(columns, "the columns of a zip are different parameters"):
            return None
        label = f"zip (line {key.place.line})"
        return self._make(lambda: space.Zip(_spaces(columns), _labels(columns)), columns, key.place, label)

    def _read_columns(self, node: Mapping, prefix: str) -> list[Part]:
        """The columns of a zip; those of a group count as its own, since a.b: and a: {b:} are the same."""
        columns: list[Part] = []
        for key, value in node:
            is_group = isinstance(value, Mapping) and find_form(value) is None and key.text not in (*KEYWORDS, *FOREIGN)
            if isinstance(value, Mapping) and is_group:
                if check_name(key.text, key.place, self.notes.fault):
                    columns += self._read_columns(value, f"{prefix}{key.text}.")
            elif key.text == "replicate":
                self.notes.fault(key.place, "a replicate cannot stand in a zip", "put replicate: beside zip:")
            else:
                part = self._read_entry(key, value, prefix)
                if part:
                    columns.append(part)
        return columns

    def _read_set(self, key: Scalar, value: Node, prefix: str) -> Part | None:
        """``set:`` holds parameters whose names would be keywords elsewhere."""
        if not isinstance(value, Mapping):
            self.notes.fault(value.place, f"set holds a mapping, not {kind_of(value)}", "write set: {sum: [1, 2]}")
            return None
        before = self.notes.count
        parts = [part for name, values in value if (part := self._read_parameter(name, values, prefix))]
        product = self.multiply(parts, key.place, f"set (line {key.place.line})")
        return product if self.notes.count == before else None

    def _read_csv(self, key: Scalar, value: Node, prefix: str) -> Part | None:
        part = self._read_rows(key, value, prefix)
        self.is_incomplete = self.is_incomplete or part is None
        return part

    def _read_rows(self, key: Scalar, value: Node, prefix: str) -> Part | None:
        if not isinstance(value, Scalar) or not isinstance(value.value, str) or not value.value:
            self.notes.fault(value.place, f"csv holds the path of a file, not {kind_of(value)}", "write csv: points.csv")
            return None
        try:
            text = self.read_file(value.value)
        except HpcsweepError as error:
            self.notes.fault(value.place, error.message, error.hint)
            return None
        except (OSError, ValueError) as error:
            hint = "the path is relative to the sweep file, and the file is UTF-8 text"
            self.notes.fault(value.place, f"cannot read {value.value}: {getattr(error, 'strerror', None) or error}", hint)
            return None
        table = read_csv(text, value.value, prefix, self.notes)
        if table is None:
            return None
        for name, place in table.names.items():
            self.names.setdefault(name, place)
        rows = tuple(table.rows)
        part = self._make(lambda: space.Rows(rows), [], key.place, f"csv (line {key.place.line})")
        return replace(part, names=dict.fromkeys(part.space.names, key.place)) if part else None

    def _read_replicates(self, node: Node, prefix: str) -> dict[str, Any]:
        """``{seed: 3}``, or a list or range of values; each name with what the algebra takes."""
        if not isinstance(node, Mapping) or not node.entries:
            hint = "write replicate: {seed: 3}, which gives seed 0, 1, 2"
            self.notes.fault(node.place, f"replicate holds names with counts or values, not {kind_of(node)}", hint)
            return {}
        counts: dict[str, Any] = {}
        for key, value in node:
            name = prefix + key.text
            if not check_name(key.text, key.place, self.notes.fault):
                continue
            if isinstance(value, Mapping) and find_form(value) is None:
                counts |= self._read_replicates(value, f"{name}.")
                continue
            self.names.setdefault(name, key.place)
            self.replicates.setdefault(name, key.place)
            if isinstance(value, Scalar):
                counted = value.value
                if isinstance(counted, bool) or not isinstance(counted, int) or counted < 1:
                    hint = f"write {name}: 3, or {name}: [values]"
                    self.notes.fault(value.place, f"replicate: {name} needs a count of at least 1, or a list of values", hint)
                else:
                    counts[name] = counted
                continue
            values = read_values(name, value, self.notes)
            if isinstance(values, space.Distribution):
                self.notes.fault(value.place, f"replicate: {name} needs a count or a list of values", f"write {name}: 3")
            elif values:
                counts[name] = values.values
        return counts

    def _replicate(self, part: Part, counts: dict[str, Any], node: Mapping) -> Part | None:
        places = {name: self.replicates[name] for name in counts}
        clash = next((name for name in counts if name in part.names), None)
        inner = [part] if clash is None else [replace(part, names={clash: part.names[clash]})]
        place = places[clash] if clash else node.place
        made = self._make(lambda: space.Replicate(part.space, counts), inner, place, part.label)
        return replace(made, place=node.place, names={**part.names, **places}) if made else None

    def copy(self, part: Part, count: int, place: Place) -> Part | None:
        """``n * block``: each point so many times, numbered by ``rep``."""
        self.names.setdefault(space.REP, place)
        self.replicates.setdefault(space.REP, place)
        made = self._make(lambda: space.Replicate(part.space, {space.REP: count}), [part], place, part.label)
        return replace(made, names={**part.names, space.REP: place}) if made else None

    def _make(self, build: Callable[[], space.Node], parts: list[Part], place: Place, label: str) -> Part | None:
        """Build a node; what the algebra refuses becomes a fault at the part that it names."""
        try:
            made = build()
        except space.SpaceError as error:
            positions = [position for position in getattr(error, "positions", ()) if position < len(parts)]
            at = parts[positions[-1]].place if positions else place
            self.notes.fault(at, error.message, error.hint)
            return None
        names: dict[str, Place] = {}
        for part in parts:
            names = {**part.names, **names}
        return Part(space=made, place=place, label=label, names=names)


def _are_counts(name: str, parts: Iterable[Part]) -> bool:
    """Whether a name that several parts have is their count of copies, which multiplies."""
    having = [part.space for part in parts if name in part.names]
    return name.rpartition(".")[2] == space.REP and all(name in one.replicates for one in having)


def _spaces(parts: list[Part]) -> tuple[space.Node, ...]:
    return tuple(part.space for part in parts)


def _labels(parts: list[Part]) -> tuple[str, ...]:
    return tuple(part.label for part in parts)
