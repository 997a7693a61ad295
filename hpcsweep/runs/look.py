"""Looking at a run without changing it: observe, fold, and what *decide* would do."""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import replace

from hpcsweep.decide import Decision, decide, policy_of
from hpcsweep.errors import HpcsweepError
from hpcsweep.fold import Fold
from hpcsweep.model import Request
from hpcsweep.runs.known import going_on
from hpcsweep.runs.limits import retry_site
from hpcsweep.runs.observe import observe
from hpcsweep.runs.room import known_ceilings
from hpcsweep.runs.run import Run
from hpcsweep.runs.status import Status, make_status


def look(run: Run) -> tuple[Fold, Decision]:
    """What is, and what ``advance`` would do now. The site's limits are not asked for: what is known of them counts."""
    fold = observe(run)
    more = going_on(run, fold)
    if more:  # as `advance` will have it; nothing is written here
        fold = Fold(deepcopy(run.ledger).replay(more), fold.evidence, run.ledger.total)
    policy = policy_of(
        run.settings,
        ceilings=known_ceilings(run, fold),
        settle_s=run.settle_s,
    )
    policy = replace(policy, site=retry_site(run, fold, asks=False))
    now = time.time()
    try:
        return fold, decide(fold, policy, run.request_of, now)
    except HpcsweepError:  # tasks.jsonl is damaged: what would be submitted cannot be told, but that something would be
        return fold, decide(fold, policy, lambda _task: Request(), now)


def read_status(run: Run) -> Status:
    """The run's status, as of now."""
    fold, decision = look(run)
    return make_status(run, fold, decision)
