"""The rows of a dataset's splits as scikit-learn and the table readers take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core import datasets
from core.datasets import Column, Dataset, Split
from core.errors import InputError
from core.scoring import Array
from runner.shared.predict.with_skops import flatten


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one split in the order of the stored table.

    `features` is a DataFrame by key, or of images an array [rows, values from 0 to 1]; `actual` holds codes into the
    dataset's labels, or numbers.
    """

    features: Any
    actual: Array

    def at(self, places: Array) -> Rows:
        """Return the rows at these places."""
        part = self.features[places] if isinstance(self.features, np.ndarray) else self.features.iloc[places]
        return Rows(part, self.actual[places])


def plain_columns(dataset: Dataset) -> tuple[Column, ...]:
    """Return the feature columns of one value a row: numeric, datetime and categorical, neither text nor image."""
    return tuple(column for column in dataset.features if column.type not in ("text", "image"))


def check_features(dataset: Dataset, columns: Sequence[Column]) -> None:
    """Raise InputError where an engine has no column to predict from."""
    if not columns:
        text = f"{dataset.name} has no column to predict {dataset.target!r} from."
        raise InputError(text, remedy="Use at least one feature.")


def read(dataset: Dataset, split: Split, *, texts: bool = True) -> Rows:
    """Read one split into memory, with its text columns unless `texts` is false.

    A datetime is epoch seconds, an infinite number is missing, a missing text is empty.
    """
    if dataset.modality == "image":
        pixels, codes = datasets.load_images(dataset, split)
        return Rows(flatten(pixels), codes)
    table = datasets.load(dataset, split)
    features = pd.DataFrame({c.key: _plain(table[c.key], c) for c in plain_columns(dataset)}, index=table.index)
    if keys := [column.key for column in dataset.features if column.type == "text" and texts]:
        words = table[keys].astype(object)
        features = pd.concat([features, words.where(words.notna(), "")], axis=1)
    return Rows(features, actual_values(dataset, table))


def actual_values(dataset: Dataset, table: pd.DataFrame) -> Array:
    """Return the target of a stored table's rows: codes into the dataset's labels, or numbers."""
    target = table[dataset.target_column.key]
    if dataset.task == "regression":
        return target.to_numpy(float)
    return pd.Categorical(target, categories=list(dataset.labels)).codes.astype(int)


def _plain(values: pd.Series, column: Column) -> pd.Series:
    if column.type == "categorical":
        return values.astype(object).where(values.notna(), None)
    if column.type == "datetime":
        seconds = values.astype("datetime64[us]").astype("int64") / 1e6
        return seconds.where(values.notna())
    return values.astype(float).replace([np.inf, -np.inf], np.nan)
