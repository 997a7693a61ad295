"""GPUs as users write them, as nvidia-smi lists them, and what of them tasks can get."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.errors import HpcsweepError
from hpcsweep.gpus import (
    Group,
    Listed,
    all_names,
    check_fits,
    check_groups,
    check_listed,
    count_at_once,
    devices_from_json,
    devices_to_json,
    find_listed,
    make_devices,
    parse_group,
    parse_list,
    parse_option,
    parse_visible,
    tasks_of_a_gpu,
    whole_gpus,
)
from hpcsweep.ledger import request_from_json
from hpcsweep.model import Request, Settings
from hpcsweep.runs.gpus import count_jobs, find_gpus

# As in NVIDIA's MIG User Guide; the second GPU's parts as drivers before R470 name them.
PRINTED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-838f60d9-651f-9166-ea42-f9da674a6947)
  MIG 3g.20gb     Device  0: (UUID: MIG-ffda444c-c706-57c6-98c9-67c441a0b109)
  MIG 1g.10gb+me  Device  1: (UUID: MIG-fe9bc608-60f5-5479-8cc4-1827021d27a9)
GPU 1: A100-PCIE-40GB (UUID: GPU-0069414c-9f30-41f9-d5d8-87890423f0c4)
  MIG 1g.5gb Device 0: (UUID: MIG-GPU-0069414c-9f30-41f9-d5d8-87890423f0c4/7/0)
GPU 2: NVIDIA RTX 6000 Ada Generation (UUID: GPU-8932f937-d72c-4106-c12f-20bd9faed9f6)
"""
LISTED = parse_list(PRINTED)
TWO = (Listed(index="0", uuid="GPU-aaaa"), Listed(index="1", uuid="GPU-abbb"))


@pytest.mark.parametrize(
    ("written", "group"),
    [
        ("0", "0"),
        ("0, 2", "0,2"),
        (" 3 ,1", "3,1"),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"),
        ("MIG-GPU-0069414c/7/0", "MIG-GPU-0069414c/7/0"),
    ],
)
def test_a_group(written, group):
    assert parse_group(written) == group


@pytest.mark.parametrize(
    "written", ["", ",", "0,", "-1", "01", "a100", "GPU-", "MIG- 1", "0;1", "0=1", "GPU-a|b", "GPU-é", "٣", "0\n"]
)
def test_what_is_no_gpu(written):
    if written == "0\n":
        assert parse_group(written) == "0"
        return
    with pytest.raises(HpcsweepError):
        parse_group(written)


@pytest.mark.parametrize(
    ("given", "groups"),
    [
        (["0,1,2,3"], ("0", "1", "2", "3")),
        (["0"], ("0",)),
        (["0;1,2"], ("0", "1,2")),
        (["1,2;"], ("1,2",)),
        (["0", "1,2"], ("0", "1,2")),
        (["0", "1"], ("0", "1")),
        (["none"], ()),
    ],
)
def test_the_option(given, groups):
    assert parse_option(given) == groups


@pytest.mark.parametrize("given", [["0,0"], ["0", "1,0"], ["0,,1"], [""], ["none", "0"], ["all"]])
def test_what_the_option_does_not_take(given):
    with pytest.raises(HpcsweepError, match="--gpus: "):
        parse_option(given)


def test_each_is_named_once():
    check_groups(["0", "1,2"])
    with pytest.raises(HpcsweepError, match="GPU 1 is there twice"):
        check_groups(["0", "1,1"])


def test_what_nvidia_smi_lists():
    assert [(gpu.index, gpu.uuid[:8], len(gpu.parts)) for gpu in LISTED] == [
        ("0", "GPU-838f", 2),
        ("1", "GPU-0069", 1),
        ("2", "GPU-8932", 0),
    ]
    assert all_names(LISTED) == (
        "MIG-ffda444c-c706-57c6-98c9-67c441a0b109",
        "MIG-fe9bc608-60f5-5479-8cc4-1827021d27a9",
        "MIG-GPU-0069414c-9f30-41f9-d5d8-87890423f0c4/7/0",
        "2",
    )
    assert all(parse_group(name) == name for name in all_names(LISTED))
    assert parse_list("No devices were found\n") == ()


@given(st.text())
def test_no_list_raises(text):
    assert isinstance(parse_list(text), tuple)
    assert isinstance(parse_visible(text), tuple)


@pytest.mark.parametrize(
    ("name", "lock"),
    [
        ("2", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"),
        ("GPU-8932", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"),
        ("MIG-GPU-0069414c-9f30-41f9-d5d8-87890423f0c4/7/0", "MIG-GPU-0069414c-9f30-41f9-d5d8-87890423f0c4/7/0"),
        ("3", None),
        ("GPU-", None),
        ("GPU-9", None),
    ],
)
def test_one_device_has_one_lock_however_it_is_named(name, lock):
    assert find_listed(name, LISTED) == lock


def test_devices():
    devices = make_devices("CUDA_VISIBLE_DEVICES", ["1", "0,7"], TWO)
    assert devices.groups == (Group(name="1", locks=("GPU-abbb",)), Group(name="0,7", locks=("GPU-aaaa", "7")))
    assert (devices.has_groups, devices.names) == (True, "1; 0,7")
    assert devices_from_json(json.loads(json.dumps(devices_to_json(devices)))) == devices
    with pytest.raises(HpcsweepError, match="0 and GPU-aa are the same GPU"):
        make_devices("CUDA_VISIBLE_DEVICES", ["0", "GPU-aa"], TWO)


def test_a_run_without_devices():
    assert devices_from_json(None) is None


@pytest.mark.parametrize(
    "data",
    [
        5,
        {},
        {"variable": "PATH", "devices": []},
        {"variable": "CUDA_VISIBLE_DEVICES", "devices": [{"name": "x y", "locks": ["0"]}]},
        {"variable": "CUDA_VISIBLE_DEVICES", "devices": [{"name": "0", "locks": [0]}]},
    ],
)
def test_damaged_devices(data):
    with pytest.raises(HpcsweepError, match="damaged"):
        devices_from_json(data)


def test_what_this_machine_does_not_have():
    check_listed(["0", "GPU-ab"], TWO)
    with pytest.raises(HpcsweepError, match="no GPU 2") as caught:
        check_listed(["0,2"], TWO)
    assert caught.value.hint == "nvidia-smi -L lists 0, 1 here"


@pytest.mark.parametrize(
    ("groups", "gpus", "message"),
    [
        (["0", "1"], 3, "asks for 3 GPUs, and there are 2"),
        (["0", "1,2"], 2, "in groups (0; 1,2)"),
        (["0,1"], 0.5, "in groups (0,1)"),
    ],
)
def test_what_nobody_can_get(groups, gpus, message):
    with pytest.raises(HpcsweepError, match=re.escape(message)):
        check_fits(make_devices("CUDA_VISIBLE_DEVICES", groups, ()), gpus)


@pytest.mark.parametrize(
    ("groups", "gpus", "count"), [("0 1 2 3", 1, 4), ("0 1 2", 2, 1), ("0 1", 0.25, 8), ("0", 0.3, 3), ("0 1,2", 1, 2)]
)
def test_how_many_at_once(groups, gpus, count):
    devices = make_devices("CUDA_VISIBLE_DEVICES", groups.split(), ())
    check_fits(devices, gpus)
    assert count_at_once(devices, gpus) == count


@pytest.mark.parametrize("gpus", [None, 0, 0.25, 2])
def test_the_journal_knows_fractions(gpus):
    assert request_from_json({"gpus": gpus, "cpus": 2}) == Request(gpus=gpus, cpus=2)


@pytest.mark.parametrize(
    ("name", "value"), [("gpus", 1.5), ("gpus", True), ("gpus", float("nan")), ("gpus", "1"), ("cpus", 0.5)]
)
def test_the_journal_does_not_take_any_number(name, value):
    with pytest.raises(ValueError, match=name):
        request_from_json({name: value})


@pytest.mark.parametrize(("gpus", "whole"), [(None, 0), (0, 0), (0.25, 1), (1, 1), (2, 2)])
def test_whole_gpus(gpus, whole):
    assert whole_gpus(gpus) == whole


@given(st.floats(0.01, 1, exclude_max=True))
def test_what_shares_a_gpu_fits_in_it(gpus):
    assert tasks_of_a_gpu(gpus) * gpus <= 1 + 1e-6


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("2, 3", ("2", "3")),
        ("1,-1,2", ("1",)),
        ("0,0", ("0",)),
        ("GPU-a,MIG-b", ("GPU-a", "MIG-b")),
    ],
)
def test_what_a_program_sees(text, names):
    assert parse_visible(text) == names


# ---- how many tasks at once ----


@pytest.mark.parametrize(
    ("requests", "devices", "jobs"),
    [
        ([Request(gpus=1)], None, 1),
        ([Request(gpus=1)], "0 1 2 3", 4),
        ([Request(gpus=1, cpus=4)], "0 1 2 3", 2),
        ([Request(gpus=0.25)], "0 1 2 3", 16),
        ([Request(gpus=1)], "0", 1),
        ([Request(gpus=2), Request(gpus=1, cpus=1)], "0 1 2 3", 8),
        ([Request()], None, 8),
        ([Request(cpus=4), Request(gpus=0)], "0 1 2 3", 2),
        ([Request(cpus=64)], None, 1),
    ],
)
def test_jobs(requests, devices, jobs):
    given = devices and make_devices("CUDA_VISIBLE_DEVICES", devices.split(), ())
    assert count_jobs(given, requests, 8) == jobs


# ---- what a sweep is given ----


def settings(**values) -> Settings:
    return Settings(name="a", command="true", **values)


@pytest.fixture
def no_nvidia_smi(monkeypatch):
    monkeypatch.setattr("hpcsweep.runs.gpus.is_installed", lambda _name: False)


@pytest.mark.usefixtures("no_nvidia_smi")
class TestFound:
    ASKING = settings(resources={"gpus": 1})

    def test_what_the_environment_lets_us_see(self):
        found = find_gpus(self.ASKING, "local", {}, {"CUDA_VISIBLE_DEVICES": "2,3"})
        assert (found.devices.variable, found.devices.names, found.notes) == ("CUDA_VISIBLE_DEVICES", "2, 3", ())

    @pytest.mark.parametrize("variable", ["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"])
    def test_the_variable_of_amd(self, variable):
        found = find_gpus(self.ASKING, "local", {}, {variable: "0,1"})
        assert (found.devices.variable, found.devices.names) == (variable, "0, 1")
        found = find_gpus(settings(resources={"gpus": 1}, gpus=("4",)), "local", {}, {variable: "0,1"})
        assert (found.devices.variable, found.devices.names) == (variable, "4")

    def test_nvidias_comes_first(self):
        environ = {"ROCR_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "1"}
        assert find_gpus(self.ASKING, "local", {}, environ).devices.variable == "CUDA_VISIBLE_DEVICES"

    def test_a_task_shares_out_what_it_was_given(self):
        """It has it locked itself, as long as it runs: what it starts need not wait for that."""
        environ = {"CUDA_VISIBLE_DEVICES": "2,3", "HPCSWEEP_GPUS": "2,3", "HPCSWEEP_JOB": "1-2-ab_7"}
        groups = find_gpus(self.ASKING, "local", {}, environ).devices.groups
        assert groups == (Group(name="2", locks=("GPU-1-2-ab_7-2",)), Group(name="3", locks=("GPU-1-2-ab_7-3",)))
        others = find_gpus(settings(resources={"gpus": 1}, gpus=("3", "4")), "local", {}, environ).devices.groups
        assert [group.locks for group in others] == [("GPU-1-2-ab_7-3",), ("4",)]

    def test_none_are_known(self):
        found = find_gpus(self.ASKING, "local", {}, {})
        assert found.devices is None
        assert "there is no nvidia-smi" in found.notes[0]
        assert "--gpus 0,1" in found.notes[0]
        found = find_gpus(self.ASKING, "local", {}, {"CUDA_VISIBLE_DEVICES": ""})
        assert "CUDA_VISIBLE_DEVICES names none" in found.notes[0]

    def test_who_asks_for_none_gets_none(self):
        for resources in ({}, {"gpus": 0}, {"cpus": 2}):
            found = find_gpus(settings(resources=resources, gpus=("0",)), "local", {}, {"CUDA_VISIBLE_DEVICES": "1"})
            assert (found.devices, found.notes) == (None, ())

    def test_an_expression_may_ask(self):
        asking = settings(resources={"gpus": "{{ 1 if big else 0 }}"}, gpus=("0",))
        assert find_gpus(asking, "local", {}, {}).devices is not None

    def test_none_are_given_out(self):
        found = find_gpus(settings(resources={"gpus": 1}, gpus=()), "local", {}, {"CUDA_VISIBLE_DEVICES": "1"})
        assert found.devices is None
        assert "gpus: none" in found.notes[0]

    def test_on_a_cluster_it_is_the_schedulers_affair(self):
        theirs = settings(resources={"gpus": 1}, gpus=("0",))
        assert find_gpus(theirs, "slurm", {"gpus": "sweep.yaml:3"}, {}).notes == ()
        assert "has no effect" in find_gpus(theirs, "slurm", {"gpus": "--gpus"}, {}).notes[0]
        assert find_gpus(theirs, "slurm", {}, {}).devices is None
