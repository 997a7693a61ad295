"""How a run shows itself in a notebook. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from hpcsweep.states import FACTS, State

MOST_FAILURES = 5

_SUCCESS, _FAILURE, _RUNNING, _OTHER = "#2a9d5c", "#c8423b", "#2f6fb5", "#b8bec6"


def status_html(run: str, counts: Mapping[str, int], total: int, problems: Sequence[str]) -> str:
    """The counts as a bar and in words."""
    words = " · ".join(f"<b>{number}</b> {escape(state)}" for state, number in counts.items())
    bar = "".join(
        f'<span title="{number} {escape(state)}" style="display:inline-block;height:10px;'
        f'width:{100 * number / max(1, total):.2f}%;background:{_colour(state)}"></span>'
        for state, number in counts.items()
    )
    remarks = "".join(f'<div style="color:{_FAILURE}">{escape(problem)}</div>' for problem in problems)
    return (
        f"<div><b>{escape(run)}</b>: {total} tasks"
        f'<div style="max-width:480px;font-size:0;line-height:0;margin:4px 0">{bar}</div><div>{words}</div>{remarks}</div>'
    )


def run_html(  # noqa: PLR0913, PLR0917 - the parts of a picture
    run: str,
    scheduler: str,
    path: str,
    counts: Mapping[str, int],
    total: int,
    problems: Sequence[str],
    failures: Sequence[tuple[str, str, str, Mapping[str, Any]]],
    failed: int,
) -> str:
    """The status, where the run is, and the first tasks that did not work."""
    place = f'<div style="color:#68707a">{escape(scheduler)}, <code>{escape(path)}</code></div>'
    return status_html(run, counts, total, problems) + place + _failures_html(failures, failed)


def error_html(run: str, message: str) -> str:
    """A run that cannot be looked at."""
    return f'<div><b>{escape(run)}</b> <span style="color:{_FAILURE}">{escape(message)}</span></div>'


def _failures_html(failures: Sequence[tuple[str, str, str, Mapping[str, Any]]], failed: int) -> str:
    if not failures:
        return ""
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in (index, state, reason, _point(params))) + "</tr>"
        for index, state, reason, params in failures
    )
    more = f"<div>and {failed - len(failures)} more</div>" if failed > len(failures) else ""
    head = "".join(f"<th>{word}</th>" for word in ("task", "state", "reason", "parameters"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}"


def _point(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in params.items())


def _colour(state: str) -> str:
    facts = FACTS[State(state)]
    if facts.is_success:
        return _SUCCESS
    return _FAILURE if facts.is_failure else _RUNNING if state == State.RUNNING.value else _OTHER
