"""The examples of docs/sweep-file.md are read by the program that they describe."""

import re
from pathlib import Path

import pytest

from hpcsweep.sweepfile import load_profile_settings, load_sweep
from hpcsweep.sweepfile.resources import RESOURCE_ALIASES, RESOURCE_KEYS
from hpcsweep.sweepfile.settings import ARRAY_KEYS, CONTAINER_KEYS, FINALLY_KEYS, KEYS, NOT_YET, SPACE_KEYS

PAGE = (Path(__file__).parents[2] / "docs" / "sweep-file.md").read_text(encoding="utf-8")
SWEEPS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
CONFIGURATIONS = re.findall(r"```yml\n(.*?)```", PAGE, re.DOTALL)


def load(text):
    if "space:" not in text and "spaces:" not in text:
        text += "\nspace: {lr: [0.1, 0.2]}\n"
    return load_sweep(
        text.encode(),
        "sweep.yaml",
        profiles=(),
        profile=None,
        environ={"USER": "u"},
        host="here",
        read_file=lambda _: "",
        needs_command=False,
    )


@pytest.mark.parametrize("text", SWEEPS, ids=lambda text: text.split("\n", 1)[0])
def test_each_example_is_a_sweep(text):
    sweep = load(text)
    assert next(iter(sweep.space.points(limit=1)), None) is not None
    assert not sweep.warnings


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_each_configuration_is_one(text):
    settings = load_profile_settings(
        [("config.yaml", text)], profile=None, environ={"USER": "u"}, host="login7.alpine.example.org"
    )
    assert settings.runs_dir == "/scratch/u/sweeps"


@pytest.mark.parametrize(
    ("first_line", "count"), [("command: python train.py {{ params | flags }}", 18), ("depth", 4 * 6 * 3 * 5)]
)
def test_the_numbers_that_the_page_gives(first_line, count):
    text = next(text for text in SWEEPS if first_line in text)
    assert len(list(load(text).space.points())) == count


def test_sums_and_zips_have_the_points_that_the_comments_say():
    counted = [
        (text, int(found[1])) for text in SWEEPS if (found := re.search(r"^# (?:.*= )?(\d+) points", text, re.MULTILINE))
    ]
    assert len(counted) == 2
    for text, count in counted:
        assert len(list(load(text).space.points())) == count


def test_every_key_is_on_the_page():
    keys = (*KEYS, *SPACE_KEYS, *RESOURCE_KEYS, *RESOURCE_ALIASES, *NOT_YET)
    nested = (*ARRAY_KEYS, *CONTAINER_KEYS, *FINALLY_KEYS)
    assert [key for key in keys if f"`{key}`" not in PAGE] == []
    assert [key for key in nested if not re.search(rf"\b{key}\b", PAGE)] == []
