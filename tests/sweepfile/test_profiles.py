import pytest

from hpcsweep.errors import Faults, FileFaults
from hpcsweep.sweepfile.nodes import to_data
from hpcsweep.sweepfile.profiles import Layer, merge_layers, read_profiles
from hpcsweep.sweepfile.yaml_reader import read_yaml

USER = """
runs_dir: ~/sweeps
resources: {account: mine, partition: short}
profiles:
  alpine: {match: "login*.alpine.example.org", scheduler: slurm, resources: {account: lab}, setup: "module load anaconda"}
  laptop: {match: [thinkpad, mac*], scheduler: local}
"""
PROJECT = """
resources: {cpus: 2, queue: long}
profiles:
  alpine: {resources: {memory: 4G}}
"""
FILES = [("u.yaml", USER), ("p.yaml", PROJECT)]


def layers(files=FILES, *, profile=None, environ=None, host="elsewhere"):
    faults = Faults()
    found = read_profiles(files, profile=profile, environ=environ or {}, host=host, faults=faults)
    faults.raise_any()
    return found


def resolved(**options):
    found = layers(**options)
    merged, origins = merge_layers(found.layers)
    return to_data(merged), origins, found.profile


def test_without_a_profile_only_the_files_own_keys_count():
    data, origins, profile = resolved()
    assert profile is None
    assert data == {"runs_dir": "~/sweeps", "resources": {"account": "mine", "partition": "long", "cpus": 2}}
    assert origins == {
        "runs_dir": "u.yaml:2",
        "resources.account": "u.yaml:3",
        "resources.cpus": "p.yaml:2",
        "resources.partition": "p.yaml:2",
    }


@pytest.mark.parametrize(
    "options",
    [
        {"profile": "alpine"},
        {"environ": {"HPCSWEEP_PROFILE": "alpine"}},
        {"host": "login3.alpine.example.org"},
        {"host": "LOGIN3.Alpine.example.org"},
        {"host": "thinkpad", "profile": "alpine"},
        {"host": "thinkpad", "environ": {"HPCSWEEP_PROFILE": "alpine"}},
        {"environ": {"HPCSWEEP_PROFILE": "laptop"}, "profile": "alpine"},
    ],
)
def test_a_profile_is_chosen_by_option_variable_or_host(options):
    data, origins, profile = resolved(**options)
    assert profile == "alpine"
    assert data["scheduler"] == "slurm"
    assert data["resources"] == {"account": "lab", "partition": "long", "cpus": 2, "memory": "4G"}
    assert origins["resources.account"] == "profile alpine (u.yaml:5)"
    assert origins["resources.memory"] == "profile alpine (p.yaml:4)"


@pytest.mark.parametrize("host", ["thinkpad", "thinkpad.home.example.org", "mac7"])
def test_the_short_name_of_a_host_counts_too(host):
    assert layers(host=host).profile == "laptop"


def test_an_empty_variable_is_no_choice():
    assert layers(environ={"HPCSWEEP_PROFILE": ""}).profile is None


def test_an_unknown_profile_is_a_fault_with_the_nearest_name():
    with pytest.raises(FileFaults) as caught:
        layers(profile="alpin")
    assert "there is no profile `alpin`" in str(caught.value)
    assert "did you mean `alpine`?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("space: {lr: 1}", "belongs into a sweep file"),
        ("command: x", "belongs into a sweep file"),
        ("where: x", "belongs into a sweep file"),
        ("profiles: {a: {command: x}}", "belongs into a sweep file"),
        ("match: x", "belongs into a profile"),
        ("profiles: {a: {match: 5}}", "match"),
        ("profiles: {a: 5}", "expected a mapping"),
        ("profiles: [a]", "expected a mapping"),
        ("schedulr: x", "unknown key"),
        ("profiles: {a: {schedulr: x}}", "unknown key"),
        ("search: {}", "not yet"),
        ("a: [", ""),
    ],
)
def test_faults_of_configuration_files(text, part):
    with pytest.raises(FileFaults) as caught:
        layers([("c.yaml", text)])
    assert part in str(caught.value)
    assert caught.value.faults[0].place.file == "c.yaml"


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n\n"])
def test_an_empty_configuration_is_none(text):
    assert layers([("c.yaml", text)]).layers == ()


def layer(text, label=""):
    faults = Faults()
    return Layer(label=label, mapping=read_yaml(text, "f.yaml", faults))


def test_lists_and_texts_replace_mappings_merge():
    merged, _ = merge_layers(
        [layer("metrics: [a, b]\nenv: {A: 1, B: 2}\nsetup: x"), layer("metrics: [c]\nenv: {B: 3}\nsetup: y")]
    )
    assert to_data(merged) == {"metrics": ["c"], "env": {"A": 1, "B": 3}, "setup": "y"}


def test_null_takes_a_setting_away():
    merged, origins = merge_layers(
        [layer("env: {A: 1, B: 2}\ncanary: 1\nslurm: {x: 1}"), layer("env: {A: null}\ncanary:\nslurm: null")]
    )
    assert to_data(merged) == {"env": {"B": 2}}
    assert origins == {"env.B": "f.yaml:1"}


def test_the_space_is_never_merged_with_anything():
    merged, _ = merge_layers([layer("space: {a: {b: 1}}"), layer("space: {a: {c: 1}}")])
    assert to_data(merged) == {"space": {"a": {"c": 1}}}


def test_both_spellings_of_partition_in_one_file_stay_to_be_refused():
    merged, _ = merge_layers([layer("resources: {queue: a, partition: b}")])
    assert to_data(merged)["resources"] == {"queue": "a", "partition": "b"}
