"""Values into shell text, byte for byte."""

from __future__ import annotations

import re
from typing import Any

from hpcsweep.expressions import ExpressionError, Words, text_of
from hpcsweep.render.shell_text import ANSI, ARITHMETIC, BASE, BRACE, CODE, COMMENT, DOUBLE, HERE_DOCUMENT, INNER, SINGLE

# Words that need no quotes anywhere; `-ef` and `==` are operators inside [[ ]] when they stand bare.
_BARE = re.compile(r"(?!-[A-Za-z]{1,2}\Z|=)[A-Za-z0-9_@%+=:,./-]+\Z", re.ASCII)
_KEYWORDS = frozenset(
    "if then else elif fi case esac for select while until do done in function time coproc".split(),  # noqa: SIM905 a list of words
)
_NUMBER = re.compile(r"-?(0|[1-9]\d*)\Z", re.ASCII)

# What a shell would change, by the frame around it.
_UNSAFE = {
    SINGLE: re.compile("'"),
    DOUBLE: re.compile(r'["$`\\]'),
    ANSI: re.compile(r"['\\]"),
    BRACE: re.compile(r"[^A-Za-z0-9_@%+=:,./-]", re.ASCII),
    CODE: re.compile(r"[^A-Za-z0-9_@%+=:,./-]", re.ASCII),
}
_INSIDE = {SINGLE: "single quotes", DOUBLE: "double quotes", ANSI: "$'...'", BRACE: "${...}", CODE: "code for another shell"}
_OTHER_FIXES = {
    BRACE: "set a variable on a line before: v={{ x }}, and use it: ${v...}",
    CODE: """give it as an argument: bash -c 'echo "$1"' _ {{ x }}""",
}


def quote(text: str) -> str:
    """A text as one word of a shell: ``a b`` -> ``'a b'``; a harmless one stays bare."""
    return text if _BARE.match(text) else quote_always(text)


def quote_always(text: str) -> str:
    """A text in single quotes: what bash reads back is the text, whatever is in it."""
    return "'" + text.replace("'", "'\\''") + "'"


def quote_value(value: Any, frame: str, is_careful: bool, is_in_backticks: bool, fix: str) -> str:  # noqa: FBT001 called by templates
    """A value as the text that stands for it at a place of a command.

    Args:
        value: the expression's value; Words become several words.
        frame: the quoting around it (``shell_text``).
        is_careful: a bare word could be read as a keyword, an assignment or a file descriptor here.
        is_in_backticks: backslashes are read twice here.
        fix: how the place should be written when the value cannot stand there.

    Raises:
        ExpressionError: when it cannot stand there as it is.
    """
    if frame == BASE and not is_careful and not is_in_backticks and type(value) is str:
        return value if _BARE.match(value) else quote_always(value)
    if frame == COMMENT:
        return text_of(value).replace("\n", " ")
    if is_in_backticks and re.search(r"[\\`]", text_of(value)):
        raise ExpressionError(
            f"the value {_shown(value)} has a backslash or backtick, which means something else inside backticks",
            "write $(...) in place of the backticks",
        )
    if frame == BASE:
        words = value if isinstance(value, Words) else [text_of(value)]
        return " ".join(_careful(word) if is_careful else quote(word) for word in words)
    if isinstance(value, Words):
        raise ExpressionError(
            f"several words stand inside {_INSIDE.get(frame, '((...))')}, where they are one", _OTHER_FIXES.get(frame, fix)
        )
    text = text_of(value)
    if frame in (ARITHMETIC, INNER):
        if not _NUMBER.match(text):
            raise ExpressionError(
                f"the value {_shown(value)} is no integer, and the shell computes with integers only inside ((...))", fix
            )
    elif _UNSAFE[frame].search(text):
        raise ExpressionError(
            f"the value {_shown(value)} cannot stand inside {_INSIDE[frame]} as it is", _OTHER_FIXES.get(frame, fix)
        )
    return text


def check_frame(frame: str) -> None:
    """Refuse the one place where no value can be quoted.

    Raises:
        ExpressionError: in a here-document.
    """
    if frame == HERE_DOCUMENT:
        raise ExpressionError(
            "an expression in a here-document cannot be quoted",
            "put the text into a file with `files:`, or write `{{ x | raw }}` when every value is harmless there",
        )


def _careful(word: str) -> str:
    return quote_always(word) if word in _KEYWORDS or "=" in word or word.isdigit() else quote(word)


def _shown(value: Any) -> str:
    text = text_of(value)
    return repr(text if len(text) <= 40 else text[:37] + "...")
