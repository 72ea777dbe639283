"""A dataset as the tensors that networks take, and what it needs to make more of them from a user's files."""

from __future__ import annotations

import re
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
from runner.automl import frames
from runner.nas.space.fronts import Columns, Front, Pixels, Tokens
from runner.nas.space.spaces import AnySpace, ImageSpace, TableSpace, TextSpace
from runner.nas.training.batches import batch_choices

VOCABULARY = 20_000
LONGEST = 200
_KNOTS = 32  # of a number's rank
_FIRST_WORD = 2  # 0 is padding, 1 an unknown word
_LEAST_SIDE = {"cpu": 14, "cuda": 28}  # pixels that the stem leaves of larger images
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Raw inputs and actual values by split, the front that scales the inputs, and the space that fits them.

    `scale` is the mean and deviation of a number to predict. `recipe` is what predict.py must know beside `columns`, in
    the order of the raw inputs, and `levels`, the known values of the categorical ones by key.
    """

    space: AnySpace
    front: Front
    raw: dict[Split, Tensor]
    actual: dict[Split, Array]
    scale: tuple[float, float] | None
    recipe: dict[str, Any]
    columns: tuple[Column, ...] = ()
    levels: dict[str, list[str]] = field(default_factory=dict)

    def pair(self, split: Split) -> tuple[Tensor, Tensor]:
        """What networks train on: scaled inputs, and codes or standardised numbers."""
        x = torch.cat([self.front(piece) for piece in self.raw[split].split(4096)])
        if self.scale is None:
            return x, torch.from_numpy(self.actual[split].astype(np.int64))
        mean, deviation = self.scale
        return x, torch.from_numpy(((self.actual[split] - mean) / deviation).astype(np.float32))


def prepare(dataset: Dataset, device: str = "cpu") -> Prepared:
    """The dataset's splits as tensors (on the processor), and the space of networks that suit it and the device.

    Raises InputError where there is nothing to learn from.
    """
    if dataset.modality == "image":
        return _images(dataset, _LEAST_SIDE[device])
    return (_texts if dataset.modality == "text" else _table)(dataset)


def _scale(dataset: Dataset, actual: Array) -> tuple[float, float] | None:
    if dataset.task != "regression":
        return None
    return float(actual.mean()), float(actual.std()) or 1.0


def _outputs(dataset: Dataset) -> int:
    return len(dataset.labels) if dataset.task != "regression" else 1


def _images(dataset: Dataset, least_side: int) -> Prepared:
    raw, actual = {}, {}
    for split in SPLITS:
        found, codes = datasets.load_images(dataset, split)
        raw[split] = torch.from_numpy(found).permute(0, 3, 1, 2).contiguous()
        actual[split] = codes
    _, channels, height, width = raw["train"].shape
    front = Pixels(channels)
    by_channel = raw["train"].transpose(0, 1).flatten(1).double()
    front.mean.copy_(by_channel.mean(1))
    front.std.copy_(by_channel.std(1).clamp_min(1.0))
    batches = batch_choices(len(raw["train"]))
    # A mirrored photograph shows the same thing, a mirrored sign does not; photographs have colours.
    space = ImageSpace.fitting(
        (channels, height, width), _outputs(dataset), flips=channels == 3, batches=batches, least_side=least_side
    )
    return Prepared(space, front, raw, actual, None, {"shape": [height, width, channels]})


def _texts(dataset: Dataset) -> Prepared:
    keys = [column.key for column in dataset.features]
    tokens, actual = {}, {}
    for split in SPLITS:
        table = datasets.load(dataset, split)
        tokens[split] = [_words(row) for row in table[keys].itertuples(index=False)]
        actual[split] = _actual(dataset, table)
    counts = Counter(word for row in tokens["train"] for word in row)
    words = sorted(counts, key=lambda word: (-counts[word], word))[:VOCABULARY]
    if not words:
        raise InputError(f"The texts of {dataset.name} have no words in the train rows: check the text column.")
    length = int(np.clip(np.quantile([len(row) for row in tokens["train"]], 0.95), 1, LONGEST))
    codes = {word: code for code, word in enumerate(words, start=_FIRST_WORD)}
    raw = {split: _coded(tokens[split], codes, length) for split in SPLITS}
    batches = batch_choices(len(raw["train"]))
    space = TextSpace(len(words) + _FIRST_WORD, length, _outputs(dataset), batches=batches)
    recipe = {"words": words, "length": length}
    return Prepared(space, Tokens(), raw, actual, _scale(dataset, actual["train"]), recipe, dataset.features)


def _words(row: tuple[Any, ...]) -> list[str]:
    return _WORD.findall(" ".join(value for value in row if isinstance(value, str)).lower())


def _coded(rows: list[list[str]], codes: dict[str, int], length: int) -> Tensor:
    result = np.zeros((len(rows), length), np.int64)
    for place, words in enumerate(rows):
        found = [codes.get(word, 1) for word in words[:length]]
        result[place, : len(found)] = found
    return torch.from_numpy(result)


def _actual(dataset: Dataset, table: pd.DataFrame) -> Array:
    target = table[dataset.target_column.key]
    if dataset.task == "regression":
        return target.to_numpy(float)
    return pd.Categorical(target, categories=list(dataset.labels)).codes.astype(int)


def _table(dataset: Dataset) -> Prepared:
    used = frames.usable(dataset)
    if not used:
        raise InputError(f"{dataset.name} has no column to predict {dataset.target!r} from: use at least one feature.")
    rows = {split: frames.read(dataset, split) for split in SPLITS}
    numeric = [column for column in used if column.type != "categorical"]
    categorical = [column for column in used if column.type == "categorical"]
    train = rows["train"].features
    numbers = train[[column.key for column in numeric]].to_numpy(float)
    flagged = np.flatnonzero(np.isnan(numbers).any(axis=0)).tolist()
    levels = {column.key: sorted(train[column.key].dropna().unique()) for column in categorical}
    front = Columns(len(numeric), flagged, _KNOTS)
    for place, column in enumerate(numbers.T):
        known = column[~np.isnan(column)]
        if len(known):
            front.mean[place], front.std[place] = float(known.mean()), float(known.std()) or 1.0
            knots = _knots(known)
            front.low[place, : len(knots) - 1] = torch.from_numpy(knots[:-1])
            front.step[place, : len(knots) - 1] = torch.from_numpy(np.diff(knots))
    space = TableSpace(
        2 * len(numeric) + len(flagged), tuple(1 + len(levels[c.key]) for c in categorical), _outputs(dataset),
        batches=batch_choices(len(train)),
    )  # fmt: skip
    raw = {split: _row_tensor(rows[split].features, [c.key for c in numeric], levels) for split in SPLITS}
    actual = {split: rows[split].actual for split in SPLITS}
    scale = _scale(dataset, actual["train"])
    return Prepared(space, front, raw, actual, scale, {}, (*numeric, *categorical), levels)


def _knots(known: Array) -> Array:
    """Quantiles of the values and, for what is rare but not alike, of the different values."""
    half = np.linspace(0, 1, _KNOTS // 2)
    return np.unique(np.concatenate([np.quantile(known, half), np.quantile(np.unique(known), half)]))


def _row_tensor(features: pd.DataFrame, numeric: list[str], levels: dict[str, list[str]]) -> Tensor:
    codes = [pd.Categorical(features[key], categories=known).codes + 1 for key, known in levels.items()]
    columns = [features[key].to_numpy(float) for key in numeric] + [code.astype(float) for code in codes]
    return torch.from_numpy(np.stack(columns, axis=1))
