"""The H2O engine on real tables: its events, its scores, what it hands out, and how it fails."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import datasets, results
from core.datasets import Dataset
from core.errors import InputError, MetascoutError
from core.events import Artifact, Event, Message, Metric, Progress, TrialDone
from core.queue import jobs
from core.results import downloads
from core.scoring import METRICS, metrics_for, score
from core.specs import AutoMLSpec
from runner import loop
from runner.automl import job
from runner.automl.frames import read
from runner.automl.jvm import find_java
from runner.shared.baselines import yardstick
from runner.shared.context import Context
from tests.test_jvm import java_of

GIB = 2**30


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One data directory for the module, so that a run of half a minute is made only once."""
    path = tmp_path_factory.mktemp("automl") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(path))
        patch.delenv("METASCOUT_STORE", raising=False)
        yield path


@pytest.fixture(scope="module")
def telco(home: Path, data: Path) -> Dataset:
    return datasets.register(data / "tabular/telco_churn.csv", name="telco", target="churn")


@pytest.fixture(scope="module")
def odd(home: Path, data: Path) -> Dataset:
    """Titanic with a time, odd names, and classes that look like numbers or hold a comma and quotes."""
    table = pd.read_csv(data / "tabular/titanic.csv")
    renamed = pd.DataFrame(
        {
            'outcome, "final"': table["Survived"].map({0: "007", 1: 'yes, "saved" 🙂'}),
            "Âge, in years": table["Age"],
            'sex "m/f" 🙂': table["Sex"],
            "boarded": pd.Timestamp("1912-04-10 12:00") + pd.to_timedelta(table["Pclass"] * 26, unit="h"),
            "port": table["Embarked"],
            "siblings": table["SibSp"].where(table["Age"].notna()),  # 1.0 and a gap in the file, 1 as a category
            "name": table["Name"],
        }
    )
    path = home / "odd.csv"
    home.mkdir(exist_ok=True)
    renamed.to_csv(path, index=False)
    return datasets.register(
        path, name="odd", target='outcome, "final"', types={"name": "text", "siblings": "categorical"}
    )


def context_of(dataset: Dataset, directory: Path, cancelled: Callable[[], bool] = lambda: False) -> Context:
    for name in ("tmp", "artifacts"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    return Context(1, 1, dataset, directory, 2, 0, cancelled)


def spec_of(dataset: Dataset, **given: object) -> AutoMLSpec:
    return AutoMLSpec.model_validate({"dataset_id": dataset.id, "memory_bytes": GIB, **given})


def models_of(events: list[Event]) -> list[TrialDone]:
    return [event for event in events if isinstance(event, TrialDone) and not event.yardstick]


def unpack(events: list[Event], candidate: str, box: Path) -> Path:
    """What a user gets for a candidate, as the zip of its page unpacks."""
    box.mkdir()
    for event in events:
        if isinstance(event, Artifact) and event.candidate in (None, candidate):
            name = "model.zip" if event.kind == "mojo" else event.name
            (box / name).write_bytes(Path(event.path).read_bytes())
    return box


def score_outside(box: Path, rows: pd.DataFrame | str) -> pd.DataFrame:
    """Predictions of the script that is handed out, run in a process that knows nothing of this project."""
    text = rows if isinstance(rows, str) else rows.to_csv(index=False)
    (box / "rows.csv").write_text(text, "utf-8")
    environment = {"PATH": os.defpath, "METASCOUT_JAVA": str(find_java().path)}
    command = [sys.executable, "-I", "score.py", "rows.csv", "out.csv"]
    done = subprocess.run(command, cwd=box, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return pd.read_csv(box / "out.csv", dtype={0: str}, keep_default_na=False)


def _test_rows(dataset: Dataset) -> pd.DataFrame:
    names = {column.key: column.name for column in dataset.features}
    return datasets.load(dataset, "test")[list(names)].rename(columns=names)


@pytest.fixture(scope="module")
def finished(telco: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Event], Path]:
    """The events of a real run on telco_churn, and its directory."""
    directory = tmp_path_factory.mktemp("run")
    context = context_of(telco, directory)
    return list(job.run(spec_of(telco, budget_s=120, max_models=3, folds=3), context)), directory


@pytest.mark.slow
def test_a_run_yields_yardsticks_first_then_models_with_all_metrics(
    finished: tuple[list[Event], Path], telco: Dataset
) -> None:
    events, _ = finished
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
def test_the_curve_of_a_run_is_its_best_valid_score_so_far(finished: tuple[list[Event], Path]) -> None:
    events, _ = finished
    curve = [(event.step, event.value) for event in events if isinstance(event, Metric)]
    valid = [t.scores[0].valid for t in models_of(events)]
    assert [step for step, _ in curve] == list(range(1, len(valid) + 1))
    assert [value for _, value in curve] == pytest.approx(list(np.maximum.accumulate(valid)))


@pytest.mark.slow
def test_models_tell_their_parameters_and_importance_under_the_users_names(
    finished: tuple[list[Event], Path], telco: Dataset
) -> None:
    names = {column.name for column in telco.features}
    for trial in models_of(finished[0]):
        assert trial.params["modeling_step"].startswith(("DRF" if "XRT" in trial.candidate else trial.algorithm)[:3])
        if trial.algorithm != "StackedEnsemble":
            assert {row["feature"] for row in trial.details["importance"]} <= names
            assert sum(row["value"] for row in trial.details["importance"]) == pytest.approx(1, abs=1e-6)
        if trial.algorithm in ("GBM", "XGBoost", "DRF"):
            assert trial.params["ntrees"] == trial.details["curve"]["x"][-1]


@pytest.mark.slow
def test_all_scores_follow_from_the_models_that_are_handed_out(
    finished: tuple[list[Event], Path], telco: Dataset, tmp_path: Path
) -> None:
    events, _ = finished
    actual = read(telco, "test").actual
    for trial in models_of(events):
        box = unpack(events, trial.candidate, tmp_path / trial.candidate)
        out = score_outside(box, _test_rows(telco))
        shares = out[[f"probability of {label}" for label in telco.labels]].to_numpy(float)
        again = score("binary", telco.labels, (actual, shares), (actual, shares))
        assert [s.test for s in again] == pytest.approx([s.test for s in trial.scores], abs=1e-6)
        assert [s.lower for s in again] == pytest.approx([s.lower for s in trial.scores], abs=1e-6)
        assert (np.array(telco.labels)[shares.argmax(axis=1)] == out[telco.target]).all()
        assert trial.size_bytes == (box / "model.zip").stat().st_size
        assert zipfile.is_zipfile(box / "model.zip")


@pytest.mark.slow
def test_a_submitted_job_ends_with_a_leaderboard_and_a_download_that_predicts(telco: Dataset, tmp_path: Path) -> None:
    spec = spec_of(telco, budget_s=10, algorithms=("GLM",), folds=0)
    job_id = jobs.submit(spec)
    assert loop.run_once("test") == job_id
    assert jobs.overview(job_id=job_id).status[0] == "succeeded"
    board = results.leaderboard(telco.id)
    assert set(board["algorithm"]) >= {"HistGradientBoosting", "Linear", "GLM"}
    found = results.trial(int(board[board["algorithm"] == "GLM"]["trial_id"].iloc[0]))
    archive = downloads.of_trial(found)
    assert archive is not None
    assert downloads.of_trial(found) == archive  # made once
    zipfile.ZipFile(archive).extractall(tmp_path / "box")
    names = sorted(path.name for path in (tmp_path / "box").iterdir())
    assert names == ["README.txt", "example.csv", "h2o-genmodel.jar", "model.zip", "score.py"]
    out = score_outside(tmp_path / "box", pd.read_csv(tmp_path / "box/example.csv"))
    assert len(out) == 5
    yardstick_id = int(board[board["yardstick"]]["trial_id"].iloc[0])
    assert downloads.of_trial(results.trial(yardstick_id)) is None


@pytest.mark.slow
def test_a_run_leaves_no_java_process_and_no_temporary_file(finished: tuple[list[Event], Path]) -> None:
    _, directory = finished
    assert java_of(directory) == []
    assert list((directory / "tmp").iterdir()) == []


@pytest.mark.slow
def test_odd_names_times_and_classes_come_back_as_they_were(odd: Dataset, tmp_path: Path) -> None:
    spec = spec_of(odd, budget_s=10, algorithms=("GLM", "GBM"), max_models=2, folds=0)
    events = list(job.run(spec, context_of(odd, tmp_path)))
    assert Message("Text columns are not used: name.", "warning") in events
    assert odd.labels == ("007", 'yes, "saved" 🙂')
    models = models_of(events)
    assert {t.algorithm for t in models} == {"GLM", "GBM"}
    actual = read(odd, "test").actual
    file = pd.read_csv(odd.table.parents[2] / odd.source, dtype=str, keep_default_na=False)
    rows = file.iloc[datasets.load(odd, "test").index]
    assert {"", "1.0"} < set(rows["siblings"])
    for trial in models:
        out = score_outside(unpack(events, trial.candidate, tmp_path / trial.candidate), rows)
        assert set(out[odd.target]) == set(odd.labels)
        shares = out[[f"probability of {label}" for label in odd.labels]].to_numpy(float)
        again = score("binary", odd.labels, (actual, shares), (actual, shares))
        assert [s.test for s in again] == pytest.approx([s.test for s in trial.scores], abs=1e-6)
        assert again[0].test > 0.75
        assert {row["feature"] for row in trial.details["importance"]} <= {c.name for c in odd.features}
    with (tmp_path / "artifacts/example.csv").open(encoding="utf-8", newline="") as example:
        assert next(csv.reader(example)) == [column.name for column in odd.features]


@pytest.mark.slow
def test_a_cancelled_run_keeps_its_models_and_ends_at_once(telco: Dataset, tmp_path: Path) -> None:
    wish = tmp_path / "cancel"
    context = context_of(telco, tmp_path / "run", wish.exists)
    events = []
    for event in job.run(spec_of(telco, budget_s=600), context):
        events.append(event)
        if isinstance(event, Metric) and not wish.exists():
            wish.touch()
            asked_at = time.monotonic()
    assert time.monotonic() - asked_at < 10
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


def test_a_metric_of_another_task_is_refused_before_anything_starts(telco: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metric: 'rmse' is not defined for a binary target\. Use one of auc"):
        list(job.run(spec_of(telco, metric="rmse"), context_of(telco, tmp_path)))


def test_a_hidden_folder_which_h2o_refuses_is_named(telco: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"hidden folder '\.config': move METASCOUT_HOME"):
        list(job.run(spec_of(telco), context_of(telco, tmp_path / ".config" / "run")))


@pytest.mark.slow
def test_yardsticks_take_missing_values_and_more_levels_than_the_trees_have_bins(home: Path, data: Path) -> None:
    titanic = datasets.register(
        data / "tabular/titanic.csv", name="titanic", target="Survived", types={"Ticket": "categorical"}
    )
    assert next(c for c in titanic.features if c.name == "Ticket").cardinality > 255
    rows = [read(titanic, split) for split in datasets.SPLITS]
    assert rows[0].features.isna().any().any()
    trials = [event for event in yardstick(titanic, *rows, metric="auc", seed=1) if isinstance(event, TrialDone)]
    for trial in trials:
        auc = trial.scores[0]
        assert 0.75 < auc.lower < auc.test < auc.upper
        assert trial.yardstick
        assert sum(map(sum, trial.details["confusion"]["counts"])) == titanic.n_rows["test"]


@pytest.mark.slow
def test_yardsticks_of_a_regression_beat_the_mean(home: Path, data: Path) -> None:
    abalone = datasets.register(data / "tabular/abalone.csv", name="abalone", target="Rings", task="regression")
    rows = [read(abalone, split) for split in datasets.SPLITS]
    for trial in yardstick(abalone, *rows, metric="rmse", seed=1):
        assert isinstance(trial, TrialDone)
        by_name = {s.metric: s for s in trial.scores}
        assert by_name["rmse"].test < rows[2].actual.std()
        assert by_name["r2"].test_error == METRICS["r2"].error(by_name["r2"].test)
        assert len(trial.details["residuals"]["actual"]) == 500


@pytest.mark.slow
def test_a_long_table_is_sampled_for_the_yardsticks_with_a_message(
    telco: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.shared.baselines._ROWS", 400)
    rows = [read(telco, split) for split in datasets.SPLITS]
    events = list(yardstick(telco, *rows, metric="auc", seed=1))
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


def test_a_number_near_the_end_of_all_numbers_does_not_stop_a_yardstick(huge: Dataset) -> None:
    rows = [read(huge, split) for split in datasets.SPLITS]
    assert max(split.features.max(numeric_only=True).max() for split in rows) == 1e308
    trials = list(yardstick(huge, *rows, metric="auc", seed=1))
    assert [trial.scores[0].test > 0.7 for trial in trials if isinstance(trial, TrialDone)] == [True, True]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_yardstick_that_fails_is_left_out_with_its_reason(huge: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.shared.pipelines._LARGE", np.inf)
    rows = [read(huge, split) for split in datasets.SPLITS]
    first, second = yardstick(huge, *rows, metric="auc", seed=1)
    assert isinstance(first, TrialDone)
    assert isinstance(second, Message)
    assert second.level == "warning"
    assert second.text.startswith("The Linear yardstick is left out: ValueError: Input")


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "n_yardsticks"), [("Fitting the yardsticks", 0), ("Bringing the table into H2O", 2)])
def test_a_run_that_is_cancelled_before_it_has_a_model_ends_at_once(
    telco: Dataset, tmp_path: Path, stage: str, n_yardsticks: int
) -> None:
    wish = tmp_path / "cancel"
    events = []
    for event in job.run(spec_of(telco, budget_s=600), context_of(telco, tmp_path / "run", wish.exists)):
        events.append(event)
        if isinstance(event, Progress) and event.stage == stage:
            wish.touch()
            asked_at = time.monotonic()
    assert time.monotonic() - asked_at < 10
    assert len([event for event in events if isinstance(event, TrialDone)]) == n_yardsticks
    assert java_of(tmp_path) == []


@pytest.mark.slow
def test_without_folds_ensembles_learn_on_rows_that_their_members_have_not_seen(telco: Dataset, tmp_path: Path) -> None:
    spec = spec_of(telco, budget_s=20, algorithms=("GLM", "GBM", "StackedEnsemble"), max_models=3, folds=0)
    events = list(job.run(spec, context_of(telco, tmp_path)))
    found = {event.algorithm: event.params for event in events if isinstance(event, TrialDone) and not event.yardstick}
    assert set(found) == {"GLM", "GBM", "StackedEnsemble"}
    assert "without cross-validation" in " ".join(event.text for event in events if isinstance(event, Message))


@pytest.mark.parametrize(("budget_s", "asked", "used"), [(60, None, 5), (10, None, 0), (10, 3, 3), (3600, 0, 0)])
def test_folds_are_as_asked_and_else_as_the_budget_allows(
    telco: Dataset, tmp_path: Path, budget_s: int, asked: int | None, used: int
) -> None:
    spec = spec_of(telco, budget_s=budget_s, folds=asked)
    assert job._folds(spec, context_of(telco, tmp_path)) == used
