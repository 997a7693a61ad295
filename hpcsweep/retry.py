"""What is run again without a hand, and what its next attempt asks for. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.fold import Fold, TaskView, is_over
from hpcsweep.ledger import Ledger
from hpcsweep.model import Change, Request, Retry, RetryRule
from hpcsweep.states import State
from hpcsweep.sweepfile.units import format_memory, format_time


@dataclass(frozen=True, kw_only=True)
class Site:
    """What of the site bears on it. ``longest_s``: partition (None: the default one) -> the longest time limit that it allows."""

    longest_s: Mapping[str | None, int] = field(default_factory=dict)
    excludes_nodes: bool = False  # the scheduler can be told to leave a node out


def changed_amount(amount: int | None, change: Change | None, ceiling: int | None = None) -> int | None:
    """``amount`` (bytes or seconds; None: the site's default) after a change, no more than the ceiling; never less than it was.

    Where nothing was asked for, nothing can be multiplied or added to: it stays so.
    """
    new = amount if change is None else _changed(amount, change)
    if new is None or change is None:
        return new
    new = new if ceiling is None else min(new, ceiling)
    return new if amount is None else max(new, amount)


def _changed(amount: int | None, change: Change) -> int | None:
    if change.how == "set":
        return math.ceil(change.amount)
    if not amount:
        return amount
    return math.ceil(amount * change.amount if change.how == "times" else amount + change.amount)


def next_request(request: Request, rule: RetryRule, *, avoided_node: str = "", longest_s: int | None = None) -> Request | None:
    """What the next attempt asks for, where one that asked for ``request`` has ended; None: no more can be asked for.

    Args:
        request: the last attempt's.
        rule: that of its end.
        avoided_node: where it ran, if it should not run there again.
        longest_s: the longest time limit that its partition allows.
    """
    limits = [limit for limit in (rule.time_up_to_s, longest_s) if limit is not None]
    changed = replace(
        request,
        memory_bytes=changed_amount(request.memory_bytes, rule.memory, rule.memory_up_to_bytes),
        time_limit_s=changed_amount(request.time_limit_s, rule.time, min(limits, default=None)),
    )
    if avoided_node and avoided_node not in request.exclude_nodes:
        changed = replace(changed, exclude_nodes=(*request.exclude_nodes, avoided_node))
    if rule.is_changing and changed == request:
        return None
    return changed


def is_without_base(request: Request, rule: RetryRule) -> str:
    """Which resource a rule would multiply although none is asked for: ``memory``, ``time`` or ''."""
    if rule.memory is not None and rule.memory.how != "set" and not request.memory_bytes:
        return "memory"
    if rule.time is not None and rule.time.how != "set" and not request.time_limit_s:
        return "time"
    return ""


@dataclass(frozen=True, kw_only=True)
class Retries:
    """What is run again by itself. ``fold``: with these tasks wanted; ``words``: each one's end, and what comes of it.

    ``ends``: the same of those that have a rule and are not run again.
    """

    fold: Fold
    requests: Mapping[int, Request]
    words: Mapping[int, str]
    ends: Mapping[int, str]

    def over(self, request_of: Callable[[int], Request]) -> Callable[[int], Request]:
        """The requests of all tasks, these ones' next ones among them."""
        return lambda task: self.requests[task] if task in self.requests else request_of(task)


def find_retries(fold: Fold, retry: Retry | None, site: Site) -> Retries:
    """Tasks whose end has a rule under ``retry:``, and what their next attempts ask for.

    Nothing is remembered: it follows from the last attempt, its request and its end, until the next attempt is planned.
    """
    ledger = fold.ledger
    views: dict[int, TaskView] = {}
    requests: dict[int, Request] = {}
    words: dict[int, str] = {}
    ends: dict[int, str] = {}
    for view in fold.views if retry is not None else ():
        rule = None if retry is None else retry.rules.get(view.state.value)
        key = (view.index, view.attempt)
        if retry is None or rule is None or view.array is None or not is_over(view) or key in ledger.cancelled:
            continue
        last = ledger.arrays[view.array].request
        changed = next_request(
            last,
            rule,
            avoided_node=view.node if view.state is State.NODE_FAIL and site.excludes_nodes else "",
            longest_s=site.longest_s.get(last.partition),
        )
        used = count_attempts(ledger, view)
        had = _amounts(last, rule)
        reason = f"{view.reason} with {had}" if had else view.reason
        if used >= retry.attempts:
            ends[view.index] = f"{reason}; all its {retry.attempts} attempts were used (hpcsweep resubmit runs it again)"
        elif changed is None:
            ends[view.index] = f"{reason}; no more may be asked for (retry.{view.state}: up_to, or what the partition allows)"
        else:
            views[view.index] = replace(view, is_wanted=True)
            requests[view.index] = changed
            gets = _amounts(changed, rule)
            again = f"runs again{f' with {gets}' if gets else ''} (attempt {used + 1} of {retry.attempts})"
            words[view.index] = f"{reason}; {again}"
    return Retries(fold=fold.with_views(views) if views else fold, requests=requests, words=words, ends=ends)


def count_attempts(ledger: Ledger, view: TaskView) -> int:
    """How many attempts of a task began, or may have: not those that were revoked, for their element never came to them.

    What goes on from what it had saved is one and the same.
    """
    continued = ledger.continued.get(view.index, ())
    return sum(
        (view.index, attempt) not in ledger.revoked and attempt not in continued for attempt in range(1, view.attempt + 1)
    )


def _amounts(request: Request, rule: RetryRule) -> str:
    """What of a request the rule changes: ``100M``, ``2h`` or both."""
    memory = format_memory(request.memory_bytes) if rule.memory is not None and request.memory_bytes else ""
    time = format_time(request.time_limit_s) if rule.time is not None and request.time_limit_s else ""
    return " and ".join(filter(None, (memory, time)))


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What ``resubmit`` asks for beside what the last attempt had. ``fields`` of Request replace those."""

    memory: Change | None = None
    time: Change | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    exclude_nodes: tuple[str, ...] = ()

    def over(self, request: Request) -> Request:
        """The request of the next attempt.

        Raises:
            HpcsweepError: there is nothing that a factor could be applied to.
        """
        missing = is_without_base(request, RetryRule(memory=self.memory, time=self.time))
        if missing:
            raise HpcsweepError(
                f"--{missing}: the tasks asked for no {missing}", f"give the {missing} itself: {_EXAMPLES[missing]}"
            )
        memory = request.memory_bytes if self.memory is None else _changed(request.memory_bytes, self.memory)
        time = request.time_limit_s if self.time is None else _changed(request.time_limit_s, self.time)
        excluded = tuple(dict.fromkeys((*request.exclude_nodes, *self.exclude_nodes)))
        return replace(request, memory_bytes=memory, time_limit_s=time, exclude_nodes=excluded, **self.fields)


_EXAMPLES = {"memory": "--memory 16G", "time": "--time 4h"}
