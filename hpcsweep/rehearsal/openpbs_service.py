"""What OpenPBS's ``qstat -Q -f`` and ``-B -f`` know: the attributes of queues and of the server. Pure."""

from __future__ import annotations

from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Settings
from hpcsweep.rehearsal.jobs import Job, Queue
from hpcsweep.rehearsal.openpbs_records import VERSION, Value, job_state, without_empty
from hpcsweep.rehearsal.openpbs_resources import largest_unit
from hpcsweep.rehearsal.openpbs_submit import SERVER
from hpcsweep.rehearsal.pbs_common import clock


def state_count(jobs: list[Job], now: float) -> str:
    """``Transit:0 Queued:1 ...``, with its blank at the end."""
    letters = [job_state(job, now) for job in jobs]
    queued, held, waiting, begun = (letters.count(letter) for letter in "QHWB")
    running = sum(job.running for job in jobs)
    return f"Transit:0 Queued:{queued} Held:{held} Waiting:{waiting} Running:{running} Exiting:0 Begun:{begun} "


def assigned(cluster: Cluster, queue: str | None) -> dict[str, str | int]:
    """What the running jobs (of a queue) use."""
    found = [(job, element) for job, element in cluster.all_active() if queue is None or job.request.queue == queue]
    memory = sum(job.request.memory_bytes * job.request.chunks for job, _ in found)
    numbers: dict[str, str | int] = {"mem": largest_unit(f"{memory // 1024}kb")} if memory else {}
    if found:
        numbers["ncpus"] = sum(cpus for _, element in found for _, cpus, _ in element.placed)
        numbers["nodect"] = sum(job.request.chunks for job, _ in found)
    return numbers


def live_jobs(cluster: Cluster, queue: str | None = None) -> list[Job]:
    """Jobs that have not ended."""
    return [job for job in cluster.jobs.values() if job.ended_s is None and queue in (None, job.request.queue)]


def total(jobs: list[Job]) -> int:
    """How many jobs there are: a subjob that runs counts as one more."""
    return len(jobs) + sum(job.running for job in jobs if job.is_array)


def queue_record(cluster: Cluster, queue: Queue, now: float) -> dict[str, Value]:
    """A queue's attributes."""
    jobs = live_jobs(cluster, queue.name)
    limit = queue.max_walltime_s
    record: dict[str, Value] = {
        "queue_type": "Execution",
        "total_jobs": total(jobs),
        "state_count": state_count(jobs, now),
        "resources_max": {"walltime": clock(limit)} if limit is not None else {},
        "resources_assigned": assigned(cluster, queue.name),
        "enabled": str(queue.is_enabled),
        "started": str(queue.is_started),
    }
    return without_empty(record)


def server_record(cluster: Cluster, settings: Settings, now: float) -> dict[str, Value]:
    """The server's attributes."""
    jobs = live_jobs(cluster)
    record: dict[str, Value] = {
        "server_state": "Active",
        "server_host": SERVER,
        "scheduling": "True",
        "total_jobs": total(jobs),
        "state_count": state_count(jobs, now),
        "default_queue": cluster.rules.queues[0].name,
        "log_events": 511,
        "mailer": "/usr/sbin/sendmail",
        "mail_from": "adm",
        "query_other_jobs": "True",
        "resources_default": {"ncpus": 1},
        "default_chunk": {"ncpus": 1},
        "resources_assigned": assigned(cluster, None),
        "scheduler_iteration": 600,
        "flatuid": "True",
        "resv_enable": "True",
        "node_fail_requeue": 310,
        "max_array_size": settings.whole("max_array_size"),
        "pbs_license_min": 0,
        "pbs_license_max": 2147483647,
        "pbs_license_linger_time": 31536000,
        "license_count": "Avail_Global:1000000 Avail_Local:1000000 Used:0 High_Use:0",
        "pbs_version": VERSION,
        "job_history_enable": "True" if settings.flag("history") else "",
        "job_history_duration": clock(settings.number("keep_completed_s")) if settings.flag("history") else "",
        "eligible_time_enable": "False",
        "max_concurrent_provision": 5,
        "power_provisioning": "False",
        "max_job_sequence_id": 9999999,
    }
    return without_empty(record)
