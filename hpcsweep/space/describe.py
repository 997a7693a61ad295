"""A space as lines for people: its tree with a count at every node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hpcsweep.space.composites import Product, Replicate, Sum, Zip
from hpcsweep.space.conditions import exclusion_text, where_text
from hpcsweep.space.leaves import Distribution, Rows, Values

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcsweep.space.node import Node
    from hpcsweep.space.sweep_space import Expansion, SweepSpace

_MAX_SHOWN = 5
_MAX_WIDTH = 60


def tree_lines(space: SweepSpace, expansion: Expansion | None = None) -> list[str]:
    """The tree, then what happens to its points, in that order; nothing is enumerated.

    With an expansion each condition says how many base points it rejected, and the last line how many points there are::

        product: 6 points
          lr: 3 values 0.1, 0.01, 0.001
          epochs: 30
          replicate seed: 2 values 0, 1
        where: lr > 0.05: rejected 2
        4 points
    """
    lines = list(_node_lines(space.tree, ""))
    if space.sample:
        sample = space.sample
        each = f" for each combination of {', '.join(sample.per)}" if sample.per else ""
        lines.append(f"sample: {_counted(sample.n, 'point')}{each}, {sample.method}, seed {sample.seed}")
    lines += [f"derive {name}: {expression.text}" for name, expression in space.derive]
    conditions = [where_text(expression) for expression in space.where]
    conditions += [exclusion_text(entry, k) for k, entry in enumerate(space.exclude)]
    lines += [_condition_line(text, expansion) for text in conditions]
    if space.include:
        lines.append(f"include: {_counted(sum(entry.count() for entry in space.include), 'point')}")
    return lines + _total_lines(space, expansion)


def _condition_line(text: str, expansion: Expansion | None) -> str:
    return f"{text}: rejected {expansion.rejected.get(text, 0):,}" if expansion else text


def _total_lines(space: SweepSpace, expansion: Expansion | None) -> list[str]:
    if expansion is None:
        known = space.known_count()
        return [] if known is None else [_counted(known, "point")]
    lines = []
    if expansion.dropped:
        examples = ", ".join(_short(point) for point in expansion.examples)
        lines.append(f"equal points dropped: {expansion.dropped:,} ({examples})")
    total = _counted(expansion.count, "point")
    return [*lines, total if expansion.is_complete else f"more than {total}, looked at no further"]


def _node_lines(node: Node, indent: str) -> Iterator[str]:
    match node:
        case Values():
            yield f"{indent}{node.name}: {_values_text(node.values)}"
        case Distribution():
            first, second = node.numbers
            step = "" if node.step is None else f", step {node.step}"
            yield f"{indent}{node.name}: {node.kind} {first} … {second}{step}"
        case Rows():
            yield f"{indent}rows: {_size(node)} of {', '.join(node.names)}"
        case Product():
            yield f"{indent}product: {_size(node)}"
            for factor in node.factors:
                yield from _node_lines(factor, indent + "  ")
        case Sum():
            yield f"{indent}sum: {_size(node)}"
            for block in node.blocks:
                yield from _node_lines(block, indent + "  ")
        case Zip():
            yield f"{indent}zip: {_size(node)}"
            for column in node.spaces:
                yield from _node_lines(column, indent + "  ")
        case Replicate():
            counts = ", ".join(f"{name}: {_values_text(values, always_counted=True)}" for name, values in node.counts.items())
            yield f"{indent}replicate {counts}: {_size(node)}"
            yield from _node_lines(node.space, indent + "  ")


def _size(node: Node) -> str:
    return _counted(node.count(), "point") if node.is_finite else "continuous"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _values_text(values: Sequence[Any], *, always_counted: bool = False) -> str:
    """``5 values 1e-05 … 0.1``; a constant is shown by itself, a few values are all shown."""
    if len(values) == 1 and not always_counted:
        return _short(values[0])
    shown = ", ".join(map(_short, values[:_MAX_SHOWN])) if len(values) <= _MAX_SHOWN else ""
    if not shown or len(shown) > _MAX_WIDTH:
        shown = f"{_short(values[0])} … {_short(values[-1])}" if len(values) > 1 else _short(values[0])
    return f"{_counted(len(values), 'value')} {shown}"


def _short(value: Any) -> str:
    """The value as JSON on one line, a plain text without quotes, cut when long."""
    is_plain = isinstance(value, str) and value.isprintable() and value.strip() == value != ""
    text = value if is_plain else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_WIDTH else text[: _MAX_WIDTH - 1] + "…"
