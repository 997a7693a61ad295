"""How the names of parameters are written in expressions."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches

from hpcsweep.expressions.errors import ExpressionError

RESERVED = ("params", "resources", "task", "hpcsweep")
"""Words that mean the same in every expression; a parameter of such a name is reached as ``params['task']``."""

_OTHER_LANGUAGES = {
    "null": "write `none`",
    "nil": "write `none`",
    "len": "write `x | length`",
    "abs": "write `x | abs`",
    "int": "write `x | int`",
    "float": "write `x | float`",
    "str": "write `x | string`",
    "round": "write `x | round(3)`",
    "min": "write `[x, y] | min`",
    "max": "write `[x, y] | max`",
    "sum": "write `[x, y] | sum`",
    "sorted": "write `x | sort`",
    "random": "there are no random numbers in expressions: use `sample:` in the space",
    "math": "there are no Python modules in expressions",
    "np": "there are no Python modules in expressions",
}


def spelling(name: str) -> str:
    """How a parameter's name is written in an expression: ``lr-decay`` -> ``lr_decay``."""
    return name.replace("-", "_")


class Names:
    """The parameters that an expression may use, under their spellings.

    ``noun`` is what they are called in messages; words that are ``reserved`` are not names.
    """

    def __init__(self, names: Collection[str], *, noun: str = "parameter", reserved: Collection[str] = RESERVED) -> None:
        self.all = frozenset(names)
        self.noun = noun
        self.reserved = frozenset(reserved)
        self._by_spelling: dict[str, str] = {}
        for name in sorted(self.all):
            other = self._by_spelling.setdefault(spelling(name), name)
            if other != name:
                raise ExpressionError(
                    f"the {noun}s `{other}` and `{name}` are both written `{spelling(name)}` in expressions",
                    "rename one of them",
                )
        self._groups = {part for name in self._by_spelling for part in _prefixes(name)}

    def resolve(self, parts: Sequence[str]) -> tuple[str, int] | None:
        """The longest parameter at the head of a dotted chain, and how many parts it takes."""
        for count in range(len(parts), 0, -1):
            name = self._by_spelling.get(".".join(parts[:count]))
            if name is not None:
                return name, count
        return None

    def is_prefix(self, word: str) -> bool:
        """Whether a word is a parameter or the first part of one."""
        return word in self._by_spelling or word in self._groups

    def unknown(self, written: str, no_method_of: str = "") -> ExpressionError:
        """The error for a name that is no parameter, with the nearest ones.

        ``no_method_of``: the parameter at its head, when the rest may be meant as a method or attribute.
        """
        members = [name for name in sorted(self.all) if spelling(name).startswith(f"{written}.")]
        if members:
            shown = ", ".join(f"`{name}`" for name in members[:4]) + (", ..." if len(members) > 4 else "")
            return ExpressionError(
                f"`{written}` is a group of {self.noun}s, not a {self.noun}", f"its {self.noun}s are {shown}"
            )
        odd = next((name for name in sorted(self.all) if re.match(re.escape(written) + r"[@/+~]", spelling(name))), None)
        if odd:
            return ExpressionError(
                f"there is no {self.noun} `{written}`", f"write `params['{odd}']` for the {self.noun} `{odd}`"
            )
        near = get_close_matches(written, [name for name in self._by_spelling if "." in name], n=1, cutoff=0.85)
        if no_method_of and not near:
            return ExpressionError(
                f"there is no {self.noun} `{written}`, and `{no_method_of}` has no attributes",
                "use a filter, like `x | upper`, for what is a method in Python",
            )
        return ExpressionError(f"there is no {self.noun} `{written}`", self._suggestion(written))

    def _suggestion(self, written: str) -> str:
        near = get_close_matches(written, [*self._by_spelling, *sorted(self.reserved)], n=2)
        if near:
            return "did you mean " + " or ".join(f"`{name}`" for name in near) + "?"
        if written in _OTHER_LANGUAGES:
            return _OTHER_LANGUAGES[written]
        if not self.all:
            return f"there are no {self.noun}s; a text is written in quotes: 'text'"
        shown = ", ".join(sorted(self.all)[:8]) + (", ..." if len(self.all) > 8 else "")
        return f"the {self.noun}s are: {shown}; a text is written in quotes: 'text'"

    def check_minus(self, code: str) -> None:
        """Refuse ``lr-decay`` when that is a parameter's name: Jinja would subtract.

        ``code`` is the source with everything but its expressions blanked.
        """
        for name in sorted(self.all, key=len, reverse=True):
            if "-" in name and (found := re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.-])", code)):
                raise ExpressionError(
                    f"`{name}` would subtract in an expression",
                    f"write `{spelling(name)}` for the {self.noun} `{name}`, or spaces around a minus that is meant",
                    found.start(),
                )


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]
