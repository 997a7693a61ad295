"""``retry:`` of the sweep file: which ends are followed by another attempt, and what that asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Change, Retry, RetryRule
from hpcsweep.states import FACTS, State
from hpcsweep.sweepfile import nodes
from hpcsweep.sweepfile.kinds import Key, Kind, Where, table, whole
from hpcsweep.sweepfile.nodes import Node
from hpcsweep.sweepfile.units import UnitError, parse_memory, parse_time

_FACTOR = re.compile(r"[x*]\s*(?P<factor>\d+(?:\.\d+)?)", re.ASCII)
_MOST = 1000


def parse_change(text: str, parse_amount: Callable[[str], int]) -> Change:
    """``x2``, ``x1.5``, ``+4G``, ``16G`` (``parse_amount`` reads the amounts).

    Raises:
        UnitError: it is none of these, or would change nothing.
    """
    written = text.strip()
    if match := _FACTOR.fullmatch(written):
        factor = Fraction(match["factor"])
        if not 1 < factor <= _MOST:
            raise UnitError(f"`{text}` is no larger amount", f"a factor is more than 1, and at most {_MOST}: x2, x1.5")
        return Change(how="times", amount=float(factor))
    if written.startswith("+"):
        return Change(how="plus", amount=parse_amount(written[1:]))
    return Change(how="set", amount=parse_amount(written))


def _amount(parse: Callable[[str], Any], what: str, example: str) -> Kind:
    def read(node: Node, where: Where) -> Any:
        if not isinstance(node, nodes.Scalar) or not isinstance(node.value, str | int | float) or isinstance(node.value, bool):
            where.expected(node, what, f"write it like {example}")
            return None
        try:
            return parse(node.text)
        except HpcsweepError as error:
            where.wrong(node, error.message, error.hint)
            return None

    return Kind(read=read, schema={"type": "string"})


_MEMORY = _amount(lambda text: parse_change(text, parse_memory), "a change of the memory", "x2, +4G or 16G")
_TIME = _amount(lambda text: parse_change(text, parse_time), "a change of the time", "x2, +1h or 8h")
_UP_TO_KEYS = {
    "memory": Key(kind=_amount(parse_memory, "an amount of memory", "64G"), help="No more memory than this."),
    "time": Key(kind=_amount(parse_time, "a time", "24h"), help="No longer time limit than this."),
}
_UP_TO = table(_UP_TO_KEYS)


def _read_up_to(node: Node, where: Where) -> Any:
    """One amount, for whichever is changed; or both, by their names."""
    if isinstance(node, nodes.Mapping):
        return _UP_TO.read(node, where)
    if not isinstance(node, nodes.Scalar) or not isinstance(node.value, str):
        where.expected(node, "an amount", "write it like 64G or 24h")
        return None
    return node


_RULE_KEYS = {
    "memory": Key(kind=_MEMORY, help="The memory of the next attempt: x2, x1.5, +4G or 16G."),
    "time": Key(kind=_TIME, help="The time limit of the next attempt: x2, +1h or 8h."),
    "up_to": Key(
        kind=Kind(read=_read_up_to, schema={"anyOf": [{"type": "string"}, _UP_TO.schema]}),
        help="The most that is asked for: 64G, 24h, or {memory: 64G, time: 24h}.",
    ),
}
_RULE = table(
    _RULE_KEYS, other={"mem": "it is called `memory`", "walltime": "it is called `time`", "max": "it is called `up_to`"}
)
_HELP = {
    State.OOM: "After running out of memory: {memory: x2, up_to: 64G}.",
    State.TIMEOUT: "After reaching the time limit: {time: x2, up_to: 24h}.",
    State.NODE_FAIL: "After its node failed, on another one: {}.",
    State.PREEMPTED: "After it was preempted: {}.",
    State.FAILED: "After a failure: {}.",
    State.LOST: "After it was lost: it ended, and nobody knows how: {}.",
}
_KEYS = {
    **{state.value: Key(kind=_RULE, help=_HELP[state]) for state in State if FACTS[state].is_failure},
    "attempts": Key(kind=whole(1), help="The most attempts of a task in all (default 3)."),
}
_TABLE = table(_KEYS)


def _read_retry(node: Node, where: Where) -> Retry | None:
    values = _TABLE.read(node, where)
    if values is None or not isinstance(node, nodes.Mapping):
        return None
    rules = {}
    for key, value in node:
        found = values.get(key.text)
        if key.text != "attempts" and isinstance(found, Mapping):
            rules[key.text] = _rule(found, value, where.child(key.text))
    return Retry(rules=rules, attempts=values.get("attempts") or Retry.attempts)


def _rule(values: Mapping[str, Any], node: Node, where: Where) -> RetryRule:
    memory, time, up_to = values.get("memory"), values.get("time"), values.get("up_to")
    ceilings: Mapping[str, Any] = up_to if isinstance(up_to, Mapping) else {}
    if up_to is not None and not isinstance(up_to, Mapping):
        kinds = [name for name, change in (("memory", memory), ("time", time)) if change is not None]
        if len(kinds) == 1:
            ceilings = {kinds[0]: _UP_TO_KEYS[kinds[0]].kind.read(up_to, where.child("up_to"))}
        elif kinds:
            where.child("up_to").wrong(up_to, "of memory or of time?", "up_to: {memory: 64G, time: 24h}")
    if "up_to" in values and memory is None and time is None and not {"memory", "time"} & set(values):
        where.wrong(node, "`up_to` bounds a change, and there is none", "{memory: x2, up_to: 64G}")
    return RetryRule(memory=memory, time=time, memory_up_to_bytes=ceilings.get("memory"), time_up_to_s=ceilings.get("time"))


RETRY = Kind(read=_read_retry, schema=_TABLE.schema)
