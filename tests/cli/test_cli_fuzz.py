"""Whatever is in a sweep file, in a run's files or in a scheduler's answer: an error for the user or an `unknown`, never a traceback.

A few dozen examples of each kind here; HPCSWEEP_TEST_EXAMPLES=2000 for many.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hpcsweep import localqueue
from hpcsweep.__main__ import main
from hpcsweep.model import Completed
from hpcsweep.schedulers import Site, make_scheduler
from hpcsweep.schedulers.slurm import Slurm

ROOT = Path(__file__).parents[2]
EXAMPLES = int(os.environ.get("HPCSWEEP_TEST_EXAMPLES", "25"))
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
RECORDINGS = sorted((ROOT / "tests" / "data" / "slurm").glob("*.txt"))
ASKING = ("advance", "cancelling", "facts", "feed", "imagine", "limits", "observe", "room")
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.explicit, Phase.generate],  # a failure is told at once: to make it small takes longer than to understand it
)

NASTY = [
    *(b"", b"\0", b"\xff\xfe", b"\n", b"{", b"}", b"[", b'"', b"\\", b"|", b",", b":", b"-", b"\x1b[31m", "é\u2028".encode()),
    *(b"null", b"true", b"NaN", b"1e999", b"-1", b"0", b"99999999999999999999", b"0-99999999999", b'{"a": [1]}', b"[" * 3000),
    *(
        b"finally",
        b"{{ x }}",
        b"{% for i in range(9) %}",
        b"!!python/object:os.system",
        b"&a [*a]",
        b"0x7f",
        b"1_000",
        b"2026-13-45",
    ),
]


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """``data`` with some bytes, words or lines changed, left out, doubled or moved."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 2, 5, 20, 200, 100_000])))
        kind = draw(st.sampled_from(["replace", "nasty", "cut", "double", "lines", "word"]))
        if kind == "replace":
            data = data[:start] + draw(st.binary(max_size=8)) + data[end:]
        elif kind == "nasty":
            data = data[:start] + draw(st.sampled_from(NASTY)) + data[end:]
        elif kind == "cut":
            data = data[:start] + data[end:]
        elif kind == "double":
            data = data[:end] + data[start:]
        elif kind == "lines":
            data = b"\n".join(draw(st.permutations(data.split(b"\n")[:40])))
        else:
            words = data.split(b" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(NASTY))
            data = b" ".join(words)
    return data


def run(folder: Path, *words: str) -> tuple[int, str]:
    """A command in this process; its exit code and all that it said."""
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape", write_through=True)
    with (
        contextlib.chdir(folder) if sys.version_info >= (3, 11) else _chdir(folder),
        mock.patch.dict(os.environ, {"HOME": str(folder), "PWD": str(folder), "XDG_CONFIG_HOME": str(folder)}),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        code = main(list(words))
    return code, said.buffer.getvalue().decode("utf-8", "replace")


@contextlib.contextmanager
def _chdir(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def check(folder: Path, *words: str, codes: tuple[int, ...] = (0, 1)) -> str:
    code, said = run(folder, *words)
    assert "this is a bug" not in said, (words, said, traceback_of(said))
    assert "Traceback" not in said, (words, said)
    assert code in codes, (words, code, said)
    return said


def traceback_of(said: str) -> str:
    path = Path(said.rpartition("report it with ")[2].strip())
    return path.read_text() if path.is_file() else ""


class TestSweepFiles:
    def check_sweep(self, data: bytes) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "sweep.yaml").write_bytes(data)
            shutil.copy(ROOT / "sweeps" / "points.csv", folder)
            said = check(folder, "show", "sweep.yaml")
            check(folder, "submit", "sweep.yaml", "--dry-run", "--scheduler", "local", "--limit", "5")
            assert said
            assert not (folder / "runs").exists()

    @many
    @given(st.data())
    def test_mutated(self, data):
        self.check_sweep(data.draw(mutated(data.draw(st.sampled_from(SWEEPS)).read_bytes())))

    @many
    @given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
    def test_anything(self, data):
        self.check_sweep(data)

    @many
    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["command", "space", "zip", "grid", "x", "resources", "env", "when", "range", "sample"]),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=12,
        )
    )
    def test_any_json(self, value):
        self.check_sweep(
            json.dumps({"command": "echo {{ x }}", "space": value} if not isinstance(value, dict) else value).encode()
        )


@pytest.fixture(scope="module")
def model_run(ended_run, tmp_path_factory):
    """A run of four done tasks in a folder of its own, which says that it was made there."""
    folder = tmp_path_factory.mktemp("model")
    shutil.copytree(ended_run, folder / "runs" / "run-01", symlinks=True)
    path = folder / "runs/run-01/run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "path": str(folder / "runs/run-01")}))
    (folder / "runs/run-01/cache").mkdir(exist_ok=True)
    run(folder, "status")
    (folder / "runs/run-01/cache/live.json").write_text(
        '{"at":1700000000.0,"value":[{"tag":"t","job":"1","elements":"0-3","state":"running","raw":"RUNNING","reason":"","node":"n1",'
        '"exit_code":null,"signal":null,"elapsed_s":1.0,"is_refusal":false,"is_blocked":false,"is_held":false}]}'
    )
    (folder / "runs/run-01/cache/limits.json").write_text(
        '{"at":1700000000.0,"value":{"max_array_size":1001,"kill_wait_s":30}}'
    )
    (folder / "runs/run-01/cache/gone-host.json").write_text('{"at":1700000000.0,"value":{"1":[["0-3",1700000000.0]]}}')
    return folder


LOOKING = (
    ("status",),
    ("status", "--json"),
    ("status", "--failed"),
    ("list",),
    ("collect", "--csv"),
    ("logs", "run-01", "0"),
    ("verify",),
)
CHANGING = (
    ("advance",),
    ("resubmit",),
    ("resubmit", "--tasks", "1"),
    ("cancel", "run-01"),
    ("release",),
    ("hold",),
    ("throttle", "run-01", "1"),
)


@contextlib.contextmanager
def answering(stdout: str = "", stderr: str = "", returncode: int | None = 1) -> Iterator[None]:
    """No program is started: each has this to say."""

    def answer(command, **_options):
        return Completed(argv=tuple(command.argv), returncode=returncode, stdout=stdout, stderr=stderr)

    with contextlib.ExitStack() as stack:
        for module in ASKING:
            stack.enter_context(mock.patch(f"hpcsweep.runs.{module}.run_command", answer))
        stack.enter_context(mock.patch("hpcsweep.runs.prepare.is_installed", return_value=True))
        yield


@contextlib.contextmanager
def copied(model: Path) -> Iterator[Path]:
    """The run's files anew, in the very place where it was made."""
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(model / "runs", Path(name) / "runs", symlinks=True)
        path = Path(name) / "runs/run-01/run.json"
        path.write_bytes(path.read_bytes().replace(str(model).encode(), name.encode()))
        yield Path(name)


def check_some(folder: Path, data: st.DataObject, **answer: object) -> None:
    """Three commands, for all would take too long; each example draws its own."""
    looking = data.draw(st.lists(st.sampled_from(LOOKING), min_size=2, max_size=2))
    with answering(**(answer or {"stderr": "no"})), mock.patch("hpcsweep.runs.verify._A_MOMENT_S", 0.0):
        for words in looking:
            check(folder, *words, codes=(0, 1, 2, 4))
        check(folder, *data.draw(st.sampled_from(CHANGING)), "--wait-lock", "0", codes=(0, 1, 4))


FILES = (
    "run.json",
    "state.jsonl",
    "state.jsonl",
    "tasks.jsonl",
    "environment.sh",
    "lock/0001",
    "cache/live.json",
    "cache/limits.json",
    "cache/gone-host.json",
    "arrays/001/script.sh",
    "arrays/001/tasks/0000.sh",
    "tasks/000001/params.json",
    "tasks/000001/attempt-1.log",
    "tasks/000001/m.metrics",
)


class TestRunFiles:
    @many
    @given(st.data())
    def test_mutated(self, model_run, data):
        with copied(model_run) as folder:
            for _ in range(data.draw(st.integers(1, 2))):
                path = folder / "runs/run-01" / data.draw(st.sampled_from(FILES))
                path.write_bytes(data.draw(mutated(path.read_bytes()) | st.binary(max_size=60)))
            with (
                mock.patch("socket.gethostname", return_value="host") if data.draw(st.booleans()) else contextlib.nullcontext()
            ):
                check_some(folder, data)

    @many
    @given(
        st.lists(
            st.sampled_from(
                ["0.1", "3.1", "9.1", "finally.1", "0", "1.1.done", "2.1.sig", "2.2", "cancel", ".tmp.x", "1.1.r0"]
            ).flatmap(
                lambda head: st.sampled_from(
                    [
                        "",
                        ".run",
                        ".done.0.1",
                        ".r1.run",
                        ".r0.lost",
                        ".late.r3",
                        ".done.99999999999999999.1",
                        ".strange.1.1",
                        ".cancel",
                        "\n",
                        ".0",
                        "é",
                    ]
                ).map(lambda tail: head + tail)
            ),
            max_size=8,
        ),
        st.data(),
    )
    def test_names_of_events(self, model_run, names, data):
        with copied(model_run) as folder:
            for name in names:
                path = folder / "runs/run-01/arrays/001/events" / name
                if not path.exists():
                    path.touch()
            check_some(folder, data)

    @many
    @given(
        st.sets(
            st.sampled_from(
                [
                    "run.json",
                    "state.jsonl",
                    "tasks.jsonl",
                    "lock",
                    "cache",
                    "arrays",
                    "arrays/001/events",
                    "arrays/001/script.sh",
                    "arrays/001/tasks",
                    "tasks",
                    "tasks/000001",
                    "environment.sh",
                    "sweep.yaml",
                    "local",
                ]
            ),
            min_size=1,
            max_size=4,
        ),
        st.sampled_from(["remove", "file", "folder", "link"]),
        st.data(),
    )
    def test_parts_that_are_gone_or_something_else(self, model_run, names, kind, data):
        with copied(model_run) as folder:
            for name in sorted(names):
                path = folder / "runs/run-01" / name
                if not os.path.lexists(path):
                    continue
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                {
                    "remove": lambda: None,
                    "file": path.touch,
                    "folder": path.mkdir,
                    "link": lambda path=path: path.symlink_to(path),
                }[kind]()
            check_some(folder, data)


class TestAnswers:
    """What a scheduler prints, through the commands and through each parser."""

    @many
    @given(st.data())
    def test_of_slurm(self, data):
        recording = data.draw(st.sampled_from(RECORDINGS)).read_bytes()
        text = data.draw(mutated(recording)).decode("utf-8", "surrogateescape")
        stdout, stderr = (text, "") if data.draw(st.booleans()) else ("", text)
        completed = Completed(
            argv=("x",), returncode=data.draw(st.sampled_from([0, 1, None, -9])), stdout=stdout, stderr=stderr
        )
        for parse in (Slurm().parse_submit, Slurm().parse_live, Slurm().parse_history, Slurm().parse_limits):
            assert parse(completed) is not None

    @many
    @given(st.data())
    def test_of_this_machine_in_commands(self, model_run, data):
        with copied(model_run) as folder:
            events = folder / "runs/run-01/arrays/001/events"
            for path in events.glob("[23].1.*"):
                path.unlink()
            journal = folder / "runs/run-01/state.jsonl"
            lines = [
                line for line in journal.read_bytes().splitlines() if b'"settled"' not in line and b'"finished"' not in line
            ]
            journal.write_bytes(b"\n".join(lines) + b"\n")
            tag, job = (json.loads(next(line for line in lines if word in line)) for word in (b'"planned"', b'"submitted"'))
            sound = f"{job['job']}|2|RUNNING||{tag['tag']}|n1|3.5\n{job['job']}|3|PENDING|Resources|{tag['tag']}||\n".encode()
            text = data.draw(mutated(sound)).decode("utf-8", "surrogateescape")
            check_some(folder, data, stdout=text, returncode=data.draw(st.sampled_from([0, 0, 0, 1, None])))

    @many
    @given(st.data())
    def test_of_this_machines_queue_folder(self, data):
        job = f"{os.getpid()}-1-aaaaaaaa"
        record = localqueue.Record(job, "tag", 4)
        record.running = {0: (os.getpid(), 1.5)}
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, f"job-{job}").write_bytes(data.draw(mutated(record.format().encode())))
            Path(folder, "job-x").write_bytes(data.draw(st.binary(max_size=30)))
            said = io.StringIO()
            argv = ["localqueue", "live", "--dir", folder]
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), mock.patch("sys.argv", argv):
                code = localqueue.main()
            assert code in (0, 1, 2, 4)
            scheduler = make_scheduler("local", Site(queue_dir=folder, jobs=1, then=()))
            scheduler.parse_live(Completed(argv=(), returncode=code, stdout=said.getvalue(), stderr=""))
