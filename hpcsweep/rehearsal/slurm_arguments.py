"""Command lines, as Slurm's programs read them with glibc's getopt_long, with its words where one is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Takes = Literal["none", "value", "optional"]


class UsageError(Exception):
    """The command line is wrong: what is said, line by line, and the exit code."""

    def __init__(self, *lines: str, code: int) -> None:
        super().__init__(*lines)
        self.lines = lines
        self.code = code

    @property
    def text(self) -> str:
        """What is said, for standard error."""
        return "".join(f"{line}\n" for line in self.lines)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Options by their long names, in order, and what is no option."""

    options: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        return any(given == name for given, _ in self.options)

    def last(self, name: str, default: str = "") -> str:
        """The value that counts: the last."""
        return next((value for given, value in reversed(self.options) if given == name), default)


@dataclass(frozen=True, kw_only=True)
class Syntax:
    """What options a program has."""

    program: str
    code: int = 1  # of a wrong command line
    hint: bool = True  # whether it ends with `Try "... --help"`
    is_script_last: bool = False  # the first word that is no option ends them: what follows is the script's
    longs: Mapping[str, Takes] = field(default_factory=dict)
    shorts: Mapping[str, str] = field(default_factory=dict)  # letter -> long name
    aliases: Mapping[str, str] = field(default_factory=dict)  # another spelling -> long name

    def parse(self, argv: Sequence[str]) -> Arguments:
        """Options and words.

        Raises:
            UsageError: for a wrong command line.
        """
        options: list[tuple[str, str]] = []
        words: list[str] = []
        rest = list(argv)
        while rest:
            word = rest.pop(0)
            if word == "--":
                words += rest
                break
            if word.startswith("--"):
                options.append(self._long(word, rest))
            elif word.startswith("-") and word != "-":
                options += self._letters(word[1:], rest)
            else:
                words.append(word)
                if self.is_script_last:
                    words += rest
                    break
        return Arguments(options=tuple(options), words=tuple(words))

    def _long(self, word: str, rest: list[str]) -> tuple[str, str]:
        written, equals, value = word[2:].partition("=")
        name = self._find(written, word)
        takes = self.longs[name]
        if equals and takes == "none":
            raise self._error(f"option '--{name}' doesn't allow an argument")
        if not equals and takes == "value":
            if not rest:
                raise self._error(f"option '--{name}' requires an argument")
            value = rest.pop(0)
        return self.aliases.get(name, name), value

    def _find(self, written: str, word: str) -> str:
        if written in self.longs:
            return written
        near = [name for name in self.longs if name.startswith(written)]
        if not near:
            raise self._error(f"unrecognized option '{word}'")
        if len({self.aliases.get(name, name) for name in near}) > 1:
            raise self._error(f"option '{word}' is ambiguous; possibilities: " + " ".join(f"'--{name}'" for name in near))
        return near[0]

    def _letters(self, letters: str, rest: list[str]) -> list[tuple[str, str]]:
        found = []
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter not in self.shorts:
                raise self._error(f"invalid option -- '{letter}'")
            name = self.shorts[letter]
            if self.longs[name] == "value":
                if not letters and not rest:
                    raise self._error(f"option requires an argument -- '{letter}'")
                found.append((name, letters or rest.pop(0)))
                break
            if self.longs[name] == "optional":
                found.append((name, letters))
                break
            found.append((name, ""))
        return found

    def _error(self, said: str) -> UsageError:
        hint = [f'Try "{self.program} --help" for more information'] if self.hint else []
        return UsageError(f"{self.program}: {said}", *hint, code=self.code)


def table(*, none: str = "", value: str = "", optional: str = "") -> dict[str, Takes]:
    """The long options, by what they take."""
    longs: dict[str, Takes] = {}
    longs.update(dict.fromkeys(none.split(), "none"))
    longs.update(dict.fromkeys(value.split(), "value"))
    longs.update(dict.fromkeys(optional.split(), "optional"))
    return dict(sorted(longs.items()))


def pairs(text: str) -> dict[str, str]:
    """``a=array b=begin`` -> a dictionary."""
    return dict(word.split("=", 1) for word in text.split())
