"""A command killed between any two of its steps: the next one understands the run, nothing is lost, nothing runs twice."""

from __future__ import annotations

import pytest
from killing import KILLED

STARTS = 'command: echo "$HPCSWEEP_TASK" >>starts\nspace: {x: [1, 2, 3]}\n'


def settle(site, await_that) -> None:
    """Advance until nothing is left to do."""

    def is_settled() -> bool:
        assert site("advance", "--now").code == 0
        return site.status()["finished"]

    await_that(is_settled, "all is settled")


@pytest.mark.parametrize("phase", range(4))
def test_submit(make_site, await_that, phase):
    whole = make_site()
    whole.sweep(STARTS)
    points = whole("submit", "sweep.yaml").points
    made = 0
    for kill_at in range(1 + phase * 2, points + 1, 8):
        site = make_site()
        site.sweep(STARTS)
        assert site("submit", "sweep.yaml", kill_at=kill_at).code == KILLED
        if not (site.run / "run.json").exists():
            assert "no run" in site("status").said
            assert site.starts() == []
            continue
        made += 1
        settle(site, await_that)
        assert site.status()["counts"] == {"done": 3}
        assert site.starts() == ["0", "1", "2"]
    assert 0 < made < points / 8  # on both sides of the moment at which the folder becomes a run
