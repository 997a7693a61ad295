"""From source text to a Jinja tree in which every name is a parameter, a reserved word or the expression's own.

Imported only where expressions are compiled (it needs Jinja2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from hpcsweep.expressions.errors import ExpressionError
from hpcsweep.expressions.names import Names
from hpcsweep.expressions.sandbox import check_words, environment

_GLOBALS = frozenset({"range", "dict", "namespace"})
_ELSEWHERE: tuple[type[nodes.Node], ...] = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)

# Characters that Jinja takes for blanks, and that stand in for a carriage return while it works: it would turn each into \n.
_STAND_INS = "\x1e\x1f\x1d\x1c\x85"

_FROM_C = {"&&": "and", "||": "or", "!": "not", "^": "**"}


def parse_expression(text: str, names: Names) -> tuple[nodes.Expr, frozenset[str]]:
    """One expression without braces -> its tree and the parameters that it uses.

    Raises:
        ExpressionError: for syntax and names.
    """
    if text.strip().startswith("{{"):
        raise ExpressionError("an expression stands here without braces", f"write {text.strip().strip('{} ')!r}")
    if not text.strip():
        raise ExpressionError("the expression is empty")
    source, code = _prepare(text, "variable")
    names.check_minus(code)
    try:
        parser = Parser(environment(), source, state="variable")
        tree: nodes.Expr = parser.parse_expression()
        if not parser.stream.eos:
            message = f"unexpected {str(parser.stream.current)!r} after its end"
            rest = len(list(parser.stream))
            raise _syntax_error(text, message, offset=_starts(source, "variable")[-rest])
    except TemplateSyntaxError as error:
        raise _syntax_error(text, error.message or "", error.lineno) from error
    except RecursionError as error:
        raise ExpressionError("the expression is nested too deeply") from error
    wrapped = nodes.Template([nodes.Output([tree], lineno=1)], lineno=1)
    used = _resolve(wrapped, names, code)
    return cast("nodes.Output", wrapped.body[0]).nodes[0], used


def parse_template(text: str, names: Names) -> tuple[nodes.Template, frozenset[str]]:
    """A text with ``{{ }}`` and ``{% %}`` -> its tree and the parameters that it uses.

    Raises:
        ExpressionError: for syntax and names.
    """
    source, code = _prepare(text, None)
    names.check_minus(code)
    try:
        tree = Parser(environment(), source).parse()
    except TemplateSyntaxError as error:
        raise _syntax_error(text, error.message or "", error.lineno) from error
    except RecursionError as error:
        raise ExpressionError("the text is nested too deeply") from error
    return tree, _finish_template(tree, names, code, text)


def _finish_template(tree: nodes.Template, names: Names, code: str, text: str) -> frozenset[str]:
    used = _resolve(tree, names, code)
    if "\r" in text:
        stand_in = _stand_in(text)
        for data in tree.find_all(nodes.TemplateData):
            data.data = data.data.replace(stand_in, "\r")
    return used


def _stand_in(text: str) -> str:
    return next((mark for mark in _STAND_INS if mark not in text), "\n")


def _prepare(text: str, state: str | None) -> tuple[str, str]:
    """The source as Jinja may read it, and the same with everything but code blanked (for finding places in it)."""
    if "\0" in text:
        raise ExpressionError("there is a NUL character in the text", offset=text.index("\0"))
    source = text.replace("\r", _stand_in(text)) if "\r" in text else text
    code = [" "] * len(source)
    try:
        for start, kind, value in _iter_tokens(source, state):
            if kind in ("name", "operator", "integer", "float"):
                code[start : start + len(value)] = value
    except TemplateSyntaxError as error:
        raise _syntax_error(text, error.message or "", error.lineno) from error
    return source, "".join(code)


def _iter_tokens(source: str, state: str | None) -> Iterator[tuple[int, str, str]]:
    """Where each token starts, its kind and its text."""
    at = 0
    for _line, kind, value in environment().lexer.tokeniter(source, None, None, state):
        start = source.find(value, at)
        if start >= 0:
            at = start + len(value)
            yield start, kind, value


def _starts(source: str, state: str) -> list[int]:
    """Where the tokens start that a parser gets to see."""
    return [start for start, kind, _ in _iter_tokens(source, state) if kind != "whitespace"]


def _syntax_error(text: str, message: str, line: int = 1, offset: int | None = None) -> ExpressionError:
    hint = next((f"write `{ours}` for `{theirs}`" for theirs, ours in _FROM_C.items() if theirs in text), "")
    if "got '='" in message or "unexpected '='" in message:
        hint = "write `==` to compare"
    elif "'{%'" in message or "Encountered unknown tag" in message:
        hint = "a `{%` or `{{` that is not meant for hpcsweep goes between {% raw %} and {% endraw %}"
    if offset is None and (at := re.search(r" at (\d+)$", message)):
        offset = int(at[1])
        message = message[: at.start()]
    elif offset is None and "end of template" in message and "{" not in text:
        offset = len(text.rstrip())
        message = message.replace("'end of template'", "end").replace("end of template", "end")
    elif offset is None and line > 1:
        offset = sum(map(len, text.splitlines(keepends=True)[: line - 1]))
    return ExpressionError(f"this is not understood: {message}", hint, offset)


def _resolve(tree: nodes.Template, names: Names, code: str) -> frozenset[str]:
    forbidden = next((node for kind in _ELSEWHERE for node in tree.find_all(kind)), None)
    if forbidden is not None:
        raise ExpressionError(f"`{{% {type(forbidden).__name__.lower()} %}}` is not possible here: a text stands alone")
    try:
        check_words(environment(), tree)
        _check_names_in_filters(tree, names)
    except ExpressionError as error:
        found = re.search(rf"(?:\||\bis(?: not)?)\s*(?={re.escape(error.message.split('`')[1])}\b)", code)
        error.offset = found.end() if found else None
        raise
    resolver = _Resolver(names, _own_names(tree, names), code)
    resolver.visit(tree)
    tree.set_environment(environment())
    tree.set_lineno(1, override=False)
    return frozenset(resolver.used)


def _check_names_in_filters(tree: nodes.Node, names: Names) -> None:
    """``only('lr')`` and ``drop('lr')``: a name that no point has is a slip of the pen."""
    for node in tree.find_all(nodes.Filter):
        if node.name in ("only", "drop"):
            for argument in node.args:
                if isinstance(argument, nodes.Const) and argument.value not in names.all:
                    raise names.unknown(str(argument.value))


def _own_names(tree: nodes.Node, names: Names) -> frozenset[str]:
    """The names that the text itself sets (set, for, macro): they must not hide a parameter."""
    own = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    own |= {node.name for node in tree.find_all(nodes.Macro)}
    for name in sorted(own):
        if names.is_prefix(name) or name in names.reserved:
            raise ExpressionError(f"`{name}` is a parameter or a reserved word and cannot be set", "choose another name")
    if tree.find(nodes.For) is not None:
        own.add("loop")
    if tree.find(nodes.Macro) is not None or tree.find(nodes.CallBlock) is not None:
        own |= {"caller", "varargs", "kwargs"}
    return frozenset(own)


class _Resolver(NodeTransformer):
    """Turns names and dotted chains into items of ``params`` (and of the other reserved mappings)."""

    def __init__(self, names: Names, own: frozenset[str], code: str) -> None:
        self.names = names
        self.own = own
        self.code = code
        self.used: set[str] = set()
        self._visitors: dict[type, Callable[..., nodes.Node]] = {
            nodes.Name: self._visit_name,
            nodes.Getattr: self._visit_getattr,
            nodes.Getitem: self._visit_getitem,
            nodes.Concat: self._visit_concat,
            nodes.CondExpr: self._visit_condition,
        }

    def get_visitor(self, node: nodes.Node) -> Any:
        """The method for a kind of node."""
        return self._visitors.get(type(node))

    def _visit_name(self, node: nodes.Name) -> nodes.Node:
        return self._chain(node, node.name, []) if node.ctx == "load" else node

    def _visit_getattr(self, node: nodes.Getattr) -> nodes.Node:
        attributes: list[str] = []
        root: nodes.Node = node
        while isinstance(root, nodes.Getattr):
            attributes.insert(0, root.attr)
            root = root.node
        if isinstance(root, nodes.Name) and root.ctx == "load":
            return self._chain(node, root.name, attributes)
        return self.generic_visit(node)

    def _visit_getitem(self, node: nodes.Getitem) -> nodes.Node:
        if isinstance(node.node, nodes.Name) and node.node.name == "params" and isinstance(node.arg, nodes.Const):
            return self._param(str(node.arg.value), f"params[{node.arg.value!r}]")
        return self.generic_visit(node)

    def _visit_concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        first, *others = node.nodes
        return nodes.Filter(first, "_concat", others, [], None, None, lineno=node.lineno)

    def _visit_condition(self, node: nodes.CondExpr) -> nodes.Node:
        # Jinja's own undefined value of an absent `else` is false and empty without a word.
        if node.expr2 is None:
            node.expr2 = nodes.Filter(nodes.Const(""), "_no_else", [], [], None, None, lineno=node.lineno)
        return self.generic_visit(node)

    def _chain(self, node: nodes.Node, root: str, attributes: Sequence[str]) -> nodes.Node:
        if root in self.names.reserved:
            return self._reserved(root, attributes)
        parts = [root, *attributes]
        found = self.names.resolve(parts)
        if found and found[1] == len(parts):
            return self._param(found[0], found[0])
        if root in self.own or (root in _GLOBALS and not found):
            return node
        written = ".".join(parts)
        raise self._placed(self.names.unknown(written, no_method_of=found[0] if found else ""), written)

    def _reserved(self, root: str, attributes: Sequence[str]) -> nodes.Node:
        if root == "params" and attributes:
            found = self.names.resolve(attributes)
            if not found or found[1] < len(attributes):
                error = self.names.unknown(".".join(attributes))
                if attributes == ["items"]:
                    error.hint = "write `params | items` for all names with their values"
                raise self._placed(error, f"params.{attributes[0]}")
            return self._param(found[0], "params")
        if root == "params":
            self.used |= self.names.all
        result: nodes.Expr = nodes.Name(root, "load")
        for attribute in attributes:
            result = nodes.Getitem(result, nodes.Const(attribute), "load")
        return result

    def _param(self, name: str, written: str) -> nodes.Node:
        if name not in self.names.all:
            raise self._placed(self.names.unknown(name), written.partition("[")[0])
        self.used.add(name)
        return nodes.Getitem(nodes.Name("params", "load"), nodes.Const(name), "load")

    def _placed(self, error: ExpressionError, written: str) -> ExpressionError:
        found = re.search(rf"(?<![\w.]){re.escape(written)}(?!\w)", self.code)
        error.offset = found.start() if found else None
        return error
