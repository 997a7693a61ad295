"""OpenPBS's face against what a real server printed: the same commands, in a real shell, with a clock of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from replay import TRANSCRIPTS, Replay, Script, obey_variables, parse_transcript

from hpcsweep.rehearsal.face import make_settings
from hpcsweep.rehearsal.faults import parse_fault
from hpcsweep.rehearsal.jobs import Element, Job
from hpcsweep.rehearsal.openpbs import FACE

ENVIRONMENT = {
    "SHELL": "/bin/sh",
    "PWD": "/home/user/t",
    "LOGNAME": "user",
    "HOME": "/home/user",
    "TERM": "xterm",
    "USER": "user",
    "SHLVL": "0",
    "LC_CTYPE": "C.UTF-8",
    "PATH": "/usr/pbs/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games",
    "MAIL": "/var/mail/user",
    "OLDPWD": "/home/user",
    "_": "/usr/pbs/bin/qsub",
}


def normalise(text: str) -> str:
    """Take away what differs by its nature: moments, processes, memory, and the recording user's longer name."""
    text = re.sub(r"\b[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d \d{4}\b", "DATE", text)
    text = re.sub(r"\b[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d at \d\d:\d\d\b", "MINUTE", text)
    text = re.sub(r"\b1795\d{6}\b", "EPOCH", text)
    text = re.sub(r"\b(session_id|exec_host)\b(\W+)\S+", r"\1\2SOME", text)
    text = re.sub(r"\b(mem|vmem)(\"?\W+)\d+kb(?=\W)", r"\1\2SOME", text)
    text = re.sub(r"\b\d+m\d+\.\d+s\b", "SECONDS", text)
    text = re.sub(r"parse error: .*", "parse error", text)
    return re.sub(r"\buser +", "user ", re.sub(r"\bpbsuser\b", "user", text))


def test_a_transcript_is_read(tmp_path):
    text = "# --- title\n$ qsub s.sh\n1.pbs\n  2> oh\n  2>\n  [rc=3 0.50s]\n"
    (entry,) = parse_transcript(text)
    assert (entry.line, entry.command, entry.stdout, entry.stderr, entry.code) == (2, "qsub s.sh", "1.pbs\n", "oh\n\n", 3)


OUTPUT = "what jobs print: elements are scripted here; test_server runs them"
FILES = "a listing of the recording's folder"
SLOW = "the server took 23 s to delete 10,000 held subjobs; here they are gone at once"
OTHERS = "lists the whole history of the recording's server"


@dataclass(frozen=True, kw_only=True)
class Case:
    """How a transcript is run. ``before``: jobs that were there, by number; ``skipped``: lines not compared, and why not."""

    first: int = 0
    before: Mapping[int, str] = field(default_factory=dict)
    after: str = ""
    """Another transcript that was recorded just before."""
    skipped: Mapping[int, str] = field(default_factory=dict)
    without: str = "(?!)"
    """Rows that are not compared, by a pattern: they are about other jobs."""
    given: Mapping[str, str] = field(default_factory=dict)
    script: Callable[[Job, Element], Script] = obey_variables
    fault: str = ""
    user: str = "user"


def run_signals(job: Job, element: Element) -> Script:
    """The recording's ``sig.sh``: kill -9, SEGV, exit 255 and so on, by index."""
    if job.request.name == "sig":
        codes = {0: 137, 1: 139, 2: 255, 3: 137, 4: 127}
        return Script(seconds=0, code=codes[element.index]) if element.index in codes else Script(seconds=600)
    fixed = {
        "badint": Script(seconds=0, code=127),
        "syn": Script(seconds=0, code=2),
        "mem": Script(seconds=21),
        "sigq": Script(seconds=600),
    }
    return fixed.get(job.request.name) or obey_variables(job, element)


def run_partly(job: Job, element: Element) -> Script:
    """One ends well, one does not, the others go on."""
    return {0: Script(seconds=0), 1: Script(seconds=0, code=5)}.get(element.index, Script(seconds=100))


BEFORE = {
    31: "qsub -J 0-5 -v S=1,RC=1 -N mix s.sh",
    38: "qsub -J 5-6:2 -v S=1 -N one s.sh",
    92: "qsub -N dNoBr -W depend=afterok:81 -v S=1 s.sh",
    93: "qsub -N dNone -W depend=afterok:999999[] -v S=1 s.sh",
    94: "qsub -N dEnded -W depend=afterok:31[] -v S=1 s.sh",
}
CASES = {
    "openpbs-array-syntax-and-errors": Case(first=1),
    "openpbs-qdel-rewrites-history": Case(first=230, script=run_partly, given={"linger_s": "5"}),
    "openpbs-server-down": Case(fault="down"),
    "openpbs-qdel-qhold-unknown-ids": Case(
        first=1,
        after="openpbs-array-syntax-and-errors",
        skipped=dict.fromkeys((57, 71, 76), SLOW) | {102: "how far the array was"},
    ),
    "openpbs-dependencies": Case(
        first=79,
        before={0: "qsub -J 0-1 -v S=1 s.sh", 31: "qsub -J 0-1 -v S=1,RC=1 s.sh"},
        without=r"Job Id: 0\[\]\.pbs Job_Name=(a|s)\.sh .*",  # where a name is not found the whole history is printed
    ),
    "openpbs-signals-exit-codes": Case(
        first=104, script=run_signals, given={"walltime_poll_s": "18", "linger_s": "9"}, skipped={51: OUTPUT}
    ),
    # The lengths count: the recording's user had seven letters.
    "openpbs-timing": Case(first=112, user="pbsuser", skipped={39: OTHERS}),
    "openpbs-names": Case(
        first=57, before={40: "qsub -J 0-1 s.sh", 46: "qsub -J 0-1 s.sh"}, skipped={1: OUTPUT, 17: OUTPUT, 24: FILES}
    ),
    "openpbs-misc": Case(first=218, before=BEFORE, skipped={33: OUTPUT}),
    "openpbs-json-several-ids": Case(before=BEFORE, user="pbsuser"),
    "openpbs-json-23.06.06-release": Case(first=214),
    "openpbs-v-option": Case(
        first=63,
        before={62: "qsub -h s.sh"},
        skipped={60: OUTPUT},
        without=r"== v[bg](?:\n\{.*)*",  # these were refused; where a name is not found the whole history is printed
    ),
    "openpbs-env-and-output-paths": Case(
        first=39,
        before={33: "qsub -J 0-6 -v S=600 -N long s.sh", 34: "qsub -J 0-1 -v S=600 s.sh"},
        skipped={57: "what could not be delivered stayed in B for some seconds more", 63: FILES, 310: OUTPUT, 394: OUTPUT},
    ),
}


class ReplayOpenPbs(Replay):
    """Knows ``Q23``, the recording's name for the qstat of the release."""

    def answer(self, message, base):
        if message["program"] != "Q23":
            return super().answer(message, base)
        mine = self.settings
        self.settings = make_settings(FACE.table, {**mine.values, "json": "release", "json_ids": "all"})
        try:
            return super().answer({**message, "program": "qstat"}, base)
        finally:
            self.settings = mine


def replay_of(tmp_path: Path, case: Case) -> Replay:
    """A cluster with the jobs that were there before."""
    home = tmp_path / "user"
    replay = ReplayOpenPbs(
        face=FACE,
        given={"cpus": 8, **case.given},
        home=home,
        script=case.script,
        user=case.user,
        recorded_home=f"/home/{case.user}",
        environment={
            name: value.replace("user", case.user) if "/usr/" not in value else value for name, value in ENVIRONMENT.items()
        },
    )
    for name in ("s.sh", "v.sh", "mix.sh", "sig.sh", "badint.sh", "syn.sh", "envdump.sh", "py.py"):
        (home / "t" / name).write_text("#!/bin/bash\n")
    (home / "t/envdump.sh").write_text("#!/bin/bash\n#PBS -N envdump\n#PBS -l select=1:ncpus=2:mem=1gb\n")
    for number, command in case.before.items():
        replay.cluster.next_number = number
        program, *argv = command.split()
        replay.call(program, *argv)
        replay.advance(replay.now + 60)
    replay.cluster.next_number = case.first
    if case.after:
        replay.compare(parse_transcript((TRANSCRIPTS / f"{case.after}.txt").read_text()), {}, normalise)
        replay.advance(replay.now + 22)
    if case.fault:
        replay.desk.set_fault(parse_fault(case.fault), replay.now)
    return replay


@pytest.mark.parametrize("name", CASES)
def test_it_prints_what_openpbs_prints(name, tmp_path):
    case = CASES[name]
    replay = replay_of(tmp_path, case)
    entries = parse_transcript((TRANSCRIPTS / f"{name}.txt").read_text())
    assert set(case.skipped) <= {entry.line for entry in entries}
    entries = [replace(entry, seconds=0) if case.skipped.get(entry.line) == SLOW else entry for entry in entries]
    differences = replay.compare(entries, case.skipped, lambda text: re.sub(rf"(?m)^{case.without}\n", "", normalise(text)))
    assert not differences, "\n\n".join(differences)
