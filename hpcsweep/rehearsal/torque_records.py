"""A cluster's jobs as a Torque server tells of them: ids, states, attributes in the server's order. Pure.

Of an array the server has one record for the whole, which tells next to nothing, and one for each element that has been
created: elements are made in the background, and only so many that wait exist at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from hpcsweep.rehearsal import indices
from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.jobs import Dependency, Element, Job, Removal
from hpcsweep.rehearsal.pbs_common import clock
from hpcsweep.rehearsal.torque_print import Attribute, Record

MAX_INDEX = 99_999
"""Of an array with a higher index no element is ever created, though it is accepted."""

_NO_ROOM = "Not Running: Not enough of the right type of nodes are available"
_USAGE_POLL_S = 15.0  # what a job uses is known when MOM has looked
_REVERSED = {"ok": "beforeok", "notok": "beforenotok", "any": "beforeany", "after": "before"}


@dataclass(frozen=True, kw_only=True)
class Server:
    """What all records share: names, and how the server keeps and creates elements."""

    name: str
    now: float
    keep_s: float
    lazy: int
    create_per_s: float


@dataclass(frozen=True, kw_only=True)
class Part:
    """A job that is no array, or one created element of an array."""

    index: int | None
    element: Element | None = None
    removal: Removal | None = None
    is_beyond_limit: bool = False
    """It waits for the slot limit, or did."""

    @property
    def is_waiting(self) -> bool:
        """It neither began nor ended."""
        return self.removal is None and (self.element is None or self.element.state == "waiting")


def identifier_of(job: Job, index: int | None, server: str) -> str:
    """``3.torque``, ``3[].torque``, ``3[7].torque``."""
    inside = "" if index is None else str(index)
    return f"{job.number}[{inside}].{server}" if job.is_array else f"{job.number}.{server}"


def is_never_created(job: Job) -> bool:
    """Whether the server took an array of which it can make no element."""
    return job.is_array and any(max(part[0], part[-1]) > MAX_INDEX for part in job.indices)


def awaited(job: Job) -> list[Dependency]:
    """What the job was told to wait for, as far as it still does."""
    return [dependency for dependency in job.awaits if dependency.text]


def parts_of(cluster: Cluster, job: Job, server: Server) -> list[Part]:
    """The created elements of an array, or the one part of another job; what ended long ago is forgotten one by one."""
    if is_never_created(job):
        return []
    found = _waiting_parts(cluster, job, server)
    oldest = server.now - server.keep_s
    for index, element in job.elements.items():
        if element.state != "waiting" and (element.ended_s is None or element.ended_s > oldest):
            found.append(Part(index=index, element=element))
    for removal in job.removed:
        if removal.at_s > oldest:
            found += [_removed_part(job, index, removal) for index in indices.each(removal.indices)]
    if not job.is_array:
        return [Part(index=None, element=part.element, removal=part.removal) for part in found]
    return sorted(found, key=lambda part: part.index or 0)


def part_of(cluster: Cluster, job: Job, index: int, server: Server) -> Part | None:
    """One of the created elements of an array."""
    oldest = server.now - server.keep_s
    element = job.elements.get(index)
    if element is not None and element.state != "waiting":
        return Part(index=index, element=element) if element.ended_s is None or element.ended_s > oldest else None
    for removal in job.removed:
        if indices.has(removal.indices, index):
            return _removed_part(job, index, removal) if removal.at_s > oldest else None
    return next((part for part in _waiting_parts(cluster, job, server) if part.index == index), None)


def _waiting_parts(cluster: Cluster, job: Job, server: Server) -> list[Part]:
    if is_never_created(job):
        return []
    created = min(server.lazy, 1 + int((server.now - job.submitted_s) * server.create_per_s)) if job.is_array else 1
    room = max(0, job.throttle - job.running) if job.throttle is not None else created
    return [
        Part(index=index, element=job.elements.get(index), is_beyond_limit=place >= room)
        for place, index in enumerate(_first(cluster.waiting_of(job), created))
    ]


def _removed_part(job: Job, index: int, removal: Removal) -> Part:
    was_limited = job.throttle is not None and job.ended_s is None  # the array's end lets go of what it kept back
    return Part(index=index, removal=removal, is_beyond_limit=was_limited)


def _first(waiting: indices.Indices, how_many: int) -> Iterator[int]:
    for number, index in enumerate(indices.each(waiting)):
        if number >= how_many:
            return
        yield index


def state_of_array(job: Job) -> str:
    """An array is R while something of it runs; held ones show Q."""
    return "C" if job.ended_s is not None else "R" if job.running else "Q"


def state_of(job: Job, part: Part, now: float) -> str:
    """Q H W R E C."""
    element = part.element
    if part.removal is not None or (element is not None and element.state == "ended"):
        return "C"
    if element is not None and element.state in ("running", "ending"):
        return "E" if element.gone_s is not None else "R"
    if _holds(job, part):
        return "H"
    return "W" if job.request.begin_s > now else "Q"


def _holds(job: Job, part: Part) -> str:
    """The letters of what keeps it from starting; of what has ended, what the job had."""
    letters = set(job.holds) | set(part.element.holds if part.element else "")
    if not part.is_waiting:
        letters |= set(job.notes.get("holds", ""))
    # What went with one of two arrays that it waited for shows no hold.
    if awaited(job) and not (job.ended_s is not None and len(job.awaits) < len(job.request.awaits)):
        letters.add("s")
    if part.is_beyond_limit:
        letters.add("l")
    return "".join(letter for letter in "usol" if letter in letters)


Chosen = tuple[Job, Sequence[Part | None]]
"""A job with those of its parts that are meant; None is an array as a whole."""


def brief_records(chosen: Iterable[Chosen], server: Server) -> Iterator[Record]:
    """What ``qstat`` needs for its list."""
    for job, parts in chosen:
        request = job.request
        same = (Attribute("Job_Owner", f"{request.user}@{server.name}"), Attribute("queue", request.queue))
        for part in parts:
            index = None if part is None else part.index
            state = state_of_array(job) if part is None else state_of(job, part, server.now)
            attributes = [Attribute("Job_Name", name_of(job, index)), *same, Attribute("job_state", state)]
            if part is not None and part.element is not None and is_usage_known(part.element, server.now):
                attributes.append(Attribute("resources_used", clock(part.element.cpu_s), "cput"))
            yield Record(identifier=identifier_of(job, index, server.name), attributes=attributes)


def name_of(job: Job, index: int | None) -> str:
    """The name of an element has its index behind it."""
    return job.request.name if index is None else f"{job.request.name}-{index}"


def is_usage_known(element: Element, now: float) -> bool:
    """Whether the server has been told what it used so far."""
    if element.started_s is None:
        return False
    return element.ended_s is not None or now - element.started_s >= _USAGE_POLL_S


def full_records(cluster: Cluster, chosen: Iterable[Chosen], server: Server) -> Iterator[Record]:
    """All attributes, as ``qstat -f`` shows them."""
    waited_for = dependents(cluster, server.name)
    for job, parts in chosen:
        for part in parts:
            identifier = identifier_of(job, None if part is None else part.index, server.name)
            yield Record(identifier=identifier, attributes=list(_attributes(job, part, server, waited_for)))


def dependents(cluster: Cluster, server: str) -> dict[tuple[int, int | None], str]:
    """What ``depend`` says of those that others wait for: a job's (or element's) number -> ``beforeok:2.torque``."""
    found: dict[tuple[int, int | None], list[str]] = {}
    for job in cluster.jobs.values():
        for dependency in job.request.awaits:
            kind = _REVERSED.get(dependency.kind)
            if kind is not None and not dependency.text.endswith("array"):
                words = found.setdefault((dependency.number, dependency.index), [])
                words.append(f"{kind}:{identifier_of(job, None, server)}")
    return {key: ",".join(words) for key, words in found.items()}


def _depend(job: Job, index: int | None, server: Server, waited_for: Mapping[tuple[int, int | None], str]) -> str:
    words = [
        ":".join([kind, *(_target(dependency, server.name) for dependency in same)])
        for kind, same in groupby(awaited(job), key=lambda dependency: dependency.text)
    ]
    other = waited_for.get((job.number, index))
    return ",".join([*words, *([other] if other else [])])


def _target(dependency: Dependency, server: str) -> str:
    if dependency.index is not None:
        return f"{dependency.number}[{dependency.index}].{server}"
    is_array = dependency.text.endswith("array") or dependency.kind == "never"
    return f"{dependency.number}[].{server}" if is_array else f"{dependency.number}.{server}"


def _attributes(
    job: Job, part: Part | None, server: Server, waited_for: Mapping[tuple[int, int | None], str]
) -> Iterator[Attribute]:
    """In the order of the server's own table; ``part`` is None for an array as a whole."""
    request, told = job.request, job.request.attributes
    index = None if part is None else part.index
    element = None if part is None else part.element
    ending = "" if index is None else f"-{index}"
    yield Attribute("Job_Name", name_of(job, index))
    yield Attribute("Job_Owner", f"{request.user}@{server.name}")
    if element is not None and is_usage_known(element, server.now):
        yield from _usage(element, server.now)
    yield Attribute("job_state", state_of_array(job) if part is None else state_of(job, part, server.now))
    yield Attribute("queue", request.queue)
    yield Attribute("server", server.name)
    if told["account"]:
        yield Attribute("Account_Name", told["account"])
    yield Attribute("Checkpoint", "u")
    yield _time("ctime", job.submitted_s)
    depend = _depend(job, index, server, waited_for)
    if depend:
        yield Attribute("depend", depend)
    yield Attribute("Error_Path", f"{told['submit_host']}:{shown_path(job, 'error')}{ending}")
    yield from _places(element)
    if request.begin_s:
        yield _time("Execution_Time", request.begin_s)
    yield from _hold_types(job, part)
    yield Attribute("Join_Path", told["join"])
    yield Attribute("Keep_Files", told["keep"])
    yield Attribute("Mail_Points", told["mail_points"])
    if told["mail_users"]:
        yield Attribute("Mail_Users", told["mail_users"])
    yield _time("mtime", server.now if part is None else _changed(job, part))
    yield Attribute("Output_Path", f"{told['submit_host']}:{shown_path(job, 'output')}{ending}")
    yield Attribute("Priority", str(request.priority))
    if part is not None:
        yield _time("qtime", job.submitted_s)
    yield Attribute("Rerunable", str(request.requeues))
    for name, value in told["resources"].items():
        yield Attribute("Resource_List", value, name)
    if element is not None and element.pid:
        yield Attribute("session_id", str(element.pid))
    if told["shell"]:
        yield Attribute("Shell_Path_List", told["shell"])
    yield Attribute("Variable_List", (f"PBS_ARRAYID={index}," if index is not None else "") + told["variables"])
    yield Attribute("euser", request.user)
    yield Attribute("egroup", told["group"])
    yield Attribute("queue_type", "E")
    yield from _ends(job, part, server)


def _ends(job: Job, part: Part | None, server: Server) -> Iterator[Attribute]:
    """The second half of the attributes: what became of it."""
    told = job.request.attributes
    element = None if part is None else part.element
    comment = "" if part is None else _comment(job, part, server)
    if comment:
        yield Attribute("comment", comment)
    # An array seems to be queued anew while it is held.
    if part is None or not (_holds(job, part).strip("l") or job.why == "dependency"):
        yield _time("etime", server.now if part is None and job.holds else job.submitted_s)
    status = None if part is None else exit_status(part)
    if status is not None:
        yield Attribute("exit_status", str(status))
    yield Attribute("submit_args", told["submit_args"])
    if part is None:
        yield Attribute("job_array_request", told["array"])
    elif part.index is not None:
        yield Attribute("job_array_id", str(part.index))
    if told["umask"] is not None:
        yield Attribute("umask", str(told["umask"]))
    if element is not None and element.started_s is not None:
        yield _time("start_time", element.started_s)
        if element.ended_s is None and job.request.walltime_s is not None:
            yield Attribute("Walltime", str(int(job.request.walltime_s - (server.now - element.started_s))), "Remaining")
        yield Attribute("start_count", str(element.restarts + 1))
    yield Attribute("fault_tolerant", "False")
    if element is not None and element.ended_s is not None and element.started_s is not None:
        yield _time("comp_time", element.ended_s)
    yield Attribute("job_radix", "0")
    if element is not None and element.ended_s is not None and element.started_s is not None:
        yield Attribute("total_runtime", f"{element.ended_s - element.started_s:.6f}")
    yield Attribute("submit_host", told["submit_host"])
    if told["arguments"]:
        yield Attribute("job_arguments", told["arguments"])
    yield Attribute("init_work_dir", told["init_dir"] or job.request.cwd)
    yield Attribute("request_version", "1")


def _time(name: str, seconds: float) -> Attribute:
    return Attribute(name, str(int(seconds)))


def _changed(job: Job, part: Part) -> float:
    element = part.element
    if part.removal is not None:
        return part.removal.at_s
    moments = [job.submitted_s] if element is None else [element.ended_s, element.started_s, job.submitted_s]
    return next(moment for moment in moments if moment is not None)


def _usage(element: Element, now: float) -> Iterator[Attribute]:
    memory = f"{element.memory_bytes // 1024}kb"
    began = element.started_s or 0.0
    yield Attribute("resources_used", clock(element.cpu_s), "cput")
    yield Attribute("resources_used", memory, "vmem")
    yield Attribute("resources_used", clock((now if element.ended_s is None else element.ended_s) - began), "walltime")
    yield Attribute("resources_used", memory, "mem")
    yield Attribute("resources_used", "0", "energy_used")


def _places(element: Element | None) -> Iterator[Attribute]:
    placed = element.placed if element is not None else []
    if placed:
        spans = ((name, "0" if cpus == 1 else f"0-{cpus - 1}") for name, cpus, _ in placed)
        yield Attribute("exec_host", "+".join(f"{name}/{span}" for name, span in spans))
    gpus = [f"{name}-gpu/{gpu}" for name, _, granted in placed for gpu in sorted(granted, reverse=True)]
    if gpus:
        yield Attribute("exec_gpus", "+".join(gpus))


def _hold_types(job: Job, part: Part | None) -> Iterator[Attribute]:
    """Elements have the attribute only when there is, or was, something to say."""
    if part is None:
        held = job.holds + job.notes.get("holds", "")
        letters = "".join(letter for letter in "uso" if letter in held or (letter == "s" and awaited(job)))
    else:
        letters = _holds(job, part)
    is_silent = part is not None and part.index is not None and not letters and not (job.request.awaits or job.holds)
    if not is_silent:
        yield Attribute("Hold_Types", letters or "n")


def _comment(job: Job, part: Part, server: Server) -> str:
    element = part.element
    if element is not None and element.started_s is not None:
        return time.strftime("Job started on %a %b %d at %H:%M", time.localtime(element.started_s))
    if job.why == "dependency" and awaited(job):
        return f"Job deleted as result of dependency on job {_target(job.awaits[0], server.name)}"
    is_slow = server.now > job.submitted_s + 1 and job.throttle is None and not job.request.awaits
    return _NO_ROOM if is_slow and not _holds(job, part) and job.request.begin_s <= server.now else ""


def exit_status(part: Part) -> int | None:
    """What the server records: -11 for the time limit, -10 for memory, 271 for what was deleted while it ran."""
    element = part.element
    if part.removal is not None:
        return 271 if part.removal.why == "dependency" else None
    if element is None or element.state != "ended":
        return None
    if element.why == "walltime":
        return -11
    if element.why == "oom":
        return -10
    if element.why == "deleted" and not element.signal:
        return 271
    if element.why in ("node", "launch"):
        return -1
    return 256 + element.signal if element.signal else element.code


def shown_path(job: Job, which: str) -> str:
    """Where a job's output goes, without what an element's index adds; ``which`` is ``output`` or ``error``."""
    told = job.request.attributes
    letter = which[0] if which == "error" else "o"
    plain = f"{job.request.name}.{letter}{job.number}"
    given: str = told[which]
    if given.endswith("/"):
        return f"{given}{plain}"
    return given or f"{(told['init_dir'] or job.request.cwd).rstrip('/')}/{plain}"
