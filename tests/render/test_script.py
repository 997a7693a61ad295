"""Job scripts: whole golden files, shellcheck, user templates, and one run of everything through bash."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise

import pytest
from samples import (
    CASES,
    CONTAINED,
    DIRECTIVES,
    EXTENDING,
    FULL,
    GOLDEN,
    LOCAL,
    NAMES,
    REQUEST,
    SETTINGS,
    golden_texts,
    script_of,
)

from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Container, Task
from hpcsweep.render.chunks import chunk_hash, render_chunks
from hpcsweep.render.container import contained, container_function
from hpcsweep.render.directives import add_directives, parse_directive
from hpcsweep.render.task import TaskRenderer
from hpcsweep.render.templates import TEMPLATES, read_runner, read_template


@pytest.mark.parametrize("name", sorted(golden_texts()))
def test_golden(name):
    assert golden_texts()[name] == (GOLDEN / name).read_text(encoding="utf-8"), (
        "python tests/render/regenerate.py writes it anew"
    )


def test_no_golden_file_is_left_over():
    assert {path.name for path in GOLDEN.iterdir()} == set(golden_texts())


@pytest.fixture
def shellcheck():
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("NO SHELLCHECK: the rendered scripts are not checked; install shellcheck")

    def check(*paths):
        done = subprocess.run([program, *paths], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout

    return check


def test_shellcheck_of_every_golden_file(shellcheck):
    shellcheck(*sorted(GOLDEN.glob("*.sh")))


@pytest.mark.parametrize("name", sorted(CASES))
def test_shellcheck_of_whole_scripts(shellcheck, tmp_path, name):
    settings, run = CASES[name]
    path = tmp_path / "script.sh"
    path.write_text(script_of(settings, run, runner=read_runner()))
    shellcheck(path)


def test_bash_has_read_the_script_before_it_runs():
    script = script_of(SETTINGS)
    assert script.rstrip().endswith('exit "$hpcsweep_status"\n}')


@pytest.mark.parametrize(
    ("template", "message", "hint"),
    [
        ("#!/bin/bash\necho\n", "does not say where the tasks run", "{{ hpcsweep }}"),
        ("#!/bin/bash\n{{ hpcsweep }}\n{{ hpcsweep }}\n", "2 times", "one"),
        ("#!/bin/bash\nsrun {{ hpcsweep }}\n", "on a line of its own", "{{ hpcsweep }}"),
        ("{{ hpcsweep }}\n", "begins with `#!/bin/bash`", "first line"),
        ("#!/bin/tcsh\n{{ hpcsweep }}\n", "need bash", "#!/bin/bash"),
        ("#!/bin/sh\n{{ hpcsweep }}\n", "need bash", "#!/bin/bash"),
        ("#!/bin/bash\necho {{ lr }}\n{{ hpcsweep }}\n", "my.sh:2: `lr` is a parameter", "HPCSWEEP_PARAM"),
        ("#!/bin/bash\necho {{ params | flags }}\n{{ hpcsweep }}\n", "`params` is a parameter", "command"),
        ("#!/bin/bash\necho {{ lrr }}\n{{ hpcsweep }}\n", "'lrr' is undefined", "resources"),
        ("#!/bin/bash\necho {{ resources.gpus }}\n{{ hpcsweep }}\n", "no `gpus`", "cpus"),
        ("#!/bin/bash\necho {{ hpcsweep.nmae }}\n{{ hpcsweep }}\n", "no `nmae`", "run"),
        ("#!/bin/bash\n{% if %}\n{{ hpcsweep }}\n", "my.sh:2: this is not understood", "raw"),
        ("#!/bin/bash\necho {{ resources.cpus | foo }}\n{{ hpcsweep }}\n", "no filter `foo`", ""),
        ('{% extends "slrm.sh.j2" %}', "no template 'slrm.sh.j2'", "slurm.sh.j2"),
        ('{% extends "slurm.sh.j2" %}{% block task %}true{% endblock %}', "no place for the tasks", "super()"),
        (
            "#!/bin/bash\n#SBATCH --time=30\n{{ hpcsweep }}\n",
            "`#SBATCH --time=30`.*`#SBATCH --time=0-02:00:00`",
            "one of the two",
        ),
        ("#!/bin/bash\n#SBATCH -p long\n{{ hpcsweep }}\n", "`#SBATCH -p long`.*partition=short", "one of the two"),
    ],
)
def test_templates_that_cannot_be(template, message, hint):
    with pytest.raises(HpcsweepError, match=message) as caught:
        script_of(replace(SETTINGS, template=template, template_path="my.sh"))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "first", ["#!/bin/bash", "#!/usr/bin/bash -l", "#! /bin/bash", "#!/usr/bin/env bash", "#!/usr/bin/env -S bash -l"]
)
def test_first_lines_that_are_fine(first):
    assert script_of(replace(SETTINGS, template=f"{first}\n{{{{ hpcsweep }}}}\n")).startswith(first)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [("setup", "echo {{ lr }}", "`setup` uses the parameter `lr`"), ("teardown", "echo '{{ x", "teardown:")],
)
def test_setup_and_teardown_see_no_parameters(key, text, message):
    with pytest.raises(HpcsweepError, match=message):
        script_of(replace(SETTINGS, **{key: text}))


def test_the_header_holds_what_the_runner_needs():
    script = script_of(replace(SETTINGS, workdir="sub/../x"), LOCAL, enforces_time_limit=True, condition="ended", watch_s=1)
    assert "hpcsweep_workdir='/home/it'\\''s me/x'\n" in script
    assert "hpcsweep_enforce_time_limit=1\n" in script
    assert "hpcsweep_condition='ended'\n" in script
    assert "hpcsweep_watch_s=1\n" in script
    assert "#SBATCH" not in script
    assert "hpcsweep_time_limit_s=\n" in script_of(SETTINGS, request=replace(REQUEST, time_limit_s=None))


def test_the_environment_comes_before_anything_else(shellcheck, tmp_path):
    script = script_of(replace(SETTINGS, template="#!/bin/bash\n# about\n{{ hpcsweep }}\n"), runner=read_runner())
    assert script.index("environment.sh") < script.index("hpcsweep_run_element() {")
    path = tmp_path / "script.sh"
    path.write_text(script)
    shellcheck(path)


class TestDirectives:
    def test_equal_ones_are_not_repeated(self):
        script = "#!/bin/bash\n#SBATCH -t 2:00:00\n#SBATCH --mem 8G -c4\n#SBATCH --partition=short\n\necho\n#SBATCH --time=1\n"
        assert add_directives(script, list(DIRECTIVES), "#SBATCH", "my.sh") == script

    def test_ours_go_below_the_last_of_theirs(self):
        script = "#!/bin/bash\n# about\n#SBATCH --constraint=a\n\n# more\necho\n"
        result = add_directives(script, ["#SBATCH --mem=1M"], "#SBATCH", "my.sh")
        assert result == "#!/bin/bash\n# about\n#SBATCH --constraint=a\n#SBATCH --mem=1M\n\n# more\necho\n"

    def test_ours_go_below_the_first_line_when_there_are_none(self):
        assert (
            add_directives("#!/bin/bash\necho\n", ["#SBATCH --mem=1M"], "#SBATCH", "my.sh")
            == "#!/bin/bash\n#SBATCH --mem=1M\necho\n"
        )

    @pytest.mark.parametrize(
        ("line", "options"),
        [
            ("#SBATCH --time=1:00", [("time", "1:00")]),
            ("#SBATCH -t 1:00 -N2 --exclusive # all", [("time", "1:00"), ("nodes", "2"), ("exclusive", "")]),
            ("#SBATCH --comment='a b'", [("comment", "a b")]),
            ("#SBATCH --comment=it's", [("comment", "it's")]),
            ("#SBATCH -Jname", [("J", "name")]),
            ("#SBATCH", []),
        ],
    )
    def test_options_of_a_line(self, line, options):
        assert parse_directive(line, "#SBATCH") == options


class TestTemplates:
    @pytest.mark.parametrize("name", TEMPLATES)
    def test_ours_are_there(self, name):
        assert read_template(name)

    def test_others_are_not(self):
        with pytest.raises(HpcsweepError, match=r"no template 'slurm\.sh'") as caught:
            read_template("slurm.sh")
        assert "slurm.sh.j2" in caught.value.hint


HOSTILE = {"lr": -1e-05, "layers": [1, "a b"], "note": "a'b\"c $(touch pwned) `touch pwned`;\n*\\é-x\r"}
PROGRAM = (
    "python3 -c 'import json, os, sys; "
    'json.dump({"argv": sys.argv[1:], "env": dict(os.environ), "stdin": sys.stdin.read(), "cwd": os.getcwd()}, '
    'open(os.environ["HPCSWEEP_TASK_DIR"] + "/out.json", "w"))\' {{ params | flags }}'
)


@pytest.fixture
def run_script(tmp_path):
    """Lays out a run of one task in a folder with a hostile name, runs its script, and gives what the program saw."""
    root = tmp_path / 'it\'s a "run" é $x'
    array = root / "arrays" / "001"
    for folder in (array / "events", array / "tasks", root / "tasks"):
        folder.mkdir(parents=True)
    (root / "run.json").write_text(json.dumps({"uid": "0f3c"}))
    (root / "environment.sh").write_text("export FROM_SUBMIT=1 LAYER=submit\n")
    work = tmp_path / "work"
    work.mkdir()
    facts = replace(LOCAL, run_dir=str(root), cwd=str(work))

    def run(settings, path=""):
        block = TaskRenderer(settings, NAMES, facts).render(Task(index=0, id="0" * 16, params=HOSTILE), REQUEST, 1, 0)
        (chunk,) = render_chunks([block])
        (array / "tasks" / "0000.sh").write_text(chunk)
        script = script_of(settings, facts, runner=read_runner(), chunk_hashes=[chunk_hash(chunk)], positions=1, total=1)
        (array / "script.sh").write_text(script)
        done = subprocess.run(
            ["bash", array / "script.sh"],
            cwd=work,
            env={"PATH": f"{path}:{os.environ['PATH']}", "HPCSWEEP_ELEMENT": "0", "HPCSWEEP_JOB": "7_0"},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        task = root / "tasks" / "000000"
        log = (task / "attempt-1.log").read_text()
        assert list(work.iterdir()) == []
        outcome = sorted(path.name for path in (array / "events").iterdir() if path.name.count(".") > 1)
        out = task / "out.json"
        return done, log, outcome, json.loads(out.read_text()) if out.exists() else None

    return run


def test_a_whole_script_runs(run_script):
    settings = replace(
        FULL,
        command=PROGRAM,
        setup="export LAYER=setup",
        teardown="echo bye",
        link=(),
        env={"CPUS": "{{ resources.cpus }}", "QUOTE": "it's $HOME"},
    )
    done, log, outcome, seen = run_script(settings)
    assert done.returncode == 0, log
    assert done.stderr == ""
    assert "bye" in log
    assert [name.rpartition(".")[0] for name in outcome] == ["0.1.done.0"]
    assert seen["argv"] == ["--lr=-1e-05", "--layers", "1", "a b", "--note", HOSTILE["note"]]
    assert seen["stdin"] == HOSTILE["note"] + "\n"
    environment = seen["env"]
    assert environment["HPCSWEEP_PARAM_note"] == HOSTILE["note"]
    assert environment["CPUS"] == "4"
    assert environment["QUOTE"] == "it's $HOME"
    assert environment["LAYER"] == "setup"
    assert environment["FROM_SUBMIT"] == "1"
    assert seen["cwd"].endswith("/tasks/000000")


@pytest.mark.parametrize(
    "template",
    [
        "#!/bin/bash\n#SBATCH -t 1\nset -euo pipefail\nexport LAYER=script\n{{ hpcsweep }}\necho after\n",
        EXTENDING.replace("module", ":")
        .replace("nvidia-smi", "echo teared")
        .replace('echo "before', 'export LAYER=script; echo "before'),
    ],
)
def test_a_user_s_own_script_runs(run_script, template):
    done, log, outcome, seen = run_script(replace(SETTINGS, command=PROGRAM, template=template, template_path="my.sh"))
    assert done.returncode == 0, done.stderr
    assert seen["env"]["LAYER"] == "script"
    assert seen["env"]["FROM_SUBMIT"] == "1"
    assert [name.rpartition(".")[0] for name in outcome] == ["0.1.done.0"]
    assert ("after" in done.stdout) == template.startswith("#!")
    assert ("teared" in log) != template.startswith("#!")


@pytest.mark.parametrize("setup", ["exit 3", "false", "if", "( exit 3 )", "set -e; false; true"])
def test_a_setup_that_fails_is_the_task_s_failure(run_script, setup):
    done, _log, outcome, seen = run_script(replace(SETTINGS, command=PROGRAM, setup=setup))
    assert done.returncode == 1
    assert seen is None
    assert outcome[0].startswith("0.1.setup.")


class TestContainer:
    @pytest.fixture
    def runtime(self, tmp_path):
        """A runtime that notes its words and runs what comes after the image."""

        def make(name):
            folder = tmp_path / "bin"
            folder.mkdir(exist_ok=True)
            program = folder / name
            program.write_text(
                f'#!/bin/bash\nprintf "%s\\0" {name} "$@" >"$HPCSWEEP_TASK_DIR/words"\nwhile [[ $1 != *x.sif ]]; do shift; done\nshift\nexec "$@"\n'
            )
            program.chmod(0o755)
            return str(folder)

        return make

    def words(self, tmp_path):
        (path,) = tmp_path.glob("it's*/tasks/000000/words")
        return path.read_text().split("\0")[:-1]

    @pytest.mark.parametrize(
        "command", [PROGRAM, ("bash", "-c", PROGRAM.replace("{{ params | flags }}", '"$@"'), "_", "{{ params | flags }}")]
    )
    def test_apptainer(self, run_script, runtime, tmp_path, command):
        runtime("docker")
        done, log, _outcome, seen = run_script(replace(CONTAINED, command=command), runtime("apptainer"))
        assert done.returncode == 0, log
        assert seen["argv"][-1] == HOSTILE["note"]
        words = self.words(tmp_path)
        assert words[:4] == ["apptainer", "exec", "--pwd", str(tmp_path / "work")]
        assert "--nv" in words
        binds = [word for before, word in pairwise(words) if before == "--bind"]
        assert binds[1:] == [str(tmp_path / "work"), "/tmp", f"{tmp_path}/work/data:/data", "/scratch"]  # noqa: S108 the default TMPDIR
        assert str(tmp_path / "work" / "x.sif") in words

    def test_docker(self, run_script, runtime, tmp_path):
        settings = replace(CONTAINED, command=PROGRAM, container=Container(image="x.sif", runtime="docker"))
        done, log, _outcome, seen = run_script(settings, runtime("docker"))
        assert done.returncode == 0, log
        assert seen["argv"][-1] == HOSTILE["note"]
        words = self.words(tmp_path)
        assert words[:3] == ["docker", "run", "--rm"]
        assert "--gpus" not in words
        variables = {word for before, word in pairwise(words) if before == "--env"}
        assert {"A", "HPCSWEEP_PARAM_note", "HPCSWEEP_TASK_DIR", "PYTHONUNBUFFERED"} <= variables

    def test_a_runtime_that_is_not_there_is_said(self, run_script):
        settings = replace(CONTAINED, container=Container(image="x.sif", runtime="singularity"))
        if shutil.which("singularity"):
            pytest.skip("SINGULARITY IS INSTALLED: its absence cannot be tested here")
        done, log, outcome, _seen = run_script(settings)
        assert done.returncode == 1
        assert "needs singularity" in log
        assert outcome[0].startswith("0.1.setup.127")

    def test_paths_that_cannot_be_bound(self):
        with pytest.raises(HpcsweepError, match="cannot be bound"):
            container_function(Container(image="x"), "/a:b", "/c")

    def test_a_list_of_words_is_not_read_by_a_shell(self):
        assert contained(("run", "a b"), ["A"]) == "hpcsweep_contain A -- 'run' 'a b'"
