"""The rehearsed Torque with real processes: what tasks print, and where it goes, as in tests/data/transcripts/torque-output-paths.txt."""

import os
import re
import subprocess
import time

import pytest

from hpcsweep.rehearsal.rehearse import Rehearsal

PATIENCE_S = 30.0
PYTHON = "#!/usr/bin/env python3\nimport os, sys\nprint('PY', sys.argv, os.getcwd(), os.environ.get('PBS_ARRAYID'))\n"
STUBBORN = "#!/bin/bash\ntrap 'echo got TERM; exit 3' TERM\ntouch ready\nwhile :; do sleep 0.05; done\n"


@pytest.fixture(scope="module")
def torque(tmp_path_factory):
    """A home directory with jobs in it that have ended, and a function for more commands."""
    home = tmp_path_factory.mktemp("home")
    (home / "py.py").write_text(PYTHON)
    (home / "s.sh").write_text("#!/bin/sh\necho done\nexit ${RC:-0}\n")
    (home / "out2").mkdir()
    with Rehearsal("torque", settings={"cpus": 4, "gpus": 2, "walltime_poll_s": 0.5}) as rehearsal:
        environment = {**rehearsal.environment, "HOME": str(home), "SHELL": "/bin/bash"}

        def run(line):
            return subprocess.run(
                ["bash", "-c", line], env=environment, cwd=home, capture_output=True, text=True, check=False, timeout=PATIENCE_S
            )

        run.home, run.rehearsal = home, rehearsal
        yield run


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def have_ended(torque, *ids):
    def look():
        text = torque(f"qstat -t -f -x {' '.join(ids)}").stdout
        return set(re.findall(r"<job_state>(.)<", text)) == {"C"}

    wait_for(look)


def statuses(torque, *ids):
    have_ended(torque, *ids)
    return re.findall(r"<exit_status>([^<]*)<", torque(f"qstat -t -f -x {' '.join(ids)}").stdout)


def test_outputs(torque):
    lines = [
        "qsub -t 0-1 -j oe -o out/ s.sh",
        "qsub -t 0-1 -j oe -o out2/ -N jo s.sh",
        "qsub -t 0-1 -j oe -o 'out2/log.$PBS_ARRAYID' s.sh",
        "qsub -t 0-1 -j oe -o 'out2/sp ace' s.sh",
        "qsub -t 0-1 -o /dev/null -e /dev/null s.sh",
        "qsub -t 0-1 -k oe -N keepd s.sh",
        "qsub -t 0-1 -j oe -N pyarr py.py",
        "qsub -S /usr/bin/env -j oe -N other py.py",
        "echo 'echo stdin $PBS_ARRAYID $0 $PWD' | qsub -t 0-1 -j oe -N fromstdin",
        "echo 'cat $PBS_GPUFILE; echo $CUDA_VISIBLE_DEVICES; umask' | qsub -N gp -l nodes=1:ppn=2:gpus=2 -d out2 -j oe",
        "qsub -t 0-1 -F \"'a b' c,d\" -N fargs -j oe py.py",
    ]
    ids = [torque(line).stdout.strip().replace("[]", "\\[\\]") for line in lines]
    have_ended(torque, *ids)
    home, spool = torque.home, torque.rehearsal.folder / "spool"
    names = sorted(path.name for path in (home / "out2").iterdir())
    assert names == ["gp.o9", "jo.o1-0", "jo.o1-1", "log.0-0", "log.1-1", "sp\\ ace-0", "sp\\ ace-1"]
    undelivered = sorted(path.name for path in (torque.rehearsal.folder / "undelivered").iterdir())
    assert undelivered == ["0-0.torque.OU", "0-1.torque.OU"]
    assert {path.name for path in home.glob("keepd*")} == {f"keepd-{i}.{letter}5" for i in (0, 1) for letter in "oe"}
    assert (home / "pyarr.o6-1").read_text() == f"PY ['{spool}/6-1.torque.SC'] {home} 1\n"
    assert (home / "fargs.o10-1").read_text() == f"PY ['{spool}/10-1.torque.SC', 'a b', 'c,d'] {home} 1\n"
    assert (home / "fromstdin.o8-1").read_text() == f"stdin 1 {spool}/8-1.torque.SC {home}\n"
    assert (home / "out2/gp.o9").read_text() == "torque-gpu1\ntorque-gpu0\n1,0\n0077\n"
    assert not list(home.glob("*4-*"))
    assert (home / "out2/jo.o1-0").stat().st_mode & 0o777 == 0o600
    assert list(spool.iterdir()) == []


def test_ends(torque):
    ids = [torque(f"qsub {words}").stdout.strip() for words in ("-v RC=7 s.sh", "-N w -l walltime=1 sig.sh")]
    assert ids[1] == ""  # there is no such script yet
    (torque.home / "sig.sh").write_text(STUBBORN)
    ids = [ids[0], torque("qsub -N w -l walltime=1 sig.sh").stdout.strip()]
    assert statuses(torque, *ids) == ["7", "-11"]
    number = ids[1].partition(".")[0]
    assert (torque.home / f"w.o{number}").read_text() == "got TERM\n"
    words = (torque.home / f"w.e{number}").read_text()
    assert re.search(r"^=>> PBS: job killed: walltime [0-9]+ exceeded limit 1$", words, re.MULTILINE)


def test_deletion(torque):
    (torque.home / "sig.sh").write_text(STUBBORN)
    (torque.home / "ready").unlink(missing_ok=True)
    job = torque("qsub -N d sig.sh").stdout.strip()
    wait_for((torque.home / "ready").exists)
    assert torque(f"qdel {job}").returncode == 0
    assert statuses(torque, job) == ["271"]
    assert (torque.home / f"d.o{job.partition('.')[0]}").read_text() == "got TERM\n"


def test_jobs_may_not_submit(torque):
    job = torque("echo 'qsub s.sh; echo $?' | qsub -j oe -N inner").stdout.strip()
    have_ended(torque, job)
    words = (torque.home / f"inner.o{job.partition('.')[0]}").read_text()
    assert words.startswith("qsub: submit error (Bad UID for job execution MSG=ruserok failed validating ")
    assert words.endswith(f" from {os.uname().nodename})\n177\n")


def test_the_daemon_that_lets_clients_in(torque):
    torque.rehearsal.fault("trqauthd-down")
    answer = torque("qsub s.sh")
    torque.rehearsal.fault("none")
    assert (answer.returncode, answer.stdout) == (33, "")
    assert "could not connect to trqauthd" in answer.stderr
