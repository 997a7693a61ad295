"""Files of real writers (tests/data/metrics/README.md says how they were made), as the only metrics of a task."""

import builtins
import math
import shutil
import struct
from pathlib import Path

import pytest

from hpcsweep.gather import MetricsFile, discover, gather

DATA = Path(__file__).parents[1] / "data" / "metrics"


def gather_folder(folder, *, is_final=True):
    names = discover(str(folder))
    files = [MetricsFile(path=f"{folder}/{name}", name=name) for name in names]
    return gather(files, is_final=is_final, with_steps=True)


def test_lightning_csv_logger():
    found = gather_folder(DATA / "lightning")
    assert found.notes == ()
    assert [(row["epoch"], row["step"]) for row in found.steps] == [
        (0, 1), (0, 3), (1, 5), (1, 7), (2, 9), (2, 11), (3, 13), (3, 15), (4, 16),
    ]  # fmt: skip
    assert found.steps[1] == {
        "epoch": 0,
        "step": 3,
        "train_loss_step": 1.9485524892807007,
        "val_loss": 0.29676342010498047,
        "train_loss_epoch": 1.3360347747802734,
    }
    assert found.last["val_loss"] == found.last["test_loss"] == 0.12346099317073822
    assert found.reduced("val_loss", "max") == 0.29676342010498047


def test_torch_summary_writer_in_both_styles():
    found = gather_folder(DATA / "tensorboard" / "run")
    assert found.notes == ()
    assert [row["step"] for row in found.steps] == list(range(8))
    assert [row["loss"] for row in found.steps] == pytest.approx([1 / (step + 1) for step in range(8)])
    assert [row["val/loss"] for row in found.steps] == pytest.approx([2 / (step + 1) for step in range(8)])
    assert math.isnan(found.last["grad"])
    assert set(found.last) == {"step", "loss", "val/loss", "grad"}


def test_torch_add_scalars_keeps_its_curves_apart():
    assert gather_folder(DATA / "tensorboard" / "many").last == pytest.approx({"step": 2, "acc/train": 0.7, "acc/val": 0.6})


def test_tensorboardx():
    found = gather_folder(DATA / "tensorboardx")
    assert found.last == {"step": 3, "loss": 0.25, "zero": 0.0}
    assert found.reduced("loss", "first") == 1.0


def test_hugging_face():
    found = gather_folder(DATA / "huggingface")
    assert found.notes == ()
    assert [(row["step"], row["epoch"]) for row in found.steps] == [(2, 0.5), (4, 1), (6, 1.5), (8, 2), (10, 2.5), (12, 3)]
    assert [row["eval_loss"] for row in found.steps if "eval_loss" in row] == [
        2.3250739574432373,
        1.4383747577667236,
        1.154731035232544,
    ]
    assert found.last["loss"] == 1.3533124923706055
    assert found.last["best_metric"] == 1.154731035232544
    assert found.last["total_flos"] == 0.0


def test_hugging_face_while_it_runs(tmp_path):
    shutil.copytree(DATA / "huggingface", tmp_path / "out")
    for name in ("trainer_state.json", "all_results.json"):
        (tmp_path / "out" / name).unlink()
    assert gather_folder(tmp_path).last["step"] == 12
    shutil.rmtree(tmp_path / "out" / "checkpoint-12")
    assert gather_folder(tmp_path).last["step"] == 8


def test_wandb_summary():
    found = gather_folder(DATA / "wandb")
    assert found.last == {
        "_runtime": 4.046742725,
        "loss": 0.1,
        "val.acc": 0.75,
        "_timestamp": 1795238135.5056446,
        "_step": 3,
        "best": 0,
    }


# -- event files, cut and damaged -----------------------------------------------------------------------------------------


@pytest.fixture
def events(tmp_path):
    path = tmp_path / "events.out.tfevents.1.vm"
    path.write_bytes(next((DATA / "tensorboardx").iterdir()).read_bytes())
    return path


def test_any_torn_tail_of_an_event_file_keeps_the_whole_records(events):
    whole = events.read_bytes()
    for size in range(len(whole), -1, -1):
        events.write_bytes(whole[:size])
        found = gather_folder(events.parent)
        assert len(found.steps) <= 4
        assert found.steps == gather_folder(events.parent, is_final=False).steps
        if size < len(whole):
            assert size in record_ends(whole) or any("cut off" in note for note in found.notes)
        assert [row["loss"] for row in found.steps] == pytest.approx([1 / (step + 1) for step in range(len(found.steps))])


def record_ends(data):
    ends = [0]
    while ends[-1] < len(data):
        ends.append(ends[-1] + struct.unpack_from("<Q", data, ends[-1])[0] + 16)
    return ends


def test_a_damaged_record_does_not_count(events):
    whole = bytearray(events.read_bytes())
    ends = record_ends(whole)
    whole[ends[2] - 6] ^= 0xFF  # in the value of the first scalar
    events.write_bytes(whole)
    found = gather_folder(events.parent)
    assert [row["step"] for row in found.steps] == [1, 2, 3]
    assert found.notes == (f"{events.name}: 1 record left out: damaged",)
    events.write_bytes(bytes(events.read_bytes()[: ends[3]]) + bytes(4096))
    assert [row["step"] for row in gather_folder(events.parent).steps] == [1]


def test_an_event_file_is_known_by_its_look(events):
    path = events.rename(events.with_name("board"))
    found = gather([MetricsFile(path=str(path), name="board")], is_final=True)
    assert found.last["loss"] == 0.25


def test_without_the_package_it_is_said_how_to_get_it(events, monkeypatch):
    real_import = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("tensorboard"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    found = gather_folder(events.parent)
    assert not found.last
    assert "pip install 'hpcsweep[tensorboard]'" in found.reason
    assert not found.is_lasting
