"""What is tried at each point: a command dies there, and then the run is settled. Every task has to have run exactly once.

A trial is a generator that yields when it has to wait, so that many are under way at once. ``kill`` gives the command that dies.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from killing import INTERRUPTED, KILLED, Ended
from sites import ScriptedSite, Site

from hpcsweep.ledger import Ledger
from hpcsweep.store import RunPaths, read_events

COUNT_START = 'echo "$HPCSWEEP_TASK.$HPCSWEEP_ATTEMPT" >>starts'
PLAIN = "resources: {memory: 10M, time: 10m, cpus: 1}\n"
DIFFERENT = 'resources: {memory: "{{ 10 if x < 3 else 20 }}M", time: 10m, cpus: 1}\n'
FINALLY = "finally: {command: echo last >>starts, when: ended, resources: {memory: 10M, time: 10m, cpus: 1}}\n"
SPACE = "space: {x: [1, 2, 3]}\n"
# Two arrays, and the command after them.
THREE = f"command: {COUNT_START}\n{SPACE}{DIFFERENT}{FINALLY}"
# One, and the command after it.
TOGETHER = f"command: {COUNT_START}\n{SPACE}{PLAIN}{FINALLY}"
ONCE = ["0.1", "1.1", "2.1", "last"]
# The second fails until somebody has mended it.
MENDED = f"""
command: |
  {COUNT_START}
  test -e good || test "$HPCSWEEP_TASK" != 1
{SPACE}{PLAIN}{FINALLY}"""
# The first ends, two more run until the gate is open, the fourth waits for them.
GATED = f"""
command: |
  {COUNT_START}
  until test -e gate || test "$HPCSWEEP_TASK" = 0; do sleep 0.1; done
space: {{x: [1, 1.5, 2, 2.5]}}
array: {{at_once: 2}}
{PLAIN}"""
# The second waits for the gate, fails at its first attempt, and gets more memory for the next.
RETRIED = f"""
command: |
  {COUNT_START}
  echo "$HPCSWEEP_TASK.$HPCSWEEP_ATTEMPT {{{{ resources.memory }}}}" >>memory
  until test -e gate || test "$HPCSWEEP_TASK" != 1; do sleep 0.1; done
  test "$HPCSWEEP_TASK" != 1 || test "$HPCSWEEP_ATTEMPT" = 3
retry: {{failed: {{memory: x2, up_to: 30M}}}}
{SPACE}{PLAIN}{FINALLY}"""
FOUR = ["0.1", "1.1", "2.1", "3.1"]

Waits = Generator[None, None, None]


class Kill(Protocol):
    """Gives a command, which dies at the trial's point."""

    def __call__(self, *words: str) -> Ended: ...


Trial = Callable[[Site, Kill], Waits]


def until(site: Site, holds: Callable[[], object]) -> Waits:
    """Wait; meanwhile the cluster goes on."""
    site.play()
    while not holds():
        yield
        site.play()


def settle(site: Site) -> Waits:
    """Advance until nothing is left to do; then look at what has become of all."""
    while True:
        site.play()
        ended = site("advance", "--now", "--quiet")
        assert ended.code == 0, f"advance: exit {ended.code}: {ended.said}"
        reading = read_events(RunPaths(site.run))
        if Ledger().replay(reading.events).is_finished:
            break
        yield
    before = files_of(site)
    assert site("advance").code == 0
    changed = {name: text for name, text in files_of(site).items() if text != before.get(name)}
    assert not changed, f"an advance with nothing to do has done something: {changed}"
    status = site.status()
    assert status["finished"]
    states = {task["state"] for task in status["tasks"]}
    assert states <= {"done", "failed", "cancelled"}, f"states {states}"
    unsure = [array for array in status["arrays"] if array["submission"] not in ("submitted", "abandoned")]
    assert not unsure or "cancelled" in states, f"arrays that nobody is sure of: {unsure}"
    problems = [problem for problem in reading.problems if "torn" not in problem and "line is damaged" not in problem]
    assert not problems, problems
    verified = site("verify")
    assert verified.code == 0 or reading.problems, verified.said
    logs = "".join(path.read_text() for path in site.run.glob("arrays/*/elements.log"))
    assert "hpcsweep: " not in logs, f"the elements complain: {logs}"


def files_of(site: Site) -> dict[str, bytes]:
    """What a run is: its journals and its arrays' files."""
    paths = [*site.run.glob("state*"), *site.run.glob("arrays/**/*"), *site.run.glob("tasks/**/*")]
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in paths}


def submit(site: Site, kill: Kill) -> Waits:
    """A folder without run.json is no run, and the user submits again; else the run goes on by itself."""
    site.sweep(THREE)
    kill("submit", "sweep.yaml")
    yield from until(site, lambda: True)
    if not site.is_made:
        assert site.starts() == []
        assert "no run" in site("status").said
        ended = site("submit", "sweep.yaml")
        assert ended.code == 0, ended.said
    yield from settle(site)
    assert site.starts() == ONCE


def submit_and_look_late(site: Site, kill: Kill) -> Waits:
    """Whatever was handed over has come and gone before anybody looks."""
    site.sweep(THREE)
    kill("submit", "sweep.yaml")
    yield from until(site, lambda: site.is_idle)
    if not site.is_made:
        assert site("submit", "sweep.yaml").code == 0
    yield from settle(site)
    assert site.starts() == ONCE


def advance_first(site: Site, kill: Kill) -> Waits:
    """The run was made, and its submit had come no further."""
    site.sweep(TOGETHER)
    site("submit", "sweep.yaml", kill_at="write run-01/lock/.tmp")
    assert site.is_made
    kill("advance", "--now")
    yield from settle(site)
    assert site.starts() == ONCE


def advance_after_canary(site: Site, kill: Kill) -> Waits:
    """The first task is done; the others are submitted now."""
    site.sweep(f"{TOGETHER}canary: 1\n")
    assert site("submit", "sweep.yaml").code == 0
    yield from until(site, lambda: site.status()["counts"].get("done"))
    kill("advance", "--now")
    yield from settle(site)
    assert site.starts() == ONCE


def submit_in_pieces(site: ScriptedSite, kill: Kill) -> Waits:
    """Two may be queued, and nobody has told it: what is refused is given back, and goes into smaller arrays."""
    site.slurm.submit_limit = 2
    site.sweep(TOGETHER)
    kill("submit", "sweep.yaml")
    if not site.is_made:
        assert site("submit", "sweep.yaml").code == 0
    yield from settle(site)
    assert [start.partition(".")[0] for start in site.starts()] == ["0", "1", "2", "last"]


def advance_in_pieces(site: ScriptedSite, kill: Kill) -> Waits:
    """Two have run, and the command dies that submits the rest."""
    site.slurm.submit_limit = 2
    site.sweep(TOGETHER)
    assert site("submit", "sweep.yaml").code == 0
    yield from until(site, lambda: site.is_idle)
    kill("advance")
    yield from settle(site)
    assert [start.partition(".")[0] for start in site.starts()] == ["0", "1", "2", "last"]


def advance_at_end(site: Site, kill: Kill) -> Waits:
    """All has ended, and only the journal does not know it."""
    site.sweep(MENDED)
    assert site("submit", "sweep.yaml").code == 0
    yield from until(site, lambda: site.starts() == ONCE and site.status()["finished"])
    kill("advance", "--now")
    yield from settle(site)
    assert site.starts() == ONCE


def resubmit(site: Site, kill: Kill) -> Waits:
    """What failed is run again. The second command finds the wish, or gives it anew: the attempts are the same."""
    site.sweep(MENDED)
    assert site("submit", "sweep.yaml").code == 0
    yield from settle(site)
    (site.folder / "good").touch()
    kill("resubmit")
    yield from settle(site)
    assert site("resubmit").code == 0
    yield from settle(site)
    status = site.status()
    assert (status["counts"], status["finally"]["state"]) == ({"done": 3}, "done")
    assert site.starts() == ["0.1", "1.1", "1.2", "2.1", "last", "last"]


def retry(site: Site, kill: Kill) -> Waits:
    """What failed is run again by a rule, twice; a crash repeats neither the attempts nor the change."""
    site.sweep(RETRIED)
    assert site("submit", "sweep.yaml").code == 0
    yield from until(site, lambda: site.starts() == ["0.1", "1.1", "2.1"])
    assert site("hold").code == 0
    (site.folder / "gate").touch()
    yield from until(site, lambda: site.states() == ["done", "failed", "done"])
    kill("release")
    assert site("release").code in (0, 4)  # 4: nobody knows yet whether the scheduler has taken it
    yield from settle(site)
    assert site.states() == ["done", "done", "done"]
    assert site.starts() == ["0.1", "1.1", "1.2", "1.3", "2.1", "last"]
    memory = (site.folder / "memory").read_text().splitlines()
    assert sorted(memory) == ["0.1 10M", "1.1 10M", "1.2 20M", "1.3 30M", "2.1 10M"]


def _gated(site: Site) -> Waits:
    site.sweep(GATED)
    assert site("submit", "sweep.yaml").code == 0
    yield from until(site, lambda: site.starts() == FOUR[:3])


def cancel(site: Site, kill: Kill) -> Waits:
    """The user gives the command again."""
    yield from _gated(site)
    kill("cancel", "run-01")
    ended = site("cancel", "run-01")
    assert ended.code == 0, ended.said
    yield from settle(site)
    assert site.states() == ["done", "cancelled", "cancelled", "cancelled"]
    assert site.starts() == FOUR[:3]


def cancel_some(site: Site, kill: Kill) -> Waits:
    """One that runs and one that waits."""
    yield from _gated(site)
    kill("cancel", "run-01", "--tasks", "2,3")
    ended = site("cancel", "run-01", "--tasks", "2,3")
    assert ended.code == 0, ended.said
    (site.folder / "gate").touch()
    yield from settle(site)
    assert site.states() == ["done", "done", "cancelled", "cancelled"]
    assert site.starts() == FOUR[:3]


def cancel_and_forget(site: Site, kill: Kill) -> Waits:
    """Nobody gives the command again: each task is cancelled, or has run once."""
    yield from _gated(site)
    kill("cancel", "run-01")
    (site.folder / "gate").touch()
    yield from settle(site)
    states = site.states()
    assert states[0] == "done"
    starts = site.starts()
    assert starts == sorted(set(starts))
    assert {f"{task}.1" for task, state in enumerate(states) if state == "done"} <= set(starts) <= set(FOUR)


def hold(site: Site, kill: Kill) -> Waits:
    """Held after all, then released."""
    yield from _gated(site)
    kill("hold")
    assert site("hold").code == 0
    assert site("release").code == 0
    (site.folder / "gate").touch()
    yield from settle(site)
    assert site.starts() == FOUR


def release(site: Site, kill: Kill) -> Waits:
    yield from _gated(site)
    assert site("hold").code == 0
    kill("release")
    assert site("release").code == 0
    (site.folder / "gate").touch()
    yield from settle(site)
    assert site.starts() == FOUR


def throttle(site: Site, kill: Kill) -> Waits:
    yield from _gated(site)
    kill("throttle", "run-01", "1")
    assert site("throttle", "run-01", "3").code == 0
    (site.folder / "gate").touch()
    yield from settle(site)
    assert site.starts() == FOUR


def collect(site: Site, kill: Kill) -> Waits:
    """The old table or the new one, whole."""
    site.sweep(TOGETHER)
    assert site("submit", "sweep.yaml").code == 0
    yield from settle(site)
    table = site.folder / "results.csv"
    assert site("collect", "-o", "results.csv").code == 0
    whole = table.read_text()
    table.write_text("an old one")
    kill("collect", "-o", "results.csv")
    assert table.read_text() in {"an old one", whole}
    assert site("collect", "-o", "results.csv").code == 0
    assert table.read_text() == whole
    yield from settle(site)
    assert site.starts() == ONCE


def extend(site: Site, kill: Kill) -> Waits:
    """One point more; the second command finds it there, or adds it."""
    three = f"command: {COUNT_START}\n{SPACE}{PLAIN}"
    site.sweep(three)
    assert site("submit", "sweep.yaml").code == 0
    yield from settle(site)
    site.sweep(three.replace("[1, 2, 3]", "[1, 2, 3, 4]"))
    kill("extend", "run-01", "sweep.yaml")
    yield from settle(site)
    ended = site("extend", "run-01", "sweep.yaml")
    assert ended.code == 0, ended.said
    yield from settle(site)
    assert site.starts() == FOUR


@dataclass
class Round:
    """Trials that are tried at many points, side by side. A point is a trial's name and a number, from 1 on."""

    trials: Mapping[str, Trial]
    make_site: Callable[[], Site]
    by_hand: bool = False
    side_by_side: int = 8
    poll_s: float = 0.2
    within_s: float = 300.0
    tried: list[str] = field(default_factory=list)  # the trial, once for each point
    failures: list[str] = field(default_factory=list)

    def points(self) -> dict[str, list[str]]:
        """Each trial's points, by name, from a trial in which nothing is killed."""
        found: dict[str, list[str]] = {name: [] for name in self.trials}

        def unharmed(name: str, site: Site) -> Kill:
            def kill(*words: str) -> Ended:
                ended = site(*words)
                assert ended.code in (0, 1, 4), ended.said
                found[name].extend(ended.names)
                return ended

            return kill

        self._drive({name: (site := self.make_site(), self.trials[name](site, unharmed(name, site))) for name in self.trials})
        return found

    def run(self, points: Sequence[tuple[str, int]]) -> None:
        """Kill at each of the points."""
        for start in range(0, len(points), self.side_by_side):
            some = points[start : start + self.side_by_side]
            self._drive({f"{name} {point}": self._at(name, point) for name, point in some})

    def _at(self, name: str, point: int) -> tuple[Site, Waits]:
        site = self.make_site()

        def kill(*words: str) -> Ended:
            ended = site(*words, kill_at=point, by_hand=self.by_hand)
            site.killed_at = ended.where
            if ended.code == (INTERRUPTED if self.by_hand else KILLED):
                self.tried.append(name)
            return ended

        return site, self.trials[name](site, kill)

    def _drive(self, trials: dict[str, tuple[Site, Waits]]) -> None:
        deadline = time.monotonic() + self.within_s
        running = dict(trials)
        while running:
            for name, (site, waits) in list(running.items()):
                if self._is_over(name, site, waits, deadline):
                    del running[name]
            if running:
                time.sleep(self.poll_s)

    def _is_over(self, name: str, site: Site, waits: Waits, deadline: float) -> bool:
        try:
            next(waits)
            assert time.monotonic() < deadline, f"waited in vain: {site('status').said}"
        except StopIteration:
            return True
        except Exception as error:  # noqa: BLE001 - all points are tried, and then all faults told
            self.failures.append(f"{name} ({site.killed_at}) in {site.folder}: {type(error).__name__}: {error}")
            return True
        return False


def try_points(
    this: Round, where: str, record_property: Callable[[str, object], None], some: Callable[[str], int] | None
) -> None:
    """Try a round at some points of each trial, or (None) at all, and record how many there were."""
    found = this.points()
    assert not this.failures, "\n".join(this.failures)
    points: list[tuple[str, int]] = []
    for name, names in found.items():
        first = first_of(name, names)
        chosen = range(first, len(names) + 1) if some is None else spread(names, first, some(name))
        points += [(name, point) for point in chosen]
    this.run(points)
    how = "interrupted" if this.by_hand else "killed"
    for name, number in Counter(this.tried).items():
        record_property("killed", [where, name.partition("_")[0], how, number])
    assert not this.failures, "\n".join(this.failures)
    # Now and then a command has a step less, where it need not wait for another.
    assert len(this.tried) >= 0.9 * len(points)


def spread(names: Sequence[str], first: int, number: int) -> list[int]:
    """``number`` of the points from ``first`` on, and the one after the scheduler has first taken something."""
    step = max(1, (len(names) - first + 1) // number)
    start = next(
        (point for point, name in enumerate(names, 1) if re.search("started localq|answered by (sbatch|qsub)|scancel", name)), 0
    )
    return sorted({*range(first + step // 2, len(names) + 1, step), *([start] if start else [])})


def first_of(name: str, names: Sequence[str]) -> int:
    """The first point of a trial that is not the same in another one: what the scheduler does is nothing before it is asked."""
    if name not in SCRIPTED and name != submit_and_look_late.__name__:
        return 1
    return next((point for point, what in enumerate(names, 1) if what == "start sbatch"), 1)


def misheard(trial: Trial, mode: str) -> Trial:
    """The trial with a scheduler that answers so while the command is killed, and is well afterwards."""

    def under_way(site: ScriptedSite, kill: Kill) -> Waits:
        def misbehave(*words: str) -> Ended:
            site.slurm.submission = mode
            ended = kill(*words)
            site.slurm.submission = "taken"
            if mode == "taken late":
                site("advance", "--now")  # it is repeated, and then comes the first one
                site.slurm.arrive()
            return ended

        return trial(site, misbehave)

    under_way.__name__ = f"{trial.__name__}_{mode.replace(' ', '_')}"
    return under_way


def after_silence(mode: str) -> Trial:
    """The submission had no answer; now the advance dies that settles it."""

    def advance_after(site: ScriptedSite, kill: Kill) -> Waits:
        site.sweep(TOGETHER)
        site.slurm.submission = mode
        assert site("submit", "sweep.yaml").code == 4
        site.slurm.submission = "taken"
        kill("advance", "--now")
        yield from settle(site)
        assert site.starts() == ONCE

    advance_after.__name__ = f"advance_after_{mode.replace(' ', '_')}"
    return advance_after


def by_name(*trials: Trial) -> dict[str, Trial]:
    return {trial.__name__: trial for trial in trials}


TRIALS = by_name(
    submit, advance_first, resubmit, retry, cancel, cancel_some, cancel_and_forget, hold, release, throttle, collect, extend
)
"""On all schedulers."""

PLAYED = by_name(submit_and_look_late, advance_after_canary, submit_in_pieces, advance_in_pieces, advance_at_end)
"""Where nothing happens that the trial does not make happen."""

SCRIPTED = by_name(
    *(misheard(submit, mode) for mode in ("refused", "limited", "taken in silence", "taken late", "lost in silence")),
    *(after_silence(mode) for mode in ("taken in silence", "lost in silence")),
)
"""Where the scheduler does what the trial says."""
