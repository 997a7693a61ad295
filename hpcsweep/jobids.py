"""The schedulers' ids: ``4711`` and its element ``4711_3`` on Slurm, ``39[].pbs`` and ``39[3].pbs`` on PBS and Torque. Pure."""

from __future__ import annotations

import re

_BRACKETS = re.compile(r"\[[0-9]*\]", re.ASCII)


def element_id(job: str, element: int) -> str:
    """The id of one element of an array: ``4711_3``, ``39[3].pbs``."""
    if "[]" in job:
        return job.replace("[]", f"[{element}]", 1)
    return f"{job}_{element}"


def array_id(element: str) -> str:
    """The id of the array that an element belongs to: ``4711_3`` -> ``4711``, ``39[3].pbs`` -> ``39[].pbs``."""
    if _BRACKETS.search(element):
        return _BRACKETS.sub("[]", element, count=1)
    return element.rpartition("_")[0]


def is_same_job(one: str, other: str) -> bool:
    """Whether two ids mean one job: PBS takes its own with and without the server's name (``39[]``, ``39[].pbs``)."""
    return one == other or (one.partition(".")[0] == other.partition(".")[0] and ("." in one) is not ("." in other))
