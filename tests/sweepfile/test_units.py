import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.sweepfile.units import UnitError, format_memory, format_time, parse_memory, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90m", 5400),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("90min", 5400),
        ("2d", 172800),
        ("45s", 45),
        ("1.5h", 5400),
        ("45.0m", 2700),
        ("0.5s", 1),
        ("01:30:00", 5400),
        ("24:00:00", 86400),
        ("100:00:00", 360000),
        ("1-12:00:00", 129600),
        ("1-12:30", 131400),
        ("1-12", 129600),
        ("2H", 7200),
        (" 2h ", 7200),
    ],
)
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "0", "0m", "-1h", "h", "1h1h", "30m1h", "1:2:3:4", "01:60:00", "1-24", "two hours", "1e3s", "٣m", "4000d"]
)
def test_what_is_no_time(text):
    with pytest.raises(UnitError):
        parse_time(text)


@pytest.mark.parametrize("text", ["30", "30.0", "+30"])
def test_a_bare_time_is_refused_with_both_units_shown(text):
    with pytest.raises(UnitError) as caught:
        parse_time(text)
    assert caught.value.hint == f"write {text}m or {text}s"


def test_hours_or_minutes_must_be_clear():
    with pytest.raises(UnitError) as caught:
        parse_time("24:00")
    assert "24:00:00" in caught.value.hint
    assert "0:24:00" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8G", 8 * 1024**3),
        ("8GB", 8 * 1024**3),
        ("8GiB", 8 * 1024**3),
        ("8 g", 8 * 1024**3),
        ("500M", 500 * 1024**2),
        ("1.5T", 3 * 1024**4 // 2),
        ("100K", 102400),
        ("512B", 512),
    ],
)
def test_memory(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "8", "8.5", "G", "8X", "-8G", "0G", "8iB", "8 G B", "1e3M", "5000P"])
def test_what_is_no_memory(text):
    with pytest.raises(UnitError):
        parse_memory(text)


@given(st.integers(1, 3650 * 86400))
def test_times_are_read_back(seconds):
    assert parse_time(format_time(seconds)) == seconds


@given(st.integers(1, 1024**6))
def test_memory_is_read_back(size):
    assert parse_memory(format_memory(size)) == size


@pytest.mark.parametrize("parse", [parse_time, parse_memory])
@given(text=st.text(max_size=20) | st.from_regex(r"[0-9.:-]{0,70}[dhmsGMT]?", fullmatch=True))
def test_any_text_is_read_or_refused_with_a_hint(parse, text):
    try:
        assert parse(text) > 0
    except UnitError as error:
        assert error.hint  # noqa: PT017 - either outcome is right


def test_decimals_are_exact():
    assert parse_time("1.1h") == 3960
    assert parse_memory("9007199254740993B") == 9007199254740993


@pytest.mark.parametrize(("seconds", "text"), [(5400, "1h30m"), (0, "0s"), (0.2, "1s"), (172801, "2d1s")])
def test_format_time(seconds, text):
    assert format_time(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(8 * 1024**3, "8G"), (1536 * 1024**2, "1536M"), (0, "0B"), (1000, "1000B")])
def test_format_memory(size, text):
    assert format_memory(size) == text
