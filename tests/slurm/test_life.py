"""A sweep from its file to its table of results, on the real Slurm: as root, as an ordinary user, and on this machine alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from life import COUNT_START, Life, Site, job_of

# What takes its minutes in other files begins with the first of the tests here.
pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slow_runs")]

# Each task's metrics come from its own parameters, and a gate lets the test look while half of them run.
BLOCKS = """
command: |
  printf '%s\\n' "$HPCSWEEP_TASK $HPCSWEEP_ATTEMPT $HPCSWEEP_RESTART" >>starts-$HPCSWEEP_RUN
  if [ "$HPCSWEEP_TASK" -ge 12 ]; then until [ -e gate-$HPCSWEEP_RUN ]; do sleep 0.2; done; fi
  python3 ../work.py "$HPCSWEEP_TASK_DIR/out.metrics" {{ params | flags }}
workdir: data
space:
  epochs: 3
  sum:
    - optimizer: sgd
      lr: [0.1, 0.01]
      momentum: [0.0, 0.9]
    - optimizer: adam
      lr: [0.001, 0.002, 0.004, 0.008]
  replicate: {seed: 3}
resources: {time: 10m, memory: 50M}
"""
WORK = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--epochs", type=int)
parser.add_argument("--optimizer")
parser.add_argument("--lr", type=float)
parser.add_argument("--momentum", type=float)
parser.add_argument("--seed", type=int)
given = parser.parse_args()
with open(given.out, "w") as out:
    print("epoch loss", file=out)
    for epoch in range(given.epochs):
        print(epoch, repr(given.lr * (1 + given.seed) / (1 + epoch) + (given.momentum or 0)), file=out)
"""


def expected_loss(row: dict[str, str]) -> float:
    return float(row["lr"]) * (1 + int(row["seed"])) / 3 + float(row["momentum"] or 0)


@pytest.fixture(scope="module")
def blocks(any_site: Site) -> tuple[Site, Life, Life]:
    """The same file on Slurm and on this machine, both under way."""
    any_site.write("work.py", WORK)
    (any_site.folder / "data").mkdir()
    (any_site.folder / "data").chmod(0o777)
    on_slurm = any_site.submit("blocks", BLOCKS)
    here = any_site.submit("here", BLOCKS, "--scheduler", "local", "--jobs", "20")
    return any_site, on_slurm, here


def open_gate(site: Site, run: str) -> None:
    (site.folder / "data" / f"gate-{run}").touch()


def test_24_tasks_in_two_blocks(blocks):
    site, run, _ = blocks
    assert run.said.count("submitted") == 1
    assert "24 tasks" in run.said
    # While it runs: the first half is done, the second cannot be.
    half = run.await_status(
        lambda status: status["counts"].get("done") == 12 and status["counts"].get("running") == 12, "half is done"
    )
    assert [(array["number"], array["job"], array["size"]) for array in half["arrays"]] == [(1, job_of(run.said), 24)]
    assert [task["state"] for task in half["tasks"]] == ["done"] * 12 + ["running"] * 12
    assert not half["finished"]
    assert {task["source"] for task in half["tasks"][:12]} == {"task"}
    assert {task["source"] for task in half["tasks"][12:]} == {"scheduler"}
    assert all(task["node"] and task["job"] == f"{job_of(run.said)}_{task['index']}" for task in half["tasks"])
    assert [task["exit_code"] for task in half["tasks"]] == [0] * 12 + [None] * 12
    unfinished = run.rows()
    assert [row["state"] for row in unfinished] == ["done"] * 12 + ["running"] * 12
    open_gate(site, run.name)
    after = run.await_end()
    assert after["counts"] == {"done": 24}
    assert run.starts("data/starts-blocks") == dict.fromkeys([f"{task} 1 0" for task in range(24)], 1)
    rows = run.rows()
    assert len(rows) == 24
    assert len({row["id"] for row in rows}) == 24
    assert [row["task"] for row in rows] == [str(number) for number in range(24)]
    for row in rows:
        assert float(row["loss"]) == pytest.approx(expected_loss(row))
        assert (row["momentum"] == "") is (row["optimizer"] == "adam")
    assert len(run.rows("--steps")) == 72
    text = run.hpcsweep("status").stdout
    assert "\x1b" not in text
    assert "done" in text
    assert "24" in text
    run.hpcsweep("wait")
    nothing = run.hpcsweep("resubmit").stdout
    assert "nothing to run again" in nothing
    # What a task leaves: its folder's three files, and one event file under its two names.
    assert len(list((run.path / "tasks").iterdir())) == 24
    assert sorted(path.name for path in (run.path / "tasks/000003").iterdir()) == [
        "attempt-1.log",
        "out.metrics",
        "params.json",
    ]


def test_the_same_on_this_machine(blocks):
    site, run, here = blocks
    open_gate(site, here.name)
    open_gate(site, run.name)
    here.await_end()
    run.await_end()
    free = {"elapsed_s", "job", "node", "source", "age_s"}
    both = [[{name: value for name, value in task.items() if name not in free} for task in one.tasks()] for one in (run, here)]
    assert both[0] == both[1]
    tables = [[{name: value for name, value in row.items() if name not in free} for row in one.rows()] for one in (run, here)]
    assert tables[0] == tables[1]
    for task in range(24):
        records = [one.path / f"tasks/{task:06d}" for one in (run, here)]
        assert records[0].joinpath("params.json").read_text() == records[1].joinpath("params.json").read_text()
        assert records[0].joinpath("out.metrics").read_text() == records[1].joinpath("out.metrics").read_text()
    commands = [sorted(path.read_text() for path in (one.path / "arrays/001/tasks").iterdir()) for one in (run, here)]
    assert commands[0] == commands[1]


HOSTILE: list[object] = [
    "it's",
    'a "quoted" word',
    "  two  spaces  ",
    "line\nbreak\n",
    "\ttab\rcr\x0bvt\x1b[31m",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "& touch pwned &",
    "| touch pwned",
    "> pwned",
    "$HOME ${PATH} $$ $1 !!",
    "*",
    "[a-z]*?",
    "~root",
    "{a,b}",
    "é✓漢字🙂 ﬁ",
    "\\",
    "trailing\\",
    "\\n\\0",
    "'\\''",
    '"$(touch pwned)"',
    "'\n$(touch pwned)\n'",
    "#no comment",
    "--help",
    "-n",
    "-",
    "--",
    "",
    " ",
    "\n",
    "=",
    "a=b",
    "%s%d%%",
    "END\nEOF\nfi\n}\ndone\n)",
    "{{ 1 + 1 }}",
    "{% raw %}",
    "x" * 100_000,
    "é'\"$(touch pwned)\n" * 5000,
]
ARGV = """\
import json, os, sys
folder = os.environ["HPCSWEEP_TASK_DIR"]
with open(os.path.join(folder, "argv.json"), "w") as file:
    values = {"argv": [os.fsencode(word).hex() for word in sys.argv[1:]], "stdin": sys.stdin.buffer.read().hex()}
    variable = os.environ.get("HPCSWEEP_PARAM_x")
    values["variable"] = None if variable is None else os.fsencode(variable).hex()
    json.dump(values, file)
"""
# The same value in a command of text, inside the template's own quotes, as a word of a list, as stdin and in a file.
WAYS = {
    "text": "command: python3 argv.py {{ x }} end",
    "words": 'command: [python3, argv.py, "{{ x }}", end]',
    "stdin": "command: python3 argv.py end\nstdin: |-\n  {{ x }}",
    "flags": "command: python3 argv.py {{ params | flags(style='equals') }} end",
}


@pytest.fixture(scope="module")
def hostile(any_site: Site) -> dict[tuple[str, str], Life]:
    any_site.write("argv.py", ARGV)
    lives = {}
    ways = WAYS if any_site.is_own else {"text": WAYS["text"]}
    for way, command in ways.items():
        text = f"{command}\nspace:\n  x: {json.dumps(HOSTILE)}\nresources: {{time: 10m, memory: 50M}}\n"
        for scheduler in ("slurm", "local"):
            words = ["--scheduler", scheduler, *(["--jobs", "2"] if scheduler == "local" else [])]
            lives[scheduler, way] = any_site.submit(f"{way}-{scheduler}", text, *words)
    return lives


@pytest.mark.parametrize("scheduler", ["slurm", "local"])
@pytest.mark.parametrize("way", list(WAYS))
def test_values_that_hurt_arrive_byte_for_byte(any_site, hostile, scheduler, way):
    if (scheduler, way) not in hostile:
        return  # one way is enough to see that the ordinary user's values arrive too
    run = hostile[scheduler, way]
    status = run.await_end()
    assert status["counts"] == {"done": len(HOSTILE)}, [task for task in status["tasks"] if task["state"] != "done"]
    for index, value in enumerate(HOSTILE):
        folder = run.path / f"tasks/{index:06d}"
        seen = json.loads((folder / "argv.json").read_text())
        argv = [bytes.fromhex(word).decode() for word in seen["argv"]]
        expected = {
            "text": [value, "end"],
            "words": [value, "end"],
            "stdin": ["end"],
            "flags": [f"--x={value}", "end"],
        }[way]
        assert argv == expected
        assert bytes.fromhex(seen["stdin"]).decode() == (value if way == "stdin" else "")
        assert json.loads((folder / "params.json").read_text()) == {"x": value}
        assert seen["variable"] is None or bytes.fromhex(seen["variable"]).decode() == value
        assert run.log(index) == ""
    assert [task["params"] for task in status["tasks"]] == [{"x": value} for value in HOSTILE]
    assert [row["x"] for row in json.loads(run.hpcsweep("collect", "--json").stdout)] == HOSTILE
    assert (run.path / "arrays/001/elements.log").read_text() == ""
    assert not list(any_site.folder.rglob("pwned"))
    assert not list(Path(run.path).rglob("pwned"))


def test_a_nul_byte_is_refused(any_site):
    for text in ('space: {x: ["a\\0b"]}', 'space: {value: ["a\\u0000b"]}'):
        any_site.write("nul.yaml", f"command: echo {{{{ x }}}}\n{text}\n")
        done = any_site.hpcsweep("submit", "nul.yaml", "--name", "nul", code=1)
        assert "NUL" in done.stderr
        assert not (any_site.folder / "runs/nul").exists()


def test_names_of_jobs_stand_for_tasks(any_site):
    run = any_site.submit("names", f"command: '{COUNT_START} echo here $HPCSWEEP_TASK; exit 3'\nspace: {{x: [1, 2, 3]}}\n")
    run.await_states("failed", "failed", "failed")
    job = job_of(run.said)
    shown = run.hpcsweep("status", "--tasks", f"{job}_2").stdout
    assert f"{job}_2" in shown
    assert f"{job}_1" not in shown
    assert "here 2" in run.hpcsweep("logs", f"{job}_2").stdout
    run.hpcsweep("resubmit", "--tasks", f"{job}_1")
    run.await_status(lambda status: status["finished"] and status["tasks"][1]["attempt"] == 2, "the second ran again")
    second = run.jobs()[1]
    assert [task["job"] for task in run.tasks()] == [f"{job}_0", f"{second}_0", f"{job}_2"]
    run.hpcsweep("resubmit", "--tasks", f"{second}_0,{job}_[2]")
    run.await_status(lambda status: [task["attempt"] for task in status["tasks"]] == [1, 3, 2], "both ran again")
    run.await_end()
    assert run.starts() == dict.fromkeys(["0 1 0", "1 1 0", "1 2 0", "1 3 0", "2 1 0", "2 2 0"], 1)
    for wrong in (f"{job}_7", "1_1", "9", "x"):
        run.hpcsweep("resubmit", "--tasks", wrong, code=1)
