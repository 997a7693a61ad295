"""docs/python.md is executed from top to bottom, on real runs on this machine."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_walk_through_runs_from_top_to_bottom(notebook, capsys):
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) > 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)  # noqa: S102 - our own page
    assert {path.name for path in notebook.iterdir()} == {"runs", "loss.png", "curves.pdf", "lr.yaml"}
    said = capsys.readouterr()
    assert "there is no such parameter" in said.out
    assert "18 done" in said.err
