"""What is here to run on, and what is missing: the scheduler, the folder of the runs, the programs, a compute node."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcsweep._version import __version__
from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Settings
from hpcsweep.runs.checkup import Finding, ok, problem, problem_of, warning
from hpcsweep.runs.configuration import configuration_files, host_name
from hpcsweep.runs.doctor_folder import examine_folder
from hpcsweep.runs.doctor_node import examine_node
from hpcsweep.runs.doctor_scheduler import ANSWERS, examine_queues, examine_scheduler, find_scheduler
from hpcsweep.runs.run import current_rehearsal
from hpcsweep.schedulers.base import Scheduler
from hpcsweep.store import absolute_as_written
from hpcsweep.sweepfile import load_profile_settings


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the command was called: the settings that hold here, and the scheduler that they mean (None: there is none).

    ``findings``: what was noticed meanwhile.
    """

    settings: Settings
    scheduler: Scheduler | None
    runs_dir: Path
    findings: tuple[Finding, ...]


def look_here(*, scheduler: str | None, runs_dir: str | None, profile: str | None) -> Place:
    """Read the configuration and find the scheduler; what is wrong with either is a finding."""
    findings = [ok("hpcsweep", f"{__version__}, Python {platform.python_version()} ({sys.executable}) on {platform.node()}")]
    if rehearsal := current_rehearsal():
        words = f"this is a rehearsal, in {rehearsal}: its scheduler is a stand-in, and no cluster is looked at"
        findings.append(warning("rehearsal", words, "leave it (`exit`) to look at the real one"))
    settings = Settings(name="doctor", command=None)
    try:
        files = configuration_files()
        if files:
            settings = load_profile_settings(files, profile=profile, environ=os.environ, host=host_name(files))
            findings.append(ok("configuration", ", ".join(path for path, _ in files)))
        elif profile is not None:
            words = f"there is no profile {profile!r}, for there is no configuration file"
            findings.append(
                problem("configuration", words, "profiles are in ~/.config/hpcsweep/config.yaml or ./hpcsweep.yaml")
            )
    except HpcsweepError as error:
        findings.append(problem_of("configuration", error))
    found, remarks = find_scheduler(scheduler or settings.scheduler)
    return Place(
        settings=settings,
        scheduler=found,
        runs_dir=absolute_as_written(Path(settings.runs_dir if runs_dir is None else runs_dir)),
        findings=(*findings, *remarks),
    )


def examine(place: Place, *, on_node_within_s: float | None) -> Generator[Finding, None, None]:
    """All findings, one after the other as they are made; nothing is left behind when the iterator is closed early.

    Args:
        place: where.
        on_node_within_s: look at a compute node too, by a small job that is given so many seconds (None: do not).
    """
    yield from place.findings
    scheduler, settings = place.scheduler, place.settings
    is_answering = False
    if scheduler is not None:
        for finding in _guarded("scheduler", lambda: examine_scheduler(scheduler)):
            is_answering = is_answering or (finding.subject == ANSWERS and finding.level != "problem")
            yield finding
        if is_answering:
            yield from _guarded("queues", lambda: examine_queues(scheduler, settings))
    is_local = scheduler is None or scheduler.name == "local"
    yield from _guarded("folder", lambda: examine_folder(place.runs_dir, is_local=is_local))
    if on_node_within_s is None:
        return
    if scheduler is None or not (is_answering or is_local):
        yield warning("compute node", "it was not looked at: no job can be submitted", "first mend what is said above")
    elif is_local:
        yield ok("compute node", "there is none: the tasks run on this machine")
    else:
        within_s = on_node_within_s
        yield from _guarded("compute node", lambda: examine_node(scheduler, settings, place.runs_dir, within_s=within_s))


def _guarded(subject: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a part of the examination finds; that it cannot go on is a finding too."""
    try:
        yield from look()
    except HpcsweepError as error:
        yield problem_of(subject, error)
    except OSError as error:
        yield problem(
            subject, f"{error.filename or 'it'}: {error.strerror or error}", "look at the file system and its permissions"
        )
