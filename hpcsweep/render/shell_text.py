"""Where in a shell text one stands: what the quoting of a value depends on.

Not a parser of bash: it follows quotes, substitutions, comments and here-documents, character by character, and the words
that matter for them. Where it could be misled, the end of the text does not come out even, and that is an error.
"""

from __future__ import annotations

import re
from copy import copy

from hpcsweep.expressions import ExpressionError

SINGLE, DOUBLE, ANSI, BACKTICK = "'", '"', "$'", "`"
BRACE, ARITHMETIC, INNER, COMMAND, SUBSHELL = "${", "((", "((…(", "$(", "("
COMMENT, HERE_DOCUMENT, CASE, BASE = "#", "<<", "case", ""
CODE = "sh -c"  # given by place_value only: inside quotes whose text another shell will read

_UNQUOTED = (BASE, SUBSHELL, COMMAND, BACKTICK, CASE)
_CALLED = {
    SINGLE: "a single quote",
    DOUBLE: "a double quote",
    ANSI: "a $' quote",
    BACKTICK: "a backtick",
    BRACE: "a ${",
    ARITHMETIC: "a ((",
    INNER: "a ((",
    COMMAND: "a $(",
    HERE_DOCUMENT: "a here-document",
}
# After these words a command follows, so that the next word may be a keyword too.
_BEFORE_COMMANDS = frozenset({"if", "then", "else", "elif", "do", "while", "until", "!", "{", "time"})
_NO_LINE = "\0"
_GIVES_CODE = re.compile(r"\b(?:ba|z|k|da|c|tc|fi)?sh\s(?:\S+\s+)*?-[a-z]*c\s+\Z|\beval\s+\Z|\bssh\s[^;|&\n]*\Z")


class ShellText:
    """The state after some text: ``feed`` literal text, ``place_value`` for each expression in it."""

    def __init__(self) -> None:
        self.frames: tuple[str, ...] = (BASE,)
        self.is_command_word = True  # the word here is (or would be) the first of a command
        self.is_word_start: bool | None = True  # None: it depends on an {% if %}
        self._word: str = ""
        self._previous = ""
        self._is_escaped = False
        self._has_dollar = False
        self._is_arithmetic_ending = False
        self._here_documents: tuple[tuple[str, bool], ...] = ()
        self._here_line = ""
        self._less_thans = 0
        self._recent = ""  # what stands before a quote says whether it holds code for another shell
        self._is_code = False
        self._delimiter: str | None = None  # being read, after <<
        self._delimiter_quote = ""
        self.values_before: frozenset[int] = frozenset()  # expressions that end right here

        self.followed_by_redirection: frozenset[int] = frozenset()

    def copy(self) -> ShellText:
        """The same state, to follow another branch."""
        return copy(self)

    def merge(self, other: ShellText) -> None:
        """What is known where two branches meet.

        Raises:
            ExpressionError: when they end in different quotes.
        """
        if self.frames != other.frames or self._here_documents != other._here_documents or self._delimiter != other._delimiter:
            inner = max((self.frames, other.frames), key=len)[-1]
            raise ExpressionError(
                f"{_CALLED.get(inner, 'a comment' if inner == COMMENT else 'a parenthesis')} is opened or closed in one branch of an {{% if %}} or {{% for %}} only",
                "open and close it in the same branch",
            )
        self.is_command_word |= other.is_command_word
        self.is_word_start = self.is_word_start if self.is_word_start == other.is_word_start else None
        self._word = self._word if self._word == other._word else _NO_LINE
        self._is_code |= other._is_code
        self._is_escaped |= other._is_escaped
        self._has_dollar |= other._has_dollar
        self._is_arithmetic_ending |= other._is_arithmetic_ending
        self._here_line = self._here_line if self._here_line == other._here_line else _NO_LINE
        self._previous = self._previous if self._previous == other._previous else _NO_LINE
        self.values_before |= other.values_before
        self.followed_by_redirection |= other.followed_by_redirection

    def place_value(self, number: int) -> str:
        """An expression stands here: the frame that it is in. It becomes part of the word.

        Raises:
            ExpressionError: where no value can stand.
        """
        if self._is_escaped or self._has_dollar:
            mark = "\\" if self._is_escaped else "$"
            raise ExpressionError(
                f"`{mark}` stands right before an expression and would change its value", f"write `\\{mark}` to keep it"
            )
        if self._delimiter is not None or self._less_thans == 2:
            raise ExpressionError("the end mark of a here-document (<<) cannot be an expression", "write a plain word like EOF")
        frame = BASE if self.frames[-1] in _UNQUOTED else self.frames[-1]
        if frame == HERE_DOCUMENT:
            self._here_line = _NO_LINE
        elif frame == BASE:
            self.is_word_start = False
            self._word += _NO_LINE
            self.values_before |= {number}
        self._previous = _NO_LINE
        self._is_arithmetic_ending = False
        return CODE if self._is_code and frame in (SINGLE, DOUBLE, ANSI) else frame

    def place_raw(self) -> None:
        """Text that is not known stands here, unquoted: the user answers for it. It is taken for part of a word."""
        if self.frames[-1] == HERE_DOCUMENT:
            self._here_line = _NO_LINE
        elif self.frames[-1] in _UNQUOTED:
            self._touch_word(self.frames[-1])
        self._is_escaped = self._has_dollar = self._is_arithmetic_ending = False
        self._previous = _NO_LINE

    @property
    def is_in_backticks(self) -> bool:
        """Whether a backtick is open anywhere around: backslashes are read twice there."""
        return BACKTICK in self.frames

    def finish(self) -> None:
        """The text ends here.

        Raises:
            ExpressionError: when a quote is still open.
        """
        self._end_delimiter()
        if self.frames[-1] == HERE_DOCUMENT and self._is_here_end():
            self._here_documents = self._here_documents[1:]
            self._pop()
        frames = self.frames[:-1] if self.frames[-1] == COMMENT else self.frames
        open_frame = next((frame for frame in frames if frame in _CALLED), None)
        if open_frame is None and self._here_documents:
            open_frame = HERE_DOCUMENT
        if open_frame is not None:
            raise ExpressionError(
                f"{_CALLED[open_frame]} in the command is never closed", "close it, or write `\\` before it to keep it"
            )

    def feed(self, text: str) -> None:
        """Literal text of the template."""
        for char in text:
            if self._less_thans == 2 and char != "<":  # three are a here-string
                self._delimiter = ""
            is_less_than = char == "<" and self.frames[-1] in _UNQUOTED and not self._is_escaped
            self._less_thans = self._less_thans + 1 if is_less_than else 0
            if self._delimiter is None or not self._reads_delimiter(char):
                self._step(char)
            self._previous = char
            self._recent = self._recent[-200:] + char

    def _push(self, frame: str) -> None:
        if frame in (SINGLE, DOUBLE, ANSI):
            self._is_code = _GIVES_CODE.search(self._recent) is not None
        self.frames += (frame,)

    def _pop(self) -> None:
        self.frames = self.frames[:-1]

    def _step(self, char: str) -> None:
        frame = self.frames[-1]
        if frame == HERE_DOCUMENT:
            self._step_here_document(char)
        elif self._is_escaped:
            self._is_escaped = False
            if char != "\n" and frame in _UNQUOTED:
                self._add_to_word("\\" + char)
        elif frame == SINGLE:
            if char == "'":
                self._pop()
        elif frame == COMMENT:
            if char == "\n":
                self._pop()
                self._step(char)
        elif self._has_dollar and self._step_dollar(char, frame):
            pass
        elif char == "\\":
            self._is_escaped = True
        elif frame == ANSI:
            if char == "'":
                self._pop()
        elif char == "`":
            self._step_backtick()
        elif char == "$":
            self._has_dollar = True
            self._touch_word(frame)
        elif frame in _UNQUOTED:
            self._step_unquoted(char)
        elif frame == DOUBLE:
            if char == '"':
                self._pop()
        elif frame == BRACE:
            self._step_brace(char)
        else:
            self._step_arithmetic(char, frame)

    def _step_dollar(self, char: str, frame: str) -> bool:
        """The character after a dollar; False when it means nothing special there."""
        self._has_dollar = False
        if char == "(":
            self._push(COMMAND)
            self._start_command()
        elif char == "{":
            self._push(BRACE)
        elif char == "'" and frame != DOUBLE and not (frame == BRACE and self._is_in_double()):
            self._push(ANSI)
        else:
            return char in "#$*@?!-_" or char.isalnum()
        return True

    def _step_backtick(self) -> None:
        if BACKTICK in self.frames:
            while self.frames[-1] != BACKTICK:
                self._pop()
            self._pop()
            self._touch_word(self.frames[-1])
        else:
            self._touch_word(self.frames[-1])
            self._push(BACKTICK)
            self._start_command()

    def _step_brace(self, char: str) -> None:
        if char == "}":
            self._pop()
        elif char == '"' or (char == "'" and not self._is_in_double()):
            self._push(char)

    def _is_in_double(self) -> bool:
        """Whether the nearest quoting around a ``${`` is a double quote."""
        return next((frame == DOUBLE for frame in reversed(self.frames) if frame != BRACE), False)

    def _step_arithmetic(self, char: str, frame: str) -> None:
        if char == "(":
            self._push(INNER)
        elif char == ")" and frame == INNER:
            self._pop()
        elif char == ")" and self._is_arithmetic_ending:
            self._pop()
            self._is_arithmetic_ending = False
            return
        elif self._is_arithmetic_ending:
            # `$((a) | b)`: no arithmetic, but a subshell in a substitution, which the first parenthesis closed.
            self.frames = (*self.frames[:-1], COMMAND)
            self._is_arithmetic_ending = False
            self._step(char)
            return
        elif char in "'\"":
            self._push(char)
        self._is_arithmetic_ending = char == ")" and frame == ARITHMETIC

    def _step_here_document(self, char: str) -> None:
        if char != "\n":
            self._here_line += char
        elif self._is_here_end():
            self._here_documents = self._here_documents[1:]
            self._here_line = ""
            if not self._here_documents:
                self._pop()
                self._start_command()
        else:
            self._here_line = ""

    def _is_here_end(self) -> bool:
        delimiter, has_tabs = self._here_documents[0]
        return (self._here_line.lstrip("\t") if has_tabs else self._here_line) == delimiter

    def _step_unquoted(self, char: str) -> None:
        if char in "<>" and self.values_before:
            self.followed_by_redirection |= self.values_before
        self.values_before = frozenset()
        if char == "#" and self.is_word_start is not False:
            if self.is_word_start is None:
                raise ExpressionError(
                    "a `#` may begin a comment here, or not, depending on an {% if %}", "write a space before it"
                )
            self._push(COMMENT)
        elif char in " \t":
            self._end_word()
        elif char == "\n":
            self._end_word()
            self._start_command()
            if self._here_documents:
                self._push(HERE_DOCUMENT)
                self._here_line = ""
        elif char in ";&|":
            self._end_word()
            if not (char in "&|" and self._previous in tuple("<>")):
                self._start_command()
        elif char == "(":
            self._open_parenthesis()
        elif char == ")":
            self._close_parenthesis()
        elif char in "<>":
            self._end_word()
        else:
            if char in "'\"":
                self._push(char)
            self._add_to_word(char)

    def _open_parenthesis(self) -> None:
        if self._previous == "(" and self.frames[-1] in (SUBSHELL, COMMAND):
            self.frames = (*self.frames[:-1], ARITHMETIC)
            self._is_arithmetic_ending = False
        else:
            self._push(SUBSHELL)
            self._start_command()

    def _close_parenthesis(self) -> None:
        self._end_word()
        if self.frames[-1] in (SUBSHELL, COMMAND):
            is_word = self.frames[-1] == COMMAND
            self._pop()
            self.is_word_start = not is_word
            self.is_command_word = False
            if is_word:
                self._touch_word(self.frames[-1])
        else:
            self._start_command()  # a pattern of `case`

    def _add_to_word(self, text: str) -> None:
        self._word += text
        self.is_word_start = False

    def _touch_word(self, frame: str) -> None:
        if frame in _UNQUOTED:
            self.values_before = frozenset()
            self._add_to_word(_NO_LINE)

    def _start_command(self) -> None:
        self.is_command_word = True
        self.is_word_start = True
        self._word = ""

    def _end_word(self) -> None:
        word, self._word = self._word, ""
        if word and self.is_command_word:
            if word == "case":
                self._push(CASE)
                self.is_command_word = False
            elif word == "esac" and self.frames[-1] == CASE:
                self._pop()
            else:
                head = word.partition("=")[0].rstrip("+")
                is_assignment = "=" in word and head.isidentifier()
                self.is_command_word = word in _BEFORE_COMMANDS or is_assignment
        self.is_word_start = True

    def _reads_delimiter(self, char: str) -> bool:
        """One character of a here-document's end mark; False when it is over."""
        delimiter = self._delimiter or ""
        if self._delimiter_quote:
            if self._delimiter_quote in {char, "\\"}:
                self._delimiter = delimiter if char == self._delimiter_quote != "\\" else delimiter + char
                self._delimiter_quote = ""
            else:
                self._delimiter = delimiter + char
        elif char in "'\"\\":
            self._delimiter_quote = char
            self._delimiter = delimiter or "\1"
        elif char in " \t" and delimiter in ("", "-"):
            pass
        elif char in " \t\n;&|<>()":
            self._end_delimiter()
            return False
        else:
            self._delimiter = delimiter + char
        return True

    def _end_delimiter(self) -> None:
        if self._delimiter is None:
            return
        text, self._delimiter = self._delimiter, None
        has_tabs = text.startswith("-")
        self._here_documents += ((text.removeprefix("-").replace("\1", ""), has_tabs),)
