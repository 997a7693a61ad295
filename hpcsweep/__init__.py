"""hpcsweep: parameter sweeps as scheduler job arrays."""

from typing import TYPE_CHECKING, Any

from hpcsweep._version import __version__

if TYPE_CHECKING:
    from hpcsweep.space.param_space import ParamSpace

__all__ = ["ParamSpace", "__version__"]


def __getattr__(name: str) -> Any:
    # Imported when first used, so that every command starts at once.
    if name == "ParamSpace":
        from hpcsweep.space.param_space import ParamSpace  # noqa: PLC0415 - lazily on purpose

        return ParamSpace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
