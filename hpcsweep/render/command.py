"""The command of a sweep, for each point, with every value quoted for the shell."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcsweep.expressions import ExpressionError, Template, compile_template, text_of
from hpcsweep.model import Params

if TYPE_CHECKING:
    from jinja2 import nodes

_NO_EXTRA: Mapping[str, object] = {}


@dataclass(frozen=True, kw_only=True)
class CommandTemplate:
    """A compiled command; ``names`` are the parameters that it uses."""

    text: str | tuple[str, ...]
    names: frozenset[str]
    _render: Callable[[Params, Mapping[str, object]], str | tuple[str, ...]] = field(repr=False, compare=False)

    def render(self, params: Params, extra: Mapping[str, object] = _NO_EXTRA) -> str | tuple[str, ...]:
        """The command for one point: shell text for a text, the words of argv for a list.

        Raises:
            ExpressionError: for something undefined, or a value that cannot stand where it would.
        """
        return self._render(params, extra)


def compile_command(command: str | tuple[str, ...], *, names: Collection[str]) -> CommandTemplate:
    """A command with ``{{ }}``: as text, every expression is quoted for the shell; as a list, its items are words.

    In a list, an item that is one expression giving a list becomes several words.

    Raises:
        ExpressionError: for syntax, unknown names, and expressions where none can stand.
    """
    if not isinstance(command, str):
        return _compile_words(command, names)
    if "{{" not in command and "{%" not in command:
        return CommandTemplate(text=command, names=frozenset(), _render=lambda _params, _extra: command)
    from hpcsweep.expressions.compiled import explained, renderer  # noqa: PLC0415 - Jinja2 is slow to start
    from hpcsweep.expressions.names import Names  # noqa: PLC0415 - Jinja2 is slow to start
    from hpcsweep.expressions.resolve import parse_template  # noqa: PLC0415 - Jinja2 is slow to start

    tree, used = parse_template(command, Names(names))
    _quote_expressions(tree, command)
    render = renderer(tree)

    def explained_render(params: Params, extra: Mapping[str, object]) -> str:
        with explained(command):
            return render(params, extra)

    return CommandTemplate(text=command, names=used, _render=explained_render)


def _compile_words(command: Iterable[str], names: Collection[str]) -> CommandTemplate:
    items = [compile_template(item, names=names) for item in command]

    def render(params: Params, extra: Mapping[str, object]) -> tuple[str, ...]:
        return tuple(word for item in items for word in _item_words(item, params, extra))

    used = frozenset(name for item in items for name in item.names)
    return CommandTemplate(text=tuple(command), names=used, _render=render)


def _item_words(item: Template, params: Params, extra: Mapping[str, object]) -> list[str]:
    if item.single is None:
        return [item.render(params, extra)]
    value = item.single.evaluate(params, extra)
    return [text_of(part) for part in value] if isinstance(value, list) else [text_of(value)]


def _quote_expressions(tree: nodes.Template, command: str) -> None:
    """Wrap each printed expression of a command in the quoting that its place needs."""
    from hpcsweep.expressions.sandbox import environment  # noqa: PLC0415 - Jinja2 is slow to start
    from hpcsweep.render.quote import quote_value  # noqa: PLC0415 - Jinja2 is slow to start
    from hpcsweep.render.walk import Walk  # noqa: PLC0415 - Jinja2 is slow to start

    environment().filters["_shell"] = quote_value
    walk = Walk()
    walk.read(tree.body)
    walk.here.finish()
    walk.wrap(lambda expression: _fix(command, expression))


def _fix(command: str, expression: nodes.Expr) -> str:
    """How a quoted expression should be written: ``"out/{{ name }}.csv"`` -> ``out/{{ name }}.csv``."""
    advice = "leave out the quotes around the expression: hpcsweep quotes each value by itself"
    written = _written(expression)
    if written is None:
        return advice
    braces = r"\{\{-?\s*" + re.escape(written) + r"\s*-?\}\}"
    found = re.search(rf"(['\"])([^'\"\n]*)({braces})([^'\"\n]*)\1", command)
    if found is None:
        return advice
    mark, before, braced, after = found.groups()
    parts = [part if re.fullmatch(r"[\w./:=,@%+-]*", part) else f"{mark}{part}{mark}" for part in (before, after)]
    return f"write {parts[0]}{braced}{parts[1]} in place of {found[0]}: hpcsweep quotes each value by itself"


def _written(expression: nodes.Expr) -> str | None:
    """How a plain parameter was written; None for any other expression."""
    from jinja2 import nodes  # noqa: PLC0415 - Jinja2 is slow to start

    from hpcsweep.expressions import spelling  # noqa: PLC0415 - Jinja2 is slow to start

    match expression:
        case nodes.Getitem(node=nodes.Name(name="params"), arg=nodes.Const(value=str(name))):
            return spelling(name)
    return None


__all__ = ["CommandTemplate", "ExpressionError", "compile_command"]
