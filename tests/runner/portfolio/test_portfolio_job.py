"""The portfolio as a job: side by side, bounded in time, and through the queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core import metafeatures, results, specs
from core.datasets import Dataset
from core.errors import InputError, MetascoutError
from core.events import Event, TrialDone
from core.queue import jobs
from core.specs import PortfolioSpec
from runner import loop
from runner.portfolio import job
from tests.runner.portfolio.portfolio_runs import (
    QUICK,
    Broken,
    Killed,
    Sleeper,
    change_model,
    context_of,
    run,
    spec_of,
    trials_of,
    warnings_of,
)

pytestmark = pytest.mark.sklearn


def test_candidates_that_fail_or_take_too_long_are_warnings_and_the_others_continue(
    classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, model in (("Linear", Broken), ("ElasticNet", Killed), ("DecisionTree", Sleeper)):
        change_model(monkeypatch, name, model)
    candidates = ("Baseline", "Linear", "ElasticNet", "DecisionTree", "NaiveBayes")
    events = run(classes, tmp_path / "run", candidates=candidates, candidate_s=2)
    assert sorted(warnings_of(events)) == [
        "DecisionTree is left out: it took longer than 2 s.",
        "ElasticNet is left out: its process ended with code -9. The machine may have run out of memory.",
        "Linear is left out: ValueError: the matrix is odd",
    ]
    assert set(trials_of(events)) == {"Baseline", "NaiveBayes"}
    assert psutil.Process().children() == []


def test_the_budget_ends_what_still_runs(classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_model(monkeypatch, "Linear", Sleeper)
    change_model(monkeypatch, "DecisionTree", Sleeper)
    spec = spec_of(classes, candidates=(*QUICK, "SVM")).model_copy(update={"budget_s": 2})
    events = list(job.run(spec, context_of(classes, tmp_path)))
    assert warnings_of(events) == ["The time budget ended before these were done: Linear, DecisionTree, SVM."]
    assert set(trials_of(events)) == {"Baseline"}
    assert psutil.Process().children() == []


def test_a_cancel_keeps_what_is_done_and_ends_what_runs(
    classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_model(monkeypatch, "Linear", Sleeper)
    events: list[Event] = []
    context = context_of(classes, tmp_path, cpus=1, cancelled=lambda: bool(trials_of(events)))
    for event in job.run(spec_of(classes, candidates=QUICK), context):
        events.append(event)
    assert set(trials_of(events)) == {"Baseline"}
    assert psutil.Process().children() == []


def test_a_job_that_is_closed_early_leaves_no_process(
    classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_model(monkeypatch, "Linear", Sleeper)
    running: Iterator[Event] = job.run(spec_of(classes, candidates=QUICK), context_of(classes, tmp_path))
    next(event for event in running if isinstance(event, TrialDone))
    assert psutil.Process().children() != []
    running.close()  # type: ignore[attr-defined]
    assert psutil.Process().children() == []


def test_a_job_without_a_single_trial_has_failed(
    classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_model(monkeypatch, "Linear", Broken)
    with pytest.raises(MetascoutError, match="None of 1 candidates could be fitted"):
        run(classes, tmp_path / "run", candidates=("Linear",))


def test_candidates_and_metrics_that_the_task_does_not_have_are_named(
    classes: Dataset, numbers: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"candidates: None of LDA, QDA predicts a number\. Choose among Baseline"):
        run(numbers, tmp_path / "run", candidates=("LDA", "QDA"))
    with pytest.raises(InputError, match=r"candidates: None of Huber predicts classes"):
        run(classes, tmp_path / "run", candidates=("Huber",))
    with pytest.raises(InputError, match="'rmse' is not defined"):
        run(classes, tmp_path / "run", metric="rmse")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget_s": 3}, r"budget_s.*10 \(given: 3\)"),
        ({"candidate_s": 0}, r"candidate_s.*1 \(given: 0\)"),
        ({"candidates": ["Magic"]}, "candidates.*Magic"),
        ({"candidates": []}, r"candidates: Nothing is selected\. Choose at least one"),
        ({"gpus": 1}, r"gpus: The portfolio does not use GPUs\. Ask for 0"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        specs.parse({"kind": "portfolio", "dataset_id": 1, **change})


@pytest.mark.slow
def test_a_job_of_the_queue_fills_the_leaderboard_the_performance_table_and_the_landmarkers(classes: Dataset) -> None:
    job_id = jobs.submit(PortfolioSpec(dataset_id=classes.id, candidates=QUICK, cpus=2, keep_models=False))
    assert loop.run_once("w") == job_id
    row = jobs.overview(job_id=job_id).iloc[0]
    assert (row.status, row.fraction, row.n_trials, row.error) == ("succeeded", 1.0, 3, None)
    assert set(results.leaderboard(classes.id).algorithm) == set(QUICK)
    table = results.performance_table()
    assert (list(table.index), set(table.columns)) == ([classes.name], set(QUICK))
    assert table.loc[classes.name, "Baseline"] == 0.5
    assert 0 < metafeatures.get(classes.id)["landmark_linear"] <= 1
    assert len(results.curve(job_id, "best_valid")) == 3
