"""The figure: which panels, which series in each, and how they are drawn."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.plots.data import AUTO, Panel, Series, plan_panels
from hpcsweep.plots.scales import choose_scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#2f6fb5", "#d9822b", "#2a9d5c", "#c8423b", "#7b5ea7", "#8c6d4f", "#cf6ba9", "#5b6770", "#a8a339", "#2aa5b5")
_MOST_IN_LEGEND = 10
_MOST_LABELS = 12
_PANEL_INCHES = (4.2, 3.2)


def draw(
    frame: pd.DataFrame,
    x: Sequence[str] | None = None,
    y: Sequence[str] | None = None,
    *,
    colour: str | None = AUTO,
    title: str | None = None,
) -> Figure:
    """A grid of panels: a column for each x, a row for each y.

    Raises:
        HpcsweepError: there is no such column, nothing to be drawn, or matplotlib is not there.
    """
    kind = _figure_class()
    panels = plan_panels(frame, x, y, colour)
    rows, columns = len(panels), len(panels[0])
    figure: Figure = kind(figsize=(columns * _PANEL_INCHES[0] + 0.4, rows * _PANEL_INCHES[1] + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey="row")
    for k, row in enumerate(panels):
        for m, panel in enumerate(row):
            _draw_panel(grid[k][m], panel, has_y_label=m == 0, has_x_label=k == rows - 1)
        _scale_y(grid[k][0], row)
    _draw_legend(figure, grid, panels)
    if title:
        figure.suptitle(title, fontsize=11)
    notes = list(dict.fromkeys(panel.note for row in panels for panel in row if panel.note))
    if notes:
        note = notes[0] if len(notes) == 1 else "mean with the standard deviation over all that differs at one place"
        figure.supxlabel(note, fontsize=7.5, color="#68707a")
    return figure


def import_matplotlib() -> Any:
    """The class of figures.

    Raises:
        HpcsweepError: matplotlib is not there.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import
    except ImportError as error:
        raise HpcsweepError("plots need matplotlib, which is not there", "pip install 'hpcsweep[plot]'") from error
    return Figure


def _figure_class() -> Any:
    class SweepFigure(import_matplotlib()):  # type: ignore[misc] # imported where it is used
        """A figure that a notebook shows by itself, whatever its backend."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=110)
            return buffer.getvalue()

    return SweepFigure


def _draw_panel(axes: Axes, panel: Panel, *, has_y_label: bool, has_x_label: bool) -> None:
    for number, series in enumerate(panel.series):
        _draw_series(axes, series, _colour(number, len(panel.series)), is_curve=panel.is_curve, is_joined=panel.is_joined)
    axes.grid(visible=True, color="#e3e6ea", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)
    if has_x_label:
        axes.set_xlabel(panel.x, fontsize=9)
    if has_y_label:
        axes.set_ylabel(panel.y, fontsize=9)
    if panel.labels is not None:
        shown = range(0, len(panel.labels), max(1, math.ceil(len(panel.labels) / _MOST_LABELS)))
        is_long = max(len(label) for label in panel.labels) > 6
        texts = [panel.labels[k] for k in shown]
        axes.set_xticks(list(shown), texts, rotation=30 if is_long else 0, ha="right" if is_long else "center")
        axes.set_xlim(-0.5, len(panel.labels) - 0.5)
    else:
        _scale_x(axes, panel)


def _draw_series(axes: Axes, series: Series, colour: Any, *, is_curve: bool, is_joined: bool) -> None:
    if is_joined:
        marker = None if is_curve and len(series.x) > 1 else "o"
        axes.plot(series.x, series.mean, color=colour, linewidth=1.6, marker=marker, markersize=4, label=series.label)
        if any(low is not None for low in series.low):
            pairs = zip(series.mean, series.low, series.high, strict=True)
            bounds = [(mean if low is None else low, mean if high is None else high) for mean, low, high in pairs]
            axes.fill_between(
                series.x, [low for low, _ in bounds], [high for _, high in bounds], color=colour, alpha=0.18, linewidth=0
            )
    else:
        bars = [
            [0.0 if low is None else mean - low for mean, low in zip(series.mean, series.low, strict=True)],
            [0.0 if high is None else high - mean for mean, high in zip(series.mean, series.high, strict=True)],
        ]
        places = [place + series.shift for place in series.x]
        axes.errorbar(
            places, series.mean, yerr=bars, fmt="o", color=colour, markersize=5, elinewidth=1.4, capsize=3, label=series.label
        )
    places = [place + (0.0 if is_joined else series.shift) for place in series.dots_x]
    if places:
        axes.scatter(places, series.dots_y, s=9, color=colour, alpha=0.35, linewidths=0)


def _scale_x(axes: Axes, panel: Panel) -> None:
    values = sorted({place for series in panel.series for place in series.x})
    scale = "linear" if panel.is_curve else choose_scale(values)
    if scale == "linear":
        if all(float(value).is_integer() for value in values):
            axes.locator_params(axis="x", integer=True)
        return
    _set_scale(axes.set_xscale, scale, values)
    is_of_two = all(math.log2(value).is_integer() for value in values if value > 0)
    if scale == "log" and (is_of_two or len(values) <= 5) and values[-1] / values[0] < 1000:
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()


def _scale_y(axes: Axes, panels: Sequence[Panel]) -> None:
    values = [value for panel in panels for series in panel.series for value in series.mean]
    lows = [low for panel in panels for series in panel.series for low in series.low if low is not None]
    scale = choose_scale(values, least_ratio=100)
    # A band that reaches below zero cannot stand on a logarithmic axis.
    if scale != "linear" and all(low > 0 for low in lows):
        _set_scale(axes.set_yscale, scale, values)


def _set_scale(setter: Any, scale: str, values: Sequence[float]) -> None:
    if scale == "symlog":
        setter("symlog", linthresh=min(value for value in values if value > 0))
    else:
        setter("log")


def _colour(number: int, count: int) -> Any:
    if count <= len(COLOURS):
        return COLOURS[number]
    from matplotlib import colormaps  # noqa: PLC0415 - slow to import

    return colormaps["viridis"](number / (count - 1) * 0.92)


def _draw_legend(figure: Figure, grid: Any, panels: Sequence[Sequence[Panel]]) -> None:
    named_by = panels[0][0].named_by
    found: dict[str, Any] = {}
    for row, drawn in zip(grid, panels, strict=True):
        for axes, panel in zip(row, drawn, strict=True):
            if len(panel.series) > 1:
                handles, labels = axes.get_legend_handles_labels()
                found.update({label: handle for label, handle in zip(labels, handles, strict=True) if label not in found})
    if not found:
        return
    labels = list(found)
    if len(labels) > _MOST_IN_LEGEND:  # the ends and some between them say what the colours mean
        step = (len(labels) - 1) / (_MOST_IN_LEGEND - 1)
        labels = [labels[round(k * step)] for k in range(_MOST_IN_LEGEND)]
    figure.legend(
        [found[label] for label in labels],
        labels,
        loc="outside right upper",
        title=named_by[0] if len(named_by) == 1 and not panels[0][0].is_curve else None,
        fontsize=8,
        title_fontsize=8,
        frameon=False,
    )
