"""``adopt``: a run that was moved or copied begins anew where it is, once nothing of it can be live where it was."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from hpcsweep.decide import EndAttempts
from hpcsweep.errors import HpcsweepError, SchedulerUnreachable
from hpcsweep.events import FINALLY
from hpcsweep.fold import Evidence, Fold
from hpcsweep.ledger import Array
from hpcsweep.runs.endings import end_attempts, names_of
from hpcsweep.runs.facts import make_tag, make_uid
from hpcsweep.runs.known import named_positions, record_what_is_known
from hpcsweep.runs.observe import list_array_events, observe
from hpcsweep.runs.run import Run
from hpcsweep.runs.turn import Turn
from hpcsweep.states import FACTS, State
from hpcsweep.store import RunPaths, absolute_as_written

LEFT = "left to the run that this one is a copy of"


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What became of the run's tasks. ``again``: never handed over, so the next turn does; ``left``: lost, by the move or to the original."""

    cwd: str
    uid: str
    again: list[int]
    left: list[int]


def is_original_there(run: Run) -> bool:
    """Whether the path at which the run was made opens another folder of the same run: then this one is a copy.

    Raises:
        HpcsweepError: nobody can say.
    """
    original = Run(RunPaths(Path(run.recorded_path)))
    try:
        return original.paths.run_json.exists() and original.uid == run.uid
    except (OSError, HpcsweepError) as error:
        said = error.message if isinstance(error, HpcsweepError) else error.strerror
        raise HpcsweepError(
            f"{run.name} was made as {run.recorded_path}, and what is there now cannot be read: {said}",
            f"if this is a copy: hpcsweep adopt {run.handle} --as-copy",
        ) from error


def adopt(turn: Turn, *, as_copy: bool, cwd: str | None = None) -> Adopted:
    """Give a moved run its new place; ``as_copy``: and a uid of its own, with nothing of the original's that is under way.

    Whatever was planned under the old path and has not started is ended here, and planned anew by the next turn.

    Args:
        turn: the run, under its lock.
        as_copy: it is a copy, of which nothing was ever submitted.
        cwd: where its commands run from now on (None: where they did; or where that folder was moved to with the run in it).

    Raises:
        SchedulerUnreachable: it did not answer, so that nobody knows what is live.
        HpcsweepError: something is live; or it is a copy, and not said to be one. Nothing of it is adopted.
    """
    run = turn.run
    if not as_copy and is_original_there(run):
        raise HpcsweepError(
            f"{run.name} is a copy: the run itself is still there as {run.recorded_path}",
            f"to make it a run of its own: hpcsweep adopt {run.handle} --as-copy",
        )
    fold = _own_records(run) if as_copy else _ended_fold(turn)
    left = _leave_to_original(turn, fold) if as_copy else []
    open_arrays = [array for array in run.ledger.arrays.values() if not array.settled]
    again, lost = _end_unstarted(turn, fold, open_arrays)
    uid = make_uid()
    new_cwd = cwd or moved_cwd(run.submit_dir, run.recorded_path, str(run.paths.root))
    if again and not as_copy:
        turn.write({"event": "resubmit", **names_of(again)})
    turn.write(
        {
            "event": "adopted",
            "path": str(absolute_as_written(run.paths.root)),
            "host": socket.gethostname(),
            # Another one in any case: should there be two of the run after all, neither takes the other's jobs for its own.
            "tag": make_tag(str(run.info["name"]), uid),
            "cwd": new_cwd,
            **({"uid": uid} if as_copy else {}),
        }
    )
    if as_copy:
        return Adopted(cwd=new_cwd, uid=uid, again=[], left=sorted({*left, *again}))
    return Adopted(cwd=new_cwd, uid=run.uid, again=again, left=lost)


def moved_cwd(cwd: str, old: str, new: str) -> str:
    """Where commands run when a run was moved from ``old`` to ``new``: another folder only where a whole project was moved."""
    if Path(cwd).is_dir():
        return cwd
    try:
        inside = PurePath(old).relative_to(cwd).parts
    except ValueError:
        return cwd
    here = PurePath(new)
    return str(here.parents[len(inside) - 1]) if inside and here.parts[-len(inside) :] == inside else cwd


def _own_records(run: Run) -> Fold:
    """How the tasks stand by what lies in the folder; the scheduler knows nothing of a copy."""
    events = {number: list_array_events(run, number) for number in run.ledger.arrays}
    return Fold(run.ledger, Evidence(now=time.time(), events=events), run.ledger.total)


def _ended_fold(turn: Turn) -> Fold:
    """How the tasks stand, when nothing of them is live."""
    run = turn.run
    fold = observe(run)
    if fold.evidence.live_message:
        raise SchedulerUnreachable(
            f"{run.name} was moved, and whether something of it is live nobody can say: {fold.evidence.live_message}",
            f"later: hpcsweep adopt {run.handle}",
        )
    tags = {array.tag for array in run.ledger.arrays.values()}
    live = [seen for seen in fold.evidence.live or () if seen.tag in tags and not FACTS[seen.state].is_ended]
    if live:
        jobs = ", ".join(sorted({f"{seen.job} ({seen.state})" for seen in live}))
        end = "they end by themselves in a few seconds"
        if run.info["scheduler"] != "local":
            end = f"end them: scancel {' '.join(sorted({seen.job for seen in live}))}"
        raise HpcsweepError(
            f"{run.name} was moved while its jobs were live: {jobs}",
            f"to let them go on, move it back to {run.recorded_path} at once; else {end}; then: hpcsweep adopt {run.handle}",
        )
    fold = record_what_is_known(turn, fold)
    for array in run.ledger.arrays.values():
        wait_s = array.submitted_at + run.settle_s - time.time()
        if array.is_uncertain and wait_s > 0:
            raise HpcsweepError(
                f"{run.name}: the scheduler has not confirmed array {array.number:03d} and may still take it",
                f"in {wait_s:.0f} s: hpcsweep adopt {run.handle}",
            )
    return fold


def _leave_to_original(turn: Turn, fold: Fold) -> list[int]:
    """Of a copy: what the scheduler has is the original's. Here these attempts are lost, and can be made again."""
    left = []
    for array in turn.run.ledger.live_arrays():
        records = fold.evidence.events.get(array.number, {})
        positions = []
        for position, task in enumerate(array.tasks):
            if turn.run.ledger.current.get(task, (None, 0))[0] is not array:
                continue
            record = records.get((task, array.attempt_of(task)))
            if position not in array.seen and (record is None or (record.outcome is None and not record.lost)):
                positions.append(position)
        if positions:
            event = {"event": "seen", "array": array.number, **named_positions(array, positions)}
            turn.write({**event, "state": State.LOST.value, "reason": LEFT, "source": "adopt"})
        turn.write({"event": "settled", "array": array.number})
        left += [task for task in (array.tasks[position] for position in positions) if task != FINALLY]
    return sorted(left)


def _end_unstarted(turn: Turn, fold: Fold, arrays: Iterable[Array]) -> tuple[list[int], list[int]]:
    """End the attempts that have not started: their scripts know the run by its old path, and can never start in this folder.

    Returns:
        The tasks that the scheduler never had, or forgot; and those that it had.
    """
    ledger = turn.run.ledger
    never_had: dict[tuple[int, int], bool] = {}
    attempts = []
    for array in arrays:
        for position, task in enumerate(array.tasks):
            key = (task, array.attempt_of(task))
            if ledger.current.get(task, (None, 0))[0] is not array or key in ledger.cancelled or position in array.seen:
                continue
            view = fold.finally_view if task == FINALLY else fold.views[task]
            never_had[key] = _is_unsubmitted(array) or (view is not None and view.is_forgotten)
            attempts.append((array.number, *key))
    if attempts:
        end_attempts(turn, fold, EndAttempts(attempts=tuple(attempts), leaves_started=True))
    ended = [key for key in never_had if key in ledger.revoked and key[0] != FINALLY]
    return sorted(key[0] for key in ended if never_had[key]), sorted(key[0] for key in ended if not never_had[key])


def _is_unsubmitted(array: Array) -> bool:
    return array.submission in ("planned", "refused") or array.is_uncertain
