"""What Slurm says of a user's limits and queue, read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.model import Completed
from hpcsweep.schedulers.base import ArrayJob, Association, NoAnswer, Queued, Refused, SubmitLimits
from hpcsweep.schedulers.slurm import Slurm

SLURM = Slurm()
JOB = ArrayJob(tag="t", script="/s", log="/l", size=1, chdir="/", as_single_job=True)


def printed(stdout: str, code: int | None = 0, stderr: str = "") -> Completed:
    return Completed(argv=("x",), returncode=code, stdout=stdout, stderr=stderr)


def test_limits_of_accounts_and_qos():
    users = "lab|lab||normal|1000|\nlab|big|fat|normal,long||200\nWelcome to this cluster\n"
    assert SLURM.parse_submit_limits([printed(users), printed("normal|||\nfew|4||\nshared|10||7\nany|-1||\n")]) == SubmitLimits(
        associations=(
            Association(account="lab", is_default=True, default_qos="normal", max_submit=1000),
            Association(account="big", partition="fat", default_qos="normal,long", max_submit=200),
        ),
        qos={"few": 4, "shared": 7},
    )


def test_accounting_that_fails_is_no_answer():
    answer = SLURM.parse_submit_limits([printed(""), printed("", 1, "sacctmgr: error: Unable to contact\n")])
    assert answer == NoAnswer(message="sacctmgr: error: Unable to contact")


def test_a_queue_is_counted_by_elements():
    text = "11-37,39|lab|main|normal|a-1-001\n[0-9%2]|lab|main|few|b|c\nN/A|lab|main|normal|single\nodd\n"
    assert SLURM.parse_queued(printed(text)) == [
        Queued(tag="a-1-001", account="lab", partition="main", qos="normal", elements=28),
        Queued(tag="b|c", account="lab", partition="main", qos="few", elements=10),
        Queued(tag="single", account="lab", partition="main", qos="normal", elements=1),
    ]
    assert isinstance(SLURM.parse_queued(printed("", 1, "no")), NoAnswer)
    assert isinstance(SLURM.parse_queued(printed("", None)), NoAnswer)


@given(text=st.text(alphabet="|0123456789-,[]%ab\n "), code=st.sampled_from([0, 1, None]))
def test_no_input_raises(text, code):
    assert isinstance(SLURM.parse_queued(printed(text, code)), list | NoAnswer)
    assert isinstance(SLURM.parse_submit_limits([printed(text, code), printed(text)]), SubmitLimits | NoAnswer)


@pytest.mark.parametrize(
    ("said", "limit", "curable"),
    [
        ("QOSMaxSubmitJobPerUserLimit", "queued", True),
        ("AssocMaxSubmitJobLimit", "queued", True),
        ("AssocGrpSubmitJobsLimit", "queued", True),
        ("Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size ...)", "queued", True),
        ("AssocMaxWallDurationPerJobLimit\nsbatch: error: Job violates accounting/QOS policy", "", False),
        ("QOSMaxCpuPerJobLimit\nsbatch: error: Job violates accounting/QOS policy", "", False),
        ("Batch job submission failed: Invalid job array specification", "array size", False),
        ("Batch job submission failed: Invalid partition name specified", "", False),
    ],
)
def test_what_fewer_elements_may_cure(said, limit, curable):
    answer = SLURM.parse_submit(printed("", 1, f"sbatch: error: {said}\n"))
    assert isinstance(answer, Refused)
    assert (answer.limit, answer.curable) == (limit, curable)


def test_the_first_of_several_jobs_is_enough_for_a_feeder():
    argv = SLURM.submit_cmd(replace(JOB, after_first_of=("7_2", "8_3"))).argv
    assert "--dependency=afterany:7_2?afterany:8_3" in argv
    assert "--begin=now+120" in SLURM.submit_cmd(replace(JOB, delay_s=120)).argv


def test_only_ones_own_limits_are_asked_for():
    users, qualities = SLURM.submit_limits_cmds("me", "alpine")
    assert {"name=me", "cluster=alpine"} <= set(users.argv)
    assert qualities.argv[:5] == ("sacctmgr", "--noheader", "--parsable2", "show", "qos")
    assert "cluster=" not in " ".join(SLURM.submit_limits_cmds("me", "")[0].argv)
