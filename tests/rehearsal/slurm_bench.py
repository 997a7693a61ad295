"""A rehearsed Slurm in the test's own process: a clock that the test moves, and elements that do what their script's text says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL

from hpcsweep.rehearsal.desk import Desk
from hpcsweep.rehearsal.face import Answer, Call, Value, make_settings
from hpcsweep.rehearsal.faults import parse_fault
from hpcsweep.rehearsal.jobs import Element, Job, Start
from hpcsweep.rehearsal.slurm import FACE

# As tests/slurm/start sets up the real one.
LIKE_THE_REAL_ONE: dict[str, Value] = {
    "cpus": 8,
    "nodes": 4,
    "gpus": 4,
    "gpu_types": "fake",
    "memory_mb": 8000,
    "cluster": "hpcsweep",
}
EPOCH = 1795198800.0  # 2026-11-20T18:20:00 UTC


@dataclass(kw_only=True)
class Bench:
    """Commands as lines of text. A script ``sleep 5; exit 3`` takes 5 s of the clock and ends with 3; ``kill -9 $$`` ends so."""

    cwd: Path
    given: Mapping[str, Value] = field(default_factory=lambda: LIKE_THE_REAL_ONE)
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = "user"
    uid: int = 1001
    now: float = EPOCH

    def __post_init__(self) -> None:
        self.settings = make_settings(FACE.table, self.given)
        self.desk = Desk(FACE, self.settings)
        self.ends: dict[tuple[int, int], tuple[float, int, int]] = {}
        self.signals: list[tuple[int, int, int, str]] = []
        self.words: list[str] = []

    @property
    def cluster(self):
        return self.desk.cluster

    def run(self, line: str, *, stdin: str | None = "", **env: str) -> Answer:
        program, *argv = shlex.split(line)
        self.pass_time(0)
        call = Call(
            program=program,
            argv=tuple(argv),
            cwd=str(self.cwd),
            env={"TZ": "UTC", **self.env, **env},
            settings=self.settings,
            user=self.user,
            uid=self.uid,
            host="vm",
            home="/home/user",
            stdin=stdin,
            faults=self.desk.faults,
        )
        answer = self.desk.answer(call, self.now)
        self.pass_time(0)
        return answer

    def out(self, line: str, **env: str) -> list[str]:
        """The lines of a command that has to succeed in silence."""
        answer = self.run(line, **env)
        assert (answer.code, answer.stderr) == (0, ""), answer
        return answer.stdout.splitlines()

    def submit(self, line: str, **env: str) -> str:
        return self.out(f"sbatch --parsable {line}", **env)[0]

    def fault(self, text: str) -> None:
        self.desk.set_fault(parse_fault(text), self.now)

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            self._act()
            moments = [at for at, _, _ in self.ends.values()] + [self.cluster.wakes_at(self.now)]
            if min(moments) > until:
                break
            self.now = max(self.now, min(moments))
            for key, (at, code, number) in list(self.ends.items()):
                if at <= self.now:
                    del self.ends[key]
                    self.cluster.ended(*key, self.now, code=code, signal_number=number)
        self.now = until

    def _act(self) -> None:
        if self.desk.is_frozen:
            return
        for action in self.cluster.advance(self.now):
            key = (action.job.number, action.element.index)
            if isinstance(action, Start):
                self.ends[key] = (self.now + _seconds(action.job, action.element), *_end(action.job, action.element))
                continue
            self.signals.append((*key, int(action.number), action.reach))
            if action.why:
                self.words.append(FACE.last_words(self.cluster, action.job, action.element, action.why, self.now))
            if action.number == SIGKILL or (action.why and "trap" not in action.job.request.script):
                self.ends[key] = (self.now, 0, int(action.number))


def _text(job: Job, element: Element) -> str:
    """The script, or the branch of its ``case`` that is the element's."""
    script = job.request.script
    branches = dict(re.findall(r"(\d+|\*)\) ([^;]*);;", script))
    return branches.get(str(element.index) if job.is_array else "*", branches.get("*", "")) if branches else script


def _seconds(job: Job, element: Element) -> float:
    return sum(float(seconds) for seconds in re.findall(r"sleep (\d+)", _text(job, element)))


def _end(job: Job, element: Element) -> tuple[int, int]:
    text = _text(job, element)
    if match := re.search(r"kill -(\d+) \$\$", text):
        return 0, int(match[1])
    match = re.search(r"exit (\d+)", text)
    return (int(match[1]) if match else 0), 0
