"""How long a fit of a candidate takes: a power law in rows and features for each, learned from known fit times."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.knowledge import Knowledge

_MIN_DATASETS = 8  # with a time, to learn how a candidate's fit time grows
_MAX_POWER = 2.5  # of the rows or of the features


def growth(knowledge: Knowledge) -> dict[str, list[float]]:
    """Return how each candidate's fit time grows with rows and features, by least squares on the logarithms.

    The values are [log10 of the seconds at one row and one feature, power of the rows, power of the features].
    """
    sizes = knowledge.features.reindex(columns=["log_n_rows", "log_n_features"]).to_numpy(float)
    result = {}
    for name, column in knowledge.fit_s.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            seconds = np.log10(column.to_numpy(float))
        rows = np.isfinite(seconds) & np.isfinite(sizes).all(axis=1)
        if not rows.any():
            continue
        powers = np.array([1.0, 0.0])
        if rows.sum() >= _MIN_DATASETS:
            centred = sizes[rows] - sizes[rows].mean(axis=0)
            powers = np.linalg.lstsq(centred, seconds[rows] - seconds[rows].mean(), rcond=None)[0]
            powers = np.clip(powers, 0.0, _MAX_POWER)
        result[str(name)] = [float(np.median(seconds[rows] - sizes[rows] @ powers)), *map(float, powers)]
    return result


def predict_s(times: Mapping[str, list[float]], candidate: str, features: Mapping[str, float]) -> float:
    """Return the seconds that a fit may take on a dataset with these meta-features; NaN for an unknown candidate.

    `times` is what `growth` returned.
    """
    if candidate not in times:
        return float("nan")
    start, rows, columns = times[candidate]
    return float(10 ** (start + rows * features["log_n_rows"] + columns * features["log_n_features"]))
