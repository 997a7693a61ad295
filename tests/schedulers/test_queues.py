"""The queues and partitions that the schedulers tell of, read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.model import Completed
from hpcsweep.schedulers.base import NoAnswer, Queue
from hpcsweep.schedulers.local import Local
from hpcsweep.schedulers.pbs import Pbs
from hpcsweep.schedulers.slurm import Slurm
from hpcsweep.schedulers.torque import Torque
from hpcsweep.schedulers.torque_answers import read_server

DATA = Path(__file__).parents[1] / "data"
SLURM, PBS, TORQUE = Slurm(), Pbs(), Torque()
NODES_OF_PBS = """\
n1
     Mom = n1
     state = free
     pcpus = 8
     resources_available.ncpus = 8
     resources_available.ngpus = 4

n2
     Mom = n2
     state = down
     resources_available.ngpus = 2
     queue = fat

n3
     Mom = n3
     resources_available.ngpus = 0
"""
NODES_OF_TORQUE = """\
torque
     state = free
     np = 8
     ntype = cluster
     status = opsys=linux,ncpus=8,gpus = 9
     gpus = 4

plain
     state = free
     np = 8
"""


def printed(stdout: str, code: int | None = 0, stderr: str = "") -> Completed:
    return Completed(argv=("x",), returncode=code, stdout=stdout, stderr=stderr)


def plain_queues(name: str) -> str:
    """A recording in JSON as ``qstat -Q -f`` prints it without: its lines are wrapped behind a tab."""
    lines = []
    for queue, fields in json.loads((DATA / "openpbs" / name).read_text())["Queue"].items():
        lines.append(f"Queue: {queue}")
        for key, value in fields.items():
            parts = value.items() if isinstance(value, dict) else [("", value)]
            for part, text in parts:
                line = f"    {key}{'.' if part else ''}{part} = {text}"
                lines += [line[:78], *(f"\t{line[start : start + 70]}" for start in range(78, len(line), 70))]
        lines.append("")
    return "\n".join(lines) + "\n"


class TestSlurm:
    def test_a_recording(self, recorded):
        assert SLURM.parse_queues([recorded("slurm/sinfo")]) == [
            Queue(name="main", is_default=True, gpus="fake:4", note="4 nodes with 8 cpus and 8 GB"),
            Queue(name="short", time_limit_s=60, gpus="fake:4", note="1 node with 8 cpus and 8 GB"),
        ]

    def test_what_is_closed_or_down_is_said(self):
        lines = "fat|drain|2-00:00:00|3|idle|(null)|64|256000\ngpu|up|12:00:00|1|down*|gpu:a100:4(S:0,1)|8|8000\n"
        lines += "gpu|up|12:00:00|2|drain|gpu:v100:2,gpu:a100:4|8+|16000+\n"
        fat, gpu = SLURM.parse_queues([printed(f"Welcome!\n{lines}")])
        assert (fat.is_open, fat.time_limit_s, fat.gpus) == (False, 172_800, "")
        assert fat.note == "its state is drain; 3 nodes with 64 cpus and 256 GB"
        assert (gpu.is_open, gpu.time_limit_s, gpu.gpus) == (True, 43_200, "a100:4, v100:2")
        assert gpu.note == "3 nodes with 8 cpus and 8 GB or 8+ cpus and 16 GB or more, none of them usable"

    @pytest.mark.parametrize(
        ("state", "is_usable"), [("idle", True), ("idle~", True), ("mix-", True), ("idle*", False), ("maint", False)]
    )
    def test_a_node_that_sleeps_is_usable(self, state, is_usable):
        (queue,) = SLURM.parse_queues([printed(f"p|up|infinite|1|{state}|4|1|1000\n")])
        assert ("usable" not in queue.note) == is_usable

    def test_no_answer(self):
        dead = printed("", 1, "slurm_load_partitions: Unable to contact slurm controller (connect failure)\n")
        assert isinstance(SLURM.parse_queues([dead]), NoAnswer)
        assert isinstance(SLURM.parse_queues([printed("", None)]), NoAnswer)
        assert isinstance(SLURM.parse_queues([printed("what is this?\n")]), NoAnswer)


class TestQsub:
    def test_a_recording_of_torque(self, recorded):
        answers = [
            recorded("torque/01-mixed-qstat-Qf"),
            printed("Server: torque\n    default_queue = batch\n"),
            printed(NODES_OF_TORQUE),
        ]
        assert TORQUE.parse_queues(answers) == [
            Queue(name="short", time_limit_s=300, gpus="4"),
            Queue(name="stoppedq", is_open=False, gpus="4", note="it starts no jobs"),
            Queue(name="disabledq", is_open=False, gpus="4", note="it takes no jobs; it starts no jobs"),
            Queue(name="batch", is_default=True, gpus="4"),
        ]

    def test_a_recording_of_openpbs(self):
        text = plain_queues("01-mixed-qstat-Qf.json")
        assert "\n\t" in text
        answers = [printed(text), printed("Server: pbs\n    default_queue = workq\n"), printed("")]
        assert PBS.parse_queues(answers) == [
            Queue(name="workq", is_default=True),
            Queue(name="short", time_limit_s=300),
            Queue(name="disabledq", is_open=False, note="it takes no jobs; it starts no jobs"),
            Queue(name="stoppedq", is_open=False, note="it starts no jobs"),
        ]

    def test_gpus_of_nodes_that_belong_to_one_queue(self):
        text = "".join(f"Queue: {name}\n    enabled = True\n    started = True\n\n" for name in ("fat", "other"))
        fat, other = PBS.parse_queues([printed(text), printed(""), printed(NODES_OF_PBS)])
        assert (fat.gpus, other.gpus) == ("2, 4", "4")

    def test_who_may_and_where_it_leads(self):
        text = (
            "Queue: way\n    queue_type = Route\n    route_destinations = short,\n\tlong\n    acl_group_enable = True\n"
            "    acl_groups = enabled\n    enabled = True\n    started = True\n"
        )
        (queue,) = PBS.parse_queues([printed(text), printed("", 1), printed("", 1, "pbsnodes: no\n")])
        assert queue == Queue(name="way", note="it hands its jobs on to short,long; only for some groups")

    def test_slurms_own_qstat(self):
        text = "\nQueue:\tmain\n\tqueue_type = Execution\n\tresources_default.nodes = 4\n\tenabled = yes\n\tstarted = yes\n\n"
        assert TORQUE.parse_queues([printed(text), printed(""), printed("")]) == [Queue(name="main")]

    def test_no_answer(self):
        dead = printed("", 255, "Connection refused\nqstat: cannot connect to server pbs (errno=15010)\n")
        assert isinstance(PBS.parse_queues([dead, dead, dead]), NoAnswer)
        assert isinstance(PBS.parse_queues([printed("odd\n"), printed(""), printed("")]), NoAnswer)


def test_this_machine_has_none():
    local = Local(queue_dir="", python="", program="")
    assert (local.queues_cmds(), local.parse_queues([])) == ([], [])


def test_torques_server_says_whether_nodes_may_submit_and_how_long_it_remembers():
    says = read_server(printed("Server: torque\n    allow_node_submit = True\n    keep_completed = 300\n"))
    assert (says.nodes_may_submit, says.keeps_ended_s) == (True, 300)
    is_silent_on_it = read_server(printed("Server: torque\n    server_state = Active\n"))
    assert (is_silent_on_it.nodes_may_submit, is_silent_on_it.keeps_ended_s) == (False, 0)


@given(
    texts=st.lists(st.text(alphabet="Queue: ab|=\n\t *0123:gpu", max_size=60), min_size=3, max_size=3),
    code=st.sampled_from([0, 1, None]),
)
def test_whatever_is_printed_nothing_raises(texts, code):
    answers = [printed(text, code) for text in texts]
    for scheduler in (PBS, TORQUE, SLURM):
        assert isinstance(scheduler.parse_queues(answers), list | NoAnswer)
