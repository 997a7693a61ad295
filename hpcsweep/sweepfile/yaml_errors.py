"""PyYAML's complaints in words that say what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

_INDICATORS = {
    "@": "a text that begins with @ needs quotes",
    "`": "a text that begins with ` needs quotes",
    "%": "a text that begins with % needs quotes",
    "\t": "a tab stands where YAML wants spaces",
}
_NO_SPACE_AFTER_COLON = re.compile(r"^\s*(?:- +)*[A-Za-z_][\w.@/+~-]*:[^\s:]")


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """What is wrong, where (0-based, as PyYAML counts) and what to do; ``block_line`` is the line that began it."""

    line: int
    column: int
    message: str
    hint: str
    block_line: int


def explain(error: yaml.MarkedYAMLError, lines: list[str]) -> Complaint:
    """Say what PyYAML's error means for somebody who writes a sweep file; ``lines`` are the file's."""
    problem = error.problem or "this is not YAML"
    mark = error.problem_mark or error.context_mark
    begun = error.context_mark or mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    begun_line, begun_column = (begun.line, begun.column) if begun else (line, column)
    message, hint, at_start = _translate(error.context or "", problem, begun_line)
    if at_start:
        line, column = begun_line, begun_column
    before = lines[line][: column + 2] if line < len(lines) else ""
    near = [lines[number] for number in (line, line - 1) if 0 <= number < len(lines)]
    if problem.startswith("found character '\\t'"):
        pass
    elif "{{" in before:
        hint = 'a value that begins with {{, or has ": " or " #" in it, needs quotes around the whole of it: "{{ x }}"'
    elif "colon" in hint or "indentation" in hint:
        culprit = next((text for text in near if _NO_SPACE_AFTER_COLON.match(text)), "")
        if culprit:
            hint = f"a space is missing after the colon in {culprit.strip()!r}"
    return Complaint(line=line, column=column, message=message, hint=hint, block_line=min(begun_line, line))


def _translate(context: str, problem: str, begun_line: int) -> tuple[str, str, bool]:
    """Give the message, the hint, and whether the place to show is where the unfinished thing began."""
    if problem.startswith("found character "):
        character = problem[len("found character ") :].partition(" that")[0].strip("'").replace("\\t", "\t")
        hint = "use spaces, also between a value and a comment" if character == "\t" else "put the whole value in quotes"
        return _INDICATORS.get(character, f"a value cannot begin with {character!r}"), hint, False
    if "quoted scalar" in context and "end of stream" in problem:
        return "this quote is never closed", "close it with the same quote; inside '...' a quote is written twice", True
    if "found unknown escape" in problem:
        return (
            f"{problem.removeprefix('found ')} in a text in double quotes",
            "use single quotes, or write the backslash twice",
            False,
        )
    if "flow sequence" in context or "flow mapping" in context:
        pair = "[ ]" if "sequence" in context else "{ }"
        where = f"the {pair} that begins on line {begun_line + 1}"
        return f"{where} lacks a comma or its end here", "close every bracket; quote values that hold brackets or commas", False
    if "mapping values are not allowed" in problem:
        return (
            "a colon and a space, where no key can stand",
            "put a value that has ': ' in it in quotes, or mend the indentation",
            False,
        )
    if "could not find expected ':'" in problem:
        return "this is no 'key: value'", "write a colon and a space after the key, or mend the indentation", True
    if "sequence entries are not allowed" in problem:
        return "a list's '- ' cannot begin here", "begin it on a line of its own, or write [a, b]", False
    if "expected <block end>" in problem:
        return (
            "this does not fit what stands before it",
            "mend the indentation (a list or mapping is one column), or quote the whole value",
            False,
        )
    if "expected the node content" in problem:
        return "a value is expected here", "put the whole value in quotes", False
    if "<document start>" in problem:
        return "nothing may follow the end of the document", "a sweep file is one YAML document", False
    if "block scalar" in context:
        hint = "what follows | or > begins on the next line; a value that begins with one of them needs quotes"
        return f"this cannot stand behind | or > ({problem})", hint, False
    return problem, f"PyYAML was {context}" if context else "", False
