"""What templates may know beside the parameters: ``resources``, ``task``, ``hpcsweep``."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hpcsweep.model import Request, Task
from hpcsweep.render.quote import quote_always
from hpcsweep.sweepfile.units import format_memory, format_time


@dataclass(frozen=True, kw_only=True)
class FrozenCode:
    """The copy of a project that a run's tasks work in.

    ``copy`` is that of ``project``; ``place`` is the folder where submit was called, in both. ``submit_dir`` is the original of it.
    """

    project: str
    copy: str
    place: str
    submit_dir: str

    @property
    def cwd(self) -> str:
        """The folder of the copy that stands for the one where submit was called."""
        return posixpath.normpath(posixpath.join(self.copy, self.place))

    def find(self, path: str) -> str | None:
        """Where a path, relative to the folder where submit was called, is in the copy; None: it leads out of the project."""
        if path.startswith("/"):
            inside = posixpath.relpath(posixpath.normpath(path), self.project)
        else:
            inside = posixpath.normpath(posixpath.join(self.place, path))
        return None if inside.split("/")[0] == ".." else posixpath.normpath(posixpath.join(self.copy, inside))


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """A run, as commands and scripts know it. Paths are absolute; ``cwd`` is the folder where submit was called, or the copy of it.

    ``in_copy``: which of the paths of ``link:`` the copy has. ``umask``: the tasks', where the scheduler does not see to it.
    """

    name: str
    uid: str
    run_dir: str
    cwd: str
    sweep: str
    scheduler: str
    version: str
    frozen: FrozenCode | None = None
    in_copy: Collection[str] = ()
    umask: int | None = None

    @property
    def submit_dir(self) -> str:
        """The folder where submit was called, itself."""
        return self.cwd if self.frozen is None else self.frozen.submit_dir

    def workdir(self, path: str) -> str:
        """Where ``workdir: PATH`` is."""
        found = None if self.frozen is None else self.frozen.find(path)
        return found or posixpath.normpath(posixpath.join(self.submit_dir, path))

    def linked(self, path: str) -> str:
        """What a path of ``link:`` means: the copied file where there is one."""
        found = self.frozen.find(path) if self.frozen is not None and path in self.in_copy else None
        return found or posixpath.normpath(posixpath.join(self.submit_dir, path))

    def element_log(self, array: int) -> str:
        """What the elements of an array write that is no task's."""
        return f"{self.run_dir}/arrays/{array:03d}/elements.log"

    def opening(self, log: str) -> str:
        """What a script begins with that is started in the home folder, with a umask of the scheduler's own and its output nowhere."""
        folder = posixpath.dirname(log)
        return "\n".join(
            [
                "# shellcheck disable=SC2164 # where the folder is not there, the tasks say so",
                f"cd -- {quote_always(self.cwd)} || cd /",
                f"umask {self.umask or 0o022:03o}",
                f"if [[ -d {quote_always(folder)} ]]; then exec >>{quote_always(log)} 2>&1; fi",
            ]
        )

    def as_mapping(self) -> Mapping[str, object]:
        """``hpcsweep`` in expressions."""
        return {
            "run": self.name,
            "run_dir": self.run_dir,
            "sweep": self.sweep,
            "scheduler": self.scheduler,
            "version": self.version,
            "cwd": self.cwd,
        }

    def task_dir(self, task: int) -> str:
        """A task's own folder."""
        return f"{self.run_dir}/tasks/{task:06d}"


def resource_facts(request: Request) -> Mapping[str, object]:
    """``resources`` in expressions: what is asked for, under the names of the sweep file; what is not, is not there.

    ``time``, ``memory`` and ``tmp`` are texts (``2h``, ``8G``), and numbers too: ``time_s``, ``memory_bytes``, ``tmp_bytes``.
    """
    facts: dict[str, object] = {
        "time": format_time(request.time_limit_s) if request.time_limit_s is not None else None,
        "time_s": request.time_limit_s,
        "memory": format_memory(request.memory_bytes) if request.memory_bytes else None,
        "memory_bytes": request.memory_bytes or None,
        "cpus": request.cpus,
        "gpus": request.gpus,
        "gpu_type": request.gpu_type,
        "nodes": request.nodes,
        "tasks_per_node": request.tasks_per_node,
        "partition": request.partition,
        "queue": request.partition,
        "account": request.account,
        "qos": request.qos,
        "tmp": format_memory(request.tmp_bytes) if request.tmp_bytes is not None else None,
        "tmp_bytes": request.tmp_bytes,
    }
    return {name: value for name, value in facts.items() if value is not None}


def task_facts(task: Task, attempt: int, run: RunFacts) -> Mapping[str, object]:
    """``task`` in expressions."""
    return {"index": task.index, "id": task.id, "attempt": attempt, "dir": run.task_dir(task.index)}
