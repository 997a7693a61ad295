"""Jinja2 made safe for values: no Python objects behind names, no silent zeros, no sums that never end.

Imported only where expressions are compiled, because Jinja2 takes a while to start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, cast

from jinja2 import BaseLoader, Environment, StrictUndefined, nodes
from jinja2.ext import Extension
from jinja2.filters import FILTERS
from jinja2.lexer import Token, TokenStream
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import Namespace

from hpcsweep.expressions.errors import ExpressionError
from hpcsweep.expressions.flags import drop, flags, only, overrides
from hpcsweep.expressions.values import text_of

_MAX_BITS = 20_000
_MAX_LENGTH = 1_000_000

_NOT_OURS = frozenset(
    {
        "attr",
        "batch",
        "e",
        "escape",
        "forceescape",
        "pprint",
        "random",
        "safe",
        "slice",
        "striptags",
        "urlencode",
        "urlize",
        "xmlattr",
    }
)
_METHODS = {
    "upper": "x | upper",
    "lower": "x | lower",
    "title": "x | title",
    "strip": "x | trim",
    "replace": "x | replace('a', 'b')",
    "format": "'%.3f' | format(x)",
    "split": "parameters of their own",
    "join": "x | join(',')",
    "items": "params | items",
    "keys": "params | list",
    "startswith": "x[:3] == 'abc'",
    "endswith": "x[-3:] == 'abc'",
}


class Point(dict[str, Any]):
    """The parameters of one point, as expressions see them: a name that is not there is absent."""


class _Absent(StrictUndefined):
    """Undefined, and every use but ``is defined`` and ``default`` says what and what to do."""

    __slots__ = ()


class Missing(Undefined):
    """No value, where that is nothing odd (a cell of a table): a comparison with it is false, a sum with it is missing too."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Missing)

    def __ne__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return hash(None)

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        raise ExpressionError("there is no value")

    def _no(self, _other: object) -> bool:
        return False

    def _itself(self, *_others: object) -> Any:
        return self

    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = cast("Any", _no)
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = cast("Any", _itself)
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = cast("Any", _itself)
    __pow__ = __rpow__ = __neg__ = __pos__ = __abs__ = cast("Any", _itself)


def _is_none(value: Any) -> bool:
    return value is None or isinstance(value, Missing)


def _raiser(message: str, hint: str) -> type[ExpressionError]:
    """What Undefined calls in place of an exception's class: the message that it brings is Jinja's, and is dropped."""
    return cast("type[ExpressionError]", lambda _message: ExpressionError(message, hint))


def _undefined(message: str, hint: str = "") -> Undefined:
    return _Absent(hint=message, exc=cast("Any", _raiser(message, hint)))


class Sandbox(SandboxedEnvironment):
    """The environment of all expressions. ``params`` is a Point, everything else in the context plain data."""

    intercepted_binops = frozenset({"+", "*", "%", "**"})

    def getitem(self, obj: Any, argument: Any) -> Any:
        """An item, never an attribute."""
        try:
            return obj[argument]
        except (LookupError, TypeError):
            pass
        if isinstance(obj, Undefined):
            return obj[argument]
        if isinstance(obj, Point):
            hint = f"not every point has it: write `{argument} is defined and ...`, or `{argument} | default(0)`"
            return _undefined(f"the parameter `{argument}` is not set here", hint)
        if isinstance(obj, Mapping):
            there = ", ".join(str(key) for key in list(obj)[:8])
            return _undefined(f"there is no `{argument}` here", f"there is: {there}" if there else "")
        return _undefined(f"{argument!r} is no item of {_short(obj)}")

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``x.y``: an item of a mapping, or what Jinja's own loops and namespaces offer; never a Python attribute."""
        if isinstance(obj, Undefined | LoopContext | Namespace):
            return super().getattr(obj, attribute)
        if isinstance(obj, Mapping):
            return self.getitem(obj, attribute)
        hint = f"write `{_METHODS[attribute]}`" if attribute in _METHODS else "use a filter: `x | upper`"
        return _undefined(f"`.{attribute}` of {_short(obj)} is not reachable: expressions have no methods", hint)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The operators whose results can outgrow any machine."""
        if operator == "**":
            _check_power(left, right)
        elif operator == "*":
            _check_product(left, right)
        elif operator == "%" and isinstance(left, str):
            raise ExpressionError("`%` does not format text here", "write `'%.3f' | format(x)`, or `a ~ b` to join")
        elif operator == "+" and not isinstance(left, int | float):
            _check_length(_length(left) + _length(right))
        return super().call_binop(context, operator, left, right)


def _check_power(base: Any, exponent: Any) -> None:
    if not isinstance(base, int) or not isinstance(exponent, int) or base in (-1, 0, 1):
        return
    if base.bit_length() * abs(exponent) > _MAX_BITS:
        raise ExpressionError("this power is too large for an expression", f"integers may have {_MAX_BITS} bits")


def _check_product(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > _MAX_BITS:
            raise ExpressionError("this product is too large for an expression", f"integers may have {_MAX_BITS} bits")
    elif isinstance(right, int):
        _check_length(_length(left) * right)
    elif isinstance(left, int):
        _check_length(_length(right) * left)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple) else 0


def _check_length(length: int) -> None:
    if length > _MAX_LENGTH:
        raise ExpressionError(
            "this text or list is too long for an expression", f"the limit is {_MAX_LENGTH} characters or items"
        )


def _short(value: Any) -> str:
    shown = value if isinstance(value, str) else text_of(value) if isinstance(value, int | float | list | None) else None
    return f"`{shown:.40}`" if shown else "the empty text" if shown is not None else f"a {type(value).__name__}"


_NO_DEFAULT = object()


def _to_int(value: Any, default: Any = _NO_DEFAULT, base: int = 10) -> Any:
    try:
        if isinstance(value, str):
            try:
                return int(value, base)
            except ValueError:
                return int(float(value))
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        if default is not _NO_DEFAULT:
            return default
        raise ExpressionError(f"{_short(value)} is no integer", "`x | int(0)` gives 0 instead") from error


def _to_float(value: Any, default: Any = _NO_DEFAULT) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        if default is not _NO_DEFAULT:
            return default
        raise ExpressionError(f"{_short(value)} is no number", "`x | float(0.0)` gives 0.0 instead") from error


def _format(pattern: Any, *args: Any, **kwargs: Any) -> str:
    pattern = text_of(pattern)
    if "*" in pattern or re.search(r"\d{4}", pattern):
        raise ExpressionError("a width in a format is at most 999")
    return str(pattern % (kwargs or args))


def _to_json(value: Any) -> str:
    return f'"{value}"' if value == "" else text_of([value])[1:-1]


def _concat(*values: Any) -> str:
    texts = [text_of(value) for value in values]
    _check_length(sum(map(len, texts)))
    return "".join(texts)


def _no_else(_value: Any) -> Any:
    raise ExpressionError(
        "an `if` without `else` has no value where its condition does not hold",
        "write `a if c else b`; a part of a text or command that may be missing goes between {% if c %} and {% endif %}",
    )


def _raw(_value: Any) -> Any:
    raise ExpressionError("`| raw` must be the last thing in its expression", "write `{{ x | ... | raw }}`")


def _bounded(name: str, width_at: int, default: int) -> Callable[..., Any]:
    """A filter of Jinja's that pads to a width, with a bound on the width."""
    original = FILTERS[name]

    def bounded(*args: Any, **kwargs: Any) -> Any:
        width = kwargs.get("width", args[width_at] if len(args) > width_at else default)
        if not isinstance(width, str) and not 0 <= width <= 10_000:
            raise ExpressionError(f"the width of `{name}` is at most 10000")
        return original(*args, **kwargs)

    return bounded


def _replace(text: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, old, new = text_of(text), text_of(old), text_of(new)
    _check_length(text.count(old) * len(new) + len(text))
    return str(text.replace(old, new, -1 if count is None else count))


def _join(items: Iterable[Any], separator: Any = "") -> str:
    texts = [text_of(item) for item in items]
    _check_length(sum(map(len, texts)) + len(texts) * len(text_of(separator)))
    return text_of(separator).join(texts)


class _BlockLines(Extension):
    """A ``{% %}`` alone on its line takes its whole line away, so that it leaves no empty line behind.

    Jinja's trim_blocks would also join the line after an ``{% endif %}`` at the end of a line to it.
    """

    def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
        tokens = list(stream)
        line_starts = {0}  # tokens before which a line begins
        begin = 0
        for here, token in enumerate(tokens):
            if token.type == "block_begin":
                begin = here
            elif token.type == "block_end" and (cut := _whole_line(tokens, begin, here, line_starts)):
                indent, rest = cut
                if indent:
                    before = tokens[begin - 1]
                    tokens[begin - 1] = before._replace(value=before.value[:-indent])
                if here + 1 < len(tokens):
                    tokens[here + 1] = tokens[here + 1]._replace(value=tokens[here + 1].value[rest:])
                    line_starts.add(here + 1)
        return [token for token in tokens if token.type != "data" or token.value]


def _whole_line(tokens: list[Token], begin: int, end: int, line_starts: set[int]) -> tuple[int, int] | None:
    """How much of a block's line stands before and after it; None when it is not alone there."""
    if begin in line_starts:
        indent = 0
    elif tokens[begin - 1].type == "data":
        text = tokens[begin - 1].value
        stripped = text.rstrip(" \t")
        if not (stripped.endswith("\n") or (not stripped and begin - 1 in line_starts)):
            return None
        indent = len(text) - len(stripped)
    else:
        return None
    if end + 1 == len(tokens):
        return indent, 0
    at_end = r"|\Z" if end + 2 == len(tokens) else ""
    rest = re.match(rf"[ \t]*(\n{at_end})", tokens[end + 1].value) if tokens[end + 1].type == "data" else None
    return (indent, rest.end()) if rest else None


@cache
def environment() -> Sandbox:
    """The one environment of expressions."""
    return make_environment(Sandbox, loader=None, finalize=text_of)


def make_environment(kind: type[Sandbox], loader: BaseLoader | None, finalize: Callable[[Any], str]) -> Sandbox:
    """An environment of this kind without comments and without globals that are not plain; ``finalize`` writes a value as text."""
    made = kind(
        undefined=_Absent,
        loader=loader,
        finalize=finalize,
        keep_trailing_newline=True,
        comment_start_string="\0#",  # comments are off: ${#a[@]} is bash, and NUL is in no text
        comment_end_string="#\0",
        extensions=[_BlockLines],
        cache_size=0,
    )
    for name in _NOT_OURS:
        made.filters.pop(name, None)
    made.filters.update(
        {
            "flags": flags,
            "overrides": overrides,
            "only": only,
            "drop": drop,
            "raw": _raw,
            "int": _to_int,
            "float": _to_float,
            "string": text_of,
            "format": _format,
            "tojson": _to_json,
            "replace": _replace,
            "join": _join,
            "center": _bounded("center", 1, 80),
            "indent": _bounded("indent", 1, 4),
            "wordwrap": _bounded("wordwrap", 1, 79),
            "_concat": _concat,
            "_no_else": _no_else,
        }
    )
    made.tests["none"] = _is_none
    for name in ("lipsum", "cycler", "joiner"):
        made.globals.pop(name, None)
    return made


def check_words(env: Environment, tree: nodes.Node) -> None:
    """Refuse filters and tests that do not exist, wherever they stand (Jinja looks only where it comes by).

    Raises:
        ExpressionError: with the nearest name.
    """
    for kind, node_type, known in (("filter", nodes.Filter, env.filters), ("test", nodes.Test, env.tests)):
        for node in tree.find_all(cast("type[nodes.Filter]", node_type)):
            if node.name in known and not node.name.startswith("_"):
                continue
            near = get_close_matches(node.name, [name for name in known if name[0].isalpha()], n=1)
            hint = f"did you mean `{near[0]}`?" if near else ""
            if node.name in ("random", "shuffle"):
                hint = "there are no random numbers in expressions: use `sample:` in the space"
            raise ExpressionError(f"there is no {kind} `{node.name}`", hint)
