"""What the rehearsed Torque does with jobs: the facts that no recorded session shows."""

import dataclasses
import re
import xml.etree.ElementTree as ET  # what the rehearsal itself printed

import pytest
from replay import Replay, Script

from hpcsweep.rehearsal.faults import parse_fault
from hpcsweep.rehearsal.torque import FACE


@pytest.fixture
def torque(tmp_path):
    def start(script=None, **given):
        replay = Replay(
            face=FACE,
            given={"cpus": 8, "gpus": 4, **given},
            home=tmp_path,
            host="vm",
            environment={"HOME": "/home/user"},
            **({"script": script} if script else {}),
        )
        (replay.cwd / "s.sh").write_text("#!/bin/sh\n")
        return replay

    return start


def always(script):
    def give(job, element):
        return script

    return give


def told(replay, *words):
    """Job id -> attributes, of qstat -x."""
    text = replay.call("qstat", "-x", *words).stdout
    jobs = {}
    for job in ET.fromstring(text) if text else []:  # noqa: S314
        jobs[job[0].text] = {child.tag: child.text for child in job.iter() if not len(child)}
    return jobs


def states(replay, *words):
    return {name.partition(".")[0]: job["job_state"] for name, job in told(replay, *words).items()}


def after(replay, seconds):
    replay.advance(replay.now + seconds)


def test_elements_are_created_little_by_little(torque):
    replay = torque(create_per_s=100)
    replay.call("qsub", "-h", "-t", "0-9999", "s.sh")
    assert len(states(replay, "-t")) == 1
    after(replay, 1)
    assert len(states(replay, "-t")) == 101
    after(replay, 60)
    assert len(states(replay, "-t")) == 300
    assert replay.call("qstat", "0[300]").code == 153
    assert replay.call("qdel", "-t", "250-400", "0[]").code == 0
    elements = states(replay, "-t")
    assert sum(state == "C" for state in elements.values()) == 50
    assert sum(state == "H" for state in elements.values()) == 300
    replay.call("qdel", "0[]")
    assert len(states(replay, "-t")) == 10_000


def test_elements_with_high_indices_are_never_created(torque):
    replay = torque()
    assert replay.call("qsub", "-t", "100000-100002", "s.sh").stdout == "0[].torque\n"
    after(replay, 100)
    assert states(replay) == {"0[]": "Q"}
    assert states(replay, "-t") == {}
    replay.call("qdel", "0[]")
    assert replay.call("qstat", "0[]").code == 153


def test_the_others_of_a_slot_limit_are_held(torque):
    replay = torque()
    replay.call("qsub", "-t", "0-5%2", "s.sh")
    after(replay, 1)
    assert states(replay, "-t") == {"0[0]": "R", "0[1]": "R", "0[2]": "H", "0[3]": "H", "0[4]": "H", "0[5]": "H"}
    assert told(replay, "-t")["0[2].torque"]["Hold_Types"] == "l"
    replay.call("qalter", "-t", "%4", "0[]")
    replay.advance(replay.now)
    assert list(states(replay, "-t").values()).count("R") == 4


def test_each_element_is_forgotten_by_itself(torque):
    replay = torque(keep_completed_s=20, cpus=1)
    replay.call("qsub", "-t", "0-2", "-v", "S=15", "s.sh")
    after(replay, 34)
    assert states(replay, "-t") == {"0[0]": "C", "0[1]": "C", "0[2]": "R"}
    after(replay, 2)
    assert states(replay, "-t") == {"0[1]": "C", "0[2]": "R"}
    assert states(replay) == {"0[]": "R"}
    after(replay, 100)
    assert replay.call("qstat", "-x", "0[2]").stdout == ""
    assert replay.call("qstat", "0[]").stderr == "qstat: Unknown Job Id Error 0[].torque\n"


def test_a_server_that_keeps_nothing(torque):
    replay = torque(cpus=1)
    replay.call("qsub", "-t", "0-1", "-v", "S=5", "s.sh")
    replay.desk.set_fault(parse_fault("purged"), replay.now)
    after(replay, 6)
    assert states(replay, "-t") == {"0[1]": "R"}


@pytest.mark.parametrize(
    ("script", "seconds", "status"),
    [
        (Script(seconds=1), 5, "0"),
        (Script(seconds=1, code=2), 5, "2"),
        (Script(seconds=1, signal=9), 5, "265"),
        (Script(seconds=500), 100, "-11"),
        (Script(seconds=500, term_s=None), 100, "-11"),
    ],
)
def test_exit_statuses(torque, script, seconds, status):
    replay = torque(script=always(script), walltime_poll_s=45)
    replay.call("qsub", "-l", "walltime=3", "s.sh")
    after(replay, seconds)
    job = told(replay, "0")["0.torque"]
    assert job["job_state"] == "C"
    assert job["exit_status"] == status


def test_time_limits_are_looked_at_now_and_then(torque):
    replay = torque(walltime_poll_s=45)
    replay.call("qsub", "-l", "walltime=3", "-v", "S=500", "s.sh")
    after(replay, 40)
    assert told(replay)["0.torque"]["Remaining"] == "-37"
    assert "Walltime.Exceeded = -37" in replay.call("qstat", "-f", "0").stdout
    after(replay, 10)
    assert states(replay) == {"0": "C"}
    job = replay.cluster.jobs[0]
    assert FACE.last_words(replay.cluster, job, job.elements[0], "walltime", job.elements[0].doomed_s) == (
        "=>> PBS: job killed: walltime 45 exceeded limit 3\n"
    )


def test_deletion(torque):
    replay = torque(script=always(Script(seconds=500, term_s=1.0)), cpus=2)
    replay.call("qsub", "-t", "0-3", "s.sh")
    after(replay, 1)
    replay.call("qdel", "0[1]", "0[3]")
    after(replay, 0.5)
    assert states(replay, "-t") == {"0[0]": "R", "0[1]": "R", "0[2]": "Q", "0[3]": "C"}
    after(replay, 3)
    jobs = told(replay, "-t")
    assert jobs["0[1].torque"]["exit_status"] == "271"
    assert "exit_status" not in jobs["0[3].torque"]
    assert jobs["0[2].torque"]["job_state"] == "R"


def test_memory(torque):
    replay = torque()
    replay.call("qsub", "-l", "mem=50mb", "-v", "S=500", "s.sh")
    replay.desk.set_fault(parse_fault("oom"), replay.now)
    after(replay, 1)
    assert told(replay)["0.torque"]["exit_status"] == "-10"
    job = replay.cluster.jobs[0]
    words = FACE.last_words(replay.cluster, job, job.elements[0], "oom", replay.now)
    assert re.fullmatch(r"=>> PBS: job killed: mem \d+kb exceeded limit 51200kb\n", words)


def test_an_array_of_the_other_spelling_waits_for_ever(torque):
    replay = torque()
    replay.call("qsub", "-t", "0-1", "-v", "S=1", "s.sh")
    assert replay.call("qsub", "-W", "depend=afterok:0[]", "s.sh").code == 0
    assert replay.call("qsub", "-W", "depend=afteranyarray:0[]", "s.sh").code == 0
    after(replay, 100)
    assert states(replay) == {"0[]": "C", "1": "H", "2": "C"}


def test_jobs_of_jobs_are_refused(torque):
    replay = torque()
    replay.call("qsub", "s.sh")
    call = replay.calls[-1]
    inside = dataclasses.replace(call, inside=(0, 0))
    answer = FACE.run(replay.cluster, inside, replay.now)
    assert answer.stderr == ("qsub: submit error (Bad UID for job execution MSG=ruserok failed validating user/user from vm)\n")
    assert answer.code == 177
    replay.settings.values["allow_node_submit"] = True
    assert FACE.run(replay.cluster, inside, replay.now).code == 0


def test_a_server_that_hangs_or_is_down(torque):
    replay = torque()
    replay.call("qsub", "s.sh")
    given_up = FACE.gives_up(replay.calls[-1])
    assert (given_up.code, given_up.delay_s) == (174, 600.0)
    assert given_up.stdout + given_up.stderr == "Connection to server timed out. Trying againqsub: submit error (Time out)\n"
    replay.desk.set_fault(parse_fault("down"), replay.now)
    for program in ("qsub", "qstat", "qdel"):
        answer = replay.call(program, "1")
        assert answer.code == 111
        assert f"{program}: cannot connect to server torque (errno=111) Connection refused\n" in answer.stderr


def test_refusals_on_demand(torque):
    replay = torque()
    for reason, code in (("queue", 172), ("limit", 198), ("node", 177), ("", 198)):
        replay.desk.set_fault(parse_fault(f"refuse={reason},1"), replay.now)
        assert replay.call("qsub", "s.sh").code == code
    assert replay.call("qsub", "s.sh").stdout == "4.torque\n"


def test_a_limit_of_queued_elements(torque):
    replay = torque(max_user_queuable=5)
    replay.call("qsub", "-t", "0-3", "s.sh")
    assert "Maximum number of jobs" in replay.call("qsub", "-t", "0-1", "s.sh").stderr
    assert replay.call("qsub", "s.sh").code == 0


def test_which_jobs_are_listed(torque):
    replay = torque()
    replay.call("qsub", "-t", "0-1", "-v", "S=50", "s.sh")
    replay.call("qsub", "-N", "one", "-v", "S=1", "s.sh")
    replay.call("qsub", "-h", "-N", "two", "s.sh")
    after(replay, 3)
    assert list(states(replay)) == ["0[]", "1", "2"]
    assert list(states(replay, "0[]")) == ["0[]", "1", "2"]  # the id is ignored
    assert list(states(replay, "-t", "0[]")) == ["0[0]", "0[1]"]
    assert list(states(replay, "-t", "0[]", "2")) == ["0[0]", "0[1]", "2"]
    assert list(states(replay, "-c")) == ["0[]", "2"]
    rows = [row.split()[0] for row in replay.call("qstat", "-r").stdout.splitlines()[5:]]
    assert rows == ["0[].torque"]
    assert replay.call("qstat", "-u", "nobody").stdout == ""
    assert replay.call("qstat", "-f", "-a", "-r").code == 2
    assert replay.call("qselect", "-N", "one").stdout == "1.torque\n"
    assert replay.call("qselect", "-N", "s.sh").stdout == ""


def test_good_and_unknown_ids(torque):
    replay = torque()
    replay.call("qsub", "s.sh")
    answer = replay.call("qstat", "-f", "-x", "77", "0")
    assert answer.code == 153
    assert answer.stdout.count("<Data>") == 1
    assert "<Job_Id>0.torque</Job_Id>" in answer.stdout
    assert replay.call("qstat", "-x", "77").stdout == ""
    assert torque().call("qstat", "-x").stdout == '<?xml version="1.0"?>\n<Data></Data>\n'
    assert torque().call("qstat").stdout == ""


def test_an_element_that_is_released_by_itself(torque):
    replay = torque()
    replay.call("qsub", "-h", "-t", "0-2", "-v", "S=100", "s.sh")
    after(replay, 1)
    replay.call("qrls", "-t", "1", "0[]")
    after(replay, 1)
    assert states(replay, "-t") == {"0[0]": "H", "0[1]": "R", "0[2]": "H"}
    assert told(replay)["0[].torque"]["Hold_Types"] == "u"
    replay.call("qrls", "0[]")
    after(replay, 1)
    assert set(states(replay, "-t").values()) == {"R"}
    assert told(replay)["0[].torque"]["Hold_Types"] == "n"


def test_queues_server_and_nodes(torque):
    replay = torque(nodes=2)
    replay.call("qsub", "-l", "nodes=1:ppn=2", "-v", "S=50", "s.sh")
    replay.call("qsub", "-h", "-t", "0-1", "s.sh")
    after(replay, 1)
    text = replay.call("qstat", "-Q", "-f").stdout
    batch = text[text.index("Queue: batch") :]
    assert "    total_jobs = 3\n" in batch
    assert "resources_assigned.nodect = 1" in batch
    assert "Held:2 Waiting:0 Running:1" in batch.replace("\n\t", "")
    assert "resources_max.walltime = 00:05:00" in text
    server = replay.call("qstat", "-B", "-f").stdout
    assert "    max_job_array_size = 10001\n" in server
    assert "    server_state = Active\n" in server
    nodes = replay.call("pbsnodes", "-a").stdout
    assert "torque1\n     state = free\n" in nodes
    assert "     jobs = 0-1/0.torque\n" in nodes
    assert nodes.count("     gpus = 4\n") == 2
    assert replay.call("pbsnodes", "-x", "torque2").stdout.startswith("<Data><Node><name>torque2</name><state>free</state>")
    replay.desk.set_fault(parse_fault("node-lost=torque2"), replay.now)
    assert replay.call("pbsnodes", "-l").stdout.split() == ["torque2", "down"]
    assert replay.call("qstat", "-q").code == 0


def test_begin_times(torque):
    replay = torque()
    replay.call("qsub", "-a", "203001010000", "s.sh")
    assert states(replay) == {"0": "W"}


def test_resources_are_altered(torque):
    replay = torque()
    replay.call("qsub", "-h", "s.sh")
    assert replay.call("qalter", "-l", "walltime=120,mem=1G", "-N", "new", "0").code == 0
    job = told(replay)["0.torque"]
    assert (job["walltime"], job["mem"], job["Job_Name"]) == ("00:02:00", "1gb", "new")
    assert replay.call("qalter", "-l", "nosuch=1", "0").code == 189


def test_processors_wherever_they_are(torque):
    replay = torque(nodes=2, cpus=2)
    assert replay.call("qsub", "-l", "procs=5", "s.sh").code == 190
    replay.call("qsub", "-l", "procs=3", "-v", "S=50", "s.sh")
    assert told(replay)["1.torque"]["exec_host"] == "torque1/0-1+torque2/0"


def test_the_version(torque):
    assert torque().call("qstat", "--version").stderr.startswith("Version: 6.1-dev\nCommit: ")


@pytest.mark.parametrize(
    ("words", "code", "stderr"),
    [
        (["qdel"], 2, "usage: qdel"),
        (["qdel", "-x", "0"], 2, "qdel: invalid option -- 'x'\nusage: qdel"),
        (["qdel", "-W", "soon", "0"], 2, "qdel: illegal -W value\n"),
        (["qdel", "-t", "1-", "0[]"], 2, "usage: qdel"),
        (["qdel", "zero"], 1, "qdel: illegally formed job identifier: zero\n"),
        (["qdel", "0", "1", "77"], 153, "qdel: nonexistent job id: 0\nqdel: nonexistent job id: 77\n"),
        (["qhold"], 2, "usage: qhold"),
        (["qhold", "-z", "0[]"], 2, "qhold: invalid option -- 'z'\n"),
        (["qhold", "-h", "x", "0[]"], 2, "qhold: illegal -h value\n"),
        (["qhold", "-t", "x", "0[]"], 2, "qhold: illegal -t value\n"),
        (["qrls", "-h", "s", "0[]"], 159, "qrls: Unauthorized Request"),
        (["qhold", "77"], 153, "qhold: nonexistent job id: 77\n"),
        (["qalter"], 2, "usage: qalter"),
        (["qalter", "-Z"], 2, "qalter: invalid option -- 'Z'\n"),
        (["qalter", "-t", "4", "0[]"], 2, "qalter: illegal -t value\n"),
        (["qalter", "-v", "A=1", "0[]"], 1, "qalter: -v is not imitated by a rehearsal\n"),
        (["qselect", "-Z"], 2, "qselect: invalid option -- 'Z'\n"),
        (["qstat", "-Z"], 2, "qstat: invalid option -- 'Z'\nusage:"),
        (["qstat", "--nothing"], 2, "usage:"),
        (["qstat", "nosuch"], 172, "qstat: Unknown queue"),
        (["qstat", "-Q", "nosuch"], 172, "qstat: Unknown queue"),
        (["pbsnodes", "nosuch"], 1, "pbsnodes: Unknown node"),
        (["pbsnodes", "-Z"], 1, "pbsnodes: invalid option -- 'Z'\n"),
        (["qsub", "-N"], 2, "[exiting]\n\nusage: qsub"),
        (["qsub", "-I", "s.sh"], 1, "qsub:\tstandard input and output must be a terminal"),
        (["qsub", "."], 1, "qsub: script not a file\n"),
        (["qsub", "-T", "x", "s.sh"], 1, "qsub: submit error (-T is not imitated by a rehearsal)\n"),
        (["qsub", "-W", "depend=on:2", "s.sh"], 208, "qsub: submit error (-W depend=on is not imitated"),
        (["qsub", "-W", "depend=afterok:0[9]", "s.sh"], 208, "qsub: submit error (Invalid Job Dependency)\n"),
        (["qsub", "-W", "depend=afterok:0", "s.sh"], 208, "qsub: submit error (Invalid Job Dependency)\n"),
        (["qsub", "-l", "nodes=x=y", "s.sh"], 168, "qsub: submit error (Illegal attribute or resource value"),
        (["qsub", "-j", "both", "s.sh"], 2, "[qsub: illegal -j value]\n"),
        (["qsub", "-W", "depend", "-W", " ", "s.sh"], 2, "[qsub: illegal -W value]\n"),
    ],
)
def test_words_and_codes(torque, words, code, stderr):
    replay = torque()
    replay.call("qsub", "-h", "-t", "0-3", "s.sh")
    replay.call("qsub", "-h", "s.sh")
    answer = replay.call(*words)
    assert answer.code == code
    assert answer.stderr.startswith(stderr)
    assert answer.stdout == ""


def test_what_has_ended_is_not_changed(torque):
    replay = torque()
    replay.call("qsub", "-v", "S=1", "s.sh")
    after(replay, 5)
    for program, words in (("qhold", []), ("qalter", ["-N", "late"])):
        answer = replay.call(program, *words, "0")
        assert answer.code == 170
        assert answer.stderr == f"{program}: Request invalid for state of job MSG=invalid state for job - COMPLETE 0.torque\n"
    assert replay.call("qdel", "0").code == 0


def test_jobs_are_purged(torque):
    replay = torque()
    replay.call("qsub", "-v", "S=1", "s.sh")
    replay.call("qsub", "-v", "S=100", "s.sh")
    replay.call("qsub", "-v", "S=100", "s.sh")
    after(replay, 5)
    replay.call("qdel", "-p", "1")
    assert list(states(replay)) == ["0", "2"]
    replay.call("qdel", "-c")
    assert list(states(replay)) == ["2"]
    assert replay.call("qdel", "all").code == 0
    after(replay, 1)
    replay.call("qdel", "-c")
    assert replay.call("qdel", "all").stderr == "qdel: cannot find any jobs to delete\n"


def test_a_job_is_altered(torque):
    replay = torque()
    replay.call("qsub", "-h", "s.sh")
    replay.call("qsub", "-h", "s.sh")
    words = ["-h", "n", "-p", "5", "-A", "money", "-o", "x", "-e", "/y", "-W", "depend=afterok:0"]
    assert replay.call("qalter", *words, "1").code == 0
    job = told(replay)["1.torque"]
    assert (job["Priority"], job["Account_Name"], job["depend"]) == ("5", "money", "afterok:0.torque")
    assert (job["Output_Path"], job["Error_Path"]) == (f"vm:{replay.calls[0].cwd}/x", "vm:/y")
    assert (job["job_state"], job["Hold_Types"]) == ("H", "s")
    replay.call("qrls", "0")
    replay.call("qalter", "-h", "u", "1")
    assert told(replay)["1.torque"]["Hold_Types"] == "us"


def test_lists_below_jobs_and_of_queues(torque):
    replay = torque()
    replay.call(
        "qsub", "-l", "nodes=1:ppn=2:gpus=2", "-a", "203001010000", "-A", "money", "-M", "me@here", "-W", "umask=022", "s.sh"
    )
    job = told(replay, "batch")["0.torque"]
    assert (job["Mail_Users"], job["umask"]) == ("me@here", "18")
    assert int(job["Execution_Time"]) > replay.now
    replay.call("qsub", "-l", "nodes=1:gpus=2", "-S", "/bin/sh", "-F", "a b", "-v", "S=50", "s.sh")
    job = told(replay)["1.torque"]
    assert (job["exec_gpus"], job["Shell_Path_List"], job["job_arguments"]) == ("torque-gpu/1+torque-gpu/0", "/bin/sh", "a b")
    rows = replay.call("qstat", "-n", "-1").stdout.splitlines()
    assert rows[-1].endswith("   torque/0")
    assert replay.call("qstat", "-Q", "batch").stdout.splitlines()[2].split()[:3] == ["batch", "0", "2"]
    assert replay.call("qstat", "-B").stdout.splitlines()[2].startswith("torque ")
    assert list(states(replay, "short")) == []


def test_another_server(torque):
    replay = torque()
    answer = replay.call("qstat", env={"PBS_DEFAULT": "elsewhere"})
    assert answer.code == 162
    assert "qstat: cannot connect to server elsewhere (errno=15010)" in answer.stderr
