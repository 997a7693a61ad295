"""Torque's qdel, qhold, qrls, qalter and qselect. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from hpcsweep.rehearsal import indices
from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Answer, Call
from hpcsweep.rehearsal.indices import Indices
from hpcsweep.rehearsal.jobs import Job
from hpcsweep.rehearsal.pbs_common import BadOptionError, Options, parse_dependencies, parse_job_id, parse_options
from hpcsweep.rehearsal.torque_records import Part, Server, identifier_of, is_never_created, part_of, parts_of, state_of
from hpcsweep.rehearsal.torque_request import RefusalError, parse_ranges
from hpcsweep.rehearsal.torque_resources import needs_of, resource_list
from hpcsweep.rehearsal.torque_submit import SERVER, find_dependency

_UNKNOWN = 153
_BAD_STATE = 170

_QDEL_USAGE = (
    "usage: qdel [{ -a | -c | -p | -t | -W delay | -m message}] [-b retry_seconds] [<JOBID>[<JOBID>]|'all'|'ALL']...\n"
    "       -a -c, -m, -p, -t, and -W are mutually exclusive\n"
)
_QALTER_USAGE = (
    "usage: qalter [-a date_time] [-A account_string] [-c interval] [-e path] \n"
    "              [-h hold_list] [-j y|n] [-k keep] [-l resource_list] [-m mail_options] \n"
    "              [-M user_list] [-N jobname] [-o path] [-p priority] [-q] [-r y|n] [-S path] \n"
    "              [-u user_list] [-v variable_list] [-W dependency_list] [-x exec_host] job_identifier...\n"
)


def server_of(cluster: Cluster, call: Call, now: float) -> Server:
    """What the records of this moment share."""
    settings = call.settings
    return Server(
        name=SERVER,
        now=now,
        keep_s=0.0 if call.faults.is_on("purged") else cluster.rules.keep_s,
        lazy=settings.whole("lazy"),
        create_per_s=settings.number("create_per_s"),
    )


def find(cluster: Cluster, text: str, server: Server) -> tuple[Job, Part | None] | None:
    """A job by its id: an array as a whole (``5[]``), an element that has been created (``5[3]``), another job (``5``)."""
    identifier = parse_job_id(text)
    job = None if identifier is None else cluster.jobs.get(identifier.number)
    if identifier is None or job is None or job.is_array != identifier.is_array:
        return None
    if not identifier.element and job.is_array:
        return job, None
    if not job.is_array:
        parts = parts_of(cluster, job, server)
        return (job, parts[0]) if parts else None
    part = part_of(cluster, job, int(identifier.element), server) if identifier.element.isdecimal() else None
    return None if part is None else (job, part)


class _Tool:
    """A command that does something with each of its operands; the code of the last that failed is its own."""

    def __init__(self, cluster: Cluster, call: Call, now: float) -> None:
        self.cluster, self.call, self.now = cluster, call, now
        self.server = server_of(cluster, call, now)
        self.stderr = ""
        self.code = 0

    def fail(self, words: str, code: int) -> None:
        self.stderr += f"{self.call.program}: {words}\n"
        self.code = code

    def each(self, operands: list[str], wanted: Indices | None, act: Callable[[Job, Indices | None], None]) -> Answer:
        """``wanted``: the ``-t`` of an array; what of it was not created is passed over in silence."""
        for text in operands:
            found = find(self.cluster, text, self.server)
            if parse_job_id(text) is None:
                self.fail(f"illegally formed job identifier: {text}", 1)
            elif found is None:
                self.fail(f"nonexistent job id: {text}", _UNKNOWN)
            else:
                job, part = found
                if part is not None and part.index is not None:
                    act(job, [range(part.index, part.index + 1)])
                elif wanted is not None and job.is_array:
                    created = indices.pack(part.index or 0 for part in parts_of(self.cluster, job, self.server))
                    act(job, indices.intersect(created, wanted))
                else:
                    act(job, None)
        return Answer(stderr=self.stderr, code=self.code)


def delete(cluster: Cluster, call: Call, now: float) -> Answer:
    """``qdel``."""
    tool = _Tool(cluster, call, now)
    try:
        options = parse_options(call.argv, "ab:cm:pt:W:")
    except BadOptionError as error:
        return Answer(stderr=error.message("qdel") + _QDEL_USAGE, code=2)
    kinds = [letter for letter, _ in options.given if letter != "b"]
    wanted = _ranges(options)
    delay = options.last("W")
    if delay is not None and not delay.isdecimal():
        return Answer(stderr="qdel: illegal -W value\n" + _QDEL_USAGE, code=2)
    if options.has("c"):
        for job in [job for job in cluster.jobs.values() if job.ended_s is not None]:
            cluster.forget(job)
        return Answer()
    if len(kinds) > 1 or not options.operands or (wanted is None and options.has("t")):
        return Answer(stderr=_QDEL_USAGE, code=2)

    def act(job: Job, which: Indices | None) -> None:
        if options.has("p") and which is None:
            cluster.forget(job)
        elif is_never_created(job):
            cluster.forget(job)  # it leaves no trace
        elif job.ended_s is None:
            cluster.delete(job, which, now, by=call.user)

    if any(word in ("all", "ALL") for word in options.operands):
        own = [job for job in list(cluster.jobs.values()) if job.request.user == call.user]
        for job in own:
            act(job, None)
        return Answer(stderr="" if own else "qdel: cannot find any jobs to delete\n")
    return tool.each(list(options.operands), wanted, act)


def _ranges(options: Options) -> Indices | None:
    text = options.last("t")
    return None if text is None else parse_ranges(text)


def hold(cluster: Cluster, call: Call, now: float) -> Answer:
    """``qhold``."""
    return _hold_or_release(cluster, call, now, is_hold=True)


def release(cluster: Cluster, call: Call, now: float) -> Answer:
    """``qrls``."""
    return _hold_or_release(cluster, call, now, is_hold=False)


def _hold_or_release(cluster: Cluster, call: Call, now: float, *, is_hold: bool) -> Answer:
    usage = f"usage: {call.program} [-h hold_list] [-t array_range] job_identifier...\n"
    try:
        options = parse_options(call.argv, "h:t:")
    except BadOptionError as error:
        return Answer(stderr=error.message(call.program) + usage, code=2)
    letters = options.last("h")
    letters = "u" if letters is None else letters.strip()
    if not re.fullmatch("[uos]+", letters):
        return Answer(stderr=f"{call.program}: illegal -h value\n{usage}", code=2)
    if not options.operands:
        return Answer(stderr=usage, code=2)
    if options.has("t") and _ranges(options) is None:
        return Answer(stderr=f"{call.program}: illegal -t value\n{usage}", code=2)
    tool = _Tool(cluster, call, now)
    if letters != "u":
        # Holds of the system and of operators are theirs.
        for text in options.operands:
            tool.fail(f"Unauthorized Request  MSG=must have operator or manager privilege {text}", 159)
        return Answer(stderr=tool.stderr, code=tool.code)

    def act(job: Job, which: Indices | None) -> None:
        if not job.is_array and job.ended_s is not None:
            words = f"Request invalid for state of job MSG=invalid state for job - COMPLETE {identifier_of(job, None, SERVER)}"
            tool.fail(words, _BAD_STATE)
        elif is_hold:
            cluster.hold(job, which, letters, now)
        else:
            _release(cluster, job, which, now)

    return tool.each(list(options.operands), _ranges(options), act)


def _release(cluster: Cluster, job: Job, which: Indices | None, now: float) -> None:
    """Each element has a hold of its own: of an array that is held as a whole, the others stay so, and the array says so."""
    others = None if which is None or not job.holds else indices.subtract(cluster.waiting_of(job), which)
    job.notes["holds"] = "" if which is None else job.notes.get("holds", "") or job.holds
    cluster.release(job, None if others is not None else which, "u", now)
    if others is not None:
        cluster.hold(job, others, "u", now)


def alter(cluster: Cluster, call: Call, now: float) -> Answer:
    """``qalter``: ``-t %N`` ``-h`` ``-l`` ``-N`` ``-p`` ``-A`` ``-o`` ``-e`` ``-W depend=``."""
    try:
        options = parse_options(call.argv, "a:A:c:e:fh:j:k:l:m:M:N:o:p:q:r:S:t:u:v:W:x:")
    except BadOptionError as error:
        return Answer(stderr=error.message("qalter") + _QALTER_USAGE, code=2)
    if not options.operands:
        return Answer(stderr=_QALTER_USAGE, code=2)
    strange = [letter for letter, _ in options.given if letter not in "thlNpAoeWf"]
    if strange:
        return Answer(stderr=f"qalter: -{strange[0]} is not imitated by a rehearsal\n", code=1)
    if options.has("t") and not re.fullmatch("%[0-9]+", options.last("t") or "", re.ASCII):
        return Answer(stderr="qalter: illegal -t value\n" + _QALTER_USAGE, code=2)
    tool = _Tool(cluster, call, now)

    def act(job: Job, which: Indices | None) -> None:
        if job.ended_s is not None:
            words = f"Request invalid for state of job MSG=invalid state for job - COMPLETE {identifier_of(job, None, SERVER)}"
            tool.fail(words, _BAD_STATE)
            return
        try:
            for letter, value in options.given:
                _alter(tool, job, which, letter, value)
        except RefusalError as error:
            tool.fail(f"{error} {identifier_of(job, None, SERVER)}", error.code)

    return tool.each(list(options.operands), None, act)


def _alter(tool: _Tool, job: Job, which: Indices | None, letter: str, value: str) -> None:
    cluster, now, told = tool.cluster, tool.now, job.request.attributes
    if letter == "t":
        cluster.alter(job, now, throttle=int(value[1:]))  # the array's job_array_request goes on saying the old one
    elif letter == "h":
        cluster.release(job, which, "u", now)
        if value != "n":
            cluster.hold(job, which, "".join(sorted(set(value) & set("uos"))), now)
    elif letter == "l":
        asked = dict(item.partition("=")[::2] for item in value.split(","))
        resources = resource_list({**told["resources"], **asked})
        cluster.alter(job, now, walltime_s=needs_of(resources).walltime_s, attributes={**told, "resources": resources})
    elif letter == "N":
        cluster.alter(job, now, name=value)
    elif letter == "p":
        cluster.alter(job, now, priority=int(value))
    elif letter == "W":
        depend = value.partition("=")[2]
        awaits = [find_dependency(cluster, kind, text) for kind, ids in parse_dependencies(depend) for text in ids]
        cluster.alter(job, now, awaits=tuple(awaits))
    elif letter != "f":
        names = {"A": "account", "o": "output", "e": "error"}
        whole = value if letter == "A" or value.startswith("/") else f"{tool.call.cwd}/{value}"
        cluster.alter(job, now, attributes={**told, names[letter]: whole})


def select(cluster: Cluster, call: Call, now: float) -> Answer:
    """``qselect``, which never finds an array."""
    try:
        options = parse_options(call.argv, "a:A:ec:h:l:N:p:q:r:s:u:")
    except BadOptionError as error:
        return Answer(stderr=error.message("qselect"), code=2)
    server = server_of(cluster, call, now)
    lines = []
    for job in cluster.jobs.values():
        if job.is_array:
            continue
        states = [state_of(job, part, now) for part in parts_of(cluster, job, server)]
        asked = {"N": job.request.name, "q": job.request.queue, "A": job.request.attributes["account"]}
        is_wanted = all(options.last(letter) in (None, value) for letter, value in asked.items())
        user = (options.last("u") or job.request.user).partition("@")[0]
        if is_wanted and user == job.request.user and set(states) & set(options.last("s") or "CEHQRTW"):
            lines.append(f"{identifier_of(job, None, SERVER)}\n")
    return Answer(stdout="".join(lines))
