"""What is built in Python and what stands in a sweep file are the same; templates; names that are parsed back."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies

import hpcsweep as hs
from hpcsweep.runs.prepare import SweepOptions, parse_sweep

VALUES = strategies.one_of(
    strategies.integers(-5, 2**40),
    strategies.floats(allow_nan=False, allow_infinity=False),
    strategies.booleans(),
    strategies.none(),
    strategies.sampled_from(["no", "1e-3", "24:00", "", " x ", "a: b", "é✓\n#", "{{ x }}", "null", "010", "~", "'\"\\"]),
    strategies.lists(strategies.integers(0, 3), max_size=2),
    strategies.dictionaries(strategies.sampled_from(["k", "l"]), strategies.integers(0, 3), max_size=2),
)


def points_of(sweep: hs.Sweep) -> list[dict]:
    return parse_sweep(sweep.to_yaml().encode(), "sweep.yaml", SweepOptions()).space.expand().points


@strategies.composite
def spaces(draw, names=("a", "sum", "range", "model.depth")):
    def block():
        some = draw(strategies.lists(strategies.sampled_from(names), min_size=1, max_size=3, unique=True))
        return hs.ParamSpace({name: draw(strategies.lists(VALUES, min_size=1, max_size=3)) for name in some})

    space = block()
    for _ in range(draw(strategies.integers(0, 2))):
        how = draw(strategies.sampled_from(["+", "*", "n"]))
        if how == "+":
            space = space + block()
        elif how == "n":
            space = draw(strategies.integers(1, 3)) * space
        else:
            space = space * hs.ParamSpace({f"f{len(space.names)}": draw(strategies.lists(VALUES, min_size=1, max_size=2))})
    return space


@given(spaces())
def test_the_file_has_the_points_of_the_space(space):
    wanted = list({hs.ParamSpace({name: [value] for name, value in point.items()})._shape(): point for point in space}.values())
    assert [repr(sorted(point.items())) for point in points_of(hs.Sweep(command="true", space=space))] == [
        repr(sorted(point.items())) for point in wanted
    ]


def test_settings_and_texts_survive():
    sweep = hs.Sweep(
        command="echo 'a'  \n  b # {{ x }}\n",
        space=hs.ParamSpace(x=range(1000)),
        resources={"time": "1h", "cpus": 2},
        finally_={"command": "echo done"},
        env={"A": "yes"},
    )
    loaded = parse_sweep(sweep.to_yaml().encode(), "sweep.yaml", SweepOptions())
    assert loaded.settings.command == "echo 'a'  \n  b # {{ x }}\n"
    assert loaded.settings.finally_.command == "echo done"
    assert loaded.settings.env == {"A": "yes"}
    assert "range: [0, 999, 1]" in sweep.to_yaml()


def test_one_point_without_a_space():
    assert points_of(hs.Sweep(command="true")) == [{}]
    assert points_of(hs.Sweep(command="true", space=hs.ParamSpace())) == [{}]


def test_what_a_template_comes_to():
    sweep = hs.Sweep.from_template(
        "#!/bin/bash -l\n#SBATCH --time=90\n#SBATCH -p short # why\n#SBATCH --mem 500\n#SBATCH -C a100\n#SBATCH --exclusive\n"
        "#SBATCH --output=x.out\ncd {submit_dir}; ./x --lr {lr:.2e} ${{#a}} {model.depth}\n",
        "run {lr:.2e}-{hash}",
        hs.ParamSpace({"lr": [0.1], "model.depth": 2}),
        resources={"cpus": 3},
    )
    loaded = parse_sweep(sweep.to_yaml().encode(), "sweep.yaml", SweepOptions())
    assert loaded.settings.name == "run"
    assert loaded.settings.workdir == "task"
    assert loaded.settings.resources == {"time": 5400, "partition": "short", "memory": 500 << 20, "cpus": 3} or dict(
        loaded.settings.resources
    ).keys() == {"time", "partition", "memory", "cpus"}
    assert loaded.settings.scheduler_options["slurm"] == {"constraint": "a100", "exclusive": True}
    assert "'%.2e' | format(lr)" in loaded.settings.command
    assert "params['model.depth']" in loaded.settings.command


@pytest.mark.parametrize(
    ("pattern", "name", "params"),
    [
        ("job_{type}_{param}_{hash}", "job_a_1_8f3a2b1c00aa11bb", {"type": "a", "param": 1}),
        ("job_{type}_{param}_{hash}", "job_a_b_1_8f3a2b1c00aa11bb", {"type": "a", "param": "b_1"}),
        ("{x}-{y}", "1e-05-true", {"x": "1e", "y": "05-true"}),
        ("x={x},y={y}", "x=1e-05,y=true", {"x": 1e-05, "y": True}),
        ("x={x} y={model.y}", "x=null y=NaN", {"x": None, "model.y": "NaN"}),
        ("{{a}}{x}", "{a}[1,2]", {"x": [1, 2]}),
        ("lr{lr:.2e}", "lr1.00e-03", {"lr": 0.001}),
    ],
)
def test_names_are_parsed_back(pattern, name, params):
    assert hs.parse_name(pattern, name) == params


def test_a_name_of_another_pattern():
    with pytest.raises(hs.HpcsweepError, match="does not fit"):
        hs.parse_name("job_{x}", "task_1")


def test_everything_public_is_there():
    for name in hs.__all__:
        assert getattr(hs, name) is not None
    with pytest.raises(AttributeError):
        hs.nonsense  # noqa: B018
