"""Eight commands at once on one run, again and again: no damage, no task started twice, and whatever is said makes sense.

A few rounds here; HPCSWEEP_TEST_ROUNDS=100 for many.
"""

from __future__ import annotations

import os
import random
import re
import sys
from collections import Counter
from pathlib import Path

from hpcsweep.__main__ import main

ROUNDS = int(os.environ.get("HPCSWEEP_TEST_ROUNDS", "4"))
AT_ONCE = 8
SWEEP = """
command: |
  echo "$HPCSWEEP_TASK.$HPCSWEEP_ATTEMPT" >>starts
  echo "v $HPCSWEEP_TASK" >"$HPCSWEEP_TASK_DIR/m.metrics"
  exit $((HPCSWEEP_TASK % 2))
space: {x: {range: [1, 10]}}
"""
COMMANDS = (
    ("status", "run-01", "--json"),
    ("status", "run-01", "--failed"),
    ("advance", "run-01", "--quiet"),
    ("resubmit", "run-01"),
    ("resubmit", "run-01", "--tasks", "1,3,4", "--state", "failed,cancelled,lost"),
    ("cancel", "run-01", "--tasks", "5-7"),
    ("collect", "run-01", "--csv"),
    ("hold", "run-01"),
    ("release", "run-01"),
    ("throttle", "run-01", "2"),
    ("verify", "run-01"),
    ("list",),
)


def start(folder: Path, words: tuple[str, ...], said: Path) -> int:
    """A command in a process of its own; its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.chdir(folder)
        os.environ["PWD"] = str(folder)
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        code = main(
            [
                *words,
                *(
                    ("--wait-lock", "300s")
                    if words[0] in {"advance", "resubmit", "cancel", "hold", "release", "throttle"}
                    else ()
                ),
            ]
        )
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def test_eight_commands_at_once(site, tmp_path):
    rng = random.Random(os.environ.get("HPCSWEEP_TEST_SEED", "1"))  # noqa: S311 - chooses commands
    site.sweep(SWEEP)
    assert site("submit", "sweep.yaml", "--jobs", "4").code == 0
    for _round in range(ROUNDS):
        chosen = [rng.choice(COMMANDS) for _ in range(AT_ONCE)]
        outputs = [tmp_path / f"said-{number}" for number in range(AT_ONCE)]
        pids = [start(site.folder, words, said) for words, said in zip(chosen, outputs, strict=True)]
        for pid, words, said in zip(pids, chosen, outputs, strict=True):
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            text = said.read_text()
            assert code == 0, (words, text)
            assert not re.search("Traceback|bug in|damaged", text), (words, text)
    assert site("release", "run-01").code == 0
    assert site("wait", "run-01", "--timeout", "300s").code in (0, 1)
    started = Counter(site.starts())
    assert max(started.values()) == 1
    assert {name.partition(".")[0] for name in started} >= {str(number) for number in (0, 2, 4, 8)}
    assert site("verify", "run-01").code == 0
    states = site.states()
    assert [states[number] for number in (0, 2, 8)] == ["done"] * 3
    assert {states[number] for number in (1, 3, 9)} == {"failed"}
    rows = [row for row in site("collect", "run-01", "--csv").said.splitlines() if row[:1].isdigit()]
    assert len(rows) == 10
