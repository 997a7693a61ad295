"""What qstat and pbsnodes print of queues and nodes, on PBS and on Torque, read. Pure: text in, values out; no input raises."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from hpcsweep.model import Completed
from hpcsweep.schedulers.base import NoAnswer, Queue
from hpcsweep.schedulers.qsub_answers import failure_of, seconds_of

# Long values go on in the next lines, behind a tab; Slurm's own qstat has the fields themselves behind one.
_HEAD = re.compile(r"^Queue:[ \t]+(\S+)[ \t]*$", re.MULTILINE)
_FIELD = re.compile(r"^(?:    |\t)(\w+(?:\.\w+)?) = (.*(?:\n\t(?![\w.]+ = ).*)*)$", re.MULTILINE)
_NODE_FIELD = re.compile(r"^ +(\S+) = (.*)$", re.MULTILINE)
_TRUE = frozenset({"True", "yes"})
_ACCESS = {"acl_user_enable": "users", "acl_group_enable": "groups", "acl_host_enable": "hosts"}
_GPU_FIELDS = ("resources_available.ngpus", "gpus")  # PBS's and Torque's


def read_queues(answers: Sequence[Completed]) -> list[Queue] | NoAnswer:
    """The queues of ``qstat -Q -f``, the default of ``qstat -B -f``, the GPUs of ``pbsnodes -a``; the last two may fail.

    Torque prints of ``enabled`` and ``started`` only what is true.
    """
    listed, server, nodes = answers
    if problem := failure_of("qstat", listed):
        return problem
    default = re.search(r"^    default_queue = (\S+)$", server.stdout, re.MULTILINE)
    gpus = _read_gpus(nodes.stdout) if nodes.returncode == 0 else {}
    queues = [_read_queue(name, fields, gpus, default[1] if default else "") for name, fields in _read_fields(listed.stdout)]
    if listed.stdout.strip() and not queues:
        return NoAnswer(message=f"qstat printed what cannot be read: {listed.stdout.strip()[:200]}")
    return queues


def _read_fields(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    _, *parts = _HEAD.split(text)
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        yield name, {key: value.replace("\n\t", "") for key, value in _FIELD.findall(body)}


def _read_queue(name: str, fields: Mapping[str, str], gpus: Mapping[str, Sequence[str]], default: str) -> Queue:
    limit_s = seconds_of(fields.get("resources_max.walltime", ""))
    is_enabled, is_started = (fields.get(key) in _TRUE for key in ("enabled", "started"))
    notes = [words for words, holds in (("it takes no jobs", is_enabled), ("it starts no jobs", is_started)) if not holds]
    if destinations := fields.get("route_destinations"):
        notes.append(f"it hands its jobs on to {destinations}")
    if closed := [whom for key, whom in _ACCESS.items() if fields.get(key) in _TRUE]:
        notes.append(f"only for some {' and '.join(closed)}")
    return Queue(
        name=name,
        is_default=name == default,
        is_open=is_enabled and is_started,
        time_limit_s=None if limit_s is None else int(limit_s),
        gpus=", ".join(dict.fromkeys([*gpus.get(name, ()), *gpus.get("", ())])),
        note="; ".join(notes),
    )


def _read_gpus(text: str) -> dict[str, list[str]]:
    """Queue -> how many GPUs its nodes have; "" for nodes that belong to no single queue."""
    found: dict[str, list[str]] = {}
    for block in re.split(r"\n\s*\n", text):
        fields = dict(_NODE_FIELD.findall(block))
        count = next((fields[name] for name in _GPU_FIELDS if name in fields), "0").strip()
        if count.isdecimal() and int(count):
            found.setdefault(fields.get("queue", ""), []).append(count)
    return found
