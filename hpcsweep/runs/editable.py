"""Python packages that are installed from the project's own folder (``pip install -e .``): where their modules are found."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hpcsweep.shell import find_program


def editable_roots(environ: Mapping[str, str], project: Path) -> list[Path]:
    """The folders of a project that the active python imports from, by its installed packages; not those on PYTHONPATH.

    Looks into the virtual environment, the conda environment and that of the first ``python3`` on the PATH.
    """
    found = (path for site in _site_folders(environ) for path in (*_path_lines(site), *_sources(site)))
    return list(dict.fromkeys(path for path in found if path.is_relative_to(project) and path.is_dir()))


def _site_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    python = find_program("python3", environ.get("PATH"))
    prefixes = [environ.get("VIRTUAL_ENV"), environ.get("CONDA_PREFIX"), str(Path(python).parent.parent) if python else None]
    for prefix in dict.fromkeys(prefix for prefix in prefixes if prefix):
        yield from sorted(Path(prefix).glob("lib/python*/site-packages"))


def _read(file: Path) -> bytes:
    """What is in a file; one that cannot be read is of no use to python either."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _path_lines(site: Path) -> Iterator[Path]:
    """Lines of ``*.pth`` files that are folders."""
    for file in site.glob("*.pth"):
        for line in os.fsdecode(_read(file)).splitlines():
            if line.startswith("/"):
                yield Path(line.strip())


def _sources(site: Path) -> Iterator[Path]:
    """The source folders of packages that are installed in place; modules are in ``src`` where there is such a folder."""
    for file in site.glob("*.dist-info/direct_url.json"):
        try:
            origin = json.loads(_read(file))
            is_editable = origin.get("dir_info", {}).get("editable", False)
            url = urlsplit(origin["url"])
        except (ValueError, KeyError, AttributeError):
            continue
        if is_editable and url.scheme == "file":
            folder = Path(unquote(url.path))
            yield folder / "src" if (folder / "src").is_dir() else folder
