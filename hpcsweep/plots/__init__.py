"""Pictures of results, by matplotlib (the extra ``hpcsweep[plot]``): a grid of panels, a metric over a parameter in each."""

from hpcsweep.plots.data import AUTO
from hpcsweep.plots.figure import draw, import_matplotlib
from hpcsweep.plots.files import ENDINGS, form_of_picture, picture_bytes

__all__ = ["AUTO", "ENDINGS", "draw", "form_of_picture", "import_matplotlib", "picture_bytes"]
