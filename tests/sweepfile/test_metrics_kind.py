"""``metrics:``: patterns, readers by name, patterns for lines."""

import json

import pytest

from hpcsweep.errors import Faults, FileFaults
from hpcsweep.model import MetricsFrom, Settings
from hpcsweep.sweepfile import settings_from_json, settings_to_json
from hpcsweep.sweepfile.settings import read_settings
from hpcsweep.sweepfile.yaml_reader import read_yaml

LOGS = "attempt-*.log"
EPOCHS = "epoch {epoch:d} val_loss {val_loss:g}"


def read(text):
    faults = Faults()
    tree = read_yaml(text, "s.yaml", faults)
    values = read_settings(tree, faults, names=("lr",))
    faults.raise_any()
    return values["metrics"]


def line(reader, pattern, files=LOGS):
    return MetricsFrom(files=files, reader=reader, line=pattern)


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ('"*.csv"', ("*.csv",)),
        ('["*.csv", "out/{{ lr }}.csv"]', ("*.csv", "out/{{ lr }}.csv")),
        (f'{{log: "{EPOCHS}"}}', (line("parse", EPOCHS),)),
        (f'{{parse: "{EPOCHS}"}}', (line("parse", EPOCHS),)),
        (r"{log: 'loss=(?P<loss>\S+)'}", (line("regex", r"loss=(?P<loss>\S+)"),)),
        (r"{regex: 'loss=(?P<loss>\S+)'}", (line("regex", r"loss=(?P<loss>\S+)"),)),
        (f'{{log: ["a {{a:g}}", "{EPOCHS}"]}}', (line("parse", "a {a:g}"), line("parse", EPOCHS))),
        ("{log: {files: '*.out', parse: 'a {a}'}}", (line("parse", "a {a}", "*.out"),)),
        ("{csv: a.dat, tensorboard: [tb/*, x], files: '*.json'}", (
            MetricsFrom(files="a.dat", reader="table"),
            MetricsFrom(files="tb/*", reader="tensorboard"),
            MetricsFrom(files="x", reader="tensorboard"),
            "*.json",
        )),
        ('["*.csv", {log: "a {a}"}]', ("*.csv", line("parse", "a {a}"))),
    ],
)  # fmt: skip
def test_what_is_read(text, entries):
    assert read(f"metrics: {text}\n") == entries
    settings = Settings(name="x", command="y", metrics=entries)
    assert settings_from_json(json.loads(json.dumps(settings_to_json(settings)))) == settings


@pytest.mark.parametrize(
    ("text", "said", "column"),
    [
        ("{lgo: 'a {a}'}", "there is no reader `lgo`", 11),
        ("{log: 'epoch'}", "it names no value", 16),
        ("{log: 'loss {loss:zz}'}", "cannot be used as a pattern", 16),
        ("{regex: 'loss=(.*)'}", "it names no value", 18),
        ("{regex: '('}", "cannot be used as a regular expression", 18),
        ("{log: {files: x}}", "a pattern for its lines is missing", 16),
        ("{log: {parse: 'a {a}', file: x}}", "has no key `file`", 33),
        ("{csv: ../x}", "outside the task's folder", 16),
        ("{csv: 5}", "expected", 16),
        ("[]", "at least one", 10),
        ("{files: '{{ nothing }}'}", "nothing", 18),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, said, column):
    with pytest.raises(FileFaults) as caught:
        read(f"metrics: {text}\n")
    (fault,) = caught.value.faults
    assert said in str(fault)
    assert fault.place.column in (column, column + 1, column + 4)
