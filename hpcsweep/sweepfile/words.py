"""The words of the space: keywords, forms, names of parameters, and the words of other tools that are none of ours."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

from hpcsweep.errors import Place

KEYWORDS = ("sum", "product", "zip", "csv", "replicate", "set")
GRIDS = {"range": "[lo, hi] or [lo, hi, step]", "linspace": "[lo, hi, n]", "geomspace": "[lo, hi, n]"}
DISTRIBUTIONS = {"uniform": "[lo, hi]", "loguniform": "[lo, hi]", "normal": "[mu, sigma]"}
FORMS = ("value", *GRIDS, *DISTRIBUTIONS)
CONDITIONS = ("derive", "where", "exclude", "include")

_LIST = "write the list itself: lr: [0.1, 0.01]"
_INTEGERS = "write {uniform: [lo, hi], step: 1}, which includes hi, with sample: {n: 50}; or range: [lo, hi] for all of them"
_DRAWS = "write {uniform: [lo, hi]}, {loguniform: [lo, hi]} or {normal: [mu, sigma]}, with sample: {n: 50}"
_STEPPED = "write {uniform: [lo, hi], step: q}, with sample: {n: 50}"
_LOG_STEPPED = "write {loguniform: [lo, hi], step: q}, with sample: {n: 50}"
_LOG = "write {loguniform: [lo, hi]}, with sample: {n: 50}"
_NORMAL = "write {normal: [mu, sigma]}, with sample: {n: 50}"
_COPIES = "write replicate: {seed: 3}, which gives seed 0, 1, 2"
_ALL = "write the list itself; the keys of a mapping multiply, so every combination is tried"

FOREIGN = {
    "arange": "write range: [lo, hi, step], which includes hi when it is on the grid",
    "categorical": _LIST,
    "choice": _LIST,
    "choices": _LIST,
    "distribution": _DRAWS,
    "grid": _ALL,
    "grid_search": _ALL,
    "int_uniform": _INTEGERS,
    "log_uniform": _LOG,
    "log_uniform_values": _LOG,
    "lognormal": "write {normal: [mu, sigma]} for the logarithm, and derive: {x: '2.718281828 ** log_x'}",
    "lograndint": "write {loguniform: [lo, hi], step: 1}, with sample: {n: 50}",
    "logspace": "write geomspace: [lo, hi, n] with the ends themselves, not their exponents",
    "pchoice": _LIST,
    "q_log_uniform": _LOG_STEPPED,
    "q_log_uniform_values": _LOG_STEPPED,
    "q_normal": "write {normal: [mu, sigma], step: q}, with sample: {n: 50}",
    "q_uniform": _STEPPED,
    "qlograndint": "write {loguniform: [lo, hi], step: q} with integers, and sample: {n: 50}",
    "qloguniform": _LOG_STEPPED,
    "qnormal": "write {normal: [mu, sigma], step: q}, with sample: {n: 50}",
    "qrandint": "write {uniform: [lo, hi], step: q} with integers, and sample: {n: 50}",
    "quniform": _STEPPED,
    "randint": _INTEGERS,
    "randn": _NORMAL,
    "repeat": _COPIES,
    "repeats": _COPIES,
    "sample_from": "write derive: {x: 'an expression of other parameters'}",
    "uniformint": _INTEGERS,
    "values": _LIST,
}

_PART = "[A-Za-z_@/+~][A-Za-z0-9_@/+~-]*"
_NAME = re.compile(rf"{_PART}(?:\.{_PART})*")


def is_name(text: str) -> bool:
    """Whether a parameter may be called so."""
    return bool(_NAME.fullmatch(text))


def check_name(text: str, place: Place, fault: Callable[[Place, str, str], None]) -> bool:
    """Whether a parameter may be called so; ``fault`` is told what is wrong with it."""
    if is_name(text):
        return True
    if not text:
        problem = "a name is empty"
    elif re.search(r"(^|\.)[0-9-]", text):
        problem = f"the name {text!r} begins, or a part of it does, with a digit or '-'"
    elif ".." in text or text.startswith(".") or text.endswith("."):
        problem = f"the name {text!r} has a dot without a name beside it"
    else:
        wrong = next((character for character in text if not re.match(r"[A-Za-z0-9_@/+~.-]", character)), "")
        problem = f"the name {text!r} has {'a space' if wrong == ' ' else repr(wrong)} in it"
    hint = "names are ASCII letters, digits and _ @ / + ~ -, joined by dots"
    if re.fullmatch(r"[^:\s]+:\S+", text):
        hint = "a space is missing after the colon"
    fault(place, problem, hint)
    return False


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """``did you mean 'lr'?``, or what else to say when nothing is near."""
    candidates = list(known)
    near = difflib.get_close_matches(word, candidates, 1)
    if not near:
        # A part of a dotted name: `width` for `model.width`.
        near = [name for name in candidates if name.rpartition(".")[2] == word.rpartition(".")[2]][:1]
    return f"did you mean {near[0]!r}?" if near else otherwise
