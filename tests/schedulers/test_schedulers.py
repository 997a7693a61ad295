"""Which scheduler is meant."""

from __future__ import annotations

import pytest

from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Completed
from hpcsweep.schedulers import SCHEDULERS, choose, make_scheduler

VERSIONS = {
    "pbs": ("pbs_version = 23.06.06\n", ""),
    "torque": ("Version: 6.1-dev\nCommit: 662e139abf1d0101542b1ea31c5bcac7d0e5b6a4\n", ""),
    "slurm": ("", "Unknown option: version\nUsage:\n    qsub [-a start_time]\n"),
    "grid engine": ("", 'error: ERROR! invalid option argument "--version"\n'),
}


def chosen(name: str, installed: set[str], qsub: str = "") -> str:
    def ask(command):
        assert command.argv == ("qsub", "--version")
        stdout, stderr = VERSIONS[qsub]
        return Completed(argv=command.argv, returncode=int(not stdout), stdout=stdout, stderr=stderr)

    return choose(name, installed.__contains__, ask)


def test_auto_takes_the_scheduler_that_is_installed_and_else_this_machine():
    assert chosen("auto", {"sbatch", "bash"}) == "slurm"
    assert chosen("auto", {"sbatch", "qsub", "bash"}, "slurm") == "slurm"
    assert chosen("auto", {"qsub", "bash"}, "pbs") == "pbs"
    assert chosen("auto", {"qsub", "bash"}, "torque") == "torque"
    assert chosen("auto", {"bash"}) == "local"


def test_auto_does_not_guess_whose_qsub_it_is():
    with pytest.raises(HpcsweepError, match="neither PBS's nor Torque's: error: ERROR! invalid option") as caught:
        chosen("auto", {"qsub", "bash"}, "grid engine")
    assert "--scheduler local" in caught.value.hint


def test_the_one_that_is_named():
    assert chosen("local", {"bash"}) == "local"
    assert chosen("slurm", {"sbatch"}) == "slurm"
    assert chosen("pbs", {"qsub"}, "pbs") == "pbs"
    assert chosen("torque", {"qsub"}, "torque") == "torque"
    assert chosen("torque", {"qsub"}, "slurm") == "torque", "Slurm's own qsub takes what Torque takes"
    assert chosen("pbs", {"qsub"}, "grid engine") == "pbs", "who names it knows it"


@pytest.mark.parametrize(("name", "found"), [("pbs", "torque"), ("torque", "pbs"), ("pbs", "slurm")])
def test_a_qsub_of_another_kind_is_told_from_it(name, found):
    with pytest.raises(HpcsweepError, match=f"not that of {name}") as caught:
        chosen(name, {"qsub", "bash"}, found)
    assert caught.value.hint == f"use `--scheduler {found}`"


@pytest.mark.parametrize(("name", "program"), [("slurm", "sbatch"), ("pbs", "qsub"), ("torque", "qsub")])
def test_one_that_is_not_installed_is_never_replaced(name, program):
    with pytest.raises(HpcsweepError, match=f"no program '{program}'") as caught:
        chosen(name, {"bash"})
    assert "--scheduler local" in caught.value.hint


def test_one_that_nobody_knows():
    with pytest.raises(HpcsweepError, match="lsf") as caught:
        chosen("lsf", {"bash"})
    assert all(name in caught.value.hint for name in SCHEDULERS)


def test_names_are_their_own():
    assert [make_scheduler(name).name for name in SCHEDULERS] == list(SCHEDULERS)
