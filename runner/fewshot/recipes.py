"""Raw data as network inputs, by a recipe that an initialisation carries; made of train rows, applied to all."""

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

from core.datasets.columns import Column
from core.errors import InputError

Recipe = dict[str, Any]  # see initialisation.Initialisation
VOCABULARY = 20_000
LONGEST = 200  # words
MAX_LEVELS = 50  # of a categorical column; the rarer values are as unknown ones
FIRST_WORD = 2  # 0 is padding
OTHER_WORDS = 512  # numbers for the words that are not in the vocabulary, by their hash
_STOP_SHARE = 0.6  # of the train classes
_WORD = re.compile(r"\w+")


def image_recipe(shape: Sequence[int]) -> Recipe:
    """For images of `shape` [height, width, channels]."""
    return {"kind": "image", "shape": [int(size) for size in shape]}


def from_images(recipe: Recipe, pixels: np.ndarray) -> Tensor:
    """Images uint8 [n, height, width, channels] as uint8 [n, channels, height, width].

    Raises InputError for another shape; `core.datasets.images.pixels.decode` brings an image to one.
    """
    if list(pixels.shape[1:]) != recipe["shape"] or pixels.dtype != np.uint8:
        told = " x ".join(map(str, pixels.shape[1:]))
        wanted = " x ".join(map(str, recipe["shape"]))
        raise InputError(f"The images are {told}, and the network takes {wanted}: bring them to that size.")
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def feature_recipe(recipe: Recipe, features: np.ndarray, length: float) -> Recipe:
    """The same recipe of images with the means and deviations of train rows' features [n, features].

    Deviations are such that what `from_features` makes of an image has about this length, however many features there
    are: rates and distances depend on it.
    """
    scale = np.sqrt(features.shape[1]) / length
    found = [standard(column) for column in features.T.astype(np.float64)]
    return recipe | {"mean": [one["mean"] for one in found], "std": [one["std"] * scale for one in found]}


def from_features(recipe: Recipe, features: Tensor) -> Tensor:
    """Features [n, features] of a pretrained network, standardised as float32."""
    mean, std = (torch.tensor(recipe[name], dtype=torch.float64) for name in ("mean", "std"))
    return ((features.double() - mean) / std).float()


def text_recipe(texts: Sequence[str], codes: Sequence[int]) -> Recipe:
    """The words of train texts, the most frequent first, and a length that 95% of them keep to.

    Words that most classes use tell none apart and are left out (`stop`). A word that comes once is treated like those
    of new classes, so that training knows such. Raises InputError where there are no words.
    """
    rows = [_words(text) for text in texts]
    counts = Counter(word for row in rows for word in row)
    if not counts:
        raise InputError("The texts of the train classes have no words: check the text column.")
    used = Counter(word for word, _ in {(word, code) for row, code in zip(rows, codes, strict=True) for word in row})
    most = _STOP_SHARE * len(set(codes))
    stop = sorted(word for word, n_classes in used.items() if n_classes > most)
    stop = [] if len(stop) == len(counts) else stop
    words = sorted({word for word in counts if counts[word] > 1} - set(stop), key=lambda word: (-counts[word], word))[
        :VOCABULARY
    ]
    left_out = set(stop)
    lengths = [sum(word not in left_out for word in row) for row in rows]
    length = int(np.clip(np.quantile(lengths, 0.95), 1, LONGEST))
    return {"kind": "text", "words": words, "stop": stop, "length": length}


def from_texts(recipe: Recipe, texts: Sequence[str]) -> Tensor:
    """Texts as ids int64 [n, length]: 0 is padding.

    Words that the vocabulary does not have are told apart by their hash: what a new class is about is often in them.
    """
    codes = {word: code for code, word in enumerate(recipe["words"], start=FIRST_WORD)}
    first, stop = FIRST_WORD + len(codes), set(recipe["stop"])
    found = torch.zeros(len(texts), recipe["length"], dtype=torch.int64)
    for place, text in enumerate(texts):
        words = [word for word in _words(text) if word not in stop][: recipe["length"]]
        ids = [codes[word] if word in codes else first + crc32(word.encode()) % OTHER_WORDS for word in words]
        found[place, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
    return found


def table_recipe(frame: pd.DataFrame, columns: Sequence[Column]) -> Recipe:
    """Means and deviations of numbers and the levels of categories, of train rows; `frame` has the columns' names.

    Texts beside other columns are left out. Raises InputError where no column is left.
    """
    used = [_described(frame[column.name], column) for column in columns if column.type not in ("text", "image")]
    if not used:
        raise InputError("No column is left to learn from: use at least one number or category.")
    return {"kind": "table", "columns": used}


def from_table(recipe: Recipe, frame: pd.DataFrame) -> Tensor:
    """Rows as float32 [n, inputs], the columns found by name: numbers standardised, categories as 0 and 1.

    A missing or unreadable number is the mean, an unknown category none of the levels. Raises InputError for a column
    that is not there.
    """
    missing = [column["name"] for column in recipe["columns"] if column["name"] not in frame.columns]
    if missing:
        raise InputError(f"There is no column {missing[0]!r}, which the network takes; add it.")
    parts = [_encoded(frame[column["name"]], column) for column in recipe["columns"]]
    return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))


def n_inputs(recipe: Recipe) -> int:
    """Numbers that `from_table` makes of a row."""
    return sum(max(1, len(column.get("levels", (0,)))) for column in recipe["columns"])


def standard(values: np.ndarray) -> dict[str, float]:
    """Mean and deviation (1 where it is 0) of what is known of the values."""
    known = values[np.isfinite(values)]
    return {"mean": float(known.mean()), "std": float(known.std()) or 1.0} if len(known) else {"mean": 0.0, "std": 1.0}


def _words(text: object) -> list[str]:
    return _WORD.findall(text.lower()) if isinstance(text, str) else []


def _described(values: pd.Series, column: Column) -> Recipe:
    if column.type == "categorical":
        levels = values.dropna().astype(str).value_counts().index[:MAX_LEVELS]
        return {"name": column.name, "type": "categorical", "levels": sorted(levels)}
    return {"name": column.name, "type": column.type, **standard(_numbers(values, column.type))}


def _encoded(values: pd.Series, column: Recipe) -> np.ndarray:
    if column["type"] == "categorical":
        texts = values.astype("object").where(values.notna(), None).map(lambda value: value and str(value))
        return np.stack([(texts == level).to_numpy(float) for level in column["levels"]] or [np.zeros(len(values))], 1)
    numbers = (_numbers(values, column["type"]) - column["mean"]) / column["std"]
    return np.where(np.isfinite(numbers), numbers, 0.0)[:, None]


def _numbers(values: pd.Series, kind: str) -> np.ndarray:
    """Numbers; times as seconds since the epoch."""
    if kind == "datetime":
        times = pd.to_datetime(values, errors="coerce")
        return ((times - pd.Timestamp(0)) / pd.Timedelta(seconds=1)).to_numpy(float)
    return pd.to_numeric(values, errors="coerce").to_numpy(float, na_value=np.nan)
