"""What ``doctor`` finds, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hpcsweep.errors import HpcsweepError, SchedulerUnreachable

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line: what was looked at, how it is, and what to do where it is not well.

    ``is_unreachable``: it is a problem because the scheduler, which is there, gives no answer.
    """

    level: Level
    subject: str
    text: str
    advice: str = ""
    is_unreachable: bool = False


def ok(subject: str, text: str) -> Finding:
    """It is as it should be."""
    return Finding(level="ok", subject=subject, text=text)


def warning(subject: str, text: str, advice: str) -> Finding:
    """Runs work; something of them may not."""
    return Finding(level="warning", subject=subject, text=text, advice=advice)


def problem(subject: str, text: str, advice: str) -> Finding:
    """Runs do not work here as it is."""
    return Finding(level="problem", subject=subject, text=text, advice=advice)


def problem_of(subject: str, error: HpcsweepError) -> Finding:
    """What another command would end with."""
    return problem(subject, error.message, error.hint)


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """All that was found. ``scheduler`` None: there is none that could be used."""

    scheduler: str | None
    runs_dir: str
    findings: Sequence[Finding]

    @property
    def exit_code(self) -> int:
        """0: no problem, 1: there is one, 4: the scheduler is out of reach."""
        if any(finding.is_unreachable for finding in self.findings):
            return SchedulerUnreachable.exit_code
        return HpcsweepError.exit_code if self.count("problem") else 0

    def count(self, level: Level) -> int:
        """How many findings are of that level."""
        return sum(finding.level == level for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "scheduler": self.scheduler,
            "runs_dir": self.runs_dir,
            "findings": [asdict(finding) for finding in self.findings],
            "problems": self.count("problem"),
            "warnings": self.count("warning"),
        }
