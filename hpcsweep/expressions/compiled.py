"""From a resolved tree to a function of the point. Imported only where expressions are compiled (it needs Jinja2)."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import TemplateError, UndefinedError

from hpcsweep.expressions.errors import ExpressionError
from hpcsweep.expressions.sandbox import Point, environment
from hpcsweep.model import Params

_WRONG = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, TemplateError, RecursionError, MemoryError)


def evaluator(tree: nodes.Expr) -> Callable[[Params, Mapping[str, object]], Any]:
    """A function point, extra -> the expression's value, whatever it is."""
    target = nodes.Name("_result", "store", lineno=1)
    whole = nodes.Template([nodes.Assign(target, copy.deepcopy(tree), lineno=1)], lineno=1)
    template = _compile(whole)
    run = template.root_render_func
    fill = _context_filler(template)

    def evaluate(params: Params, extra: Mapping[str, object]) -> Any:
        context = fill(params, extra)
        for _text in run(context):
            pass
        return context.vars["_result"]

    return evaluate


def renderer(tree: nodes.Template) -> Callable[[Params, Mapping[str, object]], str]:
    """A function point, extra -> the text."""
    template = _compile(tree)
    run = template.root_render_func
    fill = _context_filler(template)

    def render(params: Params, extra: Mapping[str, object]) -> str:
        return "".join(run(fill(params, extra)))

    return render


def _context_filler(template: Any) -> Callable[[Params, Mapping[str, object]], Any]:
    """A function point, extra -> the context to render with. Jinja makes contexts slowly, so one serves all points."""
    globals_ = dict(environment().globals)
    values: dict[str, object] = {}
    context = template.new_context(values, shared=True)
    context.parent = values

    def fill(params: Params, extra: Mapping[str, object]) -> Any:
        values.clear()
        values.update(globals_, **extra, params=Point(params))
        context.vars.clear()
        context.exported_vars.clear()
        return context

    return fill


def _compile(tree: nodes.Template) -> Any:
    tree.set_environment(environment())
    tree.set_lineno(1, override=False)
    try:
        return environment().from_string(tree)
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise ExpressionError("the expression is nested too deeply") from error
    except TemplateError as error:
        raise ExpressionError(f"this is not understood: {error.message}") from error


def single_expression(tree: nodes.Template) -> nodes.Expr | None:
    """The one expression that a text consists of, or None."""
    match tree.body:
        case [nodes.Output(nodes=[expression])] if not isinstance(expression, nodes.TemplateData):
            return expression
    return None


def without_raw(tree: nodes.Template) -> None:
    """Take ``| raw`` away where it stands last in a printed expression: nothing is quoted here anyway."""
    for output in tree.find_all(nodes.Output):
        output.nodes = [bare(node) for node in output.nodes]


def bare(node: nodes.Expr) -> nodes.Expr:
    """The expression before its final ``| raw``, or itself."""
    if isinstance(node, nodes.Filter) and node.name == "raw" and node.node is not None:
        return node.node
    return node


@contextmanager
def explained(text: str) -> Iterator[None]:
    """Turn what goes wrong while ``text`` is worked out into an ExpressionError that shows it."""
    shown = text.strip() if len(text) < 80 and "\n" not in text.strip() else ""
    try:
        yield
    except ExpressionError as error:
        if shown and shown not in error.message:
            raise ExpressionError(f"{error.message} (in `{shown}`)", error.hint) from error
        raise
    except _WRONG as error:
        where = f" (in `{shown}`)" if shown else ""
        raise ExpressionError(f"this has no value: {_cause(error)}{where}") from error


def _cause(error: BaseException) -> str:
    match error:
        case ZeroDivisionError():
            return "a division by zero"
        case OverflowError():
            return "a number is out of all bounds"
        case RecursionError() | MemoryError():
            return "it needs too much memory"
        case UndefinedError() if found := re.match(r"'(\w+)' is undefined", str(error)):
            return f"`{found[1]}` is not known here"
        case _:
            return str(error)
