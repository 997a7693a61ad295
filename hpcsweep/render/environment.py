"""The variables that a task's program finds beside those of the runner."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from hpcsweep.errors import HpcsweepError
from hpcsweep.expressions import Template, text_of
from hpcsweep.model import Params, Value
from hpcsweep.render.quote import quote_always
from hpcsweep.render.shared import compile_shared_template

# Linux refuses to start a program with one variable of 128 kB, or with some 2 MB in all.
_MAX_BYTES = 120_000
_MAX_BYTES_IN_ALL = 1_000_000


def param_variable(name: str) -> str:
    """The environment variable of a parameter: ``model.lr-decay`` -> ``HPCSWEEP_PARAM_model_lr_decay``."""
    return "HPCSWEEP_PARAM_" + re.sub(r"[^A-Za-z0-9_]", "_", name)


def param_variables(names: Collection[str]) -> dict[str, str]:
    """The variable of each parameter of a sweep, by name.

    Raises:
        HpcsweepError: two parameters would share a variable.
    """
    variables: dict[str, str] = {}
    owners: dict[str, str] = {}
    for name in names:
        variables[name] = param_variable(name)
        other = owners.setdefault(variables[name], name)
        if other != name:
            raise HpcsweepError(
                f"the parameters `{other}` and `{name}` would both be the variable {variables[name]}", "rename one of them"
            )
    return variables


def param_assignments(params: Params, variables: Mapping[str, str]) -> list[str]:
    """``HPCSWEEP_PARAM_lr='0.1'``, one for each parameter: text as it is, everything else as JSON.

    A value that is too long for an environment is left out; it is in params.json and in the command all the same.
    """
    assignments = []
    total = 0
    for name, value in params.items():
        text = text_of(value)
        size = len(text.encode())
        total += size
        if size > _MAX_BYTES or total > _MAX_BYTES_IN_ALL:
            total -= size
            continue
        assignments.append(f"{variables.get(name) or param_variable(name)}={quote_always(text)}")
    return assignments


class EnvSection:
    """``env:`` of the sweep file; null takes a variable away."""

    def __init__(self, env: Mapping[str, Value], names: Collection[str]) -> None:
        self._unset = [name for name, value in env.items() if value is None]
        self._templates: list[tuple[str, Template]] = [
            (name, compile_shared_template(text_of(value), f"env.{name}", names))
            for name, value in env.items()
            if value is not None
        ]

    @property
    def names(self) -> list[str]:
        """The variables that it sets."""
        return [name for name, _template in self._templates]

    def render(self, extra: Mapping[str, object]) -> tuple[list[str], list[str]]:
        """The assignments, quoted for bash, and the names to unset."""
        return [f"{name}={quote_always(template.render({}, extra))}" for name, template in self._templates], self._unset
