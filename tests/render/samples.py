"""Runs to render, shared by the tests of this folder and by ``python tests/render/regenerate.py``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hpcsweep.model import Container, Request, Settings, Signal, Stage, Task
from hpcsweep.render.chunks import chunk_hash, render_chunks
from hpcsweep.render.facts import RunFacts
from hpcsweep.render.script import ScriptFacts, render_script
from hpcsweep.render.task import TaskRenderer
from hpcsweep.render.templates import read_template

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("lr", "layers", "note")
RUN = RunFacts(
    name="run-03",
    uid="0f3c",
    run_dir="/scratch/it's me/runs/run-03",
    cwd="/home/it's me",
    sweep="digits",
    scheduler="slurm",
    version="1.2.3",
)
LOCAL = replace(RUN, scheduler="local")
SHARED = replace(RUN, umask=0o027)
PBS = replace(SHARED, scheduler="pbs")
TORQUE = replace(SHARED, scheduler="torque")
REQUEST = Request(time_limit_s=7200, memory_bytes=8 << 30, cpus=4, partition="short")
DIRECTIVES = ("#SBATCH --time=0-02:00:00", "#SBATCH --mem=8192M", "#SBATCH --cpus-per-task=4", "#SBATCH --partition=short")
PBS_DIRECTIVES = ("#PBS -l select=1:ncpus=4:mem=8192mb", "#PBS -l walltime=02:00:00", "#PBS -q short")
TORQUE_DIRECTIVES = ("#PBS -l nodes=1:ppn=4", "#PBS -l mem=8192mb", "#PBS -l walltime=02:00:00", "#PBS -q short")
TASKS = (
    Task(index=41, id="8f3a2b1c00aa11bb", params={"lr": 0.1, "layers": [64, 64], "note": "it's\n$(touch x) é"}),
    Task(index=42, id="1111111111111111", params={"lr": -1e-05, "layers": [], "note": ""}),
)
SETTINGS = Settings(name="digits", command="python train.py {{ params | flags }}")

# The runner has tests of its own, and changes without the scripts around it.
STAND_IN_RUNNER = "# runner/runner.sh stands here\nhpcsweep_main() {\n  hpcsweep_status=0\n}\n"

FULL = replace(
    SETTINGS,
    command="echo {{ lr }} |\n  tee {{ note }}.txt",
    setup="module load cuda\nexport CPUS={{ resources.cpus }}",
    teardown="echo 'good bye'",
    env={"OMP_NUM_THREADS": "{{ resources.cpus }}", "WHO": "it's me", "GONE": None},
    files={"deck/{{ lr }}.nml": "lr = {{ lr }}\nlayers = {{ layers }}\n"},
    stdin="{{ note }}\n",
    link=("data", "/abs/other/"),
    workdir="task",
    umask=0o027,
)
PLAIN = """\
#!/bin/bash -l
#SBATCH --constraint=a100   # the big ones
#SBATCH -t 120
#SBATCH --mail-type=END

module load everything
{{ hpcsweep }}
echo "with {{ resources.cpus }} cores on {{ resources.partition }}"
"""
PLAIN_PBS = """\
#!/bin/bash
#PBS -lwalltime=2:00:00,place=scatter   # as it was
#PBS -m ae
#PBS -q short

module load everything
cd "$PBS_O_WORKDIR"
{{ hpcsweep }}
echo "with {{ resources.cpus }} cores on {{ resources.queue }}"
"""
EXTENDING = """\
{% extends "slurm.sh.j2" %}
{% block directives %}
{{ super() }}
#SBATCH --constraint=a100
{% endblock %}
{% block setup %}
module purge
{{ super() }}
module list
{% endblock %}
{% block task %}
echo "before {{ hpcsweep.run }}" >&2
{{ super() }}
{% endblock %}
{% block teardown %}
nvidia-smi
{% endblock %}
"""
CONTAINED = replace(SETTINGS, container=Container(image="x.sif", nv=True, bind=("data:/data", "/scratch")), env={"A": 1})
SAVING = replace(
    SETTINGS,
    signal=Signal(name="USR1", before_s=120),
    most_continuations=20,
    stage=Stage(inputs=("data/{{ note }}/*.npz", "/abs/{{ lr }}"), outputs=("*.ckpt", "out/")),
)

CASES = {
    "slurm": (SETTINGS, RUN),
    "local": (SETTINGS, LOCAL),
    "pbs": (SETTINGS, PBS),
    "torque": (SETTINGS, TORQUE),
    "full": (FULL, SHARED),
    "plain": (replace(FULL, template=PLAIN, template_path="my.sh"), SHARED),
    "plain-pbs": (replace(FULL, template=PLAIN_PBS, template_path="my.pbs"), PBS),
    "extending": (replace(FULL, template=EXTENDING, template_path="my.sh.j2"), SHARED),
    "extending-torque": (
        replace(
            FULL,
            template=EXTENDING.replace("slurm.sh.j2", "torque.sh.j2").replace("#SBATCH --constraint=a100", "#PBS -m ae"),
            template_path="my.sh.j2",
        ),
        TORQUE,
    ),
    "container": (CONTAINED, RUN),
    "saving": (SAVING, RUN),
}


def chunk_of(settings, run=RUN, tasks=TASKS):
    renderer = TaskRenderer(settings, NAMES, run)
    return render_chunks(renderer.render(task, REQUEST, 2, position) for position, task in enumerate(tasks))[0]


def script_of(settings, run=RUN, runner=STAND_IN_RUNNER, **changes):
    facts = ScriptFacts(
        run=run,
        tag="digits-0f3c-001",
        array=1,
        positions=2,
        chunk_size=64,
        chunk_hashes=[chunk_hash(chunk_of(settings, run))],
        request=REQUEST,
        kill_wait_s=30,
        names=NAMES,
        directives={"slurm": DIRECTIVES, "pbs": PBS_DIRECTIVES, "torque": TORQUE_DIRECTIVES}.get(run.scheduler, ()),
        starts_bare=run.scheduler in ("pbs", "torque"),
        enforces_time_limit=run.scheduler in ("pbs", "torque"),
        total=2,
    )
    return render_script(settings, replace(facts, **changes), runner=runner, read_template=read_template)


def golden_texts():
    """File name -> text, for every golden file."""
    texts = {}
    for name, (settings, run) in CASES.items():
        texts[f"{name}.sh"] = script_of(settings, run)
        texts[f"{name}-tasks.sh"] = (
            "# shellcheck shell=bash disable=SC2034,SC2154,SC2317,SC2016,SC1003 # data, and read by others\nblocks() {\n"
            + chunk_of(settings, run)
            + "}\n"
        )
    return texts
