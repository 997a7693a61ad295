"""squeue: which rows it chooses."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable

from hpcsweep.rehearsal import slurm_squeue
from hpcsweep.rehearsal.face import Answer, Call
from hpcsweep.rehearsal.jobs import Job
from hpcsweep.rehearsal.slurm_arguments import Arguments, Syntax, UsageError, pairs, table
from hpcsweep.rehearsal.slurm_rows import ENDED, SHORT_STATES, STATE_WORDS, Row
from hpcsweep.rehearsal.slurm_site import VERSION
from hpcsweep.rehearsal.slurm_view import Viewer, Visit, find_job, parse_job_id

SQUEUE = Syntax(
    program="squeue",
    longs=table(
        none="all array array-unique federation help hide json local long me noconvert noheader priority sibling start usage"
        " verbose version yaml",
        value="Format account accounts cluster clusters format iterate licenses name node nodelist nodes partition partitions qos"
        " reservation sort state states user users",
        optional="job jobs step steps",
    ),
    shorts=pairs(
        "a=all h=noheader i=iterate l=long n=name o=format p=partition q=qos r=array s=steps t=states u=user "
        "v=verbose w=nodelist A=account L=licenses M=clusters O=Format P=priority R=reservation S=sort "
        "V=version"
    ),
    aliases=pairs(
        "accounts=account cluster=clusters job=jobs node=nodelist nodes=nodelist partitions=partition "
        "state=states step=steps users=user"
    ),
)


def run_squeue(visit: Visit) -> Answer:
    """Do what squeue does."""
    try:
        # -j takes its value from the next word where it has none of its own.
        given = SQUEUE.parse(_join_jobs(visit.call.argv))
        if "version" in given:
            return Answer(stdout=f"slurm-wlm {VERSION}\n")
        if given.words:
            return Answer(
                stdout="Usage: squeue [OPTIONS]\n", stderr=f"squeue: error: Unrecognized option: {given.words[0]}\n", code=1
            )
        states = _squeue_states(given)
        ids = _squeue_ids(given)
    except UsageError as error:
        return Answer(stderr=error.text, code=error.code)
    chosen = _chosen_jobs(visit.viewer, ids)
    if len(ids) == 1 and not chosen:
        return Answer(stderr="slurm_load_jobs error: Invalid job id specified\n", code=1)
    rows = [
        row
        for job, which in chosen
        for row in visit.viewer.queue(
            job, how="elements" if "array" in given or which is not None else "joined", with_ended=bool(states & ENDED)
        )
        if row.state in states and is_one_of(row, which)
    ]
    rows = slurm_squeue.sort_rows(row for row in rows if _is_listed(row, given, visit.call))
    return _print_squeue(visit, rows, given)


def _print_squeue(visit: Visit, rows: list[Row], given: Arguments) -> Answer:
    call = visit.call
    header = "noheader" not in given
    said = ""
    if "user" in given and not knows_users(given, call):
        said = f"squeue: error: Invalid user: {given.last('user')}\n\n"
    if "steps" in given:
        lines = slurm_squeue.print_steps(rows, header=header)
    else:
        length = call.env.get("SLURM_BITSTR_LEN")
        view = slurm_squeue.View(zone=visit.zone, bitstr_length=None if length is None else _length(length))
        text, is_long = _squeue_format(given, call)
        columns, unknown = slurm_squeue.parse_long_format(text) if is_long else slurm_squeue.parse_format(text)
        said += "".join(f"squeue: error: Invalid job format specification: {word}\n" for word in unknown)
        lines = slurm_squeue.print_rows(rows, columns, view, header=header)
        if "long" in given and header:
            lines.insert(0, f"{dt.datetime.fromtimestamp(visit.now, visit.zone):%a %b %d %H:%M:%S %Y}")
    return Answer(stdout="".join(f"{line}\n" for line in lines), stderr=said)


def _length(text: str) -> int:
    number = int(text) if re.fullmatch(r"-?\d+", text) else 0
    return 64 if number < 0 else min(number, 4096)


def _squeue_format(given: Arguments, call: Call) -> tuple[str, bool]:
    if "Format" in given:
        return given.last("Format"), True
    if "format" in given:
        return given.last("format"), False
    if "start" in given:
        return slurm_squeue.STARTS, False
    if "long" in given:
        return slurm_squeue.LONG, False
    return call.env.get("SQUEUE_FORMAT") or slurm_squeue.SHORT, False


def _join_jobs(argv: Iterable[str]) -> list[str]:
    """``-j 12`` -> ``--jobs=12``: getopt alone would take an optional value only without a space."""
    words = list(argv)
    joined = []
    while words:
        word = words.pop(0)
        if word in ("-j", "--job", "--jobs", "-s", "--step", "--steps"):
            has_value = words and not words[0].startswith("-") and word not in ("-s", "--step", "--steps")
            name = "--steps" if word in ("-s", "--step", "--steps") else "--jobs"
            joined.append(f"{name}={words.pop(0)}" if has_value else name)
        elif re.match(r"-j.", word):
            joined.append(f"--jobs={word[2:]}")
        else:
            joined.append(word)
    return joined


def _squeue_states(given: Arguments) -> frozenset[str]:
    written = given.last("states")
    known = frozenset(STATE_WORDS.split(","))
    if not written:
        return known - ENDED
    if written.lower() == "all":
        return known
    full = {short: word for word, short in SHORT_STATES.items()}
    found = {full.get(word.upper(), word.upper()) for word in written.split(",")}
    if not found <= known:
        bad = next(word for word in written.split(",") if full.get(word.upper(), word.upper()) not in known)
        raise UsageError(
            f"squeue: error: Invalid job state specified: {bad}",
            f"squeue: error: Valid job states include: {STATE_WORDS}",
            "",
            code=1,
        )
    return frozenset(found | ({"COMPLETING"} if "RUNNING" in found and "states" not in given else set()))


def _squeue_ids(given: Arguments) -> list[str]:
    ids = [word for word in given.last("jobs").split(",") if word]
    for word in ids:
        if parse_job_id(word) is None:
            raise UsageError(f"squeue: error: Invalid job id: {word}", code=1)
    return ids


def _chosen_jobs(viewer: Viewer, ids: list[str]) -> list[tuple[Job, tuple[range, ...] | None]]:
    if not ids:
        return [(job, None) for job in viewer.cluster.jobs.values() if viewer.knows(job)]
    chosen: list[tuple[Job, tuple[range, ...] | None]] = []
    for word in ids:
        parsed = parse_job_id(word)
        found = find_job(viewer.cluster, parsed[0]) if parsed else None
        if parsed and found and viewer.knows(found[0]):
            which = parsed[1] if parsed[1] is not None else found[1]
            chosen.append((found[0], None if which is None else tuple(which)))
    return chosen


def is_one_of(row: Row, which: tuple[range, ...] | None) -> bool:
    """Whether the row is about one of these elements; None: all are."""
    return which is None or any(part[0] in wanted for part in row.elements for wanted in which)


def knows_users(given: Arguments, call: Call) -> bool:
    """Whether --user names somebody that there is."""
    return any(word in (call.user, str(call.uid), "root") for word in given.last("user").split(","))


def _is_listed(row: Row, given: Arguments, call: Call) -> bool:
    if "user" in given and not {row.user, str(row.uid)} & set(given.last("user").split(",")) and knows_users(given, call):
        return False
    values = {"name": row.name, "partition": row.partition, "account": row.account, "qos": row.qos}
    return all(value in given.last(option).split(",") for option, value in values.items() if option in given)
