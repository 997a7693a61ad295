"""The scheduler: whose it is, whether it answers, what it allows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Completed, Settings
from hpcsweep.runs.checkup import Finding, ok, problem, problem_of, warning
from hpcsweep.runs.facts import make_uid
from hpcsweep.runs.room import user_name
from hpcsweep.runs.run import meant_here
from hpcsweep.schedulers import choose, make_scheduler, whose_qsub
from hpcsweep.schedulers.base import Command, Limits, NoAnswer, Queue, Scheduler, SubmitLimits
from hpcsweep.shell import find_program, is_installed, run_command
from hpcsweep.sweepfile.units import format_time

SLOW_S = 5.0
ANSWERS = "jobs"
"""The subject of the finding that says whether the scheduler answers."""

_LOST = "an end that leaves no record (out of memory, a node that failed) will be `lost`; otherwise hpcsweep works without it"
_WRAPPER = "the qsub here is Slurm's own, over sbatch (package slurm-wlm-torque): its qstat has no -t and no -x, and neither it nor qdel knows job arrays"


def find_scheduler(name: str) -> tuple[Scheduler | None, list[Finding]]:
    """The scheduler that submit would use, and what there is to say of the choice."""
    told: dict[tuple[str, ...], Completed] = {}

    def ask(command: Command) -> Completed:
        if command.argv not in told:  # a client that hangs is waited for once
            told[command.argv] = run_command(command)
        return told[command.argv]

    try:
        chosen = choose(meant_here(name), is_installed, ask)
        whose = whose_qsub(ask)[0] if chosen != "local" and is_installed("qsub") else ""
    except HpcsweepError as error:
        return None, [problem_of("scheduler", error)]
    remarks = []
    if whose == "slurm" and chosen != "slurm":
        return None, [problem("scheduler", _WRAPPER, "use `--scheduler slurm`")]
    if whose == "slurm":
        remarks.append(ok("qsub", f"{_WRAPPER}; hpcsweep speaks to Slurm itself"))
    elif chosen == "slurm" and whose and name == "auto":
        advice = f"`--scheduler {whose}` uses it; say which one you mean by `scheduler:` in your configuration"
        remarks.append(warning("qsub", f"beside Slurm there is a qsub here, that of {whose}", advice))
    return make_scheduler(chosen), remarks


def examine_scheduler(scheduler: Scheduler) -> Iterator[Finding]:
    """Its version, and whether it answers."""
    if scheduler.name == "local":
        yield ok("scheduler", "local: the tasks run on this machine")
        cores = len(os.sched_getaffinity(0))
        yield ok("limits", f"{cores} cores are shared out among the tasks; memory and GPUs are not limited")
        return
    version = scheduler.version_cmd()
    told = None if version is None else scheduler.parse_version(run_command(version))
    program = find_program(scheduler.command)
    if told is None:
        advice = "its programs may be the site's own around them; the lines below tell whether they will do"
        yield warning("scheduler", f"{scheduler.name} ({program}) does not tell its version", advice)
    else:
        yield ok("scheduler", f"{told} ({program})")
    yield _ask_for_jobs(scheduler)


def _ask_for_jobs(scheduler: Scheduler) -> Finding:
    completed = run_command(scheduler.live_cmd(_nobodys_tag()))
    answer = scheduler.parse_live(completed)
    if isinstance(answer, NoAnswer):
        return Finding(
            level="problem",
            subject=ANSWERS,
            text=f"{scheduler.name} is here and gives no answer: {answer.message}",
            advice="is this a login node? else wait until it is back: tasks that run go on meanwhile, and nothing is lost",
            is_unreachable=True,
        )
    words = f"asked for jobs it answers, in {completed.elapsed_s:.1f} s"
    if completed.elapsed_s > SLOW_S:
        return warning(ANSWERS, words, "each command waits for it; where commands give up, give `query_timeout` more")
    return ok(ANSWERS, words)


def _nobodys_tag() -> dict[str, tuple[str, ...]]:
    return {f"hpcsweep-doctor-{make_uid()}": ()}


def examine_queues(scheduler: Scheduler, settings: Settings) -> Iterator[Finding]:
    """What a scheduler that answers allows, and how much it remembers."""
    asked = _run([command for command in [scheduler.limits_cmd()] if command is not None])
    limits = asked if isinstance(asked, NoAnswer) else scheduler.parse_limits(asked[0]) if asked else Limits()
    if isinstance(limits, NoAnswer):
        advice = "hpcsweep goes by the scheduler's usual limits, and learns others from refusals"
        yield warning("limits", f"they are not told: {limits.message}", advice)
        limits = Limits()
    else:
        yield from _limits_findings(limits)
    yield from _submit_limits_findings(scheduler, limits)
    yield from _queues_findings(scheduler, settings)
    yield _history_finding(scheduler, limits)


def _run(commands: Sequence[Command]) -> list[Completed] | NoAnswer:
    try:
        return [run_command(command) for command in commands]
    except HpcsweepError as error:  # a site without this program
        return NoAnswer(message=error.message)


def _limits_findings(limits: Limits) -> Iterator[Finding]:
    if limits.max_array_size == 1:
        yield warning("limits", "there are no job arrays here", "set `array: {mode: jobs}`: each task is a job of its own then")
    told = (
        (limits.max_array_size, "{} elements in one array"),
        (limits.max_job_count, "{} jobs of all users at once"),
        (limits.kill_wait_s, "{} s between TERM and KILL"),
    )
    words = [text.format(number) for number, text in told if number is not None]
    if limits.hides_jobs:
        words.append("nobody sees the jobs of others: only you can ask for the states of your runs")
    if words:
        yield ok("limits", "; ".join(words))
    if limits.nodes_may_submit is False:
        advice = "`hpcsweep wait`, or `hpcsweep advance` from cron on this node, go on with a run; or ask for allow_node_submit"
        yield warning("feeding", "compute nodes may not submit jobs: `submit --feed` does not work here", advice)


def _submit_limits_findings(scheduler: Scheduler, limits: Limits) -> Iterator[Finding]:
    commands = scheduler.submit_limits_cmds(user_name(), limits.cluster or "")
    if not commands:
        return
    asked = _run(commands)
    answer = asked if isinstance(asked, NoAnswer) else scheduler.parse_submit_limits(asked)
    if isinstance(answer, NoAnswer):
        yield ok("account", f"what you may queue is not told ({answer.message}); it is learned when the scheduler refuses")
    elif not answer.associations:
        yield warning("account", f"accounting knows no account of {user_name()}", "where submissions are refused, ask the site")
    else:
        yield ok("account", _submit_limits_words(answer))


def _submit_limits_words(limits: SubmitLimits) -> str:
    accounts = dict.fromkeys(one.account + (" (default)" if one.is_default else "") for one in limits.associations)
    most = [f"{one.max_submit} (account {one.account})" for one in limits.associations if one.max_submit is not None]
    most += [f"{number} (qos {name})" for name, number in limits.qos.items()]
    return f"yours: {', '.join(accounts)}; jobs that you may queue: {', '.join(most) or 'no limit'}"


def _queues_findings(scheduler: Scheduler, settings: Settings) -> Iterator[Finding]:
    asked = _run(scheduler.queues_cmds())
    queues = asked if isinstance(asked, NoAnswer) else scheduler.parse_queues(asked)
    if isinstance(queues, NoAnswer):
        yield warning("queues", f"they are not told: {queues.message}", "ask the site which queue to use (resources.partition)")
        return
    for queue in queues:
        yield ok("queue", _queue_words(queue))
    wanted = str(settings.resources.get("partition") or "")
    if "{" in wanted:  # it depends on the task
        return
    default = next((queue for queue in queues if queue.is_default), None)
    if wanted:
        known = {queue.name for queue in queues}
        if unknown := [name for name in wanted.partition("@")[0].split(",") if name and name not in known]:
            words = f"resources.partition of your configuration is {', '.join(unknown)}, which is not listed here"
            yield warning("queue", words, "it may be hidden or closed to you; name one of the above")
    elif default is None:
        yield warning(
            "queue", "there is no default queue", "set resources.partition (= queue) in the sweep or your configuration"
        )
    elif not default.is_open:
        yield warning("queue", f"the default queue, {default.name}, is closed", "wait, or set resources.partition (= queue)")


def _queue_words(queue: Queue) -> str:
    words = ["no time limit" if queue.time_limit_s is None else f"at most {format_time(queue.time_limit_s)}"]
    if queue.gpus:
        words.append(f"GPUs of a node: {queue.gpus}")
    if queue.note:
        words.append(queue.note)
    marks = [mark for mark, holds in (("default", queue.is_default), ("closed", not queue.is_open)) if holds]
    name = f"{queue.name} ({', '.join(marks)})" if marks else queue.name
    return f"{name}: {'; '.join(words)}"


def _history_finding(scheduler: Scheduler, limits: Limits) -> Finding:
    command = scheduler.history_cmd(_nobodys_tag(), 0.0)
    asked = _run([] if command is None else [command])
    answer = scheduler.parse_history(asked[0]) if isinstance(asked, list) and asked else asked
    if isinstance(answer, NoAnswer):
        return warning("history", f"it does not answer, or is switched off: {answer.message}", _LOST)
    if scheduler.is_history_whole:
        return ok("history", "it answers: how a job ended is told long after")
    if limits.keeps_ended_s == 0:
        return warning("history", "what has ended is forgotten at once (keep_completed is 0)", _LOST)
    kept = "a while" if limits.keeps_ended_s is None else format_time(limits.keeps_ended_s)
    return ok(
        "history", f"what has ended is listed for {kept}, then forgotten; a run that is looked at within that time knows how"
    )
