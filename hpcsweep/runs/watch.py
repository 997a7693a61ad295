"""Watching a run: observe again and again, and advance it when there is something to do."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace

from hpcsweep.errors import HpcsweepError
from hpcsweep.runs.advance import advance
from hpcsweep.runs.look import look
from hpcsweep.runs.run import Run
from hpcsweep.runs.status import Status, make_status
from hpcsweep.runs.turn import open_turn

LOCAL_INTERVAL_S = 0.5
LEAST_INTERVAL_S = 3.0
MOST_INTERVAL_S = 30.0
RETRY_REFUSED_S = 60.0


class Watch:
    """One watcher. ``interval_s`` adapts: half a second on this machine; on a cluster from 3 s up to 30 s while nothing changes.

    ``problem``: why it could not advance the run at its last try, or "". It goes on trying.
    """

    def __init__(self, run: Run, *, command: str) -> None:
        self._run = run
        self._command = command
        self._is_local = run.info["scheduler"] == "local"
        self._may_write = os.access(run.paths.root, os.W_OK)
        self._counts: object = None
        self._refused_at = 0.0
        self.problem = ""
        self.interval_s = LOCAL_INTERVAL_S if self._is_local else LEAST_INTERVAL_S

    def turn(self) -> Status:
        """Look once; advance when *decide* has something to do and nobody else is changing the run."""
        run = self._run
        run.forget_ledger()
        run.check_journal()  # nothing will ever become of it: who waits shall hear of it
        fold, decision = look(run)
        is_uncertain = any(array.is_uncertain for array in run.ledger.arrays.values())
        has_ended = decision.is_finished and not run.ledger.is_finished
        if (decision.actions or is_uncertain or has_ended) and self._may_write:
            self._advance()
            run.forget_ledger()
            fold, decision = look(run)
        status = make_status(run, fold, decision)
        if self.problem:
            status = replace(status, problems=[*status.problems, self.problem])
        if not self._is_local:
            changed = status.counts != self._counts
            self.interval_s = LEAST_INTERVAL_S if changed else min(MOST_INTERVAL_S, self.interval_s * 1.3)
            self._counts = status.counts
        return status

    def _advance(self) -> None:
        """Not while a refusal is fresh; a held lock or a silent scheduler is met again at the next turn."""
        if time.monotonic() - self._refused_at < RETRY_REFUSED_S and self._refused_at:
            return
        with suppress(HpcsweepError), open_turn(self._run, wait_s=0.0, command=self._command) as turn:
            try:
                report = advance(turn)
            except HpcsweepError as error:
                self.problem = error.message
                raise
            self.problem = report.refused[0][1].message if report.refused else ""
            if report.refused:
                self._refused_at = time.monotonic()
