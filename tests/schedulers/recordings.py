"""Recorded outputs of real commands, read."""

from __future__ import annotations

import re
from pathlib import Path

from hpcsweep.model import Completed

DATA = Path(__file__).parents[1] / "data"


def read_recording(path: Path) -> Completed:
    """A file of tests/data: ``# command``, ``# exit``, ``# seconds``, ``# stderr`` with its lines, ``# stdout`` and the rest."""
    head, _, stdout = path.read_text().partition("# stdout:\n")
    if not head.startswith("#"):  # standard output alone
        return Completed(argv=(path.stem,), returncode=0, stdout=head, stderr="")
    facts, _, stderr = head.partition("# stderr:\n")
    table = dict(line[2:].split(": ", 1) for line in facts.splitlines() if ": " in line)
    return Completed(
        argv=tuple(table["command"].split()),
        returncode=int(table["exit"]),
        stdout=stdout,
        stderr="".join(line.removeprefix("#   ") + "\n" for line in stderr.splitlines()),
        elapsed_s=float(table.get("seconds", "0")),
    )


def read_transcript(name: str) -> list[Completed]:
    """The commands of a transcript, as they were typed (``argv`` is the line), with what they printed."""
    entries = []
    for part in ("\n" + (DATA / "transcripts" / f"{name}.txt").read_text()).split("\n$ ")[1:]:
        command, *lines = part.split("\n")
        end = next((number for number, line in enumerate(lines) if re.fullmatch(r"  \[rc=\d+ [\d.]+s\]", line)), None)
        if end is None:
            continue
        printed = lines[:end]
        entries.append(
            Completed(
                argv=(command,),
                returncode=int(re.search(r"rc=(\d+)", lines[end])[1]),
                stdout="".join(f"{line}\n" for line in printed if not line.startswith("  2> ")),
                stderr="".join(f"{line[5:]}\n" for line in printed if line.startswith("  2> ")),
            )
        )
    return entries
