"""What is known: the shipped file, own results and the scenarios that fit, in one table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import datasets, knowledge, metafeatures, results
from core.datasets import Dataset
from core.events import TrialDone
from core.knowledge import Knowledge, imports
from core.queue import jobs
from core.specs import AutoMLSpec, NASSpec, PortfolioSpec, Spec
from core.store import database
from tests.core.knowledge.run_files import TIDY, write
from tests.engines import trial


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small file of shipped knowledge in place of the real one."""
    rows = [
        ("iris", "real table", "multiclass", "H2O GBM", 0.1, "log_loss", 1.0, 5.0, 0.5),
        ("iris", "real table", "multiclass", "H2O GLM", 0.2, "log_loss", 0.5, 5.0, 0.5),
        ("small", "sample", "binary", "H2O GLM", 0.4, "auc", 0.5, 6.0, 0.25),
        ("friedman", "generated", "regression", "H2O GBM", 0.3, "r2", 2.0, 7.0, None),
    ]
    columns = ["task", "origin", "kind", "candidate", "error", "metric", "fit_s", "feature:n", "feature:skew"]
    path = tmp_path / "shipped.parquet"
    pd.DataFrame(rows, columns=columns).to_parquet(path)
    monkeypatch.setattr("core.knowledge.table.SHIPPED", path)
    return path


def finish(dataset: Dataset, *trials: TrialDone, spec: Spec | None = None) -> None:
    """Record a finished job on the dataset with these trials."""
    jobs.submit(spec or AutoMLSpec(dataset_id=dataset.id))
    job = jobs.claim("w")
    assert job is not None
    results.record(job, trials)
    jobs.finish(job, "succeeded")


def record_features(dataset: Dataset, **features: float) -> None:
    with database.transaction(write=True) as connection:
        for name, value in features.items():
            connection.execute("INSERT INTO meta_features VALUES (?, ?, ?)", [dataset.id, name, value])


def same_index(one: Knowledge) -> bool:
    return one.features.index.equals(one.errors.index) and one.errors.index.equals(one.about.index)


def test_the_shipped_file_is_read_by_type_of_task_with_its_marks(home: Path, shipped: Path) -> None:
    table = knowledge.from_shipped_file("classification")
    assert list(table.errors.index) == ["iris", "small"]
    assert table.errors.loc["iris"].to_dict() == {"H2O GBM": 0.1, "H2O GLM": 0.2}
    assert np.isnan(table.errors.loc["small", "H2O GBM"])
    assert table.features.loc["small"].to_dict() == {"n": 6.0, "skew": 0.25}
    assert table.about.loc["iris", ["origin", "mark", "task", "metric"]].tolist() == [
        "shipped", "real table", "multiclass", "log_loss",
    ]  # fmt: skip
    assert list(knowledge.from_shipped_file("regression").errors.index) == ["friedman"]


def test_small_shipped_datasets_are_left_out_and_no_error_is_worse_than_guessing(home: Path, shipped: Path) -> None:
    rows = pd.read_parquet(shipped).assign(**{"feature:n_rows": [100.0, 100.0, 300.0, 500.0]})
    rows.loc[rows["task"] == "small", "error"] = 0.9
    rows.loc[rows["task"] == "friedman", "error"] = 123.0
    rows.to_parquet(shipped)
    assert knowledge.from_shipped_file("classification").errors["H2O GLM"].to_dict() == {"small": 0.5}
    assert knowledge.from_shipped_file("regression").errors["H2O GBM"].to_dict() == {"friedman": 1.0}


def test_of_own_trials_the_one_that_valid_chose_counts_by_its_test_error(dataset: Dataset, shipped: Path) -> None:
    chosen, lucky = trial("chosen", error=0.2), trial("lucky", error=0.3)
    lucky = replace(lucky, scores=tuple(replace(score, test_error=0.01) for score in lucky.scores))
    finish(dataset, chosen, lucky, trial("other", error=0.25, algorithm="GLM"))
    record_features(dataset, n=80.0)
    table = knowledge.from_jobs("classification")
    assert table.errors.loc["small"].to_dict() == {"H2O GBM": 0.2, "H2O GLM": 0.25}
    assert table.fit_s.loc["small", "H2O GBM"] == 1.5
    assert table.features.loc["small"].to_dict() == {"n": 80.0}
    assert table.about.loc["small", "metric"] == "auc"
    assert len(knowledge.from_jobs("regression").about) == 0


def test_the_error_of_a_regression_has_no_unit(home: Path, shipped: Path, tmp_path: Path) -> None:
    lines = "\n".join(f"{n % 17},{n % 13}.5" for n in range(90))
    dataset = datasets.register(write(tmp_path, f"x,y\n{lines}\n", "numbers.csv"), name="numbers", target="y")
    assert dataset.task == "regression"
    scores = tuple(
        replace(trial().scores[0], metric=metric, valid_error=error, test_error=error)
        for metric, error in (("rmse", 1234.0), ("mae", 1000.0), ("r2", 0.3))
    )
    finish(dataset, replace(trial(), metric="rmse", scores=scores))
    table = knowledge.from_jobs("regression")
    assert table.errors.loc["numbers", "H2O GBM"] == 0.3
    assert table.about.loc["numbers", ["origin", "task", "metric"]].tolist() == ["own", "regression", "r2"]
    assert list(knowledge.gather("regression").errors.index) == ["numbers", "friedman"]


def test_own_datasets_stand_in_place_of_shipped_ones_of_their_name_or_content(dataset: Dataset, shipped: Path) -> None:
    finish(dataset, trial(error=0.2))
    record_features(dataset, n=80.0, depth=3.0)
    table = knowledge.gather("classification")
    assert same_index(table)
    assert table.about["origin"].to_dict() == {"small": "own", "iris": "shipped"}
    assert table.errors.loc["small", "H2O GBM"] == pytest.approx(0.2)
    assert np.isnan(table.errors.loc["small", "H2O GLM"])  # known of the shipped one only
    assert set(table.features.columns) == {"n", "depth", "skew"}
    rows = pd.read_parquet(shipped)
    rows["fingerprint"] = np.where(rows["task"] == "iris", dataset.fingerprint, "another")
    rows.to_parquet(shipped)
    assert list(knowledge.gather("classification").about.index) == ["small"]


def test_a_scenario_counts_if_it_has_half_of_our_meta_features(home: Path, shipped: Path, tmp_path: Path) -> None:
    text = TIDY.replace("feature:n_rows", "feature:{}")
    imports.import_(write(tmp_path, text.format("n")), name="near")
    imports.import_(write(tmp_path, text.format("other")), name="far")
    imports.import_(write(tmp_path, text.format("n").replace("error", "rmse")), name="numbers")
    table = knowledge.gather("classification")
    assert same_index(table)
    assert list(table.about["origin"]) == ["shipped", "shipped", "near", "near"]
    assert table.features.loc["near: b", "n"] == 200
    assert table.errors.loc["near: a", "forest"] == 0.1
    assert set(table.errors.columns) == {"H2O GBM", "H2O GLM", "forest", "linear"}
    assert list(knowledge.gather("regression").about["origin"]) == ["shipped", "numbers", "numbers"]
    listed = knowledge.overview().set_index("name")["advises"]
    assert listed.to_dict() == {"near": True, "far": False, "numbers": True}


def test_before_anything_is_known_our_meta_features_are_all_that_we_can_compute(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.knowledge.table.SHIPPED", tmp_path / "none.parquet")
    ours = knowledge.our_features("classification")
    assert ours == list(metafeatures.NAMES)
    half = ours[: (len(ours) + 1) // 2]
    rows = "".join(f"{d},{c},0.5{',1' * len(half)}\n" for d in "ab" for c in "xy")
    header = ",".join(f"feature:{name}" for name in half)
    imports.import_(write(tmp_path, f"dataset,candidate,error,{header}\n{rows}"), name="s")
    assert list(knowledge.gather("classification").about["origin"]) == ["s", "s"]


def test_nothing_known_is_an_empty_table_and_no_error(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.knowledge.table.SHIPPED", tmp_path / "none.parquet")
    imports.import_(write(tmp_path, TIDY))  # nothing of ours to compare it with
    table = knowledge.gather("classification")
    assert same_index(table)
    assert (len(table.errors), len(table.features), len(table.about)) == (0, 0, 0)


def test_the_stamp_changes_with_what_is_known_and_with_nothing_else(
    dataset: Dataset, shipped: Path, tmp_path: Path
) -> None:
    stamps = [knowledge.stamp()]
    assert knowledge.stamp() == stamps[0]
    finish(dataset, trial())
    stamps.append(knowledge.stamp())
    record_features(dataset, n=80.0)
    stamps.append(knowledge.stamp())
    imports.import_(write(tmp_path, TIDY), name="past")
    stamps.append(knowledge.stamp())
    knowledge.remove("past")
    assert knowledge.stamp() == stamps[2]
    pd.read_parquet(shipped).head(3).to_parquet(shipped)
    stamps.append(knowledge.stamp())
    assert len(set(stamps)) == 5


def test_own_trials_of_two_engines_are_two_candidates(dataset: Dataset, shipped: Path) -> None:
    finish(dataset, trial(error=0.2, algorithm="MLP"), spec=PortfolioSpec(dataset_id=dataset.id))
    finish(dataset, trial(error=0.1, algorithm="MLP"), spec=NASSpec(dataset_id=dataset.id))
    errors = knowledge.from_jobs("classification").errors.loc["small"]
    assert errors.to_dict() == pytest.approx({"MLP": 0.2, "NAS MLP": 0.1})
