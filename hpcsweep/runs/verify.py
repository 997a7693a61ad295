"""``verify``: is the run's folder sound, and what of it can be trusted where it is not. Reading only; the scheduler is not asked."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.ledger import Array
from hpcsweep.runs.findings import MOST_NAMED, Finding, names_of, ranges_of
from hpcsweep.runs.run import Run
from hpcsweep.runs.verify_records import check_ends, check_events, check_task_folders
from hpcsweep.space.identity import point_id
from hpcsweep.store import RunPaths, changed_code, is_in_place, list_events, lock_problems, read_sound_tasks
from hpcsweep.store.files import TEMPORARY_PREFIX

_HASHES = re.compile(rb"^hpcsweep_chunk_hashes=\(\n((?:  [0-9a-f]{64}\n)*)\)$", re.MULTILINE)
_A_MOMENT_S = 0.2
_TAG = re.compile(rb"^hpcsweep_tag='?([^'\n]*)'?$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was looked at, in numbers, and what was found."""

    run: str
    path: str
    tasks: int
    arrays: int
    records: int
    findings: Sequence[Finding] = field(default_factory=tuple)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged."""
        return not any(finding.is_damage for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        data = asdict(self)
        return {**data, "sound": self.is_sound, "findings": [asdict(finding) for finding in self.findings]}


def verify(paths: RunPaths) -> Verification:
    """Look at every file that hpcsweep and its tasks keep of a run; the tasks' own results are not read.

    A run that is at work changes while it is looked at: only what is there a moment later too is damage.
    """
    found = _look_at(paths)
    for _look in range(2):
        if found.is_sound:
            break
        time.sleep(_A_MOMENT_S)
        again = _look_at(paths)
        lasting = {finding.problem for finding in found.findings}
        found = replace(again, findings=[item for item in again.findings if not item.is_damage or item.problem in lasting])
    return found


def _look_at(paths: RunPaths) -> Verification:
    run = Run(paths)
    findings = list(_run_json(run))
    if findings:
        run.__dict__["info"] = {}  # the rest can be looked at without it
    else:
        findings += _place(run)
    findings += _journal(run)
    findings += _tasks(run)
    records = 0
    for array in run.ledger.arrays.values():
        findings += _array_files(run, array)
        names = _event_names(run, array)
        records += len(names)
        findings += check_events(array, names)
    findings += check_ends(run)
    findings += check_task_folders(run)
    findings += _code(run)
    findings += _lock(run)
    findings += _cache(run)
    findings += _leftovers(run)
    return Verification(
        run=run.name,
        path=str(paths.root),
        tasks=run.ledger.total,
        arrays=len(run.ledger.arrays),
        records=records,
        findings=tuple(findings),
    )


def _run_json(run: Run) -> Iterator[Finding]:
    try:
        info = run.info
        _ = run.settings, run.frozen
        lacking = [name for name in ("uid", "path", "tag", "scheduler", "names", "cwd", "created") if name not in info]
        problem = f"it does not say {', '.join(lacking)}" if lacking else ""
    except HpcsweepError as error:
        problem = error.message
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"it has not the form that it was written in ({type(error).__name__}: {error})"
    if problem:
        yield Finding(
            where="run.json",
            problem=problem,
            trust="the tasks' records and their folders; no command but this one can read the run",
            cure="bring run.json back from a backup: it is written once and never changed",
        )


def _place(run: Run) -> Iterator[Finding]:
    if not is_in_place(run.paths, run.recorded_path):
        yield Finding(
            where="run.json",
            problem=f"the run was moved or copied: it was made as {run.recorded_path}",
            trust="all of it; it can be read and collected",
            cure=f"move it back, or hpcsweep adopt {run.handle}",
        )


def _journal(run: Run) -> Iterator[Finding]:
    for problem in run.journal.problems:
        if problem in run.journal.lost:
            continue  # said with what is missing, below
        is_late = "late lines" in problem or "ignored, for it was opened" in problem
        yield Finding(
            where=problem.partition(":")[0].partition(" ")[0] if problem.startswith("state.") else "state.jsonl",
            problem=problem,
            trust="all other lines" if not is_late else "all of the journal: such lines are never counted",
            cure="nothing has to be done"
            if is_late
            else "a line torn by a crash or a full disk needs no cure: what it was to say was not done; after any other accident bring the file back from a backup",
            is_damage=not is_late,
        )
    ledger = run.ledger
    for problem in ledger.missing:
        yield Finding(
            where="state.jsonl",
            problem=problem,
            trust="what the tasks' records say; what has no record is unknown, and nothing is submitted, cancelled or run again",
            cure="bring the journal back from a backup; without one, collect the table and submit what is missing as a new run",
        )
    if ledger.damaged_events and not ledger.missing:
        yield Finding(
            where="state.jsonl",
            problem=f"{ledger.damaged_events} lines are JSON, but not what hpcsweep writes",
            trust="all other lines",
            cure="was it edited? bring it back from a backup",
        )
    if ledger.unknown_events:
        yield Finding(
            where="state.jsonl",
            problem=f"{ledger.unknown_events} lines are of a kind that this version does not know",
            trust="all lines; those are passed over",
            cure="use the version that wrote them",
            is_damage=False,
        )


def _tasks(run: Run) -> Iterator[Finding]:
    sound, problems = read_sound_tasks(run.paths.tasks)
    total = run.ledger.total
    try:
        tasks = run.tasks
    except HpcsweepError as error:
        told = sum(bool(task.id) for task in run.shown_tasks)
        details = "; ".join(problems[:MOST_NAMED])
        yield Finding(
            where="tasks.jsonl",
            problem=f"{error.message}{f' ({details})' if details else ''}",
            trust=f"the parameters of {told} of {total} tasks are told by it and by what was submitted; states and results are not touched",
            cure="bring the file back from a backup; until then nothing new is submitted",
        )
        tasks = [sound[index] for index in sorted(sound) if index < total]
    wrong = [task.index for task in tasks if not _is_id(task.id, task.params)]
    if wrong:
        yield Finding(
            where="tasks.jsonl",
            problem=f"the ids of tasks {ranges_of(wrong)} are not those of their parameters: the file was edited",
            trust="what has been submitted ran with the parameters in each task's own params.json",
            cure="bring the file back from a backup",
        )


def _is_id(text: str, params: Any) -> bool:
    try:
        return text == point_id(params)
    except ValueError:
        return False


def _array_files(run: Run, array: Array) -> Iterator[Finding]:
    paths = run.paths.array(array.number)
    where = f"arrays/{array.number:03d}"
    if array.submission == "planned" and not paths.script.exists():
        return  # it was planned and not yet written
    try:
        script = paths.script.read_bytes()
    except OSError as error:
        yield Finding(
            where=f"{where}/script.sh",
            problem=f"it cannot be read: {error.strerror}",
            trust="jobs that were submitted go on: the scheduler has its own copy",
            cure="bring the folder back from a backup before this array has to be submitted again",
        )
        return
    tag, hashes = _TAG.search(script), _HASHES.search(script)
    if tag is None or hashes is None or (not array.is_found and tag[1].decode("utf-8", "replace") != array.tag):
        yield Finding(
            where=f"{where}/script.sh",
            problem="it is not the script that was written: it was edited or cut",
            trust="jobs that were submitted go on: the scheduler has its own copy",
            cure="bring the file back from a backup before this array has to be submitted again",
        )
        return
    bad = []
    for number, digest in enumerate(hashes[1].split()):
        try:
            is_same = sha256(paths.chunk(number).read_bytes()).hexdigest().encode() == digest
        except OSError:
            is_same = False
        if not is_same:
            bad.append(f"{number:04d}.sh")
    if bad:
        yield Finding(
            where=f"{where}/tasks",
            problem=f"{names_of(bad)}: not there, or not what was submitted",
            trust="what has started; what starts from these files refuses, and says so",
            cure="bring the files back from a backup, or resubmit the tasks: a new attempt has new files",
        )


def _code(run: Run) -> Iterator[Finding]:
    if run.info.get("snapshot") is None:
        return
    try:
        bad = changed_code(run.paths)
        problem = f"{names_of(bad)}: not there, or not what was copied at submit" if bad else ""
    except HpcsweepError as error:
        problem = error.message
    if problem:
        yield Finding(
            where="code",
            problem=problem,
            trust="what ran before it was changed, which nobody can tell",
            cure="bring the files back from a backup, or make a new run of the code that is meant",
        )


def _event_names(run: Run, array: Array) -> list[str]:
    try:
        return list_events(run.paths.array(array.number))
    except HpcsweepError:
        return []  # said by check_ends


def _lock(run: Run) -> Iterator[Finding]:
    for problem in lock_problems(run.paths):
        yield Finding(
            where="lock",
            problem=problem,
            trust="all else: reading needs no lock",
            cure="wait until nobody changes the run; commands that change it take the lock over by themselves after ten silent minutes",
        )


def _cache(run: Run) -> Iterator[Finding]:
    bad = [path.name for path in _list(run.paths.cache_dir) if path.suffix == ".json" and not _is_json(path)]
    if bad:
        yield Finding(
            where="cache",
            problem=f"answers that cannot be read: {names_of(bad)}",
            trust="all: they are asked for again",
            cure="nothing has to be done; the folder may be deleted",
            is_damage=False,
        )


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return True


def _leftovers(run: Run) -> Iterator[Finding]:
    folders = [run.paths.root, run.paths.lock_dir, run.paths.cache_dir]
    for number in run.ledger.arrays:
        paths = run.paths.array(number)
        folders += [paths.root, paths.chunks, paths.events]
    found = sorted(
        str(path.relative_to(run.paths.root))
        for folder in folders
        for path in _list(folder)
        if path.name.startswith(TEMPORARY_PREFIX)
    )
    if found:
        yield Finding(
            where=".",
            problem=f"{len(found)} temporary files of commands or tasks that are at work, or were killed: {names_of(found)}",
            trust="all: they are never read",
            cure="nothing has to be done",
            is_damage=False,
        )


def _list(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
