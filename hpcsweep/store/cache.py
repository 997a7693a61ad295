"""Small answers kept for a while under ``cache/``; what cannot be kept is asked again, so no failure matters here."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from hpcsweep.store.files import temporary_name
from hpcsweep.store.layout import RunPaths

_KEY = re.compile(r"[a-z0-9_-]{1,64}")
_SKEW_S = 5.0


def get(paths: RunPaths, key: str, *, max_age_s: float, now: float) -> Any | None:
    """The answer kept under ``key``; None when there is none, or it is older than ``max_age_s``, or from the future.

    Args:
        paths: the run.
        key: lower-case letters, digits, ``_`` and ``-``.
        max_age_s: how old it may be, seconds.
        now: epoch seconds.
    """
    found = get_with_time(paths, key)
    if found is None:
        return None
    value, at = found
    # Another login node's clock may be a little ahead of ours; far ahead, the answer's age is unknown.
    return value if -_SKEW_S <= now - at <= max_age_s else None


def get_with_time(paths: RunPaths, key: str) -> tuple[Any, float] | None:
    """The answer kept under ``key``, however old, and when it was given (epoch seconds)."""
    try:
        data = json.loads(_path(paths, key).read_bytes())
        return data["value"], float(data["at"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def put(paths: RunPaths, key: str, value: Any, *, now: float) -> bool:
    """Keep an answer (JSON data); False when it could not be kept, as in a colleague's run."""
    path = _path(paths, key)
    text = json.dumps({"at": now, "value": value}, separators=(",", ":"))
    temporary = temporary_name(path.parent)
    try:
        path.parent.mkdir(exist_ok=True)
        temporary.write_text(text, encoding="utf-8")  # no fsync: it is worth seconds only
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        return False
    return True


def _path(paths: RunPaths, key: str) -> Path:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no name for a cached answer")
    return paths.cache_dir / f"{key}.json"
