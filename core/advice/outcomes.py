"""Outcomes: predicted against actual errors, once candidates have run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from core import datasets, results
from core.advice.advice import Advice, all_advice, first_result_times
from core.knowledge import METRIC

_RECORD = [
    "dataset_id", "dataset", "given_at", "candidate", "predicted", "lower", "upper", "actual", "best", "regret",
    "default", "metric",
]  # fmt: skip


def outcome(advice: Advice) -> pd.DataFrame:
    """Return the candidates that have run on the dataset, first those of the ranking in its order.

    Columns: candidate, rank (from 1; NaN, like the next three, for a candidate that is not in the ranking), predicted,
    lower, upper, actual (test error of the candidate's trial with the best validation score), valid_error, inside
    (whether the interval held the actual error).
    """
    actual = _actual([advice.dataset_id]).set_index("candidate")[["error", "valid_error"]]
    actual = actual.rename(columns={"error": "actual"})
    ranking = {
        item.candidate: (rank, item.error, item.lower, item.upper) for rank, item in enumerate(advice.ranking, 1)
    }
    columns = ["rank", "predicted", "lower", "upper"]
    frame = pd.DataFrame.from_dict(ranking, orient="index", columns=columns).reindex(actual.index).join(actual)
    frame = frame.sort_values("rank", kind="stable").rename_axis("candidate").reset_index()
    return frame.assign(inside=frame["actual"].between(frame["lower"], frame["upper"]))


def track_record() -> pd.DataFrame:
    """Return the last advice on every dataset before its first result, the newest first, with its outcome.

    Columns: dataset_id, dataset, given_at, candidate (the first of the ranking that has run), predicted, lower, upper,
    actual, best (the best error of all candidates that have run), regret, default (the error of the safe default, NaN
    if it has not run), metric. Errors are NaN if nothing has run.
    """
    names = {dataset.id: dataset.name for dataset in datasets.all_datasets()}
    first = first_result_times()
    last: dict[int, Advice] = {}
    for advice in all_advice():
        if advice.dataset_id in names and advice.given_at < first.get(advice.dataset_id, math.inf):
            last[advice.dataset_id] = advice
    actual = _actual(list(last))
    rows = [_record(advice, names[key], actual[actual["dataset_id"] == key]) for key, advice in last.items()]
    return pd.DataFrame(rows, columns=_RECORD).sort_values("given_at", ascending=False, ignore_index=True)


def _record(advice: Advice, name: str, actual: pd.DataFrame) -> list[Any]:
    errors = dict(zip(actual["candidate"], actual["error"], strict=True))
    item = next((item for item in advice.ranking if item.candidate in errors), advice.ranking[0])
    error = errors.get(item.candidate, math.nan)
    best = min(errors.values()) if item.candidate in errors else math.nan
    default = errors.get(advice.single_best, math.nan) if item.candidate in errors else math.nan
    prediction = [item.candidate, item.error, item.lower, item.upper]
    about = [advice.dataset_id, name, advice.given_at]
    return [*about, *prediction, error, best, error - best, default, advice.metric]


def _actual(dataset_ids: list[int]) -> pd.DataFrame:
    """Return what has run on the datasets: dataset_id, candidate, error and valid_error by the metric of advice."""
    frame = results.best_by_candidate(METRIC)
    finite = np.isfinite(frame[["error", "valid_error"]]).all(axis=1)
    return frame[frame["dataset_id"].isin(dataset_ids) & finite]
