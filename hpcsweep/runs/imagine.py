"""The run that ``submit`` would make, before anything of it is on disk: to be shown, and to be checked."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcsweep.decide import PlanArray, decide, packing_of, policy_of
from hpcsweep.errors import HpcsweepError
from hpcsweep.events import FINALLY
from hpcsweep.fold import Evidence, Fold
from hpcsweep.gpus import Devices, devices_to_json
from hpcsweep.ledger import Array, Ledger
from hpcsweep.packing import element_request
from hpcsweep.runs.advance import new_array
from hpcsweep.runs.facts import Surroundings, current_folder, current_umask, look_around, make_tag, make_uid, who_and_where
from hpcsweep.runs.gpus import Found, check_requests_fit, count_jobs, find_gpus
from hpcsweep.runs.limits import site_limits
from hpcsweep.runs.prepare import Prepared
from hpcsweep.runs.run import Run, current_rehearsal
from hpcsweep.runs.scripts import ArrayWriter
from hpcsweep.schedulers import make_scheduler
from hpcsweep.schedulers.base import Command
from hpcsweep.shell import run_command
from hpcsweep.store import RunPaths, absolute_as_written
from hpcsweep.sweepfile import settings_to_json

MOST_CHECKED_BYTES = 100_000
"""One argument of a program may have 128 kB on Linux; a longer command is not looked through by bash beforehand."""


def run_record(
    prepared: Prepared, paths: RunPaths, *, jobs: int | None, surroundings: Surroundings | None = None
) -> dict[str, Any]:
    """What run.json says: who made the run, where, of what, and every setting as it was resolved."""
    around = surroundings or Surroundings()
    uid = make_uid()
    return {
        "uid": uid,
        "tag": make_tag(prepared.settings.name, uid),
        "name": prepared.settings.name,
        "path": str(paths.root),
        "created": time.time(),
        "cwd": current_folder(),
        "umask": f"{current_umask():03o}",
        "sweep_path": str(prepared.path),
        **who_and_where(around.scheduler_version),
        **around.facts,
        "scheduler": prepared.scheduler,
        "rehearsal": current_rehearsal(),
        "jobs": jobs,
        "gpus": None if around.devices is None else devices_to_json(around.devices),
        "profile": prepared.sweep.profile,
        "names": list(prepared.sweep.names),
        "settings": settings_to_json(prepared.settings),
        "origins": dict(prepared.sweep.origins),
    }


def imagine_run(
    prepared: Prepared, *, name: str | None = None, jobs: int | None = None, surroundings: Surroundings | None = None
) -> Run:
    """The run that ``submit`` would make; nothing of it is on disk."""
    paths = RunPaths(absolute_as_written(Path(prepared.settings.runs_dir)) / (name or "run-NN"))
    ledger = Ledger(total=len(prepared.tasks))
    info = run_record(prepared, paths, jobs=jobs, surroundings=surroundings)
    return Run.imagined(paths, info=info, tasks=list(prepared.tasks), ledger=ledger)


def surroundings_of(prepared: Prepared) -> Surroundings:
    """What is to be recorded of the moment and the place at which a sweep is submitted."""
    scheduler = make_scheduler(prepared.scheduler)
    found = gpus_of(prepared)
    around = look_around(
        scheduler, prepared.settings, Path(current_folder()), absolute_as_written(Path(prepared.settings.runs_dir))
    )
    return replace(around, devices=found.devices, notes=(*around.notes, *found.notes))


def gpus_of(prepared: Prepared) -> Found:
    """The GPUs of this machine that the tasks share, and whether each can get what it asks for.

    Raises:
        HpcsweepError: one that is not here is named, or a task asks for more than there are.
    """
    found = find_gpus(prepared.settings, prepared.scheduler, prepared.sweep.origins, os.environ)
    last = [imagine_run(prepared).request_of(FINALLY)] if prepared.settings.finally_ is not None else []
    check_requests_fit(found.devices, prepared.requests.values(), prepared.settings.parallel or 1)
    check_requests_fit(found.devices, last)
    return found


def default_jobs(prepared: Prepared, devices: Devices | None) -> int | None:
    """How many elements this machine runs at once; None on a cluster."""
    if prepared.scheduler != "local":
        return None
    policy = policy_of(prepared.settings)
    counts = Counter(prepared.requests.values())
    elements = [element_request(request, packing_of(policy, request, tasks)) for request, tasks in counts.items()]
    return count_jobs(devices, elements, len(os.sched_getaffinity(0)))


def plan_arrays(run: Run, prepared: Prepared) -> list[Array]:
    """The arrays that the first ``advance`` would make."""
    fold = Fold(run.ledger, Evidence(now=0.0, events={}), run.ledger.total)
    policy = policy_of(run.settings, max_array_size=site_limits(run).max_array_size)
    decision = decide(fold, policy, lambda task: prepared.requests[task] if task >= 0 else run.request_of(task), 0.0)
    plans = [action for action in decision.actions if isinstance(action, PlanArray)]
    return [new_array(run, plan, number) for number, plan in enumerate(plans, 1)]


def check_rendering(prepared: Prepared) -> None:
    """Render every task and script, and let bash look at the first of each, so that no fault is met half-way through a submit.

    Raises:
        HpcsweepError: a task whose values cannot stand where the command has them; shell text that bash cannot read.
    """
    run = imagine_run(prepared)
    writer = ArrayWriter(run)
    for task in run.tasks:
        writer.check(task, prepared.requests[task.index])
    for array in plan_arrays(run, prepared)[:1]:
        for key, text in writer.shared_shell_texts(array).items():
            _check_syntax(text, f"`{key}`")
        _check_syntax(writer.script(array, []), "the job script (its template)")
        command = writer.command(array)
        _check_syntax(command, "the command of task 0")


def _check_syntax(text: str, what: str) -> None:
    if not text or len(text.encode("utf-8", "replace")) > MOST_CHECKED_BYTES:
        return
    answer = run_command(Command(argv=("bash", "-n", "-c", text, "bash")))
    if answer.returncode not in (0, None) and "extglob" in text:  # what it turns on by itself is not on under -n
        answer = run_command(Command(argv=("bash", "-O", "extglob", "-n", "-c", text, "bash")))
    if answer.returncode not in (0, None):
        said = answer.stderr.strip().replace("bash: -c: ", "").replace("bash: ", "")
        raise HpcsweepError(f"{what} is no bash: {said}", "`hpcsweep show` prints it")
