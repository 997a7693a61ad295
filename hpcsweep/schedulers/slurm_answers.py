"""What Slurm's commands print, read. Pure: text in, values out; no input raises."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from typing import Literal

from hpcsweep.model import Completed
from hpcsweep.schedulers.base import MOST_ELEMENTS, Limits, NoAnswer, Refused, Seen, Submitted, Uncertain
from hpcsweep.states import State

_LIVE_STATES: dict[str, State] = {
    "PENDING": State.PENDING,
    "CONFIGURING": State.PENDING,  # its nodes are being started: the script has not
    "POWER_UP_NODE": State.PENDING,
    "REQUEUED": State.PENDING,
    "REQUEUE_FED": State.PENDING,
    "REQUEUE_HOLD": State.PENDING,
    "RESV_DEL_HOLD": State.PENDING,
    "SPECIAL_EXIT": State.PENDING,  # requeued and held
    "RUNNING": State.RUNNING,
    "COMPLETING": State.RUNNING,  # its processes may still write
    "RESIZING": State.RUNNING,
    "SIGNALING": State.RUNNING,
    "STAGE_OUT": State.RUNNING,
    "SUSPENDED": State.SUSPENDED,
    "STOPPED": State.SUSPENDED,
}
_HELD_STATES = frozenset({"REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
_ENDED_STATES: dict[str, State] = {
    "COMPLETED": State.DONE,
    "FAILED": State.FAILED,
    "TIMEOUT": State.TIMEOUT,
    "DEADLINE": State.TIMEOUT,
    "OUT_OF_MEMORY": State.OOM,
    "NODE_FAIL": State.NODE_FAIL,
    "BOOT_FAIL": State.NODE_FAIL,
    "PREEMPTED": State.PREEMPTED,
    "CANCELLED": State.CANCELLED,
}
_NOT_ENDED = frozenset({*_LIVE_STATES, "REVOKED"})  # REVOKED: a sister cluster runs it

# Reasons that waiting does not cure.
_BLOCKED = re.compile(
    r"DependencyNeverSatisfied|BadConstraints|PartitionTimeLimit|PartitionNodeLimit|AccountNotAllowed|QOSNotAllowed"
    r"|InvalidAccount|InvalidQOS|ReservationDeleted|(Assoc|QOS)Max\w*Per(Job|Node)(Limit)?|QOSMin\w+"
)
_HELD = re.compile(r"held|JobHoldMaxRequeue", re.IGNORECASE)

# The request may have been received, or its answer lost: the submission may exist.
_LOST_CONTACT = re.compile(
    r"timed out|unable to contact|connection (refused|reset|failure)|connect failure|zero bytes|communication"
    r"|unexpected message|message (send|receive) failure|message length|header lengths|i/o error|authentication|munge|credential"
    r"|standby|unspecified error|broken pipe|connection abort|not connected|no route to host|network is unreachable",
    re.IGNORECASE,
)
# Nobody was asked: no slurm.conf here, and none to be had from slurmctld.
_NO_CONFIGURATION = re.compile(r"establish a configuration source|DNS SRV lookup failed")
# sbatch's own words for a no: it says so after the controller did, or before it asked.
_SAID_NO = re.compile(
    r"^sbatch: (error|fatal):|unrecognized option|requires an argument|ambiguous|^slurm_|Usage: sbatch", re.MULTILINE
)
_OVER_SUBMIT_LIMIT = r"MaxSubmit|GrpSubmit"
_OVER_SOME_LIMIT = r"accounting/QOS policy"  # what an older Slurm says, for whichever limit it is
_NO_SUCH_ARRAY = r"job array"
# Words -> what to do, whether waiting cures it. The first that fits.
_REFUSALS: tuple[tuple[str, str, bool], ...] = (
    (
        _OVER_SUBMIT_LIMIT,
        "the site limits how many jobs may be queued; `hpcsweep advance` goes on when some have ended",
        True,
    ),
    (
        # A limit has its name on a line of its own: this one is of each job, whatever is queued.
        r"(Assoc|QOS)(Max|Min|Grp)\w+",
        "a job asks for more than your account or qos may have (`sacctmgr show assoc`, `sacctmgr show qos`): lower resources",
        False,
    ),
    (
        _OVER_SOME_LIMIT,
        "ask the site for its limits (`sacctmgr show assoc`, `sacctmgr show qos`): jobs queued, size and time of a job",
        True,
    ),
    (
        r"Resource temporarily unavailable|maximum number of jobs|partition not available",
        "the same command may work later",
        True,
    ),
    (r"invalid partition|Invalid partition", "`sinfo -s` lists the partitions; set resources.partition", False),
    (
        r"Invalid account|account/partition",
        "`sacctmgr show assoc user=$USER` lists your accounts; set resources.account",
        False,
    ),
    (r"[Ii]nvalid qos", "`sacctmgr show assoc user=$USER format=account,qos` lists yours; set resources.qos", False),
    (
        r"[Mm]emory specification",
        "no node has so much memory: lower resources.memory (`sinfo -o '%P %m'` lists it, in MB)",
        False,
    ),
    (r"time limit|--time", "lower resources.time (`sinfo -o '%P %l'` lists the partitions' limits)", False),
    (r"[Gg]eneric resource|gres|GRES", "`sinfo -o '%P %G'` lists the GPUs; look at resources.gpus and gpu_type", False),
    (
        r"node configuration",
        "no node has all that is asked for: look at resources (`sinfo -N -o '%P %c %m %G'` lists nodes)",
        False,
    ),
    (r"node count|[Nn]ode name", "look at resources.nodes (`sinfo` lists the nodes)", False),
    (r"feature", "`sinfo -o '%P %f'` lists the features; look at slurm.constraint", False),
    (_NO_SUCH_ARRAY, "the site's MaxArraySize is smaller than it said, or arrays are off: try array.mode: jobs", False),
    (r"unrecognized option|ambiguous", "this Slurm does not know an option under `slurm:`", False),
    (r"reservation", "`scontrol show reservation` lists them; look at slurm.reservation", False),
    (r"[Dd]ependency", "the job it should wait for is not there; look at --after", False),
)


def read_submission(completed: Completed) -> Submitted | Refused | Uncertain:
    """What came of an sbatch: an id counts, whatever the exit code and standard error say."""
    said = _lines(completed.stderr)
    for line in reversed(completed.stdout.splitlines()):
        match = re.fullmatch(
            r"(?:Submitted batch job )?([0-9]+)(?:;([\w.-]+))?(?: on cluster ([\w.-]+))?", line.strip(), re.ASCII
        )
        if match:
            return Submitted(job=match[1], cluster=match[2] or match[3], warning="\n".join(said))
    if completed.returncode is None:
        return Uncertain(message=f"sbatch gave no answer within {completed.elapsed_s:.0f} s")
    told = "printed no job's id" if completed.stdout.strip() else "said nothing"
    text = "\n".join(said) or f"sbatch ended with exit code {completed.returncode} and {told}"
    if completed.returncode == 1 and _NO_CONFIGURATION.search(text):
        hint = "is this a login node, and does SLURM_CONF point to a file? `--scheduler local` runs on this machine"
        return Refused(message=text, hint=hint, curable=True, is_unreachable=True)
    if completed.returncode <= 0 or completed.returncode > 255 or _LOST_CONTACT.search(text) or not _SAID_NO.search(text):
        return Uncertain(message=text)
    for words, hint, is_curable in _REFUSALS:
        if re.search(words, text):
            return Refused(message=text, hint=hint, curable=is_curable, limit=_limit_of(words))
    return Refused(message=text)


def _limit_of(words: str) -> Literal["", "queued", "array size"]:
    """Which limit it is that fewer elements may keep."""
    if words in (_OVER_SUBMIT_LIMIT, _OVER_SOME_LIMIT):
        return "queued"
    return "array size" if words == _NO_SUCH_ARRAY else ""


def read_squeue(completed: Completed) -> list[Seen] | NoAnswer:
    """Lines of ``%i|%F|%K|%T|%j|%M|%N|%r``.

    A line that should be one of these and is not makes all of it no answer: what is missing from a list of the living
    counts as ended.
    """
    if problem := failure_of("squeue", completed):
        return problem
    seen: list[Seen] = []
    for line in _lines(completed.stdout):
        if "|" not in line:
            continue  # a site's greeting, `CLUSTER: name`
        fields = line.split("|", 7)
        if len(fields) < 8 or not re.fullmatch(r"[0-9]+", fields[1], re.ASCII):
            return NoAnswer(message=f"squeue printed a line that cannot be read: {line[:200]}")
        _, job, index, word, tag, elapsed, node, reason = fields
        if word in _ENDED_STATES:
            continue
        try:
            elements = None if index in {"N/A", ""} else parse_elements(index)
        except ValueError:
            return NoAnswer(message=f"squeue printed element numbers that cannot be read: {line[:200]}")
        state = _LIVE_STATES.get(word, State.UNKNOWN)
        is_pending = state is State.PENDING
        reasons = [part.strip() for part in reason.split(",")]
        seen.append(
            Seen(
                tag=tag,
                job=job,
                elements=elements,
                state=state,
                raw=word,
                reason="" if reason == "None" else reason,
                node=node,
                elapsed_s=parse_elapsed(elapsed) if not is_pending else None,
                is_held=is_pending and (word in _HELD_STATES or all(_HELD.search(part) for part in reasons)),
                is_blocked=is_pending and any(_BLOCKED.fullmatch(part) for part in reasons),
            )
        )
    return seen


def read_sacct(completed: Completed) -> list[Seen] | NoAnswer:
    """Lines of ``JobID|JobName|State|ExitCode|ElapsedRaw|NodeList``. What has not ended, or cannot be read, is left out."""
    if problem := failure_of("sacct", completed):
        return problem
    return [seen for line in _lines(completed.stdout) if (seen := _read_sacct_line(line)) is not None]


def _read_sacct_line(line: str) -> Seen | None:
    fields = line.split("|", 5)
    match = re.fullmatch(r"([0-9]+)(?:_(\[[^\]]+\]|[0-9]+))?", fields[0], re.ASCII)
    if len(fields) < 6 or match is None:
        return None
    _, tag, raw, exit_text, elapsed, nodes = fields
    word = raw.split(" ", 1)[0].rstrip("+")
    if word in _NOT_ENDED:
        return None
    try:
        elements = None if match[2] is None else parse_elements(match[2])
    except ValueError:
        return None
    state = _ENDED_STATES.get(word, State.UNKNOWN)
    node = "" if nodes == "None assigned" else nodes
    exit_code, signal = _parse_exit(exit_text, state)
    return Seen(
        tag=tag,
        job=match[1],
        elements=elements,
        state=state,
        raw=raw,
        reason=raw if raw != word else "",
        node=node,
        exit_code=exit_code,
        signal=signal,
        elapsed_s=float(elapsed) if re.fullmatch(r"[0-9]{1,12}", elapsed, re.ASCII) else None,
        # sbatch for more memory than any node has, exit 1, leaves a FAILED record: never an array's, never on a node.
        is_refusal=state is State.FAILED and elements is None and not node,
    )


def read_config(completed: Completed) -> Limits | NoAnswer:
    """``MaxArraySize            = 10001``; ``KillWait                = 3 sec``; ``max_array_tasks`` of SchedulerParameters; ..."""
    if problem := failure_of("scontrol", completed):
        return problem
    table = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", completed.stdout, re.MULTILINE))
    size = _leading_int(table.get("MaxArraySize", ""))
    if size is not None:
        # The highest index is one less; with arrays from 0 it is the count. 0: no arrays at this site.
        size = max(1, size)
        if match := re.search(r"\bmax_array_tasks=([0-9]{1,9})\b", table.get("SchedulerParameters", ""), re.ASCII):
            size = max(1, min(size, int(match[1])))
    private = set(re.findall(r"\w+", table.get("PrivateData", "").lower()))
    return Limits(
        max_array_size=size,
        kill_wait_s=_leading_int(table.get("KillWait", "")),
        max_job_count=_leading_int(table.get("MaxJobCount", "")),
        cluster=table.get("ClusterName") or None,
        hides_jobs=bool(private & {"jobs", "all"}) if private else None,
    )


def parse_elements(text: str) -> range | tuple[int, ...]:
    """``11-37,39``, ``[17-37%6]``, ``0-30:2`` -> the numbers; one stretch stays a range, so that 10,000 cost nothing.

    Raises:
        ValueError: for anything else, a list that was cut short (``1,3,...``) among it.
    """
    parts = [_parse_stretch(part) for part in text.removeprefix("[").removesuffix("]").split("%", 1)[0].split(",")]
    if len(parts) == 1:
        return parts[0]
    if sum(map(len, parts)) > MOST_ELEMENTS:
        raise ValueError("more elements than an array can have")
    return tuple(chain.from_iterable(parts))


def _parse_stretch(text: str) -> range:
    match = re.fullmatch(r"([0-9]{1,7})(?:-([0-9]{1,7})(?::([0-9]{1,7}))?)?", text, re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is no range of elements")
    first = int(match[1])
    stretch = range(first, int(match[2] or first) + 1, int(match[3] or 1))
    if not stretch:
        raise ValueError(f"{text!r} runs backwards")
    return stretch


def parse_elapsed(text: str) -> float | None:
    """``1-02:03:04``, ``2:03:04``, ``0:07`` -> seconds; other words (``INVALID``) -> None."""
    match = re.fullmatch(r"(?:([0-9]{1,6})-)?(?:([0-9]{1,6}):)?([0-9]{1,6}):([0-9]{1,6})", text, re.ASCII)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _parse_exit(text: str, state: State) -> tuple[int | None, int | None]:
    """``7:0`` -> (7, None); ``0:9`` -> (None, 9). Only what says something: 0:125 is Slurm's own mark for out of memory."""
    match = re.fullmatch(r"([0-9]{1,6}):([0-9]{1,6})", text, re.ASCII)
    if match is None:
        return None, None
    code, signal = int(match[1]), int(match[2])
    if 0 < signal <= 64:
        return None, signal
    return (code, None) if state in {State.DONE, State.FAILED} and not signal else (None, None)


def _leading_int(text: str) -> int | None:
    match = re.match(r"[0-9]{1,9}\b", text, re.ASCII)
    return int(match[0]) if match else None


def failure_of(program: str, completed: Completed) -> NoAnswer | None:
    """Why it is no answer, if it is none. An exit code of 0 with a lost connection has been seen in federations."""
    if completed.returncode is None:
        return NoAnswer(message=f"{program} gave no answer within {completed.elapsed_s:.0f} s")
    said = _lines(completed.stderr)
    is_lost = any(re.search(r"error", line, re.IGNORECASE) and _LOST_CONTACT.search(line) for line in said)
    if completed.returncode == 0 and not is_lost and "accounting storage is disabled" not in completed.stderr:
        return None
    return NoAnswer(message=_join(said) or f"{program} ended with exit code {completed.returncode} and said nothing")


def _join(lines: Iterable[str]) -> str:
    return "; ".join(lines)[:500]


def _lines(text: str) -> list[str]:
    # Not splitlines: it also breaks at characters that a reason or a name may hold.
    return [line.strip() for line in text.split("\n") if line.strip()]
