"""What Slurm says of how much a user may queue, and has queued. Pure: text in, values out; no input raises."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hpcsweep.model import Completed
from hpcsweep.schedulers.base import Association, NoAnswer, Queued, SubmitLimits
from hpcsweep.schedulers.slurm_answers import parse_elements


def read_submit_limits(answers: Sequence[Completed]) -> SubmitLimits | NoAnswer:
    """The user's ``DefaultAccount|Account|Partition|DefaultQOS|MaxSubmit|GrpSubmit`` and the sites' ``Name|MaxSubmitPU|MaxSubmitPA|GrpSubmit``.

    An empty field is no limit. A limit that is shared with others lets in no more than itself, whatever they have queued.
    """
    for completed in answers:
        if completed.returncode != 0:
            said = " ".join(completed.stderr.split())[:500]
            return NoAnswer(message=said or f"{completed.argv[0]} gave no answer")
    users, qualities = (list(_rows(completed.stdout, width)) for completed, width in zip(answers, (6, 4), strict=True))
    associations = [
        Association(
            account=account,
            partition=partition,
            is_default=account == default,
            default_qos=qos,
            max_submit=_smallest(limits),
        )
        for default, account, partition, qos, *limits in users
        if account
    ]
    of_qos = {name: _smallest(limits) for name, *limits in qualities}
    return SubmitLimits(
        associations=tuple(associations), qos={name: limit for name, limit in of_qos.items() if limit is not None}
    )


def read_queued(completed: Completed) -> list[Queued] | NoAnswer:
    """``%K|%a|%P|%q|%j``: ``11-37,39|lab|main|normal|TAG``; a job that is no array has ``N/A``."""
    if completed.returncode != 0:
        return NoAnswer(message=" ".join(completed.stderr.split())[:500] or "squeue gave no answer")
    queued = []
    for line in completed.stdout.split("\n"):
        fields = line.strip().split("|", 4)
        if len(fields) < 5:
            continue
        index, account, partition, qos, tag = fields
        queued.append(Queued(tag=tag, account=account, partition=partition, qos=qos, elements=_count(index)))
    return queued


def _rows(text: str, width: int) -> Iterator[list[str]]:
    for line in text.split("\n"):
        fields = line.strip().split("|")
        if len(fields) == width:  # else a site's greeting
            yield fields


def _smallest(texts: Sequence[str]) -> int | None:
    # Slurm's own INFINITE and NO_VAL are near 2**32; -1 takes a limit away.
    numbers = [int(text) for text in texts if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII)]
    return min(numbers, default=None)


def _count(index: str) -> int:
    try:
        return len(parse_elements(index))
    except ValueError:
        return 1
