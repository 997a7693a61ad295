"""The GPUs of one machine: how they are written, what programs say of them, and what of them a task gets. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpcsweep.errors import HpcsweepError

VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""What tells a program which GPUs are its own: NVIDIA's variable first, then those of AMD."""

LEAST = 0.01
"""The smallest share of a GPU that a task may ask for."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,3}", re.ASCII)
_NAME = re.compile(r"(GPU|MIG)-[A-Za-z0-9][A-Za-z0-9/_.-]*", re.ASCII)
_LISTED = re.compile(r"GPU ([0-9]+): .*\(UUID: (GPU-[^)\s]+)\)\s*")
_LISTED_PART = re.compile(r"\s+MIG .*\(UUID: (MIG-[^)\s]+)\)\s*")
_EXAMPLES = "0, GPU-8932f937-d72c-4106-c12f-20bd9faed9f6 or MIG-..."


class GpuError(HpcsweepError):
    """What is no GPU of this machine, or more than it has."""


def whole_gpus(gpus: float | None) -> int:
    """How many whole GPUs hold what a task asks for: a quarter of one takes one where GPUs are not shared (0: none)."""
    return math.ceil(gpus or 0)


def tasks_of_a_gpu(gpus: float) -> int:
    """How many tasks that ask for this fraction of a GPU share one: 4 for 0.25, 3 for 0.3."""
    return max(1, math.floor(1 / gpus + 1e-9))


# ---- as users write them ----


def parse_group(text: str) -> str:
    """One device, or those that a task gets together, as CUDA_VISIBLE_DEVICES wants it: ``"0, 2"`` -> ``"0,2"``.

    Raises:
        GpuError: a name that no device has.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if not _NUMBER.fullmatch(name) and not _NAME.fullmatch(name):
            raise GpuError(f"`{name}` is no GPU" if name else f"`{text}`: a GPU's name is missing", f"write {_EXAMPLES}")
    return ",".join(names)


def check_groups(groups: Sequence[str]) -> None:
    """Refuse a device that is named twice: two tasks would have it.

    Raises:
        GpuError: with its name.
    """
    seen: set[str] = set()
    for name in (name for group in groups for name in group.split(",")):
        if name in seen:
            raise GpuError(f"the GPU {name} is there twice", "name each once")
        seen.add(name)


def parse_option(texts: Sequence[str]) -> tuple[str, ...]:
    """``--gpus``, as often as it was given: ``["0,1"]`` are two devices, ``["0;1,2"]`` and ``["0", "1,2"]`` a device and a pair.

    Raises:
        GpuError: what no device is called, or twice the same.
    """
    if [text.strip() for text in texts] == ["none"]:
        return ()
    if len(texts) == 1 and ";" not in texts[0]:
        parts = texts[0].split(",")
    else:
        parts = [part for text in texts for part in text.split(";") if part.strip()]
    try:
        groups = tuple(parse_group(part) for part in parts)
        check_groups(groups)
    except GpuError as error:
        hint = "a list of devices, `--gpus 0,1`, of groups, `--gpus '0;1,2'`, or `--gpus none`"
        raise GpuError(f"--gpus: {error.message}", hint) from error
    return groups


# ---- what the machine says ----


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A GPU that nvidia-smi lists; ``parts`` are the UUIDs of its MIG devices, which programs see instead of the whole."""

    index: str
    uuid: str
    parts: tuple[str, ...] = ()


def parse_list(text: str) -> tuple[Listed, ...]:
    """What ``nvidia-smi -L`` prints: a line for each GPU, and below it one for each of its MIG devices.

    ``GPU 0: NVIDIA A100 (UUID: GPU-5d5b...)`` and ``  MIG 1g.5gb      Device  0: (UUID: MIG-c6d4...)``
    (NVIDIA Multi-Instance GPU User Guide, Device Enumeration).
    """
    listed: list[Listed] = []
    for line in text.splitlines():
        if match := _LISTED.fullmatch(line):
            listed.append(Listed(index=match[1], uuid=match[2]))
        elif (match := _LISTED_PART.fullmatch(line)) and listed:
            last = listed.pop()
            listed.append(Listed(index=last.index, uuid=last.uuid, parts=(*last.parts, match[1])))
    return tuple(listed)


def parse_visible(text: str) -> tuple[str, ...]:
    """The devices that CUDA_VISIBLE_DEVICES lets a program see: those before the first that is none (``-1``, ``NoDevFiles``)."""
    names: list[str] = []
    for name in (part.strip() for part in text.split(",")):
        if name in names or not (_NUMBER.fullmatch(name) or _NAME.fullmatch(name)):
            break
        names.append(name)
    return tuple(names)


def all_names(listed: Sequence[Listed]) -> tuple[str, ...]:
    """What to call all GPUs that are listed: by their numbers, and MIG devices by their UUIDs, for they have none."""
    return tuple(name for gpu in listed for name in (gpu.parts or (gpu.index,)))


def find_listed(name: str, listed: Sequence[Listed]) -> str | None:
    """The UUID of a listed device, however it is named: by number, by UUID, or by the beginning of one; None: there is none."""
    for gpu in listed:
        if name in (gpu.index, gpu.uuid, *gpu.parts):
            return gpu.uuid if name == gpu.index else name
    found = [gpu.uuid for gpu in listed if not _NUMBER.fullmatch(name) and gpu.uuid.startswith(name)]
    return found[0] if len(found) == 1 else None


# ---- what a run shares out ----


@dataclass(frozen=True, kw_only=True)
class Group:
    """What a task gets as a whole: the devices as its variable names them, and what each is locked as on this machine."""

    name: str
    locks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Devices:
    """The GPUs that this machine's queue gives to a run's tasks, and the variable that tells a task which are its own."""

    variable: str
    groups: tuple[Group, ...]

    @property
    def has_groups(self) -> bool:
        """Whether a task gets several devices as one."""
        return any(len(group.locks) > 1 for group in self.groups)

    @property
    def names(self) -> str:
        """All of them, for a message: ``0, 1`` or ``0; 1,2``."""
        return ("; " if self.has_groups else ", ").join(group.name for group in self.groups)


def make_devices(variable: str, groups: Sequence[str], listed: Sequence[Listed]) -> Devices:
    """The devices that are named, each with the one name under which it is locked: its UUID where nvidia-smi lists it.

    Raises:
        GpuError: two names of one device.
    """
    locks: dict[str, str] = {}
    made = []
    for group in groups:
        names = group.split(",")
        found = [find_listed(name, listed) or name for name in names]
        for name, lock in zip(names, found, strict=True):
            if lock in locks:
                raise GpuError(f"{locks[lock]} and {name} are the same GPU", "name each once")
            locks[lock] = name
        made.append(Group(name=group, locks=tuple(found)))
    return Devices(variable=variable, groups=tuple(made))


def within(devices: Devices, names: Collection[str], job: str) -> Devices:
    """The devices as a task of this machine's queue shares out what it was given itself: ``names`` are its own already.

    That task has them locked as long as it runs; so what it starts locks them under a name of the task's own.
    """
    groups = [
        replace(
            group,
            locks=tuple(
                f"GPU-{job}-{name}" if name in names else lock
                for name, lock in zip(group.name.split(","), group.locks, strict=True)
            ),
        )
        for group in devices.groups
    ]
    return replace(devices, groups=tuple(groups))


def check_listed(groups: Sequence[str], listed: Sequence[Listed]) -> None:
    """Refuse devices that this machine does not have.

    Raises:
        GpuError: with the first of them, and what there is.
    """
    for name in (name for group in groups for name in group.split(",")):
        if find_listed(name, listed) is None:
            raise GpuError(
                f"this machine has no GPU {name}", f"nvidia-smi -L lists {', '.join(all_names(listed)) or 'none'} here"
            )


def check_fits(devices: Devices, gpus: float | None) -> None:
    """Refuse what a task can never get.

    Raises:
        GpuError: more than there are, or parts of groups.
    """
    if not gpus:
        return
    if devices.has_groups and gpus != 1:
        raise GpuError(
            f"resources.gpus is {gpus}, but the GPUs are in groups ({devices.names}), and a task gets one group as a whole",
            "write resources: {gpus: 1}, or list the devices one by one",
        )
    if whole_gpus(gpus) > len(devices.groups):
        raise GpuError(
            f"a task asks for {gpus} GPUs, and there are {len(devices.groups)} to give: {devices.names}",
            "look at resources.gpus, and at `gpus` or --gpus",
        )


def count_at_once(devices: Devices, gpus: float) -> int:
    """How many tasks that ask for so much can have it at the same time."""
    return len(devices.groups) // whole_gpus(gpus) if gpus >= 1 else len(devices.groups) * tasks_of_a_gpu(gpus)


def devices_to_json(devices: Devices) -> dict[str, Any]:
    """As run.json keeps them."""
    return {
        "variable": devices.variable,
        "devices": [{"name": group.name, "locks": list(group.locks)} for group in devices.groups],
    }


def devices_from_json(data: object) -> Devices | None:
    """What ``devices_to_json`` made; None where a run has none.

    Raises:
        HpcsweepError: it is damaged.
    """
    if data is None:
        return None
    try:
        return _read_devices(data)
    except (TypeError, KeyError, ValueError, AttributeError, GpuError) as error:
        raise HpcsweepError(
            "the GPUs in run.json cannot be read: the file is damaged", "bring it back from a backup"
        ) from error


def _read_devices(data: Any) -> Devices:
    variable = data["variable"]
    if variable not in VARIABLES:
        raise ValueError(variable)
    groups = [(one["name"], one["locks"]) for one in data["devices"]]
    return Devices(
        variable=variable,
        groups=tuple(Group(name=parse_group(name), locks=tuple(map(parse_group, locks))) for name, locks in groups),
    )
