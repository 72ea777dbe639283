"""The metrics, and how a candidate's predictions become scores with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.events import Score

Array = NDArray[Any]
Pair = tuple[Array, Array]  # actual, predicted
Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True, slots=True)
class MetricKind:
    """How a metric is called, for which tasks it is defined, and which direction is better."""

    label: str
    tasks: tuple[Task, ...]
    higher_is_better: bool

    def error(self, value: float) -> float:
        """The metric as an error, lower is better: 1 - value where higher is better."""
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


_CHUNK_CELLS = 2_000_000  # weights that are held at once: 16 MB, and a few times that within an AUC


def metrics_for(task: Task) -> tuple[str, ...]:
    """Names of the metrics that are defined for a task, the default one first."""
    default = DEFAULT_METRIC[task]
    return (default, *(name for name, kind in METRICS.items() if task in kind.tasks and name != default))


def score(
    task: Task, labels: Sequence[str], valid: Pair, test: Pair, *, seed: int = 1, replicates: int = 200
) -> tuple[Score, ...]:
    """Every metric of a task on the valid and the test rows, with a 95% bootstrap interval of the test value.

    A pair is (actual, predicted). For classes: codes into `labels`, and probabilities [rows, classes]; for
    regression: numbers, and numbers. The same seed draws the same rows for every candidate. A metric that the rows
    do not define, such as the AUC of one class, is NaN. Raises ValueError for predictions that are not finite.
    """
    for _, predicted in (valid, test):
        if not np.isfinite(predicted).all():
            raise ValueError("predictions must be finite")
    on_valid, on_test = (values(task, len(labels), pair, np.ones((len(pair[0]), 1))) for pair in (valid, test))
    drawn = _bootstrap(task, len(labels), test, seed, replicates)
    result = []
    for name in metrics_for(task):
        error, low, high = METRICS[name].error, *_interval(drawn[name])
        pair = (float(on_valid[name][0]), float(on_test[name][0]))
        result.append(Score(name, *pair, low, high, error(pair[0]), error(pair[1])))
    return tuple(result)


def values(task: Task, n_classes: int, pair: Pair, weights: Array) -> dict[str, Array]:
    """Each metric of a task under each column of `weights` [rows, replicates]: how often a row counts."""
    return _regression(*pair, weights) if task == "regression" else _classes(*pair, n_classes, weights)


def confusion(labels: Sequence[str], actual: Array, predicted: Array) -> dict[str, Any]:
    """Counts of actual by predicted class, as `TrialDone.details` has it; `predicted` are probabilities."""
    k = len(labels)
    counts = np.bincount(actual.astype(int) * k + predicted.argmax(axis=1), minlength=k * k).reshape(k, k)
    return {"labels": list(labels), "counts": counts.tolist()}


def residuals(actual: Array, predicted: Array, limit: int = 500) -> dict[str, Any]:
    """Actual and predicted numbers of at most `limit` rows, always the same ones, as `TrialDone.details` has it."""
    rows = np.arange(len(actual))
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(0).choice(rows, limit, replace=False))
    return {"actual": actual[rows].astype(float).tolist(), "predicted": predicted[rows].astype(float).tolist()}


def _bootstrap(task: Task, n_classes: int, pair: Pair, seed: int, replicates: int) -> dict[str, Array]:
    n, random = len(pair[0]), np.random.default_rng(seed)
    chunk = max(1, min(replicates, _CHUNK_CELLS // n))
    parts = []
    for start in range(0, replicates, chunk):
        size = min(chunk, replicates - start)
        parts.append(values(task, n_classes, pair, resample(random, size, n)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def resample(random: np.random.Generator, size: int, n: int) -> Array:
    """`size` draws of n rows out of n with replacement, as counts [n, size]."""
    cells = random.integers(0, n, (size, n)) * size + np.arange(size)[:, None]
    return np.bincount(cells.ravel(), minlength=size * n).reshape(n, size).astype(float)


def _interval(drawn: Array) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return math.nan, math.nan
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _regression(actual: Array, predicted: Array, weights: Array) -> dict[str, Array]:
    total = weights.sum(axis=0)
    squares = (actual - predicted) ** 2 @ weights
    centred = actual - actual.mean()  # or the difference of two large squares loses its digits
    spread = centred**2 @ weights - (centred @ weights) ** 2 / total
    constant = spread <= 1e-12 * (centred**2 @ weights)
    r2 = np.where(constant, np.where(squares == 0, 1.0, 0.0), 1 - squares / np.where(constant, 1.0, spread))
    return {
        "rmse": np.sqrt(squares / total),
        "mae": np.abs(actual - predicted) @ weights / total,
        "r2": np.where(total < 2, np.nan, r2),
    }


def _classes(actual: Array, predicted: Array, n_classes: int, weights: Array) -> dict[str, Array]:
    actual = actual.astype(int)
    total = weights.sum(axis=0)
    chosen = np.clip(predicted[np.arange(len(actual)), actual], 1e-15, 1 - 1e-15)
    right = (predicted.argmax(axis=1) == actual).astype(float)
    member = np.eye(n_classes)[actual].T
    recall = _ratio(member * right @ weights, member @ weights)
    judged = (1,) if n_classes == 2 else range(n_classes)
    return {
        "auc": _mean(np.stack([_auc(member[k], predicted[:, k], weights) for k in judged])),
        "accuracy": right @ weights / total,
        "balanced_accuracy": _mean(recall),
        "log_loss": -np.log(chosen) @ weights / total,
    }


def _auc(member: Array, predicted: Array, weights: Array) -> Array:
    """Share of (member, other) pairs that `predicted` orders rightly; a tie counts half. NaN without pairs."""
    order = np.argsort(predicted, kind="stable")
    ranked, places = predicted[order], np.flatnonzero(member[order])
    first, last = (np.searchsorted(ranked, ranked[places], side) for side in ("left", "right"))
    everyone = _running(weights[order])
    members = _running(weights[order[places]])
    below = _between(everyone, first, last)
    below -= _between(members, np.searchsorted(places, first), np.searchsorted(places, last))
    rightly = np.einsum("ij,ij->j", weights[order[places]], below)
    return _ratio(rightly, members[-1] * (everyone[-1] - members[-1]))


def _running(weights: Array) -> Array:
    total = np.zeros((len(weights) + 1, weights.shape[1]))
    np.cumsum(weights, axis=0, out=total[1:])
    return total


def _between(running: Array, first: Array, last: Array) -> Array:
    return (running[first] + running[last]) / 2


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean(rows: Array) -> Array:
    """Mean over the classes that have a value, for each replicate; NaN where none has."""
    known = np.isfinite(rows)
    return _ratio(np.where(known, rows, 0.0).sum(axis=0), known.sum(axis=0))
