"""The recordings of tests/data/slurm, run again on a rehearsed Slurm: what it prints, its exit codes and how long it takes to give up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from slurm_bench import LIKE_THE_REAL_ONE, Bench

RECORDINGS = Path(__file__).parents[1] / "data/slurm"
MIX = """#!/bin/bash
#SBATCH --job-name=hs-sample --mem=100M --time=1
case $SLURM_ARRAY_TASK_ID in 0) exit 0;; 1) exit 7;; 2) kill -9 $$;; *) sleep 600;; esac
"""
EPOCH = 1795217053.0  # 2026-11-20T23:24:13, when the first elements of 654 started
SITE = {**LIKE_THE_REAL_ONE, "cluster": "lab", "accounts": "lab,any"}


@dataclass(frozen=True, kw_only=True)
class Recording:
    command: str
    code: int
    seconds: float
    stderr: list[str]
    stdout: list[str]


def read_recording(name: str) -> Recording:
    lines = (RECORDINGS / f"{name}.txt").read_text().splitlines()
    start, end = lines.index("# stderr:"), lines.index("# stdout:")
    facts = dict(line[2:].split(": ", 1) for line in lines[:start] if ": " in line)
    return Recording(
        command=facts["command"],
        code=int(facts["exit"]),
        seconds=float(facts.get("seconds", 0)),
        stderr=[line.removeprefix("#   ") for line in lines[start + 1 : end]],
        stdout=lines[end + 1 :],
    )


def quote(command: str) -> str:
    """A recorded command as a line: the formats of the recordings were printed without their quotes."""
    return re.sub(r"(-o|--format=) ?(%\S+)", r"\1'\2'" if "--format" in command else r"\1 '\2'", command)


def compare(bench: Bench, name: str, *, plain=lambda line: line, is_ordered: bool = True) -> None:
    recording = read_recording(name)
    command = recording.command.replace("/home/user/sweep", str(bench.cwd))
    answer = bench.run(quote(command))
    got, want = ([plain(line) for line in lines] for lines in (answer.stdout.splitlines(), recording.stdout))
    if not is_ordered:
        got, want = sorted(got), sorted(want)
    assert got == want
    assert (answer.stderr.splitlines(), answer.code) == (recording.stderr, recording.code)
    assert answer.delay_s == pytest.approx(recording.seconds, abs=0.2)


def start(bench: Bench, first_number: int) -> None:
    bench.cluster.next_number = first_number


@pytest.fixture
def bench(tmp_path) -> Bench:
    (tmp_path / "mix.sh").write_text(MIX)
    bench = Bench(cwd=tmp_path, given=SITE, now=EPOCH)
    start(bench, 654)
    for node in bench.cluster.rules.nodes:  # that was all submitted before the scheduler looked at it
        bench.cluster.lose_node(node.name, bench.now)
    return bench


SUBMISSIONS = [
    "sbatch-ok",
    "sbatch-bad-array",
    "sbatch-bad-mem",  # a FAILED record: 655
    "sbatch-bad-option",
    "sbatch-bad-partition",
    "sbatch-bad-time",
    "sbatch-bad-account",  # that site takes any: 656
    "sbatch-impossible-gres",  # 657
    "sbatch-no-script",
    "sbatch-version",
    "scancel-unknown",
    "squeue-unknown-job",
    "sacct-unknown-job",
    "sacct-array-live",
    "scancel-done",
]


@pytest.fixture
def started(bench) -> Bench:
    """As it was when the recordings of array 654 were made: 39 is held, 3 out of memory, 5 cancelled, six run."""
    for name in SUBMISSIONS[:-2]:
        bench.run(quote(read_recording(name).command))
    bench.out("scontrol hold 654_39")
    bench.out("scancel 654_38")
    for node in bench.cluster.rules.nodes:
        bench.cluster.restore_node(node.name)
    bench.pass_time(1)
    bench.fault("oom=654_3")
    bench.pass_time(5)
    bench.out("scancel 654_5")
    bench.pass_time(2)
    return bench


def test_submissions_and_refusals(bench):
    for name in SUBMISSIONS:
        compare(bench, name)


def plain_queue(line: str) -> str:
    """Without node, times and the way to 11: the recorded elements started one after the other."""
    line = re.sub(r"\|n\d\|", "|n|", re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "T", line))
    return re.sub(r"\|\d+:\d\d\|1:00", "|M|1:00", line)


@pytest.mark.parametrize("name", ["squeue-array", "squeue-array-r", "squeue-two-one-unknown"])
def test_the_queue(started, name):
    compare(started, name, plain=plain_queue, is_ordered=False)


def plain_history(line: str) -> str:
    """Without seconds, and without what a script that really ran leaves: its memory."""
    return re.sub(r"\|(\d+K)?\|\d+$", "", line)


def test_the_history_of_steps(started):
    recording = read_recording("sacct-array-steps")
    answer = started.out(recording.command)
    # When that was recorded 10 had not started yet.
    skipped = ("654_10", "654_[")
    got, want = (
        [plain_history(line) for line in lines if not line.startswith(skipped)] for lines in (answer, recording.stdout)
    )
    assert got == want
    assert "654_[11-37%6]|PENDING|0:0||0" in answer


def test_the_history_by_name_knows_refusals_and_nothing_of_what_never_was_eligible(started):
    recording = read_recording("sacct-by-name")
    got = [line for line in started.out(recording.command.replace("-S now-1hour", "-S now-1hour")) if "654_10" not in line]
    assert got == recording.stdout


def test_a_time_limit_and_a_cancelled_array(started):
    started.pass_time(63)
    started.out("scancel 654")
    started.pass_time(4)
    recording = read_recording("sacct-cancelled")
    reasons = re.compile(r"\|[^|]*$")  # each element keeps the reason for which it once waited; ours forget it
    got = [reasons.sub("", line) for line in started.out(recording.command)]
    want = [reasons.sub("", line) for line in recording.stdout]
    assert got == want


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("outage-slurmctld-sbatch", "down"),
        ("outage-slurmctld-squeue", "down"),
        ("outage-slurmctld-scancel", "down"),
        ("outage-slurmdbd-sacct", "history-down"),
        ("hung-slurmctld-sbatch", "submit-timeout=1"),
    ],
)
def test_outages(bench, name, fault):
    bench.fault(fault)
    compare(bench, name)


def test_what_goes_on_in_an_outage(started):
    started.fault("down")
    assert started.out("sacct -n -P -X -j 654_1 --format=JobID,State") == ["654_1|FAILED"]
    assert started.run("sbatch --version").code == 0
    assert started.run("sbatch --time=abc mix.sh").code == 255


def test_without_slurmdbd_the_queue_goes_on(bench):
    start(bench, 676)
    bench.fault("history-down")
    compare(bench, "outage-slurmdbd-sbatch", plain=str)
    assert bench.out("squeue -h --me -o '%i|%T'") == read_recording("outage-slurmdbd-squeue").stdout


def test_a_submission_whose_client_gave_up_is_there(bench):
    start(bench, 677)
    bench.fault("submit-timeout=1")
    assert bench.run("sbatch --parsable -H -J hs-ghost mix.sh").code == 1
    recorded = (RECORDINGS / "hung-slurmctld-afterwards-squeue.txt").read_text().splitlines()
    assert bench.out("squeue -h -o '%i|%T|%j'") == recorded


ADAPTER = {
    "adapter-sbatch-ok": ("hs-mixed", "#SBATCH --mem=10M"),
    "adapter-sbatch-bad-account": ("hs-account", "#SBATCH --account=nope"),
    "adapter-sbatch-bad-constraint": ("hs-c", "#SBATCH --constraint=nope"),
    "adapter-sbatch-bad-nodes": ("hs-c", "#SBATCH --nodelist=nope"),
    "adapter-sbatch-bad-qos": ("hs-qos", "#SBATCH --qos=nope"),
    "adapter-sbatch-bad-reservation": ("hs-c", "#SBATCH --reservation=nope"),
    "adapter-sbatch-refused": ("hs-refused", "#SBATCH --gres=gpu:99"),
    "adapter-sbatch-submit-limit": ("hs-few", "#SBATCH --qos=few"),
}


@pytest.mark.parametrize("name", ADAPTER)
def test_submissions_of_hpcsweep(tmp_path, name):
    script, directive = ADAPTER[name]
    (tmp_path / f"{script}.sh").write_text(f"#!/bin/bash\n{directive}\ntrue\n")
    bench = Bench(cwd=tmp_path)
    start(bench, 337)
    compare(bench, name)


def test_the_queue_as_hpcsweep_asks(tmp_path):
    bench = Bench(cwd=tmp_path, user="root", uid=0)
    start(bench, 337)
    held = "0,4-6,8-11"
    for name, options in (
        ("hs-mixed", "--array=0-39%6"),
        ("hs-held", f"--array={held} -H"),
        ("hs-blocked", "--array=0-2 -p short -t 10"),
    ):
        bench.cluster.next_number = {"hs-mixed": 337, "hs-held": 338, "hs-blocked": 339}[name]
        bench.submit(f"-J {name} {options} --wrap 'sleep 600'")
    bench.cluster.next_number = 340
    bench.submit("-J hs-single --wrap 'sleep 600'")
    bench.submit("-J hs-after -d afterany:337 --array=0-1 --wrap true")
    bench.cluster.next_number = 400
    bench.pass_time(6)
    bench.out("scontrol hold 337_39")
    recording = read_recording("adapter-squeue")
    got = bench.out(quote(recording.command))
    # Other elements of hs-mixed had ended by then; the shape is the same.
    others = [line for line in got if not line.startswith("337_")]
    assert others == [line.replace("|n2|", "|n1|") for line in recording.stdout if not line.startswith("337_")]
    assert got[0] == "337_[6-39]|337|6-39|PENDING|hs-mixed|0:00||JobArrayTaskLimit,JobHeldAdmin"
    assert "337_0|337|0|RUNNING|hs-mixed|0:06|n1|None" in got


def test_show_job_has_the_recorded_fields_in_their_order(started):
    names = re.compile(r"([\w:/]+)=")
    recorded = [names.findall(block) for block in (RECORDINGS / "scontrol-show-job.txt").read_text().split("\n\n")]
    shown = [names.findall(block) for block in started.run("scontrol show job 654").stdout.split("\n\n") if block.strip()]
    later = {"PreemptEligibleTime", "PreemptTime"}  # where preemption is on
    assert [field for field in shown[0] if field not in later] == recorded[0]
    running = next(block for block in shown if "BatchHost" in block)
    assert [field for field in running if field not in later] == recorded[1]


def test_the_configuration_says_what_the_recorded_one_says(bench):
    bench = Bench(cwd=bench.cwd, given={**SITE, "min_job_age_s": 60, "max_array_size": 10001}, now=EPOCH)
    form = re.compile(r"^\S+ *= ", re.MULTILINE)
    recorded = dict(re.findall(r"^(\S+ *=) (.*)$", (RECORDINGS / "scontrol-config.txt").read_text(), re.MULTILINE))
    text = bench.run("scontrol show config").stdout
    shown = dict(re.findall(r"^(\S+ *=) (.*)$", text, re.MULTILINE))
    assert set(shown) <= set(recorded)
    assert form.findall(text)
    for name in ("MaxArraySize", "KillWait", "MaxJobCount", "MinJobAge", "ClusterName", "PrivateData", "SLURM_VERSION"):
        key = next(key for key in shown if key.split()[0].rstrip("=") == name)
        assert shown[key] == recorded[key], name


def test_accounts_and_nodes(bench):
    bench = Bench(cwd=bench.cwd, given={**SITE, "qos": "normal", "partitions": "main,short:1"})
    assert bench.out(read_recording("sacctmgr-assoc").command) == read_recording("sacctmgr-assoc").stdout
    assert bench.out(read_recording("sacctmgr-qos").command) == read_recording("sacctmgr-qos").stdout
    recorded = read_recording("sinfo")
    wanted = {re.sub(r"\|\d\|(mix|idle)\|", "|N|S|", line) for line in recorded.stdout}
    assert {re.sub(r"\|\d\|(mix|idle)\|", "|N|S|", line) for line in bench.out(quote(recorded.command))} == wanted
