"""scontrol: what it shows, and what it does to jobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Answer
from hpcsweep.rehearsal.indices import has, subtract
from hpcsweep.rehearsal.jobs import Job
from hpcsweep.rehearsal.slurm_arguments import Syntax, UsageError, pairs, table
from hpcsweep.rehearsal.slurm_cancel import Target
from hpcsweep.rehearsal.slurm_show import show_config, show_job, show_node, show_partition
from hpcsweep.rehearsal.slurm_site import VERSION, Site
from hpcsweep.rehearsal.slurm_update import INVALID, Control, fail, said_of_finished, update
from hpcsweep.rehearsal.slurm_values import expand_hosts, fold_hosts, format_array
from hpcsweep.rehearsal.slurm_view import HELD, Visit, parse_job_id

SCONTROL = Syntax(
    program="scontrol",
    longs=table(
        none="all details federation future help hide local oneliner quiet sibling usage verbose version", value="cluster uid"
    ),
    shorts=pairs("a=all d=details h=help o=oneliner u=uid v=verbose F=future M=cluster Q=quiet V=version"),
)


def run_scontrol(visit: Visit) -> Answer:
    """Do what scontrol does."""
    try:
        given = SCONTROL.parse(visit.call.argv)
    except UsageError as error:
        return Answer(stderr=error.text, code=error.code)
    if "version" in given:
        return Answer(stdout=f"slurm-wlm {VERSION}\n")
    if not given.words:
        return Answer(stdout="scontrol: \n")
    control = Control(cluster=visit.cluster, call=visit.call, site=visit.site, zone=visit.zone, now=visit.now, given=given)
    keyword, *words = given.words
    for name, command in _KEYWORDS.items():
        if keyword == name or (len(keyword) > 2 and name.startswith(keyword)):
            return command(control, words)
    return fail(f"invalid keyword: {keyword}")


def _show(control: Control, words: Sequence[str]) -> Answer:
    if not words:
        return fail("too few arguments for keyword:show")
    entity, *names = words
    for name, command in _ENTITIES.items():
        if entity.lower() in (name, f"{name}s"):
            return command(control, names)
    return fail(f"invalid entity:{entity} for keyword:show ")


def _show_job(control: Control, names: Sequence[str]) -> Answer:
    is_one_line = "oneliner" in control.given
    if not names:
        targets = [
            Target(job=job, which=None, written="") for job in control.cluster.jobs.values() if control.viewer.knows(job)
        ]
        if not targets:
            return Answer(stdout="No jobs in the system\n")
    else:
        if parse_job_id(names[0]) is None:
            return fail(f"scontrol_print_job error: {INVALID}")
        target = control.find(names[0])
        if target is None:
            return fail(f"slurm_load_jobs error: {INVALID}")
        targets = [target]
    text = ""
    for target in targets:
        for row in control.viewer.queue(target.job, with_ended=True, how="elements" if target.which else "records"):
            is_meant = target.which is None or any(row.elements[0][0] in part for part in target.which if row.elements)
            if is_meant:
                text += show_job(row, control.site.host, control.zone, is_one_line=is_one_line)
    return Answer(stdout=text)


def _show_config(control: Control, _: Sequence[str]) -> Answer:
    lines = show_config(control.site, control.now, control.cluster.next_number, control.zone)
    return Answer(stdout="".join(f"{line}\n" for line in lines))


def _show_partition(control: Control, names: Sequence[str]) -> Answer:
    partitions = [partition for partition in control.site.partitions if not names or partition.name == names[0]]
    if not partitions:
        return fail(f"Partition {names[0]} not found")
    return Answer(stdout="".join(show_partition(partition, control.site) for partition in partitions))


def _show_node(control: Control, names: Sequence[str]) -> Answer:
    wanted = list(expand_hosts(names[0])) if names else list(control.site.nodes)
    if not set(wanted) <= set(control.site.nodes):
        return fail(f"Node {names[0]} not found")
    text = ""
    for name in wanted:
        used = control.site.cpus - control.cluster.room.free_cpus(name)
        text += show_node(
            name, control.site, state=node_state(control.cluster, control.site, name), allocated_cpus=used, allocated_mb=0
        )
    return Answer(stdout=text)


def node_state(cluster: Cluster, site: Site, name: str) -> str:
    """idle, mixed, allocated, down."""
    if name in cluster.room.down:
        return "down"
    free = cluster.room.free_cpus(name)
    return "idle" if free == site.cpus else "mixed" if free > 0 else "allocated"


def _show_hostnames(_: Control, names: Sequence[str]) -> Answer:
    if not names:
        return Answer(stderr="scontrol: error: host list is empty\n")
    return Answer(stdout="".join(f"{name}\n" for name in expand_hosts(names[0])))


def _show_hostlist(_: Control, names: Sequence[str]) -> Answer:
    return Answer(stdout=f"{fold_hosts(expand_hosts(','.join(names)))}\n")


def _ping(control: Control, _: Sequence[str]) -> Answer:
    return Answer(stdout=f"Slurmctld(primary) at {control.site.host} is UP\n")


def _write(control: Control, words: Sequence[str]) -> Answer:
    """``scontrol write batch_script ID -``."""
    target = control.find(words[1]) if len(words) > 1 else None
    if target is None:
        return fail("job script retrieval failed: Invalid job id specified")
    if words[2:] != ["-"]:
        return fail("scontrol: error: only `write batch_script ID -` is rehearsed")
    return Answer(stdout=target.job.request.script)


def _each_target(control: Control, words: Sequence[str], keyword: str, act: Callable[[Target], list[str]]) -> Answer:
    """What hold, release and requeue have in common: ids, or ``jobname=NAME``."""
    if not words:
        return fail(f"too few arguments for keyword:{keyword}")
    said: list[str] = []
    for word in words:
        match = re.fullmatch(r"(?i)(?:job)?name=(.*)", word)
        if match:
            targets = control.named(match[1])
        else:
            target = control.find(word)
            if target is None:
                said.append(f"{INVALID} for job {word}")
                said += [f"slurm_suspend error: {INVALID}"] if keyword in ("hold", "release", "uhold") else []
            targets = [target] if target else []
        for found in targets:
            said += act(found)
    if said and keyword in ("hold", "release", "uhold") and not re.search(r"_\S*: |slurm_suspend", said[-1]):
        said.append("slurm_suspend error: Job has already finished")
    return fail(*said) if said else Answer()


def _hold(control: Control, words: Sequence[str], keyword: str = "hold") -> Answer:
    letter = "s" if control.call.uid == 0 and keyword == "hold" else "u"

    def act(target: Target) -> list[str]:
        if finished := said_of_finished(target):
            if target.job.ended_s is None:  # what has not ended is held all the same
                control.cluster.hold(target.job, None, letter, control.now)
            return finished
        if target.which is None:
            control.cluster.hold(target.job, None, letter, control.now)
        else:
            hold_elements(control.cluster, target.job, target.which, letter, control.now)
        return []

    return _each_target(control, words, keyword, act)


def _uhold(control: Control, words: Sequence[str]) -> Answer:
    return _hold(control, words, "uhold")


def hold_elements(cluster: Cluster, job: Job, which: Iterable[range], letter: str, now: float) -> None:
    """Single elements are split off their array's record, each with an id of its own."""
    which = list(which)
    cluster.hold(job, which, letter, now)
    for element in cluster.pick_waiting(job, which):
        if not element.raw:
            element.raw = cluster.take_number()
            cluster.touch(job, element)


def _release(control: Control, words: Sequence[str]) -> Answer:
    def act(target: Target) -> list[str]:
        if target.job.ended_s is not None:
            return said_of_finished(target)
        control.cluster.release(target.job, target.which, HELD, control.now)
        if target.which is not None and target.job.holds:
            _release_alone(control, target)
        return []

    return _each_target(control, words, "release", act)


def _release_alone(control: Control, target: Target) -> None:
    """An element of an array that is held: the others are held one by one from now on."""
    job, letters = target.job, target.job.holds
    rest = subtract(job.waiting, target.which or ())
    control.cluster.release(job, None, letters, control.now)
    for element in control.cluster.pick_waiting(job, rest):
        element.holds = "".join(sorted({*element.holds, *letters}))
        element.raw = element.raw or control.cluster.take_number()
        control.cluster.touch(job, element)


def _requeue(control: Control, words: Sequence[str], keyword: str = "requeue") -> Answer:
    def act(target: Target) -> list[str]:
        held = "r" if keyword == "requeuehold" else ""
        elements = target.job.elements.values()
        if not any(
            element.state != "waiting" and (target.which is None or has(target.which, element.index)) for element in elements
        ):
            waiting = format_array(target.which or control.cluster.waiting_of(target.job))
            shown = f"{target.job.number}_{waiting}" if target.job.is_array else ""
            said = "Job is pending execution"
            return [f"{shown}: {said}" if shown else f"{said} for job {target.written}"]
        control.cluster.requeue(target.job, target.which, control.now, holds=held)
        return []

    return _each_target(control, words, keyword, act)


def _requeuehold(control: Control, words: Sequence[str]) -> Answer:
    return _requeue(control, words, "requeuehold")


def _suspend(_: Control, words: Sequence[str]) -> Answer:
    return fail(*(f"Access/permission denied for job {word}" for word in words))


_ENTITIES: dict[str, Callable[[Control, Sequence[str]], Answer]] = {
    "job": _show_job,
    "config": _show_config,
    "partition": _show_partition,
    "node": _show_node,
    "hostnames": _show_hostnames,
    "hostname": _show_hostnames,
    "hostlist": _show_hostlist,
}
_KEYWORDS: dict[str, Callable[[Control, Sequence[str]], Answer]] = {
    "show": _show,
    "hold": _hold,
    "uhold": _uhold,
    "release": _release,
    "requeue": _requeue,
    "requeuehold": _requeuehold,
    "suspend": _suspend,
    "resume": _suspend,
    "update": update,
    "ping": _ping,
    "write": _write,
}
