"""Fixtures for whole lives of runs on the real Slurm (test_life*.py)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from life import ENDS, REQUEUED, Life, Site, user_site

TEST_USER = "hpcsweep-test"


@pytest.fixture(scope="session")
def own_site(slurm, tmp_path_factory) -> Site:
    """The site of whoever runs the tests: on the test Slurm, root."""
    return Site(tmp_path_factory.mktemp("life"))


@pytest.fixture(scope="session")
def users_site(slurm) -> Iterator[Site]:
    """The site of the ordinary user."""
    if os.geteuid() != 0:
        pytest.skip("NO SECOND USER: only root can run a command as somebody else")
    if subprocess.run(["id", TEST_USER], check=False, capture_output=True).returncode != 0:
        pytest.skip(f"NO SECOND USER: there is no {TEST_USER}; tests/slurm/start makes it")
    # pytest's own folders are closed to others.
    folder = Path(tempfile.mkdtemp(prefix="hpcsweep-life-", dir="/tmp"))
    try:
        shutil.chown(folder, TEST_USER, TEST_USER)
        yield user_site(folder, lambda argv: ["runuser", "-u", TEST_USER, "--", *argv], TEST_USER)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", params=["own", "user"])
def any_site(request) -> Site:
    """Both sites, one after the other."""
    return request.getfixturevalue("own_site" if request.param == "own" else "users_site")


@pytest.fixture(scope="session")
def slow_runs(users_site: Site) -> dict[str, Life]:
    """Runs in which something takes its minutes: under way while the other tests are at work."""
    ends = users_site.submit("ends", ENDS)
    requeued = users_site.submit("requeued", REQUEUED)
    # The programs themselves have to run: a TERM that comes before has nothing to say to them.
    ends.await_status(lambda _: len(ends.starts("starts-ends")) == 10, "all programs run")
    ends.hpcsweep("cancel", "--tasks", "6,8")
    users_site.run(["scancel", ends.task(7)["job"]])
    # It leaves no record; how long that is waited for counts from when it was first missed.
    ends.await_status(lambda status: status["tasks"][7]["state"] in ("unknown", "cancelled"), "it is missed")
    requeued.await_status(
        lambda status: (
            [task["state"] for task in status["tasks"]] == ["done", "running", "failed", "running"]
            and len(requeued.starts("starts-requeued")) == 4
        ),
        "two have ended and two run",
    )
    for task in requeued.tasks()[:3]:
        users_site.run(["scontrol", "requeue", task["job"]])
    return {"ends": ends, "requeued": requeued}
