"""Slurm: the commands (sbatch, squeue, sacct, scancel, scontrol) and the reading of what they print.

Written from the manual pages of 22.05 and from what it does (tests/data/slurm, tests/slurm). Traps that shaped it:

* scancel with ``--name`` and *elements* ends every pending element of the array, for they are one record to it; hence
  ``_CANCEL`` looks for the name itself.
* A default in the environment (SBATCH_ACCOUNT) wins over a directive in the script.
* ``--export=NONE`` and ``NIL`` are passed on to ``srun`` inside the job, which then has no environment: we leave ALL, and
  clean the environment that sbatch itself gets.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hpcsweep.model import Completed, Request, Value
from hpcsweep.ranges import format_ranges
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
from hpcsweep.schedulers.slurm_answers import read_config, read_sacct, read_squeue, read_submission
from hpcsweep.schedulers.slurm_limits import read_queued, read_submit_limits
from hpcsweep.schedulers.slurm_options import find_problems, format_directives
from hpcsweep.schedulers.slurm_queues import read_sinfo
from hpcsweep.schedulers.slurm_usage import USAGE_FIELDS, read_usage

# How to reach the cluster. Everything else that starts so is of the job that we may run in, or changes what is printed.
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")
_QUERY_DROPPED = ("SLURM_*", "SLURMD_*", "SQUEUE_*", "SACCT_*", "SCANCEL_*", "SINFO_*")
# What a job must not inherit from the job (or task) that submits it: Slurm's own words, its share of GPUs, the wiring of
# an MPI step, our own variables.
_SUBMIT_DROPPED = (
    *("SLURM_*", "SLURMD_*", "SBATCH_*", "_SLURM_*"),
    *("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK"),
    *("PMI_*", "PMI2_*", "PMIX_*", "HPCSWEEP_*"),
)
# Defaults that sites and users set in their profile, with the options that say the same: a directive wins over them.
_SITE_DEFAULTS: dict[str, tuple[str, ...]] = {
    "SBATCH_ACCOUNT": ("account", "A"),
    "SBATCH_PARTITION": ("partition", "p"),
    "SBATCH_QOS": ("qos", "q"),
    "SBATCH_RESERVATION": ("reservation",),
    "SBATCH_CONSTRAINT": ("constraint", "C"),
    "SBATCH_WCKEY": ("wckey",),
    "SBATCH_TIMELIMIT": ("time", "t"),
    "SBATCH_MEM_PER_NODE": ("mem", "mem-per-cpu", "mem-per-gpu"),
    "SBATCH_MEM_PER_CPU": ("mem", "mem-per-cpu", "mem-per-gpu"),
}
# What `env_from: clean` leaves: who and where the user is.
_CLEAN_KEPT = ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LC_*", "TZ")

# sbatch itself gives up after 10 s (MessageTimeout; some sites set more). squeue would try for 18 s when slurmctld is down: a
# query that has no answer in 10 s says nothing.
_SUBMIT_TIMEOUT_S = 60.0
_QUERY_TIMEOUT_S = 10.0
_TELL_TIMEOUT_S = 60.0
_USAGE_TIMEOUT_S = 60.0  # steps are several times as many rows, and nothing hangs on the answer
# One argument may have 128 kB on Linux. Longer lists of names are not asked for by name: the reader picks ours.
# Longer lists of elements are not submitted: all are.
_MAX_NAMES_LENGTH = 100_000
_RANGES_AT_ONCE = 2_000

# "$@" is run; that a job has ended meanwhile is no fault.
_TELL = r"""
tell() {
    said=$("$@" 2>&1) && return 0
    status=$?
    rest=$(printf '%s\n' "$said" | grep -v -e 'Invalid job id specified' -e 'already completing or completed' \
        -e 'has already finished' -e 'No jobs with name' -e ': No error$')
    [ -n "$rest" ] || return 0
    printf '%s\n' "$rest" >&2
    return "$status"
}
"""
_TELL_IT = _TELL + 'tell "$@"\n'
# $1 the tag, $2 the job: told to end only when that job has that name now.
_CANCEL = (
    _TELL
    + r"""
found=$(squeue --noheader --name="$1" --format=%F) || exit
printf '%s\n' "$found" | grep -q -x -F -e "$2" || exit 0
shift 2
tell scancel "$@"
"""
)


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """The Slurm that sbatch on this machine speaks to."""

    name: str = "slurm"
    command: str = "sbatch"
    lost_after_s: float = 90.0
    longest_settle_s: float = math.inf
    has_history: bool = True
    is_history_whole: bool = True
    enforces_time_limit: bool = True
    excludes_nodes: bool = True
    starts_bare: bool = False
    is_fed_by_jobs: bool = True
    feeder_caveat: str = ""

    def problems(self, request: Request, options: Mapping[str, Value]) -> list[Problem]:
        """What of a request and of ``slurm:`` cannot be expressed."""
        return find_problems(request, options)

    def directives(self, request: Request, options: Mapping[str, Value]) -> list[str]:
        """``#SBATCH --time=0-01:30:00``, ... in a fixed order; values that need it are quoted."""
        return format_directives(request, options)

    def submit_cmd(self, job: ArrayJob) -> Command:
        """``sbatch --parsable --job-name=TAG --array=0-9%4 ... SCRIPT``."""
        argv = ["sbatch", "--parsable", f"--job-name={job.tag}"]
        if not job.as_single_job:
            elements = f"0-{job.size - 1}" if job.elements is None else format_ranges(job.elements)
            if len(elements) > _MAX_NAMES_LENGTH:
                elements = f"0-{job.size - 1}"
            argv.append(f"--array={elements}" + (f"%{job.at_once}" if job.at_once else ""))
        log = escape_pattern(job.log)
        argv += [f"--output={log}", f"--error={log}", "--open-mode=append", f"--chdir={job.chdir}"]
        if job.after:
            argv.append("--dependency=afterany:" + ":".join(other.partition(";")[0] for other in job.after))
        elif job.after_first_of:  # `?`: any of them is enough
            argv.append("--dependency=" + "?".join(f"afterany:{other.partition(';')[0]}" for other in job.after_first_of))
        if job.delay_s:
            argv.append(f"--begin=now+{job.delay_s}")
        if job.is_held:
            argv.append("--hold")
        return Command(
            argv=(*argv, job.script),
            env_drop=("*",) if job.is_env_clean else _SUBMIT_DROPPED,
            env_keep=(*_KEPT, *_site_defaults(job.directives), *(_CLEAN_KEPT if job.is_env_clean else ())),
            cwd=job.chdir,  # SLURM_SUBMIT_DIR
            timeout_s=_SUBMIT_TIMEOUT_S,
            keeps_lock=True,
        )

    def parse_submit(self, completed: Completed) -> Submitted | Refused | Uncertain:
        """``654`` or ``654;cluster`` on standard output; or the reason why not."""
        return read_submission(completed)

    def live_cmd(self, tags: Mapping[str, Collection[str]]) -> Command:
        """One squeue for all arrays. Pending elements of an array are one line, however many."""
        return _query(
            "squeue",
            "--noheader",
            "--federation",  # nothing where there is none; else a job that moved to a sister cluster would look ended
            *_names(tags),
            "--format=%i|%F|%K|%T|%j|%M|%N|%r",
            env={"SLURM_BITSTR_LEN": "0"},  # else long ranges are cut after 64 bytes
        )

    def parse_live(self, completed: Completed) -> list[Seen] | NoAnswer:
        """Lines like ``654_[11-37,39]|654|11-37,39|PENDING|TAG|0:00||JobArrayTaskLimit``."""
        return read_squeue(completed)

    def parse_live_ends(self, completed: Completed) -> list[Seen]:
        """Nothing: what has ended is not in it."""
        del completed
        return []

    def history_cmd(self, tags: Mapping[str, Collection[str]], since_epoch: float) -> Command | None:
        """One sacct for all arrays; an hour of margin, for clocks differ."""
        return _ask_history(tags, since_epoch, "JobID,JobName,State,ExitCode,ElapsedRaw,NodeList", by_step=False)

    def parse_history(self, completed: Completed) -> list[Seen] | NoAnswer:
        """``654_2|TAG|FAILED|0:9|17|n1``."""
        return read_sacct(completed)

    def usage_cmd(self, tags: Mapping[str, Collection[str]], since_epoch: float) -> Command | None:
        """As ``history_cmd``, with the steps, whose rows hold the memory; there are several for each element."""
        command = _ask_history(tags, since_epoch, USAGE_FIELDS, by_step=True)
        return replace(command, timeout_s=_USAGE_TIMEOUT_S)

    def parse_usage(self, completed: Completed) -> list[Used] | NoAnswer:
        """``654_2|TAG|COMPLETED|17|00:12.500||cpu=4,...``, and ``654_2.batch|batch|...|952K|`` behind it."""
        return read_usage(completed)

    def cancel_cmds(self, tag: str, job: str, elements: Sequence[int] | None) -> list[Command]:
        """scancel, for a job that has this name now; nothing to cancel is no fault."""
        if elements is None:
            return [_shell(_CANCEL, tag, job, f"--name={tag}", job)]
        ranges = format_ranges(elements).split(",") if elements else []
        return [
            _shell(_CANCEL, tag, job, f"{job}_[{','.join(ranges[start : start + _RANGES_AT_ONCE])}]")
            for start in range(0, len(ranges), _RANGES_AT_ONCE)
        ]

    def cancel_pending_cmds(self, tag: str, job: str) -> list[Command]:
        """Of the pending alone: whatever has started meanwhile goes on."""
        return [_shell(_CANCEL, tag, job, "--state=PENDING", f"--name={tag}", job)]

    def hold_cmds(self, tag: str, job: str, action: Literal["hold", "release"]) -> list[Command]:
        """By name, which is the tag: an id may be another job's by now, and scontrol cannot be told both."""
        del job
        return [_shell(_TELL_IT, "scontrol", action, f"jobname={tag}")]

    def throttle_cmds(self, tag: str, job: str, at_once: int) -> list[Command]:
        """By name, as ``hold_cmds``; with JobId beside it, JobName would be the new name."""
        del job
        return [_shell(_TELL_IT, "scontrol", "update", f"JobName={tag}", f"ArrayTaskThrottle={at_once}")]

    def limits_cmd(self) -> Command | None:
        """``scontrol show config``."""
        return _query("scontrol", "show", "config")

    def parse_limits(self, completed: Completed) -> Limits | NoAnswer:
        """``MaxArraySize = 1001`` and the like."""
        return read_config(completed)

    def queues_cmds(self) -> list[Command]:
        """``sinfo``: a line for each kind and state of a partition's nodes."""
        return [_query("sinfo", "--noheader", "--format=%P|%a|%l|%D|%t|%G|%c|%m")]

    def parse_queues(self, completed: Sequence[Completed]) -> list[Queue] | NoAnswer:
        """``main*|up|infinite|2|mix|gpu:fake:4|8|8000``."""
        return read_sinfo(completed[0])

    def version_cmd(self) -> Command:
        """The version of Slurm's programs here, which ask nobody for it."""
        return _query("scontrol", "--version")

    def parse_version(self, completed: Completed) -> str | None:
        """``slurm 23.11.4``."""
        match = re.match(r"slurm\S* \S+", completed.stdout) if completed.returncode == 0 else None
        return match[0] if match else None

    def submit_limits_cmds(self, user: str, cluster: str) -> list[Command]:
        """``sacctmgr show user`` and ``show qos``: accounting may be off or down, and then they say nothing."""
        of_cluster = [f"cluster={cluster}"] if cluster else []
        return [
            _query(
                *("sacctmgr", "--noheader", "--parsable2", "show", "user", f"name={user}", *of_cluster, "withassoc"),
                "format=DefaultAccount,Account,Partition,DefaultQOS,MaxSubmit,GrpSubmit",
            ),
            _query(
                *("sacctmgr", "--noheader", "--parsable2", "show", "qos", "format=Name,MaxSubmitPU,MaxSubmitPA,GrpSubmit"),
            ),
        ]

    def parse_submit_limits(self, completed: Sequence[Completed]) -> SubmitLimits | NoAnswer:
        """``lab|lab||normal|1000|`` and ``few|4||``."""
        return read_submit_limits(completed)

    def queued_cmd(self, user: str) -> Command | None:
        """One squeue of the user's jobs; pending elements of an array are one line."""
        return _query(
            *("squeue", "--noheader", f"--user={user}", "--format=%K|%a|%P|%q|%j"),
            env={"SLURM_BITSTR_LEN": "0"},
        )

    def parse_queued(self, completed: Completed) -> list[Queued] | NoAnswer:
        """``11-37,39|lab|main|normal|TAG``."""
        return read_queued(completed)


def escape_pattern(path: str) -> str:
    """A path as a file name pattern of sbatch (man sbatch, "filename pattern") that means just this path.

    A backslash anywhere switches the ``%`` patterns off and is itself written twice; without one, ``%`` is.
    """
    return path.replace("\\", "\\\\") if "\\" in path else path.replace("%", "%%")


def _site_defaults(directives: tuple[str, ...]) -> list[str]:
    """The defaults in the environment that no directive sets."""
    set_there: set[str] = set()
    for line in directives:
        for word in line.removeprefix("#SBATCH").split():
            if match := re.match(r"--([a-z-]+)|-([A-Za-z])", word):
                set_there.add(match[1] or match[2])
    return [variable for variable, names in _SITE_DEFAULTS.items() if not set_there.intersection(names)]


def _names(tags: Collection[str]) -> list[str]:
    names = ",".join(sorted(tags))
    return [f"--name={names}"] if names and len(names) <= _MAX_NAMES_LENGTH else []


def _ask_history(tags: Collection[str], since_epoch: float, fields: str, *, by_step: bool) -> Command:
    start = dt.datetime.fromtimestamp(max(0.0, since_epoch - 3600), tz=dt.timezone.utc)
    return _query(
        "sacct",
        "--allusers",  # a colleague may look
        *(() if by_step else ("--allocations",)),
        "--noheader",
        "--parsable2",
        "--federation",
        *_names(tags),
        f"--starttime={start:%Y-%m-%dT%H:%M:%S}",
        f"--format={fields}",
        env={"TZ": "UTC"},  # the zone in which it reads --starttime
    )


def _query(*argv: str, env: Mapping[str, str | None] | None = None) -> Command:
    return Command(argv=argv, env=env or {}, env_drop=_QUERY_DROPPED, env_keep=_KEPT, timeout_s=_QUERY_TIMEOUT_S)


def _shell(script: str, *arguments: str) -> Command:
    """A fixed script with its arguments: what is told is never part of the script's text."""
    return Command(
        argv=("/bin/sh", "-c", script, "hpcsweep", *arguments),
        env_drop=_QUERY_DROPPED,
        env_keep=_KEPT,
        timeout_s=_TELL_TIMEOUT_S,
    )
