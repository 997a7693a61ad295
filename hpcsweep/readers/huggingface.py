"""Hugging Face's Trainer: ``trainer_state.json`` (its ``log_history`` is a series) and ``all_results.json`` (final values)."""

from __future__ import annotations

from typing import Any

from hpcsweep.readers import json_values
from hpcsweep.readers.base import Reading, Row, Source

VERSION = 1
_HISTORY = "log_history"
_FIRST = ("step", "epoch")


def recognises(source: Source) -> bool:
    """Whether it is one of them, by its name or by its ``log_history``."""
    if source.base in ("trainer_state.json", "all_results.json"):
        return json_values.recognises(source)
    return source.head.lstrip()[:1] in (b"{", b"") and json_values.recognises(source) and f'"{_HISTORY}"' in source.text


def read(source: Source) -> Reading:
    """The rows. Training, evaluation and the closing summary are entries of their own for one step: they make one row."""
    found = json_values.parse_object(source.text)
    if isinstance(found, str):
        return Reading(notes=(found,))
    history = found.get(_HISTORY)
    if not isinstance(history, list):
        finals = json_values.flatten(found)
        # The epoch at which the training ended, of values that belong to the whole of it.
        return Reading(finals={name: value for name, value in finals.items() if name not in _FIRST})
    rows: list[Row] = []
    for row in (_to_row(entry) for entry in history if isinstance(entry, dict)):
        if rows and "step" in row and rows[-1].get("step") == row["step"]:
            rows[-1].update(row)
        else:
            rows.append(row)
    best = found.get("best_metric")
    notes = () if rows else ("has an empty log_history",)
    return Reading(rows=tuple(rows), finals={"best_metric": best} if best is not None else {}, notes=notes)


def _to_row(entry: dict[str, Any]) -> Row:
    row = json_values.flatten(entry)
    return {name: row[name] for name in _FIRST if name in row} | row
