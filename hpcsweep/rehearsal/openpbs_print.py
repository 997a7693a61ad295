"""How OpenPBS's ``qstat`` writes what ``openpbs_records`` knows: lists, ``-f``, JSON and dsv. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from hpcsweep.rehearsal.openpbs_records import VERSION, Value
from hpcsweep.rehearsal.openpbs_submit import SERVER

LIST_HEAD = """\
Job id            Name             User              Time Use S Queue
----------------  ---------------- ----------------  -------- - -----
"""
_WIDTHS = (15, 8, 8, 10, 6, 3, 3, 6, 5, 1, 5)
_WIDE = (30, 15, 15, 15, 8, 4, 5, 6, 5, 1, 5)
_LINE = 78
_FITS = 80


def list_line(words: Sequence[str]) -> str:
    """A line of plain qstat: id, name, user, cpu time, state, queue."""
    identifier, name, user, used, state, queue = words
    return f"{identifier:<16}  {cut(name, 16):<16} {cut(user, 16):<16}  {used:>8} {state} {queue:<16}\n"


def cut(text: str, width: int) -> str:
    """A text that is too long ends in a star."""
    return text if len(text) <= width else f"{text[: width - 1]}*"


def wide_head(*, is_wide: bool) -> str:
    """What stands above the lines of ``qstat -a``."""
    widths = _WIDE if is_wide else _WIDTHS
    names = ("Job ID", "Username", "Queue", "Jobname", "SessID", "NDS", "TSK", "Memory", "Time", "S", "Time")
    top = " " * (sum(widths[:7]) + 7) + "Req'd  Req'd   Elap"
    middle = " ".join(f"{word:<{width}}" for word, width in zip(names, widths, strict=True)).rstrip()
    return f"\n{SERVER}: \n{top}\n{middle}\n{' '.join('-' * width for width in widths)}\n"


def wide_line(words: Sequence[str], *, is_wide: bool) -> str:
    """A line of ``qstat -a``: id, user, queue, name, session, nodes, tasks, memory, time, state, elapsed; empty ones are dashes."""
    widths = _WIDE if is_wide else _WIDTHS
    shown = [cut(word, width) for word, width in zip(words, widths, strict=True)]
    cells = [
        f"{word:<{width}}" if place < 4 else _dashes(width) if not word else f"{word:>{width}}"
        for place, (word, width) in enumerate(zip(shown, widths, strict=True))
    ]
    return " ".join(cells) + "\n"


def _dashes(width: int) -> str:
    return f"{'-- ':>{width}}"


# ---- -f ----


def full_text(record: Mapping[str, Value]) -> str:
    """A record as ``qstat -f`` writes it below its title, with its empty line."""
    lines = []
    for name, value in record.items():
        if name == "Variable_List" and isinstance(value, Mapping):
            lines.append(_attribute(name, joined(value)))
        elif isinstance(value, Mapping):
            lines += [_attribute(f"{name}.{part}", str(one)) for part, one in value.items()]
        else:
            lines.append(_attribute(name, str(value)))
    return "".join(lines) + "\n"


def joined(variables: Mapping[str, str | int]) -> str:
    """``A=1,B=2``."""
    return ",".join(f"{name}={value}" for name, value in variables.items())


def _attribute(name: str, value: str) -> str:
    """One attribute; lines break at commas, and within what is too long for a line."""
    used = len(name) + 7
    text = f"    {name} = "
    for place, piece in enumerate(re.split(r"(?<=,)", value) if value else []):
        word = piece.removesuffix(",")
        if len(word) + used < _FITS:
            text += word
            used += len(word)
        else:
            if place:
                text += "\n\t"
                used = 9
            for letter in word:
                text += letter
                used += 1
                if used > _LINE:
                    text += "\n\t"
                    used = 8
        if piece.endswith(","):
            text += ","
            used += 1
    return f"{text}\n"


def dsv_text(record: Mapping[str, Value], separator: str = "|") -> str:
    """A record as ``qstat -f -F dsv`` writes it behind its title: one line."""
    words = [""]
    for name, value in record.items():
        if name == "Variable_List" and isinstance(value, Mapping):
            words.append(f"{name}={joined(value)}")
        elif isinstance(value, Mapping):
            words += [f"{name}.{part}={one}" for part, one in value.items()]
        else:
            words.append(f"{name}={value}")
    return separator.join(words) + "\n"


# ---- JSON ----


def json_text(section: str, bodies: Mapping[str, str], now: float, *, is_release: bool) -> str:
    """``qstat -F json``, of what ``json_body`` made."""
    indent, colon = _json_style(is_release=is_release)
    head = {"timestamp": str(int(now)), "pbs_version": f'"{VERSION}"', "pbs_server": f'"{SERVER}"'}
    if bodies:
        inner = ",\n".join(f'{indent * 2}"{name}"{colon}{body}' for name, body in bodies.items())
        head[section] = f"{{\n{inner}\n{indent}}}"
    lines = [f'{indent}"{name}"{colon}{text}' for name, text in head.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def json_body(record: Mapping[str, Value], *, is_release: bool) -> str:
    """One record in JSON. The release writes texts as they are: a backslash in one of them makes it no JSON."""
    return _json_value(record, 2, is_release=is_release)


def _json_style(*, is_release: bool) -> tuple[str, str]:
    return ("    ", ":") if is_release else ("\t", ":\t")


def _json_value(value: object, depth: int, *, is_release: bool, name: str = "", parent: str = "") -> str:
    indent, colon = _json_style(is_release=is_release)
    if isinstance(value, Mapping):
        inner = [
            f'{indent * (depth + 1)}"{key}"{colon}{_json_value(one, depth + 1, is_release=is_release, name=key, parent=name)}'
            for key, one in value.items()
        ]
        return "{\n" + ",\n".join(inner) + f"\n{indent * depth}}}"
    text = str(value)
    if isinstance(value, int) or (is_number(text) and (parent == "Variable_List" or (is_release and name == "Job_Name"))):
        return text
    text = text.replace("\\,", ",") if parent == "Variable_List" or is_release else text
    if not is_release:
        return json.dumps(text, ensure_ascii=False)
    return f'"{text}"' if parent == "Variable_List" else '"{}"'.format(text.replace('"', '\\"'))


def is_number(text: str) -> bool:
    """Whether the server takes a text for a number, and writes it without quotes."""
    return re.fullmatch(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", text, re.ASCII) is not None


def table(lines: Iterable[Sequence[str]], widths: Sequence[int], lefts: frozenset[int]) -> str:
    """Lines of ``qstat -Q`` and ``-B``."""
    return "".join(
        " ".join(
            f"{cell:<{width}}" if place in lefts else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + "\n"
        for line in lines
    )
