"""Large runs on the real Slurm: a waiting task costs no file, and every command stays whole."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slurm


@pytest.mark.parametrize("size", [1_000, 10_000])
def test_thousands_of_waiting_tasks(users_site, size):
    run = users_site.submit(
        f"size-{size}",
        f"command: echo {{{{ x }}}} >>ran-size\nspace: {{x: {{range: [1, {size}]}}}}\nslurm: {{begin: now+1hour}}\nresources: {{time: 5m}}\n",
    )
    assert run.said.count("submitted") == 1
    status = run.status()
    assert status["counts"] == {"pending": size}
    assert [array["size"] for array in status["arrays"]] == [size]
    assert len({task["id"] for task in status["tasks"]}) == size
    # Nothing for a waiting task; the commands of 64 tasks share a file.
    assert not (run.path / "tasks").exists() or not list((run.path / "tasks").iterdir())
    assert list((run.path / "arrays/001/events").iterdir()) == []
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert len(files) < size // 50 + 30
    some = [3, *range(17, 21), size - 1]
    run.hpcsweep("cancel", "--tasks", f"3,17-20,{size - 1}")
    status = run.status()
    assert status["counts"] == {"pending": size - 6, "cancelled": 6}
    assert [task["index"] for task in status["tasks"] if task["state"] == "cancelled"] == some
    run.hpcsweep("resubmit", "--state", "cancelled")
    assert run.status()["counts"] == {"pending": size}
    assert [array["size"] for array in run.status()["arrays"]] == [size, 6]
    run.hpcsweep("hold")
    run.hpcsweep("throttle", "5")
    run.hpcsweep("release")
    assert f"{size}" in run.hpcsweep("status").stdout
    assert f"cancelled {size}" in run.hpcsweep("cancel").stdout
    status = run.await_end()
    assert status["counts"] == {"cancelled": size}
    assert len(run.rows()) == size
    assert not (users_site.folder / "ran-size").exists()
    run.hpcsweep("rm")
    assert not run.path.exists()


def test_arrays_are_cut_to_the_sites_size(users_site):
    run = users_site.submit("cut", "command: echo {{ x }}\nspace: {x: {range: [1, 10003]}}\nslurm: {begin: now+1hour}\n")
    status = run.status()
    assert [array["size"] for array in status["arrays"]] == [10001, 2]
    assert status["counts"] == {"pending": 10003}
    run.hpcsweep("cancel")
    assert run.await_end()["counts"] == {"cancelled": 10003}
