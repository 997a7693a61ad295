"""Chunks: the files that hold the records of many positions each."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

CHUNK_SIZE = 64


def render_chunks(blocks: Iterable[str], chunk_size: int = CHUNK_SIZE) -> list[str]:
    """The blocks of positions 0, 1, ... as the texts of chunk 0, 1, ..."""
    chunks: list[list[str]] = []
    for position, block in enumerate(blocks):
        if position % chunk_size == 0:
            chunks.append([])
        chunks[-1].append(block)
    return ["".join(chunk) for chunk in chunks]


def chunk_hash(chunk: str) -> str:
    """The sha256 of a chunk's bytes, in hex: what the runner checks before it runs anything of it."""
    return sha256(chunk.encode()).hexdigest()
