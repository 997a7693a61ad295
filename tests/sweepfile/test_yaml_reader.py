"""The strict YAML reader: what values mean, which faults are found, and that nothing else ever comes out of it."""

from __future__ import annotations

import json
import math
import re

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from hpcsweep.errors import Faults, FileFaults
from hpcsweep.sweepfile import yaml_builder, yaml_reader
from hpcsweep.sweepfile.nodes import Mapping, Scalar, to_data
from hpcsweep.sweepfile.yaml_reader import comment_cut, read_value, read_yaml


def read(text):
    faults = Faults()
    node = read_yaml(text, "f.yaml", faults)
    return node, faults


def data(text):
    node, faults = read(text)
    faults.raise_any()
    return to_data(node)


def found(text):
    """The faults of a text as (line, column, message, hint)."""
    _, faults = read(text)
    with pytest.raises(FileFaults) as caught:
        faults.raise_any()
    return [(fault.place.line, fault.place.column, fault.message, fault.hint) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("1", 1),
        ("1.0", 1.0),
        ("-7", -7),
        ("+7", 7),
        ("0", 0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.5e1", -5.0),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e-05", 1e-05),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("NO", "NO"),
        ("yes", "yes"),
        ("True", "True"),
        ("NULL", "NULL"),
        ("24:00:00", "24:00:00"),
        ("1:2:10", "1:2:10"),
        ("010", "010"),
        ("-010", "-010"),
        ("010.5", "010.5"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("695e0514", "695e0514"),
        ("1e400", "1e400"),
        ("1e-400", "1e-400"),
        ("0e400", 0.0),
        ("nan", "nan"),
        ("=", "="),
        (".", "."),
        ("1.2.3", "1.2.3"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("'.inf'", ".inf"),
        ("0b1", "0b1"),
        ("\u0661", "\u0661"),  # a digit to Python's \d and int()
    ],
)
def test_scalars(text, value):
    got = data(f"a: {text}")["a"]
    assert got == value
    assert type(got) is type(value)


def test_places_of_nodes():
    node, faults = read("a: 1\nb:\n  - x\n  - {c: 'y'}\n")
    assert not faults
    items = node.get("b").items
    assert [(item.place.line, item.place.column) for item in items] == [(3, 5), (4, 5)]
    inner = items[1].get("c")
    assert (inner.place.line, inner.place.column, inner.plain, inner.text) == (4, 9, False, "y")
    assert node.get("a") == Scalar(place=node.get("a").place, value=1, text="1")
    assert node.get("zz") is None


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("a: 1\na: 2\n", 2, 1, "'a' appears twice", "keep one"),
        ("s:\n  sum: 1\n  sum: 2\n", 3, 3, "'sum' appears twice in one mapping (first on line 2, column 3)", "product:"),
        ("a: {b:1}\n", 1, 5, "swallowed its colon", "{b: 1}"),
        ("a: {b :1, c: 2}\n", 1, 5, "swallowed its colon", "space after the colon"),
        ("a: {{ x }}\n", 1, 4, "{{ }} without quotes", '"{{ x }}"'),
        ("a: [1, {{ x }}]\n", 1, 8, "{{ }} without quotes", '"{{ x }}"'),
        ("a: {b: {{ x }}}\n", 1, 8, "{{ }} without quotes", '"{{ x }}"'),
        ("a: {{ x }}/y\n", 1, 4, "{{ }} without quotes", '"{{ x }}"'),
        ("a: {{ x['in'] }}\n", 1, 8, "lacks a comma", '"{{ x }}"'),
        ("1: x\n", 1, 1, "a key must be text, not the number 1", '"1"'),
        ("a: {true: 1}\n", 1, 5, "not true", '"true"'),
        ("a: {null: 1}\n", 1, 5, "not null", '"null"'),
        ("?\n: 1\n", 1, 2, "a key is missing", "key: value"),
        ("? [a]\n: 1\n", 1, 3, "a key must be text, not a list", ""),
        ("a: .inf\n", 1, 4, "infinity", "quotes"),
        ("a: [-.INF, 1]\n", 1, 5, "infinity", "quotes"),
        ("a: .NaN\n", 1, 4, "NaN", "quotes"),
        (f"a: {'9' * 5000}\n", 1, 4, "too long", "quotes"),
        ("a: !!python/object:os.system x\n", 1, 4, "!!python/object:os.system is refused", "leave it out"),
        ("a: !x [1]\n", 1, 4, "!x is refused", ""),
        ("a: ! 1\n", 1, 4, "! is refused", ""),
        ("a: *b\n", 1, 4, "there is no &b", "define it above"),
        ("base: &base 1\na: *bsae\n", 2, 4, "there is no &bsae", "did you mean *base"),
        ("a: &x [1, *x]\n", 1, 11, "inside what it stands for", ""),
        ("a: 1\n<<: 2\n", 2, 5, "merges mappings, not the number 2", "*"),
        ("a: &a {b: 1}\nc: {<<: *a, <<: *a}\n", 2, 13, "<< appears twice", "[*a, *b]"),
        ('a: "x\\0y"\n', 1, 4, "NUL", ""),
        ('a: ["x\\0y", "x\\0y"]\n', 1, 5, "NUL", ""),
        ("a: x\0y\n", 1, 5, "U+0000", "NUL"),
        ("a: 'x\x07y'\n", 1, 6, "U+0007", "\\x07"),
        ('a: "\\ud800"\n', 1, 4, "half of a \\u pair", ""),
        ('a: "\\UFFFFFFFF"\n', 1, 7, "out of range", ""),
        ("a: x\x85y\n", 1, 4, "invisible", "double quotes"),
        ("a: 1\n\tb: 2\n", 2, 1, "a tab", "spaces"),
        ("a:\t1\n", 1, 3, "a tab", "spaces"),
        ("a: @x\n", 1, 4, "begins with @", "quotes"),
        ("a: `x`\n", 1, 4, "begins with `", "quotes"),
        ("a: %x\n", 1, 4, "begins with %", "quotes"),
        ("a: 'x\nb: 2\n", 1, 4, "never closed", "close it"),
        ('a: "\\q"\n', 1, 6, "unknown escape character 'q'", "single quotes"),
        ("a: [1\nb: 2\n", 2, 2, "the [ ] that begins on line 1", "bracket"),
        ("a: {b: 1\n", 2, 1, "the { } that begins on line 1", "bracket"),
        ("a: b: c\n", 1, 5, "a colon and a space", "quotes"),
        ("a:\n  lr:0.1\n  n: 2\n", 3, 4, "a colon and a space", "a space is missing after the colon in 'lr:0.1'"),
        ("a: - b\n", 1, 4, "list", "[a, b]"),
        ("a:\n  - 1\n - 2\n", 3, 2, "does not fit", "indentation"),
        ("a: ]\n", 1, 4, "a value is expected", "quotes"),
        ("a: 1\n---\nb: 2\n", 2, 1, "second document", "one YAML document"),
        ("a: 1\n...\nb: 2\n", 3, 1, "end of the document", ""),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", 1, 1, "%TAG", ""),
        ("[1]\n", 1, 1, "not a list", "key: value"),
        ("lr:0.1\n", 1, 1, "not a text", "space is missing after the colon"),
        ("a: " + "[" * 200, 1, 103, "nested more than 100", ""),
        ("", 0, 0, "empty", "space:"),
        (" \n\n", 0, 0, "empty", "space:"),
        ("# nothing\n", 0, 0, "empty", "space:"),
        (b"a: caf\xe9\n", 1, 7, "not UTF-8", "UTF-8"),
        (b"a: 1\nb: \xff\n", 2, 4, "not UTF-8", "UTF-8"),
        ("a: 1\n".encode("utf-16"), 1, 1, "not UTF-8", "UTF-16"),
        ("a: \ud800\n", 1, 4, "U+D800", "UTF-8"),
    ],
)
def test_faults_have_places_and_hints(text, line, column, message, hint):
    (first, *_) = found(text)
    assert first[:2] == (line, column), first
    assert message in first[2]
    assert hint in first[3]


def test_all_faults_at_once():
    text = "a: {b:1}\nc: .inf\nc: {{ x }}\nd: [{e: 1, e: 2}, !t 3]\n2: x\nf: *g\n"
    places = [fault[:2] for fault in found(text)]
    assert places == [(1, 5), (2, 4), (3, 1), (3, 4), (4, 12), (4, 19), (5, 1), (6, 4)]


def test_blocks_after_an_error_of_syntax_are_read_too():
    text = "a: 1\nb: [1\nc: {d: 1, d: 2}\ne: 'x\n\nf: .nan\ng: @\n"
    places = [fault[:2] for fault in found(text)]
    assert places == [(3, 2), (3, 11), (4, 4), (6, 4), (7, 4)]


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("a: {b:1, c: 2}\n", {"a": {"b": 1, "c": 2}}),
        ("a: {{ x }}\nb: [{{ y }}, 2]\n", {"a": "{{ x }}", "b": ["{{ y }}", 2]}),
        ("a: {{ x\n  }}\n", {"a": "{{ }}"}),
        ("1: x\n", {"1": "x"}),
        ("a: 1\na: 2\n", {"a": 1}),
        ("a: !!int 1\n", {"a": 1}),
        ("a: 1\nb: [1\nc: 2\n", {"a": 1, "c": 2, "b": None}),
        ("a: 'x\nb: 2\n", {"b": 2, "a": None}),
    ],
)
def test_what_is_clear_is_mended_so_that_the_rest_can_be_judged(text, mended):
    node, faults = read(text)
    assert faults
    assert to_data(node) == mended


def test_nothing_more_is_said_of_what_is_faulty():
    node, faults = read("a: {b:1, c: 2}\nd: [\n  x: 1\ne: 3\n")
    before = len(faults_of(faults))
    faults.add(node.get("d").place, "expected a list")
    faults.add(node.get("a").entries[0][0].place, "unknown key")
    assert len(faults_of(faults)) == before
    faults.add(node.get("a").entries[1][0].place, "unknown key")
    faults.add(node.get("e").place, "expected a list")
    assert len(faults_of(faults)) == before + 2


def faults_of(faults):
    with pytest.raises(FileFaults) as caught:
        faults.raise_any()
    return caught.value.faults


def test_a_fault_shows_its_line_and_points_at_the_column():
    _, faults = read("space:\n  lr: {a:1}\n")
    with pytest.raises(FileFaults) as caught:
        faults.raise_any()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("f.yaml:2:8: ")
    assert lines[1] == "      lr: {a:1}"
    assert lines[2].index("^") == lines[1].index("a:1")


def test_faults_are_not_listed_without_end():
    text = "".join(f"a: {{x{number}:1}}\n" for number in range(1000))
    assert len(found(text)) <= yaml_builder.MAX_FAULTS


def test_line_ends_and_byte_order_mark():
    assert data(b"\xef\xbb\xbfa: 1\r\nb: 'x'\r\n") == {"a": 1, "b": "x"}
    assert data("a: 1\rb: 2") == {"a": 1, "b": 2}
    assert data("a: |\r\n  x\r\n  y\r\n") == {"a": "x\ny\n"}


def test_lines_are_counted_as_editors_do():
    # U+0085 and U+2028 are characters of a text to YAML 1.2, and no line ends.
    assert found("a: 'x\x85\u2028y'\nb: .inf\n")[0][:2] == (2, 4)


@pytest.mark.parametrize(
    "odd", ["\x85", "\u2028", "\u2029", "\x7f", "\x9f", "\ufeff", "\uffff", "\ue000", "\U000f0000", "\U0001f600"]
)
def test_odd_characters_in_quotes_stay_as_they_are(odd):
    text = f"a{odd} {odd}b"
    assert data(f"x: '{text}'\ny: \"{text}\"\n") == {"x": text, "y": text}
    assert data(f"x: |\n  {text}\n") == {"x": f"{text}\n"}


def test_odd_characters_and_escapes_do_not_mix():
    text = "x: '\x85\ue000'\ny: \"\\uE001 \\U0000e002 \\ue003\"\n"
    assert data(text) == {"x": "\x85\ue000", "y": "\ue001 \ue002 \ue003"}


@settings(deadline=None, max_examples=200)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
def test_what_pyyaml_writes_is_read_back(texts):
    # A text to PyYAML, which writes YAML 1.1, and a number in YAML 1.2: 0E0.
    assume(not any(re.fullmatch(r"[-+]?[0-9]+[eE][-+]?[0-9]+", text, re.ASCII) for text in texts))
    assert data(yaml.safe_dump({"a": texts})) == {"a": texts}


def test_merges():
    text = "base: &base {lr: 1, m: 2}\nmore: &more {m: 3, n: 4}\na: {<<: *base, lr: 5}\nb: {lr: 6, <<: [*base, *more]}\nc: {'<<': 1}\n"
    read_data = data(text)
    assert read_data["a"] == {"lr": 5, "m": 2}
    assert read_data["b"] == {"lr": 6, "m": 2, "n": 4}
    assert read_data["c"] == {"<<": 1}


def test_aliases_that_explode_are_refused():
    text = "a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 12))
    (fault,) = found(text)
    assert "aliases grow" in fault[2]


def test_aliases_that_nest_are_refused():
    text = "a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}]\n" for k in range(1, 150))
    (fault,) = found(text)
    assert "100 levels" in fault[2]


def test_a_file_that_is_too_large(monkeypatch):
    monkeypatch.setattr(yaml_reader, "MAX_BYTES", 10)
    assert data("a: 1") == {"a": 1}
    assert "larger than 10 bytes" in found("a: 12345678")[0][2]
    assert "larger than 10 bytes" in found(b"a: 123456789")[0][2]
    assert "bytes" in found("a: '\u20ac\u20ac\u20ac'")[0][2]


def test_json_is_yaml():
    value = {"a": ["x/y", 1, 1.5, None, True, "\U0001f600 \u2028"], "b": {"c:d": "e"}}
    assert data(json.dumps(value)) == value
    assert data(json.dumps(value, ensure_ascii=False)) == value
    assert data(json.dumps(value, separators=(",", ":"))) == value


@pytest.mark.parametrize(
    ("text", "comment"),
    [
        ("a: echo x # y", "# y"),
        ("a: echo x#y", ""),
        ("a: 'echo x' # y", ""),
        ("a: |  # why\n  echo # x\n", ""),
        ("a: echo\n  more   #z", "#z"),
        ("a: # only\n  b", ""),
        ("a: [x] # y", ""),
    ],
)
def test_the_comment_that_cut_a_value(text, comment):
    node, faults = read(text)
    assert not faults
    assert comment_cut(node.get("a")) == comment


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("  1h ", "1h"),
        ("a: b # c", "a: b # c"),
        ("{{ x }} a", "{{ x }} a"),
        ("- 1", "- 1"),
        ("*a", "*a"),
        ("!x", "!x"),
        ("[1, x]", [1, "x"]),
        ("{a: 1}", {"a": 1}),
        ("'1'", "1"),
        ('"a\\n"', "a\n"),
        ("a\nb", "a\nb"),
        ("", None),
    ],
)
def test_values_of_the_command_line(text, value):
    faults = Faults()
    node = read_value(text, "-p x", faults)
    if value is None and text:
        assert node is None
        assert faults
    else:
        assert to_data(node) == value


@pytest.mark.parametrize("text", [".inf", "x\0y", "[1", "{a:1}", "'x", "\ud800"])
def test_bad_values_of_the_command_line(text):
    faults = Faults()
    assert read_value(text, "-p x", faults) is None
    with pytest.raises(FileFaults, match="-p x"):
        faults.raise_any()


def test_many_values_are_read_well_enough():
    numbers = [k / 7 for k in range(5000)]
    assert data(f"a: {numbers}") == {"a": numbers}


KEYS = st.text(max_size=100)  # YAML allows 1024 characters, escapes included
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_what_json_writes_is_read_back(value):
    text = json.dumps(value)
    if "\\u0000" in text:
        return
    read_back = data(text)
    assert json.dumps(read_back) == text or _is_close(read_back, value)


def _is_close(left, right):
    """JSON writes 1e-07 and -0.0; what counts is that value and type are the same."""
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(_is_close(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_close, left, right))
    return type(left) is type(right) and (left == right or (isinstance(left, float) and math.isclose(left, right)))


YAML_PIECES = st.lists(
    st.sampled_from(
        ["a", "b:", ": ", ":", "- ", "-", "\n", "\n  ", "[", "]", "{", "}", "{{", "}}", ",", "&x ", "*x", "'", '"', "#", " #", "!", "!!str ", "|", ">-",
         "<<: ", "? ", "%", "---", "...", "\t", "1", "1e400", ".inf", "~", "\\", "\\x", "\\u", "\x85", "\u2028", "\r", "@", "\ufeff", "%YAML 1.", "9999", "\0"]
    ),
    max_size=25,
).map("".join)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(st.text() | YAML_PIECES)
@example("%YAML 1." + "9" * 5000)
@example("a: " + "- " * 500)
@example("? " * 300)
def test_any_text_gives_a_mapping_or_faults(text):
    node, faults = read(text)
    assert isinstance(node, Mapping) or faults


@settings(deadline=None, max_examples=100)
@given(st.binary() | st.text().map(lambda text: text.encode("utf-16")))
def test_any_bytes_give_a_mapping_or_faults(text):
    node, faults = read(text)
    assert isinstance(node, Mapping) or faults


@settings(deadline=None, max_examples=200)
@given(st.text() | YAML_PIECES)
def test_any_value_of_the_command_line_gives_a_node_or_faults(text):
    faults = Faults()
    node = read_value(text, "-p x", faults)
    assert (node is None) == bool(faults)
