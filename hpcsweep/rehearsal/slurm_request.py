"""What sbatch's options come to: sizes, elements, dependencies, the environment, and the request that is made of them."""

from __future__ import annotations

import grp
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Call
from hpcsweep.rehearsal.indices import Indices
from hpcsweep.rehearsal.jobs import Dependency, Request
from hpcsweep.rehearsal.slurm_options import parse_warning
from hpcsweep.rehearsal.slurm_site import Site
from hpcsweep.rehearsal.slurm_values import parse_array, parse_megabytes, parse_moment, parse_time_limit
from hpcsweep.rehearsal.slurm_view import Visit, find_job

FAILED = "sbatch: error: Batch job submission failed: "
_DEPENDENCIES = {"after": "after", "afterok": "ok", "afternotok": "notok", "afterany": "any", "aftercorr": "ok"}


class RefusedError(Exception):
    """The controller says no."""

    def __init__(self, *lines: str, uses_number: bool = False, leaves_record: bool = False) -> None:
        super().__init__(*lines)
        self.lines = lines
        self.uses_number = uses_number
        self.leaves_record = leaves_record


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What is asked for: the options in force and the script."""

    options: Mapping[str, str]
    script: str
    command: str  # the script's path; empty: none
    arguments: tuple[str, ...]
    name: str


def make_request(visit: Visit, submission: Submission) -> Request:
    """What is asked for, as the cluster takes it.

    Raises:
        RefusedError: for an array or a dependency that cannot be.
    """
    call, site = visit.call, visit.site
    options = submission.options
    elements, throttle = _elements(site, options.get("array", ""))
    awaits, is_any = parse_dependency(options.get("dependency", ""), visit.cluster)
    partition = site.partition(options.get("partition", "").partition(",")[0])
    minutes = parse_time_limit(options["time"]) if "time" in options else None
    limit = minutes if minutes is not None or partition is None else partition.max_minutes
    sizes = _sizes(site, options)
    holds = "u" if "hold" in options else ""
    if partition and partition.max_minutes and minutes is not None and minutes > partition.max_minutes:
        holds += "t"
    if sizes.nodes > len(site.nodes):
        holds += "n"
    elif sizes.cpus > site.cpus * len(site.nodes):
        holds += "c"
    warning = parse_warning(options["signal"]) if options.get("signal") else None
    cwd = str(call.path(options["chdir"])) if options.get("chdir") else call.cwd
    chunks, each = sizes.chunks(site)
    return Request(
        name=submission.name,
        user=call.user,
        queue=partition.name if partition else "",
        indices=None if elements is None else tuple(elements),
        cpus=each,
        gpus=sizes.gpus,
        memory_bytes=sizes.memory_mb * (each if sizes.is_memory_per_cpu else 1) * 1024**2,
        chunks=chunks,
        scatter=sizes.nodes > 1,
        walltime_s=None if limit is None else limit * site.minute_s,
        throttle=throttle or None,
        holds=holds,
        begin_s=parse_moment(options["begin"], visit.now, visit.zone) if options.get("begin") else 0.0,
        awaits=tuple(awaits),
        awaits_any=is_any,
        requeues="no-requeue" not in options,
        warn_signal=warning.number if warning and warning.is_for_shell else 0,
        warn_s=warning.before_s * site.minute_s / 60 if warning else 0.0,
        warn_reach="leader",
        environment=job_environment(call, options, submission.name, sizes),
        cwd=cwd,
        script=submission.script,
        attributes={
            **_attributes(call, site, submission, sizes, limit),
            "kill_on_invalid_dep": options.get("kill-on-invalid-dep", "no") == "yes",
        },
    )


def _attributes(call: Call, site: Site, submission: Submission, sizes: Sizes, limit: int | None) -> dict[str, Any]:
    options = submission.options
    quality = site.quality(options.get("qos", ""))
    gid = _group_of(call.uid)
    return {
        "uid": call.uid,
        "gid": gid,
        "group": _group_name(gid),
        "account": site.account(options.get("account", "")) or "",
        "qos": quality.name if quality else "",
        "nodes": sizes.nodes,
        "cpus": sizes.cpus,
        "tasks": sizes.tasks,
        "cpus_per_task": sizes.cpus_per_task,
        "memory_mb": sizes.memory_mb,
        "is_memory_per_cpu": sizes.is_memory_per_cpu,
        "gres": sizes.gres,
        "time_limit_min": limit,
        "command": submission.command,
        "arguments": list(submission.arguments),
        "submit_line": " ".join(("sbatch", *call.argv)),
        "output": options.get("output", ""),
        "error": options.get("error", ""),
        "input": options.get("input", ""),
        "appends": options.get("open-mode", "").startswith("a"),
        "comment": options.get("comment", ""),
        "features": options.get("constraint", ""),
        "wanted_nodes": options.get("nodelist", ""),
        "nice": int(options["nice"]) if re.fullmatch(r"-?\d+", options.get("nice", "")) else 100 if "nice" in options else 0,
        "wckey": options.get("wckey", ""),
        "umask": call.umask,
        "submit_dir": call.cwd,
        "host": call.host,
        "home": call.home,
        "cluster": site.cluster,
        "tells_tasks": "ntasks" in options or "ntasks-per-node" in options,
        "tells_cpus": "cpus-per-task" in options,
    }


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much a job asks for."""

    nodes: int
    tasks: int
    cpus_per_task: int
    memory_mb: int
    is_memory_per_cpu: bool
    gpus: int  # of each node
    gres: str

    @property
    def cpus(self) -> int:
        """In all."""
        return self.tasks * self.cpus_per_task

    def chunks(self, site: Site) -> tuple[int, int]:
        """How many pieces, of how many cpus each, the nodes have to hold."""
        if self.nodes > 1:
            return self.nodes, -(-self.cpus // self.nodes)
        return (1, self.cpus) if self.cpus <= site.cpus or self.tasks == 1 else (self.tasks, self.cpus_per_task)


def _sizes(site: Site, options: Mapping[str, str]) -> Sizes:
    nodes = int(options.get("nodes", "1").partition("-")[0])
    per_node = int(options.get("ntasks-per-node", "0"))
    tasks = int(options.get("ntasks", "0")) or per_node * nodes or nodes
    memory = next((name for name in ("mem", "mem-per-cpu", "mem-per-gpu") if name in options), "")
    gres = options.get("gres", "") or (f"gpu:{options['gpus-per-node']}" if "gpus-per-node" in options else "")
    gpus = sum(_gpu_count(part, site) for part in gres.split(",") if part)
    if "gpus" in options:
        gpus = -(-_gpu_count(f"gpu:{options['gpus']}", site) // nodes)
    return Sizes(
        nodes=nodes,
        tasks=tasks,
        cpus_per_task=int(options.get("cpus-per-task", "1")),
        memory_mb=parse_megabytes(options[memory]) if memory else 0,
        is_memory_per_cpu=memory == "mem-per-cpu",
        gpus=gpus,
        gres=gres,
    )


def _gpu_count(text: str, site: Site) -> int:
    """``gpu:2``, ``gpu:fake:2``, ``gpu`` -> how many; a type that no node has makes it more than there are."""
    words = text.replace("=", ":").split(":")[1:]
    many = int(words[-1]) if words and words[-1].isdigit() else 1
    has_type = bool(words) and not words[0].isdigit()
    return site.gpus + 1 if has_type and many and words[0] not in site.gpu_types else many


def _elements(site: Site, text: str) -> tuple[Indices | None, int]:
    if not text:
        return None, 0
    try:
        elements, throttle = parse_array(text)
    except ValueError:
        raise RefusedError(FAILED + "Invalid job array specification") from None
    if max(part[-1] for part in elements) >= site.max_array_size:
        raise RefusedError(FAILED + "Invalid job array specification")
    return elements, throttle


def parse_dependency(text: str, cluster: Cluster) -> tuple[list[Dependency], bool]:
    """``afterok:12:13_4,afterany:14``, ``a?b`` (any of them), ``singleton``.

    Raises:
        RefusedError: for anything else.
    """
    found: list[Dependency] = []
    for part in filter(None, re.split(r"[,?]", text)):
        kind, *targets = part.split(":")
        if kind == "singleton" and not targets:
            found.append(Dependency(kind="singleton", text="singleton"))
            continue
        if kind not in _DEPENDENCIES or not targets:
            raise RefusedError(FAILED + "Job dependency problem", uses_number=True)
        for target in targets:
            match = re.fullmatch(r"(\d+)(?:_(\d+|\*))?(?:\+\d+)?", target, re.ASCII)
            if match is None:
                raise RefusedError(FAILED + "Job dependency problem", uses_number=True)
            number, index = int(match[1]), int(match[2]) if match[2] and match[2] != "*" else None
            job = find_job(cluster, number)
            if job is not None and job[1] is not None:  # an element, by the id of its own
                number, index = job[0].number, next(iter(job[1]))[0]
            shown = f"{number}_*" if index is None and job is not None and job[0].is_array else target
            kept = _DEPENDENCIES[kind]
            found.append(Dependency(kind=kept, number=number, index=index, text=f"{kind}:{shown}"))  # type: ignore[arg-type]
    return found, "?" in text


def job_environment(call: Call, options: Mapping[str, str], name: str, sizes: Sizes) -> dict[str, str]:
    """What of the submitter's environment the job gets (``--export``), with what sbatch itself adds."""
    export = options.get("export", "ALL")
    words = export.split(",")
    environment = dict(call.env)
    if "ALL" not in words:
        kept = ("PATH", "HOME", "SHELL")
        environment = {variable: call.env[variable] for variable in kept if variable in call.env}
        environment |= {"USER": call.user, "LOGNAME": call.user, "SHELL": call.env.get("SHELL", "/bin/sh"), "HOME": call.home}
        environment["SLURM_GET_USER_ENV"] = "1"
    for word in words:
        variable, equals, value = word.partition("=")
        if equals:
            environment[variable] = value
        elif variable in call.env:
            environment[variable] = call.env[variable]
    if "export" in options:
        environment["SLURM_EXPORT_ENV"] = export
    environment |= {"SLURM_PRIO_PROCESS": "0", "SLURM_SUBMIT_DIR": call.cwd, "SLURM_SUBMIT_HOST": call.host}
    environment["SLURM_JOB_NAME"] = name
    if "ntasks" in options or "ntasks-per-node" in options:
        environment |= {"SLURM_NTASKS": str(sizes.tasks), "SLURM_NPROCS": str(sizes.tasks)}
    if "cpus-per-task" in options:
        environment["SLURM_CPUS_PER_TASK"] = str(sizes.cpus_per_task)
    if "ntasks-per-node" in options:
        environment["SLURM_NTASKS_PER_NODE"] = options["ntasks-per-node"]
    if sizes.memory_mb:
        environment["SLURM_MEM_PER_CPU" if sizes.is_memory_per_cpu else "SLURM_MEM_PER_NODE"] = str(sizes.memory_mb)
    return environment


def _group_of(uid: int) -> int:
    return os.getgid() if uid == os.getuid() else uid


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
