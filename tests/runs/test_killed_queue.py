"""This machine's queue, the tasks' shells or their programs killed under a run: nothing is lost, and no attempt runs twice."""

from __future__ import annotations

import os
import signal

import pytest

from hpcsweep import localqueue

SWEEP = """
command: |
  exec 9>>"lock-$HPCSWEEP_TASK"
  flock -n 9 || echo "$HPCSWEEP_TASK" >>overlaps
  echo "$HPCSWEEP_TASK.$HPCSWEEP_ATTEMPT" >>starts
  until test -e gate; do sleep 0.02; done
space: {x: [1, 2, 3, 4]}
"""


def kill_queue(site) -> None:
    os.kill(localqueue.pid_of(job_of(site)), signal.SIGKILL)


def kill_shells(site) -> None:
    for name in ("0.1", "1.1"):
        os.kill(int((site.run / "arrays/001/events" / name).read_text().split()[3]), signal.SIGKILL)


def kill_programs(site) -> None:
    """What is not the shell, nor the process that watches its token: the leaders of groups of their own."""
    for pids in localqueue.find_elements(job_of(site)).values():
        processes = [process for pid in pids if (process := localqueue.read_process(pid))]
        shell = next(process.session for process in processes)
        for group in {os.getpgid(process.pid) for process in processes} - {shell}:
            os.killpg(group, signal.SIGKILL)


def job_of(site) -> str:
    return next(str(event["job"]) for event in site.journal() if event["event"] == "submitted")


def settle(site, await_that) -> dict[str, int]:
    def is_settled() -> bool:
        assert site("advance", "--now").code == 0
        return site.status()["finished"]

    await_that(is_settled, "all is settled")
    return site.status()["counts"]


@pytest.mark.parametrize(
    ("kills", "first", "starts"),
    [
        ([kill_queue], "done", {"0.1", "1.1"}),
        ([kill_shells], "lost", {"0.1", "1.1", "0.2", "1.2"}),
        ([kill_queue, kill_shells], "lost", {"0.1", "1.1", "0.2", "1.2"}),
        ([kill_programs], "failed", {"0.1", "1.1", "0.2", "1.2"}),
    ],
    ids=["queue", "shells", "queue and shells", "programs"],
)
def test_killed_in_the_midst(site, await_that, kills, first, starts):
    """Of two that run and two that wait. Those that wait run once, under whatever attempt."""
    site.sweep(SWEEP)
    assert site("submit", "sweep.yaml", "--jobs", "2").code == 0
    await_that(lambda: site.starts() == ["0.1", "1.1"], "two have begun")
    for kill in kills:
        kill(site)
    if kills != [kill_queue]:
        await_that(lambda: not localqueue.find_elements(job_of(site)).keys() & {0, 1}, "nothing of the two is left running")
    (site.folder / "gate").touch()
    settle(site, await_that)
    assert site.states()[:2] == [first, first]
    assert set(site.states()[2:]) <= {"done", "lost"}
    assert site("resubmit").code == 0
    assert settle(site, await_that) == {"done": 4}
    assert {start for start in site.starts() if start[0] in "01"} == starts
    assert [start[0] for start in site.starts() if start[0] in "23"] == ["2", "3"]
    assert len(site.starts()) == len(starts) + 2
    assert site.starts("overlaps") == []
