"""What OpenPBS's qstat prints in all its forms: the recorded state of a server, made again and compared."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from replay import Replay, Script, obey_variables
from test_openpbs_replay import ENVIRONMENT, normalise

from hpcsweep.rehearsal.face import make_settings
from hpcsweep.rehearsal.openpbs import FACE

SAMPLES = Path(__file__).parents[1] / "data/openpbs"
SUBMISSIONS = (
    "-J 0-5 -N mix mix.sh",
    "-J 0-1 -N wall -l walltime=3 -v S=120 s.sh",
    "-J 0-3 -N held -h s.sh",
    "-N single -v RC=3,S=1 s.sh",
    "-J 5-6:2 -N one -v S=1 s.sh",
    "-J 0-1 -N toobig -l ncpus=64 s.sh",
    "-N ok -v S=1 s.sh",
    "-N depfail -W depend=afternotok:227.pbs -v S=1 s.sh",
    "-J 0-11%4 -N long -l select=1:ncpus=1:mem=100mb -l walltime=00:20:00 -v S=300 s.sh",
)
LOOKS = {
    "qstat": "",
    "qstat-t": "-t",
    "qstat-J": "-J",
    "qstat-Jt": "-Jt",
    "qstat-a": "-a",
    "qstat-s": "-s",
    "qstat-xt": "-x -t",
    "qstat-f": "-f",
    "qstat-ft": "-f -t",
    "qstat-xf": "-x -f",
    "qstat-f-Fdsv": "-f -F dsv",
    "qstat-f-Fjson": "-f -F json",
    "qstat-tf-Fjson": "-t -f -F json",
    "qstat-xtf-Fjson": "-x -t -f -F json",
    "qstat-Qf": "-Q -f -F json",
}
STAGES = ("01-mixed", "02-after-qdel")


def run_mix(job, element) -> Script:
    return Script(seconds=2, code=element.index % 3) if job.request.name == "mix" else obey_variables(job, element)


@pytest.fixture(scope="module")
def stages(tmp_path_factory) -> dict[str, dict[str, str]]:
    """What each look prints: in the midst of it, and after the arrays were deleted."""
    given = {"cpus": 8, "linger_s": 5, "walltime_poll_s": 20}
    replay = Replay(
        face=FACE, given=given, home=tmp_path_factory.mktemp("user"), environment=ENVIRONMENT, script=run_mix, now=1795219650.0
    )
    for name in ("s.sh", "mix.sh"):
        (replay.cwd / name).write_text("#!/bin/sh\n")
    replay.cluster.next_number = 221
    for words in SUBMISSIONS:
        assert replay.call("qsub", *words.split()).code == 0
    replay.advance(replay.now + 16)
    replay.call("qdel", "229[0]", "229[11]")
    replay.advance(replay.now + 17)
    mixed = look(replay)
    replay.advance(replay.now + 27)
    replay.call("qdel", "223[]", "226[]", "229[]")
    replay.advance(replay.now + 20)
    return {"01-mixed": mixed, "02-after-qdel": look(replay)}


def look(replay: Replay) -> dict[str, str]:
    return {name: replay.call("qstat", *words.split()).stdout for name, words in LOOKS.items()}


def mask(text: str) -> str:
    """Times that ran, and the session ids, which quick jobs did not have yet."""
    text = re.sub(r'(?m)^\s*"?session_id"?(:\t| = )\d+,?\n', "", text)
    text = re.sub(r"\|session_id=\d+", "", text)
    text = re.sub(r"(walltime(?:\"?:\t\"?| = |=))00:0[01]:\d\d", r"\1TIME", text)
    return normalise(text)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", LOOKS)
def test_every_form_is_as_recorded(stage, name, stages):
    found = list(SAMPLES.glob(f"{stage}-{name}.*"))
    if not found:
        assert (stage, name) in {("02-after-qdel", one) for one in ("qstat-J", "qstat-Jt", "qstat-a", "qstat-s", "qstat-Qf")}
        return
    recorded = found[0].read_text()
    assert mask(stages[stage][name]).splitlines() == mask(recorded).splitlines()
    if name.endswith("json"):
        assert json.loads(stages[stage][name]).keys() == json.loads(recorded).keys()


def test_the_server_and_its_queues(tmp_path):
    replay = Replay(face=FACE, given={"cpus": 8, "max_array_size": 77}, home=tmp_path)
    text = replay.call("qstat", "-B", "-f").stdout
    assert text.startswith("Server: pbs\n    server_state = Active\n")
    for line in ("max_array_size = 77", "job_history_enable = True", "pbs_version = 23.06.06", "default_queue = workq"):
        assert f"    {line}\n" in text
    assert replay.call("qstat", "-Q").stdout.splitlines()[2].split()[:5] == ["workq", "0", "0", "yes", "yes"]
    assert replay.call("qstat", "-B").stdout.splitlines()[2].split() == ["pbs", *["0"] * 8, "Active"]
    assert replay.call("qstat", "-Q", "nosuch").code == 170
    assert replay.call("qstat", "--version").stdout == "pbs_version = 23.06.06\n"
    off = make_settings(FACE.table, {"history": "off"})
    replay.settings = replay.desk.settings = off
    assert "job_history" not in replay.call("qstat", "-B", "-f").stdout
    refused = replay.call("qstat", "-x", "-f")
    assert (refused.code, refused.stdout, "histor" in refused.stderr) == (0, "", True)


def test_history_off_forgets_at_the_end(tmp_path):
    replay = Replay(face=FACE, given={"history": "off"}, home=tmp_path, script=run_mix)
    replay.call("qsub", "-J", "0-1", "-N", "mix", "--", "/bin/true")
    replay.advance(replay.now + 5)
    answer = replay.call("qstat", "0[]")
    assert (answer.code, answer.stderr) == (153, "qstat: Unknown Job Id 0[].pbs\n")
