"""Scoring: the metrics, and how a candidate's predictions become scores with an interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.events import Score

Array = NDArray[Any]
Pair = tuple[Array, Array]  # actual, predicted
Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True, slots=True)
class MetricKind:
    """A metric: its label, the tasks for which it is defined, and whether higher is better."""

    label: str
    tasks: tuple[Task, ...]
    higher_is_better: bool

    def error(self, value: float) -> float:
        """Return the metric as an error, lower is better: 1 - value where higher is better."""
        return 1.0 - value if self.higher_is_better else value


_CLASSES: tuple[Task, ...] = ("binary", "multiclass")
METRICS: dict[str, MetricKind] = {
    "auc": MetricKind("AUC", _CLASSES, True),
    "accuracy": MetricKind("Accuracy", _CLASSES, True),
    "balanced_accuracy": MetricKind("Balanced accuracy", _CLASSES, True),
    "log_loss": MetricKind("Log loss", _CLASSES, False),
    "rmse": MetricKind("RMSE", ("regression",), False),
    "mae": MetricKind("MAE", ("regression",), False),
    "r2": MetricKind("R²", ("regression",), True),
}
DEFAULT_METRIC: dict[Task, str] = {"binary": "auc", "multiclass": "log_loss", "regression": "rmse"}

_MAX_REPLICATES, _MIN_REPLICATES = 200, 50
_BOOTSTRAP_CELLS = 40_000_000  # rows x ranked classes x replicates: about a second
_BLOCK_CELLS = 100_000  # weights in one block, which fits into the cache of a core


def metrics_for(task: Task) -> tuple[str, ...]:
    """Return the names of the metrics that are defined for a task, the default one first."""
    default = DEFAULT_METRIC[task]
    return (default, *(name for name, kind in METRICS.items() if task in kind.tasks and name != default))


def check_metric(task: Task, metric: str | None) -> str:
    """Return the metric, or for None the task's default. Raises InputError where it is not defined for the task."""
    if metric is None:
        return DEFAULT_METRIC[task]
    if metric not in metrics_for(task):
        allowed = ", ".join(metrics_for(task))
        text = f"{metric!r} is not defined for a {task} target."
        raise InputError(text, field="metric", value=metric, remedy=f"Use one of {allowed}.")
    return metric


def score(task: Task, labels: Sequence[str], valid: Pair, test: Pair, *, seed: int = 1) -> tuple[Score, ...]:
    """Return every metric of a task on validation and test set, with a 95% bootstrap interval for the test score.

    A pair is (actual, predicted). For classes: codes into `labels`, and probabilities [rows, classes]; for
    regression: numbers, and numbers. The same seed draws the same rows for every candidate: 200 replicates, fewer (at
    least 50) where rows x ranked classes are more than 200,000. A metric that the rows do not define, such as the AUC
    of one class, is NaN. Raises ValueError for predictions that are not finite.
    """
    for _, predicted in (valid, test):
        if not np.isfinite(predicted).all():
            raise ValueError("predictions must be finite")
    on_valid, on_test = (
        values(task, len(labels), pair, np.ones((1, len(pair[0])), np.uint8)) for pair in (valid, test)
    )
    n_rows, n_ranked = len(test[0]), len(labels) if task == "multiclass" else 1
    size = max(_MIN_REPLICATES, min(_MAX_REPLICATES, _BOOTSTRAP_CELLS // (n_rows * n_ranked)))
    replicates = values(task, len(labels), test, resample(np.random.default_rng(seed), size, n_rows))
    result = []
    for name in metrics_for(task):
        error, low, high = METRICS[name].error, *_interval(replicates[name])
        pair = (float(on_valid[name][0]), float(on_test[name][0]))
        result.append(Score(name, *pair, low, high, error(pair[0]), error(pair[1])))
    return tuple(result)


def values(task: Task, n_classes: int, pair: Pair, weights: Array) -> dict[str, Array]:
    """Return each metric of a task [replicates]; `weights` [replicates, rows] says how often each row counts."""
    return _regression(*pair, weights) if task == "regression" else _classes(*pair, n_classes, weights)


def confusion(labels: Sequence[str], actual: Array, predicted: Array) -> dict[str, Any]:
    """Return counts of actual by predicted class for `TrialDone.details`; `predicted` holds probabilities."""
    k = len(labels)
    counts = np.bincount(actual.astype(int) * k + predicted.argmax(axis=1), minlength=k * k).reshape(k, k)
    return {"labels": list(labels), "counts": counts.tolist()}


def residuals(actual: Array, predicted: Array, limit: int = 500) -> dict[str, Any]:
    """Return actual and predicted numbers of at most `limit` rows, always the same, for `TrialDone.details`."""
    rows = np.arange(len(actual))
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(0).choice(rows, limit, replace=False))
    return {"actual": actual[rows].astype(float).tolist(), "predicted": predicted[rows].astype(float).tolist()}


def resample(random: np.random.Generator, size: int, n: int) -> Array:
    """Return `size` draws of n rows out of n with replacement, as counts [size, n]; no row is drawn 256 times."""
    counts = np.empty((size, n), np.uint8)
    for row in counts:
        row[:] = np.bincount(random.integers(0, n, n), minlength=n)
    return counts


def _interval(replicates: Array) -> tuple[float, float]:
    replicates = replicates[np.isfinite(replicates)]
    if not len(replicates):
        return math.nan, math.nan
    low, high = np.percentile(replicates, [2.5, 97.5])
    return float(low), float(high)


def _regression(actual: Array, predicted: Array, weights: Array) -> dict[str, Array]:
    centred = actual - actual.mean()  # or the difference of two large squares loses digits
    columns = ((actual - predicted) ** 2, np.abs(actual - predicted), centred, centred**2)
    squares, absolute, moved, around = _weighted(weights, *columns)
    total = weights.sum(axis=1, dtype=float)
    spread = around - moved**2 / total
    constant = spread <= 1e-12 * around
    r2 = np.where(constant, np.where(squares == 0, 1.0, 0.0), 1 - squares / np.where(constant, 1.0, spread))
    return {"rmse": np.sqrt(squares / total), "mae": absolute / total, "r2": np.where(total < 2, np.nan, r2)}


def _classes(actual: Array, predicted: Array, n_classes: int, weights: Array) -> dict[str, Array]:
    actual = actual.astype(int)
    total = weights.sum(axis=1, dtype=float)
    likelihood = np.clip(predicted[np.arange(len(actual)), actual], 1e-15, 1 - 1e-15)
    right = predicted.argmax(axis=1) == actual
    members = [np.flatnonzero(actual == k) for k in range(n_classes)]
    recalls = [_ratio(_count(weights, rows[right[rows]]), _count(weights, rows)) for rows in members]
    ranked = (1,) if n_classes == 2 else range(n_classes)
    return {
        "auc": _mean(np.stack([_auc(actual == k, predicted[:, k], weights) for k in ranked])),
        "accuracy": _count(weights, np.flatnonzero(right)) / total,
        "balanced_accuracy": _mean(np.stack(recalls)),
        "log_loss": _weighted(weights, -np.log(likelihood))[0] / total,
    }


def _blocks(weights: Array) -> Iterator[tuple[slice, Array]]:
    size = max(1, _BLOCK_CELLS // weights.shape[1])
    for start in range(0, len(weights), size):
        yield slice(start, start + size), weights[start : start + size]


def _weighted(weights: Array, *columns: Array) -> Array:
    """Return weighted sums of each column, as [columns, replicates]."""
    sums = np.empty((len(columns), len(weights)))
    for part, block in _blocks(weights):
        factors = block.astype(float)
        for number, column in enumerate(columns):  # not BLAS: its threads wait for each other on a busy machine
            sums[number, part] = np.einsum("ij,j->i", factors, column)
    return sums


def _count(weights: Array, rows: Array) -> Array:
    """Return how often these rows were drawn in each replicate."""
    return np.concatenate([block.take(rows, axis=1).sum(axis=1, dtype=float) for _, block in _blocks(weights)])


def _auc(member: Array, predicted: Array, weights: Array) -> Array:
    """Return the share of (member, other) pairs in the right order; a tie counts half. NaN without pairs."""
    order = np.argsort(predicted)
    ranked, places = predicted[order], np.flatnonzero(member[order])
    first, last = (np.searchsorted(ranked, ranked[places], side) for side in ("left", "right"))
    first_member, last_member = np.searchsorted(places, first), np.searchsorted(places, last)
    result = np.empty(len(weights))
    for part, block in _blocks(weights):
        counts = block.take(order, axis=1)
        mine = counts.take(places, axis=1)
        everyone, members = _running(counts), _running(mine)
        below = everyone.take(first, axis=1) + everyone.take(last, axis=1)  # twice the number of rows ranked lower
        below -= members.take(first_member, axis=1) + members.take(last_member, axis=1)
        rightly = np.einsum("ij,ij->i", mine, below, dtype=np.int64) / 2  # whole numbers: exact
        result[part] = _ratio(rightly, members[:, -1] * (everyone[:, -1] - members[:, -1]))
    return result


def _running(counts: Array) -> Array:
    total = np.zeros((len(counts), counts.shape[1] + 1), np.int64)
    np.cumsum(counts, axis=1, out=total[:, 1:])
    return total


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean(rows: Array) -> Array:
    """Return the mean over the classes that have a value, for each replicate; NaN where none has."""
    finite = np.isfinite(rows)
    return _ratio(np.where(finite, rows, 0.0).sum(axis=0), finite.sum(axis=0))
