"""Which scheduler is meant."""

from __future__ import annotations

import pytest

from hpcsweep.errors import HpcsweepError
from hpcsweep.schedulers import SCHEDULERS, choose, make_scheduler


def test_auto_takes_slurm_where_it_is_installed_and_else_this_machine():
    assert choose("auto", lambda program: program in {"sbatch", "bash"}) == "slurm"
    assert choose("auto", lambda program: program == "bash") == "local"


def test_the_one_that_is_named():
    assert choose("local", lambda _program: True) == "local"
    assert choose("slurm", lambda _program: True) == "slurm"


def test_one_that_is_not_installed_is_never_replaced():
    with pytest.raises(HpcsweepError, match="no program 'sbatch'") as caught:
        choose("slurm", lambda program: program == "bash")
    assert "--scheduler local" in caught.value.hint


def test_one_that_nobody_knows():
    with pytest.raises(HpcsweepError, match="lsf") as caught:
        choose("lsf", lambda _program: True)
    assert all(name in caught.value.hint for name in SCHEDULERS)


def test_names_are_their_own():
    assert [make_scheduler(name).name for name in SCHEDULERS] == list(SCHEDULERS)
