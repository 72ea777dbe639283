"""Registration: which rows and columns are used, what is reported, and what is refused."""

from __future__ import annotations

import errno
import os

import numpy as np
import pandas as pd
import pytest

from core import datasets
from core.errors import InputError, MetascoutError
from tests.core.datasets.small_tables import column, kinds, table, text_of


def test_an_id_added_to_telco_churn_is_ignored_unless_it_gets_a_type(save_csv, data):
    frame = pd.read_csv(data / "tabular" / "telco_churn.csv", nrows=1_000)
    path = save_csv(frame.assign(customer=[f"{i:04d}-AB" for i in range(len(frame))]))
    dataset = datasets.register(path, name="telco", target="churn")
    assert "customer" not in [feature.name for feature in dataset.features]
    chosen = datasets.register(path, name="telco chosen", target="churn", types={"customer": "text"})
    assert chosen.features[-1].name == "customer"


@pytest.mark.parametrize(
    ("changes", "choices", "parts"),
    [
        ({"y": "same"}, {}, ["'y' has the same value in every row"]),
        ({"y": None}, {}, ["'y' has no values"]),
        ({}, {"target": "Y"}, ["no column 'Y'", "mean 'y'"]),
        ({"y": [f"k{i % 250}" for i in range(1_000)]}, {}, ["'y' has 250 classes", "200", "regression"]),
        ({"y": ["rare"] + ["no", "yes", "no"] * 333}, {}, ["fewer than 3 rows", "'rare' (1)", "drop rare classes"]),
        ({"y": ["no", "yes"] * 9 + [None] * 982}, {}, ["18 rows have a usable 'y'", "20"]),
        ({"x": 1, "group": None}, {}, ["There is no column to predict 'y' from"]),
        ({}, {"task": "regression"}, ["1,000 values that are not numbers, such as 'no'", "classification"]),
        ({}, {"task": "multiclass"}, ["2 classes", "binary"]),
        ({}, {"types": {"zz": "text"}}, ["no column 'zz'"]),
        ({}, {"types": {"x": "number"}}, ["'x' cannot be 'number'", "numeric"]),
        ({}, {"types": {"group": "numeric"}}, ["'group' has no value that is numeric"]),
        ({}, {"name": "a/b"}, ["'a/b'", "1 to 80"]),
        ({}, {"name": " "}, ["1 to 80"]),
        ({}, {"name": "n" * 81}, ["1 to 80"]),
    ],
)
def test_a_table_that_cannot_train_a_model_is_refused_with_the_value(save_csv, changes, choices, parts):
    path = save_csv(table(1_000, **changes))
    with pytest.raises(InputError) as error:
        datasets.register(path, **{"name": "n", "target": "y", **choices})
    for part in parts:
        assert part in str(error.value)
    assert datasets.all_datasets() == []


def test_rare_classes_are_dropped_if_chosen_and_counted(save_csv):
    path = save_csv(table(101, y=["rare", "odd", "odd", *["no", "yes"] * 49]))
    dataset = datasets.register(path, name="n", target="y", drop_rare_classes=True)
    assert (dataset.task, dataset.labels, sum(dataset.n_rows.values())) == ("binary", ("no", "yes"), 98)
    assert "3 rows of 2 rare classes: odd, rare." in text_of(dataset.findings, "rare_classes")


def test_rows_without_a_target_are_dropped_and_counted_and_row_numbers_stay(save_csv):
    path = save_csv(table(y=[None, "NA", "?", *["no"] * 50, *["yes"] * 47]))
    dataset = datasets.register(path, name="n", target="y")
    assert "3 rows have no 'y'" in text_of(dataset.findings, "missing_target")
    assert list(datasets.load(dataset).index) == list(range(3, 100))


def test_infinite_values_become_missing_in_a_feature_and_drop_the_row_in_a_target(save_csv):
    y = [*np.arange(97.0) / 3, np.inf, -np.inf, np.nan]
    dataset = datasets.register(save_csv(table(x=[np.inf, -np.inf, *range(98)], y=y)), name="n", target="y")
    rows = datasets.load(dataset)
    assert (len(rows), rows["c0"].isna().sum()) == (97, 2)
    texts = [finding.text for finding in dataset.findings]
    assert any("'x': 2 infinite" in text for text in texts)
    assert any("2 rows have an infinite 'y'" in text for text in texts)
    assert any("1 row has no 'y'" in text for text in texts)


def test_a_mixed_column_is_reported_and_its_texts_become_missing_when_set_to_numeric(save_csv):
    path = save_csv(table(x=["broken", "12a", *map(str, range(98))]))
    inspection = datasets.inspect(path)
    assert column(inspection, "x").type != "numeric"
    assert "only 2 values are not numbers, such as '12a'" in text_of(inspection.findings, "mixed")
    dataset = datasets.register(path, name="n", target="y", types={"x": "numeric"})
    assert column(dataset, "x").missing_frac == pytest.approx(0.02)
    assert datasets.load(dataset)["c0"].isna().sum() == 2


def test_whole_numbers_as_classes_lose_their_point_and_codes_keep_their_zeros(save_csv):
    dataset = datasets.register(save_csv(table(y=[1.0, 2.0, 3.0, 1.0] * 25)), name="n", target="y")
    assert dataset.labels == ("1", "2", "3")
    codes = datasets.register(save_csv(table(y=["01", "1", "2", "2"] * 25)), name="m", target="y")
    assert codes.labels == ("01", "1", "2")


def test_odd_column_names_are_stored_unchanged(save_csv):
    names = {'a,"b"': "x", "🚀 größe": "group"}
    path = save_csv(table().rename(columns={old: new for new, old in names.items()}))
    dataset = datasets.register(path, name="Größe 1.0", target="y", types={"🚀 größe": "text"})
    assert [(c.name, c.key, c.type) for c in dataset.columns][:2] == [
        ('a,"b"', "c0", "numeric"),
        ("🚀 größe", "c1", "text"),
    ]


@pytest.mark.slow
def test_a_table_of_300_columns_is_registered(save_csv):
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 300))).add_prefix("n")
    dataset = datasets.register(save_csv(wide.assign(y=["a", "b"] * 100)), name="wide", target="y")
    assert (len(dataset.features), kinds(dataset.findings)) == (300, {"many_columns"})


def test_a_full_disk_is_a_clear_error_and_leaves_no_dataset(save_csv, home, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = save_csv(table())
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MetascoutError, match=r"The disk of .* is full"):
        datasets.register(path, name="n", target="y")
    assert datasets.all_datasets() == []
    assert not (home / "datasets").exists()
    monkeypatch.undo()
    monkeypatch.setenv("METASCOUT_HOME", str(home))
    assert datasets.register(path, name="n", target="y").n_rows["train"] > 0
