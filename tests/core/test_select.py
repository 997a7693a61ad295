"""Which tasks a user's words mean."""

from __future__ import annotations

import pytest

from hpcsweep.errors import HpcsweepError
from hpcsweep.ledger import Ledger
from hpcsweep.runs.select import parse_tasks


@pytest.fixture
def ledger(make_scene) -> Ledger:
    """Ten tasks: 0-4 in array 4711, 5 and 7 in array 12-34-ab of this machine, 8 a single job 4713, 9 another one, 3."""
    scene = make_scene(10).plan(1, tasks=range(5), job="4711").plan(2, tasks=[5, 7], job="12-34-ab")
    scene.plan(3, tasks=[8], job="4713").plan(4, tasks=[9], job="3")
    return Ledger().replay(scene.events)


@pytest.mark.parametrize(
    ("text", "tasks"),
    [
        ("3", [3]),
        ("3,7-9", [3, 7, 8, 9]),
        ("4711_3", [3]),
        ("4711_[0,2-3],9", [0, 2, 3, 9]),
        ("12-34-ab_1", [7]),
        ("4711", [0, 1, 2, 3, 4]),
        ("4713", [8]),
        ("4713,4711_1", [1, 8]),
        ("12-34-ab", [5, 7]),
    ],
)
def test_tasks_are_named_by_number_or_by_job(ledger, text, tasks):
    assert parse_tasks(text, ledger) == tasks


@pytest.mark.parametrize(
    ("text", "tasks"),
    [
        ("39[1].pbs", [1]),
        ("39[1]", [1]),
        ("39[0,2-3]", [0, 2, 3]),
        ("39[].pbs", [0, 1, 2, 3, 4]),
        ("39[]", [0, 1, 2, 3, 4]),
        ("7", [7]),
    ],
)
def test_ids_of_pbs_with_and_without_the_server(make_scene, text, tasks):
    ledger = Ledger().replay(make_scene(10).plan(1, tasks=range(5), job="39[].pbs").events)
    assert parse_tasks(text, ledger) == tasks


@pytest.mark.parametrize("text", ["39[5].pbs", "39[1].other", "38[1]", "39[]x"])
def test_ids_of_pbs_that_are_none_of_the_run(make_scene, text):
    ledger = Ledger().replay(make_scene(10).plan(1, tasks=range(5), job="39[].pbs").events)
    with pytest.raises(HpcsweepError):
        parse_tasks(text, ledger)


@pytest.mark.parametrize("text", ["10", "4712", "4711_5", "4712_0", "x", "", "3-", "9-12", "-1"])
def test_what_names_no_task_is_an_error(ledger, text):
    with pytest.raises(HpcsweepError):
        parse_tasks(text, ledger)
