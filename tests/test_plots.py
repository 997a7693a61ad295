"""Which axes, series and colours a frame of results comes to, and the files that are written."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from hpcsweep.errors import HpcsweepError
from hpcsweep.plots import draw, form_of_picture, picture_bytes
from hpcsweep.plots.data import AUTO, plan_panels
from hpcsweep.plots.scales import choose_scale


def frame_of(rows, params, replicates=("seed",), metrics=("val_loss",)):
    frame = pd.DataFrame(rows)
    frame.attrs.update(params=list(params), replicates=list(replicates), metrics=list(metrics))
    return frame


def two_blocks(*, names=True):
    return [
        {"lr": lr, "seed": seed, "momentum": momentum, "val_loss": -math.log10(lr) + seed}
        | ({"optimizer": "sgd" if momentum else "adam"} if names else {})
        for momentum in (0.9, None)
        for lr in (1e-4, 1e-3, 1e-2)
        for seed in (0, 1)
    ]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1e-4, 1e-3, 1e-2, 1e-1], "log"),
        ([32, 64, 128, 256], "log"),
        ([0.1, 0.01], "log"),
        ([0, 1e-4, 1e-3, 1e-2], "symlog"),
        ([1, 2, 3, 4, 5], "linear"),
        ([0.1, 0.2, 0.3, 0.4, 0.5], "linear"),
        ([10, 20], "linear"),
        ([-1, 1, 100], "linear"),
        ([5], "linear"),
        ([], "linear"),
        ([3.1e-5, 8e-5, 2e-4, 6e-4, 1.1e-3, 5e-3, 1.9e-2, 8e-2], "log"),
    ],
)
def test_the_scale_that_values_want(values, scale):
    assert choose_scale(values) == scale


def test_replicates_are_a_mean_with_a_band_and_blocks_are_colours():
    ((panel,),) = plan_panels(frame_of(two_blocks(), ["lr", "optimizer", "momentum", "seed"]), ["lr"], ["val_loss"], AUTO)
    assert [series.label for series in panel.series] == ["sgd", "adam"]
    first = panel.series[0]
    assert first.x == [1e-4, 1e-3, 1e-2]
    assert first.mean == [4.5, 3.5, 2.5]
    assert first.low == pytest.approx([mean - math.sqrt(0.5) for mean in first.mean])
    assert panel.note.endswith("over seed")


def test_blocks_without_a_name_are_told_apart_by_their_parameters():
    ((panel,),) = plan_panels(frame_of(two_blocks(names=False), ["lr", "momentum", "seed"]), ["lr"], ["val_loss"], AUTO)
    assert [series.label for series in panel.series] == ["with momentum", "the rest"]
    ((panel,),) = plan_panels(frame_of(two_blocks(), ["lr", "optimizer", "momentum", "seed"]), ["lr"], ["val_loss"], None)
    assert [len(series.x) for series in panel.series] == [3]


def test_averaged_frames_bring_their_own_spread():
    rows = [{"lr": lr, "val_loss.mean": lr, "val_loss.std": 0.5} for lr in (1, 2, 3)]
    ((panel,),) = plan_panels(frame_of(rows, ["lr"]), ["lr"], ["val_loss"], AUTO)
    assert panel.series[0].high == [1.5, 2.5, 3.5]


def test_words_have_places_and_missing_values_none():
    rows = [{"kind": kind, "val_loss": loss} for kind, loss in [("b", 1.0), ("a", None), ("c", float("nan")), ("a", 0.0)]]
    ((panel,),) = plan_panels(frame_of(rows, ["kind"]), ["kind"], ["val_loss"], AUTO)
    assert panel.labels == ["b", "a"]
    assert sorted((place, value) for series in panel.series for place, value in zip(series.x, series.mean, strict=True)) == [
        (0.0, 1.0),
        (1.0, 0.0),
    ]


def test_a_curve_for_each_point():
    rows = [{"lr": lr, "seed": seed, "epoch": k, "loss": k} for lr in (1, 2) for seed in (0, 1) for k in range(3)]
    ((panel,),) = plan_panels(frame_of(rows, ["lr", "seed"], metrics=["epoch", "loss"]), ["step"], None, AUTO)
    assert panel.is_curve
    assert panel.y == "loss"
    assert [series.label for series in panel.series] == ["lr=1", "lr=2"]
    assert panel.series[0].mean == [0, 1, 2]


@pytest.mark.parametrize(
    ("x", "y", "said"), [(["lrr"], None, "no column lrr"), (None, ["loss"], "no column loss"), (["step"], None, "step")]
)
def test_columns_that_are_not_there(x, y, said):
    with pytest.raises(HpcsweepError, match=said):
        draw(frame_of(two_blocks(), ["lr", "optimizer", "momentum", "seed"]), x, y)


def test_nothing_to_draw():
    rows = [{"lr": lr, "val_loss": None} for lr in (1, 2)]
    with pytest.raises(HpcsweepError, match="nothing to draw"):
        draw(frame_of(rows, ["lr"]), ["lr"], ["val_loss"])


def test_the_figure_and_its_files():
    frame = frame_of(two_blocks(), ["lr", "optimizer", "momentum", "seed"])
    figure = draw(frame, ["lr", "optimizer"], title="t")
    axes = figure.axes
    assert [(one.get_xlabel(), one.get_xscale()) for one in axes] == [("lr", "log"), ("optimizer", "linear")]
    assert axes[0].get_ylabel() == "val_loss"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sgd", "adam"]
    assert figure._repr_png_().startswith(b"\x89PNG")
    begins = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml", "html": b"<!DOCTYPE html>"}
    for ending, first in begins.items():
        assert picture_bytes(figure, f"x.{ending}").startswith(first)
    with pytest.raises(HpcsweepError, match=r"\.png, \.pdf, \.svg, \.html"):
        form_of_picture("x.gif")
