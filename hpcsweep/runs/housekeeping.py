"""Keeping house: the list of runs, their sizes, packing and removing them. Nothing live is ever removed."""

from __future__ import annotations

import os
import shutil
import tarfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.fold import Evidence, Fold, is_open
from hpcsweep.runs.observe import look_into_events, observe
from hpcsweep.runs.run import Run
from hpcsweep.store import list_runs

A_RECORD_S = 80.0
"""A record of a task's environment that was begun so long ago is not going to be finished."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One line of ``list``."""

    run: str
    sweep: str
    scheduler: str
    total: int
    created: str
    counts: Mapping[str, int]  # by state; what only the scheduler could tell is `submitted`
    in_place: bool = True  # False: it was moved or copied
    problem: str = ""  # why the run cannot be read

    @property
    def words(self) -> str:
        """The counts as people read them."""
        counts = ", ".join(f"{number} {word}" for word, number in self.counts.items())
        return self.problem or (counts if self.in_place else f"{counts} (moved or copied: hpcsweep adopt)")

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def list_summaries(runs_dir: str) -> list[Summary]:
    """All runs of a folder by creation. A run that cannot be read is listed with the reason."""
    summaries = []
    for paths in list_runs(Path(runs_dir)):
        run = Run(paths)
        try:
            summaries.append((float(run.info["created"]), _summarise(run)))
        except HpcsweepError as error:
            unread = Summary(run=run.name, sweep="?", scheduler="?", total=0, created="?", counts={}, problem=error.message)
            summaries.append((0.0, unread))
    return [summary for _created, summary in sorted(summaries, key=lambda pair: pair[0])]


def _summarise(run: Run) -> Summary:
    created = float(run.info["created"])
    evidence = look_into_events(run, Evidence(now=created, events={}), run.ledger.arrays)
    fold = Fold(run.ledger, evidence, run.ledger.total)
    counts: dict[str, int] = {}
    for view in fold.views:
        word = "submitted" if view.source == "last seen" else view.state.value
        counts[word] = counts.get(word, 0) + 1
    return Summary(
        run=run.name,
        sweep=str(run.info["name"]),
        scheduler=str(run.info["scheduler"]),
        total=run.ledger.total,
        created=datetime.fromtimestamp(created).astimezone().strftime("%Y-%m-%d %H:%M"),
        counts=counts,
        in_place=run.is_in_place,
    )


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a run takes on disk; ``logs_bytes`` is a part of ``tasks_bytes``. ``code_bytes``: the copy of the project."""

    name: str
    files: int
    total_bytes: int
    tasks_bytes: int
    logs_bytes: int
    records_bytes: int
    code_bytes: int

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def measure_run(run: Run) -> Size:
    """Walk a run's folder; links are not followed, hard links counted once."""
    files = total = tasks = logs = code = 0
    seen: set[tuple[int, int]] = set()
    for folder, _folders, names in os.walk(run.paths.root):
        part = Path(folder).relative_to(run.paths.root).parts[:1]
        is_task, is_code = part == ("tasks",), part == ("code",)
        for name in names:
            try:
                facts = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - a hundred thousand of them
            except OSError:
                continue
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            files += 1
            total += facts.st_size
            tasks += facts.st_size if is_task else 0
            code += facts.st_size if is_code else 0
            logs += facts.st_size if is_task and name.startswith("attempt-") else 0
    return Size(
        name=run.name,
        files=files,
        total_bytes=total,
        tasks_bytes=tasks,
        logs_bytes=logs,
        records_bytes=total - tasks - code,
        code_bytes=code,
    )


def check_ended(run: Run) -> None:
    """Refuse to touch a run of which something is live, or may be.

    Raises:
        HpcsweepError: with what is live and what to do.
    """
    fold = observe(run)
    views = fold.views if fold.finally_view is None else [*fold.views, fold.finally_view]
    live = [view for view in views if is_open(view)]
    if live:
        silent = fold.evidence.live_message
        why = f"{len(live)} of its tasks are live ({live[0].state})" + (f"; {silent}" if silent else "")
        raise HpcsweepError(f"{run.name} has not ended: {why}", f"hpcsweep cancel {run.handle}, then wait for it")
    await_record(run)


def await_record(run: Run, *, within_s: float = 15.0) -> None:
    """The record of a task's environment may be written for some seconds after the last task has ended; one that is older is dead."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and any(_is_fresh(path) for path in run.paths.root.glob(".environment.*.partial")):
        time.sleep(0.1)


def _is_fresh(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < A_RECORD_S
    except OSError:  # it is whole now, and has its own name
        return False


def remove_run(run: Run) -> None:
    """Remove a run's folder. run.json goes first: what is left after a crash is no run any more.

    Raises:
        HpcsweepError: when some of it cannot be removed.
    """
    try:
        run.paths.run_json.unlink(missing_ok=True)
        shutil.rmtree(run.paths.root)
    except OSError as error:
        raise HpcsweepError(f"{run.paths.root} could not be removed: {error}", "remove what is left by hand") from error


def archive_run(run: Run, *, keeps_folder: bool) -> Path:
    """``RUN.tar.gz`` beside the run's folder, read back and compared before the folder goes.

    Raises:
        HpcsweepError: the archive is there already, or could not be written; the folder is untouched then.
    """
    root = run.paths.root
    target = root.with_name(f"{root.name}.tar.gz")
    if target.exists():
        raise HpcsweepError(f"{target} is there already", "move it away first")
    partial = target.with_name(f".{target.name}.partial")
    try:
        with tarfile.open(partial, "w:gz") as archive:
            archive.add(root, arcname=root.name)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        _check_archive(partial, root)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise HpcsweepError(f"{target} could not be written: {error}", f"{root} is as it was") from error
    if not keeps_folder:
        remove_run(run)
    return target


def _check_archive(path: Path, root: Path) -> None:
    """Every file is in the archive with its size."""
    with tarfile.open(path, "r:gz") as archive:
        packed = {member.name: member.size for member in archive if member.isfile() or member.islnk()}
    for folder, _folders, names in os.walk(root):
        for name in names:
            file = Path(folder, name)
            if file.is_file() and not file.is_symlink() and str(Path(root.name, file.relative_to(root))) not in packed:
                raise OSError(f"{file} is missing in the archive")
