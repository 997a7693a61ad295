"""What OpenPBS's and PBS Pro's qstat prints, read. Pure: text in, values out; no input raises.

The plain form of ``qstat -f`` is read, of all releases alike: ``-F json`` prints of several ids only the first (master), is no
JSON at all when any job's arguments have a backslash (23.06.06), and is not there before PBS Pro 14.

What a subjob that has not run shows is its array's: state, exit code, times. Only a record with ``array_index`` (or
``run_count``) is its own; qdel of an array takes these away again from subjobs that had ended before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hpcsweep.model import Completed
from hpcsweep.schedulers.base import Limits, NoAnswer, Seen, Used
from hpcsweep.schedulers.qsub_answers import (
    DELETED,
    End,
    failure_of,
    merge_elements,
    nodes_of,
    parse_integer,
    parse_job_id,
    read_exit_status,
    seconds_of,
)
from hpcsweep.states import State

DEFAULT_ARRAY_SIZE = 10_000  # man pbs_server_attributes: max_array_size
KILL_DELAY_S = 10  # man pbs_queue_attributes: kill_delay

_LIVE_STATES: dict[str, State] = {
    "Q": State.PENDING,
    "H": State.PENDING,
    "W": State.PENDING,  # before its start time
    "T": State.PENDING,  # on its way to another server
    "M": State.PENDING,  # moved there
    "R": State.RUNNING,
    "E": State.RUNNING,  # its processes may still write
    "S": State.SUSPENDED,
    "U": State.SUSPENDED,  # the workstation's user is back
}
_ENDED = frozenset("XF")
_HELD_BY_SOMEBODY = re.compile(r"[uop]")  # `s`: by the server, for a dependency

_FIELDS = (
    "Job_Name|job_state|substate|comment|Exit_status|array_index|run_count|exec_host|Hold_Types|depend|max_run_subjobs"
    r"|resources_used\.(?:walltime|cput|mem|ncpus)"
)
# Long values go on in the next lines, behind a tab.
_LINE = re.compile(rf"^(?:Job Id: (?P<id>\S+)|    (?P<name>{_FIELDS}) = (?P<value>.*(?:\n\t.*)*))$", re.MULTILINE)

# pbs's job.h: what MOM ended it for.
_KILLED_FOR: dict[int, tuple[State, str]] = {
    -29: (State.TIMEOUT, "walltime"),
    -28: (State.TIMEOUT, "cput"),
    -27: (State.OOM, "mem"),
    -26: (State.OOM, "vmem"),
}


def read_qstat(completed: Completed) -> list[Seen] | NoAnswer:
    """All that is live of ``qstat -t -f``; what is not there any more is named on standard error alone."""
    jobs = _read_jobs(completed)
    return jobs if isinstance(jobs, NoAnswer) else merge_elements(_live(jobs))


def _live(jobs: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[Seen, int | None]]:
    for identifier, fields in jobs.items():
        named = parse_job_id(identifier)
        if named is not None and not named.is_array and fields["job_state"] not in _ENDED:
            yield _read_live(named.job, fields, jobs.get(named.job, fields)), named.index


def _read_live(job: str, fields: Mapping[str, str], parent: Mapping[str, str]) -> Seen:
    word = fields["job_state"]
    state = _LIVE_STATES.get(word, State.UNKNOWN)
    is_pending = state is State.PENDING
    comment = fields.get("comment", "")
    return Seen(
        tag=fields["Job_Name"],
        job=job,
        elements=None,
        state=state,
        raw=word,
        reason=_why_it_waits(word, comment, parent) if is_pending else "",
        node=nodes_of(fields.get("exec_host", "")),
        elapsed_s=None if is_pending else seconds_of(fields.get("resources_used.walltime", "")),
        is_blocked=is_pending and comment.startswith("Can Never Run"),
        # A held array's subjobs are Q, and say nothing of the hold.
        is_held=is_pending and "H" in (word, parent["job_state"]) and bool(_HELD_BY_SOMEBODY.search(_holds(parent))),
    )


def _holds(fields: Mapping[str, str]) -> str:
    return fields.get("Hold_Types", "n")


def _why_it_waits(word: str, comment: str, parent: Mapping[str, str]) -> str:
    """The server's comment, where it is one on waiting: a subjob shows that its array has begun."""
    if parent.get("job_state") == "H" or word == "H":
        return "Held" if _HELD_BY_SOMEBODY.search(_holds(parent)) else f"Dependency ({parent.get('depend', '')})"
    if word == "W":
        return "waits for its start time"
    if comment and not comment.startswith(("Job Array Began", "Job run at", "Subjob finished")):
        return comment
    most = parent.get("max_run_subjobs")
    return f"max_run_subjobs={most}" if most else ""


def read_history(completed: Completed) -> list[Seen] | NoAnswer:
    """All that has ended of ``qstat -x -t -f``, and how."""
    jobs = _read_jobs(completed)
    return jobs if isinstance(jobs, NoAnswer) else merge_elements(_ended(jobs))


def _ended(jobs: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[Seen, int | None]]:
    for identifier, fields in jobs.items():
        named = parse_job_id(identifier)
        if named is None or named.is_array or fields["job_state"] not in _ENDED:
            continue  # how an array ended says nothing of its subjobs
        is_own = named.index is None or "array_index" in fields or "run_count" in fields
        state, reason, exit_code, signal = _read_end(fields) if is_own else _DELETED
        seen = Seen(
            tag=fields["Job_Name"],
            job=named.job,
            elements=None,
            state=state,
            raw="ended",
            reason=reason,
            node=nodes_of(fields.get("exec_host", "")),
            exit_code=exit_code,
            signal=signal,
            elapsed_s=seconds_of(fields.get("resources_used.walltime", "")) if is_own else None,
        )
        yield seen, named.index


def read_usage(completed: Completed) -> list[Used] | NoAnswer:
    """What those used that have ended of ``qstat -x -t -f``. MOM looks now and then: 0 is what it never looked at."""
    jobs = _read_jobs(completed)
    if isinstance(jobs, NoAnswer):
        return jobs
    used = []
    for identifier, fields in jobs.items():
        named = parse_job_id(identifier)
        if named is None or named.is_array or fields["job_state"] not in _ENDED or "resources_used.walltime" not in fields:
            continue
        size = re.fullmatch(r"([0-9]{1,15})(b|kb|mb|gb)?", fields.get("resources_used.mem", ""), re.ASCII)
        used.append(
            Used(
                job=identifier,
                tag=fields["Job_Name"],
                source="qstat",
                elapsed_s=seconds_of(fields["resources_used.walltime"]),
                cpu_s=seconds_of(fields.get("resources_used.cput", "")) or None,
                peak_bytes=int(size[1]) * _UNITS[size[2] or "b"] or None if size else None,
                cpus=parse_integer(fields.get("resources_used.ncpus")) or None,
            )
        )
    return used


_UNITS = {"b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3}
_DELETED: End = (State.CANCELLED, DELETED, None, None)


def _read_end(fields: Mapping[str, str]) -> End:
    """How a job ended, by its Exit_status; the comment has the words for it."""
    code = parse_integer(fields.get("Exit_status"))
    if code is not None:
        return read_exit_status(code, _KILLED_FOR, fields.get("comment", ""))
    if "depend" in fields and "s" in _holds(fields):
        return State.CANCELLED, f"what it waited for cannot come any more ({fields['depend']}): PBS has deleted it", None, None
    return _DELETED


def _read_jobs(completed: Completed) -> dict[str, dict[str, str]] | NoAnswer:
    """Id -> the fields that are looked at, of ``Job Id: 39[3].pbs`` and the lines below it."""
    if problem := failure_of("qstat", completed):
        return problem
    jobs: dict[str, dict[str, str]] = {}
    fields: dict[str, str] = {}
    for identifier, name, value in _lines(completed.stdout):
        if identifier:
            fields = jobs[identifier] = {}
        else:
            fields.setdefault(name, value)  # a value with line breaks of its own may look like a field that comes later
    broken = next(
        (identifier for identifier, known in jobs.items() if "job_state" not in known or "Job_Name" not in known), None
    )
    if broken is not None or (completed.stdout.strip() and not jobs):
        return NoAnswer(message=f"qstat printed what cannot be read: {broken or completed.stdout.strip()[:200]}")
    return jobs


def _lines(text: str) -> Iterator[tuple[str, str, str]]:
    for match in _LINE.finditer(text):
        yield match["id"] or "", match["name"] or "", (match["value"] or "").replace("\n\t", "")


def read_server(completed: Completed) -> Limits | NoAnswer:
    """``    max_array_size = 10000`` of ``qstat -B -f``."""
    if problem := failure_of("qstat", completed):
        return problem
    table = dict(re.findall(r"^    (\w+) = (.*?)\s*$", completed.stdout, re.MULTILINE))
    return Limits(
        max_array_size=max(1, parse_integer(table.get("max_array_size")) or DEFAULT_ARRAY_SIZE),
        kill_wait_s=KILL_DELAY_S,
        hides_jobs=table.get("query_other_jobs") == "False" if table else None,
    )
