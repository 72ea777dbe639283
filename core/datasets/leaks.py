"""Leaks: features that give the target away almost alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from core.datasets.columns import Column, as_numbers
from core.datasets.files.findings import Finding

_LIMIT = 0.99  # of `_strength`
_MIN_ROWS = 100
_MAX_LEVELS = 50


def suspect(rows: pd.DataFrame, columns: tuple[Column, ...], target: Column) -> list[Finding]:
    """Return a finding for each feature that alone nearly determines the target, judged on sampled rows.

    None is suspected on fewer than 100 rows with a target.
    """
    rows = rows[rows[target.key].notna()]
    if len(rows) < _MIN_ROWS:
        return []
    regression = target.type == "numeric"
    truth = (
        as_numbers(rows[target.key], "numeric").rank() if regression else pd.Series(pd.factorize(rows[target.key])[0])
    )
    findings = []
    for column in columns:
        if column.key == target.key or column.type in ("ignored", "text"):
            continue
        if _strength(rows[column.key], column, truth.to_numpy(dtype=float), regression) > _LIMIT:
            text = f"{column.name!r} alone nearly determines {target.name!r}."
            remedy = f"Ignore it if its value is only known after {target.name!r}."
            findings.append(Finding("leak", f"{text} {remedy}", column.name))
    return findings


def _strength(values: pd.Series, column: Column, truth: np.ndarray, regression: bool) -> float:
    """Return how far one feature explains the target, from 0 (as the target's mean or mode does) to 1."""
    if column.type == "categorical":
        codes = pd.factorize(values)[0] + 1  # a missing value is a group too
        if codes.max() >= min(_MAX_LEVELS, len(codes) // 10):
            return 0.0  # many small groups are pure by chance
        return _within_groups(codes, truth, regression)
    numbers = as_numbers(values, column.type).to_numpy()
    finite = np.isfinite(numbers) & np.isfinite(truth)
    if finite.mean() < 0.5:
        return 0.0
    if regression:
        return float(abs(np.nan_to_num(pd.Series(numbers[finite]).rank().corr(pd.Series(truth[finite])))))
    if truth.max() == 1:  # two classes: bins would blur a threshold, ranks do not
        return _gini(numbers[finite], truth[finite])
    n_bins = min(_MAX_LEVELS, len(numbers) // 20)
    edges = np.unique(np.quantile(numbers[finite], np.linspace(0, 1, n_bins + 1)[1:-1]))
    return _within_groups(np.where(finite, np.searchsorted(edges, numbers), len(edges) + 1), truth, regression)


def _gini(numbers: np.ndarray, truth: np.ndarray) -> float:
    """Return how well ranks separate two classes, from 0 to 1: twice the distance of the AUC from one half."""
    ranks, n_ones = pd.Series(numbers).rank().to_numpy(), truth.sum()
    n_zeros = len(truth) - n_ones
    if n_ones == 0 or n_zeros == 0:
        return 0.0
    auc = (ranks[truth == 1].sum() - n_ones * (n_ones + 1) / 2) / (n_ones * n_zeros)
    return float(abs(2 * auc - 1))


def _within_groups(codes: np.ndarray, truth: np.ndarray, regression: bool) -> float:
    """Return the share of the target's variance, or of the errors of guessing its mode, that the groups explain."""
    finite = np.isfinite(truth)
    codes, truth = codes[finite], truth[finite]
    if regression:
        means = np.bincount(codes, truth) / np.maximum(np.bincount(codes), 1)
        return float(1 - ((truth - means[codes]) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())
    classes = truth.astype(int)
    n_classes = classes.max() + 1
    counts = np.bincount(codes * n_classes + classes, minlength=(codes.max() + 1) * n_classes).reshape(-1, n_classes)
    base = counts.sum(axis=0).max()
    return float((counts.max(axis=1).sum() - base) / (len(codes) - base)) if base < len(codes) else 0.0
