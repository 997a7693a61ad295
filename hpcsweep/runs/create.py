"""``submit``: make a run directory, whole or not at all, and advance it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from hpcsweep.errors import HpcsweepError
from hpcsweep.ledger import NOT_HANDED_OVER
from hpcsweep.runs.advance import Report, advance, first_refusal
from hpcsweep.runs.facts import Surroundings, environment_of, environment_text
from hpcsweep.runs.imagine import check_rendering, default_jobs, run_record, surroundings_of
from hpcsweep.runs.prepare import Prepared
from hpcsweep.runs.run import Run
from hpcsweep.runs.turn import open_turn
from hpcsweep.store import (
    copy_code,
    create_run_dir,
    discard_run_dir,
    find_run,
    missing_folders,
    sharing,
    write_atomically,
    write_first_events,
    write_run_json,
    write_tasks,
)

_JOB_ID = {"local": re.compile(r"\d+-\d+-[0-9a-f]+", re.ASCII), "slurm": re.compile(r"\d+(_\d+)?", re.ASCII)}
_ANY_JOB_ID = re.compile(r"\d[\w.\[\]-]*", re.ASCII)


def submit(
    prepared: Prepared, *, name: str | None, jobs: int | None, after: tuple[str, ...], is_fed: bool = False
) -> tuple[Run, Report]:
    """Make the run and submit it.

    Raises:
        HpcsweepError: nothing was accepted, and the run's folder is gone again; or, where the hint says so, it is there, and
            `advance` goes on with it.
    """
    check_rendering(prepared)
    surroundings = surroundings_of(prepared)
    made = missing_folders(Path(prepared.settings.runs_dir))
    with sharing(prepared.settings.umask):
        run = make_run(prepared, name=name, jobs=jobs, surroundings=surroundings)
    try:
        report = _first_turn(run, after, is_fed=is_fed)
    except HpcsweepError as error:
        if run.paths.run_json.exists():  # the same sweep submitted again would be a second run
            error.hint = f"{run.name} is made all the same; mend this, then go on with it: hpcsweep advance {run.handle}"
        else:
            discard_run_dir(run.paths, made)
        raise
    report.notes[:0] = surroundings.notes
    return run, report


def _first_turn(run: Run, after: tuple[str, ...], *, is_fed: bool) -> Report:
    """Advance a new run; when nothing of it was accepted, it is no run any more.

    Raises:
        HpcsweepError: something could not be done, or the first refusal.
    """
    refusal: HpcsweepError | None
    with open_turn(run, wait_s=30.0, command="submit") as turn:
        try:
            report = advance(turn, after=after, is_fed=is_fed)
            refusal = first_refusal(report)
        except HpcsweepError as error:
            if any(array.submission not in NOT_HANDED_OVER for array in run.ledger.arrays.values()):
                raise
            refusal = error
        if refusal is not None:
            # Nothing of it exists in the scheduler, and nobody else has seen it: as if it had never been.
            turn.lock.check()
            run.paths.run_json.unlink()
    if refusal is not None:
        raise refusal
    return report


def make_run(prepared: Prepared, *, name: str | None, jobs: int | None, surroundings: Surroundings) -> Run:
    """Write the run's folder; run.json last, for a folder without it is no run."""
    settings = prepared.settings
    made = missing_folders(Path(settings.runs_dir))
    paths = create_run_dir(Path(settings.runs_dir), name, umask=settings.umask, group=settings.group)
    try:
        write_atomically(paths.sweep_yaml, prepared.sweep.text)
        snapshot = surroundings.snapshot
        if snapshot is not None:
            copy_code(paths, snapshot.project, snapshot.names, links=snapshot.links, folders=snapshot.folders)
        environment = environment_of(settings, os.environ, paths, snapshot)
        write_atomically(paths.environment, environment_text(environment, None if snapshot is None else paths.root))
        if surroundings.diff is not None:
            write_atomically(paths.code_diff, surroundings.diff)
        write_tasks(paths.tasks, prepared.tasks)
        write_first_events(paths, {"event": "created", "at": time.time(), "tasks": len(prepared.tasks)})
        jobs = jobs or default_jobs(prepared, surroundings.devices)
        write_run_json(paths, run_record(prepared, paths, jobs=jobs, surroundings=surroundings))
    except BaseException:
        discard_run_dir(paths, made)
        raise
    return Run(paths)


def jobs_of(texts: Sequence[str], prepared: Prepared) -> tuple[str, ...]:
    """The scheduler's ids that ``--after`` means: all live jobs of a run, or an id as it is.

    Raises:
        HpcsweepError: neither a run nor an id, or a run of another scheduler, or one with tasks that have no job yet.
    """
    jobs: list[str] = []
    for text in texts:
        try:
            run = Run(find_run(Path(prepared.settings.runs_dir), text))
        except HpcsweepError:
            if not _JOB_ID.get(prepared.scheduler, _ANY_JOB_ID).fullmatch(text):
                raise
            jobs.append(text)
            continue
        if run.info["scheduler"] != prepared.scheduler:
            raise HpcsweepError(f"--after {text}: it runs on {run.info['scheduler']}, this sweep on {prepared.scheduler}")
        if run.ledger.has_unsubmitted:
            raise HpcsweepError(
                f"--after {text}: not all of its tasks are with the scheduler yet, and what has no job cannot be waited for",
                f"see hpcsweep status {run.handle}",
            )
        jobs += [job for array in run.ledger.live_arrays() for job in array.awaited_jobs]
    return tuple(dict.fromkeys(jobs))
