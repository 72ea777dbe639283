"""Meta-features: what a dataset is like, in some sixty numbers that a selector can compare; train rows only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from core import datasets
from core.datasets import Dataset
from core.datasets.files import scratch
from core.metafeatures.sampling import Sample, draw
from core.scoring import Array
from core.store import database

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

LANDMARKERS: dict[str, str] = {
    "landmark_stump": "Skill of a single split in cross-validation: 0 is chance, 1 is perfect",
    "landmark_tree": "Skill of a decision tree",
    "landmark_neighbour": "Skill of the nearest neighbour",
    "landmark_naive_bayes": "Skill of naive Bayes; of Bayesian ridge regression for a number",
    "landmark_linear": "Skill of a ridge model",
}
NAMES: dict[str, str] = {
    "n_rows": "Train rows",
    "log_n_rows": "Train rows, as a logarithm to base 10",
    "n_features": "Features",
    "log_n_features": "Features, as a logarithm to base 10",
    "log_rows_per_feature": "Train rows per feature, as a logarithm to base 10",
    "is_regression": "1 where a number is predicted, 0 for classes",
    "is_image": "1 for images",
    "is_text": "1 where there are only texts",
    "n_classes": "Classes; 0 for regression",
    "class_entropy": "Entropy of the classes as a share of the most there could be",
    "class_majority_frac": "Share of the largest class",
    "class_minority_frac": "Share of the smallest class",
    "class_imbalance": "Largest class over smallest one, as a logarithm to base 10",
    "target_skewness": "Skewness of a number to predict",
    "target_kurtosis": "Excess kurtosis of a number to predict",
    "target_distinct_frac": "Different values of a number to predict, as a share of the rows",
    "target_outlier_frac": "Share of a number to predict that lies over 1.5 quartile ranges out",
    "numeric_frac": "Share of the features that are numbers or times",
    "categorical_frac": "Share of the features that are categories",
    "text_frac": "Share of the features that are texts",
    "missing_frac": "Share of the table's cells that are missing",
    "missing_column_frac": "Share of the features with a missing value",
    "missing_row_frac": "Share of the rows with a missing value",
    "levels_mean": "Different values of a category, on average",
    "levels_max": "Different values of the category that has most",
    "level_entropy_mean": "Entropy of a category as a share of the most there could be, on average",
    "skewness_mean": "Skewness of a number, on average over the features",
    "skewness_spread": "Standard deviation of the skewness over the features",
    "kurtosis_mean": "Excess kurtosis of a number, on average over the features",
    "kurtosis_spread": "Standard deviation of the kurtosis over the features",
    "outlier_frac": "Share of the numbers that lie over 1.5 quartile ranges out",
    "zero_frac": "Share of the numbers that are 0",
    "whole_frac": "Share of the numeric features that hold whole numbers only",
    "distinct_frac": "Different values of a numeric feature as a share of the rows, on average",
    "scale_spread": "Standard deviation of the features' scales, as logarithms to base 10",
    "correlation_mean": "Absolute correlation of two numeric features, on average",
    "correlation_max": "Largest absolute correlation of two numeric features",
    "component_first_frac": "Share of the variance that the first principal component holds",
    "component_95_frac": "Share of the principal components that hold 95% of the variance",
    "link_rank_mean": "Absolute rank correlation of a feature with the target's order, on average",
    "link_rank_max": "Largest absolute rank correlation of a feature with the target's order",
    "feature_entropy_mean": "Entropy of a feature in bits, numbers in eight equal parts, on average",
    "information_mean": "Share of the target's entropy that one feature tells, on average",
    "information_max": "Share of the target's entropy that the best feature tells",
    "information_spread": "Standard deviation over the features of the share of the target's entropy that each tells",
    "information_sum": "Sum over the features of the share of the target's entropy that each tells, as a logarithm",
    "noise_ratio": "Entropy of the features that says nothing of the target over that which does, as a logarithm",
    "text_words_mean": "Words of a text, on average, as a logarithm to base 10",
    "text_words_spread": "Standard deviation of the words of a text over their mean",
    "text_vocabulary": "Different words in the sample, as a logarithm to base 10",
    "text_once_frac": "Share of the different words that occur once",
    "image_side": "Side of an image in pixels (of a square of the same area)",
    "image_channels": "Channels of an image: 1 grey, 3 colour",
    "pixel_mean": "Brightness of the images, from 0 to 1",
    "pixel_spread": "Standard deviation of all pixels",
    "pixel_contrast": "Standard deviation of the pixels of one image, on average",
    "pixel_edges": "Difference of neighbouring pixels, on average",
    **LANDMARKERS,
}

_LARGE = 1e9
_BINS, _LEVELS = 8, 20
_TINY = 1e-12


def get(dataset_id: int) -> dict[str, float]:
    """The meta-features of a dataset by name, computed once and kept; NaN where one is not defined or not known yet.

    Landmarkers are known once a portfolio job has run. Raises InputError where there is no such dataset.
    """
    known = _known(dataset_id)
    if not set(NAMES) - set(LANDMARKERS) <= known.keys():
        computed = compute(datasets.get(dataset_id))
        with database.transaction(write=True) as connection:
            save(connection, dataset_id, computed)
        known |= computed
    return {name: known.get(name, math.nan) for name in NAMES}


def all_features() -> pd.DataFrame:
    """What is kept: index dataset (its name), a column for each of NAMES; NaN where nothing is known."""
    query = "SELECT d.name AS dataset, m.name, m.value FROM meta_features m JOIN datasets d ON d.id = m.dataset_id"
    with database.transaction() as connection:
        rows = connection.execute(query).df()
    return rows.pivot(index="dataset", columns="name", values="value").reindex(columns=list(NAMES))


def save(connection: duckdb.DuckDBPyConnection, dataset_id: int, found: Mapping[str, float]) -> None:
    """Keep values of meta-features in place of those that were kept under the same names."""
    names, values = list(found), [finite(value) for value in found.values()]
    connection.execute(
        "DELETE FROM meta_features WHERE dataset_id = ? AND list_contains(?, name)", [int(dataset_id), names]
    )
    connection.execute(
        "INSERT INTO meta_features SELECT ?, unnest(?::VARCHAR[]), unnest(?::DOUBLE[])",
        [int(dataset_id), names, values],
    )


def _known(dataset_id: int) -> dict[str, float]:
    with database.transaction() as connection:
        query = "SELECT name, value FROM meta_features WHERE dataset_id = ?"
        return dict(connection.execute(query, [int(dataset_id)]).fetchall())


def compute(dataset: Dataset) -> dict[str, float]:
    """All meta-features but the landmarkers; the same ones each time, and never infinite.

    Reads a sample: at most 2,000 train rows and 100 features, but for the sizes of the classes, which are exact.
    """
    sample = draw(dataset)
    found = dict.fromkeys((name for name in NAMES if name not in LANDMARKERS), math.nan)
    with np.errstate(all="ignore"):
        for part in (_simple(dataset), _target(dataset, sample), _missing(sample), _categories(sample)):
            found |= part
        found |= _numbers(sample) | _together(sample) | _information(dataset, sample)
        found |= _texts(sample) | _images(sample)
    return {name: finite(value) for name, value in found.items()}


def finite(value: float) -> float:
    """The value within -1e9 and 1e9; NaN where it is none."""
    return math.nan if math.isnan(value) else float(min(_LARGE, max(-_LARGE, value)))


def _log(value: float) -> float:
    return math.log10(value) if value > 0 else math.nan


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _spread(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.std(known)) if known else math.nan


def _most(values: Iterable[float]) -> float:
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


def _target(dataset: Dataset, sample: Sample) -> dict[str, float]:
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


def _missing(sample: Sample) -> dict[str, float]:
    gaps = np.concatenate([np.isnan(sample.numbers[:, : sample.n_tabular]), sample.codes < 0], axis=1)
    if not gaps.size:
        return dict.fromkeys(("missing_frac", "missing_column_frac", "missing_row_frac"), 0.0)
    return {
        "missing_frac": gaps.mean(),
        "missing_column_frac": gaps.any(axis=0).mean(),
        "missing_row_frac": gaps.any(axis=1).mean(),
    }


def _categories(sample: Sample) -> dict[str, float]:
    counts = [np.bincount(column[column >= 0]) for column in sample.codes.T if (column >= 0).any()]
    return {
        "levels_mean": _mean(map(len, counts)),
        "levels_max": _most(map(len, counts)),
        "level_entropy_mean": _mean(_entropy(c) / math.log2(len(c)) if len(c) > 1 else 0.0 for c in counts),
    }


def _numbers(sample: Sample) -> dict[str, float]:
    x = sample.numbers
    if not x.size:
        return {}
    skewness, kurtosis = _moments(x)
    known = [column[np.isfinite(column)] for column in x.T]
    known = [column for column in known if len(column)]
    scales = [_log(column.std()) for column in known]
    return {
        "skewness_mean": _mean(skewness),
        "skewness_spread": _spread(skewness),
        "kurtosis_mean": _mean(kurtosis),
        "kurtosis_spread": _spread(kurtosis),
        "outlier_frac": _mean(map(_outliers, known)),
        "zero_frac": _mean((column == 0).mean() for column in known),
        "whole_frac": _mean(float((column == np.round(column)).all()) for column in known),
        "distinct_frac": _mean(len(np.unique(column)) / len(column) for column in known),
        "scale_spread": _spread(scales),
    }


def _moments(x: Array) -> tuple[Array, Array]:
    """Skewness and excess kurtosis of each column, NaN where it is constant."""
    known = np.isfinite(x)
    n = known.sum(axis=0)
    scale = np.where(known, np.abs(x), 0).max(axis=0)
    x = np.where(known, x, 0) / np.where(scale > 0, scale, 1)  # or the powers overflow
    moved = np.where(known, x - x.sum(axis=0) / n, 0)
    variance, third, fourth = ((moved**power).sum(axis=0) / n for power in (2, 3, 4))
    variance = np.where(variance > _TINY**2, variance, np.nan)
    return third / variance**1.5, fourth / variance**2 - 3


def _outliers(column: Array) -> float:
    low, high = np.percentile(column, [25, 75])
    reach = 1.5 * (high - low)
    return float(((column < low - reach) | (column > high + reach)).mean())


def _standard(x: Array) -> Array:
    """Columns with gaps at their mean, in units of their deviation; those that are constant left out."""
    known = np.isfinite(x)
    scale = np.where(known, np.abs(x), 0).max(axis=0, initial=0)
    x = x / np.where(scale > 0, scale, 1)
    x = np.where(known, x - np.where(known, x, 0).sum(axis=0) / np.maximum(1, known.sum(axis=0)), 0)
    deviation = x.std(axis=0)
    return x[:, deviation > _TINY] / deviation[deviation > _TINY]


def _together(sample: Sample) -> dict[str, float]:
    """How the numeric features go with each other, and with the target's order."""
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
        "correlation_max": _most(pairs),
        "component_first_frac": shares[0],
        "component_95_frac": (np.searchsorted(shares.cumsum(), 0.95) + 1) / len(shares),
        "link_rank_mean": _mean(links),
        "link_rank_max": _most(links),
    }


def _ranks(x: Array) -> Array:
    """The rank of each value in its column; equal values share their mean rank."""
    result = np.empty(x.shape)
    for place, column in enumerate(x.T):
        _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
        result[:, place] = (counts.cumsum() - (counts - 1) / 2)[inverse]
    return result


def _information(dataset: Dataset, sample: Sample) -> dict[str, float]:
    y = _parts(sample.target.astype(float)) if dataset.task == "regression" else sample.target
    columns = [_parts(column) for column in sample.numbers.T] + [_few(column) for column in sample.codes.T]
    whole = _entropy(np.bincount(y))
    if not columns or whole <= 0:
        return {}
    entropies = [_entropy(np.bincount(column)) for column in columns]
    told = [_mutual(column, y) for column in columns]
    noise = max(0.0, sum(entropies) - sum(told))
    return {
        "feature_entropy_mean": _mean(entropies),
        "information_mean": _mean(told) / whole,
        "information_max": _most(told) / whole,
        "information_spread": _spread(told) / whole,
        "information_sum": math.log10(sum(told) / whole + 1e-3),
        "noise_ratio": math.log10((noise + 1e-3) / (sum(told) + 1e-3)),
    }


def _parts(column: Array) -> Array:
    """Codes of a number: eight parts with as many rows each, and one for what is missing."""
    known = np.isfinite(column)
    edges = np.unique(np.quantile(column[known], np.linspace(0, 1, _BINS + 1)[1:-1])) if known.any() else np.empty(0)
    return np.where(known, np.searchsorted(edges, column, side="right"), len(edges) + 1)


def _few(column: Array) -> Array:
    """Codes of a category: the twenty commonest values, one for the others, one for what is missing."""
    counts = np.bincount(column + 1)
    places = np.full(len(counts), _LEVELS)
    common = np.argsort(-counts, kind="stable")[:_LEVELS]
    places[common] = np.arange(len(common))
    return places[column + 1]


def _entropy(counts: Array) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def _mutual(a: Array, b: Array) -> float:
    """Mutual information in bits, less what chance alone would show on so few rows (Miller and Madow)."""
    k = int(b.max()) + 1
    table = np.bincount(a * k + b, minlength=(int(a.max()) + 1) * k).reshape(-1, k)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    chance = ((rows > 0).sum() - 1) * ((columns > 0).sum() - 1) / (2 * math.log(2) * table.sum())
    return max(0.0, _entropy(rows) + _entropy(columns) - _entropy(table.ravel()) - chance)


def _texts(sample: Sample) -> dict[str, float]:
    if not any(sample.words):
        return {}
    lengths, counts = [len(row) for row in sample.words], Counter(word for row in sample.words for word in row)
    return {
        "text_words_mean": _log(_mean(lengths)),
        "text_words_spread": _spread(lengths) / _mean(lengths),
        "text_vocabulary": _log(len(counts)),
        "text_once_frac": sum(n == 1 for n in counts.values()) / len(counts),
    }


def _images(sample: Sample) -> dict[str, float]:
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
