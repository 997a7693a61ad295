"""What a run cost as tables: one row a task, or a group of tasks with what to ask for next time. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpcsweep.events import FINALLY
from hpcsweep.model import Params, Request, Value
from hpcsweep.results import Row, Table
from hpcsweep.sweepfile.units import format_memory, format_time
from hpcsweep.usage import MIB, Attempt, Sum, add_up
from hpcsweep.usage_advice import Advice, advise

TASK_FIGURES = (
    *("state", "attempts", "elapsed_s", "cpu_s", "cpu_percent", "peak_mib", "memory_mib"),
    *("core_h", "gpu_h", "uncounted_core_h", "wait_s", "peak_from", "source"),
)
GROUP_FIGURES = (
    *("tasks", "attempts", "wait_s", "elapsed_s", "elapsed_max_s", "time_limit_s", "cpu_percent", "peak_mib", "peak_max_mib"),
    *("memory_mib", "core_h", "gpu_h", "uncounted_core_h", "source"),
)
REQUEST, ADVICE = "request", "advice"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tasks that asked for the same, or have the same values of some parameters. ``title`` names it in a sentence."""

    title: str
    cells: Row
    attempts: Sequence[Attempt]
    advice: Sequence[Advice]


def group_by_request(attempts: Iterable[Attempt]) -> list[Group]:
    """Attempts by what they asked for, in the order of their first tasks."""
    groups: dict[Hashable, list[Attempt]] = {}
    for one in attempts:
        groups.setdefault((one.task == FINALLY, one.request), []).append(one)
    return [
        _group(("finally: " if some[0].task == FINALLY else "") + request_words(some[0].request), some)
        for some in groups.values()
    ]


def group_by_params(attempts: Iterable[Attempt], params_of: Mapping[int, Params], names: Sequence[str]) -> list[Group]:
    """Attempts by the values of some parameters (None where a task does not have one); the command after them is in none."""
    groups: dict[Hashable, list[Attempt]] = {}
    cells: dict[Hashable, Row] = {}
    for one in attempts:
        if one.task != FINALLY:
            values = tuple(params_of[one.task].get(name) for name in names)
            key = tuple((type(value).__name__, str(value)) for value in values)  # a list is no key, and True is not 1
            groups.setdefault(key, []).append(one)
            cells.setdefault(key, values)
    titles = {key: ", ".join(f"{name}={value}" for name, value in zip(names, row, strict=True)) for key, row in cells.items()}
    return [_group(titles[key], some, cells[key]) for key, some in groups.items()]


def _group(title: str, attempts: Sequence[Attempt], cells: Row | None = None) -> Group:
    requests = {one.request for one in attempts}
    advice = advise(attempts[0].request, attempts) if len(requests) == 1 else []
    return Group(title=title, cells=(title,) if cells is None else cells, attempts=attempts, advice=advice)


def groups_table(groups: Sequence[Group], names: Sequence[str] = ()) -> Table:
    """One row a group. ``names``: the parameters that they were grouped by; none: by what they asked for."""
    rows: list[Row] = []
    for group in groups:
        total = add_up(group.attempts)
        requests = [one.request for one in group.attempts]
        limits = [request.time_limit_s for request in requests if request.time_limit_s is not None]
        figures: dict[str, Value] = {
            **_common(total),
            "tasks": total.tasks,
            "attempts": total.attempts,
            "elapsed_s": _rounded(total.elapsed_s, 1),
            "elapsed_max_s": _rounded(total.elapsed_max_s, 1),
            "time_limit_s": max(limits, default=None),
            "peak_mib": _mib(total.peak_median_bytes),
            "peak_max_mib": _mib(total.peak_bytes),
            "memory_mib": _mib(max((request.memory_bytes or 0 for request in requests), default=0)),
        }
        advice: Row = ([f"{one.about}: {one.text}" for one in group.advice],)
        rows.append((*group.cells, *(figures[name] for name in GROUP_FIGURES), *advice))
    first = _named(names, GROUP_FIGURES) if names else (REQUEST,)
    return Table(columns=(*first, *GROUP_FIGURES, ADVICE), rows=rows, params=first if names else ())


def tasks_table(attempts: Iterable[Attempt], params_of: Mapping[int, Params], names: Sequence[str]) -> Table:
    """One row a task, its attempts summed; tasks of which none began are not in it."""
    tasks: dict[int, list[Attempt]] = {}
    for one in attempts:
        if one.task != FINALLY:
            tasks.setdefault(one.task, []).append(one)
    rows: list[Row] = []
    for task, some in tasks.items():
        total, last = add_up(some), some[-1]
        elapsed = [one.elapsed_s for one in some if one.elapsed_s is not None]
        figures: dict[str, Value] = {
            **_common(total),
            "state": last.state.value,
            "attempts": total.attempts,
            "elapsed_s": sum(elapsed) if elapsed else None,
            "cpu_s": _rounded(total.cpu_s, 3),
            "peak_mib": _mib(total.peak_bytes),
            "memory_mib": _mib(last.request.memory_bytes),
            "peak_from": next((one.peak_from for one in some if one.peak_bytes == total.peak_bytes), "") or None,
        }
        params = params_of[task]
        rows.append((task, *(params.get(name) for name in names), *(figures[name] for name in TASK_FIGURES)))
    params_columns = _named(names, ("task", *TASK_FIGURES))
    return Table(columns=("task", *params_columns, *TASK_FIGURES), rows=rows, params=params_columns)


def _common(total: Sum) -> dict[str, Value]:
    return {
        "wait_s": _rounded(total.wait_s, 1),
        "cpu_percent": None if total.cpu_share is None else round(100 * total.cpu_share, 1),
        "core_h": round(total.core_h, 4),
        "gpu_h": round(total.gpu_h, 4),
        "uncounted_core_h": round(total.uncounted_core_h, 4),
        "source": "+".join(total.sources) or None,
    }


def _named(names: Sequence[str], fixed: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"param.{name}" if name in fixed else name for name in names)


def _mib(size_bytes: int | None) -> float | None:
    return round(size_bytes / MIB, 1) if size_bytes else None


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def brief(table: Table) -> Table:
    """A table of groups for the eye: without what the request says already, the sources, and what is nothing everywhere."""
    dull = {"source", ADVICE, *(("time_limit_s", "memory_mib") if table.columns[0] == REQUEST and not table.params else ())}
    dull |= {name for name in ("gpu_h", "uncounted_core_h") if not any(table.cells(name))}
    places = [place for place, name in enumerate(table.columns) if name not in dull or name in table.params]
    return replace(
        table,
        columns=tuple(table.columns[place] for place in places),
        rows=[tuple(row[place] for place in places) for row in table.rows],
    )


def total_words(total: Sum) -> list[str]:
    """``12 tasks, 13 attempts: 4.2 core-hours, 1.1 GPU-hours``, and what of it was for nothing."""
    head = f"{_counted(total.tasks, 'task')}, {_counted(total.attempts, 'attempt')}: {_hours(total.core_h, total.gpu_h)}"
    if total.sources:
        head += f" (figures: {', '.join(total.sources)})"
    if not total.uncounted_attempts:
        return [head]
    many = _counted(total.uncounted_attempts, "attempt")
    share = f" ({100 * total.uncounted_core_h / total.core_h:.0f}%)" if total.core_h else ""
    return [
        head,
        f"  {_hours(total.uncounted_core_h, total.uncounted_gpu_h)}{share} of it in {many} without a result that counts",
    ]


def _hours(core_h: float, gpu_h: float) -> str:
    return f"{core_h:.3g} core-hours" + (f", {gpu_h:.3g} GPU-hours" if gpu_h else "")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def advice_lines(groups: Sequence[Group]) -> list[str]:
    """One line an advice; the group is named where there are several."""
    return [
        f"{f'{group.title}: ' if len(groups) > 1 else ''}{advice.about}: {advice.text}"
        for group in groups
        for advice in group.advice
    ]


def request_words(request: Request) -> str:
    """``4 cpus, 8G, 2h, 1 gpu (a100), 2 nodes``: what a task asks for."""
    words = [_counted(request.cpus or 1, "cpu")]
    if request.memory_bytes:
        words.append(format_memory(request.memory_bytes))
    if request.time_limit_s:
        words.append(format_time(request.time_limit_s))
    if request.gpus:
        kind = f" ({request.gpu_type})" if request.gpu_type else ""
        words.append(f"{request.gpus:g} gpu{'s' if request.gpus > 1 else ''}{kind}")
    sizes: dict[str, Any] = {"ranks a node": request.tasks_per_node, "nodes": request.nodes}
    words += [f"{value} {name}" for name, value in sizes.items() if value and value > 1]
    return ", ".join([*words, *([request.partition] if request.partition else [])])
