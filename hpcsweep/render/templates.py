"""The files that ship with hpcsweep and end up in scripts: the job templates and the runner."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path

from hpcsweep.errors import HpcsweepError

TEMPLATES = ("job.sh.j2", "local.sh.j2", "pbs.sh.j2", "slurm.sh.j2", "torque.sh.j2")
"""The job templates that a user's own may extend."""


@cache
def read_template(name: str) -> str:
    """The text of one of our job templates: in an installed package beside the code, in a source tree above it.

    Raises:
        HpcsweepError: there is no such template.
    """
    if name not in TEMPLATES:
        near = get_close_matches(name, TEMPLATES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"a template can extend {', '.join(TEMPLATES)}"
        raise HpcsweepError(f"hpcsweep has no template {name!r}", hint)
    packaged = files("hpcsweep") / "templates" / name
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(str(files("hpcsweep"))).parent / "templates" / name).read_text(encoding="utf-8")


RUNNER_FILES = ("runner.sh", "packing.sh", "gpus.sh", "ending.sh", "staging.sh", "usage.sh", "environment.sh")
"""The parts of the task side, in their order."""


@cache
def read_runner() -> str:
    """The bash functions of the task side, verbatim part of every script."""
    folder = files("hpcsweep") / "runner"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in RUNNER_FILES)
