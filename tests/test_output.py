"""What is printed for people."""

import pytest

from hpcsweep.errors import HpcsweepError, SchedulerUnreachable
from hpcsweep.output import tasks_words
from hpcsweep.runs.advance import Report, first_refusal
from hpcsweep.schedulers.base import Refused


def test_one_task_is_no_plural():
    assert tasks_words([4]) == "task 4"
    assert tasks_words([0, 1, 2, 12]) == "tasks 0-2,12"
    assert len(tasks_words(list(range(0, 1000, 2)), 40)) <= len("tasks ") + 40


@pytest.mark.parametrize(("is_unreachable", "kind"), [(True, SchedulerUnreachable), (False, HpcsweepError)])
def test_a_client_that_reached_nobody_is_another_exit_code_than_a_refusal(is_unreachable, kind):
    refused = Refused(message="no", hint="do this", is_unreachable=is_unreachable)
    error = first_refusal(Report(refused=[(1, refused)]))
    assert type(error) is kind
    assert (error.message, error.hint) == ("no", "do this")
