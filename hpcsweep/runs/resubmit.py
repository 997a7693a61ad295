"""What ``resubmit`` gives tasks for their next attempt: other resources than they had."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Request, Value
from hpcsweep.packing import element_request
from hpcsweep.retry import Wish
from hpcsweep.runs.run import Run
from hpcsweep.runs.scripts import ArrayWriter

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(\[[0-9,-]+\][A-Za-z0-9_.-]*)*", re.ASCII)
_NODES_HINT = "write them as the scheduler does: node07 or node[11-12]"

CHANGED_KEYS = ("cpus", "gpus", "gpu_type", "partition", "account", "qos", "tmp")
"""The keys of ``resources:`` that can be given anew, beside time and memory."""


def parse_wish(*, memory: str | None, time: str | None, exclude_nodes: Sequence[str], given: Mapping[str, Value]) -> Wish:
    """``--memory x2 --time 4h --exclude-node node07 --cpus 8`` as a wish.

    Raises:
        HpcsweepError: an amount that is none.
    """
    from hpcsweep.sweepfile.resources import RESOURCE_KEYS  # noqa: PLC0415 - only a changed request needs it
    from hpcsweep.sweepfile.retry_kind import parse_change  # noqa: PLC0415
    from hpcsweep.sweepfile.units import parse_memory, parse_time  # noqa: PLC0415

    fields = {RESOURCE_KEYS[key].field: _read(key, value) for key, value in given.items()}
    changes = {}
    for name, text, parse in (("memory", memory, parse_memory), ("time", time, parse_time)):
        if text is not None:
            try:
                changes[name] = parse_change(text, parse)
            except HpcsweepError as error:
                raise HpcsweepError(f"--{name}: {error.message}", error.hint) from error
    nodes = tuple(node for text in exclude_nodes for node in _split_nodes(text))
    if exclude_nodes and not nodes:
        raise HpcsweepError("--exclude-node names no nodes", _NODES_HINT)
    for node in nodes:
        if not _NODE.fullmatch(node):
            raise HpcsweepError(f"--exclude-node: `{node}` is no node", _NODES_HINT)
    return Wish(memory=changes.get("memory"), time=changes.get("time"), fields=fields, exclude_nodes=nodes)


def _read(key: str, value: Value) -> Any:
    from hpcsweep.sweepfile.resources import RESOURCE_KEYS  # noqa: PLC0415

    try:
        return RESOURCE_KEYS[key].read(value)
    except HpcsweepError as error:
        raise HpcsweepError(f"--{key.replace('_', '-')}: {error.message}", error.hint) from error


def _split_nodes(text: str) -> list[str]:
    """``n1,n[3-5]``: the comma inside of brackets parts nothing."""
    parts, depth = [""], 0
    for char in text:
        depth += (char == "[") - (char == "]")
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]


def wished_requests(run: Run, tasks: Sequence[int], wish: Wish) -> dict[int, tuple[Request, Request]]:
    """Task -> what its last attempt asked for, and what the next one shall; nothing where nothing else is wished.

    Raises:
        HpcsweepError: the scheduler cannot express it.
    """
    if wish == Wish():
        return {}
    if wish.exclude_nodes and not run.scheduler.excludes_nodes:
        raise HpcsweepError(
            f"--exclude-node: {run.scheduler.name} has no word for it",
            "leave it out; a node that is down is left out by itself",
        )
    requests = {}
    for task in tasks:
        last = run.request_of(task)
        requests[task] = (last, wish.over(last))
    options = run.settings.scheduler_options.get(run.scheduler.name, {})
    writer = ArrayWriter(run)
    for task in {new: task for task, (_, new) in requests.items()}.values():
        array, _position = run.ledger.current[task]
        for problem in run.scheduler.problems(element_request(requests[task][1], array.packing), options):
            raise HpcsweepError(problem.message, problem.hint)
        writer.script(replace(array, request=requests[task][1]), [])  # the user's own script may contradict it
    return requests


def describe_request(request: Request) -> str:
    """``time=2h memory=8G gpus=1``: the request in the words of the sweep file."""
    from hpcsweep.render.facts import resource_facts  # noqa: PLC0415 - only shown where it is asked for

    facts = {
        key: value for key, value in resource_facts(request).items() if key != "queue" and not key.endswith(("_s", "_bytes"))
    }
    if request.exclude_nodes:
        facts["exclude_nodes"] = ",".join(request.exclude_nodes)
    return " ".join(f"{key}={value}" for key, value in facts.items()) or "the site's defaults"
