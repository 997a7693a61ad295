"""Attempts are revoked, given up or asked to end, against runners that do their part at the same moment."""

import contextlib
import multiprocessing
import os
from pathlib import Path

import pytest
from disk_and_users import as_ordinary_user, names_in

from hpcsweep.errors import HpcsweepError
from hpcsweep.events import FINALLY, fold_events
from hpcsweep.store import attempts as attempts_module
from hpcsweep.store import give_up, give_up_all, mark_cancel, parse_claim, read_claim, revoke, revoke_all

fork = multiprocessing.get_context("fork")


@pytest.fixture
def events(run) -> Path:
    folder = run.array(1).events
    folder.mkdir(parents=True)
    return folder


def start(events: Path, head: str, job: str = "4711_3") -> bool:
    """What a runner does: claim, then token."""
    temporary = events / f".tmp.{job}.{os.getpid()}.{head}"
    temporary.write_text(f"TAG {job} node1 77 1700000000\n")
    try:
        os.link(temporary, events / head)
    except FileExistsError:
        temporary.unlink()
        return False
    temporary.rename(events / f"{head}.r0.run")
    return True


def test_an_attempt_that_never_started_is_revoked_for_good(events):
    assert revoke(events, "TAG", 5, 1, 1700000000.7)
    assert names_in(events) == ["5.1"]
    claim = read_claim(events, 5, 1)
    assert (claim.tag, claim.job, claim.pid, claim.epoch) == ("TAG", "revoked", os.getpid(), 1700000000)
    assert not start(events, "5.1")
    assert revoke(events, "TAG", 5, 1, 1700000001)
    assert names_in(events) == ["5.1"]


def test_an_attempt_that_started_is_not_revoked(events):
    start(events, "finally.1")
    assert not revoke(events, "TAG", FINALLY, 1, 1.0)
    assert names_in(events) == ["finally.1", "finally.1.r0.run"]
    assert read_claim(events, FINALLY, 1).job == "4711_3"


def test_thousands_are_revoked_by_few_files(events):
    for task in range(0, 2500, 7):
        start(events, f"{task}.2")
    revoked = revoke_all(events, "TAG", [(task, 2) for task in range(2500)], 1.0)
    assert revoked == {(task, 2) for task in range(2500) if task % 7}
    assert len({(events / f"{task}.2").stat().st_ino for task, _attempt in revoked}) == 3
    assert not any(name.startswith(".tmp.") for name in names_in(events))


def test_revoking_races_with_starting_and_one_wins(events):
    def run_tasks():
        for task in range(200):
            start(events, f"{task}.1", job="1_1")

    runner = fork.Process(target=run_tasks)
    runner.start()
    revoked = revoke_all(events, "TAG", [(task, 1) for task in range(199, -1, -1)], 1.0)
    runner.join()
    records = fold_events(names_in(events))
    assert len(records) == 200
    assert {key for key, record in records.items() if not record.running} == revoked


@pytest.mark.parametrize("line", ["", "TAG", "\n", "  "])
def test_a_claim_that_cannot_be_read_is_none(line):
    assert parse_claim(line) is None


def test_an_older_or_torn_claim_is_read_as_far_as_it_goes():
    claim = parse_claim("TAG 12 node x y")
    assert (claim.tag, claim.job, claim.host, claim.pid, claim.epoch) == ("TAG", "12", "node", 0, 0)


def test_a_running_attempt_is_given_up_by_its_token(events):
    start(events, "5.1")
    (events / "5.1.r0.run").rename(events / "5.1.r1.run")
    assert give_up(events, 5, 1) == "lost"
    assert names_in(events) == ["5.1", "5.1.r1.lost"]
    assert give_up(events, 5, 1) == "lost"


def test_an_ended_attempt_keeps_its_outcome(events):
    start(events, "5.1")
    (events / "5.1.r0.run").rename(events / "5.1.done.0.3")
    assert give_up(events, 5, 1) == "ended"
    assert names_in(events) == ["5.1", "5.1.done.0.3"]


def test_a_listing_without_a_token_decides_nothing(events):
    assert give_up(events, 5, 1) == "not there"
    start(events, "55.1")
    start(events, "5.11")
    revoke(events, "TAG", 5, 1, 1.0)
    assert give_up(events, 5, 1) == "not there"
    assert "55.1.r0.run" in names_in(events)
    assert "5.11.r0.run" in names_in(events)


def test_a_token_that_is_gone_is_looked_for_again(events, monkeypatch):
    start(events, "5.1")
    real = attempts_module._rename_token

    def ended_meanwhile(folder, task, attempt, restart):
        (folder / "5.1.r0.run").rename(folder / "5.1.done.0.3")
        return real(folder, task, attempt, restart)

    monkeypatch.setattr(attempts_module, "_rename_token", ended_meanwhile)
    assert give_up(events, 5, 1) == "ended"


def test_giving_up_races_with_ending_and_one_wins(events):
    for task in range(300):
        start(events, f"{task}.1")

    def end_all():
        for task in range(300):
            with contextlib.suppress(FileNotFoundError):
                (events / f"{task}.1.r0.run").rename(events / f"{task}.1.done.0.1")

    runner = fork.Process(target=end_all)
    runner.start()
    answers = give_up_all(events, [(task, 1) for task in range(299, -1, -1)])
    runner.join()
    records = fold_events(names_in(events))
    for key, answer in answers.items():
        record = records[key]
        assert (answer == "lost", answer == "ended") == (record.lost, record.outcome is not None)
        assert record.lost != (record.outcome is not None)


def test_cancel_markers(events):
    mark_cancel(events, [(5, 1), (FINALLY, 2)])
    mark_cancel(events, [(5, 1)])
    assert names_in(events) == ["5.1.cancel", "finally.2.cancel"]
    mark_cancel(events, None)
    assert "cancel" in names_in(events)


def test_the_disks_no_is_told(run):
    with pytest.raises(HpcsweepError, match="it is not there"):
        revoke(run.array(9).events, "TAG", 1, 1, 1.0)
    with pytest.raises(HpcsweepError, match="it is not there"):
        give_up(run.array(9).events, 1, 1)
    with pytest.raises(HpcsweepError, match="it is not there"):
        mark_cancel(run.array(9).events, None)


def test_somebody_elses_events_are_not_touched(open_folder):
    start(open_folder, "5.1")
    open_folder.chmod(0o555)
    for action in (
        lambda: revoke(open_folder, "TAG", 6, 1, 1.0),
        lambda: give_up(open_folder, 5, 1),
        lambda: mark_cancel(open_folder, None),
    ):
        assert "no permission" in str(as_ordinary_user(action))
    open_folder.chmod(0o755)
    assert names_in(open_folder) == ["5.1", "5.1.r0.run"]


def test_a_claim_whose_runner_died_before_its_token_is_given_up(events):
    (events / "5.1").write_text("TAG 71_5 host 1 1\n")
    assert give_up(events, 5, 1) == "lost"
    assert names_in(events) == ["5.1", "5.1.r0.lost"]
    assert give_up(events, 5, 1) == "lost"


def test_the_temporary_name_of_a_claim_decides_like_a_token(events):
    (events / ".tmp.5.1.71_5.1.1").write_text("TAG 71_5 host 1 1\n")
    (events / "5.1").hardlink_to(events / ".tmp.5.1.71_5.1.1")
    (events / ".tmp.5.1.72_5.1.1").write_text("TAG 72_5 host 1 1\n")  # another job's, that came too late
    assert give_up(events, 5, 1) == "lost"
    assert names_in(events) == [".tmp.5.1.72_5.1.1", "5.1", "5.1.r0.lost"]


def test_a_temporary_name_that_is_gone_decides_nothing(events, monkeypatch):
    temporary = events / ".tmp.5.1.71_5.1.1"
    temporary.write_text("TAG 71_5 host 1 1\n")
    (events / "5.1").hardlink_to(temporary)
    real = Path.samefile

    def and_a_requeued_runner(path, other):
        answer = real(path, other)
        temporary.rename(events / "5.1.r0.run")
        return answer

    monkeypatch.setattr(Path, "samefile", and_a_requeued_runner)
    assert give_up(events, 5, 1) == "not there"
    assert names_in(events) == ["5.1", "5.1.r0.run"]
    assert give_up(events, 5, 1) == "lost"


def test_a_token_that_comes_at_that_moment_is_taken(events, monkeypatch):
    (events / "5.1").write_text("TAG 71_5 host 1 1\n")
    real = attempts_module.link_exclusively

    def and_a_requeued_runner(claim, lost):
        made = real(claim, lost)
        (events / "5.1.r0.run").hardlink_to(claim)
        return made

    monkeypatch.setattr(attempts_module, "link_exclusively", and_a_requeued_runner)
    assert give_up(events, 5, 1) == "lost"
    assert names_in(events) == ["5.1", "5.1.r0.lost"]
