"""The task record: what one position of an array runs, as bash text that gives back every byte."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from hpcsweep.errors import HpcsweepError
from hpcsweep.expressions import ExpressionError, Template, compile_template
from hpcsweep.model import Request, Settings, Task
from hpcsweep.render.command import compile_command
from hpcsweep.render.container import contained
from hpcsweep.render.environment import EnvSection, param_assignments, param_variables
from hpcsweep.render.facts import RunFacts, resource_facts, task_facts
from hpcsweep.render.quote import quote_always
from hpcsweep.render.staging import StageSection
from hpcsweep.space.identity import canonical

_OURS = ("params.json",)
_Compiled = TypeVar("_Compiled")


@dataclass(frozen=True, kw_only=True)
class _File:
    """One of ``files:``: both its path in the task's folder and its text may hold expressions."""

    path: Template
    text: Template
    source: str  # for messages


@dataclass(kw_only=True)
class _Shared:
    """What all tasks with one request have in common."""

    request: Request
    extra: Mapping[str, object]
    env: tuple[list[str], list[str]] | None = None


class TaskRenderer:
    """Renders the records of a run's tasks; everything is compiled once.

    Args:
        settings: the run's settings.
        names: all parameters that a point may have.
        run: the run.

    Raises:
        HpcsweepError: for templates that cannot be understood, and parameters that would share a variable.
    """

    def __init__(self, settings: Settings, names: Collection[str], run: RunFacts) -> None:
        self._settings = settings
        self._run = run
        self._hpcsweep = run.as_mapping()
        self._variables = param_variables(names)
        self._command = _compile("command", lambda: compile_command(settings.command or "", names=names))
        self._env = EnvSection(settings.env, names)
        self._files = [_compile_file(target, text, settings, names) for target, text in settings.files.items()]
        self._links = [_link(run.linked(source)) for source in settings.link]
        stdin = settings.stdin
        self._stdin = None if stdin is None else _compile("stdin", lambda: compile_template(stdin, names=names))
        self._stage = _compile("stage", lambda: StageSection(settings.stage, names))
        self._shared = self._share(Request())
        last = settings.finally_
        self._finally = None if last is None else _compile("finally.command", lambda: compile_command(last.command, names=()))

    def command(self, task: Task, request: Request, attempt: int = 1) -> str | tuple[str, ...]:
        """The rendered command alone, as ``show`` prints it (without its container)."""
        with _about(task):
            return self._render_command(task, self._extra(task, request, attempt))

    def render(self, task: Task, request: Request, attempt: int, position: int) -> str:
        """The block of a chunk for one position.

        Raises:
            HpcsweepError: when an expression has no value for this point, or a value cannot stand where it would.
        """
        extra = self._extra(task, request, attempt)
        with _about(task):
            command = self._render_command(task, extra)
            params = [
                f"hpcsweep_params={quote_always(canonical(task.params))}",
                *self._program(command, param_assignments(task.params, self._variables)),
                f"hpcsweep_files() {{ {self._inputs(task, extra)}; }}",
                *self._stage.render(task.params, extra),
            ]
            if self._stdin is not None:
                params.append(f"hpcsweep_stdin={quote_always(self._stdin.render(task.params, extra))}")
        return _block(position, f"hpcsweep_task={task.index} hpcsweep_attempt={attempt} hpcsweep_point={task.id}", params)

    def render_finally(self, request: Request, attempt: int = 1, position: int = 0) -> str:
        """The block of the ``finally`` command, which has no parameters, files or stdin."""
        if self._finally is None:
            raise HpcsweepError("the sweep has no `finally` command")
        self._use(request)
        command = self._finally.render({}, self._shared.extra)
        lines = ["hpcsweep_params='{}'", *self._program(command, []), "hpcsweep_files() { :; }"]
        return _block(position, f"hpcsweep_task=finally hpcsweep_attempt={attempt} hpcsweep_point=''", lines)

    def _share(self, request: Request) -> _Shared:
        extra = {"resources": resource_facts(request), "hpcsweep": self._hpcsweep}
        return _Shared(request=request, extra=extra)

    def _use(self, request: Request) -> None:
        if self._shared.request != request:
            self._shared = self._share(request)

    def _extra(self, task: Task, request: Request, attempt: int) -> dict[str, object]:
        self._use(request)
        return {**self._shared.extra, "task": task_facts(task, attempt, self._run)}

    def _environment(self) -> tuple[list[str], list[str]]:
        """``env:`` rendered, once for all tasks with the same request."""
        if self._shared.env is None:
            try:
                self._shared.env = self._env.render(self._shared.extra)
            except ExpressionError as error:
                raise ExpressionError(f"env: {error.message}", error.hint) from error
        return self._shared.env

    def _render_command(self, task: Task, extra: Mapping[str, object]) -> str | tuple[str, ...]:
        command = self._command.render(task.params, extra)
        if not isinstance(command, str) and (not command or not command[0]):
            raise ExpressionError("the command comes to no word", "its first word is the program")
        return command

    def _program(self, command: str | tuple[str, ...], params: list[str]) -> list[str]:
        """The command and its environment."""
        assignments, unset = self._environment()
        steps = []
        if params or assignments:
            steps.append(f"export {' '.join([*params, *assignments])}")
        if unset:
            steps.append(f"unset -v {' '.join(unset)}")
        lines = []
        if self._settings.container is not None:
            # Which runtime there is, is known on the node only, after setup.
            steps.append(contained(command, self._env.names))
        elif isinstance(command, str):
            lines.append(f"hpcsweep_command={quote_always(command)}")
        else:
            lines.append(f"hpcsweep_argv=({' '.join(map(quote_always, command))})")
        return [*lines, f"hpcsweep_env() {{ {'; '.join(steps) or ':'}; }}"]

    def _inputs(self, task: Task, extra: Mapping[str, object]) -> str:
        steps = []
        for file in self._files:
            path = check_target(file.path.render(task.params, extra))
            try:
                text = file.text.render(task.params, extra)
            except ExpressionError as error:
                raise ExpressionError(f"{file.source}: {error.message}", error.hint) from error
            steps.append(f"hpcsweep_write_file {quote_always(path)} {quote_always(text)}")
        steps += [f"hpcsweep_link {quote_always(source)} {quote_always(name)}" for source, name in self._links]
        return " && ".join(steps) or ":"


@contextmanager
def _about(task: Task) -> Iterator[None]:
    """Faults of one point say which task it is."""
    try:
        yield
    except ExpressionError as error:
        raise HpcsweepError(f"task {task.index}: {error.message}", error.hint) from error


def check_target(path: str) -> str:
    """A path of ``files:`` inside the task's folder, without its needless parts.

    Raises:
        ExpressionError: when it leads out of the folder, or is a file of hpcsweep's own.
    """
    plain = posixpath.normpath(path)
    if not path or path.endswith("/") or plain.startswith(("/", "../")) or plain in (".", ".."):
        raise ExpressionError(f"the file {path!r} is not inside the task's folder", "give a relative path without `..`")
    if plain in _OURS or (plain.startswith("attempt-") and plain.endswith(".log")):
        raise ExpressionError(f"the file {path!r} is one that hpcsweep itself writes", "choose another name")
    return plain


def _compile(key: str, compile_: Callable[[], _Compiled]) -> _Compiled:
    try:
        return compile_()
    except ExpressionError as error:
        raise HpcsweepError(f"{key}: {error.message}", error.hint) from error


def _compile_file(target: str, text: str, settings: Settings, names: Collection[str]) -> _File:
    source = settings.files_paths.get(target, f"files.{target}")
    path = _compile("files", lambda: compile_template(target, names=names))
    if not path.names:
        _compile("files", lambda: check_target(target))
    return _File(path=path, text=_compile(source, lambda: compile_template(text, names=names)), source=source)


def _link(path: str) -> tuple[str, str]:
    """(absolute path, name in the task's folder)."""
    return path, posixpath.basename(path)


def _block(position: int, first: str, lines: list[str]) -> str:
    body = "\n".join([first, *lines])
    return f"if ((hpcsweep_position == {position})); then\n{body}\nreturn 0\nfi\n"
