"""Metrics from the lines of a log: patterns of parse, regular expressions, and lines of every kind."""

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.readers import Source
from hpcsweep.readers.logs import LogReader, parse_pattern, regex_pattern


def read(text, *patterns, is_final=True):
    made = [regex_pattern(pattern) if "(?P<" in pattern else parse_pattern(pattern) for pattern in patterns]
    data = text if isinstance(text, bytes) else text.encode()
    return LogReader(made).read(Source(file="attempt-1.log", stream=io.BytesIO(data), is_final=is_final))


PATTERN = "epoch {epoch:d} val_loss {val_loss:g}"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0.25", 0.25),
        ("1e-05", 1e-5),
        ("-1.5E+3", -1500.0),
        (".5", 0.5),
        ("3", 3.0),
        ("nan", math.nan),
        ("NaN", math.nan),
        ("inf", math.inf),
        ("-inf", -math.inf),
        ("0.0", 0.0),
        ("1.0D-02", 0.01),
    ],
)
@pytest.mark.parametrize("kind", ["g", "f", "e", ".4f"])
def test_numbers_as_programs_print_them(written, value, kind):
    found = read(f"10:00:01 INFO Epoch 3 val_loss {written} (best)\n", f"epoch {{epoch:d}} val_loss {{val_loss:{kind}}}")
    assert found.rows == ({"epoch": 3, "val_loss": pytest.approx(value, nan_ok=True)},)


def test_a_field_without_type_is_one_word_at_the_end_of_a_pattern():
    assert read("loss 0.25, fine\nloss low\n", "loss {loss}").rows == ({"loss": 0.25}, {"loss": "low"})


def test_a_regular_expression():
    text = "fitness: 0.5\nval_loss=0.25 acc=0.5\nval_loss=0.125\n"
    found = read(text, r"val_loss=(?P<val_loss>\S+)(?: acc=(?P<acc>\S+))?")
    assert found.rows == ({"val_loss": 0.25, "acc": 0.5}, {"val_loss": 0.125})


def test_several_patterns_fill_the_rows_of_their_steps():
    text = "Epoch 1\ntrain: 5\nval: 6\nEpoch 2\ntrain: 3\nval: 4\nlr: 0.1\n"
    found = read(text, "epoch {epoch:d}", "train: {train:d}", "val: {val:d}", "lr: {lr:g}")
    assert found.rows == ({"epoch": 1, "train": 5, "val": 6}, {"epoch": 2, "train": 3, "val": 4, "lr": 0.1})


def test_lines_of_a_progress_bar_end_with_a_return():
    assert [row["epoch"] for row in read("epoch 1 val_loss 5\repoch 2 val_loss 4\r\nepoch 3 val_loss 3", PATTERN).rows] == [
        1,
        2,
        3,
    ]


def test_a_line_that_may_be_cut_off_does_not_count():
    text = "epoch 1 val_loss 0.5\nepoch 2 val_loss 0.1"
    assert len(read(text, PATTERN, is_final=False).rows) == 1
    assert len(read(text, PATTERN).rows) == 2


def test_nothing_found_is_said():
    assert read("hello\n", PATTERN).notes == ("no line fits the patterns",)


def test_lines_without_end_and_bytes_of_all_kinds():
    noise = b"\xff\0\x1b[31m" * 300_000
    text = noise + b"\nepoch 1 val_loss 0.5\n" + noise + b" epoch 9 val_loss 9\n" + b"epoch 2 val_loss 0.25\n" + noise
    assert [row["epoch"] for row in read(text, PATTERN).rows] == [1, 2]


def test_a_line_over_the_edge_of_a_block_is_whole():
    line = b"epoch 7 val_loss 0.5\n"
    for shift in range(len(line) + 1):
        text = b"x" * 9 + b"\n" * ((1 << 20) - 9 - shift) + line
        assert [row["epoch"] for row in read(text, PATTERN).rows] == [7]


@pytest.mark.parametrize("pattern", ["epoch", "{}", "{a:zz}", "{a"])
def test_patterns_that_name_nothing(pattern):
    with pytest.raises(ValueError, match=r"."):
        parse_pattern(pattern)


@pytest.mark.parametrize("pattern", ["loss=(\\S+)", "(", "(?P<a>"])
def test_regular_expressions_that_name_nothing(pattern):
    with pytest.raises(ValueError, match=r"."):
        regex_pattern(pattern)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_searched(data, is_final):
    found = read(data + b"\nloss 5\n", "loss {loss:g}", "{a} {b}", r"(?P<c>\d+)", is_final=is_final)
    assert any(row.get("loss") == 5.0 for row in found.rows)
