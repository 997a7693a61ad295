"""How Slurm writes times, sizes, nodes and elements."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.rehearsal.indices import each
from hpcsweep.rehearsal.slurm_options import parse_warning
from hpcsweep.rehearsal.slurm_values import (
    expand_hosts,
    fold_hosts,
    format_array,
    format_duration,
    format_elapsed,
    format_megabytes,
    parse_array,
    parse_megabytes,
    parse_moment,
    parse_time_limit,
)

NOW = dt.datetime(2026, 11, 28, 18, 8, 7, tzinfo=dt.timezone.utc)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("1", 1),
        ("90", 90),
        ("1:30", 2),
        ("0:30", 1),
        ("1:30:00", 90),
        ("2:00:01", 121),
        ("1-0", 1440),
        ("1-2:30", 1590),
        ("1-2:30:45", 1591),
        ("0", None),
        ("infinite", None),
        ("UNLIMITED", None),
        ("-1", None),
    ],
)
def test_time_limits_are_whole_minutes(text, minutes):
    assert parse_time_limit(text) == minutes


@pytest.mark.parametrize("text", ["", "abc", "1h", "1.5", "1:2:3:4", "-2", "\u0661"])
def test_what_is_no_time_limit(text):
    with pytest.raises(ValueError, match=r".*"):
        parse_time_limit(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1", "1M"),
        ("1G", "1G"),
        ("1536M", "1.50G"),
        ("2048K", "2M"),
        ("1000K", "1M"),
        ("1T", "1T"),
        ("10MB", "10M"),
        ("0", "0"),
        ("8000", "8000M"),
        ("100m", "100M"),
    ],
)
def test_sizes(text, shown):
    assert format_megabytes(parse_megabytes(text)) == shown


@pytest.mark.parametrize(
    ("seconds", "short", "long"),
    [(7, "0:07", "00:00:07"), (90, "1:30", "00:01:30"), (5400, "1:30:00", "01:30:00"), (95400, "1-02:30:00", "1-02:30:00")],
)
def test_durations(seconds, short, long):
    assert (format_elapsed(seconds), format_duration(seconds)) == (short, long)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", "2026-11-28T18:08:07"),
        ("now+60", "2026-11-28T18:09:07"),
        ("now+1hour", "2026-11-28T19:08:07"),
        ("now+2days", "2026-11-30T18:08:07"),
        ("now-1minutes", "2026-11-28T18:07:07"),
        ("tomorrow", "2026-11-29T00:00:00"),
        ("noon", "2026-11-29T12:00:00"),
        ("16:00", "2026-11-29T16:00:00"),
        ("3:00PM", "2026-11-29T15:00:00"),
        ("2030-01-02", "2030-01-02T00:00:00"),
        ("2030-01-02T03:04", "2030-01-02T03:04:00"),
        ("2030-01-02T03:04:05", "2030-01-02T03:04:05"),
        ("01/02/30", "2030-01-02T00:00:00"),
        ("uts2000000000", "2033-05-18T03:33:20"),
    ],
)
def test_moments(text, moment):
    found = parse_moment(text, NOW.timestamp(), dt.timezone.utc)
    assert dt.datetime.fromtimestamp(found, dt.timezone.utc).isoformat() == f"{moment}+00:00"


@pytest.mark.parametrize(("text", "position"), [("garbage", 0), ("now+1h", 4), ("now+", 3), ("2030-13-01", 0), ("25:00", 0)])
def test_what_is_no_moment(text, position):
    with pytest.raises(ValueError, match=str(position)):
        parse_moment(text, NOW.timestamp(), dt.timezone.utc)


@pytest.mark.parametrize(
    ("text", "elements", "throttle"),
    [
        ("0-3", [0, 1, 2, 3], 0),
        ("[1-3],7,7", [1, 2, 3, 7], 0),
        ("01-03", [1, 2, 3], 0),
        ("1, 2,", [1, 2], 0),
        ("1-3:2%4", [1, 3], 4),
        ("5%x", [5], 0),
    ],
)
def test_arrays(text, elements, throttle):
    found, most = parse_array(text)
    assert (list(each(found)), most) == (elements, throttle)


@pytest.mark.parametrize("text", ["", "abc", "5-1", "1-", "-1", "1-3:0", "0-999999999", "1--3"])
def test_what_is_no_array(text):
    with pytest.raises(ValueError, match=r".*"):
        parse_array(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0-10:5", "0,5,10"),
        ("0-11:2", "0,2,4,6,8,10"),
        ("0-12:2", "0-12:2"),
        ("3-40:4", "3-39:4"),
        ("0,11,22", "0,11,22"),
        ("1000,1002,1004,1006,1008,1010,1012,1014,1016,1018,1020", "1000-1020:2"),
    ],
)
def test_steps(text, shown):
    assert format_array(parse_array(text)[0]) == shown


@given(st.sets(st.integers(0, 3000), min_size=1))
def test_what_is_shown_whole_is_read_again(numbers):
    shown = format_array([range(number, number + 1) for number in sorted(numbers)], length=0)
    assert set(each(parse_array(shown)[0])) == numbers


@given(st.sets(st.integers(0, 3000), min_size=1), st.integers(8, 200))
def test_what_is_cut_fits(numbers, length):
    assert len(format_array([range(number, number + 1) for number in sorted(numbers)], length=length)) < length


def test_hosts():
    assert list(expand_hosts("n[01-03,7],m")) == ["n01", "n02", "n03", "n7", "m"]
    assert fold_hosts(["n1", "n2", "n4"]) == "n[1-2,4]"
    assert fold_hosts(["n3"]) == "n3"


def test_signals_before_the_end():
    found = parse_warning("B:USR1@30")
    assert (found.number, found.before_s, found.is_for_shell) == (10, 30, True)
    assert parse_warning("SIGTERM").is_for_shell is False
    for text in ("bad", "B:@3", "99", "B:USR1@x"):
        with pytest.raises(ValueError, match=r".*"):
            parse_warning(text)
