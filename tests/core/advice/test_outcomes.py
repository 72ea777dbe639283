"""Predicted against actual errors."""

from __future__ import annotations

import math

import pytest

from core import advice
from core.advice import fits
from core.datasets import Dataset
from tests.core.advice.sample_knowledge import record_job


def test_the_outcome_holds_the_errors_of_the_trials(fit: fits.Fit, numbers: Dataset) -> None:
    given = advice.advise(numbers.id)
    assert len(advice.outcome(given)) == 0
    [open_] = advice.track_record().to_dict("records")
    assert math.isnan(open_["actual"])
    record_job(numbers, Linear=0.12, SVM=0.09)
    outcome = advice.outcome(given).set_index("candidate")
    assert outcome["actual"].to_dict() == pytest.approx({"Linear": 0.12, "SVM": 0.09})
    first = outcome.loc["Linear"]
    assert first["rank"] == 1
    assert bool(first["inside"]) == (first["lower"] <= 0.12 <= first["upper"])
    [row] = advice.track_record().to_dict("records")
    assert (row["candidate"], row["dataset"]) == ("Linear", "numbers")
    assert (row["actual"], row["best"], row["regret"]) == pytest.approx((0.12, 0.09, 0.03))
