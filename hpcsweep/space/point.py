"""A point as users of Python hold it in their hands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


class Point(dict[str, Any]):
    """One assignment, name -> value: a mapping that equals the dict with the same items, and that can be a key or in a set.

    It cannot be changed; ``dict(point)`` and ``point | {"lr": 0.1}`` are dicts of their own.
    """

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override] # a dict has none
        return hash(frozenset((name, _hashable(value)) for name, value in self.items()))

    def __repr__(self) -> str:
        return super().__repr__()

    def __reduce__(self) -> tuple[Callable[..., Point], tuple[dict[str, Any]]]:
        return Point, (dict(self),)

    def copy(self) -> Point:
        """The same point."""
        return Point(self)

    def _refuse(self, *_arguments: object, **_more: object) -> NoReturn:
        raise TypeError("a point cannot be changed: dict(point) is a copy that can")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


def _hashable(value: Any) -> Any:
    """Something that is equal, and can be hashed, wherever two values are equal."""
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    if isinstance(value, dict):
        return frozenset((name, _hashable(item)) for name, item in value.items())
    return value
