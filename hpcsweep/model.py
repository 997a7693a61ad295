"""The nouns of the program as plain data. Units are in the names; nothing here can be derived from another field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Value = None | bool | int | float | str | list[Any] | dict[str, Any]
"""A parameter's value: what JSON can hold, without NaN, infinities and NUL."""

Params = Mapping[str, Value]
"""One assignment, name -> value; an absent parameter is not there, null is None."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One point to run in one run. ``index`` is never reused; ``id`` is the point's (space.point_id)."""

    index: int
    id: str
    params: Params


@dataclass(frozen=True, kw_only=True)
class Request:
    """The resources of one task, resolved: what its array asks the scheduler for. None: the site's default.

    ``memory_bytes`` is per task; 0 means "ask for none" (``memory: site``, for clusters that refuse --mem).
    ``gpus`` is a whole number, or a fraction below 1: several tasks share one.
    """

    time_limit_s: int | None = None
    memory_bytes: int | None = None
    cpus: int | None = None
    gpus: float | None = None
    gpu_type: str | None = None
    nodes: int | None = None
    tasks_per_node: int | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    tmp_bytes: int | None = None
    exclude_nodes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Container:
    """``container:`` of the sweep file: the image that the command runs in."""

    image: str
    runtime: Literal["apptainer", "singularity", "docker"] | None = None
    nv: bool = False
    bind: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Finally:
    """``finally:`` of the sweep file: one command after the tasks."""

    command: str | tuple[str, ...]
    when: Literal["done", "ended"] = "done"
    resources: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Change:
    """How an amount (bytes or seconds) changes from attempt to attempt: ``x2``, ``+4G`` or ``16G``."""

    how: Literal["times", "plus", "set"]
    amount: float


@dataclass(frozen=True, kw_only=True)
class RetryRule:
    """What the next attempt asks for after one of the ends; without a change the same as the last one."""

    memory: Change | None = None
    time: Change | None = None
    memory_up_to_bytes: int | None = None
    time_up_to_s: int | None = None

    @property
    def is_changing(self) -> bool:
        """Whether the same request would be of no use."""
        return self.memory is not None or self.time is not None


@dataclass(frozen=True, kw_only=True)
class Retry:
    """``retry:`` of the sweep file. ``rules``: by the state that a task ended in; ``attempts``: the most of them in all."""

    rules: Mapping[str, RetryRule] = field(default_factory=dict)
    attempts: int = 3


@dataclass(frozen=True, kw_only=True)
class MetricsFrom:
    """An entry of ``metrics:`` of the sweep file that names its reader: the pattern of the files, and who reads them.

    ``reader`` is a reader's name, or ``parse`` or ``regex``: then the lines are read by ``line``, a pattern for them.
    """

    files: str
    reader: str
    line: str = ""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """``snapshot:`` of the sweep file: which files beside the tracked ones the tasks' copy of the project has, and which not."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    link: tuple[str, ...] = ()
    max_bytes: int = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Signal:
    """``signal:`` of the sweep file: what a program is told before its time is up, and how it answers.

    ``name`` without SIG; ``before_s``: so many seconds before the time limit; ``saved``: the exit code that says "saved, go on".
    """

    name: str
    before_s: int
    saved: int = 85


@dataclass(frozen=True, kw_only=True)
class Stage:
    """``stage:`` of the sweep file: patterns of what is copied to the node's own disk, and of what is copied back."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything of the sweep file but its space, resolved over profiles and the command line, and frozen with the run.

    ``resources`` and ``env`` hold values or texts with ``{{ }}``; ``resources`` is resolved for each task by
    ``sweepfile.resolve_request``. ``template``, ``files`` and ``stdin`` hold file *contents*, read at submit, so that a later
    edit of the originals changes nothing (``template_path``, ``files_paths`` name them for messages). ``gpus_from``: devices, or
    groups of them (``"1,2"``); or the variable that names what was granted, or ``nvidia-smi``. ``gpus``: the devices of this
    machine that its queue may give out, or groups of them; None: those that are found.
    ``most_continuations``: how often a task that has saved at its time limit goes on (``on_timeout: requeue``; 0: not at all).
    """

    name: str
    command: str | tuple[str, ...] | None
    scheduler: str = "auto"
    template: str | None = None
    template_path: str | None = None
    resources: Mapping[str, Value] = field(default_factory=dict)
    scheduler_options: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    at_once: int | None = None
    array_mode: Literal["array", "jobs"] = "array"
    tasks_per_job: int | Literal["auto"] | None = None
    parallel: int | None = None
    gpus_from: tuple[str, ...] | str | None = None
    workdir: str = "."
    files: Mapping[str, str] = field(default_factory=dict)
    files_paths: Mapping[str, str] = field(default_factory=dict)
    stdin: str | None = None
    link: tuple[str, ...] = ()
    env: Mapping[str, Value] = field(default_factory=dict)
    env_from: Literal["submit", "clean"] = "submit"
    setup: str = ""
    teardown: str = ""
    container: Container | None = None
    metrics: tuple[str | MetricsFrom, ...] = ()
    objective: str | None = None
    replicates: tuple[str, ...] = ()
    gpus: tuple[str, ...] | None = None
    canary: int = 0
    max_failures: int | None = None
    retry: Retry | None = None
    finally_: Finally | None = None
    signal: Signal | None = None
    most_continuations: int = 0
    stage: Stage | None = None
    snapshot: Snapshot | None = None
    runs_dir: str = "runs"
    umask: int | None = None
    group: str | None = None
    settle_s: float = 360.0
    query_timeout_s: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Completed:
    """What a command did: its argv, exit code (None: it was ended by our time limit), both streams, seconds."""

    argv: tuple[str, ...]
    returncode: int | None
    stdout: str
    stderr: str
    elapsed_s: float = 0.0
