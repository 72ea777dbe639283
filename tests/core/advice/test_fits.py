"""Fitted selectors: when one is due, what the history says, which files stay."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from core import knowledge
from core.advice import fit_times, fits
from core.datasets import Dataset
from tests.core.advice.sample_knowledge import N_TASKS, record_job, ship


def test_the_fit_time_grows_as_it_grew_on_known_datasets(fit: fits.Fit) -> None:
    _, rows, _ = fit.fit_times["Linear"]
    assert rows == pytest.approx(1, abs=1e-6)
    large = {"log_n_rows": 4.0, "log_n_features": 1.0}
    assert fit_times.predict_s(fit.fit_times, "Linear", large) == pytest.approx(10)
    assert math.isnan(fit_times.predict_s(fit.fit_times, "GPT", {}))


def test_a_fit_of_a_single_dataset_knows_no_regret(shipped: Path, home: Path) -> None:
    ship(shipped, tasks=1)
    fits.refit("classification")
    [row] = fits.history("classification").to_dict("records")
    assert row["n_datasets"] == 1
    assert math.isnan(row["advice"])


def test_a_fit_is_due_when_more_is_known_or_one_is_requested(fit: fits.Fit, numbers: Dataset) -> None:
    assert fits.is_due()  # regression has not been fitted
    fits.refit("regression")
    assert not fits.is_due()
    fits.request("ada")
    assert fits.is_due()
    for task_type in knowledge.TASK_TYPES:
        fits.refit(task_type)
    assert not fits.is_due()
    record_job(numbers, Linear=0.1)
    assert fits.is_due()


def test_where_nothing_is_known_the_history_says_so(fit: fits.Fit) -> None:
    assert fits.refit("regression") is None
    assert "There is no result yet" in fits.history("regression")["error"].iloc[0]
    assert fits.last_fit("regression") is None
    assert len(fits.learning_curve("regression")) == 0
    [row] = fits.history("classification").to_dict("records")
    assert row["n_datasets"] == N_TASKS
    assert row["advice"] < row["sbs"]


def test_old_selectors_are_deleted_and_the_last_two_stay(
    fit: fits.Fit, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits, "_curve", lambda knowledge: {"own": False, "rows": {}})  # which is not tested here
    files = [fits.refit("classification") for _ in range(3)]
    rest = sorted(path.name for path in (home / "selectors").glob("*"))
    assert rest == sorted(done.file for done in files[-2:] if done)
    assert fit.file not in rest


def test_the_learning_curve_of_the_last_selector_is_stored(fit: fits.Fit) -> None:
    curve = fits.learning_curve("classification")
    assert curve.index.tolist() == [10]
    assert not curve.attrs["own"]
    assert (curve["advice"] >= 0).all()
