"""usage on real runs, as a user gives the command."""

from __future__ import annotations

import csv
import io
import json
import time

import pytest
from cli_user import User

SWEEP = """
    command: |
      if [ "$HPCSWEEP_PARAM_x" = 3 ] && [ "$HPCSWEEP_ATTEMPT" = 1 ]; then sleep 1.2; exit 3; fi
      for ((i = 0; i < 1000; i++)); do :; done
      sleep 1.2
    space:
      size: [s, l]
      x: [1, 2, 3]
    resources: {time: 1h, memory: "{{ '1G' if size == 's' else '4G' }}"}
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """A folder with one run: two of its tasks worked only the second time."""
    folder = tmp_path_factory.mktemp("usage")
    someone = User(folder=folder, home=folder)
    someone("submit", someone.sweep(SWEEP), "--jobs", "6")
    someone.wait(code=1)
    someone("resubmit", "run-01")
    someone.wait()
    yield someone
    someone.end_all()


def await_that(condition, what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


def rows_of(printed: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(printed)))


def test_what_it_cost(user):
    lines = user("usage", "run-01").splitlines()
    assert lines[0].startswith("run-01: 6 tasks, 8 attempts: 0.00")
    assert lines[0].endswith("core-hours (figures: task)")
    assert lines[1].endswith("of it in 2 attempts without a result that counts")
    assert lines[3].split()[:3] == ["request", "tasks", "attempts"]
    assert [line.split("  ")[0].strip() for line in lines[4:6]] == ["1 cpu, 1G, 1h", "1 cpu, 4G, 1h"]
    assert len(lines) == 6  # three tasks of each are too few for advice


def test_one_row_a_task(user):
    rows = rows_of(user("usage", "run-01", "--tasks", "--csv"))
    assert [(row["task"], row["size"], row["x"], row["state"], row["attempts"]) for row in rows] == [
        (str(3 * block + x - 1), size, str(x), "done", "2" if x == 3 else "1")
        for block, size in enumerate("sl")
        for x in (1, 2, 3)
    ]
    assert {row["source"] for row in rows} == {"task"}
    assert all(float(row["cpu_s"]) > 0 and float(row["core_h"]) > 0 for row in rows)


def test_by_parameters(user):
    rows = json.loads(user("usage", "run-01", "--by", "x", "--json"))
    assert [(row["x"], row["tasks"], row["attempts"]) for row in rows] == [(1, 2, 2), (2, 2, 2), (3, 2, 4)]
    assert [row["uncounted_core_h"] > 0 for row in rows] == [False, False, True]
    assert rows[0]["advice"] == []
    assert rows[0]["time_limit_s"] == 3600


def test_what_is_wrong_is_said(user):
    assert "there is no parameter `y`" in user.error("usage", "run-01", "--by", "y", code=2)
    assert "no parameter is named" in user.error("usage", "run-01", "--by", ",", code=2)
    assert "do not go together" in user.error("usage", "run-01", "--by", "x", "--tasks", code=2)


def test_advice_of_a_run_that_asked_for_too_much(user):
    sweep = user.sweep(SWEEP.replace("x: [1, 2, 3]", "x: [1, 2, 4, 5, 6]"), "more.yaml")
    user("submit", sweep, "--jobs", "10", "--name", "more")
    user.wait("more")
    printed = user("usage", "more")
    for asked in ("1G", "4G"):
        assert f"1 cpu, {asked}, 1h: time: ask for 5m instead of 1h: the longest of 5 tasks took " in printed


def test_what_still_runs_is_not_in_it(user):
    user("submit", user.sweep("command: touch begun; sleep 600\nspace: {x: [1]}\n", "long.yaml"), "--name", "long")
    await_that((user.folder / "begun").exists, "it runs")
    answer = user.run("usage", "long")
    assert answer.stdout == "long: nothing has ended yet\n"
    assert "what still runs is not in it: 1 (task 0)" in answer.stderr
    user("cancel", "long")
