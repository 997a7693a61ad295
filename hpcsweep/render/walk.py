"""Through a command's template in the order of its text, with an eye on where in the shell each expression stands.

Imported only where commands are compiled (it needs Jinja2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jinja2 import nodes

from hpcsweep.expressions import ExpressionError
from hpcsweep.expressions.compiled import bare
from hpcsweep.render.quote import check_frame
from hpcsweep.render.shell_text import ShellText

_MAX_ROUNDS = 4


@dataclass(kw_only=True)
class _Printed:
    """One printed expression and what its place asks for."""

    output: nodes.Output
    expression: nodes.Expr
    frame: str
    is_command_word: bool = False
    is_in_backticks: bool = False


class Walk:
    """Reads the statements of a template; ``here`` is the state of the shell's text after them."""

    def __init__(self) -> None:
        self.here = ShellText()
        self._printed: dict[int, _Printed] = {}
        self._raw: list[tuple[nodes.Output, nodes.Expr]] = []

    def read(self, body: Sequence[nodes.Node]) -> None:
        """Follow statements in the order in which they print.

        Raises:
            ExpressionError: where an expression cannot stand, or branches end in different quotes.
        """
        for node in body:
            match node:
                case nodes.Output():
                    self._read_output(node)
                case nodes.If():
                    self._read_branches([node.body, *(branch.body for branch in node.elif_), node.else_])
                case nodes.For():
                    self._read_loop(node)
                case nodes.With() | nodes.Scope():
                    self.read(node.body)
                case nodes.Assign():
                    pass
                case nodes.Macro() | nodes.AssignBlock():
                    self._forget_raw(node)
                case _:
                    kind = type(node).__name__.lower().removesuffix("block")
                    raise ExpressionError(
                        f"`{{% {kind} %}}` is not possible in a command", "use `files:` for texts that need it"
                    )

    def wrap(self, fix_of: Callable[[nodes.Expr], str]) -> None:
        """Put the quoting around the expressions; ``fix_of`` says how a place should be written when a value cannot stand there."""
        for number, printed in self._printed.items():
            is_careful = printed.is_command_word or number in self.here.followed_by_redirection
            arguments = [printed.frame, is_careful, printed.is_in_backticks, fix_of(printed.expression)]
            quoted = nodes.Filter(printed.expression, "_shell", [nodes.Const(item) for item in arguments], [], None, None)
            _replace(printed.output, printed.expression, quoted)
        for output, expression in self._raw:
            _replace(output, expression, bare(expression))

    def _read_output(self, output: nodes.Output) -> None:
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                self.here.feed(node.data)
                continue
            is_raw = bare(node) is not node
            is_command_word = self.here.is_command_word
            if is_raw:
                self.here.place_raw()
                self._raw.append((output, node))
                continue
            frame = self.here.place_value(id(node))
            check_frame(frame)
            printed = self._printed.setdefault(id(node), _Printed(output=output, expression=node, frame=frame))
            printed.is_command_word |= is_command_word
            printed.is_in_backticks |= self.here.is_in_backticks

    def _read_branches(self, bodies: Sequence[Sequence[nodes.Node]]) -> None:
        before = self.here
        ends: list[ShellText] = []
        for body in bodies:
            self.here = before.copy()
            self.read(body)
            ends.append(self.here)
        self.here = ends[0]
        for end in ends[1:]:
            self.here.merge(end)

    def _read_loop(self, node: nodes.For) -> None:
        before = self.here.copy()
        for _round in range(_MAX_ROUNDS):  # what a round ends with is what the next begins with
            self.read(node.body)
            self.here.merge(before)
            before = self.here.copy()
        if node.else_:
            self._read_branches([[], node.else_])

    def _forget_raw(self, node: nodes.Macro | nodes.AssignBlock) -> None:
        """What a macro or a set block prints is quoted as a whole where its result is printed."""
        for output in node.find_all(nodes.Output):
            self._raw += [(output, part) for part in output.nodes if bare(part) is not part]


def _replace(output: nodes.Output, old: nodes.Expr, new: nodes.Expr) -> None:
    output.nodes = [new if node is old else node for node in output.nodes]
