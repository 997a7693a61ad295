"""How an element of the rehearsed Torque runs: what was seen inside of tasks, and where their outputs went."""

import pytest

from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Call, Place, make_settings
from hpcsweep.rehearsal.torque import FACE

NOW = 1795219649.0
PLACE = Place(folder="/r", bin="/r/bin", spool="/r/spool", tmp="/r/tmp", undelivered="/r/undelivered")


@pytest.fixture
def started(tmp_path):
    """Submits, and returns the plan of the first element that starts (or of the one with the index)."""
    (tmp_path / "s.sh").write_text("#!/bin/sh\ntrue\n")
    (tmp_path / "there").mkdir()

    def start(*words, index=0, number=56, stdin=None, env=None, **given):
        settings = make_settings(FACE.table, {"cpus": 8, "gpus": 4, **given})
        cluster = Cluster(FACE.rules(settings))
        cluster.next_number = number
        environment = {"HOME": "/home/user", "SHELL": "/bin/bash", "MINE": "1", **(env or {})}
        call = Call(
            program="qsub",
            argv=words,
            cwd=str(tmp_path),
            env=environment,
            settings=settings,
            home="/home/user",
            host="vm",
            stdin=stdin,
        )
        answer = FACE.run(cluster, call, NOW)
        assert answer.code == 0, answer.stderr
        actions = cluster.advance(NOW)
        action = next(action for action in actions if action.element.index == index)
        return FACE.plan(cluster, action.job, action.element, PLACE, NOW)

    return start


def delivered(plan, tmp_path):
    return [to.replace(str(tmp_path), ".") for _, to in plan.deliver]


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (["s.sh"], ["./s.sh.o56", "./s.sh.e56"]),
        (["-t", "0-1", "s.sh"], ["./s.sh.o56-1", "./s.sh.e56-1"]),
        (["-t", "0-1", "-j", "oe", "-o", "there/", "-N", "jo", "s.sh"], ["./there/jo.o56-1"]),
        (["-t", "0-1", "-j", "oe", "-o", "there", "-N", "jo", "s.sh"], ["./there/jo.o56-1"]),
        (["-t", "0-1", "-j", "oe", "-o", "missing/", "s.sh"], ["./missing/s.sh.o56-1"]),
        (["-t", "0-1", "-j", "oe", "-o", "out2/log.^array_index^", "s.sh"], ["./out2/log.^array_index^-1"]),
        (["-t", "0-1", "-j", "oe", "-o", "out2/log.$PBS_ARRAYID", "s.sh"], ["./out2/log.1-1"]),
        (["-t", "0-1", "-j", "oe", "-o", "out2/log.$PBS_JOBID.x", "s.sh"], ["./out2/log.56[1].torque.x-1"]),
        (["-t", "0-1", "-j", "oe", "-o", "out2/samefile", "s.sh"], ["./out2/samefile-1"]),
        (["-t", "0-1", "-j", "oe", "-o", "out2/sp ace", "s.sh"], ["./out2/sp\\ ace-1"]),
        (["-j", "eo", "s.sh"], ["./s.sh.e56"]),
        (["-d", "/elsewhere", "-j", "oe", "s.sh"], ["/elsewhere/s.sh.o56"]),
    ],
)
def test_where_outputs_go(started, tmp_path, words, paths):
    plan = started(*words, index=1 if "-t" in words else 0)
    assert delivered(plan, tmp_path) == paths
    assert all(path.startswith("/r/spool/56") for path, _ in plan.deliver)


def test_what_cannot_be_delivered_is_called_by_the_job(started):
    assert started("-t", "0-1", "s.sh", index=1).stdout == "/r/spool/56-1.torque.OU"
    assert started("s.sh").stderr == "/r/spool/56.torque.ER"


def test_outputs_that_are_kept_on_the_node(started):
    plan = started("-t", "0-1", "-k", "oe", "-N", "keepd", "s.sh", index=1)
    assert (plan.stdout, plan.stderr, plan.deliver) == ("/home/user/keepd-1.o56", "/home/user/keepd-1.e56", ())


def test_nothing_is_written_where_nobody_wants_it(started):
    plan = started("-o", "/dev/null", "-e", "/dev/null", "s.sh")
    assert (plan.stdout, plan.stderr, plan.deliver) == ("/dev/null", "/dev/null", ())


def test_what_a_task_finds(started, tmp_path):
    plan = started("-t", "0-1", "-N", "a.sh", "-v", "A=1", "s.sh", index=1)
    expected = {
        "PBS_ARRAYID": "1",
        "PBS_JOBID": "56[1].torque",
        "PBS_JOBNAME": "a.sh-1",
        "PBS_O_WORKDIR": str(tmp_path),
        "PBS_NODEFILE": "/r/spool/56[1].torque",
        "PBS_NP": "1",
        "PBS_NUM_PPN": "1",
        "PBS_NUM_NODES": "1",
        "PBS_WALLTIME": "3600",
        "PBS_VERSION": "TORQUE-6.1-dev",
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_O_HOST": "vm",
        "A": "1",
    }
    assert expected.items() <= plan.env.items()
    assert plan.env["PATH"].startswith("/r/bin:")
    assert not {"TMPDIR", "PBS_ARRAY_INDEX", "CUDA_VISIBLE_DEVICES", "MINE"} & plan.env.keys()
    assert (plan.cwd, plan.umask) == ("/home/user", 0o077)
    assert dict(plan.files) == {"/r/spool/56[1].torque": "torque\n"}


def test_a_plain_job_has_no_index(started):
    plan = started("-V", "s.sh")
    assert "PBS_ARRAYID" not in plan.env
    assert plan.env["PBS_JOBNAME"] == "s.sh"
    assert plan.env["MINE"] == "1"


def test_gpus(started):
    plan = started("-l", "nodes=1:ppn=2:gpus=2", "s.sh")
    assert plan.env["CUDA_VISIBLE_DEVICES"] == "1,0"
    assert dict(plan.files) == {"/r/spool/56.torque": "torque\ntorque\n", "/r/spool/56.torquegpu": "torque-gpu1\ntorque-gpu0\n"}
    assert plan.env["PBS_GPUFILE"] == "/r/spool/56.torquegpu"
    assert (plan.env["PBS_NP"], plan.env["PBS_NUM_PPN"]) == ("2", "2")


def test_a_shell_is_given_the_name_of_the_script(started):
    plan = started("-t", "0-1", "-F", "'a b' c,d", "s.sh", index=1)
    assert (plan.executable, plan.script_path) == ("/bin/bash", "/r/spool/56-1.torque.SC")
    assert plan.stdin_text == "/r/spool/56-1.torque.SC 'a b' c,d\n"
    assert plan.script == "#!/bin/sh\ntrue\n"
    assert started("-S", "/usr/bin/python3", "s.sh").executable == "/usr/bin/python3"


def test_a_script_that_is_piped_in(started):
    plan = started("-t", "0-1", "-j", "oe", stdin="#PBS -N inside\necho\n", index=1)
    assert plan.script == "#PBS -N inside\necho\n"
    assert plan.env["PBS_JOBNAME"] == "inside-1"


def test_where_and_with_which_umask(started):
    assert started("-d", "/elsewhere", "s.sh").cwd == "/elsewhere"
    assert started("-W", "umask=022", "s.sh").umask == 0o022


def test_two_nodes(started):
    plan = started("-l", "nodes=2:ppn=2", "s.sh", nodes=2)
    assert dict(plan.files) == {"/r/spool/56.torque": "torque1\ntorque1\ntorque2\ntorque2\n"}
    assert (plan.env["PBS_NP"], plan.env["PBS_NUM_NODES"]) == ("4", "2")
