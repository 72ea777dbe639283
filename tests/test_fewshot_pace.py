"""When a training looks up: by iterations, or by the clock so that looking up stays cheap."""

from __future__ import annotations

import time

from runner.fewshot.learning.pace import Pace


def test_by_iterations_all_is_due_at_once() -> None:
    pace = Pace(every=4)
    for what in (pace.tells, pace.validates, pace.keeps):
        assert [step for step in range(1, 13) if what(step)] == [4, 8, 12]


def test_by_the_clock_it_tells_first_and_validates_by_the_budget() -> None:
    pace = Pace(None, budget_s=4000.0)  # a validation every 100 s
    now = time.monotonic()
    assert pace.tells(1)
    pace.told()
    assert not pace.tells(2)
    pace.validated_at = now - 90
    assert not pace.validates(7)
    pace.validated_at = now - 101
    assert pace.validates(7)


def test_a_validation_takes_a_tenth_of_the_time_at_most() -> None:
    pace = Pace(None, budget_s=4000.0)
    pace.validated(began=time.monotonic() - 30)
    pace.validated_at -= 290
    assert not pace.validates(7)
    pace.validated_at -= 20
    assert pace.validates(7)


def test_without_a_budget_validations_are_two_minutes_apart() -> None:
    pace = Pace(None)
    pace.validated_at -= 115
    assert not pace.validates(1)
    pace.validated_at -= 10
    assert pace.validates(1)
