"""Writes tests/render/golden anew: ``python tests/render/regenerate.py``; then read the diff before it is committed."""

from __future__ import annotations

from samples import GOLDEN, golden_texts

if __name__ == "__main__":
    for old in GOLDEN.glob("*.sh"):
        old.unlink()
    for name, text in golden_texts().items():
        (GOLDEN / name).write_text(text, encoding="utf-8")
