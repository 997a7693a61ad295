"""A turn: what one command does to a run under its lock, with the journal open."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from hpcsweep.errors import HpcsweepError
from hpcsweep.runs.run import Run
from hpcsweep.store import Journal, RunLock, acquire, sharing


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The right to change a run, and the way to: every change is a journal event first."""

    run: Run
    lock: RunLock
    journal: Journal

    def write(self, *events: dict[str, object]) -> None:
        """Journal the events, and let the ledger know them.

        Raises:
            HpcsweepError: they could not be written; nothing that depends on them may be done.
        """
        stamped = [{**event, "at": time.time()} for event in events]
        self.journal.append(*stamped)
        self.run.ledger.replay(stamped)


@contextmanager
def open_turn(run: Run, *, wait_s: float, command: str, is_adopting: bool = False, is_removing: bool = False) -> Iterator[Turn]:
    """Hold the run's lock. What was known of the run before is read anew: somebody else may have changed it.

    Raises:
        HpcsweepError: another command holds the run for longer than ``wait_s``, or the run was moved or copied.
    """
    if not is_adopting:
        run.check_in_place()
    if not is_removing:  # what is removed submits nothing any more
        run.check_not_elsewhere()
    _check_ours(run)
    with (
        sharing(run.settings.umask),
        acquire(run.paths, wait_s=wait_s, command=f"hpcsweep {command}") as lock,
    ):
        run.forget_ledger()
        run.check_journal()  # before a journal is opened, and so perhaps made
        with Journal(run.paths, lock, time.time()) as journal:
            run.forget_ledger()
            if not is_adopting:
                run.check_in_place()  # it may have been moved while we waited
            yield Turn(run=run, lock=lock, journal=journal)


def _check_ours(run: Run) -> None:
    """Say whose run it is, where that is why it cannot be changed.

    Raises:
        HpcsweepError: it is somebody else's, and closed to us.
    """
    with suppress(OSError):
        owner = run.paths.run_json.stat().st_uid
        if owner != os.geteuid() and not os.access(run.paths.lock_dir, os.W_OK):
            raise HpcsweepError(
                f"{run.name} is a run of {run.info.get('user', owner)}: you have no permission to change it",
                "you can look at it and collect it; `umask` and `group` in a sweep file let others change its runs",
            )
