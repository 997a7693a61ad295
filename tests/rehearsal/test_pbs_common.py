"""What OpenPBS and Torque have in common."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.rehearsal.pbs_common import (
    BadOptionError,
    NodePart,
    clock,
    directives,
    kilobytes_of,
    node_parts,
    parse_dependencies,
    parse_job_id,
    parse_options,
    seconds_of,
    size_of,
    split_words,
)


def test_options_stand_between_operands():
    options = parse_options(["-h", "s.sh", "-N", "a b", "-lx=1", "-ho", "out", "--", "-z"], "hN:l:o:z")
    assert options.given == [("h", ""), ("N", "a b"), ("l", "x=1"), ("h", ""), ("o", "out")]
    assert options.operands == ["s.sh", "-z"]
    assert options.last("l") == "x=1"
    assert options.last("z") is None
    assert options.all("h") == ["", ""]


def test_an_empty_value_is_a_value():
    assert parse_options(["-t", "", "-"], "t:").given == [("t", "")]
    assert parse_options(["-t", "", "-"], "t:").operands == ["-"]


@pytest.mark.parametrize(
    ("words", "message"), [(["-x"], "invalid option -- 'x'"), (["-N"], "option requires an argument -- 'N'")]
)
def test_bad_options(words, message):
    with pytest.raises(BadOptionError) as caught:
        parse_options(words, "N:h")
    assert caught.value.message("qsub") == f"qsub: {message}\n"


def test_a_long_option_is_the_option_of_a_dash():
    assert parse_options(["--version"], "h-:").given == [("-", "version")]


def test_directives_end_at_the_first_command():
    script = "#!/bin/bash\n# text\n#PBS -N 'a b' -l mem=1gb  # why\n\n:\n   #PBS -j oe\nset -e\n#PBS -q late\n"
    assert directives(script) == ["-N", "a b", "-l", "mem=1gb", "-j", "oe"]
    assert directives(script, "") == []
    assert directives("") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b", ["a", "b"]),
        ("""-v 'A="x y"',B=1""", ["-v", 'A="x y",B=1']),
        ('-v "it\'s"', ["-v", "it's"]),
        ("a #b c", ["a"]),
        ("a#b", ["a#b"]),
        ("'no end", ["no end"]),
    ],
)
def test_words(text, words):
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1:30", 90), ("01:02:03", 3723), ("0:0:1.5", 1), ("abc", None), ("", None), ("1:2:3:4", None), ("-1", None)],
)
def test_durations(text, seconds):
    assert seconds_of(text) == seconds


@given(st.integers(min_value=0, max_value=10**7))
def test_durations_are_read_again(seconds):
    assert seconds_of(clock(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size", "kilobytes"),
    [
        ("4G", (4, "gb"), 4194304),
        ("4gb", (4, "gb"), 4194304),
        ("4096M", (4096, "mb"), 4194304),
        ("100", (100, "b"), 1),
        ("1kw", (1, "kw"), 8),
        ("4x", None, None),
        ("", None, None),
    ],
)
def test_sizes(text, size, kilobytes):
    assert size_of(text) == size
    assert kilobytes_of(text) == kilobytes


def test_nodes():
    assert node_parts("2:ppn=4:gpus=1+n07:fast") == [NodePart(count=2, ppn=4, gpus=1), NodePart(properties=("n07", "fast"))]
    assert node_parts("1:ppn=x") is None
    assert node_parts("1::ppn=2") is None


def test_ids():
    assert parse_job_id("17").number == 17
    whole = parse_job_id("17[].pbs.site")
    assert (whole.is_array, whole.element, whole.server) == (True, "", "pbs.site")
    assert parse_job_id("17[4-8:2]").element == "4-8:2"
    assert parse_job_id("all") is None
    assert parse_job_id("17[a]") is None


def test_dependencies():
    assert parse_dependencies("afterok:1.pbs:2,afterany:3[]") == [("afterok", ["1.pbs", "2"]), ("afterany", ["3[]"])]
