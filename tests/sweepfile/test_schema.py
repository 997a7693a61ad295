import json
from pathlib import Path

import jsonschema
import pytest

from hpcsweep.errors import Faults
from hpcsweep.sweepfile import schema
from hpcsweep.sweepfile.nodes import to_data
from hpcsweep.sweepfile.settings import KEYS, SPACE_KEYS
from hpcsweep.sweepfile.yaml_reader import read_yaml

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(schema.sweep_schema())


def data_of(text):
    faults = Faults()
    tree = read_yaml(text, "s.yaml", faults)
    faults.raise_any()
    return to_data(tree)


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema.sweep_schema())


def test_the_shipped_file_is_what_the_table_says():
    shipped = Path(schema.__file__).with_name("sweep.schema.json").read_text(encoding="utf-8")
    assert shipped == schema.format_schema(), "run: python -m hpcsweep.sweepfile.schema > hpcsweep/sweepfile/sweep.schema.json"


def test_it_knows_every_key_and_says_what_it_is_for():
    properties = json.loads(schema.format_schema())["properties"]
    assert set(properties) == set(KEYS) | set(SPACE_KEYS)
    assert all(entry["description"] for entry in properties.values())


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_the_examples_are_valid(path):
    VALIDATOR.validate(data_of(path.read_bytes()))


@pytest.mark.parametrize(
    "text",
    [
        "space: {lr: [0.1, {geomspace: [1e-4, 1, 5]}], layers: {value: [64, 64]}, model: {width: [1, 2]}}\ncommand: x",
        "space: {sum: [{a: 1}, {zip: {a: [1, 2], b: [3, 4]}}], replicate: {seed: 3}}\ncommand: [a, 1]",
        "space: {x: {uniform: [0, 1], step: 0.1}}\nsample: {n: 5, per: x}\ncommand: x",
        "command: x\nspace: {}\nresources: {time: null, cpus: '{{ 3 }}', queue: a}",
        "spaces: {a: {x: 1}}\nsweep: a * 3\ncommand: x",
    ],
)
def test_good_files(text):
    VALIDATOR.validate(data_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "comand: x",
        "resources: {mem: 1G}",
        "array: {at_once: 0}",
        "scheduler: lsf",
        "command: {a: 1}",
        "sample: {m: 5}",
        "space: 5",
    ],
)
def test_bad_files(text):
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(data_of(text))
