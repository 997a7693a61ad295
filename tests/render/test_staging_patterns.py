"""`stage:` for each point: patterns are the user's, values stand for themselves."""

from __future__ import annotations

import subprocess

import pytest

from hpcsweep.model import Stage
from hpcsweep.render.staging import StageSection
from hpcsweep.render.templates import read_runner

HOSTILE = ["*", "?", "[a]", "\\", "a\\*b", "it's", "$(touch x)", "a b", "!(a)", "é", "\n", "-n", "{a,b}"]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_matches_itself_alone(tmp_path, value):
    (tmp_path / "data").mkdir()
    for name in {*HOSTILE, "a", "b", "ab", "other"}:
        (tmp_path / "data" / f"{name}.npz").touch()
    (line,) = StageSection(Stage(inputs=("data/{{ v }}.np?",)), ["v"]).render({"v": value}, {})
    script = f'{read_runner()}\n{line}\nhpcsweep_set_globs\nhpcsweep_match "${{hpcsweep_stage_in[0]}}"\nprintf \'%s\\0\' "${{matches[@]}}"'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.split("\0")[:-1] == [f"data/{value}.npz"]


def test_without_stage_nothing_is_said():
    assert StageSection(None, ["v"]).render({"v": 1}, {}) == []
