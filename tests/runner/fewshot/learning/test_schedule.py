"""When reports, validations and checkpoints are due: by iterations, or by the clock, which keeps them cheap."""

from __future__ import annotations

import time

import pytest

from runner.fewshot.learning.schedule import Schedule

pytestmark = pytest.mark.torch


def test_by_iterations_everything_is_due_at_the_same_time() -> None:
    schedule = Schedule(every=4)
    for what in (schedule.report_due, schedule.validation_due, schedule.checkpoint_due):
        assert [step for step in range(1, 13) if what(step)] == [4, 8, 12]


def test_by_the_clock_a_report_is_due_first_and_validations_follow_the_budget() -> None:
    schedule = Schedule(None, budget_s=4000.0)  # a validation every 100 s
    now = time.monotonic()
    assert schedule.report_due(1)
    schedule.note_report()
    assert not schedule.report_due(2)
    schedule.last_validation = now - 90
    assert not schedule.validation_due(7)
    schedule.last_validation = now - 101
    assert schedule.validation_due(7)


def test_validations_use_at_most_a_tenth_of_the_time() -> None:
    schedule = Schedule(None, budget_s=4000.0)
    schedule.note_validation(began=time.monotonic() - 30)
    schedule.last_validation -= 290
    assert not schedule.validation_due(7)
    schedule.last_validation -= 20
    assert schedule.validation_due(7)


def test_without_a_budget_validations_are_two_minutes_apart() -> None:
    schedule = Schedule(None)
    schedule.last_validation -= 115
    assert not schedule.validation_due(1)
    schedule.last_validation -= 10
    assert schedule.validation_due(1)
