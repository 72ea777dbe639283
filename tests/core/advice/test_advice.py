"""Advice of the last fitted selector: given before results, honest after them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from core import advice
from core.advice import fits
from core.datasets import Dataset
from core.errors import InputError
from tests.core.advice.sample_knowledge import CANDIDATES, N_TASKS, record_job


def test_a_new_dataset_gets_advice_from_the_shipped_knowledge(shipped: Path, numbers: Dataset) -> None:
    assert fits.is_due()
    with pytest.raises(InputError, match="No selector has been fitted yet"):
        advice.advise(numbers.id)
    fits.refit("classification")
    given = advice.advise(numbers.id)
    assert given.ranking[0].candidate == "Linear"
    assert set(given.plan) <= set(CANDIDATES)
    assert given.plan[0] in ("Linear", "SVM")
    assert (given.n_known, given.n_own, given.metric, given.blind) == (N_TASKS, 0, "auc", False)
    assert all(item.lower <= item.error <= item.upper <= 1 for item in given.ranking)
    assert {item.origin for item in given.near} == {"shipped"}
    assert {"categorical_frac", "numeric_frac"} & {driver.name for driver in given.drivers}
    assert given.reason.startswith(f"Tested on {N_TASKS} past datasets")
    assert advice.advise(numbers.id).id == given.id  # stored, not made again
    assert advice.advise(numbers.id).ranking == given.ranking


def test_advice_after_results_does_not_look_at_them(fit: fits.Fit, numbers: Dataset) -> None:
    before = advice.advise(numbers.id)
    record_job(numbers, HistGradientBoosting=0.01, Linear=0.4, SVM=0.4, Baseline=0.5)  # against all expectation
    newer = fits.refit("classification")
    assert newer is not None
    assert newer.n_own == 1
    after = advice.advise(numbers.id)
    assert (after.blind, before.blind) == (True, False)
    assert after.ranking[0].candidate == "Linear"
    assert numbers.name not in [item.dataset for item in after.near]
    stored = advice.last_advice(numbers.id, before_results=True)
    assert stored is not None
    assert stored.id == before.id
    last = advice.last_advice(numbers.id)
    assert last is not None
    assert last.id == after.id


def test_what_cannot_run_on_a_dataset_is_no_default_for_it(shipped: Path, numbers: Dataset) -> None:
    frame = pd.read_parquet(shipped)
    images_only = frame[frame["candidate"] == "SVM"].assign(candidate="NAS CNN", error=0.001)
    pd.concat([frame, images_only]).to_parquet(shipped)
    fit = fits.refit("classification")
    assert fit is not None
    assert fits.load_selector(fit).sbs == "NAS CNN"
    given = advice.advise(numbers.id)
    assert given.single_best in CANDIDATES
    assert given.single_best in given.reason
    assert "NAS CNN" not in given.reason
