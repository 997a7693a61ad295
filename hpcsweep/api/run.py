"""A run in Python: what it is, how it stands, what to do with it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcsweep.api import html
from hpcsweep.api.names import HASH, name_expression
from hpcsweep.api.sweep import NAME_PATTERN
from hpcsweep.errors import HpcsweepError, SchedulerUnreachable, UsageError
from hpcsweep.runs.logs import log_path
from hpcsweep.runs.look import read_status
from hpcsweep.runs.observe import claim_facts, observe
from hpcsweep.runs.run import Run as OpenedRun
from hpcsweep.runs.run import open_run as find_and_open
from hpcsweep.runs.select import parse_states, parse_tasks, tasks_to_resubmit
from hpcsweep.runs.status import Status, reason_of
from hpcsweep.space.point import Point
from hpcsweep.states import FACTS, State

if TYPE_CHECKING:
    import pandas as pd

Tasks = str | int | Iterable[int]
"""Tasks as they are named: ``17``, ``[3, 17]``, ``"3,17-20"``."""

LOCK_WAIT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """How a run stands: how many tasks are in which state. Times in seconds; ``eta_s`` None: nobody can say."""

    run: str
    total: int
    counts: Mapping[str, int]
    is_finished: bool
    is_success: bool
    eta_s: float | None = None
    problems: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """How many did not work."""
        return sum(number for state, number in self.counts.items() if FACTS[State(state)].is_failure)

    def __str__(self) -> str:
        counts = ", ".join(f"{number} {state}" for state, number in self.counts.items())
        return f"{self.run}: {counts or 'no tasks'}"

    def _repr_html_(self) -> str:
        return html.status_html(self.run, self.counts, self.total, self.problems)


@dataclass(frozen=True, kw_only=True)
class RunTask:
    """One task. ``log_path`` is the log of its newest attempt, with both streams in the order in which they were written."""

    index: int
    id: str
    params: Point
    state: str
    reason: str
    attempt: int
    exit_code: int | None
    job: str | None
    node: str | None
    elapsed_s: float | None
    folder: Path
    log_path: Path

    @property
    def log(self) -> str:
        """What it printed; "" when there is no log yet.

        Raises:
            HpcsweepError: the log cannot be read.
        """
        return _read_log(self.log_path)

    @property
    def stdout(self) -> str:
        """What it printed. A task has one log for both streams, so this is the same text as :attr:`stderr`."""
        return self.log

    @property
    def stderr(self) -> str:
        """What it printed, the errors between the rest: the same text as :attr:`stdout`."""
        return self.log


class Run:
    """A run: what :func:`submit` gives, or :func:`open_run`. What it tells is read anew each time."""

    def __init__(self, opened: OpenedRun) -> None:
        self._opened = opened

    @property
    def name(self) -> str:
        """The folder's name, ``run-03``."""
        return self._opened.name

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._opened.paths.root

    @property
    def uid(self) -> str:
        """Its own name among all runs."""
        return self._opened.uid

    @property
    def scheduler(self) -> str:
        """``slurm`` or ``local``."""
        return str(self._opened.info["scheduler"])

    @property
    def opened(self) -> OpenedRun:
        """The run as the commands know it, for ``hpcsweep.api``."""
        return self._opened

    def status(self) -> RunStatus:
        """How many tasks are in which state."""
        return _status_of(self._look())

    def advance(self) -> RunStatus:
        """Submit what can be submitted now, and settle what the scheduler did not answer.

        Raises:
            SchedulerUnreachable: it still gives no answer.
        """
        from hpcsweep.runs.advance import advance  # noqa: PLC0415 - only those who submit need it
        from hpcsweep.runs.turn import open_turn  # noqa: PLC0415
        from hpcsweep.runs.unsettled import raise_unsettled  # noqa: PLC0415

        with open_turn(self._opened, wait_s=LOCK_WAIT_S, command="advance") as turn:
            report = advance(turn)
        raise_unsettled(self._opened, report)
        return self.status()

    def wait(self, *, progress: bool = False, timeout: float | None = None) -> RunStatus:
        """Wait until all has ended, submitting meanwhile what there is room for; how it ended.

        Args:
            progress: show how far it is, on standard error.
            timeout: seconds after which to give up.

        Raises:
            HpcsweepError: it has not ended in time; the run goes on.
        """
        from hpcsweep.runs.watch import Watch  # noqa: PLC0415 - only those who wait need it

        watch = Watch(self._opened, command="wait")
        start, told = time.monotonic(), ""
        while True:
            now = _status_of(watch.turn())
            if progress and str(now) != told:
                told = str(now)
                sys.stderr.write(f"{told}\n")
                sys.stderr.flush()
            if now.is_finished:
                return now
            left_s = None if timeout is None else timeout - (time.monotonic() - start)
            if left_s is not None and left_s <= 0:
                raise HpcsweepError(f"{now} after {timeout:g} s", "it goes on: wait again, or run.cancel()")
            time.sleep(watch.interval_s if left_s is None else min(watch.interval_s, left_s))

    def resubmit(
        self, *, state: str | Iterable[str] | None = None, tasks: Tasks | None = None, **resources: str | float
    ) -> list[int]:
        """Run again what did not work: never what is done, pending or running. The tasks that run again.

        Args:
            state: only tasks in these states, ``"failed,timeout"``; cancelled ones only when they are named.
            tasks: only these.
            resources: what differs from the last attempt: ``memory="x2"`` (or ``"+4G"``, ``"16G"``), ``time="4h"``, ``cpus=8``,
                ``gpus``, ``gpu_type``, ``partition``, ``account``, ``qos``, ``tmp``, ``exclude_node="node07"``.

        Raises:
            HpcsweepError: the scheduler refused it, or another command holds the run.
            TypeError: a resource that there is not.
        """
        from hpcsweep.runs.advance import advance  # noqa: PLC0415 - only those who submit need it
        from hpcsweep.runs.control import mark_resubmit  # noqa: PLC0415
        from hpcsweep.runs.resubmit import CHANGED_KEYS, parse_wish, wished_requests  # noqa: PLC0415
        from hpcsweep.runs.select import is_finally_to_resubmit  # noqa: PLC0415
        from hpcsweep.runs.turn import open_turn  # noqa: PLC0415
        from hpcsweep.runs.unsettled import raise_unsettled  # noqa: PLC0415

        unknown = sorted(resources.keys() - {*CHANGED_KEYS, "memory", "time", "exclude_node"})
        if unknown:
            raise TypeError(f"resubmit() has no resource {', '.join(unknown)}")
        texts = {name: None if name not in resources else str(resources[name]) for name in ("memory", "time")}
        excluded = [str(resources["exclude_node"])] if "exclude_node" in resources else []
        given = {key: resources[key] for key in CHANGED_KEYS if key in resources}
        wish = parse_wish(memory=texts["memory"], time=texts["time"], exclude_nodes=excluded, given=given)
        states = None if state is None else parse_states(state if isinstance(state, str) else ",".join(state))
        chosen = None if tasks is None else self._indices(tasks)
        with open_turn(self._opened, wait_s=LOCK_WAIT_S, command="resubmit") as turn:
            fold = observe(self._opened)
            again = tasks_to_resubmit(fold, states, chosen)
            if not again and not (chosen is None and is_finally_to_resubmit(fold, states)):
                return []
            requests = wished_requests(self._opened, again, wish)
            mark_resubmit(turn, fold, again, {task: new for task, (_, new) in requests.items()})
            report = advance(turn)
        raise_unsettled(self._opened, report)
        return again

    def cancel(self, tasks: Tasks | None = None) -> list[int]:
        """Cancel the run, or some of its tasks. Those that had not ended.

        Raises:
            SchedulerUnreachable: the scheduler was not told.
        """
        from hpcsweep.runs.control import cancel  # noqa: PLC0415 - only those who change a run need it
        from hpcsweep.runs.turn import open_turn  # noqa: PLC0415

        chosen = None if tasks is None else self._indices(tasks)
        with open_turn(self._opened, wait_s=LOCK_WAIT_S, command="cancel") as turn:
            fold = observe(self._opened)
            done = cancel(turn, fold, chosen)
        if fold.evidence.live_message:
            raise SchedulerUnreachable(f"the scheduler did not answer: {fold.evidence.live_message}", "cancel again later")
        return sorted([*done.signalled, *done.withdrawn])

    def task(self, index: int) -> RunTask:
        """One task by its number.

        Raises:
            HpcsweepError: there is none such.
        """
        return next(self._tasks(self._look(), self._indices(index)))

    @property
    def tasks(self) -> list[RunTask]:
        """All tasks."""
        return list(self._tasks(self._look(), None))

    @property
    def jobs(self) -> pd.DataFrame:
        """One row a task: its parameters, state, attempt, exit code, job, node, times, and where its log is."""
        return self._jobs(with_logs=False, tail=None)

    def jobs_with_logs(self, tail: int | None = None) -> pd.DataFrame:
        """As :attr:`jobs`, with what each task printed in the columns ``stdout`` and ``stderr`` (the same text: one log)."""
        return self._jobs(with_logs=True, tail=tail)

    def usage(self, by: str | Iterable[str] | None = None, *, tasks: bool = False) -> pd.DataFrame:
        """What it cost and used, all attempts together: one row for all tasks that asked for the same, with the ``advice``.

        Args:
            by: parameters; then there is one row for each combination of their values.
            tasks: one row a task.

        ``frame.attrs["notes"]`` says what is not in it.

        Raises:
            HpcsweepError: there is no such parameter.
        """
        from hpcsweep.runs.usage import read_usage, usage_table  # noqa: PLC0415 - only those who ask need it

        if by is not None and tasks:
            raise UsageError("by and tasks do not go together", "the rows of tasks=True have all parameters")
        self._opened.forget_ledger()
        usage = read_usage(self._opened)
        joined = by if by is None or isinstance(by, str) else ",".join(by)
        frame = usage_table(self._opened, usage, by=joined, by_task=tasks).to_pandas()
        frame.attrs["notes"] = list(usage.notes)
        return frame

    def logs(self, tail: int | None = None, *, tasks: Tasks | None = None, failed: bool = False) -> str:
        """What tasks printed, one below the other, each under a heading.

        Args:
            tail: only so many last lines of each.
            tasks: only these.
            failed: only of those that did not work.
        """
        texts = []
        for task in self._tasks(self._look(), None if tasks is None else self._indices(tasks)):
            if failed and not FACTS[State(task.state)].is_failure:
                continue
            where = f" (job {task.job})" if task.job else ""
            text = _last_lines(task.log, tail)
            texts.append(
                f"==> task {task.index}{where}: {task.state} <==\n{text}{'' if text.endswith(chr(10)) or not text else chr(10)}"
            )
        return "".join(texts)

    def __repr__(self) -> str:
        return f"<Run {self.name}: {self._opened.ledger.total} tasks on {self.scheduler}, in {self.path}>"

    def __eq__(self, other: object) -> bool:
        return self.path.resolve() == other.path.resolve() if isinstance(other, Run) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.path.resolve())

    def _repr_html_(self) -> str:
        try:
            status = self._look()
        except HpcsweepError as error:
            return html.error_html(self.name, error.message)
        told = _status_of(status)
        bad = [task for task in self._tasks(status, None) if FACTS[State(task.state)].is_failure][: html.MOST_FAILURES]
        failures = [(str(task.index), task.state, task.reason, dict(task.params)) for task in bad]
        return html.run_html(
            told.run, self.scheduler, str(self.path), told.counts, told.total, told.problems, failures, told.failed
        )

    def _look(self) -> Status:
        self._opened.forget_ledger()
        return read_status(self._opened)

    def _indices(self, tasks: Tasks) -> list[int]:
        if isinstance(tasks, int):
            tasks = [tasks]
        text = tasks if isinstance(tasks, str) else ",".join(str(int(task)) for task in tasks)
        if text.startswith("-") or ",-" in text:
            raise UsageError(f"there is no task {text}", f"the run's tasks are 0-{self._opened.ledger.total - 1}")
        return parse_tasks(text, self._opened.ledger)

    def _tasks(self, status: Status, chosen: list[int] | None) -> Iterator[RunTask]:
        shown = self._opened.shown_tasks
        for view in status.fold.views if chosen is None else [status.fold.views[index] for index in chosen]:
            facts = claim_facts(self._opened, view)
            elapsed_s = view.elapsed_s
            if elapsed_s is None and view.state is State.RUNNING and facts is not None and facts.epoch:
                elapsed_s = round(max(0.0, status.fold.evidence.now - facts.epoch), 1)
            yield RunTask(
                index=view.index,
                id=shown[view.index].id,
                params=Point(shown[view.index].params),
                state=view.state.value,
                reason=reason_of(view, status.waiting),
                attempt=view.attempt,
                exit_code=view.exit_code,
                job=facts.job if facts else view.job,
                node=view.node or (facts.host if facts else None) or None,
                elapsed_s=elapsed_s,
                folder=self._opened.paths.task(view.index),
                log_path=log_path(self._opened, view),
            )

    def _jobs(self, *, with_logs: bool, tail: int | None) -> pd.DataFrame:
        from hpcsweep.results import Table  # noqa: PLC0415 - pandas is slow to import

        status = self._look()
        names = self._opened.names
        job_names = self._job_names()
        first = ("task", *(("job_name",) if job_names else ()))
        fixed = ("id", "state", "attempt", "exit_code", "job", "node", "start", "elapsed_s", "reason", "log_path")
        logs = ("stdout", "stderr") if with_logs else ()
        taken = {*first, *fixed, *logs}
        rows = []
        for task in self._tasks(status, None):
            facts = claim_facts(self._opened, status.fold.views[task.index])
            text = _last_lines(task.log, tail) if with_logs else ""
            rows.append((
                task.index,
                *((job_names[task.index],) if job_names else ()),
                *(task.params.get(name) for name in names),
                task.id,
                task.state,
                task.attempt or None,
                task.exit_code,
                task.job,
                task.node,
                facts.epoch if facts and facts.epoch else None,
                task.elapsed_s,
                task.reason or None,
                str(task.log_path),
                *((text, text) if with_logs else ()),
            ))  # fmt: skip
        params = tuple(f"param.{name}" if name in taken else name for name in names)
        frame = Table(columns=(*first, *params, *fixed, *logs), rows=rows).to_pandas()
        frame["start"] = _times(frame["start"])
        frame.attrs.update(params=list(params), replicates=list(self._opened.settings.replicates), metrics=[])
        return frame

    def _job_names(self) -> dict[int, str]:
        """The names that a template's tasks have, by its pattern."""
        pattern = self._opened.settings.env.get(NAME_PATTERN)
        if not isinstance(pattern, str):
            return {}
        from hpcsweep.expressions import compile_expression, text_of  # noqa: PLC0415 - only for templates

        names = self._opened.names
        special = {HASH: "task.id"} if HASH not in names else {}
        pattern = pattern.replace("{{ '{' | raw }}", "{")
        expression = compile_expression(name_expression(pattern, special), names=names)
        return {
            task.index: text_of(expression.evaluate(task.params, {"task": {"id": task.id}}))
            for task in self._opened.shown_tasks
        }


def open_run(run: str | Path | None = None, *, runs_dir: str | Path | None = None) -> Run:
    """A run by its name or folder; the latest without either.

    Raises:
        HpcsweepError: there is none such; the nearest names are told.
    """
    return Run(find_and_open(None if runs_dir is None else str(runs_dir), None if run is None else str(run)))


def _status_of(status: Status) -> RunStatus:
    return RunStatus(
        run=status.run,
        total=status.total,
        counts={state.value: number for state, number in status.counts.items()},
        is_finished=status.is_finished,
        is_success=status.is_success,
        eta_s=status.eta_s,
        problems=(*status.problems, *([status.scheduler_message] if status.scheduler_message else [])),
    )


def _times(seconds: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd  # noqa: PLC0415 - slow to import

    return pd.to_datetime(seconds.astype("float64"), unit="s", utc=True)


def _read_log(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise HpcsweepError(f"{path} cannot be read: {error.strerror}") from error


def _last_lines(text: str, tail: int | None) -> str:
    return text if tail is None else "".join(text.splitlines(keepends=True)[-tail:] if tail else [])
