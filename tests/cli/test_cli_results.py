"""collect and best on real runs, as a user gives the commands."""

import csv
import io
import json
import math
import subprocess
from pathlib import Path

import pytest
from cli_user import User

SWEEP = """
    command: |
      if [ "$HPCSWEEP_PARAM_lr" = 0.4 ] && [ "$HPCSWEEP_PARAM_seed" = 1 ]; then exit 3; fi
      case $HPCSWEEP_PARAM_lr in 0.8) loss=nan ;; *) loss=0.$HPCSWEEP_PARAM_seed ;; esac
      printf 'epoch val_loss state\\n0 %s 1\\n1 5 2\\n' $loss > "$HPCSWEEP_TASK_DIR/m.metrics"
    space:
      data: [b, a]
      lr: [0.1, 0.4, 0.8]
      replicate: {seed: [1, 2]}
    objective: val_loss:min
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with two runs: run-01 with two seeds, run-02 with one more and another constant."""
    folder = tmp_path_factory.mktemp("results")
    someone = User(folder=folder, home=folder)
    someone.sweep(SWEEP)
    ends = {"run-01": 1, "run-02": 0, "run-03": 0}
    someone("submit", "sweep.yaml")
    someone("submit", "sweep.yaml", "-p", "seed=3", "-p", "extra=[x]", "--set", "objective=val_loss:min")
    someone("submit", "sweep.yaml", "--limit", "1", "-p", "seed=[1]", "--set", "objective=val_loss:last:max")
    for name, code in ends.items():
        someone.wait(name, code=code)
    yield someone
    someone.end_all()


@pytest.fixture
def call(done, monkeypatch, capsys):
    from hpcsweep.__main__ import main  # noqa: PLC0415 - only where a test asks for it

    monkeypatch.chdir(done.folder)
    monkeypatch.setenv("HOME", str(done.home))
    monkeypatch.setenv("PWD", str(done.folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)

    def run(*words, code=0):
        capsys.readouterr()
        try:
            got = main([str(word) for word in words])
        except SystemExit as stopped:  # argparse
            got = int(stopped.code or 0)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert got == code, said.err
        return said.out if code == 0 else said.err

    return run


def test_the_objective_is_a_column_of_its_own(call):
    rows = json.loads(call("collect", "run-01", "--json"))
    by_task = {row["task"]: row for row in rows}
    assert by_task[0]["objective"] == 0.1
    assert by_task[0]["val_loss"] == 5
    assert (by_task[0]["state"], by_task[0]["metric.state"]) == ("done", 2)
    assert by_task[2]["objective"] is None
    assert by_task[2]["state"] == "failed"
    assert list(rows[0]).index("seed") + 1 == list(rows[0]).index("objective")
    assert json.loads(call("collect", "run-01", "--json", "--objective", "val_loss:last:max"))[0]["objective"] == 5
    assert "objective" not in json.loads(call("collect", "run-01", "--json", "--steps"))[0]


def test_best_ranks_points_by_the_mean_over_replicates(call):
    rows = json.loads(call("best", "run-01", "--json"))
    found = [(row["rank"], row["data"], row["lr"], row["remark"]) for row in rows]
    assert found == [
        (1, "b", 0.1, None),
        (1, "a", 0.1, None),
        (3, "b", 0.4, "1 of 2 replicates, 1 failed"),
        (3, "a", 0.4, "1 of 2 replicates, 1 failed"),
        (5, "b", 0.8, None),
        (5, "a", 0.8, None),
    ]
    assert rows[0]["objective"] == pytest.approx(0.15)
    assert "seed" not in rows[0]


def test_status_and_the_end_of_watching_point_to_the_best(call, done):
    assert "hpcsweep best run-01" in call("status", "run-01")
    assert "all done: hpcsweep collect run-02 --csv    the best: hpcsweep best run-02" in call("status", "run-02")
    printed = done("submit", "sweep.yaml", "--limit", "4", "--watch", "--name", "watched", code=1)
    table = printed[printed.index("\nrank") + 1 :].splitlines()
    assert table[0].split()[:2] == ["rank", "objective"]
    assert [line.split()[0] for line in table[1:3]] == ["1", "2"]
    assert table[-1] == "the best by val_loss:min; all: hpcsweep collect watched --csv"


def test_best_of_single_tasks_in_groups(call):
    rows = json.loads(call("best", "run-01", "--each", "-n", 1, "--by", "data", "--json"))
    assert [(row["rank"], row["data"], row["objective"], row["seed"]) for row in rows] == [(1, "b", 0.1, 1), (1, "a", 0.1, 1)]
    assert len(json.loads(call("best", "run-01", "--each", "-n", 0, "--json"))) == 12
    text = call("best", "run-01", "--where", "data == 'a'", "--columns", "rank,lr,objective*")
    assert text.splitlines()[0].split()[:3] == ["rank", "lr", "objective"]


def test_runs_are_joined(call):
    rows = json.loads(call("collect", "run-01", "run-02", "--json"))
    assert [row["run"] for row in rows] == ["run-01"] * 12 + ["run-02"] * 6
    assert [rows[0]["extra"], rows[12]["extra"]] == [None, "x"]
    (one,) = json.loads(call("collect", "run-01", "run-01", "--aggregate", "--json", "--where", "lr == 0.4 and data == 'a'"))
    assert (one["tasks"], one["failed"], one["val_loss.n"], one["val_loss.std"]) == (2, 1, 1, None)
    assert "run" not in one
    rows = json.loads(call("collect", "run-01", "run-02", "--aggregate", "--over", "extra", "--json", "--where", "lr == 0.1"))
    assert [(row["run"], row["tasks"], row["objective.n"]) for row in rows] == [("run-01,run-02", 3, 3)] * 2


def test_runs_with_different_objectives_need_a_word(call):
    assert "different objectives" in call("best", "run-01", "run-03", code=1)
    best = json.loads(call("best", "run-01", "run-03", "--json", "--objective", "val_loss:min"))[0]
    assert (best["run"], best["tasks"], best["objective"]) == ("run-01,run-03", 3, pytest.approx(0.4 / 3))


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet", "md", "txt"])
def test_the_ending_of_a_file_says_its_form(call, done, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow", reason="NO PYARROW: the extra hpcsweep[parquet] is not installed")
    target = done.folder / f"results.{ending}"
    assert call("collect", "run-01", "--columns", "task,lr,objective", "--sort", "-objective,task", "-o", target) == ""
    expected = json.loads(call("collect", "run-01", "--columns", "task,lr,objective", "--sort", "-objective,task", "--json"))
    data = target.read_bytes()
    match ending:
        case "csv":
            read = [
                {"task": int(row["task"]), "lr": float(row["lr"]), "objective": float(row["objective"] or "nan")}
                for row in csv.DictReader(io.StringIO(data.decode()))
            ]
        case "json":
            read = json.loads(data)
        case "jsonl":
            read = [json.loads(line) for line in data.splitlines()]
        case "parquet":
            from pyarrow import parquet  # noqa: PLC0415 - an extra

            read = parquet.read_table(io.BytesIO(data)).to_pylist()
        case "md":
            read = None
            assert data.startswith(b"| task | lr | objective |\n| ---: | ---: | ---: |\n| ")
        case _:
            read = None
            assert data.split(b"\n")[0].split() == [b"task", b"lr", b"objective"]
    if read is not None:
        assert [row["task"] for row in read] == [row["task"] for row in expected]
        values = [row["objective"] for row in expected]
        assert [row["objective"] for row in read] == [
            got if value is None or (isinstance(got, float) and math.isnan(got)) else value
            for value, got in zip(values, (row["objective"] for row in read), strict=True)
        ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["collect", "--where", "lrr < 1"], 1, "did you mean `lr`?"),
        (["collect", "--where", "lr <"], 1, "--where"),
        (["collect", "--sort", "-val_los"], 1, "did you mean `val_loss`?"),
        (["collect", "--columns", "x*"], 1, "no column fits `x*`"),
        (["collect", "-o", "results.xlsx"], 2, ".parquet"),
        (["collect", "--aggregate", "--steps"], 2, "--steps"),
        (["collect", "--over", "sed"], 1, "there is no parameter `sed`"),
        (["collect", "--objective", "val_loss:lst:min"], 2, "`lst`"),
        (["best", "--objective", "val_los:min"], 1, "did you mean `val_loss`?"),
        (["best", "--objective", "val_loss"], 2, "direction"),
        (["best", "--by", "dat"], 1, "there is no column `dat`"),
        (["best", "-n", "-1"], 2, "whole number"),
        (["best", "--where", "lr > 5"], 1, "leaves nothing to rank"),
        (["best", "run-9"], 1, "run-9"),
    ],
)
def test_what_is_wrong_is_told(call, done, words, code, said):
    assert said in call(words[0], *(["run-01"] if "run-9" not in words else []), *words[1:], code=code)
    assert not (done.folder / "results.xlsx").exists()


def test_a_table_goes_into_devices_and_closed_pipes(call, done):
    assert call("collect", "run-01", "-o", "/dev/null") == ""
    assert Path("/dev/null").is_char_device()
    words = " ".join(map(str, done.argv("collect", "run-01", "--jsonl")))
    line = f"set -o pipefail; {words} | head -n 1"
    ended = subprocess.run(
        ["bash", "-c", line], cwd=done.folder, env=done.environ(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, len(ended.stdout.splitlines()), "Broken" in ended.stderr) == (0, 1, False)


def test_a_run_without_an_objective_says_what_to_do(user):
    user.sweep("command: echo x 1 > $HPCSWEEP_TASK_DIR/m.metrics\nspace: {x: [1, 2]}\n")
    user("submit", "sweep.yaml")
    user.wait()
    assert "--objective" in user.error("best")
    assert "did you mean" not in user.error("best", "--objective", "y:min")
    rows = json.loads(user("best", "--objective", "x:min", "--json"))
    assert [(row["rank"], row["metric.x"], row["param.x"]) for row in rows] == [(1, 1, 1), (1, 1, 2)]
    aggregated = user.run("collect", "--aggregate", "--json")
    assert [row["tasks"] for row in json.loads(aggregated.stdout)] == [1, 1]
    assert "no replicates" in aggregated.stderr
    (one,) = json.loads(user("collect", "--aggregate", "--over", "x", "--json"))
    assert (one["tasks"], one["metric.x.n"]) == (2, 2)
