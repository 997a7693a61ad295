"""Slurm 22.05, rehearsed: the face that puts sbatch, squeue, sacct, scancel, scontrol, sacctmgr and sinfo together."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hpcsweep.rehearsal import slurm_admin, slurm_cancel, slurm_control, slurm_history, slurm_query, slurm_submit
from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Answer, Call, NeedsStdinError, Place, Plan, Setting, Settings
from hpcsweep.rehearsal.indices import count
from hpcsweep.rehearsal.jobs import Element, Job, Queue, Rules, Why
from hpcsweep.rehearsal.slurm_arguments import UsageError
from hpcsweep.rehearsal.slurm_options import SYNTAX
from hpcsweep.rehearsal.slurm_rows import NO_ELEMENT, Names, place_file
from hpcsweep.rehearsal.slurm_site import TABLE, VERSION, make_site, nodes_of
from hpcsweep.rehearsal.slurm_values import fold_hosts, format_moment
from hpcsweep.rehearsal.slurm_view import Visit

_NO_CONTACT = "Unable to contact slurm controller (connect failure)"
_TIMED_OUT = "Socket timed out on send/recv operation"
_DUE_TO = {
    "deleted": "",
    "walltime": " DUE TO TIME LIMIT",
    "requeue": " DUE TO JOB REQUEUE",
    "node": " DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS",
}


@dataclass(frozen=True, kw_only=True)
class SlurmFace:
    """What ``hpcsweep rehearse slurm`` answers with."""

    name: str = "slurm"
    programs: tuple[str, ...] = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sacctmgr", "sinfo")
    submits: tuple[str, ...] = ("sbatch",)
    independent: tuple[str, ...] = ("sacct", "sacctmgr")
    table: Mapping[str, Setting] = dataclasses.field(default_factory=lambda: TABLE)

    def rules(self, settings: Settings) -> Rules:
        """The rules of the cluster."""
        site = make_site(settings, "localhost")  # a wrong setting is said at once
        return Rules(
            nodes=nodes_of(settings),
            queues=tuple(Queue(name=partition.name) for partition in site.partitions),
            kill_delay_s=site.kill_wait_s,
            linger_s=settings.number("linger_s"),
            walltime_poll_s=settings.number("walltime_poll_s"),
            keep_s=settings.number("keep_completed_s"),
            term_reach="leader",
            kill_reach="all",
            on_unmet="stay",
            unknown_dependency="met",
            numbers_elements=True,
            requeue_delay_s=settings.number("requeue_delay_s"),
        )

    def run(self, cluster: Cluster, call: Call, now: float) -> Answer:
        """Do what a command asks, and say what it prints.

        Raises:
            NeedsStdinError: sbatch without a script's name.
        """
        site = make_site(call.settings, call.host)
        visit = Visit(cluster=cluster, call=call, site=site, now=now, zone=zone_of(call.env))
        _cancel_invalid(cluster, now)
        return _PROGRAMS[call.program](visit)

    def unreachable(self, call: Call, fault: str) -> Answer:
        """Slurmctld is down: what the commands say after 9 or 18 seconds."""
        del fault
        delay_s = 18.0 if call.program == "squeue" else 9.0
        return _without_answer(call, _NO_CONTACT, delay_s)

    def gives_up(self, call: Call) -> Answer:
        """Slurmctld hangs: what the commands say after MessageTimeout."""
        return _without_answer(call, _TIMED_OUT, 10.0)

    def refuse(self, cluster: Cluster, call: Call, reason: str, now: float) -> Answer:
        """A submission that is refused."""
        site = make_site(call.settings, call.host)
        return slurm_submit.refuse(Visit(cluster=cluster, call=call, site=site, now=now, zone=zone_of(call.env)), reason)

    def plan(self, cluster: Cluster, job: Job, element: Element, place: Place, now: float) -> Plan:
        """How the element is run: by the interpreter that its script names, in --chdir."""
        del cluster, now
        kept = job.request.attributes
        names = Names(
            array=job.number,
            job=element.raw or job.number,
            index=element.index if job.is_array else NO_ELEMENT,
            user=job.request.user,
            name=job.request.name,
            node=element.placed[0][0] if element.placed else "",
        )
        output = kept["output"] or ("slurm-%A_%a.out" if job.is_array else "slurm-%j.out")
        script_path = f"{place.spool}/job{element.raw or job.number:05}-slurm_script"
        interpreter, *options = read_interpreter(job.request.script)
        return Plan(
            argv=(interpreter, *options, script_path, *kept["arguments"]),
            executable=interpreter,
            env=element_environment(job, element, place),
            cwd=job.request.cwd,
            umask=kept["umask"],
            script_path=script_path,
            script=job.request.script,
            stdout=place_file(output, job.request.cwd, names),
            stderr=place_file(kept["error"] or output, job.request.cwd, names),
            fallback_cwd="/tmp",  # noqa: S108 - as slurmstepd says it does
            appends=kept["appends"],
        )

    def last_words(self, cluster: Cluster, job: Job, element: Element, why: Why, now: float) -> str:
        """What slurmstepd writes; of a requeue, what the history will have to tell is noted."""
        if why in ("requeue", "node") and element.started_s is not None:
            told = element.notes.setdefault("told", [])
            before = told[-1]["at"] if told else job.submitted_s
            nodes = fold_hosts(name for name, _, _ in element.placed)
            told.append({"why": why, "at": now, "started": element.started_s, "nodes": nodes, "submitted": before})
            cluster.touch(job, element)
        raw = element.raw or job.number
        if why == "oom":
            return (
                f"slurmstepd: error: Detected 1 oom-kill event(s) in StepId={raw}.batch."
                " Some of your processes may have been killed by the cgroup out-of-memory handler.\n"
            )
        node = element.placed[0][0] if element.placed else "n1"
        moment = format_moment(now, None)
        return f"slurmstepd: error: *** JOB {raw} ON {node} CANCELLED AT {moment}{_DUE_TO[why]} ***\n" if why in _DUE_TO else ""

    def delivered(self, cluster: Cluster, job: Job, element: Element, *, is_complete: bool) -> None:
        """Nothing is delivered: elements write where they were told to."""

    def waited(self, cluster: Cluster, number: int) -> int:
        """Of ``sbatch --wait``: the highest exit code; 1 for what did not end by itself."""
        job = cluster.jobs.get(number)
        if job is None:
            return 1
        codes = [element.code if element.why == "exited" and not element.signal else 1 for element in job.elements.values()]
        return max([*codes, 1 if job.removed else 0])


def zone_of(environ: Mapping[str, str]) -> dt.tzinfo | None:
    """The zone in which a command tells and reads times: its TZ, or this machine's (None)."""
    name = environ.get("TZ", "").removeprefix(":")
    if name in ("UTC", "GMT", "UTC0"):
        return dt.timezone.utc
    try:
        return zoneinfo.ZoneInfo(name) if name else None
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return dt.timezone.utc


def read_interpreter(script: str) -> list[str]:
    """``#!/bin/bash -e`` -> the interpreter and at most one argument, as the kernel reads it."""
    words = script.split("\n", 1)[0].removeprefix("#!").strip().split(None, 1)
    return words or ["/bin/sh"]


def element_environment(job: Job, element: Element, place: Place) -> dict[str, str]:
    """The variables of an element (man sbatch, "OUTPUT ENVIRONMENT VARIABLES")."""
    request, kept = job.request, job.request.attributes
    raw = str(element.raw or job.number)
    nodes = fold_hosts(name for name, _, _ in element.placed)
    first = element.placed[0][0] if element.placed else "n1"
    cpus = [cpus for _, cpus, _ in element.placed] or [1]
    gpus = element.placed[0][2] if element.placed else []
    environment = dict(request.environment)
    for leaked in [name for name in environment if re.match(r"SLURM_(ARRAY_|JOB_GPUS|RESTART_COUNT|GPUS)", name)]:
        del environment[leaked]
    path = environment.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    environment |= {
        "ENVIRONMENT": "BATCH",
        "HOSTNAME": first,
        "PATH": path if path.split(":")[0] == place.bin else f"{place.bin}:{path}",
        "SLURMD_NODENAME": first,
        "SLURM_CLUSTER_NAME": kept["cluster"],
        "SLURM_CPUS_ON_NODE": str(cpus[0]),
        "SLURM_GTIDS": "0",
        "SLURM_JOBID": raw,
        "SLURM_JOB_ACCOUNT": kept["account"],
        "SLURM_JOB_CPUS_PER_NODE": ",".join(map(str, cpus)),
        "SLURM_JOB_GID": str(kept["gid"]),
        "SLURM_JOB_ID": raw,
        "SLURM_JOB_NAME": request.name,
        "SLURM_JOB_NODELIST": nodes,
        "SLURM_JOB_NUM_NODES": str(len(cpus)),
        "SLURM_JOB_PARTITION": request.queue,
        "SLURM_JOB_QOS": kept["qos"],
        "SLURM_JOB_UID": str(kept["uid"]),
        "SLURM_JOB_USER": request.user,
        "SLURM_LOCALID": "0",
        "SLURM_NNODES": str(len(cpus)),
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": nodes,
        "SLURM_NODE_ALIASES": "(null)",
        "SLURM_PROCID": "0",
        "SLURM_TASKS_PER_NODE": str(-(-kept["tasks"] // len(cpus))),
        "SLURM_TOPOLOGY_ADDR": first,
        "SLURM_TOPOLOGY_ADDR_PATTERN": "node",
    }
    environment.setdefault("TMPDIR", "/tmp")  # noqa: S108 - TmpFS, as slurmd says it
    if job.is_array:
        environment |= _array_variables(job, element)
    if element.restarts:
        environment["SLURM_RESTART_COUNT"] = str(element.restarts)
    if gpus:
        given = ",".join(map(str, gpus))
        environment |= {"CUDA_VISIBLE_DEVICES": given, "SLURM_JOB_GPUS": given, "SLURM_GPUS_ON_NODE": str(len(gpus))}
    return environment


def _array_variables(job: Job, element: Element) -> dict[str, str]:
    parts = job.indices
    return {
        "SLURM_ARRAY_JOB_ID": str(job.number),
        "SLURM_ARRAY_TASK_COUNT": str(count(parts)),
        "SLURM_ARRAY_TASK_ID": str(element.index),
        "SLURM_ARRAY_TASK_MAX": str(max(part[-1] for part in parts)),
        "SLURM_ARRAY_TASK_MIN": str(min(part[0] for part in parts)),
        "SLURM_ARRAY_TASK_STEP": str(parts[0].step if len(parts) == 1 else 1),
    }


def _cancel_invalid(cluster: Cluster, now: float) -> None:
    """``--kill-on-invalid-dep=yes``."""
    for job in list(cluster.jobs.values()):
        if job.is_stuck and job.ended_s is None and job.request.attributes.get("kill_on_invalid_dep"):
            slurm_cancel.cancel_pending(cluster, job, None, now, str(job.request.attributes["uid"]))


def _without_answer(call: Call, words: str, delay_s: float) -> Answer:
    """What a command says when slurmctld says nothing; what it does without it, it does."""
    if any(word in ("-V", "--version") for word in call.argv):
        return Answer(stdout=f"slurm-wlm {VERSION}\n")
    if call.program == "sbatch":
        try:
            slurm_submit.read_submission(call, SYNTAX.parse(call.argv), 0.0, None)
        except UsageError as error:
            return Answer(stderr=error.text, code=error.code)
        except NeedsStdinError:
            pass  # it would be read before anybody is asked, but changes nothing
    patience_s = call.settings.number("patience_s")
    delay_s = delay_s if patience_s < 0 else patience_s
    ids = [word for word in call.argv if re.match(r"\d", word)]
    said = {
        "sbatch": f"sbatch: error: Batch job submission failed: {words}",
        "squeue": f"slurm_load_jobs error: {words}",
        "sinfo": f"slurm_load_partitions: {words}",
        "scancel": f"scancel: error: Kill job error on job id {ids[0]}: {words}" if ids else f"scancel: error: {words}",
        "scontrol": _scontrol_words(call, words),
    }
    return Answer(stderr=f"{said[call.program]}\n", code=8 if call.program == "scancel" else 1, delay_s=delay_s)


def _scontrol_words(call: Call, words: str) -> str:
    shown = [word for word in call.argv if not word.startswith("-")][:2]
    return {
        ("show", "config"): f"slurm_load_ctl_conf error: {words}",
        ("show", "job"): f"slurm_load_jobs error: {words}",
    }.get(tuple(shown), words)  # type: ignore[arg-type]


_PROGRAMS: dict[str, Callable[[Visit], Answer]] = {
    "sbatch": slurm_submit.run_sbatch,
    "squeue": slurm_query.run_squeue,
    "sacct": slurm_history.run_sacct,
    "scancel": slurm_cancel.run_scancel,
    "scontrol": slurm_control.run_scontrol,
    "sacctmgr": slurm_admin.run_sacctmgr,
    "sinfo": slurm_admin.run_sinfo,
}
FACE = SlurmFace()
