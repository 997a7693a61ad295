"""What counts, and which way is good."""

import pytest

from hpcsweep.objective import DIRECTIONS, REDUCTIONS, Objective, ObjectiveError, parse_objective


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_one_word_is_the_reduction_and_the_direction(direction):
    assert parse_objective(f"val_loss:{direction}") == Objective(metric="val_loss", reduction=direction, direction=direction)
    assert parse_objective("val_loss:min").is_less_better
    assert not parse_objective("val_acc:max").is_less_better


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_two_words_say_both(reduction):
    assert parse_objective(f" val/loss : {reduction} : max ") == Objective(
        metric="val/loss", reduction=reduction, direction="max"
    )


def test_a_metric_with_colons_needs_all_three_parts():
    objective = parse_objective("test:acc:last:max")
    assert objective.metric == "test:acc"
    assert parse_objective(str(objective)) == objective


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("loss", 4, "direction is missing"),
        ("loss:", 5, "direction is missing"),
        ("loss:down", 5, "`down` is no direction"),
        ("loss: last: up", 12, "`up` is no direction"),
        ("loss:lst:min", 5, "`lst` is not how"),
        ("a:b:min", 2, "`b` is not how"),
        (":min", 0, "name is missing"),
        ("", 0, "direction is missing"),
    ],
)
def test_the_part_that_is_wrong_is_told_with_its_place(text, place, said):
    with pytest.raises(ObjectiveError, match="no objective") as caught:
        parse_objective(text)
    assert said in caught.value.message
    assert caught.value.offset == place
    assert caught.value.hint
