"""What a cluster knows: nodes, queues, requests, jobs and their elements. Plain data; ``cluster`` is what changes it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from hpcsweep.rehearsal import indices
from hpcsweep.rehearsal.indices import Indices

Plain: TypeAlias = dict[str, Any]
"""What JSON keeps as it is."""

State: TypeAlias = Literal["waiting", "running", "ending", "ended"]
"""Of an element. ``ending``: it was signalled, or its process has gone, and nobody hears of its end yet."""

Why: TypeAlias = Literal["", "exited", "walltime", "deleted", "oom", "node", "requeue", "dependency", "launch"]
"""How an element or a job ended; ``launch``: no process could be made of it; ``dependency``: it never ran, and cannot any more."""

Reach: TypeAlias = Literal["leader", "session", "all"]
"""Whom a signal is for: the one process that the element began with, its session, or all that came of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A node: what its elements share."""

    name: str
    cpus: int
    gpus: int = 0
    memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """A queue or partition."""

    name: str
    is_enabled: bool = True
    is_started: bool = True
    max_walltime_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What makes one scheduler's cluster differ from another's."""

    nodes: tuple[Node, ...]
    queues: tuple[Queue, ...] = ()
    kill_delay_s: float = 5.0
    """From TERM to KILL."""
    linger_s: float = 0.0
    """How long a deleted element goes on being seen as running, even if it died at once."""
    walltime_poll_s: float = 0.0
    """The time limits are looked at only so often (0: at once)."""
    keep_s: float = math.inf
    """How long a job that has ended is remembered."""
    term_reach: Reach = "session"
    kill_reach: Reach = "session"
    on_unmet: Literal["end", "stay"] = "end"
    """What becomes of a job whose dependency cannot be met any more."""
    unknown_dependency: Literal["met", "unmet"] = "unmet"
    """What a dependency on a job means that nobody knows (any more)."""
    requeue_delay_s: float = 0.0
    """How long a requeued element waits at least."""
    numbers_elements: bool = False
    """Whether each element that starts gets a job number of its own (`Element.raw`), as on Slurm."""
    first_number: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependency:
    """One thing that a job waits for."""

    kind: Literal["after", "ok", "notok", "any", "singleton", "never"]
    number: int = 0
    index: int | None = None
    """An element, where it is not the whole job."""
    text: str = ""
    """For the face: as it was written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What was submitted. ``attributes`` belongs to the face: whatever it wants to print later; plain JSON."""

    name: str
    user: str
    queue: str
    indices: tuple[range, ...] | None = None
    """The elements of an array, in the order in which they are to start; None for a single job (its one element is 0)."""
    cpus: int = 1
    """Of each chunk, as `gpus` and `memory_bytes`."""
    gpus: int = 0
    memory_bytes: int = 0
    chunks: int = 1
    scatter: bool = False
    """Each chunk on a node of its own."""
    walltime_s: float | None = None
    throttle: int | None = None
    holds: str = ""
    """Letters of the face's own: ``u``, ``s`` ...; anything here keeps the job from starting."""
    begin_s: float = 0.0
    awaits: tuple[Dependency, ...] = ()
    awaits_any: bool = False
    """One of the dependencies is enough."""
    priority: int = 0
    requeues: bool = True
    """Whether it runs again when its node was lost."""
    warn_signal: int = 0
    warn_s: float = 0.0
    """A signal so many seconds before the time limit, to `warn_reach`."""
    warn_reach: Reach = "session"
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of the submitter, as far as the job gets it."""
    cwd: str = ""
    script: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True)
class Element:
    """One element that has started, was held by itself, or waits again."""

    index: int
    state: State = "waiting"
    holds: str = ""
    why: Why = ""
    """While ``ending``: what it will have ended of. After: what it ended of."""
    by: str = ""
    """Who deleted it."""
    code: int = 0
    signal: int = 0
    """Of its first process, as the system tells them."""
    started_s: float | None = None
    doomed_s: float | None = None
    """When it was told to end (deletion, time limit ...)."""
    kill_s: float | None = None
    """When it is to be killed."""
    gone_s: float | None = None
    """When its process ended, as far as the cluster has heard."""
    ended_s: float | None = None
    restarts: int = 0
    begin_s: float = 0.0
    """It does not start before."""
    raw: int = 0
    placed: list[tuple[str, int, list[int]]] = field(default_factory=list)
    """On which nodes: name, cpus, the numbers of its GPUs."""
    pid: int = 0
    """Of its first process, which leads its session."""
    cpu_s: float = 0.0
    memory_bytes: int = 0
    is_warned: bool = False
    notes: Plain = field(default_factory=dict)
    """For the face, or the server; plain JSON. Call ``cluster.touch`` after a change."""

    @property
    def is_ok(self) -> bool:
        """Whether it ran and ended well."""
        return self.state == "ended" and self.why == "exited" and not self.code and not self.signal


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """Elements that were deleted before they started."""

    indices: tuple[range, ...]
    at_s: float
    by: str
    why: Why = "deleted"


@dataclass(kw_only=True, slots=True)
class Job:
    """An accepted job. Element states: ``cluster.state_of``, or all in order: ``cluster.walk``."""

    number: int
    request: Request
    submitted_s: float
    waiting: Indices
    """The elements that never began to be anything else; those in `elements` may wait, too (requeued, held)."""
    elements: dict[int, Element] = field(default_factory=dict)
    removed: list[Removal] = field(default_factory=list)
    holds: str = ""
    throttle: int | None = None
    awaits: list[Dependency] = field(default_factory=list)
    """What it still waits for: what was met is no longer here."""
    is_stuck: bool = False
    """A dependency cannot be met any more, and the scheduler leaves it waiting."""
    running: int = 0
    """How many of its elements are running or ending."""
    changed_s: float = 0.0
    eligible_s: float | None = None
    """When nothing but room kept it from starting, for the first time."""
    started_s: float | None = None
    ended_s: float | None = None
    why: Why = ""
    """How the job as a whole ended, where it was told to: ``deleted`` or ``dependency``."""
    by: str = ""
    ends: dict[str, int] = field(default_factory=dict)
    """How its elements ended, counted: ``ok``, ``failed`` (by themselves), or the `Why`; ``removed``: before they started."""
    notes: Plain = field(default_factory=dict)

    @property
    def is_array(self) -> bool:
        """Whether it was submitted as an array, of whatever size."""
        return self.request.indices is not None

    @property
    def indices(self) -> tuple[range, ...]:
        """All its elements; a single job has element 0."""
        return (range(1),) if self.request.indices is None else self.request.indices

    @property
    def size(self) -> int:
        """How many elements it has."""
        return indices.count(self.indices)

    @property
    def is_ok(self) -> bool:
        """Whether it has ended, and every element well."""
        return self.ended_s is not None and self.ends.get("ok", 0) == self.size


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """An element is to be started; ``element.placed`` says where."""

    job: Job
    element: Element


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """The processes of an element are to get a signal."""

    job: Job
    element: Element
    number: int
    reach: Reach
    why: Why = ""
    """With which the element is now told to end; empty for a signal that somebody sent."""


Action: TypeAlias = Start | Signal


# ---- as JSON ----


def request_to_plain(request: Request) -> Plain:
    """A request as JSON keeps it."""
    plain = {name.name: getattr(request, name.name) for name in dataclasses.fields(request)}
    plain["indices"] = None if request.indices is None else indices.to_plain(request.indices)
    plain["awaits"] = [dataclasses.asdict(dependency) for dependency in request.awaits]
    return plain | {"environment": dict(request.environment), "attributes": dict(request.attributes)}


def request_from_plain(plain: Plain) -> Request:
    """The request that ``request_to_plain`` wrote."""
    kept = None if plain["indices"] is None else tuple(indices.from_plain(plain["indices"]))
    return Request(**(plain | {"indices": kept, "awaits": tuple(Dependency(**part) for part in plain["awaits"])}))


def job_to_plain(job: Job) -> Plain:
    """A job as JSON keeps it, without its request and its elements."""
    plain = {name.name: getattr(job, name.name) for name in dataclasses.fields(job) if name.name not in ("request", "elements")}
    plain["waiting"] = indices.to_plain(job.waiting)
    plain["awaits"] = [dataclasses.asdict(dependency) for dependency in job.awaits]
    plain["removed"] = [dataclasses.asdict(part) | {"indices": indices.to_plain(part.indices)} for part in job.removed]
    return plain


def job_from_plain(plain: Plain, request: Request, elements: dict[int, Element]) -> Job:
    """The job that ``job_to_plain`` wrote."""
    return Job(
        **plain
        | {
            "request": request,
            "elements": elements,
            "waiting": indices.from_plain(plain["waiting"]),
            "awaits": [Dependency(**part) for part in plain["awaits"]],
            "removed": [Removal(**part | {"indices": tuple(indices.from_plain(part["indices"]))}) for part in plain["removed"]],
        }
    )


def element_to_plain(element: Element) -> Plain:
    """An element as JSON keeps it."""
    return {name.name: getattr(element, name.name) for name in dataclasses.fields(element)}


def element_from_plain(plain: Plain) -> Element:
    """The element that ``element_to_plain`` wrote."""
    return Element(**plain | {"placed": [(name, cpus, gpus) for name, cpus, gpus in plain["placed"]]})
