"""Landmarkers: how well very simple models do on a small sample, a hint at the right kind of model."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from core.datasets import Dataset
from core.metafeatures.catalogue import LANDMARKERS
from core.metafeatures.features import clip
from core.metafeatures.sampling import RowSample, draw
from core.scoring import Array

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

_ROWS, _FOLDS = 600, 3
_LEVELS = 6  # of a category, each as a column
_SEED = 1


def compute(dataset: Dataset) -> dict[str, float]:
    """Return the skill of each of LANDMARKERS in 3-fold cross-validation on at most 600 train rows; NaN where it fails.

    Skill is balanced accuracy (0 for chance) for classes, and R² (at least -1) for numbers. Imports scikit-learn.
    """
    sample = draw(dataset)
    rows = np.sort(np.random.default_rng(_SEED).permutation(len(sample.target))[:_ROWS])
    with np.errstate(over="ignore"):
        x, y = np.nan_to_num(_matrix(sample)[rows]), sample.target[rows]
    if not x.size:
        return dict.fromkeys(LANDMARKERS, math.nan)
    folds = _folds(y, dataset.task == "regression")
    return {name: _skill(model, x, y, folds) for name, model in _models(dataset.task == "regression").items()}


def _models(regression: bool) -> dict[str, BaseEstimator]:
    from sklearn import linear_model, naive_bayes, neighbors, tree

    if regression:
        plain = (linear_model.BayesianRidge(), linear_model.Ridge())
        trees, nearest = tree.DecisionTreeRegressor, neighbors.KNeighborsRegressor(1)
    else:
        plain = (naive_bayes.GaussianNB(), linear_model.RidgeClassifier())
        trees, nearest = tree.DecisionTreeClassifier, neighbors.KNeighborsClassifier(1)
    stump, whole = (trees(max_depth=depth, random_state=_SEED) for depth in (1, 12))
    return dict(zip(LANDMARKERS, (stump, whole, nearest, *plain), strict=True))


def _matrix(sample: RowSample) -> Array:
    """Return standardised numbers with gaps at the median, and the most common levels of categories as columns."""
    x = sample.numbers
    parts = []
    for column in x.T:
        finite = np.isfinite(column)
        filled = np.where(finite, column, np.median(column[finite]) if finite.any() else 0.0)
        filled = filled / max(np.abs(filled).max(), 1e-300)
        parts.append((filled - filled.mean()) / (filled.std() or 1.0))
    for column in sample.codes.T:
        counts = np.bincount(column + 1)
        parts += [(column + 1 == level).astype(float) for level in np.argsort(-counts, kind="stable")[:_LEVELS]]
    return np.stack(parts, axis=1) if parts else np.empty((len(sample.target), 0))


def _folds(y: Array, regression: bool) -> Array:
    """Return the fold of each row: in turn within each class, or in the order of a number."""
    order = np.lexsort((np.random.default_rng(_SEED).random(len(y)), np.zeros(len(y)) if regression else y))
    folds = np.empty(len(y), int)
    folds[order] = np.arange(len(y)) % _FOLDS
    return folds


def _skill(model: Any, x: Array, y: Array, folds: Array) -> float:
    predicted = np.empty(len(y))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of collinear columns, rare classes
            for fold in range(_FOLDS):
                out = folds == fold
                predicted[out] = model.fit(x[~out], y[~out]).predict(x[out])
    except ValueError:  # too few rows for this model
        return math.nan
    if y.dtype.kind == "f":
        return clip(max(-1.0, 1 - ((y - predicted) ** 2).sum() / max(((y - y.mean()) ** 2).sum(), 1e-300)))
    recalls = [(predicted[y == label] == label).mean() for label in np.unique(y)]
    return clip((float(np.mean(recalls)) - 1 / len(recalls)) / (1 - 1 / max(2, len(recalls))))
