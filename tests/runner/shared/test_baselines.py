"""The baselines of AutoML: two scikit-learn models on any table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import datasets
from core.datasets import Dataset, Split
from core.events import Message, TrialDone
from core.scoring import METRICS
from runner.shared.baselines import fit_baselines
from runner.shared.rows import Rows, read

pytestmark = pytest.mark.sklearn


@pytest.fixture(scope="module")
def home(module_home: Path) -> Path:
    return module_home


@pytest.fixture(scope="module")
def telco(home: Path, data: Path) -> Dataset:
    return datasets.register(data / "tabular/telco_churn.csv", name="telco", target="churn")


def rows_of(dataset: Dataset) -> dict[Split, Rows]:
    return {split: read(dataset, split, texts=False) for split in datasets.SPLITS}


@pytest.mark.slow
def test_baselines_take_missing_values_and_more_levels_than_the_trees_have_bins(home: Path, data: Path) -> None:
    titanic = datasets.register(
        data / "tabular/titanic.csv", name="titanic", target="Survived", types={"Ticket": "categorical"}
    )
    assert next(c for c in titanic.features if c.name == "Ticket").cardinality > 255
    rows = rows_of(titanic)
    assert rows["train"].features.isna().any().any()
    trials = [event for event in fit_baselines(titanic, rows, metric="auc", seed=1) if isinstance(event, TrialDone)]
    for trial in trials:
        auc = trial.scores[0]
        assert 0.75 < auc.lower < auc.test < auc.upper
        assert trial.yardstick
        assert sum(map(sum, trial.details["confusion"]["counts"])) == titanic.n_rows["test"]


@pytest.mark.slow
def test_baselines_of_a_regression_beat_the_mean(home: Path, data: Path) -> None:
    abalone = datasets.register(data / "tabular/abalone.csv", name="abalone", target="Rings", task="regression")
    rows = rows_of(abalone)
    for trial in fit_baselines(abalone, rows, metric="rmse", seed=1):
        assert isinstance(trial, TrialDone)
        by_name = {s.metric: s for s in trial.scores}
        assert by_name["rmse"].test < rows["test"].actual.std()
        assert by_name["r2"].test_error == METRICS["r2"].error(by_name["r2"].test)
        assert len(trial.details["residuals"]["actual"]) == 500


@pytest.mark.slow
def test_a_long_table_is_sampled_for_the_baselines_with_a_message(
    telco: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.shared.baselines._MAX_ROWS", 400)
    rows = rows_of(telco)
    events = list(fit_baselines(telco, rows, metric="auc", seed=1))
    assert isinstance(events[0], Message)
    assert "fitted on 400 of" in events[0].text
    assert len([event for event in events if isinstance(event, TrialDone)]) == 2


@pytest.fixture(scope="module")
def huge(home: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Titanic with a fare of 1e308."""
    table = pd.read_csv(data / "tabular/titanic.csv")
    table.loc[7, "Fare"] = 1e308
    path = tmp_path_factory.mktemp("huge") / "huge.csv"
    table.to_csv(path, index=False)
    return datasets.register(path, name="huge", target="Survived")


def test_a_number_near_the_end_of_all_numbers_does_not_stop_a_baseline(huge: Dataset) -> None:
    rows = rows_of(huge)
    assert max(split.features.max(numeric_only=True).max() for split in rows.values()) == 1e308
    trials = list(fit_baselines(huge, rows, metric="auc", seed=1))
    assert [trial.scores[0].test > 0.7 for trial in trials if isinstance(trial, TrialDone)] == [True, True]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_baseline_that_fails_is_left_out_and_says_why(huge: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.shared.pipelines._LARGE", np.inf)
    rows = rows_of(huge)
    first, second = fit_baselines(huge, rows, metric="auc", seed=1)
    assert isinstance(first, TrialDone)
    assert isinstance(second, Message)
    assert second.level == "warning"
    assert second.text.startswith("The Linear baseline is left out: ValueError: Input")
