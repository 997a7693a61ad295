"""hpcsweep: parameter sweeps as scheduler job arrays.

In notebooks and scripts (docs/python.md): build a space, submit it, look at the results as data frames. All that is public is in
``__all__``; whatever goes wrong is raised as an ``HpcsweepError``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpcsweep._version import __version__

if TYPE_CHECKING:
    from hpcsweep.api.names import parse_name
    from hpcsweep.api.results import best, metrics, plot
    from hpcsweep.api.run import Run, RunStatus, RunTask, open_run
    from hpcsweep.api.submit import submit
    from hpcsweep.api.sweep import Sweep
    from hpcsweep.errors import FileFaults, HpcsweepError, SchedulerUnreachable, UsageError
    from hpcsweep.space.param_space import ParamSpace
    from hpcsweep.space.point import Point

__all__ = [
    "FileFaults",
    "HpcsweepError",
    "ParamSpace",
    "Point",
    "Run",
    "RunStatus",
    "RunTask",
    "SchedulerUnreachable",
    "Sweep",
    "UsageError",
    "__version__",
    "best",
    "metrics",
    "open_run",
    "parse_name",
    "plot",
    "submit",
]

_HOMES = {
    "FileFaults": "errors",
    "HpcsweepError": "errors",
    "ParamSpace": "space.param_space",
    "Point": "space.point",
    "Run": "api.run",
    "RunStatus": "api.run",
    "RunTask": "api.run",
    "SchedulerUnreachable": "errors",
    "Sweep": "api.sweep",
    "UsageError": "errors",
    "best": "api.results",
    "metrics": "api.results",
    "open_run": "api.run",
    "parse_name": "api.names",
    "plot": "api.results",
    "submit": "api.submit",
}


def __getattr__(name: str) -> Any:
    # Imported when first used, so that every command starts at once.
    if name in _HOMES:
        return getattr(import_module(f"hpcsweep.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
