"""hpcsweep: parameter sweeps as scheduler job arrays."""

from hpcsweep._version import __version__

__all__ = ["__version__"]
