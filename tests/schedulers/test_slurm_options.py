"""``#SBATCH`` lines, and what cannot become one."""

from __future__ import annotations

import pytest

from hpcsweep.model import Request
from hpcsweep.schedulers.slurm import Slurm

SLURM = Slurm()


def lines(request: Request | None = None, **options) -> list[str]:
    return [line.removeprefix("#SBATCH --") for line in SLURM.directives(request or Request(), options)]


def messages(request: Request | None = None, **options) -> list[str]:
    return [
        f"{problem.option}: {problem.message} ({problem.hint})" for problem in SLURM.problems(request or Request(), options)
    ]


def test_nothing_asked_is_nothing_said():
    assert SLURM.directives(Request(), {}) == []
    assert SLURM.problems(Request(), {}) == []


def test_a_full_request():
    request = Request(
        time_limit_s=5400,
        memory_bytes=8 << 30,
        cpus=4,
        gpus=2,
        gpu_type="a100",
        nodes=2,
        tasks_per_node=8,
        partition="gpu",
        account="lab",
        qos="high",
        tmp_bytes=10 << 30,
    )
    assert SLURM.problems(request, {}) == []
    assert SLURM.directives(request, {}) == [
        "#SBATCH --time=0-01:30:00",
        "#SBATCH --mem=8192M",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=8",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --gres=gpu:a100:2",
        "#SBATCH --partition=gpu",
        "#SBATCH --account=lab",
        "#SBATCH --qos=high",
        "#SBATCH --tmp=10240M",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "0-00:01:00"), (60, "0-00:01:00"), (61, "0-00:02:00"), (86_400, "1-00:00:00"), (100 * 86_400 + 3600, "100-01:00:00")],
)
def test_time_is_rounded_up_to_minutes(seconds, text):
    assert lines(Request(time_limit_s=seconds)) == [f"time={text}"]


@pytest.mark.parametrize(("memory", "text"), [(1, ["mem=1M"]), (1 << 20, ["mem=1M"]), ((1 << 20) + 1, ["mem=2M"]), (0, [])])
def test_memory_is_rounded_up_and_none_is_none(memory, text):
    # --mem=0 would mean the whole node's
    assert lines(Request(memory_bytes=memory)) == text


def test_a_part_of_a_gpu_is_a_whole_one():
    assert lines(Request(gpus=0.25)) == ["gres=gpu:1"]
    assert lines(Request(gpus=0.5, gpu_type="a100")) == ["gres=gpu:a100:1"]


def test_no_gpus_is_no_gres():
    assert lines(Request(gpus=0, gpu_type="a100")) == []
    assert messages(Request(gpus=0, gpu_type="a100")) == []


def test_options_in_the_forms_of_yaml():
    assert lines(
        None,
        constraint="a&b",
        exclusive=True,
        contiguous=False,
        nodelist=["n1", "n2"],
        nice=100,
        reservation=None,
        licenses={"matlab": 1, "abaqus": 5},
        **{"mem-per-cpu": "2G", "x": "n3"},
    ) == [
        "constraint=a&b",
        "exclusive",
        "nodelist=n1,n2",
        "nice=100",
        "licenses=matlab:1,abaqus:5",
        "mem-per-cpu=2G",
        "exclude=n3",
    ]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("two words", '"two words"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("a#b", '"a#b"'),
        ("it's", '"it\'s"'),
        ("plain,a:b=c/d", "plain,a:b=c/d"),
    ],
)
def test_values_are_quoted_as_sbatch_reads_them(value, word):
    assert lines(None, comment=value) == [f"comment={word}"]


def test_nodes_to_stay_away_from_join_the_users_own():
    request = Request(exclude_nodes=("n1", "n[3-5]"))
    assert lines(request) == ["exclude=n1,n[3-5]"]
    assert lines(request, exclude="n7") == lines(request, x="n7") == ["exclude=n7,n1,n[3-5]"]
    assert messages(request, exclude="n7") == []


def test_other_gres_join_the_gpus():
    assert lines(Request(gpus=1), gres="tmpdisk:10") == ["gres=gpu:1,tmpdisk:10"]
    assert messages(Request(gpus=1), gres="tmpdisk:10") == []


def test_an_unknown_option_and_what_was_meant():
    assert messages(partitoin="x") == ["partitoin: sbatch has no option 'partitoin' (did you mean partition?)"]
    assert "job template" in messages(zzzzzz=1)[0]


@pytest.mark.parametrize(
    "name",
    [
        "array",
        "job_name",
        "job-name",
        "J",
        "output",
        "error",
        "parsable",
        "wrap",
        "test_only",
        "dependency",
        "hold",
        "chdir",
        "wait",
    ],
)
def test_options_that_are_ours(name):
    (message,) = messages(**{name: "x"})
    assert "hpcsweep's own" in message
    assert not message.endswith("()")


@pytest.mark.parametrize(
    ("request_", "options", "names"),
    [
        (Request(), {"mem": "1G", "mem-per-cpu": "1G"}, ["slurm.mem", "slurm.mem-per-cpu"]),
        (Request(memory_bytes=1), {"mem_per_cpu": "1G"}, ["resources.memory", "slurm.mem_per_cpu"]),
        (Request(time_limit_s=60), {"t": "10"}, ["resources.time", "slurm.t"]),
        (Request(cpus=1), {"cpus-per-task": 2}, ["resources.cpus", "slurm.cpus-per-task"]),
        (Request(gpus=1), {"gres": "gpu:2"}, ["resources.gpus", "slurm.gres"]),
        (Request(gpus=1), {"gpus": 2}, ["resources.gpus", "slurm.gpus"]),
        (Request(partition="a"), {"p": "b"}, ["resources.partition", "slurm.p"]),
        (Request(), {"C": "a", "constraint": "b"}, ["slurm.C", "slurm.constraint"]),
        (Request(), {"requeue": True, "no_requeue": True}, ["slurm.requeue", "slurm.no_requeue"]),
    ],
)
def test_contradictions_name_both(request_, options, names):
    (problem,) = SLURM.problems(request_, options)
    assert all(name in problem.message for name in names)
    assert problem.option in options


@pytest.mark.parametrize(
    ("request_", "options"),
    [
        (Request(memory_bytes=0), {"mem_per_cpu": "1G"}),  # memory: site
        (Request(), {"requeue": True, "no_requeue": False}),
        (Request(), {"mem": None, "mem_per_cpu": "1G"}),
        (Request(), {"signal": "B:USR1@60", "nice": True, "exclusive": "user"}),
    ],
)
def test_what_is_no_contradiction(request_, options):
    assert SLURM.problems(request_, options) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"constraint": True}, "needs a value"),
        ({"contiguous": "yes"}, "true or false"),
        ({"comment": "a\nb"}, "line break"),
        ({"comment": ["a", "b\nc"]}, "line break"),
        ({"constraint": "  "}, "empty"),
        ({"constraint": []}, "empty"),
        ({"signal": "USR1@60"}, "B:USR1@60"),
    ],
)
def test_values_that_no_directive_can_hold(options, words):
    (message,) = messages(**options)
    assert words in message


@pytest.mark.parametrize(
    ("request_", "option"),
    [
        (Request(time_limit_s=0), "time"),
        (Request(cpus=0), "cpus"),
        (Request(nodes=0), "nodes"),
        (Request(tasks_per_node=-1), "tasks_per_node"),
        (Request(gpu_type="a100"), "gpu_type"),
        (Request(partition="two words"), "partition"),
        (Request(account="a\nb"), "account"),
    ],
)
def test_requests_that_mean_something_else_to_slurm(request_, option):
    assert [problem.option for problem in SLURM.problems(request_, {})] == [option]


def test_all_problems_are_told_at_once():
    assert len(messages(Request(cpus=0), array="0-9", mem="1G", mem_per_cpu="1G", partitoin="x")) == 4
