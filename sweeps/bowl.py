"""The height of a bowl at a point: a task that takes no time, for the examples of the sweep file's grammar.

    python sweeps/bowl.py --x 0.5 --y -1 --shape cone

Writes ``bowl.metrics`` (``name value`` lines) into the task's folder, or here when it is run by hand.
"""

import argparse
import math
import os
from pathlib import Path

SHAPES = {"paraboloid": lambda x, y: x * x + y * y, "cone": math.hypot, "box": lambda x, y: max(abs(x), abs(y))}


def main() -> None:
    """Compute and write one height."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--x", type=float, default=0.0)
    parser.add_argument("--y", type=float, default=0.0)
    parser.add_argument("--center", type=float, nargs=2, default=[0.0, 0.0], metavar=("X", "Y"))
    parser.add_argument("--shape", choices=SHAPES, default="paraboloid")
    parser.add_argument("--steepness", type=float, default=1.0)
    parser.add_argument("--rotate", action=argparse.BooleanOptionalAction, default=False, help="by an eighth of a turn")
    parser.add_argument("--seed", type=int, default=0, help="shifts the bowl up")
    options = parser.parse_args()
    x, y = options.x - options.center[0], options.y - options.center[1]
    if options.rotate:
        x, y = (x - y) / math.sqrt(2), (x + y) / math.sqrt(2)
    height = options.steepness * SHAPES[options.shape](x, y) + options.seed
    print(f"the bowl is {height} high at {options.x}, {options.y}")
    folder = Path(os.environ.get("HPCSWEEP_TASK_DIR", "."))
    (folder / "bowl.metrics").write_text(f"height {height!r}\n")


if __name__ == "__main__":
    main()
