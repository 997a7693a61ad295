"""A figure as the bytes of a file."""

from __future__ import annotations

import io
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING

from hpcsweep.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = ("png", "pdf", "svg", "html")


def form_of_picture(target: str) -> str:
    """``fig.png`` -> ``png``.

    Raises:
        UsageError: the ending is none of ours.
    """
    ending = PurePath(target).suffix.lower().removeprefix(".")
    if ending not in ENDINGS:
        raise UsageError(f"{target}: a picture ends with .{', .'.join(ENDINGS)}")
    return ending


def picture_bytes(figure: Figure, target: str, *, title: str = "") -> bytes:
    """The figure as a file of this name holds it; ``.html`` is a page that needs nothing else.

    Raises:
        UsageError: the ending is none of ours.
    """
    form = form_of_picture(target)
    buffer = io.BytesIO()
    is_drawn = form in {"svg", "html"}
    # Without a date the same results are the same file.
    metadata = {"Date": None} if is_drawn else {"CreationDate": None} if form == "pdf" else None
    figure.savefig(buffer, format="svg" if is_drawn else form, dpi=150, metadata=metadata)
    if form != "html":
        return buffer.getvalue()
    svg = buffer.getvalue().decode()
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>svg {{ max-width: 100%; height: auto }}</style>\n{svg[svg.index('<svg') :]}</html>\n"
    )
    return page.encode()
