"""The metrics files of one task as one: its last values, or one row for each step. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from hpcsweep.model import Value
from hpcsweep.readers import Reading, Row
from hpcsweep.readers.base import STEP_NAMES, count_of

Key = tuple[tuple[str, Value], ...]
"""What makes two rows the same step: names and values, or the row's number under the name ``""``."""

Named = tuple[str, Reading]
"""A file's name and what it says."""


def last_values(files: Sequence[Named]) -> tuple[Row, list[str]]:
    """The last value of each metric. The later file counts where two have the same metric; the remarks say where they differ."""
    if len(files) == 1:
        return files[0][1].last, []
    values: Row = {}
    source: dict[str, str] = {}
    remarks: list[str] = []
    for file, reading in files:
        for name, value in reading.last.items():
            if name in source and value is None:
                continue
            if name in source and name.lower() not in STEP_NAMES and not _is_same(values[name], value):
                remarks.append(f"`{name}` is not the same in {source[name]} and {file}: {file} counts")
            values[name] = value
            source[name] = file
    return values, remarks


def merge_steps(files: Sequence[Named]) -> tuple[list[Row], list[str]]:
    """One row for each step over all files, in the order of the steps where all have numbers for them, else of the files.

    Rows of one step are one row: what a later one leaves blank stays (training and validation on lines of their own), what it
    says again replaces (a restart from a checkpoint), and that is said. Where steps repeat in a file and a column of text tells
    the rows apart (``phase``: train, val), it is part of the step. Values of a file with one row and no step stand in the last row.
    """
    remarks = last_values(files)[1]
    steps: dict[Key, Row] = {}
    finals: Row = {}
    for file, reading in files:
        if not reading.is_series and reading.step_name is None:
            finals.update(reading.rows[0])
            continue
        rewritten = 0
        own: set[Key] = set()
        for key, row in zip(_step_keys(reading), reading.rows, strict=True):
            known = steps.setdefault(key, {"step": key[0][1]} if key[0][0] == "" else {})
            rewritten += key in own and any(
                value is not None and not _is_same(known.get(name, value), value) for name, value in row.items()
            )
            own.add(key)
            known.update((name, value) for name, value in row.items() if value is not None or name not in known)
        if rewritten:
            remarks.append(f"{file}: {count_of(rewritten, 'step')} written again with other values: the later ones count")
    rows = (
        [row for _, row in sorted(steps.items(), key=lambda item: _position(item[0]))]
        if _has_order(steps)
        else list(steps.values())
    )
    if finals:
        rows = rows or [{}]
        rows[-1] = {**rows[-1], **{name: value for name, value in finals.items() if name not in rows[-1]}}
    return rows, remarks


def _step_keys(reading: Reading) -> list[Key]:
    names = reading.step_names
    if not names:
        return [(("", number),) for number in range(1, len(reading.rows) + 1)]
    keys: list[Key] = [tuple((name.lower(), _hashable(row.get(name))) for name in names) for row in reading.rows]
    if max(Counter(keys).values()) == 1:
        return keys
    texts = sorted(
        {name for row in reading.rows for name, value in row.items() if isinstance(value, str) and name not in names}
    )
    return [
        (*key, *((name, _hashable(row[name])) for name in texts if name in row))
        for key, row in zip(keys, reading.rows, strict=True)
    ]


def _hashable(value: Value) -> Value:
    return repr(value) if isinstance(value, (list, dict)) else value


def _has_order(keys: Sequence[Key] | dict[Key, Row]) -> bool:
    """Whether all keys have numbers for the same names."""
    shapes = {tuple(name for name, value in key if not isinstance(value, str)) for key in keys}
    return len(shapes) == 1 and all(_is_finite(value) for key in keys for _, value in key if not isinstance(value, str))


def _is_finite(value: Value) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _position(key: Key) -> tuple[float, ...]:
    """The coarsest first: a step may count from 0 in each epoch."""
    return tuple(value for _, value in reversed(key) if isinstance(value, (int, float)))


def _is_same(one: Value, other: Value) -> bool:
    """Equal, or both NaN."""
    return one == other or (_is_nan(one) and _is_nan(other))


def _is_nan(value: Value) -> bool:
    return isinstance(value, float) and math.isnan(value)
