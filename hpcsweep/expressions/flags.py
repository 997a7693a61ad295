"""The filters that write parameters as a command line: ``flags``, ``overrides``, ``only``, ``drop``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

from hpcsweep.expressions.errors import ExpressionError
from hpcsweep.expressions.values import Words, text_of
from hpcsweep.model import Params

_STYLES = ("space", "equals")
_BOOLS = ("no", "value", "present")

# What argparse takes for a negative number, not for an option, in every Python version.
_PLAIN_NEGATIVE = re.compile(r"(-\d+|-\d*\.\d+)\Z", re.ASCII)

_HYDRA_PLAIN = re.compile(r"[A-Za-z0-9_/.-]+\Z", re.ASCII)
_HYDRA_OTHER_TYPE = re.compile(
    r"[+-]?(\d[\d_]*)?\.?(\d[\d_]*)?(e[+-]?\d[\d_]*)?$|[+-]?(inf|nan)$|true$|false$|null$", re.ASCII | re.IGNORECASE
)
_HYDRA_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_/.-]*\Z", re.ASCII)


def flags(params: Any, style: str = "space", bools: str = "no") -> Words:
    """``{"lr": 0.1, "n": -1, "on": True}`` -> ``--lr 0.1 --n=-1 --on``.

    null is left out; names keep their underscores; a value with a leading dash is joined with ``=``, for an option parser
    would take it for an option.

    Args:
        params: a mapping name -> value.
        style: ``space``: ``--lr 0.1``, a list as several words (``--layers 64 64``); ``equals``: ``--lr=0.1``, a list as JSON.
        bools: ``no``: ``--x`` or ``--no-x``; ``value``: ``--x true``; ``present``: ``--x`` or nothing.
    """
    _check_choice("style", style, _STYLES)
    _check_choice("bools", bools, _BOOLS)
    words = Words()
    for name, value in _mapping(params, "flags").items():
        option = f"--{name}"
        if value is None:
            continue
        if isinstance(value, bool) and bools != "value":
            if value:
                words.append(option)
            elif bools == "no":
                words.append(f"--no-{name}")
        elif style == "equals":
            words.append(f"{option}={text_of(value)}")
        elif isinstance(value, list | tuple):
            words += [option, *(_item_word(name, item) for item in value)]
        else:
            text = text_of(value)
            words += [f"{option}={text}"] if text.startswith("-") else [option, text]
    return words


def _item_word(name: str, item: Any) -> str:
    text = text_of(item)
    if not text.startswith("-") or _PLAIN_NEGATIVE.match(text):
        return text
    if isinstance(item, float):
        # argparse takes -1e-05 for an option, and a list's items cannot be joined: the same number without an exponent.
        return format(Decimal(text), "f")
    raise ExpressionError(
        f"the list `{name}` has the item {text!r}, which a program would take for an option",
        "write `params | flags(style='equals')`: lists are JSON then",
    )


def overrides(params: Any) -> Words:
    """``{"lr": 0.1, "layers": [64, 64]}`` -> ``lr=0.1 'layers=[64,64]'``: Hydra's command line.

    Text that Hydra would read as something else is put into its quotes.
    """
    return Words(f"{name}={_hydra(value)}" for name, value in _mapping(params, "overrides").items())


def _hydra(value: Any) -> str:
    if isinstance(value, str):
        return _hydra_text(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_hydra, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_hydra_key(key)}:{_hydra(item)}" for key, item in value.items()) + "}"
    return text_of(value)


def _hydra_text(text: str) -> str:
    if _HYDRA_PLAIN.match(text) and not _HYDRA_OTHER_TYPE.match(text):
        return text
    # Backslashes count only before a quote or an interpolation, where they are doubled.
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    text = re.sub(r"(\\*)'", r"\1\1\\'", text)
    text = re.sub(r"(\\+)\Z", r"\1\1", text)
    return f"'{text}'"


def _hydra_key(key: str) -> str:
    if not _HYDRA_KEY.match(key) or _HYDRA_OTHER_TYPE.match(key):
        raise ExpressionError(
            f"the key {key!r} cannot be written as a Hydra override", "give such a mapping in a file, with `files:`"
        )
    return key


def only(params: Any, *names: str) -> Params:
    """The parameters of these names, in the order of the point; absent ones are left out."""
    return {name: value for name, value in _mapping(params, "only").items() if name in _texts(names)}


def drop(params: Any, *names: str) -> Params:
    """The parameters but these."""
    return {name: value for name, value in _mapping(params, "drop").items() if name not in _texts(names)}


def _texts(names: tuple[Any, ...]) -> list[str]:
    """Names given one by one or as one list."""
    return [text for name in names for text in (name if isinstance(name, list | tuple) else [name])]


def _mapping(params: Any, filter_name: str) -> Params:
    if not isinstance(params, Mapping):
        raise ExpressionError(f"`{filter_name}` takes parameters, not one value", f"write `params | {filter_name}`")
    return cast("Params", params)


def _check_choice(option: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        shown = " or ".join(f"'{choice}'" for choice in choices)
        raise ExpressionError(f"`flags` has no {option} {value!r}", f"{option} is {shown}")
