"""The Advice page: before a selector is there, with advice, its plan, and after the first results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core import advice, datasets
from core.advice import fits
from core.datasets import Dataset
from core.queue import jobs, runners
from core.specs import NASSpec
from tests.core.advice.sample_knowledge import (
    CANDIDATES,
    numbers,
    numbers_home,
    record_job,
    sample_file,
    shipped,
)  # fmt: skip
from tests.pages.apptest import fine, opened, shown

__all__ = ["numbers", "numbers_home", "sample_file", "shipped"]  # fixtures


def words(at: AppTest) -> str:
    """All text of the page's boxes."""
    boxes = [*at.info, *at.warning, *at.success, *at.caption, *at.markdown]
    return shown(" ".join(str(box.value) for box in boxes))


def test_without_a_selector_the_page_says_who_fits_it(numbers: Dataset) -> None:
    at = fine(opened("dataset_advice", dataset="numbers"))
    assert "A runner fits the selector, and no runner is running" in words(at)
    runners.heartbeat("w", {})
    at = fine(opened("dataset_advice", dataset="numbers"))
    assert "The first selector is being fitted" in words(at)


def test_a_new_dataset_has_a_plan_with_reasons_that_one_button_queues(shipped: Path, numbers: Dataset) -> None:
    fits.refit("classification")
    at = fine(opened("dataset_advice", dataset="numbers"))
    assert "Tested on 40 past datasets, each held out in turn: the advice came within 0.01 of the best" in words(at)
    assert "none of them yours yet" in words(at)
    given = advice.last_advice(numbers.id)
    assert given is not None
    plan = [metric.label for metric in at.metric]
    assert plan == list(given.plan)
    assert all(metric.value.startswith("AUC 0.") for metric in at.metric)
    ranking, near = at.dataframe[0].value, at.dataframe[1].value
    assert set(ranking["candidate"]) == set(CANDIDATES)
    assert "actual" not in near
    assert len(near) == 5
    at.checkbox(key="wanted_1").uncheck()
    at.number_input(key="budget_0").set_value(45)
    at.button(key=f"queue_{advice.last_advice(numbers.id).id}").click().run()
    assert "Queued: job 1." in words(fine(at))
    assert jobs.get(1).spec.budget_s == 45
    assert advice.jobs_of(numbers.id) == [1]


def test_a_plan_of_nothing_and_a_wrong_budget_are_answered_with_a_sentence(shipped: Path, numbers: Dataset) -> None:
    fits.refit("classification")
    at = opened("dataset_advice", dataset="numbers")
    at.number_input(key="budget_0").set_value(3)
    at.button(key=f"queue_{advice.last_advice(numbers.id).id}").click().run()
    assert "Time budget (seconds): Input should be greater than or equal to 10 (given: 3)" in shown(at.error[0].value)
    at.checkbox(key="wanted_0").uncheck()
    at.checkbox(key="wanted_1").uncheck()
    at.button(key=f"queue_{advice.last_advice(numbers.id).id}").click().run()
    assert "No job is selected" in shown(at.error[0].value)
    assert len(jobs.overview()) == 0


def test_after_the_first_results_the_page_shows_predicted_against_actual(shipped: Path, numbers: Dataset) -> None:
    fits.refit("classification")
    given = advice.advise(numbers.id)
    record_job(numbers, Linear=0.12, SVM=0.05)
    at = fine(opened("dataset_advice", dataset="numbers"))
    assert "Predictions made before the first run" in [item.value for item in at.subheader]
    told = {metric.label: (metric.value, metric.delta) for metric in at.metric}
    assert told["Test score of the winner"] == ("AUC 0.950", "SVM, best by validation")
    assert told["Rank 1 of the advice"] == ("AUC 0.880", "Linear, 0.070 behind SVM")
    ran_of_plan = [name for name in given.plan if name in ("Linear", "SVM")]
    assert ran_of_plan
    assert all(told[name][1].startswith("actual test score: 0.") for name in ran_of_plan)
    assert told["Within the 90% interval"][0].endswith("of 2")
    table = at.dataframe[0].value.set_index("candidate")
    assert table.loc["Linear", "actual"] == pytest.approx(0.88)
    assert given.ranking[0].candidate == "Linear"


def test_what_the_advice_did_not_know_is_named_when_it_has_run(shipped: Path, numbers: Dataset) -> None:
    fits.refit("classification")
    advice.advise(numbers.id)
    record_job(numbers, NASSpec(dataset_id=numbers.id), MLP=0.02)
    at = fine(opened("dataset_advice", dataset="numbers"))
    assert "Not ranked, since the selector had no results for them: NAS MLP." in words(at)
    assert {metric.label for metric in at.metric} >= {"Test score of the winner"}


def test_advice_that_came_after_the_results_says_so(shipped: Path, numbers: Dataset) -> None:
    record_job(numbers, Linear=0.12, SVM=0.05)
    fits.refit("classification")
    assert "does not use this dataset's results" in words(fine(opened("dataset_advice", dataset="numbers")))


@pytest.mark.slow
def test_where_one_candidate_is_best_everywhere_the_default_is_recommended(
    shipped: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "\n".join(f"{'abcdefgh'[n % 8]},{n % 5},{'yes' if n % 3 else 'no'}" for n in range(300))
    (tmp_path / "odd.csv").write_text(f"c,d,y\n{lines}\n")
    datasets.register(tmp_path / "odd.csv", name="odd", target="y")
    frame = pd.read_parquet(shipped)
    frame["error"] = np.where(frame["candidate"] == "SVM", 0.1, 0.3)
    frame.to_parquet(shipped)
    monkeypatch.setattr("core.knowledge.table.SHIPPED", shipped)
    fits.refit("classification")
    at = fine(opened("dataset_advice", dataset="odd"))
    assert "so the default is recommended" in words(at)
    given = advice.last_advice(datasets.get("odd").id)
    assert given is not None
    assert given.plan[0] == given.single_best == "SVM"


def test_the_page_of_a_dataset_says_what_is_worth_running_first(shipped: Path, numbers: Dataset) -> None:
    assert "Recommended: " not in words(fine(opened("dataset", dataset="numbers")))
    fits.refit("classification")
    assert "Recommended: " in words(fine(opened("dataset", dataset="numbers")))


def test_a_store_without_data_sends_to_add_some(home: Path) -> None:
    at = fine(opened("dataset_advice"))
    assert "Advice needs a dataset" in words(at)
