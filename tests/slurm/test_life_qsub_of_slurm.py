"""Slurm's own qsub, qstat and qdel (package slurm-wlm-torque) under the Torque adapter: as far as they follow Torque."""

from __future__ import annotations

import shutil

import pytest
from life import Site

pytestmark = pytest.mark.slurm

SWEEP = """
scheduler: torque
command: |
  echo "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts-wrapped
  echo "$HPCSWEEP_PARAM_text" >"$HPCSWEEP_TASK_DIR/text"
  if [ {{ x }} = 3 ]; then exit 4; fi
  if [ {{ x }} = 2 ]; then until [ -e gate-wrapped ]; do sleep 0.2; done; fi
space: {x: [1, 2, 3], text: ["it's \\"a\\" $HOME, b"]}
resources: {time: 5m, cpus: 1, memory: 50M}
array: {at_once: 2}
"""


@pytest.fixture(autouse=True)
def _qsub_of_slurm():
    if shutil.which("qsub") is None:
        pytest.skip("NO QSUB: tests/slurm/start installs slurm-wlm-torque")


def test_an_array_runs_and_tells_how_it_ended(own_site: Site):
    run = own_site.submit("wrapped", SWEEP)
    assert "as job " in run.said
    waiting = run.await_status(lambda status: status["counts"].get("done") == 1, "one has ended by its own record")
    assert waiting["tasks"][1]["state"] in ("running", "pending", "unknown", "submitting")
    said = run.hpcsweep("status", code=None).stdout
    assert "it may be Slurm's: Unknown option: t" in said, "what its qstat does not know is said"
    refused = run.hpcsweep("cancel", "--tasks", "1", code=None)
    assert refused.returncode in (1, 4)
    assert "Unknown option: x" in refused.stderr, "and so is that nothing was deleted"
    (own_site.folder / "gate-wrapped").touch()
    ended = run.await_status(lambda status: not status["counts"].keys() & {"running", "pending", "unknown"}, "all have ended")
    assert ended["counts"].get("failed") == 1
    assert (run.path / "tasks/000000/text").read_text() == 'it\'s "a" $HOME, b\n'
    assert sorted(run.starts("starts-wrapped")) == ["0 1 0", "1 1 0", "2 1 0"]


def test_a_refusal_leaves_nothing(own_site: Site):
    run = own_site.submit("nowhere", SWEEP.replace("cpus: 1", "cpus: 1, partition: nosuch"), code=1)
    assert "sbatch: error" in run.said
    assert "--scheduler slurm" in run.said
    assert not run.path.exists()
