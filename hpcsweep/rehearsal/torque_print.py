"""What Torque's qstat prints, made of plain data. Pure; tests/data/torque/ has what the real one printed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hpcsweep.rehearsal.pbs_common import clock, seconds_of


class Attribute(NamedTuple):
    """One attribute of a job, a queue or the server; of ``Resource_List.walltime`` the resource is ``walltime``."""

    name: str
    value: str
    resource: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A job, a queue or the server as the server tells of it: times are epoch seconds."""

    identifier: str
    attributes: Sequence[Attribute]

    def value(self, name: str, resource: str = "") -> str:
        """The text of one attribute, empty where it is not set."""
        return next((a.value for a in self.attributes if a.name == name and a.resource == resource), "")


_TIMES = frozenset({"ctime", "etime", "mtime", "qtime", "start_time", "comp_time", "checkpoint_time", "Execution_Time"})
_LINE_WIDTH = 77

_LIST_HEADER = (
    "Job ID                    Name             User            Time Use S Queue\n"
    "------------------------- ---------------- --------------- -------- - -----\n"
)
_WIDE_HEADER = (
    "                                                                                  Req'd       Req'd       Elap\n"
    "Job ID                  Username    Queue    Jobname          SessID  NDS   TSK   Memory      Time    S   Time\n"
    "----------------------- ----------- -------- ---------------- ------ ----- ------ --------- --------- - ---------\n"
)
_BLANK = " -- "


def list_text(jobs: Iterable[Record], *, header: bool = True) -> str:
    """``qstat``, ``qstat -t``. Several operands of one call share the header."""
    lines = []
    for job in jobs:
        values = {a.name: a.value for a in job.attributes if not a.resource}
        used = job.value("resources_used", "cput") or "0"
        owner = values["Job_Owner"].partition("@")[0]
        name, queue = _short_name(values["Job_Name"]), values["queue"]
        lines.append(
            f"{job.identifier:<26} {name:<16} {owner[:15]:<15} {used[:8]:>8} {values['job_state'][:1]} {queue[:15]:<15}\n"
        )
    return (_LIST_HEADER if header else "") + "".join(lines) if lines else ""


def _short_name(name: str) -> str:
    """A name of more than 16 characters shows its end, from a slash on where there is one."""
    if len(name) <= 16:
        return name
    end = name[len(name) - 13 :]
    return "..." + (end[end.index("/") :] if "/" in end else end)


def full_text(jobs: Iterable[Record], *, title: str = "Job Id", one_line: bool = False) -> str:
    """``qstat -f``; with the titles ``Queue`` and ``Server`` ``qstat -Q -f`` and ``qstat -B -f``."""
    return "".join(
        f"{title}: {job.identifier}\n"
        + "".join(_attribute_line(attribute, one_line=one_line, times=title == "Job Id") for attribute in job.attributes)
        + "\n"
        for job in jobs
    )


def _attribute_line(attribute: Attribute, *, one_line: bool, times: bool) -> str:
    name, value, resource = attribute
    if times and name in _TIMES:
        value = time.ctime(int(value))
    elif name == "Walltime" and value.startswith("-"):
        resource = "Exceeded"
    title = f"{name}.{resource}" if resource else name
    text = value if one_line else _wrapped(value, used=len(title) + 7)
    return f"    {title} = {text}\n"


def _wrapped(value: str, *, used: int) -> str:
    """Broken behind a comma where that suffices, else anywhere. Empty items vanish, as in the real one."""
    items = [item for item in value.split(",") if item]
    if used + len(value) < _LINE_WIDTH:
        return ",".join(items)
    out = []
    for number, item in enumerate(items):
        if number:
            out.append(",")
            used += 1
        if used + len(item) < _LINE_WIDTH:
            out.append(item)
            used += len(item)
            continue
        if number:
            out.append("\n\t")
            used = 9
        for character in item:
            out.append(character)
            used += 1
            if used > _LINE_WIDTH:
                out.append("\n\t")
                used = 7
    return "".join(out)


def xml_text(jobs: Iterable[Record]) -> str:
    """``qstat -x``, and ``qstat -f -x``: the same. One line behind the declaration."""
    parts = ['<?xml version="1.0"?>\n<Data>']
    for job in jobs:
        parts.append(f"<Job><Job_Id>{_escaped(job.identifier)}</Job_Id>")
        group = ""
        for name, value, resource in job.attributes:
            wanted = name if resource else ""
            if wanted != group:
                parts.append(f"</{group}>" if group else "")
                parts.append(f"<{wanted}>" if wanted else "")
                group = wanted
            tag = resource or name
            parts.append(f"<{tag}>{_escaped(value)}</{tag}>")
        parts.append(f"</{group}></Job>" if group else "</Job>")
    parts.append("</Data>\n")
    return "".join(parts)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@dataclass(frozen=True, kw_only=True)
class Extra:
    """Lines below a job of the wide list: its nodes (``-n``; ``-1``: behind it), its comment (``-s``)."""

    nodes: bool = False
    comment: bool = False
    one_line: bool = False


def wide_text(server: str, jobs: Iterable[Record], extra: Extra | None = None) -> str:
    """``qstat -a``, ``-u``, ``-r``, ``-i``, ``-n``, ``-s``."""
    extra = extra or Extra()
    lines = [_wide_lines(job, extra) for job in jobs]
    return f"\n{server}: \n{_WIDE_HEADER}" + "".join(lines) if lines else ""


def _wide_lines(job: Record, extra: Extra) -> str:
    state = job.value("job_state")
    limit = job.value("Resource_List", "walltime")
    memory = next((m for m in (job.value("Resource_List", r) for r in ("pvmem", "vmem", "pmem", "mem")) if m), _BLANK)
    nodes = job.value("Resource_List", "nodes")
    tasks = _tasks_of(nodes) if nodes else job.value("Resource_List", "ncpus") or _BLANK
    elapsed = _BLANK
    if state not in {"Q", "C", "H"}:
        # The remaining time of what has not been looked at yet is not told, and counts as none: an array seems to be at its end.
        elapsed = clock((seconds_of(limit) or 0) - int(job.value("Walltime", "Remaining") or 0))
    text = (
        f"{job.identifier[:22]:<23} {job.value('Job_Owner').partition('@')[0][:11]:<11} {job.value('queue')[:8]:<8} "
        f"{job.value('Job_Name')[:16]:<16} {(job.value('session_id') or _BLANK)[:6]:>6} "
        f"{(job.value('Resource_List', 'nodect') or _BLANK)[:5]:>5} {tasks[:6]:>6} {memory[:9]:>9} {(limit or _BLANK)[:9]:>9} "
        f"{state[:1]} {elapsed[:9]:>9}"
    )
    if extra.nodes:
        hosts = job.value("exec_host") or _BLANK
        text += f"   {hosts}" if extra.one_line else f"\n   {hosts}"
    if extra.comment:
        text += f"\n   {job.value('comment') or _BLANK}"
    return text + "\n"


def _tasks_of(nodes: str) -> str:
    """``2:ppn=4+1`` is 9 tasks."""
    total = 0
    for part in nodes.split("+"):
        words = part.split(":")
        count = int(words[0]) if words[0].isdecimal() else 1
        per_node = next((int(w[4:]) for w in words[1:] if re.fullmatch(r"ppn=[0-9]+", w)), 1)
        total += count * per_node
    return str(total)


_STATES = ("Queued", "Running", "Held", "Waiting", "Transit", "Exiting", "Complete")


def state_counts(text: str) -> dict[str, int]:
    """``Transit:0 Queued:2 Held:0 ...`` read back, all states named."""
    found = {name: int(number) for name, number in re.findall(r"(\w+):(\d+)", text)}
    return {name: found.get(name, 0) for name in _STATES}


def _columns(queue: Record) -> list[int]:
    counts = state_counts(queue.value("state_count"))
    return [counts[name] for name in ("Queued", "Running", "Held", "Waiting", "Transit", "Exiting")]


def queues_text(queues: Iterable[Record]) -> str:
    """``qstat -Q``."""
    rows: list[tuple[str, ...]] = [("Queue", "Max", "Tot", "Ena", "Str", "Que", "Run", "Hld", "Wat", "Trn", "Ext", "T", "Cpt")]
    rows.append(("-" * 16, "---", "----", "--", "--", *("---",) * 6, "-", "---"))
    for queue in queues:
        can = ["yes" if queue.value(name) == "True" else "no" for name in ("enabled", "started")]
        numbers = [str(number) for number in _columns(queue)]
        ended = str(state_counts(queue.value("state_count"))["Complete"])
        total = queue.value("total_jobs") or "0"
        kind = queue.value("queue_type")[:1]
        rows.append((queue.identifier[:16], queue.value("max_running") or "0", total, can[0], can[1], *numbers, kind, ended))
    widths = (16, 5, 6, *(5,) * 8)
    lines = []
    for row in rows:
        cells = [f"{row[0]:<16}", *(f"{cell:>{width}}" for cell, width in zip(row[1:11], widths[1:], strict=True))]
        lines.append(" ".join([*cells, f"{row[11]:<1}", f"{row[12]:>5}"]) + "\n")
    return "".join(lines)


def queues_limits_text(server: str, queues: Iterable[Record]) -> str:
    """``qstat -q``."""
    lines = [f"\nserver: {server}\n\n"]
    lines.append("Queue            Memory CPU Time Walltime Node  Run Que Lm  State\n")
    lines.append("---------------- ------ -------- -------- ----  --- --- --  -----\n")
    running_of_all = waiting_of_all = 0
    for queue in queues:
        counts = state_counts(queue.value("state_count"))
        running, waiting = counts["Running"], counts["Queued"] + counts["Held"] + counts["Waiting"]
        running_of_all += running
        waiting_of_all += waiting
        most = [queue.value("resources_max", name) for name in ("mem", "cput", "walltime", "nodect")]
        blanks = ("--  ", "--   ", "--   ", "-- ")
        memory, cpu, wall, nodes = (value or blank for value, blank in zip(most, blanks, strict=True))
        limit = (queue.value("max_running") or "--   ")[:2]
        letters = ("E" if queue.value("enabled") == "True" else "D", "R" if queue.value("started") == "True" else "S")
        lines.append(f"{queue.identifier[:16]:<16} {memory[:6]:>6} {cpu[:8]:>8} {wall[:8]:>8} {nodes[:5]:>5} ")
        lines.append(f"{running:3d} {waiting:3d} {limit:>2}   {letters[0]} {letters[1]}\n")
    lines.append(" " * 47 + "----- -----\n" + " " * 47 + f"{running_of_all:5d} {waiting_of_all:5d}\n")
    return "".join(lines)


def server_text(server: Record) -> str:
    """``qstat -B``."""
    header = ("Server", "Max", "Tot", "Que", "Run", "Hld", "Wat", "Trn", "Ext", "Com", "Status")
    dashes = ("-" * 16, *("---",) * 9, "-" * 10)
    counts = state_counts(server.value("state_count"))
    numbers = [str(number) for number in (*_columns(server), counts["Complete"])]
    row = (server.identifier[:16], "0", server.value("total_jobs") or "0", *numbers, server.value("server_state")[:10])
    return "".join(
        " ".join([f"{cells[0]:<16}", *(f"{cell:>5}" for cell in cells[1:10]), f"{cells[10]:<10}"]) + "\n"
        for cells in (header, dashes, row)
    )
