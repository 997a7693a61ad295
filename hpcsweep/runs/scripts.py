"""The files of an array: its chunks and its script, made from the run's frozen settings."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence

from hpcsweep._version import __version__
from hpcsweep.events import FINALLY
from hpcsweep.ledger import Array
from hpcsweep.model import Request, Task
from hpcsweep.packing import element_request
from hpcsweep.render.chunks import CHUNK_SIZE, chunk_hash, render_chunks
from hpcsweep.render.facts import RunFacts
from hpcsweep.render.script import ScriptFacts, render_script, shared_shell_texts
from hpcsweep.render.task import TaskRenderer
from hpcsweep.render.templates import read_runner, read_template
from hpcsweep.runs.limits import site_limits
from hpcsweep.runs.run import Run
from hpcsweep.store import make_array_folders, write_atomically, write_chunks


def run_facts(run: Run) -> RunFacts:
    """A run, as its commands and scripts know it."""
    frozen = run.frozen
    links = run.settings.link if frozen is not None else ()
    return RunFacts(
        name=run.name,
        uid=str(run.info["uid"]),
        run_dir=str(run.paths.root),
        cwd=run.cwd,
        sweep=str(run.info["name"]),
        scheduler=str(run.info["scheduler"]),
        version=__version__,
        frozen=frozen,
        umask=run.task_umask,
        in_copy=[path for path in links if frozen is not None and (found := frozen.find(path)) and os.path.lexists(found)],
    )


def array_directives(run: Run, array: Array) -> tuple[str, ...]:
    """The scheduler's directive lines of an array's script."""
    options = run.settings.scheduler_options.get(run.scheduler.name, {})
    signal = run.settings.signal if array.kind == "tasks" else None
    if signal is not None and signal.name != "TERM" and run.scheduler.name == "slurm":
        # The runner's own clock is exact, and comes first where it knows the limit. This is for sites whose preemption sends
        # a job's own signal (PreemptParameters=send_user_signal), and for a limit that only Slurm knows. TERM comes anyway.
        before_s = signal.before_s if array.request.time_limit_s is None else 1
        options = {**options, "signal": f"B:{signal.name}@{before_s}"}
    return tuple(run.scheduler.directives(element_request(array.request, array.packing), options))


class ArrayWriter:
    """Renders and writes arrays of one run; the sweep's templates are compiled once for all of them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._facts = run_facts(run)
        self._tasks = TaskRenderer(run.settings, run.names, self._facts)

    def write(self, array: Array) -> None:
        """Write the chunks and the script of an array that is about to be planned."""
        paths = self._run.paths.array(array.number)
        make_array_folders(paths)
        write_atomically(paths.tag, f"{array.tag}\n")
        chunks = self.chunks(array)
        write_chunks(paths, chunks)
        write_atomically(paths.script, self.script(array, chunks), mode=0o755)

    def chunks(self, array: Array) -> list[str]:
        """What the array's positions run."""
        return render_chunks(self._blocks(array))

    def script(self, array: Array, chunks: Sequence[str]) -> str:
        """What is submitted."""
        facts = self._script_facts(array, chunks)
        return render_script(self._run.settings, facts, runner=read_runner(), read_template=read_template)

    def shared_shell_texts(self, array: Array) -> dict[str, str]:
        """``setup`` and ``teardown`` as they are evaluated."""
        return shared_shell_texts(self._run.settings, self._script_facts(array, []))

    def _script_facts(self, array: Array, chunks: Sequence[str]) -> ScriptFacts:
        run = self._run
        last = run.settings.finally_
        return ScriptFacts(
            run=self._facts,
            tag=array.tag,
            array=array.number,
            positions=len(array.tasks),
            packing=array.packing,
            chunk_size=CHUNK_SIZE,
            chunk_hashes=[chunk_hash(chunk) for chunk in chunks],
            request=array.request,
            kill_wait_s=site_limits(run).kill_wait_s,
            names=run.names,
            directives=array_directives(run, array),
            enforces_time_limit=not run.scheduler.enforces_time_limit,
            starts_bare=run.scheduler.starts_bare,
            is_last=array.kind == "finally",
            condition="" if last is None or array.awaits is None else last.when,
            total=array.awaits or 0,
            records_environment=not run.paths.task_environment.exists(),
            attempts={} if array.awaits is None else self._later_attempts(),
        )

    def check(self, task: Task, request: Request) -> None:
        """Render one task's record, for its faults.

        Raises:
            HpcsweepError: when an expression has no value for this point, or a value cannot stand where it would.
        """
        self._tasks.render(task, request, 1, 0)

    def command(self, array: Array) -> str:
        """The rendered command of an array's first task, as one would type it."""
        command = self._tasks.command(self._run.tasks[array.tasks[0]], array.request)
        return command if isinstance(command, str) else shlex.join(command)

    def _later_attempts(self) -> dict[int, int]:
        current = ((task, array.attempt_of(task)) for task, (array, _) in self._run.ledger.current.items() if task != FINALLY)
        return {task: attempt for task, attempt in sorted(current) if attempt > 1}

    def _blocks(self, array: Array) -> Iterator[str]:
        if array.kind == "finally":
            yield self._tasks.render_finally(array.request, array.attempt_of(FINALLY))
            return
        for position, task in enumerate(array.tasks):
            yield self._tasks.render(self._run.tasks[task], array.request, array.attempt_of(task), position)
