"""Sample tasks: N-way K-shot tasks as meta-training sees them, from a dataset of images."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st

from core.datasets import Dataset
from core.datasets.images import image_table
from core.datasets.images.pixels import Shape
from pages import words
from pages.parts import image_grid

EPISODES = 2
_WAYS, _SHOTS, _QUERIES = 10, 5, 3  # that are drawn
_GAP = 4  # pixels between two rows


def shape_of(dataset: Dataset) -> Shape | None:
    """Return height, width and channels of a dataset's images; None if it has no images."""
    return next((column.shape for column in dataset.columns if column.shape), None)


def draw(dataset: Dataset, ways: int, shots: int, queries: int) -> None:
    """Draw two tasks side by side: a column for each class, the support above, the queries below."""
    shape, n_ways = shape_of(dataset), min(ways, _WAYS, len(dataset.labels))
    if shape is None or min(n_ways - 1, shots, queries) < 1:
        return
    sizes = n_ways, min(shots, _SHOTS), min(queries, _QUERIES)
    for number, place in enumerate(st.columns(EPISODES, gap="medium"), 1):
        labels = tuple(random.Random(number).sample(dataset.labels, n_ways))
        support, query = episode(dataset.table, shape, labels, sizes)
        with place, st.container(border=True, gap="small"):
            st.markdown(f"**Sample task {number}** :gray[{words.plain(_some(labels))}]")
            st.caption("Support: to learn from")
            st.image(support, output_format="PNG", alt=f"Support of sample task {number}")
            st.caption("Query: to predict")
            st.image(query, output_format="PNG", alt=f"Queries of sample task {number}")
    st.caption(f"One column per class. At most {_WAYS} classes, {_SHOTS} shots and {_QUERIES} queries are drawn.")


@st.cache_data(ttl=3600, max_entries=64, show_spinner=False)
def episode(
    parquet: Path, shape: Shape, labels: tuple[str, ...], sizes: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the support and the query images of one task as two pictures; a registered set never changes."""
    _, shots, queries = sizes
    images = image_table.examples(parquet, shape, labels, shots + queries)
    rows = [[images[label][row : row + 1] for label in labels] for row in range(shots + queries)]
    return _mosaic(rows[:shots], shape), _mosaic(rows[shots:], shape)


def _mosaic(rows: Sequence[Sequence[np.ndarray]], shape: Shape) -> np.ndarray:
    """Return rows of images below each other; a class with fewer images leaves its place transparent."""
    strips = []
    for row in rows:
        blank = np.zeros((1, *shape), np.uint8)
        strip = image_grid.strip(np.concatenate([cell if len(cell) else blank for cell in row]))
        width = strip.shape[1] // len(row)
        for place, cell in enumerate(row):
            if not len(cell):
                strip[:, place * width : (place + 1) * width] = 0
        strips.append(np.pad(strip, [(0, _GAP), (0, 0), (0, 0)]))
    return np.concatenate(strips)


def _some(labels: Sequence[str]) -> str:
    short = [label if len(label) <= 24 else f"…{label[-22:]}" for label in labels[:4]]
    return ", ".join(short) + (", …" if len(labels) > 4 else "")
