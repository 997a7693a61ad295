"""Files that are huge, closed, changing, or read by somebody else's broken reader: each a reason, never a crash."""

import os
import sys
import textwrap
import threading
import tracemalloc

import pytest

from hpcsweep.gather import MetricsFile, gather, read_file
from hpcsweep.readers import READERS, Reading, Source, read_source
from hpcsweep.readers.base import Rows
from hpcsweep.readers.logs import LogReader, parse_pattern
from hpcsweep.readers.plugins import find_plugins

GIGABYTE = 1 << 30


def metrics_file(path, **more):
    return MetricsFile(path=str(path), name=path.name, **more)


def peak_bytes_of(function):
    tracemalloc.start()
    try:
        return function(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_log_of_a_gigabyte_is_read_in_little_memory(tmp_path):
    path = tmp_path / "attempt-1.log"
    with path.open("wb") as file:
        file.write(b"epoch 1 loss 0.5\n")
        file.seek(GIGABYTE)
        file.write(b"\nepoch 2 loss 0.25\n")
    reader = LogReader([parse_pattern("epoch {epoch:d} loss {loss:g}")])
    found, peak = peak_bytes_of(lambda: gather([metrics_file(path, reader=reader)], is_final=True))
    assert found.last == {"epoch": 2, "loss": 0.25}
    assert peak < 30 << 20


def test_a_checkpoint_of_a_gigabyte_is_not_read(tmp_path):
    path = tmp_path / "weights.metrics"
    with path.open("wb") as file:
        file.truncate(GIGABYTE)
    found, peak = peak_bytes_of(lambda: gather([metrics_file(path)], is_final=True))
    assert found.reason == "no metrics: weights.metrics: is not a text file: left out"
    assert peak < 1 << 20


@pytest.mark.parametrize("form", ["table", "pairs", "json"])
def test_a_large_series_is_thinned_out_but_its_values_stay(tmp_path, monkeypatch, form):
    monkeypatch.setattr(Rows, "MOST", 2000)
    monkeypatch.setattr("hpcsweep.readers.pieces.LARGE_BYTES", 100_000)
    monkeypatch.setattr("hpcsweep.readers.pieces._PIECE_BYTES", 30_011)
    count, least_at = 20_000, 13_337
    values = [abs(number - least_at) for number in range(count)]
    path = tmp_path / "m.metrics"
    line = {"table": "{} {}\n", "pairs": "step={} loss={}\n", "json": '{{"step": {}, "loss": {}}}\n'}[form]
    header = "step loss\n" if form == "table" else ""
    path.write_text(header + "".join(line.format(*pair) for pair in enumerate(values)))
    found = gather([metrics_file(path)], is_final=True, with_steps=True)
    assert found.last == {"step": count - 1, "loss": values[-1]}
    assert [found.reduced("loss", how) for how in ("first", "min", "max")] == [values[0], 0, max(values)]
    assert found.reduced("step", "mean") == pytest.approx((count - 1) / 2, rel=0.01)
    assert 500 < len(found.steps) < 2000
    assert any("20,000 rows" in note for note in found.notes)


def test_a_large_file_is_read_as_a_small_one(tmp_path, monkeypatch):
    text = "# made by x\nstep,loss\n" + "".join(f"{step},{step / 7!r}\n" for step in range(3000)) + "9999,0.1"
    path = tmp_path / "m.csv"
    path.write_text(text)
    whole = {is_final: read_file(metrics_file(path), is_final=is_final) for is_final in (True, False)}
    monkeypatch.setattr("hpcsweep.readers.pieces.LARGE_BYTES", 1000)
    monkeypatch.setattr("hpcsweep.readers.pieces._PIECE_BYTES", 4097)
    for is_final, expected in whole.items():
        assert read_file(metrics_file(path), is_final=is_final) == expected
    path.write_text("[" + ",".join(f'{{"step": {step}}}' for step in range(1000)) + "]")
    assert len(read_file(metrics_file(path)).rows) == 1000
    monkeypatch.setattr("hpcsweep.readers.pieces.WHOLE_BYTES", 2000)
    assert "left out" in read_file(metrics_file(path)).notes[0]


def test_no_permission(tmp_path, monkeypatch):
    def refuse(path, flags):
        raise PermissionError(13, "Permission denied", path)

    (tmp_path / "m.metrics").write_text("loss 1\n")
    monkeypatch.setattr("hpcsweep.gather._open_at_once", refuse)
    found = gather([metrics_file(tmp_path / "m.metrics")], is_final=True)
    assert found.reason == "no metrics: m.metrics: cannot be read: Permission denied"
    assert not found.is_lasting


def test_a_pipe_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "m.metrics")
    assert "no file" in gather([metrics_file(tmp_path / "m.metrics")], is_final=True).reason


def test_a_file_that_changes_while_it_is_read(tmp_path):
    path = tmp_path / "m.metrics"
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            text = "step loss\n" + "".join(f"{step} {number}\n" for step in range(number % 500))
            path.write_text(text) if number % 2 else os.truncate(path, len(text) // 2)

    path.write_text("step loss\n0 1\n")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            found = gather([metrics_file(path)], is_final=False, with_steps=True)
            assert found.last or found.reason.startswith("no metrics: m.metrics")
    finally:
        stop.set()
        writer.join()


# -- readers of other packages --------------------------------------------------------------------------------------------


@pytest.fixture
def install(tmp_path, monkeypatch):
    """``install("name", text)``: a package with a reader in its module."""

    def make(name, text):
        site = tmp_path / "site"
        info = site / f"{name}_package-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-package\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[hpcsweep.readers]\n{name} = {name}_module\n")
        (site / f"{name}_module.py").write_text(textwrap.dedent(text))
        if str(site) not in sys.path:
            monkeypatch.syspath_prepend(str(site))

    return make


GOOD = """
    import numpy as np
    from hpcsweep.readers import Reading

    def recognises(source):
        return source.file.endswith(".xyz") or source.head.startswith(b"XYZ")

    def read(source):
        return Reading(rows=({"step": 1, "loss": np.float32(0.5)}, {"step": 2, "loss": np.int64(3)}), finals={"size": len(source.open().read())})
"""


def test_a_reader_of_another_package(install, tmp_path):
    install("good", GOOD)
    (tmp_path / "a.metrics").write_text("XYZ!")
    (tmp_path / "b.xyz").write_bytes(b"\0\1")
    plugins = find_plugins()
    for name, size in (("a.metrics", 4), ("b.xyz", 2)):
        found = gather([metrics_file(tmp_path / name)], is_final=True, plugins=plugins)
        assert found.last == {"step": 2, "loss": 3, "size": size}
        assert [type(value) for value in found.last.values()] == [int, int, int]
        assert found.notes == ()
    (tmp_path / "c.metrics").write_text("loss 7\n")
    assert gather([metrics_file(tmp_path / "c.metrics")], is_final=True, plugins=plugins).last == {"loss": 7}
    assert gather([metrics_file(tmp_path / "c.metrics", reader=plugins["good"])], is_final=True).last["size"] == 7


@pytest.mark.parametrize(
    "text",
    [
        "import does_not_exist",
        "1 +",
        "raise SystemExit",
        "def recognises(source): raise ValueError('no')",
        "def recognises(source): return True",
        "def recognises(source): return True\ndef read(source): return {'loss': 1}",
        "from hpcsweep.readers import Reading\ndef recognises(source): return True\ndef read(source): return Reading(rows=(1,))",
    ],
)
def test_a_broken_reader_of_another_package_is_a_note(install, tmp_path, text):
    install("bad", text)
    (tmp_path / "a.metrics").write_text("loss 0.5\n")
    found = gather([metrics_file(tmp_path / "a.metrics")], is_final=True, plugins=find_plugins())
    assert found.last == {"loss": 0.5}
    (note,) = found.notes
    assert "the reader `bad` of bad-package 1.5 failed" in note
    assert not found.is_lasting


# -- readers by name ------------------------------------------------------------------------------------------------------


def test_a_named_reader_is_taken_at_the_users_word(tmp_path):
    (tmp_path / "m.txt").write_text("a 1\nb 2\n")
    by_look = gather([metrics_file(tmp_path / "m.txt")], is_final=True)
    named = gather([metrics_file(tmp_path / "m.txt", reader=READERS["table"])], is_final=True)
    assert by_look.last == {"a": 1, "b": 2}
    assert named.last == {"a": "b", "1": 2}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("data", [b"", b"\0\1\2", b"x", b"{", b"[1]", b"{}", b"null", b'{"log_history": 5}', b"\xff" * 100])
def test_a_named_reader_says_what_it_cannot_read(tmp_path, name, data):
    (tmp_path / "m").write_bytes(data)
    found = gather([metrics_file(tmp_path / "m", reader=READERS[name])], is_final=True)
    assert found.last or found.reason


def test_values_of_no_step_are_final():
    reading = Reading(rows=({"step": 1, "loss": 1.0},), finals={"test": 0.0})
    assert reading.last == {"step": 1, "loss": 1.0, "test": 0.0}
    assert read_source(Source(file="x", text="loss 1\n")).rows == ({"loss": 1},)
