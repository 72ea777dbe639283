"""Profiles of classes: what they look like, in numbers that depend on no network. Numpy only."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Profile = dict[str, list[float]]  # the descriptor of each class
ROWS = 50  # of a class that a profile is made of
_SIDE, _CELLS, _ORIENTATIONS = 32, 4, 6
_COLOUR_WEIGHT = 0.5  # of the colours against the shapes
_BUCKETS = 256  # of hashed words
_WORD = re.compile(r"\w{4,}")  # shorter words are the same in all texts


def describe(inputs: Any, labels: Sequence[str], kind: str) -> Profile:
    """Return the descriptor of each class, from its first rows.

    `inputs` of kind "image" are uint8 [n, height, width, channels] (or a tensor [n, channels, height, width]), of
    "text" strings, of "table" standardised numbers [n, columns], of "waves" standardised [n, inputs and output].
    Images: a histogram of oriented gradients (Dalal & Triggs 2005) and the colours. Texts: hashed words (Weinberger et
    al. 2009). Both have length 1. Tables: means of the columns, divided by the root of their number; only tables with
    the same columns and scales compare. Waves: means and standard deviations.
    """
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        of_label = places.setdefault(str(label), [])
        if len(of_label) < ROWS:
            of_label.append(place)
    rows = _channels_last(inputs) if kind == "image" else inputs
    return {
        label: [round(float(value), 3) for value in _DESCRIPTORS[kind](_select(rows, of_label))]
        for label, of_label in places.items()
    }


def _select(rows: Any, places: Sequence[int]) -> Any:
    return [rows[place] for place in places] if isinstance(rows, list | tuple) else np.asarray(rows)[list(places)]


def _channels_last(images: Any) -> np.ndarray:
    if isinstance(images, np.ndarray):
        return images
    return np.asarray(images).transpose(0, 2, 3, 1)


def _describe_images(images: np.ndarray) -> np.ndarray:
    small = _resize(images.astype(np.float32) / 255)
    grey = small.mean(3)
    down, right = np.gradient(grey, axis=(1, 2))
    strength = np.hypot(down, right)
    # Which side is darker does not matter: orientations repeat after half a turn.
    turns = np.floor(np.arctan2(down, right) % np.pi / np.pi * _ORIENTATIONS).astype(int) % _ORIENTATIONS
    cell = _SIDE // _CELLS
    bins = [
        np.where(turns == turn, strength, 0.0).reshape(len(images), _CELLS, cell, _CELLS, cell).sum((2, 4))
        for turn in range(_ORIENTATIONS)
    ]
    shapes = np.sqrt(np.stack(bins, 3).reshape(len(images), -1))
    shapes /= np.linalg.norm(shapes, axis=1, keepdims=True) + 1e-6
    colours = np.concatenate([small.mean((1, 2)), small.std((1, 2))], 1)
    if images.shape[3] == 1:
        colours = colours.repeat(3, axis=1)
    return _unit(np.concatenate([shapes.mean(0), _COLOUR_WEIGHT * colours.mean(0)]))


def _resize(images: np.ndarray) -> np.ndarray:
    """Return images [n, height, width, channels] as squares of the common side: pixels are means of what they cover."""
    down, right = (_shares(size) for size in images.shape[1:3])
    return np.einsum("ah,nhwc,bw->nabc", down, images, right, optimize=True)


def _shares(size: int) -> np.ndarray:
    """Return the share of every old pixel in each new one [side, size]."""
    edges = np.linspace(0, size, _SIDE + 1)
    low, high = np.maximum(edges[:-1, None], np.arange(size)), np.minimum(edges[1:, None], np.arange(1, size + 1))
    covered = np.maximum(high - low, 0.0)
    return (covered / covered.sum(1, keepdims=True)).astype(np.float32)


def _describe_texts(texts: Sequence[str]) -> np.ndarray:
    rows = np.zeros((len(texts), _BUCKETS))
    for row, text in zip(rows, texts, strict=True):
        for word in _WORD.findall(str(text).lower()):
            code = zlib.crc32(word.encode())
            row[code % _BUCKETS] += 1 if code >> 31 else -1  # words of one bucket cancel out instead of adding up
        row /= np.linalg.norm(row) + 1e-6
    return _unit(rows.mean(0))


def _describe_table(rows: np.ndarray) -> np.ndarray:
    return rows.mean(0) / np.sqrt(rows.shape[1])


def _describe_waves(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows.mean(0), rows.std(0)]) / np.sqrt(rows.shape[1])


def _unit(values: np.ndarray) -> np.ndarray:
    return values / (np.linalg.norm(values) + 1e-6)


_DESCRIPTORS: dict[str, Callable[[Any], np.ndarray]] = {
    "image": _describe_images, "text": _describe_texts, "table": _describe_table, "waves": _describe_waves,
}  # fmt: skip
