"""Predictions of a scikit-learn pipeline in the skops format."""

import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

_MAX_VALUES = 3_072  # of an image that is not averaged: 32 x 32 in colour


def predict(folder: Path, schema: Mapping[str, Any], inputs: Any, options: Namespace) -> Any:
    """Return numbers, or probabilities [rows, labels]: 0 for a class that the train rows did not have."""
    x = flatten(inputs) if schema["modality"] == "image" else table(inputs, schema["columns"])
    if not len(x):
        return []
    model = load(folder / "model.skops", schema["trusted"])
    if not schema["labels"]:
        return model.predict(x)
    result = np.zeros((len(x), len(schema["labels"])))
    result[:, model.classes_] = model.predict_proba(x)
    return result


def load(path: Path, trusted: list[str]) -> Any:
    """Return the fitted pipeline; end the program where the file holds a type that no such model has."""
    import skops.io

    types = skops.io.get_untrusted_types(file=path)
    if unknown := [name for name in types if name not in trusted]:
        sys.exit(f"{path} holds types that do not belong in a model: {', '.join(unknown)}.")
    return skops.io.load(path, trusted=types)


def table(rows: Iterable[list[str]], columns: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the cells of `reader.read_rows` as the pipeline takes them."""
    cells = list(rows)
    return pd.DataFrame(
        {column["key"]: _values(column, [row[place] for row in cells]) for place, column in enumerate(columns)}
    )


def _values(column: dict[str, Any], texts: list[str]) -> Any:
    if column["type"] in ("numeric", "datetime"):
        return np.array([float(text or "nan") for text in texts])
    return pd.Series([text if column["text"] else text or None for text in texts], dtype=object)


def flatten(pixels: Any) -> Any:
    """Return images, uint8 [N, H, W, C], as float32 [N, values] from 0 to 1.

    Large images are averaged over squares of four pixels until they have at most 3,072 values.
    """
    while pixels[0].size > _MAX_VALUES and min(pixels.shape[1:3]) > 1:
        height, width = (side // 2 * 2 for side in pixels.shape[1:3])
        even = pixels[:, :height, :width].reshape(len(pixels), height // 2, 2, width // 2, 2, -1)
        pixels = even.mean(axis=(2, 4), dtype=np.float32).round().astype(np.uint8)
    return pixels.reshape(len(pixels), -1).astype(np.float32) / 255
