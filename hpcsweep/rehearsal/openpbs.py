"""OpenPBS 23.06, for rehearsals. Which words and codes it has where was measured; see the tests' recordings."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping

from hpcsweep.rehearsal import openpbs_change, openpbs_look, openpbs_print, openpbs_records, openpbs_submit
from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import COMMON_SETTINGS, Answer, Call, Command, Face, Place, Plan, Setting, Settings
from hpcsweep.rehearsal.jobs import Element, Job, Queue, Rules, Why
from hpcsweep.rehearsal.openpbs_options import getopt
from hpcsweep.rehearsal.openpbs_submit import SERVER

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
QUEUES = (
    Queue(name="workq"),
    Queue(name="short", max_walltime_s=300),
    Queue(name="disabledq", is_enabled=False, is_started=False),
    Queue(name="stoppedq", is_started=False),
)
_BOURNE = ("sh", "bash", "dash", "ksh", "zsh")
_CONNECT = {"qdel": "Couldn't connect to cluster: pbs\n"}
COMMANDS: Mapping[str, Command] = {
    "qsub": openpbs_submit.qsub,
    "qstat": openpbs_look.qstat,
    "qselect": openpbs_look.qselect,
    **dict.fromkeys(("qdel", "qhold", "qrls", "qalter", "qrerun"), openpbs_change.change),
}


class OpenPbsFace:
    """The face of OpenPBS."""

    name = "pbs"
    programs = tuple(COMMANDS)
    submits = ("qsub",)
    independent: tuple[str, ...] = ()
    table: Mapping[str, Setting] = COMMON_SETTINGS | {
        "kill_delay_s": Setting(default=10.0, help="seconds from TERM to KILL"),
        "linger_s": Setting(default=10.0, help="seconds that a deleted job is still shown as running, even if it died at once"),
        "walltime_poll_s": Setting(default=10.0, help="seconds between two looks at the time limits"),
        "keep_completed_s": Setting(default=1209600.0, help="seconds that the history keeps jobs (job_history_duration)"),
        "usage_poll_s": Setting(default=10.0, help="seconds until a node first reports what a job uses"),
        "login_shell": Setting(
            default=False, help="whether jobs read your profile first, as there: then ~/.profile runs for each"
        ),
        "history": Setting(default=True, help="job_history_enable"),
        "json_ids": Setting(
            default="first", help="`first`: -F json prints the first of several ids only, as of 2024 on; `all`: as 23.06.06"
        ),
        "json": Setting(default="sound", help="`sound`, or `release`: a backslash makes it no JSON, as in 23.06.06"),
    }

    def rules(self, settings: Settings) -> Rules:
        """The rules of its cluster."""
        keeps = settings.number("keep_completed_s") if settings.flag("history") else 0.0
        return Rules(
            nodes=settings.nodes(SERVER),
            queues=QUEUES,
            kill_delay_s=settings.number("kill_delay_s"),
            linger_s=settings.number("linger_s"),
            walltime_poll_s=settings.number("walltime_poll_s"),
            keep_s=keeps,
            first_number=0,
        )

    def run(self, cluster: Cluster, call: Call, now: float) -> Answer:
        """One command."""
        if "--version" in call.argv[:1]:
            return Answer(stdout=f"pbs_version = {openpbs_records.VERSION}\n")
        server = call.env.get("PBS_SERVER", SERVER)
        if server not in (SERVER, call.host):
            return _no_connection(call, server, is_known=server.partition(":")[0] == "localhost")
        return COMMANDS[call.program](cluster, call, now)

    def unreachable(self, call: Call, fault: str) -> Answer:  # noqa: ARG002 - it has one way to be down
        """Connection refused."""
        return _no_connection(call, SERVER, is_known=True)

    def gives_up(self, call: Call) -> Answer:
        """There is no end to its patience of its own; what ends it is the connection's."""
        return Answer(stderr=f"{call.program}: End of File\n", code=15031 % 256, delay_s=600.0)

    def refuse(self, cluster: Cluster, call: Call, reason: str, now: float) -> Answer:  # noqa: ARG002 - the words are the same
        """A refusal on demand."""
        return openpbs_submit.refuse(cluster, reason)

    def plan(self, cluster: Cluster, job: Job, element: Element, place: Place, now: float) -> Plan:  # noqa: ARG002
        """As its MOM runs a job: a shell in $HOME that is told the script's name."""
        request, kept = job.request, job.request.attributes
        name = openpbs_records.identifier(job, element.index)
        home = kept["home"]
        script = f"{place.spool}/{name}.SC"
        shell = kept["shell"] or kept["variables"].get("PBS_O_SHELL") or "/bin/sh"
        spooled = {which: f"{place.spool}/{name}.{which}" for which in ("OU", "ER")}
        targets = _targets(job, element, home)
        direct = {which for which, letter in (("OU", "o"), ("ER", "e")) if "d" in kept["keep"] and letter in kept["keep"]}
        joined = {"oe": "OU", "eo": "ER"}.get(kept["join"])
        paths = {which: targets[which] if which in direct else spooled[which] for which in ("OU", "ER")}
        removed = {which for which, letter in (("OU", "o"), ("ER", "e")) if letter in kept["remove"]}
        if joined is not None:
            paths = dict.fromkeys(paths, paths[joined])
        deliver = [
            (spooled[which], "" if which in removed else targets[which])
            for which in ("OU", "ER")
            if which not in direct and joined in (None, which)
        ]
        command = kept["command"]
        return Plan(
            argv=tuple(command) if command else (f"{'-' if kept['login'] else ''}{posixpath.basename(shell)}",),
            executable=command[0] if command else shell,
            env=element_environment(job, element, place, home),
            cwd=home,
            umask=int(kept["umask"] or "077", 8),
            script_path=script,
            script=request.script,
            stdin_text="" if command else told_to_shell(shell, script, place),
            stdout=paths["OU"],
            stderr=paths["ER"],
            appends=element.restarts > 0,
            grace_s=cluster.rules.kill_delay_s,  # the shell dies of TERM at once, and the script hears of it, too
            deliver=tuple(deliver),
            folders=(f"{place.tmp}/pbs.{name}",),
            files=((f"{place.spool}/{name}.nodes", "".join(f"{node}\n" for node, _, _ in element.placed)),),
        )

    def last_words(self, cluster: Cluster, job: Job, element: Element, why: Why, now: float) -> str:  # noqa: ARG002
        """What its MOM writes to a job's stderr."""
        if why == "walltime":
            seconds = int(now - (element.started_s if element.started_s is not None else now))
            limit = int(job.request.walltime_s or 0)
            return f"=>> PBS: job killed: walltime {max(seconds, limit + 1)} exceeded limit {limit}\n"
        return "Cgroup mem limit exceeded: Memory cgroup out of memory\n" if why == "oom" else ""

    def delivered(self, cluster: Cluster, job: Job, element: Element, *, is_complete: bool) -> None:
        """Stageout_status says whether the outputs arrived, and nothing else does."""
        element.notes["undelivered"] = not is_complete
        cluster.touch(job, element)

    def waited(self, cluster: Cluster, number: int) -> int:
        """``qsub -W block=true``: the job's exit status."""
        job = cluster.jobs.get(number)
        element = None if job is None or job.is_array else job.elements.get(0)
        status = (
            (None if job is None else openpbs_records.array_status(job))
            if element is None
            else openpbs_records.exit_status(element)
        )
        return (status or 0) % 256


def _no_connection(call: Call, server: str, *, is_known: bool) -> Answer:
    """No server there: at once, and with the usual words. ``qstat -F json`` prints the same JSON as for no jobs."""
    if not is_known:
        text, number, code = "Unknown Host.", 15008, 160
    else:
        text, number, code = "Connection refused", 15010, 162
    said = _CONNECT.get(call.program, f"{call.program}: cannot connect to server {server} (errno={number})\n")
    given, _, _, _ = getopt(call.argv, "1aBD:EfF:GHiJMnpqQrstTu:wx")
    is_json = call.program == "qstat" and dict(given).get("F", "").lower() == "json"
    stdout = (
        openpbs_print.json_text("Jobs", {}, call.now, is_release=call.settings.text("json") == "release") if is_json else ""
    )
    return Answer(stdout=stdout, stderr=f"{text}\n{said}", code=255 if call.program == "qstat" else code)


def told_to_shell(shell: str, script: str, place: Place) -> str:
    """What the shell reads: the script's name. Before it, as a site's profile does, the way to the scheduler's commands."""
    name = re.sub(r"([][\\ '\"$`&;()<>|*?#~])", r"\\\1", script).replace("\n", "'\n'")
    profile = f"PATH={shlex.quote(place.bin)}:$PATH; export PATH\n"
    return f"{profile if posixpath.basename(shell) in _BOURNE else ''}{name}\n"


def _targets(job: Job, element: Element, home: str) -> dict[str, str]:
    """Where the outputs go in the end: a folder takes them under the job's id."""
    found = {}
    for which, name in (("OU", "stdout"), ("ER", "stderr")):
        path = openpbs_records.path_of(job, name, element.index).partition(":")[2]
        if path.endswith("/"):
            path += f"{openpbs_records.identifier(job, element.index)}.{which}"
        found[which] = posixpath.join(home, path)
    return found


def element_environment(job: Job, element: Element, place: Place, home: str) -> Mapping[str, str]:
    """Nothing of the submitter's but ``-v``, ``-V`` and PBS_O_*."""
    request, kept = job.request, job.request.attributes
    name = openpbs_records.identifier(job, element.index)
    own = {
        "HOME": home,
        "LOGNAME": request.user,
        "USER": request.user,
        "SHELL": kept["variables"].get("PBS_O_SHELL", "/bin/sh"),
        "PATH": f"{place.bin}:{SYSTEM_PATH}",
        "ENVIRONMENT": "BATCH",
        "NCPUS": str(request.cpus),
        "OMP_NUM_THREADS": str(request.cpus),
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_JOBCOOKIE": f"{job.number:016X}{element.index:016X}",
        "PBS_JOBDIR": home,
        "PBS_JOBID": name,
        "PBS_JOBNAME": request.name,
        "PBS_MOMPORT": "15003",
        "PBS_NODEFILE": f"{place.spool}/{name}.nodes",
        "PBS_NODENUM": "0",
        "PBS_QUEUE": request.queue,
        "PBS_TASKNUM": "1",
        "TMPDIR": f"{place.tmp}/pbs.{name}",
    }
    if job.is_array:
        own |= {"PBS_ARRAY_ID": openpbs_records.identifier(job), "PBS_ARRAY_INDEX": str(element.index)}
    given = {
        variable: value
        for variable, value in request.environment.items()
        if variable not in ("HOME", "PATH", "USER", "LOGNAME")
    }
    return {**given, **kept["variables"], **own}


FACE: Face = OpenPbsFace()
