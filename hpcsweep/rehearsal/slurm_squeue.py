"""What squeue prints of rows: formats of ``-o`` and ``-O``, order, headers. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hpcsweep.rehearsal.slurm_arguments import pairs
from hpcsweep.rehearsal.slurm_rows import SHORT_STATES, Row
from hpcsweep.rehearsal.slurm_values import format_elapsed, format_megabytes, format_moment, lay_out

SHORT = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
LONG = "%.18i %.9P %.8j %.8u %.8T %.10M %.9l %.6D %R"
STARTS = "%.18i %.9P %.8j %.8u %.2t %.19S %.6D %20Y %R"
STEPS_HEADER = "         STEPID     NAME PARTITION     USER      TIME NODELIST"


@dataclass(frozen=True, kw_only=True)
class View:
    """How rows are to be printed."""

    zone: dt.tzinfo | None = None
    bitstr_length: int | None = None  # SLURM_BITSTR_LEN, where it is set


@dataclass(frozen=True, kw_only=True)
class Column:
    """A field: between what text it stands, how wide, on which side."""

    field: str = ""
    width: int = 0
    to_the_right: bool = False
    text: str = ""


def parse_format(text: str) -> tuple[list[Column], list[str]]:
    """``%.18i %j`` -> columns, with the text between them as columns of their own; and what was no field."""
    columns, unknown = [], []
    prefix, *parts = text.split("%")
    columns.append(Column(text=prefix))
    for part in parts:
        match = re.match(r"(\.?)(\d*)(.?)", part, re.DOTALL)
        dot, width, letter = match.groups() if match else ("", "", "")
        if letter not in _FIELDS:
            unknown.append(letter)
            columns.append(Column(text=f"%{part}"))
            continue
        columns.append(Column(field=letter, width=int(width or 0), to_the_right=bool(dot)))
        columns.append(Column(text=part[len(dot + width + letter) :]))
    return columns, unknown


def parse_long_format(text: str) -> tuple[list[Column], list[str]]:
    """``jobid,name:30,state:.10`` of ``-O``: 20 wide where it does not say."""
    columns, unknown = [], []
    for part in re.split(r"[,\s]+", text.strip()):
        name, _, size = part.partition(":")
        match = re.fullmatch(r"(\.?)(\d*)", size)
        if name.lower() not in _LONG_NAMES or match is None:
            unknown.append(part)
            continue
        columns.append(Column(field=_LONG_NAMES[name.lower()], width=int(match[2] or 20), to_the_right=bool(match[1])))
    return columns, unknown


def print_rows(rows: Iterable[Row], columns: Sequence[Column], view: View, *, header: bool) -> list[str]:
    """The lines."""
    lines = [_print(columns, lambda letter: _HEADERS[letter])] if header else []
    return lines + [_print(columns, lambda letter, row=row: _FIELDS[letter](row, view)) for row in rows]  # type: ignore[misc]


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """By partition, state and priority, squeue's own order; the held ones, equal in all three, with the latest first."""
    return sorted(rows, key=_order)


def _order(row: Row) -> tuple[str, str, int, float, int, int]:
    is_held = row.priority == 0
    begins = -(row.started_at or 0) if is_held and row.is_pending else 0
    number = -row.array_id if is_held and row.is_pending else row.array_id
    return row.partition, row.state, -row.priority, begins, number, row.elements[0][0] if row.elements else 0


def print_steps(rows: Iterable[Row], *, header: bool) -> list[str]:
    """``squeue -s``: the batch steps of what runs."""
    lines = [STEPS_HEADER] if header else []
    for row in rows:
        if row.state in {"RUNNING", "SUSPENDED"}:
            cells = (f"{row.id_text()}.batch".rjust(15), "   batch", row.partition.rjust(9), row.user.rjust(8))
            lines.append(" ".join((*cells, format_elapsed(row.elapsed_s).rjust(9), row.nodes)))
    return lines


def _print(columns: Sequence[Column], value: Callable[[str], str]) -> str:
    return "".join(
        lay_out(value(column.field), column.width, to_the_right=column.to_the_right) if column.field else column.text
        for column in columns
    )


def _job_id(row: Row, view: View) -> str:
    text = row.id_text(length=64 if view.bitstr_length is None else view.bitstr_length)
    # A buffer of 32 bytes, unless SLURM_BITSTR_LEN is set to whatever.
    return text[:31] if row.is_waiting_record and view.bitstr_length is None else text


def _indices(row: Row, view: View) -> str:
    return row.indices(length=64 if view.bitstr_length is None else view.bitstr_length) or "N/A"


def _moment(epoch: float | None, view: View) -> str:
    return "N/A" if epoch is None else format_moment(epoch, view.zone)


def _end(row: Row, view: View) -> str:
    if row.ended_at is not None:
        return format_moment(row.ended_at, view.zone)
    if row.started_at is None:
        return "N/A"
    if row.time_limit_min is None:
        return "NONE"
    return format_moment(row.started_at + row.time_limit_min * 60, view.zone)


def _limit(row: Row) -> str:
    return "UNLIMITED" if row.time_limit_min is None else format_elapsed(row.time_limit_min * 60)


def _left(row: Row) -> str:
    if row.time_limit_min is None:
        return "UNLIMITED"
    left = row.time_limit_min * 60 - row.elapsed_s
    return ("-" if left < 0 else "") + format_elapsed(abs(left))


def _place(row: Row) -> str:
    return f"({row.reason})" if row.is_pending else row.nodes


_FIELDS: dict[str, Callable[[Row, View], str]] = {
    "A": lambda row, _: str(row.job),
    "B": lambda row, _: row.nodes or "n/a",
    "C": lambda row, _: str(row.cpus),
    "D": lambda row, _: str(row.node_count),
    "E": lambda row, _: row.dependency or "(null)",
    "F": lambda row, _: str(row.array_id),
    "G": lambda row, _: str(row.gid),
    "H": lambda _row, _: "*",
    "I": lambda _row, _: "*",
    "J": lambda _row, _: "*",
    "K": _indices,
    "L": lambda row, _: _left(row),
    "M": lambda row, _: format_elapsed(row.elapsed_s),
    "N": lambda row, _: row.nodes,
    "O": lambda _row, _: "0",
    "P": lambda row, _: row.partition,
    "Q": lambda row, _: str(row.priority),
    "R": lambda row, _: _place(row),
    "S": lambda row, view: _moment(row.started_at, view),
    "T": lambda row, _: row.state,
    "U": lambda row, _: str(row.uid),
    "V": lambda row, view: _moment(row.submitted_at, view),
    "W": lambda _row, _: "(null)",
    "X": lambda _row, _: "N/A",
    "Y": lambda _row, _: "(null)",
    "Z": lambda row, _: row.chdir,
    "a": lambda row, _: row.account,
    "b": lambda row, _: f"gres:{row.gres}" if row.gres else "N/A",
    "c": lambda row, _: str(row.cpus_per_task),
    "d": lambda _row, _: "0",
    "e": _end,
    "f": lambda row, _: row.features or "(null)",
    "g": lambda row, _: row.group,
    "h": lambda _row, _: "OK",
    "i": _job_id,
    "j": lambda row, _: row.name,
    "k": lambda row, _: row.comment or "(null)",
    "l": lambda row, _: _limit(row),
    "m": lambda row, _: format_megabytes(row.memory_mb),
    "n": lambda row, _: row.wanted_nodes,
    "o": lambda row, _: " ".join((row.command, *row.arguments)) or "(null)",
    "p": lambda row, _: f"{row.priority / 2**32:.14f}",
    "q": lambda row, _: row.qos,
    "r": lambda row, _: row.reason,
    "t": lambda row, _: SHORT_STATES.get(row.state, row.state),
    "u": lambda row, _: row.user,
    "v": lambda _row, _: "(null)",
    "w": lambda row, _: row.wckey or "(null)",
    "x": lambda _row, _: "",
    "y": lambda row, _: str(row.nice),
    "z": lambda _row, _: "*:*:*",
    # Only with -O.
    "exit_code": lambda row, _: str(row.exit_code << 8 | row.signal),
    "restarts": lambda row, _: str(row.restarts),
    "output": lambda row, _: row.output,
    "error": lambda row, _: row.error,
}
_HEADERS = {
    **pairs(
        "A=JOBID B=EXEC_HOST C=CPUS D=NODES E=DEPENDENCY F=ARRAY_JOB_ID G=GROUP H=SOCKETS_PER_NODE "
        "I=CORES_PER_SOCKET J=THREADS_PER_CORE K=ARRAY_TASK_ID L=TIME_LEFT M=TIME N=NODELIST O=CONTIGUOUS "
        "P=PARTITION Q=PRIORITY R=NODELIST(REASON) S=START_TIME T=STATE U=UID V=SUBMIT_TIME W=LICENSES "
        "X=CORE_SPEC Y=SCHEDNODES Z=WORK_DIR a=ACCOUNT b=TRES_PER_NODE c=MIN_CPUS d=MIN_TMP_DISK e=END_TIME "
        "f=FEATURES g=GROUP h=OVER_SUBSCRIBE i=JOBID j=NAME k=COMMENT l=TIME_LIMIT m=MIN_MEMORY n=REQ_NODES "
        "o=COMMAND p=PRIORITY q=QOS r=REASON t=ST u=USER v=RESERVATION w=WCKEY x=EXC_NODES y=NICE z=S:C:T "
        "exit_code=EXIT_CODE restarts=RESTART_COUNT output=STDOUT error=STDERR"
    ),
}
_LONG_NAMES = {
    **pairs(
        "account=a arrayjobid=F arraytaskid=K batchhost=B command=o comment=k dependency=E endtime=e "
        "exit_code=exit_code feature=f groupname=g jobid=A jobarrayid=i minmemory=m name=j nice=y nodelist=N "
        "numcpus=C numnodes=D partition=P prioritylong=Q qos=q reason=r reasonlist=R restartcnt=restarts "
        "reservation=v starttime=S state=T statecompact=t stderr=error stdout=output submittime=V timeleft=L "
        "timelimit=l timeused=M tres-per-node=b userid=U username=u wckey=w workdir=Z"
    ),
}
