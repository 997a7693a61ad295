"""``hpcsweep rehearse`` as a user calls it."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from hpcsweep.rehearsal import processes
from hpcsweep.rehearsal.faults import FAULTS
from hpcsweep.rehearsal.server import FACES, load_face

PAGE = Path(__file__).parents[2] / "docs/rehearsal.md"


def folder_of(done) -> Path:
    return Path(re.search(r"rehearsing \w+ in (.*)", done.stderr)[1])


@pytest.mark.parametrize("scheduler", FACES)
def test_a_command_runs_with_the_schedulers_commands_and_its_exit_code_is_ours(user, scheduler):
    program = load_face(scheduler).programs[0]
    done = user.run(
        "rehearse", scheduler, "--", "sh", "-c", f'echo "$HPCSWEEP_REHEARSES $HPCSWEEP_REHEARSAL"; type {program}; exit 7'
    )
    folder = folder_of(done)
    assert done.returncode == 7
    assert done.stdout == f"{scheduler} {folder}\n{program} is {folder}/bin/{program}\n"
    assert not folder.exists()


def test_a_signal_and_a_command_that_is_not_there(user):
    assert user.run("rehearse", "pbs", "--", "sh", "-c", "kill -TERM $$").returncode == 128 + 15
    assert user.run("rehearse", "pbs", "--", "qstat", "--version").stdout.startswith("pbs_version")
    missing = user.run("rehearse", "pbs", "--", "no-such-command")
    assert (missing.returncode, "no-such-command: there is no such command" in missing.stderr) == (1, True)


def test_without_a_command_it_is_the_users_shell(user):
    (user.folder / "shell").write_text("#!/bin/sh\necho my shell\n")
    (user.folder / "shell").chmod(0o755)
    done = user.run("rehearse", "torque", env=user.environ(SHELL=str(user.folder / "shell")))
    assert (done.returncode, done.stdout) == (0, "my shell\n")


def test_options_reach_the_cluster_wherever_they_stand(user):
    words = ("--set", "max_array_size=9", "--fault", "refuse=queue,1")
    script = "echo true | qsub; echo $?; qstat -Bf | grep array_size; echo true | qsub -h -l ncpus=3; qstat -f | grep Never"
    done = user.run("rehearse", "pbs", "--cpus", "2", *words, "--", "sh", "-c", script)
    assert done.stdout == (
        "170\n    max_array_size = 9\n1.pbs\n"  # held: it is not said yet that it can never run
    )


def test_faults_are_changed_from_inside(user):
    script = 'hpcsweep() { $PYTHON -m hpcsweep "$@"; }; hpcsweep rehearse --fault down; qstat; echo $?; hpcsweep rehearse --fault none; qstat; echo $?'
    python = user.argv()[0]
    done = user.run("rehearse", "pbs", "--", "sh", "-c", script, env=user.environ(PYTHON=python))
    assert done.stdout == "255\n0\n"
    assert "Connection refused" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "which scheduler"),
        (("--fault", "down"), "which scheduler"),
        (("pbs", "--fault", "nonsense"), "there is no fault 'nonsense'"),
        (("pbs", "--set", "nonsense=1"), "pbs has these settings"),
        (("pbs", "--set", "history"), "pbs has these settings"),
        (("pbs", "--set", "kill_delay_s=soon"), "kill_delay_s=soon: it must be a number"),
        (("lsf",), "invalid choice"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(user, words, said):
    done = user.run("rehearse", *words, "--", "true")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_folder_that_is_not_ours_is_refused_and_a_kept_one_goes_on(user):
    (user.folder / "thesis").mkdir()
    (user.folder / "thesis" / "chapter.tex").touch()
    done = user.run("rehearse", "pbs", "--dir", "thesis", "--", "true")
    assert (done.returncode, "not empty" in done.stderr, "give another --dir" in done.stderr) == (1, True, True)
    assert user.run("rehearse", "pbs", "--dir", "kept", "--keep", "--", "qsub", "-h", "--", "/bin/true").stdout == "0.pbs\n"
    assert "0.pbs" in user.run("rehearse", "pbs", "--dir", "kept", "--", "qstat").stdout
    assert user.run("rehearse", "pbs", "--dir", "kept", "--", "qstat", "-x").stdout == ""


def test_nothing_is_left_running(user):
    job = "echo begun >>$PBS_O_WORKDIR/begun; sleep 1000"
    script = f"qsub -J 0-1 -- /bin/sh -c '{job}'; until [ \"$(wc -l <begun)\" = 2 ]; do sleep 0.05; done 2>/dev/null"
    done = user.run("rehearse", "pbs", "--cpus", "2", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert not processes.find_marked(processes.list_processes(), str(folder_of(done)))


def test_who_ends_it_ends_its_jobs(user):
    script = "qsub -- /bin/sleep 1000; until qstat | grep -q ' R '; do sleep 0.05; done; touch ready; exec sleep 1000"
    began = subprocess.Popen(
        user.argv("rehearse", "pbs", "--dir", "r", "--", "sh", "-c", script),
        cwd=user.folder,
        env=user.environ(),
        stdout=subprocess.DEVNULL,
    )
    while not (user.folder / "ready").exists():
        assert began.poll() is None
        time.sleep(0.02)
    began.terminate()
    assert began.wait(timeout=30) == 128 + 15
    assert not processes.find_marked(processes.list_processes(), str(user.folder / "r"))


# ---- the page ----


def test_the_page_lists_every_fault_every_setting_and_every_command():
    text = PAGE.read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", text, re.MULTILINE))
    assert {name: rows.get(name) for name in FAULTS} == FAULTS
    settings = {name: setting.help for scheduler in FACES for name, setting in load_face(scheduler).table.items()}
    listed = dict(re.findall(r"^\| `(\w+)` \| [^|]* \| (.*) \|$", text, re.MULTILINE))
    assert [name for name in settings if name not in listed] == []
    for scheduler in FACES:
        row = re.search(rf"^\| `{scheduler}` \| [^|]* \| (.*) \|$", text, re.MULTILINE)[1]
        assert set(re.findall(r"`(\w+)`", row)) == set(load_face(scheduler).programs)
