"""``sweep: data * (sgd + adam) * 3`` over the blocks of ``spaces:``: another way to write the same tree."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hpcsweep.errors import Faults, Place
from hpcsweep.sweepfile.nodes import Mapping, Node, Scalar, kind_of
from hpcsweep.sweepfile.space_tree import Part, TreeReader
from hpcsweep.sweepfile.words import did_you_mean

_TOKEN = re.compile(r"(?P<integer>[0-9]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<operator>[-+*()])")
_BLOCK_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_DEPTH = 50


@dataclass(frozen=True, kw_only=True)
class _Token:
    text: str
    kind: str
    offset: int


class _SyntaxFault(Exception):
    def __init__(self, offset: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.offset, self.message, self.hint = offset, message, hint


def read_front_end(spaces: Node, sweep: Node | None, reader: TreeReader) -> Part | None:
    """Read ``spaces:`` and ``sweep:`` into the space that they describe; None after faults."""
    notes = reader.notes
    before = notes.count
    if not isinstance(spaces, Mapping):
        notes.fault(
            spaces.place, f"spaces holds named spaces, not {kind_of(spaces)}", "write spaces: {data: {...}, sgd: {...}}"
        )
        return None
    blocks: dict[str, Part | None] = {}
    for key, value in spaces:
        if not _BLOCK_NAME.fullmatch(key.text):
            hint = "names in sweep: are letters, digits and _, not starting with a digit"
            notes.fault(key.place, f"a space cannot be called {key.text!r}", hint)
        blocks[key.text] = reader.read_space(value, f"the space {key.text}")
    if sweep is None:
        hint = f"write sweep: {' * '.join(blocks) or 'data'}, with names, +, *, integers and parentheses"
        notes.fault(spaces.place, "spaces: needs sweep:, which says how they go together", hint)
        return None
    if not isinstance(sweep, Scalar) or not isinstance(sweep.value, str):
        notes.fault(
            sweep.place,
            f"sweep must be an expression of the spaces, not {kind_of(sweep)}",
            "write sweep: data * (sgd + adam) * 3",
        )
        return None
    try:
        parser = _Parser(sweep, blocks, reader)
        part = parser.parse()
    except _SyntaxFault as fault:
        notes.fault(place_in(sweep, fault.offset, notes.faults), f"sweep: {fault.message}", fault.hint)
        return None
    for key, _ in spaces:
        if key.text not in parser.used:
            notes.warn(key.place, f"the space {key.text} is not used in sweep:")
    return part if notes.count == before else None


def place_in(node: Scalar, offset: int | None, faults: Faults) -> Place:
    """The place of a character of a scalar's text; the scalar's own place where its lines do not show it as it is."""
    if offset is None:
        return node.place
    rest = faults.source_line(node.place)[node.place.column - 1 :]
    indent = 0 if node.plain else 1
    if not rest[indent:].startswith(node.text):
        return node.place
    return replace(node.place, column=node.place.column + indent + min(offset, len(node.text)))


class _Parser:
    """Reads ``sum := product ('+' product)*; product := atom ('*' atom)*; atom := INTEGER | NAME | '(' sum ')'``."""

    def __init__(self, source: Scalar, blocks: dict[str, Part | None], reader: TreeReader) -> None:
        self._source = source
        self._blocks = blocks
        self._reader = reader
        self._tokens = _tokenize(source.text)
        self._next = 0
        self._depth = 0
        self.used: set[str] = set()

    def parse(self) -> Part | None:
        result = self._sum()
        left = self._tokens[self._next]
        if left.kind != "end":
            hint = "a ( is missing before it" if left.text == ")" else "put + or * between two spaces"
            raise _SyntaxFault(left.offset, f"{left.text!r} cannot stand here", hint)
        if isinstance(result, int):
            raise _SyntaxFault(0, "a number alone is no space", "numbers multiply a space: 3 * data")
        return result

    def _take(self, *texts: str) -> _Token | None:
        token = self._tokens[self._next]
        if token.kind == "operator" and token.text in texts:
            self._next += 1
            return token
        return None

    def _sum(self) -> Part | int | None:
        start = self._tokens[self._next]
        terms = [(start, self._product())]
        while self._take("+"):
            start = self._tokens[self._next]
            terms.append((start, self._product()))
        if len(terms) == 1:
            return terms[0][1]
        for token, term in terms:
            if isinstance(term, int):
                raise _SyntaxFault(token.offset, f"the number {term} cannot be added", "numbers multiply a space: 3 * data")
        blocks = [term for _, term in terms if isinstance(term, Part)]
        if len(blocks) < len(terms):
            return None
        return self._reader.add(blocks, self._place(terms[0][0]), "sweep")

    def _product(self) -> Part | int | None:
        tokens, factors = [self._tokens[self._next]], [self._atom()]
        while self._take("*"):
            tokens.append(self._tokens[self._next])
            factors.append(self._atom())
        count, first_count = 1, None
        parts: list[Part] = []
        for token, factor in zip(tokens, factors, strict=True):
            if isinstance(factor, int):
                count, first_count = count * factor, first_count or token
            elif factor is not None:
                self._check_disjoint(parts, factor, token)
                parts.append(factor)
        if all(isinstance(factor, int) for factor in factors):
            return count
        if None in factors:
            return None
        product = self._reader.multiply(parts, self._place(tokens[0]), "sweep")
        if product and first_count:
            return self._reader.copy(product, count, self._place(first_count))
        return product

    def _check_disjoint(self, parts: list[Part], factor: Part, token: _Token) -> None:
        """Refuse a name that two factors set; counts of copies multiply."""
        for part in parts:
            for name in part.names:
                if name in factor.names and not (name in part.space.replicates and name in factor.space.replicates):
                    lines = sorted({part.names[name].line, factor.names[name].line})
                    where = " and ".join(f"line {line}" for line in lines)
                    hint = "a name may be in one factor only; + makes alternatives"
                    raise _SyntaxFault(token.offset, f"{name} is in two factors ({where})", hint)

    def _atom(self) -> Part | int | None:
        token = self._tokens[self._next]
        if token.kind == "integer":
            self._next += 1
            if len(token.text) > 9 or int(token.text) == 0:
                raise _SyntaxFault(token.offset, f"{token.text[:20]} copies cannot be made", "write a number from 1 up")
            return int(token.text)
        if token.kind == "name":
            self._next += 1
            self.used.add(token.text)
            if token.text not in self._blocks:
                hint = did_you_mean(token.text, self._blocks, "spaces: has " + (", ".join(self._blocks) or "none"))
                self._reader.notes.fault(self._place(token), f"sweep: there is no space {token.text!r}", hint)
                return None
            return self._blocks[token.text]
        if self._take("("):
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise _SyntaxFault(token.offset, f"more than {_MAX_DEPTH} parentheses inside each other", "write it flatter")
            inside = self._sum()
            if not self._take(")"):
                raise _SyntaxFault(token.offset, "this ( is never closed", "add the )")
            self._depth -= 1
            return inside
        what = "the end" if token.kind == "end" else repr(token.text)
        raise _SyntaxFault(
            token.offset, f"a name, a number or ( is expected, not {what}", "write it like data * (sgd + adam) * 3"
        )

    def _place(self, token: _Token) -> Place:
        return place_in(self._source, token.offset, self._reader.notes.faults)


def _tokenize(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match:
            if match[0] == "-":
                raise _SyntaxFault(position, "spaces cannot be subtracted", "use exclude: or where: to drop points")
            tokens.append(_Token(text=match[0], kind=match.lastgroup or "", offset=position))
            position = match.end()
        elif text[position].isspace():
            position += 1
        else:
            hint = "sweep: has names, integers, +, * and parentheses"
            raise _SyntaxFault(position, f"{text[position]!r} cannot stand here", hint)
    return [*tokens, _Token(text="", kind="end", offset=len(text.rstrip()))]
