"""What sacct prints of rows: fields, columns, the order of records. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hpcsweep.rehearsal.slurm_arguments import pairs
from hpcsweep.rehearsal.slurm_rows import BatchStep, Row
from hpcsweep.rehearsal.slurm_values import format_duration, format_megabytes, format_moment, lay_out

DEFAULT = "jobid,jobname,partition,account,alloccpus,state,exitcode"
BRIEF = "jobid,state,exitcode"
LONG = (
    "jobid,jobidraw,jobname,partition,maxvmsize,maxvmsizenode,maxvmsizetask,avevmsize,maxrss,maxrssnode,maxrsstask,averss,"
    "maxpages,maxpagesnode,maxpagestask,avepages,mincpu,mincpunode,mincputask,avecpu,ntasks,alloccpus,elapsed,state,exitcode,"
    "avecpufreq,reqcpufreqmin,reqcpufreqmax,reqcpufreqgov,reqmem,consumedenergy,maxdiskread,maxdiskreadnode,maxdiskreadtask,"
    "avediskread,maxdiskwrite,maxdiskwritenode,maxdiskwritetask,avediskwrite,reqtres,alloctres,tresusageinave,tresusageinmax,"
    "tresusageinmaxnode,tresusageinmaxtask,tresusageinmin,tresusageinminnode,tresusageinmintask,tresusageintot,tresusageoutmax,"
    "tresusageoutmaxnode,tresusageoutmaxtask,tresusageoutave,tresusageouttot"
)


@dataclass(frozen=True, kw_only=True)
class Record:
    """A line: a job's own, or its batch step's."""

    row: Row
    step: BatchStep | None
    cluster: str
    zone: dt.tzinfo | None = None


@dataclass(frozen=True, kw_only=True)
class Field:
    """One of the fields of ``--format``."""

    name: str
    width: int
    to_the_left: bool = False
    value: Callable[[Record], str]


class UnknownFieldError(Exception):
    """``--format`` names no field of this Slurm."""


def parse_fields(text: str) -> list[Field]:
    """``JobID%20,State,ExitCode%-5`` -> fields.

    Raises:
        UnknownFieldError: its argument is the name.
    """
    fields = []
    for part in filter(None, re.split(r"[,\s]+", text)):
        name, _, width = part.partition("%")
        if name.lower() == "all":
            fields += list(_FIELDS.values())
            continue
        found = _FIELDS.get(name.lower())
        if found is None:
            raise UnknownFieldError(name)
        if re.fullmatch(r"-?\d+", width):
            size = int(width)
            found = Field(name=found.name, width=abs(size), to_the_left=size < 0 or found.to_the_left, value=found.value)
        fields.append(found)
    return fields


def print_help() -> Iterator[str]:
    """``sacct --helpformat``: four in a line."""
    names = [field.name for field in _FIELDS.values()]
    for start in range(0, len(names), 4):
        yield " ".join(name.ljust(19) for name in names[start : start + 4])


def print_records(
    records: Iterable[Record], fields: Sequence[Field], *, header: bool, delimiter: str | None, ends: bool
) -> Iterator[str]:
    """The lines: in columns, or between delimiters (``ends``: with one at the end, as ``--parsable`` has it)."""
    if delimiter is not None:
        last = delimiter if ends else ""
        if header:
            yield delimiter.join(field.name for field in fields) + last
        for record in records:
            yield delimiter.join(field.value(record) for field in fields) + last
        return
    if header:
        yield "".join(lay_out(field.name, field.width, to_the_right=not field.to_the_left) + " " for field in fields)
        yield "".join("-" * field.width + " " for field in fields)
    for record in records:
        yield "".join(
            lay_out(field.value(record), field.width, to_the_right=not field.to_the_left, cut_mark="+") + " "
            for field in fields
        )


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """By the time of submission, then jobs before arrays, these by number and element; an array's own record is the last."""
    return sorted(
        rows,
        key=lambda row: (
            int(row.submitted_at),
            row.array or 0,
            row.is_waiting_record,
            row.elements[0][0] if row.elements else row.job,
        ),
    )


def _state(record: Record) -> str:
    if record.step is not None:
        return record.step.state
    by = record.row.cancelled_by
    return f"{record.row.state} by {by}" if record.row.state == "CANCELLED" and by is not None else record.row.state


def _exit(record: Record) -> str:
    if record.step is not None:
        return f"{_code(record.step.exit_code)}:{record.step.signal}"
    return f"{_code(record.row.exit_code)}:{record.row.signal}"


def _code(code: int) -> int:
    """Sacct takes 128 + N for a signal that it does not name: 137 is shown as 9."""
    return code - 128 if code >= 128 else code


def _moment(epoch: float | None, record: Record, never: str = "Unknown") -> str:
    return never if epoch is None else format_moment(epoch, record.zone)


def _start(record: Record) -> str:
    if record.step is not None:
        return _moment(record.step.started_at, record)
    return _moment(record.row.started_at, record, "None" if record.row.ended_at is not None else "Unknown")


def _end(record: Record) -> str:
    return _moment(record.row.ended_at if record.step is None else record.step.ended_at, record)


def _elapsed(record: Record) -> int:
    if record.step is not None and record.step.ended_at is not None:
        return int(record.step.ended_at) - int(record.step.started_at)
    return int(record.row.elapsed_s)


def _tres(record: Record) -> str:
    row = record.row
    memory = format_megabytes(row.shown_memory_mb)
    parts = [f"cpu={row.cpus}", f"mem={memory}", f"node={row.node_count}"]
    parts = [f"billing={row.cpus}", *parts] if record.step is None else parts
    if row.gpus:
        parts.insert(2, f"gres/gpu={row.gpus}")
    return ",".join(parts)


def _limit(record: Record, shown: Callable[[int], str]) -> str:
    return "UNLIMITED" if record.row.time_limit_min is None else shown(record.row.time_limit_min)


def _rss(record: Record) -> str:
    return f"{record.step.memory_kb}K" if record.step is not None and record.step.memory_kb else ""


def _has_run(record: Record) -> bool:
    return bool(record.row.nodes)


def _job(value: Callable[[Record], str]) -> Callable[[Record], str]:
    """Of the job alone: a step's line has nothing there."""
    return lambda record: value(record) if record.step is None else ""


def _suffix(record: Record) -> str:
    return "" if record.step is None else ".batch"


# Whatever else 22.05 knows is there and empty: an unknown field fails the whole query, a known one does not.
_VALUES: Mapping[str, Callable[[Record], str]] = {
    "Account": lambda record: record.row.account,
    "AllocCPUS": lambda record: str(record.row.cpus),
    "AllocNodes": lambda record: str(record.row.node_count if _has_run(record) else 0),
    "AllocTRES": lambda record: _tres(record) if _has_run(record) else "",
    "AveRSS": _rss,
    "Cluster": lambda record: record.cluster,
    "Comment": _job(lambda record: record.row.comment),
    "Constraints": _job(lambda record: record.row.features),
    "CPUTime": lambda record: format_duration(_elapsed(record) * record.row.cpus),
    "CPUTimeRAW": lambda record: str(_elapsed(record) * record.row.cpus),
    "DerivedExitCode": _job(lambda _: "0:0"),
    "Elapsed": lambda record: format_duration(_elapsed(record)),
    "ElapsedRaw": lambda record: str(_elapsed(record)),
    "Eligible": lambda record: _moment(record.row.eligible_at, record),
    "End": _end,
    "ExitCode": _exit,
    "GID": _job(lambda record: str(record.row.gid)),
    "Group": _job(lambda record: record.row.group),
    "JobID": lambda record: record.row.id_text() + _suffix(record),
    "JobIDRaw": lambda record: f"{record.row.job}{_suffix(record)}",
    "JobName": lambda record: record.row.name if record.step is None else "batch",
    "MaxRSS": _rss,
    "MaxRSSNode": lambda record: record.row.nodes if _rss(record) else "",
    "MaxRSSTask": lambda record: "0" if _rss(record) else "",
    "NCPUS": lambda record: str(record.row.cpus),
    "NNodes": lambda record: str(record.row.node_count),
    "NodeList": lambda record: record.row.nodes or "None assigned",
    "NTasks": lambda record: "" if record.step is None else "1",
    "Partition": _job(lambda record: record.row.partition),
    "Priority": _job(lambda record: str(record.row.priority)),
    "QOS": _job(lambda record: record.row.qos),
    "QOSRAW": _job(lambda _: "1"),
    "Reason": _job(lambda record: record.row.reason),
    "ReqCPUS": lambda record: str(record.row.cpus),
    "ReqMem": _job(lambda record: format_megabytes(record.row.shown_memory_mb)),
    "ReqNodes": lambda record: str(record.row.node_count),
    "ReqTRES": _job(_tres),
    "Start": _start,
    "State": _state,
    "Submit": lambda record: _moment(record.row.submitted_at if record.step is None else record.step.started_at, record),
    "SubmitLine": _job(lambda record: record.row.submit_line),
    "Suspended": lambda _: "00:00:00",
    "SystemCPU": lambda _: "00:00:00",
    "Timelimit": _job(lambda record: _limit(record, lambda minutes: format_duration(minutes * 60))),
    "TimelimitRaw": _job(lambda record: _limit(record, str)),
    "TotalCPU": lambda _: "00:00:00",
    "UID": _job(lambda record: str(record.row.uid)),
    "User": _job(lambda record: record.row.user),
    "UserCPU": lambda _: "00:00:00",
    "WCKey": _job(lambda record: record.row.wckey),
    "WorkDir": _job(lambda record: record.row.chdir),
}
_WIDTHS = pairs(
    """
    Account=10 AdminComment=15 AllocCPUS=10 AllocNodes=10 AllocTRES=10 AssocID=7 AveCPU=10 AveCPUFreq=10
    AveDiskRead=14 AveDiskWrite=14 AvePages=10 AveRSS=10 AveVMSize=10 BlockID=16 Cluster=10 Comment=14
    Constraints=19 ConsumedEnergy=14 ConsumedEnergyRaw=17 Container=19 CPUTime=10 CPUTimeRAW=10 DBIndex=10
    DerivedExitCode=15 Elapsed=10 ElapsedRaw=10 Eligible=19 End=19 ExitCode=8 Flags=19 GID=6 Group=9 JobID=12
    JobIDRaw=12 JobName=10 Layout=9 MaxDiskRead=12 MaxDiskReadNode=15 MaxDiskReadTask=15 MaxDiskWrite=12
    MaxDiskWriteNode=16 MaxDiskWriteTask=16 MaxPages=8 MaxPagesNode=12 MaxPagesTask=14 MaxRSS=10 MaxRSSNode=10
    MaxRSSTask=10 MaxVMSize=10 MaxVMSizeNode=14 MaxVMSizeTask=14 McsLabel=12 MinCPU=10 MinCPUNode=10 MinCPUTask=10
    NCPUS=10 NNodes=8 NodeList=15 NTasks=8 Partition=10 Priority=10 QOS=10 QOSRAW=6 Reason=22 ReqCPUFreq=10
    ReqCPUFreqGov=13 ReqCPUFreqMax=13 ReqCPUFreqMin=13 ReqCPUS=8 ReqMem=10 ReqNodes=8 ReqTRES=10 Reservation=20
    ReservationId=8 Reserved=10 ResvCPU=10 ResvCPURAW=10 Start=19 State=10 Submit=19 SubmitLine=20 Suspended=10
    SystemComment=15 SystemCPU=10 Timelimit=10 TimelimitRaw=10 TotalCPU=10 TRESUsageInAve=14 TRESUsageInMax=14
    TRESUsageInMaxNode=18 TRESUsageInMaxTask=18 TRESUsageInMin=14 TRESUsageInMinNode=18 TRESUsageInMinTask=18
    TRESUsageInTot=14 TRESUsageOutAve=15 TRESUsageOutMax=15 TRESUsageOutMaxNode=19 TRESUsageOutMaxTask=19
    TRESUsageOutMin=15 TRESUsageOutMinNode=19 TRESUsageOutMinTask=19 TRESUsageOutTot=15 UID=6 User=9 UserCPU=10
    WCKey=10 WCKeyID=10 WorkDir=20
    """
)
_FIELDS = {
    name.lower(): Field(
        name=name,
        width=int(width),
        to_the_left=name in {"JobID", "JobIDRaw", "DBIndex"},
        value=_VALUES.get(name, lambda _: ""),
    )
    for name, width in _WIDTHS.items()
}
