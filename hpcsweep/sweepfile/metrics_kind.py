"""``metrics:``: patterns of files, and who reads them where their look does not say it."""

from __future__ import annotations

from hpcsweep.model import MetricsFrom
from hpcsweep.readers import ALIASES, READERS
from hpcsweep.readers.logs import is_regex, parse_pattern, regex_pattern
from hpcsweep.readers.plugins import find_plugins
from hpcsweep.sweepfile import nodes
from hpcsweep.sweepfile.kinds import TEXTS, Kind, Where, check_template, read_text, suggest
from hpcsweep.sweepfile.nodes import Node
from hpcsweep.sweepfile.resources import is_expression

LOGS = "attempt-*.log"
"""The task's own log, of each of its attempts."""

_FILES, _LOG, _LINE_KEYS = "files", "log", ("parse", "regex")

Entries = tuple[str | MetricsFrom, ...]


def _read_metrics(node: Node, where: Where) -> Entries | None:
    items = node.items if isinstance(node, nodes.Sequence) else (node,)
    if not items:
        where.expected(node, "at least one text", "leave it out: files are then known by their names")
        return None
    found: list[str | MetricsFrom] = []
    for item in items:
        if isinstance(item, nodes.Mapping):
            found += _read_mapping(item, where)
        else:
            found += _read_patterns(item, where)
    return tuple(found)


def _read_mapping(node: nodes.Mapping, where: Where) -> list[str | MetricsFrom]:
    found: list[str | MetricsFrom] = []
    for key, value in node:
        inside = where.child(key.text)
        if key.text == _FILES:
            found += _read_patterns(value, inside)
        elif key.text == _LOG and isinstance(value, nodes.Mapping):
            found += _read_log(value, inside)
        elif key.text in (_LOG, *_LINE_KEYS):
            found += _read_lines(value, inside, files=(LOGS,), reader="" if key.text == _LOG else key.text)
        elif (reader := ALIASES.get(key.text, key.text)) in READERS or reader in find_plugins():
            found += [MetricsFrom(files=files, reader=reader) for files in _read_patterns(value, inside)]
        else:
            hint = suggest(key.text, (_LOG, *_LINE_KEYS, _FILES, *READERS, *ALIASES, *find_plugins()))
            where.faults.add(key.place, f"{where.key}: there is no reader `{key.text}`", hint)
    return found


def _read_log(node: nodes.Mapping, where: Where) -> list[MetricsFrom]:
    """``log: {files: train.log, regex: ...}``: another log than the task's own."""
    files: tuple[str, ...] = (LOGS,)
    for key, value in node:
        if key.text == _FILES:
            files = tuple(_read_patterns(value, where.child(_FILES)))
        elif key.text not in _LINE_KEYS:
            where.faults.add(key.place, f"{where.key} has no key `{key.text}`", suggest(key.text, (_FILES, *_LINE_KEYS)))
    found: list[MetricsFrom] = []
    for key, value in node:
        if key.text in _LINE_KEYS:
            found += _read_lines(value, where.child(key.text), files=files, reader=key.text)
    if not any(key.text in _LINE_KEYS for key, _ in node):
        where.wrong(node, "a pattern for its lines is missing", 'parse: "epoch {epoch:d} loss {loss:g}", or regex:')
    return found


def _read_lines(node: Node, where: Where, *, files: tuple[str, ...], reader: str) -> list[MetricsFrom]:
    found: list[MetricsFrom] = []
    for item in node.items if isinstance(node, nodes.Sequence) else (node,):
        line = read_text(item, where)
        if line is None:
            continue
        kind = reader or ("regex" if is_regex(line) else "parse")
        try:
            (regex_pattern if kind == "regex" else parse_pattern)(line)
        except ValueError as error:
            what = "regular expression" if kind == "regex" else "pattern"
            where.wrong(
                item, f"`{line}` cannot be used as a {what}: {error}", "epoch {epoch:d} loss {loss:g}; loss=(?P<loss>\\S+)"
            )
            continue
        found += [MetricsFrom(files=pattern, reader=kind, line=line) for pattern in files]
    return found


def _read_patterns(node: Node, where: Where) -> tuple[str, ...]:
    patterns: tuple[str, ...] = TEXTS.read(node, where) or ()
    for pattern in patterns:
        check_template(node, pattern, where)
        if not is_expression(pattern) and (pattern.startswith("/") or ".." in pattern.split("/")):
            where.wrong(
                node,
                f"`{pattern}` is outside the task's folder",
                "every task would read the same files; name the task's own with an expression: out/{{ lr }}.csv",
            )
    return patterns


_ENTRY = {"anyOf": [*TEXTS.schema["anyOf"], {"type": "object"}]}

METRICS = Kind(
    read=_read_metrics,
    schema={
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": ["string", "object"]}, "minItems": 1},
            {"type": "object", "additionalProperties": _ENTRY},
        ]
    },
)
