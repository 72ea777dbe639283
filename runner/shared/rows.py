"""A dataset's splits as scikit-learn takes them: a table by key with its texts, or images as rows of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core import datasets
from core.datasets import Dataset, Split
from core.scoring import Array
from runner.automl import frames

_PIXELS = 3_072  # values an image is averaged down to: 32 x 32 in colour


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one split: features (a DataFrame by key, or of images an array [rows, values from 0 to 1]) and the
    actual codes or numbers."""

    features: Any
    actual: Array

    def some(self, places: Array) -> Rows:
        """The rows at these places."""
        kept = self.features[places] if isinstance(self.features, np.ndarray) else self.features.iloc[places]
        return Rows(kept, self.actual[places])


def read(dataset: Dataset, split: Split) -> Rows:
    """One split in memory. A missing text is empty, a time is epoch seconds, an infinite number is missing."""
    if dataset.modality == "image":
        pixels, codes = datasets.load_images(dataset, split)
        return Rows(flat(pixels), codes)
    table = frames.read(dataset, split)
    keys = [column.key for column in dataset.features if column.type == "text"]
    if not keys:
        return Rows(table.features, table.actual)
    texts = datasets.load(dataset, split)[keys].astype(object)
    return Rows(pd.concat([table.features, texts.where(texts.notna(), "")], axis=1), table.actual)


def flat(pixels: Array) -> Array:
    """Images uint8 [N, H, W, C] as float32 [N, values], averaged over squares of pixels where they are large."""
    while pixels[0].size > _PIXELS and min(pixels.shape[1:3]) > 1:
        height, width = (side // 2 * 2 for side in pixels.shape[1:3])
        even = pixels[:, :height, :width].reshape(len(pixels), height // 2, 2, width // 2, 2, -1)
        pixels = even.mean(axis=(2, 4), dtype=np.float32).round().astype(np.uint8)
    return pixels.reshape(len(pixels), -1).astype(np.float32) / 255
