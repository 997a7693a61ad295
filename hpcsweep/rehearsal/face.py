"""What the server and a dialect (Slurm, OpenPBS, Torque) say to each other.

A face reads a command line, looks at or changes the cluster, and says what the real command would print. It does no I/O but
for ``Call.read_file``; it keeps what it wants to remember in ``Request.attributes``, ``Job.notes`` and ``Element.notes``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.faults import Faults
from hpcsweep.rehearsal.jobs import Element, Job, Node, Rules, Why

Value = str | int | float | bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What ``--set NAME=VALUE`` may change; the type of the default is the type of the value."""

    default: Value
    help: str


COMMON_SETTINGS: dict[str, Setting] = {
    "cpus": Setting(default=1, help="cpus of each node"),
    "nodes": Setting(default=1, help="how many nodes"),
    "gpus": Setting(default=0, help="GPUs of each node (none are there; their numbers are given out)"),
    "memory_mb": Setting(default=0, help="memory of each node in MB; 0: not counted"),
    "kill_delay_s": Setting(default=5.0, help="seconds from TERM to KILL"),
    "linger_s": Setting(default=0.0, help="seconds that a deleted element is still shown as running"),
    "walltime_poll_s": Setting(default=0.0, help="seconds between two looks at the time limits"),
    "keep_completed_s": Setting(default=1e9, help="seconds that jobs are remembered after their end"),
    "latency_s": Setting(default=0.0, help="seconds that every answer takes"),
    "patience_s": Setting(
        default=-1.0, help="seconds after which a client gives up on a hung scheduler; below 0: as the real one"
    ),
    "max_array_size": Setting(default=10000, help="the largest array"),
}
"""Those that every scheduler has; a face changes their defaults and adds its own."""


class SettingError(ValueError):
    """A setting that is not known or has a value that it cannot have."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a rehearsal, by name; asked for by their types."""

    values: Mapping[str, Value]

    def whole(self, name: str) -> int:
        """A whole number."""
        return int(self.values[name])

    def number(self, name: str) -> float:
        """A number."""
        return float(self.values[name])

    def flag(self, name: str) -> bool:
        """Yes or no."""
        return bool(self.values[name])

    def text(self, name: str) -> str:
        """A text."""
        return str(self.values[name])

    def nodes(self, prefix: str) -> tuple[Node, ...]:
        """The nodes: one is called ``prefix``; of several, ``prefix1``, ``prefix2`` ..."""
        many = max(1, self.whole("nodes"))
        memory = self.whole("memory_mb") * 1024**2 or None
        names = [prefix] if many == 1 else [f"{prefix}{number}" for number in range(1, many + 1)]
        return tuple(
            Node(name=name, cpus=max(1, self.whole("cpus")), gpus=self.whole("gpus"), memory_bytes=memory) for name in names
        )


def make_settings(table: Mapping[str, Setting], given: Mapping[str, Value]) -> Settings:
    """The defaults of ``table`` with what was given; texts become what the defaults are.

    Raises:
        SettingError: with a message.
    """
    values = {name: setting.default for name, setting in table.items()}
    for name, value in given.items():
        if name not in table:
            raise SettingError(f"there is no setting {name!r}; there are: {', '.join(table)}")
        values[name] = _as_kind_of(table[name].default, value, name)
    return Settings(values=values)


def _as_kind_of(default: Value, value: Value, name: str) -> Value:
    words = {"on": True, "off": False, "true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
    try:
        if isinstance(default, bool):
            return words[str(value).lower()]
        if isinstance(default, int):
            return int(value)
        return float(value) if isinstance(default, float) else str(value)
    except (KeyError, ValueError):
        kind = "on or off" if isinstance(default, bool) else "a whole number" if isinstance(default, int) else "a number"
        raise SettingError(f"{name}={value}: it must be {kind}") from None


class NeedsStdinError(Exception):
    """The command reads its standard input, which was not sent yet. Raised before anything is changed."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A command that somebody ran."""

    program: str
    argv: tuple[str, ...]
    """Without the program."""
    cwd: str
    env: Mapping[str, str]
    settings: Settings
    umask: int = 0o022
    user: str = "user"
    uid: int = 1000
    host: str = "localhost"
    home: str = "/"
    stdin: str | None = None
    inside: tuple[int, int] | None = None
    """The element (job number, index) in which the command was run, if it was in one."""
    faults: Faults = field(default_factory=Faults)
    now: float = 0.0

    def read_stdin(self) -> str:
        """What was piped in. Ask before anything is changed: the call may be made a second time.

        Raises:
            NeedsStdinError: it was not sent yet.
        """
        if self.stdin is None:
            raise NeedsStdinError
        return self.stdin

    def path(self, name: str) -> Path:
        """A file that the command line names."""
        return Path(self.cwd) / name

    def read_file(self, name: str) -> str:
        """A file's text, such as the script's, just as it is; bytes that are no UTF-8 pass.

        Raises:
            OSError: it cannot be read.
        """
        return self.path(name).read_bytes().decode("utf-8", "surrogateescape")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a command prints, and its exit code."""

    stdout: str = ""
    stderr: str = ""
    code: int = 0
    delay_s: float = 0.0
    """The client waits so long before it prints."""
    awaits: int | None = None
    """The client prints, then waits for the end of this job; ``Face.waited`` says its code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How an element is run as a process, which leads a session of its own."""

    argv: tuple[str, ...]
    """argv[0] is only a name: `executable` is what runs."""
    executable: str
    env: Mapping[str, str]
    cwd: str
    """Where it cannot be entered, `fallback_cwd`."""
    umask: int
    script_path: str
    """The scheduler's own copy of the script, which the server writes: inside of `Place.spool`."""
    script: str
    stdout: str
    """The file that it writes; its folder is not made."""
    stderr: str
    """The same path as `stdout` where they are joined."""
    fallback_cwd: str = "/"
    appends: bool = False
    """To the files; else they are made anew."""
    stdin_text: str = ""
    """Its standard input; empty: nothing."""
    deliver: tuple[tuple[str, str], ...] = ()
    """When it has ended: files to be moved, from -> to; where that fails they stay in ``Place.undelivered``. A ``to`` that is empty is removed."""
    folders: tuple[str, ...] = ()
    """Made for it (mode 700), and removed after it: TMPDIR."""
    files: tuple[tuple[str, str], ...] = ()
    """Path and text of other files that are made for it, and removed after it: the list of its nodes."""
    grace_s: float = 0.0
    """What is left of its session when its first process has ended gets TERM, and so long until it is killed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the server keeps things; absolute paths. All of them exist."""

    folder: str
    bin: str
    spool: str
    """For copies of scripts, outputs that are delivered at the end, lists of nodes."""
    tmp: str
    undelivered: str


class Face(Protocol):
    """A dialect."""

    @property
    def name(self) -> str:
        """The scheduler, as users call it: ``pbs``."""

    @property
    def programs(self) -> tuple[str, ...]:
        """The commands in bin/."""

    @property
    def submits(self) -> tuple[str, ...]:
        """Those of them that submit: ``submit-timeout`` and ``refuse`` are about them."""

    @property
    def independent(self) -> tuple[str, ...]:
        """Those that ask somebody else (Slurm's database), and answer while the scheduler is down or hangs."""

    @property
    def table(self) -> Mapping[str, Setting]:
        """Its settings: ``COMMON_SETTINGS | {...}``."""

    def rules(self, settings: Settings) -> Rules:
        """The rules of the cluster."""

    def run(self, cluster: Cluster, call: Call, now: float) -> Answer:
        """Do what a command asks, and say what it prints. ``now`` is epoch seconds; ``cluster.advance`` was just called.

        Raises:
            NeedsStdinError: by ``call.read_stdin``.
        """

    def unreachable(self, call: Call, fault: str) -> Answer:
        """What a command prints when the scheduler cannot be reached: ``down`` or ``trqauthd-down``."""

    def gives_up(self, call: Call) -> Answer:
        """What a command prints when there is no answer: ``delay_s`` is how long it waits for one."""

    def refuse(self, cluster: Cluster, call: Call, reason: str, now: float) -> Answer:
        """A submission that is refused for a reason of the face's own list; an unknown or empty one is the usual one."""

    def plan(self, cluster: Cluster, job: Job, element: Element, place: Place, now: float) -> Plan:
        """How the element is run."""

    def last_words(self, cluster: Cluster, job: Job, element: Element, why: Why, now: float) -> str:
        """What the scheduler writes into the element's stderr when it tells it to end; nothing is fine."""

    def delivered(self, cluster: Cluster, job: Job, element: Element, *, is_complete: bool) -> None:
        """The outputs of an element that has ended were moved, or (not complete) could not be."""

    def waited(self, cluster: Cluster, number: int) -> int:
        """The exit code of a command that waited for the job (which may be forgotten by now)."""


Command = Callable[[Cluster, Call, float], Answer]
"""What a face has for each of its programs."""
