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
from hpcsweep.schedulers.qsub_answers import failure_of, group_elements, lines_of, nodes_of, seconds_of
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
_ID = re.compile(r"(?P<number>[0-9]+)(?:\[(?P<index>[0-9]+)\])?(?P<server>\..*)?", re.ASCII)
# 280[].torque              long             user                0 R batch
_ARRAY_LINE = re.compile(r"(?P<number>[0-9]+)\[\]\S*\s+(?P<name>\S+)\s.*\s(?P<state>[A-Z])\s+\S+", re.ASCII)

# Torque's administrator guide, "Job exit status": what MOM ended it for.
_KILLED_FOR: dict[int, tuple[State, str]] = {
    -10: (State.OOM, "mem"),
    -11: (State.TIMEOUT, "walltime"),
    -12: (State.TIMEOUT, "cput"),
}
_BY_A_SIGNAL = 256
_BY_ITSELF = 128
_SIGTERM = 15


@dataclass(frozen=True, kw_only=True)
class _Listed:
    """``jobs``: single jobs and subjobs by their ids; ``open_arrays``: number -> tag and id of those that are not over."""

    jobs: Mapping[str, dict[str, str]]
    open_arrays: Mapping[str, tuple[str, str]]


def read_qstat(completed: Completed) -> list[Seen] | NoAnswer:
    """All that is live, subjobs that are still to be made among it."""
    listed = _read(completed)
    if isinstance(listed, NoAnswer):
        return listed
    groups: dict[tuple[object, ...], list[int]] = {}
    seen: list[Seen] = []
    highest: dict[str, int] = {}  # number of the array -> its highest subjob
    for identifier, fields in listed.jobs.items():
        match = _ID.fullmatch(identifier)
        if match is None:
            continue
        if match["index"] is None:
            if fields["job_state"] != _ENDED:
                seen.append(_read_live(fields["Job_Name"], identifier, fields))
            continue
        index, tag = int(match["index"]), _tag_of(fields["Job_Name"], match["index"])
        job = f"{match['number']}[]{match['server'] or ''}"
        highest[match["number"]] = max(index, highest.get(match["number"], -1))
        if fields["job_state"] != _ENDED:
            found = _read_live(tag, job, fields)
            key = (found.tag, found.job, found.state, found.raw, found.reason, found.node, found.elapsed_s)
            groups.setdefault((*key, found.is_blocked, found.is_held), []).append(index)
    names = ("tag", "job", "state", "raw", "reason", "node", "elapsed_s", "is_blocked", "is_held")
    for facts, numbers in groups.items():
        seen.append(Seen(**dict(zip(names, facts, strict=True)), elements=group_elements(numbers)))  # type: ignore[arg-type]
    for number, (tag, job) in listed.open_arrays.items():
        to_come = up_to_the_end(highest.get(number, -1) + 1)
        why = "Torque makes the subjobs of an array little by little"
        seen.append(Seen(tag=tag, job=job, elements=to_come, state=State.PENDING, raw="", reason=why))
    return seen


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
    seen = []
    for identifier, fields in listed.jobs.items():
        match = _ID.fullmatch(identifier)
        if match is None or fields["job_state"] != _ENDED:
            continue
        state, reason, exit_code, signal = _read_end(fields)
        index = match["index"]
        seen.append(
            Seen(
                tag=fields["Job_Name"] if index is None else _tag_of(fields["Job_Name"], index),
                job=identifier if index is None else f"{match['number']}[]{match['server'] or ''}",
                elements=None if index is None else range(int(index), int(index) + 1),
                state=state,
                raw=" ".join(filter(None, (_ENDED, fields.get("exit_status")))),
                reason=reason,
                node=nodes_of(fields.get("exec_host", "")),
                exit_code=exit_code,
                signal=signal,
                elapsed_s=seconds_of(fields.get("walltime", "")),
            )
        )
    return seen


def _read_end(fields: Mapping[str, str]) -> tuple[State, str, int | None, int | None]:
    """State, reason, exit code, signal."""
    text = fields.get("exit_status")
    code = int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,6}", text, re.ASCII) else None
    comment = fields.get("comment", "")
    if code is None or (code == _BY_A_SIGNAL + _SIGTERM and "start_time" not in fields):
        is_by_dependency = "dependency" in comment
        return State.CANCELLED, comment if is_by_dependency else "deleted before it started", None, None
    if code in _KILLED_FOR:
        state, resource = _KILLED_FOR[code]
        return state, f"exceeded its {resource}", None, None
    if code < 0:
        return State.FAILED, f"Torque could not run it (exit_status {code}): {comment}", None, None
    if code > _BY_A_SIGNAL:
        signal = code - _BY_A_SIGNAL
        return (State.CANCELLED, "deleted", None, signal) if signal == _SIGTERM else (State.FAILED, "", None, signal)
    if _BY_ITSELF < code <= _BY_ITSELF + 64:
        return State.FAILED, "", None, code - _BY_ITSELF
    return (State.DONE if code == 0 else State.FAILED), "", code, None


def _tag_of(name: str, index: str) -> str:
    """A subjob's name without the index that Torque appends: ``mix-3`` -> ``mix``."""
    return name.removesuffix(f"-{index}")


def _read(completed: Completed) -> _Listed | NoAnswer:
    """``<Job><Job_Id>273[0].torque</Job_Id>...</Job>`` and, behind a line of ours, ``273[].torque  mix  user  0 C batch``."""
    if problem := failure_of("qstat", completed):
        return problem
    details, _, arrays = completed.stdout.partition(ARRAYS_FOLLOW)
    jobs: dict[str, dict[str, str]] = {}
    for match in _JOB.finditer(details):
        fields = {name: html.unescape(value) for name, value in _FIELD.findall(match[1])}
        if not {"Job_Id", "Job_Name", "job_state"} <= fields.keys():
            return NoAnswer(message=f"qstat printed a job that cannot be read: {match[0][:200]}")
        if walltime := _WALLTIME.search(match[1]):
            fields["walltime"] = walltime[1]
        jobs[fields["Job_Id"]] = fields
    if details.strip() and not jobs and "<Data>" not in details:
        return NoAnswer(message=f"qstat printed what cannot be read: {details.strip()[:200]}")
    return _Listed(jobs=jobs, open_arrays=_open_arrays(lines_of(arrays)))


def _open_arrays(lines: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Of the arrays that were asked for, those that are not over: number -> tag and id. A list shows a part of a long name."""
    asked = [line.removeprefix(ASKED).split() for line in lines if line.startswith(ASKED)]
    tags = {job.partition("[]")[0]: (tag, job) for job, tag in asked if "[]" in job}
    found = {}
    for line in lines:
        match = _ARRAY_LINE.fullmatch(line)
        if match and match["state"] != _ENDED and match["number"] in tags:
            tag, job = tags[match["number"]]
            shown = match["name"].strip(".")
            if tag.startswith(shown) or tag.endswith(shown):
                found[match["number"]] = tag, job
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
    )
