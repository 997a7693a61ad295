"""The same commands to the real Slurm and to the rehearsed one: exit codes and both streams, but for what must differ."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from slurm_bench import Bench

pytestmark = pytest.mark.slurm

SCRIPTS = {
    "a.sh": "#!/bin/bash\nsleep 600\n",
    "ends.sh": "#!/bin/bash\n#SBATCH --mem 50M\n"
    "case $SLURM_ARRAY_TASK_ID in 1) exit 7 ;; 2) kill -9 $$ ;; 3) kill -15 $$ ;; 4) exit 137 ;; esac\n",
    "directives.sh": '#!/bin/bash\n#SBATCH -t 5 # comment\n#SBATCH --comment="a b" --mem=50M\ntrue\n#SBATCH -p nope\n',
    "unknown.sh": "#!/bin/bash\n#SBATCH --nope\n",
    "unclosed.sh": '#!/bin/bash\n#SBATCH --job-name "unclosed\n',
    "bare.sh": "echo hi\n",
    "dos.sh": "#!/bin/sh\r\necho hi\r\n",
    "empty.sh": "",
}
# Nothing of these is accepted.
REFUSED = """
sbatch
sbatch nope.sh
sbatch bare.sh
sbatch dos.sh
sbatch empty.sh
sbatch /tmp
sbatch unknown.sh
sbatch unclosed.sh
sbatch --array=abc a.sh
sbatch --array=5-1 a.sh
sbatch --array=1-3:0 a.sh
sbatch --array=1- a.sh
sbatch --array=-1 a.sh
sbatch --array=0-20000 a.sh
sbatch --array=10001 a.sh
sbatch -p nope a.sh
sbatch -A nope a.sh
sbatch -q nope a.sh
sbatch -t abc a.sh
sbatch --time= a.sh
sbatch -t 1h a.sh
sbatch -t 1.5 a.sh
sbatch --mem=abc a.sh
sbatch --mem=1.5G a.sh
sbatch --mem=-5 a.sh
sbatch --mem=900G a.sh
sbatch --mem=9000 --array=0-3 a.sh
sbatch --mem=1G --mem-per-cpu=1G a.sh
sbatch --gres=gpu:99 a.sh
sbatch --gres=nope:1 a.sh
sbatch --gres=gpu:nope:1 a.sh
sbatch --gpus=99 a.sh
sbatch -C nope a.sh
sbatch -w nope a.sh
sbatch -N abc a.sh
sbatch -n 0 a.sh
sbatch -c 0 a.sh
sbatch -c 9 a.sh
sbatch --reservation=nope a.sh
sbatch -d bad a.sh
sbatch -d afterok:abc a.sh
sbatch --partitoin=main a.sh
sbatch -Z a.sh
sbatch --time
sbatch -t
sbatch --hold=1 a.sh
sbatch --parsable=3 a.sh
sbatch --begin=garbage a.sh
sbatch --begin=now+1h a.sh
sbatch --signal=bad a.sh
sbatch --licenses=foo a.sh
sbatch --wrap true a.sh
sbatch --open-mode=bad a.sh
sbatch --mail-type=BAD a.sh
sbatch --exclusive=foo a.sh
sbatch -M nope a.sh
sbatch --qos few --array=0-9 a.sh
sbatch --version
squeue -j 999999
squeue -j abc
squeue --nope
squeue -i
squeue -t bad -h
squeue -V
squeue -h --name=NAME-none
squeue --name=NAME-none
squeue -l -h --name=NAME-none
squeue -s --name=NAME-none
squeue -o '%.5i|%.10j|%-8T|%20N|%Zx|%5i' --name=NAME-none
squeue -O jobid,arrayjobid,arraytaskid,name,state,timeused --name=NAME-none
squeue -u nouser --name=NAME-none
sacct --format=nope
sacct -j nope
sacct -S garbage
sacct -s bad
sacct -u nouser
sacct --nope
sacct -Z
sacct -j
sbatch --no a.sh
sacct --allo -Z
sacct extra
sacct --helpformat
sacct -X --name=NAME-none
sacct -b -P --name=NAME-none
sacct -X -l -P --name=NAME-none
sacct -j 999999 -n
sacct -V
scancel 999999
scancel -v 999999
scancel abc
scancel
scancel --name=NAME-none
scancel -t BAD 999999
scancel --nope
scancel -t
scancel -u nouser
scontrol --version
scontrol show job 999999
scontrol show job abc
scontrol hold 999999
scontrol hold jobname=NAME-none
scontrol release jobname=NAME-none
scontrol update JobName=NAME-none ArrayTaskThrottle=3
scontrol update JobId=999999 ArrayTaskThrottle=3
scontrol update
scontrol update foo=bar
scontrol update jobid=5
scontrol update jobid=5 timelimit
scontrol requeue 999999
scontrol requeue abc
scontrol show hostnames n[1-3,5]
scontrol show hostnames n[01-03],m
scontrol show hostnames
scontrol show hostlist n1,n2,n3
scontrol ping
scontrol nope
scontrol show nope
scontrol show
scontrol hold
scontrol release
scontrol requeue
scontrol
sinfo -h -o '%P|%a|%l|%D|%G|%c|%m'
sinfo -h -p nope
sinfo -o '%P %f'
sinfo --nope
sinfo -R
sacctmgr -n -P show qos format=name,maxjobspu,maxsubmitpu,maxwall
sacctmgr --noheader --parsable2 show qos format=Name,MaxSubmitPU,MaxSubmitPA,GrpSubmit
sacctmgr -n -P show qos format=nope
sacctmgr nope
sacctmgr show nope
sacctmgr show
sacctmgr
""".strip().splitlines()
QUEUE_FIELDS = (
    "%A|%i|%a|%b|%c|%C|%d|%D|%e|%E|%f|%F|%G|%h|%H|%I|%j|%J|%k|%K|%l|%L|%m|%M|%n|%N|%o|%P|%q|%r|%R|%S|%t|%T|%V|%x|%z|%Z"
)
# All of these are held, so that nothing starts. `x = ...` keeps the id; {x} is it.
HELD = (
    """
array = sbatch --parsable -J NAME -H --array=0-9%2 a.sh
steps = sbatch --parsable -J NAME -H --array=0-99:3%4 --mem=50M --wrap true
long = sbatch --parsable -J NAME -H --array=1000,1002,1004,1006,1008,1010,1012,1014,1016,1018,1020,1022,2000 --wrap true
few = sbatch --parsable -J NAME -H --array=[1-3],7,7 --wrap true
limit = sbatch --parsable -J NAME -H -t 1-2:30:45 -c 2 --mem-per-cpu=1536M --comment 'a b' a.sh
gpus = sbatch --parsable -J NAME -H --gres=gpu:2 --signal=B:USR1@60 --nice=5 a.sh
words = sbatch --parsable -J NAME -H directives.sh
short = sbatch --parsable -J NAME -H -t 10 -p short a.sh
alone = sbatch --parsable -J NAME -H -d singleton --export=NONE a.sh x 'y z'
after = sbatch --parsable -J NAME -H -d afterok:{array}:{array}_3,afterany:{few} --array=5 a.sh
either = sbatch --parsable -J NAME -H -d afterok:{gpus}?afternotok:{gpus} a.sh
later = sbatch --parsable -J NAME -H --begin=2033-05-18T03:33:20 a.sh
sbatch -J NAME -H a.sh
squeue --name=NAME
squeue --name=NAME -h -o '%i|%K'
squeue --name=NAME -h -r -j {array}
squeue --name=NAME -h -o 'FIELDS'
squeue --name=NAME -O jobid,jobarrayid:30,name:8,state:.10,timelimit,reason,dependency:70
squeue -h -j {array}_3 -o '%i %K'
squeue -h -j {array},999999 -o %i
squeue -h --name=NAME -t R
squeue -h --name=NAME -p short -o %i
squeue --name=NAME --start -h -j {array}
scontrol show job {array}
scontrol show job {limit}
scontrol show job {gpus}
scontrol show job {alone}
scontrol -o show job {short}
scancel --name=NAME-none {array}
squeue -h --name=NAME -j {array} -o '%i %r'
scancel {array}_3
scancel {array}_[5-6]
scancel {array}_77
squeue -h --name=NAME -j {array} -o '%i %r'
scontrol update jobid={array} ArrayTaskThrottle=3
squeue -h --name=NAME -j {array} -o '%i %r'
scontrol update jobid={limit} TimeLimit=5
scontrol update jobid={limit} partition=nope
scontrol update jobid={limit} foo=bar
squeue -h --name=NAME -j {limit} -o '%i %l'
scontrol requeue {limit}
scontrol requeue {few}
scontrol write batch_script {words} -
scancel --name=NAME {few}_2
squeue -h -j {few} -o %i
scancel --state=RUNNING --name=NAME
squeue -h --name=NAME -o %i
scancel --state=PENDING --name=NAME {steps}
squeue -h --name=NAME -o %i
scancel --name=NAME
squeue -h --name=NAME -o %i
scancel {array}
scontrol hold jobname=NAME
scontrol hold {array}
scontrol update jobid={array} ArrayTaskThrottle=3
sacct -n -P -X --name=NAME -S now-1hour -o jobid,state
""".replace("FIELDS", QUEUE_FIELDS)
    .strip()
    .splitlines()
)
ENDING = """
ends = sbatch --parsable -J NAME --array=0-4 ends.sh
single = sbatch --parsable -J NAME --mem=20M --wrap "exit 3"
after = sbatch --parsable -J NAME --mem=20M -d afterok:{ends} --wrap true
""".strip().splitlines()
ENDED = """
squeue -h --name=NAME -o '%i|%r|%E'
sorted: squeue -h --name=NAME -t all -j {ends} -o '%i|%T|%t|%r|%K'
sacct -n -P -X -j {ends} -o jobid,state,exitcode,account,partition,qos,reqmem,alloccpus,timelimit,user
sacct -n -P -j {ends} -o jobid,jobname,state,exitcode
sacct -n -P -X -j {ends}_1,{ends}_2 -o jobid
sacct -n -P -X -j {single} -o jobid,state,exitcode
sorted: sacct --name=NAME -X
sacct -X -j {ends} -o jobid%-20,state%5,exitcode%3
sacct -X -j {ends} -p
sacct -X -j {ends} -P --delimiter=,
sorted: sacct -n -P -X --name=NAME -s F -S 00:00 -E now -o jobid
sacct -n -P -X --name=NAME -s F -S 00:00 -o jobid
scancel {ends}
scancel {ends}_1
scancel {after}
""".strip().splitlines()


# `await N` waits until N run and nothing is on its way to an end. Why a requeued element waits is not compared: which of
# two reasons (BeginTime, JobArrayTaskLimit) stands there depends on when the real scheduler last looked at it.
RUNNING = """
array = sbatch --parsable -J NAME --array=0-5%2 --mem=20M -t 30 a.sh
await 2
after = sbatch --parsable -J NAME --mem=20M -d afterany:{array} --wrap true
sorted: squeue -h --name=NAME -o '%i|%K|%T|%t|%r|%l|%E|%D|%C|%m'
sorted: squeue -h --name=NAME -r -o '%i|%r'
squeue -h -j {array}_1 -o '%i|%T|%l'
scontrol hold {array}_4
sorted: squeue -h --name=NAME -t PD -o '%i|%r'
scontrol hold {array}
sorted: squeue -h --name=NAME -o '%i|%T|%r'
scontrol release {array}
await 2
scontrol requeue {array}_4
scontrol requeue {array}_0
await 2
sorted: squeue -h --name=NAME -o '%i|%T'
scancel {array}_1
await 2
sorted: squeue -h --name=NAME -o '%i|%T'
scontrol update jobid={array} ArrayTaskThrottle=3
await 3
sorted: squeue -h --name=NAME -o '%i|%T'
scancel --state=PENDING --name=NAME {array}
sorted: squeue -h --name=NAME -o '%i|%T'
scancel {array}
await 0
sorted: squeue -h --name=NAME -o '%i|%T'
""".strip().splitlines()


class Real:
    """The Slurm of tests/slurm/start, seen by root."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd

    def run(self, line: str) -> tuple[str, str, int]:
        environ = {"PATH": os.environ["PATH"], "SLURM_CONF": os.environ["SLURM_CONF"], "HOME": os.environ["HOME"], "TZ": "UTC"}
        done = subprocess.run(
            shlex.split(line), cwd=self.cwd, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        return done.stdout, done.stderr, done.returncode

    def await_running(self, name: str, many: int) -> None:
        """Until so many run and none is on its way to an end."""
        deadline = time.monotonic() + 60
        while self.run(f"squeue -h --name={name} -t R,CG -o %T")[0].split() != ["RUNNING"] * many:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def settle(self, name: str, waits: int, ended: int) -> None:
        """Until all have ended but ``waits`` that never will, and the history knows of those that have."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            rows = self.run(f"squeue -h --name={name} -o %r")[0].split()
            known = self.run(f"sacct -n -P -X --name={name} -s CD,F -S 00:00 -E now -o state,partition")[0].split()
            if rows == ["DependencyNeverSatisfied"] * waits and len(known) == ended and "|" not in [row[-1] for row in known]:
                return
            time.sleep(0.2)
        pytest.fail("the jobs did not end")


class Rehearsed:
    """The same, rehearsed."""

    def __init__(self, cwd: Path, first_number: int) -> None:
        self.bench = Bench(cwd=cwd, user="root", uid=0, now=time.time())
        self.bench.cluster.next_number = first_number

    def run(self, line: str) -> tuple[str, str, int]:
        answer = self.bench.run(line)
        return answer.stdout, answer.stderr, answer.code

    def await_running(self, name: str, many: int) -> None:
        self.bench.pass_time(5)
        assert self.bench.out(f"squeue -h --name={name} -t R,CG -o %T") == ["RUNNING"] * many

    def settle(self, name: str, waits: int, ended: int) -> None:
        self.bench.pass_time(5)
        assert len(self.bench.out(f"squeue -h --name={name}")) == waits
        assert len(self.bench.out(f"sacct -n -P -X --name={name} -s CD,F -S 00:00 -E now")) == ended


class Session:
    """Lines of one of the lists, with the ids that they keep, and answers without what must differ."""

    def __init__(self, side: Real | Rehearsed, name: str, run: Callable[[str], tuple[str, str, int]]) -> None:
        self.side, self.name, self.run_line = side, name, run
        self.ids: dict[str, str] = {}

    def run(self, line: str) -> list[str]:
        is_sorted, line = line.startswith("sorted: "), line.removeprefix("sorted: ")
        kept, equals, command = line.partition(" = ")
        command = (command if equals else line).replace("NAME", self.name)
        for name, number in self.ids.items():
            command = command.replace("{" + name + "}", number)
        stdout, stderr, code = self.run_line(command)
        if equals and stdout.strip().isdigit():
            self.ids[kept] = stdout.strip()
        lines = self.plain(stdout).splitlines()
        return [
            f"exit {code}",
            *(sorted(lines) if is_sorted else lines),
            *(f"2> {text}" for text in self.plain(stderr).splitlines()),
        ]

    def plain(self, text: str) -> str:
        for name, number in self.ids.items():
            text = re.sub(rf"(?<![\d.:]){number}(?![\d.:])", f"<{name}>", text)
        text = re.sub(r"Submitted batch job \d+", "Submitted batch job N", text)
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "T", text)
        text = re.sub(r"\b\d+(?=\|\S*_\d)", "RAW", text)  # an element's own id
        text = re.sub(
            r"(Priority=)\d+|(AllocNode:Sid=)\S+|(LastSchedEval=)\S+|(AccrueTime=)\S+|(Scheduler=)\S+", r"\1\2\3\4\5*", text
        )
        text = re.sub(r"(is UP|\(primary\) at) \S+|at \S+ is", "at HOST is", text)
        # Slurm's backfill writes a year for "no limit" while it plans, and that is recorded where a job starts just then.
        text = text.replace("365-00:00:00", "UNLIMITED")
        return re.sub(r" +(?=<)", " ", text)


@pytest.fixture
def both(slurm, tmp_path) -> list[Session]:
    cwd = tmp_path / "here"
    cwd.mkdir()
    for file, text in SCRIPTS.items():
        (cwd / file).write_text(text)
    name = f"like-{uuid4().hex[:6]}"
    real = Real(cwd)
    next_number = re.search(r"NEXT_JOB_ID *= (\d+)", real.run("scontrol show config")[0])
    rehearsed = Rehearsed(cwd, int(next_number[1]))
    try:
        yield [Session(real, name, real.run), Session(rehearsed, name, rehearsed.run)]
    finally:
        real.run(f"scancel --name={name}")


def differences(both: list[Session], lines: list[str]) -> str:
    found = []
    for line in lines:
        if line.startswith("await "):
            for session in both:
                session.side.await_running(session.name, int(line.removeprefix("await ")))
            continue
        real, rehearsed = (session.run(line) for session in both)
        if real != rehearsed:
            found += [f"$ {line}", *difflib.unified_diff(real, rehearsed, "real", "rehearsed", n=0, lineterm="")]
    return "\n".join(found)


def test_what_is_refused(both):
    found = differences(both, REFUSED)
    assert not found, found


def test_what_is_held(both):
    found = differences(both, HELD)
    assert not found, found


def test_what_runs(both):
    found = differences(both, RUNNING)
    assert not found, found


def test_how_jobs_end(both):
    found = differences(both, ENDING)
    for session in both:
        session.side.settle(session.name, waits=1, ended=6)
    found += differences(both, ENDED)
    assert not found, found
