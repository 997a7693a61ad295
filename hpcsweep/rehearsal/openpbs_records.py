"""What OpenPBS's ``qstat -f`` knows of jobs, subjobs, queues and the server: names and values in its order. Pure.

The traps are here: a subjob without a record of its own has its parent's attributes, ``Exit_status`` included, and once a
deleted array has ended only the subjobs that ran until then have records of their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hpcsweep.rehearsal import indices
from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Settings
from hpcsweep.rehearsal.jobs import Element, Job, State
from hpcsweep.rehearsal.openpbs_submit import SERVER
from hpcsweep.rehearsal.pbs_common import clock

Value = str | int | Mapping[str, str | int]
VERSION = "23.06.06"
_BEFORE = {"ok": "beforeok", "notok": "beforenotok", "any": "beforeany"}
_ENDS = {"walltime": "exceeded resource walltime", "node": "terminated", "oom": "failed", "launch": "failed"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A job, an array or a subjob, as far as the short lists show it."""

    id: str
    job: Job
    state: str
    element: Element | None = None
    """Its own record, where it has one."""
    index: int | None = None
    """Of a subjob."""
    is_gone: bool = False
    """A subjob without a record that will not run any more."""


def identifier(job: Job, index: int | None = None) -> str:
    """``12.pbs``, ``12[].pbs``, ``12[3].pbs``."""
    inside = "" if index is None else str(index)
    return f"{job.number}[{inside}].{SERVER}" if job.is_array else f"{job.number}.{SERVER}"


def job_row(job: Job, now: float) -> Row:
    """The row of a job or of a whole array."""
    element = None if job.is_array else job.elements.get(0)
    has_begun = element is not None and element.started_s is not None
    return Row(id=identifier(job), job=job, state=job_state(job, now), element=element if has_begun else None)


def subjob_rows(cluster: Cluster, job: Job, which: indices.Indices | None = None) -> Iterator[Row]:
    """The rows of an array's subjobs."""
    has_ended = job.ended_s is not None
    for index, state, element, removal in cluster.walk(job, which):
        own = element if element is not None and element.started_s is not None and not is_overwritten(job, element) else None
        letter = _subjob_state(state, is_gone=removal is not None, has_ended=has_ended)
        yield Row(
            id=identifier(job, index),
            job=job,
            state=letter,
            element=own,
            index=index,
            is_gone=removal is not None or (own is None and state == "ended"),
        )


def _subjob_state(state: State, *, is_gone: bool, has_ended: bool) -> str:
    if state == "ended" or is_gone:
        return "F" if has_ended else "X"
    return "Q" if state == "waiting" else "R"


def is_overwritten(job: Job, element: Element) -> bool:
    """Whether the deletion of the whole array took the subjob's record away: it had ended before."""
    deleted = job.notes.get("deleted_s")
    return deleted is not None and job.ended_s is not None and element.ended_s is not None and element.ended_s < deleted


def job_state(job: Job, now: float) -> str:
    """Q, B (an array that has begun), R, H, W, F."""
    if job.ended_s is not None:
        return "F"
    if not job.is_array and job.running:
        return "R"
    if job.holds or job.awaits:
        return "H"
    if job.started_s is not None and job.is_array:
        return "B"
    return "W" if job.request.begin_s > now else "Q"


def full_record(cluster: Cluster, settings: Settings, row: Row, now: float) -> dict[str, Value]:
    """All attributes of a row, in qstat's order; dictionaries are those with dots."""
    own = row.element
    is_subjob = row.index is not None
    record = _head(settings, row, now)
    record |= _paths_and_times(cluster, row, now)
    record["substate"] = substate(row)
    record["Variable_List"] = variables_of(row)
    record |= _ends_of(cluster, row, now)
    if own is None or not is_subjob:
        record["Submit_arguments"] = row.job.request.attributes["arguments"]
    if is_subjob and own is None:
        return without_empty(record)
    if is_subjob:
        record |= {"array_id": identifier(row.job), "array_index": row.index or 0}
    elif row.job.is_array:
        record |= _array_facts(cluster, row.job)
    ended = row.job.ended_s if own is None else own.ended_s
    record["history_timestamp"] = "" if ended is None else int(ended)
    record |= {"project": row.job.request.attributes["project"], "Submit_Host": row.job.request.attributes["host"]}
    limit = row.job.throttle
    record["max_run_subjobs"] = limit if limit is not None and not is_subjob else ""
    return without_empty(record, keep=("max_run_subjobs",) if limit is not None and not is_subjob else ())


def without_empty(record: dict[str, Value], keep: tuple[str, ...] = ()) -> dict[str, Value]:
    """Without what is not set; ``keep``: names that stay all the same."""
    return {name: value for name, value in record.items() if value not in ("", {}) or name in keep}


def _head(settings: Settings, row: Row, now: float) -> dict[str, Value]:
    job, own = row.job, row.element
    has_holds = own is None or row.index is None
    return {
        "Job_Name": job.request.name,
        "Job_Owner": f"{job.request.user}@{job.request.attributes['host']}",
        "resources_used": {} if own is None else used(settings, job, own, now),
        "job_state": row.state,
        "queue": job.request.queue,
        "server": SERVER,
        "Account_Name": job.request.attributes["account"],
        "Checkpoint": "u" if has_holds else "",
        "ctime": stamp(job.submitted_s),
    }


def _paths_and_times(cluster: Cluster, row: Row, now: float) -> dict[str, Value]:
    job, own, kept = row.job, row.element, row.job.request.attributes
    has_holds = own is None or row.index is None
    began = job.started_s if own is None else own.started_s
    gone = (job.ended_s if job.started_s is not None else None) if own is None else own.ended_s
    changed = job.changed_s if own is None or row.index is None else (own.ended_s or own.doomed_s or own.started_s or now)
    return {
        "depend": depend_text(cluster, job) if has_holds else "",
        "Error_Path": path_of(job, "stderr", own.index if own is not None and row.index is not None else None),
        "exec_host": exec_host(own) if own is not None else "",
        "exec_vnode": exec_vnode(job, own) if own is not None else "",
        "Execution_Time": stamp(job.request.begin_s) if job.request.begin_s > now else "",
        "Hold_Types": hold_types(job) if has_holds else "",
        "Join_Path": kept["join"],
        "Keep_Files": kept["keep"],
        "Mail_Points": kept["mail"],
        "Mail_Users": kept["mail_users"],
        "mtime": stamp(changed),
        "Output_Path": path_of(job, "stdout", own.index if own is not None and row.index is not None else None),
        "Priority": job.request.priority,
        "qtime": stamp(job.submitted_s),
        "Rerunable": "True" if kept["rerunable"] else "False",
        "Resource_List": kept["resources"],
        "stime": stamp(began) if began is not None else "",
        "obittime": stamp(gone) if gone is not None else "",
        "session_id": own.pid if own is not None and own.pid else "",
        "Shell_Path_List": kept["shell"],
        "sandbox": kept["sandbox"],
        "jobdir": kept["home"] if own is not None else "",
    }


def _ends_of(cluster: Cluster, row: Row, now: float) -> dict[str, Value]:
    job, own = row.job, row.element
    is_single = row.index is None and not job.is_array
    status = exit_status(own) if own is not None else None if is_single else array_status(job)
    is_staged = (
        own.ended_s is not None if own is not None else bool(not is_single and job.started_s is not None and sum_of_ends(job))
    )
    is_eligible = job.started_s is not None or not (job.holds or job.awaits)
    staged = own.notes.get("undelivered", False) if own is not None else False
    return {
        "umask": job.request.attributes["umask"],
        "block": "True" if job.request.attributes["block"] and row.index is None else "",
        "comment": comment(cluster, row, now),
        "etime": stamp(job.notes.get("released_s") or job.submitted_s) if is_eligible else "",
        "run_count": own.restarts + 1 if own is not None else "",
        "Stageout_status": "" if not is_staged else 0 if staged else 1,
        "Exit_status": "" if status is None else status,
    }


def _array_facts(cluster: Cluster, job: Job) -> dict[str, Value]:
    left = "" if job.ended_s is not None else indices.text_of(cluster.waiting_of(job))
    return {
        "array": "True",
        "array_state_count": array_counts(cluster, job),
        "array_indices_submitted": job.request.attributes["array"],
        "array_indices_remaining": left or "-",
    }


def array_counts(cluster: Cluster, job: Job) -> str:
    """``Queued:2 Running:4 Exiting:0 Expired:6``. What has ended normally shows no one; what was deleted, those that did not run then."""
    waiting = indices.count(cluster.waiting_of(job))
    expired = job.size - waiting - job.running
    if job.ended_s is not None:
        deleted = job.notes.get("deleted_s")
        killed = sum(
            1 for element in job.elements.values() if element.ended_s is not None and element.ended_s >= (deleted or 0)
        )
        expired = job.size - killed if deleted is not None else 0
    return f"Queued:{waiting} Running:{job.running} Exiting:0 Expired:{expired}"


def sum_of_ends(job: Job) -> int:
    """How many subjobs have ended after they had started."""
    return sum(many for kind, many in job.ends.items() if kind != "removed")


def array_status(job: Job) -> int | None:
    """An array's Exit_status: 0 all well so far, 1 some failed or were deleted, 2 some were ended by the server."""
    if not sum_of_ends(job) or job.started_s is None:
        return None
    if job.ends.get("walltime"):
        return 2
    return 0 if sum_of_ends(job) == job.ends.get("ok", 0) else 1


def exit_status(element: Element) -> int | None:
    """A subjob's or a job's Exit_status; None while it runs."""
    if element.ended_s is None:
        return None
    fixed = {"walltime": -29, "deleted": 256 + 15, "node": -11, "launch": -1, "oom": 137}.get(element.why)
    return fixed if fixed is not None else 256 + element.signal if element.signal else element.code


def substate(row: Row) -> int:
    """10 queued, 20 held, 22 waits for others, 30 waits for its time, 42 running, 70 begun, 91 deleted, 92 ended well, 93 not."""
    job, own = row.job, row.element
    if row.index is not None and own is None and row.state != "F":
        return 70 if row.is_gone else 10
    if own is not None and (row.index is not None or job.ended_s is not None or row.state == "R"):
        return 42 if own.ended_s is None else 91 if own.why == "deleted" else 92 if own.is_ok else 93
    if job.ended_s is not None:
        if job.why == "deleted":
            return 91
        return 92 if job.why == "dependency" or array_status(job) in (0, None) else 93
    if row.state == "H":
        return 20 if job.holds else 22
    return {"B": 70, "W": 30}.get(row.state, 10)


def comment(cluster: Cluster, row: Row, now: float) -> str:
    """What the scheduler says of it."""
    job, own = row.job, row.element
    if row.is_gone:
        return "Subjob finished"
    if own is not None:
        began = f"Job run at {minute(own.started_s or now)} on {exec_vnode(job, own)}"
        if own.state == "ending" and own.why == "deleted":
            return f"{began} and terminated by {own.by}"
        return f"{began} and {how_it_ended(own)}" if own.state == "ended" else began
    said = (
        f"Job Array Began at {minute(job.started_s)}"
        if job.started_s is not None and job.is_array
        else job.notes.get("comment", "")
    )
    said = said or _obstacle(cluster, job, now)
    if job.ended_s is None or row.index is not None:
        return said
    if job.why == "deleted":
        return f"{said} and terminated" if said else "Subjob finished" if job.is_array else ""
    return "" if job.why == "dependency" else f"{said} and {'finished' if array_status(job) == 0 else 'failed'}"


def how_it_ended(element: Element) -> str:
    """The last words of a comment."""
    if element.why == "deleted":
        return f"terminated by {element.by}"
    return "finished" if element.is_ok else _ENDS.get(element.why, "failed")


def _obstacle(cluster: Cluster, job: Job, now: float) -> str:
    shortage = cluster.shortage(job.request)
    if shortage is not None and not job.holds and not job.awaits:
        name = {"cpus": "ncpus", "gpus": "ngpus", "memory": "mem"}.get(shortage.resource, shortage.resource)
        unit, scale = ("kb", 1024) if name == "mem" else ("", 1)
        requested, total = (f"{amount // scale}{unit}" for amount in (shortage.requested, shortage.total))
        return f"Can Never Run: Insufficient amount of resource: {name} (R: {requested} A: {total} T: {total})"
    return {
        "queue": "Not Running: Queue not started.",
        "throttle": "Not Running: Number of concurrent running subjobs limit reached",
        "": "Not Running: Not enough free nodes available",
    }.get(cluster.obstacle(job, now) if job.ended_s is None else "done", "")


def hold_types(job: Job) -> str:
    """``n``, or the letters of all holds; ``s`` for what waits for others."""
    letters = {*job.holds, *("s" if job.awaits else "")}
    return "".join(sorted(letters, key="uos".find)) or "n"


def depend_text(cluster: Cluster, job: Job) -> str:
    """What the job still waits for, and who waits (or waited) for it."""
    groups: dict[str, list[str]] = {}
    for dependency in job.awaits:
        kind, _, target = dependency.text.partition(":")
        groups.setdefault(kind, []).append(target)
    for other in cluster.jobs.values():
        for dependency in other.request.awaits:
            has_registered = job.ended_s is None or other.submitted_s < job.ended_s
            if dependency.number == job.number and dependency.kind in _BEFORE and has_registered:
                groups.setdefault(_BEFORE[dependency.kind], []).append(f"{identifier(other)}@{SERVER}")
    return ",".join(":".join([kind, *targets]) for kind, targets in groups.items())


def path_of(job: Job, which: str, index: int | None) -> str:
    """Where the output goes: ``host:/path``; of an array the index stays open."""
    path: str = job.request.attributes[which].replace("^job^", str(job.number))
    return path if index is None else path.replace("^array_index^", str(index))


def exec_host(element: Element) -> str:
    """``node/0``; more than one cpu: ``node/0*4``."""
    return "+".join(f"{node}/0{f'*{cpus}' if cpus > 1 else ''}" for node, cpus, _ in element.placed)


def exec_vnode(job: Job, element: Element) -> str:
    """``(node:ncpus=1:mem=102400kb)``, a part for each node."""
    return "+".join(f"({node}:{job.request.attributes['chunk']})" for node, _, _ in element.placed)


def used(settings: Settings, job: Job, element: Element, now: float) -> Mapping[str, str | int]:
    """resources_used; nothing before the node's first report."""
    began = element.started_s if element.started_s is not None else now
    if element.ended_s is None and now - began < settings.number("usage_poll_s"):
        return {}
    seconds = (element.ended_s or now) - began
    memory = f"{element.memory_bytes // 1024}kb"
    return {
        "cpupercent": int(100 * element.cpu_s / seconds) if seconds >= 1 else 0,
        "cput": clock(element.cpu_s),
        "mem": memory,
        "ncpus": job.request.cpus * job.request.chunks,
        "vmem": memory,
        "walltime": clock(seconds),
    }


def variables_of(row: Row) -> dict[str, str | int]:
    """``Variable_List``: where it was submitted, its own variables, then queue and host; as they are written (with backslashes)."""
    given = row.job.request.attributes["variables"]
    last = ("PBS_O_QUEUE", "PBS_O_HOST")
    ordered = {name: value for name, value in given.items() if name not in last}
    ordered |= row.job.request.environment
    ordered |= {name: given[name] for name in last}
    return {name: escape(value) for name, value in ordered.items()}


def escape(value: str) -> str:
    """A variable's value as the server keeps it."""
    for letter in ("\\", '"', "'", ","):
        value = value.replace(letter, f"\\{letter}")
    return value


def stamp(seconds: float) -> str:
    """``Fri Nov 20 23:23:53 2026``."""
    return time.ctime(seconds)


def minute(seconds: float | None) -> str:
    """``Fri Nov 20 at 23:23``, of comments."""
    return time.strftime("%a %b %d at %H:%M", time.localtime(seconds))
