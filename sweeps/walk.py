"""A random walk of many steps, which can be stopped and goes on where it was: an example of saving on a signal.

Every number depends on all before it, so a walk that was cut into pieces ends where an uninterrupted one does, or it is wrong.
Only the standard library is needed.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, required=True)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--seconds", type=float, default=0.0, help="how long all the steps take together, as a training would")
options = parser.parse_args()

folder = Path(os.environ.get("HPCSWEEP_TASK_DIR", "."))
checkpoint = folder / "walk.ckpt"
is_told = False


def be_told(_number, _frame):
    """Only note it: in the middle of a step there is nothing to save."""
    global is_told
    is_told = True


if "HPCSWEEP_SIGNAL" in os.environ:
    signal.signal(getattr(signal, f"SIG{os.environ['HPCSWEEP_SIGNAL']}"), be_told)

generator = random.Random(options.seed)
step, place, farthest = 0, 0.0, 0.0
if checkpoint.exists():
    saved = json.loads(checkpoint.read_text())
    step, place, farthest = saved["step"], saved["place"], saved["farthest"]
    version, numbers, rest = saved["generator"]
    generator.setstate((version, tuple(numbers), rest))
    print(f"goes on at step {step}")


def save():
    """Write beside and rename: a checkpoint is whole, or it is the one before."""
    state = {"step": step, "place": place, "farthest": farthest, "generator": generator.getstate()}
    partial = checkpoint.with_suffix(".tmp")
    partial.write_text(json.dumps(state))
    partial.replace(checkpoint)


while step < options.steps:
    place += generator.gauss(0.0, 1.0)
    farthest = max(farthest, abs(place))
    step += 1
    time.sleep(options.seconds / options.steps)
    if is_told and step < options.steps:
        save()
        print(f"saved at step {step}")
        sys.exit(int(os.environ["HPCSWEEP_SAVED"]))

(folder / "walk.metrics").write_text(f"place = {place!r}\nfarthest = {farthest!r}\n")
