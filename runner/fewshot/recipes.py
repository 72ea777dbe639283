"""Encode raw data as network inputs by a recipe, which is made of train rows and stored with the initialisation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from core.datasets import Dataset
from core.datasets.columns import Column
from core.errors import InputError

Recipe = dict[str, Any]  # see initialisation_file.LoadedInitialisation
MAX_VOCABULARY = 20_000
MAX_WORDS = 200  # of a text
MAX_LEVELS = 50  # of a categorical column; rarer values count as unknown
FIRST_WORD = 2  # 0 is padding
OTHER_WORDS = 512  # numbers for the words outside the vocabulary, by their hash
_STOP_SHARE = 0.6  # of the train classes
_WORD = re.compile(r"\w+")


def name_columns(dataset: Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the features' names in the user's files."""
    return table.rename(columns={column.key: column.name for column in dataset.features})


def image_recipe(shape: Sequence[int]) -> Recipe:
    """Return the recipe for images of `shape` [height, width, channels]."""
    return {"kind": "image", "shape": [int(size) for size in shape]}


def encode_images(recipe: Recipe, pixels: np.ndarray) -> Tensor:
    """Return images uint8 [n, height, width, channels] as uint8 [n, channels, height, width].

    Raises InputError for another shape; `core.datasets.images.pixels.decode` converts an image.
    """
    if list(pixels.shape[1:]) != recipe["shape"] or pixels.dtype != np.uint8:
        actual, expected = (" x ".join(map(str, shape)) for shape in (pixels.shape[1:], recipe["shape"]))
        raise InputError(
            f"The images are {actual}, and the network needs {expected}.", remedy="Convert them to that size."
        )
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def feature_recipe(recipe: Recipe, features: np.ndarray, length: float) -> Recipe:
    """Return a recipe of images with the means and deviations of train rows' features [n, features].

    The deviations are scaled: an image encoded by `encode_features` has about this length, however many features there
    are, as learning rates and distances depend on it.
    """
    scale = np.sqrt(features.shape[1]) / length
    scales = [mean_and_std(column) for column in features.T.astype(np.float64)]
    return recipe | {"mean": [one["mean"] for one in scales], "std": [one["std"] * scale for one in scales]}


def encode_features(recipe: Recipe, features: Tensor) -> Tensor:
    """Return the features [n, features] of a pretrained network, standardised as float32."""
    mean, std = (torch.tensor(recipe[name], dtype=torch.float64) for name in ("mean", "std"))
    return ((features.double() - mean) / std).float()


def text_recipe(texts: Sequence[str], codes: Sequence[int]) -> Recipe:
    """Return the vocabulary of train texts, the most frequent words first, and a length that fits 95% of them.

    Words that most classes use do not distinguish any and are ignored (`stop`). Words that occur once are treated like
    the unknown words of new classes, so that training meets some of these. Raises InputError if there are no words.
    """
    rows = [_words(text) for text in texts]
    counts = Counter(word for row in rows for word in row)
    if not counts:
        raise InputError("The texts of the train classes have no words.", remedy="Check the text column.")
    pairs = {(word, code) for row, code in zip(rows, codes, strict=True) for word in row}
    n_classes = Counter(word for word, _ in pairs)
    stop = sorted(word for word, n in n_classes.items() if n > _STOP_SHARE * len(set(codes)))
    stop = [] if len(stop) == len(counts) else stop
    ignored = set(stop)
    repeated = {word for word in counts if counts[word] > 1} - ignored
    words = sorted(repeated, key=lambda word: (-counts[word], word))[:MAX_VOCABULARY]
    lengths = [sum(word not in ignored for word in row) for row in rows]
    length = int(np.clip(np.quantile(lengths, 0.95), 1, MAX_WORDS))
    return {"kind": "text", "words": words, "stop": stop, "length": length}


def encode_texts(recipe: Recipe, texts: Sequence[str]) -> Tensor:
    """Return texts as word numbers int64 [n, length]; 0 is padding.

    Words outside the vocabulary are numbered by their hash: they often say what a new class is about.
    """
    codes = {word: code for code, word in enumerate(recipe["words"], start=FIRST_WORD)}
    first, stop = FIRST_WORD + len(codes), set(recipe["stop"])
    numbers = torch.zeros(len(texts), recipe["length"], dtype=torch.int64)
    for row, text in enumerate(texts):
        words = [word for word in _words(text) if word not in stop][: recipe["length"]]
        ids = [codes[word] if word in codes else first + crc32(word.encode()) % OTHER_WORDS for word in words]
        numbers[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
    return numbers


def table_recipe(frame: pd.DataFrame, columns: Sequence[Column]) -> Recipe:
    """Return the means and deviations of numbers and the levels of categories, from train rows.

    `frame` has the columns' names. Text columns are ignored. Raises InputError if no other column remains.
    """
    usable = [column for column in columns if column.type not in ("text", "image")]
    if not usable:
        raise InputError("There is no column to learn from.", remedy="Use at least one number or category.")
    return {"kind": "table", "columns": [_column_recipe(frame[column.name], column) for column in usable]}


def encode_table(recipe: Recipe, frame: pd.DataFrame) -> Tensor:
    """Return rows as float32 [n, inputs], columns matched by name: numbers standardised, categories one-hot.

    A missing or unreadable number becomes the mean, an unknown category no level. Raises InputError for a missing
    column.
    """
    missing = [column["name"] for column in recipe["columns"] if column["name"] not in frame.columns]
    if missing:
        raise InputError(f"There is no column {missing[0]!r}, which the network needs.", remedy="Add it.")
    parts = [_encode(frame[column["name"]], column) for column in recipe["columns"]]
    return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))


def mean_and_std(values: np.ndarray) -> dict[str, float]:
    """Return the mean and standard deviation (1 instead of 0) of the finite values."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return {"mean": 0.0, "std": 1.0}
    return {"mean": float(finite.mean()), "std": float(finite.std()) or 1.0}


def _words(text: object) -> list[str]:
    return _WORD.findall(text.lower()) if isinstance(text, str) else []


def _column_recipe(values: pd.Series, column: Column) -> Recipe:
    if column.type == "categorical":
        levels = values.dropna().astype(str).value_counts().index[:MAX_LEVELS]
        return {"name": column.name, "type": "categorical", "levels": sorted(levels)}
    return {"name": column.name, "type": column.type, **mean_and_std(_numbers(values, column.type))}


def _encode(values: pd.Series, column: Recipe) -> np.ndarray:
    if column["type"] == "categorical":
        texts = values.astype("object").where(values.notna(), None).map(lambda value: value and str(value))
        return np.stack([(texts == level).to_numpy(float) for level in column["levels"]] or [np.zeros(len(values))], 1)
    numbers = (_numbers(values, column["type"]) - column["mean"]) / column["std"]
    return np.where(np.isfinite(numbers), numbers, 0.0)[:, None]


def _numbers(values: pd.Series, kind: str) -> np.ndarray:
    """Return the values as numbers; times as seconds since the epoch."""
    if kind == "datetime":
        times = pd.to_datetime(values, errors="coerce")
        return ((times - pd.Timestamp(0)) / pd.Timedelta(seconds=1)).to_numpy(float)
    return pd.to_numeric(values, errors="coerce").to_numpy(float, na_value=np.nan)
