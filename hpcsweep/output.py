"""How things look: what a command computed, as plain text (with colours on a terminal), and as JSON. No command formats text itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from hpcsweep.fold import TaskView
from hpcsweep.ranges import format_ranges
from hpcsweep.runs.status import Status, reason_of
from hpcsweep.states import FACTS, State

if TYPE_CHECKING:
    from rich.progress import Progress

    from hpcsweep.results import Table
    from hpcsweep.runs.history import AttemptView

COLOURS: dict[State, str] = {
    State.DONE: "32",
    State.STOPPED: "32",
    State.RUNNING: "36",
    State.SUSPENDED: "33",
    State.PENDING: "34",
    State.SUBMITTING: "35",
    State.NEW: "2",
    State.UNKNOWN: "35",
    State.CANCELLED: "33",
}
FAILURE_COLOUR = "31"

MARKS: dict[State, str] = {State.DONE: "#", State.STOPPED: "#", State.RUNNING: ">", State.PENDING: ".", State.NEW: " "}
FAILURE_MARK = "!"
OTHER_MARK = "?"

_PATIENCE_S = 0.7
_REDRAW_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Style:
    """Width of the terminal, and whether colours may be used."""

    width: int = 100
    has_colour: bool = False

    def paint(self, text: str, code: str) -> str:
        """``text`` in a colour, where there are colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.has_colour and text else text


def style_of(stream: TextIO | None = None) -> Style:
    """The style that a stream takes: no escape codes but on a terminal, and none with NO_COLOR or a dumb one."""
    stream = sys.stdout if stream is None else stream
    is_terminal = stream.isatty()
    has_colour = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(width=shutil.get_terminal_size((100, 24)).columns if is_terminal else 100, has_colour=has_colour)


def say(*lines: str) -> None:
    """Lines for the user, on standard output."""
    for line in lines:
        print(line)  # noqa: T201 - the one place that prints


def say_now(*lines: str) -> None:
    """Lines that a pipe's reader shall have at once, for something long follows."""
    say(*lines)
    sys.stdout.flush()


def note(*lines: str) -> None:
    """Remarks, on standard error, so that they never mix with a table that is piped on."""
    sys.stdout.flush()  # where both go to one file, in their order
    for line in lines:
        print(f"hpcsweep: {line}", file=sys.stderr)  # noqa: T201 - the one place that prints


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error for what takes long, on a terminal only; tell the function that is given how far it is."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _done, _total: None
        return
    begun = time.monotonic()
    bar: Progress | None = None
    shown = 0.0

    def show(done: int, total: int) -> None:
        nonlocal bar, shown
        now = time.monotonic()
        if now - begun < _PATIENCE_S or (now - shown < _REDRAW_S and done < total):
            return
        shown = now
        if bar is None:
            from rich.console import Console  # noqa: PLC0415 - only what takes long needs it
            from rich.progress import Progress  # noqa: PLC0415

            bar = Progress(console=Console(stderr=True), transient=True, auto_refresh=False)
            bar.add_task(what, total=total)
            bar.start()
        bar.update(bar.task_ids[0], completed=done, total=total, refresh=True)

    try:
        yield show
    finally:
        if bar is not None:
            bar.stop()


def print_json(data: Any) -> None:
    """JSON for programs: strict (no NaN), UTF-8 kept."""
    say(json.dumps(data, ensure_ascii=False, allow_nan=False))


def format_seconds(seconds: float) -> str:
    """``75`` -> ``1m15s``, ``3700`` -> ``1h01m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 48 else f"{hours // 24}d{hours % 24:02d}h"


def format_bytes(number: float) -> str:
    """``2048`` -> ``2.0 KiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def tasks_words(tasks: Sequence[int], width: int = 40) -> str:
    """``task 4``, ``tasks 0-9,12``; many ranges are cut to ``width``."""
    return f"task{'s' if len(tasks) > 1 else ''} {one_line(format_ranges(tasks), width)}"


def one_line(text: str, width: int) -> str:
    """Text on one line, without control characters, cut to ``width``."""
    clean = "".join(character if character.isprintable() else " " for character in text).strip()
    return clean if len(clean) <= width else clean[: max(1, width - 1)] + "…"


def columns(rows: Iterable[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows as aligned columns; those in ``right`` flush right."""
    table = [list(row) for row in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))] if table else []
    return [
        "  ".join(
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _colour(state: State) -> str:
    return COLOURS.get(state, FAILURE_COLOUR)


def _bar(status: Status, style: Style) -> str:
    """One mark for a share of the tasks, in the order of the states; each state that occurs has at least one."""
    width = max(10, min(60, style.width - 12))
    if not status.total:
        return ""
    order = [state for state in (State.DONE, State.STOPPED) if state in status.counts]
    order += [state for state in status.counts if FACTS[state].is_ended and state not in order]
    order += [state for state in (State.RUNNING, State.SUSPENDED, State.UNKNOWN, State.SUBMITTING) if state in status.counts]
    order += [state for state in (State.PENDING, State.NEW) if state in status.counts]
    sizes = {state: max(1, status.counts[state] * width // status.total) for state in order}
    largest = max(order, key=lambda state: sizes[state])
    sizes[largest] += width - sum(sizes.values())
    parts = []
    for state in order:
        mark = MARKS.get(state) or (FAILURE_MARK if FACTS[state].is_ended else OTHER_MARK)
        parts.append(style.paint(mark * sizes[state], _colour(state)))
    return f"[{''.join(parts)}]"


def status_lines(status: Status, style: Style, last_lines: Mapping[int, str], *, most_failures: int = 5) -> list[str]:
    """The screen of ``status``: a head, the bar, counts, what waits, the first failures, what to do next."""
    good = sum(number for state, number in status.counts.items() if FACTS[state].is_success)
    tasks = "1 task" if status.total == 1 else f"{status.total} tasks"
    head = f"{status.run}  {tasks} on {status.scheduler}, submitted {format_seconds(status.age_s)} ago"
    lines = [head, f"{_bar(status, style)} {good}/{status.total}"]
    counts = [[state.value, str(number)] for state, number in status.counts.items()]
    rows = columns(counts, right=frozenset({1}))
    lines += [f"  {style.paint(row, _colour(state))}" for row, state in zip(rows, status.counts, strict=True)]
    if status.eta_s is not None and not status.is_finished:
        lines.append(f"about {format_seconds(status.eta_s)} to go")
    if status.scheduler_message:
        lines.append(style.paint(f"{status.scheduler_message}: told from the tasks' own records", "33"))
    lines += status.problems
    lines += _waiting_lines(status, style)
    last = status.fold.finally_view
    if last is not None:
        lines.append(f"finally: {last.state}" + (f" ({last.reason})" if last.reason else ""))
    lines += _feeder_lines(status)
    bad = [view for view in status.fold.views if FACTS[view.state].is_failure]
    if bad:
        lines += ["", f"{len(bad)} did not work:" if len(bad) > most_failures else "did not work:"]
        lines += task_lines(status, bad[:most_failures], style, last_lines)
        if len(bad) > most_failures:
            lines.append(f"  ... and {len(bad) - most_failures} more: hpcsweep status {status.handle} --failed")
    lines += ["", *next_steps(status, bad)]
    return lines


def _feeder_lines(status: Status) -> list[str]:
    """The job that advances the run, where there is one or should be one."""
    feeder = status.feeder
    if feeder is None:
        return []
    if feeder.state is not None:
        reason = f" ({feeder.reason})" if feeder.reason else ""
        return [f"feeder: job {feeder.job} {feeder.state}{reason}; it goes on with the run when some of it has ended"]
    if feeder.is_needed:
        return [f"feeder: none is queued; hpcsweep advance {status.handle} goes on, and leaves one"]
    return []


def _waiting_lines(status: Status, style: Style) -> list[str]:
    """Why tasks wait, each reason once, with how many and which."""
    groups: dict[str, list[int]] = {}
    for view in status.fold.views:
        reason = reason_of(view, status.waiting)
        if reason and (
            view.state in (State.NEW, State.PENDING, State.SUBMITTING, State.UNKNOWN, State.SUSPENDED)
            or view.index in status.waiting
        ):
            groups.setdefault(f"{view.state}: {reason}", []).append(view.index)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))[:5]
    return [style.paint(one_line(f"  {len(tasks)} {reason} ({tasks_words(tasks)})", 400), "2") for reason, tasks in ordered]


def task_lines(status: Status, views: Iterable[TaskView], style: Style, last_lines: Mapping[int, str]) -> list[str]:
    """One line a task: which, state, reason; below it the last line of its log where it is known."""
    lines = []
    for view in views:
        attempt = f", attempt {view.attempt}" if view.attempt > 1 else ""
        reason = reason_of(view, status.waiting)
        elapsed = f" after {format_seconds(view.elapsed_s)}" if view.elapsed_s is not None else ""
        node = f" on {view.node}" if view.node else ""
        state = style.paint(view.state.value, _colour(view.state))
        mark = "" if view.source in ("task", "journal") else f" [{view.source}]"
        lines.append(f"  {view.title}{attempt}: {state}{elapsed}{node}{f': {reason}' if reason else ''}{mark}")
        if last_lines.get(view.index):
            lines.append(style.paint(f"      {one_line(last_lines[view.index], max(40, style.width - 8))}", "2"))
    return lines


def attempt_lines(attempts: Mapping[int, Sequence[AttemptView]], style: Style) -> list[str]:
    """A table with a line for each attempt: how it ended, where it ran, what it asked for."""
    from hpcsweep.runs.resubmit import describe_request  # noqa: PLC0415 - only who asks for attempts needs it

    rows = [["task", "attempt", "state", "elapsed", "job", "node", "request", "reason"]]
    states = []
    for task, some in attempts.items():
        for one in some:
            view = one.view
            elapsed = "" if view.elapsed_s is None else format_seconds(view.elapsed_s)
            request = describe_request(one.request)
            rows.append(
                [
                    str(task),
                    str(view.attempt),
                    view.state.value,
                    elapsed,
                    one.job or "",
                    one.node,
                    request,
                    one_line(view.reason, 120),
                ]
            )
            states.append(view.state)
    lines = columns(rows, right=frozenset({0, 1, 3}))
    return [lines[0], *(style.paint(line, _colour(state)) for line, state in zip(lines[1:], states, strict=True))]


def next_steps(status: Status, bad: Sequence[TaskView]) -> list[str]:
    """What the user can do now."""
    run = status.handle
    if status.total and all(FACTS[state].is_success for state in status.counts) and status.is_finished:
        return [
            f"all done: hpcsweep collect {run} --csv" + (f"    the best: hpcsweep best {run}" if status.has_objective else "")
        ]
    steps = []
    if bad:
        steps.append(f"look: hpcsweep logs {run} {bad[0].index}    run again: hpcsweep resubmit {run}")
    elif status.is_finished:
        again = (
            f"    run the cancelled again: hpcsweep resubmit {run} --state cancelled"
            if State.CANCELLED in status.counts
            else ""
        )
        steps.append(f"ended: hpcsweep collect {run} --csv{again}")
    if status.is_finished and State.UNKNOWN in status.counts:
        steps.append(
            f"what is damaged: hpcsweep verify {run}    run the unknown again: hpcsweep resubmit {run} --state unknown"
        )
    if not status.is_finished and any(view.state is State.SUBMITTING for view in status.fold.views):
        steps.append(f"settle what is uncertain: hpcsweep advance {run}")
    elif not status.is_finished and (status.waiting or any(view.state is State.NEW for view in status.fold.views)):
        steps.append(f"go on when it can: hpcsweep advance {run}")
    if status.has_objective and any(FACTS[state].is_success for state in status.counts):
        steps.append(f"the best so far: hpcsweep best {run}")
    return steps


def table_pieces(table: Table, form: str, *, width: int | None, has_colour: bool) -> Iterator[str | bytes]:
    """A table of results in one of the forms, in pieces; Parquet is bytes. ``width`` of the terminal, if it is one."""
    from hpcsweep import formats, tabletext  # noqa: PLC0415 - only tables need them

    if form == "parquet":
        yield formats.to_parquet(table)
    elif form == "table":
        yield tabletext.to_table_text(table, width=width, color=has_colour)
    else:
        write = {
            "csv": formats.iter_csv,
            "json": formats.iter_json,
            "jsonl": formats.iter_jsonl,
            "markdown": tabletext.iter_markdown,
        }
        yield from write[form](table)


def say_table(table: Table, form: str) -> None:
    """A table of results on standard output."""
    style = style_of()
    width = style.width if sys.stdout.isatty() else None
    for piece in table_pieces(table, form, width=width, has_colour=style.has_colour):
        if isinstance(piece, bytes):
            sys.stdout.flush()
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        else:
            sys.stdout.write(piece)


def table_bytes(table: Table, form: str) -> bytes:
    """A table of results as a file has it."""
    pieces = table_pieces(table, form, width=None, has_colour=False)
    return b"".join(piece if isinstance(piece, bytes) else piece.encode("utf-8", "surrogateescape") for piece in pieces)
