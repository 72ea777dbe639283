"""Features: computes what a dataset is like, in about sixty numbers, from train rows only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from core.datasets import Dataset
from core.datasets.files import scratch
from core.metafeatures.catalogue import LANDMARKERS, NAMES
from core.metafeatures.sampling import RowSample, draw
from core.scoring import Array

_LARGE = 1e9
_BINS, _LEVELS = 8, 20
_TINY = 1e-12


def compute(dataset: Dataset) -> dict[str, float]:
    """Return all meta-features except landmarkers; the same each time, and never infinite.

    Reads a sample of at most 2,000 train rows and 100 features; only the sizes of the classes are exact.
    """
    sample = draw(dataset)
    features = dict.fromkeys((name for name in NAMES if name not in LANDMARKERS), math.nan)
    with np.errstate(all="ignore"):
        for part in (_simple(dataset), _target(dataset, sample), _missing(sample), _categories(sample)):
            features |= part
        features |= _numbers(sample) | _relations(sample) | _information(dataset, sample)
        features |= _texts(sample) | _images(sample)
    return {name: clip(value) for name, value in features.items()}


def clip(value: float) -> float:
    """Return the value, limited to -1e9 and 1e9; NaN stays NaN."""
    return math.nan if math.isnan(value) else float(min(_LARGE, max(-_LARGE, value)))


def _log(value: float) -> float:
    return math.log10(value) if value > 0 else math.nan


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def _spread(values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.std(finite)) if finite else math.nan


def _max(values: Iterable[float]) -> float:
    return max((value for value in values if math.isfinite(value)), default=math.nan)


def _simple(dataset: Dataset) -> dict[str, float]:
    n, features = dataset.n_rows["train"], dataset.features
    types = Counter(column.type for column in features)
    return {
        "n_rows": n,
        "log_n_rows": _log(n),
        "n_features": len(features),
        "log_n_features": _log(len(features)),
        "log_rows_per_feature": _log(n / max(1, len(features))),
        "is_regression": dataset.task == "regression",
        "is_image": dataset.modality == "image",
        "is_text": dataset.modality == "text",
        "numeric_frac": (types["numeric"] + types["datetime"]) / max(1, len(features)),
        "categorical_frac": types["categorical"] / max(1, len(features)),
        "text_frac": types["text"] / max(1, len(features)),
    }


def _target(dataset: Dataset, sample: RowSample) -> dict[str, float]:
    if dataset.task == "regression":
        y = sample.target
        skewness, kurtosis = _moments(y[:, None])
        return {
            "n_classes": 0.0,
            "target_skewness": skewness[0],
            "target_kurtosis": kurtosis[0],
            "target_distinct_frac": len(np.unique(y)) / len(y),
            "target_outlier_frac": _outliers(y),
        }
    key = dataset.target_column.key
    query = f"SELECT count(*) AS n FROM read_parquet(?) WHERE split = 'train' GROUP BY {key}"
    counts = scratch.query(query, [str(dataset.table)])["n"].to_numpy(float)
    shares = counts / counts.sum()
    return {
        "n_classes": len(dataset.labels),
        "class_entropy": _entropy(counts) / math.log2(len(dataset.labels)),
        "class_majority_frac": shares.max(),
        "class_minority_frac": shares.min(),
        "class_imbalance": _log(shares.max() / shares.min()),
    }


def _missing(sample: RowSample) -> dict[str, float]:
    gaps = np.concatenate([np.isnan(sample.numbers[:, : sample.n_tabular]), sample.codes < 0], axis=1)
    if not gaps.size:
        return dict.fromkeys(("missing_frac", "missing_column_frac", "missing_row_frac"), 0.0)
    return {
        "missing_frac": gaps.mean(),
        "missing_column_frac": gaps.any(axis=0).mean(),
        "missing_row_frac": gaps.any(axis=1).mean(),
    }


def _categories(sample: RowSample) -> dict[str, float]:
    counts = [np.bincount(column[column >= 0]) for column in sample.codes.T if (column >= 0).any()]
    return {
        "levels_mean": _mean(map(len, counts)),
        "levels_max": _max(map(len, counts)),
        "level_entropy_mean": _mean(_entropy(c) / math.log2(len(c)) if len(c) > 1 else 0.0 for c in counts),
    }


def _numbers(sample: RowSample) -> dict[str, float]:
    x = sample.numbers
    if not x.size:
        return {}
    skewness, kurtosis = _moments(x)
    finite = [column[np.isfinite(column)] for column in x.T]
    finite = [column for column in finite if len(column)]
    scales = [_log(column.std()) for column in finite]
    return {
        "skewness_mean": _mean(skewness),
        "skewness_spread": _spread(skewness),
        "kurtosis_mean": _mean(kurtosis),
        "kurtosis_spread": _spread(kurtosis),
        "outlier_frac": _mean(map(_outliers, finite)),
        "zero_frac": _mean((column == 0).mean() for column in finite),
        "whole_frac": _mean(float((column == np.round(column)).all()) for column in finite),
        "distinct_frac": _mean(len(np.unique(column)) / len(column) for column in finite),
        "scale_spread": _spread(scales),
    }


def _moments(x: Array) -> tuple[Array, Array]:
    """Return skewness and excess kurtosis of each column, NaN where it is constant."""
    finite = np.isfinite(x)
    n = finite.sum(axis=0)
    scale = np.where(finite, np.abs(x), 0).max(axis=0)
    x = np.where(finite, x, 0) / np.where(scale > 0, scale, 1)  # or the powers overflow
    moved = np.where(finite, x - x.sum(axis=0) / n, 0)
    variance, third, fourth = ((moved**power).sum(axis=0) / n for power in (2, 3, 4))
    variance = np.where(variance > _TINY**2, variance, np.nan)
    return third / variance**1.5, fourth / variance**2 - 3


def _outliers(column: Array) -> float:
    low, high = np.percentile(column, [25, 75])
    reach = 1.5 * (high - low)
    return float(((column < low - reach) | (column > high + reach)).mean())


def _standard(x: Array) -> Array:
    """Return the columns standardised, with gaps at the mean; constant columns are removed."""
    finite = np.isfinite(x)
    scale = np.where(finite, np.abs(x), 0).max(axis=0, initial=0)
    x = x / np.where(scale > 0, scale, 1)
    x = np.where(finite, x - np.where(finite, x, 0).sum(axis=0) / np.maximum(1, finite.sum(axis=0)), 0)
    deviation = x.std(axis=0)
    return x[:, deviation > _TINY] / deviation[deviation > _TINY]


def _relations(sample: RowSample) -> dict[str, float]:
    """Return the relations of the numeric features to each other, and to the target's order."""
    x = _standard(sample.numbers)
    if not x.size:
        return {}
    matrix = x.T @ x / len(x)
    pairs = np.abs(matrix[np.triu_indices_from(matrix, 1)])
    shares = np.sort(np.clip(np.linalg.eigvalsh(matrix), 0, None))[::-1]
    shares /= shares.sum()
    ranked = _standard(_ranks(x))
    links = np.abs(ranked.T @ _standard(_ranks(sample.target[:, None].astype(float)))).ravel() / len(x)
    return {
        "correlation_mean": _mean(pairs),
        "correlation_max": _max(pairs),
        "component_first_frac": shares[0],
        "component_95_frac": (np.searchsorted(shares.cumsum(), 0.95) + 1) / len(shares),
        "link_rank_mean": _mean(links),
        "link_rank_max": _max(links),
    }


def _ranks(x: Array) -> Array:
    """Return the rank of each value in its column; equal values share their mean rank."""
    result = np.empty(x.shape)
    for place, column in enumerate(x.T):
        _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
        result[:, place] = (counts.cumsum() - (counts - 1) / 2)[inverse]
    return result


def _information(dataset: Dataset, sample: RowSample) -> dict[str, float]:
    y = _bins(sample.target.astype(float)) if dataset.task == "regression" else sample.target
    columns = [_bins(column) for column in sample.numbers.T] + [_common_levels(column) for column in sample.codes.T]
    whole = _entropy(np.bincount(y))
    if not columns or whole <= 0:
        return {}
    entropies = [_entropy(np.bincount(column)) for column in columns]
    shared = [_mutual(column, y) for column in columns]
    noise = max(0.0, sum(entropies) - sum(shared))
    return {
        "feature_entropy_mean": _mean(entropies),
        "information_mean": _mean(shared) / whole,
        "information_max": _max(shared) / whole,
        "information_spread": _spread(shared) / whole,
        "information_sum": math.log10(sum(shared) / whole + 1e-3),
        "noise_ratio": math.log10((noise + 1e-3) / (sum(shared) + 1e-3)),
    }


def _bins(column: Array) -> Array:
    """Return codes of a number: eight bins with equal numbers of rows, and one for missing values."""
    finite = np.isfinite(column)
    edges = np.unique(np.quantile(column[finite], np.linspace(0, 1, _BINS + 1)[1:-1])) if finite.any() else np.empty(0)
    return np.where(finite, np.searchsorted(edges, column, side="right"), len(edges) + 1)


def _common_levels(column: Array) -> Array:
    """Return codes of a category: the twenty most common values, one for the others, one for missing values."""
    counts = np.bincount(column + 1)
    places = np.full(len(counts), _LEVELS)
    common = np.argsort(-counts, kind="stable")[:_LEVELS]
    places[common] = np.arange(len(common))
    return places[column + 1]


def _entropy(counts: Array) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def _mutual(a: Array, b: Array) -> float:
    """Return the mutual information in bits, corrected for small samples (Miller and Madow 1955)."""
    k = int(b.max()) + 1
    table = np.bincount(a * k + b, minlength=(int(a.max()) + 1) * k).reshape(-1, k)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    chance = ((rows > 0).sum() - 1) * ((columns > 0).sum() - 1) / (2 * math.log(2) * table.sum())
    return max(0.0, _entropy(rows) + _entropy(columns) - _entropy(table.ravel()) - chance)


def _texts(sample: RowSample) -> dict[str, float]:
    if not any(sample.words):
        return {}
    lengths, counts = [len(row) for row in sample.words], Counter(word for row in sample.words for word in row)
    return {
        "text_words_mean": _log(_mean(lengths)),
        "text_words_spread": _spread(lengths) / _mean(lengths),
        "text_vocabulary": _log(len(counts)),
        "text_once_frac": sum(n == 1 for n in counts.values()) / len(counts),
    }


def _images(sample: RowSample) -> dict[str, float]:
    if sample.pixels is None:
        return {}
    pixels = sample.pixels
    across = [np.abs(np.diff(pixels, axis=axis)) for axis in (1, 2) if pixels.shape[axis] > 1]
    return {
        "image_side": math.sqrt(pixels.shape[1] * pixels.shape[2]),
        "image_channels": pixels.shape[3],
        "pixel_mean": float(pixels.mean()),
        "pixel_spread": float(pixels.std()),
        "pixel_contrast": float(pixels.std(axis=(1, 2, 3)).mean()),
        "pixel_edges": _mean(float(part.mean()) for part in across),
    }
