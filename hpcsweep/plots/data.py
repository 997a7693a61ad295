"""From a data frame of results to panels with series of numbers; nothing is drawn here."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from hpcsweep.errors import HpcsweepError

if TYPE_CHECKING:
    import pandas as pd

AUTO = "auto"
STEP_NAMES = ("step", "global_step", "iteration", "iter", "epoch")
_FIXED = {
    "task",
    "run",
    "id",
    "state",
    "attempt",
    "elapsed_s",
    "reason",
    "job",
    "job_name",
    "rank",
    "remark",
    "tasks",
    "done",
} | {"failed"}
_MOST_X, _MOST_Y, _MOST_COLOURS, _MOST_DOTS = 6, 3, 10, 400


@dataclass(frozen=True, kw_only=True)
class Series:
    """One colour of a panel: means at their places, the ends of the band (None: a single value), and the values themselves."""

    label: str
    x: list[float]
    mean: list[float]
    low: list[float | None]
    high: list[float | None]
    dots_x: list[float] = field(default_factory=list)
    dots_y: list[float] = field(default_factory=list)
    shift: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture of the grid. ``labels``: x is no number, and its places are 0, 1, ... with these names."""

    x: str
    y: str
    series: list[Series]
    labels: list[str] | None
    is_curve: bool
    note: str = ""
    named_by: tuple[str, ...] = ()

    @property
    def is_joined(self) -> bool:
        """Whether a line from place to place means something."""
        return self.labels is None


def plan_panels(frame: pd.DataFrame, x: Sequence[str] | None, y: Sequence[str] | None, colour: str | None) -> list[list[Panel]]:
    """The rows of panels, one row for each y, one column for each x.

    Raises:
        HpcsweepError: there is no such column, or nothing to be drawn.
    """
    xs = [_find(frame, name) for name in x] if x else _default_x(frame)
    ys = [_find_metric(frame, name) for name in y] if y else _default_y(frame)
    if not xs or not ys:
        raise HpcsweepError(f"there is nothing to draw: no {'parameter that varies' if not xs else 'metric'}", "name x and y")
    if colour is not None and not _are_steps(frame, xs):
        colour = colour_column(frame, xs, colour) or AUTO
    panels = [[_panel(frame, one, other, colour) for one in xs] for other in ys]
    if not any(panel.series for row in panels for panel in row):
        raise HpcsweepError(f"there is nothing to draw: no row has a number for {', '.join(ys)}", "look at the column `reason`")
    return panels


def colour_column(frame: pd.DataFrame, xs: Sequence[str], colour: str) -> str | None:
    """The column whose values are colours: the one that is named, else that which tells the blocks of a sum apart."""
    if colour != AUTO:
        return _find(frame, colour)
    names = [name for name in _params(frame) if name not in _replicates(frame)]
    others = [name for name in names if name not in xs]
    for name in [*others, *(name for name in names if name in xs and len(xs) > 1)]:
        values = {_text(value) for value in frame[name] if not _is_missing(value)}
        is_word = any(isinstance(value, str | bool) for value in frame[name] if not _is_missing(value))
        if is_word and 2 <= len(values) <= _MOST_COLOURS:
            return name
    return None


def _panel(frame: pd.DataFrame, x: str, y: str, colour: str | None) -> Panel:
    is_curve = _are_steps(frame, [x])
    groups, named_by = _groups(frame, x, colour, is_curve=is_curve)
    mean_name, std_name = (y, None) if y in frame.columns else (f"{y}.mean", f"{y}.std")
    rows = [
        (place, float(value), group, spread)
        for place, value, group, spread in zip(
            frame[x],
            frame[mean_name],
            groups,
            frame[std_name] if std_name in frame.columns else [None] * len(frame),
            strict=True,
        )
        if not _is_missing(place) and _is_number(value) and math.isfinite(float(value))
    ]
    labels = None if all(_is_number(place) for place, *_ in rows) else _labels([place for place, *_ in rows])
    places = [float(place) if labels is None else float(labels.index(_text(place))) for place, *_ in rows]
    names = list(dict.fromkeys(groups))
    names = [name for name in names if any(group == name for _, _, group, _ in rows)]
    series = [
        _series(
            name,
            [(place, value, spread) for place, (_, value, group, spread) in zip(places, rows, strict=True) if group == name],
            has_dots=not is_curve and len(rows) <= _MOST_DOTS,
            shift=0.0 if len(names) == 1 or x in named_by else 0.5 * (k / (len(names) - 1) - 0.5),
        )
        for k, name in enumerate(names)
    ]
    note = _note(frame, x, groups, series, std_name)
    return Panel(x=x, y=y, series=series, labels=labels, is_curve=is_curve, note=note, named_by=named_by)


def _series(label: str, rows: list[tuple[float, float, Any]], *, has_dots: bool, shift: float) -> Series:
    by_place: dict[float, list[tuple[float, Any]]] = {}
    for place, value, spread in sorted(rows, key=lambda row: row[0]):
        by_place.setdefault(place, []).append((value, spread))
    means, lows, highs = [], [], []
    for found in by_place.values():
        values = [value for value, _ in found]
        mean = statistics.fmean(values)
        given = found[0][1] if len(found) == 1 else None
        spread = statistics.stdev(values) if len(values) > 1 else None if given is None or _is_missing(given) else float(given)
        means.append(mean)
        lows.append(None if spread is None else mean - spread)
        highs.append(None if spread is None else mean + spread)
    is_single = all(len(found) == 1 for found in by_place.values())
    dots = [(place, value) for place, value, _ in rows] if has_dots and not is_single else []
    return Series(
        label=label,
        x=list(by_place),
        mean=means,
        low=lows,
        high=highs,
        dots_x=[place for place, _ in dots],
        dots_y=[value for _, value in dots],
        shift=shift,
    )


def _groups(frame: pd.DataFrame, x: str, colour: str | None, *, is_curve: bool) -> tuple[list[str], tuple[str, ...]]:
    """Each row's series, by its name, and the columns that the names are made of."""
    if is_curve and colour == AUTO:  # a curve is of one point: its replicates are averaged, nothing else
        names = [name for name in _params(frame) if name not in _replicates(frame) and _varies(frame, name)]
        if not names:
            return [""] * len(frame), ()
        return [_words(names, row) for row in frame[names].itertuples(index=False)], tuple(names)
    if colour is not None and colour != AUTO:
        return [_text(value) if not _is_missing(value) else f"no {colour}" for value in frame[colour]], (colour,)
    if colour is None:
        return [""] * len(frame), ()
    # Blocks of a sum have different parameters.
    absent = [name for name in _params(frame) if name != x and frame[name].isna().any() and not frame[name].isna().all()]
    if not absent:
        return [""] * len(frame), ()
    groups = []
    for row in frame[absent].itertuples(index=False):
        held = [name for name, value in zip(absent, row, strict=True) if not _is_missing(value)]
        groups.append(f"with {', '.join(held)}" if held else "the rest")
    return (groups, ()) if 2 <= len(set(groups)) <= _MOST_COLOURS else ([""] * len(frame), ())


def _note(frame: pd.DataFrame, x: str, groups: Sequence[str], series: Sequence[Series], std_name: str | None) -> str:
    """What the mean is over, and what the band is."""
    if std_name is not None:
        return "mean with the standard deviation over replicates"
    if not any(low is not None for one in series for low in one.low):
        return ""
    names = [name for name in (*_params(frame), "run") if name != x and name in frame.columns]
    over = [name for name in names if len({*zip(groups, map(_text, frame[name]), strict=True)}) > len(set(groups))]
    return f"mean with the standard deviation over {', '.join(over) or 'equal points'}"


def _default_x(frame: pd.DataFrame) -> list[str]:
    names = [name for name in _params(frame) if name not in _replicates(frame) and _varies(frame, name)]
    return names[:_MOST_X]


def _default_y(frame: pd.DataFrame) -> list[str]:
    known = frame.attrs.get("metrics") or []
    if "objective" in known and _has_numbers(frame, "objective"):
        return ["objective"]
    found = [name for name in known if name in frame.columns and name not in STEP_NAMES and _has_numbers(frame, name)]
    averaged = [name.removesuffix(".mean") for name in frame.columns if str(name).endswith(".mean")]
    return (found or averaged)[:_MOST_Y]


def _params(frame: pd.DataFrame) -> list[str]:
    known = frame.attrs.get("params")
    if known is None:  # a frame of other origin: what stands before the first thing that was measured cannot be told
        return [str(name) for name in frame.columns if name not in _FIXED and not _looks_measured(str(name))]
    return [name for name in known if name in frame.columns]


def _are_steps(frame: pd.DataFrame, xs: Sequence[str]) -> bool:
    return all(name in STEP_NAMES and name not in _params(frame) for name in xs)


def _looks_measured(name: str) -> bool:
    return any(word in name.lower() for word in ("loss", "acc", "error", "score", "metric.", ".mean", ".std", ".n"))


def _replicates(frame: pd.DataFrame) -> list[str]:
    known = frame.attrs.get("replicates")
    return [name for name in frame.columns if name in {"seed", "rep"}] if known is None else list(known)


def _varies(frame: pd.DataFrame, name: str) -> bool:
    return len({_text(value) for value in frame[name]}) > 1


def _has_numbers(frame: pd.DataFrame, name: str) -> bool:
    return name in frame.columns and any(_is_number(value) for value in frame[name])


def _find(frame: pd.DataFrame, name: str) -> str:
    if name in frame.columns:
        return name
    if f"param.{name}" in frame.columns:
        return f"param.{name}"
    if name == STEP_NAMES[0]:
        found = next((other for other in STEP_NAMES if other in frame.columns and other not in _params(frame)), None)
        if found is not None:
            return found
    raise _no_column(frame, name)


def _find_metric(frame: pd.DataFrame, name: str) -> str:
    if name in frame.columns or f"{name}.mean" in frame.columns:
        return name
    if f"metric.{name}" in frame.columns:
        return f"metric.{name}"
    raise _no_column(frame, name)


def _no_column(frame: pd.DataFrame, name: str) -> HpcsweepError:
    columns = [str(column) for column in frame.columns]
    near = get_close_matches(name, columns, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the columns are {', '.join(columns)}"
    if name in STEP_NAMES:
        hint = "learning curves need files with several rows, and metrics(run, steps=True), or --steps in the shell"
    return HpcsweepError(f"there is no column {name}", hint)


def _labels(places: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(_text(place) for place in places))


def _words(names: Sequence[str], row: Sequence[Any]) -> str:
    return ", ".join(f"{name}={_text(value)}" for name, value in zip(names, row, strict=True) if not _is_missing(value))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | list | dict) else str(value)


def _is_missing(value: Any) -> bool:
    if value is None or isinstance(value, str | list | dict):
        return value is None
    return type(value).__name__ == "NAType" or (isinstance(value, float) and math.isnan(value))


def _is_number(value: Any) -> bool:
    if _is_missing(value) or isinstance(value, bool) or type(value).__name__ in {"bool", "bool_"}:
        return False
    return isinstance(value, int | float) or hasattr(value, "__float__")
