"""From PyYAML's events to nodes with places, refusing all that a sweep file may not hold.

PyYAML's scanner and parser do the grammar. The parser written in Python is used also where libyaml is there: the two differ in
what they take (tabs), and a sweep file must mean the same everywhere.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import yaml

from hpcsweep.errors import Faults, Place
from hpcsweep.model import Value
from hpcsweep.sweepfile.nodes import Mapping, Node, Scalar, Sequence, kind_of
from hpcsweep.sweepfile.scalars import ScalarError, parse_scalar
from hpcsweep.sweepfile.yaml_errors import explain

MAX_DEPTH = 100
MAX_ALIASED_NODES = 100_000
MAX_FAULTS = 100
_KEYWORDS_OF_BLOCKS = ("sum", "product", "zip", "csv", "replicate")


class _Finished(Exception):
    pass


@dataclass(frozen=True, kw_only=True)
class _Built:
    """A node, and what aliases of it cost."""

    node: Node
    size: int = 1
    depth: int = 0
    is_flow: bool = False
    is_empty: bool = False


@dataclass(kw_only=True)
class _Open:
    """A list or mapping that is not yet closed."""

    place: Place
    is_mapping: bool
    is_flow: bool
    anchor: str | None
    parts: list[_Built] = field(default_factory=list)


class _Mark(Protocol):
    """Where PyYAML is, 0-based."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


class Builder:
    """Reads one document; ``odd`` gives back the characters that were swapped for ones PyYAML leaves alone."""

    def __init__(self, *, file: str, lines: list[str], faults: Faults, odd: dict[str, str]) -> None:
        self._file = file
        self._lines = lines
        self._faults = faults
        self._odd = str.maketrans(odd)
        self._is_odd = re.compile(f"[{''.join(odd)}]") if odd else None
        self._count = 0
        self._faulty_places: list[Place] = []
        self._broken: list[tuple[range, str]] = []
        self._templated: set[int] = set()
        self._reset()

    def _reset(self) -> None:
        self._anchors: dict[str, _Built | None] = {}
        self._stack: list[_Open] = []
        self._root: Node | None = None
        self._aliased = 0

    @property
    def is_faulty(self) -> bool:
        """Whether any fault was found."""
        return self._count > 0

    def read(self, text: str) -> Node | None:
        """Read the document. After an error of syntax its block is left out and the others are looked at all the same."""
        while True:
            self._reset()
            try:
                broken = self._read_once(text)
            except _Finished:
                return None
            if broken is None:
                break
            changed = self._without_block(broken)
            if changed == text:
                return None
            text = changed
        # From here on others read what is left; of these places enough is said.
        for place in self._faulty_places:
            self._faults.settle(self._file, range(place.line, place.line + 1), place.column)
        for block, _ in self._broken:
            self._faults.settle(self._file, block)
        return self._with_broken_keys(self._root)

    def _with_broken_keys(self, root: Node | None) -> Node | None:
        """The tree with the keys of the blocks that were left out, so that they are not missed."""
        if not self._broken:
            return root
        entries = list(root.entries) if isinstance(root, Mapping) else []
        if root is not None and not isinstance(root, Mapping):
            return None
        known = {key.text for key, _ in entries}
        for block, line in self._broken:
            key = re.match(r"(?P<name>[\w.@/+~-]+)\s*:(\s|$)", line)
            if key is None:
                return None
            if key["name"] not in known:
                place = Place(file=self._file, line=block.start, column=1)
                name = Scalar(place=place, value=key["name"], text=key["name"])
                entries.append((name, Scalar(place=place, value=None, text="")))
                known.add(key["name"])
        return Mapping(place=root.place if root else entries[0][0].place, entries=tuple(entries))

    def _read_once(self, text: str) -> int | None:
        """Read; the result is the line of an error of syntax, after which PyYAML cannot go on."""
        loader = yaml.SafeLoader(text)
        try:
            self._consume(loader)
        except yaml.MarkedYAMLError as error:
            complaint = explain(error, self._lines)
            place = Place(file=self._file, line=complaint.line + 1, column=complaint.column + 1)
            self._count += 1
            if place.line not in self._templated:
                self._faults.add(place, complaint.message, complaint.hint)
            return complaint.block_line
        except (ValueError, OverflowError, yaml.YAMLError):
            # PyYAML converts "\UFFFFFFFF" and the numbers of %YAML without looking.
            mark = loader.get_mark()
            self._count += 1
            self._faults.add(self._place(mark), "an escape or number here is out of range", "write the character itself")
            return int(mark.line)
        finally:
            loader.dispose()
        return None

    def _without_block(self, line: int) -> str:
        """Blank the top-level entry that ``line`` belongs to, here and in the text that is read next."""
        starts = [number for number, text in enumerate(self._lines) if re.match(r"[^\s#\]}]", text)]
        first = max((number for number in starts if number <= line), default=0)
        after = min((number for number in starts if number > line), default=len(self._lines))
        if any(self._lines[first:after]):
            self._broken.append((range(first + 1, after + 1), self._lines[first]))
        self._lines[first:after] = [""] * (after - first)
        return "\n".join(self._lines)

    def _add(self, place: Place, message: str, hint: str = "") -> None:
        self._count += 1
        self._faulty_places.append(place)
        self._faults.add(place, message.translate(self._odd), hint.translate(self._odd))
        if self._count >= MAX_FAULTS:
            raise _Finished

    def _place(self, mark: _Mark | None) -> Place:
        if mark is None:  # never so with a parser written in Python
            return Place(file=self._file)
        return Place(file=self._file, line=mark.line + 1, column=mark.column + 1)

    def _consume(self, loader: yaml.SafeLoader) -> None:
        documents = 0
        for event in _events(loader):
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        self._add(
                            self._place(event.start_mark), "a second document begins here", "a sweep file is one YAML document"
                        )
                        raise _Finished
                    if event.tags:
                        self._add(
                            self._place(event.start_mark), "%TAG is not allowed", "tags are refused here: write plain values"
                        )
                case yaml.AliasEvent():
                    self._put(self._follow(event))
                case yaml.ScalarEvent():
                    self._check_tag(event)
                    built = self._make_scalar(event)
                    self._name(event.anchor, built)
                    self._put(built)
                case yaml.CollectionStartEvent():
                    self._open(event)
                case yaml.CollectionEndEvent():
                    opened = self._stack.pop()
                    built = self._make_mapping(opened, event.end_mark) if opened.is_mapping else _make_sequence(opened)
                    self._name(opened.anchor, built)
                    self._put(built)
        if documents == 0 or self._root is None:
            self._add_empty()

    def _add_empty(self) -> None:
        if not self._broken:
            self._add(Place(file=self._file), "the file is empty", "a sweep file has at least 'space:' and 'command:'")

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        self._check_tag(event)
        place = self._place(event.start_mark)
        if len(self._stack) >= MAX_DEPTH:
            self._add(place, f"lists and mappings are nested more than {MAX_DEPTH} deep here", "write it flatter")
            raise _Finished
        if event.anchor:
            self._anchors[event.anchor] = None
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        self._stack.append(_Open(place=place, is_mapping=is_mapping, is_flow=bool(event.flow_style), anchor=event.anchor))

    def _put(self, built: _Built) -> None:
        if self._stack:
            self._stack[-1].parts.append(built)
        else:
            self._root = built.node

    def _name(self, anchor: str | None, built: _Built) -> None:
        if anchor:
            self._anchors[anchor] = built

    def _follow(self, event: yaml.AliasEvent) -> _Built:
        name, place = str(event.anchor), self._place(event.start_mark)
        nothing = _Built(node=Scalar(place=place, value=None, text=f"*{name}"))
        if name not in self._anchors:
            if not self._broken:
                near = difflib.get_close_matches(name, self._anchors, 1)
                hint = (
                    f"did you mean *{near[0]}?" if near else f"define it above with &{name}, or quote a text that begins with *"
                )
                self._add(place, f"there is no &{name} above", hint)
            return nothing
        built = self._anchors[name]
        if built is None:
            self._add(place, f"*{name} is inside what it stands for", "an alias cannot contain itself")
            return nothing
        self._aliased += built.size
        if self._aliased > MAX_ALIASED_NODES or len(self._stack) + built.depth > MAX_DEPTH:
            self._add(
                place, f"the aliases grow to more than {MAX_ALIASED_NODES:,} values or {MAX_DEPTH} levels", "write less with *"
            )
            raise _Finished
        return built

    def _check_tag(self, event: yaml.NodeEvent) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            hint = "leave it out; quotes make a text, and a text that begins with ! needs them"
            self._add(self._place(event.start_mark), f"the tag {shown} is refused", hint)

    def _make_scalar(self, event: yaml.ScalarEvent) -> _Built:
        place = self._place(event.start_mark)
        if event.style is not None:
            text = self._checked_text(event.value, place)
            return _Built(node=Scalar(place=place, value=text, text=text, plain=False))
        if self._is_odd and self._is_odd.search(event.value):
            self._add(
                place, "an invisible character is in this value", "put the value in double quotes, or delete the character"
            )
        value = None
        try:
            value = parse_scalar(event.value)
        except ScalarError as error:
            self._add(place, str(error), error.hint)
        comment = ""
        if event.value and event.end_mark:
            rest = self._lines[event.end_mark.line][event.end_mark.column :]
            comment = rest.strip().translate(self._odd) if re.match(r"\s+#", rest) else ""
        text = event.value.translate(self._odd)
        is_empty = event.value == ""
        return _Built(node=Scalar(place=place, value=value, text=text, comment=comment), is_empty=is_empty)

    def _checked_text(self, text: str, place: Place) -> str:
        text = text.translate(self._odd)
        if "\0" in text:
            self._add(place, "a value cannot hold a NUL character", "no program can be given one")
            text = text.replace("\0", "\ufffd")  # what reads on relies on there being none
        if re.search("[\ud800-\udfff]", text):
            # JSON writes a character beyond U+FFFF as two halves, "\ud83d\ude00".
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            if "\ufffd" in text:
                self._add(place, "half of a \\u pair stands alone", "write the character itself")
        return text

    def _make_mapping(self, opened: _Open, end: _Mark | None) -> _Built:
        if self._is_template(opened):
            return _Built(node=self._make_template(opened.place, end))
        entries: dict[str, tuple[Scalar, Node]] = {}
        merged: dict[str, Scalar] = {}
        for key, value in zip(opened.parts[::2], opened.parts[1::2], strict=True):
            checked = self._checked_key(opened, key, value)
            if checked is None:
                continue
            name, node = checked
            if name.plain and name.text == "<<":
                if "<<" in merged:
                    self._add(name.place, f"<< appears twice (first on line {merged['<<'].place.line})", "write <<: [*a, *b]")
                merged["<<"] = name
                for other, merged_node in self._merged_entries(node):
                    if other.text not in entries:
                        entries[other.text] = (other, merged_node)
                        merged[other.text] = other
            elif name.text in entries and name.text not in merged:
                self._add_duplicate(name, entries[name.text][0])
            else:
                # A key of the mapping's own wins over a merged one, wherever << stands.
                merged.pop(name.text, None)
                entries[name.text] = (name, node)
        return _closed(Mapping(place=opened.place, entries=tuple(entries.values())), opened)

    def _is_template(self, opened: _Open) -> bool:
        """Whether a mapping is ``{{ x }}`` without quotes: its one key is a mapping that begins right behind its own brace."""
        first = opened.parts[0] if opened.parts else None
        behind = Place(file=self._file, line=opened.place.line, column=opened.place.column + 1)
        return bool(
            opened.is_flow and first and first.is_flow and isinstance(first.node, Mapping) and first.node.place == behind
        )

    def _make_template(self, place: Place, end: _Mark | None) -> Scalar:
        """The text that ``{{ x }}`` was meant to be, after a fault."""
        self._templated.add(place.line)
        self._add(place, "{{ }} without quotes is a mapping in YAML", 'put the whole value in quotes: "{{ x }}"')
        is_one_line = end is not None and end.line + 1 == place.line
        text = self._lines[place.line - 1][place.column - 1 : end.column] if end and is_one_line else "{{ }}"
        return Scalar(place=place, value=text, text=text)

    def _checked_key(self, opened: _Open, key: _Built, value: _Built) -> tuple[Scalar, Node] | None:
        """The key as text with its value, mended after a fault where it is clear what was meant."""
        node = key.node
        if not isinstance(node, Scalar):
            self._add(node.place, f"a key must be text, not {kind_of(node)}", "quote it, if a text is meant")
            return None
        if node.plain and not isinstance(node.value, str):
            if key.is_empty:
                self._add(node.place, "a key is missing before the colon", "write 'key: value'")
                return None
            hint = f'write "{node.text}" in quotes, if that is the name'
            self._add(node.place, f"a key must be text, not {kind_of(node)}", hint)
            return node, value.node
        if opened.is_flow and node.plain and value.is_empty and ":" in node.text:
            first, _, rest = (part.strip() for part in node.text.partition(":"))
            hint = f"put a space after the colon: {{{first}: {rest}}}"
            self._add(node.place, f"{node.text!r} is a key without a value: it has swallowed its colon", hint)
            place = Place(file=self._file, line=node.place.line, column=node.place.column + node.text.index(":") + 1)
            return replace(node, text=first, value=first), Scalar(place=place, value=_meant(rest), text=rest)
        return node, value.node

    def _merged_entries(self, node: Node) -> Iterator[tuple[Scalar, Node]]:
        sources = node.items if isinstance(node, Sequence) else (node,)
        for source in sources:
            if isinstance(source, Mapping):
                yield from source
            else:
                self._add(source.place, f"<< merges mappings, not {kind_of(source)}", "write <<: *name, or <<: [*a, *b]")

    def _add_duplicate(self, name: Scalar, first: Scalar) -> None:
        hint = "keep one of the two"
        if name.text in _KEYWORDS_OF_BLOCKS:
            hint = f"put both under product:, as the list items '- {name.text}: ...'"
        place = f"line {first.place.line}, column {first.place.column}"
        self._add(name.place, f"the key {name.text!r} appears twice in one mapping (first on {place})", hint)


def _meant(text: str) -> Value:
    try:
        return parse_scalar(text)
    except ScalarError:
        return text


def _events(loader: yaml.SafeLoader) -> Iterator[yaml.Event]:
    while loader.check_event():
        event: yaml.Event = loader.get_event()  # type: ignore[no-untyped-call] # untyped in the stubs of PyYAML
        yield event


def _make_sequence(opened: _Open) -> _Built:
    return _closed(Sequence(place=opened.place, items=tuple(part.node for part in opened.parts)), opened)


def _closed(node: Node, opened: _Open) -> _Built:
    return _Built(
        node=node,
        size=1 + sum(part.size for part in opened.parts),
        depth=1 + max((part.depth for part in opened.parts), default=0),
        is_flow=opened.is_flow,
    )
