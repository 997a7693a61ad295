"""What ``doctor`` finds: on rehearsed clusters, on this machine, and where something is missing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hpcsweep.model import Completed
from hpcsweep.rehearsal.rehearse import Rehearsal
from hpcsweep.runs import doctor_folder, doctor_node, doctor_scheduler
from hpcsweep.runs.checkup import Checkup, Finding, problem, warning
from hpcsweep.runs.doctor import examine, look_here
from hpcsweep.runs.doctor_folder import examine_folder, machine_findings
from hpcsweep.schedulers.base import Command
from hpcsweep.shell import run_command
from hpcsweep.store import probe_folder

GOOD_REPORT = {
    "host": "n1",
    "bash": "4.2.46(2)-release",
    "coreutils": "ln (GNU coreutils) 8.22",
    "missing": "",
    **dict.fromkeys(("hard_link", "exclusive_link", "rename", "keeping_rename", "sha256sum", "clock"), "ok"),
}


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty folder to be in, and an empty home."""
    for name in ("home", "project"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PWD", str(tmp_path / "project"))
    for name in ("XDG_CONFIG_HOME", "HPCSWEEP_PROFILE", "HPCSWEEP_REHEARSAL", "HPCSWEEP_REHEARSES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def project(home) -> Path:
    return home / "project"


@pytest.fixture
def rehearse(home, monkeypatch) -> Iterator[Callable[..., Rehearsal]]:
    """``rehearse("pbs", history="off")``: from now on that scheduler is here."""
    made = []

    def start(scheduler: str, **settings: str) -> Rehearsal:
        rehearsal = Rehearsal(scheduler, home / f"{scheduler}-cluster", {"cpus": 4, **settings})
        made.append(rehearsal)
        for name, value in rehearsal.environment.items():
            monkeypatch.setenv(name, value)
        return rehearsal

    yield start
    for rehearsal in made:
        rehearsal.end()


def look(*, on_node_within_s: float | None = None, scheduler: str | None = None, profile: str | None = None) -> Checkup:
    place = look_here(scheduler=scheduler, runs_dir=None, profile=profile)
    findings = list(examine(place, on_node_within_s=on_node_within_s))
    name = None if place.scheduler is None else place.scheduler.name
    return Checkup(scheduler=name, runs_dir=str(place.runs_dir), findings=findings)


def of(checkup: Checkup, subject: str) -> list[Finding]:
    return [finding for finding in checkup.findings if finding.subject == subject]


def live_jobs(rehearsal: Rehearsal) -> str:
    program = "squeue -h" if rehearsal.scheduler == "slurm" else "qstat"
    done = subprocess.run(program.split(), env=rehearsal.environment, capture_output=True, text=True, check=True)
    return "\n".join(line for line in done.stdout.splitlines() if " C " not in line and "doctor" in line)


class TestOnARehearsedCluster:
    @pytest.mark.parametrize(
        ("scheduler", "default"), [("slurm", "main (default)"), ("pbs", "workq (default)"), ("torque", "batch (default)")]
    )
    def test_all_is_looked_at_and_nothing_is_left(self, scheduler, default, rehearse, project):
        rehearsal = rehearse(scheduler)
        checkup = look(on_node_within_s=60)
        assert (checkup.scheduler, checkup.exit_code) == (scheduler, 0)
        assert checkup.findings[1].subject == "rehearsal"
        for subject in ("scheduler", "jobs", "limits", "history", "file system", "room", "programs"):
            assert [finding.level for finding in of(checkup, subject)] == ["ok"], subject
        assert any(default in finding.text for finding in of(checkup, "queue"))
        assert [finding.level for finding in of(checkup, "compute node")] == ["ok"] * 3
        assert "umask" in of(checkup, "compute node")[-1].text
        assert list(project.iterdir()) == []
        assert live_jobs(rehearsal) == ""

    def test_torque_lets_nodes_submit_only_where_it_says_so(self, rehearse):
        rehearse("torque")
        (feeding,) = of(look(), "feeding")
        assert (feeding.level, "--feed" in feeding.text) == ("warning", True)

    def test_where_it_says_so_there_is_no_warning(self, rehearse):
        rehearse("torque", allow_node_submit="on")
        assert of(look(), "feeding") == []

    def test_history_that_is_off(self, rehearse):
        rehearse("pbs", history="off")
        (history,) = of(look(), "history")
        assert history.level == "warning"
        assert "lost" in history.advice

    def test_torque_that_keeps_nothing(self, rehearse):
        rehearse("torque", keep_completed_s="0")
        assert [finding.level for finding in of(look(), "history")] == ["warning"]

    @pytest.mark.parametrize(("scheduler", "fault"), [("pbs", "down"), ("torque", "trqauthd-down")])
    def test_out_of_reach(self, scheduler, fault, rehearse, project):
        rehearse(scheduler).fault(fault)
        checkup = look(on_node_within_s=60)
        assert checkup.exit_code == 4
        (silent,) = of(checkup, "jobs")
        assert silent.is_unreachable
        assert of(checkup, "queue") == of(checkup, "limits") == []
        (node,) = of(checkup, "compute node")
        assert node.level == "warning"
        assert list(project.iterdir()) == []

    def test_a_scheduler_that_is_slow(self, rehearse, monkeypatch):
        rehearse("torque")
        monkeypatch.setattr(doctor_scheduler, "SLOW_S", 0.0)
        assert [finding.level for finding in of(look(), "jobs")] == ["warning"]

    def test_the_configured_queue_has_to_be_there(self, rehearse, project):
        rehearse("pbs")
        (project / "hpcsweep.yaml").write_text("resources: {queue: nowhere}\n")
        checkup = look()
        assert any("nowhere" in finding.text and finding.level == "warning" for finding in of(checkup, "queue"))


class TestTheJob:
    def test_one_that_does_not_start_is_cancelled(self, rehearse, project):
        rehearsal = rehearse("pbs")
        (project / "hpcsweep.yaml").write_text("resources: {queue: stoppedq, time: 5m, memory: '{{ x }}G'}\n")
        _waits, found = of(look(on_node_within_s=0), "compute node")
        assert found.level == "warning"
        assert "pending" in found.text
        assert "Queue not started" in found.text
        assert live_jobs(rehearsal) == ""
        assert [path.name for path in project.iterdir()] == ["hpcsweep.yaml"]

    def test_one_that_is_refused(self, rehearse, project):
        rehearse("torque")
        (project / "hpcsweep.yaml").write_text("resources: {queue: nowhere}\n")
        (found,) = of(look(on_node_within_s=60), "compute node")
        assert (found.level, "refused" in found.text) == ("problem", True)
        assert not (project / "runs").exists()

    def test_one_that_was_taken_in_silence_is_found_by_its_name(self, rehearse, project, monkeypatch):
        rehearsal = rehearse("torque")

        def swallow_ids(command: Command) -> Completed:
            done = run_command(command)
            return replace(done, returncode=None, stdout="") if command.argv[0] == "qsub" else done

        monkeypatch.setattr(doctor_node, "run_command", swallow_ids)
        monkeypatch.setattr(doctor_node, "render_checkup", lambda **_: "#!/bin/bash\nsleep 600\n")
        found, left = of(look(on_node_within_s=60), "compute node")
        assert ("did not confirm" in found.text, "may be queued still" in left.text) == (True, True)
        assert live_jobs(rehearsal) == ""

    @pytest.mark.parametrize("scheduler", ["slurm", "torque"])
    def test_one_that_ends_without_a_report(self, scheduler, rehearse, project, monkeypatch):
        rehearse(scheduler)
        for name in ("_LATE_S", "_ASK_EVERY_S"):
            monkeypatch.setattr(doctor_node, name, 0.0)
        monkeypatch.setattr(doctor_node, "render_checkup", lambda **_: "#!/bin/bash\necho it is dark here\nexit 3\n")
        checkup = look(on_node_within_s=60)
        found = of(checkup, "compute node")[-1]
        assert (checkup.exit_code, found.level) == (1, "problem")
        assert "failed" in found.text
        assert ("it is dark here" in found.text) == (scheduler == "slurm")
        assert list(project.iterdir()) == []

    def test_an_interruption_takes_it_back(self, rehearse, project):
        rehearsal = rehearse("pbs")
        (project / "hpcsweep.yaml").write_text("resources: {queue: stoppedq}\n")
        place = look_here(scheduler=None, runs_dir=None, profile=None)
        findings = examine(place, on_node_within_s=600)
        assert any("is submitted" in finding.text for finding in findings)
        assert live_jobs(rehearsal) != ""
        findings.close()
        assert live_jobs(rehearsal) == ""
        assert [path.name for path in project.iterdir()] == ["hpcsweep.yaml"]

    def test_what_a_node_lacks_for_feeding_is_named(self, rehearse, monkeypatch):
        rehearse("slurm")
        monkeypatch.setattr(doctor_node.sys, "executable", "/no/such/python")
        (feeding,) = of(look(on_node_within_s=60), "feeding")
        assert (feeding.level, "/no/such/python is not there" in feeding.text) == ("warning", True)


class TestOnThisMachine:
    def test_there_are_no_queues(self, project):
        checkup = look(scheduler="local", on_node_within_s=60)
        assert (checkup.scheduler, checkup.exit_code, checkup.count("warning")) == ("local", 0, 0)
        assert "not limited" in of(checkup, "limits")[0].text
        assert of(checkup, "queue") == []
        assert list(project.iterdir()) == []

    def test_a_scheduler_that_is_not_here_is_a_problem_and_the_rest_is_looked_at(self, project, monkeypatch):
        monkeypatch.setenv("PATH", str(project))
        checkup = look(scheduler="pbs")
        assert (checkup.scheduler, checkup.exit_code) == (None, 1)
        assert [finding.level for finding in of(checkup, "scheduler")] == ["problem"]
        assert [finding.level for finding in of(checkup, "programs")] == ["ok"]

    def test_slurms_own_qsub_is_told(self, project, tmp_path, monkeypatch):
        tools = tmp_path / "tools"
        tools.mkdir()
        for name in ("qsub", "sbatch"):
            (tools / name).write_text("#!/bin/sh\necho 'Unknown option: version' >&2\nexit 2\n")
            (tools / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tools))
        chosen, (told,) = doctor_scheduler.find_scheduler("torque")
        assert (chosen, told.level, told.advice) == (None, "problem", "use `--scheduler slurm`")
        chosen, (told,) = doctor_scheduler.find_scheduler("auto")
        assert (chosen.name, told.level, told.subject) == ("slurm", "ok", "qsub")

    def test_a_pbs_beside_slurm_is_told(self, tmp_path, monkeypatch):
        for name, text in (("sbatch", "exit 1"), ("qsub", "echo pbs_version = 23.06.06")):
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        _, (told,) = doctor_scheduler.find_scheduler("auto")
        assert (told.level, "--scheduler pbs" in told.advice) == ("warning", True)
        assert doctor_scheduler.find_scheduler("slurm")[1] == []

    def test_a_configuration_that_cannot_be_read_is_a_problem(self, project):
        (project / "hpcsweep.yaml").write_text("resources: {tiem: 5m}\n")
        checkup = look(scheduler="local")
        (found,) = of(checkup, "configuration")
        assert (found.level, checkup.exit_code) == ("problem", 1)

    def test_a_profile_that_nobody_has_written(self, project):
        (found,) = of(look(scheduler="local", profile="alpine"), "configuration")
        assert found.level == "problem"

    def test_runs_in_a_place_where_nothing_can_be_made(self, project):
        (project / "runs").write_text("a file")
        checkup = look(scheduler="local")
        assert ([finding.level for finding in of(checkup, "folder")], checkup.exit_code) == (["problem"], 1)


class TestTheFolder:
    @pytest.fixture
    def levels(self, project, monkeypatch):
        """``levels(kind="tmpfs", is_local=False)`` -> subject -> level, of a folder with these facts."""

        def find(*, is_local: bool = False, **facts) -> dict[str, str]:
            changed = {"kind": "nfs4", "free_bytes": 10**12, "free_files": 10**6, **facts}
            monkeypatch.setattr(doctor_folder, "probe_folder", lambda folder: replace(probe_folder(folder), **changed))
            return {finding.subject: finding.level for finding in examine_folder(project / "runs", is_local=is_local)}

        return find

    def test_one_that_is_shared(self, levels):
        assert set(levels().values()) == {"ok"}

    @pytest.mark.parametrize("kind", ["tmpfs", "ext4", "xfs"])
    def test_one_that_compute_nodes_do_not_see(self, kind, levels):
        assert levels(kind=kind)["folder"] == "warning"
        assert levels(kind=kind, is_local=True)["folder"] == "ok"

    @pytest.mark.parametrize(
        ("facts", "subject", "level"),
        [
            ({"faults": {"hard link": "Operation not permitted"}}, "hard link", "problem"),
            ({"faults": {"rename": "no"}}, "rename", "problem"),
            ({"faults": {"flock": "no", "rename": ""}}, "flock", "warning"),
            ({"clock_ahead_s": -60.0}, "clock", "warning"),
            ({"free_bytes": 10**8}, "room", "warning"),
            ({"free_files": 100}, "room", "warning"),
            ({"free_files": None}, "room", "ok"),
            ({"kind": "", "mount": ""}, "folder", "ok"),
        ],
    )
    def test_what_is_not_as_it_should_be(self, facts, subject, level, levels):
        assert levels(**facts)[subject] == level


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"bash": "4.1.2(1)-release"}, "older than 4.2"),
        ({"missing": "awk timeout"}, "missing: awk timeout"),
        ({"hard_link": "no"}, "`ln -T` does not"),
        ({"sha256sum": "no"}, "sha256sum does not"),
    ],
)
def test_what_a_machine_lacks_is_a_problem(changes, words):
    (found,) = machine_findings("programs", {**GOOD_REPORT, **changes})
    assert (found.level, words in found.text) == ("problem" if words else "ok", True)


def test_no_bash_at_all_is_a_problem():
    assert [finding.level for finding in machine_findings("programs", {})] == ["problem"]


def test_exit_codes():
    def code(*findings: Finding) -> int:
        return Checkup(scheduler=None, runs_dir="runs", findings=findings).exit_code

    bad = problem("a", "b", "c")
    assert [code(), code(warning("a", "b", "c")), code(bad), code(bad, replace(bad, is_unreachable=True))] == [0, 0, 1, 4]
