"""The deflection of a cantilever from an input deck, as many codes read one: ``name = value`` lines, ``!`` comments.

    python sweeps/beam.py < input.nml
    python sweeps/beam.py input.nml material.dat

Reads the decks that are named, or standard input, and writes ``beam.json`` into the folder where it runs, or into
``$HPCSWEEP_TASK_DIR``.
"""

import json
import os
import sys
from pathlib import Path


def read_deck(text: str) -> dict[str, float]:
    """The values of a deck by name."""
    values = {}
    for line in text.splitlines():
        name, sign, value = line.partition("!")[0].partition("=")
        if sign:
            values[name.strip()] = float(value)
    return values


def main() -> None:
    """Compute and write the deflection."""
    deck = {}
    for text in [Path(file).read_text() for file in sys.argv[1:]] or [sys.stdin.read()]:
        deck.update(read_deck(text))
    inertia = deck["width"] * deck["height"] ** 3 / 12
    deflection = deck["force"] * deck["length"] ** 3 / (3 * deck["modulus"] * inertia)
    print(f"the beam bends by {deflection} m")
    folder = Path(os.environ.get("HPCSWEEP_TASK_DIR", "."))
    (folder / "beam.json").write_text(json.dumps({"deflection": deflection, "section": {"inertia": inertia}}))


if __name__ == "__main__":
    main()
