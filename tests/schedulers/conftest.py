"""Recorded outputs of real commands, as values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from recordings import DATA, read_recording

from hpcsweep.model import Completed


@pytest.fixture
def recorded() -> Callable[[str], Completed]:
    return lambda name: read_recording(DATA / f"{name}.txt")


@pytest.fixture
def printed() -> Callable[..., Completed]:
    """``printed(stdout, stderr, returncode)``: what a command would have done."""

    def make(stdout: str = "", stderr: str = "", returncode: int | None = 0) -> Completed:
        return Completed(argv=("command",), returncode=returncode, stdout=stdout, stderr=stderr)

    return make
