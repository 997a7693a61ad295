"""The space: an algebra of products, sums, zips and replicates, its samples and conditions, and the points' ids. All pure."""

from hpcsweep.space.composites import REP, Product, Replicate, Sum, Zip
from hpcsweep.space.identity import canonical, point_id
from hpcsweep.space.leaves import Distribution, Rows, Values
from hpcsweep.space.node import Node, Point, SpaceError

__all__ = [
    "REP",
    "Distribution",
    "Node",
    "Point",
    "Product",
    "Replicate",
    "Rows",
    "SpaceError",
    "Sum",
    "Values",
    "Zip",
    "canonical",
    "point_id",
]
