"""What the tests of the space share: random trees, points as a multiset, expressions made of functions."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import strategies as st

from hpcsweep.errors import HpcsweepError
from hpcsweep.space import Product, Replicate, Rows, Sum, Values, Zip, canonical

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 1.0, -2.5]), st.sampled_from(["", "a", "1"])
)


@st.composite
def trees(draw, names=("a", "b", "c", "d"), depth=3, *, has_counts=True):
    """A finite tree over some of the names, with at most a few hundred points, and counts of rep when wanted."""
    kinds = ["values", "rows", "zip"]
    if depth > 0:
        kinds += ["product", "sum", *(["replicate"] if has_counts else [])]
    kind = draw(st.sampled_from(kinds))
    if kind == "values":
        return Values(draw(st.sampled_from(names)), draw(st.lists(scalars, min_size=1, max_size=3)))
    if kind == "rows":
        return Rows(draw(st.lists(st.dictionaries(st.sampled_from(names), scalars, max_size=2), min_size=1, max_size=3)))
    if kind == "zip":
        length = draw(st.integers(1, 3))
        columns = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
        return Zip([Values(name, draw(st.lists(scalars, min_size=length, max_size=length))) for name in columns])
    if kind == "sum":
        return Sum(draw(st.lists(trees(names=names, depth=depth - 1, has_counts=has_counts), min_size=1, max_size=3)))
    if kind == "replicate":
        return Replicate(draw(trees(names=names, depth=depth - 1)), {"rep": draw(st.integers(1, 3))})
    if len(names) == 1:
        return Product([draw(trees(names=names, depth=depth - 1, has_counts=has_counts))])
    cut = draw(st.integers(1, len(names) - 1))
    return Product(
        [
            draw(trees(names=names[:cut], depth=depth - 1, has_counts=has_counts)),
            draw(trees(names=names[cut:], depth=depth - 1, has_counts=has_counts)),
        ]
    )


def bag(points):
    """The points without their order."""
    return Counter(map(canonical, points))


@dataclass(frozen=True)
class Written:
    """An expression: its text and the function that it is."""

    text: str
    function: object = field(compare=False)
    names: frozenset = frozenset()

    def evaluate(self, params):
        try:
            return self.function(params)
        except KeyError as error:
            raise HpcsweepError(f"{error.args[0]} is undefined") from error
