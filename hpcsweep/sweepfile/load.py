"""From the text of a sweep file, the configuration files and the command line to a whole sweep, or to all its faults at once."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpcsweep.errors import Faults, HpcsweepError, Place
from hpcsweep.expressions import RESERVED, compile_template
from hpcsweep.model import Container, Finally, Request, Settings, Value
from hpcsweep.render.command import compile_command
from hpcsweep.schedulers import make_scheduler
from hpcsweep.sweepfile import nodes
from hpcsweep.sweepfile.assignments import read_assignments
from hpcsweep.sweepfile.kinds import FileRef, Where, check_compiles
from hpcsweep.sweepfile.overrides import apply_overrides
from hpcsweep.sweepfile.profiles import Layer, ProfileLayers, merge_layers, read_profiles
from hpcsweep.sweepfile.resources import is_expression, merge
from hpcsweep.sweepfile.setting_kinds import SCHEDULER_KEYS
from hpcsweep.sweepfile.settings import ARRAY_KEYS, KEYS, SPACE_KEYS, read_settings
from hpcsweep.sweepfile.space_reader import read_space
from hpcsweep.sweepfile.yaml_reader import comment_cut, read_yaml

if TYPE_CHECKING:
    from hpcsweep.space import SweepSpace

_BUILT_IN_TEMPLATES = ("slurm.sh.j2", "local.sh.j2")
_TAKEN_OVER_BY_FINALLY = ("partition", "account", "qos")
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)\}|(?P<bare>\w+))", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One sweep file, resolved over profiles and the command line.

    ``origins`` says of each setting (dotted key) where it came from: ``sweeps/lr.yaml:12``, ``profile alpine (FILE:3)``,
    ``--set``, ``default``. ``names`` are all parameter names: derived and replicate ones too.
    """

    settings: Settings
    space: SweepSpace
    text: bytes
    path: str
    origins: Mapping[str, str]
    profile: str | None
    warnings: tuple[str, ...]
    names: tuple[str, ...]


def load_sweep(  # noqa: PLR0913 - everything that the outside world says comes in as an argument
    text: bytes,
    path: str,
    *,
    profiles: Sequence[tuple[str, str]],
    profile: str | None,
    environ: Mapping[str, str],
    host: str,
    params: Sequence[str] = (),
    settings: Sequence[str] = (),
    read_file: Callable[[str], str],
    needs_command: bool = True,
) -> Sweep:
    """Read a sweep.

    Args:
        text: the file's bytes.
        path: its path, for messages and for the paths in it.
        profiles: (path, text) of the configuration files, the user's before the project's.
        profile: the profile that ``--profile`` names.
        environ: the environment variables.
        host: this machine's name.
        params: ``-p`` arguments: ``lr=0.1,0.2``.
        settings: ``--set`` arguments: ``resources.time=1h``.
        read_file: gives the text of a file, by a path relative to the current folder.
        needs_command: whether a file without ``command`` is faulty.

    Raises:
        FileFaults: all that is wrong, with places.
    """
    faults = Faults()
    tree = read_yaml(text, path, faults)
    below = read_profiles(profiles, profile=profile, environ=environ, host=host, faults=faults)
    above = read_assignments(settings, faults)
    if not isinstance(tree, nodes.Mapping):
        faults.raise_any()
        raise HpcsweepError(f"{path}: not a sweep file")
    changed = apply_overrides(tree, params, faults)
    merged, origins = merge_layers([*below.layers, Layer(label="", mapping=changed), *above])
    reading = read_space(merged, faults, lambda file: _read_table(_beside(path, file), read_file), path)
    space = reading.space
    # With faults in the names themselves, what expressions say of them would only be noise.
    names = reading.names if reading.names is not None and _check_names(reading.names, changed, faults) else None
    values = read_settings(merged, faults, names=names)
    if needs_command and "command" not in values and merged.get("command") is None:
        faults.add(Place(file=path), "a `command` is missing", "command: python train.py {{ params | flags }}")
    resolver = _Files(sweep_path=path, read_file=read_file, faults=faults, names=names)
    built = _make_settings(values, resolver, faults, environ=environ, path=path, merged=merged)
    _check_commands(built, merged, names, faults)
    _check_scheduler_options(built, merged, faults)
    faults.raise_any()
    if space is None:
        raise HpcsweepError(f"{path}: the space cannot be read")
    return Sweep(
        settings=replace(built, replicates=tuple(space.replicates)),
        space=space,
        text=text,
        path=path,
        origins=_with_defaults(origins),
        profile=below.profile,
        warnings=(*reading.warnings, *_comment_warnings(merged)),
        names=tuple(space.names),
    )


def load_profile_settings(
    profiles: Sequence[tuple[str, str]], *, profile: str | None, environ: Mapping[str, str], host: str
) -> Settings:
    """What the configuration files say without any sweep: for ``runs_dir``, where runs are looked for.

    Raises:
        FileFaults: all that is wrong in them.
    """
    faults = Faults()
    below: ProfileLayers = read_profiles(profiles, profile=profile, environ=environ, host=host, faults=faults)
    merged, _ = merge_layers(below.layers)
    values = read_settings(merged, faults, names=None)
    # Files that a profile names are read when a sweep uses them.
    values = {key: value for key, value in values.items() if key not in ("template", "files", "stdin")}
    resolver = _Files(sweep_path="", read_file=lambda _: "", faults=faults, names=None)
    built = _make_settings(values, resolver, faults, environ=environ, path="", merged=merged)
    faults.raise_any()
    return built


def _read_table(path: str, read_file: Callable[[str], str]) -> str:
    try:
        return read_file(path)
    except UnicodeError as error:
        raise HpcsweepError(f"{path} is not UTF-8 text", "save it as UTF-8") from error


def _beside(file: str, path: str) -> str:
    """``path`` as the file that mentions it means it."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), path))


def _check_names(names: Collection[str], sweep: nodes.Mapping, faults: Faults) -> bool:
    """Whether templates and the environment can tell the names apart."""
    seen: dict[str, str] = {}
    is_clear = True
    for name in names:
        if name in RESERVED:
            faults.add(
                _find_key(sweep, name),
                f"`{name}` cannot be a parameter: expressions use this word",
                f"choose another name: {name}_name",
            )
            is_clear = False
        variable = re.sub(r"[^A-Za-z0-9_]", "_", name)
        if variable in seen:
            is_clear = False
            message = f"the parameters `{seen[variable]}` and `{name}` would both be the variable HPCSWEEP_PARAM_{variable}"
            faults.add(_find_key(sweep, name), message, "rename one of them")
        seen[variable] = name
    return is_clear


def _find_key(node: nodes.Node, name: str) -> Place:
    """Where a parameter is named: the first key that is its name, or the last part of it."""

    def search(inner: nodes.Node, wanted: str) -> Place | None:
        children: Sequence[nodes.Node] = inner.items if isinstance(inner, nodes.Sequence) else ()
        if isinstance(inner, nodes.Mapping):
            for key, value in inner:
                if key.text == wanted:
                    return key.place
                if (found := search(value, wanted)) is not None:
                    return found
        return next((found for child in children if (found := search(child, wanted)) is not None), None)

    parts: list[nodes.Node] = []
    if isinstance(node, nodes.Mapping):
        parts = [part for key in ("space", "spaces", "derive", "include") if (part := node.get(key)) is not None]
    for wanted in (name, name.rpartition(".")[2]):
        for part in parts:
            if (place := search(part, wanted)) is not None:
                return place
    return node.place


@dataclass(frozen=True, kw_only=True)
class _Files:
    """Reads the files that settings name, as contents."""

    sweep_path: str
    read_file: Callable[[str], str]
    faults: Faults
    names: Collection[str] | None

    def read(self, key: str, ref: FileRef, *, is_template_of_tasks: bool) -> tuple[str, str] | None:
        """(path, content); after a fault None."""
        place = ref.node.place
        path = _beside(self.sweep_path if place.file.startswith("--") else place.file, ref.path)
        try:
            content = self.read_file(path)
        except (OSError, UnicodeError, HpcsweepError) as error:
            if key == "template" and ref.path in _BUILT_IN_TEMPLATES:
                return ref.path, f'{{% extends "{ref.path}" %}}\n'
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            if isinstance(error, UnicodeError):
                reason = "it is not UTF-8 text"
            hint = f"the path is relative to the folder of {self.sweep_path if place.file.startswith('--') else place.file}"
            if key == "stdin":
                hint += "; a text of several lines is the input itself"
            self.faults.add(place, f"{key}: {path} cannot be read: {reason}", hint)
            return None
        if is_template_of_tasks and self.names is not None:
            self._check(path, content)
        return path, content

    def _check(self, path: str, content: str) -> None:
        try:
            compile_template(content, names=self.names or ())
        except HpcsweepError as error:
            self.faults.add_text(path, content)
            offset = getattr(error, "offset", None)
            before = content[:offset] if offset is not None else None
            line = before.count("\n") + 1 if before is not None else 0
            column = len(before) - before.rfind("\n") if before is not None else 0
            self.faults.add(Place(file=path, line=line, column=column), error.message, error.hint)


def _make_settings(  # noqa: PLR0913 - the parts of load_sweep
    values: Mapping[str, Any], files: _Files, faults: Faults, *, environ: Mapping[str, str], path: str, merged: nodes.Mapping
) -> Settings:
    """Settings from the values that were read; what is None was faulty and is left at its default."""
    fields: dict[str, Any] = {"name": posixpath.basename(path).removesuffix(".yaml").removesuffix(".yml"), "command": None}
    for key, value in values.items():
        if value is not None and key not in (
            "array",
            *SCHEDULER_KEYS,
            "container",
            "finally",
            "template",
            "files",
            "stdin",
            "resources",
            "env",
        ):
            fields[KEYS[key].field or key] = value
    fields |= {ARRAY_KEYS[key].field or key: value for key, value in (values.get("array") or {}).items() if value is not None}
    fields["resources"] = {key: value for key, value in (values.get("resources") or {}).items() if value is not None}
    fields["env"] = {key: value for key, value in (values.get("env") or {}).items() if value is not None}
    fields["scheduler_options"] = {key: values[key] for key in SCHEDULER_KEYS if values.get(key)}
    container = {key: value for key, value in (values.get("container") or {}).items() if value is not None}
    if "image" in container:
        fields["container"] = Container(**container)
    last = {key: value for key, value in (values.get("finally") or {}).items() if value is not None}
    if "command" in last:
        fields["finally_"] = Finally(
            **last | {"resources": _resources_of_finally(fields["resources"], last.get("resources") or {})}
        )
    if isinstance(values.get("template"), FileRef) and (
        read := files.read("template", values["template"], is_template_of_tasks=False)
    ):
        fields["template_path"], fields["template"] = read
    stdin = values.get("stdin")
    if isinstance(stdin, FileRef):
        read = files.read("stdin", stdin, is_template_of_tasks=True)
        fields["stdin"] = read[1] if read else None
    elif stdin is not None:
        fields["stdin"] = stdin
    contents = {
        target: read
        for target, ref in (values.get("files") or {}).items()
        if isinstance(ref, FileRef) and (read := files.read(f"files.{target}", ref, is_template_of_tasks=True))
    }
    fields["files"] = {target: content for target, (_, content) in contents.items()}
    fields["files_paths"] = {target: source for target, (source, _) in contents.items()}
    if "runs_dir" in fields:
        try:
            fields["runs_dir"] = expand_path(fields["runs_dir"], environ)
        except HpcsweepError as error:
            node = merged.get("runs_dir")
            faults.add(node.place if node else Place(file=path), f"runs_dir: {error.message}", error.hint)
    return Settings(**fields)


def _resources_of_finally(tasks: Mapping[str, Value], own: Mapping[str, Value]) -> dict[str, Value]:
    """A summary needs the tasks' account and partition, but neither their GPUs nor their memory."""
    taken = {key: value for key, value in tasks.items() if key in _TAKEN_OVER_BY_FINALLY and not is_expression(value)}
    if tasks.get("memory") == "site":
        taken["memory"] = "site"
    return merge(taken, own)


def expand_path(path: str, environ: Mapping[str, str]) -> str:
    """``~``, ``$USER`` and ``${USER}`` filled in.

    Raises:
        HpcsweepError: a variable is not set, or ``~name`` is used.
    """

    def value_of(name: str) -> str:
        if not environ.get(name):
            raise HpcsweepError(f"${name} is not set", "write the path out, or set the variable")
        return environ[name]

    expanded = _VARIABLE.sub(lambda match: value_of(match["braced"] or match["bare"]), path)
    if path == "~" or path.startswith("~/"):
        return value_of("HOME") + expanded[1:]
    if path.startswith("~"):
        raise HpcsweepError("`~` of somebody else is not filled in", "write the path out")
    return expanded


def _check_commands(settings: Settings, merged: nodes.Mapping, names: Collection[str] | None, faults: Faults) -> None:
    """Compile what will be rendered for each task, so that its faults come with all the others."""
    node, last = merged.get("command"), merged.get("finally")
    command = settings.command
    if node is not None and command is not None:
        where = Where(key="command", faults=faults, names=names)
        check_compiles(node, where, lambda known: compile_command(command, names=known))
    if isinstance(last, nodes.Mapping) and settings.finally_ is not None:
        own = settings.finally_.command
        where = Where(key="finally.command", faults=faults, names=names)
        check_compiles(last.get("command") or last, where, lambda _: compile_command(own, names=()))


def _check_scheduler_options(settings: Settings, merged: nodes.Mapping, faults: Faults) -> None:
    """The options of ``slurm:`` among themselves, whichever scheduler is going to run the sweep."""
    slurm = merged.get("slurm")
    own = next((key for key, _ in slurm if key.text == "signal"), None) if isinstance(slurm, nodes.Mapping) else None
    if own is not None and settings.signal is not None and settings.scheduler_options["slurm"].get("signal") is not None:
        faults.add(own.place, "slurm.signal and signal say the same thing to Slurm", "keep signal: it works on every scheduler")
    for name, options in settings.scheduler_options.items():
        section = merged.get(name)
        keys = {key.text: key.place for key, _ in section} if isinstance(section, nodes.Mapping) else {}
        for problem in make_scheduler(name).problems(Request(), options):
            faults.add(keys.get(problem.option, merged.place), problem.message, problem.hint)


def _comment_warnings(merged: nodes.Mapping) -> list[str]:
    """A ` #` in a command may have been meant for the shell; a list's words and other settings are rarely cut by mistake."""
    last = merged.get("finally")
    commands = {
        "command": merged.get("command"),
        "finally.command": last.get("command") if isinstance(last, nodes.Mapping) else None,
    }
    return [
        f"{node.place}: {key} ends before `{comment}`, which YAML takes for a comment; put it in quotes, or below `command: |`"
        for key, node in commands.items()
        if node is not None and (comment := comment_cut(node))
    ]


def _with_defaults(origins: Mapping[str, str]) -> dict[str, str]:
    """All settings in the order of the table, those that nothing was said about too."""
    full: dict[str, str] = {}
    for key in (*KEYS, *SPACE_KEYS):
        found = {known: origin for known, origin in origins.items() if known == key or known.startswith(key + ".")}
        full |= found or ({key: "default"} if key in KEYS else {})
    return full
