"""What is handed out with a model reads a user's own file as the training table was read."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from core import datasets
from core.datasets import Dataset
from core.datasets.files.tables import MISSING
from core.scoring import score
from runner.automl import job, predict_template
from runner.automl.frames import read
from tests.test_automl import context_of, models_of, score_outside, spec_of, unpack

COLUMNS = [
    {"name": "age", "key": "c0", "type": "numeric"},
    {"name": "column 2", "key": "c1", "type": "text"},
    {"name": "zip (2)", "key": "c3", "type": "text"},
]


@pytest.fixture
def schema(monkeypatch: pytest.MonkeyPatch) -> None:
    filled = {"target": "y", "levels": [], "columns": COLUMNS, "missing": list(MISSING)}
    monkeypatch.setattr(predict_template, "SCHEMA", filled)


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


@pytest.mark.slow
def test_the_users_own_file_is_scored_as_its_rows_were_by_the_engine(
    own: tuple[Dataset, list[str]], tmp_path: Path
) -> None:
    dataset, lines = own
    types = {column.name: column.type for column in dataset.columns}
    assert (types["zip code"], types["seen"], types["Job (2)"]) == ("categorical", "datetime", "categorical")
    spec = spec_of(dataset, budget_s=10, algorithms=("GLM", "GBM"), max_models=2, folds=0)
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
        out = score_outside(unpack(events, trial.candidate, tmp_path / trial.candidate), file)
        shares = out[[f"probability of {label}" for label in dataset.labels]].to_numpy(float)
        again = score("binary", dataset.labels, (actual, shares), (actual, shares))
        for metric, one, other in zip(trial.scores, again, trial.scores, strict=True):
            assert (one.test, one.lower) == pytest.approx((other.test, other.lower), abs=1e-6), metric.metric


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("1912-04-10 12:00:00", "datetime", "-1821700800.0"),
        ("1970/1/1 1:00", "datetime", "3600.0"),
        ("tomorrow", "datetime", ""),
        ("2020-02-30", "datetime", ""),
        ("1.0", "number as text", "1"),
        ("1.5", "number as text", "1.5"),
        ("00501", "text", "00501"),
        (" lead", "text", "lead"),
        ("\u00a0both ", "text", "both"),
        ("\tkept", "text", "\tkept"),
        ("?", "text", ""),
        (" NA", "text", ""),
        ("none", "text", "none"),
        (" 1e3", "numeric", "1000.0"),
        ("inf", "numeric", ""),
        ("?", "numeric", ""),
        ("", "numeric", ""),
    ],
)
def test_the_scoring_script_reads_a_value_as_the_dataset_did(schema: None, text: str, kind: str, expected: str) -> None:
    assert predict_template.convert(predict_template.clean(text), kind) == expected


def test_times_and_blanks_are_read_as_registration_reads_them(schema: None, home: Path, tmp_path: Path) -> None:
    times = ["2020-01-05T03:04:05Z", "2020-01-05 3:04", "2020/1/5", "2020-01-05 10:00:00.5+01:30", "1969-12-31 23:59"]
    words = [" a", "b ", "\u3000c", "NA", " ?", "  -  ", "", " ", "None", "none"]
    lines = [f'{times[i % 5]},"{words[i % 10]}",{i % 7 % 2}' for i in range(40)]
    path = tmp_path / "times.csv"
    path.write_text("\n".join(["time,word,y", *lines]), "utf-8")
    dataset = datasets.register(path, name="times", target="y", types={"word": "categorical"})
    stored = datasets.load(dataset)
    seconds = (stored["c0"] - pd.Timestamp(0)) / pd.Timedelta(seconds=1)
    assert [float(predict_template.convert(times[i % 5], "datetime")) for i in range(40)] == list(seconds)
    assert [predict_template.clean(words[i % 10]) or None for i in range(40)] == [
        None if pd.isna(word) else word for word in stored["c1"]
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_scoring_script_finds_the_delimiter_and_the_names_of_the_training_table(
    schema: None, tmp_path: Path, delimiter: str
) -> None:
    lines = [["ZIP", "", " age ", "zip"], ["1", "a;b,c|d\te", "3", "007"], ["1", " ?", " 4", "NA"]]
    with (tmp_path / "in.csv").open("w", encoding="utf-8-sig", newline="") as file:
        file.write("\r\n")
        csv.writer(file, delimiter=delimiter).writerows([lines[0], lines[1], [], lines[2]])
    predict_template.rename(str(tmp_path / "in.csv"), str(tmp_path / "out.csv"))
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["c0", "c1", "c3"], ["3.0", "a;b,c|d\te", "007"], ["4.0", "", ""]]


def test_the_scoring_script_names_a_column_that_the_input_lacks(schema: None, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("Age\n3\n")
    with pytest.raises(SystemExit, match=r"in.csv lacks the columns \['age', 'column 2', 'zip \(2\)'\]"):
        predict_template.rename(str(tmp_path / "in.csv"), str(tmp_path / "out.csv"))
