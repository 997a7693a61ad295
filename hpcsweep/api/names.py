"""Texts with ``{names}`` in the style of ``str.format``: read apart, made expressions, and job names parsed back. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.space.point import Point

HASH = "hash"
"""In a job's name: the point's id."""

_SPEC = re.compile(r"[+ ]?0?\d*(\.\d+)?[dfeEgGs]?", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_SPECIAL = re.compile(r"\{(?=[{%#])")


@dataclass(frozen=True, kw_only=True)
class Field:
    """``{lr:.2e}``: a name with how it is written."""

    name: str
    spec: str = ""


def parse_format(text: str, what: str) -> list[str | Field]:
    """``"job_{type}_{{x}}"`` -> ``["job_", Field(type), "_{x}"]``: plain texts and fields.

    Raises:
        HpcsweepError: a brace without its partner, ``{}``, ``{0}``, ``{x!r}``, or a way to write numbers that is not known.
    """
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise HpcsweepError(
            f"{what}: {error}", "braces that are not around a parameter's name are doubled: ${{HOME}}"
        ) from error
    found: list[str | Field] = []
    for literal, name, spec, conversion in parts:
        if literal:
            found.append(literal)
        if name is None:
            continue
        if not name or name.isdigit():
            raise HpcsweepError(f"{what}: {{{name}}} has no name", "write a parameter's name between the braces, such as {lr}")
        if conversion is not None or not _SPEC.fullmatch(spec or ""):
            shown = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            raise HpcsweepError(
                f"{what}: {{{shown}}} cannot be written", "there are {x}, {x:d}, {x:05d}, {x:.3f}, {x:.2e}, {x:g}"
            )
        found.append(Field(name=name, spec=spec or ""))
    return found


def field_expression(field: Field, special: Mapping[str, str]) -> str:
    """The field as an expression of sweep files: ``'%.2e' | format(lr)``. ``special``: names with their own expressions."""
    plain = special.get(field.name)
    if plain is None:
        plain = field.name if _IDENTIFIER.fullmatch(field.name) else f"params[{_quoted(field.name)}]"
    if not field.spec:
        return plain
    kind = field.spec if field.spec[-1:].isalpha() else f"{field.spec}s"
    return f"({_quoted('%' + kind)} | format({plain}))"


def name_expression(pattern: str, special: Mapping[str, str]) -> str:
    """A whole pattern as one expression: ``'job_' ~ type ~ '_' ~ task.id``."""
    parts = parse_format(pattern, "name")
    words = [_quoted(part) if isinstance(part, str) else field_expression(part, special) for part in parts]
    return " ~ ".join(words if len(words) > 1 else [*words, "''"])


def template_text(parts: list[str | Field], special: Mapping[str, str]) -> str:
    """The parts as a text with ``{{ }}``, in which the plain texts mean nothing to Jinja."""
    return "".join(
        _SPECIAL.sub("{{ '{' | raw }}", part) if isinstance(part, str) else f"{{{{ {field_expression(part, special)} }}}}"
        for part in parts
    )


def check_fields(parts: list[str | Field], known: Collection[str], what: str) -> None:
    """Refuse names that no point has.

    Raises:
        HpcsweepError: with all such names.
    """
    unknown = dict.fromkeys(part.name for part in parts if isinstance(part, Field) and part.name not in known)
    if unknown:
        words = ", ".join(f"{{{name}}}" for name in unknown)
        first = next(iter(unknown))
        raise HpcsweepError(
            f"{what}: {words}: there is no such parameter; there are {', '.join(known)}",
            f"a brace of the shell is doubled: ${{{{{first}}}}}",
        )


def parse_name(pattern: str, name: str) -> Point:
    """A job's name taken apart by the pattern that it was made with: its parameters, without the hash.

    Numbers, ``true``, ``false``, ``null`` and lists are such again; what is none of these is text.

    >>> parse_name("job_{type}_{param}_{hash}", "job_a_1_8f3a2b1c00aa11bb")
    {'type': 'a', 'param': 1}

    Raises:
        HpcsweepError: the name does not fit the pattern.
    """
    import parse  # noqa: PLC0415 - only who parses names needs it

    parts = parse_format(pattern, "pattern")
    fields = [part for part in parts if isinstance(part, Field)]
    # The package knows only identifiers as names; a hash holds no underscore, which tells it from what stands before it.
    letters = [
        part.replace("{", "{{").replace("}", "}}") if isinstance(part, str) else f"{{f{fields.index(part)}{_typed(part)}}}"
        for part in parts
    ]
    found = parse.parse("".join(letters), name, {"hash": _as_hash}, case_sensitive=True)
    if found is None:
        raise HpcsweepError(f"the name {name!r} does not fit the pattern {pattern!r}")
    return Point({field.name: _value_of(found[f"f{number}"]) for number, field in enumerate(fields) if field.name != HASH})


def _as_hash(text: str) -> str:
    return text


_as_hash.pattern = r"[0-9a-f]{16}"  # type: ignore[attr-defined] # how the package parse is told


def _typed(field: Field) -> str:
    return ":hash" if field.name == HASH else ""


def _value_of(text: Any) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    is_plain = isinstance(value, str) or value != value or value in (float("inf"), float("-inf"))  # noqa: PLR0124 - NaN
    return text if is_plain else value


def _quoted(text: str) -> str:
    """A text as expressions have it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
