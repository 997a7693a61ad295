"""scancel: jobs, elements and whatever has a name, told to end or signalled."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Answer
from hpcsweep.rehearsal.indices import has, intersect, to_plain
from hpcsweep.rehearsal.jobs import Job
from hpcsweep.rehearsal.slurm_arguments import Arguments, Syntax, UsageError, pairs, table
from hpcsweep.rehearsal.slurm_site import VERSION
from hpcsweep.rehearsal.slurm_view import Visit, find_job, parse_job_id

SCANCEL = Syntax(
    program="scancel",
    longs=table(
        none="batch ctld full help hurry interactive quiet usage verbose version",
        value="account cluster clusters jobname name nodelist partition qos reservation sibling signal state user wckey",
    ),
    shorts=pairs(
        "b=batch f=full i=interactive n=name p=partition q=qos s=signal t=state u=user v=verbose w=nodelist "
        "A=account H=hurry M=clusters Q=quiet R=reservation V=version"
    ),
    aliases={"cluster": "clusters", "jobname": "name"},
)
_FILTERS = ("partition", "account", "qos", "nodelist", "wckey")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A job or elements of it that a command is about."""

    job: Job
    which: tuple[range, ...] | None
    written: str


def run_scancel(visit: Visit) -> Answer:
    """Do what scancel does: what is not there, or over, is no fault."""
    try:
        given = SCANCEL.parse(visit.call.argv)
        if "version" in given:
            return Answer(stdout=f"slurm-wlm {VERSION}\n")
        _check_chooses(given)
        states = _parse_states(given)
        number = _parse_signal(given)
    except UsageError as error:
        return Answer(stderr=error.text, code=error.code)
    user = given.last("user")
    if user and user not in (visit.call.user, str(visit.call.uid)):
        known = user in {job.request.user for job in visit.cluster.jobs.values()}
        return Answer() if known else Answer(stderr=f"scancel: error: Invalid user name: {user}\n", code=1)
    said: list[str] = []
    try:
        targets = _targets(visit, given, said)
    except UsageError as error:
        return Answer(stderr=error.text, code=error.code)
    for target in targets:
        if number is None or number == signal.SIGKILL:
            _delete(visit, target, given, states, is_kill=number is not None)
        elif ("batch" in given or "full" in given) and (not states or "RUNNING" in states):
            # Without these it goes to the job's steps, and our jobs have none but their shell.
            visit.cluster.signal(target.job, target.which, number, "session" if "full" in given else "leader")
    return Answer(stderr="".join(f"{line}\n" for line in said) if "verbose" in given else "")


def _check_chooses(given: Arguments) -> None:
    if not given.words and not any(name in given for name in ("name", "user", "state", *_FILTERS)):
        raise UsageError("scancel: error: No job identification provided", code=1)


def _targets(visit: Visit, given: Arguments, said: list[str]) -> list[Target]:
    words = [word for written in given.words for word in re.findall(r"[^,\[]+(?:\[[^\]]*\])?", written)]
    chosen: list[Target] = []
    if not words:
        jobs = visit.cluster.jobs.values()
        chosen = [Target(job=job, which=None, written=str(job.number)) for job in jobs if visit.viewer.knows(job)]
    for word in words:
        parsed = parse_job_id(word)
        if parsed is None:
            raise UsageError(f"scancel: error: Invalid job id {word}", code=1)
        found = find_job(visit.cluster, parsed[0])
        said.append(f"scancel: Terminating job {word}")
        if found is None or not visit.viewer.knows(found[0]):
            said.append(f"scancel: error: Kill job error on job id {word}: Invalid job id specified")
            continue
        which = parsed[1] if parsed[1] is not None else found[1]
        chosen.append(Target(job=found[0], which=None if which is None else tuple(which), written=word))
    return [target for target in chosen if _is_meant(target.job, given)]


def _delete(visit: Visit, target: Target, given: Arguments, states: frozenset[str], *, is_kill: bool) -> None:
    job, which, by = target.job, target.which, str(visit.call.uid)
    if not states or "PENDING" in states:
        if which is not None and "name" in given and intersect(job.waiting, which):
            which = None  # with --name the pending elements are one record to it: all of them go
        cancel_pending(visit.cluster, job, which, visit.now, by)
    if not states or "RUNNING" in states:
        visit.cluster.delete(job, target.which, visit.now, by=by, term=not is_kill, pending=False)


def cancel_pending(cluster: Cluster, job: Job, which: tuple[range, ...] | None, now: float, by: str) -> None:
    """End what has not started. The history hears of records: of elements taken from one that stays it never does."""
    split = [element for element in job.elements.values() if element.state == "waiting"]
    gone = [element for element in split if which is None or has(which, element.index)]
    kept = [{"elements": [[one.index, one.index + 1, 1]], "at": now, "by": by, "raw": one.raw} for one in gone]
    record = list(job.waiting)
    cluster.delete(job, which, now, by=by, running=False)
    if record and not job.waiting:
        kept.append({"elements": to_plain(record), "at": now, "by": by, "raw": 0})
    if kept and job.is_array:
        job.notes.setdefault("cancelled", []).extend(kept)
        cluster.touch(job)


def _is_meant(job: Job, given: Arguments) -> bool:
    kept = job.request.attributes
    values = {"name": job.request.name, "partition": job.request.queue, "account": kept["account"], "qos": kept["qos"]}
    return all(given.last(option) == value for option, value in values.items() if option in given)


def _parse_states(given: Arguments) -> frozenset[str]:
    words = {"PD": "PENDING", "R": "RUNNING", "S": "SUSPENDED"}
    found = [words.get(word.upper(), word.upper()) for word in given.last("state").split(",") if word]
    for word in found:
        if word not in words.values():
            written = given.last("state")
            raise UsageError(
                f"Invalid job state specified: {written}", "Valid job states are PENDING, RUNNING, and SUSPENDED", code=1
            )
    return frozenset(found)


def _parse_signal(given: Arguments) -> int | None:
    written = given.last("signal")
    if not written:
        return None
    if written.isdigit():
        return int(written)
    number = getattr(signal, f"SIG{written.upper().removeprefix('SIG')}", None)
    if not isinstance(number, signal.Signals):
        raise UsageError(f"Unknown job signal: {written}", code=1)
    return int(number)
