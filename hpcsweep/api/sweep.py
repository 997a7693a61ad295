"""A whole sweep built in Python: what a sweep file says, as an object."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpcsweep.api.names import HASH, Field, check_fields, name_expression, parse_format, template_text
from hpcsweep.api.yaml_text import space_data, write_yaml
from hpcsweep.errors import HpcsweepError
from hpcsweep.space.param_space import ParamSpace

NAME_PATTERN = "JOB_NAME_PATTERN"
"""The variable that tells the tasks of a template, and whoever opens the run later, how jobs are named."""

IN_PYTHON = "sweep.yaml"
"""What messages call the file that such a sweep would be."""

_SHELLS = ("bash", "sh")
_OURS = {"job-name", "J", "output", "o", "error", "e", "open-mode", "parsable"}
_RESOURCES = {
    "time": "time",
    "t": "time",
    "mem": "memory",
    "cpus-per-task": "cpus",
    "c": "cpus",
    "nodes": "nodes",
    "N": "nodes",
    "ntasks-per-node": "tasks_per_node",
    "partition": "partition",
    "p": "partition",
    "account": "account",
    "A": "account",
    "qos": "qos",
    "q": "qos",
    "tmp": "tmp",
}
_SHORT = {"C": "constraint", "G": "gpus", "n": "ntasks", "w": "nodelist", "x": "exclude", "L": "licenses", "D": "chdir"}


class Sweep:
    """A sweep: a command, a space, and every other key of the sweep file by its name.

    >>> Sweep(command="python train.py {{ params | flags }}", space=ParamSpace(lr=[0.1, 0.01]), resources={"time": "1h"})

    ``space`` is a :class:`ParamSpace`, or a mapping as the sweep file has it (with forms and distributions). Keys of the file
    that Python takes for itself end with an underscore: ``finally_``. :meth:`to_yaml` is the equivalent file.
    """

    def __init__(
        self, *, command: str | list[str] | None = None, space: ParamSpace | Mapping[str, Any] | None = None, **keys: Any
    ) -> None:
        given = {"command": command, **{key.removesuffix("_"): value for key, value in keys.items()}}
        self._keys = {key: value for key, value in given.items() if value is not None}
        self._space = space

    @classmethod
    def from_template(
        cls, template: str | Path, name: str | None = None, space: ParamSpace | None = None, **keys: Any
    ) -> Sweep:
        """The sweep of a bash script with ``{names}``, each task in its own folder.

        Args:
            template: the script, or the path of its file. ``{lr}``, ``{lr:.2e}`` are parameters, quoted for the shell;
                ``{job_name}``, ``{hash}`` (the point's id), ``{submit_dir}`` are known too; a brace of the shell is doubled.
                Its ``#SBATCH`` lines are the resources and options, those for names and logs left out.
            name: the pattern of the jobs' names, such as ``"job_{type}_{param}_{hash}"``.
            space: the points; without it a single task.
            keys: more keys of the sweep file.

        Raises:
            HpcsweepError: it names what is no parameter, is no shell script, or has a line that cannot be understood.
        """
        text, stem = _template_of(template)
        points = ParamSpace() if space is None else space
        pattern = name or "job_{hash}"
        special = {HASH: "task.id", "submit_dir": "hpcsweep.cwd"}
        special = {word: expression for word, expression in special.items() if word not in points.names}
        known = [*points.names, *special]
        check_fields(parse_format(pattern, "name"), known, "name")
        if "job_name" not in points.names:
            special["job_name"] = name_expression(pattern, special)
        directives, body = _split_script(text)
        parts = parse_format(body, "template")
        check_fields(parts, [*points.names, *special], "template")
        resources, options = _directives(directives, special, [*points.names, *special])
        named = pattern.partition("{")[0].strip(" _-.") if name else stem
        return cls(
            **{
                "name": named or "sweep",
                "command": template_text(parts, special),
                "space": points,
                "workdir": "task",
                **keys,
                "resources": {**resources, **keys.get("resources", {})} or None,
                "slurm": {**options, **keys.get("slurm", {})} or None,
                "env": {NAME_PATTERN: template_text([pattern], {}), **keys.get("env", {})},
            }
        )

    @property
    def space(self) -> ParamSpace | Mapping[str, Any] | None:
        """The space as it was given."""
        return self._space

    def to_yaml(self) -> str:
        """The sweep file that means the same.

        Raises:
            HpcsweepError: it holds something that no sweep file can.
        """
        space = space_data(self._space.node) if isinstance(self._space, ParamSpace) else dict(self._space or {})
        return write_yaml({**self._keys, "space": space})

    def write(self, path: str | Path) -> Path:
        """Write the sweep file; its path.

        Raises:
            HpcsweepError: it cannot be written.
        """
        from hpcsweep.store import write_for_user  # noqa: PLC0415

        target = Path(path)
        write_for_user(target, self.to_yaml())
        return target

    def __repr__(self) -> str:
        keys = {**self._keys, "space": self._space}
        return f"Sweep({', '.join(f'{key}={value!r}' for key, value in keys.items() if value is not None)})"


def _template_of(template: str | Path) -> tuple[str, str]:
    """The text, and what to call it."""
    if isinstance(template, str) and ("\n" in template or not Path(template).is_file()):
        if isinstance(template, str) and len(template.split()) == 1 and ("/" in template or "." in template):
            raise HpcsweepError(f"there is no file {template}", "a template is a script's text, or the path of its file")
        return template, ""
    path = Path(template)
    try:
        return path.read_text(encoding="utf-8"), path.stem
    except (OSError, UnicodeError) as error:
        raise HpcsweepError(f"{path} cannot be read: {error}") from error


def _split_script(text: str) -> tuple[list[str], str]:
    """The ``#SBATCH`` options of a script, and the rest of it."""
    lines = text.split("\n")
    if lines[0].startswith("#!"):
        words = lines[0][2:].split()
        program = words[-1].rpartition("/")[2] if words else ""
        if not any(word.rpartition("/")[2] in _SHELLS for word in words):
            raise HpcsweepError(
                f"template: a script of {program or 'nothing'} is none for the shell", "call it from a bash script"
            )
        lines[0] = ""
    pbs = next((line for line in lines if line.startswith("#PBS")), None)
    if pbs is not None:
        raise HpcsweepError(
            f"template: the line `{pbs.strip()}` is not read here",
            'write resources={"time": "1h", "cpus": 4} and pbs={...} instead',
        )
    options = [line.removeprefix("#SBATCH").partition(" #")[0].strip() for line in lines if line.startswith("#SBATCH")]
    body = "\n".join(line for line in lines if not line.startswith("#SBATCH"))
    return options, body.strip("\n") + "\n"


def _directives(options: list[str], special: Mapping[str, str], known: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``--time=1h``, ``-p short`` -> what is asked for, and the other options of sbatch."""
    resources: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for option in options:
        if option.startswith("--"):
            key, has_value, value = option[2:].replace(" ", "=", 1).partition("=")
        elif option.startswith("-"):
            key, value = option[1:2], option[2:].strip()
            has_value = value
        else:
            raise HpcsweepError(f"template: the line #SBATCH {option} is not understood")
        if key in {"array", "a"}:
            raise HpcsweepError("template: #SBATCH --array is what hpcsweep does", "leave the line out")
        if key in _OURS:
            continue
        parts: list[str | Field] = parse_format(value.strip().strip("\"'"), "template")
        check_fields(parts, known, "template")
        text = template_text(parts, special)
        if key in _RESOURCES:
            resources[_RESOURCES[key]] = (
                int(text) if text.isdigit() and key not in {"time", "t", "mem", "tmp"} else _unit(key, text)
            )
        else:
            others[_SHORT.get(key, key)] = text if has_value else True
    return resources, others


def _unit(key: str, text: str) -> str:
    """Slurm's bare numbers with the unit that they have there: minutes, and MB."""
    if text.isdigit() and key in {"time", "t"}:
        return f"{text}m"
    if key in {"time", "t"} and text.count(":") == 1 and "-" not in text:
        return f"00:{text}"  # minutes and seconds
    return f"{text}M" if text.isdigit() and key in {"mem", "tmp"} else text
