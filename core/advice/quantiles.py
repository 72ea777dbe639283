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

_BEYOND_FRAC = 0.99  # stranger than this share of the known datasets


@dataclass(frozen=True, slots=True)
class Inputs:
    """The known datasets' meta-features, sorted each by itself, by which new ones are measured.

    Meta-features span powers of ten and their outliers say little; a quantile keeps the order only. Missing and
    infinite values count as the median. A meta-feature that is missing, or the same, everywhere is left out.
    """

    names: tuple[str, ...]
    medians: Array  # [features]
    ordered: Array  # [datasets, features], each column in ascending order
    known: Array  # [datasets, features]: the known datasets' quantiles
    reach: float  # how far, at most, a known dataset is from its nearest one (99% of them)
    fringe: float  # in what share of the meta-features, at most, a known dataset is the only lowest or highest (99%)

    def transform(self, features: pd.DataFrame) -> Array:
        """Quantiles [datasets, features] in 0..1; equal values share the middle of their range."""
        values = features.reindex(columns=list(self.names)).to_numpy(float)
        return _quantiles(self.ordered, np.where(np.isfinite(values), values, self.medians))

    def distances(self, quantiles: Array) -> Array:
        """Root mean squared difference of quantiles [new, features] to the known datasets: [new, known] in 0..1."""
        if not self.names:
            return np.zeros((len(quantiles), len(self.known)))
        return np.array([np.sqrt(((self.known - row) ** 2).mean(axis=1)) for row in quantiles]).reshape(
            len(quantiles), len(self.known)
        )

    def beyond(self, quantiles: Array) -> Array:
        """Whether new rows of quantiles are stranger than the known: too far away, or outside in too many features."""
        outside = ((quantiles == 0.0) | (quantiles == 1.0)).mean(axis=1) if self.names else np.zeros(len(quantiles))
        return (self.distances(quantiles).min(axis=1) > self.reach) | (outside > self.fringe)

    def plane(self, quantiles: Array) -> Array:
        """Coordinates [datasets, 2] on the two main axes of the known datasets (principal components)."""
        axes = np.zeros((2, len(self.names)))
        found = np.linalg.svd(self.known - self.known.mean(axis=0), full_matrices=False)[2][:2]
        signs = np.sign(found.sum(axis=1, keepdims=True))  # else the map could be mirrored after a refit
        axes[: len(found)] = found * np.where(signs, signs, 1.0)
        return (quantiles - self.known.mean(axis=0)) @ axes.T


def learnt(features: pd.DataFrame, groups: Array) -> Inputs:
    """The inputs of the known datasets; `groups` [datasets] tells which of them are versions of one another."""
    values = checked(features).to_numpy(float)
    values = np.where(np.isfinite(values), values, np.nan)
    kept = [place for place, column in enumerate(values.T) if len(np.unique(column[~np.isnan(column)])) > 1]
    medians = np.nanmedian(values[:, kept], axis=0) if kept else np.zeros(0)
    full = np.where(np.isnan(values[:, kept]), medians, values[:, kept])
    ordered = np.sort(full, axis=0)
    names = tuple(str(features.columns[place]) for place in kept)
    inputs = Inputs(names, medians, ordered, _quantiles(ordered, full), np.inf, 1.0)
    return replace(inputs, reach=_reach(inputs, groups), fringe=_fringe(inputs))


def checked(features: pd.DataFrame) -> pd.DataFrame:
    """The meta-features as numbers. Raises InputError for a text, a repeated dataset or a repeated meta-feature."""
    for kind, labels in (("dataset", features.index), ("meta-feature", features.columns)):
        if labels.has_duplicates:
            raise InputError(f"{kind}: {labels[labels.duplicated()][0]!r} is there twice; keep one of the two.")
    for name, column in features.items():
        if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)):
            numbers = pd.to_numeric(column, errors="coerce")
            text = column[numbers.isna() & column.notna()]
            if len(text):
                raise InputError(f"meta-feature {name!r}: {text.iloc[0]!r} is not a number; leave the column out.")
            features = features.assign(**{str(name): numbers})
    return features


def nearest(distances: Array, index: Sequence[Any], count: int) -> pd.DataFrame:
    """The `count` nearest known datasets for one row of distances, nearest first: columns dataset, distance."""
    order = np.argsort(distances, kind="stable")[:count]
    return pd.DataFrame({"dataset": [index[place] for place in order], "distance": distances[order]})


def _quantiles(ordered: Array, values: Array) -> Array:
    """Where values [rows, features] lie among sorted ones."""
    result = np.empty(values.shape)
    for place, column in enumerate(ordered.T):
        low, high = (np.searchsorted(column, values[:, place], side) for side in ("left", "right"))
        result[:, place] = (low + high) / (2 * len(column))
    return result


def _reach(inputs: Inputs, groups: Array) -> float:
    """How far known datasets are from the nearest one of another group; infinite where there is no other."""
    apart = np.where(groups[:, None] == groups[None, :], np.inf, inputs.distances(inputs.known)).min(
        axis=1, initial=np.inf
    )
    apart = apart[np.isfinite(apart)]
    return float(np.quantile(apart, _BEYOND_FRAC)) if len(apart) else np.inf


def _fringe(inputs: Inputs) -> float:
    """In what share of the meta-features known datasets are the only lowest or highest one."""
    if not inputs.names:
        return 1.0
    edge = 0.5 / len(inputs.known)
    return float(np.quantile(((inputs.known <= edge) | (inputs.known >= 1 - edge)).mean(axis=1), _BEYOND_FRAC))
