"""The states of a task: one word each, with what follows from it, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(str, Enum):
    """One word for how a task stands; the reason stands beside it. The order is that of every list shown."""

    NEW = "new"
    SUBMITTING = "submitting"
    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OOM = "oom"
    NODE_FAIL = "node_fail"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    LOST = "lost"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a state means to the rest of the program."""

    is_live: bool = False  # the scheduler has it, or may have it
    is_success: bool = False
    is_ended: bool = False
    is_failure: bool = False  # it did not work: `resubmit` without further words runs it again


FACTS: dict[State, Facts] = {
    State.NEW: Facts(),
    State.SUBMITTING: Facts(is_live=True),
    State.PENDING: Facts(is_live=True),
    State.RUNNING: Facts(is_live=True),
    State.SUSPENDED: Facts(is_live=True),
    State.DONE: Facts(is_success=True, is_ended=True),
    State.STOPPED: Facts(is_success=True, is_ended=True),
    State.FAILED: Facts(is_ended=True, is_failure=True),
    State.TIMEOUT: Facts(is_ended=True, is_failure=True),
    State.OOM: Facts(is_ended=True, is_failure=True),
    State.NODE_FAIL: Facts(is_ended=True, is_failure=True),
    State.PREEMPTED: Facts(is_ended=True, is_failure=True),
    State.CANCELLED: Facts(is_ended=True),
    State.LOST: Facts(is_ended=True, is_failure=True),
    State.UNKNOWN: Facts(is_live=True),
}
