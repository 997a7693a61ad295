"""The rehearsal with real processes: it runs jobs, is killed, hangs, forgets; nothing is left when it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcsweep.rehearsal import processes
from hpcsweep.rehearsal.face import SettingError
from hpcsweep.rehearsal.rehearse import Rehearsal, RehearsalError

PATIENCE_S = 20.0
QUICK = {"linger_s": 0, "kill_delay_s": 0.3, "walltime_poll_s": 0.2, "usage_poll_s": 0}


class Bench:
    """A rehearsal of OpenPBS with a user's home and working folder."""

    def __init__(self, folder: Path, **settings) -> None:
        self.home = folder / "home"
        self.work = folder / "wörk dir"
        self.home.mkdir()
        self.work.mkdir()
        self.rehearsal = Rehearsal("pbs", folder / "rehearsal", {"cpus": 4, **QUICK, **settings})

    def run(self, command: str, **env: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.rehearsal.environment, "HOME": str(self.home), "SHELL": "/bin/sh", **env}
        return subprocess.run(
            ["bash", "-c", command], env=environment, cwd=self.work, capture_output=True, text=True, check=False, timeout=60
        )

    def submit(self, script: str, *options: str) -> str:
        (self.work / "job.sh").write_text(f"#!/bin/bash\n{script}\n")
        done = self.run(f"qsub {' '.join(options)} job.sh")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def jobs(self) -> dict[str, dict]:
        done = self.run("qstat -x -t -f -F json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout).get("Jobs", {})

    def wait_end(self, *jobs: str) -> dict[str, dict]:
        def look():
            found = self.jobs()
            return found if all(found.get(job, {"job_state": "F"})["job_state"] in "FX" for job in jobs) else None

        return wait_for(look)

    def read(self, name: str) -> str:
        return wait_for(lambda: (self.work / name).read_text() if (self.work / name).exists() else None)


def wait_for(look: Callable):
    """What ``look`` finds, once it finds something."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def make(tmp_path) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make_bench(**settings) -> Bench:
        benches.append(Bench(tmp_path, **settings))
        return benches[-1]

    yield make_bench
    for bench in benches:
        bench.rehearsal.end()
        assert not processes.find_marked(processes.list_processes(), str(bench.rehearsal.folder))


@pytest.fixture
def bench(make) -> Bench:
    return make()


def running(bench: Bench) -> set[int]:
    return processes.find_marked(processes.list_processes(), str(bench.rehearsal.folder))


# ---- jobs ----


def test_an_array_runs_as_openpbs_runs_it(bench):
    identifier = bench.submit(
        'echo "$PBS_ARRAY_INDEX $PBS_JOBID $PBS_JOBNAME $(umask) $PWD"; echo oops >&2; exit $((PBS_ARRAY_INDEX % 2))',
        "-J 0-5",
        "-N mix",
    )
    assert identifier == "0[].pbs"
    jobs = bench.wait_end(identifier)
    assert [jobs[f"0[{index}].pbs"]["Exit_status"] for index in range(6)] == [0, 1] * 3
    assert jobs[identifier]["Exit_status"] == 1
    assert bench.read("mix.o0.3") == f"3 0[3].pbs mix 0077 {bench.home}\n"
    assert bench.read("mix.e0.3") == "oops\n"
    assert (bench.work / "mix.o0.3").stat().st_mode & 0o777 == 0o600


def test_the_job_gets_nothing_of_the_environment_but_what_is_told(bench):
    script = 'env | grep -E "^(A|B|HIDDEN|TOLD|PBS_O_WORKDIR|PBS_QUEUE|NCPUS)=" | sort; ls -d "$TMPDIR"; type qstat'
    (bench.work / "job.sh").write_text(f"#!/bin/bash\n{script}\n")
    done = bench.run("qsub -N told -l select=1:ncpus=2 -v 'TOLD,B=x y' job.sh", TOLD="t", HIDDEN="h")
    assert done.returncode == 0, done.stderr
    assert bench.run("qsub -v UNSET job.sh").returncode == 1
    bench.wait_end("0.pbs")
    lines = bench.read("told.o0").splitlines()
    assert lines[:5] == ["B=x y", "NCPUS=2", f"PBS_O_WORKDIR={bench.work}", "PBS_QUEUE=workq", "TOLD=t"]
    assert not Path(lines[5]).exists()
    assert lines[6].startswith("qstat is ")


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("A=envA,B=2", {"A": "envA", "B": "2"}),
        ("'A=\"a,b\",B=2'", {"A": "a,b", "B": "2"}),
        (r"'A=a\,b,B=2'", {"A": "a,b", "B": "2"}),
        ("'A=$HOME,B=`id`,C=a;b'", {"A": "$HOME", "B": "`id`", "C": "a;b"}),
        (r"'A={\"x\": 1}'", {"A": r"{\\\\x\\\\: 1}".replace(r"\\\\", r"\\")}),
        (r"'A=back\slash,B=ünï'", {"A": r"back\\slash", "B": "ünï"}),
    ],
)
def test_values_of_v_reach_the_job_as_they_do_there(bench, option, expected):
    bench.submit('for name in A B C; do printf "%s\\0" "${!name-unset}"; done', f"-N v -v {option}")
    bench.wait_end("0.pbs")
    values = bench.read("v.o0").split("\0")[:-1]
    assert {name: value for name, value in zip("ABC", values, strict=True) if value != "unset"} == expected


def test_outputs_go_where_they_go_there(bench):
    (bench.work / "out").mkdir()
    options = (
        "-j oe -o out/",
        "-o out/log.^array_index^ -e /dev/null",
        "-k oed -o out/",
        "-R oe -N gone",
        '-o "out/sp ace"',
        "-o missing/x",
    )
    for option in options:
        bench.submit("echo $PBS_ARRAY_INDEX; echo err >&2", "-J 0-1", option)
    jobs = bench.wait_end(*(f"{number}[].pbs" for number in range(len(options))))
    names = {path.name for path in (bench.work / "out").iterdir()}
    assert names == {"0[0].pbs.OU", "0[1].pbs.OU", "log.0", "log.1", "2[0].pbs.OU", "2[1].pbs.OU", "sp ace"}
    assert (bench.work / "out/0[1].pbs.OU").read_text() == "1\nerr\n"
    assert not list(bench.work.glob("gone.*"))
    undelivered = bench.rehearsal.folder / "undelivered"
    assert sorted(path.name for path in undelivered.iterdir()) == ["5[0].pbs.OU", "5[1].pbs.OU"]
    assert (jobs["5[0].pbs"]["Exit_status"], jobs["5[0].pbs"]["Stageout_status"]) == (0, 0)
    assert jobs["0[0].pbs"]["Stageout_status"] == 1


def test_scripts_of_other_languages_and_commands_and_stdin(bench):
    (bench.work / "py.py").write_text(
        "#!/usr/bin/env python3\nimport os, sys\nprint(os.environ['PBS_ARRAY_INDEX'], sys.argv[1:])\n"
    )
    assert bench.run("qsub -J 0-1 py.py").stdout == "0[].pbs\n"
    assert bench.run("qsub -N cmd -- /bin/sh -c 'echo \"$@\" $PWD' x 'a b' 'c\"d'").returncode == 0
    assert bench.run("printf '#PBS -N piped\\necho stdin' | qsub -J 0-1").stdout == "2[].pbs\n"
    (bench.work / "bad.sh").write_text("#!/nonexistent/bash\n")
    bench.run("qsub bad.sh; qsub -S /usr/bin/python3 -N pyS py.py")
    jobs = bench.wait_end("0[].pbs", "1.pbs", "2[].pbs", "3.pbs", "4.pbs")
    assert bench.read("py.py.o0.1") == "1 []\n"
    assert bench.read("cmd.o1") == f'a b c"d {bench.home}\n'
    assert bench.read("piped.o2.0") == "stdin\n"
    assert jobs["3.pbs"]["Exit_status"] == 127
    assert "SyntaxError" in bench.read("pyS.e4")


def test_a_profile_is_read_where_that_is_asked_for(make):
    bench = make(login_shell="on")
    (bench.home / ".profile").write_text("export FROM_PROFILE=yes\n")
    bench.submit('echo "$FROM_PROFILE"; type -t qsub', "-N login")
    bench.wait_end("0.pbs")
    assert bench.read("login.o0") == "yes\nfile\n"


def test_exit_codes_and_signals(bench):
    bench.submit(
        "case $PBS_ARRAY_INDEX in 0) kill -9 $$;; 1) kill -SEGV $$;; 2) exit 255;; 3) exec nosuchcommand;; esac", "-J 0-4"
    )
    jobs = bench.wait_end("0[].pbs")
    assert [jobs[f"0[{index}].pbs"]["Exit_status"] for index in range(5)] == [137, 139, 255, 127, 0]


def test_the_time_limit(make):
    bench = make(kill_delay_s=20, walltime_poll_s=3)
    bench.submit("trap 'sleep 0.1; echo got TERM; exit 5' TERM; sleep 60 & wait", "-N wall -j oe -l walltime=1")
    jobs = bench.wait_end("0.pbs")
    assert jobs["0.pbs"]["Exit_status"] == -29
    assert jobs["0.pbs"]["comment"].endswith("and exceeded resource walltime")
    assert re.search(r"=>> PBS: job killed: walltime \d+ exceeded limit 1\n", bench.read("wall.o0"))
    assert "got TERM" in bench.read("wall.o0")


def test_what_ignores_term_is_killed(bench):
    bench.submit("trap '' TERM; echo ready >ready; while :; do sleep 60; done", "-J 0-1")
    bench.read("../home/ready")
    assert bench.run("qdel '0[]'").returncode == 0
    jobs = bench.wait_end("0[].pbs")
    assert jobs["0[0].pbs"]["Exit_status"] == 271
    assert wait_for(lambda: not running(bench))


def test_a_session_of_its_own_outlives_the_job_but_not_the_rehearsal(bench):
    bench.submit("setsid sleep 100 & sleep 0.1")
    bench.wait_end("0.pbs")
    assert len(running(bench)) == 1  # the fixture looks that nothing is left in the end


def test_block_waits_for_the_end(bench):
    (bench.work / "job.sh").write_text("#!/bin/bash\nexit 4\n")
    done = bench.run("qsub -W block=true job.sh")
    assert (done.returncode, done.stdout) == (4, "0.pbs\n")


def test_dependencies_and_holds(bench):
    bench.submit("exit 1", "-J 0-1")
    bench.submit("true", "-N ok -W depend=afterok:0[]")
    bench.submit("true", "-N any -W depend=afterany:0[]")
    bench.submit("true", "-N held -h")
    jobs = bench.wait_end("0[].pbs", "1.pbs", "2.pbs")
    assert (jobs["1.pbs"]["substate"], "Exit_status" in jobs["1.pbs"]) == (92, False)
    assert jobs["2.pbs"]["Exit_status"] == 0
    assert jobs["3.pbs"]["job_state"] == "H"
    bench.run("qrls 3")
    assert bench.wait_end("3.pbs")["3.pbs"]["Exit_status"] == 0


def test_a_rerun_keeps_the_id_and_says_nothing_of_it(bench):
    bench.submit("echo x >>runs; until [ -e go ]; do sleep 0.05; done")
    bench.read("../home/runs")
    assert bench.run("qrerun 0").returncode == 0
    wait_for(lambda: (bench.home / "runs").read_text() == "x\nx\n")
    (bench.home / "go").touch()
    assert bench.wait_end("0.pbs")["0.pbs"]["run_count"] == 2


# ---- the server's own life ----


def test_a_killed_server_loses_nothing(bench):
    bench.submit("until [ -e go ]; do sleep 0.05; done; exit $PBS_ARRAY_INDEX", "-J 0-7")
    wait_for(lambda: len(running(bench)) >= 8)
    bench.rehearsal.kill_server()
    (bench.home / "go").touch()
    jobs = bench.wait_end("0[].pbs")
    assert [jobs[f"0[{index}].pbs"]["Exit_status"] for index in range(8)] == list(range(8))
    assert [jobs[f"0[{index}].pbs"]["run_count"] for index in range(8)] == [1] * 8
    assert bench.submit("true") == "1.pbs"


def test_ends_while_no_server_looks_are_found(bench):
    bench.submit("until [ -e go ]; do sleep 0.05; done; exit 3")
    wait_for(lambda: running(bench))
    bench.rehearsal.kill_server()
    (bench.home / "go").touch()
    wait_for(lambda: list((bench.rehearsal.folder / "runs").glob("*/end")))
    assert bench.wait_end("0.pbs")["0.pbs"]["Exit_status"] == 3


def test_elements_whose_shepherd_died_with_the_server_run_again(bench):
    bench.submit("echo x >>runs; until [ -e go ]; do sleep 0.05; done")
    bench.read("../home/runs")
    bench.rehearsal.kill_server()
    (shepherd,) = (bench.rehearsal.folder / "runs").glob("*/shepherd")
    pid, _, leader, _ = json.loads(shepherd.read_text())
    os.kill(pid, signal.SIGKILL)
    os.killpg(leader, signal.SIGKILL)
    assert bench.run("qstat").returncode == 0
    wait_for(lambda: (bench.home / "runs").read_text() == "x\nx\n")
    (bench.home / "go").touch()
    assert bench.wait_end("0.pbs")["0.pbs"]["run_count"] == 2


def test_many_at_once(bench):
    (bench.work / "job.sh").write_text("#!/bin/sh\ntrue\n")
    done = bench.run("for i in $(seq 30); do qsub job.sh & done; wait")
    assert sorted(done.stdout.split(), key=lambda text: int(text.partition(".")[0])) == [
        f"{number}.pbs" for number in range(30)
    ]
    bench.wait_end(*(f"{number}.pbs" for number in range(30)))


def test_a_large_array_is_taken_and_listed_at_once(bench):
    bench.submit("true", "-h -J 0-9999")
    assert len(bench.run("qstat -t").stdout.splitlines()) == 10003
    assert len(bench.jobs()) == 10001
    assert (bench.rehearsal.folder / "state.jsonl").stat().st_size < 20_000
    assert bench.run("qdel '0[]'; qstat").stdout == ""


def test_a_reader_that_goes_away_hurts_nobody(bench):
    bench.submit("true", "-h -J 0-9999")
    assert bench.run("qstat -t -f | head -1").stdout == "Job Id: 0[].pbs\n"
    assert bench.run("qstat").returncode == 0


def test_a_deep_folder_has_its_socket_elsewhere(tmp_path):
    folder = tmp_path / ("deep" * 20) / ("deeper" * 10)
    with Rehearsal("pbs", folder) as rehearsal:
        assert subprocess.run([f"{rehearsal.path}/qstat"], check=False).returncode == 0
        assert len((folder / "address").read_text()) <= 100


# ---- folders ----


def test_hostile_names(tmp_path):
    folder = tmp_path / 'it\'s a "$HOME"\n\\ [x] (ü) &;'
    folder.mkdir()
    bench = Bench(folder)
    try:
        bench.submit("echo ran", "-J 0-1", "-N hostile")
        jobs = bench.wait_end("0[].pbs")
        assert jobs["0[0].pbs"]["Exit_status"] == 0
        assert bench.read("hostile.o0.1") == "ran\n"
    finally:
        bench.rehearsal.end()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RehearsalError, match="not empty"):
        Rehearsal("pbs", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    before = set(Path(tempfile.gettempdir()).glob("hpcsweep-rehearsal-*"))
    with pytest.raises(SettingError, match="must be a number"):
        Rehearsal("pbs", settings={"linger_s": "soon"})
    assert set(Path(tempfile.gettempdir()).glob("hpcsweep-rehearsal-*")) <= before
    with pytest.raises(SettingError, match="no setting"):
        Rehearsal("pbs", tmp_path / "new", {"nonsense": 1})
    assert not (tmp_path / "new").exists()


def test_a_temporary_folder_is_removed_and_its_commands_say_that_it_is_over(tmp_path):
    with Rehearsal("pbs") as rehearsal:
        command = f"{rehearsal.path}/qstat"
        kept = Path(command).read_text()
    assert not rehearsal.folder.exists()
    (tmp_path / "qstat").write_text(kept)
    done = subprocess.run(["sh", tmp_path / "qstat"], capture_output=True, text=True, check=False)
    assert (done.returncode, "has ended" in done.stderr) == (1, True)


def test_a_kept_rehearsal_goes_on_and_one_that_ended_begins_anew(tmp_path):
    with Rehearsal("pbs", tmp_path / "r", keep=True) as rehearsal:
        subprocess.run(["qsub", "-h", "-N", "kept", "--", "/bin/true"], env=rehearsal.environment, check=True)
    with Rehearsal("pbs", tmp_path / "r", {"cpus": 1}) as rehearsal:
        listed = subprocess.run(["qstat"], env=rehearsal.environment, check=True, capture_output=True, text=True).stdout
        assert "kept" in listed
    with pytest.raises(RehearsalError, match="has ended"):
        rehearsal.fault("down")
    with Rehearsal("pbs", tmp_path / "r") as rehearsal:
        assert not subprocess.run(["qstat", "-x"], env=rehearsal.environment, check=True, capture_output=True).stdout
    with Rehearsal("pbs", tmp_path / "r", keep=True), pytest.raises(RehearsalError, match="rehearsal of pbs"):
        Rehearsal("slurm", tmp_path / "r")
    Rehearsal("pbs", tmp_path / "r").end()


# ---- faults ----


def test_down_and_up_again(bench):
    bench.submit("until [ -e go ]; do sleep 0.05; done; exit 3")
    bench.rehearsal.fault("down")
    done = bench.run("qsub job.sh")
    assert (done.returncode, done.stderr) == (162, "Connection refused\nqsub: cannot connect to server pbs (errno=15010)\n")
    bench.rehearsal.kill_server()
    assert bench.run("qstat").returncode == 255
    (bench.home / "go").touch()
    bench.rehearsal.fault("none")
    assert bench.wait_end("0.pbs")["0.pbs"]["Exit_status"] == 3


def test_a_fault_for_one_call(bench):
    bench.rehearsal.fault("down=1")
    assert bench.run("qstat").returncode == 255
    assert bench.run("qstat").returncode == 0


def test_accepted_without_an_answer(make):
    bench = make(patience_s=0)
    (bench.work / "job.sh").write_text("#!/bin/sh\ntrue\n")
    bench.rehearsal.fault("submit-timeout=1")
    done = bench.run("qsub -N lost job.sh")
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert bench.run("qselect -x -N lost").stdout == "0.pbs\n"
    assert bench.run("qsub job.sh").stdout == "1.pbs\n"


def test_a_hang_ends_and_what_was_asked_is_done(make):
    bench = make(patience_s=0.3)
    (bench.work / "job.sh").write_text("#!/bin/sh\ntrue\n")
    bench.rehearsal.fault("hung")
    done = bench.run("qsub -N late job.sh")
    assert (done.returncode != 0, done.stdout) == (True, "")
    bench.rehearsal.fault("none")
    assert bench.run("qselect -x -N late").stdout == "0.pbs\n"
    bench.rehearsal.fault("hung=1")
    assert bench.run("qstat").returncode != 0
    assert bench.run("qstat").returncode == 0


def test_refusals_on_demand(bench):
    (bench.work / "job.sh").write_text("#!/bin/sh\ntrue\n")
    bench.rehearsal.fault("refuse=array-size,1")
    done = bench.run("qsub job.sh")
    assert (done.returncode, done.stderr) == (3, "qsub: Array job exceeds server or queue size limit\n")
    assert bench.run("qsub job.sh").stdout == "1.pbs\n"  # the refused one used its number up


def test_history(bench):
    bench.submit("true")
    bench.wait_end("0.pbs")
    bench.rehearsal.fault("history-late")
    assert bench.run("qselect -x").stdout == ""
    bench.rehearsal.fault("none")
    bench.rehearsal.fault("history-off")
    done = bench.run("qstat -x -f")
    assert (done.returncode, done.stdout, "histor" in done.stderr) == (0, "", True)
    bench.rehearsal.fault("none")
    assert bench.run("qselect -x").stdout == "0.pbs\n"
    bench.rehearsal.fault("purged")
    assert bench.run("qselect -x").stdout == ""


def test_a_lost_node(bench):
    bench.submit("echo x >>runs; until [ -e go ]; do sleep 0.05; done")
    bench.read("../home/runs")
    bench.rehearsal.fault("node-lost")
    wait_for(lambda: not running(bench))
    assert bench.jobs()["0.pbs"]["job_state"] == "Q"
    bench.rehearsal.fault("none")
    wait_for(lambda: (bench.home / "runs").read_text() == "x\nx\n")
    (bench.home / "go").touch()
    assert bench.wait_end("0.pbs")["0.pbs"]["run_count"] == 2


def test_walltime_and_oom_on_demand(bench):
    bench.submit("echo x >>begun; sleep 60", "-J 0-2")
    wait_for(lambda: (bench.home / "begun").exists() and (bench.home / "begun").read_text() == "x\nx\nx\n")
    bench.rehearsal.fault("walltime=0[1]")
    bench.rehearsal.fault("oom=0[2]")
    jobs = bench.wait_end("0[1].pbs", "0[2].pbs")
    assert (jobs["0[1].pbs"]["Exit_status"], jobs["0[2].pbs"]["Exit_status"]) == (-29, 137)
    assert jobs["0[0].pbs"]["job_state"] == "R"


def test_a_server_that_forgets_gives_the_number_again(bench):
    bench.submit("true", "-h -N kept")
    bench.submit("sleep 60", "-N forgotten")
    wait_for(lambda: running(bench))
    bench.rehearsal.fault("forget=1")
    wait_for(lambda: not running(bench))
    assert list(bench.jobs()) == ["0.pbs"]
    assert bench.submit("true", "-N new") == "1.pbs"
