"""How much more of a run the site lets in now: its limits on what one user has queued, less what is queued."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.fold import Fold
from hpcsweep.model import Completed, Request
from hpcsweep.room import Ceiling
from hpcsweep.runs.limits import A_DAY_S, SiteLimits, known_site_limits, site_limits
from hpcsweep.runs.run import Run
from hpcsweep.schedulers.base import Association, Command, NoAnswer, Queued, SubmitLimits
from hpcsweep.shell import run_command
from hpcsweep.states import FACTS
from hpcsweep.store import cache

AFTER_SILENCE_S = 600.0
"""How long accounting that did not answer is left in peace."""

LEARNED_S = 600.0
"""How long a refusal is taken for the site's limit; then more is tried again."""

QUEUE_S = 60.0
"""How old the last answer on the user's other jobs may be for those who only look."""

GO_ON = "`hpcsweep advance` goes on when some have ended"


def ask_ceilings(run: Run, fold: Fold) -> tuple[Ceiling, ...]:
    """The ceilings now. The user's queue is asked for only where there is a limit on it."""
    if run.scheduler.limits_cmd() is None:
        return ()
    limits, learned = _submit_limits(run), _learned(run)
    queued: Sequence[Queued] | None = None
    if limits.qos or learned or any(association.max_submit is not None for association in limits.associations):
        queued = ask_queue(run)
    return _ceilings(run, site_limits(run), limits, [_own(fold)] if queued is None else queued)


def known_ceilings(run: Run, fold: Fold) -> tuple[Ceiling, ...]:
    """The ceilings as far as they are known without asking: for those who only look.

    The user's other jobs count as they were within the last minute; after that somebody has to ask again.
    """
    site = known_site_limits(run)
    if site is None:
        return ()
    kept = cache.get_with_time(run.paths, "submit-limits")
    others = cache.get(run.paths, "queue", max_age_s=QUEUE_S, now=time.time()) or []
    limits = SubmitLimits() if kept is None else _limits_from_json(kept[0])
    return _ceilings(run, site, limits, [_own(fold), *(Queued(**job) for job in others)])


def ask_queue(run: Run) -> list[Queued] | None:
    """All that the user has queued now, this run's jobs among it; None without an answer."""
    command = run.scheduler.queued_cmd(user_name())
    completed = None if command is None else _ask(command, run.settings.query_timeout_s)
    queued = None if completed is None else run.scheduler.parse_queued(completed)
    if queued is None or isinstance(queued, NoAnswer):
        return None
    counts: dict[Queued, int] = {}
    for job in queued:
        if not job.tag.startswith(f"{run.tag}-"):
            key = Queued(tag="", account=job.account, partition=job.partition, qos=job.qos, elements=0)
            counts[key] = counts.get(key, 0) + job.elements
    others = [{**asdict(key), "elements": count} for key, count in counts.items()]
    cache.put(run.paths, "queue", others, now=time.time())
    return queued


def learn_room(run: Run, request: Request) -> int | None:
    """Remember that the site takes no more for such requests than what is queued now; how many that is, None: nobody can say."""
    queued = ask_queue(run)
    if queued is None:
        return None
    total = sum(job.elements for job in queued)
    cache.put(run.paths, "learned", {**_learned(run), _key(request): total}, now=time.time())
    return total


def _learned(run: Run) -> dict[str, int]:
    """How many jobs a user had queued when the site took no more, by account, partition and qos as they were asked for."""
    learned = cache.get(run.paths, "learned", max_age_s=LEARNED_S, now=time.time())
    return learned if isinstance(learned, dict) else {}


def _key(request: Request) -> str:
    return "|".join(text or "" for text in (request.account, request.partition, request.qos))


def _own(fold: Fold) -> Queued:
    """This run's own elements that may be queued."""
    views = fold.views if fold.finally_view is None else [*fold.views, fold.finally_view]
    live = {(view.array, view.element) for view in views if FACTS[view.state].is_live}
    return Queued(tag="", account="", partition="", qos="", elements=len(live))


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a request's jobs count: the association, if it is known, and the qos."""

    association: Association | None
    qos: str


def _ceilings(run: Run, site: SiteLimits, limits: SubmitLimits, queued: Sequence[Queued]) -> tuple[Ceiling, ...]:
    places: dict[Request, _Place] = {}

    def place_of(request: Request) -> _Place:
        if request not in places:
            places[request] = _place_of(run, limits, request)
        return places[request]

    def of_association(association: Association) -> Callable[[Request], bool]:
        return lambda request: place_of(request).association == association

    def of_qos(name: str) -> Callable[[Request], bool]:
        return lambda request: place_of(request).qos == name

    def of_key(key: str) -> Callable[[Request], bool]:
        return lambda request: _key(request) == key

    ceilings = []
    if site.max_job_count is not None:
        reason = f"limits: the site holds {site.max_job_count} jobs at once; {GO_ON}"
        ceilings.append(Ceiling(limit=site.max_job_count, room=site.max_job_count - _count(queued), reason=reason))
    for association in limits.associations:
        if association.max_submit is not None:
            limit = association.max_submit
            room = limit - _count(queued, account=association.account, partition=association.partition)
            reason = f"limits: the site lets you queue {limit} jobs (account {association.account}); {GO_ON}"
            ceilings.append(Ceiling(limit=limit, room=room, reason=reason, bears_on=of_association(association)))
    for qos, limit in limits.qos.items():
        reason = f"limits: the site lets you queue {limit} jobs (qos {qos}); {GO_ON}"
        ceilings.append(Ceiling(limit=limit, room=limit - _count(queued, qos=qos), reason=reason, bears_on=of_qos(qos)))
    for key, limit in _learned(run).items():
        reason = f"limits: the site let you queue no more than {limit} jobs; {GO_ON}"
        ceilings.append(Ceiling(limit=limit, room=limit - _count(queued), reason=reason, bears_on=of_key(key)))
    return tuple(ceilings)


def _count(queued: Iterable[Queued], *, account: str = "", partition: str = "", qos: str = "") -> int:
    """How many elements count there; one whose place nobody has said does."""
    return sum(
        job.elements
        for job in queued
        if job.account in ("", account or job.account)
        and (not partition or job.partition in ("", partition))
        and job.qos in ("", qos or job.qos)
    )


def _place_of(run: Run, limits: SubmitLimits, request: Request) -> _Place:
    """What the request says, else ``slurm:``, else the user's own defaults, else the site's."""
    options = run.settings.scheduler_options.get(run.scheduler.name, {})

    def said(name: str, own: str | None) -> str:
        return own or str(options.get(name) or os.environ.get(f"SBATCH_{name.upper()}", ""))

    account, partition = said("account", request.account), said("partition", request.partition)
    fitting = [
        association
        for association in limits.associations
        if (association.account == account if account else association.is_default) and association.partition in ("", partition)
    ]
    association = max(fitting, key=lambda known: known.partition, default=None)
    # Where no default is set Slurm takes the qos that it makes at the beginning.
    qos = said("qos", request.qos) or (association.default_qos if association else "") or "normal"
    return _Place(association=association, qos=qos)


def _submit_limits(run: Run) -> SubmitLimits:
    """The user's limits; accounting that gives no answer leaves what is known of them, if anything."""
    now = time.time()
    old = cache.get_with_time(run.paths, "submit-limits")
    known = SubmitLimits() if old is None else _limits_from_json(old[0])
    if cache.get(run.paths, "submit-limits", max_age_s=A_DAY_S, now=now) is not None:
        return known
    if cache.get(run.paths, "no-submit-limits", max_age_s=AFTER_SILENCE_S, now=now) is not None:
        return known
    commands = run.scheduler.submit_limits_cmds(user_name(), site_limits(run).cluster)
    answers = []
    for command in commands:
        answer = _ask(command, run.settings.query_timeout_s)
        if answer is None or answer.returncode != 0:
            break
        answers.append(answer)
    limits = run.scheduler.parse_submit_limits(answers) if len(answers) == len(commands) else NoAnswer(message="")
    if isinstance(limits, NoAnswer):
        cache.put(run.paths, "no-submit-limits", [], now=now)
        return known
    cache.put(run.paths, "submit-limits", asdict(limits), now=now)
    return limits


def _limits_from_json(data: Mapping[str, Any]) -> SubmitLimits:
    try:
        associations = tuple(Association(**association) for association in data["associations"])
        return SubmitLimits(associations=associations, qos=dict(data["qos"]))
    except (KeyError, TypeError, ValueError):  # of another version
        return SubmitLimits()


def _ask(command: Command, timeout_s: float) -> Completed | None:
    try:
        return run_command(command, timeout_s=timeout_s)
    except HpcsweepError:  # a site without it
        return None


def user_name() -> str:
    """Whose jobs they are: the scheduler goes by the user's number, whatever the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, where the number may have no name
        return str(os.getuid())
