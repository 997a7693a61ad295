"""Torque's qsub, read: what was seen on a real one (tests/data/transcripts/torque-*)."""

import time

import pytest

from hpcsweep.rehearsal.torque_request import (
    Script,
    UsageError,
    Where,
    parse_array,
    parse_ranges,
    parse_request,
    read_variables,
    sent_variables,
)

NOW = 1795219649.0


@pytest.fixture
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def request(*words, script="#!/bin/sh\nsleep 1\n", path="s.sh", cwd="/home/user/tt", **environment):
    return parse_request(words, Script(text=script, path=path), Where(environment=environment, cwd=cwd, now=NOW))


@pytest.mark.parametrize(
    ("text", "indices", "at_once"),
    [
        ("0-9", [range(10)], None),
        ("0-9%3", [range(10)], 3),
        ("1,5,7%2", [range(1, 2), range(5, 6), range(7, 8)], 2),
        ("1-3,7-9", [range(1, 4), range(7, 10)], None),
        ("5", [range(5, 6)], None),
        ("5-5", [range(5, 6)], None),
        ("1,1,2", [range(1, 3)], None),
        ("3,1,2", [range(1, 4)], None),
        ("1-5,3-7", [range(1, 8)], None),
        ("0-9%0", [range(10)], 0),
        ("100000-100002", [range(100_000, 100003)], None),
    ],
)
def test_arrays(text, indices, at_once):
    array = parse_array(text)
    assert array.text == text
    assert array.indices == indices
    assert array.at_once == at_once


@pytest.mark.parametrize("text", ["0-9:2", "9-0", "-5", "abc", "1,", "0-9%", "%3", "1-2-3"])
def test_what_is_no_array(text):
    assert parse_array(text) is None
    assert request("-t", text).array_error


def test_an_empty_array_is_a_plain_job():
    assert request("-t", "").array is None
    assert not request("-t", "").array_error


def test_ranges_of_other_commands_have_no_limit():
    assert parse_ranges("1-2,9-10") == [range(1, 3), range(9, 11)]
    assert parse_ranges("1-2%1") is None


@pytest.mark.parametrize(
    ("given", "environment", "found"),
    [
        ("A,B=2", {"A": "envA"}, {"A": "envA", "B": "2"}),
        ("A=1,B=x y,C=it's", {}, {"A": "1", "B": "x y", "C": "it's"}),
        ('A="a,b",B=2', {}, {"A": '"a', 'b"': "", "B": "2"}),
        (r"A=a\,b,B=2", {}, {"A": "a,b=", "B": "2"}),
        ("A=k=v,B=2", {}, {"A": "k=v", "B": "2"}),
        ('A=q"uote,B=2', {}, {"A": 'q"uote', "B": "2"}),
        ("EMPTY=,B=2", {}, {"EMPTY": "", "B": "2"}),
        ("UNSET,B=2", {}, {"UNSET": "", "B": "2"}),
        ("NL,B=2", {"NL": "line1\nline2"}, {"NL": "line1\nline2", "B": "2"}),
        ("A=$HOME,B=`id`,C=a;b", {}, {"A": "$HOME", "B": "`id`", "C": "a;b"}),
        (r'A={"x": [1\, 2]}', {}, {"A": '{"x": [1, 2]}='}),
        (r"A=back\slash,B=ünï", {}, {"A": "backslash", "B": "ünï"}),
    ],
)
def test_variables(given, environment, found):
    assert read_variables(sent_variables(given, environment)) == found


def test_the_whole_environment():
    assert read_variables(request("-V", FOO='a,b"c', BAR="it's").variables) == {"FOO": 'a,b"c', "BAR": "it's"}
    assert read_variables(request("-V", "-v", "A=1", A="2", B="envB").variables) == {"A": "1", "B": "envB"}
    assert read_variables(request("-v", "A=1", "-v", "B=2").variables) == {"B": "2"}


@pytest.mark.parametrize("name", ["1abc", "a/b", "a:b,c=d", "a[1]", "-dash", "_under.score-dash+plus", "a@b", "", "x" * 256])
def test_names(name):
    assert request("-h", "-N", name).name == name


@pytest.mark.parametrize("name", ["a b", "ünï", "x" * 300])
def test_what_is_no_name(name):
    with pytest.raises(UsageError, match="illegal -N value"):
        request("-N", name)


def test_a_name_comes_from_the_script():
    assert request(path="/a/b/job.sh").name == "job.sh"
    assert request(path=None).name == "STDIN"
    with pytest.raises(UsageError, match="valid job name from the script name"):
        request(path="my job.sh")


def test_what_the_client_refuses():
    for words, message in (
        (["-J", "0-9"], "The -J option can only be used in conjunction with -P"),
        (["--bogus"], "a single - is not a valid option"),
        (["-G"], "exiting"),
        (["-W", "depend=afterwards:1"], "qsub: illegal -W value"),
        (["a", "b"], "index issues"),
    ):
        with pytest.raises(UsageError) as caught:
            request(*words)
        assert caught.value.text().startswith(f"[{message}]\n\nusage: qsub [-a date_time]")


def test_directives_stand_behind_the_command_line():
    script = "#!/bin/sh\n#PBS -N inside -l mem=1gb,walltime=60\n#PBS -v A=1\n\necho\n#PBS -N too-late\n"
    of_both = request("-l", "walltime=90", "-v", "B=2", script=script)
    assert of_both.name == "inside"
    assert of_both.resources == {"mem": "1gb", "walltime": "90"}
    assert read_variables(of_both.variables) == {"B": "2"}
    assert of_both.submit_args == "-l walltime=90 -v B=2"
    assert request("-C", "#XX", script=script).name == "s.sh"


def test_paths():
    assert request("-o", "out/").output == "/home/user/tt/out/"
    assert request("-o", "out/sp ace").output == "/home/user/tt/out/sp\\ ace"
    assert request("-o", "host:/a/x", "-e", "/a/y").output == "/a/x"
    assert request().output == ""


def test_more_attributes():
    found = request("-W", "depend=afterokarray:5[].torque:6[],umask=022", "-W", "nosuch=1")
    assert list(found.dependencies) == [("afterokarray", ["5[].torque", "6[]"])]
    assert found.umask == 0o22
    assert list(found.unknown_attributes) == ["nosuch"]


def test_what_a_rehearsal_does_not_imitate():
    assert list(request("-D", "/root", "-W", "stagein=a@b:c").not_imitated) == ["-D", "-W stagein"]
    assert list(request("-W", "group_list=staff").not_imitated) == []


def test_when_to_begin(utc):
    begins = [request("-a", text).begin - NOW for text in ("0008", "0007", "202611210010.30")]
    assert begins == [31, 86_400 - 29, 181]
