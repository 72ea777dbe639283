"""Splits: 60/20/20 within each class, the same every time; a file's own split is used as it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core import datasets
from core.datasets import splits
from core.datasets.files import scratch
from core.errors import InputError
from tests.core.datasets.small_tables import kinds, table, text_of

TASKS = {
    "adult": ("income", "binary", 2),
    "credit_g": ("class", "binary", 2),
    "hpc_jobs": ("class", "multiclass", 4),
    "wine_quality_white": ("quality", "multiclass", 7),
    "soybean": ("class", "multiclass", 19),
    "abalone": ("Rings", "regression", 0),
    "diamonds": ("price", "regression", 0),
}


QUICK = ("credit_g", "soybean", "abalone")  # one of each task; the others are larger


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]
)
def test_the_task_of_real_tables_is_inferred_and_each_class_is_split_60_20_20(home, data, name):
    target, task, n_classes = TASKS[name]
    dataset = datasets.register(data / "tabular" / f"{name}.csv", name=name, target=target)
    assert (dataset.task, len(dataset.labels)) == (task, n_classes)
    rows = pd.read_parquet(dataset.table)
    assert list(rows["row"]) == sorted(rows["row"])
    assert rows["split"].value_counts().to_dict() == dataset.n_rows
    strata = rows[dataset.target_column.key] if n_classes else pd.Series("all", index=rows.index)
    # Exact where no rows are equal: those stay together; and a regression target is rounded in each tenth.
    allowed = 0.05 if "duplicate_rows" in kinds(dataset.findings) else 0.0 if n_classes else 0.02
    for _, part in rows.groupby(strata)["split"]:
        for split, share in (("train", 0.6), ("valid", 0.2), ("test", 0.2)):
            assert abs((part == split).sum() - share * len(part)) <= allowed * len(part) + 1
            assert (part == split).any()


def test_the_same_seed_gives_the_same_split_and_another_seed_another(save_csv):
    path = save_csv(table(300))

    def split(name: str, seed: int) -> list[str]:
        return list(pd.read_parquet(datasets.register(path, name=name, target="y", seed=seed).table)["split"])

    first = split("a", 1)
    assert split("b", 1) == first
    assert split("c", 2) != first
    # Known answer: a change here would move rows between train and test of every registered dataset.
    assert first[:8] == ["train", "test", "test", "valid", "test", "train", "train", "test"]


def test_the_split_does_not_depend_on_the_number_of_threads(save_csv, own_duckdb):
    dataset = datasets.register(save_csv(table(5_000)), name="n", target="y")
    results = []
    for threads in (1, 4):
        with scratch.connect() as connection:
            connection.execute(f"SET threads = {threads}")
            splits.make(connection, dataset.table, ["c0", "c1", "c2"], "c2", regression=False, seed=1)
            results.append(connection.execute("SELECT split FROM splits").fetchall())
    assert results[0] == results[1] == [(split,) for split in pd.read_parquet(dataset.table)["split"]]


def test_the_official_split_of_trec_is_used(home, data):
    path = data / "text" / "trec.csv"
    assert datasets.inspect(path).split_columns == ("split",)
    dataset = datasets.register(
        path, name="trec", target="label", types={"fine_label": "ignored"}, split_column="split"
    )
    official = pd.read_csv(path, keep_default_na=False)["split"]
    assert dataset.n_rows["test"] == (official == "test").sum() == 500
    test_rows = pd.read_parquet(dataset.table).query("split == 'test'")["row"]
    assert set(test_rows) == set(official.index[official == "test"])
    assert abs(dataset.n_rows["valid"] - (official == "train").sum() / 5) <= 6
    assert dataset.modality == "text"
    assert "own_split" in kinds(dataset.findings)


def test_a_file_with_its_own_valid_part_gets_no_other_valid_rows(save_csv):
    parts = np.resize(["Train", " dev", "training", "TEST", "train"], 100)
    dataset = datasets.register(save_csv(table(100, part=parts)), name="own", target="y", split_column="part")
    assert dataset.n_rows == {"train": 60, "valid": 20, "test": 20}
    words = pd.Series(parts).str.strip().str.lower()
    expected = words.map({"train": "train", "training": "train", "dev": "valid", "test": "test"})
    assert pd.read_parquet(dataset.table)["split"].tolist() == expected.tolist()
    assert datasets.register(save_csv(table(100, part=parts)), name="not own", target="y").n_rows["train"] == 60
    assert datasets.get("own").fingerprint != datasets.get("not own").fingerprint


def test_test_rows_that_are_also_train_rows_are_reported(save_csv):
    frame = table(100, part=np.repeat(["train", "test"], 50))
    frame.loc[50:59, ["x", "group", "y"]] = frame.loc[0:9, ["x", "group", "y"]].to_numpy()
    dataset = datasets.register(save_csv(frame), name="leaky", target="y", split_column="part")
    assert "10 of 50 test rows" in text_of(dataset.findings, "own_split_leak")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (np.resize(["train", "test", "holdout"], 100), "33 rows of the split column 'part'.*'holdout'"),
        (np.resize(["train", "dev"], 100), "no test rows"),
        (np.where(np.resize([0, 1, 0], 100), "test", "train"), "1 class has fewer than 2 train rows.*yes"),
    ],
)
def test_an_unusable_split_column_is_refused(save_csv, part, message):
    with pytest.raises(InputError, match=message):
        datasets.register(save_csv(table(100, part=part)), name="odd", target="y", split_column="part")


def test_the_split_column_must_be_a_column_of_the_file_other_than_the_target(save_csv):
    for name in ("nothing", "y"):
        with pytest.raises(InputError, match=f"split column '{name}'"):
            datasets.register(save_csv(table(100)), name="odd", target="y", split_column=name)


def test_equal_rows_stay_in_one_split(save_csv):
    frame = pd.concat([table(400), table(400).head(100)])
    dataset = datasets.register(save_csv(frame), name="twins", target="y")
    assert "100 of 500 rows" in text_of(dataset.findings, "duplicate_rows")
    rows = pd.read_parquet(dataset.table)
    assert (rows.groupby(["c0", "c1", "c2"])["split"].nunique() == 1).all()


def test_a_table_of_few_patterns_is_still_split_into_three(save_csv):
    frame = pd.DataFrame({"a": ["p", "q"] * 60, "y": ["no", "no", "yes"] * 40})
    dataset = datasets.register(save_csv(frame), name="nominal", target="y")
    assert dataset.n_rows == {"train": 72, "valid": 24, "test": 24}


def test_a_class_of_three_rows_is_in_every_split(save_csv):
    dataset = datasets.register(save_csv(table(103, y=["rare"] * 3 + ["no", "yes"] * 50)), name="n", target="y")
    rows = pd.read_parquet(dataset.table)
    assert sorted(rows.loc[rows["c2"] == "rare", "split"]) == ["test", "train", "valid"]
    assert "imbalance" in kinds(dataset.findings)
