"""The folder of the runs: new runs are made in it, and runs are found by name, path or age."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from hpcsweep.errors import HpcsweepError
from hpcsweep.store.files import explain, explained, sync_folder
from hpcsweep.store.layout import RunPaths, absolute_as_written
from hpcsweep.store.run_files import read_run_json

# The number of an archived run is taken too: it may be unpacked again.
_NUMBERED = re.compile(r"run-([0-9]{1,9})(?:\.tar\.gz)?")


def create_run_dir(runs_dir: Path, name: str | None = None, *, umask: int | None = None, group: str | None = None) -> RunPaths:
    """Make the folder of a new run, ``run-01``, ``run-02``, ..., or ``name``; of two callers each gets its own.

    It is no run until ``run.json`` is in it: see :func:`hpcsweep.store.write_run_json`, and
    :func:`discard_run_dir` for when that fails.

    Args:
        runs_dir: where; made when it is not there.
        name: the user's own name for the run.
        umask: the run's umask (the process should have it too, see :func:`hpcsweep.store.sharing`).
        group: the group that the run and all in it shall belong to.

    Raises:
        HpcsweepError: the name is taken or no plain folder name, or nothing could be made there; nothing is left.
    """
    if name is not None:
        check_run_name(name)
    runs_dir = absolute_as_written(runs_dir)
    made = _make_parents(runs_dir)
    root: Path | None = None
    try:
        root = _make_named(runs_dir, name) if name is not None else _make_numbered(runs_dir)
        _share(root, umask, group)
        with explained("make a run in", runs_dir):
            for part in ("lock", "arrays", "tasks"):
                (root / part).mkdir()
            sync_folder(root)
            sync_folder(runs_dir)
    except BaseException:
        if root is not None:
            shutil.rmtree(root, ignore_errors=True)
        _remove_empty(made)
        raise
    return RunPaths(root)


def missing_folders(folder: Path) -> list[Path]:
    """What of ``folder`` and those above it is not there, deepest first: what a failed submit has to take away again."""
    folder = absolute_as_written(folder)
    return list(itertools.takewhile(lambda path: not _is_folder(path), [folder, *folder.parents]))


def discard_run_dir(paths: RunPaths, made: Sequence[Path] = ()) -> None:
    """Remove a folder that never became a run, and those of ``made`` (deepest first) that are empty then; a real run stays."""
    if os.path.lexists(paths.run_json):
        return
    shutil.rmtree(paths.root, ignore_errors=True)
    _remove_empty(list(made))


def check_run_name(name: str) -> None:
    """Refuse a name that is no plain folder name.

    Raises:
        HpcsweepError: with what is wrong.
    """
    if not name or name != name.strip():
        problem = "it is empty or has blanks at its ends"
    elif "/" in name:
        problem = "it has a slash in it (the folder is chosen by --set runs_dir=DIR)"
    elif name.startswith((".", "-")):
        problem = "it begins with a dot or a dash"
    elif not name.isprintable():
        problem = "it has characters in it that cannot be printed"
    elif len(os.fsencode(name)) > 200:
        problem = "it is longer than 200 bytes"
    else:
        return
    raise HpcsweepError(f"{name!r} cannot be a run's name: {problem}", "give a plain folder name, such as lr-scan-2")


def list_runs(runs_dir: Path) -> list[RunPaths]:
    """All runs in ``runs_dir`` (folders with a run.json), in natural order of their names; none when it is not there.

    Raises:
        HpcsweepError: the folder cannot be read.
    """
    runs_dir = absolute_as_written(runs_dir)
    try:
        with os.scandir(runs_dir) as entries:
            names = [entry.name for entry in entries if Path(entry.path, "run.json").is_file()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise explain(error, "list", runs_dir) from error
    return [RunPaths(runs_dir / name) for name in sorted(names, key=_natural)]


def find_run(runs_dir: Path, text: str | None = None) -> RunPaths:
    """The run that the user means: a name in ``runs_dir``, a path, or (None) the latest run.

    Raises:
        HpcsweepError: there is no such run; the nearest names and what there is are in the message.
    """
    if text is None:
        return _latest(absolute_as_written(runs_dir))
    candidates = [] if text in {"", ".", ".."} else [absolute_as_written(runs_dir) / text]
    if text:
        candidates.append(absolute_as_written(Path(text)))
    for candidate in candidates:
        if _is_file(candidate / "run.json"):
            return RunPaths(candidate)
    for candidate in candidates:
        if _is_folder(candidate):
            read_run_json(RunPaths(candidate))  # says why that is no run
    raise _no_such_run(absolute_as_written(runs_dir), text)


def is_in_place(paths: RunPaths, recorded: str | None = None) -> bool:
    """Whether the path that the run was made at still opens this same folder; False: it was moved or copied.

    Args:
        paths: the run as it was found.
        recorded: its path, where that is not run.json's (an adopted copy).

    Raises:
        HpcsweepError: run.json cannot be read.
    """
    path = read_run_json(paths).get("path") if recorded is None else recorded
    try:
        return isinstance(path, str) and Path(path).samefile(paths.root)
    except (OSError, ValueError):
        return False


def _make_parents(folder: Path) -> list[Path]:
    """Make ``folder`` and what is missing above it; returns what was made, deepest first."""
    missing = [folder, *folder.parents]
    made: list[Path] = []
    try:
        while missing and not missing[0].is_dir():
            nearest = next(
                index for index, path in enumerate(missing) if index + 1 == len(missing) or missing[index + 1].is_dir()
            )
            try:
                missing[nearest].mkdir()
                made.insert(0, missing[nearest])
            except FileExistsError:  # somebody else made it at this moment
                if not missing[nearest].is_dir():
                    raise
    except OSError as error:
        _remove_empty(made)
        raise explain(error, "make the folder", folder) from error
    return made


def _make_named(runs_dir: Path, name: str) -> Path:
    root = runs_dir / name
    try:
        root.mkdir()
    except FileExistsError as error:
        raise HpcsweepError(f"there is a run named {name} already in {runs_dir}", "give another --name, or none") from error
    except OSError as error:
        raise explain(error, "make a run in", runs_dir) from error
    return root


def _make_numbered(runs_dir: Path) -> Path:
    while True:
        with explained("make a run in", runs_dir):
            with os.scandir(runs_dir) as entries:
                taken = [int(match.group(1)) for entry in entries if (match := _NUMBERED.fullmatch(entry.name))]
            root = runs_dir / f"run-{max(taken, default=0) + 1:02d}"
            with contextlib.suppress(FileExistsError):  # somebody else took the number; the next one then
                root.mkdir()
                return root


def _share(root: Path, umask: int | None, group: str | None) -> None:
    if group is not None:
        try:
            shutil.chown(root, group=group)
        except LookupError as error:
            raise HpcsweepError(f"group: there is no group {group!r} on this machine", "`id -Gn` lists yours") from error
        except OSError as error:
            raise HpcsweepError(
                f"group: the run cannot be given to the group {group!r}: {error.strerror}",
                "`id -Gn` lists the groups you are in",
            ) from error
    if group is not None or umask is not None:
        mode = 0o777 & ~umask if umask is not None else root.stat().st_mode & 0o777
        with explained("set the permissions of", root):
            # The set-group-id bit hands the group on to all that is made below.
            root.chmod(mode | (0o2000 if group is not None else 0))


def _remove_empty(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):  # one that is not empty keeps those above it
        for folder in folders:
            folder.rmdir()


def _latest(runs_dir: Path) -> RunPaths:
    runs = list_runs(runs_dir)
    ages: list[tuple[float, int]] = []
    for index, run in enumerate(runs):
        try:
            created = read_run_json(run).get("created")
        except HpcsweepError:
            created = None  # a damaged or newer one is not in the way of the others
        if isinstance(created, (int, float)):
            ages.append((float(created), index))
    if ages:
        return runs[max(ages)[1]]
    if runs:
        return runs[-1]
    raise HpcsweepError(
        f"there is no run in {runs_dir}", "`hpcsweep submit SWEEP.yaml` makes one; a run elsewhere is given by its path"
    )


def _no_such_run(runs_dir: Path, text: str) -> HpcsweepError:
    names = [run.name for run in list_runs(runs_dir)]
    archive = runs_dir / f"{text}.tar.gz"
    if "/" not in text and _is_file(archive):
        return HpcsweepError(f"the run {text!r} was archived", f"get it back: tar -xzf {archive} -C {runs_dir}")
    if not names:
        return HpcsweepError(
            f"there is no run {_shorten(text)}, and no run at all in {runs_dir}",
            "`hpcsweep submit SWEEP.yaml` makes one; a run elsewhere is given by its path",
        )
    near = difflib.get_close_matches(Path(text).name, names, n=3, cutoff=0.6)
    shown = ", ".join(names[-10:]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return HpcsweepError(f"there is no run {_shorten(text)} in {runs_dir}", f"{hint}there are: {shown}")


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:200] + "...")


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in re.split(r"([0-9]{1,15})", name)]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that no path can be
        return False
