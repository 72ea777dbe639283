"""A dataset as the tensors that networks take, with what predict.py needs to build them from a user's files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from core import datasets
from core.datasets import SPLITS, Column, Dataset, Split
from core.errors import InputError
from core.scoring import Array
from runner.nas.space.spaces import AnySpace, ImageSpace, TableSpace, TextSpace
from runner.nas.training.batches import batch_choices
from runner.shared.input_scaling import Columns, InputScaling, Pixels, Tokens
from runner.shared.predict.with_onnx import FIRST_WORD, split_words, word_codes
from runner.shared.rows import actual_values, check_features, plain_columns, read

MAX_WORDS = 20_000  # of the vocabulary
MAX_LENGTH = 200  # of a text, in words
_KNOTS = 32  # for the rank of a number
_MINIMUM_SIDE = {"cpu": 14, "cuda": 28}  # pixels, after the stem has made larger images smaller


@dataclass(frozen=True, slots=True)
class DatasetTensors:
    """Raw inputs and actual values by split, the scaling of the inputs, and the search space for them.

    `target_scale` is the mean and deviation of a number to predict. `schema` is what predict.py must know beside
    `columns`, in the order of the raw inputs, and `levels`, the categories of the train rows by key.
    """

    space: AnySpace
    scaling: InputScaling
    raw: dict[Split, Tensor]
    actual: dict[Split, Array]
    target_scale: tuple[float, float] | None
    schema: dict[str, Any]
    columns: tuple[Column, ...] = ()
    levels: dict[str, list[str]] = field(default_factory=dict)

    def pair(self, split: Split) -> tuple[Tensor, Tensor]:
        """Return the scaled inputs of a split, and codes or standardised numbers as targets."""
        x = torch.cat([self.scaling(piece) for piece in self.raw[split].split(4096)])
        if self.target_scale is None:
            return x, torch.from_numpy(self.actual[split].astype(np.int64))
        mean, deviation = self.target_scale
        return x, torch.from_numpy(((self.actual[split] - mean) / deviation).astype(np.float32))


def prepare(dataset: Dataset, device: str = "cpu") -> DatasetTensors:
    """Return the dataset's splits as tensors (on the CPU), and a space of networks that suit it and the device.

    Raises InputError where there is nothing to learn from.
    """
    if dataset.modality == "image":
        return _prepare_images(dataset, _MINIMUM_SIDE[device])
    return (_prepare_texts if dataset.modality == "text" else _prepare_table)(dataset)


def _target_scale(dataset: Dataset, actual: Array) -> tuple[float, float] | None:
    if dataset.task != "regression":
        return None
    return float(actual.mean()), float(actual.std()) or 1.0


def _n_outputs(dataset: Dataset) -> int:
    return len(dataset.labels) if dataset.task != "regression" else 1


def _prepare_images(dataset: Dataset, minimum_side: int) -> DatasetTensors:
    raw, actual = {}, {}
    for split in SPLITS:
        pixels, codes = datasets.load_images(dataset, split)
        raw[split] = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        actual[split] = codes
    _, channels, height, width = raw["train"].shape
    scaling = Pixels(channels)
    by_channel = raw["train"].transpose(0, 1).flatten(1).double()
    scaling.mean.copy_(by_channel.mean(1))
    scaling.std.copy_(by_channel.std(1).clamp_min(1.0))
    batches = batch_choices(len(raw["train"]))
    # A mirrored photograph shows the same thing, a mirrored letter does not; photographs are in colour.
    space = ImageSpace.for_shape(
        (channels, height, width), _n_outputs(dataset), flips=channels == 3, batches=batches, minimum_side=minimum_side
    )
    return DatasetTensors(space, scaling, raw, actual, None, {"shape": [height, width, channels]})


def _prepare_texts(dataset: Dataset) -> DatasetTensors:
    keys = [column.key for column in dataset.features]
    tokens, actual = {}, {}
    for split in SPLITS:
        table = datasets.load(dataset, split)
        tokens[split] = [split_words(row) for row in table[keys].itertuples(index=False)]
        actual[split] = actual_values(dataset, table)
    counts = Counter(word for row in tokens["train"] for word in row)
    words = sorted(counts, key=lambda word: (-counts[word], word))[:MAX_WORDS]
    if not words:
        raise InputError(
            f"The texts of {dataset.name} have no words in the train rows.", remedy="Check the text column."
        )
    length = int(np.clip(np.quantile([len(row) for row in tokens["train"]], 0.95), 1, MAX_LENGTH))
    raw = {split: torch.from_numpy(word_codes(tokens[split], words, length)) for split in SPLITS}
    batches = batch_choices(len(raw["train"]))
    space = TextSpace(len(words) + FIRST_WORD, length, _n_outputs(dataset), batches=batches)
    schema = {"words": words, "length": length}
    return DatasetTensors(
        space, Tokens(), raw, actual, _target_scale(dataset, actual["train"]), schema, dataset.features
    )


def _prepare_table(dataset: Dataset) -> DatasetTensors:
    features = plain_columns(dataset)
    check_features(dataset, features)
    rows = {split: read(dataset, split, texts=False) for split in SPLITS}
    numeric = [column for column in features if column.type != "categorical"]
    categorical = [column for column in features if column.type == "categorical"]
    train = rows["train"].features
    numbers = train[[column.key for column in numeric]].to_numpy(float)
    flagged = np.flatnonzero(np.isnan(numbers).any(axis=0)).tolist()
    levels = {column.key: sorted(train[column.key].dropna().unique()) for column in categorical}
    scaling = _column_scaling(numbers, flagged)
    space = TableSpace(
        2 * len(numeric) + len(flagged), tuple(1 + len(levels[c.key]) for c in categorical), _n_outputs(dataset),
        batches=batch_choices(len(train)),
    )  # fmt: skip
    raw = {split: _row_tensor(rows[split].features, [c.key for c in numeric], levels) for split in SPLITS}
    actual = {split: rows[split].actual for split in SPLITS}
    scale = _target_scale(dataset, actual["train"])
    return DatasetTensors(space, scaling, raw, actual, scale, {}, (*numeric, *categorical), levels)


def _column_scaling(numbers: Array, flagged: list[int]) -> Columns:
    """Return the scaling for numbers [rows, columns] with NaN where missing; `flagged` columns have missing values."""
    scaling = Columns(numbers.shape[1], flagged, _KNOTS)
    for place, column in enumerate(numbers.T):
        values = column[~np.isnan(column)]
        if len(values):
            scaling.mean[place], scaling.std[place] = float(values.mean()), float(values.std()) or 1.0
            knots = _knots(values)
            scaling.low[place, : len(knots) - 1] = torch.from_numpy(knots[:-1])
            scaling.step[place, : len(knots) - 1] = torch.from_numpy(np.diff(knots))
    return scaling


def _knots(values: Array) -> Array:
    """Return quantiles of all values and, to cover rare ones as well, of the distinct values."""
    half = np.linspace(0, 1, _KNOTS // 2)
    return np.unique(np.concatenate([np.quantile(values, half), np.quantile(np.unique(values), half)]))


def _row_tensor(features: pd.DataFrame, numeric: list[str], levels: dict[str, list[str]]) -> Tensor:
    codes = [pd.Categorical(features[key], categories=values).codes + 1 for key, values in levels.items()]
    columns = [features[key].to_numpy(float) for key in numeric] + [code.astype(float) for code in codes]
    return torch.from_numpy(np.stack(columns, axis=1))
