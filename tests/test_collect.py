"""collect on real files: every task has its row, and each oddity is said."""

import csv
import io
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcsweep.collect import COLUMNS, LAST_COLUMNS, CollectTask, Layout, collect, is_final
from hpcsweep.formats import iter_csv, iter_json
from hpcsweep.gather import MetricsFile, discover, find_metrics, gather
from hpcsweep.results import Table
from hpcsweep.tabletext import to_table_text


def make_task(index, state="done", **more):
    return CollectTask(
        **{
            "index": index,
            "id": f"{index:016x}",
            "state": state,
            "params": {"lr": 0.1 * index},
            "attempt": 1,
            "elapsed_s": 3.0,
            **more,
        }
    )


def gathered(task, paths, *, by_step=False):
    files = [MetricsFile(path=str(path), name=path.name) for path in paths]
    return task, gather(files, is_final=is_final(task), with_steps=by_step)


@pytest.fixture
def run(tmp_path):
    """Write files of tasks, then collect them: run({0: {"a.metrics": "..."}}, [tasks])."""

    def collect_files(files, tasks, *, patterns=("*.metrics", "*.csv", "*.json"), by_step=False):
        for index, texts in files.items():
            for name, text in texts.items():
                path = tmp_path / str(index) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text if isinstance(text, bytes) else text.encode())
        folders = {task.index: tmp_path / str(task.index) for task in tasks}
        found = {index: [folder / name for name in find_metrics(str(folder), patterns)] for index, folder in folders.items()}
        return collect([gathered(task, found[task.index], by_step=by_step) for task in tasks], Layout(by_step=by_step))

    return collect_files


def records(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_every_task_has_a_row(run):
    table = run(
        {0: {"m.metrics": "epoch loss\n1 0.5\n2 0.25\n"}, 1: {"m.metrics": "epoch loss\n1 0.75\n"}},
        [
            make_task(0, job="4711_0"),
            make_task(1, "failed", reason="exit code 3"),
            make_task(2, "pending", attempt=None, elapsed_s=None, reason="Priority"),
            make_task(3),
        ],
    )
    assert table.columns == (*COLUMNS, "lr", "epoch", "loss", *LAST_COLUMNS)
    assert [row["task"] for row in records(table)] == [0, 1, 2, 3]
    assert [row["state"] for row in records(table)] == ["done", "failed", "pending", "done"]
    assert [row["loss"] for row in records(table)] == [0.25, 0.75, None, None]
    assert [row["reason"] for row in records(table)] == [None, "exit code 3", "Priority", "no metrics"]
    assert [row["job"] for row in records(table)] == ["4711_0", None, None, None]
    assert any("no metrics" in note and "task 3" in note for note in table.notes)


def test_parameters_and_metrics_of_one_name_are_both_kept(run):
    table = run(
        {0: {"m.metrics": "lr 0.05\nstate 7\nloss 1\n"}},
        [make_task(0, params={"lr": 0.1, "id": "x", "n": 1}), make_task(1, params={"lr": 0.2, "id": "y", "n": 1})],
    )
    assert table.columns == (*COLUMNS, "param.lr", "param.id", "n", "metric.lr", "metric.state", "loss", *LAST_COLUMNS)
    first = records(table)[0]
    assert (first["state"], first["metric.state"], first["id"], first["param.id"]) == ("done", 7, "0" * 16, "x")
    assert (first["param.lr"], first["metric.lr"]) == (0.1, 0.05)


def test_a_name_that_looks_like_a_renamed_one_stays_apart(run):
    table = run({0: {"m.metrics": "x 1\n"}}, [make_task(0, params={"x": 2, "param.x": 3})])
    assert len(set(table.columns)) == len(table.columns)
    assert records(table)[0]["param.x"] == 3
    assert sorted(value for name, value in records(table)[0].items() if name.endswith("x")) == [1, 2, 3]


def test_parameters_of_different_blocks_keep_their_places(run):
    sgd = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "seed": 0}
    adam = {"optimizer": "adam", "lr": 0.1, "beta2": 0.99, "seed": 0}
    table = run({}, [make_task(0, params=sgd), make_task(1, params=adam)])
    assert table.columns[len(COLUMNS) : -len(LAST_COLUMNS)] == ("optimizer", "lr", "momentum", "beta2", "seed")
    assert records(table)[0]["beta2"] is None


def test_steps_one_row_each(run):
    table = run(
        {0: {"m.metrics": "epoch loss\n1 0.5\n2 0.25\n"}, 1: {}},
        [make_task(0), make_task(1, "failed", reason="x")],
        by_step=True,
    )
    assert [(row["task"], row["epoch"], row["loss"]) for row in records(table)] == [(0, 1, 0.5), (0, 2, 0.25), (1, None, None)]


def test_steps_of_several_files_are_merged(run):
    files = {
        "a.csv": "step,train\n0,4.0\n10,3.0\n20,2.0\n",
        "b.csv": "step,val\n10,3.5\n15,3.0\n20,2.5\n",
        "c.json": '{"test": 0.9}',
    }
    found = [
        (row["step"], row["train"], row["val"], row["test"]) for row in records(run({0: files}, [make_task(0)], by_step=True))
    ]
    assert found == [(0, 4.0, None, None), (10, 3.0, 3.5, None), (15, None, 3.0, None), (20, 2.0, 2.5, 0.9)]
    (last,) = records(run({0: files}, [make_task(0)]))
    assert (last["step"], last["train"], last["val"], last["test"]) == (20, 2.0, 2.5, 0.9)


def test_training_and_validation_on_lines_of_their_own_are_one_step(run):
    table = run(
        {0: {"m.csv": "epoch,step,train,val\n0,9,0.5,\n0,9,,0.7\n1,19,0.4,\n1,19,,0.6\n"}}, [make_task(0)], by_step=True
    )
    assert [(row["epoch"], row["step"], row["train"], row["val"]) for row in records(table)] == [
        (0, 9, 0.5, 0.7),
        (1, 19, 0.4, 0.6),
    ]
    assert table.notes == ()


def test_a_restart_replaces_its_steps_and_it_is_said(run):
    table = run({0: {"m.metrics": "epoch loss\n1 9\n2 8\n3 7\nepoch loss\n2 6\n3 5\n"}}, [make_task(0)], by_step=True)
    assert [(row["epoch"], row["loss"]) for row in records(table)] == [(1, 9), (2, 6), (3, 5)]
    assert any("2 steps written again" in note for note in table.notes)


def test_a_column_of_text_tells_rows_of_one_step_apart(run):
    table = run({0: {"m.metrics": "epoch phase loss\n1 train 4\n1 val 5\n2 train 2\n2 val 3\n"}}, [make_task(0)], by_step=True)
    assert [(row["epoch"], row["phase"], row["loss"]) for row in records(table)] == [
        (1, "train", 4),
        (1, "val", 5),
        (2, "train", 2),
        (2, "val", 3),
    ]


def test_steps_that_count_from_zero_in_each_epoch(run):
    table = run({0: {"m.metrics": "epoch step loss\n0 0 9\n0 1 8\n1 0 7\n1 1 6\n"}}, [make_task(0)], by_step=True)
    assert [row["loss"] for row in records(table)] == [9, 8, 7, 6]


def test_a_series_without_step_gets_its_row_numbers(run):
    table = run({0: {"m.metrics": "loss 0.5\nloss 0.25\n"}}, [make_task(0)], by_step=True)
    assert [(row["step"], row["loss"]) for row in records(table)] == [(1, 0.5), (2, 0.25)]


def test_files_that_disagree_are_named(run):
    table = run({0: {"a.metrics": "loss 0.5\nacc nan\n", "b.csv": "loss,acc\n0.25,nan\n"}}, [make_task(0)])
    assert records(table)[0]["loss"] == 0.25
    (note,) = table.notes
    assert "`loss`" in note
    assert "a.metrics" in note
    assert "b.csv" in note


def test_a_torn_line_counts_by_how_the_task_ended(run):
    torn = {"m.metrics": "epoch loss\n1 0.5\n2 0.1"}
    tasks = [
        make_task(0),
        make_task(1, "timeout"),
        make_task(2, "running"),
        make_task(3, "failed"),
        make_task(4, "failed", ended_by_itself=False),
    ]
    table = run(dict.fromkeys(range(5), torn), tasks)
    assert [row["loss"] for row in records(table)] == [0.1, 0.5, 0.5, 0.1, 0.5]
    assert any("tasks 1-2,4" in note and "m.metrics" in note for note in table.notes)


def test_columns_that_only_some_tasks_have_are_said(run):
    table = run({0: {"m.metrics": "loss 1\nacc 2\n"}, 1: {"m.metrics": "loss 1\n"}}, [make_task(0), make_task(1)])
    assert [row["acc"] for row in records(table)] == [2, None]
    assert table.notes == ("`acc` is missing (task 1)",)


def test_files_that_cannot_be_read_do_not_stop_the_others(run, tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "gone.metrics").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "0" / "pipe.metrics")
    (tmp_path / "0" / "folder.metrics").mkdir()
    table = run({0: {"a.metrics": "loss 1\n", "weights.metrics": b"\0" * 10_000, "empty.metrics": ""}}, [make_task(0)])
    assert records(table)[0]["loss"] == 1
    assert len(table.notes) == 2


def test_a_file_that_vanishes_is_said(tmp_path):
    table = collect([gathered(make_task(0), [tmp_path / "gone.metrics"])])
    assert any("cannot be read" in note for note in table.notes)
    assert records(table)[0]["reason"] == "no metrics: gone.metrics: cannot be read: No such file or directory"


def test_many_kinds_of_oddities_do_not_flood(run):
    files = {index: {f"m{index}.metrics": ""} for index in range(100)}
    assert len(run(files, [make_task(index) for index in files]).notes) < 60


def test_no_tasks_at_all():
    table = collect([])
    assert table.columns == (*COLUMNS, *LAST_COLUMNS)
    assert "".join(iter_csv(table)) == ",".join(table.columns) + "\n"
    assert json.loads("".join(iter_json(table))) == []
    assert "task" in to_table_text(table)


ODD_LINES = st.sampled_from(
    [
        b"loss acc",
        b"1 2",
        b"loss=1",
        b"\xff",
        b'{"a": "\\ud800"}',
        b'{"a": NaN, "b": [1e999]}',
        b"a,b",
        b'"x,1',
        b"\x1b[31m=1 nan",
        b"step 1",
    ]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.binary(max_size=40), st.lists(ODD_LINES, max_size=5).map(b"\n".join)), max_size=3), st.booleans())
def test_whatever_is_in_the_files_it_can_be_written_out(tmp_path, texts, by_step):
    paths = []
    for place, text in enumerate(texts):
        paths.append(tmp_path / f"{place}.metrics")
        paths[-1].write_bytes(text)
    table = collect([gathered(make_task(0), paths, by_step=by_step)], Layout(by_step=by_step))
    assert table.rows
    for text in (*iter_csv(table), *iter_json(table), to_table_text(table), to_table_text(table, width=30, color=True)):
        text.encode()
    assert (
        len(json.loads("".join(iter_json(table))))
        == len(list(csv.DictReader(io.StringIO("".join(iter_csv(table)), newline=""))))
        == len(table.rows)
    )
    table.to_pandas()


# -- which files ----------------------------------------------------------------------------------------------------------


def test_find_metrics(tmp_path):
    for name in ["b.metrics", "a.metrics", ".hidden.metrics", "log", "out/x.csv", "out/deep/y.csv", "v[1].csv", "v1.csv"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x 1\n")

    def find(*patterns):
        return find_metrics(str(tmp_path), patterns)

    assert find("*.metrics") == ["a.metrics", "b.metrics"]
    assert find("b*", "*.metrics") == ["b.metrics", "a.metrics"]
    assert find(".hidden.metrics") == [".hidden.metrics"]
    assert find("out/*.csv") == ["out/x.csv"]
    assert find("out/**/*.csv") == ["out/deep/y.csv", "out/x.csv"]
    assert find("out/x.csv", "nothing", "out") == ["out/x.csv"]
    assert find("./v[1].csv") == ["v[1].csv"]
    assert find("v[1].csv") == ["v[1].csv"]
    assert find("v[12].csv") == ["v1.csv"]
    for name in ["params.json", "result.json", "attempt-1.log", "out/params.json"]:
        (tmp_path / name).write_text("{}")
    assert find("*.json", "*.log") == ["result.json"]
    assert find("./*.json", "*/*.json") == ["result.json"]
    assert find("params.json", "attempt-1.log") == ["params.json", "attempt-1.log"]
    assert find(str(tmp_path / "out/x.csv")) == [str(tmp_path / "out/x.csv")]
    assert find_metrics(str(tmp_path / "nowhere"), ["*", "a", "a/*"]) == []


def test_without_patterns_files_are_known_by_their_names(tmp_path):
    names = [
        "b.metrics",
        "a.metrics",
        "metrics.csv",
        "other.csv",
        "sub/deep.metrics",
        "lightning_logs/version_0/metrics.csv",
        "lightning_logs/version_0/events.out.tfevents.17.host.1.0",
        "out/checkpoint-10/trainer_state.json",
        "out/all_results.json",
        "wandb/run-20260101_120000-abc/files/wandb-summary.json",
        ".git/metrics.csv",
        "__pycache__/metrics.csv",
        "1/2/3/4/5/6/metrics.csv",
    ]
    for name in names:
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).write_text("x 1\n")
    (tmp_path / "t" / "data").symlink_to(tmp_path / "t" / "lightning_logs")
    assert discover(str(tmp_path / "t")) == [
        "lightning_logs/version_0/events.out.tfevents.17.host.1.0",
        "wandb/run-20260101_120000-abc/files/wandb-summary.json",
        "out/checkpoint-10/trainer_state.json",
        "out/all_results.json",
        "lightning_logs/version_0/metrics.csv",
        "metrics.csv",
        "a.metrics",
        "b.metrics",
    ]
    assert discover(str(tmp_path / "nowhere")) == []


# -- what one task's files say together -----------------------------------------------------------------------------------


@pytest.fixture
def read(tmp_path):
    """Write files, and read them as one task's: read({"a.metrics": "loss 1"})."""

    def read_files(texts, *, is_final=True):
        for name, text in texts.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        files = [MetricsFile(path=str(tmp_path / name), name=name) for name in texts]
        return gather(files, is_final=is_final, with_steps=True)

    return read_files


def test_how_a_metric_went(read):
    found = read({"m.csv": "step,loss,acc,name\n1,0.5,nan,x\n2,0.0,inf,x\n3,0.25,nan,x\n", "f.json": '{"test": 0.0}'})
    assert found.last["loss"] == 0.25
    assert [found.reduced("loss", how) for how in ("first", "last", "min", "max", "mean")] == [0.5, 0.25, 0.0, 0.5, 0.25]
    assert found.reduced("acc", "min") == math.inf
    assert math.isnan(found.reduced("acc", "last"))
    assert found.reduced("test", "min") == 0.0
    assert found.reduced("name", "max") == "x"
    assert found.reduced("nothing", "min") is None


def test_the_newest_version_counts(read):
    texts = {f"logs/version_{n}/metrics.csv": f"step,loss\n0,{n}\n1,{n}.5\n" for n in (10, 9, 2)}
    found = read(texts)
    assert found.last == {"step": 1, "loss": 10.5}
    assert found.steps == ({"step": 0, "loss": 10}, {"step": 1, "loss": 10.5})
    assert found.notes == ()


def test_a_version_that_went_on_has_the_steps_before_it_from_the_older_one(read):
    found = read({"version_0/metrics.csv": "step,loss\n0,9\n10,8\n20,7\n", "version_1/metrics.csv": "step,loss\n20,6\n30,5\n"})
    assert [(row["step"], row["loss"]) for row in found.steps] == [(0, 9), (10, 8), (20, 6), (30, 5)]
    assert found.reduced("loss", "max") == 9


def test_a_later_attempt_wins_at_equal_steps(read):
    found = read({"attempt-10.log": "step=2 loss=5\n", "attempt-9.log": "step=1 loss=9\nstep=2 loss=8\nstep=3 loss=7\n"})
    assert [(row["step"], row["loss"]) for row in found.steps] == [(1, 9), (2, 5), (3, 7)]
    assert found.last["loss"] == 5


def test_only_the_newest_checkpoint_counts(read):
    found = read({"checkpoint-9/trainer_state.json": '{"a": 1}', "checkpoint-10/trainer_state.json": '{"b": 2}'})
    assert found.last == {"b": 2}


# -- the writers ----------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)


def spell_out(value):
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, list):
        return [spell_out(item) for item in value]
    if isinstance(value, dict):
        return {name: spell_out(item) for name, item in value.items()}
    return value


@given(st.lists(st.tuples(VALUES, VALUES), max_size=5))
def test_json_is_json_and_reads_back(rows):
    text = "".join(iter_json(Table(columns=("a", 'b "'), rows=rows)))

    def refuse(constant):
        raise AssertionError(constant)

    assert json.loads(text, parse_constant=refuse) == [{"a": spell_out(a), 'b "': spell_out(b)} for a, b in rows]


@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.floats(allow_nan=False)),
        max_size=5,
    )
)
def test_csv_reads_back(rows):
    text = "".join(iter_csv(Table(columns=("a,b", "c"), rows=rows)))
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert found[0] == ["a,b", "c"]
    assert [(name, float(number)) for name, number in found[1:]] == rows


def test_csv_cells():
    row = (1, 0.1, 1e-05, True, None, "", "=1+1", "a\nb", [1, "x"], math.nan, -math.inf, " x ")
    text = "".join(iter_csv(Table(columns=tuple("abcdefghijkl"), rows=[row])))
    assert text.partition("\n")[2] == '1,0.1,1e-05,true,,"",=1+1,"a\nb","[1, ""x""]",nan,-inf, x \n'


def test_many_rows_come_in_pieces():
    table = Table(columns=("n",), rows=[(number,) for number in range(5000)])
    assert len(list(iter_csv(table))) > 5
    assert len(json.loads("".join(iter_json(table)))) == 5000


def test_pandas_keeps_ints_and_booleans():
    frame = Table(columns=("i", "f", "b", "t"), rows=[(1, 0.5, True, "x"), (None, None, None, None)]).to_pandas()
    assert [str(kind) for kind in frame.dtypes] == ["Int64", "float64", "boolean", "object"]
    assert frame["i"][0] == 1
    assert Table(columns=("i",), rows=[]).to_pandas().shape == (0, 1)


TABLE = Table(
    columns=("task", "id", "state", "lr", "text", "empty"),
    rows=[
        (0, "0123456789abcdef", "done", 1 / 3, "x\x1b[31m\n", None),
        (10, "0123456789abcdef", "failed", 1e-7, "[red]y" * 9, None),
    ],
)


def test_the_plain_table_is_aligned_and_holds_no_escape_codes():
    text = to_table_text(TABLE)
    assert "\x1b" not in text
    assert "empty" not in text
    lines = text.splitlines()
    assert len(lines) == 3
    assert lines[1].index("done") == lines[2].index("failed") == lines[0].index("state")
    assert "0.333333" in text


def test_a_narrow_terminal_loses_columns_and_texts_but_no_number():
    text = to_table_text(TABLE, width=44)
    assert max(map(len, text.splitlines()[:3])) <= 44
    assert "0.333333" in text
    assert "left out to fit the terminal: id" in text


def test_colours_only_where_asked():
    assert "\x1b[32m" in to_table_text(TABLE, width=200, color=True)
    assert "\x1b" not in to_table_text(TABLE, width=200)


def test_as_many_tasks_as_there_are(tmp_path: Path):
    path = tmp_path / "m.metrics"
    path.write_text("loss 0.5\n")
    table = collect(gathered(make_task(index), [path]) for index in range(3000))
    assert [row[0] for row in table.rows] == list(range(3000))
