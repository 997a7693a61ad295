"""Answers are kept for a while; that they cannot be kept matters to nobody."""

import pytest
from disk_and_users import as_ordinary_user, fill, names_in

from hpcsweep.store import cache, create_run_dir


def test_answers_have_an_age(run):
    assert cache.get(run, "live", max_age_s=10, now=100.0) is None
    assert cache.put(run, "live", {"a": [1, None]}, now=100.0)
    assert cache.get(run, "live", max_age_s=10, now=110.0) == {"a": [1, None]}
    assert cache.get(run, "live", max_age_s=10, now=110.1) is None
    assert cache.get_with_time(run, "live") == ({"a": [1, None]}, 100.0)
    assert names_in(run.cache_dir) == ["live.json"]


def test_a_clock_that_is_a_little_behind_is_no_harm_and_one_far_behind_is_no_age(run):
    cache.put(run, "live", 1, now=100.0)
    assert cache.get(run, "live", max_age_s=10, now=96.0) == 1
    assert cache.get(run, "live", max_age_s=1e9, now=10.0) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"at": "x", "value": 1}', "\0"])
def test_a_damaged_answer_is_none(run, text):
    cache.put(run, "live", 1, now=1.0)
    (run.cache_dir / "live.json").write_text(text)
    assert cache.get(run, "live", max_age_s=10, now=1.0) is None


def test_a_colleagues_run_and_a_full_disk_keep_nothing(open_folder, small_disk):
    theirs = create_run_dir(open_folder / "runs")
    assert as_ordinary_user(lambda: cache.put(theirs, "live", 1, now=1.0)) is False
    full = create_run_dir(small_disk / "runs")
    fill(small_disk)
    assert cache.put(full, "live", "x" * 10_000, now=1.0) is False
    assert names_in(full.cache_dir) == []


def test_a_name_that_is_a_path_is_a_bug(run):
    with pytest.raises(ValueError, match="no name"):
        cache.put(run, "../x", 1, now=1.0)
