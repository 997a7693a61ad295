"""A compute node, looked at by one tiny job; nothing of it is left behind."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpcsweep._version import __version__
from hpcsweep.model import Request, Settings
from hpcsweep.render.checkup import REPORT, read_report, render_checkup
from hpcsweep.render.facts import RunFacts
from hpcsweep.runs.checkup import Finding, ok, problem, warning
from hpcsweep.runs.doctor_folder import machine_findings
from hpcsweep.runs.facts import current_umask, environment_text, make_uid
from hpcsweep.runs.feed import small_directives, small_request
from hpcsweep.schedulers.base import ArrayJob, NoAnswer, Refused, Scheduler, Seen, Submitted, Uncertain
from hpcsweep.shell import run_command
from hpcsweep.store import private_folder, write_atomically
from hpcsweep.sweepfile import resolve_request
from hpcsweep.sweepfile.units import format_time

SUBJECT = "compute node"
_LOG = "job.log"
_LOOK_EVERY_S = 0.5
_ASK_EVERY_S = 5.0
_LATE_S = 20.0  # a file may be seen so much later than the end of the job that wrote it
_END_BY_ITSELF_S = 5.0
_GONE_WITHIN_S = 60.0


@dataclass(kw_only=True)
class _Job:
    """The one job, by its tag: from its submission until the scheduler has it no more."""

    scheduler: Scheduler
    folder: Path
    tag: str = field(default_factory=lambda: f"hpcsweep-doctor-{make_uid()}")
    id: str = ""
    is_sent: bool = False
    seen: Seen | None = None  # as it was last seen

    @property
    def title(self) -> str:
        return f"job {self.id or self.tag}"

    @property
    def has_reported(self) -> bool:
        # Listing, not looking up: network file systems remember for a while that a name was not there.
        return REPORT in os.listdir(self.folder)  # noqa: PTH208 - a name is all that is wanted

    def submit(self, settings: Settings) -> Submitted | Refused | Uncertain:
        request = small_request(_plain_request(settings))
        directives = small_directives(self.scheduler, request, settings)
        folder, log = str(self.folder), str(self.folder / _LOG)
        facts = RunFacts(
            name="doctor",
            uid="",
            run_dir=folder,
            cwd=folder,
            sweep="",
            scheduler=self.scheduler.name,
            version=__version__,
            umask=current_umask(),
        )
        script = self.folder / "job.sh"
        text = render_checkup(
            folder=folder,
            python=sys.executable,
            submits_with=self.scheduler.command,
            directives=directives,
            environment=environment_text(os.environ),
            opening=facts.opening(log) if self.scheduler.starts_bare else "",
        )
        write_atomically(script, text, mode=0o755)
        job = ArrayJob(
            tag=self.tag, script=str(script), log=log, size=1, chdir=folder, as_single_job=True, directives=directives
        )
        self.is_sent = True
        answer = self.scheduler.parse_submit(run_command(self.scheduler.submit_cmd(job)))
        if isinstance(answer, Submitted):
            self.id = answer.job
        self.is_sent = not isinstance(answer, Refused)
        return answer

    def ask(self) -> bool | None:
        """Whether the scheduler has it; None: no answer."""
        answer = self.scheduler.parse_live(run_command(self.scheduler.live_cmd(self._known)))
        if isinstance(answer, NoAnswer):
            return None
        mine = [seen for seen in answer if seen.tag == self.tag]
        self.seen = mine[-1] if mine else self.seen
        return bool(mine)

    def end_of(self) -> str:
        """What the scheduler says of how it ended, and what it wrote beside its report."""
        command = self.scheduler.history_cmd(self._known, time.time())
        answer = NoAnswer(message="") if command is None else self.scheduler.parse_history(run_command(command))
        ends = [] if isinstance(answer, NoAnswer) else [seen for seen in answer if seen.tag == self.tag]
        words = [" ".join(filter(None, (end.state.value, end.reason, end.node and f"on {end.node}"))) for end in ends[-1:]]
        with contextlib.suppress(OSError):
            words.append((self.folder / _LOG).read_text(encoding="utf-8", errors="replace").strip())
        return "; ".join(filter(None, words))

    def take_back(self) -> bool:
        """Cancel what is left of it, and wait until it has gone; False: nobody can say that it has."""
        if not self.is_sent:
            return True
        now = time.monotonic()
        deadline, cancel_at = now + _GONE_WITHIN_S, now + (_END_BY_ITSELF_S if self.has_reported else 0.0)
        while (is_there := self.ask()) is not False and now < deadline:
            if is_there and now >= cancel_at and self.seen is not None:
                for command in self.scheduler.cancel_cmds(self.tag, self.seen.job, None):
                    run_command(command)
                cancel_at = now + _ASK_EVERY_S
            time.sleep(_LOOK_EVERY_S)
            now = time.monotonic()
        return is_there is False and (bool(self.id) or self.has_reported)

    @property
    def _known(self) -> Mapping[str, tuple[str, ...]]:
        return {self.tag: (self.id,) if self.id else ()}


def examine_node(scheduler: Scheduler, settings: Settings, runs_dir: Path, *, within_s: float) -> Iterator[Finding]:
    """Submit the job, wait for its report, take back what is left.

    Raises:
        HpcsweepError: the job cannot be written or submitted at all.
    """
    with private_folder(runs_dir) as folder:
        job = _Job(scheduler=scheduler, folder=folder)
        try:
            findings = _not_submitted(job.submit(settings))
            if not findings:
                yield ok(SUBJECT, f"{job.title} is submitted; its report is waited for, at most {format_time(within_s)}")
                findings = _wait(job, within_s)
        finally:
            is_gone = job.take_back()
    yield from findings
    if not is_gone:
        yield warning(SUBJECT, f"{job.title} may be queued still", "it finds its folder gone and ends by itself; or cancel it")
    if folder.exists():
        yield warning(SUBJECT, f"{folder} could not be removed", "remove it")


def _plain_request(settings: Settings) -> Request:
    """What the configuration asks for, but for what depends on a task."""
    plain = {name: value for name, value in settings.resources.items() if "{" not in str(value)}
    return resolve_request(plain, {}, ())


def _not_submitted(answer: Submitted | Refused | Uncertain) -> list[Finding]:
    if isinstance(answer, Submitted):
        return []
    if isinstance(answer, Uncertain):
        return [warning(SUBJECT, f"the scheduler did not confirm the job: {answer.message}", "try again later")]
    words = f"the scheduler refused the job: {answer.message}"
    if answer.curable and not answer.is_unreachable:
        return [warning(SUBJECT, words, answer.hint)]
    return [replace(problem(SUBJECT, words, answer.hint), is_unreachable=answer.is_unreachable)]


def _wait(job: _Job, within_s: float) -> list[Finding]:
    begun = asked_at = time.monotonic()
    ended_at: float | None = None
    while not job.has_reported:
        now = time.monotonic()
        if now - begun >= within_s:
            return [_still_waiting(job, within_s)]
        if ended_at is not None and now - ended_at >= _LATE_S:
            return [_no_report(job)]
        if ended_at is None and now - asked_at >= _ASK_EVERY_S:
            asked_at = now
            ended_at = now if job.ask() is False else None
        time.sleep(_LOOK_EVERY_S)
    text = (job.folder / REPORT).read_text(encoding="utf-8", errors="replace")
    return list(_report_findings(job, read_report(text), time.monotonic() - begun))


def _still_waiting(job: _Job, within_s: float) -> Finding:
    job.ask()
    state = "" if job.seen is None else f" ({job.seen.state.value}{f': {job.seen.reason}' if job.seen.reason else ''})"
    words = f"{job.title} has not reported within {format_time(within_s)}{state}; it was cancelled"
    return warning(SUBJECT, words, "the queue may be long: give it more with --wait, or another queue in your configuration")


def _no_report(job: _Job) -> Finding:
    end = job.end_of()
    words = f"{job.title} ended and left no report in {job.folder}{f' ({end})' if end else ''}"
    return problem(
        SUBJECT, words, "compute nodes have to see the runs: choose a file system that they share (--runs-dir, runs_dir)"
    )


def _report_findings(job: _Job, report: Mapping[str, str], after_s: float) -> Iterator[Finding]:
    yield from machine_findings(SUBJECT, report)
    words = f"{job.title} reported after {after_s:.0f} s; it started with umask {report.get('umask') or '?'}"
    yield ok(SUBJECT, f"{words}; {report.get('python3') or 'there is no python3'}; it sees the folder of the runs")
    if not job.scheduler.is_fed_by_jobs:
        return
    lacks = [] if report.get("submits") else [f"there is no {job.scheduler.command}"]
    if report.get("own_python") != "ok":
        lacks.append(
            f"{sys.executable} {'is not there' if report.get('own_python') == 'missing' else 'does not find hpcsweep'}"
        )
    if lacks:
        advice = "`hpcsweep wait`, or `hpcsweep advance` from cron on this machine, go on with a run"
        yield warning("feeding", f"`submit --feed` does not work from that node: {', '.join(lacks)}", advice)
    else:
        caveat = f", {job.scheduler.feeder_caveat}" if job.scheduler.feeder_caveat else ""
        yield ok("feeding", f"the node has {job.scheduler.command} and hpcsweep: `submit --feed` can go on with a run{caveat}")
