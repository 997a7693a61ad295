"""Torque 6.1 as a face: its commands, and how it runs an element. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import ClassVar

from hpcsweep.rehearsal import torque_control, torque_show, torque_submit
from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import COMMON_SETTINGS, Answer, Call, Command, Place, Plan, Setting, Settings
from hpcsweep.rehearsal.jobs import Element, Job, Queue, Rules, Why
from hpcsweep.rehearsal.pbs_common import node_parts
from hpcsweep.rehearsal.torque_records import identifier_of, shown_path
from hpcsweep.rehearsal.torque_submit import DEFAULT_QUEUE, SERVER

VERSION = "Version: 6.1-dev\nCommit: 0000000000000000000000000000000000000000\n"

_COMMANDS: dict[str, Command] = {
    "qsub": torque_submit.submit,
    "qstat": torque_show.status,
    "qdel": torque_control.delete,
    "qhold": torque_control.hold,
    "qrls": torque_control.release,
    "qalter": torque_control.alter,
    "qselect": torque_control.select,
    "pbsnodes": torque_show.nodes,
}
_NO_AUTHORISATION = 15137
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"


@dataclass(frozen=True, kw_only=True)
class TorqueFace:
    """See ``face.Face``."""

    name: ClassVar[str] = "torque"
    programs: ClassVar[tuple[str, ...]] = tuple(_COMMANDS)
    submits: ClassVar[tuple[str, ...]] = ("qsub",)
    independent: ClassVar[tuple[str, ...]] = ()
    table: ClassVar[dict[str, Setting]] = COMMON_SETTINGS | {
        "kill_delay_s": Setting(default=2.0, help="seconds from TERM to KILL"),
        "walltime_poll_s": Setting(default=30.0, help="seconds between two looks at the time limits"),
        "keep_completed_s": Setting(default=300.0, help="seconds that what has ended is still listed, each element by itself"),
        "max_array_size": Setting(default=10001, help="the largest array"),
        "lazy": Setting(default=300, help="how many waiting elements of an array exist at a time"),
        "create_per_s": Setting(default=3000.0, help="how many elements of an array are created in a second"),
        "allow_node_submit": Setting(default=False, help="whether a job may submit jobs"),
        "max_user_queuable": Setting(default=0, help="how many elements a user may have; 0: any number"),
    }

    def rules(self, settings: Settings) -> Rules:
        """The rules of the cluster."""
        return Rules(
            nodes=settings.nodes(SERVER),
            queues=(
                Queue(name="short", max_walltime_s=300.0),
                Queue(name="stoppedq", is_started=False),
                Queue(name="disabledq", is_enabled=False, is_started=False),
                Queue(name=DEFAULT_QUEUE),
            ),
            kill_delay_s=settings.number("kill_delay_s"),
            linger_s=settings.number("linger_s"),
            walltime_poll_s=settings.number("walltime_poll_s"),
            keep_s=settings.number("keep_completed_s"),
            first_number=0,
        )

    def run(self, cluster: Cluster, call: Call, now: float) -> Answer:
        """Do what a command asks, and say what it prints."""
        if "--version" in call.argv:
            return Answer(stderr=VERSION)
        return _wrong_server(call) or _COMMANDS[call.program](cluster, call, now)

    def unreachable(self, call: Call, fault: str) -> Answer:
        """The server is down, or the daemon that lets clients in."""
        if fault == "trqauthd-down":
            words = "could not connect to trqauthd"
            return _no_connection(call, f"socket_connect_unix failed: {_NO_AUTHORISATION}", "(null)", _NO_AUTHORISATION, words)
        where = f"Cannot connect to specified server host '{SERVER}'."
        return _no_connection(call, where, SERVER, 111, "Connection refused")

    def gives_up(self, call: Call) -> Answer:
        """Each attempt of three takes minutes."""
        if call.program == "qsub":
            words = "qsub: submit error (Time out)\n"
            return Answer(stdout="Connection to server timed out. Trying again", stderr=words, code=174, delay_s=600.0)
        words = f"{call.program}: cannot connect to server {SERVER} (errno=15022) Time out\n"
        return Answer(stderr=words, code=174, delay_s=600.0)

    def refuse(self, cluster: Cluster, call: Call, reason: str, now: float) -> Answer:
        """``--fault refuse``, with one of the reasons of ``torque_submit.refusals``."""
        del now
        known = torque_submit.refusals(call.user, call.host)
        cluster.take_number()
        return torque_submit.refused(known.get(reason, known["limit"]))

    def plan(self, cluster: Cluster, job: Job, element: Element, place: Place, now: float) -> Plan:
        """A shell of the user's own in $HOME, to which MOM gives the name of the script, with the outputs in its spool."""
        del cluster, now
        told = job.request.attributes
        index = element.index if job.is_array else None
        stem = f"{job.number}.{SERVER}" if index is None else f"{job.number}-{index}.{SERVER}"
        script_path = f"{place.spool}/{stem}.SC"
        files = _files(job, element, place)
        (stdout, stderr), deliver = _outputs(job, index, f"{place.spool}/{stem}")
        shell = told["shell"].split(",")[0].partition("@")[0] or told["login_shell"]
        return Plan(
            argv=(shell.rpartition("/")[2],),
            executable=shell,
            env=_environment(job, element, place, shell),
            cwd=told["init_dir"] or told["home"],
            fallback_cwd=told["home"],
            umask=0o077 if told["umask"] is None else told["umask"],
            script_path=script_path,
            script=job.request.script,
            stdin_text=" ".join(filter(None, [shlex.quote(script_path), told["arguments"]])) + "\n",
            stdout=stdout,
            stderr=stderr,
            deliver=deliver,
            files=files,
            appends=True,  # MOM writes into the same files
            grace_s=5.0,  # MOM asks each process before it kills it, and waits
        )

    def last_words(self, cluster: Cluster, job: Job, element: Element, why: Why, now: float) -> str:
        """What MOM says when a limit was exceeded."""
        del cluster
        if why == "walltime":
            limit, used = int(job.request.walltime_s or 0), int(now - (element.started_s or now))
            return f"=>> PBS: job killed: walltime {used} exceeded limit {limit}\n"
        if why == "oom":
            limit = max(1, job.request.memory_bytes // 1024)
            return f"=>> PBS: job killed: mem {max(limit + 4, element.memory_bytes // 1024)}kb exceeded limit {limit}kb\n"
        return ""

    def delivered(self, cluster: Cluster, job: Job, element: Element, *, is_complete: bool) -> None:
        """Nothing tells of outputs that could not be delivered."""

    def waited(self, cluster: Cluster, number: int) -> int:
        """No command of Torque waits."""
        del cluster, number
        return 0


def _no_connection(call: Call, first: str, server: str, number: int, words: str) -> Answer:
    """The words of a client that got no connection; that of qstat tries three times."""
    times = 3 if call.program == "qstat" else 1
    text = f"{first}\n" * times + f"{call.program}: cannot connect to server {server} (errno={number}) {words}\n"
    if call.program == "qstat":
        text += f"qstat: Error ({number} - {words}) \n"
    return Answer(stderr=text, code=number & 255)


def _wrong_server(call: Call) -> Answer | None:
    """``PBS_DEFAULT=elsewhere``, ``qsub -q @elsewhere``: there is nobody but the one server."""
    asked = call.env.get("PBS_DEFAULT", "")
    for option, value in zip(call.argv, call.argv[1:], strict=False):
        if call.program == "qsub" and option == "-q" and "@" in value:
            asked = value.partition("@")[2]
    host, colon, _ = asked.partition(":")
    if host in ("", SERVER, call.host, "localhost") and not colon:
        return None
    first = f"Can not resolve name for server {asked}. (rc = -1 - )\n"
    if colon:
        words = (
            f"Cannot connect to specified server host '{asked}'.\n{call.program}: cannot connect to server {host} (errno=111) "
        )
        return Answer(stderr=f"{first}{words}Connection refused\n", code=111)
    words = f"Cannot resolve specified server host '{asked}'.\n{call.program}: cannot connect to server {host} (errno=15010) "
    return Answer(stderr=f"{first}{words}Access from host not allowed, or unknown host\n", code=162)


def _outputs(job: Job, index: int | None, spooled: str) -> tuple[tuple[str, str], tuple[tuple[str, str], ...]]:
    """Where the element writes, and what is moved to where when it has ended."""
    told = job.request.attributes
    variables = {"$PBS_JOBID": identifier_of(job, index, SERVER)}
    if index is not None:
        variables["$PBS_ARRAYID"] = str(index)
    files, deliver = [], []
    for which, letter, ending in (("output", "o", "OU"), ("error", "e", "ER")):
        ends_as = "" if index is None else f"-{index}"
        if letter in told["keep"]:
            # What is kept on the node stands in the home directory from the beginning.
            files.append(f"{told['home']}/{job.request.name}{ends_as}.{letter}{job.number}")
            continue
        path = shown_path(job, which)
        for name, value in variables.items():
            path = path.replace(name, value)
        if path == "/dev/null":
            files.append(path)
            continue
        files.append(f"{spooled}.{ending}")
        deliver.append((f"{spooled}.{ending}", f"{path}{ends_as}"))
    joined = {"oe": 0, "eo": 1}.get(told["join"])
    if joined is not None:
        deliver = [pair for pair in deliver if pair[0] == files[joined]]
        files = [files[joined]] * 2
    return (files[0], files[1]), tuple(deliver)


def _files(job: Job, element: Element, place: Place) -> tuple[tuple[str, str], ...]:
    """The list of nodes, one line for each processor; and of GPUs, where some were granted."""
    parts = node_parts(job.request.attributes["resources"].get("nodes", "1")) or []
    ppn = max((part.ppn for part in parts), default=1)
    names = [name for name, cpus, _ in element.placed for _ in range(max(cpus, ppn))]
    gpus = [f"{name}-gpu{gpu}\n" for name, _, granted in element.placed for gpu in sorted(granted, reverse=True)]
    stem = _node_file(job, element, place)
    return ((stem, "".join(f"{name}\n" for name in names)), *([(f"{stem}gpu", "".join(gpus))] if gpus else []))


def _node_file(job: Job, element: Element, place: Place) -> str:
    return f"{place.spool}/{identifier_of(job, element.index if job.is_array else None, SERVER)}"


def _environment(job: Job, element: Element, place: Place, shell: str) -> dict[str, str]:
    """What a task finds: nothing of the submitter's but what it asked for."""
    told, request = job.request.attributes, job.request
    index = element.index if job.is_array else None
    node_file = _node_file(job, element, place)
    gpus = sorted((gpu for _, _, granted in element.placed for gpu in granted), reverse=True)
    cpus = sum(cpus for _, cpus, _ in element.placed)
    found = {
        "HOME": told["home"],
        "LOGNAME": request.user,
        "USER": request.user,
        "SHELL": shell,
        "ENVIRONMENT": "BATCH",
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_JOBID": identifier_of(job, index, SERVER),
        "PBS_JOBNAME": request.name if index is None else f"{request.name}-{index}",
        "PBS_QUEUE": request.queue,
        "PBS_SERVER": SERVER,
        "PBS_NODEFILE": node_file,
        "PBS_GPUFILE": f"{node_file}gpu",
        "PBS_MICFILE": f"{node_file}mic",
        "PBS_NP": str(cpus),
        "PBS_NUM_NODES": str(request.chunks),
        "PBS_NUM_PPN": str(request.cpus),
        "PBS_NODENUM": "0",
        "PBS_VNODENUM": "0",
        "PBS_TASKNUM": "1",
        "PBS_MOMPORT": "15003",
        "PBS_VERSION": "TORQUE-6.1-dev",
    }
    if request.walltime_s is not None:
        found["PBS_WALLTIME"] = str(int(request.walltime_s))
    if index is not None:
        found["PBS_ARRAYID"] = str(index)
    if gpus:
        found["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
    found |= request.environment
    return found | {"PATH": f"{place.bin}:{request.environment.get('PATH', _PATH)}"}


FACE = TorqueFace()
