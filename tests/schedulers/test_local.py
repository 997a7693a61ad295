"""The adapter of this machine's queue: its commands and its answers. The queue itself: tests/test_localqueue.py."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.gpus import Listed, make_devices
from hpcsweep.model import Completed, Request
from hpcsweep.schedulers import Site, make_scheduler
from hpcsweep.schedulers.base import ArrayJob, NoAnswer, Refused, Submitted, Uncertain
from hpcsweep.schedulers.local import Local
from hpcsweep.shell import command_environment
from hpcsweep.states import State

LOCAL = Local(queue_dir="/run dir/local", python="/usr/bin/python3", program="/lib/localqueue.py", jobs=2)
JOB = ArrayJob(tag="tag", script="/run dir/script.sh", log="/run dir/log", size=3, chdir="/home/user")
START = ("/usr/bin/python3", "-I", "-S", "/lib/localqueue.py")


def test_a_submission():
    job = ArrayJob(**{**vars(JOB), "at_once": 5, "after": ("1-2-a", "3-4-b"), "is_held": True})
    assert LOCAL.submit_cmd(job).argv == (
        *START,
        *("submit", "--dir", "/run dir/local", "--tag", "tag", "--size", "3", "--script", "/run dir/script.sh"),
        *("--log", "/run dir/log", "--chdir", "/home/user", "--jobs", "2", "--at-once", "5"),
        *("--after", "1-2-a", "--after", "3-4-b", "--hold"),
    )


def test_gpus():
    devices = make_devices("CUDA_VISIBLE_DEVICES", ["0", "1,2"], [Listed(index="0", uuid="GPU-a")])
    sharing = replace(LOCAL, devices=devices)
    argv = sharing.submit_cmd(replace(JOB, gpus=0.5)).argv
    assert argv[-4:] == ("--devices", "CUDA_VISIBLE_DEVICES 0=GPU-a 1,2=1,2", "--gpus", "0.5")
    assert "--gpus" not in sharing.submit_cmd(replace(JOB, gpus=0)).argv
    assert "--gpus" not in sharing.submit_cmd(JOB).argv
    assert "--gpus" not in LOCAL.submit_cmd(replace(JOB, gpus=1)).argv


def test_what_comes_after_an_array():
    scheduler = make_scheduler("local", Site(queue_dir="/q", then=("hpcsweep", "advance", "a b")))
    argv = scheduler.submit_cmd(JOB).argv
    assert json.loads(argv[argv.index("--then") + 1]) == ["hpcsweep", "advance", "a b"]


def test_an_element_is_not_taken_for_one_of_the_job_around_it():
    environ = {"SLURM_ARRAY_TASK_ID": "5", "HPCSWEEP_TASK": "1", "SLURM_CONF": "c", "CUDA_VISIBLE_DEVICES": "1", "A": "b"}
    kept = command_environment(LOCAL.submit_cmd(JOB), environ)
    assert kept == {"SLURM_CONF": "c", "CUDA_VISIBLE_DEVICES": "1", "A": "b"}


def test_the_other_commands():
    prefix = (*START, "cancel", "--dir", "/run dir/local", "--tag", "tag")
    assert [c.argv for c in LOCAL.cancel_cmds("tag", "7-8-c", None)] == [(*prefix, "--grace", "5", "7-8-c")]
    assert [c.argv for c in LOCAL.cancel_cmds("tag", "7-8-c", [1, 2, 9])] == [(*prefix, "--grace", "5", "7-8-c", "1-2,9")]
    assert LOCAL.cancel_cmds("tag", "7-8-c", []) == []
    assert LOCAL.hold_cmds("tag", "7-8-c", "hold")[0].argv[4:] == ("hold", "--dir", "/run dir/local", "--tag", "tag", "7-8-c")
    assert LOCAL.throttle_cmds("tag", "7-8-c", 3)[0].argv[-2:] == ("7-8-c", "3")
    assert LOCAL.live_cmd({"b", "a"}).argv[4:] == ("live", "--dir", "/run dir/local", "--tag", "a", "--tag", "b")
    assert LOCAL.history_cmd(["a"], 0.0) is None


def test_scattered_elements_fit_their_arguments():
    commands = LOCAL.cancel_cmds("tag", "7-8-c", range(0, 200_000, 2))
    assert max(len(word) for command in commands for word in command.argv) < 128 * 1024
    assert ",".join(command.argv[-1] for command in commands).split(",") == [str(n) for n in range(0, 200_000, 2)]


def test_an_answer(printed):
    text = "7-8-c|4-9,12|PENDING|Resources|tag||0\n7-8-c|3|RUNNING||tag|login1|17\n9-9-d|0-3|PENDING|Held|other||0\n7-8-c|1|ODD||tag||\n"
    seen = LOCAL.parse_live(printed(text))
    assert [(s.job, list(s.elements), s.state, s.reason, s.tag, s.node, s.is_held) for s in seen] == [
        ("7-8-c", [4, 5, 6, 7, 8, 9, 12], State.PENDING, "Resources", "tag", "", False),
        ("7-8-c", [3], State.RUNNING, "", "tag", "login1", False),
        ("9-9-d", [0, 1, 2, 3], State.PENDING, "Held", "other", "", True),
        ("7-8-c", [1], State.UNKNOWN, "", "tag", "", False),
    ]
    assert [s.elapsed_s for s in seen] == [0.0, 17.0, 0.0, None]


def test_answers_that_are_none(printed):
    assert LOCAL.parse_live(printed("", "localqueue: the queue runs on login2\n", 4)) == NoAnswer(
        message="localqueue: the queue runs on login2"
    )
    for line in ("7-8-c|4-2|PENDING||tag||0", "7-8-c|1|PENDING||tag", "7-8-c|x|RUNNING||tag||0"):
        assert isinstance(LOCAL.parse_live(printed(line)), NoAnswer)


def test_submissions(printed):
    assert LOCAL.parse_submit(printed("7-8-c\n")) == Submitted(job="7-8-c")
    assert LOCAL.parse_submit(printed("7-8-c\n", "", None)) == Submitted(job="7-8-c")
    assert isinstance(LOCAL.parse_submit(printed("", "localqueue: disk full\n", 1)), Refused)
    assert isinstance(LOCAL.parse_submit(printed("", "", 1)), Uncertain)
    assert isinstance(LOCAL.parse_submit(printed("", "", None)), Uncertain)


def test_the_same_request_as_on_a_cluster_is_fine():
    request = Request(
        partition="gpu", account="lab", qos="high", memory_bytes=1 << 40, nodes=1, cpus=64, gpus=1, time_limit_s=60
    )
    assert LOCAL.problems(request, {}) == []
    assert LOCAL.directives(request, {}) == []


def test_what_this_machine_is_not():
    assert [problem.option for problem in LOCAL.problems(Request(nodes=2), {"foo": 1})] == ["foo", "nodes"]


@pytest.mark.parametrize("method", ["parse_submit", "parse_live", "parse_limits", "parse_history"])
@given(
    returncode=st.one_of(st.none(), st.integers(-9, 255)),
    stdout=st.one_of(st.text(), st.text(alphabet="|0123456789-,.\nRUNIGPED")),
    stderr=st.text(max_size=20),
)
def test_no_text_raises(method, returncode, stdout, stderr):
    getattr(LOCAL, method)(Completed(argv=(), returncode=returncode, stdout=stdout, stderr=stderr))
