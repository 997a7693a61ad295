"""What a rehearsed Slurm's site has: partitions, accounts, qualities of service, nodes, limits; all of it from the settings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from hpcsweep.rehearsal.face import COMMON_SETTINGS, Setting, SettingError, Settings
from hpcsweep.rehearsal.jobs import Node
from hpcsweep.rehearsal.slurm_values import fold_hosts

VERSION = "22.05.8"
ANY = "any"

TABLE = COMMON_SETTINGS | {
    "kill_delay_s": Setting(default=3.0, help="KillWait: seconds from TERM to KILL"),
    "max_array_size": Setting(default=10001, help="MaxArraySize: the highest index is one less"),
    "memory_mb": Setting(
        default=0, help="RealMemory of each node in MB, 0: not counted; a job that asks for none counts as none"
    ),
    "cluster": Setting(default="rehearsal", help="ClusterName"),
    "partitions": Setting(
        default="main,short:1,urgent",
        help="the partitions, the default one first; NAME:MINUTES has a MaxTime; `any`: all names",
    ),
    "accounts": Setting(default="lab", help="the user's accounts, the default one first; `any`: all names"),
    "qos": Setting(
        default="normal,few:4", help="qualities of service, the default first; NAME:N lets a user queue N; `any`: all names"
    ),
    "features": Setting(default="", help="the nodes' features, with commas"),
    "gpu_types": Setting(default="", help="the types of the nodes' GPUs, with commas"),
    "max_submit": Setting(default=0, help="MaxSubmitJobs of the user's association; 0: none"),
    "max_job_count": Setting(default=100_000, help="MaxJobCount"),
    "min_job_age_s": Setting(default=300.0, help="MinJobAge: so long squeue knows a job that has ended"),
    "history": Setting(default=True, help="whether there is accounting (sacct, sacctmgr)"),
    "history_lag_s": Setting(default=0.0, help="seconds until sacct hears of an end"),
    "minute_s": Setting(default=60.0, help="how many seconds a minute of a time limit takes"),
    "requeue_delay_s": Setting(default=120.0, help="seconds until a requeued job may start"),
}


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A partition; None: no MaxTime."""

    name: str
    max_minutes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A quality of service; None: no MaxSubmitJobsPerUser."""

    name: str
    max_submit: int | None = None


@dataclass(frozen=True, kw_only=True)
class Site:
    """All that does not change while a rehearsal runs."""

    host: str
    cluster: str
    nodes: tuple[str, ...]
    cpus: int
    gpus: int
    gpu_types: tuple[str, ...]
    memory_mb: int
    partitions: tuple[Partition, ...]
    takes_any_partition: bool
    accounts: tuple[str, ...]
    takes_any_account: bool
    qualities: tuple[Quality, ...]
    takes_any_quality: bool
    features: tuple[str, ...]
    max_submit: int | None
    max_array_size: int
    max_job_count: int
    kill_wait_s: float
    min_job_age_s: float
    message_timeout_s: float
    has_history: bool
    history_lag_s: float
    minute_s: float
    version: str = VERSION

    @property
    def shown_memory_mb(self) -> int:
        """RealMemory; where memory is not counted, a terabyte."""
        return self.memory_mb or 1024**2

    @property
    def node_list(self) -> str:
        """``n[1-4]``."""
        return fold_hosts(self.nodes)

    @property
    def gres(self) -> str:
        """A node's, as sinfo prints it."""
        return ":".join(["gpu", *self.gpu_types[:1], str(self.gpus)]) if self.gpus else "(null)"

    def partition(self, name: str) -> Partition | None:
        """The partition of that name; the default one where it is empty."""
        found = next((partition for partition in self.partitions if partition.name == (name or self.partitions[0].name)), None)
        return found or (Partition(name=name) if self.takes_any_partition else None)

    def account(self, name: str) -> str | None:
        """The account of that name; the default one where it is empty."""
        return name or self.accounts[0] if self.takes_any_account or name in ("", *self.accounts) else None

    def quality(self, name: str) -> Quality | None:
        """The quality of service of that name; the default one where it is empty."""
        found = next((quality for quality in self.qualities if quality.name == (name or self.qualities[0].name)), None)
        return found or (Quality(name=name) if self.takes_any_quality else None)


def make_site(settings: Settings, host: str) -> Site:
    """The site that the settings describe.

    Raises:
        SettingError: with a message.
    """
    partitions, any_partition = _names(settings, "partitions")
    qualities, any_quality = _names(settings, "qos")
    accounts, any_account = _names(settings, "accounts")
    patience_s = settings.number("patience_s")
    return Site(
        host=host,
        cluster=settings.text("cluster"),
        nodes=tuple(node.name for node in nodes_of(settings)),
        cpus=max(1, settings.whole("cpus")),
        gpus=settings.whole("gpus"),
        gpu_types=tuple(filter(None, settings.text("gpu_types").split(","))),
        memory_mb=settings.whole("memory_mb"),
        partitions=tuple(Partition(name=name, max_minutes=number) for name, number in partitions) or (Partition(name="main"),),
        takes_any_partition=any_partition,
        accounts=tuple(name for name, _ in accounts) or ("lab",),
        takes_any_account=any_account,
        qualities=tuple(Quality(name=name, max_submit=number) for name, number in qualities) or (Quality(name="normal"),),
        takes_any_quality=any_quality,
        features=tuple(filter(None, settings.text("features").split(","))),
        max_submit=settings.whole("max_submit") or None,
        max_array_size=settings.whole("max_array_size"),
        max_job_count=settings.whole("max_job_count"),
        kill_wait_s=settings.number("kill_delay_s"),
        min_job_age_s=settings.number("min_job_age_s"),
        message_timeout_s=10.0 if patience_s < 0 else patience_s,
        has_history=settings.flag("history"),
        history_lag_s=settings.number("history_lag_s"),
        minute_s=settings.number("minute_s"),
    )


def nodes_of(settings: Settings) -> tuple[Node, ...]:
    """The nodes: n1, n2 ...; a single one is n1."""
    nodes = settings.nodes("n")
    return nodes if len(nodes) > 1 else (dataclasses.replace(nodes[0], name="n1"),)


def _names(settings: Settings, setting: str) -> tuple[list[tuple[str, int | None]], bool]:
    """``main,short:1,any`` -> [("main", None), ("short", 1)], True."""
    found: list[tuple[str, int | None]] = []
    takes_any = False
    for part in filter(None, settings.text(setting).split(",")):
        name, colon, number = part.partition(":")
        if colon and not (number.isascii() and number.isdigit()):
            raise SettingError(f"{setting}={settings.text(setting)}: {number!r} is not a whole number")
        if name == ANY:
            takes_any = True
        else:
            found.append((name, int(number) if colon else None))
    return found, takes_any
