"""collect reads only what has changed, and never tells a stale value."""

import math
import os
import shutil
import time
from types import SimpleNamespace

import pytest

from hpcsweep.runs import results


class Gathered:
    """A run of three tasks; ``gathered()`` is what they wrote, and ``gathered.read`` which of them were read for it."""

    def __init__(self, cluster, monkeypatch):
        self.cluster = cluster
        self.read = []
        self.later_s = 10.0
        real = results.gather
        monkeypatch.setattr(results, "gather", lambda files, **more: self._note(files) or real(files, **more))
        monkeypatch.setattr(results, "time", SimpleNamespace(time=lambda: time.time() + self.later_s))

    def _note(self, files):
        self.read += [int(file.path.split("/tasks/")[1][:6]) for file in files]

    def __call__(self, **more):
        self.read.clear()
        return [metrics for _, metrics in results.gather_run(self.cluster.run, **more)]

    def losses(self, **more):
        return [metrics.last.get("loss") for metrics in self(**more)]

    def path(self, task, name="a.metrics"):
        return self.cluster.run.paths.task(task) / name

    def write(self, task, text, name="a.metrics"):
        self.path(task, name).parent.mkdir(parents=True, exist_ok=True)
        self.path(task, name).write_text(text)


@pytest.fixture
def gathered(cluster, monkeypatch):
    cluster.submit("command: run\nspace: {x: [1, 2, 3]}\n")
    cluster.task_says("0.1.done.0.5", "1.1.done.0.5", "2.1.r0.run")
    made = Gathered(cluster, monkeypatch)
    for task in range(3):
        made.write(task, f"step loss\n1 {task + 10}\n2 {task}\n")
    return made


def test_only_what_has_changed_is_read(gathered):
    first = gathered()
    assert gathered.read == [0, 1, 2]
    assert gathered() == first
    assert gathered.read == []
    gathered.write(1, "step loss\n1 7\n2 7\n")
    assert gathered.losses() == [0, 7, 2]
    assert gathered.read == [1]
    gathered.write(2, "acc 0.0\n", name="b.metrics")
    assert gathered()[2].last == {"step": 2, "loss": 2, "acc": 0.0}
    assert gathered.read == [2, 2]
    assert gathered.losses(is_fresh=True) == [0, 7, 2]
    assert gathered.read == [0, 1, 2, 2]


def test_the_steps_are_remembered_too(gathered):
    steps = [metrics.steps for metrics in gathered(with_steps=True)]
    assert [row["loss"] for row in steps[1]] == [11, 1]
    assert [metrics.steps for metrics in gathered(with_steps=True)] == steps
    assert gathered.read == []
    assert all(not metrics.steps for metrics in gathered())


def test_what_was_written_a_moment_before_is_read_again(gathered):
    gathered.later_s = 0.0
    for text in ("loss 1\n", "loss 2\n", "loss 3\n"):
        gathered.write(0, text)
        assert gathered.losses()[0] == float(text.split()[1])


def test_the_same_size_and_time_do_not_hide_a_change(gathered):
    gathered()
    before = gathered.path(0).stat()
    gathered.write(0, gathered.path(0).read_text().replace("0", "5"))
    os.utime(gathered.path(0), ns=(before.st_atime_ns, before.st_mtime_ns))
    assert gathered.path(0).stat().st_size == before.st_size
    assert gathered.losses()[0] == 5


def test_a_folder_that_has_not_changed_is_not_listed(gathered, monkeypatch):
    first = gathered()
    listed = []
    real = results.survey
    monkeypatch.setattr(results, "survey", lambda folder: listed.append(folder) or real(folder))
    assert gathered() == first
    assert listed == []
    gathered.write(1, "acc 1\n", name="b.metrics")
    gathered.write(2, "acc 2\n", name="lightning_logs/version_0/metrics.csv")
    assert [metrics.last.get("acc") for metrics in gathered()] == [None, 1, 2]
    assert [int(folder[-6:]) for folder in listed] == [1, 2]
    gathered.write(2, "acc\n3\n", name="lightning_logs/version_1/metrics.csv")
    assert [metrics.last.get("acc") for metrics in gathered()] == [None, 1, 3]


def test_a_folder_that_was_young_is_listed_once_more(gathered, monkeypatch):
    gathered.later_s = 0.0
    first = gathered()
    gathered.later_s = 10.0
    gathered()
    monkeypatch.setattr(results, "survey", pytest.fail)
    assert gathered() == first


def test_a_file_that_is_replaced_by_renaming(gathered):
    gathered()
    gathered.write(1, gathered.path(1).read_text().replace("1", "6"), name="new")
    gathered.path(1, "new").rename(gathered.path(1))
    assert gathered.losses() == [0, 6, 2]


def test_a_file_that_is_gone_is_gone(gathered):
    gathered()
    gathered.path(0).unlink()
    shutil.rmtree(gathered.path(1).parent)
    assert gathered.losses() == [None, None, 2]
    assert gathered.losses() == [None, None, 2]


def test_values_come_back_as_they_were(gathered):
    gathered.write(
        0, '{"nan": NaN, "inf": Infinity, "zero": 0.0, "n": 1, "b": true, "t": "\\u00e9", "l": [1, 2.0], "none": null}\n'
    )
    first = gathered()[0].last
    again = gathered()[0].last
    assert gathered.read == []
    assert math.isnan(again.pop("nan"))
    assert math.isnan(first.pop("nan"))
    assert again == first
    assert [type(value) for value in again.values()] == [type(value) for value in first.values()]


def test_an_end_without_newline_counts_when_its_task_has_ended(gathered):
    gathered.write(2, "step loss\n1 5\n2 4")
    assert gathered.losses()[2] == 5
    gathered.cluster.task_says("2.1.done.0.5")
    assert gathered.losses()[2] == 4


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other", "folder", "gone"])
def test_a_damaged_cache_is_as_none(gathered, damage):
    first = gathered()
    (path,) = gathered.cluster.run.paths.cache_dir.glob("metrics*")
    data = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "gone":
        path.write_bytes({"cut": data[:-9], "flip": data.replace(b"loss", b"lost"), "empty": b"", "other": b"[1]"}[damage])
    assert gathered() == first
    assert gathered.read == [0, 1, 2]


def test_another_version_of_a_reader_reads_again(gathered, monkeypatch):
    gathered()
    monkeypatch.setattr("hpcsweep.readers.tabular.VERSION", 99)
    gathered()
    assert gathered.read == [0, 1, 2]
    gathered()
    assert gathered.read == []


def test_what_may_be_otherwise_next_time_is_not_remembered(gathered, monkeypatch):
    def refuse(path, flags):
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr("hpcsweep.gather._open_at_once", refuse)
        assert gathered.losses() == [None] * 3
    assert gathered.losses() == [0, 1, 2]


def test_without_room_for_the_cache_all_is_read(gathered, monkeypatch):
    monkeypatch.setattr("hpcsweep.store.kept.temporary_name", lambda folder: folder / "no" / "such" / "folder")
    assert gathered.losses() == [0, 1, 2]
    assert gathered.losses() == [0, 1, 2]
    assert not list(gathered.cluster.run.paths.cache_dir.glob("metrics*"))


def test_how_far_it_is(gathered):
    told = []
    gathered(on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
