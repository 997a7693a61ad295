"""A random walk of many steps that can be stopped and goes on where it was: an example of saving on a signal.

    python sweeps/walk.py --steps 200 --seed 1

Every number depends on all before it, so a walk that was cut into pieces ends where an uninterrupted one does, or something is
wrong. Writes ``walk.metrics`` and its checkpoint ``walk.ckpt`` into the task's folder, or here when it is run by hand.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any


class Walk:
    """How far it is, and all that the next step depends on."""

    def __init__(self, seed: int) -> None:
        self.step, self.place, self.farthest = 0, 0.0, 0.0
        self.generator = random.Random(seed)

    def go_on(self) -> None:
        """Take one step."""
        self.place += self.generator.gauss(0.0, 1.0)
        self.farthest = max(self.farthest, abs(self.place))
        self.step += 1

    def save(self, checkpoint: Path) -> None:
        """Write beside and rename: a checkpoint is whole, or it is the one before."""
        state = {"step": self.step, "place": self.place, "farthest": self.farthest, "generator": self.generator.getstate()}
        partial = checkpoint.with_suffix(".partial")
        partial.write_text(json.dumps(state))
        partial.replace(checkpoint)

    def load(self, checkpoint: Path) -> None:
        """Be where it was saved."""
        state: dict[str, Any] = json.loads(checkpoint.read_text())
        self.step, self.place, self.farthest = state["step"], state["place"], state["farthest"]
        version, numbers, rest = state["generator"]
        self.generator.setstate((version, tuple(numbers), rest))


def main() -> int:
    """Walk; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="that all steps take together, as a training would")
    options = parser.parse_args()
    told: list[int] = []
    if "HPCSWEEP_SIGNAL" in os.environ:  # first of all: who is told before this line dies of it
        # Only noted here: in the middle of a step there is nothing to save.
        signal.signal(getattr(signal, f"SIG{os.environ['HPCSWEEP_SIGNAL']}"), lambda number, _frame: told.append(number))
    folder = Path(os.environ.get("HPCSWEEP_TASK_DIR", "."))
    checkpoint = folder / "walk.ckpt"
    walk = Walk(options.seed)
    if checkpoint.exists():
        walk.load(checkpoint)
        print(f"goes on after step {walk.step}")
    while walk.step < options.steps:
        walk.go_on()
        time.sleep(options.seconds / options.steps)
        if told and walk.step < options.steps:
            walk.save(checkpoint)
            print(f"saved after step {walk.step}")
            return int(os.environ["HPCSWEEP_SAVED"])
    (folder / "walk.metrics").write_text(f"place = {walk.place!r}\nfarthest = {walk.farthest!r}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
