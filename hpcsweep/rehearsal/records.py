"""A cluster's jobs as records, and back: what a server keeps on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hpcsweep.rehearsal.jobs import (
    Job,
    Plain,
    element_from_plain,
    element_to_plain,
    job_from_plain,
    job_to_plain,
    request_from_plain,
    request_to_plain,
)


@dataclass(kw_only=True)
class Kept:
    """What records tell of a cluster."""

    next_number: int | None = None
    down: set[str] = field(default_factory=set)
    jobs: list[Job] = field(default_factory=list)


def record_of(kind: str, job: Job, index: int) -> Plain:
    """A job's ``request``, the ``job`` itself, or one ``element``."""
    if kind == "request":
        return {"kind": kind, "number": job.number, "plain": request_to_plain(job.request)}
    plain = job_to_plain(job) if kind == "job" else element_to_plain(job.elements[index])
    return {"kind": kind, "number": job.number, "plain": plain}


def read_records(records: Iterable[Plain]) -> Kept:
    """What is left of all that the records say: the later one counts, and what is gone is gone."""
    kept = Kept()
    requests: dict[int, Plain] = {}
    jobs: dict[int, Plain] = {}
    elements: dict[int, dict[int, Plain]] = {}
    for record in records:
        number = record.get("number", 0)
        match record["kind"]:
            case "cluster":
                kept.next_number, kept.down = record["next_number"], set(record["down"])
            case "request":
                requests[number] = record["plain"]
            case "job":
                jobs[number] = record["plain"]
            case "element":
                elements.setdefault(number, {})[record["plain"]["index"]] = record["plain"]
            case "gone":
                jobs.pop(number, None)
                elements.pop(number, None)
    for number in sorted(jobs):
        own = {index: element_from_plain(plain) for index, plain in elements.get(number, {}).items()}
        kept.jobs.append(job_from_plain(jobs[number], request_from_plain(requests[number]), own))
    return kept
