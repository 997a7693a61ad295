"""OpenPBS's ``qstat`` and ``qselect``. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from hpcsweep.rehearsal import indices, openpbs_print
from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Answer, Call
from hpcsweep.rehearsal.jobs import Job
from hpcsweep.rehearsal.openpbs_options import getopt
from hpcsweep.rehearsal.openpbs_records import (
    Row,
    Value,
    comment,
    exec_host,
    full_record,
    identifier,
    job_row,
    subjob_rows,
    used,
)
from hpcsweep.rehearsal.openpbs_resources import largest_unit
from hpcsweep.rehearsal.openpbs_service import live_jobs, queue_record, server_record, total
from hpcsweep.rehearsal.openpbs_submit import SERVER
from hpcsweep.rehearsal.pbs_common import clock, parse_job_id, seconds_of

QSTAT_USAGE = """\
usage:
 qstat [-f] [-J] [-p] [-t] [-x] [-E] [-F format] [-D delim] [ job_identifier... | destination... ]
 qstat [-a|-i|-r|-H|-T] [-J] [-t] [-u user] [-n] [-s] [-G|-M] [-1] [-w]
\t[ job_identifier... | destination... ]
 qstat -Q [-f] [-F format] [-D delim] [ destination... ]
 qstat -q [-G|-M] [ destination... ]
 qstat -B [-f] [-F format] [-D delim] [ server_name... ]
 qstat --version
"""
HISTORY_OFF = "job_history_enable is set to false"
UNKNOWN_JOB, HAS_FINISHED, UNKNOWN_QUEUE = 153, 35, 170


@dataclass(kw_only=True)
class Look:
    """One qstat: its options, what it found, and what it complains of."""

    letters: Mapping[str, str]
    rows: list[Row] = field(default_factory=list)
    stderr: str = ""
    code: int = 0

    def has(self, letters: str) -> bool:
        """Whether one of the options was given."""
        return any(letter in self.letters for letter in letters)

    def complain(self, words: str, code: int) -> None:
        """Say what is wrong with an operand; the last code counts, but an unknown job outweighs a finished one."""
        self.stderr += f"qstat: {words}\n"
        self.code = code if self.code != UNKNOWN_JOB else self.code


def qstat(cluster: Cluster, call: Call, now: float) -> Answer:
    """Look at jobs, queues or the server."""
    given, operands, after, problems = getopt(call.argv, "1aBD:EfF:GHiJMnpqQrstTu:wx")
    if problems:
        return Answer(stderr="".join(f"qstat: {problem}\n" for problem in problems) + QSTAT_USAGE, code=2)
    look = Look(letters=dict(given))
    operands += after or []
    if look.has("B"):
        return _show_server(cluster, call, look, now)
    if look.has("Qq"):
        return _show_queues(cluster, call, look, operands, now)
    if look.has("xH"):
        if not call.settings.flag("history") or call.faults.is_on("history-off"):
            return Answer(stderr=f"qstat: {HISTORY_OFF}\n")
        cluster = _as_history(cluster, call, now)
    _find_rows(cluster, look, operands, now)
    return Answer(stdout=_show_rows(cluster, call, look, now), stderr=look.stderr, code=look.code)


def _as_history(cluster: Cluster, call: Call, now: float) -> Cluster:
    """The cluster as a history that is empty, or late, has it: what ended (since) is not there."""
    if not (call.faults.is_on("history-empty") or call.faults.is_on("history-late")):
        return cluster
    late = float(call.faults.argument("history-late", "60")) if call.faults.is_on("history-late") else 0.0
    is_empty = call.faults.is_on("history-empty")
    seen = Cluster(cluster.rules)
    seen.restore(cluster.snapshot())
    for job in list(seen.jobs.values()):
        if job.ended_s is not None and (is_empty or job.ended_s > now - late):
            seen.forget(job)
    return seen


# ---- which jobs ----


def _find_rows(cluster: Cluster, look: Look, operands: list[str], now: float) -> None:
    """All rows that are meant; what of the operands is wrong is said."""
    if not operands:
        for job in cluster.jobs.values():
            look.rows += [row for row in _rows_of(cluster, look, job, now) if _is_wanted(look, row)]
    for operand in operands:
        parsed = parse_job_id(operand)
        if parsed is None:
            _find_queue(cluster, look, operand, now)
            continue
        shown = f"{parsed.number}{f'[{parsed.element}]' if parsed.is_array else ''}.{SERVER}"
        named = cluster.jobs.get(parsed.number)
        element = _element_of(parsed.element)
        is_there = (
            named is not None and named.is_array == parsed.is_array and (element is None or indices.has(named.indices, element))
        )
        if named is None or not is_there or (parsed.element and element is None):
            look.complain(f"Unknown Job Id {shown}", UNKNOWN_JOB)
        elif named.ended_s is not None and not look.has("xH"):
            look.complain(f"{shown} Job has finished, use -x or -H to obtain historical job information", HAS_FINISHED)
        elif element is not None:
            look.rows += list(subjob_rows(cluster, named, [range(element, element + 1)]))
        else:
            look.rows += list(_rows_of(cluster, look, named, now, is_named=True))


def _element_of(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _find_queue(cluster: Cluster, look: Look, operand: str, now: float) -> None:
    if not any(queue.name == operand for queue in cluster.rules.queues):
        if operand.partition("@")[0]:
            look.complain(f"Unknown queue {operand}", UNKNOWN_QUEUE)
        return
    for job in cluster.jobs.values():
        if job.request.queue == operand:
            look.rows += [row for row in _rows_of(cluster, look, job, now) if _is_wanted(look, row)]


def _rows_of(cluster: Cluster, look: Look, job: Job, now: float, *, is_named: bool = False) -> Iterator[Row]:
    """A job's row, with ``-t`` its subjobs' too, or (``-Jt``) only theirs."""
    if look.has("J") and not job.is_array:
        return
    if (look.has("H") and job.ended_s is None) or (job.ended_s is not None and not look.has("xH") and not is_named):
        return
    if not (look.has("J") and look.has("t") and not look.has("f")):
        yield job_row(job, now)
    if look.has("t") and job.is_array:
        yield from subjob_rows(cluster, job)


def _is_wanted(look: Look, row: Row) -> bool:
    """Whether the options that choose let it pass."""
    users = look.letters.get("u")
    if users is not None and row.job.request.user not in [user.partition("@")[0] for user in users.split(",")]:
        return False
    if look.has("r"):
        return row.state in "RB"
    return not look.has("i") or row.state in "QHW"


# ---- printing ----


def _show_rows(cluster: Cluster, call: Call, look: Look, now: float) -> str:
    format_name = look.letters.get("F", "")
    if look.has("f") or format_name:
        return _show_full(cluster, call, look, now)
    if not look.rows:
        return ""
    if look.has("aisrnuHTwG1M"):
        return _show_wide(cluster, call, look, now)
    lines = []
    for row in look.rows:
        request = row.job.request
        words = (row.id, request.name, request.user, _cpu_time(call, row, now), row.state, request.queue)
        lines.append(openpbs_print.list_line(words))
    return openpbs_print.LIST_HEAD + "".join(lines)


def _cpu_time(call: Call, row: Row, now: float) -> str:
    found = used(call.settings, row.job, row.element, now) if row.element is not None else {}
    return str(found.get("cput", "0"))


def _show_full(cluster: Cluster, call: Call, look: Look, now: float) -> str:
    format_name = look.letters.get("F", "").lower()
    rows = look.rows
    if format_name == "json" and call.settings.text("json_ids") == "first" and rows:
        # Each operand's jobs are one object, and only the first object is printed.
        rows = [row for row in rows if row.job is rows[0].job] if _has_operands(call) else rows
        if _has_operands(call) and rows[0].index is not None:
            rows = rows[:1]
    is_release = call.settings.text("json") == "release"
    write: Callable[[Mapping[str, Value]], str] = openpbs_print.full_text
    if format_name == "json":
        write = partial(openpbs_print.json_body, is_release=is_release)
    elif format_name == "dsv":
        write = partial(openpbs_print.dsv_text, separator=look.letters.get("D", "|"))
    bodies = _write_rows(cluster, call, rows, write, now)
    if format_name == "json":
        return openpbs_print.json_text("Jobs", bodies, now, is_release=is_release)
    end = "" if format_name == "dsv" else "\n"
    return "".join(f"Job Id: {name}{end}{body}" for name, body in bodies.items())


def _write_rows(
    cluster: Cluster, call: Call, rows: list[Row], write: Callable[[Mapping[str, Value]], str], now: float
) -> dict[str, str]:
    """Each row's text. Subjobs without records of their own are alike but for their ids: written once."""
    alike: dict[tuple[int, str, bool], str] = {}
    bodies = {}
    for row in rows:
        key = (row.job.number, row.state, row.is_gone)
        if row.index is None or row.element is not None:
            bodies[row.id] = write(full_record(cluster, call.settings, row, now))
        else:
            if key not in alike:
                alike[key] = write(full_record(cluster, call.settings, row, now))
            bodies[row.id] = alike[key]
    return bodies


def _has_operands(call: Call) -> bool:
    _, operands, after, _ = getopt(call.argv, "1aBD:EfF:GHiJMnpqQrstTu:wx")
    return bool(operands or after)


def _show_wide(cluster: Cluster, call: Call, look: Look, now: float) -> str:
    is_wide = look.has("w")
    text = openpbs_print.wide_head(is_wide=is_wide)
    for row in look.rows:
        text += openpbs_print.wide_line(_wide_words(call, row, now), is_wide=is_wide)
        if look.has("n"):
            text += f"   {exec_host(row.element) if row.element is not None else '--'} \n"
        if look.has("s"):
            said = comment(cluster, row, now)
            text += f"   {said}\n" if said else "    -- \n"
    return text


def _wide_words(call: Call, row: Row, now: float) -> list[str]:
    request, own = row.job.request, row.element
    resources = request.attributes["resources"]
    found = used(call.settings, row.job, own, now) if own is not None else {}
    limit = resources.get("walltime")
    memory = largest_unit(str(resources.get("mem", "")))
    return [
        row.id,
        request.user,
        request.queue,
        request.name,
        str(own.pid) if own is not None and own.pid and found else "",
        str(resources["nodect"]),
        str(resources.get("ncpus", 1)),
        memory,
        clock(seconds_of(str(limit)) or 0)[:5] if limit is not None else "",
        row.state,
        str(found["walltime"])[:5] if found else "",
    ]


# ---- queues and the server ----


def _show_queues(cluster: Cluster, call: Call, look: Look, operands: list[str], now: float) -> Answer:
    names = [queue.name for queue in cluster.rules.queues]
    for operand in operands:
        if operand.partition("@")[0] not in names:
            look.complain(f"Unknown queue {operand}", UNKNOWN_QUEUE)
    queues = [
        queue for queue in cluster.rules.queues if not operands or queue.name in [one.partition("@")[0] for one in operands]
    ]
    records = {queue.name: queue_record(cluster, queue, now) for queue in queues}
    text = ""
    if look.letters.get("F", "").lower() == "json":
        text = _write_json(call, "Queue", records, now)
    elif look.has("f"):
        text = "".join(f"Queue: {name}\n{openpbs_print.full_text(record)}" for name, record in records.items())
    elif queues:
        head = ("Queue", "Max", "Tot", "Ena", "Str", "Que", "Run", "Hld", "Wat", "Trn", "Ext", "Type")
        widths = (16, 5, 5, 3, 3, 5, 5, 5, 5, 5, 5, 4)
        lines = [head, tuple("-" * width for width in widths)]
        for queue in queues:
            jobs = live_jobs(cluster, queue.name)
            words = ["yes" if queue.is_enabled else "no", "yes" if queue.is_started else "no", *_counts(jobs, now), "Exec"]
            lines.append((queue.name, "0", str(total(jobs)), *words))
        text = openpbs_print.table(lines, widths, frozenset({0, 3, 4, 11}))
    return Answer(stdout=text, stderr=look.stderr, code=look.code)


def _write_json(call: Call, section: str, records: Mapping[str, Mapping[str, Value]], now: float) -> str:
    is_release = call.settings.text("json") == "release"
    bodies = {name: openpbs_print.json_body(record, is_release=is_release) for name, record in records.items()}
    return openpbs_print.json_text(section, bodies, now, is_release=is_release)


def _counts(jobs: list[Job], now: float) -> list[str]:
    """Queued, running, held, waiting, in transit, exiting."""
    states = [job_row(job, now).state for job in jobs]
    running = sum(job.running for job in jobs)
    return [
        str(number) for number in (states.count("Q") + states.count("B"), running, states.count("H"), states.count("W"), 0, 0)
    ]


def _show_server(cluster: Cluster, call: Call, look: Look, now: float) -> Answer:
    record = server_record(cluster, call.settings, now)
    if look.letters.get("F", "").lower() == "json":
        return Answer(stdout=_write_json(call, "Server", {SERVER: record}, now))
    if look.has("f"):
        return Answer(stdout=f"Server: {SERVER}\n{openpbs_print.full_text(record)}")
    jobs = live_jobs(cluster)
    widths = (16, 5, 5, 5, 5, 5, 5, 5, 5, 11)
    head = ("Server", "Max", "Tot", "Que", "Run", "Hld", "Wat", "Trn", "Ext", "Status")
    line = (SERVER, "0", str(total(jobs)), *_counts(jobs, now), "Active")
    return Answer(stdout=openpbs_print.table([head, tuple("-" * width for width in widths), line], widths, frozenset({0, 9})))


# ---- qselect ----


def qselect(cluster: Cluster, call: Call, now: float) -> Answer:
    """The ids of jobs that are as told."""
    given, operands, after, problems = getopt(call.argv, "a:A:c:h:Hl:N:p:P:q:r:s:St:Tu:xJ")
    if problems or operands or after:
        usage = "usage: qselect [-a [op]date_time] [-A account_string] [-c [op]interval]\n"
        return Answer(stderr="".join(f"qselect: {problem}\n" for problem in problems) + usage, code=2)
    letters = dict(given)
    is_history = "x" in letters or "H" in letters
    if is_history and (not call.settings.flag("history") or call.faults.is_on("history-off")):
        return Answer(stderr=f"qselect: {HISTORY_OFF}\n")
    seen = _as_history(cluster, call, now) if is_history else cluster
    found = [job for job in seen.jobs.values() if _is_selected(job, letters, now)]
    return Answer(stdout="".join(f"{identifier(job)}\n" for job in found))


def _is_selected(job: Job, letters: Mapping[str, str], now: float) -> bool:
    request = job.request
    state = job_row(job, now).state
    if state == "F" and not ("x" in letters or "H" in letters):
        return False
    wanted = {
        "N": request.name == letters.get("N"),
        "q": request.queue == letters.get("q", "").partition("@")[0],
        "u": request.user in [user.partition("@")[0] for user in letters.get("u", "").split(",")],
        "s": state in letters.get("s", ""),
        "A": request.attributes["account"] == letters.get("A"),
        "P": request.attributes["project"] == letters.get("P"),
        "J": job.is_array,
        "H": state == "F",
    }
    return all(wanted.get(letter, True) for letter in letters)
