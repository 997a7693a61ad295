"""sbatch: what it takes, what it refuses and in what words, and what job comes of it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Answer, Call
from hpcsweep.rehearsal.indices import count
from hpcsweep.rehearsal.jobs import Job, Request
from hpcsweep.rehearsal.slurm_arguments import Arguments, UsageError
from hpcsweep.rehearsal.slurm_options import SYNTAX, combine, read_directives
from hpcsweep.rehearsal.slurm_request import FAILED, RefusedError, Submission, make_request
from hpcsweep.rehearsal.slurm_site import VERSION, Site
from hpcsweep.rehearsal.slurm_values import expand_hosts
from hpcsweep.rehearsal.slurm_view import Visit

NOT_AVAILABLE = "Requested node configuration is not available"
# Faults `refuse=NAME`: what sbatch then says, and whether a FAILED record stays behind.
REFUSALS: dict[str, tuple[tuple[str, ...], bool]] = {
    "limit": (
        (
            "sbatch: error: QOSMaxSubmitJobPerUserLimit",
            FAILED + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        ),
        False,
    ),
    "partition": ((FAILED + "Invalid partition name specified",), False),
    "queue": ((FAILED + "Invalid partition name specified",), False),
    "account": ((FAILED + "Invalid account or account/partition combination specified",), False),
    "qos": ((FAILED + "Invalid qos specification",), False),
    "array": ((FAILED + "Invalid job array specification",), False),
    "memory": (("sbatch: error: Memory specification can not be satisfied", FAILED + NOT_AVAILABLE), True),
    "node": ((FAILED + NOT_AVAILABLE,), True),
    "busy": ((FAILED + "Resource temporarily unavailable",), False),
}


def run_sbatch(visit: Visit) -> Answer:
    """Do what sbatch does."""
    try:
        given = SYNTAX.parse(visit.call.argv)
        if "version" in given or "usage" in given or "help" in given:
            usage = "Usage: sbatch [OPTIONS...] script [args...]"
            return Answer(stdout=f"slurm-wlm {VERSION}\n" if "version" in given else f"{usage}\n")
        submission = read_submission(visit.call, given, visit.now, visit.zone)
    except UsageError as error:
        return Answer(stderr=error.text, code=error.code)
    try:
        job = _submit(visit, submission)
    except RefusedError as error:
        return Answer(stderr="".join(f"{line}\n" for line in error.lines), code=1)
    if job is None:
        return Answer(stderr=f"sbatch: Job {visit.cluster.next_number} to start in partition {visit.site.partitions[0].name}\n")
    is_parsable = "parsable" in submission.options
    said = f"{job.number}\n" if is_parsable else f"Submitted batch job {job.number}\n"
    waits = job.number if "wait" in submission.options else None
    return Answer(stdout="" if "quiet" in submission.options and not is_parsable else said, awaits=waits)


def read_submission(call: Call, given: Arguments, now: float, zone: dt.tzinfo | None) -> Submission:
    """The script and all options, checked as sbatch itself does.

    Raises:
        UsageError: what it says no to.
    """
    script = _read_script(call, given)
    _check_script(script)
    command = given.words[0] if given.words else ""
    lines = [] if "wrap" in given else list(read_directives(script, command))
    options = combine(given, call.env, lines, now, zone)
    default = "wrap" if "wrap" in given else PurePosixPath(command).name or "sbatch"
    return Submission(
        options=options,
        script=script,
        command=str(call.path(command)) if command else "",
        arguments=given.words[1:],
        name=options.get("job-name") or default,
    )


def _read_script(call: Call, given: Arguments) -> str:
    if "wrap" in given:
        if given.words:
            raise UsageError("sbatch: error: Script arguments not permitted with --wrap option", code=1)
        return f"#!/bin/sh\n# This script was created by sbatch --wrap.\n\n{given.last('wrap')}\n"
    if not given.words:
        return call.read_stdin()
    try:
        return call.read_file(given.words[0])
    except IsADirectoryError:
        return ""
    except OSError:
        raise UsageError(f"sbatch: error: Unable to open file {given.words[0]}", code=1) from None


def _check_script(script: str) -> None:
    if not script.strip():
        raise UsageError("sbatch: error: Batch script is empty!", code=1)
    if not script.startswith("#!"):
        raise UsageError(
            "sbatch: error: This does not look like a batch script.  The first",
            "sbatch: error: line must start with #! followed by the path to an interpreter.",
            "sbatch: error: For instance: #!/bin/sh",
            code=1,
        )
    if "\r\n" in script:
        raise UsageError(
            r"sbatch: error: Batch script contains DOS line breaks (\r\n)",
            r"sbatch: error: instead of expected UNIX line breaks (\n).",
            code=1,
        )


def refuse(visit: Visit, reason: str) -> Answer:
    """The fault ``refuse``: whatever is submitted is refused in these words."""
    lines, leaves_record = REFUSALS.get(reason, REFUSALS["limit"])
    try:
        submission = read_submission(visit.call, SYNTAX.parse(visit.call.argv), visit.now, visit.zone)
        if leaves_record:
            _leave_record(visit, make_request(visit, submission))
    except UsageError as error:
        return Answer(stderr=error.text, code=error.code)
    except RefusedError as error:
        lines = error.lines
    return Answer(stderr="".join(f"{line}\n" for line in lines), code=1)


def _submit(visit: Visit, submission: Submission) -> Job | None:
    """The accepted job; None where it was only a test.

    Raises:
        RefusedError: the controller's no.
    """
    try:
        _check_names(visit.site, submission.options)
        request = make_request(visit, submission)
        _check_limits(visit.cluster, visit.site, request)
    except RefusedError as error:
        if error.uses_number:
            visit.cluster.take_number()
        raise
    if "test-only" in submission.options:
        return None
    if not request.holds:  # what is held is not looked at before its release
        try:
            _check_room(visit.cluster, request)
        except RefusedError:
            _leave_record(visit, request)
            raise
    return visit.cluster.submit(request, visit.now)


def _check_names(site: Site, options: Mapping[str, str]) -> None:
    if "clusters" in options and options["clusters"] != site.cluster:
        name = options["clusters"]
        raise RefusedError(
            f"sbatch: error: No cluster '{name}' known by database.",
            f"sbatch: error: '{name}' can't be reached now, or it is an invalid entry for --cluster."
            "  Use 'sacctmgr list clusters' to see available clusters.",
        )
    partition = options.get("partition", "")
    for name in partition.split(",") if partition else []:
        if site.partition(name) is None:
            raise RefusedError(
                f"sbatch: error: invalid partition specified: {partition}", FAILED + "Invalid partition name specified"
            )
    if site.account(options.get("account", "")) is None:
        raise RefusedError(FAILED + "Invalid account or account/partition combination specified")
    if site.quality(options.get("qos", "")) is None:
        raise RefusedError(FAILED + "Invalid qos specification")
    if "licenses" in options:
        raise RefusedError(FAILED + "Invalid license specification")
    if not set(expand_hosts(options.get("nodelist", ""))) <= set(site.nodes):
        raise RefusedError(FAILED + "Invalid node name specified")
    for word in re.findall(r"[\w.-]+", options.get("constraint", "")):
        if word not in site.features:
            raise RefusedError(FAILED + "Invalid feature specification", uses_number=True)
    if options.get("reservation"):
        raise RefusedError(FAILED + "Requested reservation is invalid", uses_number=True)


def _check_limits(cluster: Cluster, site: Site, request: Request) -> None:
    """MaxSubmitJobs, where each element counts."""
    quality = site.quality(str(request.attributes["qos"]))
    for limit, of_quality, word in (
        (quality.max_submit if quality else None, True, "QOSMaxSubmitJobPerUserLimit"),
        (site.max_submit, False, "AssocMaxSubmitJobLimit"),
    ):
        if limit is None:
            continue
        jobs = [job for job in cluster.jobs.values() if job.ended_s is None and job.request.user == request.user]
        queued = sum(
            _unended(job) for job in jobs if not of_quality or job.request.attributes["qos"] == request.attributes["qos"]
        )
        if queued + count(request.indices or (range(1),)) > limit:
            policy = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
            raise RefusedError(f"sbatch: error: {word}", FAILED + policy)
    total = sum(_unended(job) for job in cluster.jobs.values() if job.ended_s is None)
    if total + count(request.indices or (range(1),)) > site.max_job_count:
        raise RefusedError(FAILED + "Resource temporarily unavailable")


def _unended(job: Job) -> int:
    return job.size - sum(job.ends.values())


def _check_room(cluster: Cluster, request: Request) -> None:
    shortage = cluster.shortage(request)
    if shortage is None:
        return
    said = {"memory": ["sbatch: error: Memory specification can not be satisfied"]}.get(shortage.resource, [])
    if shortage.resource == "cpus":
        said = ["sbatch: error: CPU count per node can not be satisfied"]
    raise RefusedError(*said, FAILED + NOT_AVAILABLE)


def _leave_record(visit: Visit, request: Request) -> None:
    """What was refused stands in the history as a FAILED job that never was on a node: never as an array."""
    attributes = {**request.attributes, "is_refused": True}
    single = Request(name=request.name, user=request.user, queue=request.queue, cwd=request.cwd, attributes=attributes)
    job = visit.cluster.submit(single, visit.now)
    visit.cluster.delete(job, None, visit.now)
