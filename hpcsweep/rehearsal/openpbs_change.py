"""OpenPBS's ``qdel qhold qrls qalter qrerun``. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hpcsweep.rehearsal import indices
from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Answer, Call
from hpcsweep.rehearsal.indices import Indices
from hpcsweep.rehearsal.jobs import Job
from hpcsweep.rehearsal.openpbs_options import Asked, RefusalError, apply_options, getopt, parse_date
from hpcsweep.rehearsal.openpbs_resources import read_resources
from hpcsweep.rehearsal.openpbs_submit import SERVER, find_dependencies
from hpcsweep.rehearsal.pbs_common import parse_job_id

_USAGE = {
    "qdel": "usage:\n\tqdel [-W force|suppress_email=X] [-x] job_identifier...\n\tqdel --version\n",
    "qhold": "usage: qhold [-h hold_list] job_identifier...\n       qhold --version\n",
    "qrls": "usage: qrls [-h hold_list] job_identifier...\n       qrls --version\n",
    "qalter": "usage: qalter [-a date_time] [-A account_string] [-h hold_list] [-l resource_list] [-N jobname] [-W additional_attributes]\n"
    "\tjob_identifier...\n       qalter --version\n",
    "qrerun": "usage: qrerun [-W force] job_identifier...\n       qrerun --version\n",
}
_LETTERS = {"qdel": "W:x", "qhold": "h:", "qrls": "h:", "qalter": "a:A:c:e:h:j:k:l:m:M:N:o:p:P:r:R:S:u:W:", "qrerun": "W:"}


class NoJobError(Exception):
    """An operand that means no job: what is said of it, and the code."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to be done to one of the jobs that a command names."""

    call: Call
    options: Mapping[str, str]
    job: Job
    which: Indices | None
    now: float

    @property
    def name(self) -> str:
        """The job's id, as messages have it."""
        return _name(self.job, self.which)

    def check_live(self) -> None:
        """Refuse a job that has ended."""
        if self.job.ended_s is not None:
            raise NoJobError(f"Job has finished {self.name}", 35)

    def check_whole(self) -> None:
        """Refuse subjobs."""
        self.check_live()
        if self.which is not None:
            raise NoJobError(f"Invalid request {self.name}", 156)


Change = Callable[[Cluster, Order], None]


def change(cluster: Cluster, call: Call, now: float) -> Answer:
    """Do the same to each of the jobs that are named; what cannot be done is said, and the last code counts."""
    program = call.program
    given, operands, after, problems = getopt(call.argv, _LETTERS[program])
    operands += after or []
    if problems or not operands:
        return Answer(stderr="".join(f"{program}: {problem}\n" for problem in problems) + _USAGE[program], code=2)
    stderr, code = "", 0
    for operand in operands:
        try:
            job, which = find(cluster, operand)
            order = Order(call=call, options=dict(given), job=job, which=which, now=now)
            _CHANGES[program](cluster, order)
        except NoJobError as error:  # noqa: PERF203 - each operand stands for itself
            stderr, code = f"{stderr}{program}: {error}\n", error.code
        except RefusalError as error:
            return Answer(stderr=error.lines.replace("qsub:", f"{program}:"), code=error.code)
    return Answer(stderr=stderr, code=code)


def find(cluster: Cluster, operand: str) -> tuple[Job, Indices | None]:
    """``3[]`` or ``3`` -> the job; ``3[7]``, ``3[10-20:2]`` -> some of its subjobs.

    Raises:
        NoJobError: nothing is meant.
    """
    parsed = parse_job_id(operand)
    is_well_formed = re.fullmatch(r"(?:[0-9]+(?:-[0-9]+(?::[0-9]+)?)?)?", parsed.element) if parsed is not None else None
    if parsed is None or is_well_formed is None or "[" in parsed.server or "," in parsed.server:
        raise NoJobError(f"illegally formed job identifier: {operand}", 1)
    shown = f"{parsed.number}{f'[{parsed.element}]' if parsed.is_array else ''}.{SERVER}"
    job = cluster.jobs.get(parsed.number)
    if job is None or job.is_array != parsed.is_array:
        raise NoJobError(f"Unknown Job Id {shown}", 153)
    if not parsed.element:
        return job, None
    which = indices.parse(parsed.element)
    if not indices.count(indices.intersect(job.indices, which)):
        raise NoJobError(f"Invalid request {shown}", 156)
    return job, which


def _name(job: Job, which: Indices | None) -> str:
    if which is None:
        return f"{job.number}{'[]' if job.is_array else ''}.{SERVER}"
    return f"{job.number}[{indices.text_of(which)}].{SERVER}"


def _delete(cluster: Cluster, order: Order) -> None:
    by = f"{order.call.user}@{order.call.host}"
    is_forced = order.options.get("W") == "force"
    if "x" in order.options and order.job.ended_s is not None:
        cluster.forget(order.job)
        return
    order.check_live()
    if order.which is not None:
        removed, told = cluster.delete(order.job, order.which, order.now, by=by, term=not is_forced)
        if not removed and not told:
            raise NoJobError(f"Request invalid for finished array subjob {order.name}", 55)
        return
    # With the whole array, the records of its subjobs that have ended are written over.
    order.job.notes.setdefault("deleted_s", order.now)
    cluster.delete(order.job, None, order.now, by=by, term=not is_forced)
    if "x" in order.options and order.job.ended_s is not None:
        cluster.forget(order.job)


def _hold(cluster: Cluster, order: Order) -> None:
    order.check_whole()
    letters = order.options.get("h", "u")
    if letters == "n":
        return
    if not order.job.is_array and order.job.running:
        raise NoJobError(f"Request invalid for state of job {order.name}", 168)
    cluster.hold(order.job, None, letters, order.now)


def _release(cluster: Cluster, order: Order) -> None:
    order.check_whole()
    order.job.notes["released_s"] = order.now
    cluster.release(order.job, None, order.options.get("h", "u"), order.now)


def _rerun(cluster: Cluster, order: Order) -> None:
    order.check_live()
    running = [range(element.index, element.index + 1) for element in cluster.find_active(order.job, order.which)]
    if not running:
        raise NoJobError(f"Request invalid for state of job {order.name}", 168)
    cluster.requeue(order.job, running, order.now)


def _alter(cluster: Cluster, order: Order) -> None:
    order.check_whole()
    changes = Asked()
    problems = apply_options(changes, [(letter, value) for letter, value in order.options.items() if letter != "h"])
    if problems:
        raise RefusalError("".join(f"qalter: {problem}\n" for problem in problems) + _USAGE["qalter"], 2)
    _alter_resources(cluster, order.job, changes, order.now)
    attributes = dict(order.job.request.attributes)
    names = {
        "A": "account",
        "P": "project",
        "j": "join",
        "k": "keep",
        "m": "mail",
        "M": "mail_users",
        "R": "remove",
        "S": "shell",
    }
    attributes |= {names[letter]: value for letter, value in changes.options.items() if letter in names}
    for letter, name in (("o", "stdout"), ("e", "stderr")):
        if letter in changes.options:
            host, colon, path = changes.options[letter].partition(":")
            attributes[name] = f"{host if colon else order.call.host}:{order.call.path(path if colon else host)}"
    fields: dict[str, object] = {"attributes": attributes}
    fields |= {"name": changes.options["N"]} if "N" in changes.options else {}
    fields |= {"priority": int(changes.options["p"])} if "p" in changes.options else {}
    fields |= {"begin_s": parse_date(changes.options["a"], order.now) or 0.0} if "a" in changes.options else {}
    if "max_run_subjobs" in changes.attributes:
        fields["throttle"] = int(changes.attributes["max_run_subjobs"])
    if "depend" in changes.attributes:
        fields["awaits"] = find_dependencies(cluster, changes.attributes["depend"])
    cluster.alter(order.job, order.now, **fields)
    if "h" in order.options:
        cluster.release(order.job, None, "uos", order.now)
        cluster.hold(order.job, None, "" if order.options["h"] == "n" else order.options["h"], order.now)


def _alter_resources(cluster: Cluster, job: Job, changes: Asked, now: float) -> None:
    """``qalter -l``: a running job's time limit can be lowered or raised, too."""
    if not changes.resources:
        return
    kept = {
        name: str(value)
        for name, value in job.request.attributes["resources"].items()
        if name not in ("nodect", "ncpus", "mem", "ngpus", "mpiprocs", "vmem")
    }
    if any(name in changes.resources for name in ("ncpus", "mem", "ngpus", "nodes")):
        kept = {name: value for name, value in kept.items() if name not in ("select", "place")}
    resources = read_resources(kept | changes.resources)
    cluster.alter(
        job,
        now,
        cpus=resources.cpus,
        gpus=resources.gpus,
        memory_bytes=resources.memory_kb * 1024,
        chunks=resources.chunks,
        scatter=resources.scatter,
        walltime_s=resources.walltime_s,
        attributes={**job.request.attributes, "resources": dict(resources.listed), "chunk": resources.chunk_text},
    )


_CHANGES: dict[str, Change] = {"qdel": _delete, "qhold": _hold, "qrls": _release, "qalter": _alter, "qrerun": _rerun}
