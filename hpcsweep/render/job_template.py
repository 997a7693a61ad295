"""Job templates: ours, a user's that extends ours, and a user's plain script with ``{{ hpcsweep }}`` in it.

Imported only where a script is rendered (it needs Jinja2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from jinja2 import BaseLoader, nodes
from jinja2.exceptions import TemplateError, TemplateNotFound, TemplateSyntaxError
from jinja2.runtime import BlockReference, Macro

from hpcsweep.errors import HpcsweepError
from hpcsweep.expressions import ExpressionError, text_of
from hpcsweep.expressions.names import Names
from hpcsweep.expressions.sandbox import Sandbox, check_words, make_environment
from hpcsweep.render.directives import head_length
from hpcsweep.render.quote import quote, quote_always

if TYPE_CHECKING:
    from hpcsweep.render.pieces import Pieces

NO_SHELLCHECK = "# shellcheck disable=SC2034,SC2154,SC2317 # all parts find each other by name, here and in the chunks"

_MARK = re.compile(r"\{\{-?\s*hpcsweep\s*-?\}\}")
_MARK_LINE = re.compile(rf"^[ \t]*{_MARK.pattern}[ \t]*$", re.MULTILINE)
_BLOCKS = ("directives", "setup", "task", "teardown")
_COMMENT = re.compile(r"\s*(#(?!SBATCH|PBS).*)?")
_NO_TASKS = (
    "write `{{ hpcsweep }}` on a line of its own where the tasks shall run, "
    'or begin with `{% extends "slurm.sh.j2" %}` (or pbs, torque) and fill its blocks'
)


class _Shell(str):
    """Bash text that is put in as it is."""

    __slots__ = ()


class _Facts(dict[str, object]):
    """``hpcsweep`` in a template: the facts by name, and by itself the place where the tasks run."""

    def __init__(self, facts: Mapping[str, object], tasks: str) -> None:
        super().__init__(facts)
        self.tasks = _Shell(tasks)


class _OurTemplates(BaseLoader):
    """What ``{% extends %}`` finds."""

    def __init__(self, read_template: Callable[[str], str]) -> None:
        self._read = read_template

    def get_source(self, _environment: Any, template: str) -> tuple[str, None, None]:
        return self._read(template), None, None


class _JobEnvironment(Sandbox):
    """Where what a block or a macro prints is bash already."""

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = super().call(context, obj, *args, **kwargs)
        return _Shell(str(result).removesuffix("\n")) if isinstance(obj, BlockReference | Macro) else result


def render_job_template(text: str, source: str, pieces: Pieces, read_template: Callable[[str], str]) -> str:
    """The script; values in it are quoted for the shell as they are in commands.

    Raises:
        HpcsweepError: with the template's name (``source``) and line.
    """
    environment = make_environment(_JobEnvironment, loader=_OurTemplates(read_template), finalize=_text)
    try:
        tree = environment.parse(text)
        _check(tree, text, source, pieces.names)
        check_words(environment, tree)
        context = {
            **pieces.extra,
            "hpcsweep": _Facts(pieces.extra["hpcsweep"], _as_function(pieces)),
            "directives": _Shell("\n".join(pieces.directives)),
            "opening": _Shell(f"{pieces.opening}\n" if pieces.opening else ""),
            "header": _Shell(pieces.header),
            "runner": _Shell(pieces.runner),
            "setup": _Shell(pieces.setup),
            "teardown": _Shell(pieces.teardown),
            "environment": _Shell(f"{pieces.environment}\n" if _fills_task_block(tree) else ""),
            "tasks": _Shell("hpcsweep_main"),
            "functions": lambda setup, teardown: _Shell(_functions(pieces, setup, teardown)),
            "no_shellcheck": _Shell(NO_SHELLCHECK),
        }
        script = environment.from_string(text).render(context)
        return script if _has_blocks(tree) else _insert_first(script, pieces)
    except TemplateSyntaxError as error:
        hint = "a `{%` or `{{` that is not meant for hpcsweep goes between {% raw %} and {% endraw %}"
        raise HpcsweepError(f"{source}:{error.lineno}: this is not understood: {error.message}", hint) from error
    except TemplateNotFound as error:
        raise HpcsweepError(f"{source}: hpcsweep has no template {error.message!r}") from error
    except TemplateError as error:
        raise HpcsweepError(f"{source}: {error.message}", "a template may use `resources` and `hpcsweep`") from error
    except ExpressionError as error:
        raise HpcsweepError(f"{source}: {error.message}", error.hint) from error


def _text(value: Any) -> str:
    if isinstance(value, _Shell):
        return value
    if isinstance(value, _Facts):
        return value.tasks
    return quote(text_of(value))


def _check(tree: nodes.Template, text: str, source: str, names: Collection[str]) -> None:
    own = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    known = Names(names)
    for node in tree.find_all(nodes.Name):
        if node.ctx == "load" and (node.name == "params" or (node.name not in own and known.is_prefix(node.name))):
            raise HpcsweepError(
                f"{source}:{node.lineno}: `{node.name}` is a parameter, and the script is the same for all tasks",
                "parameters reach the program in the command, and as HPCSWEEP_PARAM_<name>",
            )
    if tree.find(nodes.Extends) is not None:
        _check_extension(tree, source)
    if _has_blocks(tree):
        return
    marks = len(_MARK.findall(text))
    if marks == 0:
        raise HpcsweepError(f"{source} does not say where the tasks run", _NO_TASKS)
    if marks > 1:
        raise HpcsweepError(f"{source} says {marks} times where the tasks run", "keep one `{{ hpcsweep }}`")
    if not _MARK_LINE.search(text):
        raise HpcsweepError(f"{source}: `{{{{ hpcsweep }}}}` does not stand on a line of its own", _NO_TASKS)


def _check_extension(tree: nodes.Template, source: str) -> None:
    """Refuse what Jinja would leave out without a word: blocks that ours has not, and text outside of blocks."""
    for node in tree.body:
        if isinstance(node, nodes.Block) and node.name not in _BLOCKS:
            near = get_close_matches(node.name, _BLOCKS, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"the blocks are {', '.join(_BLOCKS)}"
            raise HpcsweepError(f"{source}:{node.lineno}: there is no block `{node.name}` in our template", hint)
        if isinstance(node, nodes.Output):
            texts = [part.data if isinstance(part, nodes.TemplateData) else "{{ }}" for part in node.nodes]
            lost = next((line.strip() for line in "".join(texts).splitlines() if not _COMMENT.fullmatch(line)), None)
            if lost is not None:
                raise HpcsweepError(
                    f"{source}: `{lost:.60}` stands outside of all blocks and would be left out",
                    "put it into {% block directives %} or {% block setup %}, with {{ super() }} for what is there already",
                )


def _has_blocks(tree: nodes.Template) -> bool:
    """Whether it is ours, or extends ours; otherwise it is a plain script."""
    return tree.find(nodes.Extends) is not None or _fills_task_block(tree)


def _fills_task_block(tree: nodes.Template) -> bool:
    return any(block.name == "task" for block in tree.find_all(nodes.Block))


def _insert_first(script: str, pieces: Pieces) -> str:
    """The submitter's environment comes before what the script loads by itself, which lies over it."""
    lines = script.split("\n")
    head = head_length(lines)
    if NO_SHELLCHECK in lines[:head]:
        head = lines.index(NO_SHELLCHECK)  # the tasks come first: the comment belongs to them
    return "\n".join([*lines[:head], *filter(None, (pieces.opening, pieces.environment)), *lines[head:]])


def _functions(pieces: Pieces, setup: str, teardown: str) -> str:
    """The functions of the sweep's own text: what a runner does not find, it does not call.

    The text is evaluated, so that what is wrong with it is a failure with a message in the task's log, and not a script that
    bash cannot read.
    """
    parts = [
        f"hpcsweep_{name}() {{\n  eval {quote_always(text.strip(chr(10)))}\n}}\n"
        for name, text in (("setup", setup), ("teardown", teardown))
        if text.strip()
    ]
    if pieces.contain:
        parts.append(pieces.contain + "\n")
    return "".join(f"{part}\n" for part in parts)


def _as_function(pieces: Pieces) -> str:
    """Our part of a plain script, as one function: bash has read it whole before it runs."""
    body = [pieces.header, pieces.runner, _functions(pieces, pieces.setup, pieces.teardown), "hpcsweep_main"]
    text = "\n\n".join(part.strip("\n") for part in body if part)
    return f"{NO_SHELLCHECK}\nhpcsweep_run_element() {{\n{text}\n}}\nhpcsweep_run_element"
