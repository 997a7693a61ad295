"""What a job template is filled with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """What a job template is filled with: parts of bash text, and what its own expressions may use."""

    names: Collection[str]
    extra: Mapping[str, Any]
    directives: Sequence[str]
    opening: str
    environment: str
    header: str
    runner: str
    setup: str
    teardown: str
    contain: str
