"""Inspection: the type of each column, and what a check says before registering."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from core import datasets
from core.errors import InputError
from tests.core.datasets.small_tables import column, kinds, table


def test_adult_counts_question_marks_as_missing(home, data):
    inspection = datasets.inspect(data / "tabular" / "adult.csv")
    with (data / "tabular" / "adult.csv").open() as file:
        n_marks = sum(row["workclass"].strip() == "?" for row in csv.DictReader(file))
    assert n_marks > 0
    assert column(inspection, "workclass").missing_frac == pytest.approx(n_marks / inspection.n_rows)
    assert column(inspection, "age").type == "numeric"
    assert sum(column(inspection, "age").histogram) > 16_000
    assert inspection.suggested_target == "income"
    assert (len(inspection.preview), list(inspection.preview)) == (20, [c.name for c in inspection.columns])


def test_numbers_too_close_for_bars_and_a_constant_at_the_end_of_the_range_are_inspected(tmp_path):
    lines = [f"{1700000000000000000 + n % 3},1e308,{n}.5" for n in range(90)]
    (tmp_path / "close.csv").write_text("\n".join(["ns,big,y", *lines]))
    inspection = datasets.inspect(tmp_path / "close.csv")
    assert sum(column(inspection, "ns").histogram) == 90
    assert sum(column(inspection, "big").histogram) == 90


def test_titanic_has_an_id_and_texts(home, data):
    inspection = datasets.inspect(data / "tabular" / "titanic.csv")
    assert column(inspection, "PassengerId").type == "ignored"
    assert kinds(inspection.findings, "PassengerId") == {"id_like"}
    assert column(inspection, "Name").type == "text"
    assert column(inspection, "Pclass").type == "numeric"


def test_check_reports_before_registering_what_register_would_report(save_csv):
    inspection = datasets.inspect(save_csv(table(y=np.arange(100) * 1.5)))
    assert datasets.check(inspection, target="y")[0] == "regression"
    assert datasets.check(inspection, target="group")[0] == "multiclass"
    with pytest.raises(InputError, match="100 values that are not numbers"):
        datasets.check(inspection, target="group", task="regression")


def test_types_are_judged_from_the_whole_column(save_csv):
    n = 100
    frame = table(
        n,
        zip=["007", "090", "123", "900"] * 25,
        late=["1"] * (n - 1) + ["x"],
        day=pd.date_range("2024-01-01", periods=n).strftime("%Y-%m-%d"),
        stamp=["2024-01-01T10:00:00Z", "2024-01-02 10:00:00.5"] * 50,
        flag=["true", "false"] * 50,
        few=[1, 2] * 50,
        counter=range(5, n + 5),
        words=[f"so many words {i}" for i in range(n)],
        key=[f"k{i}" for i in range(n)],
        constant="c",
        empty=None,
        marked=[None, "x"] * 50,
    )
    types = {c.name: c.type for c in datasets.inspect(save_csv(frame)).columns}
    assert types == {
        "x": "numeric", "group": "categorical", "y": "categorical", "zip": "categorical", "late": "categorical",
        "day": "datetime", "stamp": "datetime", "flag": "categorical", "few": "numeric", "counter": "ignored",
        "words": "text", "key": "ignored", "constant": "ignored", "empty": "ignored", "marked": "categorical",
    }  # fmt: skip
