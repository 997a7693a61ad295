"""What Slurm prints, as recorded from real ones (tests/data/slurm), and what nobody has printed yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.model import Completed
from hpcsweep.schedulers.base import Limits, NoAnswer, Refused, Seen, Submitted, Uncertain
from hpcsweep.schedulers.slurm import Slurm
from hpcsweep.schedulers.slurm_answers import parse_elements
from hpcsweep.states import State

SLURM = Slurm()
DATA = Path(__file__).parents[1] / "data" / "slurm"


# ---- submission ----


@pytest.mark.parametrize(
    ("name", "job"),
    [("sbatch-ok", "654"), ("sbatch-bad-account", "656"), ("outage-slurmdbd-sbatch", "676"), ("adapter-sbatch-ok", "337")],
)
def test_an_id_is_a_submission(recorded, name, job):
    assert SLURM.parse_submit(recorded(f"slurm/{name}")) == Submitted(job=job)


@pytest.mark.parametrize("returncode", [0, 1, 255, -9, None])
def test_an_id_counts_whatever_else_is_said(printed, returncode):
    answer = SLURM.parse_submit(printed("Welcome to alpine!\n4711\n", "sbatch: warning: can't honor --foo\n", returncode))
    assert answer == Submitted(job="4711", warning="sbatch: warning: can't honor --foo")


@pytest.mark.parametrize(
    ("text", "job", "cluster"),
    [
        ("4711;alpine\n", "4711", "alpine"),
        ("Submitted batch job 4711\n", "4711", None),
        ("Submitted batch job 4711 on cluster alpine\n", "4711", "alpine"),
    ],
)
def test_the_forms_of_an_id(printed, text, job, cluster):
    assert SLURM.parse_submit(printed(text)) == Submitted(job=job, cluster=cluster)


@pytest.mark.parametrize("text", ["", "\n", "123_4\n", "job 4711 is yours\n", "12 34\n", "-5\n"])
def test_what_is_no_id(printed, text):
    assert isinstance(SLURM.parse_submit(printed(text)), Uncertain)


@pytest.mark.parametrize("name", ["hung-slurmctld-sbatch", "outage-slurmctld-sbatch"])
def test_a_lost_answer_is_uncertain(recorded, name):
    answer = SLURM.parse_submit(recorded(f"slurm/{name}"))
    assert isinstance(answer, Uncertain)
    assert "Batch job submission failed" in answer.message


@pytest.mark.parametrize(
    ("stderr", "returncode"),
    [
        ("", None),  # ended by our time limit
        ("", 1),
        ("", -9),
        ("sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received", 1),
        ("sbatch: error: Batch job submission failed: Unexpected message received", 1),
        ("sbatch: error: Batch job submission failed: Message receive failure", 1),
        ("sbatch: error: Batch job submission failed: Header lengths are longer than data received", 1),
        ("sbatch: error: Batch job submission failed: Insane message length", 1),
        ("sbatch: error: Batch job submission failed: Unspecified error", 1),
        ("sbatch: error: Batch job submission failed: Broken pipe", 1),
        ("sbatch: error: Munge encode failed: Failed to access munge.socket.2", 1),
        ("a wrapper of the site that says something new", 1),
    ],
)
def test_what_may_have_been_accepted_is_uncertain(printed, stderr, returncode):
    assert isinstance(SLURM.parse_submit(printed("", stderr, returncode)), Uncertain)


def test_an_answer_without_an_id_is_uncertain_and_not_called_silence(printed):
    answer = SLURM.parse_submit(printed("welcome to the cluster"))
    assert answer == Uncertain(message="sbatch ended with exit code 0 and printed no job's id")


@pytest.mark.parametrize(
    ("name", "hint", "is_curable"),
    [
        ("sbatch-bad-array", "MaxArraySize", False),
        ("sbatch-bad-mem", "resources.memory", False),
        ("sbatch-bad-option", "slurm:", False),
        ("sbatch-bad-partition", "resources.partition", False),
        ("sbatch-bad-time", "resources.time", False),
        ("sbatch-impossible-gres", "resources", False),
        ("sbatch-no-script", "", False),
        ("adapter-sbatch-refused", "resources", False),
        ("adapter-sbatch-submit-limit", "hpcsweep advance", True),
        ("adapter-sbatch-bad-account", "resources.account", False),
        ("adapter-sbatch-bad-qos", "resources.qos", False),
        ("adapter-sbatch-bad-constraint", "slurm.constraint", False),
        ("adapter-sbatch-bad-reservation", "slurm.reservation", False),
        ("adapter-sbatch-bad-nodes", "sinfo", False),
    ],
)
def test_refusals(recorded, name, hint, is_curable):
    completed = recorded(f"slurm/{name}")
    answer = SLURM.parse_submit(completed)
    assert isinstance(answer, Refused)
    assert answer.message == completed.stderr.strip()
    assert hint in answer.hint
    assert answer.curable is is_curable


def test_programs_without_a_configuration_have_nobody_to_ask(printed):
    answer = SLURM.parse_submit(
        printed(
            "",
            "sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\n"
            "sbatch: error: fetch_config: DNS SRV lookup failed\n"
            "sbatch: error: _establish_config_source: failed to fetch config\n"
            "sbatch: fatal: Could not establish a configuration source\n",
            1,
        )
    )
    assert isinstance(answer, Refused)
    assert answer.is_unreachable
    assert "--scheduler local" in answer.hint


def test_every_recorded_sbatch_is_understood(recorded):
    for path in sorted(DATA.glob("*sbatch*.txt")):
        completed = recorded(f"slurm/{path.stem}")
        answer = SLURM.parse_submit(completed)
        if completed.returncode == 0 and "--version" not in completed.argv:
            assert isinstance(answer, Submitted), path
        else:
            assert not isinstance(answer, Submitted), path


# ---- the living ----


def test_live(recorded):
    answer = SLURM.parse_live(recorded("slurm/adapter-squeue"))
    assert not isinstance(answer, NoAnswer)
    by_key = {(seen.tag, seen.raw, seen.reason): seen for seen in answer if seen.state is not State.RUNNING}
    assert by_key["hs-mixed", "PENDING", "JobArrayTaskLimit,JobHeldAdmin"] == Seen(
        tag="hs-mixed",
        job="337",
        elements=range(9, 40),
        state=State.PENDING,
        raw="PENDING",
        reason="JobArrayTaskLimit,JobHeldAdmin",
    )
    held = by_key["hs-held", "PENDING", "JobHeldUser"]
    assert (held.elements, held.is_held, held.is_blocked) == ((0, 4, 5, 6, 8, 9, 10, 11), True, False)
    blocked = by_key["hs-blocked", "PENDING", "PartitionTimeLimit"]
    assert (list(blocked.elements), blocked.is_held, blocked.is_blocked) == ([0, 1, 2], False, True)
    assert not by_key["hs-after", "PENDING", "Dependency"].is_blocked
    assert by_key["hs-mixed", "SUSPENDED", ""].state is State.SUSPENDED
    running = [seen for seen in answer if seen.state is State.RUNNING]
    assert [(seen.elements, seen.node, seen.elapsed_s) for seen in running if seen.tag == "hs-single"] == [(None, "n2", 6.0)]
    assert sorted(number for seen in running if seen.tag == "hs-mixed" for number in seen.elements) == [0, 4, 6, 7, 8]


def test_completing_is_live(recorded):
    answer = SLURM.parse_live(recorded("slurm/adapter-squeue-completing"))
    assert [(seen.state, list(seen.elements)) for seen in answer if seen.raw == "COMPLETING"] == [(State.RUNNING, [4])]


@pytest.mark.parametrize("name", ["squeue-array", "squeue-array-r"])
def test_live_of_another_site(recorded, name, printed):
    """The same facts in a recording with other columns, put into ours."""
    rows = [line.split("|") for line in recorded(f"slurm/{name}").stdout.splitlines()]
    answer = SLURM.parse_live(
        printed("".join(f"{i}|{f}|{k}|{t}|{j}|{m}|{n}|{r}\n" for i, f, k, t, r, j, m, _l, n, _v, _s in rows))
    )
    pending = {number for seen in answer if seen.state is State.PENDING for number in seen.elements}
    assert pending == {*range(11, 38), 39}
    assert {number for seen in answer if seen.state is State.RUNNING for number in seen.elements or ()} == {4, 6, 7, 8, 9, 10}
    assert {seen.job for seen in answer if seen.elements is not None} == {"654"}


@pytest.mark.parametrize(
    ("word", "state", "is_held"),
    [
        ("CONFIGURING", State.PENDING, False),
        ("REQUEUED", State.PENDING, False),
        ("REQUEUE_HOLD", State.PENDING, True),
        ("SPECIAL_EXIT", State.PENDING, True),
        ("RESIZING", State.RUNNING, False),
        ("STAGE_OUT", State.RUNNING, False),
        ("STOPPED", State.SUSPENDED, False),
        ("SOMETHING_NEW", State.UNKNOWN, False),
    ],
)
def test_words_of_the_living(printed, word, state, is_held):
    (seen,) = SLURM.parse_live(printed(f"7_3|7|3|{word}|tag|1-02:03:04|n1|None\n"))
    assert (seen.state, seen.raw, seen.is_held, seen.reason) == (state, word, is_held, "")
    assert seen.elapsed_s == (None if state is State.PENDING else 93784.0)


@pytest.mark.parametrize(
    ("reason", "is_held", "is_blocked"),
    [
        ("JobHeldAdmin", True, False),
        ("launch failed requeued held", True, False),
        ("DependencyNeverSatisfied", False, True),
        ("BadConstraints", False, True),
        ("QOSMaxWallDurationPerJobLimit", False, True),
        ("AssocMaxCpuPerJobLimit", False, True),
        ("QOSMaxJobsPerUserLimit", False, False),
        ("Resources", False, False),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", False, False),
        ("a|b", False, False),
    ],
)
def test_reasons(printed, reason, is_held, is_blocked):
    (seen,) = SLURM.parse_live(printed(f"7_[0-9]|7|0-9|PENDING|tag|0:00||{reason}\n"))
    assert (seen.reason, seen.is_held, seen.is_blocked) == (reason, is_held, is_blocked)


def test_ten_thousand_pending_elements_stay_one_range(printed):
    (seen,) = SLURM.parse_live(printed("7_[0-9999%50]|7|0-9999%50|PENDING|tag|0:00||JobArrayTaskLimit\n"))
    assert seen.elements == range(10_000)


def test_an_empty_list_is_an_answer(printed):
    assert SLURM.parse_live(printed("")) == []
    assert SLURM.parse_live(printed("CLUSTER: alpine\n\nWelcome!\n")) == []


@pytest.mark.parametrize("name", ["outage-slurmctld-squeue", "squeue-unknown-job"])
def test_a_failed_query_is_no_answer(recorded, name):
    answer = SLURM.parse_live(recorded(f"slurm/{name}"))
    assert isinstance(answer, NoAnswer)
    assert "slurm_load_jobs error" in answer.message


def test_a_query_ended_by_our_limit_is_no_answer(printed):
    assert isinstance(SLURM.parse_live(printed("7_1|7|1|RUNNING|tag|0:01|n1|None\n", "", None)), NoAnswer)


@pytest.mark.parametrize(
    "line",
    [
        "7_[0-9...]|7|0-9,11,...|PENDING|tag|0:00||Resources",  # cut short: what is missing is not ended
        "7_1|7|1|RUNNING",
        "x|seven|1|RUNNING|tag|0:00||None",
        "7_1|7|9-3|RUNNING|tag|0:00||None",
        "7_1|7|0-99999999999|RUNNING|tag|0:00||None",
    ],
)
def test_a_list_with_a_line_that_cannot_be_read_is_no_answer(printed, line):
    answer = SLURM.parse_live(printed(f"8_1|8|1|RUNNING|tag|0:00|n1|None\n{line}\n"))
    assert isinstance(answer, NoAnswer)
    assert line in answer.message


# ---- the ended ----


def test_history(recorded):
    answer = SLURM.parse_history(recorded("slurm/adapter-sacct"))
    assert [(list(s.elements), s.state, s.exit_code, s.signal, s.node, s.elapsed_s, s.reason) for s in answer] == [
        ([1], State.FAILED, 7, None, "n1", 0.0, ""),
        ([2], State.FAILED, None, 9, "n1", 0.0, ""),
        ([3], State.OOM, None, None, "n1", 0.0, ""),
        ([4], State.CANCELLED, None, None, "n1", 6.0, "CANCELLED by 0"),
    ]
    assert {(seen.tag, seen.job) for seen in answer} == {("hs-mixed", "337")}


def test_history_of_another_site(recorded, printed):
    rows = [line.split("|") for line in recorded("slurm/sacct-timeout").stdout.splitlines()]
    answer = SLURM.parse_history(printed("".join(f"{job}|tag|{state}|{code}|{s}|n1\n" for job, state, code, s in rows)))
    table = {number: seen for seen in answer for number in seen.elements}
    assert sorted(table) == list(range(11))
    assert (table[4].state, table[4].exit_code, table[4].signal, table[4].elapsed_s) == (State.TIMEOUT, None, None, 70.0)


def test_cancelled_while_pending(recorded, printed):
    rows = [line.split("|") for line in recorded("slurm/sacct-cancelled").stdout.splitlines()]
    answer = SLURM.parse_history(
        printed("".join(f"{job}|tag|{state}|{code}|0|None assigned\n" for job, state, code, _ in rows))
    )
    (seen,) = [seen for seen in answer if len(seen.elements) > 1]
    assert (seen.elements, seen.state, seen.node) == (range(17, 38), State.CANCELLED, "")


def test_a_refused_submission_in_the_history_is_marked(printed):
    answer = SLURM.parse_history(
        printed("655|tag|FAILED|1:0|0|None assigned\n656|tag|FAILED|3:0|5|n1\n654_0|tag|FAILED|1:0|0|n1\n")
    )
    assert [seen.is_refusal for seen in answer] == [True, False, False]


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("COMPLETED", State.DONE),
        ("TIMEOUT", State.TIMEOUT),
        ("DEADLINE", State.TIMEOUT),
        ("OUT_OF_MEMORY", State.OOM),
        ("NODE_FAIL", State.NODE_FAIL),
        ("BOOT_FAIL", State.NODE_FAIL),
        ("PREEMPTED", State.PREEMPTED),
        ("CANCELLED by 1001", State.CANCELLED),
        ("CANCELLED+", State.CANCELLED),
        ("SOMETHING_NEW", State.UNKNOWN),
    ],
)
def test_words_of_the_ended(printed, word, state):
    (seen,) = SLURM.parse_history(printed(f"7_3|tag|{word}|0:0|1|n1\n"))
    assert (seen.state, seen.raw) == (state, word)


@pytest.mark.parametrize("word", ["PENDING", "RUNNING", "REQUEUED", "SUSPENDED", "RESIZING", "REVOKED"])
def test_what_has_not_ended_is_left_out(printed, word):
    assert SLURM.parse_history(printed(f"7_3|tag|{word}|0:0|1|n1\n")) == []


@pytest.mark.parametrize(
    ("stderr", "returncode"),
    [
        ("Slurm accounting storage is disabled", 1),
        ("Slurm accounting storage is disabled", 0),
        ("sacct: error: Problem talking to the database: Connection refused", 0),
        ('sacct: error: Invalid field requested: "Restarts"', 1),
        ("", None),
    ],
)
def test_no_history_is_no_answer(printed, stderr, returncode):
    assert isinstance(SLURM.parse_history(printed("", stderr, returncode)), NoAnswer)


@pytest.mark.parametrize("name", ["outage-slurmdbd-sacct", "sacct-array-live"])
def test_recorded_failures_of_sacct(recorded, name):
    assert isinstance(SLURM.parse_history(recorded(f"slurm/{name}")), NoAnswer)


def test_nothing_known_is_an_answer(recorded):
    assert SLURM.parse_history(recorded("slurm/sacct-unknown-job")) == []


# ---- limits ----


@pytest.mark.parametrize(("name", "cluster"), [("scontrol-config", "lab"), ("adapter-scontrol-config", "hpcsweep")])
def test_limits(recorded, name, cluster):
    assert SLURM.parse_limits(recorded(f"slurm/{name}")) == Limits(
        max_array_size=10_001, kill_wait_s=3, max_job_count=100_000, cluster=cluster, hides_jobs=False
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [("none", False), ("accounts,usage", False), ("jobs", True), ("accounts,jobs,usage", True), ("", None)],
)
def test_whether_jobs_are_hidden_from_others(said, expected):
    text = f"MaxArraySize = 1001\nPrivateData             = {said}\n"
    answer = SLURM.parse_limits(Completed(argv=("scontrol",), returncode=0, stdout=text, stderr=""))
    assert answer.hides_jobs is expected


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("MaxArraySize = 1001\nSchedulerParameters = bf_interval=2,max_array_tasks=500,foo=1\n", 500),
        ("MaxArraySize = 0\n", 1),
        ("nothing of the kind\n", None),
    ],
)
def test_limits_of_other_sites(printed, text, size):
    assert SLURM.parse_limits(printed(text)) == Limits(max_array_size=size)


def test_limits_without_an_answer(printed):
    assert isinstance(SLURM.parse_limits(printed("", "Unable to contact slurm controller", 1)), NoAnswer)


# ---- element numbers ----


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3", range(3, 4)),
        ("[17-37%6]", range(17, 38)),
        ("0-30:2", range(0, 31, 2)),
        ("11-37,39", (*range(11, 38), 39)),
        ("[1,3-9:3,20]", (1, 3, 6, 9, 20)),
    ],
)
def test_elements(text, numbers):
    assert parse_elements(text) == numbers


@given(st.text(alphabet="0123456789-,:%[]. x", max_size=20))
def test_elements_are_numbers_or_a_value_error(text):
    try:
        numbers = parse_elements(text)
    except ValueError:
        return
    assert len(numbers) > 0
    assert all(number >= 0 for number in (numbers[0], numbers[-1]))


# ---- anything at all ----

TEXTS = st.one_of(
    st.text(max_size=300),
    st.lists(st.text(alphabet="|0123456789_-[]%:,.RUNINGFAILED\n tag", max_size=60), max_size=6).map("\n".join),
)
COMPLETED = st.builds(
    Completed, argv=st.just(("x",)), returncode=st.one_of(st.none(), st.integers(-64, 300)), stdout=TEXTS, stderr=TEXTS
)


@given(COMPLETED)
def test_no_text_raises(completed):
    assert isinstance(SLURM.parse_submit(completed), Submitted | Refused | Uncertain)
    assert isinstance(SLURM.parse_live(completed), list | NoAnswer)
    assert isinstance(SLURM.parse_history(completed), list | NoAnswer)
    assert isinstance(SLURM.parse_limits(completed), Limits | NoAnswer)


@given(st.sets(st.integers(0, 3000), min_size=1), st.sampled_from(["PENDING", "RUNNING", "COMPLETING", "NEW_WORD"]))
def test_every_element_of_a_line_is_seen(numbers, word):
    from hpcsweep.ranges import format_ranges  # noqa: PLC0415 - this test alone

    text = f"7_[x]|7|{format_ranges(numbers)}|{word}|tag|0:00||None\n"
    (seen,) = SLURM.parse_live(Completed(argv=(), returncode=0, stdout=text, stderr=""))
    assert set(seen.elements) == numbers
