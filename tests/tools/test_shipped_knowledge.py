"""The measurement of the shipped knowledge: its tasks, its command, which measures each once, and its file."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import datasets, metafeatures, results
from core.datasets import Dataset
from core.events import Artifact, Message, Score, TrialDone
from core.metafeatures import NAMES
from core.queue import jobs
from core.specs import AutoMLSpec, PortfolioSpec
from runner.portfolio import job
from runner.shared.context import Context
from runner.shared.pipeline_fit import fit_and_score
from runner.shared.pipelines import build, shape_of
from runner.shared.rows import read
from tests.engines import trial
from tools.shipped_knowledge import measurement, tasks
from tools.shipped_knowledge.__main__ import main
from tools.shipped_knowledge.measurement import measure, rows
from tools.shipped_knowledge.tasks import BenchmarkTask, all_tasks

FEATURES = [f"feature:{name}" for name in NAMES]


def table(n: int = 90) -> pd.DataFrame:
    x = np.random.default_rng(0).normal(size=(n, 3))
    return pd.DataFrame(x, columns=list("abc")).assign(y=np.where(x[:, 0] + x[:, 1] > 0, "more", "less"))


TASK = BenchmarkTask("small", "generated", "made small", "y", None, table)


def finish(kind: str, *trials: TrialDone) -> None:
    """The first queued job, which is of this kind, has reported these trials and is done."""
    job = jobs.claim("w")
    assert job is not None
    assert job.kind == kind
    results.record(job, list(trials))
    jobs.finish(job, "succeeded")


def number_trial(algorithm: str, rmse: float, r2: float) -> TrialDone:
    scores = (Score("rmse", rmse, rmse, 0.0, 9.0, rmse, rmse), Score("r2", r2, r2, 0.0, 1.0, 1 - r2, 1 - r2))
    return TrialDone(algorithm, algorithm, "rmse", scores, fit_s=2.0, predict_row_s=1e-5)


def test_a_row_is_a_candidate_with_the_test_error_of_its_best_validation_trial(dataset: Dataset) -> None:
    jobs.submit(PortfolioSpec(dataset_id=dataset.id))
    first = trial("a", error=0.3, algorithm="Linear")
    second = trial("b", error=0.2, algorithm="Linear")
    lucky = replace(first, scores=tuple(replace(score, test_error=0.01) for score in first.scores))
    finish(
        "portfolio", lucky, second, trial("c", error=0.4, algorithm="SVM"), trial("d", error=np.nan, algorithm="MLP")
    )
    frame = rows(TASK, dataset)
    about = ["task", "origin", "family", "kind", "fingerprint", "candidate", "error", "metric", "fit_s"]
    assert list(frame.columns) == [*about, *FEATURES]
    assert dict(zip(frame.candidate, frame.error, strict=True)) == {"Linear": 0.2, "SVM": 0.4}
    assert set(frame.metric) == {"auc"}
    assert set(frame.fingerprint) == {dataset.fingerprint}
    assert frame.loc[0, ["task", "origin", "family", "kind"]].tolist() == ["small", "generated", "made small", "binary"]
    assert list(frame.fit_s) == [1.5, 1.5]
    np.testing.assert_equal(frame[FEATURES].iloc[1].tolist(), list(metafeatures.get(dataset.id).values()))


def test_the_error_of_a_regression_is_the_unexplained_share_of_the_variance(home: Path) -> None:
    dataset = datasets.add_sample("diabetes")
    jobs.submit(PortfolioSpec(dataset_id=dataset.id))
    finish("portfolio", number_trial("Linear", 55.0, 0.45), number_trial("SVM", 77.0, -0.1))
    frame = rows(TASK, dataset)
    assert dict(zip(frame.candidate, frame.error, strict=True)) == {"Linear": 0.55, "SVM": 1.1}
    assert set(frame.metric) == {"r2"}


def test_baseline_trials_are_no_knowledge(dataset: Dataset) -> None:
    jobs.submit(AutoMLSpec(dataset_id=dataset.id))
    finish("automl", trial("a", algorithm="GBM"), trial("b", error=0.1, algorithm="Linear", yardstick=True))
    assert list(rows(TASK, dataset).candidate) == ["H2O GBM"]


def test_finished_jobs_are_not_repeated_and_a_stopped_run_resumes(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "MIN_ROWS", 10)
    dataset = measurement._register(TASK)
    for spec in measurement._missing_jobs(dataset, 10):
        jobs.submit(spec)
    finish("portfolio", trial("a", algorithm="SVM"))
    finish("automl", trial("b", algorithm="GBM"))
    frame = measure([TASK], tmp_path / "new" / "known.parquet", h2o_s=10)
    assert set(frame.candidate) == {"SVM", "H2O GBM"}
    assert len(jobs.overview()) == 2
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "new" / "known.parquet"), frame, check_dtype=False)


def test_h2o_is_for_tables_that_are_large_enough(home: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [spec.kind for spec in measurement._missing_jobs(dataset, 10)] == ["portfolio"]
    monkeypatch.setattr(measurement, "MIN_ROWS", 10)
    images = datasets.add_sample("digits_images")
    assert [spec.kind for spec in measurement._missing_jobs(images, 10)] == ["portfolio"]
    assert [spec.kind for spec in measurement._missing_jobs(dataset, 10)] == ["portfolio", "automl"]
    assert [spec.kind for spec in measurement._missing_jobs(dataset, 0)] == ["portfolio"]


def test_images_are_registered_as_images(home: Path) -> None:
    task = BenchmarkTask("digits images", "scikit-learn", "digits", "label", None, tasks._digits)
    dataset = measurement._register(task)
    assert (dataset.modality, len(dataset.labels), sum(dataset.n_rows.values())) == ("image", 10, 1_797)
    assert dataset.source == "scikit-learn"


def test_no_model_is_written_if_only_the_scores_are_needed(dataset: Dataset, tmp_path: Path) -> None:
    spec = PortfolioSpec(dataset_id=dataset.id, candidates=("Baseline",), keep_models=False)
    (tmp_path / "run").mkdir()
    events = list(job.run(spec, Context(1, 1, dataset, tmp_path / "run", 1, 0, lambda: False)))
    assert [event.algorithm for event in events if isinstance(event, TrialDone)] == ["Baseline"]
    assert not [event for event in events if isinstance(event, Artifact)]
    assert not [event for event in events if isinstance(event, Message) and event.level == "warning"]
    assert not list((tmp_path / "run" / "artifacts").iterdir())


def test_seconds_come_from_the_clock(dataset: Dataset) -> None:
    rows = {split: read(dataset, split) for split in datasets.SPLITS}
    ticks = iter([1.0, 3.5, 10.0, 14.0])
    model = build("Linear", shape_of(dataset, rows["train"], 1))
    done = fit_and_score("Linear", model, dataset, rows, metric="auc", clock=lambda: next(ticks))
    assert (done.fit_s, done.predict_row_s) == (2.5, 4 / dataset.n_rows["test"])


@pytest.mark.slow
def test_a_task_goes_through_queue_and_runner_into_the_file(home: Path, tmp_path: Path) -> None:
    second = replace(TASK, name="smaller", make=partial(table, 60))
    frame = measure([TASK, second], tmp_path / "known.parquet")
    by_task = frame.groupby("task").candidate.agg(set)
    assert by_task["small"] >= {"Baseline", "Linear", "RandomForest", "MLP"}
    assert list(by_task.index) == ["small", "smaller"]
    errors = frame[frame.task == "small"].set_index("candidate").error
    assert errors["Linear"] < 0.1 < errors["Baseline"]
    assert frame["feature:landmark_linear"].gt(0.5).all()  # which the job measures
    assert (tmp_path / "known.parquet").stat().st_size < 100_000


def test_without_the_folder_of_real_datasets_the_command_says_what_to_set(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("METASCOUT_DATA", str(tmp_path))
    assert main(["--out", str(tmp_path / "known.parquet"), "--home", str(tmp_path / "measured")]) == 1
    assert "Set it to the folder of real datasets" in capsys.readouterr().err


def test_there_are_over_a_hundred_tasks_of_every_origin_with_unique_names(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASCOUT_DATA", str(data))
    every = all_tasks()
    assert len(every) > 100
    assert len({task.name for task in every}) == len(every)
    counts = Counter(task.origin for task in every)
    assert set(counts) == set(tasks.Origin.__args__)  # type: ignore[attr-defined]
    assert len({task.origin for task in every[:15]}) >= 4  # the first ones are a fair choice
    assert [task.name for task in all_tasks()] == [task.name for task in every]
    assert {task.family for task in every if task.origin == "sample"} == set(tasks._TABLES)


def test_tasks_of_real_data_have_their_rows_and_their_target(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASCOUT_DATA", str(data))
    by_name = {task.name: task for task in all_tasks()}
    ages = by_name["titanic Age"].make()
    assert isinstance(ages, pd.DataFrame)
    assert len(ages) == 714  # of 891; the others have none
    sample, whole = by_name["abalone 200 rows"], by_name["abalone"]
    assert (sample.task, whole.task, sample.target) == ("regression", "regression", "Rings")
    assert (len(sample.make()), len(whole.make())) == (200, 2_000)
    pd.testing.assert_frame_equal(sample.make(), sample.make())
    pictures, labels = by_name["cifar10 animals"].make()
    assert pictures.shape == (300, 32, 32, 3)
    assert set(labels) == {"cat", "dog", "horse"}


def test_generated_tables_are_reproducible_and_some_have_gaps_and_categories() -> None:
    made = {task.name: task for task in tasks._generated()}
    for name, task in made.items():
        first, again = task.make(), task.make()
        assert isinstance(first, pd.DataFrame)
        pd.testing.assert_frame_equal(first, again)
        gaps = first.drop(columns="y").isna().to_numpy().mean()
        assert (0.05 < gaps < 0.15) if "with gaps" in name else gaps == 0
        assert first["y"].notna().all()
        assert first["y"].nunique() > 20 or first["y"].str.startswith("class ").all()
    gaps = made["made friedman1 1000 x 10 with gaps"].make()
    assert isinstance(gaps, pd.DataFrame)
    assert set(gaps["x1"].dropna()) == set("abcdef")
    assert gaps["x2"].dtype == float


def test_no_single_bit_predicts_the_parity() -> None:
    x, y = tasks._parity(1_000)
    assert set(np.unique(x)) == {0, 1}
    shares = [abs(np.corrcoef(x[:, place], y)[0, 1]) for place in range(8)]
    assert max(shares) < 0.1
    np.testing.assert_array_equal((x[:, 0] + x[:, 1] + x[:, 2]) % 2, y)
