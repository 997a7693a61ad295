"""Torque's qsub: from a command line to an accepted job, or to the words that it is refused with. Pure but for the script."""

from __future__ import annotations

from collections.abc import Mapping

from hpcsweep.rehearsal import indices
from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Answer, Call
from hpcsweep.rehearsal.jobs import Dependency, Job, Request
from hpcsweep.rehearsal.pbs_common import BadOptionError, kilobytes_of, parse_job_id, parse_options
from hpcsweep.rehearsal.torque_records import MAX_INDEX
from hpcsweep.rehearsal.torque_request import OPTIONS, RefusalError, Script, UsageError, Where, parse_request, read_variables
from hpcsweep.rehearsal.torque_request import Request as Submission
from hpcsweep.rehearsal.torque_resources import check_limits, needs_of, resource_list

SERVER = "torque"
DEFAULT_QUEUE = "batch"

_KINDS: Mapping[str, tuple[str, bool]] = {
    **{f"after{how}": (how or "after", False) for how in ("", "ok", "notok", "any")},
    **{f"after{how}array": ("after" if how == "start" else how, True) for how in ("start", "ok", "notok", "any")},
}
"""Word -> the cluster's kind, and whether it is about an array."""

_BAD_DEPENDENCY = RefusalError("Invalid Job Dependency", 208)


class _NoScriptError(Exception):
    """There is nothing to run."""


def refusals(user: str, host: str) -> dict[str, RefusalError]:
    """What ``--fault refuse=REASON`` knows; the first is the usual one."""
    queued = f"total number of current user's jobs exceeds the queue limit: user {user}@{SERVER}, queue {DEFAULT_QUEUE}"
    node = f"ruserok failed validating {user}/{user} from {host}"
    disabled = f"queue is disabled: user {user}@{SERVER}, queue {DEFAULT_QUEUE}"
    return {
        "limit": RefusalError(f"Maximum number of jobs already in queue MSG={queued}", 198),
        "queue": RefusalError("Unknown queue MSG=requested queue not found", 172),
        "disabled": RefusalError(f"Queue is not enabled MSG={disabled}", 175),
        "node": RefusalError(f"Bad UID for job execution MSG={node}", 177),
        "array": RefusalError("Bad Job Array Request", 235),
        "dependency": _BAD_DEPENDENCY,
    }


def refused(error: RefusalError) -> Answer:
    """As qsub prints it."""
    return Answer(stderr=f"qsub: submit error ({error})\n", code=error.code)


def submit(cluster: Cluster, call: Call, now: float) -> Answer:
    """``qsub``."""
    try:
        script = _read_script(call)
        wanted = parse_request(call.argv, script, Where(environment=call.env, cwd=call.cwd, now=now))
    except UsageError as error:
        return Answer(stderr=error.text(), code=2)
    except _NoScriptError as error:
        return Answer(stderr=f"qsub: {error}\n", code=1)
    if wanted.is_interactive:
        words = "qsub:\tstandard input and output must be a terminal for \n\tinteractive job submission\n"
        return Answer(stderr=words, code=1)
    try:
        request = _accept(cluster, call, wanted)
    except RefusalError as error:
        cluster.take_number()
        return refused(error)
    job = cluster.submit(request, now)
    printed = "" if wanted.is_quiet else f"{job.number}{'[]' if job.is_array else ''}.{SERVER}\n"
    return Answer(stdout=printed)


def _read_script(call: Call) -> Script:
    """The script that the command line names, or what is piped in."""
    try:
        operands = parse_options(call.argv, OPTIONS).operands
    except BadOptionError as error:
        raise UsageError("exiting") from error
    if not operands or operands[0] == "-":
        return Script(text=call.read_stdin())
    path = operands[0]
    try:
        return Script(text=call.read_file(path), path=path)
    except IsADirectoryError as error:
        raise _NoScriptError("script not a file") from error
    except OSError as error:
        raise _NoScriptError(f"script file '{path}' cannot be loaded - {error.strerror}") from error


def _accept(cluster: Cluster, call: Call, wanted: Submission) -> Request:
    """What the server checks.

    Raises:
        RefusalError: It says no.
    """
    known = refusals(call.user, call.host)
    if call.inside is not None and not call.settings.flag("allow_node_submit"):
        raise known["node"]
    if wanted.not_imitated:
        raise RefusalError(f"{wanted.not_imitated[0]} is not imitated by a rehearsal", 1)
    if wanted.proxy_user:
        words = f"User '{call.user}' is attempting to submit a proxy job for user '{wanted.proxy_user}' but is not a manager"
        raise RefusalError(f"Bad UID for job execution MSG={words}", 177)
    queue = next((queue for queue in cluster.rules.queues if queue.name == (wanted.queue or DEFAULT_QUEUE)), None)
    if queue is None:
        raise known["queue"]
    if wanted.unknown_attributes:
        raise RefusalError("Undefined attribute  MSG=detected presence of an unknown attribute", 154)
    resources = resource_list(wanted.resources)
    _check_array(wanted, call.settings.whole("max_array_size"))
    if not queue.is_enabled:
        raise RefusalError(f"Queue is not enabled MSG=queue is disabled: user {call.user}@{SERVER}, queue {queue.name}", 175)
    check_limits(needs_of(resources), queue, cluster.rules.nodes)
    _check_queued(cluster, call, wanted)
    awaits = tuple(find_dependency(cluster, kind, text) for kind, ids in wanted.dependencies for text in ids)
    return _request(call, wanted, queue.name, resources, awaits)


def _check_array(wanted: Submission, most: int) -> None:
    if wanted.array_error:
        raise RefusalError("Bad Job Array Request", 235)
    if wanted.array is not None and indices.count(wanted.array.indices) > most:
        raise RefusalError(f"Bad Job Array Request MSG=Requested array size too large, limit is {most}", 235)


def _check_queued(cluster: Cluster, call: Call, wanted: Submission) -> None:
    most = call.settings.whole("max_user_queuable")
    if most:
        new = 1 if wanted.array is None else indices.count(wanted.array.indices)
        if new + sum(_open_elements(job) for job in cluster.jobs.values()) > most:
            raise refusals(call.user, call.host)["limit"]


def _open_elements(job: Job) -> int:
    return job.size - sum(job.ends.values())


def find_dependency(cluster: Cluster, word: str, text: str) -> Dependency:
    """One thing to wait for. ``afterok:5[]`` is taken, and its job waits for ever: arrays have words of their own."""
    if word not in _KINDS:
        raise RefusalError(f"-W depend={word} is not imitated by a rehearsal", 208)
    kind, is_about_array = _KINDS[word]
    identifier = parse_job_id(text)
    job = None if identifier is None else cluster.jobs.get(identifier.number)
    if identifier is None or job is None or job.is_array != identifier.is_array:
        raise _BAD_DEPENDENCY
    index = int(identifier.element) if identifier.element.isdecimal() else None
    if is_about_array != (job.is_array and index is None):
        if is_about_array:
            raise _BAD_DEPENDENCY
        return Dependency(kind="never", number=job.number, text=word)
    if index is not None and cluster.state_of(job, index) is None:
        raise _BAD_DEPENDENCY
    return Dependency(kind=kind, number=job.number, index=index, text=word)  # type: ignore[arg-type]


def _submit_variables(call: Call, queue: str, workdir: str) -> dict[str, str]:
    """All that a job learns of where it was submitted, in the order of the server's list."""
    variables = {"PBS_O_QUEUE": queue, "PBS_O_HOME": call.env.get("HOME", "/")}
    for name in ("LOGNAME", "PATH", "MAIL", "SHELL", "TZ", "LANG"):
        if name in call.env:
            variables[f"PBS_O_{name}"] = call.env[name]
    return {**variables, "PBS_O_WORKDIR": workdir, "PBS_O_HOST": call.host, "PBS_O_SERVER": SERVER}


def _in_folder(call: Call, path: str) -> str:
    """A folder that is there takes files of the usual names."""
    return f"{path}/" if path and not path.endswith("/") and call.path(path).is_dir() else path


def _request(call: Call, wanted: Submission, queue: str, resources: dict[str, str], awaits: tuple[Dependency, ...]) -> Request:
    needs = needs_of(resources)
    array = wanted.array
    submitted = _submit_variables(call, queue, wanted.workdir)
    texts = {name: value.replace("\\", "\\\\").replace(",", "\\,") for name, value in submitted.items()}
    where = ("PBS_O_WORKDIR", "PBS_O_HOST", "PBS_O_SERVER")
    if array is not None and array.indices[-1][-1] > MAX_INDEX:
        awaits = (*awaits, Dependency(kind="never"))  # it stands there as if it were to run
    variables = [f"{name}={value}" for name, value in texts.items() if name not in where]
    variables += [wanted.variables] if wanted.variables else []
    variables += [f"{name}={texts[name]}" for name in where]
    return Request(
        name=wanted.name,
        user=call.user,
        queue=queue,
        indices=None if array is None else tuple(array.indices),
        cpus=needs.cpus_per_chunk,
        gpus=max(part.gpus for part in needs.parts),
        memory_bytes=(kilobytes_of(resources.get("mem", "0")) or 0) * 1024 // needs.chunks,
        chunks=needs.chunks,
        scatter=not needs.procs,
        walltime_s=needs.walltime_s,
        throttle=None if array is None else array.at_once,
        holds="u" if wanted.is_held else "",
        begin_s=wanted.begin or 0.0,
        awaits=awaits,
        priority=wanted.priority,
        requeues=wanted.is_rerunable,
        environment=read_variables(",".join(variables)),
        cwd=wanted.workdir,
        script=wanted.script,
        attributes={
            "account": wanted.account,
            "arguments": wanted.arguments,
            "array": "" if array is None else array.text,
            "error": _in_folder(call, wanted.error),
            "group": call.user,
            "home": call.home,
            "init_dir": wanted.init_dir,
            "join": wanted.join,
            "keep": wanted.keep,
            "login_shell": call.env.get("SHELL", "/bin/sh"),
            "mail_points": wanted.mail_points,
            "mail_users": wanted.mail_users,
            "output": _in_folder(call, wanted.output),
            "resources": resources,
            "shell": wanted.shell,
            "submit_args": wanted.submit_args,
            "submit_host": call.host,
            "umask": wanted.umask,
            "variables": ",".join(variables),
        },
    )
