"""All keys of a sweep file, each in one place: how it is read, what it is for. Schema, docs and did-you-mean come from here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hpcsweep.errors import Faults, Place
from hpcsweep.sweepfile import nodes
from hpcsweep.sweepfile.ending_kinds import ON_TIMEOUT, SIGNAL, STAGE
from hpcsweep.sweepfile.kinds import (
    BOOLEAN,
    COMMAND,
    SECONDS,
    TEXTS,
    Key,
    Where,
    one_of,
    suggest,
    table,
    text,
    whole,
)
from hpcsweep.sweepfile.metrics_kind import METRICS
from hpcsweep.sweepfile.resources import RESOURCE_ALIASES, RESOURCE_KEYS
from hpcsweep.sweepfile.retry_kind import RETRY
from hpcsweep.sweepfile.setting_kinds import (
    ENV,
    FILE,
    FILES,
    GPUS,
    GPUS_FROM,
    GROUP,
    LINKS,
    NAME,
    OBJECTIVE,
    OPTIONS,
    QSUB_OPTIONS,
    RESOURCE_WORDS,
    SCHEDULER,
    SHELL,
    SNAPSHOT,
    STDIN,
    TASKS_PER_JOB,
    UMASK,
    resources,
)
from hpcsweep.sweepfile.words import KEYWORDS

ARRAY_KEYS: dict[str, Key] = {
    "at_once": Key(kind=whole(1), help="So many elements at once over the whole run, whatever number of arrays it has."),
    "mode": Key(
        kind=one_of("array", "jobs"), help="`jobs` submits single jobs, where a site forbids arrays.", field="array_mode"
    ),
    "tasks_per_job": Key(
        kind=TASKS_PER_JOB,
        help="So many tasks in one element (default: `parallel`); auto: what the site's limits and short tasks call for.",
    ),
    "parallel": Key(
        kind=whole(1), help="So many of an element's tasks side by side; each has its own share of cores and GPUs."
    ),
}

CONTAINER_KEYS: dict[str, Key] = {
    "image": Key(kind=text(no_expressions="one image serves all tasks"), help="The image: a file, or what the runtime takes."),
    "runtime": Key(kind=one_of("apptainer", "singularity", "docker"), help="Default: the first of these on the node."),
    "nv": Key(kind=BOOLEAN, help="Bring the NVIDIA GPUs into the container."),
    "bind": Key(kind=TEXTS, help="More folders to bind: /data or /data:/mnt. Run folder, workdir and TMPDIR are bound anyway."),
}

FINALLY_KEYS: dict[str, Key] = {
    "command": Key(kind=COMMAND, help="What to run once, after the tasks."),
    "when": Key(
        kind=one_of("done", "ended"), help="`done`: only when every task is done; `ended`: when all have ended, however."
    ),
    "resources": Key(
        kind=resources(sees_parameters=False),
        help="What it asks for; account, partition and qos are taken over from the tasks.",
    ),
}

KEYS: dict[str, Key] = {
    "name": Key(
        kind=NAME,
        help="The sweep's name; default: the file's stem.",
    ),
    "command": Key(
        kind=COMMAND,
        help="What each task runs: text for bash, each {{ }} quoted for it; or a list of words, run without a shell.",
    ),
    "scheduler": Key(
        kind=SCHEDULER,
        help="auto (by what is installed), slurm, pbs, torque or local (this machine).",
    ),
    "template": Key(
        kind=FILE,
        help="Your own job script or template, relative to this file; default: the scheduler's.",
    ),
    "resources": Key(kind=resources(sees_parameters=True), help="What one task asks for; any value may be an expression."),
    "slurm": Key(
        kind=OPTIONS,
        help="Any option of sbatch, as it is: {constraint: a100}.",
    ),
    "pbs": Key(
        kind=QSUB_OPTIONS,
        help="Options of PBS's qsub by their letters, resources under l, more of a node's share under chunk: {P: lab, l: {place: excl}}.",
    ),
    "torque": Key(
        kind=QSUB_OPTIONS,
        help="Options of Torque's qsub by their letters, resources under l, node properties under chunk: {l: {qos: high}, chunk: a100}.",
    ),
    "gpus": Key(
        kind=GPUS,
        help="scheduler local: the GPUs that its queue gives out, by number or UUID; `0,1` is a pair. Default: those it finds.",
    ),
    "array": Key(kind=table(ARRAY_KEYS), help="How the tasks become elements of job arrays."),
    "workdir": Key(
        kind=text(no_expressions="it is one for all tasks; `workdir: task` gives each task its own folder"),
        help="Where the command runs, relative to where submit was called; `task`: the task's own folder.",
    ),
    "files": Key(
        kind=FILES,
        help="Files made in the task's folder: target: template. Rendered for each task, without quoting.",
    ),
    "stdin": Key(
        kind=STDIN,
        help="Standard input: a template's path; a text of several lines or with {{ }} is the input itself.",
    ),
    "link": Key(kind=LINKS, help="Symbolic links made in the task's folder."),
    "env": Key(
        kind=ENV,
        help="Variables of the environment; {{ resources.cpus }} may be used.",
    ),
    "env_from": Key(
        kind=one_of("submit", "clean"),
        help="`submit`: PATH, conda, virtual environment and modules come along from where submit was called.",
    ),
    "setup": Key(
        kind=SHELL,
        help="Shell text that runs once an element, before its tasks: module load cuda.",
    ),
    "teardown": Key(kind=SHELL, help="Shell text that runs once an element, after its tasks."),
    "gpus_from": Key(
        kind=GPUS_FROM,
        help="How an element finds the GPUs it was granted, where the scheduler does not say: a variable's name, nvidia-smi, or a list.",
    ),
    "container": Key(kind=table(CONTAINER_KEYS), help="The container that the command runs in."),
    "snapshot": Key(
        kind=SNAPSHOT,
        help="Run the tasks in a copy of the project's tracked files, made at submit, so that later edits change nothing.",
    ),
    "metrics": Key(
        kind=METRICS,
        help="Files with results, in the task's folder (with an expression relative to workdir), or {log: pattern of its lines}.",
    ),
    "objective": Key(
        kind=OBJECTIVE,
        help="What counts, and whether little or much of it is good: val_loss:min, val_loss:last:min.",
    ),
    "canary": Key(kind=whole(1), help="Run so many tasks first, and the rest only when they are done."),
    "max_failures": Key(kind=whole(1), help="Hold what has not started after so many failures."),
    "retry": Key(
        kind=RETRY, help="What is run again without a hand: {oom: {memory: x2, up_to: 64G}, node_fail: {}, attempts: 3}."
    ),
    "finally": Key(kind=table(FINALLY_KEYS), help="One command after the tasks: aggregation.", field="finally_"),
    "signal": Key(
        kind=SIGNAL,
        help="A signal that reaches the program before its time limit, and on preemption, so that it can save.",
    ),
    "on_timeout": Key(
        kind=ON_TIMEOUT,
        help="`requeue`: a task that has saved at its time limit goes on, as often as {requeue: 20} says.",
        field="most_continuations",
    ),
    "stage": Key(kind=STAGE, help="What is copied to the node's own disk before the program, and back after it."),
    "runs_dir": Key(
        kind=text(no_expressions="use $USER, $HOME or another variable"),
        help="Where run directories are made; ~ and $USER are filled in.",
    ),
    "umask": Key(
        kind=UMASK,
        help="Rights that files of the run do not get: 027, 002.",
    ),
    "group": Key(kind=GROUP, help="Group that files of the run get."),
    "settle": Key(
        kind=SECONDS, help="How long to wait before a submission without an answer is repeated (default 6m).", field="settle_s"
    ),
    "query_timeout": Key(
        kind=SECONDS, help="How long a question to the scheduler may take (default 10s).", field="query_timeout_s"
    ),
}
"""All settings. What describes the space is in SPACE_KEYS."""

SPACE_KEYS: dict[str, str] = {
    "space": "The parameter space: the keys of a mapping multiply; a list holds alternatives.",
    "spaces": "Named spaces, combined by `sweep:`.",
    "sweep": "An expression of the names under `spaces:`: data * (sgd + adam) * 3.",
    "sample": "Draw n distinct points of the space: {n: 50, method: random, seed: 0}.",
    "derive": "Parameters computed from others, in this order.",
    "where": "Conditions that every point must meet.",
    "exclude": "Points to leave out; a partial match is enough.",
    "include": "Points to add.",
}
"""Keys that the space's reader takes; they are in sweep files only."""

NOT_YET = ("search", "stop", "budget", "oom", "inject")
"""Keys of later versions: refused, never ignored."""

_WORDS = {
    "parameters": "space",
    "params": "space",
    "grid": "space",
    "matrix": "space",
    "program": "command",
    "script": "command",
    "cmd": "command",
    "run": "command",
    "environment": "env",
    "output_dir": "runs_dir",
    "filter": "where",
    "constraints": "where",
}


def read_settings(merged: nodes.Mapping, faults: Faults, *, names: Collection[str] | None) -> dict[str, Any]:
    """The values of all settings that are there, by key; what is wrong goes to ``faults``.

    Args:
        merged: the sweep file over its profiles, under the command line.
        faults: where faults go.
        names: the parameters; None when the space has faults, so that expressions are not held against it.
    """
    root = Where(key="", faults=faults, names=names)
    values: dict[str, Any] = {}
    for key, node in merged:
        if key.text in KEYS:
            values[key.text] = KEYS[key.text].kind.read(node, root.child(key.text))
        elif key.text not in SPACE_KEYS:
            add_unknown_key(key, faults)
    container = values.get("container")
    if isinstance(container, Mapping) and "image" not in container:
        faults.add(_place_of(merged, "container"), "container: an `image` is missing", "container: {image: x.sif}")
    array = values.get("array")
    if isinstance(array, Mapping):
        many, parallel = array.get("tasks_per_job"), array.get("parallel")
        if isinstance(many, int) and isinstance(parallel, int) and parallel > many:
            message = f"array: {parallel} tasks side by side are more than the {many} that an element has (tasks_per_job)"
            faults.add(_place_of(merged, "array"), message, f"tasks_per_job: {parallel}, or leave tasks_per_job out")
    if values.get("on_timeout") is not None and merged.get("signal") is None:
        message = "on_timeout: a program that is not told of its end cannot save"
        faults.add(_place_of(merged, "on_timeout"), message, "add signal: {name: USR1, before: 120s}")
    last = values.get("finally")
    if isinstance(last, Mapping) and "command" not in last:
        faults.add(_place_of(merged, "finally"), "finally: a `command` is missing", "finally: {command: python summary.py}")
    return values


def add_unknown_key(key: nodes.Scalar, faults: Faults) -> None:
    """The fault of a top-level key that this version does not have."""
    if key.text in NOT_YET:
        faults.add(key.place, f"`{key.text}` is not yet in this version", "leave it out")
        return
    if key.text in RESOURCE_KEYS or key.text in RESOURCE_ALIASES or key.text in RESOURCE_WORDS:
        hint = f"resources go together: resources: {{{key.text}: ...}}"
    elif key.text in ARRAY_KEYS:
        hint = f"it goes under array: {{{key.text}: ...}}"
    elif key.text in KEYWORDS:
        hint = f"it goes under space: {{{key.text}: ...}}"
    elif key.text in ("profiles", "match"):
        hint = "profiles are in ~/.config/hpcsweep/config.yaml or hpcsweep.yaml"
    elif key.text in _WORDS:
        hint = f"it is called `{_WORDS[key.text]}`"
    else:
        hint = suggest(key.text, (*KEYS, *SPACE_KEYS))
        if not hint.startswith("did you mean"):
            hint = "a parameter goes under `space:` (on the command line: -p)"
    faults.add(key.place, f"unknown key `{key.text}`", hint)


def _place_of(mapping: nodes.Mapping, name: str) -> Place:
    node = mapping.get(name)
    return node.place if node is not None else mapping.place
