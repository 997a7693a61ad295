"""README.md and docs/ say what is so: their commands are run, their options are those of the program, their links resolve."""

from __future__ import annotations

import argparse
import difflib
import functools
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hpcsweep import aggregate, cli, collect, errors, formats, results
from hpcsweep.__main__ import BUG, INTERRUPTED
from hpcsweep.states import State
from hpcsweep.sweepfile import load_profile_settings, load_sweep

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
IDS = [path.stem for path in PAGES]
COMMANDS_PAGE = ROOT / "docs" / "commands.md"
RUNNING_PAGE = ROOT / "docs" / "running.md"
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

each_page = pytest.mark.parametrize("page", PAGES, ids=IDS)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language, in their order."""
    return [text for info, text in FENCE.findall(read(page)) if info.split(" ")[0] == language]


def section(page: Path, title: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    text = read(page)
    found = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert found, f"{page.name} has no section {title!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table_keys(text: str) -> list[str]:
    """The words in backticks of each row's first column."""
    rows = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return [key for row in rows for key in re.findall(r"`([^`]+)`", row)]


# ---- commands are run ----


@pytest.fixture
def shell(tmp_path):
    """``shell(line)`` runs a line of bash in a project with the examples, where ``hpcsweep`` is this one and the scheduler is local."""
    shutil.copytree(ROOT / "sweeps", tmp_path / "sweeps")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python").symlink_to(sys.executable)
    (tools / "hpcsweep").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hpcsweep "$@"\n')
    (tools / "hpcsweep").chmod(0o755)
    (tmp_path / "config" / "hpcsweep").mkdir(parents=True)
    (tmp_path / "config" / "hpcsweep" / "config.yaml").write_text("scheduler: local\n")
    environment = {
        **os.environ,
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    environment.pop("HPCSWEEP_PROFILE", None)

    def run(line: str) -> str:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"$ {line}\nexit code {done.returncode}\n{done.stdout}"
        return done.stdout

    run.path = tmp_path
    yield run
    subprocess.run(
        ["bash", "-c", "for run in runs/*/; do hpcsweep cancel $run; done"],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        timeout=60,
    )


def read_dialogue(block: str) -> list[tuple[str, list[str]]]:
    """(command, the lines shown below it) of a console block; a command that ends with a backslash goes on in the next line."""
    dialogue: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if dialogue and not dialogue[-1][1] and dialogue[-1][0].endswith("\\"):
            dialogue[-1] = (f"{dialogue[-1][0]}\n{line}", [])
        elif line.startswith("$ "):
            dialogue.append((line[2:], []))
        else:
            dialogue[-1][1].append(line)
    return dialogue


# What depends on when and where a run is made; the numbers of tasks and their results do not.
VARIES = (
    (re.compile(r"\bon (slurm|local)\b"), "on SCHEDULER"),
    (re.compile(r"\bjob \w[\w-]*?((?:_\d+)?)(?=[ )])"), r"job ID\1"),
    (re.compile(r"\S*/runs/"), "RUNS/"),
    (re.compile(r"\b\d+(s|m\d\ds)\b"), "TIME"),
    (re.compile(r"(val_\w+) [\d.]+"), r"\1 NUMBER"),
    (re.compile(r"^this element runs on .*"), "this element runs on NODE"),
    (re.compile(r" +"), " "),
)
IN_MOTION = re.compile(r"^\S+ \d+ tasks? on |^\[|^ +(done|running|pending) +\d+$|^about |^\d+ pending: ")


def steady(lines: list[str]) -> list[str]:
    """Lines without what varies from run to run, and without those that tell how far a run is at the moment."""
    kept = []
    for line in lines:
        for pattern, word in VARIES:
            line = pattern.sub(word, line)  # noqa: PLW2901 - one substitution after the other
        if line.strip() and not IN_MOTION.search(line):
            kept.append(line.strip())
    return kept


def write_files(page: Path, folder: Path) -> None:
    """The files that a page shows: those whose fence says ``file NAME``, and sweeps whose first line is ``# NAME.yaml``."""
    for info, block in FENCE.findall(read(page)):
        name = info.partition(" file ")[2]
        if info.startswith("yaml") and (named := re.match(r"# (\S+\.yaml)\b", block)):
            name = named[1]
        if name:
            (folder / name).write_text(block)


def cells(lines: list[str]) -> list[list[str]]:
    """The table of ``collect`` without times, results and jobs: the names, then each task's number, id and state."""
    header, *rows = (line.split() for line in lines)
    return [header, *(row[:3] for row in rows)]


@each_page
def test_the_commands_work_and_print_what_is_shown(page, shell):
    write_files(page, shell.path)
    for block in blocks(page, "console"):
        for command, shown in read_dialogue(block):
            printed = shell(command)
            expected, got = steady(shown), steady(printed.splitlines())
            if "| head" in command or "| tail" in command:
                expected, got = cells(expected), cells(got)
            if "..." in shown:
                assert [line for line in expected if line not in {*got, "..."}] == [], f"$ {command}\n{printed}"
            elif shown:
                assert got == expected, f"$ {command}\n{printed}"


def test_the_first_command_of_the_readme_ends_with_a_run(shell):
    first, second = blocks(ROOT / "README.md", "sh")
    assert len(first.splitlines()) == 1
    *install, submit = first.strip().split(" && ")
    assert install == ["python3 -m venv .venv", ". .venv/bin/activate", "pip install ."]
    printed = shell(f"{submit} --limit 2")
    assert "all done" in printed
    assert "val_acc" in printed
    assert os.access(ROOT / second.strip(), os.X_OK)
    assert second.strip() in (ROOT / ".ci" / "run").read_text()


def test_the_python_of_the_readme_runs(capsys):
    for block in blocks(ROOT / "README.md", "python"):
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102 - our own page
    assert capsys.readouterr().out


# ---- what is written is read by the program ----


@each_page
def test_each_sweep_is_one(page, tmp_path):
    for text in blocks(page, "yaml"):
        whole = text if re.search(r"^(space|spaces):", text, re.MULTILINE) else f"{text}\nspace: {{lr: [0.1, 0.2]}}\n"
        sweep = load_sweep(
            whole.encode(),
            page.name,
            profiles=(),
            profile=None,
            environ={"USER": "u"},
            host="here",
            read_file=lambda _: "",
            needs_command=False,
        )
        assert next(iter(sweep.space.points(limit=1)), None) is not None
    for text in blocks(page, "yml"):
        load_profile_settings([(page.name, text)], profile=None, environ={"USER": "u"}, host="here")


def test_the_sweep_of_the_readme_is_the_first_example():
    (text,) = blocks(ROOT / "README.md", "yaml")
    ours = (ROOT / "sweeps" / "lr.yaml").read_text()

    def bare(yaml: str) -> list[str]:
        lines = [re.sub(r"\s*(^|\s)# .*", "", line).rstrip() for line in yaml.splitlines()]
        return [line for line in lines if line]

    assert bare(text) == bare(ours)


def test_every_example_is_mentioned():
    pages = "\n".join(map(read, PAGES))
    names = [path.name for path in sorted((ROOT / "sweeps").glob("*.yaml"))]
    assert [name for name in names if f"sweeps/{name}" not in pages] == []


@each_page
def test_links_resolve(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", read(page))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# ---- docs/commands.md against the code ----


@functools.cache
def parser_of(name: str) -> argparse.ArgumentParser:
    module = importlib.import_module(f"hpcsweep.cli.{'list_' if name == 'list' else name}")
    parser = argparse.ArgumentParser(prog=f"hpcsweep {name}")
    module.add_arguments(parser)
    return parser


def option_rows(name: str) -> list[str]:
    """The rows of a command's table, as its options say them."""
    formatter = argparse.HelpFormatter(prog="hpcsweep")
    rows = []
    for action in parser_of(name)._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        words = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.metavar}`"
        if action.option_strings and action.nargs != 0:
            words = words[:-1] + f" {action.metavar}`"
        help_text = formatter._expand_help(action)
        rows.append(f"| {words} | {help_text} |".replace("RUN|JOBID", r"RUN\|JOBID"))
    return rows


def test_the_summaries_are_those_of_the_help():
    rows = re.findall(r"^\| \[`(\w+)`\]\(#\w+\) \| (.*) \|$", read(COMMANDS_PAGE), re.MULTILINE)
    assert dict(rows) == cli.COMMANDS
    assert [name for name, _ in rows] == list(cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_option_is_on_the_page_and_the_other_way_round(name):
    found = re.findall(r"^\| `.*\|$", section(COMMANDS_PAGE, name).split("\n####")[0], re.MULTILINE)
    expected = option_rows(name)
    assert found[: len(expected)] == expected, "\n".join(["the table should be:", "| | |", "|---|---|", *expected])
    assert [row for row in found[len(expected) :] if re.match(r"\| `-", row)] == []


def test_options_that_are_mentioned_exist():
    known = {option for name in cli.COMMANDS for action in parser_of(name)._actions for option in action.option_strings}
    for page in PAGES:
        for line in FENCE.sub("", read(page)).splitlines():
            for command, words in re.findall(r"`hpcsweep ([a-z]+)([^`]*)`", line):
                assert command in cli.COMMANDS, line
                own = {option for action in parser_of(command)._actions for option in action.option_strings}
                assert [word for word in re.findall(r"(?<!\S)--?[a-z][a-z-]*", words) if word not in own] == [], line
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section(COMMANDS_PAGE, "Commands")))
    assert mentioned - known - {"--version", "--help"} == set()


def test_every_exit_code_is_listed():
    own = {kind.exit_code for kind in vars(errors).values() if inspect.isclass(kind) and hasattr(kind, "exit_code")}
    listed = {int(code) for code in table_keys(section(COMMANDS_PAGE, "Exit codes"))}
    assert listed == {0, BUG, INTERRUPTED, *own}


def test_every_state_is_listed():
    assert table_keys(section(COMMANDS_PAGE, "States")) == [state.value for state in State]


def test_the_json_is_described_field_by_field(shell):
    shell("hpcsweep submit sweeps/finally.yaml --limit 1 && hpcsweep wait")
    status = json.loads(shell("hpcsweep status --json"))
    expected = [
        *status,
        *(f"tasks[].{key}" for key in status["tasks"][0]),
        *(f"arrays[].{key}" for key in status["arrays"][0]),
        *(f"finally.{key}" for key in status["finally"]),
    ]
    assert table_keys(section(COMMANDS_PAGE, "status --json")) == expected
    shown = json.loads(shell("hpcsweep show sweeps/finally.yaml --json"))
    assert table_keys(section(COMMANDS_PAGE, "show --json")) == list(shown)
    verified = json.loads(shell("hpcsweep verify --json"))
    assert [key for key in table_keys(section(COMMANDS_PAGE, "verify --json")) if key in verified] == list(verified)
    (listed,) = json.loads(shell("hpcsweep list --json"))
    assert table_keys(section(COMMANDS_PAGE, "list --json")) == list(listed)
    (size,) = json.loads(shell("hpcsweep du --json"))
    assert table_keys(section(COMMANDS_PAGE, "du --json")) == list(size)


def test_the_columns_of_results_are_listed():
    keys = table_keys(section(COMMANDS_PAGE, "Columns"))
    assert tuple(keys) == (results.RUN, *collect.COLUMNS, results.OBJECTIVE, *collect.LAST_COLUMNS)
    listed = table_keys(section(COMMANDS_PAGE, "Replicates"))
    assert listed == [results.RUN, *aggregate.COLUMNS, *(f"X.{name}" for name in aggregate.STATISTICS)]
    assert re.findall(r"`(\.\w+)`", section(COMMANDS_PAGE, "Forms")) == list(formats.ENDINGS)


# ---- docs/running.md against the code ----


def test_every_variable_that_a_task_sees_is_listed(shell):
    shell(
        "printf 'command: env -0\\nspace: {x: 1}\\nenv_from: clean\\nresources: {time: 5m}\\nsignal: {name: USR1, before: 1m}\\n"
        "stage: {in: sweeps}\\n' > env.yaml && hpcsweep submit env.yaml && hpcsweep wait"
    )
    log = next(shell.path.glob("runs/*/tasks/*/attempt-1.log")).read_text()
    seen = {part.partition("=")[0] for part in log.split("\0") if part.startswith(("HPCSWEEP_", "PYTHONUNBUFFERED"))}
    listed = set(table_keys(section(RUNNING_PAGE, "What a task sees")))
    assert seen == {name.replace("<name>", "x") for name in listed if name.startswith(("HPCSWEEP_", "PYTHONUNBUFFERED"))}


def test_the_run_folder_is_as_it_is_described(shell):
    shell("hpcsweep submit sweeps/lr.yaml --limit 1 --name run-03 && hpcsweep wait")
    described = re.findall(r"^    (\S+?)/? {2,}\S", section(RUNNING_PAGE, "The run's folder"), re.MULTILINE)
    made = {str(path.relative_to(shell.path / "runs" / "run-03")) for path in (shell.path / "runs" / "run-03").rglob("*")}
    patterns = [re.sub(r"\d{6}", "000000", name).replace("NNN", "001").replace("A.log", "1.log") for name in described]
    missing = [name for name in patterns if name not in made]
    assert missing == [], difflib.get_close_matches(missing[0], made) if missing else ""
