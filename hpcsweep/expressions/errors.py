"""The one error of expressions."""

from __future__ import annotations

from hpcsweep.errors import HpcsweepError


class ExpressionError(HpcsweepError):
    """An expression that cannot be understood, or that has no value for this point.

    ``offset`` is the place in the expression's own text (0-based), None where it is not known.
    """

    def __init__(self, message: str, hint: str = "", offset: int | None = None) -> None:
        super().__init__(message, hint)
        self.offset = offset
