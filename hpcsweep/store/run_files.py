"""The files that describe a run: tasks.jsonl, run.json and the chunks of an array."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hpcsweep._version import __version__
from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Task
from hpcsweep.store.files import create_exclusively, explained, read_bytes, sync_folder, write_atomically, write_temporary
from hpcsweep.store.layout import ArrayPaths, RunPaths

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
"""The format of a run directory that this version writes; it reads all up to this one."""


def write_tasks(path: Path, tasks: Iterable[Task]) -> None:
    """Write ``tasks.jsonl``.

    Raises:
        HpcsweepError: nothing was written.
    """
    encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
    lines = [encode({"index": task.index, "id": task.id, "params": dict(task.params)}) for task in tasks]
    lines.append("")
    write_atomically(path, "\n".join(lines))


def read_tasks(path: Path) -> list[Task]:
    """Read ``tasks.jsonl``; a torn last line is passed over (the journal's ``created`` says how many there must be).

    Raises:
        HpcsweepError: the file cannot be read, or a line before the last is damaged.
    """
    lines = read_bytes(path).split(b"\n")
    tasks: list[Task] = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            data = json.loads(line)
            tasks.append(Task(index=data["index"], id=data["id"], params=data["params"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if number == len(lines):
                break
            raise HpcsweepError(
                f'{path}:{number}: this line is damaged: expected {{"index": ..., "id": ..., "params": ...}}',
                "bring the file back from a backup; the run cannot be used without it",
            ) from error
    return tasks


def write_run_json(paths: RunPaths, facts: Mapping[str, Any]) -> None:
    """Write ``run.json``, the last file of a new run, with the ``format``; it is never replaced.

    Args:
        paths: the run.
        facts: ``uid``, ``name``, ``path`` (absolute, as the user writes it), ``created`` (epoch seconds), ``version`` and more.

    Raises:
        HpcsweepError: nothing was written, or there is one already.
    """
    text = json.dumps({"format": FORMAT, "version": __version__, **facts}, indent=2, ensure_ascii=True, allow_nan=False)
    try:
        create_exclusively(paths.run_json, text + "\n")
    except FileExistsError as error:
        raise HpcsweepError(f"{paths.run_json} is there already: it is written once", "submit makes a new run") from error


def _why_no_run(paths: RunPaths) -> str:
    """What a folder without run.json is; only what was certainly left by a submit is said to be of no use."""
    if not (paths.lock_dir.is_dir() and paths.arrays_dir.is_dir()):
        return "a run's folder is one that submit made, such as runs/run-01; `hpcsweep list` shows those there are"
    if any(paths.lock_dir.glob("[0-9]*")):  # some command had it: it was whole once
        return "it was being removed, or the file was lost: bring run.json back from a backup, or delete what is left"
    return "a submit that was interrupted leaves such a folder; nothing was submitted from it, and it can be deleted"


def read_run_json(paths: RunPaths) -> dict[str, Any]:
    """The facts of a run.

    Raises:
        HpcsweepError: no run, damaged, or of a newer format.
    """
    if not paths.run_json.is_file():
        raise HpcsweepError(f"{paths.root} is no run: it has no run.json", _why_no_run(paths))
    hint = "bring the file back from a backup; nothing else of the run was touched"
    try:
        facts = json.loads(read_bytes(paths.run_json))
    except (ValueError, RecursionError) as error:
        raise HpcsweepError(f"{paths.run_json} is damaged: it is not JSON ({error})", hint) from error
    if not isinstance(facts, dict) or not isinstance(facts.get("format"), int):
        raise HpcsweepError(f"{paths.run_json} is damaged: it has no format number", hint)
    if facts["format"] > FORMAT:
        raise HpcsweepError(
            f"{paths.name} was made by hpcsweep {facts.get('version', '(no version)')}, newer than this one ({__version__})",
            "use that version: pip install --upgrade hpcsweep",
        )
    return facts


def write_chunks(array: ArrayPaths, chunks: Iterable[str | bytes]) -> list[str]:
    """Write the chunks of an array, number 0 and on, and return their sha256 hashes (hex).

    A chunk is never rewritten in place: one that is there with other contents gives its name to a new file.

    Raises:
        HpcsweepError: some or all chunks were not written.
    """
    hashes: list[str] = []
    with explained("write", array.chunks):
        array.chunks.mkdir(parents=True, exist_ok=True)
        for number, chunk in enumerate(chunks):
            data = chunk.encode("utf-8", "surrogateescape") if isinstance(chunk, str) else chunk
            temporary = write_temporary(array.chunks, data)
            try:
                temporary.replace(array.chunk(number))
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
            hashes.append(hashlib.sha256(data).hexdigest())
        sync_folder(array.chunks)
    return hashes


def make_array_folders(array: ArrayPaths) -> None:
    """Make an array's folder with ``tasks/`` and ``events/``; folders that are there stay.

    Raises:
        HpcsweepError: they could not be made.
    """
    with explained("make", array.root):
        for folder in (array.chunks, array.events):
            folder.mkdir(parents=True, exist_ok=True)
        sync_folder(array.root)
        sync_folder(array.root.parent)
