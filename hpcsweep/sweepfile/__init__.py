"""The sweep file: from YAML text, profiles and the command line to settings and a space.

The names are loaded when they are first used: ``status`` needs the settings of a run, but neither YAML nor templates.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcsweep.sweepfile.frozen import settings_from_json, settings_to_json
    from hpcsweep.sweepfile.load import Sweep, load_profile_settings, load_sweep
    from hpcsweep.sweepfile.resources import RESOURCE_KEYS, resolve_request
    from hpcsweep.sweepfile.schema import sweep_schema
    from hpcsweep.sweepfile.units import format_memory, format_time, parse_memory, parse_time

__all__ = [
    "RESOURCE_KEYS",
    "Sweep",
    "format_memory",
    "format_time",
    "load_profile_settings",
    "load_sweep",
    "parse_memory",
    "parse_time",
    "resolve_request",
    "settings_from_json",
    "settings_to_json",
    "sweep_schema",
]

_HOMES = {
    "RESOURCE_KEYS": "resources",
    "Sweep": "load",
    "format_memory": "units",
    "format_time": "units",
    "load_profile_settings": "load",
    "load_sweep": "load",
    "parse_memory": "units",
    "parse_time": "units",
    "resolve_request": "resources",
    "settings_from_json": "frozen",
    "settings_to_json": "frozen",
    "sweep_schema": "schema",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
