"""What Slurm's commands print about: a job, an element of an array, or the pending elements that share one record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from hpcsweep.rehearsal.slurm_values import format_array

SHORT_STATES = {
    "BOOT_FAIL": "BF",
    "CANCELLED": "CA",
    "COMPLETED": "CD",
    "COMPLETING": "CG",
    "CONFIGURING": "CF",
    "DEADLINE": "DL",
    "FAILED": "F",
    "NODE_FAIL": "NF",
    "OUT_OF_MEMORY": "OOM",
    "PENDING": "PD",
    "PREEMPTED": "PR",
    "REQUEUED": "RQ",
    "RUNNING": "R",
    "SUSPENDED": "S",
    "TIMEOUT": "TO",
}
ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"}
)
# In the order in which squeue lists them when it is given another one.
STATE_WORDS = (
    "PENDING,RUNNING,SUSPENDED,COMPLETED,CANCELLED,FAILED,TIMEOUT,NODE_FAIL,PREEMPTED,BOOT_FAIL,DEADLINE,OUT_OF_MEMORY,"
    "COMPLETING,CONFIGURING,RESIZING,RESV_DEL_HOLD,REQUEUED,REQUEUE_FED,REQUEUE_HOLD,REVOKED,SIGNALING,SPECIAL_EXIT,"
    "STAGE_OUT,STOPPED"
)
# In place of an element's number where there is none yet, in the names of output files.
NO_ELEMENT = 4294967294


@dataclass(frozen=True, kw_only=True)
class Row:
    """One record. Times are epochs; None is never, or not yet."""

    job: int  # its own id, JobIDRaw
    array: int | None = None
    elements: tuple[range, ...] = ()
    is_waiting_record: bool = False  # the array's own record: what has not been split off yet
    throttle: int = 0
    name: str
    user: str
    uid: int
    group: str
    gid: int
    account: str
    partition: str
    qos: str
    state: str
    reason: str = "None"
    dependency: str = ""
    priority: int = 0
    submitted_at: float
    eligible_at: float | None = None
    started_at: float | None = None  # or is expected to
    ended_at: float | None = None
    elapsed_s: float = 0
    time_limit_min: int | None = None
    nodes: str = ""
    node_count: int = 1
    cpus: int = 1
    tasks: int = 1
    cpus_per_task: int = 1
    memory_mb: int = 0
    is_memory_per_cpu: bool = False
    node_memory_mb: int = 0
    gres: str = ""  # as asked for: gpu:2
    gpus: int = 0
    exit_code: int = 0
    signal: int = 0
    restarts: int = 0
    is_requeued: bool = True  # may be
    command: str = ""
    arguments: tuple[str, ...] = ()
    submit_line: str = ""
    chdir: str = ""
    output_pattern: str = ""
    error_pattern: str = ""
    input: str = "/dev/null"
    comment: str = ""
    features: str = ""
    wanted_nodes: str = ""
    nice: int = 0
    wckey: str = ""
    cancelled_by: int | None = None
    batch: BatchStep | None = None

    @property
    def is_pending(self) -> bool:
        """Whether it has not started."""
        return self.state == "PENDING"

    @property
    def array_id(self) -> int:
        """The array's id, or its own."""
        return self.job if self.array is None else self.array

    @property
    def shown_memory_mb(self) -> int:
        """What it gets: all of a node's where it asks for none (cons_tres, no DefMemPerCPU)."""
        each = self.memory_mb * (self.cpus if self.is_memory_per_cpu else 1)
        return each or self.node_memory_mb

    @property
    def output(self) -> str:
        """Where it writes; of a record that has not been split, with a number that stands for none."""
        index = self.elements[0][0] if self.elements and not self.is_waiting_record else NO_ELEMENT
        names = Names(array=self.array_id, job=self.job, index=index, user=self.user, name=self.name, node=self.nodes)
        return place_file(self.output_pattern, self.chdir, names)

    @property
    def error(self) -> str:
        """Where its errors go."""
        return change(self, output_pattern=self.error_pattern or self.output_pattern).output

    def indices(self, *, length: int = 64) -> str:
        """``11-37,39%6`` of a waiting record, ``9`` of an element, nothing of a job."""
        throttle = self.throttle if self.is_waiting_record else 0
        return format_array(self.elements, throttle=throttle, length=length) if self.array is not None else ""

    def id_text(self, *, length: int = 64) -> str:
        """``654_[11-37,39%6]``, ``654_9``, ``654``."""
        if self.array is None:
            return str(self.job)
        indices = self.indices(length=length)
        return f"{self.array}_[{indices}]" if self.is_waiting_record else f"{self.array}_{indices}"


def change(row: Row, **changes: Any) -> Row:
    """The row with other values. What ``dataclasses.replace`` does, in a tenth of the time: lists have 10,000 of them."""
    changed = object.__new__(Row)
    changed.__dict__.update(row.__dict__, **changes)
    return changed


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the patterns of file names stand for."""

    array: int
    job: int
    index: int
    user: str
    name: str
    node: str


def place_file(pattern: str, folder: str, names: Names) -> str:
    """A file name pattern of sbatch (man sbatch, "filename pattern"), from ``folder``; a backslash anywhere switches it off."""
    if "\\" in pattern:
        return str(PurePosixPath(folder) / re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL))
    values = {
        "A": str(names.array),
        "J": str(names.job),
        "N": names.node,
        "a": str(names.index),
        "b": str(names.index % 10),
        "j": str(names.job),
        "n": "0",
        "s": "batch",
        "t": "0",
        "u": names.user,
        "x": names.name,
        "%": "%",
    }

    def fill(match: re.Match[str]) -> str:
        value = values.get(match[2])
        if value is None:
            return match[0]
        return value.zfill(min(10, int(match[1]))) if match[1] and value.isdigit() else value

    return str(PurePosixPath(folder) / re.sub(r"%(\d*)(.)", fill, pattern, flags=re.DOTALL))


@dataclass(frozen=True, kw_only=True)
class BatchStep:
    """The script's own record in the history."""

    state: str
    exit_code: int = 0
    signal: int = 0
    started_at: float
    ended_at: float | None = None
    memory_kb: int = 0
