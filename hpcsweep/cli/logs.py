"""What tasks printed: of one task, of several, or of all that failed."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.errors import HpcsweepError
from hpcsweep.fold import Fold
from hpcsweep.runs.logs import elements_log, log_path
from hpcsweep.runs.observe import observe
from hpcsweep.runs.run import Run, open_run
from hpcsweep.runs.select import parse_tasks
from hpcsweep.states import FACTS

FOLLOW_EVERY_S = 0.3
OBSERVE_EVERY_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep logs``."""
    parser.add_argument(
        "words", metavar="[RUN] [TASKS]", nargs="*", help="the run (default: the latest), and tasks: 17 or 3,17-20 or 4711_3"
    )
    options.add_runs_dir(parser)
    parser.add_argument("--failed", action="store_true", help="of every task that did not work")
    parser.add_argument("-f", "--follow", action="store_true", help="go on printing while the task runs (one task)")
    parser.add_argument("-n", "--lines", metavar="N", type=options.positive, help="only the last N lines of each")
    parser.add_argument("--path", action="store_true", help="only say where the logs are")


def run(words: list[str], runs_dir: str | None, lines: int | None, *, failed: bool, follow: bool, path: bool) -> int:
    """Print logs; 1 when there is none.

    Raises:
        HpcsweepError: no task was named, or several to follow.
    """
    opened, tasks_text = _run_and_tasks(words, runs_dir)
    chosen = parse_tasks(tasks_text, opened.ledger) if tasks_text is not None else None
    fold = observe(opened)
    if failed:
        bad = {view.index for view in fold.views if FACTS[view.state].is_failure}
        chosen = sorted(bad if chosen is None else bad & set(chosen))
    if chosen is None:
        if opened.ledger.total != 1:
            raise HpcsweepError("which task?", f"hpcsweep logs {opened.handle} 0, or hpcsweep logs {opened.handle} --failed")
        chosen = [0]
    if path:
        output.say(*(str(log_path(opened, fold.views[index])) for index in chosen))
        return 0
    if follow:
        if len(chosen) != 1:
            raise HpcsweepError(f"--follow takes one task, not {len(chosen)}")
        return _follow(opened, fold, chosen[0])
    found = [_print_log(opened, fold, index, lines, has_title=len(chosen) > 1) for index in chosen]
    if failed and not chosen:
        output.note("no task failed")
        return 0
    return 0 if all(found) else 1


def _run_and_tasks(words: list[str], runs_dir: str | None) -> tuple[Run, str | None]:
    """``logs run-03 17``, ``logs 17`` (of the latest run), ``logs run-03``: one word is a run when there is such a run."""
    if len(words) > 2:
        raise HpcsweepError(f"logs takes a run and tasks, not {' '.join(words)!r}", "hpcsweep logs run-03 3,17-20")
    if len(words) == 2:
        return open_run(runs_dir, words[0]), words[1]
    if words:
        looks_like_tasks = words[0][:1].isdigit()
        try:
            return open_run(runs_dir, words[0]), None
        except HpcsweepError:
            if not looks_like_tasks:
                raise
        return open_run(runs_dir, None), words[0]
    return open_run(runs_dir, None), None


def _print_log(opened: Run, fold: Fold, index: int, lines: int | None, *, has_title: bool) -> bool:
    view = fold.views[index]
    path = log_path(opened, view)
    if has_title:
        output.say(f"==> {view.title}: {view.state}{f' ({view.reason})' if view.reason else ''} <==")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        outside = elements_log(opened, view)
        where = f"; what its job script printed is in {outside}" if outside else ""
        output.note(f"{view.title} is {view.state} and has no log yet ({path}){where}")
        return False
    except OSError as error:
        output.note(f"{path} cannot be read: {error.strerror}")
        return False
    if lines is not None:
        data = b"".join(data.splitlines(keepends=True)[-lines:])
    _write(data)
    if data and not data.endswith(b"\n"):
        _write(b"\n")
    return True


def _write(data: bytes) -> None:
    """Bytes as the task wrote them."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _follow(opened: Run, fold: Fold, index: int) -> int:
    """Print what is there and what comes, until the task has ended."""
    position = 0
    observed = time.monotonic()
    path: Path | None = None
    while True:
        view = fold.views[index]
        newest = log_path(opened, view)
        if newest != path:
            path, position = newest, 0
        position = _print_from(newest, position)
        if FACTS[view.state].is_ended and view.is_final:
            output.note(f"{view.title}: {view.state}{f' ({view.reason})' if view.reason else ''}")
            return 0
        time.sleep(FOLLOW_EVERY_S)
        if time.monotonic() - observed >= OBSERVE_EVERY_S or opened.info["scheduler"] == "local":
            opened.forget_ledger()
            fold = observe(opened)
            observed = time.monotonic()
            position = _print_from(newest, position)


def _print_from(path: Path, position: int) -> int:
    try:
        with path.open("rb") as file:
            file.seek(position)
            data = file.read()
    except OSError:
        return position
    if data:
        _write(data)
    return position + len(data)
