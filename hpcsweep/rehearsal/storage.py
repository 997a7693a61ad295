"""What a server keeps on disk: a line of JSON for each thing that changed; the last one about a thing counts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from hpcsweep.rehearsal.jobs import Plain

MOST_BYTES = 200_000_000
"""A log that has grown so much is written anew."""


class Log:
    """The log of one rehearsal. A server that is killed loses nothing that it wrote: the file is the kernel's by then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stream = path.open("ab")

    def read(self) -> list[Plain]:
        """All records; a last line that is not whole was never answered for."""
        lines = self.path.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines[:-1]]

    def append(self, records: Iterable[Plain]) -> None:
        """Add records."""
        text = b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)
        if text:
            self.stream.write(text)
            self.stream.flush()

    def is_large(self) -> bool:
        """Whether it is time to write it anew."""
        return self.stream.tell() > MOST_BYTES

    def rewrite(self, records: Iterable[Plain]) -> None:
        """Replace all that is there."""
        beside = self.path.with_suffix(".new")
        with beside.open("wb") as stream:
            stream.writelines(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)
        os.replace(beside, self.path)  # noqa: PTH105 - one call, whole or not at all
        self.stream.close()
        self.stream = self.path.open("ab")
