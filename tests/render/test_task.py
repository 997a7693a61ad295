"""Task records, read by a real bash as the runner reads them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import FULL, NAMES, REQUEST, RUN, SETTINGS, TASKS, chunk_of

from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Finally, Request, Stage, Task
from hpcsweep.render.chunks import chunk_hash, render_chunks
from hpcsweep.render.environment import param_variable, param_variables
from hpcsweep.render.task import TaskRenderer, check_target

# Does what the runner does with a chunk, and prints all that came of it, NUL-separated.
READER = r"""
hpcsweep_write_file() { printf 'file\0%s\0%s\0' "$1" "$2"; }
hpcsweep_link() { printf 'link\0%s\0%s\0' "$1" "$2"; }
read_chunk() { local LC_ALL=C; eval "$chunk"; }
IFS= read -r -d '' chunk
read_chunk || exit
printf '%s\0' "$hpcsweep_task" "$hpcsweep_attempt" "$hpcsweep_point" "$hpcsweep_params"
printf '%s\0' "${hpcsweep_command-}" "${hpcsweep_argv[@]}" end
printf '%s\0' "${hpcsweep_stdin-none}"
hpcsweep_files
printf 'env\0'
hpcsweep_env
exec env -0
"""


def read_chunk(chunk, position, environment=None):
    done = subprocess.run(
        ["bash", "-c", f"hpcsweep_position={position}\n{READER}"],
        input=chunk.encode() + b"\0",
        check=True,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", **(environment or {})},
        timeout=60,
    )
    assert done.stderr == b""
    parts = done.stdout.decode().split("\0")
    end, env = parts.index("end"), parts.index("env")
    return {
        "task": parts[:3],
        "params": parts[3],
        "command": parts[4],
        "argv": parts[5:end],
        "stdin": parts[end + 1],
        "inputs": parts[end + 2 : env],
        "env": dict(part.split("=", 1) for part in parts[env + 1 :] if part),
    }


def renderer(settings_, names=NAMES, run=RUN):
    return TaskRenderer(settings_, names, run)


def test_bash_gives_back_the_whole_record():
    record = read_chunk(chunk_of(FULL), 0, {"GONE": "x"})
    params = TASKS[0].params
    assert record["task"] == ["41", "2", "8f3a2b1c00aa11bb"]
    assert json.loads(record["params"]) == params
    assert record["command"] == "echo 0.1 |\n  tee 'it'\\''s\n$(touch x) é'.txt"
    assert record["argv"] == []
    assert record["stdin"] == params["note"] + "\n"
    assert record["inputs"] == [
        *("file", "deck/0.1.nml", "lr = 0.1\nlayers = [64,64]\n"),
        *("link", "/home/it's me/data", "data"),
        *("link", "/abs/other", "other"),
    ]
    environment = record["env"]
    assert environment["HPCSWEEP_PARAM_lr"] == "0.1"
    assert environment["HPCSWEEP_PARAM_layers"] == "[64,64]"
    assert environment["HPCSWEEP_PARAM_note"] == params["note"]
    assert environment["OMP_NUM_THREADS"] == "4"
    assert environment["WHO"] == "it's me"
    assert "GONE" not in environment


def test_each_position_has_its_own_record():
    record = read_chunk(chunk_of(SETTINGS), 1)
    assert record["task"] == ["42", "2", "1111111111111111"]
    assert record["command"] == "python train.py --lr=-1e-05 --layers --note ''"
    assert record["stdin"] == "none"
    assert record["inputs"] == []


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@given(st.lists(texts, min_size=1, max_size=5), st.sampled_from(["C", "C.UTF-8", "POSIX"]))
@settings(deadline=None, max_examples=40)
def test_any_text_comes_back_byte_for_byte(values, locale):
    names = tuple(f"p{number}" for number in range(len(values)))
    point = dict(zip(names, values, strict=True))
    command = ("run", *(f"{{{{ {name} }}}}" for name in names))
    sweep = replace(SETTINGS, command=command, files={"f": "".join(f"{{{{ {name} }}}}" for name in names)}, stdin="{{ p0 }}")
    block = renderer(sweep, names).render(Task(index=0, id="0" * 16, params=point), REQUEST, 1, 0)
    record = read_chunk(block, 0, {"LC_ALL": locale})
    assert record["argv"] == ["run", *values]
    assert json.loads(record["params"]) == point
    assert record["inputs"] == ["file", "f", "".join(values)]
    assert record["stdin"] == values[0]
    assert {name: record["env"][param_variable(name)] for name in names} == point


def test_large_values_reach_the_command_and_too_large_ones_not_the_environment():
    point = {"a": "é" * 51_200, "b": "x" * 200_000}
    sweep = replace(SETTINGS, command=("run", "{{ a }}"))
    record = read_chunk(renderer(sweep, ("a", "b")).render(Task(index=0, id="0" * 16, params=point), REQUEST, 1, 0), 0)
    assert record["argv"] == ["run", point["a"]]
    assert json.loads(record["params"]) == point
    assert record["env"]["HPCSWEEP_PARAM_a"] == point["a"]
    assert "HPCSWEEP_PARAM_b" not in record["env"]


def test_many_large_values_still_leave_a_program_that_starts():
    names = tuple(f"p{number}" for number in range(30))
    point = dict.fromkeys(names, "x" * 100_000)
    record = read_chunk(
        renderer(replace(SETTINGS, command="true"), names).render(Task(index=0, id="0" * 16, params=point), REQUEST, 1, 0), 0
    )
    assert record["env"]["HPCSWEEP_PARAM_p0"] == point["p0"]


class TestFacts:
    def command(self, text, **request):
        return renderer(replace(SETTINGS, command=text)).command(TASKS[0], Request(**request))

    def test_of_the_task_the_run_and_the_resources(self):
        assert self.command("run {{ task.index }} {{ task.id }} {{ task.attempt }}") == "run 41 8f3a2b1c00aa11bb 1"
        assert self.command("{{ task.dir }}") == "'/scratch/it'\\''s me/runs/run-03/tasks/000041'"
        assert self.command("{{ hpcsweep.run }} {{ hpcsweep.version }}") == "run-03 1.2.3"
        assert (
            self.command(
                "run {{ resources.cpus }} {{ resources.memory }} {{ resources.time_s }}",
                cpus=4,
                memory_bytes=8 << 30,
                time_limit_s=60,
            )
            == "run 4 8G 60"
        )

    def test_what_is_not_asked_for_is_not_there(self):
        assert self.command("run {{ resources.gpus | default(0) }}") == "run 0"
        with pytest.raises(HpcsweepError, match="no `gpus`"):
            self.command("{{ resources.gpus }}", cpus=1)


def test_the_finally_command_has_no_parameters():
    sweep = replace(FULL, finally_=Finally(command="summary {{ hpcsweep.run }} {{ resources.cpus }}"))
    record = read_chunk(renderer(sweep).render_finally(REQUEST, 3), 0)
    assert record["task"] == ["finally", "3", ""]
    assert record["params"] == "{}"
    assert record["command"] == "summary run-03 4"
    assert record["inputs"] == []
    assert record["env"]["OMP_NUM_THREADS"] == "4"
    with pytest.raises(HpcsweepError, match="no parameter `lr`"):
        renderer(replace(FULL, finally_=Finally(command="{{ lr }}")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": {"A": "{{ lr }}"}}, "`env.A` uses the parameter `lr`"),
        ({"env": {"A": "{{ x }}"}}, "no parameter `x`"),
        ({"files": {"a": "{{ x }}"}}, "no parameter `x`"),
        ({"files": {"../a": "b"}}, "not inside the task's folder"),
        ({"stdin": "{{ x }}"}, "stdin: there is no parameter `x`"),
        ({"command": "run '{{ lr }}"}, "command: a single quote"),
        ({"stage": Stage(inputs=("{{ x }}",))}, "stage: there is no parameter `x`"),
    ],
)
def test_faults_of_the_sweep_are_found_once(changes, message):
    with pytest.raises(HpcsweepError, match=message):
        renderer(replace(SETTINGS, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": {"{{ note }}": "x"}}, "task 42: .*not inside the task's folder"),
        ({"command": "run {{ layers[0] }}"}, "task 42: .*no item"),
        ({"stage": Stage(inputs=("{{ note }}",))}, "task 42: stage.in: '' gives no name"),
        ({"stage": Stage(outputs=("a/{{ '..' if lr < 0 else '' }}/../b",))}, "task 42: stage.out: .* is not below"),
        ({"command": ("{{ note }}",)}, "task 42: the command comes to no word"),
        ({"env": {"A": "{{ resources.gpus }}"}}, "task 42: env: there is no `gpus`"),
    ],
)
def test_faults_of_a_point_name_the_task(changes, message):
    with pytest.raises(HpcsweepError, match=message):
        renderer(replace(SETTINGS, **changes)).render(TASKS[1], REQUEST, 1, 0)


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "..", "../x", "a/../../x", ".", "a/", "params.json", "./params.json", "attempt-1.log"]
)
def test_files_stay_in_the_task_s_folder(path):
    with pytest.raises(HpcsweepError):
        check_target(path)


@pytest.mark.parametrize(
    ("path", "plain"), [("a", "a"), ("a/b c/d", "a/b c/d"), ("./a//b", "a/b"), ("..a", "..a"), ("-x", "-x")]
)
def test_paths_inside_are_fine(path, plain):
    assert check_target(path) == plain


def test_variables_of_parameters():
    assert param_variables(["lr", "model.lr-decay", "A/b"]) == {
        "lr": "HPCSWEEP_PARAM_lr",
        "model.lr-decay": "HPCSWEEP_PARAM_model_lr_decay",
        "A/b": "HPCSWEEP_PARAM_A_b",
    }
    with pytest.raises(HpcsweepError, match="HPCSWEEP_PARAM_a_b"):
        param_variables(["a.b", "a-b"])


@given(st.integers(0, 40), st.integers(1, 9))
def test_chunks_hold_the_positions_in_order(count, size):
    blocks = [f"block {number}\n" for number in range(count)]
    chunks = render_chunks(blocks, size)
    assert "".join(chunks) == "".join(blocks)
    assert len(chunks) == -(-count // size)
    assert all(chunks[number // size].count(block) == 1 for number, block in enumerate(blocks))


def test_the_hash_is_that_of_sha256sum():
    text = "a'é\n"
    done = subprocess.run(["sha256sum"], input=text.encode(), check=True, capture_output=True)
    assert done.stdout.decode().split()[0] == chunk_hash(text)
