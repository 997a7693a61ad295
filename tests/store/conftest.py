"""Run directories for the store's tests, under a path that hurts."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcsweep.store import RunPaths, create_run_dir

HOSTILE = 'a folder\'s "name"\nwith $(touch x) `y` * ü 日本'


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    return tmp_path / HOSTILE / "runs"


@pytest.fixture
def run(runs_dir: Path) -> RunPaths:
    return create_run_dir(runs_dir)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may reach; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 32 pages and 64 files."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount the small disk that this test fills")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k,nr_inodes=64", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)
