"""What tasks used, as the kernel, the runner and sacct tell it on the real Slurm."""

from __future__ import annotations

import csv
import io
import sys
import time

import pytest
from life import Life, Site

pytestmark = pytest.mark.slurm

HOLD = """
import sys, time
held = bytearray(int(sys.argv[1]))
begun = time.process_time()
while time.process_time() - begun < 0.5: pass
time.sleep(float(sys.argv[2]))
"""
MIB = 1024**2


@pytest.fixture(scope="module")
def used(own_site: Site) -> dict[str, Life]:
    """Two runs: one of tasks that are alone, the third of which uses srun; one of tasks that share an element."""
    own_site.write("hold.py", HOLD)
    program = f"{sys.executable} $PWD/hold.py"
    alone = f"""
command: |
  case $HPCSWEEP_TASK in
    0) {program} 60000000 2.5 ;;
    1) {program} 120000000 2.5; exit 3 ;;
    2) srun --ntasks=1 {program} 200000000 12 ;;
  esac
space: {{x: [0, 1, 2]}}
resources: {{time: 5m, memory: 1G, cpus: 1, gpus: 1}}
"""
    shared = f"""
command: {program} 60000000 2.5
space: {{x: [0, 1, 2, 3]}}
array: {{tasks_per_job: 4, parallel: 2}}
resources: {{time: 5m, memory: 300M, cpus: 1}}
"""
    runs = {"alone": own_site.submit("usage-alone", alone), "shared": own_site.submit("usage-shared", shared)}
    for run in runs.values():
        run.await_end()
    return runs


def rows_of(run: Life) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run.hpcsweep("usage", "--tasks", "--csv").stdout)))


def await_accounting(run: Life) -> list[dict[str, str]]:
    """slurmdbd is told a little later than the tasks end."""
    deadline = time.monotonic() + 60
    while True:
        rows = rows_of(run)
        if all("sacct" in row["source"] for row in rows):
            return rows
        assert time.monotonic() < deadline, f"sacct tells nothing: {rows}"
        time.sleep(0.5)


def test_a_task_that_is_alone(used):
    one, failed, _ = await_accounting(used["alone"])
    for row, least in ((one, 60_000_000), (failed, 120_000_000)):
        assert least < float(row["peak_mib"]) * MIB < least + 100_000_000
        assert row["source"] == "task+sacct"
        assert float(row["cpu_s"]) >= 0.5
        assert float(row["gpu_h"]) == pytest.approx(float(row["core_h"]))
    assert float(failed["uncounted_core_h"]) == float(failed["core_h"]) > 0
    assert float(one["uncounted_core_h"]) == 0


def test_the_kernels_count_is_preferred(used, slurm):
    if not slurm.has_memory_limits:
        pytest.skip("NO CGROUPS: this Slurm cannot use them here")
    assert {row["peak_from"] for row in rows_of(used["alone"])} == {"cgroup"}


def test_what_srun_started_counts(used):
    """The runner does not see it; sacct does, and the cgroup."""
    row = await_accounting(used["alone"])[2]
    assert float(row["peak_mib"]) * MIB > 190_000_000
    assert float(row["cpu_s"]) >= 0.5


def test_tasks_that_share_an_element_have_their_own_figures(used):
    rows = rows_of(used["shared"])
    assert {(row["peak_from"], row["source"]) for row in rows} == {("proc", "task")}
    assert all(60_000_000 < float(row["peak_mib"]) * MIB < 160_000_000 for row in rows)


def test_without_accounting_the_tasks_own_records_tell(used):
    tools = used["alone"].site.folder / "no-sacct"
    tools.mkdir(exist_ok=True)
    used["alone"].site.write("no-sacct/sacct", "#!/bin/sh\necho 'sacct: error: it is down' >&2\nexit 1\n", is_program=True)
    site = used["alone"].site
    answer = site.hpcsweep("usage", "usage-alone", PATH=f"{tools}:{site.environment()['PATH']}")
    assert "(figures: task)" in answer.stdout
    assert "the figures are the tasks' own, for the scheduler gave none: sacct: error: it is down" in answer.stderr
