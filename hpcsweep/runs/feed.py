"""Feeding: a small job is left behind that advances the run when some of its jobs have ended, and leaves the next one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace

from hpcsweep.errors import HpcsweepError
from hpcsweep.fold import Fold
from hpcsweep.ledger import Feeder
from hpcsweep.model import Request, Settings
from hpcsweep.render.feeder import render_feeder
from hpcsweep.runs.facts import environment_text
from hpcsweep.runs.run import Run
from hpcsweep.runs.scripts import run_facts
from hpcsweep.runs.turn import Turn
from hpcsweep.schedulers.base import ArrayJob, Refused, Scheduler, Seen, Submitted
from hpcsweep.shell import run_command
from hpcsweep.states import FACTS
from hpcsweep.store import write_feeder

FEEDER_VARIABLE = "HPCSWEEP_FEEDER"
TIME_LIMIT_S = 900
MEMORY_BYTES = 512 * 1024**2
DELAY_S = 300
"""When it looks again where nothing of the run is queued whose end it could wait for."""

_OPTIONS = ("account", "partition", "qos", "reservation", "clusters", "wckey", "project", "queue", "attributes", *"AqPW")
"""Of the scheduler's own options those that say where, and at whose cost."""


def feeder_request(run: Run, fold: Fold) -> Request | None:
    """What the next feeder asks for: a little, where the tasks run and on their account. None: none is to be left now."""
    return small_request(run.request_of(0)) if run.ledger.is_fed and not is_waiting(run, fold) else None


def small_request(task: Request) -> Request:
    """What a small job of our own asks for, where tasks ask for ``task``."""
    plain = Request(account=task.account, partition=task.partition, qos=task.qos)
    # A time that the tasks may have is one that the partition allows; sites that want no --mem want none here.
    limit_s = TIME_LIMIT_S if task.time_limit_s is None else min(TIME_LIMIT_S, task.time_limit_s)
    return replace(plain, cpus=1, time_limit_s=limit_s, memory_bytes=task.memory_bytes and MEMORY_BYTES)


def small_directives(scheduler: Scheduler, request: Request, settings: Settings) -> tuple[str, ...]:
    """The directive lines of a small job of our own."""
    options = settings.scheduler_options.get(scheduler.name, {})
    return tuple(scheduler.directives(request, {name: options[name] for name in _OPTIONS if name in options}))


def live_feeder(fold: Fold) -> Seen | None:
    """What the scheduler says of the newest feeder; None: nothing, or that it is over."""
    feeder = fold.ledger.feeder
    live = fold.evidence.live or ()
    return next((seen for seen in live if feeder is not None and seen.tag == feeder.tag), None)


def is_waiting(run: Run, fold: Fold) -> bool:
    """Whether another feeder than the one that we may be is queued, or may be."""
    feeder = run.ledger.feeder
    if feeder is None or feeder.is_refused or os.environ.get(FEEDER_VARIABLE) == feeder.tag:
        return False
    if live_feeder(fold) is not None or feeder.at >= fold.evidence.now:
        return True
    return feeder.job is None and fold.evidence.now - feeder.at < run.settle_s


def leave_feeder(turn: Turn, fold: Fold, *, delay_s: int = 0) -> list[str]:
    """Submit a feeder, where feeding is wished and none is waiting; what there is to say of it.

    It may start when the first of a few elements of the middle and the end of what is queued has ended: the queue is then
    half empty, and does not run dry. A feeder that is lost harms nothing, nor do two of them: each is an `advance`.

    Args:
        turn: the run, under its lock.
        fold: what was seen of it.
        delay_s: wait so long instead.
    """
    run = turn.run
    request = feeder_request(run, fold)
    if request is None:
        return []
    number = 1 if run.ledger.feeder is None else run.ledger.feeder.number + 1
    tag = f"{run.tag}-feed-{number}"
    directives = small_directives(run.scheduler, request, run.settings)
    path = run.paths.feeder(number)
    log = path.with_suffix(".log")
    script = render_feeder(
        tag=tag,
        run_dir=str(run.paths.root),
        python=sys.executable,
        directives=directives,
        environment=environment_text(os.environ),
        opening=run_facts(run).opening(str(log)) if run.scheduler.starts_bare else "",
    )
    write_feeder(run.paths, number, script)
    first_of = () if delay_s else _middle_of(list(_queued_elements(fold)))
    job = ArrayJob(
        tag=tag,
        script=str(path),
        log=str(log),
        size=1,
        chdir=run.cwd,
        after_first_of=first_of,
        delay_s=0 if first_of else delay_s or DELAY_S,
        as_single_job=True,
        directives=directives,
    )
    return _submit(turn, Feeder(number=number, tag=tag, at=0.0), job)


def _submit(turn: Turn, feeder: Feeder, job: ArrayJob) -> list[str]:
    run = turn.run
    event: dict[str, object] = {"event": "feeder", "number": feeder.number, "tag": feeder.tag}
    turn.lock.check()
    turn.write(event)
    try:
        answer = run.scheduler.parse_submit(run_command(run.scheduler.submit_cmd(job), lock_fd=turn.lock.fd))
    except HpcsweepError as error:
        answer = Refused(message=error.message)
    by_hand = f"without it, `hpcsweep advance {run.handle}` goes on, by hand or from cron"
    if isinstance(answer, Submitted):
        turn.write({**event, "job": answer.job})
        caveat = f" ({run.scheduler.feeder_caveat}; {by_hand})" if run.scheduler.feeder_caveat else ""
        return [f"job {answer.job} is left, which goes on with {run.name} when some of it has ended{caveat}"]
    if isinstance(answer, Refused):
        turn.write({**event, "refused": True, "message": answer.message})
        return [f"no feeder could be left: {answer.message}; {by_hand}"]
    return [f"the scheduler did not confirm the feeder: {answer.message}; {by_hand}"]


def _queued_elements(fold: Fold) -> Iterator[str]:
    """The ids of this run's elements that are queued or run, in their order; of what was submitted just now, too."""
    live = {(view.array, view.element) for view in fold.views if FACTS[view.state].is_live}
    for number, array in sorted(fold.ledger.arrays.items()):
        if array.submission == "submitted" and array.kind == "tasks":
            is_new = array.submitted_at >= fold.evidence.now
            for element in range(array.size):
                job = array.job_of(element) if is_new or (number, element) in live else None
                if job is not None:
                    yield job


def _middle_of(jobs: list[str]) -> tuple[str, ...]:
    count = len(jobs)
    return tuple(dict.fromkeys(jobs[index] for index in (count // 2, count * 3 // 4, count - 1))) if jobs else ()
