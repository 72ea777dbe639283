"""The folder of a downloaded H2O model predicts a user's own file as the engine predicted its rows."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from core import datasets, results
from core.datasets import Dataset
from core.events import Message
from core.queue import jobs
from core.results import downloads
from runner import loop
from runner.automl import job
from runner.shared.rows import read
from tests.model_folders import predict, predictor_files, unpack
from tests.runner.automl.h2o_runs import check_scores, context_of, java, models_of, predictions, spec_of

pytestmark = [pytest.mark.h2o, pytest.mark.slow]


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


@pytest.fixture
def own(home: Path, data: Path, tmp_path: Path) -> tuple[Dataset, list[str]]:
    """A file as people have it, registered: codes with zeros, padded words, "?" and "NA", times, 1.0 for a class."""
    table = pd.read_csv(data / "tabular/adult.csv", dtype=str, keep_default_na=False).head(3_000)
    years = table["educational-num"].astype(int)
    frame = pd.DataFrame(
        {
            " zip  code": [f"{year:05d}" for year in years],
            "work": [" " + word.replace("?", "NA") for word in table["workclass"]],
            "job": table["occupation"] + " ",
            "Job": table["occupation"].where(table["occupation"] != "?", " ?"),
            "married": table["marital-status"].map({"Married-civ-spouse": "1.0"}).fillna("2.0"),
            "seen": pd.to_datetime("2021-03-01 22:00") + pd.to_timedelta(table["age"].astype(int) * 7, unit="h"),
            "gain": table["capital-gain"],
            "income": table["income"],
        }
    )
    frame["seen"] = frame["seen"].dt.strftime("%Y/%m/%d %H:%M:%S+02")
    path = tmp_path / "own.csv"
    frame.to_csv(path, index=False, sep=";", encoding="utf-8-sig")
    types = {"zip code": "categorical", "married": "categorical"}
    return datasets.register(path, name="own", target="income", types=types), path.read_text("utf-8").splitlines()


def test_the_users_own_file_is_scored_as_its_rows_were_by_the_engine(
    own: tuple[Dataset, list[str]], tmp_path: Path
) -> None:
    dataset, lines = own
    types = {column.name: column.type for column in dataset.columns}
    assert (types["zip code"], types["seen"], types["Job (2)"]) == ("categorical", "datetime", "categorical")
    spec = spec_of(dataset, budget_s=40, algorithms=("GLM", "GBM"), max_models=2, folds=0)
    events = list(job.run(spec, context_of(dataset, tmp_path)))
    actual = read(dataset, "test").actual
    rows = datasets.load(dataset, "test")
    assert {"00013", "1"} < {*rows["c0"], *rows["c4"]}
    file = "\n".join([lines[0], *(lines[1 + number] for number in rows.index)])
    models = models_of(events)
    assert {trial.algorithm for trial in models} == {"GLM", "GBM"}
    for trial in models:
        used = {row["feature"] for row in trial.details["importance"]}
        assert used >= {"zip code", "work", "job", "Job (2)", "married", "seen"}
        out = predictions(unpack(events, trial.candidate, tmp_path / trial.candidate), file)
        check_scores(trial, dataset, actual, out)


def test_a_submitted_job_ends_with_a_leaderboard_and_a_download_that_predicts(telco: Dataset, tmp_path: Path) -> None:
    spec = spec_of(telco, budget_s=40, algorithms=("GLM",), folds=0)
    job_id = jobs.submit(spec)
    assert loop.run_once("test") == job_id
    assert jobs.overview(job_id=job_id).status[0] == "succeeded"
    board = results.leaderboard(telco.id)
    assert set(board["algorithm"]) >= {"HistGradientBoosting", "Linear", "GLM"}
    trial = results.trial(int(board[board["algorithm"] == "GLM"]["trial_id"].iloc[0]))
    archive = downloads.bundle_trial(trial)
    assert archive is not None
    assert downloads.bundle_trial(trial) == archive  # written once
    zipfile.ZipFile(archive).extractall(tmp_path / "box")
    names = {str(path.relative_to(tmp_path / "box")) for path in (tmp_path / "box").rglob("*") if path.is_file()}
    assert names == {"README.txt", "example.csv", "h2o-genmodel.jar", "model.zip", *predictor_files("h2o")}
    out = predict(tmp_path / "box", "example.csv", env=java())
    assert list(out["row"]) == ["1", "2", "3", "4", "5"]
    baseline_id = int(board[board["yardstick"]]["trial_id"].iloc[0])
    assert downloads.bundle_trial(results.trial(baseline_id)) is None


def test_odd_names_times_and_classes_come_back_as_they_were(odd: Dataset, tmp_path: Path) -> None:
    spec = spec_of(odd, budget_s=40, algorithms=("GLM", "GBM"), max_models=2, folds=0)
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
        out = predictions(unpack(events, trial.candidate, tmp_path / trial.candidate), rows)
        assert set(out[odd.target]) == set(odd.labels)
        check_scores(trial, odd, actual, out)
        assert trial.scores[0].test > 0.75
        assert {row["feature"] for row in trial.details["importance"]} <= {c.name for c in odd.features}
    with (tmp_path / "artifacts/example.csv").open(encoding="utf-8", newline="") as example:
        assert next(csv.reader(example)) == [column.name for column in odd.features]
