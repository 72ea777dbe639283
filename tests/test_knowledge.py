from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import datasets, knowledge, metafeatures, results
from core.__main__ import main
from core.datasets import Dataset
from core.errors import InputError
from core.events import TrialDone
from core.knowledge import Knowledge, imports
from core.knowledge.imports import Reading
from core.queue import jobs
from core.specs import AutoMLSpec
from core.store import database
from tests.engines import trial

TIDY = """dataset,candidate,error,fit_s,feature:n_rows
a,forest,0.1,2,100
a,linear,0.2,1,100
b,forest,0.3,4,200
b,linear,0.25,3,200
"""
DESCRIPTION = """scenario_id: TOY-2026
performance_measures:
- runtime
maximize:
- false
performance_type:
- runtime
algorithm_cutoff_time: 50
feature_steps:
  all:
    provides:
    - size
"""
RUNS = """@RELATION runs
% a comment
@ATTRIBUTE instance_id STRING
@ATTRIBUTE repetition NUMERIC
@ATTRIBUTE algorithm STRING
@ATTRIBUTE runtime NUMERIC
@ATTRIBUTE runstatus {ok, timeout}

@DATA
'one, quoted',1,fast,2,ok
'one, quoted',2,fast,4,ok
'one, quoted',1,slow,50,timeout
'one, quoted',2,slow,20,ok
two,1,fast,50,timeout
two,1,slow,?,ok
three,1,fast,7,ok
three,1,slow,8,ok
"""
FEATURES = """@RELATION features
@ATTRIBUTE instance_id STRING
@ATTRIBUTE repetition NUMERIC
@ATTRIBUTE 'size of it' NUMERIC
@ATTRIBUTE empty NUMERIC
@DATA
'one, quoted',1,10,?
'one, quoted',2,20,?
two,1,30,?
three,1,?,?
"""


def write(folder: Path, text: str, name: str = "runs.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def scenario(folder: Path, *, description: str = DESCRIPTION, runs: str = RUNS, features: str = FEATURES) -> Path:
    path = folder / "TOY"
    path.mkdir()
    for name, text in (
        ("description.txt", description), ("algorithm_runs.arff", runs), ("feature_values.arff", features)
    ):  # fmt: skip
        (path / name).write_text(text)
    return path


def pair(name: str, dataset: str, candidate: str) -> float:
    found: float = knowledge.from_scenario(name).errors.loc[f"{name}: {dataset}", candidate]
    return found


def test_a_tidy_file_becomes_a_scenario_with_its_errors_features_and_times(home: Path, tmp_path: Path) -> None:
    found, notes = imports.import_(write(tmp_path, TIDY), name="past", owner="ada")
    assert (found.n_datasets, found.n_candidates, found.n_rows) == (2, 2, 4)
    assert (found.metric, found.higher_is_better, found.owner, found.source) == ("error", False, "ada", "runs.csv")
    assert notes == ()
    assert knowledge.all_scenarios() == [found]
    known = knowledge.from_scenario("past")
    assert known.errors.loc["past: a"].to_dict() == {"forest": 0.1, "linear": 0.2}
    assert known.fit_s.loc["past: b"].to_dict() == {"forest": 4.0, "linear": 3.0}
    assert known.features["n_rows"].to_dict() == {"past: a": 100.0, "past: b": 200.0}
    assert set(known.about["origin"]) == {"past"}


def test_an_inspection_says_what_was_recognised_and_saves_nothing(home: Path, tmp_path: Path) -> None:
    found = imports.inspect(write(tmp_path, TIDY))
    assert (found.format, found.name, found.metric, found.higher_is_better) == ("tidy", "runs", "error", False)
    assert (found.roles.dataset, found.roles.candidate, found.roles.fit_s) == ("dataset", "candidate", "fit_s")
    assert (found.n_datasets, found.n_candidates, found.features, found.questions) == (2, 2, ("n_rows",), ())
    assert found.n_read == 4
    assert list(found.preview.columns) == ["dataset", "candidate", "error", "fit_s", "feature:n_rows"]
    assert found.preview.iloc[0].tolist() == ["a", "forest", 0.1, 2.0, 100.0]
    assert knowledge.all_scenarios() == []


def test_what_stops_an_import_is_a_question_of_the_inspection(home: Path, tmp_path: Path) -> None:
    found = imports.inspect(write(tmp_path, TIDY + "a,forest,0.3,2,100\n"))
    assert "contradicts itself" in str(found.questions[0])
    assert (found.roles.candidate, found.n_rows, len(found.preview)) == ("candidate", 0, 0)
    found = imports.inspect(write(tmp_path, TIDY), Reading(higher_is_better=True))
    assert "itself says that lower is better" in str(found.questions[0])


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


def test_runs_of_mlflow_are_read_by_the_words_of_the_user(home: Path, tmp_path: Path) -> None:
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
    found, notes = imports.import_(path, reading, name="s")
    assert (found.metric, found.higher_is_better) == ("auc", True)
    assert pair("s", "a", "x") == pytest.approx(0.15)  # repeated runs count as their mean
    assert pair("s", "b", "x") == pytest.approx(0.3)  # without the failed one
    assert list(knowledge.from_scenario("s").features.columns) == ["n_rows"]  # no metric, and nothing that is constant
    assert any("1 row that did not end well" in note for note in notes)


@pytest.mark.parametrize("packed", [False, True])
def test_an_aslib_scenario_is_read_with_par10_from_a_folder_and_from_a_zip(
    home: Path, tmp_path: Path, packed: bool
) -> None:
    path = scenario(tmp_path)
    if packed:
        with zipfile.ZipFile(tmp_path / "toy.zip", "w") as archive:
            for file in path.iterdir():
                archive.write(file, f"TOY/{file.name}")
        path = tmp_path / "toy.zip"
    found, notes = imports.import_(path)
    assert (found.name, found.metric, found.n_datasets, found.n_candidates) == ("TOY-2026", "runtime", 3, 2)
    assert pair("TOY-2026", "one, quoted", "fast") == 3
    assert pair("TOY-2026", "one, quoted", "slow") == (500 + 20) / 2  # a run over the limit counts ten times it
    assert np.isnan(pair("TOY-2026", "two", "slow"))
    known = knowledge.from_scenario("TOY-2026")
    assert known.features["size of it"].dropna().to_dict() == {"TOY-2026: one, quoted": 15, "TOY-2026: two": 30}
    assert known.fit_s.loc["TOY-2026: one, quoted", "slow"] == 20
    assert any("2 runs that did not end well: counted as 10 times the limit of 50 s" in note for note in notes)


def test_without_a_limit_an_unfinished_run_is_left_out_and_yes_is_a_yaml_truth(home: Path, tmp_path: Path) -> None:
    text = DESCRIPTION.replace("cutoff_time: 50", "cutoff_time: '?'")
    imports.import_(scenario(tmp_path, description=text), name="s")
    assert pair("s", "one, quoted", "slow") == 20
    quality = "scenario_id: Q\nperformance_measures: runtime\nmaximize: yes\nperformance_type: solution_quality\n"
    (tmp_path / "TOY" / "description.txt").write_text(quality)
    found, _ = imports.import_(tmp_path / "TOY")
    assert found.higher_is_better
    assert pair("Q", "one, quoted", "slow") == 1 - 35


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
        (Reading(encoding="klingon"), "no encoding 'klingon'"),
    ],
)
def test_a_word_of_the_user_that_does_not_fit_is_named(home: Path, tmp_path: Path, reading: Reading, said: str) -> None:
    with pytest.raises(InputError, match=said):
        imports.import_(write(tmp_path, TIDY), reading)


def test_rows_that_say_nothing_are_left_out_and_counted_and_repeats_count_once(home: Path, tmp_path: Path) -> None:
    extra = "a,forest,0.1,2,100\nb,tree,inf,1,200\nb,tree,,1,200\n,forest,0.5,1,\n"
    found, notes = imports.import_(write(tmp_path, TIDY + extra), name="s")
    assert found.n_rows == 4
    assert "1 row repeats another one: counted once." in notes
    assert "1 row without a dataset or a candidate: left out." in notes
    assert "2 rows in which 'error' is missing, infinite or not a number: left out." in notes


def test_contradicting_rows_are_averaged_where_the_user_says_so(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path, TIDY + "a,forest,0.3,2,100\n")
    _, notes = imports.import_(path, Reading(average=True), name="s")
    assert pair("s", "a", "forest") == pytest.approx(0.2)
    assert any("1 pair of a dataset and a candidate has several runs: their mean counts" in note for note in notes)


def test_unknown_columns_and_missing_features_are_told(home: Path, tmp_path: Path) -> None:
    text = "dataset,candidate,error,colour,n,always\na,x,1,red,5,1\na,y,2,red,6,1\nb,x,3,blue,7,1\nb,y,4,red,8,1\n"
    found = imports.inspect(write(tmp_path, text))
    assert found.features == ()
    assert any(note.startswith("No meta-features") for note in found.notes)
    assert any(note.endswith(": colour, n, always.") for note in found.notes)


def test_per_cent_are_pointed_at(home: Path, tmp_path: Path) -> None:
    found = imports.inspect(write(tmp_path, "dataset,candidate,accuracy\na,x,90\na,y,80\nb,x,70\nb,y,60\n"))
    assert any("values up to 90" in note and "per cent" in note for note in found.notes)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"description": ""}, "must give performance_measures"),
        (
            {"runs": RUNS.replace("two,1,slow", "two,slow")},
            r"runs.arff, line 15: the header has 5 attributes",
        ),
        ({"runs": RUNS.replace("'one, quoted',2,fast", "'one, quoted,2,fast")}, "a quote is not closed"),
        ({"runs": RUNS.replace("@DATA", "")}, "no line @DATA"),
        ({"runs": RUNS.replace("runstatus", "state")}, "no attribute runstatus"),
        ({"runs": RUNS.replace("runtime", "repetition")}, "attribute 'repetition' twice"),
        ({"runs": RUNS.partition("@DATA")[0] + "@DATA\n"}, "no rows after @DATA"),
        ({"runs": RUNS + "{0 a}\n"}, "sparse rows"),
    ],
)
def test_a_broken_scenario_is_refused_with_its_place(
    home: Path, tmp_path: Path, files: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        imports.import_(scenario(tmp_path, **files))


def test_a_folder_that_is_no_scenario_and_a_file_that_is_not_there_are_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=r"photos is not an ASlib scenario: it has no description.txt and no"):
        imports.import_(tmp_path / "photos")
    with pytest.raises(InputError, match=r"gone\.csv cannot be read"):
        imports.import_(tmp_path / "gone.csv")


def test_a_zip_bomb_is_refused(home: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("description.txt", "w", force_zip64=True) as entry:
            for _ in range(257):
                entry.write(bytes(2**20))
        archive.writestr("algorithm_runs.arff", RUNS)
    with pytest.raises(InputError, match="ZIP bomb"):
        imports.import_(tmp_path / "bomb.zip")


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
    found, notes = imports.import_(tmp_path / "large.parquet")
    assert (found.n_datasets, found.n_candidates, found.n_rows, notes) == (5_000, 200, 1_000_000, ())
    known = knowledge.from_scenario("large")
    assert known.errors.loc["large: dataset 4999", "candidate 199"] == 0.999999
    assert known.features.loc["large: dataset 17", "size"] == 17


@pytest.mark.parametrize(
    ("table", "metric", "shape", "sbs"),
    [
        ("openml_weka2017", None, (105, 30, 103), 1 - 0.8557),
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


@pytest.fixture
def ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
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


def finish(dataset: Dataset, *trials: TrialDone) -> None:
    """A finished job on the dataset with these trials."""
    jobs.submit(AutoMLSpec(dataset_id=dataset.id))
    job = jobs.claim("w")
    assert job is not None
    results.record(job, trials)
    jobs.finish(job, "succeeded")


def describe(dataset: Dataset, **features: float) -> None:
    with database.transaction(write=True) as connection:
        for name, value in features.items():
            connection.execute("INSERT INTO meta_features VALUES (?, ?, ?)", [dataset.id, name, value])


def same(one: Knowledge) -> bool:
    return one.features.index.equals(one.errors.index) and one.errors.index.equals(one.about.index)


def test_what_ships_is_told_by_kind_of_task_with_its_marks(home: Path, ships: Path) -> None:
    found = knowledge.from_shipped_file("classification")
    assert list(found.errors.index) == ["iris", "small"]
    assert found.errors.loc["iris"].to_dict() == {"H2O GBM": 0.1, "H2O GLM": 0.2}
    assert np.isnan(found.errors.loc["small", "H2O GBM"])
    assert found.features.loc["small"].to_dict() == {"n": 6.0, "skew": 0.25}
    assert found.about.loc["iris", ["origin", "mark", "task", "metric"]].tolist() == [
        "shipped", "real table", "multiclass", "log_loss",
    ]  # fmt: skip
    assert list(knowledge.from_shipped_file("regression").errors.index) == ["friedman"]


def test_small_shipped_datasets_are_left_out_and_no_error_is_worse_than_chance(home: Path, ships: Path) -> None:
    rows = pd.read_parquet(ships).assign(**{"feature:n_rows": [100.0, 100.0, 300.0, 500.0]})
    rows.loc[rows["task"] == "small", "error"] = 0.9
    rows.loc[rows["task"] == "friedman", "error"] = 123.0
    rows.to_parquet(ships)
    assert knowledge.from_shipped_file("classification").errors["H2O GLM"].to_dict() == {"small": 0.5}
    assert knowledge.from_shipped_file("regression").errors["H2O GBM"].to_dict() == {"friedman": 1.0}


def test_of_own_trials_the_one_that_valid_chose_counts_by_its_test_error(dataset: Dataset, ships: Path) -> None:
    chosen, lucky = trial("chosen", error=0.2), trial("lucky", error=0.3)
    lucky = replace(lucky, scores=tuple(replace(score, test_error=0.01) for score in lucky.scores))
    finish(dataset, chosen, lucky, trial("other", error=0.25, algorithm="GLM"))
    describe(dataset, n=80.0)
    found = knowledge.from_jobs("classification")
    assert found.errors.loc["small"].to_dict() == {"H2O GBM": 0.2, "H2O GLM": 0.25}
    assert found.fit_s.loc["small", "H2O GBM"] == 1.5
    assert found.features.loc["small"].to_dict() == {"n": 80.0}
    assert found.about.loc["small", "metric"] == "auc"
    assert len(knowledge.from_jobs("regression").about) == 0


def test_the_error_of_a_regression_has_no_unit(home: Path, ships: Path, tmp_path: Path) -> None:
    lines = "\n".join(f"{n % 17},{n % 13}.5" for n in range(90))
    dataset = datasets.register(write(tmp_path, f"x,y\n{lines}\n", "numbers.csv"), name="numbers", target="y")
    assert dataset.task == "regression"
    scores = tuple(
        replace(trial().scores[0], metric=metric, valid_error=error, test_error=error)
        for metric, error in (("rmse", 1234.0), ("mae", 1000.0), ("r2", 0.3))
    )
    finish(dataset, replace(trial(), metric="rmse", scores=scores))
    found = knowledge.from_jobs("regression")
    assert found.errors.loc["numbers", "H2O GBM"] == 0.3
    assert found.about.loc["numbers", ["origin", "task", "metric"]].tolist() == ["own", "regression", "r2"]
    assert list(knowledge.gather("regression").errors.index) == ["numbers", "friedman"]


def test_own_datasets_stand_in_place_of_shipped_ones_of_their_name_or_content(dataset: Dataset, ships: Path) -> None:
    finish(dataset, trial(error=0.2))
    describe(dataset, n=80.0, depth=3.0)
    found = knowledge.gather("classification")
    assert same(found)
    assert found.about["origin"].to_dict() == {"small": "own", "iris": "shipped"}
    assert found.errors.loc["small", "H2O GBM"] == pytest.approx(0.2)
    assert np.isnan(found.errors.loc["small", "H2O GLM"])  # known of the shipped one only
    assert set(found.features.columns) == {"n", "depth", "skew"}
    rows = pd.read_parquet(ships)
    rows["fingerprint"] = np.where(rows["task"] == "iris", dataset.fingerprint, "another")
    rows.to_parquet(ships)
    assert list(knowledge.gather("classification").about.index) == ["small"]


def test_a_scenario_counts_if_it_has_half_of_our_meta_features(home: Path, ships: Path, tmp_path: Path) -> None:
    text = TIDY.replace("feature:n_rows", "feature:{}")
    imports.import_(write(tmp_path, text.format("n")), name="near")
    imports.import_(write(tmp_path, text.format("other")), name="far")
    imports.import_(write(tmp_path, text.format("n").replace("error", "rmse")), name="numbers")
    found = knowledge.gather("classification")
    assert same(found)
    assert list(found.about["origin"]) == ["shipped", "shipped", "near", "near"]
    assert found.features.loc["near: b", "n"] == 200
    assert found.errors.loc["near: a", "forest"] == 0.1
    assert set(found.errors.columns) == {"H2O GBM", "H2O GLM", "forest", "linear"}
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
    found = knowledge.gather("classification")
    assert same(found)
    assert (len(found.errors), len(found.features), len(found.about)) == (0, 0, 0)


def test_the_stamp_changes_with_what_is_known_and_with_nothing_else(
    dataset: Dataset, ships: Path, tmp_path: Path
) -> None:
    stamps = [knowledge.stamp()]
    assert knowledge.stamp() == stamps[0]
    finish(dataset, trial())
    stamps.append(knowledge.stamp())
    describe(dataset, n=80.0)
    stamps.append(knowledge.stamp())
    imports.import_(write(tmp_path, TIDY), name="past")
    stamps.append(knowledge.stamp())
    knowledge.remove("past")
    assert knowledge.stamp() == stamps[2]
    pd.read_parquet(ships).head(3).to_parquet(ships)
    stamps.append(knowledge.stamp())
    assert len(set(stamps)) == 5


def test_a_script_can_check_import_list_and_remove(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write(tmp_path, "data,model,score\na,x,0.9\na,y,0.75\nb,x,0.5\nb,y,0.6\n"))
    assert main(["knowledge", "import", path, "--check"]) == 0
    assert "Is a higher score better" in capsys.readouterr().out
    assert main(["knowledge", "import", path]) == 1
    assert "higher_is_better" in capsys.readouterr().err
    assert main(["knowledge", "import", path, "--higher-is-better", "--metric", "AUC", "--name", "mine"]) == 0
    out = capsys.readouterr()
    assert out.out == "mine: 2 datasets x 2 candidates\n"
    assert "No meta-features" in out.err
    assert main(["knowledge", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["metric"], each["n_rows"]) for each in listed] == [("mine", "AUC", 4)]
    assert listed[0]["advises"] is False
    assert main(["knowledge", "list"]) == 0
    assert "mine" in capsys.readouterr().out
    assert main(["knowledge", "remove", "mine"]) == 0
    assert main(["knowledge", "remove", "mine"]) == 1
    assert "no scenario 'mine'" in capsys.readouterr().err
