"""Texts that all tasks of an element share: ``env``, ``setup``, ``teardown``. They see resources, not parameters."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

from hpcsweep.expressions import ExpressionError, Template, compile_template
from hpcsweep.render.command import CommandTemplate, compile_command


class _Compiled(Protocol):
    @property
    def names(self) -> frozenset[str]: ...


_T = TypeVar("_T", bound=_Compiled)


def compile_shared_template(text: str, key: str, names: Collection[str]) -> Template:
    """A text without quoting.

    Raises:
        ExpressionError: as compile_template does, and when it uses a parameter.
    """
    return _without_parameters(lambda known: compile_template(text, names=known), key, names)


def compile_shared_shell(text: str, key: str, names: Collection[str]) -> CommandTemplate:
    """Shell text, its expressions quoted.

    Raises:
        ExpressionError: as compile_command does, and when it uses a parameter.
    """
    return _without_parameters(lambda known: compile_command(text, names=known), key, names)


def _without_parameters(compile_: Callable[[Collection[str]], _T], key: str, names: Collection[str]) -> _T:
    compiled = compile_(names)
    if compiled.names:
        used = ", ".join(f"`{name}`" for name in sorted(compiled.names)[:3])
        raise ExpressionError(
            f"`{key}` uses the parameter {used}, but it is the same for all tasks",
            "it may use `resources` and `hpcsweep`; parameters reach the program in the command, and as HPCSWEEP_PARAM_<name>",
        )
    return compiled
