"""``--set resources.time=1h``: settings changed from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hpcsweep.errors import Faults, Place
from hpcsweep.sweepfile import nodes
from hpcsweep.sweepfile.profiles import Layer
from hpcsweep.sweepfile.setting_kinds import SCHEDULER_KEYS
from hpcsweep.sweepfile.settings import KEYS
from hpcsweep.sweepfile.yaml_reader import read_value

_NESTED = ("resources", "array", "container", "retry", "finally", "signal", "stage")
_FREE = (*SCHEDULER_KEYS, "env", "files")


def read_assignments(assignments: Sequence[str], faults: Faults) -> list[Layer]:
    """One layer for each ``--set``, so that the later wins."""
    layers = []
    for assignment in assignments:
        place = Place(file=f"--set {assignment if len(assignment) <= 80 else assignment[:77] + '...'}")
        key, equals, written = assignment.partition("=")
        if not equals or not key.strip():
            faults.add(place, "expected KEY=VALUE", "--set resources.time=1h")
            continue
        parts = _key_path(key.strip())
        if parts[0] in ("space", "spaces", "sweep"):
            faults.add(place, f"`{parts[0]}` is not changed by --set", "-p lr=0.1,0.2 replaces or adds a parameter")
            continue
        if len(parts) > 1 and parts[0] in KEYS and parts[0] not in (*_NESTED, *_FREE):
            faults.add(place, f"`{parts[0]}` has no keys below it", f"--set {parts[0]}=VALUE")
            continue
        node = read_value(written, place.file, faults)
        if node is None:
            continue
        if isinstance(node, nodes.Scalar):
            node = replace(node, place=place)
        for part in reversed(parts):
            node = nodes.Mapping(place=place, entries=((nodes.Scalar(place=place, value=part, text=part), node),))
        if isinstance(node, nodes.Mapping):
            layers.append(Layer(label="--set", mapping=node))
    return layers


def _key_path(key: str) -> list[str]:
    """``resources.time`` in its parts; in ``files.input.nml`` the name is ``input.nml``."""
    first, dot, rest = key.partition(".")
    if not dot:
        return [first]
    return [first, rest] if first in _FREE else [first, *rest.split(".")]
