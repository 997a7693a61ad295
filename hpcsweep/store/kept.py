"""Results that were worked out before, in the run's cache folder. They may be deleted at any time; damaged ones are as none."""

from __future__ import annotations

import contextlib
import json
import zlib
from pathlib import Path
from typing import Any

from hpcsweep.store.files import temporary_name
from hpcsweep.store.layout import RunPaths


def read_kept(paths: RunPaths, key: str) -> Any:
    """The JSON data that is kept under ``key``; None when there is none, or it is damaged, or not ours to read."""
    try:
        checksum, _, text = _path(paths, key).read_bytes().partition(b"\n")
        return json.loads(text) if checksum == _checksum(text) else None
    except (OSError, ValueError, RecursionError):
        return None


def keep(paths: RunPaths, key: str, value: Any) -> bool:
    """Keep JSON data (NaN and infinities too) under ``key``; False when that cannot be, as in a colleague's run."""
    path = _path(paths, key)
    temporary = temporary_name(path.parent)
    try:
        text = json.dumps(value, separators=(",", ":")).encode()
        path.parent.mkdir(exist_ok=True)
        temporary.write_bytes(_checksum(text) + b"\n" + text)  # no fsync: what is torn is not taken
        temporary.replace(path)
    except (OSError, ValueError, TypeError, RecursionError):
        with contextlib.suppress(OSError):
            temporary.unlink()
        return False
    return True


def _checksum(text: bytes) -> bytes:
    return f"{zlib.crc32(text):08x} {len(text)}".encode()


def _path(paths: RunPaths, key: str) -> Path:
    return paths.cache_dir / f"{key}.kept"
