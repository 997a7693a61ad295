"""``wandb-summary.json``: the final values of a run of Weights & Biases. Of its own names (``_...``) three are kept."""

from __future__ import annotations

from typing import Any

from hpcsweep.readers import json_values
from hpcsweep.readers.base import Reading, Source

VERSION = 1
_KEPT = ("_step", "_runtime", "_timestamp")


def recognises(source: Source) -> bool:
    """Whether it has the name that wandb gives it."""
    return source.base == "wandb-summary.json" and json_values.recognises(source)


def read(source: Source) -> Reading:
    """The values; histograms, pictures and the like are left out."""
    found = json_values.parse_object(source.text)
    if isinstance(found, str):
        return Reading(notes=(found,))
    values = {
        name: value for name, value in found.items() if (not name.startswith("_") or name in _KEPT) and not _is_medium(value)
    }
    return Reading(finals=json_values.flatten(values), notes=() if values else ("has no values",))


def _is_medium(value: Any) -> bool:
    return isinstance(value, dict) and "_type" in value
