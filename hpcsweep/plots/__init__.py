"""Pictures of results, by matplotlib (the extra ``hpcsweep[plot]``): a grid of panels, a metric over a parameter in each."""

from hpcsweep.plots.figure import draw
from hpcsweep.plots.files import ENDINGS, picture_bytes

__all__ = ["ENDINGS", "draw", "picture_bytes"]
