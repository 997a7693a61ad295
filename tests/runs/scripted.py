"""A Slurm without processes: it takes, refuses, loses and forgets what the test says, and answers in Slurm's own words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from hpcsweep.model import Completed
from hpcsweep.ranges import parse_ranges
from hpcsweep.schedulers.base import Command


@dataclass
class Job:
    tag: str
    states: dict[int, str]  # live elements
    waits_for: list[str]
    ended: dict[int, str] = field(default_factory=dict)


@dataclass
class ScriptedSlurm:
    """Stands in for ``run_command``. ``told`` are the commands that change something; ``asked`` counts the others.

    ``taken late``: the request lies somewhere, and is a job only after ``arrive``.
    """

    submission: Literal["taken", "refused", "limited", "busy", "taken in silence", "taken late", "lost in silence"] = "taken"
    is_silent: bool = False
    has_history: bool = True
    is_deaf: bool = False  # scancel and scontrol fail
    submit_limit: int | None = None  # how many elements the user may have queued
    tells_limits: bool = False  # sacctmgr answers
    largest_array: int | None = None  # MaxArraySize, whatever scontrol says
    time_limit: str = "infinite"  # of the default partition
    others: int = 0  # elements that the user has queued beside this run
    jobs: dict[str, Job] = field(default_factory=dict)
    told: list[tuple[str, ...]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)  # tags of refused submissions that are on record
    on_the_way: dict[str, Job] = field(default_factory=dict)
    ids: int = 70

    def __call__(self, command: Command, *, timeout_s: float | None = None, lock_fd: int | None = None) -> Completed:
        del timeout_s, lock_fd
        argv = command.argv
        if argv[0] in {"bash", "git"}:
            return self._answer(argv, "")
        if argv[0] == "/bin/sh":
            return self._tell(argv, argv[4:])
        self.asked.append(argv[0])
        if self.is_silent:
            return Completed(
                argv=argv, returncode=1, stdout="", stderr="slurm_load_jobs error: Unable to contact slurm controller"
            )
        answer = {
            "sbatch": self._submit,
            "squeue": self._list,
            "sacct": self._remember,
            "scontrol": self._config,
            "sacctmgr": self._manage,
            "sinfo": self._partitions,
        }[argv[0]]
        return answer(argv)

    @property
    def queued(self) -> int:
        return self.others + sum(len(job.states) for job in self.jobs.values())

    def start(self, job: str, *elements: int) -> None:
        self.jobs[job].states.update(dict.fromkeys(elements, "RUNNING"))

    def end(self, job: str, *elements: int, word: str = "COMPLETED") -> None:
        for element in elements or tuple(self.jobs[job].states):
            del self.jobs[job].states[element]
            self.jobs[job].ended[element] = word

    def arrive(self) -> None:
        """What was on its way is accepted now."""
        self.jobs.update(self.on_the_way)
        self.on_the_way.clear()

    def forget(self, job: str, *elements: int) -> None:
        """As if it had never been, or only these elements of it."""
        if not elements:
            del self.jobs[job]
        for element in elements:
            self.jobs[job].states.pop(element, None)
            self.jobs[job].ended.pop(element, None)

    def _answer(self, argv: tuple[str, ...], stdout: str, code: int | None = 0, stderr: str = "") -> Completed:
        return Completed(argv=argv, returncode=code, stdout=stdout, stderr=stderr)

    def _submit(self, argv: tuple[str, ...]) -> Completed:
        options = dict(word.lstrip("-").split("=", 1) for word in argv if "=" in word)
        if self.submission == "refused":
            return self._answer(argv, "", 1, "sbatch: error: Batch job submission failed: Invalid partition name specified")
        if self.submission == "limited":
            return self._answer(argv, "", 1, "sbatch: error: Batch job submission failed: QOSMaxSubmitJobPerUserLimit")
        if self.submission == "lost in silence":
            return self._answer(argv, "", None)
        if self.submission == "busy":
            return self._answer(argv, "", 1, "sbatch: error: Batch job submission failed: Resource temporarily unavailable")
        elements = list(parse_ranges(options.get("array", "0-0").partition("%")[0]))
        if self.largest_array is not None and len(elements) > self.largest_array:
            return self._answer(argv, "", 1, "sbatch: error: Batch job submission failed: Invalid job array specification")
        if self.submit_limit is not None and self.queued + len(elements) > self.submit_limit:
            said = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
            text = f"sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: {said}"
            return self._answer(argv, "", 1, text)
        job = str(self.ids)
        self.ids += 1
        waits_for = re.split(r"\?afterany:|:", options.get("dependency", "afterany:").removeprefix("afterany:"))
        into = self.on_the_way if self.submission == "taken late" else self.jobs
        into[job] = Job(options["job-name"], dict.fromkeys(elements, "PENDING"), [other for other in waits_for if other])
        return self._answer(argv, f"{job}\n") if self.submission == "taken" else self._answer(argv, "", None)

    def _list(self, argv: tuple[str, ...]) -> Completed:
        if any(word.startswith("--user=") for word in argv):
            facts = [(len(job.states), job.tag) for job in self.jobs.values() if job.states] + [(self.others, "another")]
            lines = [f"0-{count - 1}|lab|main|normal|{tag}" for count, tag in facts if count]
            return self._answer(argv, "\n".join(lines))
        lines = [
            f"{job}_{element}|{job}|{element}|{word}|{facts.tag}|0:01|n1|None"
            for job, facts in self.jobs.items()
            for element, word in facts.states.items()
        ]
        return self._answer(argv, "\n".join(lines))

    def _remember(self, argv: tuple[str, ...]) -> Completed:
        if not self.has_history:
            return self._answer(argv, "", 1, "Slurm accounting storage is disabled")
        lines = [
            f"{job}_{element}|{facts.tag}|{word}|0:0|1|n1"
            for job, facts in self.jobs.items()
            for element, word in facts.ended.items()
        ]
        lines += [f"{90 + number}|{tag}|FAILED|0:0|0|None assigned" for number, tag in enumerate(self.refusals)]
        return self._answer(argv, "\n".join(lines))

    def _config(self, argv: tuple[str, ...]) -> Completed:
        return self._answer(argv, "MaxArraySize = 1001\nKillWait = 30 sec\n")

    def _partitions(self, argv: tuple[str, ...]) -> Completed:
        return self._answer(argv, f"main*|up|{self.time_limit}|4|idle|(null)|8|8000\nlong|up|infinite|4|idle|(null)|8|8000\n")

    def _manage(self, argv: tuple[str, ...]) -> Completed:
        if not self.tells_limits:
            return self._answer(argv, "", 1, "sacctmgr: error: Unable to contact the accounting")
        limit = "" if self.submit_limit is None else str(self.submit_limit)
        return self._answer(argv, f"normal|{limit}||\n" if "qos" in argv else "lab|lab||normal||\n")

    def _tell(self, argv: tuple[str, ...], words: tuple[str, ...]) -> Completed:
        self.told.append(words)
        if self.is_deaf:
            return self._answer(argv, "", 1, "slurm_kill_job2() failed Unable to contact slurm controller")
        if "--state=PENDING" in words:
            for element in [number for number, word in self.jobs[words[1]].states.items() if word == "PENDING"]:
                del self.jobs[words[1]].states[element]
                self.jobs[words[1]].ended[element] = "CANCELLED"
        return self._answer(argv, "")
