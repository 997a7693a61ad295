"""``stage:``, for each point: the patterns of what is copied to the node and back, as assignments of a task's record."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Mapping

from hpcsweep.expressions import ExpressionError, compile_template, text_of
from hpcsweep.model import Params, Stage
from hpcsweep.render.quote import quote_always

_WILD = re.compile(r"[*?\[\\]")
_Render = Callable[[Params, Mapping[str, object]], str]


class StageSection:
    """``stage:``, compiled. In a pattern, what an expression gives stands for itself: a ``*`` in a value is no wildcard.

    Raises:
        ExpressionError: for expressions that cannot be understood.
    """

    def __init__(self, stage: Stage | None, names: Collection[str]) -> None:
        stage = stage or Stage()
        self._inputs = [compile_pattern(text, names) for text in stage.inputs]
        self._outputs = [compile_pattern(text, names) for text in stage.outputs]

    def render(self, params: Params, extra: Mapping[str, object]) -> list[str]:
        """``hpcsweep_stage_in=('data/a.npz')`` and the like; none where nothing is staged.

        Raises:
            ExpressionError: an expression has no value, or gives what leads out of the folder.
        """
        inputs = [render(params, extra) for render in self._inputs]
        outputs = [render(params, extra) for render in self._outputs]
        for path in inputs:
            if posixpath.basename(path.rstrip("/")) in ("", ".", ".."):
                raise ExpressionError(f"stage.in: {path!r} gives no name for the copy", "name the folder or file itself")
        for path in outputs:
            if not path.strip("/.") or path.startswith("/") or ".." in path.split("/"):
                raise ExpressionError(
                    f"stage.out: {path!r} is not below $HPCSWEEP_STAGE_DIR", "give a path relative to that folder, without `..`"
                )
        arrays = {"in": inputs, "out": outputs}
        return [f"hpcsweep_stage_{name}=({' '.join(map(quote_always, paths))})" for name, paths in arrays.items() if paths]


def compile_pattern(text: str, names: Collection[str]) -> _Render:
    """A pattern with ``{{ }}``.

    Raises:
        ExpressionError: for syntax and unknown names.
    """
    if "{{" not in text and "{%" not in text:
        return lambda _params, _extra: text
    compile_template(text, names=names)
    from jinja2 import nodes  # noqa: PLC0415 - Jinja2 is slow to start

    from hpcsweep.expressions.compiled import explained, renderer  # noqa: PLC0415 - Jinja2 is slow to start
    from hpcsweep.expressions.names import Names  # noqa: PLC0415 - Jinja2 is slow to start
    from hpcsweep.expressions.resolve import parse_template  # noqa: PLC0415 - Jinja2 is slow to start
    from hpcsweep.expressions.sandbox import environment  # noqa: PLC0415 - Jinja2 is slow to start

    environment().filters["_literally"] = _literally
    tree, _used = parse_template(text, Names(names))
    for output in tree.find_all(nodes.Output):
        output.nodes = [
            part if isinstance(part, nodes.TemplateData) else nodes.Filter(part, "_literally", [], [], None, None)
            for part in output.nodes
        ]
    render = renderer(tree)

    def explained_render(params: Params, extra: Mapping[str, object]) -> str:
        with explained(text):
            return render(params, extra)

    return explained_render


def _literally(value: object) -> str:
    """A value as the pattern that matches it alone; in brackets, for bash reads a backslash differently from version to version."""
    return _WILD.sub(lambda match: r"[\\]" if match[0] == "\\" else f"[{match[0]}]", text_of(value))
