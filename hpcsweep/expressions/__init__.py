"""Expressions and templates over a point's parameters: Jinja2's, sandboxed, with native values.

Dotted names are parameters, longest first, and never attributes of Python objects. A name that a point has not is undefined:
an error wherever it is used, but for ``is defined`` and ``default``. Texts are data: nothing here parses a value again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpcsweep.expressions.errors import ExpressionError
from hpcsweep.expressions.names import RESERVED, Names, spelling
from hpcsweep.expressions.values import Words, plain, text_of
from hpcsweep.model import Params, Value

__all__ = [
    "RESERVED",
    "Expression",
    "ExpressionError",
    "Template",
    "Words",
    "check_names",
    "compile_expression",
    "compile_template",
    "missing_value",
    "spelling",
    "text_of",
]

_NO_EXTRA: Mapping[str, object] = {}


@dataclass(frozen=True, kw_only=True)
class Expression:
    """A compiled expression; ``names`` are the parameters that it uses, ``origin`` is where it is written, if known."""

    text: str
    names: frozenset[str]
    _evaluate: Callable[[Params, Mapping[str, object]], Any] = field(repr=False, compare=False)
    origin: str = field(default="", compare=False)

    def evaluate(self, params: Params, extra: Mapping[str, object] = _NO_EXTRA) -> Value:
        """The value for one point.

        Args:
            params: the point; names that it has not are undefined.
            extra: the other reserved words (``resources``, ``task``, ``hpcsweep``), each a mapping.

        Raises:
            ExpressionError: when there is no value: something undefined, a number out of all bounds, wrong types.
        """
        return plain(self.evaluate_raw(params, extra))

    def evaluate_raw(self, params: Params, extra: Mapping[str, object] = _NO_EXTRA) -> Any:
        """As ``evaluate``, but Words stay Words."""
        try:
            result = self._evaluate(params, extra)
            return result if isinstance(result, Words) else plain(result)
        except Exception:
            from hpcsweep.expressions.compiled import explained  # noqa: PLC0415 - Jinja2 is slow to start

            with explained(self.text):
                raise


@dataclass(frozen=True, kw_only=True)
class Template:
    """A compiled text with ``{{ }}`` and ``{% %}``; ``names`` are the parameters that it uses."""

    text: str
    names: frozenset[str]
    single: Expression | None  # the text is this one expression and nothing else
    _render: Callable[[Params, Mapping[str, object]], str] = field(repr=False, compare=False)

    def render(self, params: Params, extra: Mapping[str, object] = _NO_EXTRA) -> str:
        """The text for one point, values written as ``text_of`` does, without any quoting.

        Raises:
            ExpressionError: when an expression in it has no value.
        """
        from hpcsweep.expressions.compiled import explained  # noqa: PLC0415 - Jinja2 is slow to start

        with explained(self.text):
            return self._render(params, extra)

    def render_native(self, params: Params, extra: Mapping[str, object] = _NO_EXTRA) -> Value:
        """As ``render``, but a text that is one single ``{{ expression }}`` gives that expression's value."""
        return self.single.evaluate(params, extra) if self.single else self.render(params, extra)


def compile_expression(
    text: str, *, names: Collection[str], noun: str = "parameter", reserved: Collection[str] = RESERVED
) -> Expression:
    """``"0.1 * epochs"`` -> an Expression; ``names`` are all parameters that a point may have.

    ``noun`` is what these are called in messages. Words that are not ``reserved`` here may be names.

    Raises:
        ExpressionError: for syntax, unknown names, and names that could be misread.
    """
    from hpcsweep.expressions.compiled import evaluator  # noqa: PLC0415 - Jinja2 is slow to start
    from hpcsweep.expressions.resolve import parse_expression  # noqa: PLC0415 - Jinja2 is slow to start

    tree, used = parse_expression(text, Names(names, noun=noun, reserved=reserved))
    return Expression(text=text, names=used, _evaluate=evaluator(tree))


def missing_value() -> Any:
    """What stands for a value that is not there and need not be: a comparison with it is false, and it equals ``none``."""
    from hpcsweep.expressions.sandbox import Missing  # noqa: PLC0415 - Jinja2 is slow to start

    return Missing()


def compile_template(text: str, *, names: Collection[str]) -> Template:
    """``"lr = {{ lr }}"`` -> a Template, for files, stdin, environment, resources and patterns: no shell quoting.

    Raises:
        ExpressionError: as ``compile_expression`` does.
    """
    if "{{" not in text and "{%" not in text:
        return Template(text=text, names=frozenset(), single=None, _render=lambda _params, _extra: text)
    from hpcsweep.expressions.compiled import evaluator, renderer, single_expression, without_raw  # noqa: PLC0415 - Jinja2 is slow to start
    from hpcsweep.expressions.resolve import parse_template  # noqa: PLC0415 - Jinja2 is slow to start

    tree, used = parse_template(text, Names(names))
    without_raw(tree)
    only_one = single_expression(tree)
    single = Expression(text=text, names=used, _evaluate=evaluator(only_one)) if only_one is not None else None
    return Template(text=text, names=used, single=single, _render=renderer(tree))


def check_names(names: Collection[str]) -> None:
    """Raise ExpressionError when two parameters are written alike in expressions (``a-b`` and ``a_b``)."""
    Names(names)
