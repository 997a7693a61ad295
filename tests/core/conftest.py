"""Fixtures of the core's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scene import Scene


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def make_scene():
    return Scene
