"""The user's and the project's configuration files: where they are, and what they say about where runs are."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpcsweep.errors import HpcsweepError


def configuration_files(environ: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """(path, text) of the configuration files that exist: the user's (XDG), then the project's (the current folder).

    Raises:
        HpcsweepError: when one is there but cannot be read.
    """
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "~"), ".config")  # noqa: PTH118 - texts
    paths = (Path(base).expanduser() / "hpcsweep" / "config.yaml", Path("hpcsweep.yaml"))
    return [(str(path), _read(path)) for path in paths if path.is_file()]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HpcsweepError(f"{path} cannot be read: {error}") from error


def host_name(files: Sequence[tuple[str, str]]) -> str:
    """This machine's name, in full where a profile may want to know: on many clusters ``hostname`` gives the short one."""
    name = socket.gethostname()
    if "." in name or not any("match" in text for _, text in files):
        return name
    full = socket.getfqdn()
    return full if full.startswith(f"{name}.") else name


def configured_runs_dir() -> str:
    """``runs_dir`` of the configuration, or ``runs``. Without configuration files no YAML is read."""
    files = configuration_files()
    if not files:
        return "runs"
    from hpcsweep.sweepfile import load_profile_settings  # noqa: PLC0415 - only where there is some

    return load_profile_settings(
        files, profile=os.environ.get("HPCSWEEP_PROFILE"), environ=os.environ, host=host_name(files)
    ).runs_dir
