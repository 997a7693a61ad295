"""What the tasks wrote: which files of a folder hold metrics, and what all files of one task say together."""

from __future__ import annotations

import dataclasses
import fnmatch
import glob
import io
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hpcsweep.memory import SETTLED_S
from hpcsweep.merge import TaskMetrics, join, join_versions, merge
from hpcsweep.readers import Plugin, Reader, Reading, Source, read_source

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

# Where a program begins anew: version_1/, run-20260101_120000-x/, checkpoint-500/, attempt-2.log, events.out.tfevents.<time>...
_ANEW = re.compile(
    r"(?<![^/])(?:(?P<version>version_(?P<n1>[0-9]+)/)|(?P<run>(?:offline-)?run-(?P<n2>[0-9]{8}_[0-9]{6})[^/]*/)"
    r"|(?P<checkpoint>checkpoint-(?P<n3>[0-9]+)/(?=trainer_state\.json$))"
    r"|(?P<log>attempt-[0-9]+\.log$)|(?P<events>events\.out\.tfevents\.[^/]*$))"
)
_LAST = 1 << 62
_NUMBERS = re.compile(r"([0-9]+)")


@dataclass(frozen=True, kw_only=True)
class MetricsFile:
    """A file to read: where it is, the name by which notes speak of it, and which reader takes it (None: told by its look)."""

    path: str
    name: str
    reader: Reader | None = None


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
    """The files of ``survey``."""
    return survey(folder)[0]


def survey(folder: str) -> tuple[list[str], bool]:
    """The files that are metrics by their names, where nobody has said which ones are: the later one counts.

    ``*.metrics`` stands last. Of other programs there are ``events.out.tfevents.*``, ``wandb-summary.json``,
    ``trainer_state.json``, ``all_results.json`` and ``metrics.json``, ``.jsonl``, ``.tsv``, ``.csv``, to a depth of four
    folders; links to folders are not followed. Also whether the folder has none in it, so that its own times tell of
    every change of these names.

    Raises:
        OSError: when the folder cannot be listed.
    """
    known: dict[str, list[str]] = {}
    ours: list[str] = []
    below: list[str] = []
    for name in _walk(folder, below):
        base = name.rpartition("/")[2]
        if name.endswith(".metrics") and base == name and base[0] != ".":
            ours.append(name)
        elif base in _KNOWN:
            known.setdefault(base, []).append(name)
        elif base.startswith(_EVENTS):
            known.setdefault(_EVENTS, []).append(name)
    ours.sort(key=natural)
    if not known:
        return ours, not below
    found = [name for kind in (_EVENTS, *_KNOWN) for name in sorted(known.get(kind, ()), key=natural)]
    return found + ours, not below


def gather(
    files: Sequence[MetricsFile],
    *,
    is_final: bool,
    with_steps: bool = False,
    plugins: Mapping[str, Plugin] | None = None,
) -> TaskMetrics:
    """Read the files of one task, and say what they say together. A file that cannot be read is a note.

    Args:
        files: in the order in which the later one counts. Files of one source that began anew (another attempt's log,
            another ``version_1/``) may stand in any order.
        is_final: the task's program ended by itself, rather than being killed or still running.
        with_steps: keep one row a step.
        plugins: readers of other packages.
    """
    notes: dict[str, None] = {}
    is_lasting = True
    sources: list[tuple[str, Reading]] = []
    for versions in _sources(files):
        newest = versions[-1][-1]
        readings = []
        for version in versions:
            read = []
            for file in version:
                reading = read_file(file, is_final=is_final and file is newest, plugins=plugins)
                notes.update((f"{file.name}: {note}", None) for note in reading.notes)
                is_lasting &= reading.is_lasting
                read.append(reading)
            readings.append(join(read))
        joined = join_versions(readings)
        if joined.rows or joined.finals:
            sources.append((newest.name, joined))
    if not sources:
        reason = f"no metrics: {next(iter(notes))}" if notes else "no metrics"
        return TaskMetrics(notes=tuple(notes), reason=reason, is_lasting=is_lasting)
    merged = merge(sources, with_steps=with_steps)
    notes.update(dict.fromkeys(merged.notes))
    return dataclasses.replace(merged, notes=tuple(notes), is_lasting=is_lasting)


def stamp_of(paths: Sequence[str], *, is_final: bool) -> list[str | int]:
    """What changes when any of the files does: names, sizes, times, inodes. Empty where that cannot be told."""
    stamp: list[str | int] = [int(is_final)]
    try:
        for path in paths:
            found = os.stat(path)
            stamp += (path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    except OSError:
        return []
    return stamp if paths else []


def is_settled(stamp: Sequence[str | int], now: float) -> bool:
    """Whether the newest of the files was written so long before ``now`` that a later write has another time."""
    times = [*stamp[3::5], *stamp[4::5]]
    return all(isinstance(at, int) and at / 1e9 < now - SETTLED_S for at in times)


def folder_stamp(folder: str, now: float) -> list[int]:
    """What changes when a name comes to a folder or goes. Empty where that cannot be told, or it changed a moment ago."""
    try:
        found = os.stat(folder)
    except OSError:
        return []
    is_still = max(found.st_mtime_ns, found.st_ctime_ns) / 1e9 < now - SETTLED_S
    return [found.st_mtime_ns, found.st_ctime_ns, found.st_ino] if is_still else []


def read_file(file: MetricsFile, *, is_final: bool = True, plugins: Mapping[str, Plugin] | None = None) -> Reading:
    """Read one file of metrics; one that cannot be read gives no rows and a note."""
    try:
        with open(file.path, "rb", buffering=0, opener=_open_at_once) as stream:
            before = os.fstat(stream.fileno())
            if not stat.S_ISREG(before.st_mode):
                return Reading(notes=("is no file that can be read: left out",))
            head = stream.read(_HEAD_BYTES) or b""
            content = io.BytesIO(head) if len(head) < _HEAD_BYTES else io.BufferedReader(stream)
            source = Source(file=file.name, stream=content, head=head, is_final=is_final)
            reading = read_source(source, reader=file.reader, plugins=plugins, size_bytes=before.st_size)
            if _is_changed(before, os.fstat(stream.fileno())):
                return dataclasses.replace(reading, is_lasting=False)
            return reading
    except OSError as error:
        return Reading(notes=(f"cannot be read: {error.strerror}",), is_lasting=False)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # what became a pipe meanwhile must not keep us waiting


def _is_changed(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)


def natural(name: str) -> tuple[str | int, ...]:
    """To sort by: the numbers in a name as numbers."""
    return tuple(int(part) if place % 2 else part for place, part in enumerate(_NUMBERS.split(name)))


def _sources(files: Sequence[MetricsFile]) -> Iterator[list[list[MetricsFile]]]:
    """The files by their source; of each source its versions, the oldest first, each with one file or more."""
    sources: dict[tuple[str, int], list[tuple[tuple[int, ...], bool, MetricsFile]]] = {}
    for file in files:
        key, version, is_whole = _generation(file.name)
        sources.setdefault((key, id(file.reader)), []).append((version, is_whole, file))
    for source in sources.values():
        by_version: dict[tuple[int, ...], list[MetricsFile]] = {}
        for version, _, file in sorted(source, key=lambda entry: (entry[0], natural(entry[2].name))):
            by_version.setdefault(version, []).append(file)
        ordered = list(by_version.values())
        yield ordered[-1:] if any(is_whole for _, is_whole, _ in source) else ordered


def _generation(name: str) -> tuple[str, tuple[int, ...], bool]:
    """What a file is one more generation of, which one it is, and whether the newest says all that the others do."""
    version: list[int] = []
    is_whole = name.endswith("trainer_state.json")
    for match in _ANEW.finditer(name):
        number = match["n1"] or match["n2"] or match["n3"]
        if number:
            version.append(int(number))  # of 20260101_120000, too
        is_whole |= match["run"] is not None
    key = _ANEW.sub(lambda match: "" if match["checkpoint"] else f"{match.lastgroup}:", name)
    if is_whole and not version:
        version = [_LAST]  # written when all was done
    return key, tuple(version), is_whole


def _walk(folder: str, folders: list[str]) -> Iterator[str]:
    """The names of the files below ``folder``, relative to it; ``folders`` gets those of the folders that were gone into."""
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
                            folders.append(inside[-1])
                    elif entry.is_file():
                        yield below + entry.name
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            if not below:
                raise


def _filter_names(names: list[str], pattern: str) -> list[str]:
    hidden = "" if pattern[0] == "." else "."
    are_ours_meant = pattern.startswith(_OUR_LOG.partition("*")[0])
    return [name for name in fnmatch.filter(names, pattern) if name[0] != hidden and (are_ours_meant or not _is_ours(name))]


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
