"""What the tasks wrote: which files of a folder hold metrics, and what all files of one task say together."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpcsweep.merge import TaskMetrics, join, join_versions, merge
from hpcsweep.readers import Reading, decode, is_binary_data, read_metrics

_OUR_PARAMS, _OUR_LOG = "params.json", "attempt-*.log"
_HEAD_BYTES = 4096
_DEEPEST = 4
_MOST_FOLDERS = 500

_EVENTS = "events.out.tfevents."
_KNOWN = (
    "wandb-summary.json",
    "trainer_state.json",
    "all_results.json",
    "metrics.json",
    "metrics.jsonl",
    "metrics.tsv",
    "metrics.csv",
)
"""Files that other programs call so, besides TensorBoard's; the later one counts."""

# Where a program begins anew: attempt-2.log, version_1/, checkpoint-500/, run-20260101_120000-x/, events.out.tfevents.<time>...
_GENERATION = re.compile(
    r"(?P<version>(?<![^/])version_([0-9]+)/)"
    r"|(?P<newest>(?<![^/])(?:checkpoint-([0-9]+)/|(?:offline-)?run-([0-9]{8}_[0-9]{6})[^/]*/))"
    r"|(?P<joined>(?<![^/])attempt-([0-9]+)\.log$|(?<![^/])events\.out\.tfevents\.([0-9]+)[^/]*$)"
)
_NUMBERS = re.compile(r"([0-9]+)")


@dataclass(frozen=True, kw_only=True)
class MetricsFile:
    """A file to read: where it is, the name by which notes speak of it, and which reader takes it (None: told by its look)."""

    path: str
    name: str
    reader: str | None = None


def find_metrics(folder: str, patterns: Sequence[str]) -> list[str]:
    """The files in ``folder`` that ``patterns`` (``*.metrics``, ``out/*.csv``, ``result.json``) name, in the patterns' order.

    A pattern that is the name of a file, letter for letter, means that file. A hidden file needs a pattern that begins
    with a dot, and the files that hpcsweep itself puts into a task's folder need their names: ``*.json`` is not meant to
    take ``params.json``. Numbers in names count as numbers: ``run-9.csv`` stands before ``run-10.csv``. A folder that is not
    there has none.

    Raises:
        OSError: when the folder cannot be listed.
    """
    names: list[str] | None = None
    found: dict[str, None] = {}
    for pattern in patterns:
        if "/" in pattern or not glob.has_magic(pattern):
            matches = [os.path.normpath(pattern)] if os.path.isfile(os.path.join(folder, pattern)) else _glob(folder, pattern)
        else:
            # One listing serves all patterns: with many tasks on a slow file system each call counts.
            names = _list_files(folder) if names is None else names
            matches = [pattern] if pattern in names else _filter_names(names, pattern)
        found.update(dict.fromkeys(matches))
    return list(found)


def discover(folder: str) -> list[str]:
    """The files that are metrics by their names, where nobody has said which ones are: the later one counts.

    ``*.metrics`` stands last. Of other programs there are ``events.out.tfevents.*``, ``wandb-summary.json``,
    ``trainer_state.json``, ``all_results.json`` and ``metrics.json``, ``.jsonl``, ``.tsv``, ``.csv``, to a depth of four
    folders; links to folders are not followed.

    Raises:
        OSError: when the folder cannot be listed.
    """
    known: dict[str, list[str]] = {}
    ours: list[str] = []
    for name in _walk(folder):
        base = name.rpartition("/")[2]
        if base.endswith(".metrics") and base == name and base[0] != ".":
            ours.append(name)
        elif base in _KNOWN:
            known.setdefault(base, []).append(name)
        elif base.startswith(_EVENTS):
            known.setdefault(_EVENTS, []).append(name)
    found = [name for kind in (_EVENTS, *_KNOWN) for name in sorted(known.get(kind, ()), key=natural)]
    return found + sorted(ours, key=natural)


def gather(files: Sequence[MetricsFile], *, is_final: bool, with_steps: bool = False) -> TaskMetrics:
    """Read the files of one task, and say what they say together. A file that cannot be read is a note.

    Args:
        files: in the order in which the later one counts. Files of one source that began anew (another attempt's log,
            another ``version_1/``) may stand in any order.
        is_final: the task's program ended by itself, rather than being killed or still running.
        with_steps: keep one row a step.
    """
    notes: dict[str, None] = {}
    sources: list[tuple[str, Reading]] = []
    for versions in _sources(files):
        newest = versions[-1][-1]
        readings = []
        for version in versions:
            read = []
            for file in version:
                reading = read_file(file.path, file.name, is_final=is_final and file is newest)
                notes.update((f"{file.name}: {note}", None) for note in reading.notes)
                read.append(reading)
            readings.append(join(read))
        joined = join_versions(readings)
        if joined.rows or joined.finals:
            sources.append((newest.name, joined))
    if not sources:
        reason = f"no metrics: {next(iter(notes))}" if notes else "no metrics"
        return TaskMetrics(notes=tuple(notes), reason=reason)
    merged = merge(sources, with_steps=with_steps)
    notes.update(dict.fromkeys(merged.notes))
    return TaskMetrics(last=merged.last, curves=merged.curves, steps=merged.steps, notes=tuple(notes))


def read_file(path: str, name: str, *, is_final: bool = True) -> Reading:
    """Read one file of metrics; one that cannot be read gives no rows and a note."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
            if is_binary_data(head):
                # A pattern that also takes checkpoints must not read them whole.
                return Reading(notes=("is not a text file: left out",))
            data = head + file.read() if len(head) == _HEAD_BYTES else head
    except OSError as error:
        return Reading(notes=(f"cannot be read: {error.strerror}",))
    return read_metrics(decode(data), name, is_final=is_final)


def natural(name: str) -> tuple[str | int, ...]:
    """To sort by: the numbers in a name as numbers."""
    return tuple(int(part) if place % 2 else part for place, part in enumerate(_NUMBERS.split(name)))


def _sources(files: Sequence[MetricsFile]) -> Iterator[list[list[MetricsFile]]]:
    """The files by their source; of each source its versions, the oldest first, each with one file or more."""
    sources: dict[tuple[str, str | None], list[tuple[bool, tuple[int, ...], MetricsFile]]] = {}
    for file in files:
        is_newest_only = False
        key = file.name
        versions: list[int] = []
        if "-" in key or "_" in key or key.startswith("events."):
            for match in _GENERATION.finditer(file.name):
                is_newest_only |= match["newest"] is not None
                if match["version"] or match["newest"]:
                    versions += [int(group.replace("_", "")) for group in match.groups()[1:] if group and group[0].isdigit()][
                        :1
                    ]
            key = _GENERATION.sub(lambda match: next(name for name, text in match.groupdict().items() if text) + ":", key)
        sources.setdefault((key, file.reader), []).append((is_newest_only, tuple(versions), file))
    for source in sources.values():
        if len(source) == 1:
            yield [[source[0][2]]]
            continue
        by_version: dict[tuple[int, ...], list[MetricsFile]] = {}
        for _, version, file in sorted(source, key=lambda entry: (entry[1], natural(entry[2].name))):
            by_version.setdefault(version, []).append(file)
        ordered = list(by_version.values())
        yield ordered[-1:] if source[0][0] else ordered


def _walk(folder: str) -> Iterator[str]:
    """The names of the files below ``folder``, relative to it."""
    inside = [""]
    for _ in range(_MOST_FOLDERS):
        if not inside:
            return
        below = inside.pop()
        try:
            with os.scandir(os.path.join(folder, below)) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name[0] not in "._" and below.count("/") < _DEEPEST:
                            inside.append(f"{below}{entry.name}/")
                    elif entry.is_file():
                        yield below + entry.name
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            if not below:
                raise


def _filter_names(names: list[str], pattern: str) -> list[str]:
    hidden = "" if pattern[0] == "." else "."
    return [name for name in fnmatch.filter(names, pattern) if name[0] != hidden and not _is_ours(name)]


def _is_ours(name: str) -> bool:
    return name == _OUR_PARAMS or fnmatch.fnmatchcase(name, _OUR_LOG)


def _glob(folder: str, pattern: str) -> list[str]:
    matches = sorted(glob.glob(pattern, root_dir=folder, recursive=True), key=natural)
    return [
        os.path.normpath(match)
        for match in matches
        if not _is_ours(match.rpartition("/")[2]) and os.path.isfile(os.path.join(folder, match))
    ]


def _list_files(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name for entry in entries if entry.is_file()), key=natural)
    except (FileNotFoundError, NotADirectoryError):
        return []
