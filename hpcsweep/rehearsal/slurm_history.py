"""sacct: which records it chooses."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass

from hpcsweep.rehearsal import slurm_sacct
from hpcsweep.rehearsal.face import Answer, Call
from hpcsweep.rehearsal.jobs import Job
from hpcsweep.rehearsal.slurm_arguments import Arguments, Syntax, UsageError, pairs, table
from hpcsweep.rehearsal.slurm_query import is_one_of, knows_users
from hpcsweep.rehearsal.slurm_rows import SHORT_STATES, Row
from hpcsweep.rehearsal.slurm_site import VERSION
from hpcsweep.rehearsal.slurm_values import parse_moment
from hpcsweep.rehearsal.slurm_view import Visit, find_job, parse_job_id

SACCT = Syntax(
    program="sacct",
    hint=False,
    longs=table(
        none="allclusters allocations allusers batch-script brief completion duplicates env-vars federation help helpformat"
        " json local long noconvert noheader parsable parsable2 truncate usage use-local-uid verbose version yaml",
        value="accounts associations cluster clusters constraints delimiter endtime fields file flags format gid group jobs name"
        " ncpus nnodes nodelist partition qos starttime state timelimit-max timelimit-min uid units user wckeys",
        optional="whole-hetjob",
    ),
    shorts=pairs(
        "a=allusers b=brief c=completion f=file g=gid h=help i=nnodes j=jobs k=timelimit-min l=long "
        "n=noheader o=format p=parsable q=qos r=partition s=state u=user v=verbose x=associations A=accounts "
        "B=batch-script C=constraints D=duplicates E=endtime F=flags K=timelimit-max L=allclusters M=clusters "
        "N=nodelist P=parsable2 S=starttime T=truncate U=use-local-uid V=version W=wckeys X=allocations"
    ),
    aliases={"cluster": "clusters", "fields": "format", "gid": "group", "uid": "user"},
)
HISTORY_DOWN = (
    (
        "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection to host:localhost:6819:"
        " Connection refused"
    ),
    "sacct: error: Sending PersistInit msg: Connection refused",
    "sacct: error: Problem talking to the database: Connection refused",
)


@dataclass(frozen=True, kw_only=True)
class Window:
    """What of the history is asked for; None: all times."""

    start: float | None
    end: float
    states: frozenset[str]

    def shows(self, row: Row) -> bool:
        """Whether the row has been eligible, or was running, or has ended in that time."""
        if self.states and row.state not in self.states:
            return False
        if self.start is None:
            return True
        if row.eligible_at is None or row.eligible_at > self.end:
            return False
        if self.states and row.ended_at is not None:
            return self.start <= row.ended_at <= self.end
        return row.ended_at is None or row.ended_at >= self.start


def run_sacct(visit: Visit) -> Answer:
    """Do what sacct does."""
    try:
        call = visit.call
        given = SACCT.parse(call.argv)
        if "version" in given:
            return Answer(stdout=f"slurm-wlm {VERSION}\n")
        if "helpformat" in given:
            return Answer(stdout="".join(f"{line}\n" for line in slurm_sacct.print_help()))
        _check_words(given)
        fields = _sacct_fields(given, call)
        ids = _sacct_ids(given)
        window = _window(visit, given, has_ids=bool(ids))
    except UsageError as error:
        return Answer(stderr=error.text, code=error.code)
    if not visit.site.has_history or call.faults.is_on("history-off"):
        return Answer(stderr="Slurm accounting storage is disabled\n", code=1)
    if call.faults.is_on("history-down"):
        return Answer(stderr="".join(f"{line}\n" for line in HISTORY_DOWN), code=1)
    if "user" in given and not knows_users(given, call):
        return Answer(stderr=f"sacct: error: Invalid user id: {given.last('user')}\n", code=1)
    rows = [] if call.faults.is_on("history-empty") else list(_history(visit, ids, with_incarnations="duplicates" in given))
    records = [
        slurm_sacct.Record(row=row, step=step, cluster=visit.site.cluster, zone=visit.zone)
        for row in slurm_sacct.sort_rows(row for row in rows if window.shows(row) and _is_listed_too(row, given))
        for step in ([None] if "allocations" in given or row.batch is None else [None, row.batch])
    ]
    is_parsable = "parsable" in given or "parsable2" in given
    lines = slurm_sacct.print_records(
        records,
        fields,
        header="noheader" not in given,
        delimiter=(given.last("delimiter") or "|") if is_parsable else None,
        ends="parsable" in given and "parsable2" not in given,
    )
    return Answer(stdout="".join(f"{line}\n" for line in lines))


def _check_words(given: Arguments) -> None:
    if given.words:
        said = [f"sacct: error:  {word}" for word in given.words]
        raise UsageError("sacct: error: Unknown arguments:", *said, code=1)


def _sacct_fields(given: Arguments, call: Call) -> list[slurm_sacct.Field]:
    if "format" in given:
        text = given.last("format")
    elif "brief" in given:
        text = slurm_sacct.BRIEF
    elif "long" in given:
        text = slurm_sacct.LONG
    else:
        text = call.env.get("SACCT_FORMAT") or slurm_sacct.DEFAULT
    try:
        return slurm_sacct.parse_fields(text)
    except slurm_sacct.UnknownFieldError as error:
        raise UsageError(f'sacct: error: Invalid field requested: "{error}"', code=1) from None


def _sacct_ids(given: Arguments) -> list[str]:
    ids = [word for word in given.last("jobs").split(",") if word]
    for word in ids:
        if parse_job_id(word.partition(".")[0]) is None:
            raise UsageError(f"sacct: fatal: Bad job/step specified: {word}", code=1)
    return ids


def _window(visit: Visit, given: Arguments, *, has_ids: bool) -> Window:
    now, zone = visit.now, visit.zone
    moments: dict[str, float] = {}
    for name in ("starttime", "endtime"):
        if given.last(name):
            try:
                moments[name] = parse_moment(given.last(name), now, zone)
            except ValueError as error:
                raise UsageError(f"Invalid time specification (pos={error.args[0]}): {given.last(name)}", code=1) from None
            if moments[name] > now and re.fullmatch(r"[\d:]+ ?([AP]M)?", given.last(name), re.IGNORECASE):
                moments[name] -= 86400  # a time of day is today's
    states = _sacct_states(given)
    midnight = dt.datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    start = moments.get("starttime", None if has_ids else now if states else midnight)
    # With --state and no end it is a moment that is asked for.
    end = moments.get("endtime", now if not states or start is None else start)
    return Window(start=start, end=end, states=states)


def _sacct_states(given: Arguments) -> frozenset[str]:
    full = {short: word for word, short in SHORT_STATES.items()}
    found = set()
    for word in filter(None, given.last("state").split(",")):
        name = full.get(word.upper(), word.upper())
        if name not in SHORT_STATES:
            raise UsageError(f"sacct: fatal: unrecognized job state value '{word}'", code=1)
        found.add(name)
    return frozenset(found)


def _history(visit: Visit, ids: list[str], *, with_incarnations: bool) -> Iterator[Row]:
    cluster, call = visit.cluster, visit.call
    late_s = float(call.faults.argument("history-late", "60")) if call.faults.is_on("history-late") else 0.0
    chosen: list[tuple[Job, tuple[range, ...] | None]] = [(job, None) for job in cluster.jobs.values()]
    if ids:
        chosen = []
        for word in ids:
            parsed = parse_job_id(word.partition(".")[0])
            found = find_job(cluster, parsed[0]) if parsed else None
            if parsed and found:
                which = parsed[1] if parsed[1] is not None else found[1]
                chosen.append((found[0], None if which is None else tuple(which)))
    for job, which in chosen:
        for row in visit.viewer.history(job, with_incarnations=with_incarnations):
            seen = _seen_late(row, visit.now - late_s, everything=True) if late_s else row
            seen = seen and _seen_late(seen, visit.now - visit.site.history_lag_s, everything=False)
            if seen is not None and is_one_of(seen, which):
                yield seen


def _seen_late(row: Row, horizon: float, *, everything: bool) -> Row | None:
    """What the history knew then: of ends alone, or of everything."""
    if everything and row.submitted_at > horizon:
        return None
    has_begun = row.started_at is not None and row.nodes and (not everything or row.started_at <= horizon)
    if row.ended_at is not None and row.ended_at > horizon:
        if not has_begun:
            return None
        batch = row.batch and dataclasses.replace(row.batch, state="RUNNING", exit_code=0, signal=0, ended_at=None, memory_kb=0)
        return dataclasses.replace(row, state="RUNNING", exit_code=0, signal=0, ended_at=None, cancelled_by=None, batch=batch)
    if row.state == "RUNNING" and not has_begun:
        return None
    return row


def _is_listed_too(row: Row, given: Arguments) -> bool:
    values = {"name": row.name, "partition": row.partition, "accounts": row.account, "qos": row.qos}
    return all(value in given.last(option).split(",") for option, value in values.items() if option in given)
