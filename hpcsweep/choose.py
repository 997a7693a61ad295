"""Which rows and columns of a table of results are wanted, and in which order: ``--where``, ``--sort``, ``--columns``. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, TypeVar

from hpcsweep.errors import Fault, HpcsweepError, Place
from hpcsweep.expressions import Expression, ExpressionError, compile_expression, missing_value, spelling
from hpcsweep.model import Value
from hpcsweep.results import Table

Item = TypeVar("Item")

_RESERVED = ("params",)
_GLOBS = frozenset("*?[")


def keep_where(table: Table, text: str) -> Table:
    """The rows for which an expression over the columns holds (``"lr < 0.1 and state == 'done'"``).

    A comparison with a missing value is false, and a row is left out where the expression has no value because of one.
    ``params['val/loss']`` is the column whose name is no word.

    Raises:
        HpcsweepError: what is wrong with it, with the place in it.
    """
    expression = _compile(text, table.columns)
    places = [(name, place) for place, name in enumerate(table.columns) if name in expression.names]
    missing = missing_value()
    kept = []
    for row in table.rows:
        cells = {name: missing if row[place] is None else row[place] for name, place in places}
        if _holds(expression, text, cells, has_missing=any(value is missing for value in cells.values())):
            kept.append(row)
    return replace(table, rows=kept)


def is_about(table: Table, text: str) -> bool:
    """Whether an expression can be understood over the columns of this table."""
    try:
        _compile(text, table.columns)
    except HpcsweepError:
        return False
    return True


def _compile(text: str, columns: Sequence[str]) -> Expression:
    # Two columns that are written alike in expressions stand in the way of nothing but of themselves.
    written: dict[str, str] = {}
    for name in sorted(columns, key=lambda name: "-" in name):
        written.setdefault(spelling(name), name)
    try:
        return compile_expression(text, names=list(written.values()), noun="column", reserved=_RESERVED)
    except ExpressionError as error:
        hint = error.hint
        unknown = error.message.split("`")[1] if "there is no column" in error.message else ""
        if renamed := _renamed(unknown, columns):
            hint = f"there is {renamed}"
        raise _wrong(text, error.message, hint, error.offset) from error


def _holds(expression: Expression, text: str, cells: dict[str, Any], *, has_missing: bool) -> bool:
    try:
        result = expression.evaluate(cells)
    except ExpressionError as error:
        if has_missing:
            return False
        values = ", ".join(f"{name} = {value!r}" for name, value in islice(cells.items(), 3))
        hint = error.hint or f"it is so where {values}; `x is number and x < 1` leaves out what is no number"
        raise _wrong(text, error.message.partition(" (in `")[0], hint) from error
    if not isinstance(result, bool):
        hint = "write a condition, such as `lr < 0.1` or `state == 'done'`"
        raise _wrong(text, f"this gives {result!r}, not true or false", hint)
    return result


def _wrong(text: str, message: str, hint: str, offset: int | None = None) -> HpcsweepError:
    line = text.count("\n", 0, offset or 0)
    column = (offset or 0) - (text.rfind("\n", 0, offset or 0) + 1) + 1 if offset is not None else 0
    shown = text.split("\n")[line]
    fault = Fault(place=Place(file="--where", column=column), message=message, source_line=shown)
    return HpcsweepError(str(fault), hint)


def sort_rows(table: Table, text: str) -> Table:
    """Sort by columns, the first one foremost: ``"-val_loss,lr"``; a minus means the largest first.

    Numbers stand before texts and texts before lists; NaN and then what is missing stand last, whichever way it goes.
    Rows that are alike stay in their order.

    Raises:
        HpcsweepError: there is no such column.
    """
    rows = table.rows
    for key in reversed(_split(text, "--sort")):
        is_down = key.startswith("-") and key not in table.columns
        place = table.columns.index(find_column(table, key[1:] if is_down else key, "--sort"))
        rows = sort_by(rows, lambda row, place=place: row[place], is_down=is_down)  # type: ignore[misc] # the default binds it
    return replace(table, rows=rows)


def sort_by(rows: Sequence[Item], value_of: Callable[[Item], Value], *, is_down: bool = False) -> list[Item]:
    """Things in the order of one value of each, as ``sort_rows`` says."""
    kinds: list[list[Item]] = [[] for _ in range(5)]
    for row in rows:
        kinds[_kind(value_of(row))].append(row)
    numbers, texts, others, nans, missing = kinds
    # Python keeps equal ones in their order in both directions.
    numbers.sort(key=value_of, reverse=is_down)  # type: ignore[arg-type] # all are numbers
    texts.sort(key=value_of, reverse=is_down)  # type: ignore[arg-type] # all are texts
    others.sort(key=lambda row: _key(value_of(row)), reverse=is_down)
    return numbers + texts + others + nans + missing


def _kind(value: Value) -> int:
    if isinstance(value, (bool, int, float)):
        return 3 if value != value else 0  # noqa: PLR0124 - a NaN is not itself
    return 4 if value is None else 1 if isinstance(value, str) else 2


def _key(value: Any) -> tuple[int, Any]:
    """To compare lists item by item, whatever is in them."""
    if isinstance(value, list):
        return 2, [_key(item) for item in value]
    kind = _kind(value)
    return (3, repr(value)) if kind == 2 else (kind, value) if kind < 2 else (4, 0)


def choose_columns(table: Table, text: str) -> Table:
    """Only these columns, in this order: names and patterns (``"task,lr,val_*"``), each column once.

    Raises:
        HpcsweepError: a name or pattern that no column fits.
    """
    chosen: dict[str, None] = {}
    for wanted in _split(text, "--columns"):
        if wanted not in table.columns and _GLOBS & set(wanted):
            found = [name for name in table.columns if fnmatchcase(name, wanted)]
            if not found:
                raise HpcsweepError(f"--columns: no column fits `{wanted}`", _columns_hint(table))
            chosen.update(dict.fromkeys(found))
        else:
            chosen[find_column(table, wanted, "--columns")] = None
    places = [table.columns.index(name) for name in chosen]
    return replace(
        table, columns=tuple(chosen), rows=[tuple([row[place] for place in places]) for row in table.rows], is_chosen=True
    )


def find_columns(table: Table, text: str, option: str) -> list[str]:
    """The columns that ``"a,b"`` names.

    Raises:
        HpcsweepError: there is no such column.
    """
    return [find_column(table, name, option) for name in _split(text, option)]


def find_column(table: Table, name: str, option: str) -> str:
    """The column of this name.

    Raises:
        HpcsweepError: there is none; the nearest names are told.
    """
    if name in table.columns:
        return name
    renamed = _renamed(name, table.columns)
    raise HpcsweepError(
        f"{option}: there is no column `{name}`", f"there is {renamed}" if renamed else _columns_hint(table, name)
    )


def _renamed(name: str, columns: Sequence[str]) -> str:
    """``param.lr and metric.lr``, where these are what became of ``lr``."""
    return " and ".join(f"`{kind}.{name}`" for kind in ("param", "metric") if f"{kind}.{name}" in columns)


def _columns_hint(table: Table, name: str = "") -> str:
    near = get_close_matches(name, table.columns, n=2)
    if near:
        return f"did you mean {' or '.join(f'`{one}`' for one in near)}?"
    return f"the columns are {', '.join(table.columns)}"


def _split(text: str, option: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise HpcsweepError(f"{option}: no column is named", f"write {option} task,lr")
    return names
