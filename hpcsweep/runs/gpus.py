"""Which GPUs of this machine a run's tasks may have: what the sweep says, else what the machine does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hpcsweep.errors import HpcsweepError
from hpcsweep.gpus import (
    VARIABLES,
    Devices,
    GpuError,
    Listed,
    all_names,
    check_fits,
    check_listed,
    count_at_once,
    make_devices,
    parse_list,
    parse_visible,
    within,
)
from hpcsweep.model import Request, Settings
from hpcsweep.packing import devices_of
from hpcsweep.schedulers.base import Command
from hpcsweep.shell import is_installed, run_command
from hpcsweep.sweepfile import Sweep

OPTION = "--gpus"

LIST_CMD = Command(argv=("nvidia-smi", "-L"), timeout_s=15.0)
"""Without its daemon the driver may need some seconds for each GPU."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The GPUs to share out (None: nobody knows any, or none are wanted), and what is to be told."""

    devices: Devices | None = None
    notes: tuple[str, ...] = ()


def with_implied_gpus(sweep: Sweep, scheduler: str) -> Sweep:
    """Who names GPUs on the command line means that each task gets one, where the sweep does not say how many."""
    settings = sweep.settings
    is_meant = scheduler == "local" and sweep.origins.get("gpus") == OPTION and settings.gpus
    if not is_meant or "gpus" in settings.resources:
        return sweep
    return replace(
        sweep,
        settings=replace(settings, resources={**settings.resources, "gpus": 1}),
        origins={**sweep.origins, "resources.gpus": OPTION},
    )


def find_gpus(settings: Settings, scheduler: str, origins: Mapping[str, str], environ: Mapping[str, str]) -> Found:
    """The GPUs that this machine's queue gives to the tasks of a sweep; on a cluster that is the scheduler's affair.

    Raises:
        HpcsweepError: the sweep names one twice, or one that is not here.
    """
    origin = origins.get("gpus", "")
    if scheduler != "local":
        is_odd = origin == OPTION and settings.gpus is not None
        return Found(notes=(f"{OPTION} has no effect: on {scheduler} the scheduler gives GPUs out",) if is_odd else ())
    if not _asks_for_gpus(settings):
        return Found()
    if settings.gpus == ():
        return Found(notes=("no GPUs are given out (gpus: none): tasks that ask for one run one at a time, and see them all",))
    variable = next((name for name in VARIABLES if environ.get(name) is not None), VARIABLES[0])
    visible = environ.get(variable)
    listed, trouble = list_gpus()
    names = settings.gpus or (all_names(listed) if visible is None else parse_visible(visible))
    if names:
        try:
            if settings.gpus is not None and listed:
                check_listed(names, listed)
            devices = make_devices(variable, names, listed)
        except GpuError as error:
            raise HpcsweepError(f"{origin or variable}: {error.message}", error.hint) from error
        given = parse_visible(environ.get("HPCSWEEP_GPUS", ""))
        return Found(devices=within(devices, given, environ.get("HPCSWEEP_JOB", "")), notes=trouble)
    why = f"{variable} names none" if visible is not None else "nvidia-smi lists none" if not trouble else ""
    why = why if is_installed(LIST_CMD.argv[0]) or visible is not None else "there is no nvidia-smi"
    note = "which GPUs this machine has is not known" + (f" ({why})" if why else "")
    return Found(notes=(*trouble, f"{note}: tasks that ask for one run one at a time; `{OPTION} 0,1` says which there are"))


def list_gpus() -> tuple[tuple[Listed, ...], tuple[str, ...]]:
    """What nvidia-smi lists, where it is installed; and what it said instead."""
    if not is_installed(LIST_CMD.argv[0]):
        return (), ()
    try:
        completed = run_command(LIST_CMD)
    except HpcsweepError as error:
        return (), (error.message,)
    if completed.returncode == 0:
        return parse_list(completed.stdout), ()
    said = (completed.stderr.strip() or completed.stdout.strip()).splitlines()
    why = f"no answer in {LIST_CMD.timeout_s:g} s" if completed.returncode is None else (said or ["it failed"])[0]
    return (), (f"nvidia-smi: {why}",)


def check_requests_fit(devices: Devices | None, requests: Iterable[Request], parallel: int = 1) -> None:
    """Refuse tasks that could never start. ``parallel``: so many of them share an element.

    Raises:
        HpcsweepError: more GPUs than there are to give, or parts of groups.
    """
    for gpus in {request.gpus for request in requests}:
        if devices is None:
            continue
        check_fits(devices, gpus)
        needed = devices_of(gpus or 0, parallel)
        if needed > len(devices.groups):
            raise HpcsweepError(
                f"{parallel} tasks side by side need {needed} GPUs, and there are {len(devices.groups)} to give: {devices.names}",
                "lower array.parallel: elements run side by side, too",
            )


def count_jobs(devices: Devices | None, requests: Iterable[Request], cores: int) -> int:
    """How many tasks this machine runs at once: as many as its cores hold of the largest request.

    Tasks that ask for GPUs, and do not say how many cores they need, are as many as GPUs hold. Where nobody knows which GPUs
    there are, each task sees them all: they run one by one.
    """
    requests = set(requests)
    asking = [request for request in requests if request.gpus]
    if asking and devices is None:
        return 1
    counted = [request for request in requests if request.cpus is not None or not request.gpus]
    widest = max(((request.cpus or 1) * (request.tasks_per_node or 1) for request in counted), default=1)
    held = [count_at_once(devices, request.gpus) for request in asking if devices and request.gpus and request.cpus is None]
    return max([1, cores // widest if counted else 1, *held])


def _asks_for_gpus(settings: Settings) -> bool:
    """Whether some task, or the command after them, may ask for a GPU."""
    last = settings.finally_.resources if settings.finally_ is not None else {}
    return any(resources.get("gpus") not in (None, 0, "0") for resources in (settings.resources, last))
