"""What a sweep file says about scripts, folders, environment and resources, as the tasks on the real Slurm find it."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from life import Life, Site

pytestmark = pytest.mark.slurm

QUEUE = 'squeue --noheader --jobs="${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" --format="%l|%m|%k|%C"'
SWEEPS = {
    "extended": f"""
        command: echo "$FROM_TEMPLATE $FROM_SETUP"; {QUEUE}
        space: {{x: [1, 2]}}
        template: extended.sh.j2
        setup: export FROM_SETUP=two
        resources: {{time: 5m, memory: 20M}}
        """,
    "plain": f"""
        command: echo "$FROM_SCRIPT {{{{ x }}}}"; {QUEUE}
        space: {{x: [1, 2]}}
        template: plain.sh
        """,
    "setup": """
        command: echo never
        space: {x: [1, 2]}
        setup: |
          echo "there is no such module"
          (exit 7)
        teardown: echo torn down
        resources: {time: 5m, memory: 20M}
        """,
    "container": """
        command: echo never
        space: {x: 1}
        container: {image: x.sif, runtime: singularity}
        resources: {time: 5m, memory: 20M}
        """,
    "carried": """
        command: [env, -0]
        space: {x: 1}
        env: {CPUS: "{{ resources.cpus }}", WEIRD: "a b'$(touch pwned)"}
        resources: {time: 5m, memory: 20M, cpus: 3}
        """,
    "clean": """
        command: [env, -0]
        space: {x: 1}
        env_from: clean
        resources: {time: 5m, memory: 20M}
        """,
    "ranks": """
        command: srun bash -c 'echo "$SLURM_NTASKS $HPCSWEEP_TASK $HPCSWEEP_PARAM_x $HPCSWEEP_MASTER_PORT" >"$HPCSWEEP_TASK_DIR/rank-$SLURM_PROCID"'
        space: {x: [5, 6]}
        resources: {time: 5m, memory: 50M, nodes: 2, tasks_per_node: 2, cpus: 1}
        """,
    "gpus": """
        command: sleep 2; echo "$CUDA_VISIBLE_DEVICES"
        space: {x: [1, 2]}
        resources: {time: 5m, memory: 20M, gpus: 2, gpu_type: fake, cpus: 1}
        slurm: {nodelist: n2}
        """,
    "files": """
        command: cat; cat input.nml linked/facts; pwd
        space: {x: [1, "a 'b' $(touch pwned)"]}
        workdir: task
        files: {input.nml: input.j2}
        stdin: |
          x is {{ x }}
        link: [linked]
        resources: {time: 5m, memory: 20M}
        """,
    "masked": """
        command: echo "x = 1" >"$HPCSWEEP_TASK_DIR/a.metrics"; umask
        space: {x: 1}
        umask: "007"
        resources: {time: 5m, memory: 20M}
        """,
    "requests": """
        command: 'true'
        space: {x: [1, 2, 3, 4]}
        resources: {time: 5m, cpus: "{{ 1 if x < 3 else 2 }}", memory: "{{ 10 * x }}M"}
        """,
}
FILES = {
    "extended.sh.j2": """\
        {% extends "slurm.sh.j2" %}
        {% block directives %}
        {{ super() }}
        #SBATCH --comment=extended
        {% endblock %}
        {% block setup %}
        export FROM_TEMPLATE=one
        {{ super() }}
        {% endblock %}
        """,
    "plain.sh": """\
        #!/bin/bash
        #SBATCH --time=7
        #SBATCH --mem=33M --comment=plain
        #SBATCH --job-name=not-this --output=/nowhere/%j
        export FROM_SCRIPT="${SLURM_ARRAY_TASK_ID} of mine"
        {{ hpcsweep }}
        echo after >>after-plain
        """,
    "input.j2": "x = {{ x }}, run {{ hpcsweep.run }}\n",
}


@pytest.fixture(scope="module")
def runs(users_site: Site) -> dict[str, Life]:
    """All of them under way at once."""
    for name, text in FILES.items():
        users_site.write(name, text)
    (users_site.folder / "linked").mkdir()
    users_site.write("linked/facts", "facts\n")
    return {name: users_site.submit(name, text, MY_OWN="comes along", LANG="C.UTF-8") for name, text in SWEEPS.items()}


@pytest.fixture
def ended(runs: dict[str, Life]) -> Callable[[str], Life]:
    def wait(name: str) -> Life:
        runs[name].await_end()
        assert (runs[name].path / "arrays/001/elements.log").read_text() == ""
        return runs[name]

    return wait


def environ_of(run: Life) -> dict[str, str]:
    return dict(line.split("=", 1) for line in run.log(0).split("\0") if "=" in line)


def test_a_template_that_extends_ours(ended):
    run = ended("extended")
    assert run.states() == ["done", "done"]
    for task in (0, 1):
        assert run.log(task) == "one two\n5:00|20M|extended|1\n"


def test_a_users_own_script(ended):
    run = ended("plain")
    assert run.states() == ["done", "done"]
    for task in (0, 1):
        assert run.log(task) == f"{task} of mine {task + 1}\n7:00|33M|plain|1\n"
    assert (run.site.folder / "after-plain").read_text() == "after\nafter\n"


def test_a_script_without_the_mark_is_refused(users_site):
    users_site.write("unmarked.sh", "#!/bin/bash\necho nothing\n")
    users_site.write("unmarked.yaml", "command: echo\nspace: {x: 1}\ntemplate: unmarked.sh\n")
    said = users_site.hpcsweep("submit", "unmarked.yaml", "--name", "unmarked", code=1).stderr
    assert "{{ hpcsweep }}" in said
    assert not (users_site.folder / "runs/unmarked").exists()


def test_a_setup_that_fails_is_the_tasks_failure(ended):
    run = ended("setup")
    for task in run.tasks():
        assert (task["state"], task["exit_code"], task["source"]) == ("failed", 7, "task")
        assert "setup" in task["reason"]
        assert "there is no such module" in run.log(task["index"])
        assert "never" not in run.log(task["index"])
    assert "there is no such module" in run.hpcsweep("status").stdout


def test_a_container_that_cannot_be(ended):
    run = ended("container")
    assert (run.task(0)["state"], run.task(0)["exit_code"]) == ("failed", 127)
    assert "singularity" in run.log(0)
    assert "never" not in run.log(0)


def test_the_environment_comes_along(ended):
    environ = environ_of(ended("carried"))
    assert environ["CPUS"] == "3"
    assert environ["WEIRD"] == "a b'$(touch pwned)"
    assert environ["MY_OWN"] == "comes along"
    assert environ["HPCSWEEP_PARAM_x"] == "1"
    assert environ["PYTHONUNBUFFERED"] == "1"
    assert environ["SLURM_CONF"]
    assert environ["HPCSWEEP_ATTEMPT"] == "1"
    assert environ["HPCSWEEP_RESTART"] == "0"
    assert not [name for name in environ if name.startswith(("hpcsweep_", "BASH_FUNC_hpcsweep"))]


def test_a_clean_environment(ended):
    environ = environ_of(ended("clean"))
    assert "MY_OWN" not in environ
    assert "PYTHONPATH" not in environ
    assert environ["PATH"]
    assert environ["HPCSWEEP_TASK"] == "0"


def test_ranks_on_two_nodes(ended):
    run = ended("ranks")
    assert run.states() == ["done", "done"], run.log(0)
    ports = set()
    for task in (0, 1):
        said = [(run.path / f"tasks/{task:06d}/rank-{rank}").read_text().split() for rank in range(4)]
        assert [words[:3] for words in said] == [["4", str(task), str(5 + task)]] * 4
        assert len({words[3] for words in said}) == 1
        ports.add(said[0][3])
    assert len(ports) == 2


def test_gpus(ended):
    run = ended("gpus")
    assert run.states() == ["done", "done"]
    assert {run.log(task).strip() for task in (0, 1)} <= {"0,1", "2,3", "0,2", "1,3"}
    assert run.log(0) != run.log(1)


def test_files_links_and_standard_input(ended):
    run = ended("files")
    assert run.states() == ["done", "done"], run.log(0)
    for task, value in enumerate(["1", "a 'b' $(touch pwned)"]):
        folder = run.path / f"tasks/{task:06d}"
        assert run.log(task) == f"x is {value}\nx = {value}, run files\nfacts\n{folder}\n"
        assert (folder / "linked").is_symlink()
    assert not list(run.site.folder.rglob("pwned"))


def test_a_umask_for_a_group(ended):
    run = ended("masked")
    assert run.log(0) == "0007\n"
    for path in [run.path, *run.path.rglob("*")]:
        assert stat.S_IMODE(path.lstat().st_mode) & 0o007 == 0, path
        if path.is_dir():
            assert stat.S_IMODE(path.lstat().st_mode) & 0o070 == 0o070, path


def test_one_array_for_each_request(ended):
    run = ended("requests")
    status = run.status()
    assert status["counts"] == {"done": 4}
    assert [array["size"] for array in status["arrays"]] == [1] * 4
    scripts = [(run.path / f"arrays/{number:03d}/script.sh").read_text() for number in range(1, 5)]
    asked = [sorted(re.findall(r"^#SBATCH --(mem|cpus-per-task)=(\S+)$", text, re.MULTILINE)) for text in scripts]
    assert [dict(pairs)["mem"] for pairs in asked] == ["10M", "20M", "30M", "40M"]
    assert [dict(pairs)["cpus-per-task"] for pairs in asked] == ["1", "1", "2", "2"]


HOSTILE_NAME = "a b  c'd\"e\nf\\g%j%%h$(touch pwned)`touch pwned`;&*?[x]#~é✓"
HOSTILE = """
command: cat input.txt; echo "{{ x }}"; echo "y = 1" >"$HPCSWEEP_TASK_DIR/a.metrics"
workdir: task
space: {x: [1, 2]}
files: {input.txt: "in put.j2"}
link: ["in put.j2"]
template: "tem plate.j2"
setup: test -e "$HPCSWEEP_RUN_DIR/run.json"
resources: {time: 5m, memory: 20M}
"""


@pytest.mark.parametrize("scheduler", ["slurm", "local"])
def test_folders_with_names_that_hurt(any_site, scheduler):
    folder = any_site.folder / f"{HOSTILE_NAME}-{scheduler}"
    any_site.run(["mkdir", str(folder)])
    site = replace(any_site, folder=folder)
    site.write("in put.j2", "x is {{ x }}\n")
    site.write("tem plate.j2", f'{{% extends "{scheduler}.sh.j2" %}}\n')
    site.write("sweep.yaml", HOSTILE)
    runs_dir = f"runs {HOSTILE_NAME}"
    set_it = "runs_dir=" + json.dumps(runs_dir, ensure_ascii=False)
    site.hpcsweep("submit", "sweep.yaml", "--name", "x", "--scheduler", scheduler, "--set", set_it)
    path = folder / runs_dir / "x"
    assert path.is_dir()
    run = Life(site=site, name=str(path), runs_dir=runs_dir)
    status = run.await_end()
    assert status["counts"] == {"done": 2}
    assert status["path"] == str(path)
    assert (path / "tasks/000001/attempt-1.log").read_text() == "x is 2\n2\n"
    assert (path / "arrays/001/elements.log").read_text() == ""
    assert [row["x"] + row["y"] for row in json.loads(run.hpcsweep("collect", "--json").stdout)] == [2, 3]
    assert "x is 2" in run.hpcsweep("logs", "1").stdout
    assert not list(any_site.folder.rglob("pwned"))
    assert not Path("pwned").exists()
    run.hpcsweep("rm")
    assert not path.exists()
