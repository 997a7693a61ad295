"""Torque's qstat and pbsnodes: which records are meant, and in which form. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Answer, Call
from hpcsweep.rehearsal.jobs import Job, Node
from hpcsweep.rehearsal.pbs_common import BadOptionError, Options, clock, parse_job_id, parse_options
from hpcsweep.rehearsal.torque_control import find, server_of
from hpcsweep.rehearsal.torque_print import (
    Attribute,
    Extra,
    Record,
    full_text,
    list_text,
    queues_limits_text,
    queues_text,
    server_text,
    wide_text,
    xml_text,
)
from hpcsweep.rehearsal.torque_records import Chosen, Server, brief_records, full_records, identifier_of, parts_of, state_of
from hpcsweep.rehearsal.torque_resources import DEFAULTS
from hpcsweep.rehearsal.torque_submit import DEFAULT_QUEUE, SERVER

_USAGE = """\
usage:\x20
                          qstat [-f [-1]] [-W site_specific] [-x] [ job_identifier... | destination... ]
                          qstat [-a|-i|-r|-e] [-u user] [-n [-1]] [-s] [-t] [-G|-M] [-R] [job_id... | destination...]
                          qstat -Q [-f [-1]] [-W site_specific] [ destination... ]
                          qstat -q [-G|-M] [ destination... ]
                          qstat -B [-f [-1]] [-W site_specific] [ server_name... ]
                          qstat -t
"""
_CONFLICT = "qstat: conflicting options.\n"
_LETTERS = {"Q": "Queued", "H": "Held", "W": "Waiting", "R": "Running", "E": "Exiting", "C": "Complete"}
_WIDE = "aiernsu"


def status(cluster: Cluster, call: Call, now: float) -> Answer:
    """``qstat``."""
    try:
        options = parse_options(call.argv, "acCeE:fgiln1pqrstu:xGMQRBW:-:")
    except BadOptionError as error:
        return Answer(stderr=error.message("qstat") + _USAGE, code=2)
    given = {letter for letter, _ in options.given}
    if "-" in given:
        return Answer(stderr=_USAGE, code=2)
    if len(given & set("airq")) > 1 or ("1" in given and not given & set("nf")) or given >= set("qf"):
        return Answer(stderr=_CONFLICT + _USAGE, code=2)
    server = server_of(cluster, call, now)
    if "B" in given:
        record = server_record(cluster, call, server)
        return Answer(stdout=full_text([record], title="Server") if "f" in given else server_text(record))
    if given & set("Qq"):
        return _queues(cluster, server, options)
    return _jobs(cluster, server, options)


def _jobs(cluster: Cluster, server: Server, options: Options) -> Answer:
    given = {letter for letter, _ in options.given}
    chosen, stderr, code = _choose(cluster, server, options)
    is_full = bool(given & set("fx") or given & set(_WIDE))
    records = list(_filter(full_records(cluster, chosen, server) if is_full else brief_records(chosen, server), options))
    if "x" in given:
        # What is not there leaves no document behind.
        text = "" if code and not records else xml_text(records)
    elif "f" in given:
        text = full_text(records, one_line="1" in given)
    elif given & set(_WIDE):
        text = wide_text(SERVER, records, Extra(nodes="n" in given, comment="s" in given, one_line="1" in given))
    else:
        text = list_text(records)
    return Answer(stdout=text, stderr=stderr, code=code)


def _choose(cluster: Cluster, server: Server, options: Options) -> tuple[list[Chosen], str, int]:
    """The jobs that are meant, what is said of those that are not there, and the exit code."""

    def all_of(job: Job) -> Chosen:
        return job, parts_of(cluster, job, server) if elements or not job.is_array else [None]

    elements = options.has("t")
    chosen = [] if options.operands else [all_of(job) for job in cluster.jobs.values()]
    stderr, code = "", 0
    for text in options.operands:
        identifier = parse_job_id(text)
        if identifier is None:
            name = text.partition("@")[0]
            if name and all(queue.name != name for queue in cluster.rules.queues):
                stderr, code = f"{stderr}qstat: Unknown queue MSG=cannot locate queue\n", 172
            chosen += [all_of(job) for job in cluster.jobs.values() if name in ("", job.request.queue)]
            continue
        found = find(cluster, text, server)
        if found is None:
            stderr += f"qstat: Unknown Job Id Error {text if identifier.server else f'{text}.{SERVER}'}\n"
            code = 153
        elif found[1] is not None:
            chosen.append((found[0], [found[1]]))
        elif elements:
            chosen.append(all_of(found[0]))
        else:
            # An array's id without -t means all that there is.
            chosen += [all_of(job) for job in cluster.jobs.values()]
    return chosen, stderr, code


def _filter(records: Iterable[Record], options: Options) -> Iterator[Record]:
    user = (options.last("u") or "").partition("@")[0]
    states = "RS" if options.has("r") else "EHQTW" if options.has("i") else "QHWREC"
    for record in records:
        state = record.value("job_state")
        if user and record.value("Job_Owner").partition("@")[0] != user:
            continue
        if state in states and not (options.has("c") and state == "C"):
            yield record


def _queues(cluster: Cluster, server: Server, options: Options) -> Answer:
    records = queue_records(cluster, server)
    if options.operands:
        wanted = [text.partition("@")[0] for text in options.operands]
        missing = [name for name in wanted if name not in [record.identifier for record in records]]
        if missing:
            return Answer(stderr="qstat: Unknown queue MSG=cannot locate queue\n" * len(missing), code=172)
        records = [record for record in records if record.identifier in wanted]
    if options.has("q"):
        return Answer(stdout=queues_limits_text(SERVER, records))
    return Answer(stdout=full_text(records, title="Queue") if options.has("f") else queues_text(records))


def _counts(cluster: Cluster, server: Server, queue: str | None) -> list[Attribute]:
    """``total_jobs`` and ``state_count``: elements count, arrays do not."""
    found = dict.fromkeys(["Transit", "Queued", "Held", "Waiting", "Running", "Exiting", "Complete"], 0)
    for job in cluster.jobs.values():
        if queue in (None, job.request.queue):
            for part in parts_of(cluster, job, server):
                found[_LETTERS[state_of(job, part, server.now)]] += 1
    text = "".join(f"{name}:{number} " for name, number in found.items())
    return [Attribute("total_jobs", str(sum(found.values()))), Attribute("state_count", text)]


def _assigned(cluster: Cluster, queue: str | None) -> list[Attribute]:
    nodes = sum(job.running * job.request.chunks for job in cluster.jobs.values() if queue in (None, job.request.queue))
    return [Attribute("resources_assigned", str(nodes), "nodect")] if nodes else []


def queue_records(cluster: Cluster, server: Server) -> list[Record]:
    """All queues, as ``qstat -Q -f`` has them."""
    found = []
    for queue in cluster.rules.queues:
        attributes = [Attribute("queue_type", "Execution"), *_counts(cluster, server, queue.name)]
        if queue.max_walltime_s is not None:
            attributes.append(Attribute("resources_max", clock(queue.max_walltime_s), "walltime"))
        if queue.name == DEFAULT_QUEUE:
            attributes += [Attribute("resources_default", value, name) for name, value in DEFAULTS.items()]
        attributes += [Attribute("mtime", str(int(server.now))), *_assigned(cluster, queue.name)]
        attributes += [Attribute("enabled", "True")] if queue.is_enabled else []
        attributes += [Attribute("started", "True")] if queue.is_started else []
        found.append(Record(identifier=queue.name, attributes=attributes))
    return found


def server_record(cluster: Cluster, call: Call, server: Server) -> Record:
    """The server, as ``qstat -B -f`` has it."""
    settings = call.settings
    values = {
        "acl_hosts": SERVER,
        "managers": f"root@{SERVER}",
        "operators": f"root@{SERVER}",
        "default_queue": DEFAULT_QUEUE,
        "log_events": "2047",
        "mail_from": "adm",
        "query_other_jobs": "True",
    }
    limits = {
        "scheduler_iteration": "600",
        "node_check_rate": "150",
        "tcp_timeout": "300",
        "mom_job_sync": "True",
        "pbs_version": "6.1-dev",
        "keep_completed": str(min(int(cluster.rules.keep_s), 10**9)),
        **({"allow_node_submit": "True"} if settings.flag("allow_node_submit") else {}),
        "next_job_number": str(cluster.next_number),
        "max_job_array_size": settings.text("max_array_size"),
        "kill_delay": str(int(settings.number("kill_delay_s"))),
        "idle_slot_limit": settings.text("lazy"),
    }
    return Record(
        identifier=SERVER,
        attributes=[
            Attribute("server_state", "Active"),
            Attribute("scheduling", "True"),
            *_counts(cluster, server, None),
            *(Attribute(name, value) for name, value in values.items()),
            *_assigned(cluster, None),
            *(Attribute(name, value) for name, value in limits.items()),
        ],
    )


def nodes(cluster: Cluster, call: Call, now: float) -> Answer:
    """``pbsnodes``, ``pbsnodes -a``, ``pbsnodes NODE``, each with ``-x`` for XML; ``-l`` lists those that are down."""
    del now
    try:
        options = parse_options(call.argv, "aln:x")
    except BadOptionError as error:
        return Answer(stderr=error.message("pbsnodes"), code=1)
    names = [node.name for node in cluster.rules.nodes]
    unknown = [name for name in options.operands if name not in names]
    if unknown:
        words = "".join(f"pbsnodes: Unknown node  MSG=cannot locate specified node {name}\n" for name in unknown)
        return Answer(stderr=words, code=1)
    if options.has("l"):
        return Answer(stdout="".join(f"{name:<20} down\n" for name in names if name in cluster.room.down))
    wanted = [node for node in cluster.rules.nodes if not options.operands or node.name in options.operands]
    text = ""
    for node in wanted:
        values = _of_node(cluster, node)
        if options.has("x"):
            tags = "".join(f"<{name}>{value}</{name}>" for name, value in [("name", node.name), *values])
            text += f"<Node>{tags}</Node>"
        else:
            text += f"{node.name}\n" + "".join(f"     {name} = {value}\n" for name, value in values) + "\n"
    return Answer(stdout=f"<Data>{text}</Data>\n" if options.has("x") else text)


def _of_node(cluster: Cluster, node: Node) -> list[tuple[str, str]]:
    jobs = [
        f"0{'' if cpus == 1 else f'-{cpus - 1}'}/{identifier_of(job, element.index if job.is_array else None, SERVER)}"
        for job, element in cluster.all_active()
        for name, cpus, _ in element.placed
        if name == node.name
    ]
    state = "down" if node.name in cluster.room.down else "free" if cluster.room.free_cpus(node.name) else "job-exclusive"
    return [
        *[("state", state), ("power_state", "Running"), ("np", str(node.cpus)), ("ntype", "cluster")],
        *([("jobs", ",".join(jobs))] if jobs else []),
        *[("mom_service_port", "15002"), ("mom_manager_port", "15003")],
        *([("gpus", str(node.gpus))] if node.gpus else []),
    ]
