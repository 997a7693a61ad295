"""``submit``: a sweep file, a template with a space, or a sweep built in Python becomes a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcsweep.api.run import Run
from hpcsweep.api.sweep import IN_PYTHON, Sweep
from hpcsweep.errors import HpcsweepError, UsageError
from hpcsweep.runs.create import jobs_of
from hpcsweep.runs.create import submit as submit_prepared
from hpcsweep.runs.prepare import SweepOptions, parse_sweep, prepare, read_sweep
from hpcsweep.runs.unsettled import raise_unsettled
from hpcsweep.space.param_space import ParamSpace

if TYPE_CHECKING:
    from typing import Literal

_YAML = (".yaml", ".yml")


def submit(  # noqa: PLR0913 - the first three may stand without their names
    what: str | Path | Sweep,
    name: str | None = None,
    space: ParamSpace | None = None,
    *,
    use: Literal["auto", "slurm", "pbs", "torque", "local"] | None = None,
    run_name: str | None = None,
    runs_dir: str | Path | None = None,
    params: Mapping[str, Any] | Iterable[str] = (),
    settings: Mapping[str, Any] | Iterable[str] = (),
    profile: str | None = None,
    limit: int | None = None,
    jobs: int | None = None,
    after: Iterable[str | Run] = (),
    feed: bool = False,
    **keys: Any,
) -> Run:
    """Make a run and hand it to the scheduler; it returns at once.

    Args:
        what: the path of a sweep file (``.yaml``), a :class:`Sweep`, or a template: a bash script with ``{names}``, as text
            or as the path of its file (see :meth:`Sweep.from_template`).
        name: of a template the pattern of its jobs' names, ``"job_{type}_{param}_{hash}"``; else the run's name.
        space: of a template, its points.
        use: the scheduler: ``"slurm"``, ``"pbs"``, ``"torque"``, ``"local"`` (this machine) or ``"auto"``; without it what the file or your
            configuration says.
        run_name: the run's name (default: run-01, run-02, ...).
        runs_dir: where runs are made.
        params: parameters to replace or add, as ``-p`` does: ``{"lr": [0.1, 0.2]}`` or ``["lr=0.1,0.2"]``.
        settings: settings to change, as ``--set`` does: ``{"resources.time": "1h"}``.
        profile: the profile of your configuration.
        limit: only the first so many tasks.
        jobs: on this machine, how many tasks at once.
        after: runs or jobs that must have ended first.
        feed: leave a small job on the cluster that submits the rest when there is room for it.
        keys: of a template, more keys of the sweep file: ``resources={"time": "1h"}``, ``objective="val_loss:min"``.

    Raises:
        HpcsweepError: something is wrong with it, and nothing was written; or the scheduler refused it.
        SchedulerUnreachable: the scheduler did not confirm it. The run is there: ``open_run(...).advance()`` settles it.
    """
    sweep = _sweep_of(what, name, space, keys)
    options = SweepOptions(
        params=_assignments(params),
        settings=_assignments(settings),
        limit=limit,
        name=run_name,
        scheduler=use,
        profile=profile,
        runs_dir=None if runs_dir is None else str(runs_dir),
    )
    if isinstance(sweep, Sweep):
        path = IN_PYTHON
        loaded = parse_sweep(sweep.to_yaml().encode(), path, options)
    else:
        path = str(sweep)
        loaded = read_sweep(path, options)
        run_name = run_name or name
    prepared = prepare(loaded, path, options)
    waits_for = jobs_of([str(other.path) if isinstance(other, Run) else other for other in after], prepared)
    made, report = submit_prepared(prepared, name=run_name, jobs=jobs, after=waits_for, is_fed=feed)
    raise_unsettled(made, report)
    return Run(made)


def _sweep_of(what: str | Path | Sweep, name: str | None, space: ParamSpace | None, keys: Mapping[str, Any]) -> Sweep | Path:
    is_file = not isinstance(what, Sweep) and "\n" not in str(what) and str(what).lower().endswith(_YAML)
    if isinstance(what, Sweep) or is_file:
        if space is not None or keys:
            given = ", ".join([*(["space"] if space is not None else []), *keys])
            raise UsageError(f"submit: {given} stands in the sweep already", "params= and settings= change what it says")
        return what if isinstance(what, Sweep) else Path(what)
    if not isinstance(what, str | Path):
        raise UsageError(f"submit takes a sweep file, a template or a Sweep, not {type(what).__name__}")
    if space is not None and not isinstance(space, ParamSpace):
        raise UsageError(f"submit: space is a ParamSpace, not {type(space).__name__}", "hs.ParamSpace(lr=[0.1, 0.01])")
    return Sweep.from_template(what, name, space, **keys)


def _assignments(given: Mapping[str, Any] | Iterable[str]) -> list[str]:
    """``{"lr": [0.1]}`` -> ``["lr=[0.1]"]``."""
    if isinstance(given, str):
        return [given]
    if not isinstance(given, Mapping):
        return list(given)
    try:
        return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items()]
    except (TypeError, ValueError) as error:
        raise HpcsweepError(f"params and settings: {error}", "values are numbers, texts, true, false, null, lists") from error
