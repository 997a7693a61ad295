"""The JSON Schema of the sweep file (draft 2020-12), for completion and checks in editors. Made from the table of keys.

``python -m hpcsweep.sweepfile.schema`` prints it; sweep.schema.json beside this file is that output. The reader itself is
stricter than a schema can be: places, expressions and the rules between keys are its business alone.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from hpcsweep.sweepfile.kinds import Schema, describe
from hpcsweep.sweepfile.settings import KEYS, SPACE_KEYS

_TEXT_OR_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_SPACE: Schema = {"$ref": "#/$defs/space"}
_SPACES: Schema = {"type": "array", "items": _SPACE, "minItems": 1}
_NUMBERS: Schema = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3}

_FORMS: dict[str, tuple[str, Schema]] = {
    "value": ("Anything as one value: {value: [64, 64]}.", {}),
    "range": ("From, to (included when it is on the grid), step.", _NUMBERS),
    "linspace": ("From, to, how many: evenly spaced floats.", _NUMBERS),
    "geomspace": ("From, to, how many: floats of equal ratios.", _NUMBERS),
    "uniform": ("From, to; needs `sample:`.", _NUMBERS),
    "loguniform": ("From, to; needs `sample:`.", _NUMBERS),
    "normal": ("Mean, standard deviation; needs `sample:`.", _NUMBERS),
}
_SHAPES: dict[str, Schema] = {
    "space": _SPACE,
    "spaces": {"type": "object", "additionalProperties": _SPACE},
    "sweep": {"type": "string"},
    "sample": {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1, "description": "How many distinct points."},
            "method": {"enum": ["random", "sobol", "lhs"], "description": "How they are drawn."},
            "seed": {"type": "integer", "description": "The same seed draws the same points, everywhere."},
            "per": _TEXT_OR_TEXTS | {"description": "Draw n points for each combination of these parameters."},
        },
        "required": ["n"],
        "additionalProperties": False,
    },
    "derive": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
    "where": _TEXT_OR_TEXTS,
    "exclude": {"anyOf": [_SPACE, _SPACES]},
    "include": {"anyOf": [_SPACE, _SPACES]},
}


def sweep_schema() -> Schema:
    """The schema as plain data."""
    properties: dict[str, Schema] = {name: {"description": text, **_SHAPES[name]} for name, text in SPACE_KEYS.items()}
    properties |= {name: describe(key) for name, key in KEYS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hpcsweep sweep file",
        "description": "A parameter space, a command, and what each task asks for.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": {"space": _space_schema(), "values": _values_schema(), "form": _form_schema()},
    }


def _space_schema() -> Schema:
    """Keywords by name; every other key is a parameter or a group."""
    return {
        "type": "object",
        "properties": {
            "sum": {"description": "Each point takes exactly one of these blocks.", **_SPACES},
            "product": {"description": "Blocks that multiply.", **_SPACES},
            "zip": {
                "description": "Paired, of equal lengths: a mapping of columns, or a list of spaces.",
                "anyOf": [_SPACES, _SPACE],
            },
            "csv": {"description": "A table of points: header = names; relative to the sweep file.", "type": "string"},
            "replicate": {
                "description": "Repetitions, innermost, averaged over by collect: {seed: 3} is seed = 0, 1, 2.",
                "type": "object",
                "additionalProperties": {"$ref": "#/$defs/values"},
            },
            "set": {
                "description": "Parameters whose names are keywords: set: {sum: [1, 2]}.",
                "type": "object",
                "additionalProperties": {"$ref": "#/$defs/values"},
            },
        },
        "additionalProperties": {"$ref": "#/$defs/values"},
    }


def _values_schema() -> Schema:
    return {
        "description": "A constant, a list of alternatives, a form, or a group of parameters.",
        "anyOf": [
            {"type": ["string", "number", "boolean", "null"]},
            {"type": "array", "minItems": 1},
            {"$ref": "#/$defs/form"},
            {"$ref": "#/$defs/space"},
        ],
    }


def _form_schema() -> Schema:
    properties: dict[str, Any] = {name: {"description": text, **shape} for name, (text, shape) in _FORMS.items()}
    properties["step"] = {"description": "Puts a drawn value on a grid.", "type": "number"}
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in _FORMS],
    }


def format_schema() -> str:
    """The text of sweep.schema.json."""
    return json.dumps(sweep_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(format_schema())
