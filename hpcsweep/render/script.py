"""The job script of an array: the template with the header, the runner, and the sweep's own setup in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from hpcsweep.errors import HpcsweepError
from hpcsweep.gpus import tasks_of_a_gpu, whole_gpus
from hpcsweep.model import Request, Settings
from hpcsweep.packing import ALONE, Packing, element_request
from hpcsweep.render.container import container_function
from hpcsweep.render.directives import add_directives
from hpcsweep.render.facts import RunFacts, resource_facts
from hpcsweep.render.pieces import Pieces
from hpcsweep.render.quote import quote_always
from hpcsweep.render.shared import compile_shared_shell

_PREFIXES = {"slurm": "#SBATCH", "pbs": "#PBS", "torque": "#PBS"}
_CALL = "hpcsweep_main"
_MIB = 1024 * 1024
_BASH = re.compile(r"#!\s*(/\S*/)?(bash|env\s+(-S\s+)?bash)(\s|$)")


@dataclass(frozen=True, kw_only=True)
class ScriptFacts:
    """What one array's script is made of, beside the run's settings (docs/design.md, section 6).

    ``names`` are all parameters of the sweep: a script may not use them, and is told so. ``request`` is per task. ``directives``
    are the scheduler's lines for what an element asks for (``Scheduler.directives``).
    """

    run: RunFacts
    tag: str
    array: int
    positions: int
    chunk_size: int
    chunk_hashes: Sequence[str]
    request: Request
    kill_wait_s: int
    names: Collection[str] = ()
    directives: Sequence[str] = ()
    enforces_time_limit: bool = False
    starts_bare: bool = False  # Scheduler.starts_bare
    packing: Packing = ALONE
    condition: str = ""
    total: int = 0
    attempts: Mapping[int, int] = field(
        default_factory=dict
    )  # task -> the attempt from which on it counts, where not the first
    watch_s: int | None = None
    records_environment: bool = False
    is_last: bool = False  # of the command after the tasks, which is not told of its end


def render_script(
    settings: Settings,
    facts: ScriptFacts,
    *,
    runner: str,
    read_template: Callable[[str], str],
) -> str:
    """The whole script of an array.

    Args:
        settings: the run's settings; ``template`` is the text of the user's own template, or None.
        facts: the run and the array.
        runner: the text of runner/runner.sh.
        read_template: gives the text of one of our templates by its name (``templates.read_template``).

    Raises:
        HpcsweepError: when the template, setup or teardown cannot be rendered, the template has no place for the tasks, or
            its directives contradict the sweep's settings.
    """
    from hpcsweep.render.job_template import render_job_template  # noqa: PLC0415 - Jinja2 is slow to start

    extra = {"resources": resource_facts(facts.request), "hpcsweep": facts.run.as_mapping()}
    pieces = Pieces(
        names=facts.names,
        extra=extra,
        directives=facts.directives,
        opening=facts.run.opening(facts.run.element_log(facts.array)) if facts.starts_bare else "",
        environment=_load_environment(facts.run),
        header=render_header(settings, facts),
        runner=runner.rstrip("\n"),
        **shared_shell_texts(settings, facts),
        contain=""
        if settings.container is None
        else container_function(settings.container, facts.run.run_dir, facts.run.submit_dir),
    )
    source = settings.template_path or "the template"
    text = settings.template if settings.template is not None else read_template(f"{facts.run.scheduler}.sh.j2")
    script = render_job_template(text, source, pieces, read_template)
    check_script(script, source)
    prefix = _PREFIXES.get(facts.run.scheduler)
    return script if prefix is None else add_directives(script, list(facts.directives), prefix, source)


def shared_shell_texts(settings: Settings, facts: ScriptFacts) -> dict[str, str]:
    """``setup`` and ``teardown``, rendered.

    Raises:
        HpcsweepError: one of them cannot be.
    """
    extra = {"resources": resource_facts(facts.request), "hpcsweep": facts.run.as_mapping()}
    texts = {"setup": settings.setup, "teardown": settings.teardown}
    return {key: _shell_text(text, key, facts.names, extra) for key, text in texts.items()}


def render_header(settings: Settings, facts: ScriptFacts) -> str:
    """The assignments that the runner reads."""
    run = facts.run
    element = element_request(facts.request, facts.packing)
    workdir = "task" if settings.workdir == "task" else run.workdir(settings.workdir)
    texts = {
        "version": run.version,
        "scheduler": run.scheduler,
        "run": run.name,
        "run_uid": run.uid,
        "run_dir": run.run_dir,
        "tag": facts.tag,
        "array": f"{facts.array:03d}",
        "workdir": workdir,
        "umask": "" if run.umask is None else f"{run.umask:03o}",
        "condition": facts.condition,
    }
    numbers = {
        "positions": facts.positions,
        "tasks_per_element": facts.packing.tasks_per_element,
        "chunk_size": facts.chunk_size,
        "time_limit_s": element.time_limit_s,
        "enforce_time_limit": int(facts.enforces_time_limit),
        "kill_wait_s": facts.kill_wait_s,
        "total": facts.total,
        "max_failures": settings.max_failures,
    }
    if settings.stage is not None:
        texts["submit_dir"] = run.submit_dir
    if settings.most_continuations:
        numbers["most_continuations"] = settings.most_continuations
    if settings.signal is not None and not facts.is_last:
        texts["signal"] = settings.signal.name
        numbers |= {"signal_before_s": settings.signal.before_s, "saved": settings.signal.saved}
    lines = [f"hpcsweep_{name}={quote_always(value)}" for name, value in texts.items()]
    lines += [f"hpcsweep_{name}={'' if number is None else number}" for name, number in numbers.items()]
    if facts.packing.is_packed:
        lines += _packing_lines(facts)
    lines += _gpu_lines(settings, facts.request)
    if facts.watch_s is not None:
        lines.append(f"hpcsweep_watch_s={facts.watch_s}")
    if facts.records_environment:
        lines.append("hpcsweep_records_environment=1")
    lines += _retry_lines(settings)
    if facts.attempts:
        lines.append(f"hpcsweep_attempts=({' '.join(f'[{task}]={attempt}' for task, attempt in facts.attempts.items())})")
    return "\n".join([*lines, "hpcsweep_chunk_hashes=(", *(f"  {digest}" for digest in facts.chunk_hashes), ")"])


def _packing_lines(facts: ScriptFacts) -> list[str]:
    """What the runner has to know of each task's share of an element."""
    request = facts.request
    numbers = {
        "parallel": facts.packing.parallel,
        "task_time_limit_s": request.time_limit_s,
        "task_cpus": request.cpus,
        "task_ranks": request.tasks_per_node,
        "task_memory_mib": -(-request.memory_bytes // _MIB) if request.memory_bytes else None,
    }
    return [f"hpcsweep_{name}={number}" for name, number in numbers.items() if number is not None]


def _gpu_lines(settings: Settings, request: Request) -> list[str]:
    """How many GPUs a task has to itself, or how many tasks share one; and where to look for what was granted."""
    if not request.gpus:
        return []
    sharing = tasks_of_a_gpu(request.gpus)
    lines = [f"hpcsweep_tasks_per_gpu={sharing}" if sharing > 1 else f"hpcsweep_gpus_per_task={whole_gpus(request.gpus)}"]
    if isinstance(settings.gpus_from, str):
        lines.append(f"hpcsweep_gpus_from={quote_always(settings.gpus_from)}")
    elif settings.gpus_from:
        lines.append(f"hpcsweep_gpu_groups=({' '.join(map(quote_always, settings.gpus_from))})")
    return lines


_ENDS = {
    "failed": r"done\.[0-9]+|sig\.[0-9]+|setup\.[0-9]+|broken\.[0-9]+",
    "timeout": r"timeout\.0",
    "oom": r"sig\.9",
    "lost": r"r[0-9]+\.lost",
}
"""State -> the names of the records that may mean it, behind ``T.A.``."""


def _retry_lines(settings: Settings) -> list[str]:
    """For those who count ends: which may be followed by another attempt, and of how many attempts all but the last."""
    if settings.retry is None:
        return []
    ends = "|".join(_ENDS[word] for word in settings.retry.rules if word in _ENDS)
    if not ends:
        return []
    return [f"hpcsweep_retried={quote_always(ends)}", f"hpcsweep_retry_attempts={settings.retry.attempts}"]


def check_script(script: str, source: str) -> None:
    """Refuse a script that could not run its tasks.

    Raises:
        HpcsweepError: no ``#!`` line, another shell than bash, or no place for the tasks.
    """
    first = script.partition("\n")[0]
    if not first.startswith("#!"):
        raise HpcsweepError(f"{source}: a job script begins with `#!/bin/bash`", "make it the first line")
    if not _BASH.match(first):
        raise HpcsweepError(f"{source}: its first line is `{first}`, and the tasks need bash", "write `#!/bin/bash`")
    if not re.search(rf"^\s*{_CALL}\s*$", script, re.MULTILINE):
        raise HpcsweepError(
            f"{source} has no place for the tasks: its block `task` leaves them out", "write `{{ super() }}` in the block"
        )


def _load_environment(run: RunFacts) -> str:
    """For scripts that do something of their own before the tasks: the runner would load it only after that."""
    path = quote_always(f"{run.run_dir}/environment.sh")
    comment = "# shellcheck disable=SC1091,SC2034 # made at submit; the runner reads the variable"
    return f"{comment}\n{{\n  if [[ -e {path} ]]; then . {path}; fi\n  hpcsweep_environment_loaded=1\n}}"


def _shell_text(text: str, key: str, names: Collection[str], extra: Mapping[str, object]) -> str:
    if not text.strip():
        return ""
    try:
        rendered = compile_shared_shell(text, key, names).render({}, extra)
    except HpcsweepError as error:
        raise HpcsweepError(f"{key}: {error.message}", error.hint) from error
    return str(rendered).rstrip("\n")
