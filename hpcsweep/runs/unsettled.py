"""What of a submission could not be done now, as the error that says so."""

from __future__ import annotations

from hpcsweep.errors import HpcsweepError, SchedulerUnreachable
from hpcsweep.runs.advance import Report
from hpcsweep.runs.run import Run


def raise_unsettled(run: Run, report: Report) -> None:
    """Say by the exit code what could not be done now.

    Raises:
        SchedulerUnreachable: the scheduler was silent, or did not confirm a submission.
        HpcsweepError: it refused a submission, and waiting does not cure that.
    """
    message = report.fold.evidence.live_message if report.fold is not None else ""
    if message:
        raise SchedulerUnreachable(f"the scheduler did not answer: {message}", f"later: hpcsweep advance {run.handle}")
    if report.uncertain:
        text = f"{run.name}: the scheduler did not confirm what was submitted: {report.uncertain[0][1]}"
        raise SchedulerUnreachable(text, f"nothing is lost, and nothing runs twice; hpcsweep advance {run.handle} settles it")
    refusals = [refused for _number, refused in report.refused if not refused.curable]
    if refusals:
        hint = (
            f"{refusals[0].hint}; then: hpcsweep advance {run.handle}"
            if refusals[0].hint
            else f"then: hpcsweep advance {run.handle}"
        )
        raise HpcsweepError(f"{run.name}: {len(refusals)} submissions were refused: {refusals[0].message}", hint)
