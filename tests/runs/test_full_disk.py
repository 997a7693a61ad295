"""A disk that fills up while a run is made, and while it runs: no run or a whole run, each task's truth, and each runs once."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess

import pytest

# HPCSWEEP_TEST_EVERY_POINT=1 tries a disk of every size: minutes instead of seconds.
STEP = 1 if os.environ.get("HPCSWEEP_TEST_EVERY_POINT") else 6
PAGES = range(2, 31)  # of 4 kB: from nothing to enough for all
FILES = range(6, 52)
DISKS = [f"size={4 * pages}k" for pages in PAGES[1::STEP]] + [f"size=1m,nr_inodes={files}" for files in FILES[2::STEP]]
SWEEP = 'command: echo "$HPCSWEEP_TASK" >>starts\nspace: {x: [1, 2, 3, 4]}\n'


class Disk:
    """Where the runs of a site are: a file system of its own, which can be full and get more room."""

    def __init__(self, site, options: str) -> None:
        self.site = site
        self.folder = site.folder / "runs"
        self.folder.mkdir(exist_ok=True)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", self.folder], check=False, capture_output=True, text=True
        )
        if mounted.returncode:
            pytest.skip(f"NO SMALL DISK: {mounted.stderr.strip()}")

    def fill(self) -> None:
        with (self.folder / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 512)

    def make_room(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)
        subprocess.run(["mount", "-o", "remount,size=4m,nr_inodes=2000", self.folder], check=True)


@pytest.fixture
def make_disk(make_site):
    if os.geteuid() != 0:
        pytest.skip("NO SMALL DISK: only root can mount one")
    disks = []

    def make(options: str) -> Disk:
        disks.append(Disk(make_site(), options))
        return disks[-1]

    yield make
    for disk in disks:
        disk.make_room()
        disk.site("cancel", "run-01")
        subprocess.run(["umount", "-l", disk.folder], check=True)


def reasons(site) -> dict[str, set[str]]:
    """State -> the reasons of the tasks that have it."""
    found: dict[str, set[str]] = {}
    for task in site.status()["tasks"]:
        found.setdefault(task["state"], set()).add(task["reason"])
    return found


def settle(site, await_that) -> None:
    """Advance, as cron does, until nothing more happens."""

    def is_settled() -> bool:
        assert site("advance", "--now").code in (0, 4)
        return site.status()["finished"]

    await_that(is_settled, "all is settled")


@pytest.mark.parametrize("options", DISKS)
def test_while_a_run_is_made(make_disk, await_that, options):
    disk = make_disk(options)
    site = disk.site
    site.sweep(SWEEP)
    submitted = site("submit", "sweep.yaml", "--jobs", "1")
    if not (site.run / "run.json").exists():
        assert submitted.code == 1
        assert "cannot" in submitted.said
        assert "full" in submitted.said
        assert "make room there" in submitted.said
        assert list(disk.folder.iterdir()) == []
        assert site.starts() == []
        return
    assert submitted.code == 0 or "hpcsweep advance run-01" in submitted.said
    assert site("status").code == 0
    disk.make_room()
    settle(site, await_that)
    found = reasons(site)
    assert found.keys() <= {"done", "failed", "lost"}
    assert found.get("failed", set()) <= {"its folder or files could not be written"}
    assert found.get("lost", set()) <= {"the scheduler no longer has it, and it left no record of a start"}
    if found.keys() != {"done"}:
        assert site("resubmit").code == 0
        settle(site, await_that)
    assert site.status()["counts"] == {"done": 4}
    assert site.starts() == ["0", "1", "2", "3"]


def test_between_the_arrays_of_a_run(make_disk, await_that):
    """Some arrays are with the scheduler when there is no room for the next one: the run is whole, and says how to go on."""
    disk = make_disk("size=200k")
    site = disk.site
    site.sweep(SWEEP + 'resources: {time: "{{ x }}m"}\n')
    submitted = site("submit", "sweep.yaml", "--jobs", "1")
    assert submitted.code == 1
    assert "arrays/00" in submitted.said
    assert "full" in submitted.said
    assert "hpcsweep advance run-01" in submitted.said
    assert "give the command again" not in submitted.said
    disk.make_room()
    settle(site, await_that)
    if set(site.status()["counts"]) != {"done"}:  # there was no room for a claim either
        site("resubmit")
        settle(site, await_that)
    assert site.status()["counts"] == {"done": 4}
    assert site.starts() == ["0", "1", "2", "3"]


WRITER = """
command: |
  echo "$HPCSWEEP_TASK.$HPCSWEEP_ATTEMPT" >>starts
  until test -e gate; do sleep 0.02; done
  head -c 20000 /dev/zero
space: {x: [1, 2, 3, 4]}
"""


def test_while_it_runs(make_disk, await_that):
    """What was running cannot write its log any more, and the rest is not begun; no command believes anything it could not write."""
    disk = make_disk("size=1m")
    site = disk.site
    site.sweep(WRITER)
    assert site("submit", "sweep.yaml", "--jobs", "2").code == 0
    await_that(lambda: len(site.starts()) == 2, "two have begun")
    disk.fill()
    before = (site.run / "state.jsonl").read_bytes()
    (site.folder / "gate").touch()
    await_that(lambda: site.status()["counts"].get("failed") == 2, "both have failed, for they could not write")
    assert reasons(site)["failed"] == {"exit code 1"}
    for words in (["resubmit"], ["cancel", "run-01", "--tasks", "3"], ["hold", "run-01"]):
        ended = site(*words)
        assert ended.code == 1, ended.said
        assert "full" in ended.said
    assert (site.run / "state.jsonl").read_bytes() == before
    disk.make_room()
    settle(site, await_that)
    if "lost" in site.states():
        assert set(site.status()["counts"]) <= {"failed", "done", "lost"}
    assert site("resubmit").code == 0
    settle(site, await_that)
    assert site.status()["counts"] == {"done": 4}
    starts = site.starts()
    assert len(starts) == len(set(starts))  # no attempt twice
    assert starts[0] == "0.1"
    assert {start.partition(".")[0] for start in starts} == {"0", "1", "2", "3"}


def test_the_journal_says_all_or_nothing(make_disk, await_that):
    """An event that the disk had no room for is not there for the next command either."""
    disk = make_disk("size=1m")
    site = disk.site
    site.sweep("command: 'true'\nspace: {x: [1]}\n")
    site("submit", "sweep.yaml")
    settle(site, await_that)
    journal = site.run / "state.jsonl"
    missing = -len(journal.read_bytes()) % 4096
    with journal.open("ab") as file:  # only a few bytes of its last page are left
        file.write(json.dumps({"event": "from the future", "at": 1, "words": "x" * (missing - 68)}).encode() + b"\n")
    for pages in range(6):  # the lock takes some
        disk.fill()
        filler = disk.folder / "filler"
        os.truncate(filler, max(0, filler.stat().st_size - pages * 4096))
        held = site("hold")
        if held.code == 0:
            break
        assert "full" in held.said
        assert site("status").code == 0
        assert "held" not in [event["event"] for event in whole_events(journal)]
    disk.make_room()
    assert site("hold").code == 0
    assert "held" in [event["event"] for event in whole_events(journal)]


def whole_events(journal) -> list[dict[str, object]]:
    events = []
    for line in journal.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            events.append(json.loads(line))
    return events
