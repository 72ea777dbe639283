"""Leaks: what gives the target away is suspected, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from core import datasets
from tests.core.datasets.small_tables import kinds, table

TARGETS = {"abalone": "Rings", "credit_g": "class", "wine_quality_white": "quality", "telco_churn": "churn"}


def test_a_leak_is_suspected_and_a_chance_pattern_is_not(save_csv):
    n = 600
    y = np.resize(["no", "yes", "no"], n)
    amount = np.where(y == "yes", 5.0, -5.0) + np.arange(n) / n
    copied, many = np.where(y == "yes", "paid", "open"), [f"v{i // 2}" for i in range(n)]
    threshold = np.where(y == "yes", 1.0, 0.0) + np.linspace(0, 0.999, n)  # a bin of quantiles would blur it
    frame = table(n, y=y, copy=copied, amount=amount, many=many, threshold=threshold)
    _, findings = datasets.check(datasets.inspect(save_csv(frame)), target="y")
    assert {f.column for f in findings if f.kind == "leak"} == {"copy", "amount", "threshold"}
    number = table(n, y=np.exp(np.arange(n) / 100), again=np.arange(n) * 2.5)
    _, findings = datasets.check(datasets.inspect(save_csv(number)), target="y")
    assert {f.column for f in findings if f.kind == "leak"} == {"again"}


QUICK = ("abalone", "credit_g")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TARGETS]
)
def test_no_leak_is_suspected_in_real_tables(home, data, name):
    _, findings = datasets.check(datasets.inspect(data / "tabular" / f"{name}.csv"), target=TARGETS[name])
    assert "leak" not in kinds(findings)
