"""The space as a Python type: ``ParamSpace(lr=[0.1, 0.01]) * ParamSpace(depth=[1, 2]) + 3 * ParamSpace(baseline=True)``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence
from copy import deepcopy
from hashlib import sha256
from itertools import count
from typing import Any, overload

from hpcsweep.space.composites import REP, Product, Replicate, Sum, Zip
from hpcsweep.space.identity import canonical
from hpcsweep.space.leaves import Distribution, Rows, Values
from hpcsweep.space.lookup import has_point, values_of
from hpcsweep.space.node import Node, SpaceError
from hpcsweep.space.node import Point as PlainPoint
from hpcsweep.space.point import Point

_MAX_LISTED = 1_000_000
_MAX_REJECTED_IN_A_ROW = 100_000


class NoSuchParameter(SpaceError, KeyError):
    """``space["x"]`` where no point has an x."""

    def __str__(self) -> str:
        return self.message


class ParamSpace:
    """An algebra of parameter points, each a :class:`Point`; a space is immutable.

    ``ParamSpace(lr=[0.1, 0.01], epochs=30)`` multiplies its names: a list, tuple, range, array or other iterable gives
    alternatives, anything else (a text too) is a constant. One list as a single value is ``layers=[[64, 64]]``. Names that
    are no identifiers come in a mapping: ``ParamSpace({"model.depth": [1, 2]})``.

    * ``a + b``: the points of a, then those of b; they may have different names.
    * ``a * b``: each point of a with each of b; b varies fastest. A name in both is an error.
    * ``3 * a``, ``a * 3``: each point three times, told apart by the name ``rep``: 0, 1, 2. Counts multiply, and a block of
      a sum without a count has ``rep`` 0 where others have one.

    ``len``, indexing, slicing and ``in`` are arithmetic; iteration is lazy; nothing is ever enumerated to be counted.
    ``space["lr"]`` are the values that ``lr`` takes. Equal points are
    kept (``len(a + a) == 2 * len(a)``); a sweep drops them.

    Raises:
        SpaceError: (a ValueError) an empty list, a name in two factors, a value that JSON cannot hold (NaN, infinities, NUL).
    """

    __slots__ = ("_key", "_node")

    def __init__(self, names: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        given = dict(names or {})
        twice = [name for name in more if name in given]
        if twice:
            raise SpaceError(f"{twice[0]} is given twice", names=twice)
        self._node = _flat_product([Values(name, _alternatives(name, value)) for name, value in (given | more).items()])
        self._key: str | None = None

    @classmethod
    def from_node(cls, node: Node) -> ParamSpace:
        """The space of a tree that ``hpcsweep.space`` built."""
        space = cls()
        space._node = node
        return space

    @property
    def node(self) -> Node:
        """The tree of this space, for ``hpcsweep.space``."""
        return self._node

    @property
    def names(self) -> tuple[str, ...]:
        """All names that may occur in a point."""
        return self._node.names

    def count(self) -> int:
        """How many points there are: ``len``, without its limit of 2**63."""
        return self._node.count()

    def __len__(self) -> int:
        return len(self._node)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Point]:
        return map(_own, self._node)

    def keys(self) -> KeysView[str]:
        """All names that may occur in a point, in their order."""
        return dict.fromkeys(self.names).keys()

    def __contains__(self, item: object) -> bool:
        """Whether a mapping is one of the points, or a text one of the names."""
        if isinstance(item, str):
            return item in self.names
        return isinstance(item, Mapping) and has_point(self._node, item)

    @overload
    def __getitem__(self, index: int) -> Point: ...
    @overload
    def __getitem__(self, index: slice) -> list[Point]: ...
    @overload
    def __getitem__(self, index: str) -> list[Any]: ...
    def __getitem__(self, index: int | slice | str) -> Point | list[Point] | list[Any]:
        if isinstance(index, str):
            if index not in self.names:
                raise NoSuchParameter(f"there is no parameter {index!r}: there are {', '.join(self.names) or 'none'}")
            return deepcopy(list(values_of(self._node, index)))
        if isinstance(index, slice):
            return [_own(point) for point in self._node[index]]
        return _own(self._node[index])

    def __add__(self, other: object) -> ParamSpace:
        if not isinstance(other, ParamSpace):
            return NotImplemented
        blocks = [*_parts(Sum, self._node), *_parts(Sum, other._node)]
        return ParamSpace.from_node(Sum(blocks))

    def __radd__(self, other: object) -> ParamSpace:
        # sum() of a list of spaces begins with 0.
        return self if other == 0 and isinstance(other, int) else NotImplemented

    def __mul__(self, other: object) -> ParamSpace:
        if isinstance(other, ParamSpace):
            return ParamSpace.from_node(_flat_product([*_parts(Product, self._node), *_parts(Product, other._node)]))
        if not isinstance(other, int) or isinstance(other, bool):
            return NotImplemented
        if other < 1:
            raise SpaceError(f"{other} times a space is no space: the least is 1")
        node = self._node
        if isinstance(node, Replicate) and set(node.counts) == {REP} and isinstance(node.counts[REP], range):
            return ParamSpace.from_node(Replicate(node.space, {REP: other * len(node.counts[REP])}))
        return ParamSpace.from_node(Replicate(node, {REP: other}))

    __rmul__ = __mul__

    def sample(self, n: int, *, seed: int = 0, replace: bool = False) -> list[Point]:
        """``n`` points drawn at random, each point as likely as any; the same for the same seed, everywhere.

        Without ``replace`` the points are distinct, and a space with fewer than n distinct points gives all that it has (in
        its own order when n is its whole count). The first points of a larger n are those of a smaller one.

        Raises:
            ValueError: n is negative, or so many draws of a huge space were equal that the rest cannot be found.
        """
        if n < 0:
            raise ValueError(f"a sample of {n} points: the least is 0")
        total = self.count()
        picks = ((_hashed(seed, k) * total) >> 256 for k in count())
        if replace:
            return [self[next(picks)] for _ in range(n)]
        if n >= total:
            return list(_distinct(self))
        return self._sample_distinct(n, total, picks, seed)

    def _sample_distinct(self, n: int, total: int, picks: Iterator[int], seed: int) -> list[Point]:
        points: dict[str, Point] = {}
        looked_at: set[int] = set()
        in_a_row = 0
        for drawn, index in enumerate(picks):
            is_listable = total <= _MAX_LISTED
            if len(points) == n or in_a_row == _MAX_REJECTED_IN_A_ROW or (is_listable and drawn >= 2 * total):
                break
            in_a_row += 1
            if index in looked_at:
                continue
            looked_at.add(index)
            point = self[index]
            if points.setdefault(canonical(point), point) is point:
                in_a_row = 0
        if len(points) == n:
            return list(points.values())
        if total > _MAX_LISTED:
            raise SpaceError(
                f"found {len(points):,} distinct points of {n:,}: the last {in_a_row:,} draws were all equal to them"
            )
        rest = sorted(
            (index for index in range(total) if index not in looked_at), key=lambda index: _hashed(seed, index, "rest")
        )
        for index in rest:
            if len(points) == n:
                break
            point = self[index]
            points.setdefault(canonical(point), point)
        return list(points.values())

    def __eq__(self, other: object) -> bool:
        """Built the same way: the same points in the same order (``1``, ``1.0`` and ``True`` differ)."""
        return self._shape() == other._shape() if isinstance(other, ParamSpace) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._shape())

    def __repr__(self) -> str:
        return _expression(self._node)

    def _shape(self) -> str:
        if self._key is None:
            self._key = canonical(_described(self._node))
        return self._key


def _alternatives(name: str, value: Any) -> Sequence[Any]:
    if isinstance(value, range):
        return value
    if hasattr(value, "tolist") and not isinstance(value, int | float):
        value = value.tolist()  # an array or a number of numpy, which is no dependency of this module
    if isinstance(value, Mapping):
        raise SpaceError(f"{name}: a mapping as a value", f"as one value: {name}=[{{...}}]", names=[name])
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value), key=_checked_key(name))
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return [_plain(value)]


def _checked_key(name: str) -> Any:
    def key(value: Any) -> str:
        try:
            return canonical(value)
        except ValueError as error:
            raise SpaceError(f"{name}: {error}", names=[name]) from error

    return key


def _plain(value: Any) -> Any:
    """The value as JSON has it: tuples as lists, numpy's numbers as Python's, mutable ones copied."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _own(point: PlainPoint) -> Point:
    """The point with its own copies of lists and mappings, so that changing these does not change the space."""
    return Point({name: deepcopy(value) if isinstance(value, list | dict) else value for name, value in point.items()})


def _distinct(points: Iterable[Point]) -> Iterator[Point]:
    seen: set[str] = set()
    for point in points:
        text = canonical(point)
        if text not in seen:
            seen.add(text)
            yield point


def _hashed(*parts: object) -> int:
    return int.from_bytes(sha256("\0".join(map(str, parts)).encode()).digest(), "big")


def _parts(kind: type[Sum | Product], node: Node) -> Sequence[Node]:
    if isinstance(node, Sum) and kind is Sum:
        return node.blocks
    return node.factors if isinstance(node, Product) and kind is Product else [node]


def _flat_product(factors: Sequence[Node]) -> Node:
    return factors[0] if len(factors) == 1 else Product(factors)


def _described(node: Node) -> Any:
    match node:
        case Values():
            return {node.name: list(node.values)}
        case Rows():
            return ["rows", *node.rows]
        case Product():
            return ["*", *map(_described, node.factors)]
        case Sum():
            return ["+", *map(_described, node.blocks)]
        case Zip():
            return ["zip", *map(_described, node.spaces)]
        case Replicate():
            counts = [[name, _counts_described(values)] for name, values in node.counts.items()]
            return ["replicate", counts, _described(node.space)]
        case Distribution():
            return ["draw", node.name, node.kind, *node.numbers, node.step]
    raise TypeError(f"{type(node).__name__} is no part of a space")


def _counts_described(values: Sequence[Any]) -> Any:
    return len(values) if isinstance(values, range) else list(values)


def _expression(node: Node) -> str:
    """Python that makes the space; what only a sweep file can make is shown by its tree."""
    match node:
        case Values() | Product() if not any(not isinstance(part, Values) for part in _parts(Product, node)):
            return _constructor([part for part in _parts(Product, node) if isinstance(part, Values)])
        case Product():
            return " * ".join(_in_product(part) for part in node.factors)
        case Sum():
            return " + ".join(map(_expression, node.blocks))
        case Replicate() if set(node.counts) == {REP} and isinstance(node.counts[REP], range):
            return f"{len(node.counts[REP])} * {_in_product(node.space)}"
    return f"ParamSpace.from_node({node!r})"


def _in_product(node: Node) -> str:
    text = _expression(node)
    is_simple = isinstance(node, Values) or (
        isinstance(node, Product) and all(isinstance(part, Values) for part in node.factors)
    )
    return text if is_simple else f"({text})"


def _constructor(factors: Sequence[Values]) -> str:
    arguments = {factor.name: _argument(factor.values) for factor in factors}
    if all(name.isidentifier() and not _is_keyword(name) for name in arguments):
        return f"ParamSpace({', '.join(f'{name}={text}' for name, text in arguments.items())})"
    return f"ParamSpace({{{', '.join(f'{name!r}: {text}' for name, text in arguments.items())}}})"


def _argument(values: Sequence[Any]) -> str:
    if isinstance(values, range):
        return repr(values)
    is_constant = len(values) == 1 and not isinstance(values[0], list | dict)
    return repr(values[0]) if is_constant else repr(list(values))


def _is_keyword(name: str) -> bool:
    from keyword import iskeyword  # noqa: PLC0415 - only for repr

    return iskeyword(name)
