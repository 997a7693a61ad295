"""What every scheduler offers: commands to run, and the reading of what they print. No I/O happens here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from hpcsweep.model import Completed, Request, Value
from hpcsweep.states import State

MOST_ELEMENTS = 4_000_001
"""More than any scheduler takes in one array (Slurm's MaxArraySize can be no larger, man slurm.conf)."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command to run: argv, its environment, its folder and the seconds it is given.

    The environment is the caller's, without the names that match ``env_drop`` (patterns as in ``SLURM_*``) and not
    ``env_keep``; then ``env`` is set (None: unset). ``cwd`` None: ours.
    ``keeps_lock``: the process inherits the run's lock, so that the lock lives as long as it does (submit commands).
    """

    argv: tuple[str, ...]
    env: Mapping[str, str | None] = field(default_factory=dict)
    env_drop: tuple[str, ...] = ()
    env_keep: tuple[str, ...] = ()
    cwd: str | None = None
    timeout_s: float = 10.0
    keeps_lock: bool = False


@dataclass(frozen=True, kw_only=True)
class ArrayJob:
    """One array to submit. Paths are absolute. ``after`` holds job ids that must have ended first.

    ``elements``: only these of 0 .. size - 1, under their own numbers (None: all). A scheduler that cannot may submit all: what
    has run already finds its claim taken.

    ``directives``: the script's directive lines; what they set, a default in the submitter's environment
    (SBATCH_ACCOUNT) must not override. ``gpus``: what each element needs, where the scheduler reads no directives. ``is_env_clean``: nothing of the submitter's environment goes along (``env_from: clean``).
    """

    tag: str
    script: str
    log: str
    size: int
    chdir: str
    elements: tuple[int, ...] | None = None
    at_once: int | None = None
    after: tuple[str, ...] = ()
    after_first_of: tuple[str, ...] = ()  # instead of `after`: it may start when one of these has ended
    delay_s: int = 0  # not before so many seconds have passed
    is_held: bool = False
    as_single_job: bool = False  # array.mode: jobs (size is 1 then)
    directives: tuple[str, ...] = ()
    is_env_clean: bool = False
    gpus: float | None = None


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """The scheduler gave an id (``cluster`` in a federation)."""

    job: str
    cluster: str | None = None
    warning: str = ""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The scheduler said no: nothing was accepted. ``curable``: waiting may cure it (a limit on queued jobs).

    ``is_unreachable``: it was its client that said so, which had nobody to ask. ``limit``: it were too many elements, and
    fewer may be taken; ``queued``: for what is queued already, ``array size``: for one array.
    """

    message: str
    hint: str = ""
    curable: bool = False
    is_unreachable: bool = False
    limit: Literal["", "queued", "array size"] = ""


@dataclass(frozen=True, kw_only=True)
class Uncertain:
    """Nobody knows whether it was accepted (a time-out, a lost connection)."""

    message: str


@dataclass(frozen=True, kw_only=True)
class NoAnswer:
    """A query failed: it says nothing about the jobs."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the scheduler says of some elements of one array.

    ``elements`` None: the whole job (one that is no array); they may go on beyond the array's end (``up_to_the_end``).
    ``state`` UNKNOWN: a word we do not know, kept in ``raw``.
    """

    tag: str
    job: str
    elements: range | tuple[int, ...] | None
    state: State
    raw: str
    reason: str = ""
    node: str = ""
    exit_code: int | None = None
    signal: int | None = None
    elapsed_s: float | None = None
    is_blocked: bool = False  # pending for ever (a dependency that can never be met)
    is_held: bool = False
    is_to_come: bool = False  # accepted, and not made yet: it cannot be told anything
    is_refusal: bool = False  # history only: a record left by a refused submission, not a job


@dataclass(frozen=True, kw_only=True)
class Used:
    """What the scheduler's accounting says of one element. None: it does not say it, or cannot know it.

    ``job`` is the element's id (``4711_3``, ``39[3].pbs``); ``wait_s`` from when it might have started until it did.
    ``source``: whose figures they are (``sacct``, ``qstat``).
    """

    job: str
    tag: str
    source: str
    elapsed_s: float | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None
    cpus: int | None = None
    gpus: int | None = None
    wait_s: float | None = None


def up_to_the_end(first: int) -> range:
    """All elements from ``first`` on, of an array whose size the answer does not say."""
    return range(first, MOST_ELEMENTS)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the site allows; None: it did not say."""

    max_array_size: int | None = None  # elements in one array
    kill_wait_s: int | None = None
    max_job_count: int | None = None  # elements of all users at once
    cluster: str | None = None
    hides_jobs: bool | None = None  # from all but their owners
    nodes_may_submit: bool | None = None  # whether a job may submit jobs
    keeps_ended_s: int | None = None  # how long what has ended is listed, where that is all the history there is


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A queue or partition. ``time_limit_s`` None: no limit. ``gpus``: what a node of it has, such as ``4`` or ``a100:4, v100:2``."""

    name: str
    is_default: bool = False
    is_open: bool = True  # it takes jobs, and starts them
    time_limit_s: int | None = None
    gpus: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Association:
    """What a user may do under one account. ``partition`` "": in any. ``max_submit`` None: no limit on what is queued."""

    account: str
    partition: str = ""
    is_default: bool = False
    default_qos: str = ""
    max_submit: int | None = None


@dataclass(frozen=True, kw_only=True)
class SubmitLimits:
    """How many elements one user may have queued. ``qos``: by its name, only where it has a limit."""

    associations: tuple[Association, ...] = ()
    qos: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Queued:
    """Some elements of one job in a user's queue, whoever submitted it."""

    tag: str
    account: str
    partition: str
    qos: str
    elements: int


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An option or request that the scheduler cannot express: its name (``memory``, ``constraint``), what, the way out."""

    option: str
    message: str
    hint: str = ""


class Scheduler(Protocol):
    """One scheduler: builds commands, reads results."""

    @property
    def name(self) -> str:
        """``slurm``, ``pbs``, ``torque``, ``local``."""
        ...

    @property
    def command(self) -> str:
        """The program whose presence means that the scheduler is installed."""
        ...

    @property
    def lost_after_s(self) -> float:
        """How long after the scheduler's end an attempt without a record is lost."""
        ...

    @property
    def longest_settle_s(self) -> float:
        """How long after its sender's death a submission may still be accepted; the setting ``settle`` may be shorter."""
        ...

    @property
    def has_history(self) -> bool:
        """Whether ``history_cmd`` asks something."""
        ...

    @property
    def is_history_whole(self) -> bool:
        """Whether what an answer of the history does not name was never there. False: it soon forgets what has ended."""
        ...

    @property
    def enforces_time_limit(self) -> bool:
        """False: the runner keeps the limit."""
        ...

    @property
    def excludes_nodes(self) -> bool:
        """Whether a request can leave nodes out (``Request.exclude_nodes``)."""
        ...

    @property
    def starts_bare(self) -> bool:
        """Whether a script starts in the home folder, with an umask of the scheduler's own, and its output goes nowhere."""
        ...

    @property
    def is_fed_by_jobs(self) -> bool:
        """Whether a job can advance a run. False: its queue advances the run by itself."""
        ...

    @property
    def feeder_caveat(self) -> str:
        """What may keep a job from advancing its run, where the site does not allow for it; ''."""
        ...

    def problems(self, request: Request, options: Mapping[str, Value]) -> list[Problem]:
        """What of a request and of the scheduler's own options (``slurm:``) cannot be expressed."""
        ...

    def directives(self, request: Request, options: Mapping[str, Value]) -> list[str]:
        """The script's directive lines (``#SBATCH --mem=8192M``); job name, array and logs are not among them."""
        ...

    def submit_cmd(self, job: ArrayJob) -> Command:
        """The command that submits an array."""
        ...

    def parse_submit(self, completed: Completed) -> Submitted | Refused | Uncertain:
        """What came of it. An id on stdout counts whatever the exit code and stderr say."""
        ...

    def live_cmd(self, tags: Mapping[str, Collection[str]]) -> Command:
        """One query for all that is queued or running under these tags.

        Each with the ids of its jobs, where all of them are known; what has none is looked for by its name.
        """
        ...

    def parse_live(self, completed: Completed) -> list[Seen] | NoAnswer:
        """What is live; an empty list is an answer."""
        ...

    def parse_live_ends(self, completed: Completed) -> list[Seen]:
        """What the answer of ``live_cmd`` says of elements that have ended, where a history does not say it."""
        ...

    def history_cmd(self, tags: Mapping[str, Collection[str]], since_epoch: float) -> Command | None:
        """One query for all that ended, as ``live_cmd``; None where there is no history."""
        ...

    def parse_history(self, completed: Completed) -> list[Seen] | NoAnswer:
        """What ended, and how."""
        ...

    def usage_cmd(self, tags: Mapping[str, Collection[str]], since_epoch: float) -> Command | None:
        """One query for what all elements used, as ``history_cmd``; None where nobody keeps that."""
        ...

    def parse_usage(self, completed: Completed) -> list[Used] | NoAnswer:
        """What elements used that have ended; an empty list is an answer."""
        ...

    def cancel_cmds(self, tag: str, job: str, elements: Sequence[int] | None) -> list[Command]:
        """Cancel an array or some of its elements, by name and id together."""
        ...

    def cancel_pending_cmds(self, tag: str, job: str) -> list[Command]:
        """Cancel what has not started of a job, and nothing that runs; by name and id together."""
        ...

    def hold_cmds(self, tag: str, job: str, action: Literal["hold", "release"]) -> list[Command]:
        """Hold or release what is pending of an array."""
        ...

    def throttle_cmds(self, tag: str, job: str, at_once: int) -> list[Command]:
        """Change how many elements of an array run at once (0: no limit)."""
        ...

    def limits_cmd(self) -> Command | None:
        """One query for the site's limits."""
        ...

    def parse_limits(self, completed: Completed) -> Limits | NoAnswer:
        """The limits that were printed."""
        ...

    def queues_cmds(self) -> list[Command]:
        """The queries for the site's queues; none where there are no queues."""
        ...

    def parse_queues(self, completed: Sequence[Completed]) -> list[Queue] | NoAnswer:
        """The queues that they printed, in the scheduler's order."""
        ...

    def version_cmd(self) -> Command | None:
        """A command that prints the scheduler's version without asking anybody; None where there is none."""
        ...

    def parse_version(self, completed: Completed) -> str | None:
        """The version that was printed: ``slurm 23.11.4``."""

    def submit_limits_cmds(self, user: str, cluster: str) -> list[Command]:
        """The queries for a user's limits on what is queued; none where there are no such limits."""
        ...

    def parse_submit_limits(self, completed: Sequence[Completed]) -> SubmitLimits | NoAnswer:
        """The limits that they printed."""
        ...

    def queued_cmd(self, user: str) -> Command | None:
        """One query for all that a user has queued or running."""
        ...

    def parse_queued(self, completed: Completed) -> list[Queued] | NoAnswer:
        """What counts against the user's limits; an empty list is an answer."""
        ...
