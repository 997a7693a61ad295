"""An opened run: its facts, its journal, its tasks, its scheduler. Reading only."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.gpus import Devices, devices_from_json
from hpcsweep.ledger import Ledger
from hpcsweep.model import Request, Settings, Task
from hpcsweep.render.facts import FrozenCode
from hpcsweep.runs.salvage import complete_ledger, salvage_tasks
from hpcsweep.schedulers import Site, make_scheduler
from hpcsweep.schedulers.base import Scheduler
from hpcsweep.store import (
    JournalReading,
    RunPaths,
    absolute_as_written,
    find_run,
    is_in_place,
    list_arrays,
    read_events,
    read_run_json,
    read_tasks,
)

DEFAULT_UMASK = 0o022

REHEARSAL_VARIABLE = "HPCSWEEP_REHEARSAL"
"""In a rehearsal its folder: the scheduler's commands that are found are stand-ins."""

REHEARSED_VARIABLE = "HPCSWEEP_REHEARSES"
"""In a rehearsal the scheduler that is played, whatever else this machine has."""


@dataclass(frozen=True)
class Run:
    """One run directory. Everything is read when it is first asked for."""

    paths: RunPaths

    @classmethod
    def imagined(cls, paths: RunPaths, *, info: Mapping[str, Any], tasks: list[Task], ledger: Ledger) -> Run:
        """A run that is not on disk: what ``show`` looks at."""
        run = cls(paths)
        run.__dict__.update(info=info, tasks=tasks, ledger=ledger)
        return run

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """What run.json says."""
        return read_run_json(self.paths)

    @cached_property
    def gone_since(self) -> dict[int, dict[int, float]]:
        """Array -> element -> when this command first found that the scheduler no longer has it (epoch seconds)."""
        return {}

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.paths.name

    @cached_property
    def handle(self) -> str:
        """What to type for this run: its name where commands look for runs, else its path."""
        try:
            is_found = self.paths.root == absolute_as_written(Path(resolve_runs_dir(None))) / self.name
        except HpcsweepError:  # a configuration that cannot be read
            is_found = False
        return shlex.quote(self.name if is_found else str(self.paths.root))

    @cached_property
    def settings(self) -> Settings:
        """The settings as they were resolved at submit."""
        from hpcsweep.sweepfile import settings_from_json  # noqa: PLC0415 - status starts without the sweep file's reader

        return settings_from_json(self.info["settings"])

    @cached_property
    def ledger(self) -> Ledger:
        """The journal, replayed, and what other files tell where it has lost something."""
        ledger = Ledger().replay(self.journal.events)
        tag = ledger.adoptions[-1].tag if ledger.adoptions else str(self.info.get("tag", self.name))
        ledger.missing += self.journal.lost
        complete_ledger(self.paths, ledger, tag, self.arrays_on_disk)
        return ledger

    @cached_property
    def journal(self) -> JournalReading:
        """The journal as it was read."""
        # Before it is read: an array that is planned meanwhile must not look like one that the journal has lost.
        self.__dict__["arrays_on_disk"] = list_arrays(self.paths)
        return read_events(self.paths)

    @cached_property
    def arrays_on_disk(self) -> list[int]:
        """The numbers of the arrays that had a script when the journal was read."""
        _ = self.journal
        return list(self.__dict__["arrays_on_disk"])

    @cached_property
    def tasks(self) -> list[Task]:
        """All tasks, by index.

        Raises:
            HpcsweepError: they are not those that the journal counts.
        """
        extensions = self.ledger.extensions
        first = extensions[0].first if extensions else self.ledger.total
        tasks = read_tasks(self.paths.tasks, first, [(part.offset, part.size) for part in extensions])
        if len(tasks) < self.ledger.total or any(task.index != index for index, task in enumerate(tasks)):
            raise HpcsweepError(
                f"{self.paths.tasks} is damaged: it has not each of the run's {self.ledger.total} tasks in its place",
                "bring the file back from a backup",
            )
        return tasks

    @cached_property
    def shown_tasks(self) -> list[Task]:
        """All tasks, by index, for those who look only: of a damaged tasks.jsonl what can be told."""
        return self._salvaged[0]

    @property
    def problems(self) -> list[str]:
        """What is wrong with the run's own files, as far as it was met."""
        problems = list(dict.fromkeys([*self.journal.problems, *self.ledger.missing]))
        if self.ledger.damaged_events:
            problems.append(f"{self.ledger.damaged_events} lines of the journal are damaged and were passed over")
        return problems

    @cached_property
    def _salvaged(self) -> tuple[list[Task], list[str]]:
        try:
            return self.tasks, []
        except HpcsweepError:
            return salvage_tasks(self.paths, self.ledger.total)

    @property
    def tasks_problems(self) -> list[str]:
        """What is wrong with tasks.jsonl, as :attr:`shown_tasks` met it."""
        return self._salvaged[1]

    @cached_property
    def scheduler(self) -> Scheduler:
        """The scheduler that the run was made for."""
        # Where nobody needs to watch: this machine's queue itself turns the loop when an array has ended.
        then = (sys.executable, "-m", "hpcsweep", "advance", "--quiet", str(self.paths.root))
        site = Site(queue_dir=str(self.paths.local_dir), jobs=self.info.get("jobs"), then=then, devices=self.devices)
        return make_scheduler(self.info["scheduler"], site)

    @property
    def devices(self) -> Devices | None:
        """The GPUs of this machine that its queue gives to the tasks, where it does."""
        return devices_from_json(self.info.get("gpus"))

    @property
    def settle_s(self) -> float:
        """How long a submission without an answer is given before it is repeated."""
        return min(self.settings.settle_s, self.scheduler.longest_settle_s)

    @property
    def task_umask(self) -> int | None:
        """The umask of the tasks: the setting, or where the scheduler would take one of its own, the submitter's."""
        if self.settings.umask is not None or not self.scheduler.starts_bare:
            return self.settings.umask
        recorded = str(self.info.get("umask", ""))
        return int(recorded, 8) if re.fullmatch(r"[0-7]{1,4}", recorded, re.ASCII) else DEFAULT_UMASK

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All parameter names, in the order of the space; those that came later behind them."""
        later = [name for extension in self.ledger.extensions for name in extension.names]
        return tuple(dict.fromkeys([*self.info["names"], *later]))

    @property
    def uid(self) -> str:
        """The run's own name among all runs. A copy that was adopted has another than run.json."""
        uids = [adoption.uid for adoption in self.ledger.adoptions if adoption.uid]
        return uids[-1] if uids else str(self.info["uid"])

    @property
    def tag(self) -> str:
        """What the names of its new jobs begin with."""
        return self._recorded("tag")

    @property
    def recorded_path(self) -> str:
        """The folder's path as it was made, or adopted."""
        return self._recorded("path")

    @property
    def submit_dir(self) -> str:
        """The folder where submit was called."""
        return self._recorded("cwd")

    @property
    def frozen(self) -> FrozenCode | None:
        """The copy of the project that the tasks work in, where the run has one."""
        facts = self.info.get("snapshot")
        if facts is None:
            return None
        try:
            project, place = str(facts["project"]), str(facts["place"])
        except (TypeError, KeyError) as error:
            raise HpcsweepError(
                f"{self.paths.run_json} is damaged: it does not say what {self.paths.code} is a copy of",
                "bring the file back from a backup; nothing else of the run was touched",
            ) from error
        return FrozenCode(project=project, copy=str(self.paths.code), place=place, submit_dir=self.submit_dir)

    @property
    def cwd(self) -> str:
        """The folder that commands are relative to: where submit was called, or the copy of it."""
        return self.submit_dir if self.frozen is None else self.frozen.cwd

    @property
    def host(self) -> str:
        """The machine that a local run's processes are on."""
        return self._recorded("host")

    def _recorded(self, name: str) -> str:
        adoptions = self.ledger.adoptions
        return str(getattr(adoptions[-1], name) if adoptions else self.info[name])

    def request_of(self, task: int) -> Request:
        """What the next attempt of a task asks for, resolved; of the ``finally`` command for -1."""
        from hpcsweep.sweepfile import resolve_request  # noqa: PLC0415 - only those who submit need it

        if task < 0:
            last = self.settings.finally_
            # Whose account and where is the same for it; how much of everything is its own affair.
            taken_over = {name: self.settings.resources.get(name) for name in ("account", "partition", "qos")}
            plain = {name: value for name, value in taken_over.items() if value is not None and "{" not in str(value)}
            return resolve_request({**plain, **(last.resources if last else {})}, {}, ())
        params = self.tasks[task].params  # nothing is planned of a task that is not known
        return self.ledger.request_of(task) or resolve_request(self.settings.resources, params, self.names)

    def forget_ledger(self) -> None:
        """The journal has grown: read it again at the next use.

        Raises:
            HpcsweepError: the run was removed meanwhile.
        """
        if not self.paths.run_json.exists():
            raise HpcsweepError(f"{self.paths.root} is no run any more: it was removed or moved away")
        for name in ("ledger", "journal", "tasks", "names"):
            self.__dict__.pop(name, None)

    @property
    def is_in_place(self) -> bool:
        """False: the folder was moved or copied; its jobs know it by its recorded path."""
        return is_in_place(self.paths, self.recorded_path)

    def check_journal(self) -> None:
        """Refuse to act on a journal that has lost what was submitted: it might run twice.

        Raises:
            HpcsweepError: with what it does not say.
        """
        if self.ledger.missing:
            raise HpcsweepError(
                f"{self.name} cannot be changed, for its journal is damaged: {'; '.join(self.ledger.missing[:3])}",
                f"bring {', '.join(path.name for path in self.paths.journals()) or 'state.jsonl'} back from a backup; "
                f"hpcsweep verify {self.handle} says what can still be trusted, and the table can still be collected",
            )

    def check_in_place(self) -> None:
        """Refuse to act on a run that was moved or copied: its jobs know it by its old path.

        Raises:
            HpcsweepError: when the path recorded at submit does not open this folder.
        """
        if not self.is_in_place:
            raise HpcsweepError(
                f"{self.name} was moved or copied: it was made as {self.recorded_path}",
                f"it can be looked at and collected; before you change anything of it: hpcsweep adopt {self.handle}, or move it back",
            )

    @property
    def elsewhere(self) -> str:
        """Why the scheduler that would answer here is not the one that has the run's jobs; '' where it is."""
        if self.info["scheduler"] == "local":
            return "" if self.host == socket.gethostname() else f"its tasks run on {self.host}; ask there"
        recorded, here = self.info.get("rehearsal"), current_rehearsal()
        if recorded == here:
            return ""
        if recorded is None:
            return f"it runs on the real {self.info['scheduler']}, and this is a rehearsal ({here})"
        return f"it was rehearsed, in {recorded}; its jobs were never on a cluster"

    @property
    def is_rehearsal_over(self) -> bool:
        """Whether the rehearsal that had the run's jobs has ended, and they with it."""
        recorded = self.info.get("rehearsal")
        folder = Path(str(recorded))
        return recorded is not None and (not (folder / "rehearsal.json").exists() or (folder / "ended").exists())

    def check_not_elsewhere(self) -> None:
        """Refuse to act on a rehearsed run where there is a real scheduler, or the other way round: its tasks would run again.

        Raises:
            HpcsweepError: the jobs are with another scheduler than would answer.
        """
        if self.info["scheduler"] != "local" and self.elsewhere:
            hint = (
                "submit the sweep anew, on the cluster" if self.info.get("rehearsal") else "leave the rehearsal (`exit`) first"
            )
            raise HpcsweepError(f"{self.name} cannot be changed here: {self.elsewhere}", hint)


def current_rehearsal() -> str | None:
    """The folder of the rehearsal that we are in, if we are in one."""
    return os.environ.get(REHEARSAL_VARIABLE) or None


def meant_here(scheduler: str) -> str:
    """What a scheduler's name means here: in a rehearsal, ``auto`` is the one that is rehearsed."""
    return os.environ.get(REHEARSED_VARIABLE, scheduler) if scheduler == "auto" and current_rehearsal() else scheduler


def open_run(runs_dir: str | None, text: str | None) -> Run:
    """The run that a command means: a name, a path, or the latest.

    Raises:
        HpcsweepError: there is none such; the nearest names are told.
    """
    run = Run(find_run(Path(resolve_runs_dir(runs_dir)), text))
    _ = run.info  # a newer format or a damaged run.json is said at once
    return run


def resolve_runs_dir(option: str | None) -> str:
    """Where runs are: the option, else ``runs_dir`` of the user's or project's configuration, else ``runs``."""
    if option is not None:
        return option
    from hpcsweep.runs.configuration import configured_runs_dir  # noqa: PLC0415 - reads YAML only where there is some

    return configured_runs_dir()
