"""Tasks that share an element, and retries, on the real Slurm: four nodes of eight cores and four GPUs."""

from __future__ import annotations

import pytest

SPAN = """
command: |
  echo "$SLURMD_NODENAME $CUDA_VISIBLE_DEVICES $(date +%s.%N)" >"$HPCSWEEP_TASK_DIR/span"
  sleep {{ seconds }}
  date +%s.%N >>"$HPCSWEEP_TASK_DIR/span"
"""


def spans(life) -> list[tuple[str, list[str], float, float]]:
    """Of each task its node, its devices, its begin and its end."""
    found = []
    for index in range(life.status()["total"]):
        first, end = (life.path / f"tasks/{index:06d}/span").read_text().splitlines()
        node, devices, begin = first.split()
        found.append((node, devices.split(","), float(begin), float(end)))
    return found


def most_at_once(found) -> dict[tuple[str, str], int]:
    """Device -> how many tasks had it at the same time, at most."""
    most = {}
    for device in {(node, device) for node, devices, *_ in found for device in devices}:
        steps = [
            step
            for node, devices, begin, end in found
            if node == device[0] and device[1] in devices
            for step in ((begin, 1), (end, -1))
        ]
        now = most[device] = 0
        for _, step in sorted(steps):
            now += step
            most[device] = max(most[device], now)
    return most


@pytest.mark.parametrize(
    ("asked", "devices", "sharing"),
    [
        (("1", 4, ""), 16, 1),
        (("0.5", 6, ""), 12, 2),
        (("2", 2, ""), 16, 1),
        (("1", 2, 'gpus_from: ["0", "1,2"]\n'), 12, 1),
    ],
    ids=["whole", "half", "two", "groups"],
)
def test_no_device_has_more_tasks_than_it_should(own_site, request, asked, devices, sharing):
    gpus, parallel, more = asked
    exclusive = "slurm: {exclusive: true}\n" if more else ""  # a node whose GPUs are named has to be one's own
    sweep = SPAN + (
        f"space: {{seconds: {{linspace: [0.4, 1.6, 24]}}}}\nresources: {{time: 5m, memory: 20M, gpus: {gpus}}}\n"
        f"array: {{tasks_per_job: 6, parallel: {parallel}}}\n{more}{exclusive}"
    )
    life = own_site.submit(f"gpus-{request.node.callspec.id}", sweep)
    life.await_end()
    assert life.states() == ["done"] * 24
    most = most_at_once(spans(life))
    assert max(most.values()) == sharing
    assert len(most) == devices
    assert len(life.jobs()) == 1


def test_steps_of_mpi_programs_run_side_by_side(own_site):
    life = own_site.submit(
        "steps",
        """
command: |
  srun bash -c 'touch "$HPCSWEEP_RUN_DIR/../met-$HPCSWEEP_TASK-$SLURM_PROCID"; for n in $(seq 600); do
    [ "$(ls "$HPCSWEEP_RUN_DIR"/../met-* | wc -l)" = 4 ] && exit 0; sleep 0.05; done; exit 1'
space: {x: [1, 2]}
resources: {time: 5m, memory: 50M, cpus: 1, tasks_per_node: 2, gpus: 1}
array: {parallel: 2}
""",
    )
    life.await_end()
    assert life.states() == ["done"] * 2


def test_what_is_left_of_a_killed_element_runs_again_and_nothing_else(users_site):
    life = users_site.submit(
        "killed",
        """
command: |
  echo "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts-$HPCSWEEP_RUN
  [ {{ x }} = 0 ] || [ "$HPCSWEEP_ATTEMPT" -gt 1 ] || sleep 600
space: {x: [0, 1, 2, 3, 4]}
resources: {time: 20m, memory: 20M}
array: {tasks_per_job: 5, parallel: 2}
retry: {lost: {}}
""",
    )
    life.await_states("done", "running", "running", "pending", "pending")
    users_site.run(["scancel", "--signal=KILL", "--batch", life.task(1)["job"]])
    life.await_status(lambda _: life.hpcsweep("advance") and life.states() == ["done"] * 5, "all run again", within_s=240)
    starts = life.starts(f"starts-{life.name}")
    assert starts["0 1 0"] == 1
    assert {line for line in starts if line.startswith("0 ")} == {"0 1 0"}
    assert all(starts[f"{task} 2 0"] == 1 for task in range(1, 5))
    assert max(starts.values()) == 1


def test_one_of_an_element_is_cancelled_alone(own_site):
    life = own_site.submit(
        "alone",
        """
command: '[ {{ x }} = 2 ] || until [ -e go-$HPCSWEEP_RUN ] || [ {{ x }} = 0 -a -e never ]; do sleep 0.1; done'
space: {x: [0, 1, 2]}
resources: {time: 20m, memory: 20M}
array: {tasks_per_job: 3, parallel: 2}
""",
    )
    life.await_states("running", "running", "pending")
    life.hpcsweep("cancel", "--tasks", "0")
    life.await_states("cancelled", "running", "done")
    own_site.write(f"go-{life.name}", "")
    life.await_states("cancelled", "done", "done")


def test_a_task_that_wants_more_memory_gets_it(slurm, users_site):
    if not slurm.has_memory_limits:
        pytest.skip("NO MEMORY LIMITS: this machine has no cgroups that Slurm 22.05 could use")
    life = users_site.submit(
        "more-memory",
        """
command: "[ {{ x }} = 0 ] || python3 -c 'print(len(bytearray({{ x }} * 2**20)))'"
space: {x: [0, 300, 3000]}
resources: {time: 5m, memory: 100M}
retry: {oom: {memory: x2, up_to: 400M}, attempts: 5}
""",
    )
    life.hpcsweep("wait", code=None)
    tasks = life.tasks()
    assert [(task["state"], task["attempt"]) for task in tasks] == [("done", 1), ("done", 3), ("oom", 3)]
    assert "no more may be asked for" in tasks[2]["reason"]
