import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.model import Request
from hpcsweep.sweepfile.resources import ResourceError, merge, resolve_request

GIB = 1024**3
NAMES = ("epochs", "model.width", "momentum")
POINT = {"epochs": 30, "model.width": 1024}


def test_plain_values():
    resources = {
        "time": "2h",
        "memory": "8G",
        "cpus": 4,
        "gpus": 1,
        "gpu_type": "a100",
        "nodes": 2,
        "tasks_per_node": 8,
        "partition": "short",
        "account": "lab",
        "qos": "high",
        "tmp": "20G",
    }
    assert resolve_request(resources, {}, ()) == Request(
        time_limit_s=7200,
        memory_bytes=8 * GIB,
        cpus=4,
        gpus=1,
        gpu_type="a100",
        nodes=2,
        tasks_per_node=8,
        partition="short",
        account="lab",
        qos="high",
        tmp_bytes=20 * GIB,
    )


def test_nothing_asked_for():
    assert resolve_request({}, POINT, NAMES) == Request()


def test_memory_of_the_site():
    assert resolve_request({"memory": "site"}, {}, ()).memory_bytes == 0


def test_queue_is_partition():
    assert resolve_request({"queue": "short"}, {}, ()).partition == "short"


def test_an_account_may_be_a_number():
    assert resolve_request({"account": 123}, {}, ()).account == "123"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("memory", "{{ 32 if model.width > 512 else 8 }}G", 32 * GIB),
        ("memory", "{{ 'site' }}", 0),
        ("time", "{{ epochs * 1.5 }}m", 2700),
        ("time", "{{ epochs }}:00:00", 30 * 3600),
        ("cpus", "{{ epochs / 10 }}", 3),
        ("cpus", "{{ epochs // 10 }}", 3),
        ("cpus", "1{{ epochs }}", 130),
        ("partition", "{{ 'long' if epochs > 10 else 'short' }}", "long"),
        ("gpus", "{{ none }}", None),
        ("gpus", "{{ 1 / 4 }}", 0.25),
        ("gpus", "{{ 4 / 2 }}", 2),
        ("gpus", "0.{{ 5 }}", 0.5),
        ("partition", "{% if model.width > 4096 %}big{% else %}small{% endif %}", "small"),
        ("cpus", "{{ 4 if momentum is defined else 2 }}", 2),
    ],
)
def test_expressions(key, value, expected):
    request = resolve_request({key: value}, POINT, NAMES)
    fields = {"memory": "memory_bytes", "time": "time_limit_s"}
    assert getattr(request, fields.get(key, key)) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("time", "{{ epochs }}"),
        ("memory", "{{ epochs }}"),
        ("cpus", "{{ epochs / 7 }}"),
        ("cpus", "{{ epochs - 30 }}"),
        ("cpus", "{{ true }}"),
        ("cpus", "{{ [1] }}"),
        ("cpus", "{{ momentum }}"),
        ("cpus", "{{ epoch }}"),
        ("partition", "{{ '' }}"),
        ("partition", "{{ 'a b' }}"),
        ("qos", "--x{{ epochs }}"),
        ("time", "{{ epochs - 30 }}m"),
    ],
)
def test_what_an_expression_may_not_give(key, value):
    with pytest.raises(ResourceError) as caught:
        resolve_request({key: value}, POINT, NAMES)
    assert caught.value.message.startswith(f"resources.{key}: ")
    assert "epochs=30" in caught.value.message
    assert caught.value.key == key


@pytest.mark.parametrize(("key", "value"), [("time", 30), ("cpus", 2.5), ("memory", True), ("gpus", -1), ("cpu", 3)])
def test_wrong_values_name_their_key(key, value):
    with pytest.raises(ResourceError, match=rf"resources\.{key}: "):
        resolve_request({key: value}, {}, ())


def test_equal_keys_of_the_cache_stay_apart():
    assert resolve_request({"cpus": 1}, {}, ()).cpus == 1
    with pytest.raises(ResourceError):
        resolve_request({"cpus": True}, {}, ())


@given(st.lists(st.integers(1, 64), min_size=1, max_size=30))
def test_tasks_share_a_request_exactly_when_they_ask_for_the_same(widths):
    requests = [resolve_request({"cpus": "{{ w }}", "time": "1h"}, {"w": width}, ("w",)) for width in widths]
    assert len(set(requests)) == len(set(widths))


def test_merge():
    base = {"queue": "a", "cpus": 4, "account": "lab"}
    assert merge(base, {"partition": "b", "cpus": None}) == {"partition": "b", "account": "lab"}
