"""Imports of tidy tables and MLflow's runs: what is recognised, asked, averaged, refused and saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import knowledge
from core.errors import InputError
from core.knowledge import imports
from core.knowledge.recognition import Reading
from core.store import database
from tests.core.knowledge.run_files import TIDY, pair, write


def test_a_tidy_file_becomes_a_scenario_with_its_errors_features_and_times(home: Path, tmp_path: Path) -> None:
    scenario, notes = imports.import_(write(tmp_path, TIDY), name="past", owner="ada")
    assert (scenario.n_datasets, scenario.n_candidates, scenario.n_rows) == (2, 2, 4)
    assert (scenario.metric, scenario.higher_is_better, scenario.owner, scenario.source) == (
        "error",
        False,
        "ada",
        "runs.csv",
    )
    assert notes == ()
    assert knowledge.all_scenarios() == [scenario]
    known = knowledge.from_scenario("past")
    assert known.errors.loc["past: a"].to_dict() == {"forest": 0.1, "linear": 0.2}
    assert known.fit_s.loc["past: b"].to_dict() == {"forest": 4.0, "linear": 3.0}
    assert known.features["n_rows"].to_dict() == {"past: a": 100.0, "past: b": 200.0}
    assert set(known.about["origin"]) == {"past"}


def test_an_inspection_says_what_was_recognised_and_saves_nothing(home: Path, tmp_path: Path) -> None:
    inspection = imports.inspect(write(tmp_path, TIDY))
    assert (inspection.format, inspection.name, inspection.metric, inspection.higher_is_better) == (
        "tidy",
        "runs",
        "error",
        False,
    )
    assert (inspection.roles.dataset, inspection.roles.candidate, inspection.roles.fit_s) == (
        "dataset",
        "candidate",
        "fit_s",
    )
    assert (inspection.n_datasets, inspection.n_candidates, inspection.features, inspection.questions) == (
        2,
        2,
        ("n_rows",),
        (),
    )
    assert inspection.n_read == 4
    assert list(inspection.preview.columns) == ["dataset", "candidate", "error", "fit_s", "feature:n_rows"]
    assert inspection.preview.iloc[0].tolist() == ["a", "forest", 0.1, 2.0, 100.0]
    assert knowledge.all_scenarios() == []


def test_what_stops_an_import_is_a_question_of_the_inspection(home: Path, tmp_path: Path) -> None:
    inspection = imports.inspect(write(tmp_path, TIDY + "a,forest,0.3,2,100\n"))
    assert "contradicts itself" in str(inspection.questions[0])
    assert (inspection.roles.candidate, inspection.n_rows, len(inspection.preview)) == ("candidate", 0, 0)
    inspection = imports.inspect(write(tmp_path, TIDY), Reading(higher_is_better=True))
    assert "itself says that lower is better" in str(inspection.questions[0])


def test_a_metric_of_which_more_is_better_is_turned_into_an_error(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "task,model,accuracy\na,x,0.9\na,y,0.75\nb,x,0.5\nb,y,0.6\n")
    imports.import_(path, name="s")
    assert pair("s", "a", "y") == 0.25
    assert knowledge.get("s").higher_is_better


def test_folds_are_averaged_and_said(home: Path, tmp_path: Path) -> None:
    rows = "".join(f"{d},{c},{fold},{fold / 10}\n" for d in "ab" for c in "xy" for fold in (1, 2, 3))
    _, notes = imports.import_(write(tmp_path, "dataset,algorithm,fold,error\n" + rows), name="s")
    assert pair("s", "a", "x") == pytest.approx(0.2)
    assert "Errors are means over the 3 values of 'fold'." in notes


def test_features_may_come_in_a_second_file_as_parquet(home: Path, tmp_path: Path) -> None:
    second = tmp_path / "described.parquet"
    pd.DataFrame({"dataset": ["a", "c"], "skew": [1.5, 2.0], "note": ["x", "y"]}).to_parquet(second)
    _, notes = imports.import_(write(tmp_path, TIDY), Reading(features=second), name="s")
    known = knowledge.from_scenario("s")
    assert known.features["skew"].to_dict() == {"s: a": 1.5, "s: b": pytest.approx(np.nan, nan_ok=True)}
    assert "1 dataset has no meta-features." in notes
    assert any("note" in note and "ignored" in note for note in notes)


def test_a_second_file_on_other_datasets_is_refused(home: Path, tmp_path: Path) -> None:
    second = write(tmp_path, "dataset,skew\nA,1\nB,2\n", "described.csv")
    with pytest.raises(InputError, match=r"None of the datasets in runs\.csv"):
        imports.import_(write(tmp_path, TIDY), Reading(features=second))


def test_runs_of_mlflow_are_read_as_the_user_says(home: Path, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "run_id,status,params.data_name,params.kind,params.n_rows,params.seed,metrics.auc,metrics.loss\n"
        "1,FINISHED,a,x,10,7,0.8,1\n2,FINISHED,a,x,10,7,0.9,2\n3,FINISHED,a,y,10,7,0.5,3\n"
        "4,FAILED,b,x,20,7,0.1,4\n5,FINISHED,b,x,20,7,0.7,5\n6,FINISHED,b,y,20,7,0.6,6\n",
    )
    first = imports.inspect(path)
    assert first.format == "mlflow"
    assert first.metrics == ("metrics.auc", "metrics.loss")
    assert len(first.questions) == 3  # dataset, candidate, metric
    reading = Reading(dataset="data_name", candidate="params.kind", metric="auc")
    inspection, notes = imports.import_(path, reading, name="s")
    assert (inspection.metric, inspection.higher_is_better) == ("auc", True)
    assert pair("s", "a", "x") == pytest.approx(0.15)  # repeated runs count as their mean
    assert pair("s", "b", "x") == pytest.approx(0.3)  # without the failed one
    assert list(knowledge.from_scenario("s").features.columns) == ["n_rows"]  # no metric, and nothing that is constant
    assert any("1 row that did not end well" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataset,candidate,error\na,x,1\na,x,2\na,y,1\nb,x,1\nb,y,1\n", r"'a', candidate 'x' has the values 1 and 2"),
        ("dataset,candidate,error\na,x,1\na,y,1\n", "usable runs of 1 dataset and 2 candidates"),
        ("dataset,candidate,error\na,x,1\nb,x,1\n", "at least 2 of each"),
        ("dataset,candidate,error\na,x,inf\nb,y,nan\n", "usable runs of 0 datasets"),
        ("dataset,candidate,error,status\na,x,1,new\nb,y,2,old\n", r"2 rows that did not end well \(by 'status'\)"),
        ("name,candidate,error\na,x,1\n", "Which column of runs.csv names the dataset"),
        ("dataset,candidate,speed\na,x,1\n", "holds the error or a metric"),
        ("dataset,candidate,accuracy,auc\na,x,1,1\n", "several metrics: accuracy, auc"),
        ("dataset,candidate,metric,value\na,x,auc,1\na,x,rmse,1\n", "several metrics: auc, rmse"),
        ("dataset,candidate,value\na,x,1\n", "Is a higher value better"),
        ("dataset,candidate,value,maximize\na,x,1,true\na,y,1,false\n", "mixes directions"),
        ("dataset,candidate,error,feature:kind\na,x,1,blue\na,y,1,blue\nb,x,1,red\nb,y,1,red\n", "holds texts"),
        ("dataset,candidate,error,feature:n\na,x,1,1\na,y,1,2\nb,x,1,1\nb,y,1,1\n", "several values for one dataset"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_a_sentence(
    home: Path, tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        imports.import_(write(tmp_path, text))
    assert knowledge.all_scenarios() == []


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (Reading(dataset="set"), "no column 'set'. It has dataset, candidate, error"),
        (Reading(metric="f1"), "no metric 'f1'"),
        (Reading(higher_is_better=True), "itself says that lower is better"),
        (Reading(dataset="candidate"), "names both dataset and candidate"),
        (Reading(encoding="klingon"), "There is no encoding 'klingon'"),
    ],
)
def test_a_reading_that_does_not_fit_the_file_is_refused(
    home: Path, tmp_path: Path, reading: Reading, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        imports.import_(write(tmp_path, TIDY), reading)


def test_rows_without_a_value_are_left_out_and_repeats_count_once(home: Path, tmp_path: Path) -> None:
    extra = "a,forest,0.1,2,100\nb,tree,inf,1,200\nb,tree,,1,200\n,forest,0.5,1,\n"
    scenario, notes = imports.import_(write(tmp_path, TIDY + extra), name="s")
    assert scenario.n_rows == 4
    assert "1 row repeats another one: counted once." in notes
    assert "1 row without a dataset or a candidate: left out." in notes
    assert "2 rows in which 'error' is missing, infinite or not a number: left out." in notes


def test_contradicting_rows_are_averaged_where_the_user_says_so(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path, TIDY + "a,forest,0.3,2,100\n")
    _, notes = imports.import_(path, Reading(average=True), name="s")
    assert pair("s", "a", "forest") == pytest.approx(0.2)
    assert any("1 pair of a dataset and a candidate has several runs: their mean counts" in note for note in notes)


def test_per_cent_is_noted(home: Path, tmp_path: Path) -> None:
    inspection = imports.inspect(write(tmp_path, "dataset,candidate,accuracy\na,x,90\na,y,80\nb,x,70\nb,y,60\n"))
    assert any("values up to 90" in note and "per cent" in note for note in inspection.notes)


def test_a_name_is_taken_once_and_free_again_after_removal(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path, TIDY)
    imports.import_(path, name="past")
    with pytest.raises(InputError, match="'past' is taken"):
        imports.import_(path, name="past")
    with pytest.raises(InputError, match="cannot be used"):
        imports.import_(path, name="../past")
    knowledge.remove("past")
    with pytest.raises(InputError, match="no scenario 'past'"):
        knowledge.remove("past")
    with database.transaction() as connection:
        tables = ("knowledge_errors", "knowledge_features", "knowledge_scenarios")
        assert [connection.execute(f"SELECT count(*) FROM {table}").fetchall() for table in tables] == [[(0,)]] * 3
    imports.import_(path, name="past")


@pytest.mark.slow
def test_a_million_rows_are_imported(home: Path, tmp_path: Path) -> None:
    n_datasets, n_candidates = 5_000, 200
    frame = pd.DataFrame(
        {
            "dataset": np.repeat([f"dataset {i}" for i in range(n_datasets)], n_candidates),
            "candidate": np.tile([f"candidate {i}" for i in range(n_candidates)], n_datasets),
            "error": np.arange(n_datasets * n_candidates) / 1e6,
            "feature:size": np.repeat(np.arange(n_datasets), n_candidates),
        }
    )
    frame.to_parquet(tmp_path / "large.parquet")
    scenario, notes = imports.import_(tmp_path / "large.parquet")
    assert (scenario.n_datasets, scenario.n_candidates, scenario.n_rows, notes) == (5_000, 200, 1_000_000, ())
    known = knowledge.from_scenario("large")
    assert known.errors.loc["large: dataset 4999", "candidate 199"] == 0.999999
    assert known.features.loc["large: dataset 17", "size"] == 17


def test_unknown_columns_and_missing_features_are_noted(home: Path, tmp_path: Path) -> None:
    text = "dataset,candidate,error,colour,n,always\na,x,1,red,5,1\na,y,2,red,6,1\nb,x,3,blue,7,1\nb,y,4,red,8,1\n"
    inspection = imports.inspect(write(tmp_path, text))
    assert inspection.features == ()
    assert any(note.startswith("No meta-features") for note in inspection.notes)
    assert any(note.endswith(": colour, n, always.") for note in inspection.notes)


@pytest.mark.parametrize(
    ("table", "metric", "shape", "sbs"),
    [
        pytest.param("openml_weka2017", None, (105, 30, 103), 1 - 0.8557, marks=pytest.mark.slow),
        ("autosklearn2016", "bac_error", (140, 96, 46), 0.272),
    ],
)
def test_real_tables_give_the_known_error_of_the_single_best_candidate(
    home: Path, data: Path, table: str, metric: str | None, shape: tuple[int, int, int], sbs: float
) -> None:
    reading = Reading(metric=metric, features=data / f"meta_{table}_features.parquet")
    imports.import_(data / f"meta_{table}_runs.parquet", reading, name="s")
    known = knowledge.from_scenario("s")
    assert (*known.errors.shape, known.features.shape[1]) == shape
    assert known.errors.mean().min() == pytest.approx(sbs, abs=5e-4)
