"""This machine: the commands of ``localqueue.py``, and the reading of what it prints.

The same sweep file runs here and on a cluster, so requests that only a cluster understands (partition, account, qos) are
accepted; memory is not limited.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hpcsweep.gpus import Devices
from hpcsweep.model import Completed, Request, Value
from hpcsweep.ranges import format_ranges, parse_ranges
from hpcsweep.schedulers.base import (
    ArrayJob,
    Command,
    Limits,
    NoAnswer,
    Problem,
    Queue,
    Queued,
    Refused,
    Seen,
    SubmitLimits,
    Submitted,
    Uncertain,
    Used,
)
from hpcsweep.states import State

# A job or task that we run in must not be taken for the element's own. GPUs given to us stay: this is still our share.
_DROPPED = ("SLURM_*", "SLURMD_*", "_SLURM_*", "PMI_*", "PMI2_*", "PMIX_*", "HPCSWEEP_*")
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")
_CLEAN_KEPT = ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LC_*", "TZ")
_STATES = {"PENDING": State.PENDING, "RUNNING": State.RUNNING, "SUSPENDED": State.SUSPENDED}
_GRACE_S = 5
_OTHER_HOST = 4  # localqueue's exit code for "the queue runs on another machine"
_MAX_RANGES_LENGTH = 100_000  # one argument may have 128 kB on Linux


@dataclass(frozen=True, kw_only=True)
class Local:
    """The queue of one run on this machine.

    ``jobs``: how many elements run at once (None: as many as it has cores); ``then``: argv that is run when an array has ended;
    ``devices``: the GPUs that are shared out (None: none are, and elements see them all).
    """

    queue_dir: str
    python: str
    program: str
    jobs: int | None = None
    then: tuple[str, ...] = ()
    devices: Devices | None = None
    name: str = "local"
    command: str = "bash"
    lost_after_s: float = 2.0
    longest_settle_s: float = 5.0
    has_history: bool = False
    is_history_whole: bool = True  # there is none that could have forgotten
    enforces_time_limit: bool = False
    excludes_nodes: bool = False
    starts_bare: bool = False
    is_fed_by_jobs: bool = False
    feeder_caveat: str = ""

    def problems(self, request: Request, options: Mapping[str, Value]) -> list[Problem]:
        """What this machine cannot do: be several nodes. It has no options of its own."""
        problems = [
            Problem(option=option, message=f"this machine's queue has no option {option!r}", hint="leave it out")
            for option in options
        ]
        if request.nodes is not None and request.nodes > 1:
            problems.append(
                Problem(option="nodes", message=f"{request.nodes} nodes: this machine is one", hint="`--set resources.nodes=1`")
            )
        return problems

    def directives(self, request: Request, options: Mapping[str, Value]) -> list[str]:
        """None: bash reads no directives."""
        del request, options
        return []

    def submit_cmd(self, job: ArrayJob) -> Command:
        """Start the array's own queue process; it prints its id when it is on record."""
        words = ["--tag", job.tag, "--size", str(job.size), "--script", job.script, "--log", job.log, "--chdir", job.chdir]
        if self.jobs is not None:
            words += ["--jobs", str(self.jobs)]
        if self.devices is not None and job.gpus:
            words += ["--devices", _devices_text(self.devices), "--gpus", str(job.gpus)]
        if job.at_once:
            words += ["--at-once", str(job.at_once)]
        for other in job.after:
            words += ["--after", other]
        if job.is_held:
            words.append("--hold")
        if self.then:
            words += ["--then", json.dumps(self.then)]
        return Command(
            argv=self._argv("submit", *words),
            env_drop=("*",) if job.is_env_clean else _DROPPED,
            env_keep=(*_KEPT, *(_CLEAN_KEPT if job.is_env_clean else ())),
            cwd=job.chdir,
            timeout_s=30.0,
            keeps_lock=True,
        )

    def parse_submit(self, completed: Completed) -> Submitted | Refused | Uncertain:
        """One line with the id."""
        if match := re.fullmatch(r"\s*([A-Za-z0-9.-]+)\s*", completed.stdout, re.ASCII):
            return Submitted(job=match[1], warning=completed.stderr.strip())
        said = completed.stderr.strip()
        if completed.returncode is not None and completed.returncode > 0 and said:
            is_full = "disk is full" in said
            return Refused(
                message=said, hint="make room there, then give the command again" if is_full else "", curable=is_full
            )
        return Uncertain(message=said or f"the queue of this machine gave no id (exit code {completed.returncode})")

    def live_cmd(self, tags: Mapping[str, Collection[str]]) -> Command:
        """One look at all arrays."""
        return Command(argv=self._argv("live", *(word for tag in sorted(tags) for word in ("--tag", tag))))

    def parse_live(self, completed: Completed) -> list[Seen] | NoAnswer:
        """``ID|0-3,7|PENDING|REASON|TAG|NODE|SECONDS``; a line that cannot be read makes all of it no answer."""
        if completed.returncode != 0:
            return NoAnswer(message=completed.stderr.strip() or "the queue of this machine gave no answer")
        seen = []
        for line in filter(None, completed.stdout.split("\n")):
            fields = line.split("|")
            elements = _parse_elements(fields[1]) if len(fields) == 7 else None
            if elements is None:
                return NoAnswer(message=f"the queue of this machine printed a line that cannot be read: {line[:200]}")
            job, _, word, reason, tag, node, elapsed = fields
            state = _STATES.get(word, State.UNKNOWN)
            seen.append(
                Seen(
                    tag=tag,
                    job=job,
                    elements=elements,
                    state=state,
                    raw=word,
                    reason=reason,
                    node=node,
                    elapsed_s=float(elapsed) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]+)?", elapsed, re.ASCII) else None,
                    is_held=state is State.PENDING and reason == "Held",
                )
            )
        return seen

    def parse_live_ends(self, completed: Completed) -> list[Seen]:
        """Nothing: what has ended is not in it."""
        del completed
        return []

    def history_cmd(self, tags: Mapping[str, Collection[str]], since_epoch: float) -> Command | None:
        """None: the tasks' own records are all there is."""
        del tags, since_epoch
        return None

    def parse_history(self, completed: Completed) -> list[Seen] | NoAnswer:
        """Never asked."""
        del completed
        return NoAnswer(message="this machine keeps no history")

    def usage_cmd(self, tags: Mapping[str, Collection[str]], since_epoch: float) -> Command | None:
        """None: the tasks' own records are all there is."""
        del tags, since_epoch
        return None

    def parse_usage(self, completed: Completed) -> list[Used] | NoAnswer:
        """Never asked."""
        del completed
        return NoAnswer(message="nobody keeps what tasks used")

    def cancel_cmds(self, tag: str, job: str, elements: Sequence[int] | None) -> list[Command]:
        """TERM, and KILL after a grace, for the whole tree of each element."""
        words = ["--tag", tag, "--grace", str(_GRACE_S), job]
        if elements is None:
            return [self._control("cancel", *words)]
        return [self._control("cancel", *words, ranges) for ranges in _split_ranges(elements)]

    def cancel_pending_cmds(self, tag: str, job: str) -> list[Command]:
        """Without signals: what runs goes on, and the queue ends with it."""
        return [self._control("cancel", "--tag", tag, "--pending", job)]

    def hold_cmds(self, tag: str, job: str, action: Literal["hold", "release"]) -> list[Command]:
        """Hold or release what has not started."""
        return [self._control(action, "--tag", tag, job)]

    def throttle_cmds(self, tag: str, job: str, at_once: int) -> list[Command]:
        """How many elements of this array run at once (0: no limit of its own)."""
        return [self._control("throttle", "--tag", tag, job, str(at_once))]

    def limits_cmd(self) -> Command | None:
        """None: there are none."""
        return None

    def parse_limits(self, completed: Completed) -> Limits | NoAnswer:
        """Never asked."""
        del completed
        return Limits(kill_wait_s=_GRACE_S)

    def queues_cmds(self) -> list[Command]:
        """None: there are no queues."""
        return []

    def parse_queues(self, completed: Sequence[Completed]) -> list[Queue] | NoAnswer:
        """Never asked."""
        del completed
        return []

    def version_cmd(self) -> None:
        """This machine's queue has hpcsweep's own version."""

    def parse_version(self, completed: Completed) -> None:
        """Nothing was asked."""
        del completed

    def submit_limits_cmds(self, user: str, cluster: str) -> list[Command]:
        """None: as many as one likes."""
        del user, cluster
        return []

    def parse_submit_limits(self, completed: Sequence[Completed]) -> SubmitLimits | NoAnswer:
        """Never asked."""
        del completed
        return SubmitLimits()

    def queued_cmd(self, user: str) -> Command | None:
        """None: nothing is limited."""
        del user
        return None

    def parse_queued(self, completed: Completed) -> list[Queued] | NoAnswer:
        """Never asked."""
        del completed
        return []

    def _argv(self, verb: str, *words: str) -> tuple[str, ...]:
        # -I -S: neither the user's environment nor site-packages are read, so that it starts at once.
        return (self.python, "-I", "-S", self.program, verb, "--dir", self.queue_dir, *words)

    def _control(self, verb: str, *words: str) -> Command:
        return Command(argv=self._argv(verb, *words), timeout_s=_GRACE_S + 25.0)


def _devices_text(devices: Devices) -> str:
    """``CUDA_VISIBLE_DEVICES 0=GPU-a 1,2=GPU-b,GPU-c``."""
    return " ".join([devices.variable, *(f"{group.name}={','.join(group.locks)}" for group in devices.groups)])


def _parse_elements(text: str) -> range | tuple[int, ...] | None:
    if match := re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", text, re.ASCII):
        return range(int(match[1]), int(match[2] or match[1]) + 1) or None
    if not re.fullmatch(r"[0-9]{1,7}(-[0-9]{1,7})?(,[0-9]{1,7}(-[0-9]{1,7})?)*", text, re.ASCII):
        return None
    try:
        return tuple(parse_ranges(text))
    except ValueError:
        return None


def _split_ranges(elements: Sequence[int]) -> list[str]:
    """The ranges, in pieces that fit an argument each."""
    pieces = [""]
    for part in format_ranges(elements).split(",") if elements else []:
        if len(pieces[-1]) + len(part) >= _MAX_RANGES_LENGTH:
            pieces.append("")
        pieces[-1] += f",{part}" if pieces[-1] else part
    return [piece for piece in pieces if piece]
