"""Meta-features as a selector takes them: imputed, each replaced by its quantile among the known datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.errors import InputError

Array = NDArray[Any]

_OUTLIER_QUANTILE = 0.99  # an outlier is stranger than this share of the known datasets


@dataclass(frozen=True, slots=True)
class Scale:
    """The known datasets' meta-features, each sorted by itself; new ones are measured by them.

    Meta-features span powers of ten, and how large an outlier is says little; a quantile keeps the order only. Missing
    and infinite values count as the median. A meta-feature that is missing everywhere, or constant, is left out.
    """

    names: tuple[str, ...]
    medians: Array  # [features]
    ordered: Array  # [datasets, features], each column in ascending order
    quantiles: Array  # [datasets, features] of the known datasets
    reach: float  # maximum distance of a known dataset to its nearest one (99% of them)
    fringe: float  # maximum share of meta-features in which a known dataset is the lowest or highest (99% of them)

    def transform(self, features: pd.DataFrame) -> Array:
        """Return quantiles [datasets, features] in 0..1; equal values share the middle of their range."""
        values = features.reindex(columns=list(self.names)).to_numpy(float)
        return _quantiles(self.ordered, np.where(np.isfinite(values), values, self.medians))

    def distances(self, quantiles: Array) -> Array:
        """Return root mean squared differences [new, known] in 0..1 of quantiles [new, features] to the known ones."""
        if not self.names:
            return np.zeros((len(quantiles), len(self.quantiles)))
        return np.array([np.sqrt(((self.quantiles - row) ** 2).mean(axis=1)) for row in quantiles]).reshape(
            len(quantiles), len(self.quantiles)
        )

    def outliers(self, quantiles: Array) -> Array:
        """Return whether each new row is an outlier: too far from the known ones, or extreme in too many features."""
        outside = ((quantiles == 0.0) | (quantiles == 1.0)).mean(axis=1) if self.names else np.zeros(len(quantiles))
        return (self.distances(quantiles).min(axis=1) > self.reach) | (outside > self.fringe)

    def plane(self, quantiles: Array) -> Array:
        """Return coordinates [datasets, 2] on the first two principal components of the known datasets."""
        axes = np.zeros((2, len(self.names)))
        main = np.linalg.svd(self.quantiles - self.quantiles.mean(axis=0), full_matrices=False)[2][:2]
        signs = np.sign(main.sum(axis=1, keepdims=True))  # fixed, or a refit could mirror the map
        axes[: len(main)] = main * np.where(signs, signs, 1.0)
        return (quantiles - self.quantiles.mean(axis=0)) @ axes.T


def fit_scale(features: pd.DataFrame, groups: Array) -> Scale:
    """Fit a scale on the known datasets; `groups` [datasets] has one number for versions of the same dataset."""
    values = numbers(features).to_numpy(float)
    values = np.where(np.isfinite(values), values, np.nan)
    places = [place for place, column in enumerate(values.T) if len(np.unique(column[~np.isnan(column)])) > 1]
    medians = np.nanmedian(values[:, places], axis=0) if places else np.zeros(0)
    full = np.where(np.isnan(values[:, places]), medians, values[:, places])
    ordered = np.sort(full, axis=0)
    names = tuple(str(features.columns[place]) for place in places)
    scale = Scale(names, medians, ordered, _quantiles(ordered, full), np.inf, 1.0)
    return replace(scale, reach=_reach(scale, groups), fringe=_fringe(scale))


def numbers(features: pd.DataFrame) -> pd.DataFrame:
    """Return the meta-features as numbers.

    Raises InputError for a text, a repeated dataset or a repeated meta-feature.
    """
    check_unique("dataset", features.index)
    check_unique("meta-feature", features.columns)
    for name, column in features.items():
        if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)):
            values = pd.to_numeric(column, errors="coerce")
            text = column[values.isna() & column.notna()]
            if len(text):
                raise InputError(
                    f"{text.iloc[0]!r} is not a number.", field=f"meta-feature {name!r}", value=text.iloc[0],
                    remedy="Leave the column out.",
                )  # fmt: skip
            features = features.assign(**{str(name): values})
    return features


def check_unique(what: str, labels: pd.Index) -> None:
    """Raise InputError if a label occurs twice; `what` says what the labels name."""
    if labels.has_duplicates:
        label = labels[labels.duplicated()][0]
        raise InputError(f"{label!r} occurs twice.", field=what, value=label, remedy="Keep one of the two.")


def nearest_rows(distances: Array, index: Sequence[Any], count: int) -> pd.DataFrame:
    """Return the `count` nearest known datasets for one row of distances: columns dataset, distance; nearest first."""
    order = np.argsort(distances, kind="stable")[:count]
    return pd.DataFrame({"dataset": [index[place] for place in order], "distance": distances[order]})


def _quantiles(ordered: Array, values: Array) -> Array:
    """Return where values [rows, features] lie among sorted ones."""
    result = np.empty(values.shape)
    for place, column in enumerate(ordered.T):
        low, high = (np.searchsorted(column, values[:, place], side) for side in ("left", "right"))
        result[:, place] = (low + high) / (2 * len(column))
    return result


def _reach(scale: Scale, groups: Array) -> float:
    """Return how far known datasets are from the nearest one of another group; infinite if there is no other."""
    apart = np.where(groups[:, None] == groups[None, :], np.inf, scale.distances(scale.quantiles)).min(
        axis=1, initial=np.inf
    )
    apart = apart[np.isfinite(apart)]
    return float(np.quantile(apart, _OUTLIER_QUANTILE)) if len(apart) else np.inf


def _fringe(scale: Scale) -> float:
    """Return in what share of the meta-features known datasets are the only lowest or highest one."""
    if not scale.names:
        return 1.0
    edge = 0.5 / len(scale.quantiles)
    extreme = (scale.quantiles <= edge) | (scale.quantiles >= 1 - edge)
    return float(np.quantile(extreme.mean(axis=1), _OUTLIER_QUANTILE))
