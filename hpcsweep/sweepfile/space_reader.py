"""From a sweep file's ``space``, ``derive``, ``where``, ``exclude``, ``include`` and ``sample`` to its SweepSpace.

All of these stand at the top level of the file, beside each other; ``spaces`` with ``sweep`` may stand instead of ``space``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from hpcsweep import space
from hpcsweep.errors import Faults, Place
from hpcsweep.expressions import Expression, ExpressionError, compile_expression
from hpcsweep.space import Sample, SpaceError, SweepSpace
from hpcsweep.sweepfile.front_end import place_in, read_front_end
from hpcsweep.sweepfile.nodes import Mapping, Node, Scalar, Sequence, kind_of
from hpcsweep.sweepfile.space_tree import Part, TreeReader
from hpcsweep.sweepfile.values_reader import Notes
from hpcsweep.sweepfile.words import CONDITIONS, check_name, did_you_mean

SPACE_KEYS = ("space", "spaces", "sweep", *CONDITIONS, "sample")
"""The keys of a sweep file that this module reads."""

_SAMPLE_KEYS = ("n", "method", "seed", "per")
_Method = Literal["random", "sobol", "lhs"]
_METHODS: tuple[_Method, ...] = ("random", "sobol", "lhs")


@dataclass(frozen=True, kw_only=True)
class SpaceReading:
    """The space, None after faults, and warnings about what is right but may not be meant.

    ``names``: all names of parameters, derived and replicated ones too, in their order. After faults they are known as well
    (commands can be judged by them), unless something could not be read far enough to tell: then None.
    """

    space: SweepSpace | None
    names: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()


def read_space(sweep: Mapping, faults: Faults, read_file: Callable[[str], str], file: str) -> SpaceReading:
    """Read the space of a sweep.

    Args:
        sweep: the whole sweep file; other keys are left to the settings.
        faults: gets all that is wrong.
        read_file: gives the text of a ``csv:`` file by the path that is written in the sweep file. What it raises,
            HpcsweepError or OSError, becomes a fault.
        file: the sweep file's name, for what has no place in it.
    """
    reading = _Reading(sweep, faults, read_file, file)
    whole = reading.read()
    return SpaceReading(space=whole, names=whole.names if whole else reading.names, warnings=tuple(reading.notes.warnings))


class _Reading:
    """One sweep's space while it is read."""

    def __init__(self, sweep: Mapping, faults: Faults, read_file: Callable[[str], str], file: str) -> None:
        self._sweep = sweep
        self._read_file = read_file
        self._file = file
        self.notes = Notes(faults=faults)
        self.names: tuple[str, ...] | None = None
        self._tree = TreeReader(notes=self.notes, read_file=read_file)

    def read(self) -> SweepSpace | None:
        part = self._read_tree()
        sample = self._read_sample(part)
        self._check_distributions(sample)
        if self._tree.is_incomplete:
            # Its names are not all known, so what the conditions say cannot be judged.
            return None
        names = part.space.base_names if part else tuple(name for name in self._tree.names if name not in self._tree.replicates)
        derive = self._read_derive(names)
        known = (*names, *(name for name, _ in derive))
        self.names = (*known, *self._tree.replicates)
        where = self._read_where(known)
        exclude = self._read_points("exclude", known)
        include = self._read_points("include", (*names, *self._tree.replicates), computed=[name for name, _ in derive])
        if part is None:
            return None
        for place, entry in include:
            # One by one, so that the fault of each has its place.
            self._combine(place, tree=part.space, derive=tuple(derive), include=(entry,))
        if self.notes.count:
            return None
        return self._combine(
            part.place,
            tree=part.space,
            sample=sample,
            derive=tuple(derive),
            where=where,
            exclude=tuple(entry for _, entry in exclude),
            include=tuple(entry for _, entry in include),
        )

    def _combine(self, place: Place, **parts: Any) -> SweepSpace | None:
        try:
            return SweepSpace(**parts)
        except SpaceError as error:
            known = [self._tree.names[name] for name in error.names if name in self._tree.names]
            at = known[0] if known and not error.positions else place
            self.notes.fault(at, error.message, error.hint)
            return None

    def _read_tree(self) -> Part | None:
        node, spaces, sweep = (self._sweep.get(key) for key in ("space", "spaces", "sweep"))
        if spaces is not None:
            if node is not None:
                self.notes.fault(spaces.place, "space: and spaces: exclude each other", "keep one of the two")
            return read_front_end(spaces, sweep, self._tree)
        if sweep is not None:
            hint = "write spaces: {data: {...}, sgd: {...}} above it, or space: instead of it"
            self.notes.fault(sweep.place, "sweep: says how spaces: go together, and there is no spaces:", hint)
            self._tree.is_incomplete = node is None
        if node is None:
            if sweep is None:
                hint = "write space: {lr: [0.1, 0.01]}, or space: {} for one task without parameters"
                self.notes.fault(Place(file=self._file), "there is no space:", hint)
                self._tree.is_incomplete = True
            return None
        self._check_neighbours(node)
        return self._tree.read_space(node, "space")

    def _check_neighbours(self, node: Node) -> None:
        """Find what belongs beside ``space:`` but stands in it."""
        for key, value in node if isinstance(node, Mapping) else ():
            inside = {inner.text for inner, _ in value} if isinstance(value, Mapping) else set()
            if key.text in CONDITIONS or (key.text == "sample" and "n" in inside and inside <= set(_SAMPLE_KEYS)):
                hint = f"move it one level up; a parameter called {key.text!r} goes under set:"
                self.notes.fault(key.place, f"{key.text}: stands beside space:, not in it", hint)

    def _check_distributions(self, sample: Sample | None) -> None:
        if sample is None and self._sweep.get("sample") is None and self._sweep.get("search") is None:
            for name, place in self._tree.distributions.items():
                hint = "add sample: {n: 50} beside space:, or list the values"
                self.notes.fault(place, f"{name} is drawn from a continuum, and nothing says how often", hint)

    def _read_sample(self, part: Part | None) -> Sample | None:
        node = self._sweep.get("sample")
        if node is None:
            return None
        before = self.notes.count
        if not isinstance(node, Mapping):
            hint = "write sample: {n: 50}" if not isinstance(node, Scalar) else f"write sample: {{n: {node.text or 50}}}"
            self.notes.fault(node.place, f"sample is a mapping, not {kind_of(node)}", hint)
            return None
        for key, _ in node:
            if key.text not in _SAMPLE_KEYS:
                hint = did_you_mean(key.text, _SAMPLE_KEYS, f"sample: has {', '.join(_SAMPLE_KEYS)}")
                self.notes.fault(key.place, f"sample: has no key {key.text!r}", hint)
        n = self._read_whole(node, "n", 1)
        seed = self._read_whole(node, "seed", 0)
        if node.get("n") is None:
            self.notes.fault(node.place, "sample: needs n, the number of points", "write sample: {n: 50}")
        method = self._read_method(node.get("method"))
        per = self._read_per(node.get("per"), part)
        if n is None or self.notes.count != before:
            return None
        try:
            return Sample(n=n, method=method, seed=seed or 0, per=per)
        except SpaceError as error:
            self.notes.fault(node.place, error.message, error.hint)
            return None

    def _read_whole(self, node: Mapping, key: str, least: int) -> int | None:
        value = node.get(key)
        if value is None:
            return None
        number = value.value if isinstance(value, Scalar) else None
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            self.notes.fault(
                value.place, f"sample: {key} must be a whole number of at least {least}", f"write {key}: {max(least, 1)}"
            )
            return None
        return number

    def _read_method(self, node: Node | None) -> _Method:
        for method in _METHODS:
            if node is None or (isinstance(node, Scalar) and node.value == method):
                return method
        if node is not None:
            written = node.text if isinstance(node, Scalar) else ""
            message = "sample: method must be random, sobol or lhs"
            self.notes.fault(node.place, message, did_you_mean(written, _METHODS, "leave it out for random"))
        return "random"

    def _read_per(self, node: Node | None, part: Part | None) -> tuple[str, ...]:
        if node is None:
            return ()
        items = node.items if isinstance(node, Sequence) else (node,)
        names: list[str] = []
        for item in items:
            if not isinstance(item, Scalar) or not isinstance(item.value, str):
                self.notes.fault(
                    item.place, f"sample: per holds names of parameters, not {kind_of(item)}", "write per: [dataset]"
                )
            elif item.value in self._tree.replicates:
                hint = "every drawn point gets all of its replicates"
                self.notes.fault(item.place, f"sample: per: {item.value} is a replicate", hint)
            elif part and item.value not in part.space.base_names:
                hint = did_you_mean(item.value, part.space.base_names, _list_names(part.space.base_names))
                self.notes.fault(item.place, f"sample: per: there is no parameter {item.value!r}", hint)
            elif item.value in self._tree.distributions:
                hint = "per: takes names with a list of values"
                self.notes.fault(item.place, f"sample: per: {item.value} is drawn from a continuum", hint)
            else:
                names.append(item.value)
        return tuple(names)

    def _read_derive(self, names: Collection[str]) -> list[tuple[str, Expression]]:
        node = self._sweep.get("derive")
        if node is None:
            return []
        entries = list(self._derived(node, ""))
        derived: list[tuple[str, Expression]] = []
        places: dict[str, Place] = {}
        for number, (name, place, text) in enumerate(entries):
            first = self._tree.names.get(name) or places.get(name)
            if first:
                hint = "give the derived one another name"
                self.notes.fault(
                    place, f"derive: {name} is set twice: here, and on line {first.line} (column {first.column})", hint
                )
                continue
            places[name] = place
            later = {other for other, _, _ in entries[number + 1 :]} - set(places)
            expression = self._compile(f"derive: {name}", text, [*names, *places][:-1], later)
            if expression:
                derived.append((name, expression))
            else:
                # Its name is good; what uses it below shall not be blamed.
                derived.append((name, compile_expression("0", names=())))
        return derived

    def _derived(self, node: Node, prefix: str) -> Iterable[tuple[str, Place, Scalar]]:
        if not isinstance(node, Mapping):
            hint = "write derive: {warmup: '0.1 * epochs'}"
            self.notes.fault(node.place, f"derive holds names with expressions, not {kind_of(node)}", hint)
            return
        for key, value in node:
            if not check_name(key.text, key.place, self.notes.fault):
                continue
            if isinstance(value, Mapping):
                yield from self._derived(value, f"{prefix}{key.text}.")
            elif not isinstance(value, Scalar) or not value.text.strip():
                hint = f"write {key.text}: 'an expression of other parameters'"
                self.notes.fault(value.place, f"derive: {prefix}{key.text} needs an expression, not {kind_of(value)}", hint)
            else:
                yield prefix + key.text, key.place, value

    def _read_where(self, known: Collection[str]) -> tuple[Expression, ...]:
        node = self._sweep.get("where")
        if node is None:
            return ()
        items = node.items if isinstance(node, Sequence) else (node,)
        expressions = []
        for item in items:
            if not isinstance(item, Scalar) or not isinstance(item.value, str) or not item.value.strip():
                hint = 'write where: "lr < 0.1", or a list of such conditions, all of which must hold'
                self.notes.fault(item.place, f"where needs a condition as text, not {kind_of(item)}", hint)
                continue
            expression = self._compile("where", item, known)
            if expression:
                expressions.append(expression)
        return tuple(expressions)

    def _compile(self, what: str, node: Scalar, known: Collection[str], later: Collection[str] = ()) -> Expression | None:
        replicates = self._tree.replicates
        stripped = re.fullmatch(r"\s*\{\{(?P<inside>((?!\}\}|\{\{).)*)\}\}\s*", node.text, re.DOTALL)
        if stripped:
            self.notes.fault(
                node.place, f"{what}: an expression stands without {{{{ }}}} here", f"write {stripped['inside'].strip()!r}"
            )
            return None
        try:
            expression = compile_expression(node.text, names=[*known, *replicates])
        except ExpressionError as error:
            hint = error.hint
            below = [name for name in later if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", node.text)]
            if below:
                hint = f"{below[0]} is derived below: each may use only those above it"
            self.notes.fault(place_in(node, error.offset, self.notes.faults), f"{what}: {error.message}", hint)
            return None
        used = sorted(expression.names & set(replicates))
        if used:
            hint = "replicates are made after all conditions; make it a parameter of its own in space:"
            self.notes.fault(node.place, f"{what}: {used[0]} is a replicate, which no condition may use", hint)
            return None
        return replace(expression, origin=str(node.place))

    def _read_points(self, key: str, known: Collection[str], computed: Collection[str] = ()) -> list[tuple[Place, space.Node]]:
        """Read the entries of ``exclude`` or ``include``: each a space of partial or of whole points."""
        node = self._sweep.get(key)
        if node is None:
            return []
        entries: list[tuple[Place, space.Node]] = []
        for item in node.items if isinstance(node, Sequence) else (node,):
            reader = TreeReader(notes=self.notes, read_file=self._read_file)
            part = reader.read_space(item, f"an entry of {key}")
            before = self.notes.count
            for name, place in reader.names.items():
                self._check_known(key, name, place, known, computed)
            for name, place in reader.distributions.items():
                self.notes.fault(place, f"{key}: {name} is drawn from a continuum", "write the values themselves")
            if key == "exclude" and part and not part.space.names:
                self.notes.fault(item.place, "exclude: an empty entry would drop every point", "name at least one parameter")
            if part and self.notes.count == before:
                entries.append((item.place, part.space))
        return entries

    def _check_known(self, key: str, name: str, place: Place, known: Collection[str], computed: Collection[str]) -> None:
        if name in known:
            return
        if name in computed:
            self.notes.fault(place, f"{key}: {name} is derived, so it is filled in", "leave it out")
        elif name in self._tree.replicates:
            hint = "replicates are made after all conditions; leave it out"
            self.notes.fault(place, f"{key}: {name} is a replicate, which no condition may use", hint)
        else:
            hint = did_you_mean(name, known, _list_names(known))
            self.notes.fault(place, f"{key}: there is no parameter {name!r} in the space", hint)


def _list_names(names: Collection[str]) -> str:
    if not names:
        return "the space has no parameters"
    shown = ", ".join(list(names)[:8])
    return f"there are {shown}" + (", ..." if len(names) > 8 else "")
