from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.expressions import (
    RESERVED,
    ExpressionError,
    check_names,
    compile_expression,
    compile_template,
    spelling,
    text_of,
)
from hpcsweep.space.identity import canonical

NAMES = ("lr", "model.width", "model", "momentum", "lr-decay", "in", "epochs", "optimizer", "layers", "block/size", "data.name")
POINT = {"lr": 0.1, "model.width": 32, "lr-decay": 0.5, "in": "x", "epochs": 30, "optimizer": "sgd", "layers": [64, 64]}


def evaluate(text, point=POINT, names=NAMES, **extra):
    return compile_expression(text, names=names).evaluate(point, extra)


def fault(text, point=POINT, names=NAMES, **extra):
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, names=names).evaluate(point, extra)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1 * epochs", 0.1 * 30),
        ("(0.1 * epochs) | int", 3),
        ("model.width", 32),
        ("model.width + 1", 33),
        ("lr_decay", 0.5),
        ("lr - lr_decay", 0.1 - 0.5),
        ("params['in']", "x"),
        ("params['lr-decay']", 0.5),
        ("params.lr", 0.1),
        ("params.model.width", 32),
        ("params | only('lr', 'momentum')", {"lr": 0.1}),
        ("params | drop('layers') | length", 6),
        ("momentum is defined", False),
        ("momentum is defined and momentum > 0.5", False),
        ("momentum | default(0.0)", 0.0),
        ("model is defined", False),
        ("optimizer == 'sgd' and lr > 0.05", True),
        ("lr in [0.1, 0.2]", True),
        ("'big' if model.width > 16 else 'small'", "big"),
        ("layers[0]", 64),
        ("layers | length", 2),
        ("layers | map('string') | list", ["64", "64"]),
        ("layers | sum", 128),
        ("[lr, lr_decay] | max", 0.5),
        ("range(3)", [0, 1, 2]),
        ("(1, 2)", [1, 2]),
        ("{'a': 1}", {"a": 1}),
        ("optimizer ~ '-' ~ lr", "sgd-0.1"),
        ("optimizer | upper", "SGD"),
        ("optimizer | replace('s', 't')", "tgd"),
        ("'%.3f' | format(lr)", "0.100"),
        ("'3' | int", 3),
        ("'x' | int(7)", 7),
        ("'1e-3' | float", 0.001),
        ("-0.0 * 1", 0.0),
        ("none", None),
        ("true", True),
        ("7 // 2", 3),
        ("2 ** 10", 1024),
        ("2 ** -1", 0.5),
        ("layers | tojson", "[64,64]"),
        ("'a<b' | tojson", '"a<b"'),
    ],
)
def test_gives_the_value(text, value):
    result = evaluate(text)
    assert result == value
    assert type(result) is type(value)


def test_uses_the_facts_that_it_is_given():
    assert evaluate("resources.cpus * 2", resources={"cpus": 4}) == 8
    assert evaluate("task.index", task={"index": 3}) == 3
    error = fault("resources.gpus", resources={"cpus": 4})
    assert "no `gpus`" in error.message
    assert "cpus" in error.hint
    assert "not known here" in fault("task.index").message


def test_knows_which_parameters_it_uses():
    assert compile_expression("lr * model.width", names=NAMES).names == {"lr", "model.width"}
    assert compile_expression("params['in'] ~ lr_decay", names=NAMES).names == {"in", "lr-decay"}
    assert compile_expression("params | length", names=NAMES).names == set(NAMES)
    assert compile_expression("1 + 1", names=NAMES).names == frozenset()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("mdoel", "no parameter `mdoel`", "`model`"),
        ("model.widht", "no parameter `model.widht`", "`model.width`"),
        ("model.items", "no parameter `model.items`", "filter"),
        ("data", "`data` is a group", "`data.name`"),
        ("optimizer.upper()", "no parameter `optimizer.upper`", "filter"),
        ("'x'.upper()", "no methods", "x | upper"),
        ("''.__class__", "no methods", ""),
        ("lr.__class__.__mro__", "no parameter", ""),
        ("params.__class__", "no parameter", ""),
        ("params.items()", "no parameter `items`", "params | items"),
        ("params['inn']", "no parameter `inn`", "`in`"),
        ("params | only('lrr')", "no parameter `lrr`", "`lr`"),
        ("block", "no parameter `block`", "params['block/size']"),
        ("lr-decay", "`lr-decay` would subtract", "`lr_decay`"),
        ("lr-decay * 2 > 1", "`lr-decay` would subtract", "`lr_decay`"),
        ("lr && epochs", "not understood", "`and`"),
        ("lr || epochs", "not understood", "`or`"),
        ("lr = 2", "not understood", "`==`"),
        ("lr >", "not understood", ""),
        ("lr lr", "not understood", ""),
        ("", "empty", ""),
        ("{{ lr }}", "without braces", "'lr'"),
        ("null", "no parameter `null`", "`none`"),
        ("len(layers)", "no parameter `len`", "length"),
        ("random()", "no parameter `random`", "sample"),
        ("layers | random", "no filter `random`", "sample"),
        ("lr | uper", "no filter `uper`", "`upper`"),
        ("lr is definde", "no test `definde`", "`defined`"),
        ("lipsum()", "no parameter `lipsum`", ""),
        ("lr | raw", "`| raw` must be the last", ""),
        ("momentum > 1", "`momentum` is not set", "`momentum is defined and ...`"),
        ("not momentum", "`momentum` is not set", "`momentum is defined and ...`"),
        ("momentum", "`momentum` is not set", ""),
        ("[momentum]", "`momentum` is not set", ""),
        ("lr if momentum is defined", "", ""),
        ("layers[7]", "7 is no item", ""),
        ("'x' | int", "no integer", "int(0)"),
        ("'x' | float", "no number", ""),
        ("none | int", "no integer", ""),
        ("1 / 0", "division by zero", ""),
        ("10.0 ** 1000", "out of all bounds", ""),
        ("1e308 * 10", "inf", ""),
        ("(-8) ** 0.5", "complex", ""),
        ("lr > 'a'", "not supported", ""),
        ("range", "a function", ""),
        ("'%d' % 3", "does not format", "format(x)"),
    ],
)
def test_says_what_is_wrong_and_what_to_do(text, message, hint):
    error = fault(text)
    assert message in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    "text",
    [
        "9 ** (9 ** 9)",
        "2 ** 99999999999",
        "2 ** -99999999999",
        "'a' * 10 ** 9",
        "10 ** 9 * 'a'",
        "[1] * 10 ** 9",
        "range(10 ** 12)",
        "'%1000000000d' | format(1)",
        "'%*d' | format(1000000000, 1)",
        "'a' | center(10 ** 9)",
        "'a' | indent(10 ** 9)",
        "('a' * 100000) | replace('a', 'b' * 100000)",
        "'a'.join(range(10))",
        "(" * 3000 + "1" + ")" * 3000,
        "-" * 5000 + "1",
    ],
)
def test_refuses_what_would_hang_or_eat_all_memory(text):
    assert fault(text).message


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("1 + mdoel", 4),
        ("lr > 0 and lr-decay > 1", 11),
        ("lr ? 1", 3),
        ("'mdoel' ~ mdoel", 10),
        ("lr  | uper", 6),
        ("lr is not definde", 10),
    ],
)
def test_points_at_the_place(text, offset):
    assert fault(text).offset == offset


def test_two_names_with_one_spelling_are_an_error():
    with pytest.raises(ExpressionError, match="both written `a_b`"):
        check_names(["a-b", "a_b"])
    check_names(["a-b", "a-c"])
    assert spelling("model.lr-decay") == "model.lr_decay"


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_words_stay_reserved(name):
    assert evaluate(f"params['{name}']", {name: 5}, (name,)) == 5
    assert evaluate(name, {name: 5}, (name,), **({} if name == "params" else {name: {"a": 1}})) == (
        {name: 5} if name == "params" else {"a": 1}
    )


def test_parameters_win_over_the_words_of_jinja():
    assert evaluate("range + dict", {"range": 1, "dict": 2}, ("range", "dict")) == 3
    assert evaluate("loop.index", {"loop.index": 1}, ("loop.index",)) == 1


def test_a_longer_name_wins_over_its_prefix():
    point = {"model": "tree", "model.depth": 3}
    assert evaluate("model.depth", point, tuple(point)) == 3
    assert evaluate("model", point, tuple(point)) == "tree"


def test_text_is_never_read_again():
    for text in ("1", "1.0", "true", "None", "[1, 2]", "{{ lr }}", "a\nb", "'x'"):
        assert evaluate("x", {"x": text}, ("x",)) == text
        assert compile_template("{{ x }}", names=("x",)).render_native({"x": text}) == text


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
def test_every_value_comes_back_as_it_is(value):
    result = evaluate("x", {"x": value}, ("x",))
    assert result == value
    assert canonical(result) == canonical(value)


@given(json_values)
def test_the_text_of_a_value_is_itself_or_its_json(value):
    text = text_of(value)
    assert text == value if isinstance(value, str) else json.loads(text) == value


@given(st.text(max_size=40))
def test_any_text_gives_a_value_or_an_error_of_ours(text):
    with suppress(ExpressionError):
        text_of(compile_expression(text, names=NAMES).evaluate(POINT))


@given(st.text(st.sampled_from(list("{}%|lrmo deX.-'\"[]()=#\n\r")), max_size=30))
def test_any_template_gives_a_text_or_an_error_of_ours(text):
    try:
        result = compile_template(text, names=NAMES).render(POINT)
    except ExpressionError:
        return
    if "{" not in text:
        assert result == text


class TestTemplates:
    def render(self, text, point=POINT):
        return compile_template(text, names=NAMES).render(point)

    def test_without_quoting_and_with_json(self):
        assert self.render("{{ optimizer }} {{ lr }} {{ layers }} {{ true }} {{ none }}") == "sgd 0.1 [64,64] true null"

    def test_a_single_expression_gives_its_native_value(self):
        template = compile_template("{{ layers }}", names=NAMES)
        assert template.render_native(POINT) == [64, 64]
        assert compile_template("{{ lr }}G", names=NAMES).render_native(POINT) == "0.1G"
        assert compile_template("plain", names=NAMES).render_native(POINT) == "plain"

    def test_the_lines_of_blocks_leave_no_empty_lines(self):
        text = "a\n  {% if momentum is defined %}\n  m\n  {% endif %}\n{% for layer in layers %}\n  {{ layer }}\n{% endfor %}\nb {% if lr %}c{% endif %}\nd\n"
        assert self.render(text) == "a\n  64\n  64\nb c\nd\n"

    def test_two_blocks_on_a_line_keep_the_line(self):
        assert self.render("{% set x = 1 %} {% if x %}\na{% endif %}\n") == " \na\n"

    def test_ends_of_lines_are_kept(self):
        assert self.render("a\r\n{{ lr }}\r\nb\rc\n") == "a\r\n0.1\r\nb\rc\n"
        assert self.render("{{ lr }}\n\n") == "0.1\n\n"

    def test_comments_are_off(self):
        assert self.render("${#a[@]} {{ lr }} #}") == "${#a[@]} 0.1 #}"

    def test_loops_and_macros(self):
        assert self.render("{% for layer in layers %}{{ loop.index }}:{{ layer }} {% endfor %}") == "1:64 2:64 "
        assert self.render("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(lr) }}") == "<0.1>"
        assert (
            self.render("{% for name, value in params | only('lr', 'in') | items %}{{ name }}={{ value }};{% endfor %}")
            == "lr=0.1;in=x;"
        )

    def test_raw_changes_nothing_where_nothing_is_quoted(self):
        assert self.render("{{ optimizer | raw }}") == "sgd"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{% for lr in [1] %}{% endfor %}", "`lr` is a parameter"),
            ("{% set data = 1 %}", "`data` is a parameter"),
            ("{% set params = 1 %}", "`params` is a parameter or a reserved word"),
            ("{% include 'x' %}", "include"),
            ("{% import 'x' as y %}", "import"),
            ("{% extends 'x' %}", "extends"),
            ("{{ lr", "not understood"),
            ("printf '{%s}' {{ lr }}", "not understood"),
            ("{{ momentum }}", "`momentum` is not set"),
            ("a\0b {{ lr }}", "NUL"),
        ],
    )
    def test_faults(self, text, message):
        with pytest.raises(ExpressionError, match=message):
            self.render(text)

    def test_a_fault_points_at_its_line(self):
        with pytest.raises(ExpressionError) as caught:
            compile_template("a\nb {{ momentom }}", names=NAMES)
        assert caught.value.offset == 7
        with pytest.raises(ExpressionError) as caught:
            compile_template("a\n{{ lr lr }}", names=NAMES)
        assert caught.value.offset == 2


class TestFlags:
    def flags(self, point, call="flags"):
        return evaluate(f"params | {call}", point, tuple(point))

    def test_one_of_each(self):
        point = {
            "lr": 0.1,
            "use_bias": True,
            "amp": False,
            "none": None,
            "text": "a b",
            "layers": [64, 64],
            "empty": "",
            "d": {"a": 1},
        }
        words = [
            "--lr",
            "0.1",
            "--use_bias",
            "--no-amp",
            "--text",
            "a b",
            "--layers",
            "64",
            "64",
            "--empty",
            "",
            "--d",
            '{"a":1}',
        ]
        assert self.flags(point) == words

    def test_a_leading_dash_is_joined(self):
        assert self.flags({"a": -1e-5, "b": -1, "c": "-foo", "d": "--x y", "e": "-"}) == [
            "--a=-1e-05",
            "--b=-1",
            "--c=-foo",
            "--d=--x y",
            "--e=-",
        ]

    def test_booleans(self):
        point = {"a": True, "b": False}
        assert self.flags(point, "flags(bools='value')") == ["--a", "true", "--b", "false"]
        assert self.flags(point, "flags(bools='present')") == ["--a"]
        assert self.flags(point, "flags(style='equals', bools='value')") == ["--a=true", "--b=false"]

    def test_equals(self):
        assert self.flags({"a": 1, "b": [1, "x y"], "c": ""}, "flags(style='equals')") == ["--a=1", '--b=[1,"x y"]', "--c="]

    def test_negative_numbers_in_a_list_stay_numbers(self):
        assert self.flags({"a": [-1, -0.5, -1e-05]}) == ["--a", "-1", "-0.5", "-0.00001"]

    def test_text_with_a_dash_in_a_list_cannot_be_said(self):
        with pytest.raises(ExpressionError, match="take for an option") as caught:
            self.flags({"a": ["-x"]})
        assert "equals" in caught.value.hint

    @pytest.mark.parametrize("call", ["flags(style='x')", "flags(bools='x')"])
    def test_unknown_choices(self, call):
        with pytest.raises(ExpressionError, match="has no"):
            self.flags({"a": 1}, call)

    def test_only_for_parameters(self):
        with pytest.raises(ExpressionError, match="takes parameters"):
            evaluate("lr | flags")

    @given(
        st.dictionaries(
            st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
            st.text(st.characters(codec="utf-8", exclude_characters="\0"))
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False),
            max_size=4,
        )
    )
    def test_argparse_reads_back_every_value(self, point):
        import argparse  # noqa: PLC0415 - only here

        parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
        for name, value in point.items():
            parser.add_argument(f"--{name}", dest=f"x_{name}", type=type(value))
        read = vars(parser.parse_args(self.flags(point)))
        assert read == {f"x_{name}": value for name, value in point.items()}

    def test_only_and_drop(self):
        assert self.flags({"a": 1, "b": 2}, "only('b') | flags") == ["--b", "2"]
        assert self.flags({"a": 1, "b": 2}, "drop(['b']) | flags") == ["--a", "1"]


class TestOverrides:
    @pytest.mark.parametrize(
        ("value", "written"),
        [
            (0.1, "0.1"),
            (1e-05, "1e-05"),
            (True, "true"),
            (None, "null"),
            ("adam", "adam"),
            ("a/b.c-d", "a/b.c-d"),
            ("", "''"),
            ("1", "'1'"),
            ("1e-3", "'1e-3'"),
            ("True", "'True'"),
            ("null", "'null'"),
            ("nan", "'nan'"),
            ("a b", "'a b'"),
            ("a,b", "'a,b'"),
            ("it's", "'it\\'s'"),
            ("a\\", "'a\\\\'"),
            ("a\\b c", "'a\\b c'"),
            ("${x}", "'\\${x}'"),
            ([64, 64], "[64,64]"),
            (["a b", None], "['a b',null]"),
            ({"a": 1, "b": "x y"}, "{a:1,b:'x y'}"),
        ],
    )
    def test_as_hydra_reads_them(self, value, written):
        assert evaluate("params | overrides", {"m.x": value}, ("m.x",)) == [f"m.x={written}"]

    def test_a_key_that_hydra_cannot_read(self):
        with pytest.raises(ExpressionError, match="Hydra"):
            evaluate("params | overrides", {"x": {"a b": 1}}, ("x",))
