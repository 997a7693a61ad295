"""OpenPBS's ``qsub``: from a call to a request, or to a refusal in its words. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Answer, Call
from hpcsweep.rehearsal.jobs import Dependency, Queue, Request
from hpcsweep.rehearsal.openpbs_options import (
    ATTRIBUTES,
    DEPENDENCIES,
    Asked,
    RefusalError,
    parse_array,
    parse_date,
    read_command_line,
    read_directives,
    read_variables,
)
from hpcsweep.rehearsal.openpbs_resources import Resources, read_resources
from hpcsweep.rehearsal.pbs_common import parse_dependencies, parse_job_id

SERVER = "pbs"
REFUSALS = {
    "queue": ("qsub: Unknown queue\n", 170),
    "disabled": ("qsub: Queue is not enabled\n", 173),
    "limit": ("qsub: would exceed limit on jobs/user in queue workq\n", 25),
    "resources": ("qsub: Job violates queue and/or server resource limits\n", 188),
    "array-size": ("qsub: Array job exceeds server or queue size limit\n", 3),
    "permission": ("qsub: Unauthorized Request \n", 159),
}
"""The reasons of the fault ``refuse``; the first is the usual one."""


def refuse(cluster: Cluster, reason: str) -> Answer:
    """A refusal on demand."""
    words, code = REFUSALS.get(reason, REFUSALS["queue"])
    cluster.take_number()
    return Answer(stderr=words, code=code)


def qsub(cluster: Cluster, call: Call, now: float) -> Answer:
    """Submit a job."""
    try:
        asked = read_command_line(call.argv)
        if "I" in asked.options:
            return Answer(stderr="qsub: interactive jobs cannot be rehearsed\n", code=1)
        script = read_script(asked, call)
        request = make_request(cluster, call, asked, script, now)
    except RefusalError as error:
        if error.takes_number:
            cluster.take_number()
        return Answer(stderr=error.lines, code=error.code)
    job = cluster.submit(request, now)
    identifier = f"{job.number}{'[]' if job.is_array else ''}.{SERVER}\n"
    is_blocking = asked.attributes.get("block", "").lower() in ("true", "t", "1", "y")
    return Answer(stdout="" if "z" in asked.options else identifier, awaits=job.number if is_blocking else None)


def read_script(asked: Asked, call: Call) -> str:
    """The job's script; reads its directives, and names the job after it.

    Raises:
        RefusalError: the script cannot be read, or its directives are wrong.
    """
    if asked.command is not None:
        asked.options.setdefault("N", "STDIN")
        return ""
    if asked.operands and asked.operands[0] != "-":
        path = asked.operands[0]
        try:
            script = call.read_file(path)
        except IsADirectoryError:
            raise RefusalError("qsub: script not a file\n", 1) from None
        except OSError as error:
            raise RefusalError(f"qsub: script file:: {error.strerror}\n", 1) from None
        name = posixpath.basename(path)
    else:
        script, name = call.read_stdin(), "STDIN"
    read_directives(asked, script, asked.options.get("C", call.env.get("PBS_DPREFIX", "#PBS")))
    asked.options.setdefault("N", name)
    return script


def make_request(cluster: Cluster, call: Call, asked: Asked, script: str, now: float) -> Request:
    """What is asked for, checked as the client and then the server check it.

    Raises:
        RefusalError: it is refused.
    """
    options = asked.options
    unknown = [attribute for attribute in asked.attributes if attribute not in ATTRIBUTES]
    own = own_variables(asked, call)
    if unknown:
        raise RefusalError("qsub: Error (15002) submitting job\n", 154)
    resources = read_resources(asked.resources)
    queue = find_queue(cluster, options.get("q", "").partition("@")[0], resources)
    part, limit = parse_array(options["J"]) or (None, None) if "J" in options else (None, None)
    if part is not None and len(part) > call.settings.whole("max_array_size"):
        raise RefusalError("qsub: Array job exceeds server or queue size limit\n", 3, takes_number=True)
    if "max_run_subjobs" in asked.attributes:
        limit = int(asked.attributes["max_run_subjobs"])
    name = options["N"]
    return Request(
        name=name,
        user=call.user,
        queue=queue.name,
        indices=None if part is None else (part,),
        cpus=resources.cpus,
        gpus=resources.gpus,
        memory_bytes=resources.memory_kb * 1024,
        chunks=resources.chunks,
        scatter=resources.scatter,
        walltime_s=resources.walltime_s,
        throttle=limit,
        holds="u" if "h" in options else "",
        begin_s=(parse_date(options["a"], now) or 0.0) if "a" in options else 0.0,
        awaits=find_dependencies(cluster, asked.attributes.get("depend", "")),
        priority=int(options.get("p", "0")),
        requeues=options.get("r", "y") == "y",
        environment=own,
        cwd=call.cwd,
        script=script,
        attributes=shown_attributes(call, asked, resources, name, queue.name),
    )


def own_variables(asked: Asked, call: Call) -> dict[str, str]:
    """What of the submitter's environment the job gets: with ``-V`` all, with ``-v`` what it says.

    Raises:
        RefusalError: ``-v`` is wrong.
    """
    given = read_variables(asked.options["v"], call.env) if "v" in asked.options else {}
    return (
        {**given, **{name: value for name, value in call.env.items() if name not in given}} if "V" in asked.options else given
    )


def find_queue(cluster: Cluster, name: str, resources: Resources) -> Queue:
    """The queue that is meant, if it takes the job.

    Raises:
        RefusalError: it does not.
    """
    queues = {queue.name: queue for queue in cluster.rules.queues}
    queue = queues.get(name) if name else cluster.rules.queues[0]
    if queue is None:
        raise RefusalError("qsub: Unknown queue\n", 170, takes_number=True)
    if not queue.is_enabled:
        raise RefusalError("qsub: Queue is not enabled\n", 173, takes_number=True)
    if queue.max_walltime_s is not None and (resources.walltime_s or 0) > queue.max_walltime_s:
        raise RefusalError("qsub: Job violates queue and/or server resource limits\n", 188, takes_number=True)
    return queue


def find_dependencies(cluster: Cluster, text: str) -> tuple[Dependency, ...]:
    """What a job waits for. An id that nobody knows, or that lacks its brackets, is taken: such a job ends at once.

    Raises:
        RefusalError: a kind of dependency that cannot be rehearsed.
    """
    found = []
    for kind, ids in parse_dependencies(text) if text else []:
        if kind not in DEPENDENCIES:
            raise RefusalError(f"qsub: depend={kind} cannot be rehearsed\n", 1)
        for written in ids:
            parsed = parse_job_id(written)
            number = parsed.number if parsed is not None else -1
            job = cluster.jobs.get(number)
            is_known = job is not None and parsed is not None and parsed.is_array == job.is_array
            shown = f"{number}{'[]' if parsed is not None and parsed.is_array else ''}.{SERVER}@{SERVER}"
            meaning = {"after": "after", "afterok": "ok", "afternotok": "notok", "afterany": "any"}[kind]
            found.append(Dependency(kind=meaning, number=number if is_known else -1, text=f"{kind}:{shown}"))  # type: ignore[arg-type]
    return tuple(found)


def shown_attributes(call: Call, asked: Asked, resources: Resources, name: str, queue: str) -> Mapping[str, Any]:
    """What is kept of a submission for qstat and for the start of the job."""
    options = asked.options
    suffix = "^job^.^array_index^" if "J" in options else "^job^"
    return {
        "resources": dict(resources.listed),
        "chunk": resources.chunk_text,
        "stdout": output_path(call, options.get("o", ""), f"{name}.o{suffix}"),
        "stderr": output_path(call, options.get("e", ""), f"{name}.e{suffix}"),
        "join": options.get("j", "n"),
        "keep": options.get("k", "n"),
        "remove": options.get("R", ""),
        "mail": options.get("m", "a"),
        "mail_users": options.get("M", ""),
        "account": options.get("A", ""),
        "project": options.get("P", "_pbs_project_default"),
        "shell": options.get("S", ""),
        "rerunable": options.get("r", "y") == "y",
        "umask": asked.attributes.get("umask", ""),
        "sandbox": asked.attributes.get("sandbox", ""),
        "block": asked.attributes.get("block", ""),
        "command": asked.command,
        "arguments": " ".join(call.argv),
        "array": options.get("J", "").partition("%")[0],
        "limit": options["J"].partition("%")[2] if "%" in options.get("J", "") else asked.attributes.get("max_run_subjobs", ""),
        "host": call.host,
        "home": call.home,
        "login": call.settings.flag("login_shell"),
        "variables": submit_variables(call, queue),
    }


def output_path(call: Call, given: str, default: str) -> str:
    """``host:/abs/path``; a folder keeps its slash. ``^job^`` is filled in when the number is known."""
    host, colon, path = given.partition(":")
    if not colon:
        host, path = call.host, given
    return f"{host}:{posixpath.join(call.cwd, path or default)}"


def submit_variables(call: Call, queue: str) -> Mapping[str, str]:
    """The PBS_O_* variables: those before the job's own, and those after them."""
    named = {"HOME": call.home} | {
        name: call.env[name] for name in ("LANG", "LOGNAME", "PATH", "MAIL", "SHELL", "TZ") if name in call.env
    }
    ordered = {f"PBS_O_{name}": value for name, value in named.items()}
    return {
        **ordered,
        "PBS_O_INTERACTIVE_AUTH_METHOD": "resvport",
        "PBS_O_INTERACTIVE_ENCRYPT_METHOD": "",
        "PBS_O_WORKDIR": call.cwd,
        "PBS_O_SYSTEM": "Linux",
        "PBS_O_QUEUE": queue,
        "PBS_O_HOST": call.host,
    }
