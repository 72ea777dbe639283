"""Every candidate of the portfolio on every kind of dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import datasets
from core.datasets import Dataset
from core.events import Landmarkers, Message, Metric
from core.metafeatures import LANDMARKERS
from core.specs import PORTFOLIO_CANDIDATES
from runner.shared import pipelines
from runner.shared.rows import flatten, read
from tests.runner.portfolio.portfolio_runs import (
    WORDS,
    change_row,
    register,
    run,
    trials_of,
    value,
    warnings_of,
)

pytestmark = pytest.mark.sklearn


def test_every_candidate_of_a_spec_has_a_row() -> None:
    assert tuple(row.name for row in pipelines.CANDIDATES) == PORTFOLIO_CANDIDATES


@pytest.mark.slow
def test_every_candidate_for_classes_is_fitted_on_numbers_categories_times_and_texts_with_gaps(
    classes: Dataset, tmp_path: Path
) -> None:
    assert {column.type for column in classes.features} == {"numeric", "categorical", "datetime", "text"}
    events = run(classes, tmp_path / "run")
    trials = trials_of(events)
    assert warnings_of(events) == []
    assert set(trials) == set(PORTFOLIO_CANDIDATES) - {"BayesianRidge", "Huber"}
    assert value(trials["Baseline"], "auc") == 0.5
    # Chance alone would not reach it on 48 rows.
    assert {name for name, trial in trials.items() if value(trial, "auc") < 0.7} == {"Baseline"}
    assert {event.name for event in events if isinstance(event, Metric)} == {"best_valid"}
    assert [set(event.values) for event in events if isinstance(event, Landmarkers)] == [set(LANDMARKERS)]


@pytest.mark.slow
def test_every_candidate_for_a_number_is_fitted_on_the_same_columns(numbers: Dataset, tmp_path: Path) -> None:
    events = run(numbers, tmp_path / "run")
    trials = trials_of(events)
    assert warnings_of(events) == []
    assert set(trials) == set(PORTFOLIO_CANDIDATES) - {"NaiveBayes", "LDA", "QDA"}
    assert {name for name, trial in trials.items() if value(trial, "r2") < 0.2} == {"Baseline"}


def test_the_baseline_is_the_mean_of_the_train_rows_and_a_line_is_found_by_a_line(
    module_home: Path, tmp_path: Path
) -> None:
    x = np.arange(200) * 37 % 101 / 10
    dataset = register(pd.DataFrame({"x": x, "y": 3 * x + 1}), tmp_path, "y")
    trials = trials_of(run(dataset, tmp_path / "run", candidates=("Baseline", "Linear"), metric="mae"))
    train, test = read(dataset, "train").actual, read(dataset, "test").actual
    assert value(trials["Baseline"], "mae") == pytest.approx(np.abs(test - train.mean()).mean())
    assert value(trials["Linear"], "r2") > 0.999
    assert trials["Linear"].metric == "mae"
    assert trials["Linear"].params["alpha"] == 1.0


def test_texts_alone_are_told_apart_by_naive_bayes_on_words(module_home: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"said": [f"the {WORDS[row % 8]} thing {row}" for row in range(160)]})
    dataset = register(frame.assign(kind=np.arange(160) % 8 > 3), tmp_path, "kind", said="text")
    assert dataset.modality == "text"
    events = run(dataset, tmp_path / "run", candidates=("NaiveBayes", "NearestNeighbours", "HistGradientBoosting"))
    assert warnings_of(events) == []
    assert value(trials_of(events)["NaiveBayes"], "accuracy") == 1.0
    assert len(trials_of(events)) == 3


def test_a_table_of_one_category_is_enough(module_home: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"colour": ["red", "green", "blue", ""] * 90, "kind": ["a", "b", "b", "a"] * 90})
    dataset = register(frame, tmp_path, "kind")
    trials = trials_of(run(dataset, tmp_path / "run", candidates=("Linear", "HistGradientBoosting", "SVM")))
    assert {value(trial, "accuracy") for trial in trials.values()} == {1.0}


@pytest.mark.slow
def test_a_class_of_a_single_train_row_stops_no_candidate(module_home: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    kind = np.array(["a"] * 60 + ["b"] * 60 + ["c"] * 3)
    frame = pd.DataFrame(random.normal(size=(123, 3)), columns=list("xyz")).assign(kind=kind)
    dataset = register(frame, tmp_path, "kind")
    assert np.bincount(read(dataset, "train").actual).min() == 1
    events = run(dataset, tmp_path / "run")
    assert warnings_of(events) == []
    assert len(trials_of(events)) == 17


@pytest.mark.slow
def test_images_are_told_apart_by_all_but_the_baseline(module_home: Path, tmp_path: Path) -> None:
    events = run(datasets.add_sample("digits_images"), tmp_path / "run", keep_models=True)
    trials = trials_of(events)
    assert warnings_of(events) == []
    assert len(trials) == 17
    assert {name for name, trial in trials.items() if value(trial, "accuracy") < 0.6} == {"Baseline"}
    assert value(trials["SVM"], "accuracy") > 0.95


def test_large_images_are_averaged_down() -> None:
    pixels = np.zeros((2, 64, 128, 3), np.uint8)
    pixels[1, :, 64:] = 255
    small = flatten(pixels)
    assert small.shape == (2, 16 * 32 * 3)
    assert small[1].reshape(16, 32, 3)[:, 16:].min() == 1
    assert small.mean() == 0.25


def test_the_same_seed_repeats_every_score(classes: Dataset, tmp_path: Path) -> None:
    fields = {"candidates": ("ElasticNet", "DecisionTree", "MLP"), "seed": 5}
    first, second = (trials_of(run(classes, tmp_path / name, **fields)) for name in "ab")
    assert {name: trial.scores for name, trial in first.items()} == {
        name: trial.scores for name, trial in second.items()
    }


def test_wide_tables_and_many_classes_are_fitted_on_fewer_rows() -> None:
    assert pipelines.row_limit("RandomForest", 10, 2) == 200_000
    assert pipelines.row_limit("RandomForest", 1_000, 2) == 5_000
    assert pipelines.row_limit("SVM", 10, 2) == 5_000
    assert pipelines.row_limit("Linear", 100, 10) == 10_000


def test_a_candidate_whose_cost_grows_with_the_square_of_the_rows_gets_a_sample_and_says_so(
    classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_row(monkeypatch, "NearestNeighbours", max_rows=40)
    events = run(classes, tmp_path / "run", candidates=("NearestNeighbours", "Linear"))
    n = classes.n_rows["train"]
    messages = [event.text for event in events if isinstance(event, Message)]
    assert f"Fitted on a sample of the {n} train rows: NearestNeighbours (40)." in messages
    trials = trials_of(events)
    assert trials["NearestNeighbours"].params["train_rows"] == 40
    assert "train_rows" not in trials["Linear"].params
