"""The copy of a project in a run's folder: its files as they are at submit, and a list of what each of them was."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcsweep.errors import HpcsweepError
from hpcsweep.store.files import explain, explained, sync_folder, write_atomically, write_fully
from hpcsweep.store.layout import RunPaths

_PIECE_BYTES = 1 << 20
_AT_ONCE = 8  # a file server answers several as fast as one
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_PLAIN = {escaped: plain for plain, escaped in _ESCAPES.items()}


@dataclass(frozen=True, kw_only=True)
class Copied:
    """How much was copied. Files that went away meanwhile are not counted."""

    files: int
    bytes: int


def copy_code(
    paths: RunPaths, project: Path, names: Sequence[str], *, links: Sequence[str] = (), folders: Iterable[str] = ()
) -> Copied:
    """Copy files of a project into the run's folder, and write down their hashes.

    Args:
        paths: the run.
        project: the folder that the names are relative to.
        names: files and symbolic links. The rights to execute are kept; a link means in the copy what it means in the project.
        links: what becomes a symbolic link to the original.
        folders: what has to be there as a folder, even an empty one.

    Raises:
        HpcsweepError: something could not be read or written.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only a submit with a snapshot needs it

    umask = os.umask(0o077)
    os.umask(umask)
    present = {*names, *(folder for name in names for folder in _parents(name))}
    with explained("make", paths.code):
        paths.code.mkdir()
        wanted = {folder for name in (*names, *links) for folder in _parents(name)} | {f for f in folders if f not in ("", ".")}
        for folder in sorted(wanted):
            (paths.code / folder).mkdir(parents=True, exist_ok=True)

    def copy(name: str) -> tuple[str, int, str] | None:
        return _copy_file(project / name, paths.code / name, lambda text: _link_text(project, name, text, present), umask)

    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        copied = [(name, done) for name, done in zip(names, pool.map(copy, names), strict=True) if done is not None]
    finally:
        pool.shutdown(cancel_futures=True)
    for name in links:
        with explained("make the link", paths.code / name):
            (paths.code / name).symlink_to(project / name)
    lines = [_hash_line(digest, name) for name, (digest, _, kind) in copied if kind == "file"]
    write_atomically(paths.code_hashes, b"".join(lines))
    sync_folder(paths.root)
    return Copied(files=len(copied), bytes=sum(size for _, (_, size, _) in copied))


def changed_code(paths: RunPaths) -> list[str]:
    """The copied files that are not any more what they were at submit, or cannot be read.

    Raises:
        HpcsweepError: the list of the hashes cannot be read.
    """
    changed = []
    for digest, name in _read_hashes(paths):
        try:
            with (paths.code / name).open("rb") as file:
                is_same = _hash(file.fileno()) == digest
        except OSError:
            is_same = False
        if not is_same:
            changed.append(name)
    return changed


def _copy_file(source: Path, target: Path, link_text: Callable[[str], str], umask: int) -> tuple[str, int, str] | None:
    """(hash, bytes, what it is); None when it is gone, or is neither a file nor a link."""
    try:
        facts = source.lstat()
        if stat.S_ISLNK(facts.st_mode):
            target.symlink_to(link_text(str(source.readlink())))
            return "", 0, "link"
        if not stat.S_ISREG(facts.st_mode):
            return None
        with source.open("rb") as file:
            digest, size = _write_copy(file.fileno(), target, stat.S_IMODE(facts.st_mode) & 0o777 & ~umask)
        os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise explain(error, "copy", source) from error
    return digest, size, "file"


def _write_copy(source: int, target: Path, mode: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while piece := os.read(source, _PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
            write_fully(descriptor, piece)
        os.fchmod(descriptor, mode | 0o400)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return digest.hexdigest(), size


def _hash(descriptor: int) -> str:
    digest = hashlib.sha256()
    while piece := os.read(descriptor, _PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def _link_text(project: Path, name: str, text: str, present: set[str]) -> str:
    """What a symbolic link has to say in the copy, to mean the copied file, or the original where there is no copy of it."""
    folder = posixpath.dirname(name)
    target = posixpath.normpath(posixpath.join(project, folder, text))
    inside = posixpath.relpath(target, project)
    if inside != "." and (inside.split("/")[0] == ".." or inside not in present):
        return target
    return posixpath.relpath(inside, folder or ".") if posixpath.isabs(text) else text


def _parents(name: str) -> Iterator[str]:
    while name := posixpath.dirname(name):
        yield name


def _hash_line(digest: str, name: str) -> bytes:
    """A line as sha256sum writes it: a name with line ends or backslashes is escaped, and the line says so."""
    escaped = re.sub(r"[\\\n\r]", lambda match: _ESCAPES[match[0]], name)
    return (b"\\" if escaped != name else b"") + digest.encode() + b"  " + os.fsencode(escaped) + b"\n"


def _read_hashes(paths: RunPaths) -> Iterator[tuple[str, str]]:
    with explained("read", paths.code_hashes):
        lines = paths.code_hashes.read_bytes().split(b"\n")
    for line in filter(None, lines):
        digest, _, name = os.fsdecode(line).partition("  ")
        if not name:
            raise HpcsweepError(f"{paths.code_hashes} is damaged", "whether the copied code was changed cannot be told")
        if digest.startswith("\\"):
            name = re.sub(r"\\[\\nr]", lambda match: _PLAIN[match[0]], name)
        yield digest.removeprefix("\\"), name
