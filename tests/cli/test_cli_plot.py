"""``hpcsweep plot`` of a real run."""

from __future__ import annotations


def test_pictures_of_a_run(ended_run, call, user):
    assert call("plot", ended_run, "-x", "x", "-y", "a", "-o", "fig.svg")[:2] == (0, "fig.svg\n")
    assert "<svg" in (user.folder / "fig.svg").read_text()
    code, said, _ = call("plot", ended_run)
    assert (code, said) == (0, "run-01.png\n")
    assert (user.folder / "run-01.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn(ended_run, call, user):
    assert call("plot", ended_run, "-o", "fig.gif")[0] == 2
    assert call("plot", ended_run, "--steps", "-x", "x")[0] == 2
    code, _, said = call("plot", ended_run, "-y", "b")
    assert code == 1
    assert "there is no column b" in said
    assert list(user.folder.iterdir()) == []
