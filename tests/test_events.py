"""The names of event files: each is read back as what it was written for, and their order says nothing."""

import random

from hypothesis import given
from hypothesis import strategies as st

from hpcsweep.events import (
    FINALLY,
    CancelMarker,
    Claim,
    Late,
    Lost,
    Outcome,
    Record,
    Token,
    attempt_name,
    fold_events,
    lost_name,
    parse_event,
    token_name,
)

tasks = st.integers(-1, 10**9)
attempts = st.integers(1, 1000)
numbers = st.integers(0, 10**9)
kinds = st.sampled_from(["done", "sig", "timeout", "cancelled", "stopped", "setup", "broken"])


def outcome_name(outcome: Outcome) -> str:
    return f"{attempt_name(outcome.task, outcome.attempt)}.{outcome.kind}.{outcome.code}.{outcome.seconds}"


@given(tasks, attempts, numbers, numbers, kinds)
def test_every_name_of_the_grammar_is_read_back(task, attempt, number, seconds, kind):
    head = attempt_name(task, attempt)
    outcome = Outcome(task=task, attempt=attempt, kind=kind, code=number, seconds=seconds)
    assert parse_event(head) == Claim(task=task, attempt=attempt)
    assert parse_event(token_name(task, attempt, number)) == Token(task=task, attempt=attempt, restart=number)
    assert parse_event(lost_name(task, attempt, number)) == Lost(task=task, attempt=attempt, restart=number)
    assert parse_event(outcome_name(outcome)) == outcome
    assert parse_event(f"{head}.late.r{number}") == Late(task=task, attempt=attempt, restart=number)
    assert parse_event(f"{head}.cancel") == CancelMarker(task=task, attempt=attempt)


def test_the_words_as_the_documentation_writes_them():
    assert parse_event("17.1") == Claim(task=17, attempt=1)
    assert parse_event("17.1.r0.run") == Token(task=17, attempt=1, restart=0)
    assert parse_event("17.2.sig.9.93") == Outcome(task=17, attempt=2, kind="sig", code=9, seconds=93)
    assert parse_event("finally.1.done.0.2") == Outcome(task=FINALLY, attempt=1, kind="done", code=0, seconds=2)
    assert parse_event("cancel") == CancelMarker(task=None, attempt=None)


@given(st.text() | st.from_regex(r"[0-9a-z.]{0,20}"))
def test_any_name_is_read_or_passed_over(name):
    event = parse_event(name)
    if event is None:
        assert fold_events([name]) == {}
    elif event.task is not None:
        assert list(fold_events([name])) == [(event.task, event.attempt)]


def test_names_that_only_look_like_events_are_none():
    for name in ["", "17", "17.", "17.0", "017.1", "17.01", "17.1\n", "17.1.r0.run~", "17.1.r0.RUN", "-1.1", "17.1.done.0"]:
        assert parse_event(name) is None, name
    for name in [
        ".tmp.host.1.2",
        "17.1.done.-1.5",
        "17.1.done.0.5.5",
        "\u0661.1",
        "finally",
        "cancel.1",
        ".nfs0001",
        "1" * 30 + ".1",
    ]:
        assert parse_event(name) is None, name


def test_an_outcome_of_a_kind_of_a_later_version_is_kept():
    assert fold_events(["3.1", "3.1.paused.0.7"])[3, 1].outcome == Outcome(task=3, attempt=1, kind="paused", code=0, seconds=7)


names_of_few_attempts = st.lists(
    st.builds(
        lambda head, tail: head + tail,
        st.sampled_from(["0.1", "0.2", "7.1", "finally.1"]),
        st.sampled_from(
            ["", ".r0.run", ".r1.run", ".r0.lost", ".late.r0", ".late.r1", ".cancel", ".done.0.5", ".sig.9.4", ".x"]
        ),
    )
)


@given(names_of_few_attempts, st.randoms())
def test_order_and_repetition_change_nothing(names, rng):
    shuffled = names + rng.choices(names, k=3) if names else []
    rng.shuffle(shuffled)
    assert fold_events(shuffled) == fold_events(names)


@given(names_of_few_attempts)
def test_a_record_says_what_the_single_names_say(names):
    records = fold_events(names)
    for key, record in records.items():
        mine = [event for event in map(parse_event, set(names)) if event is not None and (event.task, event.attempt) == key]
        assert record.running == any(isinstance(event, Token) for event in mine)
        assert record.lost == any(isinstance(event, Lost) for event in mine)
        assert record.cancel == any(isinstance(event, CancelMarker) for event in mine)
        assert record.late == sum(isinstance(event, Late) for event in mine)
        assert (record.outcome is not None) == any(isinstance(event, Outcome) for event in mine)
        assert record.outcome is None or record.outcome in mine
        assert record.claimed == any(not isinstance(event, CancelMarker) for event in mine)
        assert record.restart == max([0, *(event.restart for event in mine if isinstance(event, Token | Lost | Late))])


def test_a_large_listing_keeps_every_attempt():
    done = [f"{task}.1.done.0.{task % 60}" for task in range(0, 20_000, 2)]
    names = [f"{task}.1" for task in range(20_000)] + done + [f"{task}.1.r0.run" for task in range(1, 20_000, 2)]
    random.Random(1).shuffle(names)  # noqa: S311 - any order will do
    records = fold_events(names)
    assert len(records) == 20_000
    assert records[4, 1] == Record(claimed=True, outcome=Outcome(task=4, attempt=1, kind="done", code=0, seconds=4))
    assert records[5, 1] == Record(claimed=True, running=True)
