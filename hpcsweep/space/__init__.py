"""The space: an algebra of products, sums, zips and replicates, its samples and conditions, and the points' ids. All pure."""

from hpcsweep.space.composites import REP, Product, Replicate, Sum, Zip
from hpcsweep.space.conditions import Expression
from hpcsweep.space.describe import tree_lines
from hpcsweep.space.identity import canonical, point_id
from hpcsweep.space.leaves import Distribution, Rows, Values
from hpcsweep.space.node import Node, Point, SpaceError
from hpcsweep.space.param_space import ParamSpace
from hpcsweep.space.sampling import Sample
from hpcsweep.space.sweep_space import Expansion, SweepSpace

__all__ = [
    "REP",
    "Distribution",
    "Expansion",
    "Expression",
    "Node",
    "ParamSpace",
    "Point",
    "Product",
    "Replicate",
    "Rows",
    "Sample",
    "SpaceError",
    "Sum",
    "SweepSpace",
    "Values",
    "Zip",
    "canonical",
    "point_id",
    "tree_lines",
]
