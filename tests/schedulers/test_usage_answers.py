"""What accounting says that jobs used, from recordings of the real programs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import DATA, read_recording

from hpcsweep.model import Completed
from hpcsweep.schedulers import SCHEDULERS, Site, make_scheduler
from hpcsweep.schedulers.base import NoAnswer
from hpcsweep.schedulers.slurm import Slurm
from hpcsweep.schedulers.slurm_usage import parse_cpu_time, parse_size

SACCT = read_recording(DATA / "slurm" / "adapter-sacct-usage.txt")


def by_job(completed: Completed, scheduler: str = "slurm"):
    answer = make_scheduler(scheduler, Site(queue_dir="/nowhere")).parse_usage(completed)
    assert not isinstance(answer, NoAnswer), answer
    return {used.job: used for used in answer}


def test_sacct_was_asked_as_it_is_asked_now():
    command = Slurm().usage_cmd({"a": ()}, 0.0)
    assert command is not None
    kept = [word for word in command.argv if not word.startswith(("--name", "--starttime"))]
    assert kept == [word for word in SACCT.argv if not word.startswith(("--name", "--starttime"))]


def test_sacct():
    used = by_job(SACCT)
    assert set(used) == {"4497_0", "4497_1", "4499_0", "4499_1", "4511_0", "4511_1"}  # what runs or waits has not ended
    srun = used["4497_1"]
    assert (srun.tag, srun.source, srun.elapsed_s, srun.cpu_s) == ("hs-usage-srun", "sacct", 17.0, 3.184)
    assert srun.peak_bytes == 1417812 * 1024  # the largest step's
    assert (srun.cpus, srun.gpus, srun.wait_s) == (1, None, 0.0)
    assert (used["4511_0"].cpus, used["4511_0"].gpus) == (2, 2)


def test_sacct_gave_no_answer():
    lost = read_recording(DATA / "slurm" / "outage-slurmdbd-sacct.txt")
    assert isinstance(Slurm().parse_usage(lost), NoAnswer)
    assert isinstance(Slurm().parse_usage(replace(SACCT, returncode=None)), NoAnswer)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1-02:03:04", 93784.0), ("02:03:04", 7384.0), ("00:12.500", 12.5), ("00:00:00", None), ("", None), ("INVALID", None)],
)
def test_cpu_time(text, seconds):
    assert parse_cpu_time(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("952K", 952 * 1024), ("1.50G", 3 * 1024**3 // 2), ("17", 17), ("0", None), ("", None), ("-1K", None)]
)
def test_a_memory_that_is_nothing_is_not_known(text, size):
    assert parse_size(text) == size


def test_openpbs():
    used = by_job(read_recording(DATA / "openpbs" / "01-mixed-qstat-xf.txt"), "pbs")
    known = [one for one in used.values() if one.peak_bytes is not None]
    assert known
    assert {one.source for one in used.values()} == {"qstat"}
    assert all("[]" not in job for job in used)
    assert (known[0].peak_bytes, known[0].elapsed_s, known[0].cpus, known[0].cpu_s) == (5732 * 1024, 1.0, 1, None)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_who_is_not_asked_gives_no_answer(name):
    scheduler = make_scheduler(name, Site(queue_dir="/nowhere"))
    command = scheduler.usage_cmd({"a": ("1",)}, 0.0)
    assert (command is None) is (name in ("local", "torque"))
    assert isinstance(scheduler.parse_usage(Completed(argv=(), returncode=1, stdout="", stderr="error")), NoAnswer)


@given(st.sampled_from(["slurm", "pbs"]), st.text(alphabet="0123456789_.|KMGhs-=:,\n ABCresources_used", max_size=200))
def test_nothing_raises(name, text):
    make_scheduler(name, Site(queue_dir="/nowhere")).parse_usage(Completed(argv=(), returncode=0, stdout=text, stderr=""))
