"""``scontrol update``: what of a job can be changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpcsweep.rehearsal.face import Answer
from hpcsweep.rehearsal.jobs import Job
from hpcsweep.rehearsal.slurm_arguments import Arguments
from hpcsweep.rehearsal.slurm_cancel import Target
from hpcsweep.rehearsal.slurm_request import RefusedError, parse_dependency
from hpcsweep.rehearsal.slurm_values import format_array, parse_time_limit
from hpcsweep.rehearsal.slurm_view import Visit, find_job, parse_job_id

INVALID = "Invalid job id specified"


@dataclass(frozen=True, kw_only=True)
class Control(Visit):
    """One scontrol."""

    given: Arguments

    def find(self, written: str) -> Target | None:
        """The job or the elements of an id; None: there is none."""
        parsed = parse_job_id(written)
        found = find_job(self.cluster, parsed[0]) if parsed else None
        if parsed is None or found is None or not self.viewer.knows(found[0]):
            return None
        which = parsed[1] if parsed[1] is not None else found[1]
        if which is not None:
            which = tuple(which)
            if self.cluster.state_of(found[0], which[0][0]) is None:
                return None
        return Target(job=found[0], which=which, written=written)

    def named(self, name: str) -> list[Target]:
        """The jobs of that name that are known."""
        return [
            Target(job=job, which=None, written=str(job.number))
            for job in self.cluster.jobs.values()
            if job.request.name == name and self.viewer.knows(job)
        ]


def fail(*lines: str) -> Answer:
    """Exit code 1, with these words."""
    return Answer(stderr="".join(f"{line}\n" for line in lines), code=1)


def said_of_finished(target: Target) -> list[str]:
    """Of a job that has ended, or of the elements that have: it is an error, whatever of the rest was done."""
    job, finished = target.job, "Job has already finished"
    if not job.is_array:
        return [f"{finished} for job {target.written}"] if job.ended_s is not None else []
    over = [range(element.index, element.index + 1) for element in job.elements.values() if element.state == "ended"]
    if not over or target.which is not None:
        return []
    rest = [range(element.index, element.index + 1) for element in job.elements.values() if element.state != "ended"]
    shown = [*job.waiting, *rest]
    said = [(over, finished), *([(shown, "No error")] if shown else [])]
    said.sort(key=lambda part: min(piece[0] for piece in part[0]))
    return [f"{job.number}_{format_array(part)}: {words}" for part, words in said]


def update(control: Control, words: Sequence[str]) -> Answer:
    """``scontrol update jobid=12 arraytaskthrottle=3 ...``."""
    if not words:
        return fail("too few arguments for update keyword")
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            return fail(f"Invalid input: {word}", "Request aborted")
        pairs.append((name.lower(), value, word))
    by_id = next((value for name, value, _ in pairs if name in ("jobid", "job")), None)
    by_name = next((value for name, value, _ in pairs if name in ("jobname", "name")), None)
    if by_id is None and by_name is None:
        return fail(
            "No valid entity in update command",
            'Input line must include "NodeName", "PartitionName", "Reservation", "JobId", or "SlurmctldDebug"',
        )
    changes = [pair for pair in pairs if pair[0] not in (("jobid", "job") if by_id is not None else ("jobname", "name"))]
    for name, _, word in changes:
        if name not in _UPDATES:
            return fail(f"Update of this parameter is not supported: {word}", "Request aborted")
    if not changes:
        return fail("No changes specified")
    if by_id is not None:
        target = control.find(by_id)
        if target is None:
            return fail(f"{INVALID} for job {by_id}")
        targets = [target]
    else:
        targets = control.named(by_name or "")
        if not targets:
            return fail(f"scontrol: error: No jobs with name '{by_name}'")
    return _apply(control, targets, changes)


def _apply(control: Control, targets: Sequence[Target], changes: Sequence[tuple[str, str, str]]) -> Answer:
    for target in targets:
        if target.job.ended_s is not None and not target.job.is_array:
            return fail(f"Job has already finished for job {target.written}")
        for name, value, _ in changes:
            said = _UPDATES[name](control, target.job, value)
            if said:
                return fail(f"{said} for job {target.written}")
    finished = [line for target in targets if target.job.ended_s is None for line in said_of_finished(target)]
    return fail(*finished) if finished else Answer()


def _set_throttle(control: Control, job: Job, value: str) -> str:
    if not value.isdigit():
        return "Invalid ArrayTaskThrottle value"
    if job.is_array:
        control.cluster.alter(job, control.now, throttle=int(value) or None)
    return ""


def _set_time(control: Control, job: Job, value: str) -> str:
    try:
        minutes = parse_time_limit(value)
    except ValueError:
        return "Invalid TimeLimit value"
    kept = {**job.request.attributes, "time_limit_min": minutes}
    limit = None if minutes is None else minutes * control.site.minute_s
    control.cluster.alter(job, control.now, walltime_s=limit, attributes=kept)
    partition = control.site.partition(job.request.queue)
    if minutes is not None and partition and (partition.max_minutes or minutes) >= minutes:
        control.cluster.release(job, None, "t", control.now)
    return ""


def _set_partition(control: Control, job: Job, value: str) -> str:
    if control.site.partition(value) is None:
        return "Invalid partition name specified"
    control.cluster.alter(job, control.now, queue=value)
    return ""


def _set_name(control: Control, job: Job, value: str) -> str:
    control.cluster.alter(job, control.now, name=value)
    return ""


def _set_comment(control: Control, job: Job, value: str) -> str:
    control.cluster.alter(job, control.now, attributes={**job.request.attributes, "comment": value})
    return ""


def _set_dependency(control: Control, job: Job, value: str) -> str:
    try:
        awaits, is_any = parse_dependency(value, control.cluster)
    except RefusedError:
        return "Job dependency problem"
    control.cluster.alter(job, control.now, awaits=tuple(awaits), awaits_any=is_any)
    job.is_stuck = False
    control.cluster.touch(job)
    return ""


_UPDATES: dict[str, Callable[[Control, Job, str], str]] = {
    "arraytaskthrottle": _set_throttle,
    "timelimit": _set_time,
    "partition": _set_partition,
    "jobname": _set_name,
    "name": _set_name,
    "comment": _set_comment,
    "dependency": _set_dependency,
}
