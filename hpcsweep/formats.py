"""How programs are given the table of results: CSV, JSON, JSON lines, Parquet. Text comes out in pieces, for many rows."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from hpcsweep.errors import HpcsweepError, UsageError
from hpcsweep.model import Value
from hpcsweep.results import Table

ROWS_A_PIECE = 500
# What RFC 4180 wants in quotes.
_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_LARGEST_WHOLE_FLOAT = 2**53


def iter_csv(table: Table) -> Iterator[str]:
    r"""CSV as in RFC 4180, but for its line ends, which are Unix's ``\n``.

    Floats are as short as they can be and read back the same; ``nan``, ``inf``, ``-inf``; ``true``, ``false``; lists and
    objects as JSON; nothing where there is no value, ``""`` for an empty text. A text stays as it is even where a
    spreadsheet would take it for a formula: values are data.
    """
    yield ",".join(map(csv_cell, table.columns)) + "\n"
    rows = iter(table.rows)
    while piece := list(islice(rows, ROWS_A_PIECE)):
        yield "".join(",".join(map(csv_cell, row)) + "\n" for row in piece)


def iter_json(table: Table) -> Iterator[str]:
    """A JSON array with one object a row and every column in each; null where there is no value.

    JSON has no NaN and no infinities: they are the texts ``"nan"``, ``"inf"`` and ``"-inf"``.
    """
    before = "[\n"
    rows = iter(table.rows)
    while piece := list(islice(rows, ROWS_A_PIECE)):
        yield before + ",\n".join(_json_object(table.columns, row) for row in piece)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def iter_jsonl(table: Table) -> Iterator[str]:
    """JSON lines: one object a row, as ``iter_json`` writes them."""
    rows = iter(table.rows)
    while piece := list(islice(rows, ROWS_A_PIECE)):
        yield "".join(_json_object(table.columns, row) + "\n" for row in piece)


def _json_object(columns: Sequence[str], row: Sequence[Value]) -> str:
    try:
        return _ENCODER.encode(dict(zip(columns, row, strict=True)))
    except (ValueError, RecursionError):  # NaN, or nested too deeply: each value by itself
        cells = zip(columns, row, strict=True)
        return "{" + ", ".join([f"{_ENCODER.encode(name)}: {to_json(value)}" for name, value in cells]) + "}"


def to_parquet(table: Table) -> bytes:
    """A Parquet file: int64, double, bool, text and lists of these as they are; null is not NaN.

    A column of several kinds is text, written as in CSV; whole numbers among floats are floats. Objects are JSON.

    Raises:
        HpcsweepError: the package pyarrow is not there.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise HpcsweepError(
            "Parquet needs the package pyarrow, which is not installed",
            "pip install 'hpcsweep[parquet]', or write .csv or .jsonl",
        ) from error
    columns = list(zip(*table.rows, strict=True)) or [() for _ in table.columns]
    arrays = [_parquet_array(pa, values) for values in columns]
    buffer = io.BytesIO()
    parquet.write_table(pa.table(arrays, names=list(table.columns)), buffer)
    return buffer.getvalue()


def import_parquet() -> tuple[Any, Any]:
    """The modules that write Parquet.

    Raises:
        HpcsweepError: they are not there.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise HpcsweepError(
            "Parquet needs the package pyarrow, which is not installed",
            "pip install 'hpcsweep[parquet]', or write .csv or .jsonl",
        ) from error
    return pa, parquet


def _parquet_array(pa: Any, values: Sequence[Value]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pa.nulls(len(values))
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values if isinstance(value, int)):
        return pa.array(values, pa.int64())
    if float in kinds and kinds <= {int, float} and all(_is_exact(value) for value in values):
        # Not by pyarrow's own reading, which may take a NaN for a null.
        return pa.array([None if value is None else float(value) for value in values], pa.float64(), from_pandas=False)  # type: ignore[arg-type]
    if kinds == {list}:
        try:
            return pa.array(values, from_pandas=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
            pass
    return pa.array([_as_text(value) for value in values], pa.string())


def _is_exact(value: Value) -> bool:
    return not isinstance(value, int) or abs(value) <= _LARGEST_WHOLE_FLOAT


def _as_text(value: Value) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return to_json(value) if isinstance(value, (list, dict)) else csv_cell(value)


def csv_cell(value: Value) -> str:
    """A value as CSV has it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"' if not value or _NEEDS_QUOTES.search(value) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return '"' + to_json(value).replace('"', '""') + '"'


def to_json(value: Value) -> str:
    """A value as JSON, NaN and infinities as texts."""
    try:
        return _ENCODER.encode(value)
    except ValueError:
        return _ENCODER.encode(_spell_out(value))
    except RecursionError:
        return '"(nested too deeply)"'


def _spell_out(value: Any) -> Any:
    """NaN and infinities as texts, wherever they are."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, list):
        return [_spell_out(item) for item in value]
    if isinstance(value, dict):
        return {name: _spell_out(item) for name, item in value.items()}
    return value


ENDINGS = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "table",
}
"""What a file's form is by its ending."""


def form_of_file(name: str) -> str:
    """The form of a file of this name; CSV for one without an ending.

    Raises:
        HpcsweepError: the ending is that of something else.
    """
    base = name.rpartition("/")[2]
    stem, dot, ending = base.rpartition(".")
    if not dot or not stem:
        return "csv"
    form = ENDINGS.get(f".{ending.lower()}")
    if form is None:
        raise UsageError(
            f"-o {name}: there is no form for files that end with .{ending}",
            f"the endings are {', '.join(ENDINGS)}; or say --csv",
        )
    return form
