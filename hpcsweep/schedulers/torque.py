"""Torque: qsub, qstat, qdel, qhold, qalter.

Written from the manual of 6.1 and from what a server of it did (tests/data/torque, tests/data/transcripts). Traps that shaped it:

* ``qstat ID[]`` without ``-t`` ignores the id; with it, the array itself is not shown.
* ``afterany:ID[]`` is accepted, and its job waits for ever; arrays have words of their own, ``afteranyarray``.
* qselect never finds an array; a job is found by its name in the list of all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from hpcsweep.gpus import whole_gpus
from hpcsweep.model import Completed, Request
from hpcsweep.ranges import format_ranges
from hpcsweep.schedulers.base import ArrayJob, Command, Limits, NoAnswer, Seen, Used
from hpcsweep.schedulers.qsub import NO_LIMIT, Qsub, query
from hpcsweep.schedulers.qsub_answers import Refusal
from hpcsweep.schedulers.qsub_options import Dialect, format_memory, format_walltime
from hpcsweep.schedulers.torque_answers import ARRAYS_FOLLOW, ASKED, read_history, read_qstat, read_server

_MAX_RANGES_LENGTH = 60_000  # one argument may have 128 kB on Linux

# Pairs of id and name, `--`, names of jobs without an id.
_FIND = rf"""
set -f
ids= asked=
while [ "$1" != -- ]; do
    ids="$ids $1" asked="${{asked}}{ASKED} $1 $2
"
    shift 2
done
shift
if [ $# -gt 0 ]; then
    all=$(qstat -f -x) || exit
    for name; do
        found=$(printf '%s\n' "$all" | sed 's/<Job>/\n<Job>/g' \
            | sed -n "s|^<Job><Job_Id>\([^<]*\)</Job_Id><Job_Name>$name</Job_Name>.*|\1|p")
        for id in $found; do
            ids="$ids $id" asked="${{asked}}{ASKED} $id $name
"
        done
    done
fi
[ -n "$ids" ] || exit 0
qstat -t -f -x $ids
status=$?
[ "$status" -eq 0 ] || [ "$status" -eq 153 ] || exit "$status"
printf '\n{ARRAYS_FOLLOW}\n%s' "$asked"
qstat || exit
exit "$status"
"""
# Of an array's id qstat takes no notice, and lists all.
_CHECK = r"""
case $2 in
    *"[]"*) all=$(qstat -f -x) || exit ;;
    *)
        all=$(qstat -f -x "$2" 2>&1) || case $all in
            *"Unknown Job Id"*) exit 0 ;;
            *)
                printf '%s\n' "$all" >&2
                exit 1
                ;;
        esac
        ;;
esac
case $all in
    *"<Job_Id>$2</Job_Id><Job_Name>$1</Job_Name>"*) ;;
    *) exit 0 ;;
esac
"""

_REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        words=r"Bad Job Array Request",
        hint="the server's max_job_array_size is smaller than it said (`qstat -Bf`)",
        limit="array size",
    ),
    Refusal(
        words=r"[Mm]aximum number of jobs|max_user_queuable|would exceed|jobs already in",
        hint="the site limits how many jobs may be queued; `hpcsweep advance` goes on when some have ended",
        curable=True,
        limit="queued",
    ),
    Refusal(words=r"Unknown queue", hint="`qstat -Q` lists the queues; set resources.partition (= queue)"),
    Refusal(words=r"Queue is not enabled", hint="this queue takes no jobs now; `qstat -Q` lists the others", curable=True),
    Refusal(
        words=r"cannot locate feasible nodes",
        hint="no node has all that is asked for: look at resources.cpus, gpus, nodes and `torque: {chunk: ...}` (`pbsnodes` lists nodes)",
    ),
    Refusal(
        words=r"exceeds queue resource limits",
        hint="the queue does not take so much: `qstat -Qf` shows each queue's resources_max and resources_min; look at resources.time, memory",
    ),
    Refusal(
        words=r"Unknown resource",
        hint="this server has no such resource: look at `l` and `chunk` under `torque:`, or at resources.gpus",
    ),
    Refusal(
        words=r"Illegal attribute or resource value", hint="look at resources and at `torque:`: this value is not understood"
    ),
    Refusal(
        words=r"Invalid Job Dependency", hint="the job it should wait for is not there any more; see --after", curable=True
    ),
    Refusal(words=r"Undefined attribute", hint="look at `W` under `torque:`"),
    Refusal(
        words=r"proxy job|Bad UID|Unauthorized|ruserok",
        hint="compute nodes of Torque may not submit by default, and `-P` means a proxy user: submit on a login node; look at `torque:`",
    ),
    Refusal(words=r"cannot be loaded|script file", hint="the run's folder has to be readable where qsub runs"),
    Refusal(words=r"illegal -([A-Za-z]) value|not a valid option|usage", hint="look at the options under `torque:`"),
)


@dataclass(frozen=True, kw_only=True)
class Torque(Qsub):
    """The Torque that qsub on this machine speaks to."""

    name: ClassVar[str] = "torque"
    dialect: ClassVar[Dialect] = Dialect(
        key="torque",
        letters=frozenset("AclmMpqruTWbK"),
        same_as={
            "time": ("walltime",),
            "memory": ("mem", "pmem", "vmem"),
            "cpus": ("nodes", "ncpus", "procs"),
            "gpus": ("nodes", "gpus"),
            "nodes": ("nodes",),
            "tasks_per_node": ("nodes",),
        },
        not_here={
            "gpu_type": "nodes are told apart by their properties: `torque: {chunk: a100}`",
            "qos": "use a queue, or what your scheduler calls it: `torque: {l: {qos: NAME}}`",
            "tmp": "use `torque: {l: {file: 10gb}}`, or your site's word for it",
        },
    )
    refusals: ClassVar[Sequence[Refusal]] = _REFUSALS
    after_array: ClassVar[str] = "afteranyarray"
    check: ClassVar[str] = _CHECK
    feeder_caveat: str = "where Torque lets compute nodes submit, which it does not by default"
    is_history_whole: bool = False  # what has ended is listed for keep_completed, and then gone

    def _resource_lines(self, request: Request, chunk: Sequence[str]) -> list[str]:
        """``nodes=1:ppn=8:gpus=1`` and ``mem=8192mb``, which is the whole job's."""
        nodes = request.nodes or 1
        words = []
        if request.cpus is not None or request.tasks_per_node is not None:
            words.append(f"ppn={(request.cpus or 1) * (request.tasks_per_node or 1)}")
        if request.gpus:
            words.append(f"gpus={whole_gpus(request.gpus)}")
        words += chunk
        lines = [f"#PBS -l nodes={':'.join([str(nodes), *words])}"] if words or request.nodes is not None else []
        if request.memory_bytes:
            lines.append(f"#PBS -l mem={format_memory(request.memory_bytes * nodes)}")
        if request.time_limit_s is not None:
            lines.append(f"#PBS -l walltime={format_walltime(request.time_limit_s)}")
        return lines

    def _array_words(self, job: ArrayJob) -> list[str]:
        """``-t 0-9%4``; a list too, and one element is fine."""
        words = f"0-{job.size - 1}"
        if job.elements and len(ranges := format_ranges(job.elements)) <= _MAX_RANGES_LENGTH:
            words = ranges
        return ["-t", words + (f"%{job.at_once}" if job.at_once else "")]

    def live_cmd(self, tags: Mapping[str, Collection[str]]) -> Command:
        """One qstat of our own jobs with their subjobs, and the list of all arrays, which alone tells whether one is over."""
        known = [word for tag, jobs in tags.items() for job in jobs for word in (job, tag)]
        names = [tag for tag, jobs in tags.items() if not jobs]
        return query("/bin/sh", "-c", _FIND, "hpcsweep", *known, "--", *names)

    def parse_live(self, completed: Completed) -> list[Seen] | NoAnswer:
        """``<Job><Job_Id>273[0].torque</Job_Id>...`` and lines like ``273[].torque  mix  user  0 R batch``."""
        return read_qstat(completed)

    def parse_live_ends(self, completed: Completed) -> list[Seen]:
        """What is still listed."""
        ends = read_history(completed)
        return [] if isinstance(ends, NoAnswer) else ends

    def history_cmd(self, tags: Mapping[str, Collection[str]], since_epoch: float) -> Command | None:
        """The same lists: what has ended stays on them for a while."""
        del since_epoch
        return self.live_cmd(tags)

    def parse_history(self, completed: Completed) -> list[Seen] | NoAnswer:
        """What ended, and how."""
        return read_history(completed)

    def usage_cmd(self, tags: Mapping[str, Collection[str]], since_epoch: float) -> Command | None:
        """None: what is still listed of ended jobs is too little to rest on."""
        del tags, since_epoch
        return None

    def parse_usage(self, completed: Completed) -> list[Used] | NoAnswer:
        """Never asked."""
        del completed
        return NoAnswer(message="nobody keeps what tasks used")

    def cancel_cmds(self, tag: str, job: str, elements: Sequence[int] | None) -> list[Command]:
        """qdel, for a job that has this name now; nothing to cancel is no fault."""
        if elements is None or "[]" not in job:
            return [self._tell(f'{self.check}tell qdel "$2"\n', tag, job)]
        ranges = format_ranges(elements) if elements else ""
        return [self._tell(f'{self.check}tell qdel -t "$3" "$2"\n', tag, job, part) for part in _split(ranges)]

    def throttle_cmds(self, tag: str, job: str, at_once: int) -> list[Command]:
        """``qalter -t %4``."""
        return [self._tell(f'{self.check}tell qalter -t "%$3" "$2"\n', tag, job, str(at_once or NO_LIMIT))]

    def parse_limits(self, completed: Completed) -> Limits | NoAnswer:
        """``max_job_array_size = 1000``."""
        return read_server(completed)

    def parse_version(self, completed: Completed) -> str | None:
        """``Version: 6.1-dev`` -> ``torque 6.1-dev``."""
        match = re.search(r"^Version: (\S+)", f"{completed.stdout}\n{completed.stderr}", re.MULTILINE)
        return f"torque {match[1]}" if match else None


def _split(ranges: str) -> list[str]:
    """A long list of ranges in pieces that fit an argument each."""
    pieces: list[str] = []
    for part in filter(None, ranges.split(",")):
        if pieces and len(pieces[-1]) + len(part) < _MAX_RANGES_LENGTH:
            pieces[-1] += f",{part}"
        else:
            pieces.append(part)
    return pieces
