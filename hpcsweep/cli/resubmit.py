"""Run again what did not work: failed, timed out, out of memory, lost, preempted, on a dead node. Never what is done, pending or running."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from hpcsweep import output
from hpcsweep.cli import options
from hpcsweep.cli.changing import tell_report, turn_of
from hpcsweep.errors import SchedulerUnreachable
from hpcsweep.model import Request
from hpcsweep.runs.advance import advance
from hpcsweep.runs.control import mark_resubmit
from hpcsweep.runs.observe import observe
from hpcsweep.runs.resubmit import describe_request, parse_wish, wished_requests
from hpcsweep.runs.run import open_run
from hpcsweep.runs.select import is_finally_to_resubmit, parse_states, parse_tasks, tasks_to_resubmit
from hpcsweep.runs.unsettled import raise_unsettled
from hpcsweep.states import State


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hpcsweep resubmit``."""
    options.add_run(parser)
    parser.add_argument(
        "--state",
        metavar="LIST",
        action="append",
        help="only tasks in these states: failed,timeout (cancelled ones only when asked)",
    )
    options.add_tasks(parser, "only these tasks")
    parser.add_argument("--memory", metavar="M", help="with other memory than the last attempt's: x2, +4G or 16G")
    parser.add_argument("--time", metavar="T", help="with another time limit: x2, +1h or 4h")
    parser.add_argument("--cpus", metavar="N", help="with other cores")
    parser.add_argument("--gpus", metavar="N", help="with other GPUs")
    parser.add_argument("--partition", metavar="NAME", help="in another partition (queue)")
    parser.add_argument("--account", metavar="NAME", help="on another account")
    parser.add_argument("--qos", metavar="NAME", help="with another quality of service")
    parser.add_argument(
        "--exclude-node", metavar="NODES", action="append", default=[], help="not on these nodes: node07,node[11-12] (Slurm)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say which tasks, with their old and new requests, and do nothing"
    )
    options.add_wait_lock(parser)


def run(
    run: str | None,
    runs_dir: str | None,
    state: Sequence[str] | None,
    tasks: str | None,
    wait_lock: float,
    *,
    dry_run: bool,
    memory: str | None = None,
    time: str | None = None,
    exclude_node: Sequence[str] = (),
    **resources: str | None,
) -> int:
    """Mark the tasks and advance; 0 also when there is nothing to run again."""
    given = {key: value for key, value in resources.items() if value is not None}
    wish = parse_wish(memory=memory, time=time, exclude_nodes=exclude_node, given=given)
    opened = open_run(runs_dir, run)
    states = parse_states(",".join(state)) if state is not None else None
    chosen = parse_tasks(tasks, opened.ledger) if tasks is not None else None
    with turn_of(opened, wait_lock, "resubmit") as turn:
        fold = observe(opened)
        again = tasks_to_resubmit(fold, states, chosen)
        if chosen is not None:
            left = sorted(set(chosen) - set(again))
            if left:
                words = ", ".join(f"{index} ({fold.views[index].state})" for index in left[:10])
                output.note(f"left as they are: {words}{' ...' if len(left) > 10 else ''}")
        again_finally = chosen is None and is_finally_to_resubmit(fold, states)
        if not again and not again_finally:
            cancelled = 0 if states or chosen else sum(view.state is State.CANCELLED for view in fold.views)
            hint = f"; {cancelled} cancelled: hpcsweep resubmit {opened.handle} --state cancelled" if cancelled else ""
            output.say(f"{opened.name}: nothing to run again{hint}")
            if fold.evidence.live_message:
                raise SchedulerUnreachable(f"the scheduler did not answer: {fold.evidence.live_message}", "try again later")
            return 0
        requests = wished_requests(opened, again, wish)
        what = f"{len(again)}: {output.tasks_words(again, 2000)}" if again else "the command after the tasks"
        if dry_run:
            output.say(f"{opened.name}: would run again {what}")
            for (last, new), some in _by_request(requests).items():
                output.say(f"  {output.tasks_words(some)}: {describe_request(last)} -> {describe_request(new)}")
            return 0
        mark_resubmit(turn, fold, again, {task: new for task, (_, new) in requests.items()})
        report = advance(turn)
    output.say(f"{opened.name}: runs again {what}")
    tell_report(opened, report)
    raise_unsettled(opened, report)
    return 0


def _by_request(requests: Mapping[int, tuple[Request, Request]]) -> dict[tuple[Request, Request], list[int]]:
    groups: dict[tuple[Request, Request], list[int]] = {}
    for task, pair in requests.items():
        groups.setdefault(pair, []).append(task)
    return groups
