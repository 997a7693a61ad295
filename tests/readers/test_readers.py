"""Each format as programs really write it, and any bytes at all."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.readers import READERS, Source, decode, read_metrics


def rows(text, **options):
    return list(read_metrics(text, "x.metrics", **options).rows)


def notes(text, **options):
    return " | ".join(read_metrics(text, "x.metrics", **options).notes)


ONE_ROW = {"epoch": 3, "loss": 0.25}


@pytest.mark.parametrize(
    "text",
    [
        "epoch loss\n3 0.25\n",
        "epoch   loss\n    3   0.25\n\n",
        "# made by train.py\nepoch\tloss\n3\t0.25\n",
        '"epoch" "loss"\n3 0.25\n',
        "epoch,loss\n3,0.25\n",
        "epoch, loss\r\n3, 0.25\r\n",
        '"epoch","loss"\n"3","0.25"\n',
        "epoch;loss\n3;0.25\n",
        "# epoch loss\n3 0.25\n",
        "#epoch,loss\n3,0.25\n",
        "epoch 3\nloss 0.25\n",
        "epoch=3\nloss=0.25\n",
        "epoch = 3 # the last one\nloss = 2.5D-01\n",
        "epoch: 3\nloss: 0.25",
        "epoch: 3, loss: 0.25\n",
        "epoch=3 loss=0.25\n",
        "epoch,3\nloss,0.25\n",
        "\ufeffepoch loss\n3 0.25\n",
        '{"epoch": 3, "loss": 0.25}',
        '{\n  "epoch": 3,\n  "loss": 0.25\n}\n',
        '[{"epoch": 3, "loss": 0.25}]',
        '{"epoch": [3], "loss": [0.25]}',
    ],
)
def test_one_row_in_every_format(text):
    reading = read_metrics(text, "x.metrics")
    assert list(reading.rows) == [ONE_ROW]
    assert [type(value) for value in reading.rows[0].values()] == [int, float]
    assert not reading.is_series
    assert reading.step_name == "epoch"
    assert reading.notes == ()


@pytest.mark.parametrize(
    "text",
    [
        "epoch loss\n1 0.5\n2 0.25\n",
        "epoch,loss\n1,0.5\n2,0.25\n",
        "epoch\tloss\n1\t0.5\n2\t0.25\n",
        "epoch 1\nloss 0.5\nepoch 2\nloss 0.25\n",
        "epoch=1 loss=0.5\nepoch=2 loss=0.25\n",
        '{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.25}\n',
        '{\n "epoch": 1,\n "loss": 0.5\n}\n{\n "epoch": 2,\n "loss": 0.25\n}\n',
        '[{"epoch": 1, "loss": 0.5},\n {"epoch": 2, "loss": 0.25}]',
        '{"epoch": [1, 2], "loss": [0.5, 0.25]}',
    ],
)
def test_a_series_in_every_format(text):
    reading = read_metrics(text, "x.metrics")
    assert list(reading.rows) == [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
    assert reading.is_series
    assert reading.last == {"epoch": 2, "loss": 0.25}


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("0.1", 0.1),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-3", 1e-3),
        ("1.5D+02", 150.0),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
        ("true", True),
        ("False", False),
        ("None", None),
        ("NA", None),
        ("adam", "adam"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("12:30:00", "12:30:00"),
        ("\u0661", "\u0661"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_cell_keeps_its_type(cell, value):
    found = rows(f"name other\n{cell} x\n")[0]["name"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["a nan\n", "a=NaN\n", "a b\nnan 1\n", '{"a": NaN}', "a,b\nNAN,1\n"])
def test_nan_is_a_float(text):
    assert math.isnan(rows(text)[0]["a"])


def test_a_log_of_one_name_is_a_series():
    assert rows("loss 0.3\nloss 0.2\n") == [{"loss": 0.3}, {"loss": 0.2}]


def test_names_and_values_may_be_texts_where_a_sign_stands_between():
    assert rows("optimizer=adam\nval loss: 0.5\nstarted: 12:03:11\nempty=\n") == [
        {"optimizer": "adam", "val loss": 0.5, "started": "12:03:11", "empty": None}
    ]


def test_two_words_are_a_header_and_not_a_pair():
    assert rows("model data\nresnet digits\n") == [{"model": "resnet", "data": "digits"}]


def test_a_column_of_one_name():
    assert rows("loss\n0.5\n0.25\n") == [{"loss": 0.5}, {"loss": 0.25}]


def test_numbers_without_header_get_names_and_it_is_said():
    assert rows("1 0.5\n2 0.25\n") == [{"column_1": 1, "column_2": 0.5}, {"column_1": 2, "column_2": 0.25}]
    assert "no header" in notes("1 0.5\n2 0.25\n")


def test_blank_cells_are_absent_and_the_last_value_is_the_last_one_written():
    reading = read_metrics("epoch,train,val\n1,0.5,\n1,,0.75\n2,0.25,\n", "metrics.csv")
    assert list(reading.rows) == [{"epoch": 1, "train": 0.5}, {"epoch": 1, "val": 0.75}, {"epoch": 2, "train": 0.25}]
    assert reading.last == {"epoch": 2, "train": 0.25, "val": 0.75}


def test_quoted_cells_hold_what_they_hold():
    assert rows('name,text\n1,"a, ""b""\nc"\n') == [{"name": 1, "text": 'a, "b"\nc'}]


def test_columns_of_the_same_name_are_all_kept():
    assert rows("loss,,loss\n1,2,3\n") == [{"loss": 1, "column_2": 2, "loss.2": 3}]


def test_nested_names_are_joined_and_lists_stay_one_value():
    text = json.dumps({"val": {"loss": 0.5, "top": {"1": 0.9}}, "confusion": [[1, 2], [3, 4]], "n": 7})
    assert rows(text) == [{"val.loss": 0.5, "val.top.1": 0.9, "confusion": [[1, 2], [3, 4]], "n": 7}]


def test_half_a_character_is_mended():
    assert rows(r'{"a\ud800": "\ud83d", "b": "\ud83d\ude00"}') == [{"a?": "?", "b": "\U0001f600"}]


# -- what was cut off, and what does not fit ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "epoch loss\n1 0.5\n2",
        "epoch,loss\n1,0.5\n2",
        'epoch,loss\n1,0.5\n"2',
        "epoch=1\nloss=0.5\nacc",
        '{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "lo',
        '[{"epoch": 1, "loss": 0.5}, {"epo',
        '{\n"epoch": 1,\n"loss": 0.5\n}\n{\n"epoch": 2,',
    ],
)
def test_a_torn_end_is_left_out_and_said(text):
    assert rows(text) == [{"epoch": 1, "loss": 0.5}]
    assert "cut off" in notes(text)


def test_a_last_line_without_newline_counts_only_when_its_writer_ended_by_itself():
    text = "epoch loss\n1 0.5\n2 0.1"
    assert rows(text, is_final=True)[-1] == {"epoch": 2, "loss": 0.1}
    assert rows(text, is_final=False) == [{"epoch": 1, "loss": 0.5}]
    assert "no newline" in notes(text, is_final=False)


def test_a_json_object_says_itself_that_it_is_whole():
    assert rows('{"loss": 0.5}', is_final=False) == [{"loss": 0.5}]


def test_rows_that_do_not_fit_are_left_out_by_number():
    text = "epoch loss\n1 0.5\n2 0.4 7\n3\n4 0.1\n"
    assert rows(text) == [{"epoch": 1, "loss": 0.5}, {"epoch": 4, "loss": 0.1}]
    assert "lines 3, 4" in notes(text)


def test_a_header_that_comes_again_counts_from_there():
    text = "epoch loss\n1 0.5\nepoch loss\n1 0.4\nepoch loss acc\n2 0.3 0.9\n"
    assert rows(text) == [{"epoch": 1, "loss": 0.5}, {"epoch": 1, "loss": 0.4}, {"epoch": 2, "loss": 0.3, "acc": 0.9}]


def test_a_broken_line_among_json_lines_is_left_out_and_said():
    text = '{"a": 1}\n{"a": \n{"a": 3}\n7\n{"a": 4}\n'
    assert rows(text) == [{"a": 1}, {"a": 3}, {"a": 4}]
    assert "1 part left out" in notes(text)
    assert "1 value left out" in notes(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        ("# only\n", "comments"),
        ("epoch loss\n", "no rows"),
        ("a\0b", "not a text"),
        ("[]", "no values"),
    ],
)
def test_a_file_without_values_says_why(text, said):
    assert rows(text) == []
    assert said in notes(text)


def test_other_encodings():
    assert rows(decode("loss 0.5\n".encode("utf-16"))) == [{"loss": 0.5}]
    assert rows(decode(b"\xef\xbb\xbfloss 0.5\n")) == [{"loss": 0.5}]
    assert rows(decode(b"n\xe9 0.5\n")) == [{"n\ufffd": 0.5}]


# -- whatever comes -------------------------------------------------------------------------------------------------------

LINES = st.lists(
    st.sampled_from(
        [
            "epoch loss",
            "1 0.5",
            "2 nan",
            "a=1",
            "b: x",
            "a,b",
            "1,2",
            '{"a": 1}',
            '{"a":',
            "[",
            "]",
            '"',
            "# c",
            "",
            "x\ty",
            "a=1 b=2",
            "'",
            "{}",
        ]
    ),
    max_size=12,
)


@given(st.one_of(st.binary(max_size=300), LINES.map(lambda lines: "\n".join(lines).encode())), st.booleans())
def test_any_bytes_give_a_reading(data, is_final):
    reading = read_metrics(decode(data), "x", is_final=is_final)
    assert reading.rows or reading.notes
    for row in reading.rows:
        for name in row:
            name.encode()


@given(LINES)
def test_each_reader_reads_what_it_recognises(lines):
    source = Source(file="x", text="\n".join(lines))
    for reader in READERS.values():
        if reader.recognises(source):
            reader.read(source)


NAMES = st.lists(
    st.from_regex(r"[a-z_][a-z_/0-9]{0,6}", fullmatch=True).filter(
        lambda name: name not in {"nan", "inf", "na", "none", "null", "true", "false"}
    ),
    min_size=2,
    max_size=5,
    unique=True,
)
NUMBERS = st.one_of(st.integers(-(10**12), 10**12), st.floats(allow_nan=False))


@given(st.data())
def test_written_tables_are_read_back(data):
    names = data.draw(NAMES)
    table = data.draw(st.lists(st.tuples(*[NUMBERS] * len(names)), min_size=1, max_size=5))
    separator = data.draw(st.sampled_from([" ", ",", "\t", ";", "  "]))
    text = "".join(separator.join(map(str, line)) + "\n" for line in [names, *table])
    assert rows(text) == [dict(zip(names, line, strict=True)) for line in table]
    as_lines = "".join(json.dumps(dict(zip(names, line, strict=True))) + "\n" for line in table)
    assert rows(as_lines) == rows(text)


@given(st.data())
def test_any_cut_of_a_series_keeps_the_lines_before_it(data):
    count = data.draw(st.integers(1, 6))
    table = [{"epoch": epoch, "loss": 1 / (epoch + 3)} for epoch in range(count)]
    form = data.draw(st.sampled_from(["blanks", "csv", "json", "pairs"]))
    if form == "json":
        text = "".join(json.dumps(row) + "\n" for row in table)
    elif form == "pairs":
        text = "".join(f"epoch={row['epoch']} loss={row['loss']!r}\n" for row in table)
    else:
        apart = " " if form == "blanks" else ","
        text = f"epoch{apart}loss\n" + "".join(f"{row['epoch']}{apart}{row['loss']!r}\n" for row in table)
    cut = data.draw(st.integers(0, len(text)))
    whole = text[:cut].count("\n") - (form in {"blanks", "csv"})
    found = rows(text[:cut], is_final=False)
    # A JSON object may be whole without its newline.
    assert found[: max(whole, 0)] == table[: max(whole, 0)]
    assert len(found) <= max(whole, 0) + (form == "json")
