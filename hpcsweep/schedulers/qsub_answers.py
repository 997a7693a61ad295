"""What qsub prints, on PBS and on Torque, read; and what both say when a query fails. Pure: text in, values out; no input raises."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from signal import SIGTERM
from typing import Literal

from hpcsweep.model import Completed
from hpcsweep.schedulers.base import NoAnswer, Refused, Seen, Submitted, Uncertain
from hpcsweep.states import State

_ID = re.compile(r"[0-9]+(\[\])?(\.[\w.-]+)?", re.ASCII)

# The client found nobody to ask: it says so before anything is handed over (rc 162, 160, 111, 33; PBS.md's transcripts).
_NOBODY_THERE = re.compile(
    r"Connection refused|cannot connect to server|could not connect to trqauthd|Unknown Host|[Cc]annot resolve", re.IGNORECASE
)
# The request may have been received, or its answer lost.
_LOST_CONTACT = re.compile(
    r"timed? ?out|End of File|broken pipe|connection reset|protocol (error|failure)|communication (error|failure)"
    r"|no response from|premature"
    r"|Unauthorized Request.*retry|errno=110\b|errno=104\b",
    re.IGNORECASE,
)
_SAID_NO = re.compile(r"^\[?qsub: |^usage: qsub|\"-lresource=\"|job array|submit error", re.MULTILINE | re.IGNORECASE)
# Slurm's own qsub, over sbatch (package slurm-wlm-torque).
_SLURMS_OWN = re.compile(r"sbatch: error|Unknown option: |/usr/bin/(qsub|qstat|qdel) line")

_UNKNOWN_JOB = re.compile(r"unknown job id|job has finished|nonexistent job id", re.IGNORECASE)
_NO_HISTORY = re.compile(r"histor", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Words that a qsub says no with, and what to do then."""

    words: str
    hint: str
    curable: bool = False
    limit: Literal["", "queued", "array size"] = ""


def read_submission(completed: Completed, refusals: Sequence[Refusal]) -> Submitted | Refused | Uncertain:
    """``39[].pbs`` on standard output: an id counts, whatever the exit code and standard error say."""
    said = lines_of(completed.stderr)
    for line in reversed(lines_of(completed.stdout)):
        if _ID.fullmatch(line):
            return Submitted(job=line, warning="\n".join(said))
    if completed.returncode is None:
        return Uncertain(message=f"qsub gave no answer within {completed.elapsed_s:.0f} s")
    if completed.returncode != 0 and _SLURMS_OWN.search(completed.stdout):
        said += lines_of(completed.stdout)  # where that one puts its errors
    told = "printed no job's id" if completed.stdout.strip() else "said nothing"
    text = "\n".join(_without_usage(said)) or f"qsub ended with exit code {completed.returncode} and {told}"
    if completed.returncode <= 0 or completed.returncode > 255:
        return Uncertain(message=text)
    if _LOST_CONTACT.search(text):
        return Uncertain(message=text)
    if _NOBODY_THERE.search(text):
        hint = "the server is down, or this is no login node: the same command may work later"
        return Refused(message=text, hint=hint, curable=True, is_unreachable=True)
    if _SLURMS_OWN.search(text):
        return Refused(message=text, hint="this qsub is Slurm's own, over sbatch: use `--scheduler slurm`")
    if not _SAID_NO.search(completed.stderr):
        return Uncertain(message=text)
    for refusal in refusals:
        if re.search(refusal.words, text):
            return Refused(message=text, hint=refusal.hint, curable=refusal.curable, limit=refusal.limit)
    return Refused(message=text)


def failure_of(program: str, completed: Completed) -> NoAnswer | None:
    """Why it is no answer, if it is none. Jobs that are not known any more are no failure; a refused look at history is.

    The exit code alone says nothing: OpenPBS ends with 153 when one id of many is unknown, and with 0 when it has refused
    to look into a history that is switched off.
    """
    if completed.returncode is None:
        return NoAnswer(message=f"{program} gave no answer within {completed.elapsed_s:.0f} s")
    said = [line for line in lines_of(completed.stderr) if not _UNKNOWN_JOB.search(line)]
    first = completed.stdout[:300].strip().partition("\n")[0]
    is_refused = any(_NO_HISTORY.search(line) for line in [*said, first])
    if not said and not is_refused and (completed.returncode == 0 or lines_of(completed.stderr)):
        return None
    if completed.returncode == 0 and not is_refused and not any(_is_trouble(line) for line in said):
        return None
    text = "; ".join(_without_usage(said))[:500]
    if _SLURMS_OWN.search(text) or "usage" in completed.stderr.lower():
        return NoAnswer(
            message=f"this {program} is not PBS's or Torque's own, it may be Slurm's: {text or 'it printed its usage'}"
        )
    return NoAnswer(message=text or f"{program} ended with exit code {completed.returncode} and said nothing")


def _is_trouble(line: str) -> bool:
    return bool(
        _NOBODY_THERE.search(line) or _LOST_CONTACT.search(line) or re.search(r"error|denied|fail", line, re.IGNORECASE)
    )


def _without_usage(said: Sequence[str]) -> list[str]:
    """What it says, without the usage that it prints behind a wrong option."""
    start = next((number for number, line in enumerate(said) if line.lower().startswith("usage:")), len(said))
    return list(said[:start]) or list(said[:1])


def lines_of(text: str) -> list[str]:
    """The lines that are not blank, stripped."""
    # Not splitlines: it also breaks at characters that a comment or a name may hold.
    return [line.strip() for line in text.split("\n") if line.strip()]


def seconds_of(text: str) -> float | None:
    """``00:00:18`` or ``18`` -> seconds; anything else -> None."""
    match = re.fullmatch(r"(?:(?:([0-9]{1,6}):)?([0-9]{1,6}):)?([0-9]{1,9})(?:\.[0-9]+)?", text.strip(), re.ASCII)
    if match is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float((hours * 60 + minutes) * 60 + seconds)


def nodes_of(exec_host: str) -> str:
    """``n1/0*4+n1/1+n2/0`` -> ``n1,n2``."""
    names = (part.partition("/")[0].strip() for part in exec_host.split("+"))
    return ",".join(dict.fromkeys(name for name in names if name))


def group_elements(numbers: Sequence[int]) -> range | tuple[int, ...]:
    """Elements as a range where they are one stretch, so that 10,000 cost nothing."""
    ordered = sorted(set(numbers))
    if ordered and ordered[-1] - ordered[0] + 1 == len(ordered):
        return range(ordered[0], ordered[-1] + 1)
    return tuple(ordered)


def merge_elements(found: Iterable[tuple[Seen, int | None]]) -> list[Seen]:
    """What is said of single elements (None: of a whole job), with those together of which the same is said."""
    groups: dict[Seen, list[int]] = {}
    for seen, element in found:
        numbers = groups.setdefault(seen, [])
        if element is not None:
            numbers.append(element)
    return [replace(seen, elements=group_elements(numbers)) if numbers else seen for seen, numbers in groups.items()]


@dataclass(frozen=True, kw_only=True)
class JobId:
    """``39[3].pbs``: the array's id, and the subjob's index. A single job has no index; an array itself (``39[]``) is neither."""

    job: str
    index: int | None = None
    is_array: bool = False


def parse_job_id(text: str) -> JobId | None:
    """``39[3].pbs``, ``39[].pbs``, ``40.pbs``; None for anything else."""
    match = re.fullmatch(r"([0-9]+)(?:\[([0-9]*)\])?(\..*)?", text, re.ASCII)
    if match is None:
        return None
    number, index, server = match.groups()
    if index is None:
        return JobId(job=text)
    return JobId(job=f"{number}[]{server or ''}", index=int(index) if index else None, is_array=not index)


End = tuple[State, str, int | None, int | None]
"""State, reason, exit code, signal."""

DELETED = "deleted"

_BY_THE_SERVER = 256  # what MOM itself killed: 271 is SIGTERM, of qdel
_BY_ITSELF = 128  # the shell's way to say it
_LAST_SIGNAL = 64


def read_exit_status(code: int, killed_for: Mapping[int, tuple[State, str]], comment: str) -> End:
    """How a job that ran has ended, by its exit status. ``killed_for``: what the server ended it for, by the negative codes."""
    if code in killed_for:
        state, resource = killed_for[code]
        return state, f"exceeded its {resource}", None, None
    if code < 0:
        return State.FAILED, f"the scheduler could not run it (exit status {code}): {comment}", None, None
    if "memory limit" in comment:
        return State.OOM, comment, None, None
    if code > _BY_THE_SERVER:
        signal = code - _BY_THE_SERVER
        return (State.CANCELLED, DELETED, None, signal) if signal == SIGTERM else (State.FAILED, "", None, signal)
    if _BY_ITSELF < code <= _BY_ITSELF + _LAST_SIGNAL:
        return State.FAILED, "", None, code - _BY_ITSELF
    return (State.DONE if code == 0 else State.FAILED), "", code, None


def parse_integer(text: str | None) -> int | None:
    """``-29`` -> -29; anything else -> None."""
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII) else None
