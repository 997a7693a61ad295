"""What ``scontrol show`` prints: jobs, partitions, nodes, the configuration. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

from hpcsweep.rehearsal.slurm_rows import ENDED, Row
from hpcsweep.rehearsal.slurm_site import Partition, Site
from hpcsweep.rehearsal.slurm_values import format_duration, format_megabytes, format_moment

_NEVER = "Unknown"


def show_job(row: Row, host: str, zone: dt.tzinfo | None, *, is_one_line: bool = False) -> str:
    """``JobId=669 ArrayJobId=654 ...``, with an empty line at its end."""
    if is_one_line:
        return " ".join(_job_lines(row, host, zone)) + " \n"
    return "\n   ".join(_job_lines(row, host, zone)) + "\n   \n\n"


def _job_lines(row: Row, host: str, zone: dt.tzinfo | None) -> Iterator[str]:
    def moment(epoch: float | None, never: str = _NEVER) -> str:
        return never if epoch is None else format_moment(epoch, zone)

    yield f"JobId={row.job} {_array_words(row)}JobName={row.name}"
    yield f"UserId={row.user}({row.uid}) GroupId={row.group}({row.gid}) MCS_label=N/A"
    yield f"Priority={row.priority} Nice={row.nice} Account={row.account} QOS={row.qos}"
    yield f"JobState={row.state} Reason={row.reason} Dependency={row.dependency or '(null)'}"
    yield (f"Requeue={int(row.is_requeued)} Restarts={row.restarts} BatchFlag=1 Reboot=0 ExitCode={row.exit_code}:{row.signal}")
    limit = "UNLIMITED" if row.time_limit_min is None else format_duration(row.time_limit_min * 60)
    yield f"RunTime={format_duration(row.elapsed_s)} TimeLimit={limit} TimeMin=N/A"
    yield f"SubmitTime={moment(row.submitted_at)} EligibleTime={moment(row.eligible_at)}"
    yield f"AccrueTime={moment(row.eligible_at)}"
    yield f"StartTime={moment(row.started_at)} EndTime={moment(_end_of(row))} Deadline=N/A"
    if not row.is_pending:
        yield f"PreemptEligibleTime={moment(row.started_at)} PreemptTime=None"
    yield f"SuspendTime=None SecsPreSuspend=0 LastSchedEval={moment(row.started_at or row.submitted_at)} Scheduler=Main"
    yield f"Partition={row.partition} AllocNode:Sid={host}:1"
    yield f"ReqNodeList={row.wanted_nodes or '(null)'} ExcNodeList=(null)"
    yield f"NodeList={row.nodes}"
    if row.nodes:
        yield f"BatchHost={row.nodes.split(',')[0].split('[')[0] if '[' not in row.nodes else row.nodes}"
    yield (
        f"NumNodes={row.node_count} NumCPUs={row.cpus} NumTasks={row.tasks} CPUs/Task={row.cpus_per_task} ReqB:S:C:T=0:0:*:*"
    )
    gpus = f",gres/gpu={row.gpus}" if row.gpus else ""
    memory = format_megabytes(row.shown_memory_mb)
    yield f"TRES=cpu={row.cpus},mem={memory},node={row.node_count},billing={row.cpus}{gpus}"
    yield "Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*"
    which = "MinMemoryCPU" if row.is_memory_per_cpu else "MinMemoryNode"
    yield f"MinCPUsNode={row.cpus_per_task} {which}={format_megabytes(row.memory_mb)} MinTmpDiskNode=0"
    yield f"Features={row.features or '(null)'} DelayBoot=00:00:00"
    yield "OverSubscribe=OK Contiguous=0 Licenses=(null) Network=(null)"
    yield f"Command={' '.join((row.command, *row.arguments)) or '(null)'}"
    yield f"WorkDir={row.chdir}"
    if row.comment:
        yield f"Comment={row.comment} "
    yield f"StdErr={row.error}"
    yield f"StdIn={row.input}"
    yield f"StdOut={row.output}"
    yield "Power="
    if row.gres:
        yield f"TresPerNode=gres:{row.gres}"


def _array_words(row: Row) -> str:
    if row.array is None:
        return ""
    throttle = f"ArrayTaskThrottle={row.throttle} " if row.throttle else ""
    return f"ArrayJobId={row.array} ArrayTaskId={row.indices()} {throttle}"


def _end_of(row: Row) -> float | None:
    if row.state in ENDED or row.ended_at is not None:
        return row.ended_at
    if row.is_pending or row.time_limit_min is None or row.started_at is None:
        return None
    return row.started_at + row.time_limit_min * 60


def show_partition(partition: Partition, site: Site) -> str:
    """``PartitionName=main`` and what belongs to it."""
    limit = "UNLIMITED" if partition.max_minutes is None else format_duration(partition.max_minutes * 60)
    lines = (
        f"PartitionName={partition.name}",
        "AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL",
        f"AllocNodes=ALL Default={'YES' if partition.name == site.partitions[0].name else 'NO'} QoS=N/A",
        "DefaultTime=NONE DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden=NO",
        f"MaxNodes=UNLIMITED MaxTime={limit} MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED",
        f"Nodes={site.node_list}",
        "PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO",
        "OverTimeLimit=NONE PreemptMode=OFF",
        f"State=UP TotalCPUs={site.cpus * len(site.nodes)} TotalNodes={len(site.nodes)} SelectTypeParameters=NONE",
        "JobDefaults=(null)",
        "DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED",
        f"TRES={_tres(site, len(site.nodes))}",
    )
    return "\n   ".join(lines) + "\n\n"


def show_node(name: str, site: Site, *, state: str, allocated_cpus: int, allocated_mb: int) -> str:
    """``NodeName=n1 Arch=x86_64 ...``."""
    lines = (
        f"NodeName={name} Arch=x86_64 CoresPerSocket=1 ",
        f"CPUAlloc={allocated_cpus} CPUEfctv={site.cpus} CPUTot={site.cpus} CPULoad=0.00",
        "AvailableFeatures=(null)",
        "ActiveFeatures=(null)",
        f"Gres={site.gres}",
        f"NodeAddr=127.0.0.1 NodeHostName={site.host} Version={site.version}",
        f"RealMemory={site.shown_memory_mb} AllocMem={allocated_mb} FreeMem={site.shown_memory_mb} Sockets={site.cpus} Boards=1",
        f"State={state.upper()} ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A",
        f"Partitions={','.join(partition.name for partition in site.partitions)} ",
        f"CfgTRES={_tres(site, 1, with_nodes=False)}",
        f"AllocTRES=cpu={allocated_cpus},mem={allocated_mb}M" if allocated_cpus else "AllocTRES=",
        "CapWatts=n/a",
        "CurrentWatts=0 AveWatts=0",
    )
    return "\n   ".join(lines) + "\n\n"


def _tres(site: Site, nodes: int, *, with_nodes: bool = True) -> str:
    cpus = site.cpus * nodes
    counted = [
        f"cpu={cpus}",
        f"mem={site.shown_memory_mb * nodes}M",
        *([f"node={nodes}"] if with_nodes else []),
        f"billing={cpus}",
    ]
    return ",".join([*counted, *([f"gres/gpu={site.gpus * nodes}"] if site.gpus else [])])


def show_config(site: Site, now: float, next_id: int, zone: dt.tzinfo | None) -> Iterable[str]:
    """``scontrol show config``: what programs look at, under the names and in the shape of 22.05."""
    table = {
        "AccountingStorageEnforce": "associations,limits,qos",
        "AccountingStorageHost": "localhost",
        "AccountingStorageTRES": "cpu,mem,energy,node,billing,fs/disk,vmem,pages,gres/gpu",
        "AccountingStorageType": "accounting_storage/slurmdbd" if site.has_history else "accounting_storage/none",
        "AuthType": "auth/munge",
        "BatchStartTimeout": "10 sec",
        "ClusterName": site.cluster,
        "CompleteWait": "0 sec",
        "DefMemPerNode": "UNLIMITED",
        "EnforcePartLimits": "NO",
        "FirstJobId": "1",
        "GresTypes": "gpu" if site.gpus else "(null)",
        "InactiveLimit": "0 sec",
        "JobFileAppend": "0",
        "JobRequeue": "1",
        "KillOnBadExit": "0",
        "KillWait": f"{site.kill_wait_s:.0f} sec",
        "MaxArraySize": str(site.max_array_size),
        "MaxJobCount": str(site.max_job_count),
        "MaxJobId": "67043328",
        "MaxMemPerNode": "UNLIMITED",
        "MaxTasksPerNode": "512",
        "MessageTimeout": f"{site.message_timeout_s:.0f} sec",
        "MinJobAge": f"{site.min_job_age_s:.0f} sec",
        "NEXT_JOB_ID": str(next_id),
        "OverTimeLimit": "0 min",
        "PreemptMode": "OFF",
        "PreemptType": "preempt/none",
        "PriorityType": "priority/basic",
        "PrivateData": "none",
        "ProctrackType": "proctrack/cgroup",
        "SchedulerParameters": "(null)",
        "SchedulerType": "sched/backfill",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CORE_MEMORY",
        "SlurmUser": "slurm(64030)",
        "SlurmctldHost[0]": site.host,
        "SlurmctldTimeout": "120 sec",
        "SlurmdTimeout": "300 sec",
        "SLURM_VERSION": site.version,
        "TaskPlugin": "task/cgroup",
        "TCPTimeout": "2 sec",
        "WaitTime": "0 sec",
    }
    yield f"Configuration data as of {format_moment(now, zone)}"
    for name, value in table.items():
        yield f"{name:<23} = {value}"
    yield ""
    yield "Cgroup Support Configuration:"
    yield f"{'CgroupPlugin':<23} = cgroup/v1"
    yield f"{'ConstrainRAMSpace':<23} = no"
    yield ""
    yield f"Slurmctld(primary) at {site.host} is UP"
