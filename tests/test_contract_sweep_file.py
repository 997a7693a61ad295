"""The sweep file from outside: what the page of its rules says, asked of ``hpcsweep show`` and ``submit --dry-run``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from hpcsweep import ParamSpace
from hpcsweep.__main__ import main


class Show:
    """``hpcsweep show`` on this machine, in a folder of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, text: str, *options: str) -> tuple[int, str, str]:
        Path("s.yaml").write_text(dedent(text), encoding="utf-8")
        self._capsys.readouterr()
        code = main(["show", "s.yaml", "--scheduler", "local", *options])
        out, err = self._capsys.readouterr()
        return code, out, err

    def json(self, text: str, *options: str) -> dict[str, Any]:
        code, out, err = self.run(text, "--json", *options)
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)
        return found

    def points(self, text: str, *options: str) -> list[dict[str, Any]]:
        code, out, err = self.run(text, "--points", *options)
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    def error(self, text: str, *options: str) -> str:
        code, _, err = self.run(text, "--json", *options)
        assert code == 1, err
        return err

    def places(self, text: str) -> list[tuple[int, int]]:
        """Line and column of every fault."""
        return [(int(line), int(column)) for line, column in re.findall(r"s\.yaml:(\d+):(\d+): ", self.error(text))]


@pytest.fixture
def show(tmp_path, monkeypatch, capsys) -> Show:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("HPCSWEEP_PROFILE", raising=False)
    return Show(capsys)


class TestSpace:
    def test_layers_with_widths_of_their_own(self, show):
        blocks = [
            f"    - {{n_layers: {n}, " + ", ".join(f"width_{k}: {{range: [0, 10]}}" for k in range(1, n + 1)) + "}"
            for n in range(1, 5)
        ]
        found = show.json("space:\n  sum:\n" + "\n".join(blocks) + "\n")
        assert found["points"] == found["tasks"] == 11 + 11**2 + 11**3 + 11**4
        assert found["head"][0] == {"n_layers": 1, "width_1": 0}

    def test_a_sum_in_a_product_in_a_zip_in_a_group_with_replicates(self, show):
        text = """
            space:
              g:
                zip:
                  - product:
                      - sum: [{o: sgd, m: [0, 1]}, {o: adam}]
                      - {e: [5, 6]}
                  - {lr: [1, 2, 3, 4, 5, 6]}
                replicate: {seed: 2}
        """
        points = show.points(text)
        assert len(points) == 12
        assert points[0] == {"g.o": "sgd", "g.m": 0, "g.e": 5, "g.lr": 1, "g.seed": 0}
        assert points[-1] == {"g.o": "adam", "g.e": 6, "g.lr": 6, "g.seed": 1}

    def test_equal_items_of_a_list_are_said_and_counted(self, show):
        text = "space: {a: [1, 1, 2, 1.0], b: [x, y]}\n"
        code, out, err = show.run(text, "--json")
        found = json.loads(out)
        assert (code, found["points"], found["dropped"]) == (0, 6, 2)
        assert "{value: [...]}" in err
        assert found["warnings"]

    def test_equal_points_are_shown(self, show):
        _, out, _ = show.run("space:\n  sum:\n    - {a: [1, 2]}\n    - {a: [2, 3]}\n")
        assert re.search(r'equal points dropped: 1 .*"a": 2', out)

    def test_negative_zero_is_zero_in_the_point_too(self, show):
        text = "space: {a: [-0.0], b: {value: [-0.0, {c: -0.0}]}, replicate: {seed: [-0.0]}}\ncommand: echo {{ a }}\n"
        found = show.json(text)
        assert json.dumps(found["head"][0]) == '{"a": 0.0, "b": [0.0, {"c": 0.0}], "seed": 0.0}'
        assert found["command"] == "echo 0.0"

    def test_a_huge_space_with_a_condition_is_looked_at_up_to_a_limit(self, show, monkeypatch):
        monkeypatch.setattr("hpcsweep.runs.preview.MOST_LOOKED_AT", 1000)
        huge = "space: {a: {range: [1, 10000]}, b: {range: [1, 10000]}, c: {range: [1, 10000]}}\n"
        found = show.json(huge + "where: a < c\n")
        assert found["points"] == 999
        assert not found["is_complete"]
        assert "looked at no further" in show.run(huge + "where: a < c\n")[1]
        assert "a > b * 10000" in show.error(huge + "where: a > b * 10000\n")
        assert show.json(huge)["points"] == 10**12

    def test_words_of_other_tools_in_a_list_show_the_replacement(self, show):
        assert "write the list itself" in show.error("space: {a: [1, {choice: [2, 3]}]}\n")
        assert "did you mean range:" in show.error("space: {a: [1, {rang: [2, 3]}]}\n")

    def test_a_parameter_may_be_called_grid(self, show):
        assert show.json("space: {grid: [64, 128]}\n")["points"] == 2
        assert "set:" in show.error("space: {grid: {a: [1, 2]}}\n")

    def test_resources_by_point_make_arrays(self, show):
        text = "space: {w: [1, 2, 3], x: [1, 2]}\nresources: {memory: '{{ 8 if w > 1 else 4 }}G'}\ncanary: 1\n"
        assert show.json(text)["arrays"] == 3  # the canary, the rest of the small ones, the large ones
        assert show.json(text.replace("canary: 1\n", ""))["arrays"] == 2
        assert show.json(text.replace("canary: 1", "array: {mode: jobs}"))["arrays"] == 6


class TestExpressions:
    def test_an_if_without_else_has_no_value(self, show):
        for text in ("derive: {b: 'a if a > 1'}", "where: not (a > 5 if a > 1)"):
            assert "`if` without `else`" in show.error(f"space: {{a: [1, 2]}}\n{text}\n")

    def test_what_fails_at_a_point_says_where_it_is_written(self, show):
        space = "space: {a: [2, 0]}\n"
        assert "s.yaml:2:13: derive: b: " in (error := show.error(space + "derive: {b: 1 / a}\n"))
        assert '{"a":0}' in error
        assert "s.yaml:2:8: where: a: gives 2" in show.error(space + "where: a\n")
        assert "s.yaml:2: resources.memory: " in show.error(space + "resources: {memory: '{{ a }}'}\n")


class TestCommands:
    def test_a_here_document_may_end_with_the_command(self, show):
        text = "space: {a: 1}\ncommand: |-\n  cat <<EOF\n  {{ a | raw }}\n  EOF\n"
        command = show.json(text)["command"]
        assert subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout == "1\n"

    def test_set_takes_an_expression_as_it_is_written(self, show):
        found = show.json("space: {a: [1, 2]}\n", "--set", "resources.memory={{ 4 * a }}G")
        assert found["settings"]["resources"] == {"memory": "{{ 4 * a }}G"}
        assert found["arrays"] == 2


class TestFaults:
    def test_a_dozen_faults_are_twelve_faults(self, show):
        text = """\
            nam: x
            space:
              lr: [0.1, 0.2]
              bs: []
              mom: {choice: [1, 2]}
              ok: {range: [5, 1]}
              b: !!python/object:os.system x
              d: {a:1}
              lr: 3
              2bad: 3
            command: echo {{ nope }}
            where: lrr > 1
            exclude: {zz: 1}
            resources: {time: 30}
            slurm: {constrait: a100}
        """
        assert show.places(text) == [
            (1, 1),
            (4, 7),
            (5, 9),
            (6, 15),
            (7, 6),
            (8, 7),
            (9, 3),
            (10, 3),
            (11, 18),
            (12, 8),
            (13, 11),
            (14, 19),
            (15, 9),
        ]

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ("{constrait: a100}", "did you mean"),
            ("{mem: 8G, mem-per-cpu: 2G}", "mem"),
            ("{array: 1-3}", "hpcsweep's own"),
        ],
    )
    def test_options_of_slurm_are_checked_where_there_is_none(self, show, options, said):
        error = show.error(f"space: {{a: 1}}\nslurm: {options}\n")
        assert re.search(r"s\.yaml:2:\d+: ", error)
        assert said in error

    def test_options_of_slurm_are_compared_with_the_resources(self, show):
        error = show.error("space: {a: 1}\nslurm: {mem-per-cpu: 2G}\nresources: {memory: 8G}\n")
        assert "resources.memory" in error
        assert "slurm.mem-per-cpu" in error


class TestPython:
    def test_a_million_points_are_not_kept(self):
        program = """
import resource
from itertools import islice
from hpcsweep import ParamSpace
space = ParamSpace(**{name: range(10) for name in "abcdef"})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert len(space) == sum(1 for _ in space) == 10**6
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        assert int(done.stdout) < 20_000  # kB

    def test_negative_zero(self):
        assert repr(next(iter(ParamSpace(a=[-0.0])))) == "{'a': 0.0}"


class TestTemplates:
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("{% block stup %}x{% endblock %}", "did you mean `setup`"),
            ("#SBATCH --mail-type=END", "#SBATCH --mail-type=END"),
            ("module load cuda", "outside of all blocks"),
        ],
    )
    def test_nothing_of_a_template_is_left_out_in_silence(self, show, body, said):
        Path("my.sh.j2").write_text('{% extends "slurm.sh.j2" %}\n# a comment of mine\n' + body + "\n", encoding="utf-8")
        assert said in show.error("space: {a: 1}\ncommand: echo\ntemplate: my.sh.j2\n")


class TestProfiles:
    def test_a_match_may_be_the_full_name_of_the_host(self, show, monkeypatch):
        monkeypatch.setattr("socket.gethostname", lambda: "login2")
        monkeypatch.setattr("socket.getfqdn", lambda: "login2.alpine.example.org")
        text = 'profiles: {alpine: {match: "login*.alpine.example.org", resources: {account: lab}}}\n'
        Path("hpcsweep.yaml").write_text(text, encoding="utf-8")
        assert show.json("space: {a: 1}\n")["settings"]["resources"] == {"account": "lab"}

    def test_options_of_their_own_are_origins(self, show):
        assert show.json("space: {a: 1}\n")["origins"]["scheduler"] == "--scheduler"


def test_an_included_point_that_is_there_already_is_dropped_and_said(show):
    text = "space: {a: [1, 2]}\ninclude: [{a: 2}, {a: 3}, {a: 3}]\n"
    found = show.json(text)
    assert (found["points"], found["dropped"]) == (3, 2)
    assert "equal points dropped: 2" in show.run(text)[1]


def test_a_keyword_beside_the_space_is_told_where_it_belongs(show):
    assert "it goes under space: {sum: ...}" in show.error("space: {x: 1}\nsum: [{a: 1}]\n")
