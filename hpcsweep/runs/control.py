"""What a user does to a run: resubmit, cancel, hold, release, throttle. Each leaves its wish in the journal first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hpcsweep.decide import count_failures
from hpcsweep.errors import HpcsweepError, SchedulerUnreachable
from hpcsweep.fold import Fold
from hpcsweep.ledger import Array
from hpcsweep.model import Completed
from hpcsweep.ranges import format_ranges
from hpcsweep.runs.advance import record_what_is_known
from hpcsweep.runs.observe import observe
from hpcsweep.runs.run import Run
from hpcsweep.runs.turn import Turn
from hpcsweep.schedulers.base import Command
from hpcsweep.shell import run_command
from hpcsweep.states import FACTS, State
from hpcsweep.store import mark_cancel, write_atomically


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """What ``cancel`` did: tasks by what became of them."""

    withdrawn: list[int] = field(default_factory=list)  # never submitted, and now never will be
    signalled: list[int] = field(default_factory=list)  # the scheduler was told
    ended: list[int] = field(default_factory=list)  # had ended before


def mark_resubmit(turn: Turn, tasks: Iterable[int]) -> None:
    """Write that these tasks shall have another attempt; ``advance`` then makes it."""
    turn.write({"event": "resubmit", "tasks": format_ranges(tasks)})


def cancel(turn: Turn, fold: Fold, tasks: list[int] | None) -> Cancelled:
    """Cancel all (None) or some tasks: the wish, the markers that the runners read, then the scheduler's command.

    Raises:
        SchedulerUnreachable: the scheduler did not take it; the markers stand, and the command can be given again.
    """
    run = turn.run
    chosen = fold.views if tasks is None else [fold.views[task] for task in tasks]
    ended = [view.index for view in chosen if FACTS[view.state].is_ended and not view.is_wanted]
    open_views = [view for view in chosen if view.index not in set(ended)]
    withdrawn = [view.index for view in open_views if not FACTS[view.state].is_live]
    live = [view for view in open_views if FACTS[view.state].is_live]
    last = fold.finally_view
    is_last_live = tasks is None and last is not None and FACTS[last.state].is_live
    if open_views or is_last_live or (tasks is None and run.settings.finally_ is not None and last is None):
        event: dict[str, object] = {"event": "cancel", "tasks": format_ranges(view.index for view in open_views)}
        if tasks is None:
            event["finally"] = True
        turn.write(event)
    by_array: dict[int, list[int]] = {}
    for view in [*live, *([last] if is_last_live and last is not None else [])]:
        if view.array is not None and view.element is not None:
            by_array.setdefault(view.array, []).append(view.element)
    for number, elements in by_array.items():
        _cancel_elements(run, run.ledger.arrays[number], elements)
    return Cancelled(withdrawn=withdrawn, signalled=[view.index for view in live], ended=ended)


def _cancel_elements(run: Run, array: Array, elements: list[int]) -> None:
    is_whole = len(elements) == array.size
    tasks = [array.tasks[element] for element in elements]
    marked = None if is_whole else [(task, array.attempt_of(task)) for task in tasks]
    mark_cancel(run.paths.array(array.number).events, marked)
    if array.job is None:
        return  # uncertain: whatever of it starts meets the marker and ends without running
    _tell(run.scheduler.cancel_cmds(array.tag, array.job, None if is_whole else elements))


def _tell(commands: list[Command]) -> None:
    for command in commands:
        completed = run_command(command)
        if completed.returncode != 0:
            raise _refusal(completed)


def _refusal(completed: Completed) -> HpcsweepError:
    said = completed.stderr.strip() or completed.stdout.strip() or f"exit code {completed.returncode}"
    words = " ".join(completed.argv)
    if completed.returncode is None or "ontact" in said or "timed out" in said or "refused" in said.lower():
        return SchedulerUnreachable(f"the scheduler is out of reach: {said} ({words})", "try the same command again later")
    return HpcsweepError(f"{words}: {said}")


def set_hold(turn: Turn, action: str) -> int:
    """Hold or release all that has not started; how many arrays the scheduler was told about."""
    run = turn.run
    fold = observe(run)
    if action == "hold":
        turn.write({"event": "held"})
    else:
        fold = record_what_is_known(turn, fold)
        failures = count_failures(fold)
        turn.write({"event": "released", "failures": failures})
        if run.settings.max_failures is not None:
            write_atomically(run.paths.released, f"{failures}\n")
            run.paths.held_back.unlink(missing_ok=True)
    pending = {view.array for view in fold.views if view.state is State.PENDING and view.array is not None}
    if fold.finally_view is not None and fold.finally_view.state is State.PENDING and fold.finally_view.array is not None:
        pending.add(fold.finally_view.array)
    for number in sorted(pending):
        array = run.ledger.arrays[number]
        if array.job is not None:
            _tell(run.scheduler.hold_cmds(array.tag, array.job, "hold" if action == "hold" else "release"))
    return len(pending)


def throttle(turn: Turn, at_once: int) -> int:
    """Let ``at_once`` elements run at once from now on (0: no limit); how many live arrays were told."""
    run = turn.run
    fold = observe(run)
    turn.write({"event": "throttled", "at_once": at_once})
    live = {view.array for view in fold.views if FACTS[view.state].is_live and view.array is not None}
    for number in sorted(live):
        array = run.ledger.arrays[number]
        if array.job is not None:
            _tell(run.scheduler.throttle_cmds(array.tag, array.job, at_once))
    return len(live)
