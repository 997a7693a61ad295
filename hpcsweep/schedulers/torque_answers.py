"""What Torque's qstat prints, read. Pure: text in, values out; no input raises.

Of an array ``qstat -t -f -x ID[]`` prints the subjobs and not the array; without ``-t`` the id is ignored, and everything on the
server is listed, arrays as one line. Subjobs are made in the background, at most 300 that wait at a time: what has a higher
number than all that are listed, of an array that is not over, is still to come.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpcsweep.model import Completed
from hpcsweep.schedulers.base import Limits, NoAnswer, Seen, up_to_the_end
from hpcsweep.schedulers.qsub_answers import (
    DELETED,
    End,
    JobId,
    failure_of,
    lines_of,
    merge_elements,
    nodes_of,
    parse_integer,
    parse_job_id,
    read_exit_status,
    seconds_of,
)
from hpcsweep.states import State

DEFAULT_ARRAY_SIZE = 10_000
KILL_DELAY_S = 2  # Torque's administrator guide: kill_delay

ARRAYS_FOLLOW = "hpcsweep: arrays"
"""The line between the two lists that are asked for. Below it, and above the second, ``ASKED ID TAG``: what was asked for."""

ASKED = "hpcsweep: asked"

_LIVE_STATES: dict[str, State] = {
    "Q": State.PENDING,
    "H": State.PENDING,
    "W": State.PENDING,
    "T": State.PENDING,
    "R": State.RUNNING,
    "E": State.RUNNING,
    "S": State.SUSPENDED,
}
_ENDED = "C"
_HOLDS = {
    "l": "slot limit of the array",
    "s": "Dependency",
    "u": "Held",
    "o": "Held by an operator",
    "p": "Held by the manager",
}
_HELD_BY_SOMEBODY = re.compile(r"[uop]")

_JOB = re.compile(r"<Job>(.*?)</Job>", re.DOTALL)
_FIELD = re.compile(
    r"<(Job_Id|Job_Name|job_state|Hold_Types|comment|exit_status|exec_host|start_time|depend|total_runtime)>(.*?)</\1>",
    re.DOTALL,
)
_WALLTIME = re.compile(r"<resources_used>.*?<walltime>(.*?)</walltime>.*?</resources_used>", re.DOTALL)
# 280[].torque              long             user                0 R batch
_ARRAY_LINE = re.compile(r"(?P<number>[0-9]+)\[\]\S*\s+(?P<name>\S+)\s.*\s(?P<state>[A-Z])\s+\S+", re.ASCII)

# Torque's administrator guide, "Job exit status": what MOM ended it for.
_KILLED_FOR: dict[int, tuple[State, str]] = {
    -10: (State.OOM, "mem"),
    -11: (State.TIMEOUT, "walltime"),
    -12: (State.TIMEOUT, "cput"),
}
_DELETED = 271


@dataclass(frozen=True, kw_only=True)
class _Listed:
    """``jobs``: single jobs and subjobs, with their tags and fields; ``open_arrays``: tag and id of those that are not over."""

    jobs: Sequence[tuple[JobId, str, Mapping[str, str]]]
    open_arrays: Sequence[tuple[str, str]]


def read_qstat(completed: Completed) -> list[Seen] | NoAnswer:
    """All that is live, subjobs that are still to be made among it."""
    listed = _read(completed)
    if isinstance(listed, NoAnswer):
        return listed
    seen = merge_elements(
        (_read_live(tag, named.job, fields), named.index) for named, tag, fields in listed.jobs if _is_live(fields)
    )
    why = "Torque makes the subjobs of an array little by little"
    for tag, job in listed.open_arrays:
        highest = max((named.index for named, _, _ in listed.jobs if named.job == job and named.index is not None), default=-1)
        to_come = up_to_the_end(highest + 1)
        is_held = any(other.job == job and other.is_held for other in seen)
        seen.append(
            Seen(tag=tag, job=job, elements=to_come, state=State.PENDING, raw="", reason=why, is_to_come=True, is_held=is_held)
        )
    return seen


def _is_live(fields: Mapping[str, str]) -> bool:
    return fields["job_state"] != _ENDED


def _read_live(tag: str, job: str, fields: Mapping[str, str]) -> Seen:
    word = fields["job_state"]
    state = _LIVE_STATES.get(word, State.UNKNOWN)
    is_pending = state is State.PENDING
    holds = fields.get("Hold_Types", "n")
    return Seen(
        tag=tag,
        job=job,
        elements=None,
        state=state,
        raw=word,
        reason=_why_it_waits(word, holds, fields) if is_pending else "",
        node=nodes_of(fields.get("exec_host", "")),
        elapsed_s=None if is_pending else seconds_of(fields.get("walltime", "")),
        is_held=word == "H" and bool(_HELD_BY_SOMEBODY.search(holds)),
    )


def _why_it_waits(word: str, holds: str, fields: Mapping[str, str]) -> str:
    if word == "H":
        letter = next((letter for letter in "uopsl" if letter in holds), "")
        return _HOLDS.get(letter, holds) + (f" ({fields['depend']})" if letter == "s" and "depend" in fields else "")
    if word == "W":
        return "waits for its start time"
    return fields.get("comment", "")


def read_history(completed: Completed) -> list[Seen] | NoAnswer:
    """What has ended and is still listed (the server's keep_completed), and how."""
    listed = _read(completed)
    if isinstance(listed, NoAnswer):
        return listed
    return merge_elements(
        (_ended(tag, named.job, fields), named.index) for named, tag, fields in listed.jobs if not _is_live(fields)
    )


def _ended(tag: str, job: str, fields: Mapping[str, str]) -> Seen:
    state, reason, exit_code, signal = _read_end(fields)
    return Seen(
        tag=tag,
        job=job,
        elements=None,
        state=state,
        raw="ended",
        reason=reason,
        node=nodes_of(fields.get("exec_host", "")),
        exit_code=exit_code,
        signal=signal,
        elapsed_s=seconds_of(fields.get("walltime", "")),
    )


def _read_end(fields: Mapping[str, str]) -> End:
    """How a job ended, by its exit_status; one that never began has none, or that of its deletion."""
    code, comment = parse_integer(fields.get("exit_status")), fields.get("comment", "")
    if code is None or (code == _DELETED and "start_time" not in fields):
        return State.CANCELLED, comment if "dependency" in comment else DELETED, None, None
    return read_exit_status(code, _KILLED_FOR, comment)


def _tag_of(name: str, index: int | None) -> str:
    """A subjob's name without the index that Torque appends: ``mix-3`` -> ``mix``."""
    return name if index is None else name.removesuffix(f"-{index}")


def _read(completed: Completed) -> _Listed | NoAnswer:
    """``<Job><Job_Id>273[0].torque</Job_Id>...</Job>`` and, behind a line of ours, ``273[].torque  mix  user  0 C batch``."""
    if problem := failure_of("qstat", completed):
        return problem
    details, _, arrays = completed.stdout.partition(ARRAYS_FOLLOW)
    jobs: list[tuple[JobId, str, Mapping[str, str]]] = []
    for match in _JOB.finditer(details):
        fields = {name: html.unescape(value) for name, value in _FIELD.findall(match[1])}
        named = parse_job_id(fields.get("Job_Id", ""))
        if named is None or not {"Job_Name", "job_state"} <= fields.keys():
            return NoAnswer(message=f"qstat printed a job that cannot be read: {match[0][:200]}")
        if walltime := _WALLTIME.search(match[1]):
            fields["walltime"] = walltime[1]
        if not named.is_array:
            jobs.append((named, _tag_of(fields["Job_Name"], named.index), fields))
    if details.strip() and not jobs and "<Data>" not in details:
        return NoAnswer(message=f"qstat printed what cannot be read: {details.strip()[:200]}")
    return _Listed(jobs=jobs, open_arrays=_open_arrays(lines_of(arrays)))


def _open_arrays(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Tag and id of the arrays that were asked for and are not over. A list shows a part of a long name."""
    asked = [line.removeprefix(ASKED).split() for line in lines if line.startswith(ASKED)]
    tags = {job.partition("[]")[0]: (tag, job) for job, tag in asked if "[]" in job}
    found = []
    for match in map(_ARRAY_LINE.fullmatch, lines):
        if match and match["state"] != _ENDED and match["number"] in tags:
            tag, job = tags[match["number"]]
            shown = match["name"].strip(".")
            if tag.startswith(shown) or tag.endswith(shown):
                found.append((tag, job))
    return found


def read_server(completed: Completed) -> Limits | NoAnswer:
    """``    max_job_array_size = 1000`` of ``qstat -B -f``."""
    if problem := failure_of("qstat", completed):
        return problem
    table = dict(re.findall(r"^    (\w+) = (.*?)\s*$", completed.stdout, re.MULTILINE))

    def number(name: str) -> int | None:
        return int(table[name]) if re.fullmatch(r"[0-9]{1,9}", table.get(name, ""), re.ASCII) else None

    return Limits(
        max_array_size=max(1, number("max_job_array_size") or DEFAULT_ARRAY_SIZE),
        kill_wait_s=number("kill_delay") or KILL_DELAY_S,
        hides_jobs=table.get("query_other_jobs") == "False" if table else None,
        # Attributes that were never set are not printed: the server's defaults hold.
        nodes_may_submit=table.get("allow_node_submit") == "True" if table else None,
        keeps_ended_s=(number("keep_completed") or 0) if table else None,
    )
