"""OpenPBS and PBS Pro: qsub, qstat, qselect, qdel, qhold, qalter.

Written from the manual pages of 23.06 and from what a server of it did (tests/data/openpbs, tests/data/transcripts). Traps that shaped it:

* ``-J`` takes no lists and no array of one element; with a step, ``0-1:2``, it does.
* ``qsub`` leaves a process behind that keeps the connection, and all that it inherited, for a minute; ``-f`` turns that off.
* ``qdel`` of an array overwrites how its ended subjobs have ended.
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
from hpcsweep.schedulers.pbs_answers import read_history, read_qstat, read_server, read_usage
from hpcsweep.schedulers.qsub import NO_LIMIT, Qsub, array_of, query, subjob_ids
from hpcsweep.schedulers.qsub_answers import Refusal
from hpcsweep.schedulers.qsub_options import Dialect, format_memory, format_walltime

_RANGES_AT_ONCE = 1_000

# Ids, `--`, names of jobs without an id.
_FIND = r"""
history=$1
shift
set -f
ids=
while [ "$1" != -- ]; do
    ids="$ids $1"
    shift
done
shift
for name; do
    found=$(qselect $history -N "$name") || exit
    ids="$ids $found"
done
[ -n "$(printf %s $ids)" ] || exit 0
exec qstat $history -t -f $ids
"""
_CHECK = r"""
found=$(qselect -N "$1") || exit
printf '%s\n' "$found" | grep -q -x -F -e "$2" || exit 0
"""

_REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        words=r"exceeds server or queue size limit",
        hint="the server's max_array_size is smaller than it said (`qstat -Bf`)",
        limit="array size",
    ),
    Refusal(
        words=r"would exceed|[Mm]aximum number of jobs|limit on (the )?number of jobs|max_queued|jobs already in",
        hint="the site limits how many jobs may be queued; `hpcsweep advance` goes on when some have ended",
        curable=True,
        limit="queued",
    ),
    Refusal(words=r"Unknown queue", hint="`qstat -Q` lists the queues; set resources.partition (= queue)"),
    Refusal(words=r"Queue is not enabled", hint="this queue takes no jobs now; `qstat -Q` lists the others", curable=True),
    Refusal(
        words=r"violates queue and/or server resource limits",
        hint="the queue does not take so much: `qstat -Qf` shows each queue's resources_max and resources_min; look at resources.time, "
        "memory, cpus, gpus",
    ),
    Refusal(
        words=r"Unknown resource",
        hint="this server has no such resource: look at `l` and `chunk` under `pbs:`, or at resources.gpus",
    ),
    Refusal(
        words=r"cannot be used with|Cannot be used with",
        hint="a resource is asked for in two ways: look at `pbs:` and your template's #PBS lines",
    ),
    Refusal(words=r"Illegal attribute or resource value", hint="look at resources and at `pbs:`: this value is not understood"),
    Refusal(
        words=r"cannot submit non-rerunable Array Job",
        hint="job arrays have to be rerunnable: take `-r n` away, or set array.mode: jobs",
    ),
    Refusal(
        words=r"illegal -W value|Error \(15002\)",
        hint="the job it should wait for, or an attribute under `pbs: W`, is not there; see --after",
    ),
    Refusal(words=r"illegal -([A-Za-z]) value|invalid option", hint="look at the options under `pbs:`"),
    Refusal(words=r"script file", hint="the run's folder has to be readable where qsub runs"),
    Refusal(
        words=r"Unauthorized Request|No Permission|not authorized|Bad UID|[Ii]nvalid (account|project)|[Aa]ccount|[Pp]roject",
        hint="may you use this queue, account and project? look at resources.account and `pbs: {project: ...}`",
    ),
    Refusal(
        words=r"Server shutting down|server is being shut down|License", hint="the same command may work later", curable=True
    ),
)
_SELECT = ("select", "ncpus", "mem", "pmem", "ngpus", "mpiprocs", "nodes", "nodect")


@dataclass(frozen=True, kw_only=True)
class Pbs(Qsub):
    """The PBS Pro or OpenPBS that qsub on this machine speaks to."""

    name: ClassVar[str] = "pbs"
    dialect: ClassVar[Dialect] = Dialect(
        key="pbs",
        letters=frozenset("AclmMpPqruW"),
        same_as={
            "time": ("walltime",),
            # What is asked of a node in `select` may be asked of the job in no other way.
            **dict.fromkeys(("memory", "cpus", "gpus", "nodes", "tasks_per_node"), _SELECT),
        },
        not_here={
            "gpu_type": "use your site's word for it: `pbs: {chunk: {gpu_type: a100}}`",
            "qos": "use a queue or a project: `pbs: {project: NAME}`",
            "tmp": "use your site's word for it: `pbs: {chunk: {scratch: 10gb}}`",
        },
    )
    refusals: ClassVar[Sequence[Refusal]] = _REFUSALS
    after_array: ClassVar[str] = "afterany"
    check: ClassVar[str] = _CHECK
    is_history_whole: bool = True

    def _resource_lines(self, request: Request, chunk: Sequence[str]) -> list[str]:
        """``select=2:ncpus=8:mpiprocs=4:mem=8192mb:ngpus=1``: nodes, and of each a share."""
        ranks = request.tasks_per_node
        words = []
        if request.cpus is not None or ranks is not None:
            words.append(f"ncpus={(request.cpus or 1) * (ranks or 1)}")
        if ranks is not None:
            words += [f"mpiprocs={ranks}", *([f"ompthreads={request.cpus}"] if request.cpus else [])]
        if request.memory_bytes:
            words.append(f"mem={format_memory(request.memory_bytes)}")
        if request.gpus:
            words.append(f"ngpus={whole_gpus(request.gpus)}")
        words += chunk
        lines = [f"#PBS -l select={':'.join([str(request.nodes or 1), *words])}"] if words or request.nodes is not None else []
        if request.time_limit_s is not None:
            lines.append(f"#PBS -l walltime={format_walltime(request.time_limit_s)}")
        return lines

    def _first_words(self) -> list[str]:
        return ["-f"]

    def _array_words(self, job: ArrayJob) -> list[str]:
        """``-J 0-9%4``. Of some elements only those that lie in even steps; otherwise all, and what has run finds its claim taken."""
        words = _stepped(job.elements) if job.elements else None
        if words is None:
            words = f"0-{job.size - 1}" if job.size > 1 else "0-1:2"
        return ["-J", words + (f"%{job.at_once}" if job.at_once else "")]

    def _awaited(self, job: str) -> str:
        """A subjob cannot be waited for: its array is."""
        return array_of(job)

    def live_cmd(self, tags: Mapping[str, Collection[str]]) -> Command:
        """One qstat of our own jobs, with all their subjobs."""
        return _find("", tags)

    def parse_live(self, completed: Completed) -> list[Seen] | NoAnswer:
        """``Job Id: 39[3].pbs`` with its fields below it."""
        return read_qstat(completed)

    def parse_live_ends(self, completed: Completed) -> list[Seen]:
        """Subjobs of an array that lives."""
        ends = read_history(completed)
        return [] if isinstance(ends, NoAnswer) else ends

    def history_cmd(self, tags: Mapping[str, Collection[str]], since_epoch: float) -> Command | None:
        """The same of what has ended; a server whose history is off refuses."""
        del since_epoch
        return _find("-x", tags)

    def parse_history(self, completed: Completed) -> list[Seen] | NoAnswer:
        """What ended, and how."""
        return read_history(completed)

    def usage_cmd(self, tags: Mapping[str, Collection[str]], since_epoch: float) -> Command | None:
        """The history's records have it."""
        return self.history_cmd(tags, since_epoch)

    def parse_usage(self, completed: Completed) -> list[Used] | NoAnswer:
        """``    resources_used.cput = 00:00:12`` and its like."""
        return read_usage(completed)

    def cancel_cmds(self, tag: str, job: str, elements: Sequence[int] | None) -> list[Command]:
        """qdel, for a job that has this name now; nothing to cancel is no fault."""
        script = f'{self.check}shift 2\ntell qdel "$@"\n'
        if elements is None or "[" not in job:
            return [self._tell(script, tag, job, job)]
        stepped = _stepped(elements) if len(elements) > 1 else None
        ranges = [stepped] if stepped else format_ranges(elements).split(",") if elements else []
        return [
            self._tell(script, tag, job, *subjob_ids(job, ranges[start : start + _RANGES_AT_ONCE]))
            for start in range(0, len(ranges), _RANGES_AT_ONCE)
        ]

    def throttle_cmds(self, tag: str, job: str, at_once: int) -> list[Command]:
        """``qalter -W max_run_subjobs=4``."""
        return [self._tell(f'{self.check}tell qalter -W "max_run_subjobs=$3" "$2"\n', tag, job, str(at_once or NO_LIMIT))]

    def parse_limits(self, completed: Completed) -> Limits | NoAnswer:
        """``max_array_size = 10000``."""
        return read_server(completed)

    def parse_version(self, completed: Completed) -> str | None:
        """``pbs_version = 23.06.06`` -> ``pbs 23.06.06``."""
        match = re.search(r"pbs_version = (\S+)", completed.stdout)
        return f"pbs {match[1]}" if match and completed.returncode == 0 else None


def _find(history: str, tags: Mapping[str, Collection[str]]) -> Command:
    ids = [job for jobs in tags.values() for job in jobs]
    names = [tag for tag, jobs in tags.items() if not jobs]
    return query("/bin/sh", "-c", _FIND, "hpcsweep", history, *ids, "--", *names)


def _stepped(elements: Sequence[int]) -> str | None:
    """``[3, 5, 7]`` -> ``3-7:2``; None where they do not lie so."""
    first, last, count = elements[0], elements[-1], len(elements)
    if count == 1:
        return f"{first}-{first + 1}:2"
    step, rest = divmod(last - first, count - 1)
    if rest or tuple(elements) != tuple(range(first, last + 1, step)):
        return None
    return f"{first}-{last}" if step == 1 else f"{first}-{last}:{step}"
