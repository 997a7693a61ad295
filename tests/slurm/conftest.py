"""Fixtures for whole lives of runs on the real Slurm (test_life*.py)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from life import Site, user_site

TEST_USER = "hpcsweep-test"


@pytest.fixture(scope="module")
def own_site(slurm, tmp_path_factory) -> Site:
    """The site of whoever runs the tests: on the test Slurm, root."""
    return Site(tmp_path_factory.mktemp("life"))


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def await_it() -> Callable[..., None]:
    """As ``await_that``, for fixtures of a module."""

    def wait(condition: Callable[[], object], what: str, within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {within_s:.0f} s in vain until {what}")
            time.sleep(0.1)

    return wait
