"""``objective: val_loss:min``: which metric counts, which of a series' values stands for it, and whether little or much is good."""

from __future__ import annotations

from dataclasses import dataclass

from hpcsweep.errors import HpcsweepError

REDUCTIONS = ("last", "first", "min", "max", "mean")
"""How a series over steps becomes one value."""

DIRECTIONS = ("min", "max")


class ObjectiveError(HpcsweepError):
    """A text that is no objective; ``offset`` is the place in it (0-based)."""

    def __init__(self, message: str, hint: str, offset: int) -> None:
        super().__init__(message, hint)
        self.offset = offset


@dataclass(frozen=True, kw_only=True)
class Objective:
    """``str(objective)`` is the text that it was parsed from, with each part said."""

    metric: str
    reduction: str
    direction: str

    @property
    def is_less_better(self) -> bool:
        """Whether the least value is the best one."""
        return self.direction == "min"

    def __str__(self) -> str:
        return f"{self.metric}:{self.reduction}:{self.direction}"


def parse_objective(text: str) -> Objective:
    """``"val_loss:min"`` -> the least of a series' values counts, and the least is the best; ``"val_loss:last:min"`` says both.

    A metric that has a colon in its name needs all three parts.

    Raises:
        ObjectiveError: with the place of the part that is wrong.
    """
    metric, *rest = (part.strip() for part in text.split(":"))
    direction = rest.pop() if rest else ""
    if direction not in DIRECTIONS:
        at = text.rindex(":") + 1 if ":" in text else len(text)
        what = f"`{direction}` is no direction" if direction else "its direction is missing"
        example = metric if metric and not rest else "val_loss"
        raise _wrong(text, what, f"write {example}:min or {example}:max: whether little or much of it is good", at)
    reduction = direction
    if rest:
        reduction = rest.pop()
        if reduction not in REDUCTIONS:
            at = text.rindex(":", 0, text.rindex(":")) + 1
            hint = f"write val_loss:min, or val_loss:last:min; the word between is one of {', '.join(REDUCTIONS)}"
            raise _wrong(text, f"`{reduction}` is not how a series becomes one value", hint, at)
    metric = ":".join((metric, *rest))
    if not metric.strip(":"):
        raise _wrong(text, "the metric's name is missing", f"write val_loss:{direction}", 0)
    return Objective(metric=metric, reduction=reduction, direction=direction)


def _wrong(text: str, what: str, hint: str, offset: int) -> ObjectiveError:
    return ObjectiveError(f"`{text}` is no objective: {what}", hint, offset + len(text[offset:]) - len(text[offset:].lstrip()))
