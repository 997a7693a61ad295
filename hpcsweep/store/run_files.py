"""The files that describe a run: tasks.jsonl, run.json and the chunks of an array."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hpcsweep._version import __version__
from hpcsweep.errors import HpcsweepError
from hpcsweep.events import FINALLY
from hpcsweep.model import Task
from hpcsweep.store.files import (
    create_exclusively,
    explained,
    read_bytes,
    sync_folder,
    write_atomically,
    write_fully,
    write_temporary,
)
from hpcsweep.store.layout import ArrayPaths, RunPaths

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = re.compile(
    r"^if \(\(hpcsweep_position == (?P<position>[0-9]{1,9})\)\); then\n"
    r"hpcsweep_task=(?P<task>finally|[0-9]{1,9}) hpcsweep_attempt=(?P<attempt>[1-9][0-9]{0,8}) hpcsweep_point=(?:''|(?P<point>[0-9a-f]+))\n"
    r"hpcsweep_params=(?P<params>'.*)$",
    re.MULTILINE,
)
FORMAT = 1
"""The format of a run directory that this version writes; it reads all up to this one."""


def write_tasks(path: Path, tasks: Iterable[Task]) -> None:
    """Write ``tasks.jsonl``.

    Raises:
        HpcsweepError: nothing was written.
    """
    write_atomically(path, _task_lines(tasks))


def _task_lines(tasks: Iterable[Task]) -> bytes:
    encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
    lines = [encode({"index": task.index, "id": task.id, "params": dict(task.params)}) for task in tasks]
    return "".join(f"{line}\n" for line in lines).encode()


def append_tasks(path: Path, tasks: Iterable[Task], *, counted_bytes: int) -> tuple[int, int]:
    """Append lines to ``tasks.jsonl``; they are on disk when this returns. They become tasks by the journal's word alone.

    What stands behind ``counted_bytes`` was left by a command that was interrupted before that word. It is taken over where
    it begins as these lines do; else it stays, and nobody reads it: nothing is ever cut off, so that a command whose lock was
    taken over cannot cut off what counts.

    Returns:
        Where the lines begin, and how long they are, in bytes.

    Raises:
        HpcsweepError: they are not all on disk; the run is as it was.
    """
    lines = _task_lines(tasks)
    before = read_bytes(path)
    left = before[counted_bytes:]
    is_closed = before.endswith(b"\n") or not before
    if left and (lines.startswith(left) or left.startswith(lines)):
        offset, rest = counted_bytes, lines[len(left) :]
    else:
        offset, rest = len(before) + (not is_closed), (b"" if is_closed else b"\n") + lines
    with explained("write", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            write_fully(descriptor, rest)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    if read_bytes(path)[offset : offset + len(lines)] != lines:
        raise HpcsweepError(f"{path}: somebody else wrote into it at this moment", "give the command again")
    return offset, len(lines)


def counted_bytes(path: Path, total: int) -> int:
    """How many bytes the first ``total`` lines of ``tasks.jsonl`` take."""
    end = 0
    data = read_bytes(path)
    for _line in range(total):
        found = data.find(b"\n", end)
        if found < 0:
            return len(data)
        end = found + 1
    return end


def read_tasks(path: Path, total: int | None = None, parts: Iterable[tuple[int, int]] = ()) -> list[Task]:
    """Read ``tasks.jsonl``, in the order of the lines.

    Args:
        path: the file.
        total: how many lines there were when the run was made (None: all there are; a torn last one is passed over).
        parts: (offset, size), bytes, of the lines that extended the run.

    Raises:
        HpcsweepError: the file cannot be read, or one of these lines is damaged.
    """
    data = read_bytes(path)
    tasks = _parse_tasks(path, data, 0, None, total)
    for offset, size in parts:
        tasks += _parse_tasks(path, data, offset, offset + size, None)
    return tasks


def _parse_tasks(path: Path, data: bytes, start: int, end: int | None, total: int | None) -> list[Task]:
    lines = data[start:end].split(b"\n")
    tasks: list[Task] = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        if total is not None and len(tasks) >= total:
            break
        task = _parse_task(line)
        if task is not None:
            tasks.append(task)
        elif number == len(lines):
            break
        else:
            number += data.count(b"\n", 0, start)  # noqa: PLW2901 - as an editor counts
            raise HpcsweepError(
                f'{path}:{number}: this line is damaged: expected {{"index": ..., "id": ..., "params": ...}}',
                "bring the file back from a backup; `hpcsweep verify` says what can still be trusted",
            )
    return tasks


def read_sound_tasks(path: Path) -> tuple[dict[int, Task], list[str]]:
    """What can be read of ``tasks.jsonl``, however damaged: its tasks by index, and sentences on what is wrong with it."""
    try:
        lines = read_bytes(path).split(b"\n")
    except HpcsweepError as error:
        return {}, [error.message]
    tasks: dict[int, Task] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        task = _parse_task(line) if line else None
        if task is not None:
            tasks[task.index] = task  # the last one counts: an `extend` that was interrupted leaves lines that do not
        elif line:
            problems.append(f"{path.name}:{number}: this line is damaged")
    return tasks, problems


def _parse_task(line: bytes) -> Task | None:
    """``{"index": 0, "id": "8f3a2b1c00aa11bb", "params": {"lr": 0.1}}`` -> the task; None for anything else."""
    try:
        data = json.loads(line)
        task = Task(index=data["index"], id=data["id"], params=data["params"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_sound = type(task.index) is int and task.index >= 0 and isinstance(task.id, str) and isinstance(task.params, dict)
    return task if is_sound else None


class Block(NamedTuple):
    """One position of an array, as its chunk has it. ``params`` is None where the text of them cannot be read."""

    position: int
    task: int
    attempt: int
    point: str
    params: dict[str, Any] | None


def read_blocks(array: ArrayPaths) -> list[Block]:
    """What the chunks of an array say of its positions: all there is when journal or tasks.jsonl are lost. Chunks that cannot be read are passed over."""
    blocks: list[Block] = []
    for path in sorted(array.chunks.glob("[0-9]*.sh")):
        try:
            text = path.read_bytes().decode("utf-8", "surrogateescape")
        except OSError:
            continue
        # Blocks follow each other by position, so that a text in a parameter that looks like one is none.
        for match in _BLOCK.finditer(text):
            if not blocks or int(match["position"]) > blocks[-1].position:
                task = FINALLY if match["task"] == "finally" else int(match["task"])
                params = _parse_params(match["params"])
                blocks.append(Block(int(match["position"]), task, int(match["attempt"]), match["point"] or "", params))
    return blocks


def _parse_params(quoted: str) -> dict[str, Any] | None:
    try:
        data = json.loads(shlex.split(quoted)[0])
    except (ValueError, IndexError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


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


def write_feeder(paths: RunPaths, number: int, script: str) -> None:
    """Write the script of a job that advances the run.

    Raises:
        HpcsweepError: it could not be written.
    """
    path = paths.feeder(number)
    with explained("make", path.parent):
        path.parent.mkdir(exist_ok=True)
    write_atomically(path, script, mode=0o755)


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
