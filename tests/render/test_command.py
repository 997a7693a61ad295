"""Commands through a real bash: every byte reaches the program, and nothing else runs."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsweep.expressions import ExpressionError
from hpcsweep.render.command import compile_command
from hpcsweep.render.quote import quote, quote_always

NAMES = ("x", "y", "n", "layers", "momentum", "model.width")
# Prints its words with lengths, so that nothing can be mistaken for a border.
SHOW = 'show() { local word; for word; do printf "%s:%s," "${#word}" "$word"; done; }\n'
HOSTILE = [
    "",
    " ",
    "a b",
    "a'b",
    'a"b',
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "*",
    "é✓",
    "-x",
    "a\nb",
    "\\",
    "a\\",
    "~",
    "#x",
    "!",
    "{a,b}",
    "$HOME",
    "\r",
    "\t",
    "'",
    "if",
    "A=b",
    "2",
    "&& touch pwned #",
]


def render(command, point):
    return compile_command(command, names=NAMES).render(point)


def run(command, point, folder):
    return run_text(render(command, point), folder)


def run_text(text, folder):
    text = SHOW + "set -eo pipefail\n" + text
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=folder,
        check=False,
        capture_output=True,
        timeout=30,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    assert list(folder.iterdir()) == []
    return done.stdout.decode(), done.stderr.decode()


def shown(*words):
    return "".join(f"{len(word)}:{word}," for word in words)


@pytest.mark.parametrize(
    "command",
    [
        "show {{ x }}",
        "show {{x}}>/dev/stdout",
        'y="$(printf %s. {{ x }})"; show "${y%.}"',
        'y=$(printf %s. {{ x }}); show "${y%.}"',
        'for y in {{ x }}; do show "$y"; done',
        "# about {{ x }}\nshow {{ x }}",
        "show \\\n  {{ x }} # {{ x }}",
        "case {{ x }} in\n  \\#*) show {{ x }} ;;\n  *) show {{ x }} ;;\nesac",
        'y="$(case 1 in 1) printf %s. {{ x }} ;; esac)"; show "${y%.}"',
        "a=${#SHELL}; (( a > 0 )) && show {{ x }}",
        "(( 1 << 2 )); show {{ x }}",
        "cat >/dev/null <<EOF\nit's \"here\nEOF\nshow {{ x }}",
        "cat >/dev/null <<-'E O'\n\tit's\n\tE O\nshow {{ x }}",
        "cat >/dev/null <<< it\\'s; show {{ x }}",
        "{% if n > 0 %}show {{ x }}{% else %}false{% endif %}",
        "{% for item in [x] %}\nshow {{ item }}\n{% endfor %}",
        "{% set z = x %}show {{ z }}",
        "{% set z %}{{ x }}{% endset %}show {{ z }}",
        "{% macro m(z) %}{{ z }}{% endmacro %}show {{ m(x) }}",
        'y={{ x }}; show "$y"',
        'y={{ x }} bash -c \'printf "%s:%s," "${#y}" "$y"\'',
        'bash -c \'printf "%s:%s," "${#1}" "$1"\' _ {{ x }}',
        "show $( ( echo ignored >/dev/null ) ) {{ x }}",
        "show $((1+1)) >/dev/null; show {{ x }}",
        "if [[ {{ x }} == {{ x }} ]]; then show {{ x }}; fi",
        'f() { show "$1"; }; f {{ x }}',
        'words=({{ x }}); show "${words[@]}"',
        "show {{ params | only('x') | drop('y') | map('string') | list | length }} >/dev/null; show {{ x }}",
    ],
)
def test_a_value_is_one_word_byte_for_byte(tmp_path, command):
    # One bash for all values: each in a shell of its own, with a border after it.
    texts = [f"(\n{render(command, {'x': value, 'n': 1})}\n)\nprintf '|%s|' $?\n" for value in HOSTILE]
    out, errors = run_text("".join(texts), tmp_path)
    assert out == "".join(f"{shown(value)}|0|" for value in HOSTILE), errors


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=4))
@settings(deadline=None, max_examples=40)
def test_any_text_survives_quoting(words):
    text = "printf '%s\\0' " + " ".join(map(quote, words)) + " " + " ".join(map(quote_always, words))
    done = subprocess.run(["bash", "-c", text], check=True, capture_output=True)
    assert done.stdout.split(b"\0")[:-1] == [word.encode() for word in words + words] or not words


@pytest.mark.parametrize(
    ("command", "safe", "unsafe"),
    [
        ("show '{{ x }}'", ["abc", "a b", 'a"b', "$x", "a\\b"], ["it's"]),
        ('show "{{ x }}"', ["abc", "a b", "it's", "a\nb", ";|&"], ['a"b', "$x", "`x`", "a\\b"]),
        ('show out/"{{ x }}".csv', ["abc"], ["$x"]),
        ("show $'{{ x }}'", ["abc", 'a"b'], ["it's", "a\\n"]),
        ("show ${HOME:-{{ x }}}", ["abc", "a/b.c"], ["a b", "}", "$x"]),
        ("show $(( {{ x }} + 1 ))", [3, "12", -4], ["a[$(touch pwned)]", "010", 1.5, ""]),
        ("show `printf %s {{ x }}`", ["abc", "a b"], ["a\\b", "`x`"]),
        ("bash -c 'echo {{ x }}'", ["abc", "a/b=1"], ["a b", "$(touch pwned)", ";"]),
        ('srun -n 2 bash -lc "cd /; echo {{ x }}"', ["abc"], ["a b", "; touch pwned"]),
        ("ssh host 'echo {{ x }}'", ["abc"], ["a b"]),
        ('eval "echo {{ x }}"', ["abc"], ["a b"]),
    ],
)
def test_inside_quotes_a_value_may_stand_that_is_safe_there(command, safe, unsafe):
    for value in safe:
        assert str(value) in render(command, {"x": value})
    for value in unsafe:
        with pytest.raises(ExpressionError) as caught:
            render(command, {"x": value})
        assert caught.value.hint


@pytest.mark.parametrize(
    ("command", "fix"),
    [
        ('run --out "{{ x }}"', 'write {{ x }} in place of "{{ x }}"'),
        ('run --out "a b/{{ x }}.csv"', 'write "a b/"{{ x }}.csv in place of "a b/{{ x }}.csv"'),
        ("run --out 'out/{{x}}'", "write out/{{x}} in place of 'out/{{x}}'"),
        ('run "{{ x | upper }}"', "leave out the quotes"),
        ("bash -c 'run {{ x }}'", "as an argument"),
        ("run `echo {{ x }}`", "$(...)"),
    ],
)
def test_the_error_shows_the_fix(command, fix):
    with pytest.raises(ExpressionError) as caught:
        render(command, {"x": "'\"$x`"})
    assert fix in caught.value.hint


@pytest.mark.parametrize(
    ("command", "message", "hint"),
    [
        ("cat <<EOF\n{{ x }}\nEOF\n", "here-document", "files:"),
        ("cat <<'EOF'\n{{ x }}\nEOF\n", "here-document", "| raw"),
        ("cat <<-EOF && x\n\tEO\n\t{{ x }}\n\tEOF", "here-document", "files:"),
        ("cat <<{{ x }}\nEOF\n", "end mark", "EOF"),
        ("run ${{ x }}", "`$` stands right before", "\\$"),
        ('run "${{ x }}"', "`$` stands right before", "\\$"),
        ("run \\{{ x }}", "`\\` stands right before", "\\\\"),
        ("run '{{ x }}", "a single quote in the command is never closed", ""),
        ('run {{ x }} "', "a double quote in the command is never closed", ""),
        ("run {{ x }} $(echo", "a $( in the command is never closed", ""),
        ("run {{ x }} it's", "a single quote in the command is never closed", ""),
        ("{{ x }} <<EOF\nE", "a here-document in the command is never closed", ""),
        ("{% if n %}'{% endif %}{{ x }}'", "one branch", ""),
        ("{% for i in layers %}'{{ x }}{% endfor %}", "one branch", ""),
        ("echo {% if n %}# x{% endif %}\n {{ x }}", "a comment", ""),
        ("a{% if n %} {% endif %}# {{ x }}", "may begin a comment", "space"),
        ("{% filter upper %}{{ x }}{% endfilter %}", "{% filter %}", "files:"),
        ("{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{{ x }}{% endcall %}", "{% call %}", "files:"),
        ("run {{ x | raw | upper }}", "must be the last", ""),
        ('run "{{ params | flags }}"', "several words", "quotes"),
        ("run {{ momentum }}", "`momentum` is not set", "is defined"),
        ("run {{ momentun }}", "no parameter `momentun`", "`momentum`"),
    ],
)
def test_where_no_value_can_stand(command, message, hint):
    with pytest.raises(ExpressionError) as caught:
        render(command, {"x": "a", "n": 1, "layers": [1]})
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_raw_puts_the_text_in_as_it_is(tmp_path):
    assert render("cat <<EOF\n{{ x | raw }}\nEOF\n", {"x": "$HOME"}) == "cat <<EOF\n$HOME\nEOF\n"
    assert render("{{ x | raw }} 1", {"x": "a b"}) == "a b 1"
    assert run("show {{ x | raw }}", {"x": "a 'b c'"}, tmp_path)[0] == shown("a", "b c")


def test_a_command_without_expressions_is_left_alone():
    for text in ("it's ${#a[@]} $(", "cat <<EOF", "{#", "echo '%}'"):
        assert render(text, {}) == text


def test_jinja_comments_are_off():
    assert render("${#a[@]} {{ n }} #}", {"n": 1}) == "${#a[@]} 1 #}"


def test_words_of_the_shell_stay_words():
    assert render("{{ x }} a", {"x": "while"}) == "'while' a"
    assert render("then {{ x }}", {"x": "A=b"}) == "then 'A=b'"
    assert render("run {{ x }}", {"x": "while"}) == "run while"
    assert render("run {{ x }}", {"x": "A=b"}) == "run A=b"
    assert render("run {{ n }}> f", {"n": 2}) == "run '2'> f"
    assert render("run {{ n }} > f", {"n": 2}) == "run 2 > f"
    assert render("run {{ n }}{% if n %}>f{% endif %}", {"n": 2}) == "run '2'>f"


def test_flags_and_overrides_are_several_words(tmp_path):
    point = {"x": "a 'b'", "n": -1e-05, "y": "-foo", "layers": [1, 2], "model.width": None}
    words = ["--x", "a 'b'", "--n=-1e-05", "--y=-foo", "--layers", "1", "2"]
    assert run("show {{ params | flags }}", point, tmp_path)[0] == shown(*words)
    assert run("show {{ params | only('n', 'layers') | overrides }}", point, tmp_path)[0] == shown("n=-1e-05", "layers=[1,2]")
    assert run("show a {{ params | only('momentum') | flags }} b", point, tmp_path)[0] == shown("a", "b")


def test_values_are_text_or_json():
    assert (
        render("run {{ n }} {{ layers }} {{ true }} {{ none }}", {"n": 1e-05, "layers": [1, "a b"]})
        == "run 1e-05 '[1,\"a b\"]' true null"
    )


class TestListOfWords:
    def test_items_are_words_and_lists_are_spliced(self):
        command = ("run", "{{ layers }}", "a{{ x }}b", "{{ params | only('n') | flags }}", "'{{ x }}'", "{{ layers }}.", "")
        point = {"x": "$(x) 'y'", "layers": [1, "a b"], "n": 2}
        assert render(command, point) == ("run", "1", "a b", "a$(x) 'y'b", "--n", "2", "'$(x) 'y''", '[1,"a b"].', "")

    def test_an_empty_list_is_no_word(self):
        assert render(("run", "{{ layers }}"), {"layers": []}) == ("run",)

    def test_knows_its_parameters(self):
        assert compile_command(("run", "{{ x }}", "{{ n }}"), names=NAMES).names == {"x", "n"}


# Pieces of shell text that leave its quotes even, in any order.
PIECES = [
    "show a\n",
    "# it's\n",
    "'it \"is'",
    '"it\'s"',
    "$(echo 'x)')",
    "${y:-z}",
    "$((1+2))",
    "; ",
    " ",
    "\n",
    "\\'",
    "`echo 1`",
    "<<<z ",
    "| cat\n",
    "&& true\n",
    "{ :; }\n",
    "( : )\n",
    "case a in a) ;; esac\n",
    "cat <<E\nit's $(\nE\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=6), st.sampled_from(HOSTILE))
@settings(deadline=None, max_examples=150)
def test_nothing_of_a_value_ever_runs(tmp_path_factory, pieces, value):
    folder = tmp_path_factory.mktemp("any")
    try:
        text = render("".join(pieces) + "\nshow {{ x }}", {"x": value})
    except ExpressionError:
        return
    # What the pieces come to may be nonsense to bash; it must only never be the value that runs.
    subprocess.run(["bash", "-c", SHOW + text], cwd=folder, check=False, capture_output=True, timeout=30)
    assert not (folder / "pwned").exists()
