"""The H2O engine on real tables: its events, its models, and how it fails."""

from __future__ import annotations

import os
import signal
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.datasets import Dataset
from core.errors import InputError, MetascoutError
from core.events import Artifact, Event, Message, Metric, Progress, TrialDone
from core.scoring import metrics_for
from runner.automl import job
from runner.shared.rows import read
from tests.model_folders import unpack
from tests.runner.automl.h2o_runs import (
    check_scores,
    context_of,
    features_of_test_set,
    java_of,
    models_of,
    predictions,
    spec_of,
)

pytestmark = pytest.mark.h2o


@pytest.mark.slow
def test_a_run_yields_baselines_first_then_models_with_all_metrics(
    run_of_telco: tuple[list[Event], Path], telco: Dataset
) -> None:
    events, _ = run_of_telco
    trials = [event for event in events if isinstance(event, TrialDone)]
    assert [t.algorithm for t in trials[:2]] == ["HistGradientBoosting", "Linear"]
    assert [t.yardstick for t in trials] == [True, True] + [False] * (len(trials) - 2)
    assert len({t.candidate for t in trials}) == len(trials) > 3
    assert isinstance(events[0], Progress)
    fractions = [event.fraction for event in events if isinstance(event, Progress)]
    assert fractions == sorted(fractions)
    for t in trials:
        assert tuple(s.metric for s in t.scores) == metrics_for("binary")
        assert t.metric == "auc"
        assert t.fit_s > 0 < t.predict_row_s
        assert sum(map(sum, t.details["confusion"]["counts"])) == telco.n_rows["test"]
    assert max(t.scores[0].test for t in trials) > 0.8


@pytest.mark.slow
def test_the_curve_of_a_run_is_its_best_validation_score_so_far(run_of_telco: tuple[list[Event], Path]) -> None:
    events, _ = run_of_telco
    curve = [(event.step, event.value) for event in events if isinstance(event, Metric)]
    valid = [t.scores[0].valid for t in models_of(events)]
    assert [step for step, _ in curve] == list(range(1, len(valid) + 1))
    assert [value for _, value in curve] == pytest.approx(list(np.maximum.accumulate(valid)))


@pytest.mark.slow
def test_models_have_their_parameters_and_importance_under_the_users_names(
    run_of_telco: tuple[list[Event], Path], telco: Dataset
) -> None:
    names = {column.name for column in telco.features}
    for trial in models_of(run_of_telco[0]):
        assert trial.params["modeling_step"].startswith(("DRF" if "XRT" in trial.candidate else trial.algorithm)[:3])
        if trial.algorithm != "StackedEnsemble":
            assert {row["feature"] for row in trial.details["importance"]} <= names
            assert sum(row["value"] for row in trial.details["importance"]) == pytest.approx(1, abs=1e-6)
        if trial.algorithm in ("GBM", "XGBoost", "DRF"):
            assert trial.params["ntrees"] == trial.details["curve"]["x"][-1]


@pytest.mark.slow
def test_all_scores_follow_from_the_downloaded_models(
    run_of_telco: tuple[list[Event], Path], telco: Dataset, tmp_path: Path
) -> None:
    events, _ = run_of_telco
    actual = read(telco, "test").actual
    for trial in models_of(events):
        folder = unpack(events, trial.candidate, tmp_path / trial.candidate)
        out = predictions(folder, features_of_test_set(telco))
        check_scores(trial, telco, actual, out)
        shares = out[[f"probability of {label}" for label in telco.labels]].to_numpy(float)
        assert (np.array(telco.labels)[shares.argmax(axis=1)] == out[telco.target]).all()
        assert trial.size_bytes == (folder / "model.zip").stat().st_size
        assert zipfile.is_zipfile(folder / "model.zip")


@pytest.mark.slow
def test_a_run_leaves_no_java_process_and_no_temporary_file(run_of_telco: tuple[list[Event], Path]) -> None:
    _, directory = run_of_telco
    assert java_of(directory) == []
    assert list((directory / "tmp").iterdir()) == []


@pytest.mark.slow
def test_a_cancelled_run_keeps_its_models_and_ends_at_once(telco: Dataset, tmp_path: Path) -> None:
    wish = tmp_path / "cancel"
    context = context_of(telco, tmp_path / "run", wish.exists)
    events = []
    for event in job.run(spec_of(telco, budget_s=600), context):
        events.append(event)
        if isinstance(event, Metric) and not wish.exists():
            wish.touch()
            cancelled_at = time.monotonic()
    assert time.monotonic() - cancelled_at < 10
    assert len(models_of(events)) >= 1
    assert all(Path(event.path).exists() for event in events if isinstance(event, Artifact))
    assert java_of(tmp_path) == []


@pytest.mark.slow
def test_a_java_process_killed_while_it_trains_is_an_error_that_says_so(telco: Dataset, tmp_path: Path) -> None:
    events = []

    def go() -> None:
        for event in job.run(spec_of(telco, budget_s=600), context_of(telco, tmp_path)):
            events.append(event)
            if isinstance(event, Metric):
                os.kill(java_of(tmp_path)[0].pid, signal.SIGKILL)

    with pytest.raises(MetascoutError, match=r"The H2O process ended unexpectedly \(signal 9\)"):
        go()
    assert len(models_of(events)) == 1
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.slow
def test_a_run_without_a_model_says_what_h2o_said(telco: Dataset, tmp_path: Path) -> None:
    table = pd.read_parquet(telco.table)
    for column in telco.features:
        table[column.key] = table[column.key].iloc[0]  # constant in a way that registration would have refused
    constant = tmp_path / "constant.parquet"
    table.to_parquet(constant)
    changed = Dataset(**{name: getattr(telco, name) for name in telco.__slots__} | {"table": constant})
    spec = spec_of(telco, budget_s=10, algorithms=("GBM", "DRF"), folds=20)
    with pytest.raises(MetascoutError, match=r"AutoML found no model in 10 s with GBM, DRF: give it more") as caught:
        list(job.run(spec, context_of(changed, tmp_path / "run")))
    assert "Dropping bad and constant columns" in str(caught.value)
    assert "total_charges" in str(caught.value)


def test_a_metric_of_another_task_is_refused_before_anything_starts(cancer: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metric: 'rmse' is not defined for a binary target\. Use one of auc"):
        list(job.run(spec_of(cancer, metric="rmse"), context_of(cancer, tmp_path)))


def test_a_hidden_folder_which_h2o_refuses_is_named(cancer: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"hidden folder '\.config'\. Move METASCOUT_HOME"):
        list(job.run(spec_of(cancer), context_of(cancer, tmp_path / ".config" / "run")))


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "n_baselines"), [("Fitting the baselines", 0), ("Importing the table into H2O", 2)])
def test_a_run_that_is_cancelled_before_it_has_a_model_ends_at_once(
    telco: Dataset, tmp_path: Path, stage: str, n_baselines: int
) -> None:
    wish = tmp_path / "cancel"
    events = []
    for event in job.run(spec_of(telco, budget_s=600), context_of(telco, tmp_path / "run", wish.exists)):
        events.append(event)
        if isinstance(event, Progress) and event.stage == stage:
            wish.touch()
            cancelled_at = time.monotonic()
    assert time.monotonic() - cancelled_at < 10
    assert len([event for event in events if isinstance(event, TrialDone)]) == n_baselines
    assert java_of(tmp_path) == []


@pytest.mark.slow
def test_without_folds_ensembles_learn_on_rows_that_their_members_have_not_seen(telco: Dataset, tmp_path: Path) -> None:
    spec = spec_of(telco, budget_s=20, algorithms=("GLM", "GBM", "StackedEnsemble"), max_models=3, folds=0)
    events = list(job.run(spec, context_of(telco, tmp_path)))
    assert {trial.algorithm for trial in models_of(events)} == {"GLM", "GBM", "StackedEnsemble"}
    assert "without cross-validation" in " ".join(event.text for event in events if isinstance(event, Message))


@pytest.mark.parametrize(("budget_s", "folds", "used"), [(60, None, 5), (10, None, 0), (10, 3, 3), (3600, 0, 0)])
def test_folds_are_those_of_the_spec_or_else_what_the_budget_allows(
    cancer: Dataset, tmp_path: Path, budget_s: int, folds: int | None, used: int
) -> None:
    table = replace(cancer, n_rows={**cancer.n_rows, "train": 80_000 // len(cancer.features)})
    spec = spec_of(table, budget_s=budget_s, folds=folds)
    assert job._folds(spec, context_of(table, tmp_path)) == used
