"""Each recorded session of a real Torque, run again against the rehearsal's: same words, same codes."""

import re
import tempfile
import time
import xml.etree.ElementTree as ET  # what the rehearsal itself printed
from pathlib import Path

import pytest
from replay import TRANSCRIPTS, Replay, Script, obey_variables, parse_transcript

from hpcsweep.rehearsal.faults import parse_fault
from hpcsweep.rehearsal.torque import FACE

ONLY_THERE = (
    "what the job itself wrote: no process runs here; test_torque_plan.py has the paths, test_torque_request.py the variables"
)
SIZES = "how many bytes there are depends on the lengths of names"
UNLIKE = [
    (re.compile(r"Job started on \w+ \w+ \d\d at \d\d:\d\d"), "Job started"),
    (re.compile(r"<(start_time|comp_time|total_runtime|walltime|vmem|mem)>[^<]*<"), r"<\1><"),
    (re.compile(r"/home/user/t\b"), "/home/user/tt"),
    (re.compile(r"^(\d+) \d+ \d+$", re.MULTILINE), r"\1 lines"),  # of wc
]


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def alike(text):
    """Widths are test_torque_print's business (the recordings' user had another name); empty lines of stderr were not recorded."""
    rows = [re.sub(r" +", " ", row).strip() for row in text.splitlines()]
    text = "".join(f"{row}\n" for row in rows if row)
    for pattern, instead in UNLIKE:
        text = pattern.sub(instead, text)
    return text


class LazyScheduler(Replay):
    """Nothing starts for so many seconds after something did: the recorded scheduler looked only now and then. It has xmllint."""

    pause_s = 0.0
    next_start = 0.0

    def shell(self, programs=("sleep", "jq", "xmllint")):
        return super().shell(programs)

    def answer(self, message, base):
        if message["program"] != "xmllint":
            return super().answer(message, base)
        if "stdin" not in message:
            return {"need": "stdin"}
        document = ET.fromstring(message["stdin"])  # noqa: S314
        ET.indent(document)
        return {"stdout": ET.tostring(document, encoding="unicode") + "\n", "code": 0}

    def _act(self):
        before = self.cluster.all_active()
        self.cluster.room.down = {"torque"} if self.now < self.next_start else set()
        super()._act()
        if {id(element) for _, element in self.cluster.all_active()} - {id(element) for _, element in before}:
            self.next_start = self.now + self.pause_s


@pytest.fixture
def session():
    with tempfile.TemporaryDirectory(dir="/tmp") as home:  # a short path: long ones are wrapped elsewhere
        yield lambda number, **given: start_session(Path(home), number, **given)


def late_failure(job, element):
    """The array that fails began later than the other one."""
    return Script(seconds=7, code=1) if job.request.name == "depF" else obey_variables(job, element)


def start_session(home, number, script=obey_variables, **given):
    replay = LazyScheduler(
        face=FACE,
        script=script,
        given={"cpus": 8, "gpus": 4, "keep_completed_s": 3600, **given},
        home=home,
        host="vm",
        environment={
            "HOME": "/home/user",
            "LOGNAME": "user",
            "MAIL": "/var/mail/user",
            "PATH": "/usr/torque/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games",
            "SHELL": "/bin/sh",
        },
    )
    for name in ("a.sh", "s.sh", "mix.sh", "v.sh", "sig.sh", "py.py"):
        (replay.cwd / name).write_text("#!/bin/sh\n")
    replay.cluster.next_number = number
    return replay


def check(replay, name, skipped=None, last=None):
    entries = parse_transcript((TRANSCRIPTS / name).read_text())[:last]
    differences = replay.compare(entries, skipped or {}, alike)
    assert not differences, "\n\n".join(differences)


def test_arrays_errors_deletion_and_holds(session):
    replay = session(0, cpus=5)  # the scheduler of the recording had not started more yet
    replay.call("qsub", "-t", "0-3", "a.sh")
    replay.advance(replay.now + 20)
    check(replay, "torque-array-syntax-and-errors.txt")
    replay.advance(replay.now + 60)
    replay.pause_s = 6.5
    check(replay, "torque-qdel-qhold-unknown-ids.txt", {124: "how long bash's `time` took"})


def test_dependencies(session):
    replay = session(148, script=late_failure)
    replay.next_start = replay.now + 3  # nothing had started when the list was printed
    replay.call("qsub", "-N", "dSing", "-v", "RC=2,S=1", "s.sh")
    for kind, name in (("ok", "OK"), ("notok", "Not"), ("any", "Any")):
        replay.call("qsub", "-N", f"dSing{name}", "-W", f"depend=after{kind}:148.torque", "s.sh")
    replay.cluster.next_number = 153
    check(replay, "torque-dependencies-submit.txt")
    for _ in range(60):
        replay.advance(replay.now + 1)
    check(replay, "torque-dependencies-result.txt")


def test_names_and_variables(session):
    check(session(71), "torque-names-and-v.txt", {137: ONLY_THERE})


def test_outputs(session):
    replay = session(53, cpus=4)
    replay.call("qsub", "-t", "0-11", "-N", "long", "-v", "S=300", "s.sh")
    replay.advance(replay.now + 5)
    check(replay, "torque-output-paths.txt", dict.fromkeys([40, 98, 161, 172], ONLY_THERE))


def test_failed_and_deleted_elements(session):
    replay = session(170)
    for size in (999, 9999):
        replay.call("qsub", "-h", "-t", f"0-{size}", "s.sh")
    for _ in range(100):
        replay.call("qsub", "-h", "s.sh")
    replay.call("qdel", "all")
    check(replay, "torque-array-failed-and-deleted.txt", {273: SIZES})


def test_many_elements(session):
    replay = session(170, create_per_s=2900)
    check(replay, "torque-timing.txt", dict.fromkeys([7, 10, 25], SIZES), last=-2)  # not the 100 qsubs


def test_no_authorisation(session):
    replay = session(1)
    replay.desk.set_fault(parse_fault("trqauthd-down"), replay.now)
    check(replay, "torque-server-down.txt")


SAMPLES = Path(__file__).parents[1] / "data/torque"
TIMES = "ctime|mtime|qtime|etime|start_time|comp_time|total_runtime|session_id|Remaining"
DIFFERENT = [
    (re.compile(r"<resources_used>.*?</resources_used>"), lambda match: re.sub(r">[^<]+<", "><", match[0])),
    (re.compile(rf"<({TIMES})>[^<]*<"), r"<\1><"),
    (re.compile(r"torque/\d+"), "torque/0"),
    UNLIKE[0],
]


def told(text):
    """Jobs without what differs from one time to the next."""
    text = re.sub(r"/home/user/t\b", "/home/user/tt", text)
    for pattern, instead in DIFFERENT:
        text = pattern.sub(instead, text)
    return re.findall(r"<Job>.*?</Job>", text)


def test_all_that_is_told_of_jobs(session):
    replay = session(273, walltime_poll_s=43, script=mixed)
    for words in (
        ["-t", "0-5", "-N", "mix", "mix.sh"],
        ["-t", "0-1", "-N", "wall", "-l", "walltime=3", "-v", "S=120", "s.sh"],
        ["-t", "0-3", "-N", "held", "-h", "s.sh"],
        ["-N", "single", "-v", "RC=3,S=1", "s.sh"],
        ["-t", "5", "-N", "one", "-v", "S=1", "s.sh"],
        ["-N", "ok", "-v", "S=1", "s.sh"],
        ["-N", "depfail", "-W", "depend=afternotok:278.torque", "-v", "S=1", "s.sh"],
        ["-t", "0-11%4", "-N", "long", "-l", "nodes=1:ppn=1", "-l", "walltime=00:20:00", "-v", "S=300", "s.sh"],
    ):
        assert replay.call("qsub", *words).code == 0
    replay.advance(replay.now + 25)
    replay.call("qdel", "280[0]", "280[11]")
    replay.advance(replay.now + 12)
    for moment in ("01-mixed", "02-after-qdel"):
        for options in (["-f", "-x"], ["-x"], ["-t", "-f", "-x"]):
            recorded = (SAMPLES / f"{moment}-qstat{''.join(options)}.xml").read_text()
            here = replay.call("qstat", *options).stdout
            for mine, theirs in zip(told(here), told(recorded), strict=True):
                assert mine.replace("><", ">\n<") == theirs.replace("><", ">\n<")
        replay.advance(replay.now + 20)
        replay.call("qdel", "all")
        replay.advance(replay.now + 5)


def mixed(job, element):
    """The recordings' ``mix.sh``: ends differently for each index."""
    if job.request.name != "mix":
        return obey_variables(job, element)
    return Script(seconds=2, code=[0, 1, 2][element.index % 3])
