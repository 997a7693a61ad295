"""A command killed, or interrupted, between any two of its steps: the next one understands the run, nothing is lost or runs twice."""

from __future__ import annotations

import pytest
from killing import KILLED

INTERRUPTED = 130
STARTS = 'command: echo "$HPCSWEEP_TASK" >>starts\nspace: {x: [1, 2, 3]}\n'
GATED = """
command: |
  echo "$HPCSWEEP_TASK.$HPCSWEEP_ATTEMPT" >>starts
  test -e good || test "$HPCSWEEP_TASK" != 1
  until test -e gate || test "$HPCSWEEP_TASK" != 2; do sleep 0.05; done
space: {x: [1, 2, 3, 4]}
finally: {command: echo last >>starts, when: ended}
"""


def settle(site, await_that) -> None:
    """Advance until nothing is left to do."""

    def is_settled() -> bool:
        assert site("advance", "--now").code == 0
        return site.status()["finished"]

    await_that(is_settled, "all is settled")


@pytest.mark.parametrize("by_hand", [False, True], ids=["killed", "interrupted"])
@pytest.mark.parametrize("phase", range(3))
def test_submit(make_site, await_that, phase, by_hand):
    whole = make_site()
    whole.sweep(STARTS)
    points = whole("submit", "sweep.yaml").points
    made = tried = 0
    for kill_at in range(1 + phase * 6 + 3 * by_hand, points + 1, 18):
        site = make_site()
        site.sweep(STARTS)
        tried += 1
        assert site("submit", "sweep.yaml", kill_at=kill_at, by_hand=by_hand).code == (INTERRUPTED if by_hand else KILLED)
        if not (site.run / "run.json").exists():
            assert "no run" in site("status").said
            assert site.starts() == []
            continue
        made += 1
        settle(site, await_that)
        assert site.status()["counts"] == {"done": 3}
        assert site.starts() == ["0", "1", "2"]
    assert 0 < made < tried  # on both sides of the moment at which the folder becomes a run


@pytest.mark.parametrize("kill_at", [8, 20, 33, 47, 60])
def test_resubmit(site, await_that, kill_at):
    site.sweep(GATED)
    (site.folder / "gate").touch()
    site("submit", "sweep.yaml")
    assert site("wait").code == 1
    (site.folder / "good").touch()
    assert site("resubmit", kill_at=kill_at).code == KILLED
    settle(site, await_that)
    site("resubmit")  # it may not have come to the wish
    settle(site, await_that)
    status = site.status()
    assert (status["counts"], status["finally"]["state"]) == ({"done": 4}, "done")
    assert site.starts() == ["0.1", "1.1", "1.2", "2.1", "3.1", "last", "last"]


@pytest.mark.parametrize("kill_at", [5, 11, 15, 19, 23])
def test_cancel(site, await_that, kill_at):
    site.sweep(GATED)
    site("submit", "sweep.yaml", "--jobs", "1")
    await_that(lambda: "2.1" in site.starts(), "the third task has begun")
    assert site("cancel", "run-01", "--tasks", "2,3", kill_at=kill_at).code == KILLED
    assert site("cancel", "run-01").code == 0
    settle(site, await_that)
    assert site.states()[2:] == ["cancelled", "cancelled"]
    assert site.starts()[:3] == ["0.1", "1.1", "2.1"]
