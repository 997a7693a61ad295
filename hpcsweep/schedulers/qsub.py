"""What OpenPBS (PBS Pro) and Torque have in common: how qsub is told, what its answers are, and what neither of them offers.

Both start a script in the home folder, with umask 077 and none of the submitter's environment, and bring its output to its place
only when it has ended; one fixed place is overwritten by each element, and a folder that is not there loses it. So nothing is left to that: the script itself goes
where it belongs, and writes its messages itself. Values never pass through ``qsub -v``, whose quoting loses some.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from hpcsweep.model import Completed, Request, Value
from hpcsweep.schedulers.base import (
    ArrayJob,
    Command,
    NoAnswer,
    Problem,
    Queue,
    Queued,
    Refused,
    SubmitLimits,
    Submitted,
    Uncertain,
)
from hpcsweep.schedulers.pbs_queues import read_queues
from hpcsweep.schedulers.qsub_answers import Refusal, read_submission
from hpcsweep.schedulers.qsub_options import Dialect, chunk_words, find_problems, option_lines, queue_lines

# How to reach the server. Everything else that starts so is of the job that we may run in, or changes what is printed or read.
_KEPT = (
    *("PBS_SERVER", "PBS_DEFAULT", "PBS_CONF_FILE", "PBS_EXEC", "PBS_PRIMARY", "PBS_SECONDARY", "SLURM_CONF"),
    "HPCSWEEP_REHEARSAL_ELEMENT",  # a rehearsed Torque tells by it whether it is a compute node that submits
)
_QUERY_DROPPED = ("PBS_*", "SLURM_*", "SQUEUE_*")
# What a job must not inherit from the job (or task) that submits it.
_SUBMIT_DROPPED = (
    *("PBS_*", "SLURM_*", "SBATCH_*", "NCPUS"),
    *("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK"),
    *("PMI_*", "PMI2_*", "PMIX_*", "HPCSWEEP_*"),
)
_CLEAN_KEPT = ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LC_*", "TZ")

_SUBMIT_TIMEOUT_S = 60.0  # Torque's qsub would wait for 600 s for a server that hangs
_QUERY_TIMEOUT_S = 20.0  # 10,000 subjobs with all their fields are 12 MB, and take 0.6 s of an idle server
_TELL_TIMEOUT_S = 120.0  # deleting 10,000 subjobs has taken 25 s
NO_LIMIT = 1_000_000
"""How many elements at once are as good as any: 0 lets none run."""

# $1 seconds, by this machine's clock; $2 the word for arrays; the ids to wait for; `--`; qsub's own words. A job that waits
# for one that the server has forgotten is deleted at once by PBS, and refused by Torque: what has ended is not waited for.
SUBMIT_LATER = r"""
delay=$1 word=$2 arrays= others=
shift 2
while [ "$1" != -- ]; do
    id=$1
    shift
    said=$(qstat "$id" 2>&1) || case $said in
        *[Uu]nknown\ [Jj]ob\ [Ii]d* | *"has finished"*)
            number=${id%%.*}
            array="$number[]${id#"$number"}"
            case $id in *\[*) array= ;; esac
            if [ -n "$array" ] && qstat "$array" >/dev/null 2>&1; then
                id=$array
            else
                echo "hpcsweep: job $id is not waited for: the server does not have it (any more)" >&2
                continue
            fi
            ;;
    esac
    case $id in
        *"[]"*) arrays=$arrays:$id ;;
        *) others=$others:$id ;;
    esac
done
shift
depend=
[ -z "$arrays" ] || depend=$word$arrays
[ -z "$others" ] || depend=${depend:+$depend,}afterany$others
[ -z "$depend" ] || set -- -W "depend=$depend" "$@"
[ "$delay" -eq 0 ] || set -- -a "$(date -d "+$delay seconds" +%Y%m%d%H%M.%S)" "$@"
exec qsub "$@"
"""

# "$@" is run; that a job has ended meanwhile is no fault.
TELL = r"""
tell() {
    said=$("$@" 2>&1) && return 0
    status=$?
    rest=$(printf '%s\n' "$said" | grep -v -i -e 'unknown job id' -e 'has finished' -e 'for finished array subjob' \
        -e 'nonexistent job id' -e 'invalid for state of job')
    [ -n "$rest" ] || return 0
    printf '%s\n' "$rest" >&2
    return "$status"
}
"""
# $1 the job, behind $is_ours: held first, so that nothing starts between the list and the end of what it names.
CANCEL_PENDING = r"""
tell qhold "$1" || exit
waiting=$(qstat -t -f "$1" 2>/dev/null | awk '/^Job Id: /{id = $3} /^    job_state = [QHW]/{if (id !~ /\[\]/) print id}')
[ -n "$waiting" ] || exit 0
set -f
tell qdel $waiting
"""


class Qsub:
    """The common half of the two schedulers."""

    name: ClassVar[str]
    dialect: ClassVar[Dialect]
    refusals: ClassVar[Sequence[Refusal]]
    after_array: ClassVar[str]  # the word that lets a job wait for the end of an array
    check: ClassVar[str]  # shell text that leaves where $2 is no job with the name $1

    command: str = "qsub"
    lost_after_s: float = 90.0
    longest_settle_s: float = math.inf
    has_history: bool = True
    enforces_time_limit: bool = False  # it polls, and warns nobody: the runner keeps the limit too
    excludes_nodes: bool = False
    starts_bare: bool = True
    is_fed_by_jobs: bool = True
    feeder_caveat: str = ""

    def problems(self, request: Request, options: Mapping[str, Value]) -> list[Problem]:
        """What of a request and of the options cannot be expressed."""
        return find_problems(request, options, self.dialect)

    def directives(self, request: Request, options: Mapping[str, Value]) -> list[str]:
        """``#PBS -l ...`` in a fixed order, then the options as they were written."""
        chunk = chunk_words(options)
        return [*self._resource_lines(request, chunk), *queue_lines(request), *option_lines(options)]

    def _resource_lines(self, request: Request, chunk: Sequence[str]) -> list[str]:
        raise NotImplementedError

    def submit_cmd(self, job: ArrayJob) -> Command:
        """``qsub -N TAG ... SCRIPT``; what a job writes outside of its script's own log goes nowhere."""
        argv = ["qsub", *self._first_words(), "-N", job.tag]
        if not job.as_single_job:
            argv += self._array_words(job)
        argv += ["-o", "/dev/null", "-e", "/dev/null"]
        if job.is_held:
            argv.append("-h")
        argv.append(job.script)
        # No job waits for one of several elements on either of the two.
        after = tuple(map(self._awaited, job.after)) or tuple(array_of(other) for other in job.after_first_of[:1])
        if after or job.delay_s:
            argv = ["/bin/sh", "-c", SUBMIT_LATER, "hpcsweep", str(job.delay_s), self.after_array, *after, "--", *argv[1:]]
        return Command(
            argv=tuple(argv),
            env_drop=("*",) if job.is_env_clean else _SUBMIT_DROPPED,
            env_keep=(*_KEPT, *(_CLEAN_KEPT if job.is_env_clean else ())),
            cwd=job.chdir,  # PBS_O_WORKDIR
            timeout_s=_SUBMIT_TIMEOUT_S,
            keeps_lock=True,
        )

    def _first_words(self) -> list[str]:
        return []

    def _array_words(self, job: ArrayJob) -> list[str]:
        raise NotImplementedError

    def _awaited(self, job: str) -> str:
        """The id that a job can wait for."""
        return job

    def parse_submit(self, completed: Completed) -> Submitted | Refused | Uncertain:
        """``39[].pbs`` on standard output; or the reason why not."""
        return read_submission(completed, self.refusals)

    def cancel_pending_cmds(self, tag: str, job: str) -> list[Command]:
        """Of the pending alone: whatever has started meanwhile goes on."""
        return [self._tell(f"{self.check}shift\n{CANCEL_PENDING}", tag, job)]

    def hold_cmds(self, tag: str, job: str, action: Literal["hold", "release"]) -> list[Command]:
        """``qhold`` or ``qrls``, of a whole array: single subjobs cannot be held on PBS."""
        return [self._tell(f'{self.check}tell {"qhold" if action == "hold" else "qrls"} "$2"\n', tag, job)]

    def limits_cmd(self) -> Command | None:
        """``qstat -B -f``."""
        return query("qstat", "-B", "-f")

    def queues_cmds(self) -> list[Command]:
        """``qstat -Q -f``, ``qstat -B -f`` for the default, and ``pbsnodes -a`` for the GPUs, where it is installed."""
        nodes = query("/bin/sh", "-c", "command -v pbsnodes >/dev/null || exit 0; exec pbsnodes -a")
        return [query("qstat", "-Q", "-f"), query("qstat", "-B", "-f"), nodes]

    def parse_queues(self, completed: Sequence[Completed]) -> list[Queue] | NoAnswer:
        """``Queue: short``, with its fields below it."""
        return read_queues(completed)

    def version_cmd(self) -> Command:
        """The version of the programs here, which ask nobody for it."""
        return query("qstat", "--version")

    def submit_limits_cmds(self, user: str, cluster: str) -> list[Command]:
        """None: limits on what is queued are learned from refusals."""
        del user, cluster
        return []

    def parse_submit_limits(self, completed: Sequence[Completed]) -> SubmitLimits | NoAnswer:
        """Never asked."""
        del completed
        return SubmitLimits()

    def queued_cmd(self, user: str) -> Command | None:
        """None: nobody says what counts."""
        del user
        return None

    def parse_queued(self, completed: Completed) -> list[Queued] | NoAnswer:
        """Never asked."""
        del completed
        return []

    def _tell(self, script: str, tag: str, job: str, *words: str) -> Command:
        """A fixed script with its arguments: what is told is never part of the script's text."""
        return Command(
            argv=("/bin/sh", "-c", TELL + script, "hpcsweep", tag, job, *words),
            env_drop=_QUERY_DROPPED,
            env_keep=_KEPT,
            timeout_s=_TELL_TIMEOUT_S,
        )


def query(*argv: str) -> Command:
    """A question to the server, or to its programs."""
    return Command(argv=argv, env_drop=_QUERY_DROPPED, env_keep=_KEPT, timeout_s=_QUERY_TIMEOUT_S)


def array_of(element: str) -> str:
    """``39[3].pbs`` -> ``39[].pbs``: neither of the two lets a job wait for one of several elements."""
    return re.sub(r"\[[0-9]+\]", "[]", element, count=1)


def subjob_ids(job: str, ranges: Sequence[str]) -> list[str]:
    """``39[].pbs`` and ``["3", "10-20"]`` -> ``39[3]``, ``39[10-20]``."""
    number = job.partition("[")[0]
    return [f"{number}[{part}]" for part in ranges]
