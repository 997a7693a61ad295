import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsweep.errors import FileFaults, HpcsweepError
from hpcsweep.model import Container, Finally, Settings, Signal, Stage
from hpcsweep.sweepfile import Sweep, load_profile_settings, load_sweep, settings_from_json, settings_to_json
from hpcsweep.sweepfile.load import expand_path
from hpcsweep.sweepfile.settings import KEYS, SPACE_KEYS

SIMPLE = "command: python train.py {{ params | flags }}\nspace: {lr: [0.1, 0.2]}\n"


def load(text, path="sweeps/lr.yaml", files=None, **options) -> Sweep:
    def read_file(name):
        if name not in (files or {}):
            raise FileNotFoundError(2, "No such file or directory", name)
        return files[name]

    settled = {"profiles": (), "profile": None, "environ": {}, "host": "somewhere"} | options
    return load_sweep(text.encode(), path, read_file=read_file, **settled)


def faults_of(text, **options):
    with pytest.raises(FileFaults) as caught:
        load(text, **options)
    return caught.value.faults


def fault_of(text, **options):
    (fault,) = faults_of(text, **options)
    return fault


def test_a_simple_file():
    sweep = load(SIMPLE)
    assert sweep.settings == Settings(name="lr", command="python train.py {{ params | flags }}")
    assert list(sweep.space.points()) == [{"lr": 0.1}, {"lr": 0.2}]
    assert sweep.names == ("lr",)
    assert sweep.text == SIMPLE.encode()
    assert sweep.warnings == ()
    assert sweep.profile is None


def test_a_whole_file():
    sweep = load(
        """
name: optimizers
command: [python, train.py, "{{ params | flags }}"]
space: {lr: [0.1, 0.2], model: {width: 64}, replicate: {seed: 2}}
derive: {warmup: "lr * 2"}
scheduler: local
template: job.sh
resources: {time: 2h, memory: "{{ model.width }}M", queue: short, account: lab, gpus: 4}
slurm: {constraint: a100}
array: {at_once: 50, mode: jobs}
workdir: task
files: {input.nml: decks/input.nml.j2}
stdin: in.txt
link: [data]
env: {OMP_NUM_THREADS: "{{ resources.cpus }}", GONE: null}
setup: module load cuda
container: {image: x.sif, nv: true, bind: /data}
metrics: out.csv
objective: loss:min
canary: 1
max_failures: 20
finally: {command: python summary.py, when: ended, resources: {time: 10m}}
runs_dir: $SCRATCH/runs
umask: 027
group: lab
settle: 10m
""",
        files={
            "sweeps/job.sh": "#!/bin/bash\n{{ hpcsweep }}\n",
            "sweeps/decks/input.nml.j2": "lr = {{ lr }}\n",
            "sweeps/in.txt": "{{ model.width }}\n",
        },
        environ={"SCRATCH": "/scratch/me"},
    )
    assert sweep.names == ("lr", "model.width", "warmup", "seed")
    assert sweep.settings == Settings(
        name="optimizers",
        command=("python", "train.py", "{{ params | flags }}"),
        scheduler="local",
        template="#!/bin/bash\n{{ hpcsweep }}\n",
        template_path="sweeps/job.sh",
        resources={"time": "2h", "memory": "{{ model.width }}M", "partition": "short", "account": "lab", "gpus": 4},
        scheduler_options={"slurm": {"constraint": "a100"}},
        at_once=50,
        array_mode="jobs",
        workdir="task",
        files={"input.nml": "lr = {{ lr }}\n"},
        files_paths={"input.nml": "sweeps/decks/input.nml.j2"},
        stdin="{{ model.width }}\n",
        link=("data",),
        env={"OMP_NUM_THREADS": "{{ resources.cpus }}"},
        setup="module load cuda",
        container=Container(image="x.sif", nv=True, bind=("/data",)),
        metrics=("out.csv",),
        objective="loss:min",
        replicates=("seed",),
        canary=1,
        max_failures=20,
        finally_=Finally(
            command="python summary.py", when="ended", resources={"partition": "short", "account": "lab", "time": "10m"}
        ),
        runs_dir="/scratch/me/runs",
        umask=0o27,
        group="lab",
        settle_s=600,
    )


def test_where_each_setting_came_from():
    sweep = load(
        SIMPLE + "resources:\n  time: 1h\n  cpus: 2\n",
        profiles=[("/home/u/config.yaml", "runs_dir: /r\nprofiles:\n  alpine:\n    resources: {account: lab, cpus: 8}")],
        profile="alpine",
        settings=["resources.time=2h"],
    )
    assert sweep.profile == "alpine"
    assert sweep.settings.resources == {"account": "lab", "cpus": 2, "time": "2h"}
    expected = {
        "command": "sweeps/lr.yaml:1",
        "space": "sweeps/lr.yaml:2",
        "resources.cpus": "sweeps/lr.yaml:5",
        "resources.time": "--set",
        "resources.account": "profile alpine (/home/u/config.yaml:4)",
        "runs_dir": "/home/u/config.yaml:1",
        "scheduler": "default",
    }
    assert {key: sweep.origins[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("setting", "field", "value"),
    [
        ("resources.time=1h", "resources", {"time": "1h"}),
        ("resources={time: 1h, cpus: 2}", "resources", {"time": "1h", "cpus": 2}),
        ("name=other", "name", "other"),
        ("command=echo {{ lr }} # no comment", "command", "echo {{ lr }} # no comment"),
        ("array.at_once=3", "at_once", 3),
        ("env.A=x=y", "env", {"A": "x=y"}),
        ("slurm.nice=5", "scheduler_options", {"slurm": {"nice": 5}}),
        ("metrics=[a.csv, b.csv]", "metrics", ("a.csv", "b.csv")),
        ("finally.command=echo", "finally_", Finally(command="echo")),
        ("umask=027", "umask", 0o27),
        ("scheduler=local", "scheduler", "local"),
    ],
)
def test_set_changes_any_setting(setting, field, value):
    assert getattr(load(SIMPLE, settings=[setting]).settings, field) == value


def test_set_reaches_conditions_and_sample():
    sweep = load("command: x\nspace: {lr: {uniform: [0, 1]}}\nsample: {n: 5}", settings=["sample.n=7", "where=lr > 0.5"])
    points = list(sweep.space.points())
    assert len(points) == 7
    assert all(point["lr"] > 0.5 for point in points)


def test_the_later_set_wins_and_null_takes_away():
    settings = ["resources.cpus=2", "resources.cpus=4", "resources.account=null"]
    assert load(SIMPLE + "resources: {account: lab}", settings=settings).settings.resources == {"cpus": 4}


@pytest.mark.parametrize(
    ("setting", "message", "hint"),
    [
        ("resources.tme=1h", "no key `tme`", "did you mean `time`?"),
        ("resurces.time=1h", "unknown key `resurces`", "did you mean `resources`?"),
        ("resources.time=30", "no unit", "30m or 30s"),
        ("name.x=1", "no keys below", "--set name=VALUE"),
        ("space.lr=1", "not changed by --set", "-p lr="),
        ("name", "expected KEY=VALUE", "--set resources.time=1h"),
        ("search.trials=3", "not yet", ""),
        ("retry.omo.memory=x2", "no key `omo`", "did you mean `oom`?"),
        ("retry.oom.memory=x1", "no larger amount", "x2, x1.5"),
    ],
)
def test_faults_of_set(setting, message, hint):
    fault = fault_of(SIMPLE, settings=[setting])
    assert message in fault.message
    assert hint in fault.hint
    assert str(fault.place) == f"--set {setting}"


def test_parameters_from_the_command_line():
    sweep = load(SIMPLE, params=["lr=1,2,3", "wd=0.1"])
    assert [point["lr"] for point in sweep.space.points()] == [1, 2, 3]
    assert sweep.names == ("lr", "wd")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("space: {lr: 1}", "a `command` is missing"),
        ("command: ~\nspace: {lr: 1}", "a `command` is missing"),
        ("command: x {{ lrr }}\nspace: {lr: 1}", "lrr"),
        ("command: [x, '{{ lrr }}']\nspace: {lr: 1}", "lrr"),
        ("command: x\nspace: {params: 1}", "`params` cannot be a parameter"),
        ("command: x\nspace: {lr: 1}\nderive: {hpcsweep: lr}", "`hpcsweep` cannot be a parameter"),
        ("command: x\nspace: {a.b: 1, a_b: 2}", "HPCSWEEP_PARAM_a_b"),
        ("command: x\nspace: {lr: 1}\nfinally: {command: 'echo {{ lr }}'}", "finally.command"),
        ("command: x\nspace: {lr: 1}\nruns_dir: $NOWHERE/x", "$NOWHERE is not set"),
        ("command: x\nspace: {lr: 1}\ntemplate: job.sh", "sweeps/job.sh cannot be read"),
        ("command: x\nspace: {lr: 1}\nstdin: in.txt", "sweeps/in.txt cannot be read"),
        ("command: x\nspace: {lr: 1}\nfiles: {a: b}", "sweeps/b cannot be read"),
        ("command: x\nspace: {lr: 1}\nresources: {cpus: '{{ width }}'}", "there is no parameter `width`"),
        ("command: x\nspace: {lr: []}", "lr"),
        ("command: x\nspace: {lr: 1}\nmatch: x", "unknown key `match`"),
        (
            "command: x\nspace: {lr: 1}\nsignal: {name: USR1, before: 1m}\nslurm: {signal: 'B:USR1@60'}",
            "slurm.signal and signal say the same thing",
        ),
    ],
)
def test_faults_over_the_whole(text, message):
    assert message in fault_of(text).message


def test_names_that_clash_are_told_once():
    fault = fault_of("command: x {{ params | flags }}\nspace: {a-b: 1, a_b: 2}\nresources: {cpus: '{{ a_b }}'}")
    assert "HPCSWEEP_PARAM_a_b" in fault.message
    assert (fault.place.line, fault.place.column) == (2, 17)


def test_the_place_of_an_expression_is_inside_its_text():
    fault = fault_of("command: x\nspace: {lr: 1}\nresources: {cpus: '{{ lr + width }}'}")
    assert fault.place.line == 3
    assert fault.place.column > 20


def test_tables_are_beside_the_sweep_file():
    assert load("command: x\nspace: {csv: points.csv}", files={"sweeps/points.csv": "lr\n0.1\n0.2\n"}).names == ("lr",)
    assert "nowhere.csv" in fault_of("command: x\nspace: {csv: nowhere.csv}").message


def test_all_faults_come_at_once():
    faults = faults_of("command: x {{ a }}\nspace: {lr: []}\nresources: {time: 5}\nfoo: 1", settings=["bar=1"])
    told = "\n".join(map(str, faults))
    assert all(part in told for part in ("lr", "no unit", "`foo`", "`bar`"))


def test_the_place_of_a_fault_is_in_the_file_that_has_it():
    fault = fault_of(SIMPLE, profiles=[("config.yaml", "\nresources: {time: 5}")])
    assert str(fault.place) == "config.yaml:2:19"


def test_a_setting_that_is_overridden_is_not_held_against_anyone():
    assert load(SIMPLE + "resources: {time: 1h}", profiles=[("config.yaml", "resources: {time: 5}")]).settings.resources == {
        "time": "1h"
    }


def test_faults_in_a_rendered_file_show_its_own_line():
    fault = fault_of(SIMPLE + "files: {in.nml: deck.j2}", files={"sweeps/deck.j2": "a\nlr = {{ lrr }}\n"})
    assert fault.place.file == "sweeps/deck.j2"
    assert "lrr" in fault.message


def test_without_a_command_only_where_none_is_needed():
    assert load("space: {lr: 1}", needs_command=False).settings.command is None


def test_a_comment_that_cuts_a_command_is_warned_of():
    (warning,) = load("command: echo a # b\nspace: {lr: 1}").warnings
    assert warning.startswith("sweeps/lr.yaml:1:10: ")
    assert "# b" in warning
    assert load("command: 'echo a # b'\nspace: {lr: 1}").warnings == ()
    assert load("command: echo\nspace: {lr: 1}\nsetup: module load cuda  # once an element").warnings == ()


def test_files_of_a_profile_are_beside_it():
    sweep = load(
        SIMPLE, profiles=[("/home/u/hpcsweep/config.yaml", "template: job.sh")], files={"/home/u/hpcsweep/job.sh": "x"}
    )
    assert sweep.settings.template == "x"


def test_a_built_in_template_needs_no_file():
    settings = load(SIMPLE + "template: slurm.sh.j2").settings
    assert settings.template == '{% extends "slurm.sh.j2" %}\n'
    assert load(SIMPLE + "template: slurm.sh.j2", files={"sweeps/slurm.sh.j2": "own"}).settings.template == "own"


@pytest.mark.parametrize(
    ("path", "expanded"),
    [
        ("~/runs", "/home/u/runs"),
        ("~", "/home/u"),
        ("/scratch/$USER/runs", "/scratch/u/runs"),
        ("/scratch/${USER}x", "/scratch/ux"),
        ("a~/b", "a~/b"),
        ("runs", "runs"),
    ],
)
def test_paths_with_variables(path, expanded):
    assert expand_path(path, {"USER": "u", "HOME": "/home/u"}) == expanded


@pytest.mark.parametrize("path", ["$NONE/x", "~other/x", "$EMPTY"])
def test_paths_that_cannot_be_known(path):
    with pytest.raises(HpcsweepError):
        expand_path(path, {"HOME": "/h", "EMPTY": ""})


def test_the_runs_folder_of_the_configuration_alone():
    settings = load_profile_settings(
        [("c.yaml", "profiles: {a: {match: login*, runs_dir: $HOME/r, template: not-read.sh}}")],
        profile=None,
        environ={"HOME": "/h"},
        host="login1",
    )
    assert settings.runs_dir == "/h/r"
    assert load_profile_settings([], profile=None, environ={}, host="x").runs_dir == "runs"


@pytest.mark.parametrize(
    "data", [{}, {"name": 1, "command": {"a": 1}, "container": 5}, {"name": "x", "command": "x", "link": 3}]
)
def test_damaged_settings_are_told(data):
    with pytest.raises(HpcsweepError, match=r"run\.json"):
        settings_from_json(data)


def test_settings_of_a_newer_and_an_older_version():
    data = settings_to_json(Settings(name="x", command="y", finally_=Finally(command="z")))
    data["new"] = 1
    data["finally"]["new"] = 1
    del data["metrics"]
    assert settings_from_json(data) == Settings(name="x", command="y", finally_=Finally(command="z"))


TEXTS = st.text(max_size=8)
VALUES = st.none() | st.booleans() | st.integers() | TEXTS
COMMANDS = TEXTS | st.lists(TEXTS, min_size=1, max_size=3).map(tuple)
SETTINGS = st.builds(
    Settings,
    name=TEXTS,
    command=st.none() | COMMANDS,
    template=st.none() | TEXTS,
    resources=st.dictionaries(TEXTS, VALUES, max_size=3),
    scheduler_options=st.dictionaries(TEXTS, st.dictionaries(TEXTS, VALUES, max_size=2), max_size=2),
    files=st.dictionaries(TEXTS, TEXTS, max_size=2),
    link=st.lists(TEXTS, max_size=2).map(tuple),
    env=st.dictionaries(TEXTS, VALUES, max_size=3),
    container=st.none() | st.builds(Container, image=TEXTS, nv=st.booleans(), bind=st.lists(TEXTS, max_size=2).map(tuple)),
    metrics=st.lists(TEXTS, max_size=2).map(tuple),
    replicates=st.lists(TEXTS, max_size=2).map(tuple),
    finally_=st.none() | st.builds(Finally, command=COMMANDS, resources=st.dictionaries(TEXTS, VALUES, max_size=2)),
    signal=st.none() | st.builds(Signal, name=TEXTS, before_s=st.integers(1, 9), saved=st.integers(1, 125)),
    stage=st.none() | st.builds(Stage, inputs=st.lists(TEXTS, max_size=2).map(tuple), outputs=st.just(())),
    umask=st.none() | st.integers(0, 0o777),
    settle_s=st.floats(0, 1e6),
)


@settings(deadline=None)
@given(SETTINGS)
def test_settings_survive_run_json(settings):
    assert settings_from_json(json.loads(json.dumps(settings_to_json(settings)))) == settings


NODES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 100)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["{{ lr }}", "{{ nope }}", "{{", "1h", "8G", "site", "task", "min", "~/x", "$X", "a:min"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["lr", "time", "cpus", "command", "image", "when", "mode", "n", "sum", "A", "../x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*KEYS, *SPACE_KEYS, "other"]), NODES, max_size=5), NODES)
def test_any_file_is_a_sweep_or_a_list_of_faults(data, last):
    sweep = {"command": "x {{ lr }}", "space": {"lr": [1, 2]}} | data
    try:
        loaded = load(
            json.dumps(sweep), settings=[f"resources.time={json.dumps(last)}"], profiles=[("c.yaml", json.dumps({"env": last}))]
        )
        assert settings_from_json(json.loads(json.dumps(settings_to_json(loaded.settings)))) == loaded.settings
    except HpcsweepError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
